//! Panics that end `block_on`: those of the main future, and those that nobody else would be told of.

use std::cell::Cell;
use std::future::{Future, pending};
use std::panic::panic_any;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;

use reveille::runtime::{Builder, Handle, Runtime, UnhandledPanic};
use reveille::task::{JoinHandle, yield_now};
use reveille::{block_on, spawn};

use crate::limit::limit;
use crate::support::within;
use crate::{Drops, OnDrop, bad_drop, on_drop, own_waker, panic_text};

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
