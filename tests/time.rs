//! Sleeping, limiting, ticking: never early, at any duration, in any state, on any runtime; and the
//! clock that tests can stop.

use std::time::Duration;

use reveille::Runtime;
use reveille::runtime::Builder;

use limit::limit;

#[path = "support/child.rs"]
mod child;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/seccomp.rs"]
mod seccomp;
#[path = "support/step.rs"]
mod step;
#[path = "support/within.rs"]
mod within;

#[path = "time/alarm.rs"]
mod alarm;
#[path = "time/clocks.rs"]
mod clocks;
#[path = "time/firing.rs"]
mod firing;
#[path = "time/intervals.rs"]
mod intervals;
#[path = "time/limits.rs"]
mod limits;
#[path = "time/resets.rs"]
mod resets;

/// A runtime whose clock stands still.
fn paused() -> Runtime {
    Builder::new().start_paused(true).build().unwrap()
}

/// Moves the clock on and lets the reactor look, so that what is due fires.
fn advance(runtime: &Runtime, by: Duration) {
    runtime.block_on(reveille::time::advance(by));
    runtime.turn().unwrap();
}

/// Timers that are armed.
fn timers(runtime: &Runtime) -> usize {
    let text = format!("{runtime:?}");
    let (_, text) = text.split_once("timers: ").unwrap();
    text.split([',', ' ']).next().unwrap().parse().unwrap()
}

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// Catches: a deadline for foreign loops that is told in the time of a clock that was advanced.
#[test]
fn the_next_deadline_is_a_time_of_the_monotonic_clock() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let hour = Duration::from_secs(3600);
    runtime.block_on(async {
        reveille::time::pause();
        reveille::time::advance(hour).await;
    });
    let _task = runtime.spawn(async move { reveille::time::sleep(hour).await });
    runtime.turn().unwrap();
    assert_eq!(
        runtime.next_deadline(),
        None,
        "while it is paused, a timer that is not due does not fire"
    );
    runtime.block_on(async { reveille::time::resume() });
    let deadline = runtime.next_deadline().unwrap();
    let left = deadline.saturating_duration_since(std::time::Instant::now());
    assert!(left <= hour, "{left:?}");
}
