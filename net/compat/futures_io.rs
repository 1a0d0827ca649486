//! `AsyncRead` and `AsyncWrite` of the futures crates, behind the feature `futures-io`.
//!
//! Read before: `net::compat`.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_io::{AsyncRead, AsyncWrite};

use super::super::pipe::{Receiver, Sender};
use super::super::stream::Attempt;
use super::super::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, TcpStream, WriteHalf};
use super::Bytes;

macro_rules! read {
    ($type:ty) => {
        impl AsyncRead for $type {
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

macro_rules! write {
    ($type:ty) => {
        impl AsyncWrite for $type {
            super::write_methods!(poll_close);
        }
    };
}

read!(TcpStream);
read!(&TcpStream);
read!(ReadHalf<'_>);
read!(OwnedReadHalf);
read!(Receiver);
write!(TcpStream);
write!(&TcpStream);
write!(WriteHalf<'_>);
write!(OwnedWriteHalf);
write!(Sender);
