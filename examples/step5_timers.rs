//! The runtime grown from nothing, 5 of 6: timers, and a wait that is given up by dropping it.
//!
//! ```text
//! cargo run --example step5_timers
//! silent clients left: 0 of 5
//! answered: 5 of 5
//! timers left: 0 of 1000
//! polls before the echo: 100000
//! wakes heard from another thread: 0 of 10
//! ```
//!
//! What is added to `step4_names.rs`: the deadlines, in order. The thread waits for events until the first of them at most.
//! A time limit is a future around another: it polls that, and if that is not done, it leaves the waker with a timer, too.
//! Whichever comes first ends the wait, and both are *dropped*. Nothing else need be called to give up a wait. A timer that
//! is dropped takes its waker along. So silent clients are closed, and of limits that were not needed nothing is left.
//!
//! Two flaws, both of the loop. It asks epoll when the queue is empty: a task that wakes itself sees to it that it never is,
//! and a client waits until that task gives up, here after 100,000 polls. And while it waits in epoll, another thread may
//! add to the queue, of which epoll does not know: ten wakes, and none is heard. Both are mended in `step6_miniature.rs`.
//!
//! In the library: `runtime/time/timers.rs`, `sleep.rs` and `timeout.rs`. There, a read that is dropped takes its waker out,
//! too: `runtime/io/operation.rs`. Here that waker stays for the next event, and costs a poll for nothing.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Result};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

// The server, with a limit on each read, is beside the work, because step 6 has the same.
use starve::serve;
use sys::Epoll;

#[path = "steps/heard.rs"]
mod heard;
#[path = "steps/limits.rs"]
mod limits;
#[path = "steps/silence.rs"]
mod silence;
#[path = "steps/starve.rs"]
mod starve;
#[path = "steps/sys.rs"]
mod sys;

fn main() {
    silence::silence();
    limits::limits();
    starve::starve();
    heard::heard();
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
    /// Those of the tasks that wait for a time, by deadline. The name keeps two of one deadline apart.
    static TIMERS: RefCell<BTreeMap<(Instant, Name), Waker>> = RefCell::default();
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

/// Waits for events, but not beyond the first deadline, and wakes the tasks that wait for them, or for a time that has
/// come. Returns false if there were none.
fn turn(limit: Duration) -> bool {
    let next = TIMERS.with_borrow(|timers| timers.keys().next().map(|timer| timer.0));
    // A deadline that has passed leaves no time.
    let limit = next.map_or(limit, |next| limit.min(next - Instant::now()));
    let events = EPOLL.with(|epoll| epoll.wait(limit));
    let mut wakers = Vec::new();
    for (_, token) in &events {
        wakers.extend(SOURCES.with_borrow_mut(|sources| sources.remove(token)));
    }
    let later = TIMERS.with_borrow_mut(|timers| timers.split_off(&(Instant::now(), Name::MAX)));
    wakers.extend(TIMERS.replace(later).into_values());
    let happened = !(events.is_empty() && wakers.is_empty());
    // When no borrow is held (R5), all of them (R9).
    wakers.into_iter().for_each(Waker::wake);
    happened
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

/// A deadline. Dropping it disarms the timer.
struct Timer(Instant, Name);

impl Drop for Timer {
    fn drop(&mut self) {
        TIMERS.with_borrow_mut(|timers| timers.remove(&(self.0, self.1)));
    }
}

/// Waits for `future`, but for no longer than `limit`: then it is dropped, and the answer is `None`.
async fn timeout<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    let timer = Timer(Instant::now() + limit, SERIALS.fetch_add(1, Relaxed));
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if Instant::now() >= timer.0 => Poll::Ready(None),
        Poll::Pending => {
            let waker = cx.waker().clone();
            TIMERS.with_borrow_mut(|timers| timers.insert((timer.0, timer.1), waker));
            Poll::Pending
        }
    })
    .await
}
