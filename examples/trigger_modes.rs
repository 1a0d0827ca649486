//! Level, edge and one-shot: one socket, read in each of epoll's modes, and every call counted.
//!
//! ```text
//! cargo run --example trigger_modes
//!                                   ctl wait event read left
//! a hundred messages, one by one
//!   level                             1  100   100  100    0
//!   edge, read until EAGAIN           1  100   100  200    0
//!   edge, until a read is short       1  100   100  100    0
//!   one-shot, armed again           101  100   100  100    0
//! ten messages at once, a read of ten bytes
//!   level                             1   11    10   10    0
//!   edge, one read for each event     1    2     1    1   90
//!   edge, read until EAGAIN           1    2     1   11    0
//!   one-shot, not armed again         1    2     1    1   90
//!   one-shot, armed again            11   11    10   10    0
//! one message, ten looks, and no read
//!   level                             1   10    10    0   10
//!   edge                              1   10     1    0   10
//!   one-shot                          1   10     1    0   10
//! closed, with a duplicate open: ten looks
//!   level                             1   10    10    0   50
//!   edge                              1   10     5    0   50
//!   one-shot                          1   10     1    0   50
//! ```
//!
//! A program asks the kernel in three ways to report a descriptor (epoll(7)): as long as something is there (level), when
//! something comes (EPOLLET, edge), or once, and no more until it is asked again (EPOLLONESHOT). Here a peer sends
//! messages of 10 bytes over a Unix socket, and the same reader, with the same work, is woken in each of these ways. Nothing
//! waits for time to pass, so the counts are the same in every run. The page `reveille::tour::trigger_modes` says what they
//! mean; `tests/trigger_modes.rs` holds both to them. In the library the mode is chosen in `runtime/io/interest.rs` (edge),
//! and `runtime/io/sources.rs` does what that choice asks for (R4, R10).

use std::ffi::c_int;
use std::io::{Error, ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

const LEVEL: c_int = 0;
const EDGE: c_int = libc::EPOLLET;
const ONESHOT: c_int = libc::EPOLLONESHOT;

const MESSAGE: [u8; 10] = *b"0123456789";

fn main() {
    println!("{:33} ctl wait event read left", "");
    println!("a hundred messages, one by one");
    one_by_one("level", LEVEL, Until::Once);
    one_by_one("edge, read until EAGAIN", EDGE, Until::Eagain);
    one_by_one("edge, until a read is short", EDGE, Until::Short);
    one_by_one("one-shot, armed again", ONESHOT, Until::Once);
    println!("ten messages at once, a read of ten bytes");
    at_once("level", LEVEL, Until::Once);
    at_once("edge, one read for each event", EDGE, Until::Once);
    at_once("edge, read until EAGAIN", EDGE, Until::Eagain);
    at_once("one-shot, not armed again", ONESHOT, Until::Never);
    at_once("one-shot, armed again", ONESHOT, Until::Once);
    println!("one message, ten looks, and no read");
    unread("level", LEVEL);
    unread("edge", EDGE);
    unread("one-shot", ONESHOT);
    println!("closed, with a duplicate open: ten looks");
    closed("level", LEVEL);
    closed("edge", EDGE);
    closed("one-shot", ONESHOT);
}

/// When the reader goes back to epoll.
#[derive(Clone, Copy, PartialEq)]
enum Until {
    /// After one read. If the mode is one-shot, the reader asks for the next event.
    Once,
    /// After one read, without asking for the next event.
    Never,
    Eagain,
    /// After a read that brought less than there was room for.
    Short,
}

fn one_by_one(name: &str, mode: c_int, until: Until) {
    let (mut watched, mut peer) = Watched::new(mode);
    let mut room = [0; 16];
    for _ in 0..100 {
        peer.write_all(&MESSAGE).expect("there is room");
        if watched.wait() {
            watched.serve(mode, until, &mut room);
        }
    }
    watched.print(name);
}

fn at_once(name: &str, mode: c_int, until: Until) {
    let (mut watched, mut peer) = Watched::new(mode);
    peer.write_all(&MESSAGE.repeat(10)).expect("there is room");
    let mut room = [0; 10];
    // A program would sleep in the wait that reports nothing; here it is the end.
    while watched.wait() {
        watched.serve(mode, until, &mut room);
    }
    watched.print(name);
}

/// A reader that has no time to read, or a writer that has nothing to write: other work brings it back to epoll.
fn unread(name: &str, mode: c_int) {
    let (mut watched, mut peer) = Watched::new(mode);
    peer.write_all(&MESSAGE).expect("there is room");
    for _ in 0..10 {
        watched.wait();
    }
    watched.print(name);
}

/// The descriptor is closed without being taken out of epoll, while a duplicate is open: a child may have it, say. A message
/// comes before each of the first five looks.
fn closed(name: &str, mode: c_int) {
    let (mut watched, mut peer) = Watched::new(mode);
    let duplicate = watched.stream.try_clone().expect("a descriptor is free");
    drop(std::mem::replace(&mut watched.stream, duplicate));
    for look in 0..10 {
        if look < 5 {
            peer.write_all(&MESSAGE).expect("there is room");
        }
        watched.wait();
    }
    watched.print(name);
}

/// A stream in an epoll instance, and how often each system call was made for it.
struct Watched {
    epoll: OwnedFd,
    stream: UnixStream,
    controls: usize,
    waits: usize,
    events: usize,
    reads: usize,
}

impl Watched {
    fn new(mode: c_int) -> (Watched, UnixStream) {
        let (stream, peer) = UnixStream::pair().expect("descriptors are free");
        stream.set_nonblocking(true).expect("it is open");
        // SAFETY: epoll_create1(2) takes an integer and touches no memory of ours.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(epoll >= 0, "epoll_create1: {}", Error::last_os_error());
        // SAFETY: `epoll` is open and has no other owner, because the call above has just returned it.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let mut watched = Watched {
            epoll,
            stream,
            controls: 0,
            waits: 0,
            events: 0,
            reads: 0,
        };
        watched.control(libc::EPOLL_CTL_ADD, watched.stream.as_raw_fd(), mode);
        (watched, peer)
    }

    fn control(&mut self, op: c_int, fd: RawFd, mode: c_int) {
        self.controls += 1;
        let events = (libc::EPOLLIN | mode) as u32;
        let mut event = libc::epoll_event { events, u64: 0 };
        // SAFETY: the pointer is good for reads, because it is that of a local which outlives the call; epoll_ctl(2)
        // keeps a copy, and no pointer.
        let done = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), op, fd, &raw mut event) };
        assert_eq!(done, 0, "epoll_ctl: {}", Error::last_os_error());
    }

    /// Asks epoll without sleeping. True if the stream was reported.
    fn wait(&mut self) -> bool {
        self.waits += 1;
        let mut event = libc::epoll_event { events: 0, u64: 0 };
        // SAFETY: the pointer is good for the write of one event, because it is that of a local which outlives the call;
        // epoll_wait(2) writes no more than its third argument says.
        let n = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), &raw mut event, 1, 0) };
        assert!(n >= 0, "epoll_wait: {}", Error::last_os_error());
        self.events += n as usize;
        n == 1
    }

    /// What the reader does with one event.
    fn serve(&mut self, mode: c_int, until: Until, room: &mut [u8]) {
        loop {
            self.reads += 1;
            let short = match self.stream.read(room) {
                Ok(n) => n < room.len(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("read: {error}"),
            };
            match until {
                Until::Once | Until::Never => break,
                Until::Short if short => break,
                Until::Short | Until::Eagain => {}
            }
        }
        if mode == ONESHOT && until == Until::Once {
            self.control(libc::EPOLL_CTL_MOD, self.stream.as_raw_fd(), mode);
        }
    }

    /// What was counted, and how many bytes are still there.
    fn print(mut self, name: &str) {
        let mut left = Vec::new();
        let end = self.stream.read_to_end(&mut left);
        assert!(end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
        println!(
            "  {name:31} {:3} {:4} {:5} {:4} {:4}",
            self.controls,
            self.waits,
            self.events,
            self.reads,
            left.len()
        );
    }
}
