//! reveille, with the options of its `Builder`.
//!
//! Interface: [`Reveille`].
//! Invariant: [`Buffer::Own`] is the echo of the README, [`Buffer::Shared`] that of examples/echo.rs, and
//! [`Buffer::Boxed`] differs from the first by one word.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use reveille::Builder;
use reveille::io::AsyncFd;
use reveille::net::udp::{Batch, Outgoing};
use reveille::net::{TcpListener, TcpStream, UdpSocket};
use reveille::signal::unix::{SignalKind, signal};
use reveille::task::JoinSet;

use super::{Buffer, Contender, Gathers, Joining, OWN, SHARED};
use crate::crowds::{self, Crowd};
use crate::operations::Sample;
use crate::sys::datagrams::ROOM;

pub(super) struct Reveille(pub(super) Builder);

impl Contender for Reveille {
    fn block_on<F: Future>(&self, main: F) -> io::Result<F::Output> {
        Ok(self.0.build()?.block_on(main))
    }

    fn spawn<F: Future<Output = ()> + 'static>(task: F) -> impl Future<Output = ()> + 'static {
        Joining(reveille::spawn(task))
    }

    fn yield_now() -> impl Future<Output = ()> {
        reveille::task::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static {
        reveille::time::sleep(duration)
    }

    async fn echo(buffer: Buffer, ready: impl FnOnce(u16)) -> io::Result<()> {
        let listener = TcpListener::bind("0.0.0.0:0").await?;
        ready(listener.local_addr()?.port());
        let shared = Rc::new(RefCell::new(vec![0; SHARED]));
        loop {
            let (stream, _peer) = listener.accept().await?;
            drop(match buffer {
                Buffer::Own => reveille::spawn(echo_own(stream)),
                #[cfg(feature = "peers")]
                Buffer::Boxed => reveille::spawn(echo_boxed(stream)),
                #[cfg(not(feature = "peers"))]
                Buffer::Boxed => return Err(io::ErrorKind::Unsupported.into()),
                Buffer::Shared => reveille::spawn(echo_shared(stream, Rc::clone(&shared))),
            });
        }
    }

    async fn echo_datagrams(at_once: usize, ready: impl FnOnce(u16)) -> io::Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0").await?;
        ready(socket.local_addr()?.port());
        let echo = match at_once {
            1 => reveille::spawn(echo_each(socket)),
            _ => reveille::spawn(echo_many(socket, at_once)),
        };
        echo.await.expect("no task panics here")
    }

    fn crowd(crowd: Crowd, size: usize, n: u64) -> impl Future<Output = io::Result<Sample>> {
        crowds::crowd::<Self>(crowd, size, n)
    }
}

impl Gathers for Reveille {
    const KEEPS_ALL_POLLED: bool = true;

    type Fd = AsyncFd<UnixStream>;

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
        reveille::time::sleep_until(deadline)
    }

    async fn join_set(tasks: usize) {
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            set.spawn(async {});
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

async fn echo_own(stream: TcpStream) -> io::Result<()> {
    let mut buf = [0; OWN];
    while let n @ 1.. = stream.read(&mut buf).await? {
        stream.write_all(&buf[..n]).await?;
    }
    Ok(())
}

/// Not in the program of the gate: with a second caller of `read` the compiler inlines it nowhere, which is 3 to 7 % of
/// the instructions of a message.
#[cfg(feature = "peers")]
async fn echo_boxed(stream: TcpStream) -> io::Result<()> {
    let mut buf = vec![0; OWN];
    while let n @ 1.. = stream.read(&mut buf).await? {
        stream.write_all(&buf[..n]).await?;
    }
    Ok(())
}

/// As `examples/echo.rs`: not an async fn, because the future of one holds each argument twice.
#[expect(
    clippy::manual_async_fn,
    reason = "the future of an async fn is larger"
)]
fn echo_shared(
    stream: TcpStream,
    buffer: Rc<RefCell<Vec<u8>>>,
) -> impl Future<Output = io::Result<()>> {
    async move {
        while let n @ 1.. = poll_fn(|cx| stream.poll_read(cx, &mut buffer.borrow_mut())).await? {
            let sent = match stream.try_write(&buffer.borrow()[..n]) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                sent => sent?,
            };
            if sent < n {
                let left_over = buffer.borrow()[sent..n].to_vec();
                Box::pin(stream.write_all(&left_over)).await?;
            }
        }
        Ok(())
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
    let mut batch = Batch::new(at_once, ROOM);
    loop {
        socket.recv_many(&mut batch).await?;
        let echoes = batch.iter();
        let echoes = echoes.map(|received| Outgoing::new(received.bytes(), received.from()));
        let echoes: Vec<Outgoing> = echoes.collect();
        let mut sent = 0;
        while sent < echoes.len() {
            sent += socket.send_many(&echoes[sent..]).await?.whole();
        }
    }
}
