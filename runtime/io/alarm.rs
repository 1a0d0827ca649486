//! The alarm: ends the short waits of the reactor on time.
//!
//! Interface: [`Alarm::set`] before a wait, and [`rang`](Alarm::rang) when its event has come.
//!
//! The timeout of an epoll_pwait2(2) may be late by the timer slack of the thread, which is 50 µs by default
//! (prctl(2), PR_SET_TIMERSLACK), or by 0.1 % of it if that is more (Linux, `select_estimate_accuracy`). A
//! timerfd has no slack. So before a short wait a timerfd is set to the same moment, and its event ends the wait.
//! After a long wait the slack hardly matters, and a system call is saved.
//!
//! Invariant: nothing depends on the alarm. The wait has its timeout all the same, and the loop asks the clock
//! which timers are due. So an alarm that rings for nothing costs one turn, and where the kernel refuses a
//! timerfd, sleeps end as late as they would without one.
//!
//! Where timers are dense, five or more of them within the slack (`Timers::are_dense`, asked in `run`), the slack is
//! welcome, because it ends several with one wake of the thread. Then the loop sets no alarm: 100,000 sleeps that end within 100 ms took a fifth more CPU each with one.
//!
//! An alarm that is set to an earlier moment than is needed is left alone: if each message of a connection
//! moves a timeout on, the alarm is set once for as long as that timeout takes, and not once for each message.
//!
//! Read before: `runtime::sys::epoll`, `timerfd`. Read next: `reactor`.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use crate::runtime::sys::{Epoll, TimerFd};

/// A longer wait sets no alarm: 50 µs are 0.5 % of this.
pub(crate) const SHORT: Duration = Duration::from_millis(10);

/// The kernel's default timer slack. Where many timers end within so much of each other, the loop sets no alarm: the
/// slack has them end with one interrupt, which is what it is for.
pub(crate) const SLACK: Duration = Duration::from_micros(50);

/// The reactor's timerfd, and when it rings.
pub(crate) struct Alarm {
    /// `None` if the kernel refused one.
    timer: Option<TimerFd>,
    /// The time of the monotonic clock at which it will ring, if it is set.
    rings_at: Cell<Option<Instant>>,
}

impl Alarm {
    /// Makes an alarm whose events `epoll` brings under `token`; one that never rings, if the kernel refuses
    /// it, or no descriptor is left.
    pub(crate) fn new(epoll: &Epoll, token: u64) -> Alarm {
        // Edge-triggered: each expiration is an event, and the timer need not be read.
        let edge = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let watch = |timer: &TimerFd| epoll.add(timer.as_fd().as_raw_fd(), edge, token).is_ok();
        Alarm {
            timer: TimerFd::new().ok().filter(watch),
            rings_at: Cell::new(None),
        }
    }

    /// Sees to it that the event comes after `timeout` at the latest, if that is short and neither zero nor
    /// never. Returns true if that took a system call.
    pub(crate) fn set(&self, timeout: Option<Duration>) -> bool {
        let is_short = |after: &Duration| !after.is_zero() && *after <= SHORT;
        let (Some(timer), Some(after)) = (&self.timer, timeout.filter(is_short)) else {
            return false;
        };
        let now = Instant::now();
        let wanted = now + after;
        let is_early = |at: Instant| (now..=wanted).contains(&at);
        if self.rings_at.get().is_some_and(is_early) {
            return false;
        }
        let set = timer.set(after).is_ok();
        self.rings_at.set(set.then_some(wanted));
        true
    }

    /// The event of the alarm has come.
    pub(crate) fn rang(&self) {
        self.rings_at.set(None);
    }
}
