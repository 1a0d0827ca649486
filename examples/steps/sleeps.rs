//! What steps 1 and 2 are put to: three tasks sleep, and the thread that runs them should have nothing to do meanwhile.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use std::{array, fs};

use super::{run, sleep, spawn};

const PAUSE: Duration = Duration::from_millis(100);

/// Says how often the tasks were polled, and how much of a CPU that took.
pub(super) fn sleeps() {
    static POLLS: AtomicU64 = AtomicU64::new(0);
    for _ in 0..3 {
        spawn(async {
            let mut sleeps_twice = pin!(async {
                sleep(PAUSE).await;
                sleep(PAUSE).await;
            });
            poll_fn(|cx| {
                POLLS.fetch_add(1, Relaxed);
                sleeps_twice.as_mut().poll(cx)
            })
            .await;
        });
    }
    let (began, [ran, waited]) = (Instant::now(), times());
    run(Duration::from_secs(10));
    let (took, [ran_then, waited_then]) = (began.elapsed(), times());
    // The time in which other programs had the CPU that this thread wanted says nothing about this thread.
    let wanted = took.saturating_sub(waited_then - waited);
    let share = 100 * (ran_then - ran).as_micros() / wanted.as_micros().max(1);
    let polls = POLLS.load(Relaxed);
    eprintln!("{polls} polls; {share} % of a CPU for {took:?}");
    match polls {
        1001.. => println!("polls: > 1000"),
        ..10 => println!("polls: < 10"),
        _ => println!("polls: {polls}"),
    }
    match share {
        91.. => println!("cpu: > 90 %"),
        0..10 => println!("cpu: < 10 %"),
        _ => println!("cpu: {share} %"),
    }
}

/// For how long this thread has run on a CPU so far, and for how long it has waited for one: /proc/pid/schedstat.
fn times() -> [Duration; 2] {
    let text =
        fs::read_to_string("/proc/thread-self/schedstat").expect("Linux keeps these figures");
    let mut figures = text
        .split_whitespace()
        .map(|figure| figure.parse().expect("a number"));
    array::from_fn(|_| Duration::from_nanos(figures.next().expect("two figures")))
}
