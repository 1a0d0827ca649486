//! tokio on one thread: `LocalRuntime`, whose tasks need not be `Send`, without a `LocalSet` in between.
//!
//! Interface: [`Tokio`].
//! Invariant: both drivers on, everything else as the `Builder` has it. tokio has no call for many datagrams: its users make
//! recvmmsg(2) and sendmmsg(2) themselves, inside `async_io`, as here.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinSet, spawn_local, yield_now};

use super::super::{Buffer, Contender, Gathers, Joining, OWN, SHARED};
use crate::crowds::{self, Crowd};
use crate::operations::Sample;
use crate::sys::datagrams::{Datagrams, ROOM};

pub(super) struct Tokio;

impl Contender for Tokio {
    fn block_on<F: Future>(&self, main: F) -> io::Result<F::Output> {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().build_local(LocalOptions::default())?;
        Ok(runtime.block_on(main))
    }

    fn spawn<F: Future<Output = ()> + 'static>(task: F) -> impl Future<Output = ()> + 'static {
        Joining(spawn_local(task))
    }

    fn yield_now() -> impl Future<Output = ()> {
        yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }

    async fn echo(buffer: Buffer, ready: impl FnOnce(u16)) -> io::Result<()> {
        let listener = TcpListener::bind("0.0.0.0:0").await?;
        ready(listener.local_addr()?.port());
        let shared = Rc::new(RefCell::new(vec![0; SHARED]));
        loop {
            let (stream, _peer) = listener.accept().await?;
            drop(match buffer {
                Buffer::Own => spawn_local(echo_own(stream)),
                Buffer::Boxed => spawn_local(echo_boxed(stream)),
                Buffer::Shared => spawn_local(echo_shared(stream, Rc::clone(&shared))),
            });
        }
    }

    async fn echo_datagrams(at_once: usize, ready: impl FnOnce(u16)) -> io::Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        ready(socket.local_addr()?.port());
        let echo = match at_once {
            1 => spawn_local(echo_each(socket)),
            _ => spawn_local(echo_many(socket, at_once)),
        };
        echo.await.expect("no task panics here")
    }

    fn crowd(crowd: Crowd, size: usize, n: u64) -> impl Future<Output = io::Result<Sample>> {
        crowds::crowd::<Self>(crowd, size, n)
    }
}

impl Gathers for Tokio {
    /// "this function retains the last waker", says the documentation of `poll_read_ready`.
    const KEEPS_ALL_POLLED: bool = false;

    type Fd = AsyncFd<UnixStream>;

    #[expect(
        deprecated,
        reason = "`register` is unsafe, and a socket of std keeps its promise"
    )]
    fn watch(socket: UnixStream) -> io::Result<Self::Fd> {
        AsyncFd::new(socket)
    }

    async fn readable(fd: &Self::Fd) -> io::Result<()> {
        fd.readable().await.map(drop)
    }

    fn poll_readable(fd: &Self::Fd, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        fd.poll_read_ready(cx).map_ok(drop)
    }

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep_until(deadline.into())
    }

    async fn join_set(tasks: usize) {
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            set.spawn_local(async {});
        }
        while let Some(outcome) = set.join_next().await {
            outcome.expect("no task panics here");
        }
    }

    async fn accept(listener: std::net::TcpListener, count: usize) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            streams.push(listener.accept().await?);
        }
        Ok(())
    }

    fn user_defined1() -> io::Result<impl Future<Output = ()> + 'static> {
        let mut listener = signal(SignalKind::user_defined1())?;
        Ok(async move { listener.recv().await.expect("signals do not end") })
    }
}

async fn echo_own(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; OWN];
    while let n @ 1.. = stream.read(&mut buf).await? {
        stream.write_all(&buf[..n]).await?;
    }
    Ok(())
}

async fn echo_boxed(mut stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; OWN];
    while let n @ 1.. = stream.read(&mut buf).await? {
        stream.write_all(&buf[..n]).await?;
    }
    Ok(())
}

async fn echo_shared(mut stream: TcpStream, buffer: Rc<RefCell<Vec<u8>>>) -> io::Result<()> {
    loop {
        stream.readable().await?;
        let n = match stream.try_read(&mut buffer.borrow_mut()) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            n => n?,
        };
        let sent = match stream.try_write(&buffer.borrow()[..n]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        let left_over = buffer.borrow()[sent..n].to_vec();
        stream.write_all(&left_over).await?;
    }
}

async fn echo_each(socket: UdpSocket) -> io::Result<()> {
    let mut buf = [0; ROOM];
    loop {
        let (n, peer) = socket.recv_from(&mut buf).await?;
        socket.send_to(&buf[..n], peer).await?;
    }
}

async fn echo_many(socket: UdpSocket, at_once: usize) -> io::Result<()> {
    let mut datagrams = Datagrams::new(at_once, false);
    loop {
        let receive = || datagrams.receive(&socket);
        let received = socket.async_io(Interest::READABLE, receive).await?;
        let mut sent = 0;
        while sent < received {
            let send = || datagrams.send(&socket, sent..received);
            sent += socket.async_io(Interest::WRITABLE, send).await?;
        }
    }
}
