//! Yielding: the task goes to the end of the queue, once.
//!
//! Interface: [`yield_now`].
//! Invariant: it wakes the waker of its poll, whichever executor made that, so it works inside a
//! join or a sub-executor as well.
//! Read before: `waker`.

use std::future::poll_fn;
use std::task::Poll;

/// Lets every task that is queued now run before this one goes on.
///
/// It does not ask the kernel: events, signals and timers are looked at when nothing is queued, after 61 polls, and after a
/// poll in which an operation was refused for want of [budget](crate::task::coop). So a task that is alone may yield 61 times before it sees a signal.
///
/// # Cancel safety
/// Safe: it has no effect but the delay.
///
/// # Examples
/// ```
/// reveille::block_on(async {
///     let other = reveille::spawn(async { println!("first") });
///     reveille::task::yield_now().await;
///     assert!(other.is_finished());
/// });
/// ```
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
