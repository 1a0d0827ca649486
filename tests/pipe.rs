//! Pipes from the outside: how they end, what a sharer of their descriptors can do to them, named ones, and what the
//! pages say of signals.
//!
//! As in `tcp.rs`, most tests step: `inside` enters a runtime to poll something by hand, and `Runtime::turn` makes the
//! reactor look.

use std::env;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use reveille::net::pipe::Sender;

#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/seccomp.rs"]
mod seccomp;
#[path = "support/seeds.rs"]
mod seeds;
#[path = "support/step.rs"]
mod step;
#[path = "support/within.rs"]
mod within;

#[path = "pipe/ending.rs"]
mod ending;
#[path = "pipe/kernel.rs"]
mod kernel;
#[path = "pipe/making.rs"]
mod making;
#[path = "pipe/moving.rs"]
mod moving;
#[path = "pipe/named.rs"]
mod named;
#[path = "pipe/sharing.rs"]
mod sharing;

/// Runs `test` on a thread of its own, for at most 30 s: one that blocks in the kernel is a failure.
#[track_caller]
fn running(test: impl AsyncFnOnce() + Send + 'static) {
    within::within(30, move || reveille::block_on(test()));
}

/// A named pipe, which is removed with this.
struct Fifo(PathBuf);

impl Fifo {
    fn new() -> Fifo {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let nth = MADE.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("reveille-fifo-{}-{nth}", process::id()));
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: mkfifo(3) reads the string, which ends with a zero byte and outlives the call.
        let made = unsafe { libc::mkfifo(name.as_ptr(), 0o600) };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        Fifo(path)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        fs::remove_file(&self.0).unwrap();
    }
}

/// Both ends of a pipe, as descriptors in blocking mode: the one to read from first.
fn descriptors() -> [OwnedFd; 2] {
    let mut ends = [0; 2];
    // SAFETY: pipe2(2) writes two ints through the pointer, which is that of an array of two.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(made, 0);
    // SAFETY: both are open and nothing else owns them, because pipe2(2) has just made them.
    ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Both ends of a named pipe, as descriptors in blocking mode: the one to read from first.
fn named_descriptors() -> [OwnedFd; 2] {
    let fifo = Fifo::new();
    // Without another end, an open for reading alone would wait.
    let both = File::options()
        .read(true)
        .write(true)
        .open(fifo.path())
        .unwrap();
    let reading = File::open(fifo.path()).unwrap();
    let writing = File::options().write(true).open(fifo.path()).unwrap();
    drop(both);
    [reading.into(), writing.into()]
}

/// The number of the descriptor, without asking for the descriptor: what asks may change it.
fn number(end: &dyn std::fmt::Debug) -> RawFd {
    let text = format!("{end:?}");
    let digits = text.split_once("fd: ").unwrap().1;
    digits.trim_end_matches(" }").parse().unwrap()
}

/// Writes until there is no room.
fn fill(sender: &Sender) -> usize {
    let mut written = 0;
    while let Ok(n) = sender.try_write(&[7; 4096]) {
        written += n;
    }
    written
}

fn status_flags(fd: RawFd) -> libc::c_int {
    // SAFETY: F_GETFL takes no argument.
    let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
    assert_ne!(flags, -1);
    flags
}

fn is_nonblocking(fd: &impl AsRawFd) -> bool {
    status_flags(fd.as_raw_fd()) & libc::O_NONBLOCK != 0
}

/// What a sharer of the descriptor does to it.
fn clear_nonblocking(fd: RawFd) {
    let flags = status_flags(fd) & !libc::O_NONBLOCK;
    // SAFETY: F_SETFL takes an int and no pointer.
    let set = unsafe { libc::fcntl(fd, libc::F_SETFL, flags) };
    assert_eq!(set, 0);
}
