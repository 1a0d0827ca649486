//! epoll(7), as steps 3 to 6 use it: three system calls, and all the `unsafe` of these steps but that of `eventfd.rs`.
//!
//! The library has the same in `runtime/sys/epoll.rs`. A program that is refused an epoll instance, or a place in its
//! interest list, can only give up here; the library hands such errors to its caller.

use std::ffi::c_int;
use std::io::{Error, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Takes events of this many descriptors at a time.
const ROOM: usize = 64;

/// An epoll instance.
pub(super) struct Epoll(OwnedFd);

impl Epoll {
    pub(super) fn new() -> Epoll {
        // SAFETY: epoll_create1(2) takes an integer and touches no memory of ours.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(epoll >= 0, "epoll_create1: {}", Error::last_os_error());
        // SAFETY: `epoll` is open and has no other owner, because the call above has just returned it.
        Epoll(unsafe { OwnedFd::from_raw_fd(epoll) })
    }

    /// Adds `fd` to the interest list, or takes it out. From then on an event of `fd` brings `token` back. Edge-triggered:
    /// an event says that something has come, and is not repeated for what is still there.
    pub(super) fn control(&self, op: c_int, fd: &impl AsRawFd, token: u64) {
        let events = (libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET) as u32;
        let mut event = libc::epoll_event { events, u64: token };
        let (epoll, fd) = (self.0.as_raw_fd(), fd.as_raw_fd());
        // SAFETY: the pointer is good for reads, because it is that of a local which outlives the call; epoll_ctl(2)
        // keeps a copy, and no pointer. A number that is no descriptor would be an error.
        let done = unsafe { libc::epoll_ctl(epoll, op, fd, &raw mut event) };
        assert_eq!(done, 0, "epoll_ctl: {}", Error::last_os_error());
    }

    /// Waits for events, for at most `limit`, and returns what each reports, and its token.
    pub(super) fn wait(&self, limit: Duration) -> Vec<(u32, u64)> {
        // Rounded up: a limit of half a millisecond would be none at all, and the caller would ask again and again.
        let milliseconds = limit.as_micros().div_ceil(1000) as c_int;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; ROOM];
        let (epoll, room) = (self.0.as_raw_fd(), events.as_mut_ptr());
        // SAFETY: `room` is good for writes of `ROOM` events, because it is that of a local array of so many, which
        // outlives the call; epoll_wait(2) writes no more than its third argument says.
        let n = unsafe { libc::epoll_wait(epoll, room, ROOM as c_int, milliseconds) };
        match usize::try_from(n) {
            Ok(n) => events[..n].iter().map(|e| (e.events, e.u64)).collect(),
            // A signal came first.
            Err(_) if Error::last_os_error().kind() == ErrorKind::Interrupted => self.wait(limit),
            Err(_) => panic!("epoll_wait: {}", Error::last_os_error()),
        }
    }
}
