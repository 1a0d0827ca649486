//! What the kernel at hand does with descriptors, on which `net::sys::descriptors` relies: asked of the kernel itself. A
//! test that is red says that a kernel differs, and in what.

use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use libc::{SCM_CREDENTIALS, SCM_RIGHTS, SCM_TIMESTAMP};

use super::raw::{self, CREDENTIALS, SCM_PIDFD, SO_PASSPIDFD, len, recv, send, space};
use super::{Tracer, child, open};
use crate::limit::limit;

/// CMSG_SPACE of five has room for a sixth.
#[test]
fn padding_is_room_for_one_descriptor_more() {
    let _limit = limit(30);
    let (ours, theirs) = UnixStream::pair().unwrap();
    let tracer = Tracer::new();
    for (room, came, cut) in [(len(5), 5, true), (space(5), 6, false), (len(0), 0, true)] {
        send(ours.as_raw_fd(), b"x", &tracer.ends(6)).unwrap();
        let received = recv(theirs.as_raw_fd(), room).unwrap();
        let expected = [(SCM_RIGHTS, came)];
        assert_eq!(received.kinds, expected[..came.min(1)]);
        assert_eq!(received.cut, cut);
    }
    assert_eq!(tracer.written(), "");
}

/// They eat the room of the descriptors: first what was asked for, in this order, then the descriptors; the pidfd comes
/// behind them, or, before Linux 6.6 or so, in front.
#[test]
fn what_the_socket_asked_for_comes_before_the_descriptors() {
    let _limit = limit(30);
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let (ours, theirs) = (ours.as_raw_fd(), theirs.as_raw_fd());
    let tracer = Tracer::new();
    let receive = |room| {
        send(ours, b"x", &tracer.ends(2)).unwrap();
        let received = recv(theirs, room).unwrap();
        (received.kinds, received.cut)
    };
    assert!(raw::set(theirs, libc::SO_PASSCRED, 1));
    let (credentials, both) = ((SCM_CREDENTIALS, 3), (SCM_RIGHTS, 2));
    assert_eq!(
        receive(len(2)),
        (vec![(SCM_CREDENTIALS, 2)], true),
        "cut, and nothing else"
    );
    assert_eq!(
        receive(CREDENTIALS + len(2)),
        (vec![credentials, both], false)
    );
    assert!(raw::set(theirs, libc::SO_TIMESTAMP, 1));
    let time = (SCM_TIMESTAMP, 4);
    let cut_credentials = (SCM_CREDENTIALS, 2);
    assert_eq!(
        receive(CREDENTIALS + len(2)),
        (vec![time, cut_credentials], true)
    );
    assert_eq!(receive(1000), (vec![time, credentials, both], false));
    if raw::set(theirs, SO_PASSPIDFD, 1) {
        let pidfd = (SCM_PIDFD, 1);
        let (kinds, cut) = receive(1000);
        let orders = [
            [time, credentials, both, pidfd],
            [time, credentials, pidfd, both],
        ];
        assert!(
            !cut && orders.iter().any(|order| kinds == order),
            "{kinds:?}"
        );
    }
    assert_eq!(tracer.written(), "");
}

/// A stream passes nothing without a byte; a datagram need not have any. 253 is the most.
#[test]
fn descriptors_go_with_a_byte_of_a_stream_or_with_any_datagram() {
    let _limit = limit(30);
    let tracer = Tracer::new();
    let (ours, theirs) = UnixStream::pair().unwrap();
    assert_eq!(send(ours.as_raw_fd(), b"", &tracer.ends(2)).unwrap(), 0);
    assert!(recv(theirs.as_raw_fd(), 1000).is_err());
    let error = send(ours.as_raw_fd(), b"x", &tracer.ends(254)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    assert_eq!(send(ours.as_raw_fd(), b"", &tracer.ends(2)).unwrap(), 0);
    let received = recv(theirs.as_raw_fd(), 1000).unwrap();
    assert_eq!((received.bytes, received.kinds), (0, vec![(SCM_RIGHTS, 2)]));
    assert_eq!(tracer.written(), "");
}

/// At the limit of descriptors the rest is closed, and it looks as if there had not been room.
#[test]
fn the_limit_of_descriptors_looks_like_truncation() {
    child::in_child(
        "kernel::the_limit_of_descriptors_looks_like_truncation",
        || {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let tracer = Tracer::new();
            send(ours.as_raw_fd(), b"x", &tracer.ends(4)).unwrap();
            let before = open();
            super::rooms::leave_room_for(2);
            let received = recv(theirs.as_raw_fd(), 1000).unwrap();
            assert_eq!(
                (received.kinds, received.cut),
                (vec![(SCM_RIGHTS, 2)], true)
            );
            super::rooms::lift_the_limit();
            assert_eq!(open(), before);
            assert_eq!(tracer.written(), "");
        },
    );
}
