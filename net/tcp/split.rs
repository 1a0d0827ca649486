//! The halves of a stream: one task reads, another writes.
//!
//! Interface: [`ReadHalf`] and [`WriteHalf`] borrow the stream, [`OwnedReadHalf`] and
//! [`OwnedWriteHalf`] share it. The read halves are one type, [`Reader`], and the write halves
//! another, [`Writer`]; each is generic over how it reaches the stream.
//! Invariant: dropping an owned write half shuts down writing. So the peer sees the end, although
//! the read half keeps the socket open.
//! Read before: `tcp::stream`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::stream::TcpStream;
use crate::io::Interest;

/// The read half of a borrowed stream; see [`TcpStream::split`].
pub type ReadHalf<'a> = Reader<&'a TcpStream>;
/// The write half of a borrowed stream; see [`TcpStream::split`].
pub type WriteHalf<'a> = Writer<&'a TcpStream>;
/// The read half of a shared stream; see [`TcpStream::into_split`].
pub type OwnedReadHalf = Reader<Arc<TcpStream>>;
/// The write half of a shared stream; see [`TcpStream::into_split`].
pub type OwnedWriteHalf = Writer<ShutdownOnDrop>;

pub(super) fn split(stream: &mut TcpStream) -> (ReadHalf<'_>, WriteHalf<'_>) {
    (Reader { stream }, Writer { stream })
}

pub(super) fn into_split(stream: Arc<TcpStream>) -> (OwnedReadHalf, OwnedWriteHalf) {
    let writer = ShutdownOnDrop {
        stream: Arc::clone(&stream),
        armed: true,
    };
    (Reader { stream }, Writer { stream: writer })
}

/// A stream to read from.
#[derive(Debug)]
pub struct Reader<S> {
    stream: S,
}

impl<S: Deref<Target = TcpStream>> Reader<S> {
    /// See [`TcpStream::read`], also for errors and cancel safety, which are the same here and
    /// below.
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn read(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.stream.read(buf)
    }

    /// See [`TcpStream::read_vectored`].
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn read_vectored(
        &self,
        bufs: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        self.stream.read_vectored(bufs)
    }

    /// See [`TcpStream::read_vec`].
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn read_vec(&self, buf: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> {
        self.stream.read_vec(buf)
    }

    /// See [`TcpStream::read_exact`], which is not cancel safe.
    ///
    /// # Errors
    /// As [`TcpStream::read_exact`].
    pub fn read_exact(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.stream.read_exact(buf)
    }

    /// See [`TcpStream::peek`].
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.stream.peek(buf)
    }

    /// See [`TcpStream::readable`].
    ///
    /// # Errors
    /// As [`TcpStream::readable`].
    pub async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    /// See [`TcpStream::try_read`].
    ///
    /// # Errors
    /// As [`TcpStream::try_read`].
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.try_read(buf)
    }

    /// See [`TcpStream::try_read_vectored`].
    ///
    /// # Errors
    /// As [`TcpStream::try_read`].
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.stream.try_read_vectored(bufs)
    }

    /// See [`TcpStream::try_read_vec`].
    ///
    /// # Errors
    /// As [`TcpStream::try_read`].
    pub fn try_read_vec(&self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.stream.try_read_vec(buf)
    }

    /// See [`TcpStream::poll_read`].
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_read(cx, buf)
    }

    /// See [`TcpStream::poll_read_uninit`].
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_read_uninit(cx, buf)
    }

    /// See [`TcpStream::poll_read_vec`].
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn poll_read_vec(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_read_vec(cx, buf)
    }

    /// See [`TcpStream::poll_read_vectored`].
    ///
    /// # Errors
    /// As [`TcpStream::read`].
    pub fn poll_read_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_read_vectored(cx, bufs)
    }

    /// See [`TcpStream::poll_io`].
    ///
    /// # Errors
    /// As [`TcpStream::async_io`].
    pub fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.stream.poll_io(cx, interest, op)
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// As [`TcpStream::peer_addr`].
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As [`TcpStream::local_addr`].
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }
}

/// A stream to write to.
#[derive(Debug)]
pub struct Writer<S> {
    stream: S,
}

impl<S: Deref<Target = TcpStream>> Writer<S> {
    /// See [`TcpStream::write`], also for errors and cancel safety, which are the same here and
    /// below.
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn write(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> {
        self.stream.write(buf)
    }

    /// See [`TcpStream::write_vectored`].
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> impl Future<Output = io::Result<usize>> {
        self.stream.write_vectored(bufs)
    }

    /// See [`TcpStream::write_all`], which is not cancel safe.
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn write_all(&self, buf: &[u8]) -> impl Future<Output = io::Result<()>> {
        self.stream.write_all(buf)
    }

    /// See [`TcpStream::writable`].
    ///
    /// # Errors
    /// As [`TcpStream::writable`].
    pub async fn writable(&self) -> io::Result<()> {
        self.stream.writable().await
    }

    /// See [`TcpStream::try_write`].
    ///
    /// # Errors
    /// As [`TcpStream::try_write`].
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.stream.try_write(buf)
    }

    /// See [`TcpStream::try_write_vectored`].
    ///
    /// # Errors
    /// As [`TcpStream::try_write`].
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.try_write_vectored(bufs)
    }

    /// See [`TcpStream::poll_write`].
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, buf)
    }

    /// See [`TcpStream::poll_write_vectored`].
    ///
    /// # Errors
    /// As [`TcpStream::write`].
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write_vectored(cx, bufs)
    }

    /// See [`TcpStream::poll_io`].
    ///
    /// # Errors
    /// As [`TcpStream::async_io`].
    pub fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.stream.poll_io(cx, interest, op)
    }

    /// Shuts down writing: the peer sees the end.
    ///
    /// # Errors
    /// As [`TcpStream::shutdown`].
    pub fn shutdown(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// As [`TcpStream::peer_addr`].
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As [`TcpStream::local_addr`].
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.stream.local_addr()
    }
}

/// The stream of the half.
impl<S: Deref<Target = TcpStream>> AsRef<TcpStream> for Reader<S> {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

/// The stream of the half.
impl<S: Deref<Target = TcpStream>> AsRef<TcpStream> for Writer<S> {
    fn as_ref(&self) -> &TcpStream {
        &self.stream
    }
}

impl OwnedReadHalf {
    /// Puts the stream together again.
    ///
    /// # Errors
    /// [`ReuniteError`], with both halves, if they belong to different streams.
    pub fn reunite(self, write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Arc::ptr_eq(&self.stream, &write.stream.stream) {
            return Err(ReuniteError(self, write));
        }
        write.forget();
        match Arc::try_unwrap(self.stream) {
            Ok(stream) => Ok(stream),
            Err(_) => unreachable!("there are two halves, and they cannot be cloned"),
        }
    }
}

impl OwnedWriteHalf {
    /// Puts the stream together again; see [`OwnedReadHalf::reunite`].
    ///
    /// # Errors
    /// [`ReuniteError`], with both halves, if they belong to different streams.
    pub fn reunite(self, read: OwnedReadHalf) -> Result<TcpStream, ReuniteError> {
        read.reunite(self)
    }

    /// Drops the half without shutting down writing.
    pub fn forget(mut self) {
        self.stream.armed = false;
    }
}

/// The stream as an owned write half holds it: dropping this shuts down writing.
#[derive(Debug)]
pub struct ShutdownOnDrop {
    stream: Arc<TcpStream>,
    armed: bool,
}

impl Deref for ShutdownOnDrop {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for ShutdownOnDrop {
    fn drop(&mut self) {
        // A child that drops its copy must not end the writing of its parent.
        if self.armed && !self.stream.is_inherited() {
            // A destructor cannot return an error, and a connection that has ended is shut down
            // already.
            let _ended = self.stream.shutdown(std::net::Shutdown::Write);
        }
    }
}

/// The error of [`reunite`](OwnedReadHalf::reunite): the halves, which are inside, belong to
/// different streams.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of the same stream")
    }
}

impl std::error::Error for ReuniteError {}
