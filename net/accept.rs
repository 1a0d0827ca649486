//! The engine of listeners: it accepts in spite of broken connections and of the descriptor limit.
//!
//! Interface: [`Acceptor`], of which [`TcpListener`](super::TcpListener) and [`UnixListener`](super::UnixListener) are
//! thin layers. Its methods are those of the public types, which document them. [`Connection`] is what they accept.
//! Invariant (R10): a connection in the backlog is never stranded. At the descriptor limit no event
//! announces that a descriptor was freed, so `accept` tries again on a timer. `try_accept` and `poll_accept` return the
//! error of the limit, with readiness kept: their caller pauses.
//! Read before: `socket`, `net::pause`. Read next: `listener`.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tracing::warn;

use super::methods::refuse_in_child;
use super::pause::BackOff;
use super::sys;
use crate::io::{AsyncFd, Interest};
use crate::runtime::Handle;

/// What a listener accepts.
pub(super) trait Connection: Sized {
    /// The listener, as std has it.
    type Listener: AsFd;
    /// Where a connection comes from.
    type Peer;

    /// Takes one out of the listener's queue, by a system call.
    fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, Self::Peer)>;

    /// Makes one of its socket, which is ours alone if the listener is.
    fn accepted(socket: OwnedFd, ours_alone: bool) -> io::Result<Self>;
}

/// A listener for connections of one kind.
pub(super) struct Acceptor<C: Connection> {
    /// The listening socket.
    io: AsyncFd<C::Listener>,
    /// False once other code may hold the socket.
    ours_alone: AtomicBool,
    /// When the descriptor limit was last logged.
    logged: Mutex<Option<Instant>>,
}

/// How many connections may wait for `accept`, if net.core.somaxconn allows so many (its default is
/// 4096): listen(2).
pub(super) const BACKLOG: u32 = 1024;

/// The limit is logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(1);

impl<C: Connection> Acceptor<C> {
    /// Wraps a listener in non-blocking mode, which is ours alone or may be shared.
    pub(super) fn new(listener: C::Listener, ours_alone: bool) -> io::Result<Acceptor<C>> {
        let io = AsyncFd::with_interest(listener, Interest::READABLE)?;
        Ok(Acceptor {
            io,
            ours_alone: AtomicBool::new(ours_alone),
            logged: Mutex::new(None),
        })
    }

    /// The listener, for calls by `net`. Before other code gets it, call [`lend`](Acceptor::lend).
    pub(super) fn get_ref(&self) -> &C::Listener {
        self.io.get_ref()
    }

    /// Deregisters the listener, and gives it back.
    pub(super) fn into_inner(self) -> C::Listener {
        self.io.into_inner()
    }

    /// The socket. From now on other code may hold it.
    pub(super) fn lend(&self) -> BorrowedFd<'_> {
        self.ours_alone.store(false, Ordering::Relaxed);
        self.io.as_fd()
    }

    /// Waits for a connection; at the limit of descriptors or memory it pauses, and tries again.
    pub(super) async fn accept(&self) -> io::Result<(C, C::Peer)> {
        let mut back_off = BackOff::new(10, 160);
        loop {
            let accepted = self
                .io
                .async_io(Interest::READABLE, |_| self.accept_now())
                .await;
            match accepted {
                Err(error) if is_limit(&error) => {
                    if Handle::try_current().is_ok() {
                        self.log(&error);
                    }
                    // No edge comes when a descriptor is freed. Readiness stays as it is.
                    back_off.pause(error).await?;
                }
                accepted => return accepted,
            }
        }
    }

    /// Ready with a connection or an error, of which that of the limit is one.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(C, C::Peer)>> {
        self.io
            .poll_io(cx, Interest::READABLE, |_| self.accept_now())
    }

    /// A connection that waits; `WouldBlock` if none does.
    pub(super) fn try_accept(&self) -> io::Result<(C, C::Peer)> {
        self.io.try_io(Interest::READABLE, |_| self.accept_now())
    }

    /// Accepts one connection, and skips those that broke before they were accepted.
    fn accept_now(&self) -> io::Result<(C, C::Peer)> {
        let listener = self.io.get_ref().as_fd();
        // Before a connection is taken: in a child it would be taken from the parent.
        refuse_in_child(listener)?;
        let ours_alone = self.ours_alone.load(Ordering::Relaxed);
        let mut broken = 0;
        loop {
            if !ours_alone {
                // accept4(2) has no MSG_DONTWAIT. The gap that remains: `TcpListener`, Sharing.
                // Where a sandbox refuses this, the accept blocks if a sharer cleared the flag and took
                // the connection.
                let _kept = sys::keep_nonblocking(listener);
                // A socket that does not listen goes on to accept4(2), which says so.
                if !sys::is_readable(listener) && sys::is_listening(listener).unwrap_or(true) {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
            }
            match C::accept(listener) {
                Ok((socket, peer)) => return Ok((C::accepted(socket, ours_alone)?, peer)),
                // More than BACKLOG errors in a row cannot be about single connections: the socket does
                // not listen (EOPNOTSUPP), or accepting is forbidden (EPERM).
                Err(error) if concerns_one_connection(&error) && broken < BACKLOG => broken += 1,
                // At the limit accept4(2) fails even if no connection waits. Then no pause is needed:
                // the next connection brings an event.
                Err(error) if is_limit(&error) && !sys::is_readable(listener) => {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
                // A Unix listener that a sharer has shut down says EAGAIN for ever to an accept that does not wait, and
                // EINVAL to one that does (unix_accept in net/unix/af_unix.c).
                Err(error) if would_block(&error) && !ours_alone && sys::is_at_end(listener) => {
                    return Err(io::Error::from_raw_os_error(libc::EINVAL));
                }
                // On a socket that listens, each of these errors is a refusal, by a sandbox or a
                // firewall.
                Err(error) if is_refusal(&error) && sys::is_listening(listener).unwrap_or(true) => {
                    return Err(sys::refused("accept4", error));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Logs that the limit is reached, unless that was logged less than [`LOG_EVERY`] ago.
    fn log(&self, error: &io::Error) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let due = logged.is_none_or(|last| now.duration_since(last) >= LOG_EVERY);
        if due {
            *logged = Some(now);
        }
        // The subscriber is user code, and the lock is not held while it runs (R5).
        drop(logged);
        if due {
            let told = catch_unwind(AssertUnwindSafe(|| {
                warn!(
                    target: "reveille::net",
                    %error,
                    "cannot accept: connections wait until there is room"
                );
            }));
            // The subscriber may panic, and so may the drop of the payload of that panic.
            if let Err(payload) = told {
                let dropped = catch_unwind(AssertUnwindSafe(|| drop(payload)));
                dropped.unwrap_or_else(mem::forget);
            }
        }
    }
}

/// Errors that accept(2) passes on from the connection it would have returned: "treat them like EAGAIN
/// by retrying". EPERM comes from a firewall.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::ENETDOWN
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::EPERM
        )
    )
}

/// True of EAGAIN.
fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Errors of accept(2) that a listening socket does not give, or not again and again.
fn is_refusal(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(errno, Some(libc::EPERM | libc::EINVAL | libc::EOPNOTSUPP))
}

/// Errors that pass when something is freed: descriptors of the process or of the system, memory.
fn is_limit(error: &io::Error) -> bool {
    let errno = error.raw_os_error();
    matches!(
        errno,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
