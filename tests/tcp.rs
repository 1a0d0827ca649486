//! TCP from the outside: nothing the kernel holds is stranded, nothing leaks, and what a peer does
//! harms nobody else.
//!
//! Most tests step: `inside` enters a runtime to poll something by hand, `Runtime::turn` makes the
//! reactor look, and a `Reader` reads until it waits. `/proc/self/fdinfo` of the epoll instance
//! shows, after each test, that nothing stayed registered.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use reveille::Runtime;
use reveille::net::{TcpListener, TcpStream};

#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/step.rs"]
mod step;
#[path = "support/within.rs"]
mod within;

#[path = "tcp/accepting.rs"]
mod accepting;
#[path = "tcp/canceling.rs"]
mod canceling;
#[path = "tcp/connecting.rs"]
mod connecting;
#[path = "tcp/descriptors.rs"]
mod descriptors;
#[path = "tcp/ending.rs"]
mod ending;
#[path = "tcp/info.rs"]
mod info;
#[path = "tcp/options.rs"]
mod options;
#[path = "tcp/reading.rs"]
mod reading;
#[path = "tcp/shared_listener.rs"]
mod shared_listener;
#[path = "tcp/sharing.rs"]
mod sharing;
#[path = "tcp/socket.rs"]
mod socket;
#[path = "tcp/writing.rs"]
mod writing;

use step::{Wakes, inside};

/// A port of the kernel's choice.
const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Far beyond what any test takes, in seconds: a hang is a failure.
const WATCHDOG: u64 = 30;

/// Runs `test` with a runtime, after which nothing may be registered with it.
#[track_caller]
fn stepping(test: impl FnOnce(&Runtime) + Send + 'static) {
    within::within(WATCHDOG, move || {
        let runtime = Runtime::new().unwrap();
        test(&runtime);
        assert_eq!(registrations(&runtime), 0, "left in the interest list");
    });
}

/// As [`stepping`], for a test that awaits.
#[track_caller]
fn running(test: impl AsyncFnOnce() + Send + 'static) {
    stepping(|runtime| runtime.block_on(test()));
}

/// Sockets in the runtime's interest list: proc_pid_fdinfo(5) has a line for each.
fn registrations(runtime: &Runtime) -> usize {
    let epoll = runtime.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).unwrap();
    let lines = info.lines().filter(|line| line.starts_with("tfd:"));
    lines.count() - 2 // Two are the runtime's own: an eventfd and a timerfd.
}

/// A connection: std's end, which blocks, and ours, which was accepted and never lent.
async fn pair() -> (std::net::TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let theirs = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    theirs
        .set_read_timeout(Some(Duration::from_secs(WATCHDOG)))
        .unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    (theirs, ours)
}

/// A connection of which both ends are ours: the one that connected, and the one accepted.
async fn ours() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}

/// Waits until something that the kernel does by itself is done.
#[track_caller]
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(WATCHDOG), "{what}");
        thread::yield_now();
    }
}

/// Waits until all that was sent through this socket, an end included, lies in the peer's kernel.
#[track_caller]
fn delivered(stream: &std::net::TcpStream) {
    eventually("not acknowledged", || {
        let mut unacknowledged: libc::c_int = 0;
        // SAFETY: TIOCOUTQ (SIOCOUTQ, tcp(7)) writes one int through the pointer, which is that of
        // a live int.
        let outcome =
            unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut unacknowledged) };
        assert_eq!(outcome, 0);
        unacknowledged == 0
    });
}

/// Sends one urgent byte: tcp(7), MSG_OOB.
fn send_urgent(stream: &std::net::TcpStream) {
    // SAFETY: send(2) reads one byte through the pointer, which is that of a live byte.
    let sent = unsafe {
        libc::send(
            stream.as_raw_fd(),
            [b'X'].as_ptr().cast(),
            1,
            libc::MSG_OOB | libc::MSG_NOSIGNAL,
        )
    };
    assert_eq!(sent, 1);
}

/// Closes with a reset instead of an end, and waits until that has reached the peer: from then on
/// the kernel no longer lists the peer's socket.
#[track_caller]
fn reset(stream: std::net::TcpStream) {
    let (near, far) = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let stream = TcpStream::from_std(stream).unwrap();
    stream.set_zero_linger().unwrap();
    drop(stream);
    let gone = format!("{:04X} ", near.port());
    let peer = format!(":{:04X} ", far.port());
    eventually("the reset does not arrive", || {
        let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
        // "sl local_address rem_address ...", each address as hex:port.
        !table.lines().any(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, remote) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            local.ends_with(peer.trim_end()) && remote.ends_with(gone.trim_end())
        })
    });
}

/// How reading ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It waits, and the reactor has nothing to tell.
    Waits,
    Eof,
    Failed(ErrorKind),
}

/// Reads a stream by hand, as a task would: while it waits it reads only when it is woken.
struct Reader<'a> {
    runtime: &'a Runtime,
    stream: &'a TcpStream,
    wakes: Arc<Wakes>,
    waker: Waker,
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(runtime: &'a Runtime, stream: &'a TcpStream) -> Reader<'a> {
        let (wakes, waker) = Wakes::new();
        Reader {
            runtime,
            stream,
            wakes,
            waker,
            bytes: Vec::new(),
        }
    }

    /// One read of at most `room` bytes.
    fn read(&mut self, room: usize) -> Poll<io::Result<usize>> {
        let mut buf = vec![0; room];
        let polled = inside(self.runtime, || {
            let mut cx = Context::from_waker(&self.waker);
            self.stream.poll_read(&mut cx, &mut buf)
        });
        if let Poll::Ready(Ok(n)) = polled {
            self.bytes.extend_from_slice(&buf[..n]);
        }
        polled
    }

    /// Reads on, `room` bytes at a time, until it waits and no wake comes, or it is at the end.
    fn rest(&mut self, room: usize) -> End {
        loop {
            match self.read(room) {
                Poll::Ready(Ok(0)) => return End::Eof,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return End::Failed(error.kind()),
                Poll::Pending => {
                    let before = self.wakes.count();
                    self.runtime.turn().unwrap();
                    if self.wakes.count() == before {
                        return End::Waits;
                    }
                }
            }
        }
    }

    /// Takes what was read so far.
    fn take(&mut self) -> String {
        String::from_utf8(std::mem::take(&mut self.bytes)).unwrap()
    }

    /// Makes it wait for the first time, which registers it, and lets the kernel report that there
    /// is nothing yet.
    fn wait(&mut self) {
        assert_eq!(self.rest(1), End::Waits);
    }
}

/// A stream of bytes of which each place shows where it is: a loss or a repetition is seen.
fn counted(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// xorshift64: random enough to choose steps by, and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

/// Writes until a write waits; returns how many bytes were taken.
fn write_now(runtime: &Runtime, stream: &TcpStream, waker: &Waker) -> usize {
    let (bytes, mut taken) = ([7; 65_536], 0);
    loop {
        let polled = inside(runtime, || {
            stream.poll_write(&mut Context::from_waker(waker), &bytes)
        });
        match polled {
            Poll::Ready(n) => taken += n.unwrap(),
            Poll::Pending => return taken,
        }
    }
}

/// Writes until a write waits and the reactor has nothing to tell it; returns how many bytes were
/// taken.
fn fill(runtime: &Runtime, stream: &TcpStream, (wakes, waker): (&Wakes, &Waker)) -> usize {
    let mut taken = 0;
    loop {
        taken += write_now(runtime, stream, waker);
        let before = wakes.count();
        runtime.turn().unwrap();
        if wakes.count() == before {
            return taken;
        }
        // What the peer's kernel took meanwhile has made room.
    }
}

/// An address where nobody listens, kept from others for as long as the socket lives.
fn closed_port() -> (std::net::TcpListener, SocketAddr) {
    // SAFETY: socket(2) takes three integers.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    assert_ne!(fd, -1);
    // SAFETY: socket(2) has just made the descriptor, and nobody else owns it.
    let fd = unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    let mut address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: 0,
        sin_addr: libc::in_addr {
            s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be(),
        },
        sin_zero: [0; 8],
    };
    let len = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: bind(2) reads `len` bytes through the pointer, which is that of a live sockaddr_in of
    // this size.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), (&raw mut address).cast(), len) };
    assert_eq!(bound, 0);
    // It does not listen; std's type only tells the port.
    let socket = std::net::TcpListener::from(fd);
    let at = socket.local_addr().unwrap();
    (socket, at)
}

/// Ends writing, and waits until the peer's kernel knows.
fn finish(stream: &std::net::TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
    delivered(stream);
}
