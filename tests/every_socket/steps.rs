//! What the columns do with a value and its peer, step by step.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, AsRawFd};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use reveille::Runtime;

use super::step::{inside, poll};
use super::subject::{End, Form, Parts, Peer, Side, Subject};

/// Takes exactly this input.
#[track_caller]
pub(crate) fn takes(runtime: &Runtime, subject: &dyn Subject, form: Form, expected: &[u8]) {
    let mut got = Vec::new();
    while got.len() < expected.len() {
        let mut room = vec![0; expected.len() - got.len()];
        let n = Side::Input.soon(runtime, subject, form, &mut room).unwrap();
        assert!(n > 0, "it ends after {got:?}");
        got.extend_from_slice(&room[..n]);
    }
    assert_eq!(got, expected);
}

/// The peer takes exactly this output.
#[track_caller]
pub(crate) fn peer_takes(peer: &mut dyn Peer, expected: &[u8]) {
    let mut got = Vec::new();
    while got.len() < expected.len() {
        let mut room = vec![0; expected.len() - got.len()];
        let n = peer_takes_part(peer, &mut room).unwrap();
        assert!(n > 0, "it ends after {got:?}");
        got.extend_from_slice(&room[..n]);
    }
    assert_eq!(got, expected);
}

/// What the peer takes next.
#[track_caller]
pub(crate) fn peer_takes_part(peer: &mut dyn Peer, room: &mut [u8]) -> io::Result<usize> {
    eventually(|| match peer.take(room) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        outcome => Some(outcome),
    })
}

/// Takes all that is there.
pub(crate) fn drain(peer: &mut dyn Peer) {
    while let Ok(1..) = peer.take(&mut [0; 65_536]) {}
}

/// Makes the side wait: takes no input, gives output until there is no room. True if it waits.
#[track_caller]
pub(crate) fn make_wait(runtime: &Runtime, end: &End, subject: &dyn Subject, side: Side) -> bool {
    if side == Side::OutputAtOnce {
        return false;
    }
    // The kernel may still move what was given, and so make room: only what stays without room waits.
    let mut waited = 0;
    eventually(|| {
        let mut buf = chunk(end.parts, side);
        let made = inside(runtime, || {
            side.once(subject, Form::Future, Waker::noop(), &mut buf)
        });
        runtime.turn().unwrap();
        let settled = side == Side::Input || is_full(subject);
        waited = if made.is_pending() && settled {
            waited + 1
        } else {
            0
        };
        (waited == 3).then_some(())
    });
    true
}

/// A buffer of a size that suits.
pub(crate) fn chunk(parts: Parts, side: Side) -> Vec<u8> {
    match (parts, side) {
        (Parts::Bytes, Side::Output) => vec![b'o'; 65_536],
        _ => vec![b'o'; 1000],
    }
}

/// Waits on each side, and is served by its peer.
#[track_caller]
pub(crate) fn works(runtime: &Runtime, end: &End, subject: &dyn Subject, peer: &mut dyn Peer) {
    for &side in end.sides {
        let waits = make_wait(runtime, end, subject, side);
        let mut buf = chunk(end.parts, side);
        let mut operation = side.begin(subject, &mut buf);
        let mut again = || inside(runtime, || poll(&mut operation, Waker::noop()));
        assert_eq!(again().is_pending(), waits);
        if side == Side::Input {
            assert_eq!(peer.give(b"w").unwrap(), 1);
        }
        if waits {
            let n = eventually(|| {
                if side == Side::Output {
                    drain(peer);
                }
                runtime.turn().unwrap();
                match again() {
                    Poll::Ready(n) => Some(n),
                    Poll::Pending => None,
                }
            });
            assert!(n.unwrap() > 0);
        }
        drop(operation);
        if side == Side::Input {
            assert_eq!(buf[0], b'w');
        } else {
            // All that was given, so that the next output is the first that the peer takes.
            eventually(|| {
                drain(peer);
                (on_the_way(subject).0 == 0).then_some(())
            });
            drain(peer);
        }
    }
}

/// True if not even a byte more can be given, and nothing on its way can make room. epoll(7) speaks of room only once a
/// third of it is free, so a task may wait although there is some. Gives what there is room for.
fn is_full(subject: &dyn Subject) -> bool {
    let (on_the_way, not_sent) = on_the_way(subject);
    if on_the_way != not_sent {
        return false;
    }
    let (socket, bytes) = (subject.share(), [b'o'; 1000]);
    let (start, flags) = (
        bytes.as_ptr().cast(),
        libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
    );
    // SAFETY: `start` is good for reads of as many bytes as `bytes` has, which outlives the call.
    let sent = unsafe { libc::send(socket.as_raw_fd(), start, bytes.len(), flags) };
    // A pipe is no socket; it is full once a write of whole pages finds no room.
    sent == -1
}

/// How many bytes of output have not arrived, and how many of these were not even sent: tcp(7), SIOCOUTQ. Whatever is
/// not TCP arrives at once.
fn on_the_way(subject: &dyn Subject) -> (libc::c_int, libc::c_int) {
    let socket = subject.share();
    let count = |request| {
        let mut count: libc::c_int = 0;
        // SAFETY: both requests write one int through the pointer, which is that of a live int.
        let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), request, &raw mut count) };
        (outcome == 0).then_some(count)
    };
    match count(libc::SIOCOUTQNSD) {
        Some(not_sent) => (count(libc::TIOCOUTQ).unwrap_or(0), not_sent),
        None => (0, 0),
    }
}

/// Descriptors in the runtime's interest list: proc_pid_fdinfo(5) has a line for each.
pub(crate) fn registrations(runtime: &Runtime) -> usize {
    let path = format!("/proc/self/fdinfo/{}", runtime.as_fd().as_raw_fd());
    let info = std::fs::read_to_string(path).unwrap();
    let lines = info.lines().filter(|line| line.starts_with("tfd:"));
    lines.count() - 2 // Two are the runtime's own: an eventfd and a timerfd.
}

/// Far beyond what anything here takes.
pub(crate) const LONG: Duration = Duration::from_secs(10);

/// Waits for what other threads or the kernel do by themselves.
#[track_caller]
pub(crate) fn eventually<R>(mut look: impl FnMut() -> Option<R>) -> R {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < LONG, "it does not come");
        thread::yield_now();
    }
}
