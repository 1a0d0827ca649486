//! Bytes received into memory that nothing has written yet.
//!
//! Interface: [`recv_uninit`], and on it [`recv_vec`], into the spare room of a `Vec`, and two more, into the buffers of
//! tokio's and hyper's traits; [`recv_vec_from`], which says who sent it.
//! Invariant: what is declared initialised is what recv(2) has just said that it wrote there, in this file: the number
//! never comes from a trait or a closure, which could say more.
//!
//! Read before: `net::sys::stream`. Read next: `net::stream`.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::c_void;

use super::{SockAddr, decode, retry};

/// Receives up to `buf.len()` bytes, and writes no other byte of `buf`; 0 means that the peer closed its write side (or
/// that `buf` is empty).
///
/// The first `n` bytes are initialised after `Ok(n)`.
#[inline]
pub(crate) fn recv_uninit(fd: BorrowedFd<'_>, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    retry("recv", || {
        let (start, len) = (buf.as_mut_ptr().cast::<c_void>(), buf.len());
        // SAFETY: `start` is good for writes of `len` bytes, because both are those of `buf`, which is borrowed mutably
        // for the whole call; recv(2) reads none of them, writes at most `len`, and keeps no pointer.
        unsafe { libc::recv(fd.as_raw_fd(), start, len, libc::MSG_DONTWAIT) }
    })
    .map(isize::unsigned_abs)
}

/// Appends up to `most` bytes to `buf`, as far as its spare room goes, which is not enlarged.
#[inline]
pub(crate) fn recv_vec(fd: BorrowedFd<'_>, buf: &mut Vec<u8>, most: usize) -> io::Result<usize> {
    let spare = buf.spare_capacity_mut();
    let room = most.min(spare.len());
    let n = recv_uninit(fd, &mut spare[..room])?;
    let len = buf.len() + n;
    // SAFETY: `len` is within the capacity, because recv(2) returns at most the length it was given, and that is within
    // the spare room; the bytes up to the former length are initialised, and so are the `n` behind them, which
    // `recv_uninit` has just received.
    unsafe { buf.set_len(len) };
    Ok(n)
}

/// As [`recv_vec`], as far as the room goes, with the address of the sender.
pub(crate) fn recv_vec_from(
    fd: BorrowedFd<'_>,
    buf: &mut Vec<u8>,
) -> io::Result<(usize, SocketAddr)> {
    let mut from = SockAddr::EMPTY;
    let rest = buf.spare_capacity_mut();
    let n = retry("recvfrom", || {
        let (start, room) = (rest.as_mut_ptr().cast::<c_void>(), rest.len());
        let (name, len) = from.as_out_parameters();
        // SAFETY: `start` is good for writes of `room` bytes, because both are those of `rest`, which is borrowed
        // mutably for the whole call; `name` is good for writes of `*len` bytes and `len` for a read and a write,
        // because both come from `from`, which is borrowed, too; recvfrom(2) reads none of the bytes, writes no more
        // than there is room for, and keeps no pointer.
        unsafe { libc::recvfrom(fd.as_raw_fd(), start, room, libc::MSG_DONTWAIT, name, len) }
    })
    .map(isize::unsigned_abs)?;
    let end = buf.len() + n;
    // SAFETY: `end` is within the capacity, because recvfrom(2) without MSG_TRUNC returns at most the length it was
    // given, which is that of the spare room; the bytes up to the former length are initialised, and so are the `n`
    // behind them, which recvfrom(2) has just written.
    unsafe { buf.set_len(end) };
    Ok((n, decode(from.written())?))
}

/// Fills up to `most` bytes of the buffer of tokio's `AsyncRead`.
#[cfg(feature = "tokio-io")]
#[inline]
pub(crate) fn recv_read_buf(
    fd: BorrowedFd<'_>,
    buf: &mut ::tokio::io::ReadBuf<'_>,
    most: usize,
) -> io::Result<usize> {
    // SAFETY: `unfilled_mut` asks that no byte be uninitialised, and `recv_uninit` writes values only.
    let room = unsafe { buf.unfilled_mut() };
    let len = most.min(room.len());
    let n = recv_uninit(fd, &mut room[..len])?;
    // SAFETY: `recv_uninit` has just received `n` bytes at the begin of the room, which has that many.
    unsafe { buf.assume_init(n) };
    buf.advance(n);
    Ok(n)
}

/// Fills up to `most` bytes of the buffer of hyper's `Read`.
#[cfg(feature = "hyper")]
#[inline]
pub(crate) fn recv_cursor(
    fd: BorrowedFd<'_>,
    buf: &mut ::hyper::rt::ReadBufCursor<'_>,
    most: usize,
) -> io::Result<usize> {
    // SAFETY: `as_mut` asks that no byte be uninitialised, and `recv_uninit` writes values only.
    let room = unsafe { buf.as_mut() };
    let len = most.min(room.len());
    let n = recv_uninit(fd, &mut room[..len])?;
    // SAFETY: `recv_uninit` has just received `n` bytes at the begin of the room, which has that many.
    unsafe { buf.advance(n) };
    Ok(n)
}
