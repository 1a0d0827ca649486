//! The runtime grown from nothing, 6 of 6: wakes from other threads, fairness, and with them a miniature of the library.
//!
//! ```text
//! cargo run --example step6_miniature
//! polls before the echo: < 200
//! wakes heard from another thread: 10 of 10
//! ```
//!
//! What is added to `step5_timers.rs` is little, and each line has its reason:
//!
//! - `POLLS_BETWEEN_TURNS`: epoll is asked after so many polls, whether the queue is empty or not. A task that always
//!   wakes itself has a share of the thread, and no more.
//! - The eventfd: a wake from elsewhere writes it after it has put the name into the inbox, and so ends epoll_wait(2). A
//!   wake that comes before the wait is not lost either, because what was written stays there (R8).
//!
//! The parts have the names of the library's own: `Name`, `Slab`, `Hint`, `Place` and its inbox are in `runtime/name/`, the
//! tasks in `task/executor.rs`, the sources, `turn` and `Registration` in `io/`, the timers in `time/`, `run` in `run.rs`.
//! What is left out here, and where the library has it, is at the end of the page `runtime/grown_from_nothing.md`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::future::poll_fn;
use std::io::{ErrorKind, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

#[path = "steps/eventfd.rs"]
mod eventfd;
#[path = "steps/heard.rs"]
mod heard;
#[path = "steps/starve.rs"]
mod starve;
#[path = "steps/sys.rs"]
mod sys;

fn main() {
    EPOLL.with(|epoll| epoll.control(libc::EPOLL_CTL_ADD, &PLACE.eventfd, 0));
    starve::starve();
    heard::heard();
}

/// Tasks polled between two turns: no event waits for more polls. The library has the same number.
const POLLS_BETWEEN_TURNS: u64 = 61;

/// What the kernel and the wakers are given in place of a pointer, an index or a descriptor. Never given twice (R6).
type Name = u64;
/// Finds a thing by its name, or nothing.
type Slab<T> = HashMap<Name, T>;
type Task = Pin<Box<dyn Future<Output = ()>>>;

static SERIALS: AtomicU64 = AtomicU64::new(1);
static PLACE: LazyLock<Place> = LazyLock::new(|| Place {
    inbox: Mutex::default(),
    eventfd: eventfd::eventfd(),
});

/// What other threads can reach of the runtime.
struct Place {
    /// The tasks to be polled, in the order in which they were woken.
    inbox: Mutex<VecDeque<Name>>,
    /// Ends the wait in epoll. Its token is no source's: serials begin with 1.
    eventfd: File,
}

thread_local! {
    /// Whether `run` runs on this thread.
    static AT_HOME: Cell<bool> = const { Cell::new(false) };
    /// A task that is being polled is not there.
    static TASKS: RefCell<Slab<Task>> = RefCell::default();
    static EPOLL: sys::Epoll = sys::Epoll::new();
    /// The wakers of the tasks that wait for a source.
    static SOURCES: RefCell<Slab<Waker>> = RefCell::default();
    /// Those of the tasks that wait for a time, by deadline. The name keeps two of one deadline apart.
    static TIMERS: RefCell<BTreeMap<(Instant, Name), Waker>> = RefCell::default();
}

/// What a waker knows of its task.
struct Hint(Name);

impl Wake for Hint {
    fn wake(self: Arc<Self>) {
        let mut inbox = PLACE.inbox.lock().unwrap();
        if !inbox.contains(&self.0) {
            inbox.push_back(self.0);
        }
        // After the push: when the runtime's thread wakes up, the name is there. At home the loop will look by itself.
        if !AT_HOME.get() {
            let _full = (&PLACE.eventfd).write(&1u64.to_ne_bytes());
        }
    }
}

fn spawn(future: impl Future<Output = ()> + 'static) {
    let name = SERIALS.fetch_add(1, Relaxed);
    TASKS.with_borrow_mut(|tasks| tasks.insert(name, Box::pin(future)));
    PLACE.inbox.lock().unwrap().push_back(name);
}

/// Polls tasks as they are woken until all are done, or nothing happens for `limit`. Returns how many are left.
fn run(limit: Duration) -> usize {
    AT_HOME.set(true);
    for polls in 1.. {
        let next = PLACE.inbox.lock().unwrap().pop_front();
        match next {
            Some(name) => poll(name),
            None if TASKS.with_borrow(HashMap::is_empty) || !turn(limit) => break,
            None => {}
        }
        if polls % POLLS_BETWEEN_TURNS == 0 {
            turn(Duration::ZERO);
        }
    }
    AT_HOME.set(false);
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
