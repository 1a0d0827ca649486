//! The halves of a stream: one task reads, another writes.
//!
//! Interface: a [`Reader`] and a [`Writer`], each generic over how it reaches its stream: by reference, or shared. The
//! modules of the streams have names for both, `ReadHalf` and so on. [`SplitStream`] is what a stream has to be.
//! Invariant: dropping an owned write half shuts down writing, unless the half was forgotten or reunited, or the
//! process is a forked child. So the peer sees the end, although the read half keeps the socket open.
//! Read before: `methods`. Read next: `tcp::stream`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::ops::Deref;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::methods::{operations, peeking, readable, reading, writable, writing};
use super::stream::{Attempt, ByteStream, Stream};
use crate::io::{AsyncFd, Interest, Ready};

/// A stream that can be split into halves: [`TcpStream`](super::TcpStream), [`UnixStream`](super::UnixStream). No other
/// crate's type can be one.
pub trait SplitStream: Split {
    /// The type of its addresses.
    type SocketAddr;

    /// The address of this end.
    ///
    /// # Errors
    /// As getsockname(2).
    fn local_addr(&self) -> io::Result<Self::SocketAddr>;

    /// The address of the other end.
    ///
    /// # Errors
    /// ENOTCONN if the connection of TCP has ended; a Unix stream keeps the address: getpeername(2).
    fn peer_addr(&self) -> io::Result<Self::SocketAddr>;
}

/// What the halves need of their stream, and nothing else does.
pub trait Split {
    /// The socket, as std has it.
    type Socket: ByteStream;

    /// What reads and writes.
    fn engine(&self) -> &Stream<Self::Socket>;

    /// Shuts down one direction, or both.
    fn shutdown(&self, how: Shutdown) -> io::Result<()>;

    /// True in the child of a fork, where the connection is the parent's, too.
    fn is_inherited(&self) -> bool;
}

/// Splits a stream into halves that borrow it.
pub(super) fn split<T>(stream: &mut T) -> (Reader<&T>, Writer<&T>) {
    (Reader { stream }, Writer { stream })
}

/// Splits a stream into halves that share it.
pub(super) fn into_split<T: SplitStream>(stream: T) -> (Reader<Arc<T>>, Writer<ShutdownOnDrop<T>>) {
    let stream = Arc::new(stream);
    let writer = ShutdownOnDrop {
        stream: Arc::clone(&stream),
        armed: true,
    };
    (Reader { stream }, Writer { stream: writer })
}

/// A stream to read from. Its methods are those of the stream, also in their errors and their cancel safety.
///
/// # Examples
/// The halves go to two places, and come together again:
/// ```
/// use reveille::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
/// # use reveille::net::{TcpListener, TcpStream};
///
/// /// Reads a greeting, and gives the half back.
/// async fn greeting(reader: OwnedReadHalf) -> std::io::Result<OwnedReadHalf> {
///     reader.read_exact(&mut [0; 5]).await?;
///     Ok(reader)
/// }
///
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// # server.write_all(b"hello").await?;
/// let (reader, writer): (_, OwnedWriteHalf) = client.into_split();
/// let greeted = reveille::spawn(greeting(reader));
/// writer.write_all(b"hello").await?;
/// let reader = greeted.await.unwrap()?;
/// let client: TcpStream = reader.reunite(writer).expect("they are of one stream");
///
/// // Halves of different streams come back in the error.
/// let (reader, other) = (client.into_split().0, server.into_split().1);
/// let error = other.reunite(reader).unwrap_err();
/// let (_reader, _other) = (error.0, error.1);
/// # Ok(())
/// # })
/// # }
/// ```
#[derive(Debug)]
pub struct Reader<S> {
    /// The way to the stream: `&T`, or `Arc<T>`.
    stream: S,
}

impl<S: Deref<Target: SplitStream>> Reader<S> {
    readable!();
    reading!();
    peeking!();
    operations!();

    /// The address of this end.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<<S::Target as SplitStream>::SocketAddr> {
        self.stream.local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// ENOTCONN if the connection of TCP has ended; a Unix stream keeps the address: getpeername(2).
    pub fn peer_addr(&self) -> io::Result<<S::Target as SplitStream>::SocketAddr> {
        self.stream.peer_addr()
    }

    /// What moves the bytes, for [`reading!`] and the like.
    fn engine(&self) -> &Stream<<S::Target as Split>::Socket> {
        self.stream.engine()
    }

    /// The registration, for [`readable!`] and the like.
    fn io(&self) -> &AsyncFd<<S::Target as Split>::Socket> {
        self.engine().io()
    }

    /// Called before other code gets at the descriptor (R10), by [`operations!`].
    fn lend(&self) {
        self.engine().lend();
    }
}

/// A stream to write to. Its methods are those of the stream, also in their errors and their cancel safety.
///
/// # Examples
/// See [`Reader`] and [`forget`](Writer::forget).
#[derive(Debug)]
pub struct Writer<S> {
    /// The way to the stream: `&T`, or [`ShutdownOnDrop<T>`].
    stream: S,
}

impl<S: Deref<Target: SplitStream>> Writer<S> {
    writable!();
    writing!();
    operations!();

    /// Shuts down writing: the peer sees the end.
    ///
    /// # Errors
    /// In the child of a fork, because the connection is the parent's, too; else hardly any.
    pub fn shutdown(&self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<<S::Target as SplitStream>::SocketAddr> {
        self.stream.local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// ENOTCONN if the connection of TCP has ended; a Unix stream keeps the address: getpeername(2).
    pub fn peer_addr(&self) -> io::Result<<S::Target as SplitStream>::SocketAddr> {
        self.stream.peer_addr()
    }

    /// What moves the bytes, for [`reading!`] and the like.
    fn engine(&self) -> &Stream<<S::Target as Split>::Socket> {
        self.stream.engine()
    }

    /// The registration, for [`readable!`] and the like.
    fn io(&self) -> &AsyncFd<<S::Target as Split>::Socket> {
        self.engine().io()
    }

    /// Called before other code gets at the descriptor (R10), by [`operations!`].
    fn lend(&self) {
        self.engine().lend();
    }
}

/// The stream of the half.
impl<S: Deref> AsRef<S::Target> for Reader<S> {
    fn as_ref(&self) -> &S::Target {
        &self.stream
    }
}

/// The stream of the half.
impl<S: Deref> AsRef<S::Target> for Writer<S> {
    fn as_ref(&self) -> &S::Target {
        &self.stream
    }
}

impl<T: SplitStream> Reader<Arc<T>> {
    /// Puts the stream together again.
    ///
    /// # Errors
    /// [`ReuniteError`], with both halves, if they belong to different streams.
    pub fn reunite(self, write: Writer<ShutdownOnDrop<T>>) -> Result<T, ReuniteError<T>> {
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

impl<T: SplitStream> Writer<ShutdownOnDrop<T>> {
    /// Puts the stream together again; see [`reunite`](Reader::reunite) of the read half.
    ///
    /// # Errors
    /// [`ReuniteError`], with both halves, if they belong to different streams.
    ///
    /// # Examples
    /// ```
    /// # use reveille::net::{TcpListener, TcpStream};
    /// # fn main() -> std::io::Result<()> {
    /// # reveille::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # let address = client.local_addr()?;
    /// let (reader, writer) = client.into_split();
    /// let client = writer.reunite(reader).expect("they are of one stream");
    /// # assert_eq!(client.local_addr()?, address);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn reunite(self, read: Reader<Arc<T>>) -> Result<T, ReuniteError<T>> {
        read.reunite(self)
    }

    /// Drops the half without shutting down writing.
    ///
    /// # Examples
    /// A peer that takes the end for "nothing more is wanted" must not see it while its answer is awaited:
    /// ```
    /// use std::io::ErrorKind;
    /// # use reveille::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # reveille::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = client.into_split();
    /// writer.write_all(b"question").await?;
    /// writer.forget();
    ///
    /// server.read_exact(&mut [0; 8]).await?;
    /// let error = server.try_read(&mut [0; 8]).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::WouldBlock); // And not the end, which would be `Ok(0)`.
    /// server.write_all(b"answer").await?;
    /// reader.read_exact(&mut [0; 6]).await?;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn forget(mut self) {
        self.stream.armed = false;
    }
}

/// The stream as an owned write half holds it: dropping this shuts down writing.
#[derive(Debug)]
pub struct ShutdownOnDrop<T: SplitStream> {
    /// The stream, which the read half shares.
    stream: Arc<T>,
    /// False once the half is [forgotten](Writer::forget).
    armed: bool,
}

impl<T: SplitStream> Deref for ShutdownOnDrop<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.stream
    }
}

impl<T: SplitStream> Drop for ShutdownOnDrop<T> {
    fn drop(&mut self) {
        // A child that drops its copy must not end the writing of its parent.
        if self.armed && !self.stream.is_inherited() {
            // A destructor cannot return an error, and a connection that has ended is shut down
            // already.
            let _ended = self.stream.shutdown(Shutdown::Write);
        }
    }
}

/// The error of [`reunite`](Reader::reunite): the halves, which are inside, belong to
/// different streams.
#[derive(Debug)]
pub struct ReuniteError<T: SplitStream>(pub Reader<Arc<T>>, pub Writer<ShutdownOnDrop<T>>);

impl<T: SplitStream> fmt::Display for ReuniteError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of the same stream")
    }
}

impl<T: SplitStream + fmt::Debug> std::error::Error for ReuniteError<T> {}
