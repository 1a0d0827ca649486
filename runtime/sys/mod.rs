//! Every system call of the runtime, each behind a safe function that checks its result.
//!
//! Idea: a file for each service of the kernel, a proof beside each call, and no code that knows of tasks or
//! sources. Outside this folder only `task::cell` and `name::waker` of the runtime have `unsafe`.
//!
//! Interface, file by file:
//! - `epoll`: the [`Epoll`] that is waited on, and the [`Events`] that a wait brings.
//! - `eventfd`: the [`EventFd`], an eventfd that other threads write.
//! - `fork`: [`is_forked_child`], and the error in such a child.
//! - `inherit`: what a new thread has from the one that made it.
//! - `signal`: the signal handler, its counts and its eventfd, and the action of each signal.
//! - `slack`: the timer slack of the thread.
//! - `timerfd`: the [`TimerFd`], a timer that epoll watches.
//!
//! Here is what these share: how a result becomes an error, or a descriptor that is owned, and how the
//! error of a refused call gets the name of the call.
//!
//! Invariants:
//! - Nothing here keeps state but what the calls require; a failure leaves as an [`io::Error`].
//! - A descriptor is owned from the call that makes it: only [`own`] turns a number into an
//!   owned descriptor.
//!
//! Read before: `explained`. Read next: `epoll`, `eventfd`, `fork`, `sys::signal`, `slack`, `inherit`, `timerfd`, in any order.

mod epoll;
mod eventfd;
mod fork;
mod inherit;
mod signal;
mod slack;
mod timerfd;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libc::c_int;

use super::explained::explained;

pub(crate) use epoll::{Epoll, Events};
pub(crate) use eventfd::EventFd;
pub use fork::is_forked_child_error;
pub(crate) use fork::{
    forked_child_error, is_forked_child, refuse_in_forked_child, watch_for_fork,
};
pub(crate) use inherit::Inherited;
pub(crate) use signal::{
    SignalAction, catch_signal, set_signal_action, signal_action, signal_count, signal_eventfd,
    unblock_signal,
};
pub(crate) use slack::set_timer_slack;
pub(crate) use timerfd::TimerFd;

/// Turns the -1 of a system call into the error it stands for.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Owns the descriptor that a call has just made, or returns the call's error, with its name if a sandbox
/// may have refused it. It takes what such a call returned and no other number: hence it is private here.
fn own(call: &str, made: c_int) -> io::Result<OwnedFd> {
    let fd = check(made).map_err(|error| name_refusal(call, error))?;
    // SAFETY: `fd` is open and no other code knows its number, because it is no -1 and the callers,
    // `Epoll::new`, `EventFd::new` and `TimerFd::new`, hand in what epoll_create1(2), eventfd(2) and
    // timerfd_create(2) have just returned.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds the name of the call to an error by which a sandbox may have refused it: a seccomp filter returns
/// any errno it likes, and "Operation not permitted" alone does not say what to allow.
pub(crate) fn name_refusal(call: &str, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES | libc::EINVAL | libc::EOPNOTSUPP) => {
            let text =
                format!("{call}(2): {error}; if a sandbox refuses the call, it must allow it");
            explained(error, text)
        }
        _ => error,
    }
}
