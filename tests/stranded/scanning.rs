//! What it costs to ask about one descriptor beside many idle ones: of poll(2), which looks at each, and of epoll(7).

use std::hint::black_box;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::epoll::Epoll;
use crate::limit::limit;

/// The least of many, in nanoseconds: what else the machine does only adds to it.
fn least(mut f: impl FnMut()) -> u128 {
    let once = || {
        let begun = Instant::now();
        f();
        begun.elapsed().as_nanos()
    };
    std::iter::repeat_with(once).take(2000).min().unwrap()
}

/// One ready descriptor beside so many idle ones: what a wait of epoll costs, and what a poll(2).
fn cost(idle: usize) -> (u128, u128) {
    let (quiet, _peer) = UnixStream::pair().unwrap();
    let (ready, mut writer) = UnixStream::pair().unwrap();
    writer.write_all(b"x").unwrap();
    let clones = (0..idle).map(|_| OwnedFd::from(quiet.try_clone().unwrap()));
    let watched: Vec<_> = clones.chain([OwnedFd::from(ready)]).collect();
    let epoll = Epoll::new();
    watched.iter().for_each(|fd| epoll.add(fd, libc::EPOLLIN));
    let entry = |fd: &OwnedFd| libc::pollfd {
        fd: fd.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let mut entries: Vec<_> = watched.iter().map(entry).collect();
    let waits = || assert_eq!(black_box(epoll.wait(Duration::ZERO)).len(), 1);
    let polls = || {
        let count = entries.len() as libc::nfds_t;
        // SAFETY: the pointer is good for `count` entries, because it is that of a vector of so many, which outlives
        // the call.
        let n = unsafe { libc::poll(entries.as_mut_ptr(), count, 0) };
        assert_eq!(n, 1);
    };
    (least(waits), least(polls))
}

/// The reason for epoll: one that waits costs nothing while others are busy.
#[test]
fn a_wait_costs_the_same_beside_idle_descriptors_and_a_poll_looks_at_each() {
    let _limit = limit(120);
    let ((epoll_alone, poll_alone), (epoll_beside, poll_beside)) = (cost(1), cost(500));
    println!("epoll_wait: {epoll_alone} ns beside 1, {epoll_beside} ns beside 500");
    println!("poll: {poll_alone} ns beside 1, {poll_beside} ns beside 500");
    assert!(epoll_beside < 3 * epoll_alone);
    assert!(poll_beside > 3 * poll_alone);
}
