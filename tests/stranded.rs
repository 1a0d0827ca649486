//! Never stranded (R10): what the kernel holds for a task that waits, the task gets without further
//! traffic. Real sockets, pipes and terminals are driven through random schedules; at rest, when
//! the reactor has looked and all who were woken have been polled, the kernel is asked what it
//! holds for those who still wait. The answer must be: nothing.
//!
//! `REVEILLE_SCHEDULES=10000 cargo test --test stranded` runs so many of each kind. A failure prints
//! its seed, and `REVEILLE_SEED=<that> cargo test --test stranded <the test> -- --nocapture` replays
//! that schedule alone, and prints each step of it before it is made.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use random::Random;
use within::within;

#[path = "support/random.rs"]
mod random;
#[path = "support/step.rs"]
mod step;
#[path = "support/within.rs"]
mod within;

#[path = "stranded/any_fd.rs"]
mod any_fd;
#[path = "stranded/kernel.rs"]
mod kernel;
#[path = "stranded/play.rs"]
mod play;
#[path = "stranded/tcp.rs"]
mod tcp;
#[path = "stranded/unix.rs"]
mod unix;

/// Schedules of each kind in a plain `cargo test`.
const SCHEDULES: u64 = 200;

/// Far beyond what one of these tests takes, in seconds: a hang is a failure.
const WATCHDOG: u64 = 600;

/// Runs one schedule for each seed, on a thread of its own.
#[track_caller]
fn schedules(schedule: impl Fn(&mut Random) + Send + 'static) {
    let seeds = match number("REVEILLE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("REVEILLE_SCHEDULES").unwrap_or(SCHEDULES),
    };
    let current = Arc::new(AtomicU64::new(0));
    let _told = TellSeed(Arc::clone(&current));
    within(WATCHDOG, move || {
        for seed in seeds {
            current.store(seed, Ordering::Relaxed);
            schedule(&mut Random::new(seed));
        }
    });
}

/// Prints the seed of the schedule that failed, or hangs.
struct TellSeed(Arc<AtomicU64>);

impl Drop for TellSeed {
    fn drop(&mut self) {
        if thread::panicking() {
            println!("REVEILLE_SEED={}", self.0.load(Ordering::Relaxed));
        }
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
    )
}
