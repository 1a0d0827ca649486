//! The runtime grown from nothing, 1 of 6: futures that are polled again and again.
//!
//! ```text
//! cargo run --example step1_busy_loop
//! polls: > 1000
//! cpu: > 90 %
//! ```
//!
//! Why does a future not run by itself? Because it is a value that says, each time it is polled, whether it is done
//! ([`Future::poll`]). So there must be a loop that polls. This is the smallest one: it polls every task, and again, until
//! all are done. Tasks wait side by side on one thread, and that is all a runtime need do to be right.
//!
//! The flaw: three tasks sleep for 0.2 s, and the thread spends all that time asking whether they still do (the figures
//! themselves are on stderr). Nothing tells the loop *when* it is worth a poll. A waker does: `step2_wakers.rs`.
//!
//! In the library the loop is `Runtime::drive` in `runtime/run.rs`. It has been through all the steps that follow.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

#[path = "steps/sleeps.rs"]
mod sleeps;

fn main() {
    sleeps::sleeps();
}

/// A future that was spawned. It is boxed because it must not move once it was polled, and because tasks differ in size.
type Task = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    static TASKS: RefCell<Vec<Task>> = RefCell::default();
}

/// Makes `future` a task.
fn spawn(future: impl Future<Output = ()> + 'static) {
    TASKS.with_borrow_mut(|tasks| tasks.push(Box::pin(future)));
}

/// Polls the tasks until all are done, or `limit` has passed. Returns how many are left.
fn run(limit: Duration) -> usize {
    let end = Instant::now() + limit;
    // The waker that does nothing: this loop polls without being asked to.
    let mut cx = Context::from_waker(Waker::noop());
    let mut tasks = TASKS.take();
    while !tasks.is_empty() && Instant::now() < end {
        // No borrow of `TASKS` is held meanwhile: a task that is polled may spawn others.
        tasks.retain_mut(|task| task.as_mut().poll(&mut cx).is_pending());
        tasks.extend(TASKS.take());
    }
    tasks.len()
}

/// Is done when so much time has passed.
async fn sleep(duration: Duration) {
    let deadline = Instant::now() + duration;
    poll_fn(|_cx| match Instant::now() < deadline {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await
}
