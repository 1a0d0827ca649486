//! Sleeping: a deadline, and the name of the timer that will wake the task.
//!
//! Interface: [`sleep`], [`sleep_until`]; [`now`], and for tests
//! [`pause`], [`advance`], [`resume`].
//! Invariant: whether a sleep is over depends on its deadline and the clock, never on whether its
//! timer is still there. So a sleep that is dropped, reset or moved while its batch of timers fires
//! costs a spurious wake at most.
//! Read before: `timers`, `clock`. Read next: `timeout`, `interval`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use crate::runtime::context;
use crate::runtime::core::Core;
use crate::runtime::name::place::{self, Command};
use crate::runtime::name::slab::Name;

/// Completes when `duration` has passed: never earlier, and later only by the time the thread takes to wake
/// up, by the polls that come before, and, if it is over 10 ms or one of many, by the kernel's timer slack (50 µs or
/// 0.1 % of the time, see [`Builder::timer_slack`](crate::runtime::Builder::timer_slack)). A duration too long for the
/// clock counts as thirty years.
///
/// The time is CLOCK_MONOTONIC, to the nanosecond; it stands still while the machine is suspended.
///
/// # Panics
/// Polling it outside a runtime panics; making it does not.
///
/// # Cancel safety
/// Safe. Dropping it disarms its timer.
///
/// # Examples
/// ```
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// reveille::block_on(reveille::time::sleep(Duration::from_millis(2)));
/// assert!(start.elapsed() >= Duration::from_millis(2));
/// ```
pub fn sleep(duration: Duration) -> Sleep {
    let core = context::current();
    let clock = |read: fn(&Core) -> Instant| core.as_deref().map_or_else(Instant::now, read);
    if duration.is_zero() {
        // The turn's time has passed already, so this is over, and the clock need not be read.
        return Sleep::new(clock(|core| core.clock.turn_time()), true);
    }
    let now = clock(|core| core.clock.now());
    Sleep::new(
        now.checked_add(duration).unwrap_or_else(|| far_from(now)),
        false,
    )
}

/// Completes at `deadline`, at once if that has passed; see [`sleep`].
///
/// # Panics
/// As [`sleep`].
///
/// # Cancel safety
/// Safe.
///
/// # Examples
/// ```
/// use reveille::time;
///
/// reveille::block_on(time::sleep_until(time::now()));
/// ```
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(deadline, is_over(context::current().as_deref(), deadline))
}

/// True if `deadline` has passed by the clock of `core`. Without a runtime this is false: it is not
/// known yet which clock will decide (a paused one, say), and the first poll will find out.
fn is_over(core: Option<&Core>, deadline: Instant) -> bool {
    core.is_some_and(|core| deadline <= core.clock.now())
}

/// A deadline that `Instant` can hold and no program will reach: thirty years on.
pub(super) fn far_from(now: Instant) -> Instant {
    now + Duration::from_secs(86_400 * 365 * 30)
}

/// The time of the current runtime's clock, which tests may [`pause`]; outside a runtime,
/// [`Instant::now`].
pub fn now() -> Instant {
    context::with_current(|core| core.clock.now()).unwrap_or_else(Instant::now)
}

/// Stops the clock of the current runtime: [`now`] stands still, and no timer fires that is not due,
/// until [`advance`] or [`resume`]. For tests.
///
/// Without [`Builder::auto_advance`](crate::runtime::Builder::auto_advance) the clock does not advance
/// by itself: a sleep that begins after this ends only after [`advance`] or [`resume`].
/// **[`std::time::Instant::now`] does not follow the paused clock**; see
/// [`time`](crate::time#tests-with-a-paused-clock).
///
/// # Panics
/// Outside a runtime, and if the clock is paused already.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use reveille::time;
///
/// reveille::block_on(async {
///     time::pause();
///     let start = time::now();
///     time::advance(Duration::from_secs(3600)).await;
///     assert_eq!(time::now() - start, Duration::from_secs(3600));
/// });
/// ```
#[track_caller]
pub fn pause() {
    let core = context::expect_current("`time::pause` called");
    assert!(
        !core.clock.is_paused(),
        "`time::pause` called, but the clock is paused already"
    );
    core.clock.pause();
}

/// Lets a paused clock run on from the time it shows.
///
/// # Panics
/// Outside a runtime, and if the clock is not paused.
///
/// # Examples
/// ```
/// use reveille::time::{Duration, pause, resume, sleep};
///
/// reveille::block_on(async {
///     pause();
///     let nap = sleep(Duration::from_millis(1)); // While the clock is paused, it would not end.
///     resume();
///     nap.await;
/// });
/// ```
#[track_caller]
pub fn resume() {
    let core = context::expect_current("`time::resume` called");
    assert!(
        core.clock.is_paused(),
        "`time::resume` called, but the clock is not paused"
    );
    core.clock.resume();
}

/// Moves a paused clock on, fires the timers that are due then, and lets their tasks run once. A step
/// to within a century of the last time that an `Instant` can hold is not made.
///
/// # Panics
/// Outside a runtime, and if the clock is not paused.
///
/// # Cancel safety
/// The clock has moved once this was polled.
pub fn advance(duration: Duration) -> impl Future<Output = ()> {
    Advance {
        duration,
        moved: false,
    }
}

/// The future of [`advance`]; written by hand, so that its panic names the line of the `.await`.
struct Advance {
    /// By how much the clock is to be moved.
    duration: Duration,
    /// True after the first poll, which moves the clock.
    moved: bool,
}

impl Future for Advance {
    type Output = ();

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.moved {
            return Poll::Ready(());
        }
        let core = context::expect_current("`time::advance` called");
        assert!(
            core.clock.is_paused(),
            "`time::advance` called, but the clock is not paused"
        );
        core.clock.advance(self.duration);
        core.fire_timers();
        self.moved = true;
        // The tasks that were woken are in the queue now, and this one goes behind them.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// It may be sent anywhere: polled in another runtime than before, it arms its timer there. Unlike
/// tokio's it is `Unpin`, so `&mut sleep` can be awaited as it is.
///
/// # Examples
/// ```
/// use reveille::time::{Duration, now, sleep};
///
/// reveille::block_on(async {
///     let mut sleep = sleep(Duration::from_secs(3600));
///     assert!(!sleep.is_elapsed());
///     sleep.reset(now() + Duration::from_millis(1));
///     (&mut sleep).await;
///     assert!(sleep.is_elapsed());
/// });
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    /// When it is over, by the clock of the runtime that polls it.
    deadline: Instant,
    /// True if the deadline had passed when it was set, or a poll found the sleep over.
    elapsed: bool,
    /// The timer that was armed; it may have fired since.
    timer: Option<Name>,
}

impl Sleep {
    /// A sleep that has no timer yet.
    fn new(deadline: Instant, elapsed: bool) -> Sleep {
        Sleep {
            deadline,
            elapsed,
            timer: None,
        }
    }

    /// When the sleep will be over.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// True if the sleep was found to be over, or if its runtime's last turn came after its deadline.
    pub fn is_elapsed(&self) -> bool {
        let reached = |core: Rc<Core>| self.deadline <= core.clock.turn_time();
        self.elapsed || self.judge().is_some_and(reached)
    }

    /// The runtime in which the sleep waits, or else will wait: its clock decides. `None` unless that is the
    /// current one.
    fn judge(&self) -> Option<Rc<Core>> {
        let Some(name) = self.timer else {
            return context::current();
        };
        // If the runtime of its timer has ended, the sleep waits in the current one next.
        let next = || context::current().filter(|_| !place::is_open(name));
        context::home_of(name).or_else(next)
    }

    /// Sets another deadline. A task that waits need not poll again to be woken at the new one. (If this
    /// is called outside the runtime in which the task waits, the task is woken now, and waits anew.)
    pub fn reset(&mut self, deadline: Instant) {
        let judge = self.judge();
        self.deadline = deadline;
        self.elapsed = is_over(judge.as_deref(), deadline);
        match (self.timer, judge) {
            (None, _) => {}
            (Some(name), Some(core)) => {
                self.timer = core.disarm(name).map(|waker| core.arm(deadline, waker));
            }
            // Only its own runtime can change the timer: it wakes the task, which then arms a new one.
            (Some(name), None) => drop(place::post(name, Command::FireTimer(name))),
        }
    }

    /// Makes the sleep over, whatever the clock shows: for a tick that comes at once.
    pub(super) fn elapse(&mut self) {
        self.elapsed = true;
    }

    /// Disarms the timer, if there is one. From elsewhere this goes through the inbox of the timer's home: until that is
    /// read, the timer may still fire, for nothing, and its waker is dropped there.
    #[inline]
    fn disarm(&mut self) {
        if let Some(name) = self.timer.take() {
            context::order(name, Command::CancelTimer(name));
        }
    }

    /// Arms a timer that wakes this task, unless there is one already.
    fn arm(&mut self, core: &Core, cx: &Context<'_>) {
        if let Some(name) = self.timer.filter(|name| core.is_home_of(*name)) {
            let mut timers = core.timers.borrow_mut();
            match timers.waker_mut(name.index(), name.serial) {
                Some(waker) if waker.will_wake(cx.waker()) => return,
                Some(_) | None => {}
            }
        }
        // A waker's clone and drop run user code (R5), so the waker is not exchanged under the
        // borrow: the old timer is disarmed, and a new one armed.
        let waker = cx.waker().clone();
        self.disarm();
        self.timer = Some(core.arm(self.deadline, waker));
    }
}

impl Future for Sleep {
    type Output = ();

    // With this, a panic names the line of the `.await`.
    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let core = context::expect_current("a `Sleep` was polled");
        ready!(core.executor.budget.poll(cx));
        // The turn's time, by which timers fire: the sleep of a timer that has fired is over.
        if self.elapsed || self.deadline <= core.clock.turn_time() {
            self.elapsed = true;
            self.disarm();
            core.executor.budget.spend();
            return Poll::Ready(());
        }
        self.arm(&core, cx);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.disarm();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
