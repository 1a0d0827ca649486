//! Control messages: what goes with the bytes of a message, and is not bytes (cmsg(3)).
//!
//! Idea: they are bytes here, put together and taken apart in safe code. The kernel's cmsghdr has a length, of header
//! and data, as a usize, then the level and the kind, as two ints; the next one begins at a multiple of 8 bytes.
//!
//! Interface: [`Control`] is room for messages, to be sent or received; [`Control::messages`] yields those in it.
//! Invariant: no length that stands in a message is believed: what it says beyond the bytes at hand is cut there.
//! Read before: `address`. Read next: `net::sys::stream`; cmsg(3), recvmsg(2).

use std::iter;
use std::ptr;

use libc::{c_int, c_void};

/// The bytes before the data of a message: CMSG_LEN(0).
pub(crate) const HEADER: usize = size_of::<usize>() + 2 * size_of::<c_int>();

/// The bytes that a message with so many bytes of data takes, up to the next: CMSG_SPACE.
pub(crate) const fn space(data: usize) -> usize {
    HEADER + data.next_multiple_of(size_of::<usize>())
}

/// Room for `N` bytes of control messages, aligned as a cmsghdr.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
pub(crate) struct Control<const N: usize> {
    /// The messages, each with its header, from the start on.
    bytes: [u8; N],
    /// How many of the bytes are messages; at most `N`.
    len: usize,
}

/// One control message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ControlMessage<'a> {
    /// cmsg_level: SOL_SOCKET, or a protocol, such as IPPROTO_IP.
    pub(crate) level: c_int,
    /// cmsg_type: SCM_RIGHTS of SOL_SOCKET, IP_TOS of IPPROTO_IP, and so on.
    pub(crate) kind: c_int,
    /// The bytes behind the header, without the padding up to the next message.
    pub(crate) data: &'a [u8],
}

impl<const N: usize> Control<N> {
    /// Room without any message.
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; N],
        len: 0,
    };

    /// Appends a message. False if there is no room for it; then nothing has changed.
    #[must_use]
    pub(crate) fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) -> bool {
        let end = self.len + space(data.len());
        let Some(room) = self.bytes.get_mut(self.len..end) else {
            return false;
        };
        room[..8].copy_from_slice(&(HEADER + data.len()).to_ne_bytes());
        room[8..12].copy_from_slice(&level.to_ne_bytes());
        room[12..16].copy_from_slice(&kind.to_ne_bytes());
        room[16..16 + data.len()].copy_from_slice(data);
        self.len = end;
        true
    }

    /// The messages, one after the other.
    pub(crate) fn messages(&self) -> impl Iterator<Item = ControlMessage<'_>> {
        messages(&self.bytes[..self.len])
    }

    /// True without any message.
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The messages, for a call that sends them: the pointer is good for reads of as many bytes as the number says.
    pub(super) fn as_ptr(&self) -> (*const c_void, usize) {
        (ptr::from_ref(&self.bytes).cast::<c_void>(), self.len)
    }

    /// Room for a call that receives messages, of `room` bytes, or all if that is less: the pointer is good for writes
    /// of as many bytes as the number says. After the call, [`set_len`](Control::set_len).
    pub(super) fn as_room(&mut self, room: usize) -> (*mut c_void, usize) {
        self.len = 0;
        (ptr::from_mut(&mut self.bytes).cast::<c_void>(), room.min(N))
    }

    /// Says how many bytes a call has received; more than there is room for are not believed.
    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len.min(N);
    }
}

/// The messages in `bytes`, one after the other.
pub(crate) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = ControlMessage<'_>> {
    iter::from_fn(move || {
        let len = usize::from_ne_bytes(*bytes.first_chunk()?);
        let level = c_int::from_ne_bytes(*bytes.get(8..)?.first_chunk()?);
        let kind = c_int::from_ne_bytes(*bytes.get(12..)?.first_chunk()?);
        let data = bytes.get(HEADER..len.min(bytes.len()))?;
        let next = len.checked_next_multiple_of(size_of::<usize>());
        bytes = next.and_then(|next| bytes.get(next..)).unwrap_or_default();
        Some(ControlMessage { level, kind, data })
    })
}
