//! Every system call of the runtime, each behind a safe function that checks its result.
//!
//! Idea: a file for each thing that the kernel is asked for, a proof beside each call, and nothing that
//! knows of tasks or sources. Beside this folder only `task` and `waker` of the runtime have `unsafe`.
//!
//! Interface, file by file:
//! - `epoll`: the [`Epoll`] that is waited on, and the [`Events`] that a wait brings.
//! - `bell`: the [`Bell`] that other threads ring.
//! - `fork`: [`is_forked_child`], and the error that refuses one.
//! - `signal`: the handler, its counts and its bell, and what is done on a signal.
//! - `slack`: the timer slack of the thread.
//!
//! Here is what these share: how a result becomes an error, or a descriptor that is owned, and how a
//! refused call gets its name.
//!
//! Invariants:
//! - Nothing here keeps state but what the kernel requires; what leaves is `io::Result`.
//! - A descriptor is owned from the call that makes it: [`own`] is the one place that believes a number.
//!
//! Read next: `epoll`, `bell`, `fork`, `sys::signal`, `slack`, in any order.

mod bell;
mod epoll;
mod fork;
mod signal;
mod slack;

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

use libc::c_int;

pub(crate) use bell::Bell;
pub(crate) use epoll::{Epoll, Events};
pub use fork::is_forked_child_error;
pub(crate) use fork::{
    forked_child_error, is_forked_child, refuse_in_forked_child, watch_for_fork,
};
pub(crate) use signal::{
    SignalAction, catch_signal, set_signal_action, signal_action, signal_bell, signal_count,
    unblock_signal,
};
pub(crate) use slack::set_timer_slack;

/// Turns the -1 of a system call into the error it stands for.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Owns the descriptor that a call has just made, or tells its error, by name if a sandbox may have
/// refused it. For what such a call returns and for no other number: hence private, to these files.
fn own(call: &str, made: c_int) -> io::Result<OwnedFd> {
    let fd = check(made).map_err(|error| name_refusal(call, error))?;
    // SAFETY: `fd` is open and nobody else knows its number, because it is no -1 and both callers,
    // `Epoll::new` and `Bell::new`, hand in what epoll_create1(2) and eventfd(2) have just returned.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds the name of the call to an error by which a sandbox may have refused it: a seccomp filter says
/// what it likes, and "Operation not permitted" alone does not tell what to allow.
pub(crate) fn name_refusal(call: &str, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES | libc::EINVAL | libc::EOPNOTSUPP) => {
            let text =
                format!("{call}(2): {error}; if a sandbox refuses the call, it must allow it");
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}
