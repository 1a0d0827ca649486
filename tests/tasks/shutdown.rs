//! The runtime's end: what is dropped, in which order and in which context, and that there is one.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::task::{Context, Waker};
use std::time::Duration;

use reveille::io::AsyncFd;
use reveille::runtime::{Handle, Runtime};
use reveille::task;
use reveille::time::sleep;
use reveille::{block_on, spawn};

use crate::limit::limit;
use crate::support::within;
use crate::{Drops, Foreign, foreign, on_drop, turn};

/// Promise 7. Catches: dropping in the order of slots, or the tasks before the main future.
#[test]
fn shutdown_drops_the_main_future_and_then_tasks_in_spawn_order() {
    let _limit = limit(30);
    let order: Rc<RefCell<Vec<&str>>> = Rc::default();
    let note = |what| {
        let order = order.clone();
        on_drop(move || order.borrow_mut().push(what))
    };
    let (main, freed, a, b, c) = (note("main"), note("freed"), note("a"), note("b"), note("c"));
    block_on(async move {
        let _main = main;
        let waits = |guard| async move {
            let _guard = guard;
            pending::<()>().await;
        };
        let first = spawn(waits(freed));
        drop(spawn(waits(a)));
        drop(spawn(waits(b)));
        first.abort();
        drop(first.await);
        // It gets the slot that lies before those of a and b.
        drop(spawn(waits(c)));
    });
    assert_eq!(
        *order.borrow(),
        [
            "freed", // by its abort
            "main",  // when it was done
            "a",     // in the order of spawning
            "b",     // likewise
            "c",     // last, though its slot is the first
        ]
    );
}

/// Fault B19. Catches: polling what is spawned during shutdown, or forgetting it.
#[test]
fn what_is_spawned_during_shutdown_is_dropped_unpolled() {
    let _limit = limit(30);
    fn respawner(levels: usize, drops: &Drops, outcomes: &mpsc::Sender<bool>) {
        let (guard, drops, outcomes) = (drops.guard(), drops.clone(), outcomes.clone());
        let polled = Rc::new(Cell::new(false));
        let seen = polled.clone();
        let respawn = on_drop(move || {
            outcomes.send(seen.get()).unwrap();
            if levels > 1 {
                (0..2).for_each(|_| respawner(levels - 1, &drops, &outcomes));
            }
        });
        drop(spawn(async move {
            let _guards = (guard, respawn);
            polled.set(true);
            pending::<()>().await;
        }));
    }
    let drops = Drops::default();
    let (sender, outcomes) = mpsc::channel();
    block_on(async { (0..50).for_each(|_| respawner(3, &drops, &sender)) });
    drops.assert_here(50 * (1 + 2 + 4));
    drop(sender);
    assert_eq!(outcomes.iter().filter(|&polled| polled).count(), 0);
}

/// Fault B19, R1. Catches: tasks that stay in the queue when a shutdown frees their slots. It would
/// be longer than the slab then, and the room that a spawn asks for less than none.
#[test]
fn a_burst_may_be_spawned_after_many_rounds_of_shutdown() {
    let _limit = limit(30);
    fn respawn(mut bursts: Vec<usize>, drops: &Drops) {
        let (guard, drops) = (drops.guard(), drops.clone());
        let again = on_drop(move || {
            for nth in 0..bursts.pop().unwrap_or(0) {
                let bursts = if nth == 0 { bursts.clone() } else { Vec::new() };
                respawn(bursts, &drops);
            }
        });
        drop(spawn(async move {
            let _guards = (guard, again);
            pending::<()>().await;
        }));
    }
    let drops = Drops::default();
    let mut bursts = vec![1_000];
    bursts.resize(21, 100);
    block_on(async { respawn(bursts, &drops) });
    drops.assert_here(1 + 20 * 100 + 1_000);
}

/// Fault B19. Catches: a shutdown without an end.
#[test]
fn a_task_that_respawns_itself_for_ever_does_not_hold_up_the_end() {
    let _limit = limit(90);
    fn respawn(count: Rc<Cell<usize>>) {
        let again = on_drop(move || {
            count.set(count.get() + 1);
            respawn(count);
        });
        drop(spawn(async move {
            let _again = again;
            pending::<()>().await;
        }));
    }
    within(30, || {
        let count = Rc::new(Cell::new(0));
        let counted = count.clone();
        block_on(async move { respawn(counted) });
        assert_eq!(count.get(), 10_000, "rounds, and then it is leaked");
    });
}

/// Fault B20. Catches: futures that are dropped when the runtime is no longer the current one.
#[test]
fn tasks_are_dropped_in_the_context_of_their_runtime() {
    let _limit = limit(30);
    for ends in ["finished", "aborted", "runtime dropped"] {
        let seen = Rc::new(Cell::new(None));
        let runtime = Runtime::new().unwrap();
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let registered = AsyncFd::new(ours).unwrap();
        let set = seen.clone();
        let guard = on_drop(move || {
            let mut cx = Context::from_waker(Waker::noop());
            let mut sleep = sleep(Duration::from_secs(60));
            let waits = Pin::new(&mut sleep).poll(&mut cx).is_pending();
            drop(registered);
            set.set(Some(
                waits && Handle::try_current().is_ok() && task::try_id().is_some(),
            ));
        });
        let task = runtime.spawn(async move {
            let guard = guard;
            if ends != "finished" {
                pending::<()>().await;
            }
            drop(guard);
        });
        turn(&runtime);
        if ends == "aborted" {
            task.abort();
            turn(&runtime);
        }
        drop(runtime);
        assert_eq!(seen.get(), Some(true), "{ends}");
    }
}

/// Fault B19, promise 7. Catches: tasks that are spawned by the destructors of wakers or of the
/// last mail, and then dropped outside their runtime, or not at all.
#[test]
fn what_is_spawned_after_the_last_task_is_dropped_in_context_too() {
    let _limit = limit(30);
    thread_local! {
        static SEEN: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }
    fn note(what: &'static str) {
        let context = Handle::try_current().map_or("nowhere", |_| what);
        SEEN.with_borrow_mut(|seen| seen.push(context));
    }
    fn spawn_noting(what: &'static str) {
        let guard = on_drop(move || note(what));
        drop(spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        }));
    }
    fn post_noting() {
        let guard = on_drop(|| spawn_noting("by the mail"));
        Handle::current().spawn(async move { drop(guard) });
    }
    fn at_the_end(on_drop: fn()) -> Vec<&'static str> {
        let runtime = Runtime::new().unwrap();
        let mut sleep = sleep(Duration::from_secs(60));
        runtime.block_on(async {
            let waker = foreign(Foreign {
                on_drop: Some(on_drop),
                ..Foreign::default()
            });
            let mut cx = Context::from_waker(&waker);
            assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
            std::mem::forget(waker);
        });
        drop(runtime);
        let mut seen = SEEN.take();
        seen.sort_unstable();
        seen
    }
    let both = || {
        spawn_noting("by a waker");
        post_noting();
    };
    assert_eq!(at_the_end(both), ["by a waker", "by the mail"]);
    // With no task about, nobody reads the mail any more: it is dropped where it lies.
    assert_eq!(at_the_end(post_noting), ["by the mail"]);
}
