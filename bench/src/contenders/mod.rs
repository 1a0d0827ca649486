//! The contenders: what the benchmarks ask of a runtime, and which runtimes answer.
//!
//! Interface: [`find`] by name; a [`Bench`] then operates or serves. [`Contender`] is what the file of a
//! runtime implements.
//! Invariant: the operations are written once, in `operations`, against [`Contender`]; a runtime's file
//! holds nothing but its own idiom for spawning, sleeping and echoing. What is fair is to be judged there.

use std::fmt::Debug;
use std::future::{self, Future};
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::reveille::Builder;

use crate::crowds::Crowd;
use crate::operations::{self, Operation, Sample};

#[cfg(feature = "peers")]
mod peers;
mod raw;
mod reveille;

/// A runtime. All that is timed runs in a task of it, because some are slower in the main future.
pub trait Contender {
    /// Runs `main` on a runtime made for it, with timers and sockets.
    fn block_on<F: Future>(&self, main: F) -> io::Result<F::Output>;

    /// Spawns a task; what is returned is its join handle, as the runtime makes it or in a [`Joining`].
    fn spawn<F: Future<Output = ()> + 'static>(task: F) -> impl Future<Output = ()> + 'static;

    /// As the runtime has it; else as futures-lite does: wake oneself, be polled again.
    fn yield_now() -> impl Future<Output = ()> {
        futures_lite::future::yield_now()
    }

    fn sleep(duration: Duration) -> impl Future<Output = ()> + 'static;

    /// Listens on a free port of all addresses, tells `ready` which, and echoes for ever: a task for
    /// each connection.
    fn echo(buffer: Buffer, ready: impl FnOnce(u16)) -> impl Future<Output = io::Result<()>>;

    /// Sends back each datagram that comes to a free port of all addresses, `at_once` of them a system call, and tells
    /// `ready` which port.
    fn echo_datagrams(
        _at_once: usize,
        _ready: impl FnOnce(u16),
    ) -> impl Future<Output = io::Result<()>> {
        future::ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// What one item of a crowd of this size costs; a contender that [`Gathers`] can tell.
    fn crowd(_: Crowd, _size: usize, _n: u64) -> impl Future<Output = io::Result<Sample>> {
        future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

/// A runtime that is asked for crowds: what they gather around, in its own idiom.
pub trait Gathers: Contender {
    /// Whether all tasks that poll one descriptor are woken, or only the last one.
    const KEEPS_ALL_POLLED: bool;

    /// A descriptor that tasks wait for.
    type Fd: 'static;

    fn watch(socket: UnixStream) -> io::Result<Self::Fd>;

    fn readable(fd: &Self::Fd) -> impl Future<Output = io::Result<()>>;

    fn poll_readable(fd: &Self::Fd, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    fn sleep_until(deadline: Instant) -> impl Future<Output = ()> + 'static;

    /// Spawns so many tasks into one set, and takes them out as they end.
    fn join_set(tasks: usize) -> impl Future<Output = ()>;

    /// Accepts so many connections, and keeps all until the last one has come.
    fn accept(listener: TcpListener, count: usize) -> impl Future<Output = io::Result<()>>;

    /// Listens for SIGUSR1; what is returned waits for one.
    fn user_defined1() -> io::Result<impl Future<Output = ()> + 'static>;
}

/// A join handle that tells whether the task has panicked, which none does here. A future of its own, and not
/// an async block: the state of that, a byte written before the block is moved, costs a stall of ten cycles and more,
/// and a runtime would be spared it if its handle yields the bare output.
pub struct Joining<H>(pub H);

impl<H: Future<Output = Result<(), E>> + Unpin, E: Debug> Future for Joining<H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let joined = Pin::new(&mut self.0).poll(cx);
        joined.map(|joined| joined.expect("no task panics here"))
    }
}

/// What an echo server reads into. The raw loop has one for all in any case, [`OWN`] bytes or [`SHARED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Buffer {
    /// 4 KiB for each connection, within its future: what the first program of a user does.
    Own,
    /// 4 KiB for each connection, in an allocation that its future points to.
    Boxed,
    /// 64 KiB for all, filled and emptied without awaiting in between: what examples/echo.rs does.
    /// Not with io_uring, whose kernel fills a buffer while the task waits.
    Shared,
}

impl Buffer {
    /// The one that a contender's first program would have: in the future, unless the buffer is lent and must not move.
    pub fn usual(name: &str) -> Buffer {
        if LENDING.contains(&name) {
            Buffer::Boxed
        } else {
            Buffer::Own
        }
    }

    /// Whether a contender can serve with it.
    pub fn suits(self, name: &str) -> bool {
        let others: &[&str] = match self {
            Buffer::Own => &[],
            Buffer::Boxed => BOXING,
            Buffer::Shared => SHARING,
        };
        self == Buffer::usual(name) || others.contains(&name)
    }

    /// As it is called on a command line.
    pub fn word(self) -> &'static str {
        match self {
            Buffer::Own => "own",
            Buffer::Boxed => "boxed",
            Buffer::Shared => "shared",
        }
    }
}

impl FromStr for Buffer {
    type Err = String;

    fn from_str(word: &str) -> Result<Buffer, String> {
        let mut all = [Buffer::Own, Buffer::Boxed, Buffer::Shared].into_iter();
        let found = all.find(|buffer| buffer.word() == word);
        found.ok_or_else(|| format!("no buffer `{word}`"))
    }
}

/// In bytes.
pub const OWN: usize = 4096;
pub const SHARED: usize = 64 * 1024;

/// What the processes of the benchmark do with a contender, whatever its type.
pub trait Bench {
    /// An error if the runtime does not start here, or cannot do that.
    fn operate(&self, operation: Operation, n: u64) -> io::Result<Sample>;
    fn serve(&self, buffer: Buffer, ready: &dyn Fn(u16)) -> io::Result<()>;
    fn serve_datagrams(&self, at_once: usize, ready: &dyn Fn(u16)) -> io::Result<()>;
}

impl<C: Contender> Bench for C {
    fn operate(&self, operation: Operation, n: u64) -> io::Result<Sample> {
        operations::run(self, operation, n)
    }

    fn serve(&self, buffer: Buffer, ready: &dyn Fn(u16)) -> io::Result<()> {
        self.block_on(C::echo(buffer, ready))?
    }

    fn serve_datagrams(&self, at_once: usize, ready: &dyn Fn(u16)) -> io::Result<()> {
        self.block_on(C::echo_datagrams(at_once, ready))?
    }
}

/// The contender of this name; the words after the runtime's are the option that is set.
pub fn find(name: &str) -> Option<Box<dyn Bench>> {
    Some(match name {
        "raw" => Box::new(raw::Raw),
        "reveille" => Box::new(reveille::Reveille(Builder::new())),
        "reveille slack" => {
            let slack = Duration::from_nanos(1);
            Box::new(reveille::Reveille(
                Builder::new().timer_slack(slack).clone(),
            ))
        }
        "reveille busy" => {
            let spin = Duration::from_micros(100);
            Box::new(reveille::Reveille(Builder::new().busy_poll(spin).clone()))
        }
        // Its clock stands still while anything is runnable, so that no deadline comes too soon under valgrind.
        "reveille paused" => Box::new(reveille::Reveille(
            Builder::new().start_paused(true).auto_advance(true).clone(),
        )),
        #[cfg(feature = "peers")]
        name => return peers::find(name),
        #[cfg(not(feature = "peers"))]
        _ => return None,
    })
}

/// The peers' names, in the order of the tables.
pub const PEERS: &[&str] = if cfg!(feature = "peers") {
    &[
        "tokio",
        "smol",
        "monoio epoll",
        "monoio uring",
        "compio",
        "glommio",
    ]
} else {
    &[]
};

/// Those that run on io_uring, which valgrind does not know: they hang there.
pub const URING: &[&str] = &["monoio uring", "compio", "glommio"];

/// Those that lend the buffer to the runtime while it is filled.
const LENDING: &[&str] = &["monoio epoll", "monoio uring", "compio"];

/// Those that can serve with [`Buffer::Boxed`] too. In a build for the gate reveille does not: see there.
const BOXING: &[&str] = if cfg!(feature = "peers") {
    &["reveille", "tokio"]
} else {
    &[]
};

/// Those that can serve with [`Buffer::Shared`].
const SHARING: &[&str] = &["raw", "reveille", "tokio"];

#[cfg(test)]
mod tests {
    use super::Buffer;

    #[test]
    fn a_buffer_suits_those_that_can_serve_with_it() {
        assert!(Buffer::Own.suits("smol") && !Buffer::Boxed.suits("smol"));
        assert!(Buffer::Boxed.suits("compio") && !Buffer::Own.suits("compio"));
        assert!(Buffer::Shared.suits("tokio") && !Buffer::Shared.suits("glommio"));
        assert!(Buffer::Own.suits("raw") && !Buffer::Boxed.suits("raw"));
        assert_eq!("boxed".parse(), Ok(Buffer::Boxed));
        assert!("".parse::<Buffer>().is_err());
    }
}
