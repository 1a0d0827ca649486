//! Re-entrancy: destructors and wakers that call everything there is.

use std::any::Any;
use std::cell::RefCell;
use std::future::{pending, poll_fn, ready};
use std::os::unix::net::UnixStream;
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use reveille::io::AsyncFd;
use reveille::runtime::{Builder, Handle, Runtime};
use reveille::spawn;
use reveille::task::{AbortHandle, JoinHandle, yield_now};
use reveille::time::sleep;

use crate::bomb::{Bomb, Material, assert_exploded, check, explode, lay_out};
use crate::child::in_child;
use crate::limit::limit;
use crate::support::within;
use crate::{Foreign, foreign, on_drop, turn};

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
    in_child("reentrancy::a_panic_hook_may_do_anything", || {
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
