//! Runs a test under one seed after another, and tells which one it failed under.

use std::env;
use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Far beyond what a test takes under one seed: a hang is a failure.
const WATCHDOG: Duration = Duration::from_secs(200);

/// Runs `test` under the seed of the environment's `REVEILLE_SEED`, or under as many as its
/// variable `how_many` says, or under `usual` many; on a thread of its own.
#[track_caller]
pub(crate) fn under_seeds(how_many: &str, usual: u64, test: impl Fn(u64) + Send + 'static) {
    let seeds = match only_seed() {
        Some(seed) => seed..seed + 1,
        None => 0..number(how_many).unwrap_or(usual),
    };
    let (sender, begun) = mpsc::channel();
    let thread = thread::spawn(move || {
        for seed in seeds {
            // Nobody listens any more if the one before took too long.
            let _late = sender.send(seed);
            test(seed);
        }
    });
    let mut current = 0;
    loop {
        match begun.recv_timeout(WATCHDOG) {
            Ok(seed) => current = seed,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                panic!("still running after {WATCHDOG:?}: REVEILLE_SEED={current}")
            }
        }
    }
    if let Err(payload) = thread.join() {
        println!("REVEILLE_SEED={current}");
        resume_unwind(payload);
    }
}

/// The one seed to replay.
pub(crate) fn only_seed() -> Option<u64> {
    number("REVEILLE_SEED")
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}
