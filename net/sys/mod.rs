//! Every system call of `net`, each behind a safe function; no other part of `net` has `unsafe`.
//!
//! Idea: a call takes borrowed fds and slices, returns an `io::Result`, and never waits. The callers
//! decide what EAGAIN means. For local addresses and some options `net` uses std's types; here is what std
//! does not do: a connect that does not block, a choice of backlog, writes that cannot raise SIGPIPE, and
//! accept4.
//!
//! Interface, file by file:
//! - `socket`, from its making to its shutdown: [`stream_socket`], [`datagram_socket`], [`socket`](socket()),
//!   [`unix_pair`], [`bind`], [`listen`], [`connect`], [`finish_connect`], [`accept`], [`accept_unix`],
//!   [`keep_nonblocking`], [`is_readable`], [`holds_bytes`], [`is_at_end`], [`shutdown`].
//! - `stream`, the bytes of a socket: [`recv`], [`send`], [`recv_vectored`], [`send_vectored`], and what
//!   of several buffers these hand to the kernel.
//! - `pipe`: [`PipeFd`], the end of a pipe, and its bytes.
//! - `medium`: a [`Medium`] is one of both.
//! - `message`, datagrams and what goes with them: [`send_to`], [`recv_from`], [`send_message`], [`recv_message`].
//! - `many`, several of them a call: [`send_many`], [`recv_many`].
//! - `descriptors`, which go with the bytes of a Unix socket: [`send_fds`], [`recv_fds`].
//! - `uninit`: [`recv_uninit`], [`recv_vec`] and [`recv_vec_from`], into memory that nothing has written yet.
//! - `options`: [`get`] and [`set`], for an [`Int`], [`get_bytes`] and [`set_bytes`], for [`Bytes`], [`count`];
//!   [`take_error`], [`is_listening`], and others.
//! - `address`: [`SockAddr`], [`UnixAddr`], [`decode`] and [`decode_unix`], between std's addresses and the kernel's.
//! - `control`: what goes with the bytes of a message.
//!
//! This file has what all of them call: [`retry`] or [`checked_for`], which turn -1 into an error, and
//! name the call in its text if a sandbox may have refused it. For unit tests, `faults` puts errors in
//! place of calls.
//!
//! Invariants:
//! - Every fd is close-on-exec from the call that makes it, and is owned at once; sockets and pipes are non-blocking, too.
//! - Bytes of a socket move under MSG_DONTWAIT and, outwards, MSG_NOSIGNAL: no transfer blocks the thread, even if
//!   other code clears O_NONBLOCK through a duplicate of the fd, and none raises SIGPIPE. What a pipe has instead is
//!   in `pipe`.
//! - EINTR is retried in [`retry`], and where [`checked_for`] is needed: in [`bind`], and by what sends to an address.
//!   connect(2) is not retried there, because an interrupted connect of TCP goes on by itself; that of a Unix socket does
//!   not, and its callers connect again; close(2) is std's, which does not retry it
//!   either.
//!
//! Read next: `socket`, `net::sys::stream`, `net::sys::pipe`, `medium`, `uninit`, `net::sys::options`, `address`,
//! `control`, `message`, `net::sys::descriptors`.

mod address;
mod control;
mod descriptors;
mod many;
mod medium;
mod message;
mod options;
mod pipe;
mod socket;
mod stream;
mod uninit;

use std::io;

use libc::c_int;

use crate::io::explained;

pub(crate) use address::{Address, LONGEST_PATH, SockAddr, UnixAddr, decode, decode_unix};
#[cfg(test)]
pub(crate) use control::messages;
pub(crate) use control::{Control, ControlMessage, space};
pub(crate) use descriptors::{Came, recv_fds, send_fds};
pub(crate) use many::{MOST_MESSAGES, recv_many, send_many};
pub(crate) use medium::Medium;
pub(crate) use message::{Inbound, Outbound, recv_from, recv_message, send_message, send_to};
pub(crate) use options::{
    Bytes, Count, Int, count, get, get_bytes, is_listening, linger, peer_pidfd, set, set_bytes,
    set_reuse_address, set_zero_linger, take_error,
};
pub(crate) use pipe::{PipeFd, pipe, set_blocking, status_flags};
pub(crate) use socket::{
    Connecting, accept, accept_unix, bind, connect, datagram_socket, finish_connect, holds_bytes,
    is_at_end, is_readable, keep_nonblocking, listen, shutdown, socket, stream_socket, unix_pair,
};
pub(crate) use stream::{
    first, first_len, first_mut, offered, recv, recv_vectored, send, send_vectored, window,
};
#[cfg(feature = "hyper")]
pub(crate) use uninit::recv_cursor;
#[cfg(feature = "tokio-io")]
pub(crate) use uninit::recv_read_buf;
pub(crate) use uninit::{recv_uninit, recv_vec, recv_vec_from};

/// Makes a system call, again and again while it returns EINTR. signal(7): a handler without SA_RESTART
/// interrupts any slow call. Not for connect(2) and close(2); see the head of this file.
// Inline, as are the functions it calls: the callers are in other files, and without it a message took 56
// instructions more.
#[inline]
fn retry<T: PartialEq + From<i8>>(
    name: &'static str,
    mut call: impl FnMut() -> T,
) -> io::Result<T> {
    // accept(2): errors of a firewall, and of a socket that does not listen. The listener names the call
    // if need be.
    let accepting = [libc::EPERM, libc::EINVAL, libc::EOPNOTSUPP];
    let has_own_meaning = |errno| name == "accept4" && accepting.contains(&errno);
    loop {
        let outcome = match faults::take(name) {
            Some(fault) => Err(fault),
            None => checked(name, call(), has_own_meaning),
        };
        match outcome {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Makes an `io::Error` of errno if a system call has just returned -1 (intro(2)). If a sandbox may have
/// refused the call, the text of the error names it: a seccomp filter may return any errno, and "Operation
/// not permitted" alone does not say what to allow. The text stays as it is where the errno has a meaning
/// of its own, on which callers act.
#[inline]
fn checked<T: PartialEq + From<i8>>(
    name: &'static str,
    outcome: T,
    has_own_meaning: impl FnOnce(c_int) -> bool,
) -> io::Result<T> {
    if outcome != T::from(-1) {
        return Ok(outcome);
    }
    let error = io::Error::last_os_error();
    let named = match error.raw_os_error() {
        Some(libc::ENOSYS) => true,
        Some(errno @ (libc::EPERM | libc::EACCES | libc::EINVAL | libc::EOPNOTSUPP)) => {
            !has_own_meaning(errno)
        }
        _ => false,
    };
    Err(if named { refused(name, error) } else { error })
}

/// Makes a system call once. Some of its errors may be about `address`, and are not taken for a refusal.
fn checked_for<T: PartialEq + From<i8>, const N: usize>(
    address: &Address<N>,
    name: &'static str,
    call: impl FnOnce() -> T,
) -> io::Result<T> {
    if let Some(fault) = faults::take(name) {
        return Err(fault);
    }
    checked(name, call(), |errno| address.explains(name, errno))
}

/// True of an error by which a sandbox may have refused the call: EPERM, EACCES, ENOSYS, EOPNOTSUPP, EINVAL.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | Unsupported | InvalidInput)
}

/// The error of a refused call: it has the same kind, and its text names the call and the cure.
#[cold]
pub(crate) fn refused(name: &str, error: io::Error) -> io::Error {
    let text =
        format!("{name}(2): {error}; if a sandbox or a firewall refuses it, that must allow it");
    explained(error, text)
}

/// Outside of unit tests no error stands in place of a call.
#[cfg(not(test))]
mod faults {
    /// Never an error in place of a call; the compiler removes this.
    pub(super) fn take(_: &'static str) -> Option<std::io::Error> {
        None
    }
}

/// Errors in place of system calls, as a unit test asks for them, on its own thread.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::RefCell;
    use std::io;

    thread_local! {
        /// The calls that are to fail, by name, and with which errno; 0 lets one be made.
        static FAULTS: RefCell<Vec<(&'static str, i32)>> = const { RefCell::new(Vec::new()) };
    }

    /// Makes the next call of this name fail with `errno`, or be made if that is 0. Several errors for one name come in the
    /// order of injection.
    pub(crate) fn inject(name: &'static str, errno: i32) {
        FAULTS.with_borrow_mut(|faults| faults.push((name, errno)));
    }

    /// The error in place of the next call of this name, if there is to be one.
    pub(super) fn take(name: &'static str) -> Option<io::Error> {
        FAULTS.with_borrow_mut(|faults| {
            let at = faults.iter().position(|fault| fault.0 == name)?;
            let errno = faults.remove(at).1;
            (errno != 0).then(|| io::Error::from_raw_os_error(errno))
        })
    }
}
