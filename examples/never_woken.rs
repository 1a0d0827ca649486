//! A future that forgets its waker, and a thread that notices: what "parked for ever" looks like.
//!
//! ```text
//! cargo run --example never_woken
//! 2 tasks, 0 queued, 0 sources, 0 timers
//! parked, and nothing that the runtime knows of can wake it
//! ```
//!
//! What to look for: any thread can read the counters of [`Handle::metrics`], also while the runtime sleeps. After a knock
//! they tell two ways to be stuck apart: a runtime that does not turn has a task that blocks the thread; one that turns, and
//! has tasks but nothing that is queued, registered or armed, waits for a wake that does not come.
//! `RUST_LOG=trace` shows which task it is: [`Forgets`] was polled, and then came `park`, and neither a `register` nor a
//! wake.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, process, thread};

use reveille::{Handle, Runtime};
use tracing::level_filters::LevelFilter;

/// The fault: it is pending, and nothing has its waker.
struct Forgets;

impl Future for Forgets {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

fn main() -> io::Result<()> {
    let level = std::env::var("RUST_LOG").unwrap_or("warn".to_owned());
    let log = tracing_subscriber::fmt().with_max_level(level.parse().unwrap_or(LevelFilter::WARN));
    log.with_writer(io::stderr).init();

    let runtime = Runtime::new()?;
    let handle = runtime.handle();
    thread::spawn(move || watch(handle));
    runtime.block_on(async {
        let task = reveille::spawn(Forgets);
        // The main future waits for the task, and so is not woken either.
        task.await.map_err(io::Error::other)
    })
}

/// Knocks, again and again, and ends the process when there is nothing left but the knock.
fn watch(handle: Handle) {
    loop {
        let before = handle.metrics();
        // The gauges are of the last turn, which may be long past: a task that does nothing makes the runtime turn.
        handle.spawn(async {});
        thread::sleep(Duration::from_millis(100));
        let now = handle.metrics();
        if now.turns == before.turns {
            println!("no turn in 100 ms: a task blocks the thread");
            continue;
        }
        let left = now.queued.saturating_sub(1) + now.sources + now.timers;
        // The knock was polled, and no other task; it was in the gauges, too: a task, and queued.
        if now.polls == before.polls + 1 && left == 0 {
            let (tasks, queued) = (now.tasks - 1, now.queued - 1);
            let (sources, timers) = (now.sources, now.timers);
            println!("{tasks} tasks, {queued} queued, {sources} sources, {timers} timers");
            println!("parked, and nothing that the runtime knows of can wake it");
            process::exit(0);
        }
    }
}
