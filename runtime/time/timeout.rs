//! A limit on the time a future may take.
//!
//! Interface: [`timeout`], [`timeout_at`].
//! Invariants: the future is polled first, so what one operation has is returned, however late it is: a poll that finds
//! the budget spent is put off as a whole. And whatever the future does, it hears that its time is over.
//! Read before: `sleep`, `coop`.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use pin_project_lite::pin_project;

use super::sleep::{Sleep, sleep, sleep_until};
use crate::runtime::context;
use crate::runtime::coop::unconstrained;
use crate::runtime::core::Core;

/// Runs `future` for at most `duration`, from now.
///
/// If the task has just spent its [budget](crate::task::coop), a poll is put off: it is `Pending`, and wakes, even if the
/// future is ready.
///
/// # Errors
/// [`Elapsed`] if the time was over first; the future is dropped with the [`Timeout`], unless
/// [`Timeout::into_inner`] takes it back.
///
/// # Panics
/// Polling it outside a runtime panics, unless the future is ready; making it does not.
///
/// # Cancel safety
/// As safe as the future is.
///
/// # Examples
/// ```
/// use std::future::pending;
/// use std::time::Duration;
/// use reveille::time::timeout;
///
/// reveille::block_on(async {
///     assert!(timeout(Duration::from_millis(1), pending::<()>()).await.is_err());
/// });
/// ```
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout {
        future,
        sleep: sleep(duration),
    }
}

/// Runs `future` until `deadline` at most; see [`timeout`].
///
/// # Errors
/// As [`timeout`].
///
/// # Panics
/// As [`timeout`].
///
/// # Cancel safety
/// As [`timeout`].
///
/// # Examples
/// ```
/// use std::future::pending;
/// use reveille::time::{Duration, now, timeout_at};
///
/// reveille::block_on(async {
///     // One deadline for both.
///     let deadline = now() + Duration::from_millis(1);
///     assert_eq!(timeout_at(deadline, async { 1 }).await, Ok(1));
///     assert!(timeout_at(deadline, pending::<()>()).await.is_err());
/// });
/// ```
pub fn timeout_at<F: Future>(deadline: Instant, future: F) -> Timeout<F> {
    Timeout {
        future,
        sleep: sleep_until(deadline),
    }
}

pin_project! {
    /// The future of [`timeout`] and [`timeout_at`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    /// The future that is limited.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future that is limited, to change it.
    ///
    /// # Examples
    /// ```
    /// use reveille::time::{Duration, now, sleep, timeout};
    ///
    /// reveille::block_on(async {
    ///     let mut limited = timeout(Duration::from_secs(60), sleep(Duration::from_secs(3600)));
    ///     limited.get_mut().reset(now());
    ///     assert_eq!(limited.await, Ok(()));
    /// });
    /// ```
    pub fn get_mut(&mut self) -> &mut F {
        &mut self.future
    }

    /// The future that was limited.
    ///
    /// # Examples
    /// ```
    /// use std::future::pending;
    /// use reveille::time::{Duration, timeout};
    ///
    /// reveille::block_on(async {
    ///     let work = pending::<()>(); // It is not lost when the time is over.
    ///     let mut limited = timeout(Duration::from_millis(1), work);
    ///     assert!((&mut limited).await.is_err());
    ///     let _work = limited.into_inner();
    /// });
    /// ```
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // If the budget is spent, it might refuse the future an output that is there, and be renewed for the sleep.
        let is_spent = |core: &Core| !core.executor.budget.is_left();
        if context::with_current(is_spent).unwrap_or(false) {
            return give_way(cx);
        }
        let this = self.project();
        // The future first: an output that is there is returned, even if it is late.
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        // A future that has spent the budget, as a busy loop does in each poll, does not keep its time from being over.
        let elapsed = if context::with_current(is_spent).unwrap_or(false) {
            pin!(unconstrained(this.sleep)).poll(cx)
        } else {
            Pin::new(this.sleep).poll(cx)
        };
        elapsed.map(|()| Err(Elapsed(())))
    }
}

/// Refuses a poll: the task has spent its budget.
#[cold]
fn give_way<T>(cx: &Context<'_>) -> Poll<T> {
    if let Some(core) = context::current() {
        core.executor.budget.give_way(cx);
    }
    Poll::Pending
}

/// The time given to [`timeout`] was over before the future was ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("deadline has elapsed")
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(_: Elapsed) -> io::Error {
        io::ErrorKind::TimedOut.into()
    }
}
