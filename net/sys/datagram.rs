//! Datagrams with the address of a Unix socket.
//!
//! Interface: [`send_to_unix`], [`recv_from_unix`]. Without an address they are bytes like those of a stream: `send`, `recv`.
//! Invariant: no transfer blocks, even if other code cleared O_NONBLOCK.
//! Read before: `address`. Read next: `net::sys::descriptors`, `unix::datagram`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_void;

use super::{UnixAddr, checked_for, retry};

/// Sends `buf` as one datagram.
pub(crate) fn send_to_unix(fd: BorrowedFd<'_>, buf: &[u8], to: &UnixAddr) -> io::Result<usize> {
    sending_to(Some(to), "sendto", || {
        let (start, len) = (buf.as_ptr().cast::<c_void>(), buf.len());
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: `start` is good for reads of `len` bytes, because both are those of `buf`, and the address for reads
        // of `to.len()` bytes, because `encode` made it (see `Address::as_ptr`); both outlive the call, and sendto(2)
        // only reads and keeps no pointer.
        unsafe { libc::sendto(fd.as_raw_fd(), start, len, flags, to.as_ptr(), to.len()) }
    })
}

/// Receives a datagram into `buf`; of one that is longer, what does not fit is lost. The address of the sender goes into
/// `from`.
pub(crate) fn recv_from_unix(
    fd: BorrowedFd<'_>,
    buf: &mut [u8],
    from: &mut UnixAddr,
) -> io::Result<usize> {
    retry("recvfrom", || {
        let (start, room) = (buf.as_mut_ptr().cast::<c_void>(), buf.len());
        let (name, len) = from.as_out_parameters();
        // SAFETY: `start` is good for writes of `room` bytes, because both are those of `buf`; `name` is good for
        // writes of `*len` bytes and `len` for a read and a write, because both come from `from`; both are borrowed
        // mutably for the whole call, and recvfrom(2) writes no more than there is room for and keeps no pointer.
        unsafe { libc::recvfrom(fd.as_raw_fd(), start, room, libc::MSG_DONTWAIT, name, len) }
    })
    .map(isize::unsigned_abs)
}

/// [`retry`] for a call that sends to this address, about which some errors may be.
pub(super) fn sending_to(
    to: Option<&UnixAddr>,
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
