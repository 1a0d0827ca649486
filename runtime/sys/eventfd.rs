//! The eventfd: what any thread, or a signal handler, writes to wake a thread that waits in epoll.
//!
//! Interface: [`EventFd`]. The handler in `signal` writes the descriptor without it.
//! Invariant: [`notify`](EventFd::notify) neither blocks nor fails, whatever state the counter is in.
//! Read next: `place`, which says when a write can be spared.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use super::own;

/// An eventfd(2), which other threads write and epoll watches. It is registered edge-triggered: each
/// write is an event, and the counter need not be read.
#[derive(Debug)]
pub(crate) struct EventFd(File);

impl EventFd {
    /// eventfd2(2): nonblocking, closed by exec, and 0 at first.
    pub(crate) fn new() -> io::Result<EventFd> {
        // SAFETY: eventfd(2) takes two integers and no pointer.
        let made = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        Ok(EventFd(own("eventfd2", made)?.into()))
    }

    /// Writes the eventfd. Never blocks and never fails: a counter that is full (EAGAIN, at 2^64 - 2) is
    /// read once, which empties it, and written again; about any other error nothing can be done here.
    pub(crate) fn notify(&self) {
        let one = 1u64.to_ne_bytes();
        let mut file = &self.0;
        if let Err(error) = file.write(&one) {
            if error.kind() == io::ErrorKind::WouldBlock {
                let _emptied = file.read(&mut [0; 8]);
                let _rung = file.write(&one);
            }
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
