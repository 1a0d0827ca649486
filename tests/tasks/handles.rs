//! Handles, and the ids and errors that they tell: what one holds up, and what it gives.

use std::cell::Cell;
use std::future::{pending, poll_fn, ready};
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_task::{LocalSpawn as _, Spawn as _};
use reveille::runtime::Runtime;
use reveille::task::{self, yield_now};
use reveille::time::sleep;
use reveille::{block_on, spawn};

use crate::limit::limit;
use crate::support::within;
use crate::{elsewhere, on_drop, text_of, turn};

/// Catches: dropping a handle that cancels its task.
#[test]
fn dropping_a_handle_lets_the_task_go_on() {
    let _limit = limit(30);
    let ran = Rc::new(Cell::new(false));
    block_on(async {
        let ran = ran.clone();
        drop(spawn(async move {
            yield_now().await;
            ran.set(true);
        }));
        yield_now().await;
        yield_now().await;
    });
    assert!(ran.get());
}

/// Catches: `detach` that aborts, by itself or because the handle was to abort when it is dropped.
#[test]
fn a_detached_task_goes_on() {
    within(10, || {
        block_on(async {
            let done = Rc::new(Cell::new(0));
            let task = || {
                let done = Rc::clone(&done);
                spawn(async move {
                    yield_now().await;
                    done.set(done.get() + 1);
                })
            };
            task().detach();
            task().abort_on_drop().detach();
            let finished = task();
            let abort = finished.abort_handle();
            assert!(!abort.is_finished());
            finished.await.unwrap();
            assert!(abort.is_finished());
            yield_now().await;
            assert_eq!(done.get(), 3);
        });
    });
}

/// Catches: `is_finished` that says so early, late, or no more once the output was taken.
#[test]
fn is_finished_tells_whether_awaiting_gives_the_outcome_at_once() {
    let _limit = limit(30);
    block_on(async {
        let mut task = spawn(async {});
        assert!(!task.is_finished(), "not polled yet");
        yield_now().await;
        assert!(task.is_finished(), "done");
        (&mut task).await.unwrap();
        assert!(task.is_finished(), "taken");
    });
    let runtime = Runtime::new().unwrap();
    let task = runtime.spawn(pending::<()>());
    drop(runtime);
    assert!(task.is_finished(), "its runtime has ended");
}

/// Fault B15, R5. Catches: a waker dropped under a borrow, or whose panic goes on, when another takes its
/// place in a handle, or when the handle is dropped.
#[test]
fn a_waker_that_a_handle_drops_may_spawn_and_panic() {
    let _limit = limit(30);
    thread_local! {
        static DROPPED: Cell<usize> = const { Cell::new(0) };
    }
    struct Meddles;
    impl Wake for Meddles {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for Meddles {
        fn drop(&mut self) {
            task::spawn(async {}).detach();
            DROPPED.set(DROPPED.get() + 1);
            panic!("in the drop of a waker");
        }
    }
    block_on(async {
        let polled = || {
            let mut task = spawn(async { 7 });
            // The handle has the only one.
            let waker = Waker::from(Arc::new(Meddles));
            let polled = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            task
        };
        assert_eq!(polled().await.unwrap(), 7);
        assert_eq!(DROPPED.get(), 1);
        drop(polled());
        assert_eq!(DROPPED.get(), 2);
    });
}

/// Catches: a slot that nobody frees, because its task was queued when its outcome was taken.
#[test]
fn a_task_that_is_done_and_queued_leaves_no_slot_when_it_was_awaited() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        for _ in 0..100 {
            let task = spawn(poll_fn(|cx| {
                cx.waker().wake_by_ref();
                Poll::Ready(7)
            }));
            yield_now().await;
            assert_eq!(task.await.unwrap(), 7);
        }
    });
    runtime.turn().unwrap();
    assert_eq!(runtime.handle().metrics().tasks, 0);
}

/// R1. Catches: a task that wakes itself in its last poll, and is queued twice when its handle goes.
#[test]
fn a_task_that_is_done_and_queued_can_be_detached() {
    let _limit = limit(30);
    block_on(async {
        let task = spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        }));
        yield_now().await;
        assert!(task.is_finished());
        drop(task);
        for _ in 0..3 {
            yield_now().await;
        }
        assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
    });
}

/// Catches: a handle whose drop queues a task that waits.
#[test]
fn dropping_the_handle_of_a_task_that_waits_costs_no_poll() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let handle = runtime.spawn(pending::<()>());
    runtime.turn().unwrap();
    let before = runtime.handle().metrics().polls;
    runtime.block_on(async { drop(handle) });
    runtime.turn().unwrap();
    // That of the main future.
    assert_eq!(runtime.handle().metrics().polls, before + 1);
}

/// Promise 7. Catches: a handle that waits for ever for a runtime that has gone.
#[test]
fn a_handle_gives_cancelled_after_the_runtimes_end() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let task = runtime.spawn(pending::<()>());
    let id = task.id();
    drop(runtime);
    let error = futures_lite::future::block_on(task).unwrap_err();
    assert!(error.is_cancelled() && !error.is_panic());
    assert_eq!(error.id(), id);
    assert_eq!(error.to_string(), format!("task `{id}` was cancelled"));
}

/// Catches: ids that repeat, fall, or are those of another task.
#[test]
fn ids_rise_and_are_known_in_the_task() {
    let _limit = limit(30);
    assert!(task::try_id().is_none());
    block_on(async {
        let first = spawn(async { task::id() });
        let second = spawn(async { task::id() });
        let (ids, main) = ([first.id(), second.id()], task::id());
        assert!(main < ids[0] && ids[0] < ids[1]);
        assert_eq!([first.await.unwrap(), second.await.unwrap()], ids);
        let seen = Rc::new(Cell::new(None));
        let guard = on_drop({
            let seen = seen.clone();
            move || seen.set(task::try_id())
        });
        let dropped = spawn(async move { drop(guard) });
        let id = dropped.id();
        dropped.abort();
        drop(dropped.await);
        assert_eq!(seen.get(), Some(id), "also while it is dropped");
    });
}

/// Catches: a task that is taken for the current one when its poll is over: what a look wakes is woken
/// in nobody's name.
#[test]
fn between_two_polls_no_task_is_the_current_one() {
    let _limit = limit(30);
    #[derive(Default)]
    struct Asks(Mutex<Vec<Option<task::Id>>>);
    impl Wake for Asks {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().push(task::try_id());
        }
    }
    let asks = Arc::new(Asks::default());
    let waker = Waker::from(Arc::clone(&asks));
    block_on(async {
        let mut foreign = pin!(sleep(Duration::from_millis(1)));
        let polled = foreign.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        sleep(Duration::from_millis(2)).await;
    });
    assert_eq!(*asks.0.lock().unwrap(), [None]);
}

/// Catches: text without the payload, or payload that is lost; a panic that counts as cancelled.
#[test]
fn a_join_error_carries_the_panic() {
    let _limit = limit(30);
    block_on(async {
        let error = spawn(async { panic!("the text") }).await.unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert!(error.to_string().ends_with("panicked: the text"), "{error}");
        // As tokio says it.
        let told = format!("JoinError::Panic({:?}, \"the text\", ...)", error.id());
        assert_eq!(format!("{error:?}"), told);
        assert_eq!(text_of(&*error.into_panic()), "the text");
        let error = spawn(async { panic_any(5) }).await.unwrap_err();
        let told = format!("JoinError::Panic({:?}, ...)", error.id());
        assert_eq!(format!("{error:?}"), told);
        assert_eq!(error.try_into_panic().unwrap().downcast_ref(), Some(&5));
        let task = spawn(pending::<()>());
        task.abort();
        let error = std::io::Error::from(task.await.unwrap_err());
        assert!(error.to_string().ends_with("was cancelled"), "{error}");
    });
}

/// Catches: `spawn` of `futures_task` that says yes after the runtime's end, or spawns nothing.
#[test]
fn handles_spawn_for_futures_task() {
    within(10, || {
        let runtime = Runtime::new().unwrap();
        let handle = runtime.handle();
        let (sender, done) = mpsc::channel();
        let (remote, local) = (sender.clone(), Rc::new(sender));
        let anywhere = move || {
            let task = Box::pin(async move { remote.send("anywhere").unwrap() });
            handle.spawn_obj(task.into()).map(|()| handle)
        };
        let handle = elsewhere(anywhere).unwrap();
        let not_at_home = handle.spawn_local_obj(Box::pin(ready(())).into());
        assert!(not_at_home.unwrap_err().is_shutdown());
        assert!(handle.status_local().is_err() && handle.status().is_ok());
        runtime.block_on(async {
            let task = Box::pin(async move { local.send("here").unwrap() });
            handle.spawn_local_obj(task.into()).unwrap();
            assert!(handle.status_local().is_ok());
            yield_now().await;
        });
        (0..3).for_each(|_| turn(&runtime));
        let mut heard: Vec<_> = done.try_iter().collect();
        heard.sort_unstable();
        assert_eq!(heard, ["anywhere", "here"]);
        drop(runtime);
        assert!(handle.status().unwrap_err().is_shutdown());
        assert!(handle.spawn_obj(Box::pin(ready(())).into()).is_err());
    });
}
