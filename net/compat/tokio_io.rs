//! tokio's `AsyncRead` and `AsyncWrite`, behind the feature `tokio-io`.
//!
//! Read before: `net::compat`.

use std::io::{self, IoSlice};
use std::ops::Deref;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

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
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                let read = self.engine().read_read_buf(buf);
                read.poll_once(cx).map_ok(drop)
            }
        }
    };
}

/// Implements `AsyncWrite` in the same way.
macro_rules! write {
    ($type:ty $(, $parameter:ident: $bound:path)?) => {
        impl$(<$parameter: $bound>)? AsyncWrite for $type {
            super::write_methods!(poll_shutdown);

            fn is_write_vectored(&self) -> bool {
                true
            }
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
