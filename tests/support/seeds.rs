//! Runs a test under one seed after another, and tells which one it failed under.

use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::within::within;

/// Far beyond what one of these tests takes, in seconds: a hang is a failure.
const WATCHDOG: u64 = 600;

/// Runs `test` under the seed of the environment's `REVEILLE_SEED`, or under as many as its
/// variable `how_many` says, or under `usual` many; on a thread of its own.
#[track_caller]
pub(crate) fn under_seeds(how_many: &str, usual: u64, test: impl Fn(u64) + Send + 'static) {
    let seeds = match only_seed() {
        Some(seed) => seed..seed + 1,
        None => 0..number(how_many).unwrap_or(usual),
    };
    let current = Arc::new(AtomicU64::new(0));
    let _told = TellSeed(Arc::clone(&current));
    within(WATCHDOG, move || {
        for seed in seeds {
            current.store(seed, Ordering::Relaxed);
            test(seed);
        }
    });
}

/// The one seed to replay.
pub(crate) fn only_seed() -> Option<u64> {
    number("REVEILLE_SEED")
}

/// Prints the seed under which a test failed, or hangs.
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
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
