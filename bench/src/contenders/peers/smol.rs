//! smol's parts for one thread: async-executor's `StaticLocalExecutor` (which keeps no list of its tasks,
//! and so spawns faster than a `LocalExecutor`), driven by async-io's `block_on`.
//!
//! Interface: [`Smol`].
//! Invariant: one executor a thread, for ever, which is what a static executor is.

use std::future::Future;
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use async_executor::{LocalExecutor, StaticLocalExecutor};
use async_io::{Async, Timer};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};

use super::super::{Buffer, Contender, OWN};
use crate::sys::datagrams::ROOM;

thread_local! {
    static EXECUTOR: &'static StaticLocalExecutor = LocalExecutor::new().leak();
}

pub(super) struct Smol;

impl Contender for Smol {
    fn block_on<F: Future>(&self, main: F) -> io::Result<F::Output> {
        let executor = EXECUTOR.with(|executor| *executor);
        Ok(async_io::block_on(executor.run(main)))
    }

    fn spawn<F: Future<Output = ()> + 'static>(task: F) -> impl Future<Output = ()> + 'static {
        EXECUTOR.with(|executor| executor.spawn(task))
    }

    async fn sleep(duration: Duration) {
        Timer::after(duration).await;
    }

    async fn echo(buffer: Buffer, ready: impl FnOnce(u16)) -> io::Result<()> {
        if buffer != Buffer::Own {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let listener = Async::<TcpListener>::bind(([0; 4], 0))?;
        ready(listener.get_ref().local_addr()?.port());
        loop {
            let (stream, _peer) = listener.accept().await?;
            EXECUTOR.with(|executor| executor.spawn(echo_own(stream)).detach());
        }
    }

    async fn echo_datagrams(at_once: usize, ready: impl FnOnce(u16)) -> io::Result<()> {
        if at_once != 1 {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let socket = Async::<UdpSocket>::bind(([0; 4], 0))?;
        ready(socket.get_ref().local_addr()?.port());
        EXECUTOR
            .with(|executor| executor.spawn(echo_each(socket)))
            .await
    }
}

async fn echo_own(mut stream: Async<TcpStream>) -> io::Result<()> {
    let mut buf = [0; OWN];
    while let n @ 1.. = stream.read(&mut buf).await? {
        stream.write_all(&buf[..n]).await?;
    }
    Ok(())
}

async fn echo_each(socket: Async<UdpSocket>) -> io::Result<()> {
    let mut buf = [0; ROOM];
    loop {
        let (n, peer) = socket.recv_from(&mut buf).await?;
        socket.send_to(&buf[..n], peer).await?;
    }
}
