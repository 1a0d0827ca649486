//! What crosses threads, or runtimes: wakes, handles, and everything that is dropped elsewhere.
//!
//! "Elsewhere" is threefold, and [`Elsewhere`] goes through it: another thread, the same thread
//! outside `block_on` and `turn`, and the inside of another runtime's turn.

use std::fs;
use std::future::{Future, poll_fn};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use reveille::io::{AsyncFd, Interest};
use reveille::{Runtime, block_on};

#[path = "support/limit.rs"]
mod limit;
#[path = "support/alone.rs"]
mod support;

#[path = "cross_thread/dropping.rs"]
mod dropping;
#[path = "cross_thread/outliving.rs"]
mod outliving;
#[path = "cross_thread/runtimes.rs"]
mod runtimes;
#[path = "cross_thread/waking.rs"]
mod waking;

/// Far beyond what anything here takes, in seconds.
const LIMIT: u64 = 30;

/// Runs `f` on a thread of its own; a hang is a failure after so many seconds.
#[track_caller]
fn within<R: Send + 'static>(seconds: u64, f: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        let result = f();
        done.send(()).ok();
        result
    });
    let waited = is_done.recv_timeout(Duration::from_secs(seconds));
    assert_ne!(waited, Err(mpsc::RecvTimeoutError::Timeout), "hangs");
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[derive(Clone, Copy, Debug)]
enum Elsewhere {
    Thread,
    Outside,
    OtherRuntime,
}

impl Elsewhere {
    const ALL: [Elsewhere; 3] = [
        Elsewhere::Thread,
        Elsewhere::Outside,
        Elsewhere::OtherRuntime,
    ];

    fn run<R: Send>(self, f: impl FnOnce() -> R + Send) -> R {
        match self {
            Elsewhere::Thread => thread::scope(|scope| scope.spawn(f).join().unwrap()),
            Elsewhere::Outside => f(),
            Elsewhere::OtherRuntime => block_on(async { f() }),
        }
    }
}

/// A waker that counts, and whose owners can be counted.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Notes the thread it is dropped on.
struct DroppedOn(mpsc::Sender<ThreadId>);

impl Drop for DroppedOn {
    fn drop(&mut self) {
        self.0.send(thread::current().id()).ok();
    }
}

/// What `Debug` says of a runtime: its tasks, sources and timers.
#[track_caller]
fn assert_holds(runtime: &Runtime, what: &str) {
    let text = format!("{runtime:?}");
    assert!(text.contains(what), "{text}, expected {what}");
}

/// The registrations of a runtime's epoll instance, its bell's among them.
fn registrations(runtime: &Runtime) -> Vec<i32> {
    let path = format!("/proc/self/fdinfo/{}", runtime.as_fd().as_raw_fd());
    let mut fds = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        if let Some(rest) = line.strip_prefix("tfd:") {
            fds.push(rest.split_whitespace().next().unwrap().parse().unwrap());
        }
    }
    fds.retain(|fd| !is_timer(*fd));
    fds
}

/// True if this is the runtime's timerfd.
fn is_timer(fd: i32) -> bool {
    let link = fs::read_link(format!("/proc/self/fd/{fd}"));
    link.is_ok_and(|link| link.to_string_lossy().contains("timerfd"))
}

/// Polls `future` once in `runtime`, with a waker that counts.
fn poll_in<F: Future + Unpin>(runtime: &Runtime, future: &mut F, wakes: &Arc<Wakes>) -> bool {
    let waker = Waker::from(Arc::clone(wakes));
    runtime.block_on(async {
        Pin::new(&mut *future)
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    })
}

/// A socket to wait for, and its other end.
fn pair() -> (AsyncFd<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (AsyncFd::new(ours).unwrap(), theirs)
}

async fn read(fd: &AsyncFd<UnixStream>) -> io::Result<u8> {
    let mut byte = [0];
    fd.async_io(Interest::READABLE, |mut socket| socket.read(&mut byte))
        .await?;
    Ok(byte[0])
}

/// A waker of a task in `runtime`, which goes on waiting.
fn a_waker_of(runtime: &Runtime) -> Waker {
    let (sender, receiver) = mpsc::channel();
    drop(runtime.spawn(poll_fn(move |cx| {
        sender.send(cx.waker().clone()).ok();
        Poll::<()>::Pending
    })));
    runtime.turn().unwrap();
    receiver.recv().unwrap()
}
