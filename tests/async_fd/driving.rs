//! Driving a runtime: turns, foreign loops, busy polling, and what the counters say.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use reveille::io::{AsyncFd, Interest};
use reveille::runtime::Builder;
use reveille::task::yield_now;
use reveille::time::sleep;
use reveille::{Runtime, spawn};

use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::within::within;
use crate::{pair, read_one, reader, registrations, settle, write_one};

/// An epoll instance that watches `fd` for edges.
fn outer_loop(fd: BorrowedFd<'_>) -> OwnedFd {
    // SAFETY: epoll_create1(2) takes a flag and no pointer.
    let outer = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    assert!(outer >= 0);
    // SAFETY: the call succeeded, so this is open and nobody else's.
    let outer = unsafe { OwnedFd::from_raw_fd(outer) };
    let mut event = libc::epoll_event {
        events: (libc::EPOLLIN | libc::EPOLLET) as u32,
        u64: 0,
    };
    let (outer_fd, fd) = (outer.as_raw_fd(), fd.as_raw_fd());
    // SAFETY: the kernel reads `event`, which outlives the call.
    let added = unsafe { libc::epoll_ctl(outer_fd, libc::EPOLL_CTL_ADD, fd, &raw mut event) };
    assert_eq!(added, 0);
    outer
}

/// Waits for an edge, for as long as the runtime allows.
fn wait(outer: &OwnedFd, runtime: &Runtime) {
    let millis = runtime.next_deadline().map_or(-1, |deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        left.as_nanos().div_ceil(1_000_000) as libc::c_int
    });
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // SAFETY: the kernel writes at most one event, and `event` outlives the call.
    let waited = unsafe { libc::epoll_wait(outer.as_raw_fd(), &raw mut event, 1, millis) };
    // An interruption is an early end.
    let interrupted = || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted;
    assert!(waited >= 0 || interrupted());
}

/// R8. Catches: a runtime at rest that says it is awake, so that a wake from another thread does
/// not ring; a turn that leaves events behind; a `next_deadline` that forgets timers or tasks.
#[test]
fn a_foreign_loop_that_watches_edges_misses_nothing() {
    within(60, || {
        let runtime = Runtime::new().unwrap();
        let outer = outer_loop(runtime.as_fd());
        let (ours, theirs) = reader();
        let (channel, mail) = mpsc::channel();
        let far = runtime.handle();
        // A pace of its own: bytes through the kernel, tasks through the inbox.
        let thread = thread::spawn(move || {
            for nth in 0..200 {
                write_one(&theirs, nth);
                let channel = channel.clone();
                far.spawn(async move { channel.send(nth).unwrap() });
                thread::yield_now();
            }
        });
        let done = runtime.spawn(async move {
            for nth in 0..200 {
                let byte = ours.async_io(Interest::READABLE, read_one).await.unwrap();
                assert_eq!(byte, nth);
                if nth % 50 == 0 {
                    sleep(Duration::from_millis(1)).await;
                }
                yield_now().await;
            }
        });
        let mut received = 0;
        while received < 200 || !done.is_finished_in(&runtime) {
            wait(&outer, &runtime);
            runtime.turn().unwrap();
            received += mail.try_iter().count();
        }
        thread.join().unwrap();
    });
}

/// Asks the handle at home.
trait FinishedIn {
    fn is_finished_in(&self, runtime: &Runtime) -> bool;
}

impl FinishedIn for reveille::task::JoinHandle<()> {
    fn is_finished_in(&self, runtime: &Runtime) -> bool {
        inside(runtime, || self.is_finished())
    }
}

/// R8, fault A22. Catches: a runtime at rest that takes itself for awake; a bell that somebody would
/// have to read, or that rings once only.
#[test]
fn a_wake_from_a_thread_makes_a_runtime_at_rest_readable() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    for spawned in 1..=3 {
        runtime.turn().unwrap();
        assert!(!is_readable(&runtime), "nobody has rung");
        assert_eq!(runtime.next_deadline(), None);
        let far = runtime.handle();
        thread::spawn(move || far.spawn(async {})).join().unwrap();
        assert!(is_readable(&runtime));
        let deadline = runtime.next_deadline();
        assert!(deadline.is_some_and(|when| when <= Instant::now()));
        settle(&runtime);
        assert_eq!(runtime.handle().metrics().spawned, spawned);
    }
}

/// Catches: an operation that never waited, and yet has a waiter to be forgotten.
#[test]
fn what_is_tried_elsewhere_leaves_a_runtime_at_rest_alone() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, _theirs) = pair();
    let ours = AsyncFd::new(ours).unwrap();
    let (_, waker) = Wakes::new();
    inside(&runtime, || {
        assert!(poll(&mut pin!(ours.readable()), &waker).is_pending());
    });
    settle(&runtime);
    assert!(!is_readable(&runtime), "nothing is left to be heard");
    let written = poll(
        &mut pin!(ours.async_io(Interest::WRITABLE, |stream| {
            write_one(stream, 1);
            Ok(())
        })),
        &waker,
    );
    assert!(matches!(written, Poll::Ready(Ok(()))));
    assert_eq!(runtime.next_deadline(), None);
    assert!(!is_readable(&runtime));
}

fn is_readable(runtime: &Runtime) -> bool {
    let mut poll = libc::pollfd {
        fd: runtime.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the kernel reads and writes one `pollfd`, which outlives the call.
    let polled = unsafe { libc::poll(&raw mut poll, 1, 0) };
    polled == 1
}

/// Catches: a turn that polls what it queued itself, and so may never end.
#[test]
fn a_turn_polls_once_what_was_queued_when_it_began() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let polls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&polls);
    drop(runtime.spawn(async move {
        loop {
            counted.set(counted.get() + 1);
            yield_now().await;
        }
    }));
    for turn in 1..=5 {
        runtime.turn().unwrap();
        assert_eq!(polls.get(), turn);
        assert!(runtime.next_deadline().is_some());
    }
}

/// Catches: a turn inside its own runtime that takes the batch from under the outer one.
#[test]
fn a_turn_inside_the_same_runtime_panics_and_the_runtime_goes_on() {
    let _limit = limit(30);
    let runtime = Rc::new(Runtime::new().unwrap());
    let inner = Rc::clone(&runtime);
    let task = runtime.spawn(async move {
        let turned = catch_unwind(AssertUnwindSafe(|| inner.turn()));
        let payload = turned.unwrap_err();
        let text = payload.downcast_ref::<&str>().copied().unwrap();
        assert!(text.contains("inside the same runtime"), "{text}");
        yield_now().await;
        3
    });
    assert_eq!(runtime.block_on(task).unwrap(), 3);
}

/// Catches: a nested turn that leaves the inner runtime current, or forgets the outer one.
#[test]
fn a_turn_nests_in_another_runtime() {
    let _limit = limit(30);
    let outer = Runtime::new().unwrap();
    let inner = Rc::new(Runtime::new().unwrap());
    let ran = Rc::new(Cell::new(0));
    let counted = Rc::clone(&ran);
    drop(inner.spawn(async move { counted.set(counted.get() + 1) }));
    let turned = Rc::clone(&inner);
    let task = outer.spawn(async move {
        turned.turn().unwrap();
        // This one goes to the outer runtime again.
        spawn(async { 4 }).await.unwrap()
    });
    assert_eq!(outer.block_on(task).unwrap(), 4);
    assert_eq!(ran.get(), 1);
    assert_eq!(inner.handle().metrics().spawned, 1);
    assert_eq!(outer.handle().metrics().spawned, 2);
}

/// Catches: busy polling that never gives the CPU back.
#[test]
fn busy_polling_ends_and_the_thread_sleeps() {
    within(20, || {
        let mut options = Builder::new();
        let runtime = options.busy_poll(Duration::from_millis(5)).build().unwrap();
        runtime.block_on(sleep(Duration::from_millis(100)));
        let metrics = runtime.handle().metrics();
        assert!(metrics.parks >= 1, "it never slept");
        assert!(metrics.turns > metrics.parks, "it never looked");
    });
}

/// Catches: busy polling that sleeps first, or that goes on when there is something to do.
#[test]
fn busy_polling_serves_without_sleeping_what_comes_in_time() {
    within(30, || {
        let mut options = Builder::new();
        let runtime = options.busy_poll(Duration::from_secs(50)).build().unwrap();
        runtime.block_on(sleep(Duration::from_millis(5)));
        assert_eq!(runtime.handle().metrics().parks, 0);
    });
}

/// Catches: a counter that is not counted, or twice.
#[test]
fn the_counters_count() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let (_, waker) = Wakes::new();
    let mut wait_for_it = Box::pin(ours.readable());
    inside(&runtime, || {
        assert!(poll(&mut wait_for_it, &waker).is_pending())
    });
    write_one(&theirs, 1);
    drop(runtime.spawn(async {}));
    let before = runtime.handle().metrics();
    assert_eq!((before.spawned, before.polls, before.turns), (1, 1, 0));
    runtime.turn().unwrap();
    let after = runtime.handle().metrics();
    assert_eq!((after.spawned, after.polls, after.turns), (1, 2, 2));
    assert_eq!((after.events, after.stale_events), (1, 0));
    assert_eq!(
        (after.parks, after.timers_fired, after.remote_wakes),
        (0, 0, 0)
    );
    runtime.block_on(sleep(Duration::from_millis(1)));
    let after = runtime.handle().metrics();
    assert_eq!(after.timers_fired, 1);
    assert!((1..=2).contains(&after.parks), "{}", after.parks);
    assert_eq!(registrations(&runtime), 1);
}

/// Catches: a gauge that is not set, or by another's number.
#[test]
fn the_gauges_tell_what_there_was_at_the_last_look() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let gauges = || {
        let metrics = runtime.handle().metrics();
        (
            metrics.tasks,
            metrics.queued,
            metrics.sources,
            metrics.timers,
        )
    };
    assert_eq!(gauges(), (0, 0, 0, 0));
    let (ours, _theirs) = reader();
    let task = runtime.spawn(async move { drop(ours.readable().await) });
    let sleeps = [(); 2].map(|()| runtime.spawn(sleep(Duration::from_secs(3600))));
    let spins = runtime.spawn(async {
        while !thread::panicking() {
            yield_now().await;
        }
    });
    runtime.turn().unwrap();
    assert_eq!(gauges(), (4, 1, 1, 2));
    for task in [&task, &spins].into_iter().chain(&sleeps[..1]) {
        task.abort();
    }
    (0..3).for_each(|_| runtime.turn().unwrap());
    // Those whose handles are there have ended, and are still to be joined.
    assert_eq!(gauges(), (4, 0, 0, 1));
    drop((task, spins, sleeps));
    runtime.turn().unwrap();
    runtime.turn().unwrap();
    assert_eq!(gauges(), (1, 0, 0, 1));
}

/// Catches: remote wakes of one task counted each, or not at all.
#[test]
fn wakes_from_a_thread_count_once_a_task_between_two_looks() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let slot = Rc::new(std::cell::RefCell::new(None::<Waker>));
    let kept = Rc::clone(&slot);
    drop(runtime.spawn(std::future::poll_fn(move |cx| {
        *kept.borrow_mut() = Some(cx.waker().clone());
        std::task::Poll::<()>::Pending
    })));
    settle(&runtime);
    let waker = slot.borrow().clone().unwrap();
    let wake = move || (0..10).for_each(|_| waker.wake_by_ref());
    thread::spawn(wake).join().unwrap();
    settle(&runtime);
    let metrics = runtime.handle().metrics();
    assert_eq!((metrics.remote_wakes, metrics.polls), (1, 2));
}
