//! Columns of what goes in and out: none of it, its end, its half, a reset.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::task::{Poll, Waker};

use reveille::Runtime;

use super::limit::limit;
use super::step::{inside, poll};
use super::steps::{chunk, eventually, make_wait, peer_takes, peer_takes_part, takes};
use super::subject::{End, FORMS, Form, Parts, Peer, Side, Subject, shut_down};
use super::table::Column;
use super::{each_within, unconnected};

/// Seconds that a type may take in a column.
const PATIENCE: u64 = 20;

/// Catches: an empty read that waits, takes something, or is told as the end; an empty write that waits or ends the
/// stream; an empty datagram that is not sent, not delivered, or taken for the end.
#[test]
fn a_length_of_zero_is_no_wait_and_no_end() {
    let _limit = limit(60);
    let column = (Column::ZeroLength, unconnected::none);
    each_within(PATIENCE, column, |end| {
        for (side, form) in end.forms() {
            let runtime = Runtime::new().unwrap();
            let (subject, mut peer) = (end.make)();
            let once = |buf: &mut [u8]| {
                inside(&runtime, || side.once(&*subject, form, Waker::noop(), buf))
            };
            let is_zero = |polled| matches!(polled, Poll::Ready(Ok(0)));
            match (end.parts, side) {
                (Parts::Bytes, Side::Input) => {
                    assert!(is_zero(once(&mut [])), "nothing is there, {form:?}");
                    assert_eq!(peer.give(b"ab").unwrap(), 2);
                    assert!(is_zero(once(&mut [])), "something is there, {form:?}");
                    takes(&runtime, &*subject, form, b"ab");
                    make_wait(&runtime, end, &*subject, side);
                    assert!(is_zero(once(&mut [])), "nothing is left, {form:?}");
                }
                (Parts::Bytes, _) => {
                    assert!(is_zero(once(&mut [])), "{form:?}");
                    assert_eq!(
                        peer.take(&mut [0]).unwrap_err().kind(),
                        ErrorKind::WouldBlock
                    );
                    assert!(matches!(once(&mut [b'a', b'b']), Poll::Ready(Ok(2))));
                    peer_takes(&mut *peer, b"ab");
                }
                (Parts::Datagrams, Side::Input) => {
                    assert_eq!(peer.give(b"").unwrap(), 0);
                    assert_eq!(peer.give(b"ab").unwrap(), 2);
                    let empty = side.soon(&runtime, &*subject, form, &mut [0; 9]);
                    assert_eq!(empty.unwrap(), 0, "{form:?}");
                    takes(&runtime, &*subject, form, b"ab");
                }
                (Parts::Datagrams, _) => {
                    assert!(is_zero(once(&mut [])), "{form:?}");
                    assert!(matches!(once(&mut [b'a', b'b']), Poll::Ready(Ok(2))));
                    assert_eq!(peer_takes_part(&mut *peer, &mut [0; 9]).unwrap(), 0);
                    peer_takes(&mut *peer, b"ab");
                }
                (Parts::Connections, _) => unreachable!("a connection has no length"),
            }
        }
    });
}

/// Catches: an end that is told once only, comes before the last byte, or does not wake who waits for more; a listener
/// that is shut down, and waits for ever.
#[test]
fn the_end_comes_after_the_last_byte_again_and_again_and_ends_a_wait() {
    let _limit = limit(60);
    let column = (Column::Eof, unconnected::none);
    each_within(PATIENCE, column, |end| {
        let connections = end.parts == Parts::Connections;
        for form in FORMS {
            let runtime = Runtime::new().unwrap();
            let (subject, mut peer) = (end.make)();
            let mut wait = chunk(end.parts, Side::Input);
            let mut wait = subject.input(&mut wait);
            assert!(inside(&runtime, || poll(&mut wait, Waker::noop())).is_pending());
            runtime.turn().unwrap();
            if connections {
                // Only a sharer can end a listener.
                let how = if form == Form::Try {
                    Shutdown::Read
                } else {
                    Shutdown::Both
                };
                shut_down(&subject.share(), how);
                let error = runtime.block_on(wait).unwrap_err();
                assert_eq!(
                    error.raw_os_error(),
                    Some(libc::EINVAL),
                    "accept(2): it does not listen"
                );
            } else {
                assert_eq!(peer.give(b"last").unwrap(), 4);
                drop(peer);
                assert_eq!(runtime.block_on(wait).unwrap(), 4);
                let mut wait = chunk(end.parts, Side::Input);
                assert_eq!(runtime.block_on(subject.input(&mut wait)).unwrap(), 0);
            }
            for _ in 0..2 {
                let end = Side::Input.soon(&runtime, &*subject, form, &mut [0; 9]);
                match end {
                    Ok(n) => assert!(n == 0 && !connections, "{form:?}"),
                    Err(error) => {
                        assert!(connections, "{error}");
                        assert_eq!(error.raw_os_error(), Some(libc::EINVAL), "{form:?}");
                    }
                }
            }
        }
        // Without a byte before it.
        let runtime = Runtime::new().unwrap();
        let (subject, peer) = (end.make)();
        let mut wait = [0; 9];
        let mut wait = subject.input(&mut wait);
        assert!(inside(&runtime, || poll(&mut wait, Waker::noop())).is_pending());
        runtime.turn().unwrap();
        if !connections {
            drop(peer);
            assert_eq!(runtime.block_on(wait).unwrap(), 0);
        }
    });
}

/// Catches: a peer that has gone told as an end, or not at all; a wait that its going does not end; a listener that
/// fails for one broken connection, or strands the next.
#[test]
fn a_peer_that_breaks_off_is_an_error_and_ends_a_wait() {
    let _limit = limit(60);
    let column = (Column::Reset, unconnected::refused);
    each_within(PATIENCE, column, |end| {
        for &side in end.breaks {
            for form in FORMS {
                let runtime = Runtime::new().unwrap();
                let (subject, mut peer) = (end.make)();
                broken(end, &runtime, &*subject, &mut *peer, (side, form));
            }
            let runtime = Runtime::new().unwrap();
            let (subject, mut peer) = (end.make)();
            leave_unread(end, &*subject, side);
            if !make_wait(&runtime, end, &*subject, side) {
                continue;
            }
            let mut buf = chunk(end.parts, side);
            let mut wait = side.begin(&*subject, &mut buf);
            assert!(inside(&runtime, || poll(&mut wait, Waker::noop())).is_pending());
            peer.reset();
            match end.parts {
                Parts::Connections => {
                    assert_eq!(peer.give(b"z").unwrap(), 1);
                    assert_eq!(runtime.block_on(wait).unwrap(), 1);
                }
                Parts::Datagrams if side == Side::Input => {
                    // It learns of that by what it sends.
                    let _sent = subject.try_output(b"x");
                    assert_broken(runtime.block_on(wait));
                }
                _ => assert_broken(runtime.block_on(wait)),
            }
        }
    });
}

fn broken(
    end: &End,
    runtime: &Runtime,
    subject: &dyn Subject,
    peer: &mut dyn Peer,
    (side, form): (Side, Form),
) {
    leave_unread(end, subject, side);
    peer.reset();
    match (end.parts, side) {
        (Parts::Connections, _) => {
            assert_eq!(peer.give(b"z").unwrap(), 1);
            takes(runtime, subject, form, b"z");
        }
        (Parts::Datagrams, Side::Input) => {
            let _sent = subject.try_output(b"x");
            assert_broken(side.soon(runtime, subject, form, &mut [0; 9]));
            let again = inside(runtime, || {
                side.once(subject, form, Waker::noop(), &mut [0; 9])
            });
            assert!(again.is_pending(), "told twice");
        }
        (_, Side::Input) => assert_broken(side.soon(runtime, subject, form, &mut [0; 9])),
        _ => {
            let error = eventually(|| side.soon(runtime, subject, form, &mut [b'x'; 100]).err());
            assert_broken(Err(error));
        }
    }
}

/// A Unix stream is reset if its peer has left something unread: unix(7).
fn leave_unread(end: &End, subject: &dyn Subject, side: Side) {
    if end.parts == Parts::Bytes && side == Side::Input {
        // A listener has no output, nor has a pipe's reader.
        let _sent = subject.try_output(b"unread");
    }
}

#[track_caller]
fn assert_broken(outcome: std::io::Result<usize>) {
    let kind = outcome.unwrap_err().kind();
    use ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset};
    assert!(
        [BrokenPipe, ConnectionRefused, ConnectionReset].contains(&kind),
        "{kind:?}"
    );
}

/// Catches: an end of one direction that ends the other; a half that is dropped or shut down, and ends nothing.
#[test]
fn one_direction_goes_on_after_the_others_end() {
    let _limit = limit(60);
    let column = (Column::HalfClose, unconnected::none);
    each_within(PATIENCE, column, |end| {
        for &side in end.sides {
            let runtime = Runtime::new().unwrap();
            let (mut subject, mut peer) = (end.make)();
            match (end.parts, side) {
                (Parts::Bytes, Side::Input) => {
                    assert_eq!(peer.give(b"last").unwrap(), 4);
                    peer.finish();
                    takes(&runtime, &*subject, Form::Future, b"last");
                    for form in FORMS {
                        let end = side.soon(&runtime, &*subject, form, &mut [0; 9]);
                        assert_eq!(end.unwrap(), 0);
                    }
                    assert_eq!(runtime.block_on(subject.output(b"answer")).unwrap(), 6);
                    peer_takes(&mut *peer, b"answer");
                }
                (_, Side::Input) => {} // The peer's own affair.
                (parts, _) => {
                    assert_eq!(runtime.block_on(subject.output(b"last")).unwrap(), 4);
                    runtime.block_on(async { subject.finish() }).unwrap();
                    peer_takes(&mut *peer, b"last");
                    if parts == Parts::Bytes {
                        assert_eq!(peer_takes_part(&mut *peer, &mut [0; 9]).unwrap(), 0);
                    } else {
                        assert_broken(runtime.block_on(subject.output(b"more")));
                    }
                    for form in FORMS {
                        assert_eq!(peer.give(b"answer").unwrap(), 6);
                        takes(&runtime, &*subject, form, b"answer");
                    }
                }
            }
        }
    });
}
