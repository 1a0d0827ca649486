//! `AsyncFd` and the reactor behind it, from the outside: what wakes whom, what an error leaves
//! behind, and how a foreign loop drives a runtime.
//!
//! Most tests step: `inside` enters a runtime to poll something by hand, `Runtime::turn` makes
//! the reactor look. `/proc/self/fdinfo` of the epoll instance shows what is registered.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use reveille::Runtime;
use reveille::io::{AsyncFd, Interest};

#[path = "support/child.rs"]
mod child;
#[path = "support/foreign.rs"]
mod foreign;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/step.rs"]
mod step;
#[path = "support/within.rs"]
mod within;

#[path = "async_fd/driving.rs"]
mod driving;
#[path = "async_fd/embedding.rs"]
mod embedding;
#[path = "async_fd/ending.rs"]
mod ending;
#[path = "async_fd/errors.rs"]
mod errors;
#[path = "async_fd/faults.rs"]
mod faults;
#[path = "async_fd/guards.rs"]
mod guards;
#[path = "async_fd/sets.rs"]
mod sets;
#[path = "async_fd/waiting.rs"]
mod waiting;

/// A connected pair in non-blocking mode.
fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

/// A connected pair of which one half is something to read from.
fn reader() -> (AsyncFd<UnixStream>, UnixStream) {
    let (ours, theirs) = pair();
    let ours = AsyncFd::with_interest(ours, Interest::READABLE).unwrap();
    (ours, theirs)
}

/// Reads one byte.
fn read_one(mut stream: &UnixStream) -> io::Result<u8> {
    let mut buf = [0];
    stream.read_exact(&mut buf)?;
    Ok(buf[0])
}

fn write_one(mut stream: &UnixStream, byte: u8) {
    stream.write_all(&[byte]).unwrap();
}

/// Writes until there is no more room.
fn fill(mut stream: &UnixStream) {
    while stream.write(&[0; 4096]).is_ok() {}
}

/// Descriptors in the runtime's interest list, its own two not counted: an eventfd and a timerfd.
fn registrations(runtime: &Runtime) -> usize {
    let path = format!("/proc/self/fdinfo/{}", runtime.as_fd().as_raw_fd());
    let text = fs::read_to_string(path).unwrap();
    text.lines().filter(|line| line.starts_with("tfd:")).count() - 2
}

/// Sources that have a slot.
fn sources(runtime: &Runtime) -> usize {
    let text = format!("{runtime:?}");
    let (_, text) = text.split_once("sources: ").unwrap();
    text.split(',').next().unwrap().parse().unwrap()
}

/// Looks until there is nothing more to run.
fn settle(runtime: &Runtime) {
    for _ in 0..10_000 {
        runtime.turn().unwrap();
        if runtime.next_deadline().is_none() {
            return;
        }
    }
    panic!("it never comes to rest");
}
