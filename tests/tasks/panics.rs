//! Panics of tasks, of destructors and of wakers: each is its task's alone, and ends no process.

use std::any::Any;
use std::future::{Future, pending};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use reveille::io::AsyncFd;
use reveille::runtime::{Handle, Runtime};
use reveille::task::{JoinHandle, yield_now};
use reveille::time::{Sleep, sleep};
use reveille::{block_on, spawn};

use crate::limit::limit;
use crate::support::within;
use crate::{Drops, Foreign, bad_drop, foreign, turn};

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
