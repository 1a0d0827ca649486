//! The timerfd: a timer that epoll watches.
//!
//! Interface: [`TimerFd`].
//! Invariant: a timer that expires is one event, edge-triggered; the count of expirations is never read, and
//! setting the timer anew clears that count.
//! Read next: `alarm`, which says when the timer is set.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::time::Duration;

use super::{check, own};

/// A timer of the monotonic clock, timerfd_create(2).
#[derive(Debug)]
pub(crate) struct TimerFd(OwnedFd);

impl TimerFd {
    /// timerfd_create(2) of CLOCK_MONOTONIC: nonblocking, closed by exec, and not set.
    pub(crate) fn new() -> io::Result<TimerFd> {
        // SAFETY: timerfd_create(2) takes two integers and no pointer.
        let made = unsafe {
            libc::timerfd_create(
                libc::CLOCK_MONOTONIC,
                libc::TFD_CLOEXEC | libc::TFD_NONBLOCK,
            )
        };
        Ok(TimerFd(own("timerfd_create", made)?))
    }

    /// Has the timer expire once, after `after`; zero disarms it. What was set before is forgotten.
    pub(crate) fn set(&self, after: Duration) -> io::Result<()> {
        let timer = libc::itimerspec {
            it_interval: libc::timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: libc::timespec {
                tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: libc::c_long::from(after.subsec_nanos()),
            },
        };
        let (fd, no_flags) = (self.0.as_raw_fd(), 0);
        // SAFETY: the kernel reads one `itimerspec` from the pointer, and `timer` outlives the call;
        // where the old value is null, nothing is written (timerfd_settime(2)).
        let set = unsafe { libc::timerfd_settime(fd, no_flags, &raw const timer, ptr::null_mut()) };
        check(set).map(drop)
    }
}

impl AsFd for TimerFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
