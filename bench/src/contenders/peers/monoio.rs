//! monoio, on epoll and on io_uring.
//!
//! Interface: [`Monoio`].
//! Invariant: the same program on either driver; a buffer is lent to the kernel and comes back.

use std::future::Future;
use std::io;
use std::time::Duration;

use monoio::buf::IoBuf as _;
use monoio::io::{AsyncReadRent as _, AsyncWriteRentExt as _};
use monoio::net::udp::UdpSocket;
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

use super::super::{Buffer, Contender, OWN};
use crate::sys::datagrams::ROOM;

pub(super) enum Monoio {
    Epoll,
    Uring,
}

impl Contender for Monoio {
    fn block_on<F: Future>(&self, main: F) -> io::Result<F::Output> {
        Ok(match self {
            Monoio::Epoll => {
                let builder = RuntimeBuilder::<LegacyDriver>::new();
                builder.enable_timer().build()?.block_on(main)
            }
            Monoio::Uring => {
                let builder = RuntimeBuilder::<IoUringDriver>::new();
                builder.enable_timer().build()?.block_on(main)
            }
        })
    }

    fn spawn<F: Future<Output = ()> + 'static>(task: F) -> impl Future<Output = ()> + 'static {
        monoio::spawn(task)
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(duration)
    }

    async fn echo(buffer: Buffer, ready: impl FnOnce(u16)) -> io::Result<()> {
        if buffer != Buffer::Boxed {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let listener = TcpListener::bind("0.0.0.0:0")?;
        ready(listener.local_addr()?.port());
        loop {
            let (stream, _peer) = listener.accept().await?;
            drop(monoio::spawn(echo_boxed(stream)));
        }
    }

    async fn echo_datagrams(at_once: usize, ready: impl FnOnce(u16)) -> io::Result<()> {
        if at_once != 1 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        ready(socket.local_addr()?.port());
        monoio::spawn(echo_each(socket)).await
    }
}

async fn echo_boxed(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; OWN];
    loop {
        let (n, filled) = stream.read(buf).await;
        let n = n?;
        if n == 0 {
            return Ok(());
        }
        let (sent, slice) = stream.write_all(filled.slice(..n)).await;
        sent?;
        buf = slice.into_inner();
    }
}

async fn echo_each(socket: UdpSocket) -> io::Result<()> {
    let mut buf = vec![0; ROOM];
    loop {
        let (received, filled) = socket.recv_from(buf).await;
        let (n, peer) = received?;
        let (sent, slice) = socket.send_to(filled.slice(..n), peer).await;
        sent?;
        buf = slice.into_inner();
    }
}
