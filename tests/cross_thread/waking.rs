//! Waking from other threads: no wake is lost, and none costs more than it must.

use std::cell::RefCell;
use std::fs;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::task::{Poll, Waker};
use std::thread;

use reveille::runtime::Handle;
use reveille::task::yield_now;
use reveille::{Runtime, block_on, spawn};

use crate::limit::limit;
use crate::{LIMIT, a_waker_of, registrations, within};

/// How often a runtime that has no source was rung: its bell is never read.
fn rings(runtime: &Runtime) -> u64 {
    let [bell] = registrations(runtime)[..] else {
        panic!("the bell alone is registered")
    };
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{bell}")).unwrap();
    let count = info
        .lines()
        .find_map(|line| line.strip_prefix("eventfd-count:"));
    u64::from_str_radix(count.unwrap().trim(), 16).unwrap()
}

/// Waits until the runtime has parked more than `before` times.
fn wait_until_parked(handle: &Handle, before: u64) {
    while handle.metrics().parks <= before {
        thread::yield_now();
    }
}

/// R8. Catches: a wake from elsewhere that does not ring.
#[test]
fn a_wake_from_a_thread_ends_the_wait() {
    within(LIMIT, || {
        let done = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel::<(Waker, Handle)>();
        let theirs = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let (waker, handle) = receiver.recv().unwrap();
            wait_until_parked(&handle, 0);
            theirs.store(true, SeqCst);
            waker.wake();
        });
        block_on(poll_fn(|cx| {
            if done.load(SeqCst) {
                return Poll::Ready(());
            }
            sender.send((cx.waker().clone(), Handle::current())).ok();
            Poll::Pending
        }));
        thread.join().unwrap();
    });
}

/// R8. Catches: a command put into the inbox without ringing.
#[test]
fn a_spawn_from_a_thread_ends_the_wait() {
    within(LIMIT, || {
        let (sender, receiver) = mpsc::channel::<(Waker, Handle)>();
        let done = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let (waker, handle) = receiver.recv().unwrap();
            wait_until_parked(&handle, 0);
            handle.spawn(async move {
                theirs.store(true, SeqCst);
                waker.wake(); // at home
            });
        });
        block_on(poll_fn(|cx| {
            if done.load(SeqCst) {
                return Poll::Ready(());
            }
            sender.send((cx.waker().clone(), Handle::current())).ok();
            Poll::Pending
        }));
        thread.join().unwrap();
    });
}

/// Fault B6. Catches: a reference count in the waker, or a wake that is queued once for each.
#[test]
fn a_million_clones_of_a_waker_cost_one_poll() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let waker = a_waker_of(&runtime);
    let before = runtime.handle().metrics();
    let clones: Vec<Waker> = (0..1_000_000).map(|_| waker.clone()).collect();
    clones.iter().for_each(Waker::wake_by_ref);
    drop(clones);
    runtime.turn().unwrap();
    runtime.turn().unwrap();
    let after = runtime.handle().metrics();
    assert_eq!(after.polls, before.polls + 1);
    assert_eq!(after.remote_wakes, before.remote_wakes + 1);
}

/// Fault B38. Catches: "asleep" not cleared by the first who rings; a wake listed although its bit
/// is set.
#[test]
fn a_storm_of_wakes_is_one_ring_and_one_poll_a_task() {
    let _limit = limit(30);
    const TASKS: u64 = 100;
    let runtime = Runtime::new().unwrap();
    let wakers: Vec<Waker> = (0..TASKS).map(|_| a_waker_of(&runtime)).collect();
    let (before, rung) = (runtime.handle().metrics(), rings(&runtime));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    wakers.iter().for_each(Waker::wake_by_ref);
                }
            });
        }
    });
    assert_eq!(rings(&runtime) - rung, 1);
    runtime.turn().unwrap();
    runtime.turn().unwrap();
    let after = runtime.handle().metrics();
    assert_eq!(after.remote_wakes - before.remote_wakes, TASKS);
    assert_eq!(after.polls - before.polls, TASKS);
    assert_eq!(rings(&runtime) - rung, 1);
}

/// Fault B38. Catches: a ring for a runtime that is awake and will look by itself.
#[test]
fn nobody_rings_while_the_runtime_is_awake() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let waker = a_waker_of(&runtime);
    let rung = rings(&runtime);
    runtime.block_on(async {
        thread::spawn(move || (0..1_000).for_each(|_| waker.wake_by_ref()))
            .join()
            .unwrap();
    });
    assert_eq!(rings(&runtime), rung);
    assert!(
        runtime.next_deadline().is_some(),
        "there is mail: turn at once"
    );
}

/// Promise 6. Catches: an inbox that is read only when the runtime looks at epoll, every 61 polls.
#[test]
fn a_wake_that_comes_while_others_run_is_heard_at_the_next_poll() {
    let _limit = limit(30);
    block_on(async {
        let mut was_polled = false;
        let waits = poll_fn(move |cx| {
            if was_polled {
                return Poll::Ready(());
            }
            was_polled = true;
            let waker = cx.waker().clone();
            // Joined here, so that the wake has been before this poll ends.
            thread::spawn(move || waker.wake()).join().unwrap();
            Poll::Pending
        });
        let waits = spawn(waits);
        yield_now().await;
        yield_now().await;
        assert!(waits.is_finished());
    });
}

/// Fault B8. Catches: wakers that differ from poll to poll; a hint without the serial.
#[test]
fn will_wake_is_true_for_the_same_task_and_false_for_another() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let polled = |times: usize| {
        let (seen, mut left) = (Rc::clone(&seen), times);
        runtime.spawn(poll_fn(move |cx| {
            seen.borrow_mut().push(cx.waker().clone());
            left -= 1;
            if left == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    };
    for times in [2, 1] {
        drop(polled(times)); // and the slot is free as soon as it is done
        runtime.turn().unwrap();
        runtime.turn().unwrap();
    }
    let seen = seen.borrow();
    assert!(seen[0].will_wake(&seen[1]) && seen[0].will_wake(&seen[0].clone()));
    assert!(!seen[0].will_wake(&seen[2]));
    let index = |waker: &Waker| waker.data().addr() % (1 << 28);
    assert_eq!(index(&seen[0]), index(&seen[2]), "the slot was used again");
}

/// Fault A23: each message is taken by a thread that then waits for the next answer, so one lost
/// wake stops all. Catches: "asleep" not published before the wait.
#[test]
fn a_ping_pong_over_threads_never_stops() {
    within(LIMIT, || {
        let (to_thread, from_runtime) = mpsc::channel::<Waker>();
        let answers = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&answers);
        let thread = thread::spawn(move || {
            for waker in from_runtime {
                theirs.fetch_add(1, SeqCst);
                waker.wake();
            }
        });
        block_on(async {
            for round in 1..=5_000 {
                let mut sent = false;
                poll_fn(|cx| {
                    if !sent {
                        sent = true;
                        to_thread.send(cx.waker().clone()).unwrap();
                    }
                    if answers.load(SeqCst) >= round {
                        return Poll::Ready(());
                    }
                    Poll::Pending
                })
                .await;
            }
        });
        drop(to_thread);
        thread.join().unwrap();
    });
}
