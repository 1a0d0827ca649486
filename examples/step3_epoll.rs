//! The runtime grown from nothing, 3 of 6: one thread that waits for all descriptors at once, by epoll(7).
//!
//! ```text
//! cargo run --example step3_epoll
//! threads while 1000 tasks wait: 1
//! ends seen: 1000 of 1000
//! strangers closed: 100 of 100
//! ```
//!
//! What takes the place of the threads of `step2_wakers.rs` is a reactor. When the queue is empty, the thread waits in
//! epoll_wait(2). An event brings back the number of its descriptor, and that is the key to the task that waits. What
//! events have reported is remembered: a read that would find nothing is not tried, and a peer that has hung up is not
//! asked again. So the thousand tasks of step 2 wait on one thread.
//!
//! The flaw: a number is not a connection. Closing a descriptor takes it out of epoll only if no duplicate is left; a
//! connection that was closed here may go on reporting. The kernel gives its number to the next connection, and that one
//! inherits what is reported: the runtime says that its peer has hung up, and it is closed. Here this happens to a hundred
//! clients of a hundred. What is needed is a key that is never given twice: `step4_names.rs`.
//!
//! In the library the reactor is `runtime/io/reactor.rs`, and what it remembers is in `runtime/io/sources.rs` (R4).

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Result};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sys::Epoll;

#[path = "steps/crowd.rs"]
mod crowd;
#[path = "steps/strangers.rs"]
mod strangers;
#[path = "steps/sys.rs"]
mod sys;

fn main() {
    crowd::crowd();
    strangers::strangers();
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The run queue. Behind a lock, because a waker may be sent to any thread, although none is here.
static QUEUE: Mutex<VecDeque<u64>> = Mutex::new(VecDeque::new());
static SERIALS: AtomicU64 = AtomicU64::new(1);

thread_local! {
    /// By serial. A task that is being polled is not there.
    static TASKS: RefCell<HashMap<u64, Task>> = RefCell::default();
    static EPOLL: Epoll = Epoll::new();
    /// By descriptor.
    static SOURCES: RefCell<HashMap<RawFd, Source>> = RefCell::default();
}

/// What a waker knows of its task.
struct Hint(u64);

impl Wake for Hint {
    fn wake(self: Arc<Self>) {
        let mut queue = QUEUE.lock().unwrap();
        // At most once (R1). To look for it is shorter than the flag of step 2, and slower.
        if !queue.contains(&self.0) {
            queue.push_back(self.0);
        }
    }
}

/// What is known of a descriptor.
struct Source {
    /// Something may be there. Set by events, cleared by a read that found nothing.
    ready: bool,
    /// An event has said that the peer has hung up.
    ended: bool,
    waker: Option<Waker>,
}

fn spawn(future: impl Future<Output = ()> + 'static) {
    let serial = SERIALS.fetch_add(1, Relaxed);
    TASKS.with_borrow_mut(|tasks| tasks.insert(serial, Box::pin(future)));
    QUEUE.lock().unwrap().push_back(serial);
}

/// Polls tasks as they are woken until all are done, or nothing happens for `limit`. Returns how many are left.
fn run(limit: Duration) -> usize {
    loop {
        // A statement of its own: the lock must not be held while a task is polled, for it may wake.
        let next = QUEUE.lock().unwrap().pop_front();
        match next {
            Some(serial) => poll(serial),
            None if TASKS.with_borrow(HashMap::is_empty) || !turn(limit) => break,
            None => {}
        }
    }
    TASKS.take().len()
}

fn poll(serial: u64) {
    let Some(mut task) = TASKS.with_borrow_mut(|tasks| tasks.remove(&serial)) else {
        return;
    };
    let waker = Waker::from(Arc::new(Hint(serial)));
    let outcome = task.as_mut().poll(&mut Context::from_waker(&waker));
    if outcome.is_pending() {
        TASKS.with_borrow_mut(|tasks| tasks.insert(serial, task));
    }
}

/// Waits for events, and wakes the tasks that wait for them. Returns false if none came.
fn turn(limit: Duration) -> bool {
    let events = EPOLL.with(|epoll| epoll.wait(limit));
    for &(bits, fd) in &events {
        let waker = SOURCES.with_borrow_mut(|sources| {
            let source = sources.get_mut(&(fd as RawFd))?;
            source.ready = true;
            source.ended |= bits & (libc::EPOLLRDHUP | libc::EPOLLHUP) as u32 != 0;
            source.waker.take()
        });
        // Not under the borrow: a waker may be of another executor, and do anything (R5).
        waker.into_iter().for_each(Waker::wake);
    }
    !events.is_empty()
}

/// A stream, with its descriptor registered with epoll.
struct Registration {
    stream: UnixStream,
}

impl Registration {
    fn new(stream: UnixStream) -> Registration {
        stream.set_nonblocking(true).expect("it is open");
        let fd = stream.as_raw_fd();
        EPOLL.with(|epoll| epoll.control(libc::EPOLL_CTL_ADD, &stream, fd as u64));
        let (ready, ended, waker) = (true, false, None);
        let source = Source {
            ready,
            ended,
            waker,
        };
        SOURCES.with_borrow_mut(|sources| sources.insert(fd, source));
        Registration { stream }
    }

    async fn read(&self, buf: &mut [u8]) -> Result<usize> {
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            SOURCES.with_borrow_mut(|sources| {
                let source = sources.get_mut(&self.stream.as_raw_fd());
                let source = source.expect("it is there until this is dropped");
                while source.ready && !source.ended {
                    match (&self.stream).read(buf) {
                        Err(error) if error.kind() == ErrorKind::WouldBlock => source.ready = false,
                        outcome => return Poll::Ready(outcome),
                    }
                }
                if source.ended {
                    return Poll::Ready(Ok(0));
                }
                source.waker = Some(waker);
                Poll::Pending
            })
        })
        .await
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Closing the descriptor takes it out of epoll, or so it seems.
        SOURCES.with_borrow_mut(|sources| sources.remove(&self.stream.as_raw_fd()));
    }
}
