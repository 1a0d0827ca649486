//! Intervals: one sleep that is set again at every tick.
//!
//! Interface: [`interval`], [`interval_at`], [`Interval::tick`].
//! Invariant: the next deadline is computed from the one before, not from when the tick was noticed,
//! so lateness does not add up. After missed ticks [`MissedTickBehavior`] says what is next.
//! Read before: `sleep`.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::sleep::{Sleep, far_from, now, sleep_until};

/// Ticks at once and then every `period`. After a stall it makes up for all the ticks that were missed;
/// [`set_missed_tick_behavior`](Interval::set_missed_tick_behavior) chooses otherwise.
///
/// # Panics
/// If `period` is zero.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use reveille::time::interval;
///
/// reveille::block_on(async {
///     let mut interval = interval(Duration::from_millis(1));
///     let first = interval.tick().await;
///     let second = interval.tick().await;
///     assert_eq!(second - first, Duration::from_millis(1));
/// });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    let mut interval = interval_at(now(), period);
    interval.sleep.elapse();
    interval
}

/// Ticks at `start` and then every `period`; see [`interval`].
///
/// # Panics
/// If `period` is zero.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use reveille::time::{interval_at, now};
///
/// reveille::block_on(async {
///     let start = now() + Duration::from_millis(1);
///     let mut interval = interval_at(start, Duration::from_secs(60));
///     assert_eq!(interval.tick().await, start);
/// });
/// ```
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(
        !period.is_zero(),
        "the period of an interval must not be zero"
    );
    let missed = MissedTickBehavior::default();
    Interval {
        sleep: sleep_until(start),
        period,
        missed,
    }
}

/// What an [`Interval`] does about ticks that were missed: not awaited before the next was due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// Makes up for all of them, as fast as they are asked for: after a stall of a minute, an interval of a
    /// millisecond ticks 60,000 times at once. Choose another where that does harm.
    #[default]
    Burst,
    /// Starts anew: the next tick comes a period after the late one was noticed.
    Delay,
    /// Leaves them out: the next tick comes at the next of the regular times.
    Skip,
}

/// Ticks; made by [`interval`] and [`interval_at`].
///
/// # Examples
/// ```
/// use reveille::runtime::Builder;
/// use reveille::time::{Duration, MissedTickBehavior, advance, interval, now};
///
/// # let minute = Duration::from_secs(60);
/// Builder::new().start_paused(true).auto_advance(true).block_on(async {
///     let mut interval = interval(minute);
///     interval.tick().await; // At once.
///     interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
///     let start = now();
///     advance(minute * 7 / 2).await; // A stall.
///     interval.tick().await;
///     assert_eq!(interval.tick().await - start, minute * 4);
/// });
/// ```
#[derive(Debug)]
pub struct Interval {
    /// Until the next tick.
    sleep: Sleep,
    /// The time between two ticks; never zero.
    period: Duration,
    /// What becomes of ticks that come due while no task asks.
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick and returns the time it was due.
    ///
    /// # Panics
    /// Polling it outside a runtime panics.
    ///
    /// # Cancel safety
    /// Safe: a tick is consumed when this returns, and not before.
    pub fn tick(&mut self) -> impl Future<Output = Instant> {
        Tick { interval: self }
    }

    /// Polls for the next tick; see [`tick`](Interval::tick).
    ///
    /// # Panics
    /// Outside a runtime.
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use reveille::time::{Duration, interval};
    ///
    /// reveille::block_on(async {
    ///     let mut interval = interval(Duration::from_secs(60));
    ///     poll_fn(|cx| interval.poll_tick(cx)).await; // The first comes at once.
    /// });
    /// ```
    #[track_caller]
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let due = self.sleep.deadline();
        let next = self.next_after(due, now());
        self.sleep.reset(next);
        Poll::Ready(due)
    }

    /// When the next tick comes, if the one that was `due` is noticed `now`. A time that `Instant`
    /// cannot hold becomes one thirty years on.
    fn next_after(&self, due: Instant, now: Instant) -> Instant {
        let regular = due.checked_add(self.period);
        // Noticed before the next is due, a tick may be late, but none was missed.
        if regular.is_none_or(|regular| now < regular) {
            return regular.unwrap_or_else(|| far_from(now));
        }
        let next = match self.missed {
            MissedTickBehavior::Burst => regular,
            MissedTickBehavior::Delay => now.checked_add(self.period),
            MissedTickBehavior::Skip => {
                let late = (now - due).as_nanos() % self.period.as_nanos();
                // Less than a period, but that may be more nanoseconds than fit into 64 bits.
                let late =
                    Duration::new((late / 1_000_000_000) as u64, (late % 1_000_000_000) as u32);
                now.checked_add(self.period - late)
            }
        };
        next.unwrap_or_else(|| far_from(now))
    }

    /// The next tick comes a period from now.
    ///
    /// # Examples
    /// ```
    /// use reveille::runtime::Builder;
    /// use reveille::time::{Duration, advance, interval, now};
    ///
    /// # let minute = Duration::from_secs(60);
    /// Builder::new().start_paused(true).auto_advance(true).block_on(async {
    ///     let mut interval = interval(minute);
    ///     interval.tick().await; // At once.
    ///     advance(minute / 2).await;
    ///     let start = now();
    ///     interval.reset();
    ///     interval.tick().await;
    ///     assert_eq!(now() - start, minute);
    /// });
    /// ```
    pub fn reset(&mut self) {
        self.reset_after(self.period);
    }

    /// The next tick comes at once.
    ///
    /// # Examples
    /// ```
    /// use reveille::runtime::Builder;
    /// use reveille::time::{Duration, interval, now};
    ///
    /// # let minute = Duration::from_secs(60);
    /// Builder::new().start_paused(true).auto_advance(true).block_on(async {
    ///     let mut interval = interval(minute);
    ///     interval.tick().await; // At once.
    ///     let start = now();
    ///     interval.reset_immediately();
    ///     interval.tick().await;
    ///     assert_eq!(now() - start, Duration::ZERO);
    /// });
    /// ```
    pub fn reset_immediately(&mut self) {
        self.sleep.reset(now());
        self.sleep.elapse();
    }

    /// The next tick comes when `after` has passed.
    ///
    /// # Examples
    /// ```
    /// use reveille::runtime::Builder;
    /// use reveille::time::{Duration, interval, now};
    ///
    /// # let minute = Duration::from_secs(60);
    /// Builder::new().start_paused(true).auto_advance(true).block_on(async {
    ///     let mut interval = interval(minute);
    ///     interval.tick().await; // At once.
    ///     let start = now();
    ///     interval.reset_after(minute / 4);
    ///     interval.tick().await;
    ///     assert_eq!(now() - start, minute / 4);
    /// });
    /// ```
    pub fn reset_after(&mut self, after: Duration) {
        let now = now();
        self.sleep
            .reset(now.checked_add(after).unwrap_or_else(|| far_from(now)));
    }

    /// The next tick comes at `deadline`.
    ///
    /// # Examples
    /// ```
    /// use reveille::runtime::Builder;
    /// use reveille::time::{Duration, interval, now};
    ///
    /// # let minute = Duration::from_secs(60);
    /// Builder::new().start_paused(true).auto_advance(true).block_on(async {
    ///     let mut interval = interval(minute);
    ///     interval.tick().await; // At once.
    ///     let start = now();
    ///     interval.reset_at(start + minute / 4);
    ///     interval.tick().await;
    ///     assert_eq!(now() - start, minute / 4);
    /// });
    /// ```
    pub fn reset_at(&mut self, deadline: Instant) {
        self.sleep.reset(deadline);
    }

    /// What the interval does about missed ticks.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Sets what the interval does about missed ticks.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }

    /// The time between two ticks.
    pub fn period(&self) -> Duration {
        self.period
    }
}

/// The future of [`Interval::tick`]; written by hand, so that its panic names the line of the `.await`.
struct Tick<'a> {
    /// What ticks.
    interval: &'a mut Interval,
}

impl Future for Tick<'_> {
    type Output = Instant;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Instant> {
        self.interval.poll_tick(cx)
    }
}
