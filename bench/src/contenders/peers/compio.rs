//! compio on io_uring.
//!
//! Interface: [`Compio`].
//! Invariant: a buffer is lent to the kernel and comes back; a dropped handle would cancel its task.

use std::future::Future;
use std::io;
use std::time::Duration;

use compio::BufResult;
use compio::buf::{IntoInner as _, IoBuf as _};
use compio::io::{AsyncRead as _, AsyncWriteExt as _};
use compio::net::{TcpListener, TcpStream, UdpSocket};
use compio::runtime::Runtime;

use super::super::{Buffer, Contender, Joining, OWN};
use crate::sys::datagrams::ROOM;

pub(super) struct Compio;

impl Contender for Compio {
    fn block_on<F: Future>(&self, main: F) -> io::Result<F::Output> {
        Ok(Runtime::new()?.block_on(main))
    }

    fn spawn<F: Future<Output = ()> + 'static>(task: F) -> impl Future<Output = ()> + 'static {
        Joining(compio::runtime::spawn(task))
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        compio::time::sleep(duration)
    }

    async fn echo(buffer: Buffer, ready: impl FnOnce(u16)) -> io::Result<()> {
        if buffer != Buffer::Boxed {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let listener = TcpListener::bind("0.0.0.0:0").await?;
        ready(listener.local_addr()?.port());
        loop {
            let (stream, _peer) = listener.accept().await?;
            compio::runtime::spawn(echo_boxed(stream)).detach();
        }
    }

    async fn echo_datagrams(at_once: usize, ready: impl FnOnce(u16)) -> io::Result<()> {
        if at_once != 1 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        ready(socket.local_addr()?.port());
        let echo = compio::runtime::spawn(echo_each(socket)).await;
        echo.expect("no task panics here")
    }
}

async fn echo_boxed(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = Vec::with_capacity(OWN);
    loop {
        let BufResult(n, filled) = stream.read(buf).await;
        let n = n?;
        if n == 0 {
            return Ok(());
        }
        let BufResult(sent, slice) = stream.write_all(filled.slice(..n)).await;
        sent?;
        buf = slice.into_inner();
    }
}

async fn echo_each(socket: UdpSocket) -> io::Result<()> {
    let mut buf = Vec::with_capacity(ROOM);
    loop {
        let BufResult(received, filled) = socket.recv_from(buf).await;
        let (n, peer) = received?;
        let BufResult(sent, slice) = socket.send_to(filled.slice(..n), peer).await;
        sent?;
        buf = slice.into_inner();
    }
}
