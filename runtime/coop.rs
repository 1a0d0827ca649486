//! Cooperation: the budget, for operations that are not the runtime's own.
//!
//! Interface: [`consume_budget`], [`cooperative`], [`unconstrained`], [`has_budget_remaining`], as tokio
//! has them.
//! Invariant: outside a runtime there is no budget, and nothing is ever refused.
//! Read before: `budget`.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::context;
use super::core::Core;

/// Takes one operation from the budget of the current task; if none is left, lets all queued tasks run
/// first.
///
/// For a loop of operations that are always ready and spend no budget: a computation in steps, or a channel
/// of another crate.
///
/// # Cancel safety
/// Safe: it has no effect but the delay.
///
/// # Examples
/// ```
/// use reveille::task::coop;
///
/// reveille::block_on(async {
///     let mut sum = 0u64;
///     for step in 0..10_000 {
///         sum += step;
///         coop::consume_budget().await;
///     }
///     assert_eq!(sum, 49_995_000);
/// });
/// ```
pub async fn consume_budget() {
    poll_fn(|cx| {
        let Some(core) = context::current() else {
            return Poll::Ready(());
        };
        ready!(core.executor.budget.poll(cx));
        core.executor.budget.spend();
        Poll::Ready(())
    })
    .await;
}

/// True if the current task may do another operation before it must let other tasks run; always true
/// outside a runtime. False counts as a refusal: a task that waits by itself then has given way.
///
/// # Examples
/// ```
/// use reveille::task::coop;
///
/// reveille::block_on(async {
///     assert!(coop::has_budget_remaining());
/// });
/// ```
pub fn has_budget_remaining() -> bool {
    context::with_current(|core| core.executor.budget.ask()).unwrap_or(true)
}

/// Makes `future` one operation of the budget: `future` is polled only while some budget is left, and
/// spends one operation when it is ready.
///
/// Put it around each operation on a channel or lock of another crate, which spends no budget by itself:
/// a receiver of a channel that is never empty would otherwise let no other task run. (A loop gives way without, if an
/// operation of this library is ready in each round.)
///
/// # Cancel safety
/// As safe as the future is.
///
/// # Examples
/// ```
/// use reveille::task::coop::cooperative;
///
/// reveille::block_on(async {
///     let received = async { Some(1) }; // `receiver.recv()`, of whichever channel
///     assert_eq!(cooperative(received).await, Some(1));
/// });
/// ```
pub fn cooperative<F: Future>(future: F) -> Coop<F> {
    Coop { future }
}

pin_project! {
    /// The future of [`cooperative`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Coop<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Coop<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let core = context::current();
        if let Some(core) = &core {
            ready!(core.executor.budget.poll(cx));
        }
        let output = ready!(self.project().future.poll(cx));
        if let Some(core) = &core {
            core.executor.budget.spend();
        }
        Poll::Ready(output)
    }
}

/// Polls `future` without a budget: none of its operations is refused, and none spends the budget of the
/// rest of the task. While its operations are always ready, no other task runs.
///
/// # Cancel safety
/// As safe as the future is.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use reveille::task::coop::unconstrained;
/// use reveille::time::sleep;
///
/// reveille::block_on(unconstrained(async {
///     for _ in 0..1000 {
///         sleep(Duration::ZERO).await;
///     }
/// }));
/// ```
pub fn unconstrained<F: Future>(future: F) -> Unconstrained<F> {
    Unconstrained { future }
}

pin_project! {
    /// The future of [`unconstrained`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Unconstrained<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        /// Restores the budget, also if the future panics.
        struct Lifted<'a>(&'a Core, u32);
        impl Drop for Lifted<'_> {
            fn drop(&mut self) {
                self.0.executor.budget.restore(self.1);
            }
        }
        let core = context::current();
        let _lifted = core
            .as_deref()
            .map(|core| Lifted(core, core.executor.budget.lift()));
        self.project().future.poll(cx)
    }
}
