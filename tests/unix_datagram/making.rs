//! How a Unix datagram socket is made, and what can be asked of it.

use std::fs;
use std::io::{ErrorKind, Result};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, IntoRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};

use reveille::net::{UnixDatagram, UnixSocket};

use super::Place;
use crate::limit::limit;

/// Fault A21. Catches: a socket that a child inherits, or that blocks.
#[track_caller]
fn assert_made_well(socket: &UnixDatagram) {
    // SAFETY: F_GETFD and F_GETFL take no argument.
    let flags =
        [libc::F_GETFD, libc::F_GETFL].map(|what| unsafe { libc::fcntl(socket.as_raw_fd(), what) });
    assert_eq!(flags[0], libc::FD_CLOEXEC);
    assert_ne!(flags[1] & libc::O_NONBLOCK, 0);
}

/// Catches: a way to make one that does not, or at another address; one that a child inherits or that blocks (fault A21).
#[test]
fn a_datagram_socket_is_made_in_each_way() {
    let _limit = limit(30);
    let place = Place::new();
    let abstract_name = format!("\0reveille-making-{}", std::process::id());
    let bound = UnixDatagram::bind(&place.0).unwrap();
    assert_eq!(
        bound.local_addr().unwrap().as_pathname(),
        Some(place.0.as_path())
    );
    let name = UnixDatagram::bind(&abstract_name).unwrap();
    let at = name.local_addr().unwrap();
    assert_eq!(at.as_abstract_name(), Some(&abstract_name.as_bytes()[1..]));
    let chosen = UnixDatagram::bind("").unwrap();
    assert_eq!(
        chosen
            .local_addr()
            .unwrap()
            .as_abstract_name()
            .unwrap()
            .len(),
        5
    );
    let error = UnixDatagram::bind_addr(&at).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let unbound = UnixDatagram::unbound().unwrap();
    assert!(unbound.local_addr().unwrap().is_unnamed());
    let (one, other) = UnixDatagram::pair().unwrap();
    let socket = UnixSocket::new_datagram().unwrap();
    socket
        .bind_addr(&SocketAddr::from_abstract_name(format!("{abstract_name}-2")).unwrap())
        .unwrap();
    let configured = socket.datagram().unwrap();
    assert!(
        configured
            .local_addr()
            .unwrap()
            .as_abstract_name()
            .is_some()
    );
    let error = UnixSocket::new_stream().unwrap().datagram().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let (std, _std) = StdDatagram::pair().unwrap();
    let from_std = UnixDatagram::from_std(std.try_clone().unwrap()).unwrap();
    let tried = UnixDatagram::try_from(std).unwrap();
    for socket in [
        &bound,
        &name,
        &chosen,
        &unbound,
        &one,
        &other,
        &configured,
        &from_std,
        &tried,
    ] {
        assert_made_well(socket);
    }
    // The file stays: it is for the program to remove.
    drop(bound);
    assert!(fs::exists(&place.0).unwrap());
    let error = UnixDatagram::bind(&place.0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    let probe = UnixDatagram::unbound()
        .unwrap()
        .connect(&place.0)
        .unwrap_err();
    assert_eq!(probe.kind(), ErrorKind::ConnectionRefused);
}

/// Catches: a socket that comes back blocking, or another; one that stays registered.
#[test]
fn a_datagram_socket_goes_to_std_and_back() {
    let _limit = limit(30);
    reveille::block_on(async {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        assert!(
            futures_lite::future::poll_once(theirs.recv(&mut [0]))
                .await
                .is_none()
        );
        let number = theirs.as_fd().as_raw_fd();
        let std = theirs.into_std().unwrap();
        assert_eq!(std.as_raw_fd(), number);
        assert_eq!(
            std.recv(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        let theirs = UnixDatagram::from_std(std).unwrap();
        ours.send(b"x").await.unwrap();
        assert_eq!(theirs.recv(&mut [0]).await.unwrap(), 1);
        drop(ours);
        let number = theirs.into_std().unwrap().into_raw_fd();
        drop(fs::File::open(format!("/proc/self/fd/{number}")));
    });
}

/// Catches: an option that is not set, or is another; a pending error that stays.
#[test]
fn options_are_those_of_the_socket() {
    let _limit = limit(30);
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    assert!(!ours.passcred().unwrap());
    ours.set_passcred(true).unwrap();
    assert!(ours.passcred().unwrap());
    ours.set_passcred(false).unwrap();
    assert!(!ours.passcred().unwrap());
    ours.set_send_buffer_size(10_000).unwrap();
    assert_eq!(ours.send_buffer_size().unwrap(), 20_000);
    ours.set_recv_buffer_size(30_000).unwrap();
    assert_eq!(ours.recv_buffer_size().unwrap(), 60_000);
    assert!(ours.peer_addr().unwrap().is_unnamed());
    assert!(ours.take_error().unwrap().is_none());
    // A peer that turns to another, with a datagram unread, is an error, which is taken once.
    assert_eq!(ours.try_send(b"lost").unwrap(), 4);
    let elsewhere = UnixDatagram::bind("").unwrap();
    theirs
        .connect_addr(&elsewhere.local_addr().unwrap())
        .unwrap();
    let error = ours.take_error().unwrap().unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(ours.take_error().unwrap().is_none());
    let unconnected = UnixDatagram::unbound().unwrap();
    assert_eq!(
        unconnected.peer_addr().unwrap_err().kind(),
        ErrorKind::NotConnected
    );
    assert!(format!("{ours:?}").contains("UnixDatagram"));
}

/// Catches: an errno that is lost, though it has a meaning of its own here; a limit that is not said.
#[test]
fn errors_say_what_is_wrong_with_an_address() {
    let _limit = limit(30);
    let place = Place::new();
    reveille::block_on(async {
        let ours = UnixDatagram::unbound().unwrap();
        let errno = |outcome: Result<usize>| outcome.unwrap_err().raw_os_error();
        assert_eq!(errno(ours.send(b"x").await), Some(libc::ENOTCONN));
        assert_eq!(
            errno(ours.send_to(b"x", &place.0).await),
            Some(libc::ENOENT)
        );
        assert_eq!(
            errno(ours.send_to(b"x", "/dev/null").await),
            Some(libc::ECONNREFUSED)
        );
        let stream = std::os::unix::net::UnixListener::bind(&place.0).unwrap();
        assert_eq!(
            errno(ours.send_to(b"x", &place.0).await),
            Some(libc::EPROTOTYPE)
        );
        drop(stream);
        assert_eq!(
            errno(ours.send_to(b"x", &place.0).await),
            Some(libc::ECONNREFUSED)
        );
        let (one, two) = (
            UnixDatagram::bind("").unwrap(),
            UnixDatagram::bind("").unwrap(),
        );
        let there = one.local_addr().unwrap();
        one.connect_addr(&two.local_addr().unwrap()).unwrap();
        assert_eq!(
            errno(ours.send_to_addr(b"x", &there).await),
            Some(libc::EPERM)
        );
        let fds = ours.send_fds_to_addr(&[], &[], &there).await;
        assert_eq!(errno(fds), Some(libc::EPERM));
        let there = two.local_addr().unwrap();
        let large = vec![0; 1 << 20];
        assert_eq!(
            errno(ours.send_to_addr(&large, &there).await),
            Some(libc::EMSGSIZE)
        );
        for path in ["x".repeat(108), "a\0b".into()] {
            let error = ours.send_to(b"x", &path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(
                ours.connect(&path).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
            assert_eq!(
                UnixDatagram::bind(&path).unwrap_err().kind(),
                ErrorKind::InvalidInput
            );
        }
        two.shutdown(Shutdown::Both).unwrap();
        assert_eq!(
            errno(ours.send_to_addr(b"x", &there).await),
            Some(libc::EPIPE)
        );
    });
}
