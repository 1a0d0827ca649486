//! The runtime grown from nothing, 2 of 6: a queue of the tasks that are worth a poll, and wakers that put them there.
//!
//! ```text
//! cargo run --example step2_wakers
//! lost wakes: 0
//! threads while 1000 tasks wait: 1001
//! ends seen: 1000 of 1000
//! polls: < 10
//! cpu: < 10 %
//! ```
//!
//! What is added to `step1_busy_loop.rs`: a task that returns `Pending` has left its waker with whatever it waits for. A
//! wake puts the task's number into the queue. The loop polls what is in the queue; while nothing is, its thread sleeps.
//! So the three tasks of step 1 cost next to nothing now.
//!
//! The one delicate line is in `run`: `queued` is cleared *before* the poll. See what becomes of a task that wakes itself
//! while it is being polled, if that is done afterwards: the wake finds `queued` set, and puts nothing into the queue.
//!
//! ```text
//! cargo run --example step2_wakers -- late
//! lost wakes: 1
//! ```
//!
//! The flaw: what is it that wakes? Here, a thread for each wait: it blocks, in a sleep or a read, and then wakes. A
//! thousand sleeps, or a thousand connections, are a thousand threads. One system call can wait for all of them:
//! `step3_epoll.rs`.
//!
//! In the library the queue and `queued` are in `runtime/task/executor.rs` (R1, R2). Threads that block are for what the
//! kernel cannot wait for in another way: `runtime/pool.rs`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io::{Read, Result};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use std::{env, mem, thread};

#[path = "steps/crowd.rs"]
mod crowd;
#[path = "steps/sleeps.rs"]
mod sleeps;

/// Whether `queued` is cleared too late.
static LATE: AtomicBool = AtomicBool::new(false);

fn main() {
    if env::args()
        .nth(1)
        .is_some_and(|argument| argument == "late")
    {
        LATE.store(true, Ordering::Relaxed);
        return lost();
    }
    lost();
    crowd::crowd();
    sleeps::sleeps();
}

/// Says how many of one task are left: it wakes itself while it is being polled, and is done at its second poll.
fn lost() {
    let mut polled = false;
    spawn(poll_fn(move |cx| {
        if mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }));
    println!("lost wakes: {}", run(Duration::from_secs(1)));
}

/// Which tasks are to be polled, by their number: the run queue, which any thread may add to.
static QUEUE: Mutex<VecDeque<usize>> = Mutex::new(VecDeque::new());
static NOT_EMPTY: Condvar = Condvar::new();

/// What a waker knows of its task.
struct Hint {
    index: usize,
    /// True while the index is in the queue: a hundred wakes are one poll (R1).
    queued: AtomicBool,
}

impl Wake for Hint {
    fn wake(self: Arc<Self>) {
        // Acquire and release, even where nothing is queued: what this thread did before must be seen by the poll.
        if !self.queued.swap(true, Ordering::AcqRel) {
            QUEUE.lock().unwrap().push_back(self.index);
            NOT_EMPTY.notify_one();
        }
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    hint: Arc<Hint>,
}

thread_local! {
    /// By number. A task that is being polled, or is done, is not there.
    static TASKS: RefCell<Vec<Option<Task>>> = RefCell::default();
}

/// Makes `future` a task, and queues it: it has to be polled once before anything can wake it.
fn spawn(future: impl Future<Output = ()> + 'static) {
    let queued = AtomicBool::new(false);
    let index = TASKS.with_borrow(Vec::len);
    let hint = Arc::new(Hint { index, queued });
    let future = Box::pin(future);
    let task = Task {
        future,
        hint: Arc::clone(&hint),
    };
    TASKS.with_borrow_mut(|tasks| tasks.push(Some(task)));
    hint.wake();
}

/// Polls tasks as they are woken until all are done, or nothing was woken for `limit`. Returns how many are left.
fn run(limit: Duration) -> usize {
    while TASKS.with_borrow(|tasks| tasks.iter().any(Option::is_some)) {
        let queue = QUEUE.lock().unwrap();
        let (mut queue, _) = NOT_EMPTY
            .wait_timeout_while(queue, limit, |queue| queue.is_empty())
            .unwrap();
        let Some(index) = queue.pop_front() else {
            break;
        };
        drop(queue);
        // The index may be that of a task which is done: a waker may be kept for too long, and costs nothing then.
        let task = TASKS.with_borrow_mut(|tasks| tasks.get_mut(index).and_then(Option::take));
        let Some(mut task) = task else { continue };

        let late = LATE.load(Ordering::Relaxed);
        if !late {
            // Before the poll: a wake during the poll must queue the task again (R2).
            task.hint.queued.swap(false, Ordering::AcqRel);
        }
        let waker = Waker::from(Arc::clone(&task.hint));
        let outcome = task.future.as_mut().poll(&mut Context::from_waker(&waker));
        if late {
            task.hint.queued.swap(false, Ordering::AcqRel);
        }
        if outcome.is_pending() {
            TASKS.with_borrow_mut(|tasks| tasks[index] = Some(task));
        }
    }
    TASKS.take().into_iter().flatten().count()
}

/// Does what blocks on a thread of its own, which wakes the task afterwards.
async fn on_a_thread<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let mut work = Some(work);
    poll_fn(|cx| {
        if let Some(work) = work.take() {
            // The waker of the first poll will do, because this future stays in the task that polled it first.
            let (sender, waker) = (sender.clone(), cx.waker().clone());
            thread::spawn(move || {
                let _given_up = sender.send(work());
                waker.wake();
            });
        }
        receiver.try_recv().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

async fn sleep(duration: Duration) {
    on_a_thread(move || thread::sleep(duration)).await
}

/// A stream: each of its reads that has to wait takes a thread.
struct Registration(Arc<UnixStream>);

impl Registration {
    fn new(stream: UnixStream) -> Registration {
        Registration(Arc::new(stream))
    }

    async fn read(&self, buf: &mut [u8]) -> Result<usize> {
        let (stream, mut bytes) = (Arc::clone(&self.0), vec![0; buf.len()]);
        let (bytes, n) = on_a_thread(move || {
            let n = (&*stream).read(&mut bytes);
            (bytes, n)
        })
        .await;
        buf.copy_from_slice(&bytes);
        n
    }
}
