//! The eventfd of the models: heard through loom's primitives, for a model cannot wait for epoll.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use loom::sync::{Condvar, Mutex};

/// What `sys::EventFd` and the epoll instance it is registered with are together: a ring stays until
/// a wait ends with it.
pub(crate) struct EventFd {
    rung: Mutex<bool>,
    heard: Condvar,
}

impl EventFd {
    pub(crate) fn new() -> io::Result<EventFd> {
        Ok(EventFd {
            rung: Mutex::new(false),
            heard: Condvar::new(),
        })
    }

    pub(crate) fn notify(&self) {
        *self.rung.lock().unwrap() = true;
        self.heard.notify_one();
    }

    /// epoll_wait(2) without a timeout. A ring that never comes is a deadlock, which loom reports.
    pub(crate) fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.heard.wait(rung).unwrap();
        }
        *rung = false;
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unreachable!("no model makes a reactor");
    }
}
