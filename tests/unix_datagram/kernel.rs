//! What the kernel at hand does with Unix datagrams, on which `net::unix::datagram` relies: asked of the kernel itself. A
//! test that is red says that a kernel differs, and in what.

use std::io::{ErrorKind, Result};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;

use super::{Place, fill};
use crate::limit::limit;

/// A socket that does not block, bound to a place.
fn bound(place: &Place) -> UnixDatagram {
    let socket = UnixDatagram::bind(&place.0).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

fn unbound() -> UnixDatagram {
    let socket = UnixDatagram::unbound().unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// An epoll instance that watches for room, edge-triggered.
struct Epoll(OwnedFd);

impl Epoll {
    fn new(socket: &UnixDatagram) -> Epoll {
        // SAFETY: it takes an integer.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(epoll >= 0);
        // SAFETY: epoll_create1(2) has just made it, and nothing else owns it.
        let epoll = Epoll(unsafe { OwnedFd::from_raw_fd(epoll) });
        let mut event = libc::epoll_event {
            events: (libc::EPOLLOUT | libc::EPOLLET) as u32,
            u64: 0,
        };
        let (add, event) = (libc::EPOLL_CTL_ADD, &raw mut event);
        // SAFETY: the event outlives the call, which only reads it.
        let added = unsafe { libc::epoll_ctl(epoll.0.as_raw_fd(), add, socket.as_raw_fd(), event) };
        assert_eq!(added, 0);
        epoll
    }

    /// True if it reports room now.
    fn tells(&self) -> bool {
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: there is room for one event, which outlives the call.
        let n = unsafe { libc::epoll_wait(self.0.as_raw_fd(), &raw mut event, 1, 0) };
        assert!(n >= 0);
        n == 1
    }
}

/// So `send` of a connected socket may wait for an event.
#[test]
fn epoll_tells_a_connected_sender_of_room_at_its_peer_and_of_its_end() {
    let _limit = limit(30);
    let place = Place::new();
    let (peer, ours) = (bound(&place), unbound());
    ours.connect(&place.0).unwrap();
    let there = peer.local_addr().unwrap();
    fill(&there);
    assert!(ours.send(b"x").is_err());
    let epoll = Epoll::new(&ours);
    assert!(!epoll.tells());
    peer.recv(&mut [0]).unwrap();
    assert!(epoll.tells());
    fill(&there);
    assert!(ours.send(b"x").is_err());
    assert!(!epoll.tells());
    drop(peer);
    assert!(epoll.tells());
    let kind = |outcome: Result<usize>| outcome.unwrap_err().kind();
    assert_eq!(kind(ours.send(b"x")), ErrorKind::ConnectionRefused);
    assert_eq!(kind(ours.send(b"x")), ErrorKind::NotConnected);
}

/// So what is sent to an address may not wait for one.
#[test]
fn epoll_says_nothing_of_room_at_an_address() {
    let _limit = limit(30);
    let (place, other) = (Place::new(), Place::new());
    let (peer, ours) = (bound(&place), unbound());
    fill(&peer.local_addr().unwrap());
    let epoll = Epoll::new(&ours);
    for _ in 0..3 {
        assert!(epoll.tells(), "there is room in the socket itself");
        assert!(!epoll.tells());
        // Each try that fails is an event: who waits for one spins.
        assert!(ours.send_to(b"x", &place.0).is_err());
    }
    // And one that is connected to another, which is full, hears nothing at all.
    let elsewhere = bound(&other);
    ours.connect(&other.0).unwrap();
    fill(&elsewhere.local_addr().unwrap());
    assert!(ours.send(b"x").is_err());
    let epoll = Epoll::new(&ours);
    while peer.recv(&mut [0]).is_ok() {}
    assert!(!epoll.tells());
    assert_eq!(ours.send_to(b"x", &place.0).unwrap(), 1);
}

/// Which errors there are.
#[test]
fn what_a_socket_hears_of_others() {
    let _limit = limit(30);
    let (place, other) = (Place::new(), Place::new());
    let kind = |outcome: Result<usize>| outcome.unwrap_err().kind();
    // A peer that connects elsewhere: what it has not received is lost, and then its former peer hears of it, once.
    let (one, _two) = (bound(&place), bound(&other));
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    ours.send(b"lost").unwrap();
    theirs.connect(&other.0).unwrap();
    assert_eq!(kind(theirs.recv(&mut [0])), ErrorKind::WouldBlock);
    assert_eq!(kind(ours.recv(&mut [0])), ErrorKind::ConnectionReset);
    assert_eq!(kind(ours.recv(&mut [0])), ErrorKind::WouldBlock);
    // Who is connected receives from its peer only.
    one.connect(&other.0).unwrap();
    let refused = unbound().send_to(b"x", &place.0).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    // The end of reading is not heard without blocking.
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    ours.shutdown(Shutdown::Read).unwrap();
    assert_eq!(kind(ours.recv(&mut [0])), ErrorKind::WouldBlock);
    assert_eq!(kind(theirs.send(b"x")), ErrorKind::BrokenPipe);
    theirs.shutdown(Shutdown::Write).unwrap();
    assert_eq!(kind(theirs.send(b"x")), ErrorKind::BrokenPipe);
}
