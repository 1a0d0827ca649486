//! The runtime grown from nothing, 4 of 6: whatever leaves the runtime is a name, and a name that is too old finds nothing.
//!
//! ```text
//! cargo run --example step4_names
//! strangers closed: 0 of 100
//! silent clients left: 5 of 5
//! answered: 5 of 5
//! ```
//!
//! What is changed in `step3_epoll.rs`, for the strangers' sake: epoll is given a *name* to bring back, a serial that is
//! never used again. An event for a connection that was closed finds nothing. A connection leaves epoll *before* its
//! descriptor is closed, so that no duplicate keeps it there. And an event is taken for a hint: nothing of it is remembered,
//! the task is woken and tries to read, and what the read says is true. (Step 3 would not have needed a stranger to go
//! wrong: a client that says something and hangs up at once is not heard there, because the hangup is seen first.)
//!
//! The flaw: five clients connect and say nothing, and the server waits for them for ever. (The program ends because nothing
//! has happened for a second.) It should give up after a while, but the only thing this runtime can wait for is a
//! descriptor: `step5_timers.rs`.
//!
//! In the library a name is a `Name`, with an index beside the serial; it is looked up in a `Slab` (`runtime/name/slab.rs`,
//! R6). A name in the 64 bits of an event is a `Token` (`runtime/io/sources.rs`), one in a waker is a `Hint`
//! (`runtime/name/waker.rs`). The order of leaving epoll and closing is R7, in `runtime/io/registration.rs`.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use sys::Epoll;

#[path = "steps/silence.rs"]
mod silence;
#[path = "steps/strangers.rs"]
mod strangers;
#[path = "steps/sys.rs"]
mod sys;

fn main() {
    strangers::strangers();
    silence::silence();
}

/// Sends back what comes, until the client ends.
async fn serve(client: Registration) {
    let mut buf = [0; 64];
    while let Ok(n @ 1..) = client.read(&mut buf).await {
        if (&client.stream).write_all(&buf[..n]).is_err() {
            break;
        }
    }
}

/// What the kernel and the wakers are given in place of a pointer, an index or a descriptor. Never given twice (R6).
type Name = u64;
/// Finds a thing by its name, or nothing.
type Slab<T> = HashMap<Name, T>;
type Task = Pin<Box<dyn Future<Output = ()>>>;

static SERIALS: AtomicU64 = AtomicU64::new(1);
/// The run queue.
static QUEUE: Mutex<VecDeque<Name>> = Mutex::new(VecDeque::new());

thread_local! {
    /// A task that is being polled is not there.
    static TASKS: RefCell<Slab<Task>> = RefCell::default();
    static EPOLL: Epoll = Epoll::new();
    /// The wakers of the tasks that wait for a source.
    static SOURCES: RefCell<Slab<Waker>> = RefCell::default();
}

/// What a waker knows of its task.
struct Hint(Name);

impl Wake for Hint {
    fn wake(self: Arc<Self>) {
        let mut queue = QUEUE.lock().unwrap();
        if !queue.contains(&self.0) {
            queue.push_back(self.0);
        }
    }
}

fn spawn(future: impl Future<Output = ()> + 'static) {
    let name = SERIALS.fetch_add(1, Relaxed);
    TASKS.with_borrow_mut(|tasks| tasks.insert(name, Box::pin(future)));
    QUEUE.lock().unwrap().push_back(name);
}

/// Polls tasks as they are woken until all are done, or nothing happens for `limit`. Returns how many are left.
fn run(limit: Duration) -> usize {
    loop {
        let next = QUEUE.lock().unwrap().pop_front();
        match next {
            Some(name) => poll(name),
            None if TASKS.with_borrow(HashMap::is_empty) || !turn(limit) => break,
            None => {}
        }
    }
    // Without a borrow: what is dropped may drop registrations, and wake.
    TASKS.take().len()
}

fn poll(name: Name) {
    let Some(mut task) = TASKS.with_borrow_mut(|tasks| tasks.remove(&name)) else {
        return;
    };
    let waker = Waker::from(Arc::new(Hint(name)));
    let outcome = task.as_mut().poll(&mut Context::from_waker(&waker));
    if outcome.is_pending() {
        TASKS.with_borrow_mut(|tasks| tasks.insert(name, task));
    }
}

/// Waits for events, and wakes the tasks that wait for them. Returns false if none came.
fn turn(limit: Duration) -> bool {
    let events = EPOLL.with(|epoll| epoll.wait(limit));
    for (_, token) in &events {
        let waker = SOURCES.with_borrow_mut(|sources| sources.remove(token));
        waker.into_iter().for_each(Waker::wake);
    }
    !events.is_empty()
}

/// A stream that is registered with epoll under a name.
struct Registration {
    stream: UnixStream,
    name: Name,
}

impl Registration {
    fn new(stream: UnixStream) -> Registration {
        stream.set_nonblocking(true).expect("it is open");
        let name = SERIALS.fetch_add(1, Relaxed);
        EPOLL.with(|epoll| epoll.control(libc::EPOLL_CTL_ADD, &stream, name));
        Registration { stream, name }
    }

    async fn read(&self, buf: &mut [u8]) -> Result<usize> {
        poll_fn(|cx| match (&self.stream).read(buf) {
            // No event is lost in between: epoll is not asked while a task is being polled (R4).
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let waker = cx.waker().clone();
                SOURCES.with_borrow_mut(|sources| sources.insert(self.name, waker));
                Poll::Pending
            }
            outcome => Poll::Ready(outcome),
        })
        .await
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        // Before the stream is closed, which is after this: fields are dropped last (R7).
        EPOLL.with(|epoll| epoll.control(libc::EPOLL_CTL_DEL, &self.stream, self.name));
        SOURCES.with_borrow_mut(|sources| sources.remove(&self.name));
    }
}
