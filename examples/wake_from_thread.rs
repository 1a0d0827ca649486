//! A future made by hand, completed by another thread: what a waker is, and how it crosses.
//!
//! ```text
//! cargo run --example wake_from_thread
//! main: polled, nothing there yet, so the waker is kept
//! main: other tasks run meanwhile
//! thread: here is 42, wake up
//! main: polled again, and there is 42
//! ```
//!
//! What to look for: [`Answer::poll`] stores the waker *under the lock* under which it found no
//! answer. If it released the lock in between, the thread could answer then, and would find no waker
//! to wake. The waker goes to the other thread, although the future, and every task here, stays on
//! this one: a waker only says which task to wake, and owns nothing. The wake goes through the
//! runtime's inbox, and an eventfd that ends the wait of epoll_wait(2).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

/// What the two threads share.
#[derive(Default)]
struct Slot {
    answer: Option<u32>,
    waker: Option<Waker>,
}

/// Becomes ready when [`Answerer::answer`] has been called.
struct Answer(Arc<Mutex<Slot>>);

/// The other end, to be sent to another thread.
struct Answerer(Arc<Mutex<Slot>>);

fn answer() -> (Answerer, Answer) {
    let slot = Arc::new(Mutex::new(Slot::default()));
    (Answerer(Arc::clone(&slot)), Answer(slot))
}

impl Future for Answer {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = slot.answer.take() {
            println!("main: polled again, and there is {answer}");
            return Poll::Ready(answer);
        }
        // The latest waker counts: the future may have moved to another task since.
        slot.waker = Some(cx.waker().clone());
        println!("main: polled, nothing there yet, so the waker is kept");
        Poll::Pending
    }
}

impl Answerer {
    fn answer(self, answer: u32) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.answer = Some(answer);
        let waker = slot.waker.take();
        // A waker may run any code, so it is woken without the lock.
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

fn main() -> io::Result<()> {
    let (answerer, answer) = answer();
    // The thread waits for this, so that what is printed comes in one order.
    let (go, gone) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        // `recv` returns an error when `go` is dropped, and that is the sign.
        let _sign = gone.recv();
        println!("thread: here is 42, wake up");
        answerer.answer(42);
    });
    reveille::block_on(async {
        let other = reveille::spawn(async move {
            println!("main: other tasks run meanwhile");
            drop(go);
        });
        // The main future is polled first, and its task waits here.
        assert_eq!(answer.await, 42);
        other.await
    })?;
    // Joining earlier would have blocked the runtime, too.
    thread
        .join()
        .map_err(|_| io::Error::other("the thread panicked"))
}
