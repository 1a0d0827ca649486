//! What the bytes of a stream move through: a socket or a pipe.
//!
//! Idea: the engine of byte streams holds a `BorrowedFd` for a socket, or a `&PipeFd`, and makes a [`Medium`] of it for
//! a call. So which of the two it is, is known where the engine is compiled for one of them, and a socket does not pay for
//! pipes.
//!
//! Interface: [`Medium::recv`], [`send`](Medium::send), and with several buffers;
//! [`holds_bytes`](Medium::holds_bytes), and [`uncut`](Medium::uncut), which says whether chaos may make a write short.
//! Read before: `net::sys::stream`, `net::sys::pipe`. Read next: `uninit`.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use super::PipeFd;

/// What the bytes of a stream move through. `pub`, because the engine names it in a bound; it is not exported.
#[derive(Clone, Copy, Debug)]
pub enum Medium<'a> {
    /// Any socket of connected streams.
    Socket(BorrowedFd<'a>),
    /// One end of a pipe.
    Pipe(&'a PipeFd),
}

impl<'a> From<BorrowedFd<'a>> for Medium<'a> {
    #[inline(always)]
    fn from(socket: BorrowedFd<'a>) -> Medium<'a> {
        Medium::Socket(socket)
    }
}

impl<'a> From<&'a PipeFd> for Medium<'a> {
    #[inline(always)]
    fn from(pipe: &'a PipeFd) -> Medium<'a> {
        Medium::Pipe(pipe)
    }
}

impl Medium<'_> {
    /// Receives up to `buf.len()` bytes; 0 means the end (or that `buf` is empty).
    #[inline(always)]
    pub(crate) fn recv(self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Medium::Socket(fd) => super::recv(fd, buf, 0),
            Medium::Pipe(pipe) => pipe.read_vectored(&mut [IoSliceMut::new(buf)]),
        }
    }

    /// Sends bytes of `buf` and says how many the kernel took: up to `offered` of them, or up to all if they are
    /// [not to be cut](Medium::uncut).
    #[inline(always)]
    pub(crate) fn send(self, buf: &[u8], offered: usize) -> io::Result<usize> {
        match self {
            Medium::Socket(fd) => super::send(fd, &buf[..offered]),
            Medium::Pipe(pipe) => {
                let buf = &buf[..self.uncut(buf.len(), offered)];
                pipe.write_vectored(&[IoSlice::new(buf)])
            }
        }
    }

    /// As [`recv`](Medium::recv), into several buffers in turn; into no more of them than [`offered`](super::offered)
    /// counts.
    #[inline]
    pub(crate) fn recv_vectored(self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        match self {
            Medium::Socket(fd) => super::recv_vectored(fd, bufs),
            Medium::Pipe(pipe) => pipe.read_vectored(bufs),
        }
    }

    /// As [`send`](Medium::send), from several buffers in turn.
    #[inline]
    pub(crate) fn send_vectored(self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Medium::Socket(fd) => super::send_vectored(fd, bufs),
            Medium::Pipe(pipe) => pipe.write_vectored(bufs),
        }
    }

    /// Says whether there are bytes to read although a read has just said EAGAIN; see [`holds_bytes`](super::holds_bytes),
    /// and [`PipeFd::holds_bytes`].
    #[inline]
    pub(crate) fn holds_bytes(self) -> bool {
        match self {
            Medium::Socket(fd) => super::holds_bytes(fd),
            Medium::Pipe(pipe) => pipe.holds_bytes(),
        }
    }

    /// How many of `len` bytes to offer in one write, if chaos asks for `offered`: all, where the kernel never takes a part.
    /// pipe(7), PIPE_BUF: of a non-blocking write of at most that many bytes either all are written, or none.
    #[inline]
    pub(crate) fn uncut(self, len: usize, offered: usize) -> usize {
        match self {
            Medium::Pipe(_) if len <= libc::PIPE_BUF => len,
            _ => offered,
        }
    }
}
