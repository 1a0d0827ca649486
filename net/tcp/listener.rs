//! A TCP listener: it accepts in spite of broken connections and of the descriptor limit.
//!
//! Interface: [`TcpListener::bind`], [`accept`](TcpListener::accept).
//! Invariant (R10): a connection in the backlog is never stranded. At the descriptor limit no event
//! announces that a descriptor was freed, so `accept` tries again on a timer.
//! Read before: `socket`. Read next: `tcp::stream`.

use std::fmt;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tracing::warn;

use super::super::addr::ToSocketAddrs;
use super::super::methods::refuse_in_child;
use super::super::sys;
use super::super::tried::in_turn;
use super::stream::TcpStream;
use crate::io::{AsyncFd, Interest};
use crate::runtime::Handle;
use crate::time::sleep;

/// Accepts TCP connections.
///
/// # Examples
/// ```
/// use reveille::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// reveille::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, peer) = listener.accept().await?;
///     assert_eq!(peer, client.local_addr()?);
///     assert_eq!(server.local_addr()?, listener.local_addr()?);
///     Ok(())
/// })
/// # }
/// ```
///
/// # Sharing
/// A listener that was made by [`from_std`](TcpListener::from_std), or handed out through
/// [`as_fd`](AsFd::as_fd), may be shared: with the process from which it was inherited (socket
/// activation), with a child, or through a duplicate. Then each sharer decides whether accepting blocks,
/// because O_NONBLOCK is a flag of what is shared, and accept4(2) has no such flag for a single call. So
/// before each accept from such a listener the flag is set again if it was cleared, and poll(2) says
/// whether a connection waits; that takes two system calls more. Between the poll and the accept a
/// sharer may still clear the flag *and* take the connection; then the thread blocks until the next
/// connection comes. Only a listener of one's own prevents that: bind another with SO_REUSEPORT, or let
/// one process accept.
///
/// A stream inherits what was set on its listener (SO_PEEK_OFF, say). So short reads of a stream
/// accepted from such a listener prove nothing: a read that drains it costs a recv(2) and a poll(2)
/// more.
pub struct TcpListener {
    io: AsyncFd<std::net::TcpListener>,
    /// False once other code may hold the socket.
    ours_alone: AtomicBool,
    /// When the descriptor limit was last logged.
    logged: Mutex<Option<Instant>>,
}

/// How many connections may wait for `accept`, if net.core.somaxconn allows so many (its default is
/// 4096): listen(2).
const BACKLOG: u32 = 1024;

/// How long `accept` pauses at the descriptor limit: the first pause, and the longest.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(160));

/// The limit is logged at most this often.
const LOG_EVERY: Duration = Duration::from_secs(1);

impl TcpListener {
    /// Listens at the first of the addresses that works, tried in order; port 0 takes a free one.
    ///
    /// SO_REUSEADDR is set, so that a server can be started again while connections of its
    /// predecessor are in TIME_WAIT; the backlog is 1024. `[::]` serves IPv4 as well, unless
    /// net.ipv6.bindv6only says otherwise. For what else is to be said before, there is
    /// [`TcpSocket`](super::TcpSocket).
    ///
    /// # Errors
    /// EADDRINUSE, EADDRNOTAVAIL, EACCES (ports below 1024): bind(2); EMFILE, ENFILE: socket(2);
    /// those of [`lookup_host`](crate::net::lookup_host). For several addresses or a name, the text lists all that
    /// were tried, and `raw_os_error` is `None`: see [`AddressesError`](crate::net::AddressesError).
    ///
    /// # Cancel safety
    /// Safe: it waits for the lookup of a name only.
    pub async fn bind(addresses: impl ToSocketAddrs) -> io::Result<TcpListener> {
        let target = addresses.target()?;
        in_turn(target, |address| {
            let socket = sys::stream_socket(&address)?;
            sys::set_reuse_address(socket.as_fd(), true)?;
            sys::bind(socket.as_fd(), &address)?;
            sys::listen(socket.as_fd(), BACKLOG)?;
            TcpListener::new(std::net::TcpListener::from(socket), true)
        })
        .await
    }

    pub(super) fn new(
        listener: std::net::TcpListener,
        ours_alone: bool,
    ) -> io::Result<TcpListener> {
        let io = AsyncFd::with_interest(listener, Interest::READABLE)?;
        Ok(TcpListener {
            io,
            ours_alone: AtomicBool::new(ours_alone),
            logged: Mutex::new(None),
        })
    }

    /// Makes a `TcpListener` of std's listener, which is put into non-blocking mode.
    ///
    /// # Errors
    /// As ioctl(2) of FIONBIO; and always in the child of a process that had a runtime before it forked.
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        refuse_in_child(listener.as_fd())?;
        listener.set_nonblocking(true)?;
        TcpListener::new(listener, false)
    }

    /// Gives back std's listener, in non-blocking mode and deregistered.
    ///
    /// # Errors
    /// None today.
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        Ok(self.io.into_inner())
    }

    /// Accepts the next connection, and returns it with the address of its peer.
    ///
    /// Errors of a connection that the network broke before it was accepted are skipped. At the limit of
    /// descriptors or memory `accept` waits until there is room again: it tries every 10 to 160 ms, and
    /// logs at most once a second, while the connection stays in the backlog. To get the error instead,
    /// use [`try_accept`](TcpListener::try_accept).
    ///
    /// # Errors
    /// What else accept(2) reports: EINVAL if the socket does not listen, EOPNOTSUPP if it is one of
    /// datagrams; those of waiting, see [`AsyncFd::readable`]; outside a runtime, where `accept` cannot
    /// pause, also those of the limit.
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns a connection takes it from the backlog.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let (mut back_off, longest) = BACK_OFF;
        loop {
            let accepted = self
                .io
                .async_io(Interest::READABLE, |_| self.accept_now())
                .await;
            match accepted {
                // Outside a runtime nothing could end the pause.
                Err(error) if is_limit(&error) && Handle::try_current().is_ok() => {
                    self.log(&error);
                    // No edge comes when a descriptor is freed. Readiness stays as it is.
                    sleep(back_off).await;
                    back_off = longest.min(back_off * 2);
                }
                accepted => return accepted,
            }
        }
    }

    /// Polls for the next connection. At the limit of descriptors or memory it returns the error,
    /// as [`try_accept`](TcpListener::try_accept) does.
    ///
    /// # Errors
    /// As [`accept`](TcpListener::accept), and EMFILE, ENFILE, ENOBUFS, ENOMEM.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.io
            .poll_io(cx, Interest::READABLE, |_| self.accept_now())
    }

    /// Accepts a connection if one is waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; EMFILE, ENFILE, ENOBUFS, ENOMEM at the limit, where the connection stays
    /// in the backlog, and no event will announce it again: try again later. Else as
    /// [`accept`](TcpListener::accept).
    pub fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.io.try_io(Interest::READABLE, |_| self.accept_now())
    }

    /// Accepts one connection, and skips those that broke before they were accepted.
    fn accept_now(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let listener = self.socket();
        // Before a connection is taken: in a child it would be taken from the parent.
        refuse_in_child(listener)?;
        let ours_alone = self.ours_alone.load(Ordering::Relaxed);
        let mut broken = 0;
        loop {
            if !ours_alone {
                // Where a sandbox refuses this, the accept blocks if a sharer cleared the flag and took
                // the connection.
                let _kept = sys::keep_nonblocking(listener);
                // A socket that does not listen goes on to accept4(2), which says so.
                if !sys::is_readable(listener) && sys::is_listening(listener).unwrap_or(true) {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
            }
            match sys::accept(listener) {
                Ok((socket, peer)) => return Ok((TcpStream::of(socket, ours_alone)?, peer)),
                // More than BACKLOG errors in a row cannot be about single connections: the socket does
                // not listen (EOPNOTSUPP), or accepting is forbidden (EPERM).
                Err(error) if concerns_one_connection(&error) && broken < BACKLOG => broken += 1,
                // At the limit accept4(2) fails even if no connection waits. Then no pause is needed:
                // the next connection brings an event.
                Err(error) if is_limit(&error) && !sys::is_readable(listener) => {
                    return Err(io::ErrorKind::WouldBlock.into());
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

    /// The address at which it listens.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.get_ref().local_addr()
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        // Not `self.as_fd()`, after which the listener may be shared.
        self.io.get_ref().as_fd()
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

impl AsFd for TcpListener {
    /// Hands out the socket. From then on it may be shared; see [Sharing](TcpListener#sharing).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours_alone.store(false, Ordering::Relaxed);
        self.io.as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl TryFrom<std::net::TcpListener> for TcpListener {
    type Error = io::Error;

    fn try_from(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        TcpListener::from_std(listener)
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.io.get_ref().fmt(f)
    }
}
