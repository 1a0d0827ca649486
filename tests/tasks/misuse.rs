//! Misuse: it panics, at the user's line, and says what to do instead.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::thread;

use reveille::runtime::{Builder, Handle, Runtime};
use reveille::task::{JoinSet, yield_now};
use reveille::{block_on, spawn};

use crate::limit::limit;
use crate::support::within;
use crate::{on_drop, panic_text, turn};

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
            let is_here = location.file().ends_with("tests/tasks/misuse.rs");
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
