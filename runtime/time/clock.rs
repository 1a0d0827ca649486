//! The clock: what time it is in this runtime, and what time it was at the last turn.
//!
//! Interface: [`Clock::now`] reads it; [`turn_time`](Clock::turn_time) is what it showed when the
//! loop last turned; [`pause`](Clock::pause), [`resume`](Clock::resume) and
//! [`advance`](Clock::advance) are for tests.
//! Invariant: the clock never goes back, and the turn's time is never later than `now`. So a deadline that
//! is compared with the turn's time is never found reached too early.
//! Read next: `sleep`, which is judged by it.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The clock of one runtime.
#[derive(Debug)]
pub(crate) struct Clock {
    /// What the clock showed when the loop last turned: never later than now.
    turn_time: Cell<Instant>,
    /// While the clock is paused: what it shows, and `running_since` is `None`. While it runs: what it
    /// showed when it began to run, and `running_since` is what the monotonic clock showed then.
    base: Cell<Instant>,
    /// What the monotonic clock showed when this one began to run; `None` while it is paused.
    running_since: Cell<Option<Instant>>,
}

/// A century: what a step of the clock must leave before the last `Instant` there is, so that neither
/// the clock, once it runs again, nor a deadline that is thirty years on overflows.
const LEFT: Duration = Duration::from_secs(86_400 * 365 * 100);

impl Clock {
    /// A clock that shows the monotonic time, and runs unless it is `paused`.
    pub(crate) fn new(paused: bool) -> Clock {
        let now = Instant::now();
        Clock {
            turn_time: Cell::new(now),
            base: Cell::new(now),
            running_since: Cell::new((!paused).then_some(now)),
        }
    }

    /// The time now. It is CLOCK_MONOTONIC, which stands still while the machine is suspended, and
    /// which steps of the wall clock do not change (clock_gettime(2)).
    pub(crate) fn now(&self) -> Instant {
        match self.running_since.get() {
            None => self.base.get(),
            // Never paused: this clock and the monotonic one are the same.
            Some(since) if since == self.base.get() => Instant::now(),
            Some(since) => self.base.get() + since.elapsed(),
        }
    }

    /// Maps a `time` of this clock to the monotonic clock; `None` if this clock is paused before
    /// `time`.
    pub(crate) fn real(&self, time: Instant) -> Option<Instant> {
        let left = time.saturating_duration_since(self.base.get());
        match self.running_since.get() {
            Some(since) => since.checked_add(left),
            None => left.is_zero().then(Instant::now),
        }
    }

    /// The time of the last turn.
    pub(super) fn turn_time(&self) -> Instant {
        self.turn_time.get()
    }

    /// Reads the clock for the turn that begins.
    pub(crate) fn start_turn(&self) -> Instant {
        self.turn_time.set(self.now());
        self.turn_time.get()
    }

    /// True while the clock stands still.
    pub(crate) fn is_paused(&self) -> bool {
        self.running_since.get().is_none()
    }

    /// Stops the clock at what it shows now.
    pub(super) fn pause(&self) {
        self.base.set(self.now());
        self.running_since.set(None);
    }

    /// Lets a stopped clock run from what it shows; does nothing to one that runs.
    pub(super) fn resume(&self) {
        if self.is_paused() {
            self.running_since.set(Some(Instant::now()));
        }
    }

    /// Moves a paused clock on, unless it [may not show](Clock::may_show) the new time.
    pub(crate) fn advance(&self, by: Duration) {
        let later = self.base.get().checked_add(by);
        if let Some(later) = later.filter(|later| self.may_show(*later)) {
            self.base.set(later);
        }
    }

    /// False if there is less than [`LEFT`] between `time` and the last `Instant` there is.
    pub(crate) fn may_show(&self, time: Instant) -> bool {
        time.checked_add(LEFT).is_some()
    }
}
