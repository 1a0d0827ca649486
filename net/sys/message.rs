//! Messages: datagrams with an address, and with what else goes with them.
//!
//! Interface: [`send_to`] and [`recv_from`], bytes and an address; [`send_message`] and [`recv_message`], with control
//! messages, too: an [`Outbound`], an [`Inbound`].
//! Invariant: no transfer blocks, even if other code cleared O_NONBLOCK.
//! Read before: `control`, `address`. Read next: `many`, `udp::socket`.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void};

use super::{Address, Control, SockAddr, checked_for, retry, space};

/// udp(7), ip(7), ipv6(7): a number of bytes to cut at, a TOS byte of each family, and a source address of the longer.
const CONTROL_SENT: usize = space(2) + 2 * space(4) + space(20);

/// As much again, and more: other code may have asked for the time of arrival, say, which comes before.
const CONTROL_RECEIVED: usize = 256;

/// A message to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Outbound<'a> {
    /// One datagram, or several, if UDP_SEGMENT says where to cut: udp(7).
    pub(crate) bytes: &'a [u8],
    /// `None` is the peer of a connected socket.
    pub(crate) to: Option<SockAddr>,
    /// Options for this message only.
    pub(crate) control: Control<CONTROL_SENT>,
}

impl Outbound<'_> {
    /// No bytes, to the peer.
    pub(crate) const EMPTY: Self = Self {
        bytes: &[],
        to: None,
        control: Control::EMPTY,
    };

    /// The msghdr is good for a call that sends, as long as what is borrowed here is.
    pub(super) fn header(&self, iovec: &mut libc::iovec) -> libc::msghdr {
        iovec.iov_base = self.bytes.as_ptr().cast::<c_void>().cast_mut(); // It is only read.
        iovec.iov_len = self.bytes.len();
        let mut header = empty_header(iovec);
        if let Some(to) = &self.to {
            header.msg_name = to.as_ptr().cast::<c_void>().cast_mut();
            header.msg_namelen = to.len();
        }
        if !self.control.is_empty() {
            let (start, len) = self.control.as_ptr();
            header.msg_control = start.cast_mut();
            header.msg_controllen = len as _; // size_t in glibc, socklen_t in musl; at most `CONTROL_SENT`.
        }
        header
    }
}

/// What is told of a message that was received, but for its bytes.
#[derive(Clone, Debug)]
pub(crate) struct Inbound {
    /// The address of the sender.
    pub(crate) from: SockAddr,
    /// What the kernel tells of it, as far as the socket is set to be told.
    pub(crate) control: Control<CONTROL_RECEIVED>,
    /// How many bytes were received.
    pub(crate) len: usize,
    /// There were more, which are lost.
    pub(crate) truncated: bool,
}

impl Inbound {
    /// Room for what a call tells.
    pub(crate) const EMPTY: Self = Self {
        from: SockAddr::EMPTY,
        control: Control::EMPTY,
        len: 0,
        truncated: false,
    };

    /// The msghdr is good for a call that receives, as long as what is borrowed here is, and is used for nothing else
    /// meanwhile. After the call: [`came`](Inbound::came).
    pub(super) fn header(&mut self, buf: &mut [u8], iovec: &mut libc::iovec) -> libc::msghdr {
        iovec.iov_base = buf.as_mut_ptr().cast::<c_void>();
        iovec.iov_len = buf.len();
        let mut header = empty_header(iovec);
        let (name, _) = self.from.as_out_parameters();
        header.msg_name = name.cast::<c_void>();
        header.msg_namelen = SockAddr::EMPTY.len();
        let (start, room) = self.control.as_room(CONTROL_RECEIVED);
        header.msg_control = start;
        header.msg_controllen = room as _;
        header
    }

    /// Takes over what the kernel has written into the header, and how many bytes it received.
    #[expect(
        clippy::unnecessary_cast,
        reason = "`msg_controllen` has another type in musl"
    )]
    pub(super) fn came(&mut self, header: &libc::msghdr, len: usize) {
        self.from.set_len(header.msg_namelen);
        self.control.set_len(header.msg_controllen as usize);
        self.len = len;
        self.truncated = header.msg_flags & libc::MSG_TRUNC != 0;
    }
}

/// Sends `buf` as one message to an address.
pub(crate) fn send_to<const ROOM: usize>(
    fd: BorrowedFd<'_>,
    buf: &[u8],
    to: &Address<ROOM>,
) -> io::Result<usize> {
    sending_to(Some(to), "sendto", || {
        let (start, len) = (buf.as_ptr().cast::<c_void>(), buf.len());
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: `start` is good for reads of `len` bytes, because both are those of `buf`, and the address for reads
        // of `to.len()` bytes, because `encode` made it (see `Address::as_ptr`); both outlive the call, and sendto(2)
        // only reads and keeps no pointer.
        unsafe { libc::sendto(fd.as_raw_fd(), start, len, flags, to.as_ptr(), to.len()) }
    })
}

/// Receives one message into `buf`; of one that is longer, what does not fit is lost. The address of the sender goes into
/// `from`. With MSG_PEEK among the `flags` the message stays in the socket.
pub(crate) fn recv_from<const ROOM: usize>(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    flags: c_int,
    from: &mut Address<ROOM>,
) -> io::Result<usize> {
    retry("recvfrom", || {
        let (start, room) = (buf.as_mut_ptr().cast::<c_void>(), buf.len());
        let (name, len) = from.as_out_parameters();
        let flags = flags | libc::MSG_DONTWAIT;
        // SAFETY: `start` is good for writes of `room` bytes, because both are those of `buf`; `name` is good for
        // writes of `*len` bytes and `len` for a read and a write, because both come from `from`; both are borrowed
        // mutably for the whole call, and recvfrom(2) writes no more than there is room for and keeps no pointer.
        unsafe { libc::recvfrom(fd.as_raw_fd(), start, room, flags, name, len) }
    })
    .map(isize::unsigned_abs)
}

/// [`retry`] for a call that sends to this address, about which some errors may be.
pub(super) fn sending_to<const ROOM: usize>(
    to: Option<&Address<ROOM>>,
    name: &'static str,
    mut call: impl FnMut() -> isize,
) -> io::Result<usize> {
    let Some(to) = to else {
        return retry(name, call).map(isize::unsigned_abs);
    };
    loop {
        match checked_for(to, name, &mut call) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            sent => return sent.map(isize::unsigned_abs),
        }
    }
}

/// Sends one message, and returns how many bytes that were.
pub(crate) fn send_message(fd: BorrowedFd<'_>, message: &Outbound<'_>) -> io::Result<usize> {
    let mut iovec = EMPTY_IOVEC;
    let header = message.header(&mut iovec);
    sending_to(message.to.as_ref(), "sendmsg", || {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: `header` is good for a call that sends (see `Outbound::header`), because `message` is borrowed and
        // `iovec` lives for the whole call; sendmsg(2) only reads and keeps no pointer.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const header, flags) }
    })
}

/// Receives one message into `buf`; of one that is longer, what does not fit is lost, and [`Inbound`] says so.
pub(crate) fn recv_message(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    inbound: &mut Inbound,
) -> io::Result<()> {
    let mut iovec = EMPTY_IOVEC;
    let mut header = inbound.header(buf, &mut iovec);
    let n = retry("recvmsg", || {
        // SAFETY: `header` is good for a call that receives (see `Inbound::header`), because `buf` and `inbound` are
        // borrowed mutably and `iovec` lives for the whole call; recvmsg(2) keeps no pointer.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) }
    })?;
    inbound.came(&header, n.unsigned_abs());
    Ok(())
}

/// A buffer without a byte, to be filled in.
pub(super) const EMPTY_IOVEC: libc::iovec = libc::iovec {
    iov_base: std::ptr::null_mut(),
    iov_len: 0,
};

/// A msghdr of this one buffer, without address and control data.
fn empty_header(iovec: *mut libc::iovec) -> libc::msghdr {
    // Not a literal, because the msghdr of some C libraries has private padding.
    // SAFETY: all bytes zero are a value of msghdr, because it consists of integers and raw pointers only (recv(2)).
    let mut header = unsafe { mem::zeroed::<libc::msghdr>() };
    header.msg_iov = iovec;
    header.msg_iovlen = 1;
    header
}
