//! Bytes received into memory that nothing has written yet.
//!
//! Interface: [`recv_uninit`], and on it [`recv_vec`], into the spare room of a `Vec`, and two more, into the buffers of
//! tokio's and hyper's traits; [`recv_vec_from`], which says who sent it.
//! Invariant: what is declared initialised is what a system call has just said that it wrote there, in this file: the
//! number never comes from a trait or a closure, which could say more. They say the most that may be asked for: it is
//! less than there is room for where chaos cuts a read. (The buffers of futures-io are initialised, and are read into as
//! any slice is.)
//!
//! Read before: `net::sys::stream`, `medium`. Read next: `net::stream`.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use libc::c_void;

use super::pipe::{Verdict, Way};
use super::{Address, Medium, PipeFd, retry};

/// Receives up to `buf.len()` bytes, and writes no other byte of `buf`; 0 means that the peer closed its write side (or
/// that `buf` is empty).
///
/// The first `n` bytes are initialised after `Ok(n)`.
#[inline]
pub(crate) fn recv_uninit<'a>(
    from: impl Into<Medium<'a>>,
    buf: &mut [MaybeUninit<u8>],
) -> io::Result<usize> {
    let fd = match from.into() {
        Medium::Socket(fd) => fd,
        Medium::Pipe(pipe) => return read_uninit(pipe, buf),
    };
    retry("recv", || {
        let (start, len) = (buf.as_mut_ptr().cast::<c_void>(), buf.len());
        // SAFETY: `start` is good for writes of `len` bytes, because both are those of `buf`, which is borrowed mutably
        // for the whole call; recv(2) reads none of them, writes at most `len`, and keeps no pointer.
        unsafe { libc::recv(fd.as_raw_fd(), start, len, libc::MSG_DONTWAIT) }
    })
    .map(isize::unsigned_abs)
}

/// As [`recv_uninit`], from a pipe; 0 means its end.
fn read_uninit(pipe: &PipeFd, buf: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
    let fd = pipe.as_fd().as_raw_fd();
    loop {
        let way = pipe.way_to_read();
        let (start, len) = (buf.as_mut_ptr().cast::<c_void>(), buf.len());
        let read = match way {
            Way::Flags(flags) => retry("preadv2", || {
                let iovec = libc::iovec {
                    iov_base: start,
                    iov_len: len,
                };
                // SAFETY: the pointer is good for one iovec, because it points to `iovec` and the count is 1, and that
                // is good for writes of `len` bytes, because `start` and `len` are those of `buf`, which is borrowed
                // mutably for the whole call; preadv2(2) reads none of them, and keeps no pointer.
                unsafe { libc::preadv2(fd, &raw const iovec, 1, -1, flags) }
            }),
            Way::Vectored | Way::Plain => retry("read", || {
                // SAFETY: `start` is good for writes of `len` bytes, because both are those of `buf`, which is borrowed
                // mutably for the whole call; read(2) reads none of them, writes at most `len`, and keeps no pointer.
                unsafe { libc::read(fd, start, len) }
            }),
        }
        .map(isize::unsigned_abs);
        match pipe.judge_read(way, &read) {
            Verdict::Stands => return read,
            Verdict::TryAgain => {}
            Verdict::WouldBlock => return Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// Appends up to `most` bytes to `buf`, as far as its spare room goes, which is not enlarged.
#[inline]
pub(crate) fn recv_vec<'a>(
    from: impl Into<Medium<'a>>,
    buf: &mut Vec<u8>,
    most: usize,
) -> io::Result<usize> {
    let spare = buf.spare_capacity_mut();
    let room = most.min(spare.len());
    let n = recv_uninit(from, &mut spare[..room])?;
    let len = buf.len() + n;
    // SAFETY: `len` is within the capacity, because a system call returns at most the length it was given, and that is within
    // the spare room; the bytes up to the former length are initialised, and so are the `n` behind them, which
    // `recv_uninit` has just received.
    unsafe { buf.set_len(len) };
    Ok(n)
}

/// Appends a datagram to `buf`, as far as its spare room goes, which is not enlarged. The address of the sender goes
/// into `from`.
pub(crate) fn recv_vec_from<const ROOM: usize>(
    fd: BorrowedFd<'_>,
    buf: &mut Vec<u8>,
    from: &mut Address<ROOM>,
) -> io::Result<usize> {
    let spare = buf.spare_capacity_mut();
    let n = retry("recvfrom", || {
        let (start, room) = (spare.as_mut_ptr().cast::<c_void>(), spare.len());
        let (name, len) = from.as_out_parameters();
        // SAFETY: `start` is good for writes of `room` bytes, because both are those of `spare`; `name` is good for
        // writes of `*len` bytes and `len` for a read and a write, because both come from `from`; both are borrowed
        // mutably for the whole call, and recvfrom(2) reads none of the bytes, writes no more than there is room for, and
        // keeps no pointer.
        unsafe { libc::recvfrom(fd.as_raw_fd(), start, room, libc::MSG_DONTWAIT, name, len) }
    })
    .map(isize::unsigned_abs)?;
    let len = buf.len() + n;
    // SAFETY: `len` is within the capacity, because recvfrom(2) without MSG_TRUNC returns at most the length it was
    // given, which is that of the spare room; the bytes up to the former length are initialised, and so are the `n`
    // behind them, which recvfrom(2) has just written.
    unsafe { buf.set_len(len) };
    Ok(n)
}

/// Fills up to `most` bytes of the buffer of tokio's `AsyncRead`.
#[cfg(feature = "tokio-io")]
#[inline]
pub(crate) fn recv_read_buf<'a>(
    from: impl Into<Medium<'a>>,
    buf: &mut ::tokio::io::ReadBuf<'_>,
    most: usize,
) -> io::Result<usize> {
    // SAFETY: `unfilled_mut` asks that no byte be uninitialised, and `recv_uninit` writes values only.
    let room = unsafe { buf.unfilled_mut() };
    let len = most.min(room.len());
    let n = recv_uninit(from, &mut room[..len])?;
    // SAFETY: `recv_uninit` has just received `n` bytes at the begin of the room, which has that many.
    unsafe { buf.assume_init(n) };
    buf.advance(n);
    Ok(n)
}

/// Fills up to `most` bytes of the buffer of hyper's `Read`.
#[cfg(feature = "hyper")]
#[inline]
pub(crate) fn recv_cursor<'a>(
    from: impl Into<Medium<'a>>,
    buf: &mut ::hyper::rt::ReadBufCursor<'_>,
    most: usize,
) -> io::Result<usize> {
    // SAFETY: `as_mut` asks that no byte be uninitialised, and `recv_uninit` writes values only.
    let room = unsafe { buf.as_mut() };
    let len = most.min(room.len());
    let n = recv_uninit(from, &mut room[..len])?;
    // SAFETY: `recv_uninit` has just received `n` bytes at the begin of the room, which has that many.
    unsafe { buf.advance(n) };
    Ok(n)
}
