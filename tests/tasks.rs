//! The life of a task: handles, aborts, panics, drops, the runtime's end; and destructors that do
//! whatever they like.

mod support;

#[path = "support/bomb.rs"]
mod bomb;
#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "tasks/owning.rs"]
mod owning;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use bomb::{Bomb, Material, assert_exploded, check, explode, lay_out};
use child::in_child;
use futures_task::{LocalSpawn as _, Spawn as _};
use limit::limit;
use reveille::io::AsyncFd;
use reveille::runtime::{Builder, Handle, Runtime, UnhandledPanic};
use reveille::task::{self, AbortHandle, JoinHandle, JoinSet, yield_now};
use reveille::time::{Sleep, sleep};
use reveille::{block_on, spawn};
use support::within;

/// Runs `f` when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

fn on_drop<F: FnOnce()>(f: F) -> OnDrop<F> {
    OnDrop(Some(f))
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// Counts its drops, and remembers on which threads they were.
#[derive(Clone, Default)]
struct Drops(Arc<Mutex<Vec<ThreadId>>>);

impl Drops {
    fn guard(&self) -> OnDrop<impl FnOnce() + use<>> {
        let drops = self.clone();
        on_drop(move || drops.0.lock().unwrap().push(thread::current().id()))
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    #[track_caller]
    fn assert_here(&self, count: usize) {
        let drops = self.0.lock().unwrap();
        assert_eq!(*drops, vec![thread::current().id(); count]);
    }
}

fn turn(runtime: &Runtime) {
    runtime.turn().unwrap();
}

fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(f).join().unwrap())
}

async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

fn panic_text(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it did not panic");
    text_of(&*payload)
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => payload
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_default(),
    }
}

// The end of a task, and R3.

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

// Aborting.

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

// Handles.

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

/// Fault B37. Catches: a second output, or an endless wait, instead of a panic.
#[test]
fn a_handle_panics_when_it_is_polled_after_it_gave_its_output() {
    let _limit = limit(30);
    block_on(async {
        let mut task = spawn(async {});
        (&mut task).await.unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let text = panic_text(|| drop(Pin::new(&mut task).poll(&mut cx)));
        assert!(text.contains("after it gave its output"), "{text}");
        let mut task = task.abort_on_drop();
        let text = panic_text(|| drop(Pin::new(&mut task).poll(&mut cx)));
        assert!(text.contains("after it gave its output"), "{text}");
    });
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

/// R3. Catches: an output handed to another thread, or an endless wait there.
#[test]
fn a_handle_panics_elsewhere_and_says_what_to_do() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let task = runtime.spawn(async {});
    turn(&runtime);
    let mut cx = Context::from_waker(Waker::noop());
    let mut task = pin!(task);
    let outside = [
        panic_text(|| drop(task.as_mut().poll(&mut cx))),
        panic_text(|| {
            let _finished = task.is_finished();
        }),
        panic_text(|| block_on(async { drop(task.as_mut().await) })),
    ];
    for text in outside {
        assert!(text.contains("send the result through a channel"), "{text}");
    }
    runtime.block_on(task).unwrap();
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

/// Catches: misuse that passes, or an error that does not say what to do.
#[test]
fn outside_a_runtime_there_is_no_current_handle() {
    let _limit = limit(30);
    let error = Handle::try_current().unwrap_err();
    assert!(error.to_string().contains("inside `block_on`"), "{error}");
    let text = panic_text(|| {
        let _handle = Handle::current();
    });
    assert!(text.contains("outside a runtime: call it inside"), "{text}");
}

// Panics.

/// Fault B11. Catches: a panic that ends the loop, or that takes another task's outcome with it.
#[test]
fn a_panic_in_a_poll_is_that_tasks_alone() {
    within(30, || {
        block_on(async {
            let drops = Drops::default();
            let tasks: Vec<JoinHandle<usize>> = (0..1000)
                .map(|i| {
                    let guard = drops.guard();
                    spawn(async move {
                        let _guard = guard;
                        assert_ne!(i % 6, 0, "in the first poll");
                        yield_now().await;
                        assert_ne!(i % 3, 0, "in the second poll");
                        i
                    })
                })
                .collect();
            for (i, task) in tasks.into_iter().enumerate() {
                match task.await {
                    Ok(output) => assert!(output == i && i % 3 != 0),
                    Err(error) => assert!(error.is_panic() && i % 3 == 0),
                }
            }
            drops.assert_here(1000);
        });
    });
}

/// A payload, or whatever else, whose drop panics.
fn bad_drop() -> OnDrop<impl FnOnce() + Send> {
    on_drop(|| panic!("in a drop, on purpose"))
}

/// Fault B12, promise 5. Catches: a destructor's panic that escapes from wherever it runs.
#[test]
fn a_panic_in_a_drop_is_contained() {
    within(30, || {
        for drop_of in ["future", "output", "payload"] {
            for end in [
                "joined",
                "aborted",
                "detached",
                "handle dropped",
                "runtime dropped",
            ] {
                let others = Drops::default();
                let runtime = Runtime::new().unwrap();
                let spawn_other = || {
                    let guard = others.guard();
                    drop(runtime.spawn(async move {
                        let _guard = guard;
                        pending::<()>().await;
                    }));
                };
                spawn_other();
                let task: JoinHandle<Box<dyn Any>> = runtime.spawn(async move {
                    let guard = Some(bad_drop());
                    match drop_of {
                        "future" if end == "aborted" || end == "runtime dropped" => {
                            let _guard = guard;
                            pending::<Box<dyn Any>>().await
                        }
                        "future" => {
                            let _guard = guard;
                            Box::new(())
                        }
                        "output" => Box::new(guard),
                        _ => panic_any(guard),
                    }
                });
                spawn_other();
                match end {
                    "joined" => {
                        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(task)));
                        // The outcome is ours, and so is its drop.
                        drop(catch_unwind(AssertUnwindSafe(|| drop(outcome))));
                    }
                    "aborted" => {
                        turn(&runtime);
                        task.abort();
                        turn(&runtime);
                        drop(task);
                    }
                    "detached" => drop(task),
                    "handle dropped" => {
                        turn(&runtime);
                        drop(task);
                    }
                    _ => turn(&runtime),
                }
                (0..3).for_each(|_| turn(&runtime));
                assert_eq!(runtime.block_on(async { 7 }), 7, "{drop_of}, {end}");
                drop(runtime);
                assert_eq!(others.count(), 2, "{drop_of}, {end}");
            }
        }
    });
}

/// Fault B12. Catches: dropping a runtime's last mail, or a source's wakers, as one value: where
/// two of them panic the process aborts.
#[test]
fn two_panicking_drops_in_one_place_do_not_abort() {
    let _limit = limit(30);
    // Two wakers in one source.
    let (ours, _theirs) = UnixStream::pair().unwrap();
    block_on(async {
        let fd = AsyncFd::new(ours).unwrap();
        for _ in 0..3 {
            let waker = foreign(Foreign {
                on_drop: Some(|| panic!("in the drop of a waker, on purpose")),
                ..Foreign::default()
            });
            let mut cx = Context::from_waker(&waker);
            assert!(fd.poll_read_ready(&mut cx).is_pending());
            std::mem::forget(waker);
        }
        drop(fd);
    });
    // Two futures in a last mail, posted by the drop of a timer's waker.
    let runtime = Runtime::new().unwrap();
    let mut sleep = sleep(Duration::from_secs(60));
    runtime.block_on(async {
        let waker = foreign(Foreign {
            on_drop: Some(|| {
                for _ in 0..2 {
                    let guard = bad_drop();
                    Handle::current().spawn(async move { drop(guard) });
                }
            }),
            ..Foreign::default()
        });
        let mut cx = Context::from_waker(&waker);
        assert!(Pin::new(&mut sleep).poll(&mut cx).is_pending());
        std::mem::forget(waker);
    });
    drop(runtime);
}

/// Fault B35. Catches: shutting down while the panic of the main future unwinds.
#[test]
fn a_panic_of_the_main_future_and_panicking_drops_do_not_abort() {
    let _limit = limit(30);
    let text = panic_text(|| {
        block_on(async {
            for _ in 0..2 {
                let guard = bad_drop();
                drop(spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                }));
            }
            yield_now().await;
            assert!(!thread::panicking());
            panic!("the first");
        })
    });
    assert_eq!(text, "the first");
}

/// Fault B35. Catches: tasks of the free `block_on` dropped while its panic unwinds.
#[test]
fn tasks_are_not_dropped_while_the_thread_unwinds() {
    let _limit = limit(30);
    let unwinding = Rc::new(Cell::new(None));
    let seen = unwinding.clone();
    let text = panic_text(|| {
        block_on(async move {
            let guard = on_drop(move || seen.set(Some(thread::panicking())));
            drop(spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            }));
            panic!("of main");
        })
    });
    assert_eq!(text, "of main");
    assert_eq!(unwinding.get(), Some(false));
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

/// Fault B35. Catches: the second panic's payload, or the output, dropped where it can escape.
#[test]
fn the_first_panic_of_the_main_future_is_the_one_that_goes_on() {
    let _limit = limit(30);
    let panics_in_drop = || on_drop(|| panic_any(bad_drop()));
    struct Main<D>(D);
    impl<D: Unpin> Future for Main<D> {
        type Output = OnDrop<Box<dyn FnOnce()>>;
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            Poll::Ready(on_drop(Box::new(|| panic!("of the output"))))
        }
    }
    let text = panic_text(|| drop(block_on(Main(on_drop(|| panic!("of the future"))))));
    assert_eq!(text, "of the future");
    struct Panics<D>(D);
    impl<D: Unpin> Future for Panics<D> {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("of the poll")
        }
    }
    let text = panic_text(|| block_on(Panics(panics_in_drop())));
    assert_eq!(text, "of the poll");
}

/// Promise 5. Catches: a main future whose panic leaves the runtime running, or its slot taken.
#[test]
fn a_runtime_is_usable_after_a_panic_of_its_main_future() {
    within(10, || {
        let runtime = Runtime::new().unwrap();
        for _ in 0..3 {
            let drops = Drops::default();
            let guard = drops.guard();
            let text = panic_text(|| {
                runtime.block_on(async move {
                    let _guard = guard;
                    own_waker().await.wake();
                    panic!("of main")
                })
            });
            assert_eq!(text, "of main");
            drops.assert_here(1);
            assert!(Handle::try_current().is_err());
            assert_eq!(
                runtime.block_on(async { spawn(async { 7 }).await.unwrap() }),
                7
            );
        }
    });
}

/// Catches: a policy that is ignored, or that acts on a panic which a handle reports.
#[test]
fn an_unhandled_panic_ends_block_on_if_the_policy_says_so() {
    within(10, || {
        let mut builder = Builder::new();
        builder.unhandled_panic(UnhandledPanic::ShutdownRuntime);
        let runtime = builder.build().unwrap();
        runtime.block_on(async {
            let handled = spawn(async { panic!("reported") });
            assert!(handled.await.unwrap_err().is_panic());
        });
        for dropped_first in [true, false] {
            let text = panic_text(|| {
                runtime.block_on(async {
                    let task = spawn(async { panic!("not reported") });
                    if !dropped_first {
                        yield_now().await;
                    }
                    drop::<JoinHandle<()>>(task);
                    pending::<()>().await;
                });
            });
            assert!(text.contains("a detached task panicked"), "{text}");
        }
        assert_eq!(runtime.block_on(async { 7 }), 7);
        runtime.spawn(async { panic!("not reported") }).detach();
        let text = panic_text(|| runtime.turn().unwrap());
        assert!(text.contains("a detached task panicked"), "{text}");
        block_on(async {
            drop(spawn(async { panic!("ignored by default") }));
            yield_now().await;
        });
    });
}

/// Fault B46. Catches: a panic that comes to light in the shutdown, because the handle went with the
/// main future, or with another task; one that replaces the panic of the main future.
#[test]
fn an_unhandled_panic_that_the_shutdown_finds_ends_the_free_block_on() {
    within(10, || {
        let mut builder = Builder::new();
        builder.unhandled_panic(UnhandledPanic::ShutdownRuntime);
        let told = |main: fn(JoinHandle<()>)| {
            panic_text(|| {
                builder.block_on(async {
                    let task = spawn(async { panic!("not reported") });
                    yield_now().await;
                    main(task);
                });
            })
        };
        let text = told(drop);
        assert!(text.contains("a detached task panicked"), "{text}");
        let text = told(|task| {
            drop(spawn(async move {
                let _kept = task;
                pending::<()>().await;
            }));
        });
        assert!(text.contains("a detached task panicked"), "{text}");
        let text = told(|_task| panic!("of the main future"));
        assert!(text.contains("of the main future"), "{text}");
        // The output that is not returned may panic as well, and must not do so in the middle of this.
        struct Panics;
        impl Drop for Panics {
            fn drop(&mut self) {
                panic!("of the output");
            }
        }
        let text = panic_text(|| {
            drop(builder.block_on(async {
                let task = spawn(async { panic!("not reported") });
                yield_now().await;
                drop::<JoinHandle<()>>(task);
                Panics
            }));
        });
        assert!(text.contains("a detached task panicked"), "{text}");
        builder.unhandled_panic(UnhandledPanic::Ignore);
        builder.block_on(async {
            let task = spawn(async { panic!("ignored") });
            yield_now().await;
            drop::<JoinHandle<()>>(task);
        });
    });
}

/// Fault B14, R9. Catches: a panicking waker that silences those behind it.
#[test]
fn a_waker_that_panics_silences_nobody() {
    within(10, || {
        let woken: Arc<Mutex<Vec<usize>>> = Arc::default();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let runtime = Runtime::new().unwrap();
        let fd = AsyncFd::new(ours).unwrap();
        let mut sleeps: Vec<Sleep> = (0..3).map(|_| sleep(Duration::from_nanos(1))).collect();
        let wakers: Vec<Waker> = (0..6)
            .map(|i| {
                let woken = Arc::clone(&woken);
                Waker::from(Arc::new(Calls(Mutex::new(move || {
                    woken.lock().unwrap().push(i);
                    assert!(i != 1 && i != 4, "the waker in the middle, on purpose");
                }))))
            })
            .collect();
        runtime.block_on(async {
            for (i, waker) in wakers.iter().enumerate() {
                let mut cx = Context::from_waker(waker);
                if i < 3 {
                    assert!(fd.poll_read_ready(&mut cx).is_pending());
                } else {
                    // The turn's time is older than its deadline, whatever the clock says now.
                    assert!(Pin::new(&mut sleeps[i - 3]).poll(&mut cx).is_pending());
                }
            }
        });
        std::io::Write::write_all(&mut theirs, b"x").unwrap();
        turn(&runtime);
        turn(&runtime);
        let mut woken = std::mem::take(&mut *woken.lock().unwrap());
        woken.sort_unstable();
        assert_eq!(woken, [0, 1, 2, 3, 4, 5]);
        assert_eq!(runtime.block_on(async { 7 }), 7);
    });
}

/// A waker that calls a closure.
struct Calls<F>(Mutex<F>);

impl<F: FnMut() + Send + 'static> Wake for Calls<F> {
    fn wake(self: Arc<Self>) {
        let mut f = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        f();
    }
}

// The runtime's end.

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

/// Fault B12. Catches: the panic of the drop reported in place of that of the poll.
#[test]
fn of_a_poll_and_a_drop_that_panic_the_poll_is_reported() {
    let _limit = limit(30);
    struct Bad;
    impl Future for Bad {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("the poll");
        }
    }
    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("the drop");
        }
    }
    let error = block_on(async { spawn(Bad).await }).unwrap_err();
    assert_eq!(error.into_panic().downcast_ref(), Some(&"the poll"));
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

/// Fault B22. Catches: a nested loop, or an outer one that is broken by the refusal.
#[test]
fn block_on_inside_a_runtime_panics_and_leaves_the_runtime_usable() {
    within(10, || {
        let nested = || panic_text(|| block_on(async {}));
        let texts: Rc<RefCell<Vec<String>>> = Rc::default();
        let runtime = Runtime::new().unwrap();
        let inner = Runtime::new().unwrap();
        runtime.block_on(async {
            texts.borrow_mut().push(nested());
            let text = panic_text(|| inner.block_on(async {}));
            texts.borrow_mut().push(text);
            let text = panic_text(|| Builder::new().block_on(async {}));
            texts.borrow_mut().push(text);
            assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
        });
        let seen = texts.clone();
        let guard = on_drop(move || seen.borrow_mut().push(nested()));
        drop(runtime.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        }));
        turn(&runtime);
        let text = panic_text(|| runtime.block_on(async { runtime.turn().unwrap() }));
        assert!(text.contains("`turn` called inside"), "{text}");
        assert_eq!(runtime.block_on(async { 7 }), 7);
        drop(runtime);
        let texts = texts.take();
        assert_eq!(texts.len(), 4, "the last one during shutdown");
        for text in texts {
            assert!(text.contains("await the future, or `spawn` it"), "{text}");
        }
    });
}

/// Fault B31. Catches: dropping or aborting that recurses from task to task.
#[test]
fn a_long_chain_of_abort_on_drop_handles_needs_no_stack() {
    let _limit = limit(120);
    let drops = Drops::default();
    let count = drops.clone();
    on_small_stack(256, move || {
        for aborted in [true, false] {
            let runtime = Runtime::new().unwrap();
            let mut next: Option<JoinHandle<()>> = None;
            for _ in 0..100_000 {
                let owned = next.map(JoinHandle::abort_on_drop);
                let guard = count.guard();
                next = Some(runtime.spawn(async move {
                    let _owned = (owned, guard);
                    pending::<()>().await;
                }));
            }
            if aborted {
                turn(&runtime);
                next.as_ref().unwrap().abort();
                // Each turn drops the task that the drop of the last one aborted: let it run.
                runtime.block_on(async {
                    while !next.as_ref().unwrap().is_finished() {
                        yield_now().await
                    }
                });
                while runtime.next_deadline().is_some() {
                    turn(&runtime);
                }
                assert_eq!(count.count(), 100_000);
            }
        }
    });
    assert_eq!(drops.count(), 200_000);
}

fn on_small_stack(kib: usize, f: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(kib * 1024);
    thread.spawn(f).unwrap().join().unwrap();
}

/// Fault B32. Catches: a big future that is moved by value through the functions of `spawn`.
#[test]
fn a_big_future_can_be_spawned_on_a_small_stack() {
    let _limit = limit(30);
    // Without optimization each function that passes it on takes a copy: two, the caller's
    // included.
    on_small_stack(256, || {
        let runtime = Runtime::new().unwrap();
        drop(runtime.spawn(big_future()));
        turn(&runtime);
        turn(&runtime);
    });
}

/// Fault B32. Catches: a big main future that is moved by value through `block_on`.
#[test]
fn a_big_future_can_be_blocked_on_on_a_small_stack() {
    let _limit = limit(30);
    // Two copies.
    on_small_stack(256, || assert_eq!(block_on(big_future()), 100));
}

/// 100 KiB of it.
async fn big_future() -> u8 {
    let bytes = [1u8; 100 * 1024];
    yield_now().await;
    bytes.iter().take(100).sum()
}

// Sets of tasks.

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

// Re-entrancy: destructors and wakers that call everything there is.

/// Fault B15, R5, promise 4. Catches: a borrow that is held while a destructor of a task runs.
#[test]
fn a_tasks_destructors_may_do_anything() {
    within(30, || {
        for place in [
            "end of poll",
            "abort",
            "self-abort",
            "runtime drop",
            "output, joined",
            "output, detached",
            "output, runtime drop",
            "payload, detached",
            "panic",
        ] {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(lay_out(4));
            let own: Rc<RefCell<Option<AbortHandle>>> = Rc::default();
            let handle = own.clone();
            let task: JoinHandle<Option<Box<dyn Any>>> = runtime.spawn(async move {
                let bomb = Bomb;
                match place {
                    "output, joined" | "output, detached" | "output, runtime drop" => {
                        return Some(Box::new(bomb) as Box<dyn Any>);
                    }
                    "payload, detached" => panic_any(Bomb),
                    "panic" => panic!("on purpose"),
                    "end of poll" => {}
                    _ => {
                        if let ("self-abort", Some(own)) = (place, &*handle.borrow()) {
                            own.abort();
                        }
                        pending::<()>().await;
                    }
                }
                drop(bomb);
                None
            });
            *own.borrow_mut() = Some(task.abort_handle());
            let mut task = Some(task);
            match place {
                "output, joined" => drop(runtime.block_on(task.take().unwrap())),
                "output, detached" | "payload, detached" => drop(task.take()),
                "abort" => {
                    turn(&runtime);
                    own.borrow().as_ref().unwrap().abort();
                }
                _ => {}
            }
            (0..3).for_each(|_| turn(&runtime));
            if !place.contains("runtime drop") {
                check(&runtime);
            }
            drop(runtime);
            assert_exploded(place);
        }
    });
}

/// Fault B15, R5, promise 4. Catches: a borrow that is held while a waker is cloned, woken or
/// dropped.
#[test]
fn foreign_wakers_may_do_anything() {
    within(60, || {
        for place in ["join", "timer", "io read", "io polled by many"] {
            for when in ["clone", "wake", "drop"] {
                // Paused, for a timer that is over before it is polled keeps no waker.
                let runtime = Builder::new().start_paused(true).build().unwrap();
                runtime.block_on(lay_out(20));
                let waker = || {
                    foreign(Foreign {
                        on_clone: (when == "clone").then_some(explode as fn()),
                        on_wake: (when == "wake").then_some(explode as fn()),
                        on_drop: (when == "drop").then_some(explode as fn()),
                    })
                };
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                ours.set_nonblocking(true).unwrap();
                let fd = AsyncFd::new(ours).unwrap();
                let mut task = runtime.spawn(async { sleep(Duration::from_millis(1)).await });
                // Inside, for the clock of a runtime that was paused is not the world's.
                let mut asleep =
                    runtime.block_on(poll_fn(|_| Poll::Ready(sleep(Duration::from_millis(1)))));
                runtime.block_on(async {
                    // Twice, so that one replaces the other.
                    for _ in 0..2 {
                        let waker = waker();
                        let mut cx = Context::from_waker(&waker);
                        match place {
                            "join" => drop(Pin::new(&mut task).poll(&mut cx)),
                            "timer" => drop(Pin::new(&mut asleep).poll(&mut cx)),
                            "io read" => drop(pin!(fd.readable()).poll(&mut cx)),
                            _ => {
                                for _ in 0..10 {
                                    let waker = self::foreign(Foreign::default());
                                    let mut cx = Context::from_waker(&waker);
                                    drop(fd.poll_read_ready(&mut cx));
                                }
                                drop(fd.poll_read_ready(&mut cx));
                            }
                        }
                    }
                    std::io::Write::write_all(&mut theirs, b"x").unwrap();
                    reveille::time::resume();
                    sleep(Duration::from_millis(3)).await;
                });
                check(&runtime);
                drop((task, asleep, fd));
                drop(runtime);
                // A wait that is dropped is forgotten, so nobody wakes its waker.
                let forgotten = place == "io read" && when == "wake";
                if !forgotten {
                    assert_exploded(&format!("{place}, {when}"));
                }
            }
        }
    });
}

/// Fault B15, fault B21, promise 4. Catches: a thread-local of ours that is gone before the
/// user's, in either order of their making.
#[test]
fn thread_local_destructors_may_do_anything() {
    let _limit = limit(90);
    thread_local! {
        static BOMBS: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
        static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    }
    within(30, || {
        for bombs_first in [true, false] {
            let thread = thread::spawn(move || {
                if bombs_first {
                    BOMBS.with_borrow_mut(|bombs| bombs.push(Box::new(Bomb)));
                }
                let runtime = Runtime::new().unwrap();
                runtime.block_on(lay_out(3));
                let guard = Bomb;
                drop(runtime.spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                }));
                turn(&runtime);
                // Material that outlives everything else, dropped with its thread-local.
                RUNTIME.set(Some(runtime));
                let material = Material::take().unwrap();
                BOMBS.with_borrow_mut(|bombs| {
                    bombs.push(Box::new(on_drop(move || {
                        assert!(Handle::try_current().is_err());
                        material.waker.wake_by_ref();
                        material.victim.abort();
                        drop(material);
                    })));
                });
            });
            // A panic in the destructor of a thread-local aborts the process, which is red as well.
            thread.join().unwrap();
        }
    });
}

/// Fault B15, R5. The hook runs in the middle of what panics: a poll, a destructor, a waker.
/// Catches: a borrow of more than the task's own stage that is held meanwhile.
#[test]
fn a_panic_hook_may_do_anything() {
    in_child("a_panic_hook_may_do_anything", || {
        std::panic::set_hook(Box::new(|_| explode()));
        let runtime = Runtime::new().unwrap();
        runtime.block_on(lay_out(8));
        let fails = || on_drop(|| panic!("in a destructor"));
        runtime.block_on(async {
            assert!(spawn(async { panic!("in a poll") }).await.is_err());
            let guard = fails();
            let task = spawn(async move {
                let _guard = guard;
                pending::<()>().await;
            });
            yield_now().await;
            task.abort();
            assert!(task.await.is_err());
            drop(spawn(ready(fails())));
            yield_now().await;
            let waker = foreign(Foreign {
                on_wake: Some(|| panic!("in a waker")),
                ..Foreign::default()
            });
            let mut task = spawn(yield_now());
            let polled = Pin::new(&mut task).poll(&mut Context::from_waker(&waker));
            assert!(polled.is_pending());
            yield_now().await;
            yield_now().await;
            assert!(task.is_finished());
        });
        check(&runtime);
        let guard = fails();
        drop(runtime.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        }));
        turn(&runtime);
        drop(runtime);
        assert_exploded("the panic hook");
    });
}

// Wakers of our own making, which do something when they are cloned, woken or dropped.

/// What a foreign waker does.
#[derive(Clone, Copy, Default)]
struct Foreign {
    on_clone: Option<fn()>,
    on_wake: Option<fn()>,
    on_drop: Option<fn()>,
}

static FOREIGN: std::task::RawWakerVTable = std::task::RawWakerVTable::new(
    |data| {
        call(data, |foreign| foreign.on_clone);
        std::task::RawWaker::new(data, &FOREIGN)
    },
    |data| call(data, |foreign| foreign.on_wake),
    |data| call(data, |foreign| foreign.on_wake),
    |data| call(data, |foreign| foreign.on_drop),
);

/// A waker that does this. Its description is leaked, so its clones own nothing; the sanitizers know
/// the leak by the name of this function.
#[inline(never)]
fn foreign(what: Foreign) -> Waker {
    let data: &'static Foreign = Box::leak(Box::new(what));
    // SAFETY: the contract of `RawWakerVTable` holds because the data pointer is of a leaked,
    // immutable `Foreign`, which is `Sync` and never freed, and `clone` returns the same pair.
    unsafe { Waker::new(std::ptr::from_ref(data).cast(), &FOREIGN) }
}

fn call(data: *const (), which: fn(&Foreign) -> Option<fn()>) {
    // SAFETY: `foreign` alone makes wakers of this table, from a `Foreign` that is never freed.
    let foreign = unsafe { &*data.cast::<Foreign>() };
    if let Some(f) = which(foreign) {
        f();
    }
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

/// Catches: a panic of misuse that points into the library, and not at the `.await` or the call.
#[test]
fn misuse_panics_at_the_users_line() {
    let _limit = limit(30);
    use reveille::signal::unix::{SignalKind, signal};
    use reveille::time::{Duration, advance, interval, sleep, timeout};
    use std::panic::{self, AssertUnwindSafe, catch_unwind};

    /// The line in this file at which `f` panics, on this thread.
    fn line_of(f: impl FnOnce()) -> u32 {
        let found = Arc::new(Mutex::new(None));
        let (told, thread) = (Arc::clone(&found), thread::current().id());
        let before = Arc::new(panic::take_hook());
        let inner = Arc::clone(&before);
        panic::set_hook(Box::new(move |info| {
            if thread::current().id() != thread {
                return inner(info);
            }
            let location = info.location().unwrap();
            // Else a line that no test has.
            let is_here = location.file().ends_with("tests/tasks.rs");
            let line = if is_here {
                location.line()
            } else {
                1_000_000 + location.line()
            };
            *told.lock().unwrap() = Some(line);
        }));
        let panicked = catch_unwind(AssertUnwindSafe(f));
        panic::set_hook(Box::new(move |info| before(info)));
        assert!(panicked.is_err());
        found.lock().unwrap().unwrap()
    }
    fn outside(future: impl Future) {
        drop(futures_lite::future::block_on(future));
    }
    let hour = Duration::from_secs(3600);
    let runtime = Runtime::new().unwrap();
    let [task, awaited] = [(); 2].map(|()| runtime.spawn(pending::<()>()));
    let mut set = JoinSet::new();
    set.spawn_on(async {}, &runtime);
    runtime.block_on(yield_now());
    let mut signal = signal(SignalKind::user_defined1()).unwrap();
    let first = line!();
    let lines = [
        line_of(|| outside(async { sleep(hour).await })),
        line_of(|| outside(async { timeout(hour, pending::<()>()).await })),
        line_of(|| outside(async { interval(hour).tick().await })),
        line_of(|| outside(async { advance(hour).await })),
        line_of(|| outside(async { drop(awaited.await) })),
        line_of(|| assert!(!task.is_finished())),
        line_of(|| outside(async { drop(set.join_next().await) })),
        line_of(|| outside(async { drop(set.join_next_with_id().await) })),
        line_of(|| drop(set.try_join_next())),
        line_of(|| outside(async { signal.recv().await })),
        line_of(|| spawn(async {}).detach()),
    ];
    let expected: Vec<u32> = (first + 2..line!() - 1).collect();
    assert_eq!(lines, *expected);
}
