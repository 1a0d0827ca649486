//! The traits of other crates, implemented for the streams of `net`, their halves, and the ends of pipes.
//!
//! Idea: a family of traits is one file, and a type one line in it. What a line needs to know of its type is [`Bytes`].
//!
//! Interface: the files, each behind a feature: `futures_io`, `tokio_io`, and `hyper`.
//! Invariants, of all families:
//! - Flushing is done at once: nothing is kept back here.
//! - Closing shuts down writing, as often as it is asked for; reading goes on. A pipe's end is closed by dropping it only.
//! - A vectored write takes up to 1024 buffers, from the first that is not empty: writev(2), IOV_MAX.
//! - An error leaves the buffer of a read as it was.
//! - Any number of tasks may read, or write, at once: their wakers are kept side by side, as by
//!   [`AsyncFd::poll_read_ready`](crate::io::AsyncFd::poll_read_ready).
//!
//! Read before: `net::stream`. Read next: `futures_io`, `tokio_io`, `net::compat::hyper`, in any order.

/// The methods that writers have in all families, of which only the one that closes has a name of its own.
macro_rules! write_methods {
    ($close:ident) => {
        #[inline]
        fn poll_write(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.engine().write(buf).poll_once(cx)
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.engine().write_vectored(bufs).poll_once(cx)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn $close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(self.end_writing())
        }
    };
}
use write_methods;

#[cfg(feature = "futures-io")]
mod futures_io;
#[cfg(feature = "hyper")]
mod hyper;
#[cfg(feature = "tokio-io")]
mod tokio_io;

use std::io;
use std::net::Shutdown;
use std::ops::Deref;

use super::pipe::{Receiver, Sender};
use super::split::{Reader, Split, SplitStream, Writer};
use super::stream::{ByteStream, Stream};
use super::sys::PipeFd;
use super::{TcpStream, UnixStream};

/// A type whose bytes are those of a stream.
trait Bytes {
    /// What the engine moves bytes through.
    type Socket: ByteStream;

    /// The engine below it.
    fn engine(&self) -> &Stream<Self::Socket>;

    /// Ends writing: the peer sees the end. A pipe does nothing: its end is closed by dropping it.
    fn end_writing(&self) -> io::Result<()>;
}

/// Implements [`Bytes`] for a stream that can be [split](Split).
macro_rules! bytes {
    ($type:ty) => {
        impl Bytes for $type {
            type Socket = <$type as Split>::Socket;

            fn engine(&self) -> &Stream<Self::Socket> {
                Split::engine(self)
            }

            fn end_writing(&self) -> io::Result<()> {
                self.shutdown(Shutdown::Write)
            }
        }
    };
}

bytes!(TcpStream);
bytes!(UnixStream);

impl Bytes for Receiver {
    type Socket = PipeFd;

    fn engine(&self) -> &Stream<PipeFd> {
        Receiver::engine(self)
    }

    fn end_writing(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Bytes for Sender {
    type Socket = PipeFd;

    fn engine(&self) -> &Stream<PipeFd> {
        Sender::engine(self)
    }

    /// Does nothing, as tokio's: a pipe has no shutdown(2), and the descriptor is closed when this is dropped.
    fn end_writing(&self) -> io::Result<()> {
        Ok(())
    }
}

impl<T: Bytes> Bytes for &T {
    type Socket = T::Socket;

    fn engine(&self) -> &Stream<Self::Socket> {
        (**self).engine()
    }

    fn end_writing(&self) -> io::Result<()> {
        (**self).end_writing()
    }
}

impl<S: Deref<Target: SplitStream>> Bytes for Reader<S> {
    type Socket = <S::Target as Split>::Socket;

    fn engine(&self) -> &Stream<Self::Socket> {
        Split::engine(self.as_ref())
    }

    fn end_writing(&self) -> io::Result<()> {
        self.as_ref().shutdown(Shutdown::Write)
    }
}

impl<S: Deref<Target: SplitStream>> Bytes for Writer<S> {
    type Socket = <S::Target as Split>::Socket;

    fn engine(&self) -> &Stream<Self::Socket> {
        Split::engine(self.as_ref())
    }

    fn end_writing(&self) -> io::Result<()> {
        self.as_ref().shutdown(Shutdown::Write)
    }
}
