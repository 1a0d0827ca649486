//! Sets of tasks: outcomes come in the order in which tasks end, and none is lost.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use reveille::block_on;
use reveille::runtime::Runtime;
use reveille::task::{JoinSet, yield_now};

use crate::limit::limit;
use crate::support::within;
use crate::{Drops, on_drop, panic_text};

/// Catches: another order than that in which tasks end.
#[test]
fn a_set_gives_outputs_in_the_order_tasks_end() {
    within(10, || {
        block_on(async {
            let mut set = JoinSet::new();
            for yields in [3, 0, 2, 1] {
                set.spawn(async move {
                    for _ in 0..yields {
                        yield_now().await;
                    }
                    yields
                });
            }
            assert_eq!(set.len(), 4);
            assert_eq!(set.join_all().await, [0, 1, 2, 3]);
        });
    });
}

/// Catches: a set that takes futures one by one only; an id that is another task's.
#[test]
fn a_set_is_made_of_futures_and_tells_their_ids() {
    within(10, || {
        block_on(async {
            let mut set: JoinSet<usize> = (0..3).map(|n| async move { n }).collect();
            set.extend((3..5).map(|n| async move { n }));
            assert_eq!(set.len(), 5);
            yield_now().await;
            let mut ids = Vec::new();
            while let Some((id, output)) = set.try_join_next_with_id() {
                assert_eq!(output.unwrap(), ids.len());
                ids.push(id);
            }
            assert_eq!(ids.len(), 5);
            assert!(ids.is_sorted(), "in the order of spawning");
        });
    });
}

/// Catches: a task that is spawned into the current runtime and not the one that was named; one that is not
/// in the set.
#[test]
fn a_set_spawns_onto_a_runtime_from_outside() {
    within(10, || {
        let runtime = Runtime::new().unwrap();
        let mut set = JoinSet::new();
        set.spawn_on(async { 1 }, &runtime);
        block_on(async { set.spawn_on(async { 2 }, &runtime) });
        assert_eq!((set.len(), runtime.handle().metrics().spawned), (2, 2));
        assert_eq!(runtime.block_on(set.join_all()), [1, 2]);
    });
}

/// Catches: a set that waits for tasks it has not.
#[test]
fn an_empty_set_gives_none() {
    within(10, || {
        block_on(async {
            let mut set = JoinSet::<()>::new();
            assert!(set.is_empty() && set.join_next().await.is_none());
            assert!(set.try_join_next().is_none());
        });
    });
}

/// Catches: `abort_all` that removes tasks from the set, or stops at the first.
#[test]
fn aborting_a_set_leaves_its_tasks_to_be_joined() {
    within(10, || {
        block_on(async {
            let drops = Drops::default();
            let mut set = JoinSet::new();
            for _ in 0..3 {
                let guard = drops.guard();
                set.spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                });
            }
            set.spawn(async {});
            yield_now().await;
            set.abort_all();
            let mut cancelled = 0;
            while let Some(outcome) = set.join_next().await {
                cancelled += usize::from(outcome.is_err_and(|error| error.is_cancelled()));
            }
            assert_eq!(cancelled, 3, "the fourth was done");
            drops.assert_here(3);
        });
    });
}

/// Catches: dropping a set that detaches its tasks; `detach_all` that aborts them.
#[test]
fn dropping_a_set_aborts_and_detaching_does_not() {
    let _limit = limit(30);
    block_on(async {
        for detached in [false, true] {
            let ran = Rc::new(Cell::new(false));
            let set_ran = ran.clone();
            let mut set = JoinSet::new();
            set.spawn(async move {
                yield_now().await;
                set_ran.set(true);
            });
            if detached {
                set.detach_all();
                assert!(set.is_empty());
            }
            drop(set);
            for _ in 0..3 {
                yield_now().await;
            }
            assert_eq!(ran.get(), detached);
        }
    });
}

/// Catches: an announcement of a detached task that hides the one behind it.
#[test]
fn the_end_of_a_detached_task_hides_no_other() {
    within(10, || {
        block_on(async {
            let mut set = JoinSet::new();
            set.spawn(async { "detached" });
            set.detach_all();
            set.spawn(async { "in the set" });
            yield_now().await;
            assert_eq!(set.join_next().await.unwrap().unwrap(), "in the set");
            assert!(set.join_next().await.is_none());
        });
    });
}

/// Catches: a look that the budget turns into "nobody has ended".
#[test]
fn trying_a_set_finds_all_who_have_ended() {
    let _limit = limit(30);
    block_on(async {
        let mut set = JoinSet::new();
        for i in 0..1000 {
            set.spawn(async move { i });
        }
        yield_now().await;
        let mut joined = 0;
        while let Some(output) = set.try_join_next() {
            assert_eq!(output.unwrap(), joined);
            joined += 1;
        }
        assert_eq!(joined, 1000);
    });
}

/// Catches: a look that takes the place of the task that waits.
#[test]
fn trying_a_set_does_not_forget_who_waits() {
    within(10, || {
        block_on(async {
            let mut set = JoinSet::new();
            set.spawn(yield_now());
            poll_fn(|cx| match set.poll_join_next(cx) {
                Poll::Ready(outcome) => {
                    outcome.unwrap().unwrap();
                    Poll::Ready(())
                }
                Poll::Pending => {
                    assert!(set.try_join_next().is_none());
                    Poll::Pending
                }
            })
            .await;
        });
    });
}

/// Catches: a panic that is lost, or that ends the set.
#[test]
fn a_panic_in_a_set_is_that_tasks_outcome() {
    within(10, || {
        block_on(async {
            let mut set = JoinSet::new();
            let panics = set.spawn(async { panic!("of a member") });
            let returns = set.spawn(async {});
            let (id, outcome) = set.join_next_with_id().await.unwrap();
            assert!(id == panics.id() && outcome.unwrap_err().is_panic());
            let (id, outcome) = set.join_next_with_id().await.unwrap();
            assert!(id == returns.id() && outcome.is_ok());
        });
    });
}

/// R9. Catches: a question whether a task has ended that takes the place of whoever waits for it, at the moment
/// when the task is at its end and not past it.
#[test]
fn whoever_tries_a_set_replaces_nobody_that_waits() {
    let _limit = limit(30);
    thread_local! {
        static SET: RefCell<JoinSet<u32>> = RefCell::new(JoinSet::new());
        static WOKEN: Cell<usize> = const { Cell::new(0) };
    }
    struct Counts;
    impl Wake for Counts {
        fn wake(self: Arc<Self>) {
            WOKEN.set(WOKEN.get() + 1);
        }
    }
    struct Polls;
    impl Wake for Polls {
        fn wake(self: Arc<Self>) {
            let waker = Waker::from(Arc::new(Counts));
            SET.with_borrow_mut(|set| {
                let cx = &mut Context::from_waker(&waker);
                assert!(set.poll_join_next(cx).is_pending());
                assert!(set.try_join_next().is_none());
            });
        }
    }
    block_on(async {
        let waker = Waker::from(Arc::new(Polls));
        SET.with_borrow_mut(|set| {
            set.spawn(async { 7 });
            let cx = &mut Context::from_waker(&waker);
            assert!(set.poll_join_next(cx).is_pending());
        });
        yield_now().await;
        yield_now().await;
        assert_eq!(WOKEN.get(), 1);
        let output = SET.with_borrow_mut(JoinSet::try_join_next);
        assert_eq!(output.unwrap().unwrap(), 7);
    });
}

/// Fault B12, R9. Catches: a joiner's waker that panics in the destructor of the task's future:
/// a task that was cancelled would seem to have panicked, and one whose future panics as it is
/// dropped would abort the process.
#[test]
fn the_waker_of_a_join_set_that_panics_does_no_harm() {
    let _limit = limit(30);
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("the waker of a join set");
        }
    }
    let waker = Waker::from(Arc::new(Panics));
    let joined = |future: Pin<Box<dyn Future<Output = ()>>>| {
        block_on(async {
            let mut set = JoinSet::new();
            set.spawn(future);
            yield_now().await;
            let polled = set.poll_join_next(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            set.abort_all();
            yield_now().await;
            set.try_join_next().unwrap().unwrap_err()
        })
    };
    assert!(joined(Box::pin(pending())).is_cancelled());
    let error = joined(Box::pin(async {
        let _guard = on_drop(|| panic!("the future"));
        pending().await
    }));
    assert_eq!(
        *error.into_panic().downcast::<&str>().unwrap(),
        "the future"
    );
}

/// Catches: a future that was ready and takes a second task.
#[test]
fn the_next_of_a_set_is_taken_once() {
    let _limit = limit(30);
    block_on(async {
        let mut set: JoinSet<u32> = [1, 2].map(ready).into_iter().collect();
        {
            let mut next = pin!(set.join_next());
            assert_eq!(next.as_mut().await.unwrap().unwrap(), 1);
            let cx = &mut Context::from_waker(Waker::noop());
            let text = panic_text(|| drop(next.as_mut().poll(cx)));
            assert!(text.contains("after it was ready"), "{text}");
        }
        assert_eq!(set.join_next().await.unwrap().unwrap(), 2);
    });
}

/// Catches: `join_all` that leaves a task out which was cancelled.
#[test]
fn join_all_panics_if_a_task_was_cancelled() {
    let _limit = limit(30);
    let text = panic_text(|| {
        block_on(async {
            let mut set = JoinSet::new();
            set.spawn(async {});
            set.spawn(pending::<()>()).abort();
            drop::<Vec<()>>(set.join_all().await);
        });
    });
    assert!(text.contains("gave no output"), "{text}");
}

/// Catches: `join_all` that leaves a panic out.
#[test]
fn joining_all_of_a_set_goes_on_with_a_panic() {
    let _limit = limit(30);
    let text = panic_text(|| {
        block_on(async {
            let mut set = JoinSet::new();
            set.spawn(async { panic!("of a member") });
            drop::<Vec<()>>(set.join_all().await);
        });
    });
    assert_eq!(text, "of a member");
}

/// Promise 8. Catches: an output that goes with a cancelled wait.
#[test]
fn a_cancelled_wait_for_a_set_loses_nothing() {
    within(10, || {
        block_on(async {
            let mut set = JoinSet::new();
            for i in 0..100 {
                set.spawn(async move { i });
            }
            let mut outputs = Vec::new();
            let mut cx = Context::from_waker(Waker::noop());
            while !set.is_empty() {
                // Polled once and dropped.
                let polled = pin!(set.join_next()).poll(&mut cx);
                if let Poll::Ready(Some(output)) = polled {
                    outputs.push(output.unwrap());
                }
                yield_now().await;
            }
            assert_eq!(outputs, (0..100).collect::<Vec<_>>());
        });
    });
}

/// Catches: `shutdown` that returns before the futures are dropped.
#[test]
fn shutting_a_set_down_waits_for_the_drops() {
    within(10, || {
        block_on(async {
            let drops = Drops::default();
            let mut set = JoinSet::new();
            for _ in 0..3 {
                let guard = drops.guard();
                set.spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                });
            }
            set.shutdown().await;
            assert!(set.is_empty());
            drops.assert_here(3);
        });
    });
}
