//! Signals: each listener hears each, and the default action can be had back. Every test runs in a
//! process of its own.

use std::future::Future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};
use std::thread;

use reveille::Runtime;
use reveille::signal::ctrl_c;
use reveille::signal::unix::{Signal, SignalKind, restore_default, signal};

#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/step.rs"]
mod step;

#[path = "signals/at_once.rs"]
mod at_once;

use child::{child, in_child};
use limit::limit;
use step::{Wakes, inside, poll};

/// Sends this thread a signal. The handler has run when this returns.
fn raise(kind: SignalKind) {
    // SAFETY: raise(3) takes an integer; what handles the signal is ours or the default.
    let raised = unsafe { libc::raise(kind.as_raw_value()) };
    assert_eq!(raised, 0);
}

const USR1: SignalKind = SignalKind::user_defined1();
const USR2: SignalKind = SignalKind::user_defined2();

/// True if a signal has come since the last one was received, by what the reactor hears.
fn has_come(runtime: &Runtime, listener: &mut Signal) -> bool {
    runtime.turn().unwrap();
    let (_, waker) = Wakes::new();
    inside(runtime, || {
        poll(&mut pin!(listener.recv()), &waker).is_ready()
    })
}

/// Faults E2, E8. Catches: a signal that one listener takes from the others.
#[test]
fn every_listener_in_every_runtime_hears_each_signal() {
    in_child("every_listener_in_every_runtime_hears_each_signal", || {
        const RUNTIMES: usize = 20;
        let (ready, heard) = (Barrier::new(RUNTIMES + 1), Barrier::new(RUNTIMES + 1));
        thread::scope(|scope| {
            for _ in 0..RUNTIMES {
                scope.spawn(|| {
                    reveille::block_on(async {
                        let mut listeners = [signal(USR1).unwrap(), signal(USR1).unwrap()];
                        for _ in 0..3 {
                            ready.wait();
                            for listener in &mut listeners {
                                assert_eq!(listener.recv().await, Some(()));
                            }
                            heard.wait();
                        }
                    });
                });
            }
            for _ in 0..3 {
                ready.wait();
                raise(USR1);
                heard.wait();
            }
        });
    });
}

/// Fault E2. Catches: a listener that hears other kinds, or more often than once, or nothing
/// because another kind filled what tells of it.
#[test]
fn signals_of_a_kind_that_come_together_count_as_one_and_kinds_apart() {
    in_child(
        "signals_of_a_kind_that_come_together_count_as_one_and_kinds_apart",
        || {
            let runtime = Runtime::new().unwrap();
            let (mut first, mut second) = (signal(USR1).unwrap(), signal(USR2).unwrap());
            let mut dropped = signal(USR1).unwrap();
            assert!(!has_come(&runtime, &mut first));
            assert!(!has_come(&runtime, &mut second));
            (0..10_000).for_each(|_| raise(USR1));
            raise(USR2);
            assert!(has_come(&runtime, &mut dropped));
            drop(dropped);
            for listener in [&mut first, &mut second] {
                assert!(has_come(&runtime, listener));
                assert!(!has_come(&runtime, listener));
            }
            raise(USR2);
            assert!(!has_come(&runtime, &mut first));
            assert!(has_come(&runtime, &mut second));
        },
    );
}

/// Fault E2. Catches: a wait that the eventfd's edge does not end.
#[test]
fn a_listener_that_waits_is_woken() {
    in_child("a_listener_that_waits_is_woken", || {
        let runtime = Runtime::new().unwrap();
        let mut listener = signal(USR1).unwrap();
        for _ in 0..3 {
            let (wakes, waker) = Wakes::new();
            let mut wait = pin!(listener.recv());
            inside(&runtime, || assert!(poll(&mut wait, &waker).is_pending()));
            runtime.turn().unwrap();
            assert_eq!(wakes.count(), 0);
            raise(USR1);
            runtime.turn().unwrap();
            assert_eq!(wakes.count(), 1);
            assert!(inside(&runtime, || poll(&mut wait, &waker)).is_ready());
        }
    });
}

/// Catches: a signal from before the listener that it hears all the same.
#[test]
fn a_listener_hears_nothing_from_before_it_was_made() {
    in_child("a_listener_hears_nothing_from_before_it_was_made", || {
        let runtime = Runtime::new().unwrap();
        let _first = signal(USR1).unwrap();
        raise(USR1);
        let mut second = signal(USR1).unwrap();
        assert!(!has_come(&runtime, &mut second));
    });
}

/// Fault A12. Catches: a waker kept from an earlier poll.
#[test]
fn a_listener_that_moved_to_another_task_wakes_that_one_only() {
    in_child(
        "a_listener_that_moved_to_another_task_wakes_that_one_only",
        || {
            let runtime = Runtime::new().unwrap();
            let mut listener = signal(USR1).unwrap();
            let (old_wakes, old) = Wakes::new();
            let (wakes, waker) = Wakes::new();
            let mut wait = Box::pin(listener.recv());
            inside(&runtime, || {
                for waker in [&old, &waker] {
                    assert!(poll(&mut wait, waker).is_pending());
                }
            });
            raise(USR1);
            runtime.turn().unwrap();
            assert_eq!((old_wakes.count(), wakes.count()), (0, 1));
        },
    );
}

/// Catches: a signal that a cancelled wait takes along.
#[test]
fn a_wait_that_is_cancelled_consumes_no_signal() {
    in_child("a_wait_that_is_cancelled_consumes_no_signal", || {
        let runtime = Runtime::new().unwrap();
        let mut listener = signal(USR1).unwrap();
        let (_, waker) = Wakes::new();
        inside(&runtime, || {
            let mut wait = pin!(listener.recv());
            assert!(poll(&mut wait, &waker).is_pending());
            raise(USR1);
        });
        assert!(has_come(&runtime, &mut listener));
        assert!(!has_come(&runtime, &mut listener));
    });
}

/// Catches: `ctrl_c` that hears what came before it, or nothing.
#[test]
fn ctrl_c_hears_the_next_interrupt() {
    in_child("ctrl_c_hears_the_next_interrupt", || {
        let runtime = Runtime::new().unwrap();
        let (_, waker) = Wakes::new();
        for _ in 0..2 {
            let mut interrupted = pin!(ctrl_c());
            inside(&runtime, || {
                assert!(poll(&mut interrupted, &waker).is_pending());
            });
            raise(SignalKind::interrupt());
            runtime.turn().unwrap();
            let heard = inside(&runtime, || poll(&mut interrupted, &waker));
            assert!(matches!(heard, Poll::Ready(Ok(()))));
        }
    });
}

/// Fault E3. Catches: a default action that never comes back, so that the second Ctrl-C is
/// swallowed as well.
#[test]
fn after_restore_default_the_second_interrupt_kills() {
    let status = child("after_restore_default_the_second_interrupt_kills", || {
        let runtime = Runtime::new().unwrap();
        let mut listener = signal(SignalKind::interrupt()).unwrap();
        raise(SignalKind::interrupt());
        assert!(has_come(&runtime, &mut listener), "the first is caught");
        drop(listener);
        // Dropping the listener alone restores nothing.
        raise(SignalKind::interrupt());
        restore_default(SignalKind::interrupt()).unwrap();
        raise(SignalKind::interrupt());
    });
    if let Some(status) = status {
        assert_eq!(status.signal(), Some(libc::SIGINT), "{status}");
    }
}

/// Fault E3. Catches: a listener made after `restore_default` that hears nothing; a signal that was
/// never caught and is restored to something.
#[test]
fn a_listener_made_after_restore_default_hears_again() {
    in_child("a_listener_made_after_restore_default_hears_again", || {
        let runtime = Runtime::new().unwrap();
        restore_default(USR1).unwrap();
        drop(signal(USR1).unwrap());
        restore_default(USR1).unwrap();
        restore_default(USR1).unwrap();
        let mut listener = signal(USR1).unwrap();
        raise(USR1);
        assert!(has_come(&runtime, &mut listener));
    });
}

/// Catches: a signal that cannot be caught taken for one that never comes.
#[test]
fn what_cannot_be_awaited_is_an_error() {
    let _limit = limit(30);
    for number in [
        libc::SIGKILL,
        libc::SIGSTOP,
        0,
        -1,
        65,
        1000,
        i32::MIN,
        i32::MAX,
    ] {
        let error = signal(SignalKind::from_raw(number)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{number}");
    }
    for number in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL] {
        let error = signal(SignalKind::from(number)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{number}");
    }
}

/// Fault E1. Catches: a handler that allocates or locks, and so hangs in the middle of malloc; that
/// changes errno; that touches a runtime which has ended.
#[test]
fn the_handler_interrupts_anything_at_any_time() {
    in_child("the_handler_interrupts_anything_at_any_time", || {
        let runtime = Runtime::new().unwrap();
        let mut listener = signal(USR1).unwrap();
        assert!(!has_come(&runtime, &mut listener));
        assert_errno_survives();
        // SAFETY: pthread_self(3) takes nothing and cannot fail.
        let this = unsafe { libc::pthread_self() };
        let bombed = thread::spawn(move || {
            for _ in 0..100_000 {
                // SAFETY: the thread named lives, for it joins this one.
                let sent = unsafe { libc::pthread_kill(this, libc::SIGUSR1) };
                assert_eq!(sent, 0);
            }
        });
        let mut kept = Vec::new();
        while !bombed.is_finished() {
            for size in 0..100 {
                kept.push(vec![0u8; size * 37]);
            }
            kept.clear();
        }
        bombed.join().unwrap();
        assert!(has_come(&runtime, &mut listener));
        drop((runtime, listener));
        (0..1000).for_each(|_| raise(USR1));
    });
}

/// A signal between a system call and the look at its errno changes nothing.
fn assert_errno_survives() {
    // SAFETY: returns the address of this thread's errno, valid for as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: `errno` is this thread's own integer, valid and aligned, see above.
    unsafe { errno.write(libc::ENOENT) };
    raise(USR1);
    // SAFETY: as above.
    let after = unsafe { errno.read() };
    assert_eq!(after, libc::ENOENT);
}

/// Catches: a listener that waits where it cannot and hangs.
#[test]
#[should_panic(expected = "cannot wait here")]
fn a_listener_outside_a_runtime_panics() {
    let _limit = limit(30);
    let mut listener = signal(SignalKind::window_change()).unwrap();
    let (_, waker) = Wakes::new();
    let _never = pin!(listener.recv())
        .as_mut()
        .poll(&mut Context::from_waker(&waker));
}

/// Catches: a count that is read after the handler was installed: a signal that comes between the
/// two neither ends the process nor is heard. With that fault this finds it nearly always.
#[test]
fn a_signal_is_heard_from_the_moment_its_former_action_is_gone() {
    in_child(
        "a_signal_is_heard_from_the_moment_its_former_action_is_gone",
        || {
            const ROUNDS: usize = 10_000;
            // SAFETY: signal(2) takes two integers, and SIG_IGN runs no code.
            unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
            let (begun, sent) = (AtomicUsize::new(0), AtomicUsize::new(0));
            thread::scope(|scope| {
                scope.spawn(|| {
                    for round in 1..=ROUNDS {
                        while begun.load(SeqCst) != round || is_ignored(USR1) {}
                        raise(USR1);
                        sent.store(round, SeqCst);
                    }
                });
                let mut lost = 0;
                reveille::block_on(async {
                    for round in 1..=ROUNDS {
                        begun.store(round, SeqCst);
                        let mut listener = signal(USR1).unwrap();
                        while sent.load(SeqCst) != round {}
                        let heard = poll(&mut pin!(listener.recv()), Waker::noop());
                        lost += usize::from(heard.is_pending());
                        restore_default(USR1).unwrap();
                        reveille::task::yield_now().await;
                    }
                });
                assert_eq!(lost, 0);
            });
        },
    );
}

/// Catches: a handler that makes foreign code's slow system calls fail (no SA_RESTART), or that needs
/// room on the stack of whichever thread it interrupts (no SA_ONSTACK).
#[test]
fn the_handler_restarts_slow_calls_and_runs_on_the_alternate_stack() {
    in_child(
        "the_handler_restarts_slow_calls_and_runs_on_the_alternate_stack",
        || {
            reveille::block_on(async {
                let _listener = signal(USR1).unwrap();
                let both = libc::SA_RESTART | libc::SA_ONSTACK;
                assert_eq!(action_on(USR1).sa_flags & both, both);
            });
        },
    );
}

/// Catches: a table of counts that ends before the signals do.
#[test]
fn the_last_signal_is_heard() {
    in_child("the_last_signal_is_heard", || {
        let runtime = Runtime::new().unwrap();
        let last = SignalKind::from_raw(libc::SIGRTMAX());
        let mut listener = inside(&runtime, || signal(last).unwrap());
        assert!(!has_come(&runtime, &mut listener));
        raise(last);
        assert!(has_come(&runtime, &mut listener));
    });
}

fn is_ignored(kind: SignalKind) -> bool {
    action_on(kind).sa_sigaction == libc::SIG_IGN
}

fn action_on(kind: SignalKind) -> libc::sigaction {
    // SAFETY: all zeroes is a valid `sigaction`.
    let mut action = unsafe { std::mem::zeroed::<libc::sigaction>() };
    let signal = kind.as_raw_value();
    // SAFETY: sigaction(2) reads nothing for a null action, and writes one to the last pointer.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    assert_eq!(asked, 0);
    action
}
