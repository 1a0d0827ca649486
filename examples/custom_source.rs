//! A source of one's own: a timerfd, made awaitable with nothing but the public API.
//!
//! ```text
//! cargo run --example custom_source
//! tick
//! tick
//! tick
//! busy for three periods
//! the next tick stands for at least three
//! a tick that was not waited for cost nothing
//! ```
//!
//! What to look for: [`Ticker`] is an [`AsyncFd`] around the descriptor and one call of `async_io`,
//! which tries read(2) and, while that would block, waits. Any other descriptor that epoll(7) can
//! watch needs no more: an eventfd, a pidfd, inotify, a terminal, a device. The sockets of
//! `reveille::net` are made on `AsyncFd`, too.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::thread;
use std::time::Duration;

use reveille::io::{AsyncFd, Interest};
use reveille::time::timeout;

const PERIOD: Duration = Duration::from_millis(20);

fn main() -> io::Result<()> {
    reveille::block_on(async {
        let ticker = Ticker::new(PERIOD)?;
        for _ in 0..3 {
            ticker.tick().await?;
            println!("tick");
        }

        // While the thread is busy it receives no event, but the kernel counts the ticks.
        thread::sleep(3 * PERIOD);
        println!("busy for three periods");
        if ticker.tick().await? >= 3 {
            println!("the next tick stands for at least three");
        }

        // `tick` is cancel safe, because a read that would block has done nothing.
        let rare = Ticker::new(Duration::from_secs(3600))?;
        if timeout(PERIOD, rare.tick()).await.is_err() {
            println!("a tick that was not waited for cost nothing");
        }
        Ok(())
    })
}

/// Ticks every period: timerfd_create(2).
struct Ticker {
    // Only reading is of interest, and so only that is registered.
    timer: AsyncFd<File>,
}

impl Ticker {
    /// # Errors
    /// What timerfd_create(2) and timerfd_settime(2) report.
    fn new(period: Duration) -> io::Result<Ticker> {
        // Non-blocking: an operation on an `AsyncFd` must never block the thread.
        let flags = libc::TFD_NONBLOCK | libc::TFD_CLOEXEC;
        // SAFETY: timerfd_create(2) takes two integers and no pointer.
        let fd = check(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, flags) })?;
        // SAFETY: the call succeeded, so `fd` is open and nothing else owns it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let period = libc::timespec {
            tv_sec: libc::time_t::try_from(period.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::from(period.subsec_nanos()),
        };
        let timer = libc::itimerspec {
            it_interval: period,
            it_value: period,
        };
        // SAFETY: the kernel reads `timer`, which outlives the call; a null pointer for the old
        // setting means that it is not wanted.
        check(unsafe {
            libc::timerfd_settime(fd.as_raw_fd(), 0, &raw const timer, ptr::null_mut())
        })?;
        let timer = AsyncFd::with_interest(File::from(fd), Interest::READABLE)?;
        Ok(Ticker { timer })
    }

    /// Waits for the next tick, and returns how many there were since the last one.
    async fn tick(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        let read = |mut timer: &File| timer.read_exact(&mut count);
        self.timer.async_io(Interest::READABLE, read).await?;
        Ok(u64::from_ne_bytes(count))
    }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
