//! Who owns what: programs that are cycles elsewhere, and every state in which a task can be aborted.

use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use reveille::runtime::{Handle, Runtime};
use reveille::spawn;
use reveille::task::{JoinHandle, yield_now};

use crate::limit::limit;
use crate::support::within;
use crate::{Drops, elsewhere, turn};

/// Fault B28. Catches: a waker, or a handle, that keeps the task it names.
#[test]
fn two_tasks_that_await_each_other_are_dropped_with_their_runtime() {
    let _limit = limit(30);
    let drops = Drops::default();
    let runtime = Runtime::new().unwrap();
    let handles: [Rc<RefCell<Option<JoinHandle<()>>>>; 2] = Default::default();
    for number in 0..2 {
        let (guard, others) = (drops.guard(), Rc::clone(&handles[1 - number]));
        let task = runtime.spawn(async move {
            let _guard = guard;
            yield_now().await;
            let other = others
                .take()
                .expect("it was put there before the second poll");
            let _outcome = other.await;
        });
        handles[number].replace(Some(task));
    }
    let weak: Vec<Weak<_>> = handles.iter().map(Rc::downgrade).collect();
    drop(handles);
    (0..3).for_each(|_| turn(&runtime));
    assert_eq!(drops.count(), 0);
    drop(runtime);
    drops.assert_here(2);
    assert!(weak.iter().all(|weak| weak.strong_count() == 0), "leaked");
}

/// Fault B29. Catches: a waker that owns the task: one that lies in its own future is a cycle.
#[test]
fn tasks_that_keep_their_own_wakers_are_dropped_with_their_runtime() {
    let _limit = limit(30);
    const TASKS: usize = 1000;
    let drops = Drops::default();
    let runtime = Runtime::new().unwrap();
    for _ in 0..TASKS {
        let guard = drops.guard();
        let mut wakers: Vec<Waker> = Vec::new();
        drop(runtime.spawn(poll_fn(move |cx| {
            let _guard = &guard;
            wakers.push(cx.waker().clone());
            if wakers.len() < 3 {
                wakers[0].wake_by_ref();
            }
            Poll::<()>::Pending
        })));
    }
    (0..3).for_each(|_| turn(&runtime));
    drop(runtime);
    drops.assert_here(TASKS);
}

/// Fault B30. Catches: a handle that keeps its runtime alive: in a task it is a cycle.
#[test]
fn a_task_that_holds_its_runtimes_handle_is_dropped_with_it() {
    let _limit = limit(30);
    let drops = Drops::default();
    let runtime = Runtime::new().unwrap();
    let (guard, handle) = (drops.guard(), runtime.handle());
    drop(runtime.spawn(async move {
        let _guard = guard;
        let _both: [Handle; 2] = [handle, Handle::current()];
        pending::<()>().await;
    }));
    turn(&runtime);
    drop(runtime);
    drops.assert_here(1);
}

/// What a task does in its first poll.
type Hook = Box<dyn Fn()>;

/// In which state the task is when the abort comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    BeforeItsFirstPoll,
    Queued,
    Waiting,
    InItsPollThatWaits,
    InItsPollThatReturns,
    InItsPollThatPanics,
    Done,
    Joined,
    AfterTheRuntime,
}

/// Fault B27, promise 7. Catches: an abort that is lost, drops twice, drops a result that is there,
/// or revives what has ended, in any state, from anywhere, once or twice.
#[test]
fn an_abort_in_every_state_ends_the_task_or_leaves_its_outcome() {
    use When::*;
    within(30, || {
        for when in [
            BeforeItsFirstPoll,
            Queued,
            Waiting,
            InItsPollThatWaits,
            InItsPollThatReturns,
            InItsPollThatPanics,
            Done,
            Joined,
            AfterTheRuntime,
        ] {
            for (from_elsewhere, times, detached) in
                (0..8).map(|bits| (bits & 1 != 0, 1 + (bits >> 1 & 1), bits & 4 != 0))
            {
                abort_once(when, from_elsewhere, times, detached);
            }
        }
    });
}

fn abort_once(when: When, from_elsewhere: bool, times: usize, detached: bool) {
    use When::*;
    let case = format!("{when:?}, {from_elsewhere}, {times}, {detached}");
    let drops = Drops::default();
    let guard = drops.guard();
    let runtime = Runtime::new().unwrap();
    let own: Rc<RefCell<Option<Hook>>> = Rc::default();
    let abort_me = Rc::clone(&own);
    let mut polls = 0;
    let task = runtime.spawn(poll_fn(move |cx| {
        let _guard = &guard;
        polls += 1;
        if let Some(abort) = &*abort_me.borrow() {
            assert_eq!(polls, 1, "an aborted task is polled");
            abort();
            match when {
                InItsPollThatReturns => return Poll::Ready(5),
                InItsPollThatPanics => std::panic::resume_unwind(Box::new("on purpose")),
                _ => {}
            }
        }
        match when {
            Done | Joined => Poll::Ready(5),
            Queued => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            _ => Poll::Pending,
        }
    }));
    let handle = task.abort_handle();
    let abort = move || {
        for _ in 0..times {
            if from_elsewhere {
                elsewhere(|| handle.abort());
            } else {
                handle.abort();
            }
        }
    };
    let mut task = Some(task);
    let mut outcome = None;
    match when {
        BeforeItsFirstPoll => abort(),
        Queued | Waiting | Done => {
            turn(&runtime);
            runtime.block_on(async { abort() });
        }
        InItsPollThatWaits | InItsPollThatReturns | InItsPollThatPanics => {
            own.replace(Some(Box::new(abort)));
        }
        Joined => {
            outcome = Some(runtime.block_on(task.take().unwrap()));
            abort();
        }
        AfterTheRuntime => {}
    }
    if when == AfterTheRuntime {
        drop(runtime);
        for _ in 0..times {
            task.as_ref().unwrap().abort();
        }
        drops.assert_here(1);
        let mut cx = Context::from_waker(Waker::noop());
        let joined = Pin::new(task.as_mut().unwrap()).poll(&mut cx);
        assert!(matches!(joined, Poll::Ready(Err(error)) if error.is_cancelled()));
        return;
    }
    if detached {
        drop(task.take());
    }
    (0..3).for_each(|_| turn(&runtime));
    drops.assert_here(1);
    if let Some(task) = task {
        outcome = Some(runtime.block_on(task));
    }
    match (when, outcome) {
        (_, None) => assert!(detached, "{case}"),
        (InItsPollThatReturns | Done | Joined, Some(outcome)) => {
            assert_eq!(outcome.unwrap(), 5, "{case}");
        }
        (InItsPollThatPanics, Some(outcome)) => assert!(outcome.unwrap_err().is_panic(), "{case}"),
        (_, Some(outcome)) => assert!(outcome.unwrap_err().is_cancelled(), "{case}"),
    }
    // The runtime is none the worse, and the slot is free for somebody else.
    assert_eq!(
        runtime.block_on(async { spawn(async { 6 }).await.unwrap() }),
        6,
        "{case}"
    );
}
