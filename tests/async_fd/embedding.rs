//! A runtime that is driven by turns: what holds in `block_on` holds there.

use std::cell::Cell;
use std::fs;
use std::future::poll_fn;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use reveille::runtime::Builder;
use reveille::task::yield_now;
use reveille::time::{now, sleep, sleep_until};
use reveille::{Runtime, spawn};

use crate::foreign::{Act, foreign};
use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::{reader, settle};

/// How often the bell of a runtime was rung that has no source.
fn rings(runtime: &Runtime) -> u64 {
    let epoll = runtime.as_fd().as_raw_fd();
    let registered = fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).unwrap();
    // The other descriptor in epoll, the timerfd, has no such line.
    let counts = registered.lines().filter_map(|line| {
        let fd = line.strip_prefix("tfd:")?.split_whitespace().next()?;
        let counted = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        let mut lines = counted.lines();
        let count = lines.find_map(|line| line.strip_prefix("eventfd-count:"))?;
        Some(u64::from_str_radix(count.trim(), 16).unwrap())
    });
    counts.sum()
}

/// Fault B42. Catches: a task that is spawned between two turns, of which whoever sleeps on the
/// descriptor hears nothing; a ring for each of them.
#[test]
fn tasks_spawned_between_two_turns_ring_once() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    runtime.turn().unwrap();
    for round in 1..=3 {
        let rung = rings(&runtime);
        let tasks: Vec<_> = (0..1000).map(|_| runtime.spawn(async {})).collect();
        assert_eq!(rings(&runtime), rung + 1, "round {round}");
        runtime.turn().unwrap();
        runtime.block_on(async {
            for task in tasks {
                assert!(task.is_finished());
                task.await.unwrap();
            }
        });
    }
}

/// Fault B42. Catches: a ring while the runtime runs, which looks by itself; also after it has slept.
#[test]
fn tasks_spawned_while_the_runtime_runs_do_not_ring() {
    let _limit = limit(30);
    let runtime = Rc::new(Runtime::new().unwrap());
    let inner = Rc::clone(&runtime);
    let rung = rings(&runtime);
    runtime.block_on(async move {
        sleep(Duration::from_millis(1)).await;
        let tasks: Vec<_> = (0..1000).map(|_| inner.spawn(async {})).collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!(rings(&runtime), rung);
}

/// Fault B43. Catches: an abort by another thread that has returned, and is not obeyed in this turn.
#[test]
fn an_abort_by_another_thread_takes_effect_within_the_turn() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let polls = Rc::new(Cell::new(0));
    let (sender, receiver) = mpsc::channel::<reveille::task::AbortHandle>();
    drop(runtime.spawn(async move {
        let victim = receiver.recv().unwrap();
        thread::spawn(move || victim.abort()).join().unwrap();
    }));
    let counted = Rc::clone(&polls);
    let victim = runtime.spawn(poll_fn(move |cx| {
        counted.set(counted.get() + 1);
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    sender.send(victim.abort_handle()).unwrap();
    runtime.turn().unwrap();
    assert_eq!(polls.get(), 0);
    assert!(inside(&runtime, || victim.is_finished()));
}

/// Fault A26, promise 6. Catches: a turn that polls all that is queued between two looks.
#[test]
fn a_turn_looks_at_least_every_61_polls() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    for _ in 0..10_000 {
        drop(runtime.spawn(async {
            loop {
                yield_now().await;
            }
        }));
    }
    let handle = runtime.handle();
    for _ in 0..3 {
        let before = handle.metrics();
        runtime.turn().unwrap();
        let after = handle.metrics();
        assert_eq!(after.polls - before.polls, 10_000, "once each");
        let looks = after.turns - before.turns;
        // One at each end, and one before the 62nd poll, the 123rd, ...
        assert_eq!(looks, 2 + (10_000 - 1) / 61);
    }
}

/// A runtime whose clock stands still, and jumps to the next deadline when there is nothing else to do.
fn auto_advancing() -> Runtime {
    let mut options = Builder::new();
    options.start_paused(true).auto_advance(true);
    options.build().unwrap()
}

/// Fault D14. Catches: a clock that jumps although somebody waits, who was not the first to wait.
#[test]
fn a_paused_clock_stands_still_while_anybody_waits() {
    let _limit = limit(30);
    let runtime = auto_advancing();
    let (ours, _theirs) = reader();
    let _sleeps = inside(&runtime, || spawn(sleep(Duration::from_secs(3600))));
    runtime.turn().unwrap();
    let mut stays = Box::pin(ours.readable());
    inside(&runtime, || {
        let mut first = Box::pin(ours.readable());
        assert!(poll(&mut first, Waker::noop()).is_pending());
        assert!(poll(&mut stays, Waker::noop()).is_pending());
    });
    assert_eq!(runtime.next_deadline(), None);
    inside(&runtime, || drop(stays));
    assert!(runtime.next_deadline().is_some());
}

/// Fault D14. Catches: an outer loop that is told to turn now, again and again, because a clock that was
/// resumed is taken for one that may jump.
#[test]
fn a_clock_that_was_resumed_jumps_to_no_deadline() {
    let _limit = limit(30);
    let runtime = auto_advancing();
    let hour = Duration::from_secs(3600);
    inside(&runtime, reveille::time::resume);
    let _waits = inside(&runtime, || spawn(sleep(hour)));
    runtime.turn().unwrap();
    assert!(runtime.next_deadline().unwrap() > Instant::now() + hour / 2);
}

/// Fault D14. Catches: a clock that advances by itself under `block_on` and stands still under
/// `turn`; a turn that jumps though a task is queued, or over more than one deadline.
#[test]
fn a_paused_clock_advances_by_itself_under_turns() {
    let _limit = limit(30);
    let runtime = auto_advancing();
    let start = inside(&runtime, now);
    let hour = Duration::from_secs(3600);
    // Made inside, where the clock is the paused one.
    let done = Rc::new(Cell::new(0));
    let sleeps = inside(&runtime, || {
        [1, 2].map(|hours| {
            let (sleep, done) = (sleep(hours * hour), Rc::clone(&done));
            spawn(async move {
                sleep.await;
                done.set(hours);
            })
        })
    });
    runtime.turn().unwrap();
    assert_eq!(inside(&runtime, now), start, "they had to be polled first");
    drop(runtime.spawn(async {}));
    runtime.turn().unwrap();
    assert_eq!(inside(&runtime, now), start, "a task was queued");
    for hours in [1, 2] {
        let deadline = runtime.next_deadline();
        assert!(deadline.is_some_and(|deadline| deadline <= Instant::now()));
        runtime.turn().unwrap();
        assert_eq!(done.get(), hours, "within the turn that advances");
        assert_eq!(inside(&runtime, now), start + hours * hour);
        let finished = inside(&runtime, || {
            sleeps.each_ref().map(|sleep| sleep.is_finished())
        });
        assert_eq!(finished, [true, hours == 2]);
    }
    assert_eq!(runtime.next_deadline(), None);
    // A deadline that the clock may not show is none.
    let mut end = start;
    for seconds in (0..63).rev().map(|bits| Duration::from_secs(1 << bits)) {
        end = end.checked_add(seconds).unwrap_or(end);
    }
    let never = inside(&runtime, || spawn(sleep_until(end)));
    runtime.turn().unwrap();
    assert_eq!(runtime.next_deadline(), None);
    runtime.turn().unwrap();
    assert_eq!(inside(&runtime, now), start + 2 * hour);
    never.abort();
    settle(&runtime);
    // A waiter of a source keeps it from jumping, as under `block_on`.
    let (ours, _theirs) = reader();
    let (_, waker) = Wakes::new();
    let mut readable = Box::pin(ours.readable());
    inside(&runtime, || drop(spawn(sleep(hour))));
    inside(&runtime, || {
        assert!(poll(&mut readable, &waker).is_pending())
    });
    settle(&runtime);
    assert_eq!(runtime.next_deadline(), None);
    assert_eq!(inside(&runtime, now), start + 2 * hour);
}

/// Fault D14. Catches: a clock that jumps although mail is there: what a waker has just spawned finds
/// another time than under `block_on`.
#[test]
fn a_paused_clock_does_not_jump_over_mail() {
    let _limit = limit(30);
    let runtime = auto_advancing();
    let start = inside(&runtime, now);
    let handle = runtime.handle();
    let (sender, receiver) = mpsc::channel();
    let sender = Rc::new(sender);
    let posts = foreign(move |act| {
        if act == Act::Wake {
            let sender = mpsc::Sender::clone(&sender);
            handle.spawn(async move { sender.send(now()).unwrap() });
        }
    });
    let mut due = inside(&runtime, || sleep(Duration::from_secs(1)));
    inside(&runtime, || {
        drop(spawn(sleep(Duration::from_secs(3600))));
        assert!(poll(&mut due, &posts).is_pending());
    });
    // The other sleep is armed, and then this one is due, by the clock that stands.
    runtime.turn().unwrap();
    inside(&runtime, || due.reset(start));
    let at = receiver.try_iter().next().unwrap_or_else(|| {
        (0..2).for_each(|_| runtime.turn().unwrap());
        receiver.try_recv().unwrap()
    });
    assert_eq!(at, start);
    std::mem::forget(posts);
}
