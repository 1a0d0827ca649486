//! The bytes of a stream: sent from one buffer or several, and received into them.
//!
//! Interface: [`recv`], [`send`], [`recv_vectored`], [`send_vectored`]. Of many buffers only some go to
//! the kernel in one call: [`offered`], [`first_len`], [`first`] and [`first_mut`] are about these.
//! Invariants:
//! - No transfer blocks, even if other code cleared O_NONBLOCK, and none raises SIGPIPE.
//! - A read of 0 bytes into buffers with room means the end of the stream, even if some of them are
//!   empty.
//!
//! Read next: `net::stream`, which judges by these numbers whether a read was short.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem;
use std::ops::{Deref, Range};
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void};

use super::{is_refusal, retry};

/// The most iovecs one call takes. readv(2): IOV_MAX, on Linux UIO_MAXIOV = 1024; one more is
/// EINVAL.
const MOST_IOVECS: usize = 1024;

/// send(2): EPIPE without the signal, EAGAIN without waiting; see the invariants above.
const SEND_FLAGS: c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;

/// Receives up to `buf.len()` bytes; 0 means the peer closed its write side (or `buf` is empty). With
/// MSG_PEEK among the `flags` the bytes stay in the socket.
pub(crate) fn recv(fd: BorrowedFd<'_>, buf: &mut [u8], flags: c_int) -> io::Result<usize> {
    retry("recv", || {
        let (start, len) = (buf.as_mut_ptr().cast::<c_void>(), buf.len());
        // SAFETY: `start` is good for writes of `len` bytes, because both are those of `buf`,
        // which is borrowed mutably for the whole call; recv(2) writes at most `len` bytes and
        // keeps no pointer.
        unsafe { libc::recv(fd.as_raw_fd(), start, len, flags | libc::MSG_DONTWAIT) }
    })
    .map(isize::unsigned_abs)
}

/// Sends up to `buf.len()` bytes and says how many the kernel took.
pub(crate) fn send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    retry("send", || {
        let (start, len) = (buf.as_ptr().cast::<c_void>(), buf.len());
        // SAFETY: `start` is good for reads of `len` bytes, because both are those of `buf`,
        // which is borrowed for the whole call; send(2) only reads and keeps no pointer.
        unsafe { libc::send(fd.as_raw_fd(), start, len, SEND_FLAGS) }
    })
    .map(isize::unsigned_abs)
}

/// As [`recv`], into several buffers in turn; into no more of them than [`offered`] counts.
pub(crate) fn recv_vectored(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let window = window(bufs);
    let bufs = &mut bufs[window];
    let received = retry("recvmsg", || {
        let mut message = message(bufs.as_mut_ptr().cast::<libc::iovec>(), bufs.len());
        // SAFETY: `message` points to `bufs.len()` iovecs, because std guarantees that `IoSliceMut`
        // has the ABI of iovec, and each is good for writes of its length, because `bufs` is
        // borrowed mutably for the whole call; name and control are null with length 0, so
        // recvmsg(2) writes nothing else but `message`, which is ours.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) }
    })
    .map(isize::unsigned_abs);
    match (received, bufs.first_mut()) {
        // To receive into the first buffer is right, too, only slower; but see `first_len`.
        (Err(error), Some(first)) if is_refusal(&error) => recv(fd, first, 0),
        (received, _) => received,
    }
}

/// As [`send`], from several buffers in turn.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let bufs = &bufs[window(bufs)];
    // sendmsg(2) takes a const msghdr and only reads the iovecs; `msg_iov` is not const because
    // recvmsg(2) shares the struct.
    let iovecs = bufs.as_ptr().cast::<libc::iovec>().cast_mut();
    let message = message(iovecs, bufs.len());
    let sent = retry("sendmsg", || {
        // SAFETY: `message` points to `bufs.len()` iovecs, because std guarantees that `IoSlice`
        // has the ABI of iovec, and each is good for reads of its length, because `bufs` is
        // borrowed for the whole call; name and control are null with length 0; sendmsg(2) writes
        // to no memory of ours.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, SEND_FLAGS) }
    })
    .map(isize::unsigned_abs);
    match (sent, bufs.first()) {
        (Err(error), Some(first)) if is_refusal(&error) => send(fd, first),
        (sent, _) => sent,
    }
}

/// The number of bytes, of these buffers, that [`recv_vectored`] or [`send_vectored`] offers to the
/// kernel.
///
/// A read is short if it brought less than *this*. Compared with the sum of all buffers, a full read
/// into the first 1024 of them would look like one that drained the socket.
pub(crate) fn offered<B: Deref<Target = [u8]>>(bufs: &[B]) -> usize {
    // read(2), NOTES: it and similar calls transfer at most this many bytes.
    const MOST_BYTES_A_CALL: usize = 0x7fff_f000;
    // The buffers of a write may be the same memory again and again, so their sum may overflow.
    let total = bufs[window(bufs)]
        .iter()
        .fold(0_usize, |total, buf| total.saturating_add(buf.len()));
    total.min(MOST_BYTES_A_CALL)
}

/// The length of the first buffer that [`recv_vectored`] offers to the kernel. Where recvmsg(2) is
/// refused, only this buffer is read into; a read of exactly its length then proves nothing.
pub(crate) fn first_len<B: Deref<Target = [u8]>>(bufs: &[B]) -> usize {
    bufs[window(bufs)].first().map_or(0, |buf| buf.len())
}

/// The first `n` of the bytes that [`send_vectored`] would offer to the kernel.
pub(crate) fn first<'a>(bufs: &'a [IoSlice<'_>], mut n: usize) -> Vec<IoSlice<'a>> {
    let cut = |buf: &'a IoSlice<'_>| {
        let len = n.min(buf.len());
        n -= len;
        IoSlice::new(&buf[..len])
    };
    bufs[window(bufs)].iter().map(cut).collect()
}

/// The first `n` bytes of the room that [`recv_vectored`] would offer to the kernel.
pub(crate) fn first_mut<'a>(bufs: &'a mut [IoSliceMut<'_>], mut n: usize) -> Vec<IoSliceMut<'a>> {
    let cut = |buf: &'a mut IoSliceMut<'_>| {
        let len = n.min(buf.len());
        n -= len;
        IoSliceMut::new(&mut buf[..len])
    };
    let window = window(bufs);
    bufs[window].iter_mut().map(cut).collect()
}

/// Which buffers go to the kernel in one call: at most [`MOST_IOVECS`], from the first that is not
/// empty. If 1024 empty ones went first, a read would return 0, which means the end of the stream.
pub(super) fn window<B: Deref<Target = [u8]>>(bufs: &[B]) -> Range<usize> {
    let start = bufs
        .iter()
        .position(|buf| !buf.is_empty())
        .unwrap_or(bufs.len());
    start..bufs.len().min(start + MOST_IOVECS)
}

/// A msghdr of these buffers, without address and control data.
fn message(iovecs: *mut libc::iovec, count: usize) -> libc::msghdr {
    // Not a literal, because the msghdr of some C libraries has private padding.
    // SAFETY: all bytes zero are a value of msghdr, because it consists of integers and raw
    // pointers only (recv(2)).
    let mut message = unsafe { mem::zeroed::<libc::msghdr>() };
    message.msg_iov = iovecs;
    message.msg_iovlen = count as _; // size_t in glibc, int in musl; at most 1024.
    message
}
