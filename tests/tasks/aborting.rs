//! Aborting: in every state, from home and from elsewhere, once and again.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::io::Write;
use std::os::unix::net::UnixStream as StdStream;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use reveille::net::UnixStream;
use reveille::runtime::{Handle, Runtime};
use reveille::task::{AbortHandle, JoinHandle, yield_now};
use reveille::time::sleep;
use reveille::{block_on, spawn};

use crate::limit::limit;
use crate::support::within;
use crate::{Drops, elsewhere};

/// Aborts at home and from another thread.
fn abort(handle: &AbortHandle, remote: bool) {
    if remote {
        elsewhere(|| handle.abort());
    } else {
        handle.abort();
    }
}

/// Fault B3. Catches: an abort that drops the future on the spot, polls it again, or forgets it.
#[test]
fn an_aborted_task_is_dropped_at_home_and_not_polled_again() {
    within(30, || {
        for remote in [false, true] {
            for state in ["never polled", "pending", "queued"] {
                for twice in [false, true] {
                    let drops = Drops::default();
                    let polls = Rc::new(Cell::new(0));
                    block_on(async {
                        let (guard, counted) = (drops.guard(), polls.clone());
                        let task = spawn(async move {
                            let _guard = guard;
                            poll_fn(|cx| {
                                counted.set(counted.get() + 1);
                                if state == "queued" {
                                    cx.waker().wake_by_ref();
                                }
                                Poll::<()>::Pending
                            })
                            .await
                        });
                        if state != "never polled" {
                            yield_now().await;
                        }
                        let before = polls.get();
                        for _ in 0..1 + usize::from(twice) {
                            abort(&task.abort_handle(), remote);
                        }
                        assert_eq!(drops.count(), 0, "{state}: aborting only marks");
                        let error = task.await.unwrap_err();
                        assert!(error.is_cancelled(), "{state}: {error}");
                        if !remote {
                            assert_eq!(polls.get(), before, "{state}: polled after the abort");
                        }
                    });
                    drops.assert_here(1);
                }
            }
        }
    });
}

/// A task that aborts itself in the middle of its poll, and then returns 7 or waits for ever.
fn aborts_itself(remote: bool, returns: bool) -> JoinHandle<i32> {
    let handle: Rc<RefCell<Option<AbortHandle>>> = Rc::default();
    let own = handle.clone();
    let task = spawn(async move {
        abort(own.borrow().as_ref().unwrap(), remote);
        if !returns {
            pending::<()>().await;
        }
        7
    });
    *handle.borrow_mut() = Some(task.abort_handle());
    task
}

/// Fault B3. Catches: an abort that replaces the output of a poll it came in the middle of.
#[test]
fn a_task_that_is_aborted_in_its_last_poll_has_returned() {
    within(10, || {
        for remote in [false, true] {
            let output = block_on(async { aborts_itself(remote, true).await });
            assert_eq!(output.unwrap(), 7);
        }
    });
}

/// Fault B3. Catches: a mark that is lost when the task is being polled.
#[test]
fn a_task_that_is_aborted_in_a_poll_and_waits_is_cancelled() {
    within(10, || {
        for remote in [false, true] {
            let output = block_on(async { aborts_itself(remote, false).await });
            assert!(output.unwrap_err().is_cancelled());
        }
    });
}

/// Fault B3. Catches: an abort that touches a task that is done, or the next one in its slot.
#[test]
fn aborting_a_task_that_is_done_does_nothing() {
    within(10, || {
        for remote in [false, true] {
            block_on(async {
                let task = spawn(async { 7 });
                yield_now().await;
                let handle = task.abort_handle();
                abort(&handle, remote);
                assert_eq!(task.await.unwrap(), 7);
                let newcomer = spawn(async {
                    yield_now().await;
                    8
                });
                abort(&handle, remote);
                assert_eq!(newcomer.await.unwrap(), 8);
            });
        }
    });
}

/// Fault B3. Catches: a task that is done, and queued all the same.
#[test]
fn a_wake_or_an_abort_of_a_finished_task_queues_nothing() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    let task = runtime.spawn(poll_fn(move |cx| {
        sender.send(cx.waker().clone()).unwrap();
        Poll::Ready(())
    }));
    runtime.block_on(yield_now());
    let waker = receiver.recv().unwrap();
    runtime.block_on(async {
        assert!(task.is_finished());
        waker.wake_by_ref();
        task.abort();
    });
    assert_eq!(runtime.next_deadline(), None);
    runtime.block_on(task).unwrap();
}

/// Fault B3, R6. Catches: a name that finds someone after its runtime's end.
#[test]
fn aborting_after_the_runtimes_end_does_nothing() {
    within(10, || {
        for remote in [false, true] {
            let runtime = Runtime::new().unwrap();
            let task = runtime.spawn(pending::<()>());
            drop(runtime);
            abort(&task.abort_handle(), remote);
            assert!(block_on(task).unwrap_err().is_cancelled());
        }
    });
}

/// Catches: `abort_on_drop` that detaches only.
#[test]
fn dropping_an_abort_on_drop_handle_aborts() {
    let _limit = limit(30);
    let drops = Drops::default();
    let guard = drops.guard();
    block_on(async {
        let task = spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        drop(task.abort_on_drop());
        assert_eq!(
            drops.count(),
            0,
            "in the middle of whoever dropped the handle"
        );
        yield_now().await;
        assert_eq!(drops.count(), 1);
    });
}

/// R6, R7. Catches: a waiter, a source or an entry of epoll that stays when its task was aborted, or a waker of that
/// task that does more than nothing.
#[test]
fn of_a_read_that_was_aborted_only_names_are_left() {
    let _limit = limit(30);
    block_on(async {
        let (reader, mut writer) = StdStream::pair().unwrap();
        // It keeps the socket open, so that only the runtime's DEL takes it out of epoll.
        let _duplicate = reader.try_clone().unwrap();
        reader.set_nonblocking(true).unwrap();
        let reader = UnixStream::from_std(reader).unwrap();
        let waker = Rc::new(RefCell::new(Waker::noop().clone()));
        let kept = waker.clone();
        let task = spawn(async move {
            let mut buf = [0; 1];
            let mut read = pin!(reader.read(&mut buf));
            poll_fn(|cx| {
                *kept.borrow_mut() = cx.waker().clone();
                read.as_mut().poll(cx)
            })
            .await
        });
        sleep(Duration::from_millis(1)).await;
        let metrics = Handle::current().metrics();
        assert_eq!((metrics.sources, metrics.tasks), (1, 2));
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        sleep(Duration::from_millis(1)).await;
        let before = Handle::current().metrics();
        assert_eq!((before.sources, before.tasks), (0, 1));
        waker.borrow().wake_by_ref();
        writer.write_all(b"x").unwrap();
        sleep(Duration::from_millis(1)).await;
        let after = Handle::current().metrics();
        assert_eq!(after.events, before.events);
        assert_eq!(after.stale_events, before.stale_events);
        assert_eq!(after.polls, before.polls + 1, "that of this future");
    });
}
