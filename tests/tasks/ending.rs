//! The end of a task, however it comes, and R3: what is dropped, when, and on which thread.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::panic::panic_any;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;

use reveille::runtime::Runtime;
use reveille::task::{self, JoinHandle, yield_now};
use reveille::{block_on, spawn};

use crate::limit::limit;
use crate::support::within;
use crate::{Drops, elsewhere, on_drop, own_waker, turn};

/// Fault B1, R3. Catches: a waker that owns the task, so that the last one drops the future.
#[test]
fn a_future_is_dropped_on_its_thread_whoever_drops_the_last_waker() {
    within(30, || {
        for end in [
            "detached",
            "joined",
            "aborted",
            "panicked",
            "runtime dropped",
        ] {
            for waker_goes in ["before", "after", "meanwhile"] {
                let drops = Drops::default();
                let (sender, wakers) = mpsc::channel::<Waker>();
                let runtime = Runtime::new().unwrap();
                let guard = drops.guard();
                let local = Rc::new(());
                let task = runtime.spawn(async move {
                    let _guard = (guard, local);
                    for _ in 0..100 {
                        sender.send(own_waker().await).unwrap();
                    }
                    match end {
                        "panicked" => panic!("on purpose"),
                        "aborted" | "runtime dropped" => pending().await,
                        _ => {}
                    }
                });
                let burn = move || wakers.iter().for_each(|waker| waker.wake_by_ref());
                let mut burn = Some(burn);
                let mut thread = None;
                match waker_goes {
                    "meanwhile" => thread = Some(thread::spawn(burn.take().unwrap())),
                    "before" => {
                        // The sender lives in the future, so the loop would not end: turn first.
                        turn(&runtime);
                    }
                    _ => {}
                }
                turn(&runtime);
                match end {
                    "detached" => drop(task),
                    "aborted" => {
                        task.abort();
                        turn(&runtime);
                        drop(task);
                    }
                    "runtime dropped" => {}
                    _ => drop(runtime.block_on(task)),
                }
                turn(&runtime);
                drop(runtime);
                if let Some(burn) = burn {
                    thread = Some(thread::spawn(burn));
                }
                thread.unwrap().join().unwrap();
                drops.assert_here(1);
            }
        }
    });
}

/// Fault B2, R3. Catches: an output that goes with its handle.
#[test]
fn an_output_is_dropped_on_its_thread_wherever_its_handle_is() {
    let _limit = limit(30);
    for finished_first in [true, false] {
        let drops = Drops::default();
        let runtime = Runtime::new().unwrap();
        let guard = drops.guard();
        let task = runtime.spawn(async move { guard });
        if finished_first {
            turn(&runtime);
        }
        elsewhere(move || drop(task));
        assert_eq!(drops.count(), 0, "the handle took nothing with it");
        (0..3).for_each(|_| turn(&runtime));
        drops.assert_here(1);
    }
}

/// Fault B2, R3. Catches: a payload that is dropped where the handle is.
#[test]
fn a_panic_payload_is_dropped_on_its_thread() {
    let _limit = limit(30);
    let drops = Drops::default();
    let runtime = Runtime::new().unwrap();
    let guard = drops.guard();
    let task = runtime.spawn(async move { panic_any(on_drop(move || drop(guard))) });
    turn(&runtime);
    elsewhere(move || drop::<JoinHandle<()>>(task));
    assert_eq!(drops.count(), 0);
    (0..3).for_each(|_| turn(&runtime));
    drops.assert_here(1);
}

/// Promise 7. Catches: waking the joiner before the future is dropped.
#[test]
fn a_handle_resolves_after_its_future_is_dropped() {
    let _limit = limit(30);
    block_on(async {
        for ends in ["returns", "panics", "is aborted"] {
            let drops = Drops::default();
            let guard = drops.guard();
            let task = spawn(async move {
                let _guard = guard;
                match ends {
                    "returns" => {}
                    "panics" => panic!("on purpose"),
                    _ => pending().await,
                }
            });
            if ends == "is aborted" {
                yield_now().await;
                task.abort();
            }
            drop(task.await);
            assert_eq!(drops.count(), 1, "a task that {ends}");
        }
    });
}

/// As the page of `task` says. Catches: a future that is dropped while its panic unwinds.
#[test]
fn a_future_is_dropped_after_its_panic_was_caught_and_locals_before() {
    let _limit = limit(30);
    let seen = Rc::new(Cell::new(None));
    let note = || {
        let seen = seen.clone();
        on_drop(move || seen.set(Some(thread::panicking())))
    };
    block_on(async {
        let field = note();
        let panics = poll_fn(move |_| -> Poll<()> {
            let _kept = &field;
            panic!("on purpose");
        });
        assert!(spawn(panics).await.unwrap_err().is_panic());
        assert_eq!(seen.take(), Some(false), "a field");
        let local = note();
        let panics = async move {
            let _local = local;
            panic!("on purpose");
        };
        assert!(spawn(panics).await.unwrap_err().is_panic());
        assert_eq!(seen.take(), Some(true), "a local");
    });
}

/// Catches: an id that is gone when a pop, and not the task's last poll, drops the output; or when
/// the main future is dropped.
#[test]
fn a_task_has_its_id_in_the_destructors_of_its_future_and_output() {
    let _limit = limit(30);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let guard = || {
        let seen = Rc::clone(&seen);
        on_drop(move || seen.borrow_mut().push(task::try_id()))
    };
    let of_output = guard();
    let id = block_on(async {
        let task = spawn(ready(of_output));
        let id = task.id();
        yield_now().await;
        assert!(task.is_finished());
        drop(task);
        yield_now().await;
        id
    });
    assert_eq!(seen.take(), [Some(id)]);

    let of_main = guard();
    let id = block_on(poll_fn(move |_| {
        let _kept = &of_main;
        Poll::Ready(task::try_id())
    }));
    assert!(id.is_some());
    assert_eq!(seen.take(), [id]);
}
