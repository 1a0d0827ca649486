//! `AsyncRead` and `AsyncWrite` of the futures crates, behind the feature `futures-io`.
//!
//! Read before: `net::compat`.

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::super::pipe::{Receiver, Sender};
use super::super::split::{Reader, SplitStream, Writer};
use super::super::stream::Attempt;
use super::super::{TcpStream, UnixStream};
use super::Bytes;

/// Implements `AsyncRead` for a type that implements [`Bytes`]; a type parameter is given with its bound.
macro_rules! read {
    ($type:ty $(, $parameter:ident: $bound:path)?) => {
        impl$(<$parameter: $bound>)? AsyncRead for $type {
            #[inline]
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut [u8],
            ) -> Poll<io::Result<usize>> {
                self.engine().read(buf).poll_once(cx)
            }

            fn poll_read_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &mut [IoSliceMut<'_>],
            ) -> Poll<io::Result<usize>> {
                self.engine().read_vectored(bufs).poll_once(cx)
            }
        }
    };
}

/// Implements `AsyncWrite` in the same way.
macro_rules! write {
    ($type:ty $(, $parameter:ident: $bound:path)?) => {
        impl$(<$parameter: $bound>)? AsyncWrite for $type {
            super::write_methods!(poll_close);
        }
    };
}

read!(TcpStream);
read!(&TcpStream);
read!(UnixStream);
read!(&UnixStream);
read!(Reader<S>, S: Deref<Target: SplitStream>);
read!(Receiver);
write!(TcpStream);
write!(&TcpStream);
write!(UnixStream);
write!(&UnixStream);
write!(Writer<S>, S: Deref<Target: SplitStream>);
write!(Sender);
