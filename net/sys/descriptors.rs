//! Descriptors that go with the bytes of a Unix socket: SCM_RIGHTS, unix(7).
//!
//! Interface: [`send_fds`]; [`recv_fds`], which returns what [`Came`].
//! Invariants:
//! - Each descriptor that the kernel has made for this process is owned before anything else happens, and is
//!   close-on-exec from the call that made it. What is not returned is closed.
//! - The caller gets no more descriptors than it asked for, however many came.
//!
//! What else the socket asked for comes through the same room, before the descriptors: the time of arrival, credentials,
//! a security label; a pidfd before them or after them, as the kernel's version has it. So there is always room for
//! [these](ASIDE). What the sender puts there instead, more descriptors, is closed here. The room cannot be exact: of
//! what was asked for only the kernel knows, and room for a pidfd behind the descriptors is room for six of them.
//! Read before: `control`, `address`. Read next: `unix::descriptors`.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_void};

use super::control::HEADER;
use super::message::sending_to;
use super::stream::message;
use super::{Control, UnixAddr, retry, space};

/// The most descriptors that go with one message: SCM_MAX_FD, unix(7).
pub(crate) const MOST_FDS: usize = 253;

/// The size of a descriptor's number, in bytes.
const NUMBER: usize = size_of::<c_int>();

/// Room for what is not descriptors, in bytes: the time of arrival, as one timespec, and as three (SO_TIMESTAMP,
/// SO_TIMESTAMPING: datagrams have them); credentials, three ints (SO_PASSCRED); a label, which is seldom longer than
/// this (SO_PASSSEC); a pidfd (SO_PASSPIDFD).
const ASIDE: usize = space(16) + space(48) + space(3 * NUMBER) + space(256) + space(NUMBER);

/// A control message that is a pidfd of the sender, or a negative errno: linux/socket.h. Not every release of libc has a
/// name for it.
const SCM_PIDFD: c_int = 4;

/// What came with the bytes of one call.
#[derive(Debug)]
pub(crate) struct Came {
    /// How many bytes were received.
    pub(crate) len: usize,
    /// In the order in which they were sent; as many as were asked for, at most.
    pub(crate) fds: Vec<OwnedFd>,
    /// There were more bytes in the datagram, which are lost.
    pub(crate) data_truncated: bool,
    /// There were more descriptors, or something else that the socket had asked for, which are lost.
    pub(crate) fds_truncated: bool,
}

impl Came {
    /// What stands in place of it before the call is made.
    pub(crate) const NOTHING: Came = Came {
        len: 0,
        fds: Vec::new(),
        data_truncated: false,
        fds_truncated: false,
    };
}

/// Sends bytes of `bufs`, to the peer or to this address, and `fds` with the first of them. Returns how many bytes the
/// kernel took.
///
/// # Errors
/// `InvalidInput` for more descriptors than [`MOST_FDS`]; else what sendmsg(2) reports.
pub(crate) fn send_fds(
    fd: BorrowedFd<'_>,
    bufs: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
    to: Option<&UnixAddr>,
) -> io::Result<usize> {
    let mut numbers = [0; NUMBER * MOST_FDS];
    let mut control = Control::<{ space(NUMBER * MOST_FDS) }>::EMPTY;
    let numbers = numbers.get_mut(..NUMBER * fds.len());
    let pushed = numbers.is_some_and(|numbers| {
        for (number, fd) in numbers.chunks_exact_mut(NUMBER).zip(fds) {
            number.copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
        }
        // Without descriptors a message would be one of none, which the kernel takes as well.
        fds.is_empty() || control.push(libc::SOL_SOCKET, libc::SCM_RIGHTS, numbers)
    });
    if !pushed {
        let text = "at most 253 descriptors go with the bytes of one call";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // sendmsg(2) takes a const msghdr and only reads what it points to; the pointers are not const because recvmsg(2)
    // shares the struct.
    let iovecs = bufs.as_ptr().cast::<libc::iovec>().cast_mut();
    let mut message = message(iovecs, bufs.len());
    if !control.is_empty() {
        let (start, len) = control.as_ptr();
        message.msg_control = start.cast_mut();
        message.msg_controllen = len as _; // size_t in glibc, socklen_t in musl; some 1000 at most.
    }
    if let Some(to) = to {
        message.msg_name = to.as_ptr().cast::<c_void>().cast_mut();
        message.msg_namelen = to.len();
    }
    sending_to(to, "sendmsg", || {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: `message` points to `bufs.len()` iovecs, because std guarantees that `IoSlice` has the ABI of iovec, to
        // the bytes of `control`, if there are any (see `Control::as_ptr`), and either to no name or to the `to.len()` bytes of an
        // address that `encode` made (see `Address::as_ptr`); all of these are borrowed for the whole call, and
        // sendmsg(2) only reads.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, flags) }
    })
}

/// Receives bytes into `bufs`, and the descriptors that came with them, at most `most`. The address of the sender goes into
/// `from`, for [`decode_unix`](super::decode_unix).
pub(crate) fn recv_fds(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    most: usize,
    from: &mut UnixAddr,
) -> io::Result<Came> {
    // CMSG_LEN, and not CMSG_SPACE, which has room for one more where the number is odd.
    let room = ASIDE + HEADER + NUMBER * most.min(MOST_FDS);
    let mut control = Control::<{ ASIDE + HEADER + NUMBER * MOST_FDS }>::EMPTY;
    let mut message = message(bufs.as_mut_ptr().cast::<libc::iovec>(), bufs.len());
    let received = retry("recvmsg", || {
        let (start, len) = control.as_room(room);
        message.msg_control = start;
        message.msg_controllen = len as _;
        let (name, _) = from.as_out_parameters();
        message.msg_name = name.cast::<c_void>();
        message.msg_namelen = UnixAddr::EMPTY.len();
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        // SAFETY: `message` points to `bufs.len()` iovecs, because std guarantees that `IoSliceMut` has the ABI of iovec,
        // and each is good for writes of its length; to `len` bytes of `control` (see `Control::as_room`), and to
        // `msg_namelen` bytes of `from`, which is what an empty one has room for; all three are borrowed mutably for the whole call, and recvmsg(2) writes
        // nothing else but `message`, which is ours.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) }
    })?;
    control.set_len(control_len(&message));
    from.set_len(message.msg_namelen);
    let mut fds = Vec::new();
    for message in control.messages() {
        let numbers = message.data.chunks_exact(NUMBER).filter_map(|number| {
            let number = c_int::from_ne_bytes(*number.first_chunk()?);
            // A pidfd that could not be made is an errno.
            (number >= 0).then_some(number)
        });
        // SAFETY: `number` is open and nothing else owns it, because recvmsg(2) has just made it, in a message that says
        // so: below, this is called for numbers of such messages only, and once for each.
        let own = |number| unsafe { OwnedFd::from_raw_fd(number) };
        match (message.level, message.kind) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => fds.extend(numbers.map(own)),
            (libc::SOL_SOCKET, SCM_PIDFD) => numbers.map(own).for_each(drop),
            _ => {}
        }
    }
    let fds_truncated = fds.len() > most || message.msg_flags & libc::MSG_CTRUNC != 0;
    fds.truncate(most);
    Ok(Came {
        len: received.unsigned_abs(),
        fds,
        data_truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        fds_truncated,
    })
}

/// How many bytes of control messages recvmsg(2) has written.
#[expect(
    clippy::unnecessary_cast,
    reason = "`msg_controllen` has another type in musl"
)]
fn control_len(message: &libc::msghdr) -> usize {
    message.msg_controllen as usize
}
