//! Columns of where a value is used and dropped: another thread, another runtime, none any more.

use std::task::{Poll, Waker};
use std::thread;

use reveille::Runtime;
use reveille::io::is_not_at_home;

use super::limit::limit;
use super::step::{Wakes, inside, poll};
use super::steps::{chunk, drain, eventually, make_wait, registrations, takes, works};
use super::subject::{End, FORMS, Form, Parts, Peer, Side, Subject};
use super::table::Column;
use super::{each_within, unconnected};

/// Seconds that a type may take in a column.
const PATIENCE: u64 = 20;

/// Catches: a value that is registered when it is made, and so can wait only there.
#[test]
fn what_has_not_waited_is_at_home_on_any_threads_runtime() {
    let _limit = limit(60);
    let column = (
        Column::FirstUsedElsewhere,
        unconnected::first_used_elsewhere,
    );
    each_within(PATIENCE, column, |end| {
        let here = Runtime::new().unwrap();
        let (subject, mut peer) = inside(&here, || (end.make)());
        let end = *end;
        let elsewhere = thread::spawn(move || {
            let there = Runtime::new().unwrap();
            works(&there, &end, &*subject, &mut *peer);
            assert_eq!(registrations(&there), 1);
        });
        elsewhere.join().unwrap();
        assert_eq!(registrations(&here), 0);
    });
}

/// Fault A17. Catches: a wait in another runtime than the first that hangs, panics, or is registered there; one that
/// disturbs who waits at home; an operation that need not wait and is refused.
#[test]
fn a_wait_in_another_runtime_is_the_documented_error() {
    let _limit = limit(60);
    let column = (Column::ForeignRuntime, unconnected::polled_elsewhere);
    each_within(PATIENCE, column, |end| {
        for &side in end.sides {
            let home = Runtime::new().unwrap();
            let (subject, mut peer) = (end.make)();
            if !make_wait(&home, end, &*subject, side) {
                // What never waits may be done anywhere.
                let foreign = Runtime::new().unwrap();
                works(&foreign, end, &*subject, &mut *peer);
                continue;
            }
            let (wakes, waker) = Wakes::new();
            let mut buf = chunk(end.parts, side);
            let mut wait = || inside(&home, || side.once(&*subject, Form::Poll, &waker, &mut buf));
            assert!(wait().is_pending());
            let foreign = Runtime::new().unwrap();
            for form in FORMS {
                refused(&foreign, end, side, &*subject, form);
            }
            assert_eq!((registrations(&home), registrations(&foreign)), (1, 0));
            serve(&mut *peer, side);
            let n = eventually(|| {
                if side == Side::Output {
                    drain(&mut *peer);
                }
                home.turn().unwrap();
                (wakes.count() > 0).then(&mut wait)
            });
            assert!(matches!(n, Poll::Ready(Ok(1..))), "{n:?}");
            if side == Side::Input {
                assert_eq!(peer.give(b"anywhere").unwrap(), 8);
                takes(&foreign, &*subject, Form::Future, b"anywhere");
            }
        }
    });
}

/// One operation that would have to wait, where it cannot.
#[track_caller]
fn refused(foreign: &Runtime, end: &End, side: Side, subject: &dyn Subject, form: Form) {
    let mut buf = chunk(end.parts, side);
    match inside(foreign, || {
        side.once(subject, form, Waker::noop(), &mut buf)
    }) {
        Poll::Ready(Err(error)) => assert!(is_not_at_home(&error), "{form:?}: {error}"),
        // An attempt is no wait.
        outcome => assert!(
            outcome.is_pending() && form == Form::Try,
            "{form:?}: {outcome:?}"
        ),
    }
}

/// Gives what an input waits for, or makes room for an output.
fn serve(peer: &mut dyn Peer, side: Side) {
    match side {
        Side::Input => assert_eq!(peer.give(b"s").unwrap(), 1),
        Side::Output | Side::OutputAtOnce => drain(peer),
    }
}

/// Fault A18. A duplicate keeps what the descriptor stood for open, so that the kernel does not deregister by itself.
/// Catches: a drop elsewhere that leaves the registration, or the descriptor.
#[test]
fn a_drop_on_another_thread_closes_and_deregisters() {
    let _limit = limit(60);
    let column = (Column::DroppedElsewhere, unconnected::dropped_elsewhere);
    each_within(PATIENCE, column, |end| {
        for &side in end.sides {
            let home = Runtime::new().unwrap();
            let (subject, mut peer) = (end.make)();
            let registered = make_wait(&home, end, &*subject, side);
            let mut buf = chunk(end.parts, side);
            let polled = inside(&home, || {
                side.once(&*subject, Form::Poll, Waker::noop(), &mut buf)
            });
            assert_eq!(polled.is_pending(), registered);
            assert_eq!(registrations(&home), usize::from(registered));
            let sharer = subject.share();
            thread::spawn(move || drop(subject)).join().unwrap();
            eventually(|| {
                home.turn().unwrap();
                (registrations(&home) == 0).then_some(())
            });
            drop(sharer);
            eventually(|| sees_it_closed(end, &mut *peer).then_some(()));
        }
    });
}

/// True once the peer learns that nothing is at the other end.
fn sees_it_closed(end: &End, peer: &mut dyn Peer) -> bool {
    match end.sides {
        // A pipe's reader cannot give.
        [Side::Output] if end.parts == Parts::Bytes => {
            drain(peer);
            matches!(peer.take(&mut [0]), Ok(0))
        }
        _ => match peer.give(b"x") {
            Ok(_) => false,
            Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
        },
    }
}

/// Catches: a wait that hangs, or touches what is gone, after the runtime has ended in which the value waited first; a
/// value that then cannot be dropped, or be made anew of its descriptor.
#[test]
fn after_its_runtimes_end_a_value_waits_nowhere_until_it_is_made_anew() {
    let _limit = limit(60);
    let column = (Column::RuntimeEnded, unconnected::outlives_its_runtime);
    each_within(PATIENCE, column, |end| {
        for &side in end.sides {
            let home = Runtime::new().unwrap();
            let (subject, mut peer) = (end.make)();
            if !make_wait(&home, end, &*subject, side) {
                continue; // The other side has a wait.
            }
            let mut buf = chunk(end.parts, side);
            let mut wait = side.begin(&*subject, &mut buf);
            let mut again = |runtime: &Runtime| inside(runtime, || poll(&mut wait, Waker::noop()));
            assert!(again(&home).is_pending());
            drop(home);
            let next = Runtime::new().unwrap();
            match again(&next) {
                Poll::Ready(Err(error)) => assert!(is_not_at_home(&error), "{error}"),
                outcome => panic!("{outcome:?}"),
            }
            drop(wait);
            for form in FORMS {
                refused(&next, end, side, &*subject, form);
            }
            assert_eq!(registrations(&next), 0);
            if side == Side::Input {
                assert_eq!(peer.give(b"still").unwrap(), 5);
                takes(&next, &*subject, Form::Future, b"still");
            }
            let subject = subject.rewrapped().unwrap();
            works(&next, end, &*subject, &mut *peer);
            assert_eq!(registrations(&next), 1);
        }
        // And dropped after the end.
        let home = Runtime::new().unwrap();
        let (subject, mut peer) = (end.make)();
        make_wait(&home, end, &*subject, end.sides[0]);
        drop(home);
        drop(subject);
        eventually(|| sees_it_closed(end, &mut *peer).then_some(()));
    });
}

/// Faults A2, A18. Catches: a registration left by a value that was dropped, canceled or given back, or one made by what
/// did not have to wait.
#[test]
fn nothing_stays_registered() {
    let _limit = limit(60);
    let column = (Column::EpollClean, unconnected::leaves_nothing_registered);
    each_within(PATIENCE, column, |end| {
        for &side in end.sides {
            let runtime = Runtime::new().unwrap();
            let (subject, mut peer) = inside(&runtime, || (end.make)());
            if side == Side::Input {
                assert_eq!(peer.give(b"a").unwrap(), 1);
                let form = Form::Try;
                let polled = eventually(|| {
                    let once = || side.once(&*subject, form, Waker::noop(), &mut [0; 9]);
                    Some(inside(&runtime, once)).filter(Poll::is_ready)
                });
                assert!(matches!(polled, Poll::Ready(Ok(1))), "{polled:?}");
            } else {
                assert_eq!(runtime.block_on(subject.output(b"a")).unwrap(), 1);
            }
            assert_eq!(registrations(&runtime), 0, "it has not waited");
            let waits = make_wait(&runtime, end, &*subject, side);
            let mut buf = chunk(end.parts, side);
            let mut canceled = side.begin(&*subject, &mut buf);
            assert_eq!(
                inside(&runtime, || poll(&mut canceled, Waker::noop())).is_pending(),
                waits
            );
            drop(canceled);
            assert_eq!(registrations(&runtime), usize::from(waits));
            // A sharer keeps it open: the kernel removes nothing by itself.
            let sharer = subject.share();
            let subject = subject.rewrapped().unwrap();
            assert_eq!(registrations(&runtime), 0, "it was given back");
            serve(&mut *peer, side);
            works(&runtime, end, &*subject, &mut *peer);
            assert_eq!(registrations(&runtime), 1);
            drop(subject);
            assert_eq!(registrations(&runtime), 0, "it was dropped");
            drop(sharer);
        }
    });
}
