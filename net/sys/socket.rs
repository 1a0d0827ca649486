//! Sockets from their making to their shutdown: all calls on them but those for bytes and options.
//!
//! Interface: [`socket`], [`stream_socket`] or [`datagram_socket`], then either [`bind`], [`listen`] and [`accept`] or
//! [`accept_unix`], or [`connect`] and [`finish_connect`]; [`unix_pair`]; [`shutdown`]. [`is_readable`], [`holds_bytes`]
//! and [`is_at_end`] ask what is there; [`keep_nonblocking`] sets O_NONBLOCK again if a sharer cleared it.
//! Invariants:
//! - A socket is close-on-exec and non-blocking from the call that makes it, and is owned at once, by
//!   [`own`] or, of a pair, by [`unix_pair`].
//! - Nothing here waits: poll(2) is called with a timeout of 0, and connect(2) once.
//!
//! Read before: `address`. Read next: `listener`.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::SocketAddr as StdUnixAddr;

use libc::{c_int, c_short};

use super::{
    Address, SockAddr, UnixAddr, checked_for, decode, decode_unix, is_refusal, retry, take_error,
};

/// How far a connection is, if it has not failed.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Connecting {
    /// The socket has a peer, and can be used.
    Connected,
    /// For TCP the kernel goes on alone: wait until the socket is writable, then call [`finish_connect`]. A Unix socket was
    /// interrupted and does not go on: connect it again.
    InProgress,
}

/// Makes a TCP socket of the address's family, unbound and unconnected.
pub(crate) fn stream_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    internet_socket(address, libc::SOCK_STREAM)
}

/// Makes a UDP socket of the address's family, unbound and unconnected.
pub(crate) fn datagram_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    internet_socket(address, libc::SOCK_DGRAM)
}

/// Makes a socket of the address's family, and of this kind.
fn internet_socket(address: &SocketAddr, kind: c_int) -> io::Result<OwnedFd> {
    let domain = match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    socket(domain, kind)
}

/// socket(2), socketpair(2), accept4(2): CLOEXEC and NONBLOCK in the call that makes the fd: no race with a fork in
/// another thread.
const BORN: c_int = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;

/// Makes a socket, unbound and unconnected: of AF_UNIX, say, and SOCK_STREAM.
pub(crate) fn socket(domain: c_int, kind: c_int) -> io::Result<OwnedFd> {
    let kind = kind | BORN;
    own("socket", || {
        // SAFETY: sound with any arguments, because socket(2) takes three integers by value and
        // touches no memory of ours.
        unsafe { libc::socket(domain, kind, 0) }
    })
}

/// Makes two Unix sockets that are connected with each other; SOCK_STREAM, say, is the kind.
pub(crate) fn unix_pair(kind: c_int) -> io::Result<[OwnedFd; 2]> {
    let (kind, mut fds) = (kind | BORN, [-1; 2]);
    retry("socketpair", || {
        let fds = fds.as_mut_ptr();
        // SAFETY: `fds` is good for writes of two ints, because it points to an array of two, which outlives the call;
        // socketpair(2) writes no more.
        unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, fds) }
    })?;
    Ok(fds.map(|fd| {
        // SAFETY: `fd` is open and nothing else owns it, because socketpair(2) has just made both, and `retry` turned a
        // -1 into the error returned above.
        unsafe { OwnedFd::from_raw_fd(fd) }
    }))
}

/// [`retry`] for a call that makes a descriptor, and for no other: hence private to this file.
fn own(name: &'static str, call: impl FnMut() -> c_int) -> io::Result<OwnedFd> {
    let fd = retry(name, call)?;
    // SAFETY: `fd` is open and nothing else owns it, because both callers, `socket` and `accept_from`,
    // make a call that has just made it, socket(2) or accept4(2), and `retry` turned a -1 into the error
    // returned above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds the socket to a local address; port 0, or a Unix address without a name, lets the kernel choose.
pub(crate) fn bind<const N: usize>(fd: BorrowedFd<'_>, address: &Address<N>) -> io::Result<()> {
    loop {
        let bound = checked_for(address, "bind", || {
            // SAFETY: the pointer is good for reads of `address.len()` bytes, because `encode` made
            // `address` (see `Address::as_ptr`) and it outlives the call; bind(2) only reads.
            unsafe { libc::bind(fd.as_raw_fd(), address.as_ptr(), address.len()) }
        });
        match bound {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            bound => return bound.map(drop),
        }
    }
}

/// Makes the socket a listener with room for about `backlog` connections not yet accepted.
///
/// listen(2): the kernel cuts the number silently at `/proc/sys/net/core/somaxconn`.
pub(crate) fn listen(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    // A wrapping cast would make it negative, for which listen(2) promises nothing.
    let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
    retry("listen", || {
        // SAFETY: sound with any arguments, because listen(2) takes two integers by value.
        unsafe { libc::listen(fd.as_raw_fd(), backlog) }
    })?;
    Ok(())
}

/// Starts to connect the socket.
///
/// # Errors
/// Whatever connect(2) reports, except EINPROGRESS and EINTR. EAGAIN is an error like any other here: for
/// TCP it means a shortage in the kernel, for a Unix socket that the listener's queue is full, and no event will ever
/// report the end of either.
pub(crate) fn connect<const N: usize>(
    fd: BorrowedFd<'_>,
    address: &Address<N>,
) -> io::Result<Connecting> {
    let outcome = checked_for(address, "connect", || {
        // SAFETY: the pointer is good for reads of `address.len()` bytes, because `encode` made `address`
        // (see `Address::as_ptr`) and it outlives the call; connect(2) only reads.
        unsafe { libc::connect(fd.as_raw_fd(), address.as_ptr(), address.len()) }
    });
    match outcome {
        Ok(_) => Ok(Connecting::Connected),
        // POSIX connect(): if interrupted, "the connection shall be established asynchronously". For TCP,
        // connect(2) again would give EALREADY, or EISCONN for a connection that is ours.
        Err(error) => match error.raw_os_error() {
            Some(libc::EINPROGRESS | libc::EINTR) => Ok(Connecting::InProgress),
            _ => Err(error),
        },
    }
}

/// Says what has become of a connection in progress, once its socket was reported writable.
///
/// A report is only a hint, so this asks the kernel: poll(2) says whether the attempt is over, and
/// getpeername(2) how it ended. SO_ERROR alone could not tell success from "not yet": both are 0.
///
/// # Errors
/// The reason why the connection failed; ENOTCONN if other code has already taken the reason.
pub(crate) fn finish_connect(fd: BorrowedFd<'_>) -> io::Result<Connecting> {
    // connect(2), EINPROGRESS: poll(2) for writing says whether the attempt is over. Where a sandbox
    // refuses poll(2), the report is believed.
    match poll_now(fd, libc::POLLOUT) {
        Ok(0) => return Ok(Connecting::InProgress),
        Err(error) if !is_refusal(&error) => return Err(error),
        _ => {}
    }
    let not_connected = match peer_name(fd) {
        Ok(_) => return Ok(Connecting::Connected),
        Err(error) => error,
    };
    // In this order: the attempt is over, so a socket without a peer has failed, and the reason was set
    // before. If the reason were asked for first, one that comes between the two calls would be missed.
    match take_error(fd) {
        Ok(None) if is_refusal(&not_connected) => Ok(Connecting::Connected),
        Ok(reason) => Err(reason.unwrap_or(not_connected)),
        // A sandbox refused the call: on an open socket it fails for no other reason.
        Err(_) => Err(not_connected),
    }
}

/// Takes a connection out of the listener's queue, with the address of its peer.
///
/// The address is the one that accept4 wrote: for a connection that was reset in the queue, getpeername(2)
/// would return ENOTCONN. Only the listener's O_NONBLOCK keeps this from blocking; accept4 has no flag like
/// MSG_DONTWAIT.
///
/// # Errors
/// Whatever accept(2) reports, except EINTR; `InvalidData` if the peer has no IP address.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut peer = SockAddr::EMPTY;
    let accepted = accept_from(fd, &mut peer)?;
    Ok((accepted, decode(peer.written())?))
}

/// As [`accept`], from a listener of Unix sockets.
///
/// # Errors
/// Whatever accept(2) reports, except EINTR; `InvalidData` if the listener is of another kind.
pub(crate) fn accept_unix(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, StdUnixAddr)> {
    let mut peer = UnixAddr::EMPTY;
    let accepted = accept_from(fd, &mut peer)?;
    Ok((accepted, decode_unix(peer.written())?))
}

/// Takes a connection out of the queue, and writes the address of its peer to `peer`.
fn accept_from<const N: usize>(fd: BorrowedFd<'_>, peer: &mut Address<N>) -> io::Result<OwnedFd> {
    own("accept4", || {
        let (name, len) = peer.as_out_parameters();
        // SAFETY: `name` is good for writes of `*len` bytes and `len` for a read and a write,
        // because both come from `peer`, which is borrowed mutably for the whole call;
        // accept4(2) writes no more than `*len` bytes there, whatever the length it reports.
        // On Linux the new fd inherits no status flags from the listener.
        unsafe { libc::accept4(fd.as_raw_fd(), name, len, BORN) }
    })
}

/// Puts the fd back into non-blocking mode if a sharer has cleared O_NONBLOCK.
///
/// fcntl(2): O_NONBLOCK is a flag of the open file description, which duplicates, children and the process
/// that passed the descriptor share.
pub(crate) fn keep_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = retry("fcntl", || {
        // SAFETY: F_GETFL takes no argument and touches no memory of ours.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }
    })?;
    if flags & libc::O_NONBLOCK == 0 {
        retry("fcntl", || {
            // SAFETY: F_SETFL takes an integer and touches no memory of ours.
            unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) }
        })?;
    }
    Ok(())
}

/// Shuts down one direction or both; a socket that is not connected (any more) counts as shut down.
///
/// shutdown(2) returns ENOTCONN after a reset by the peer, which a caller can neither foresee nor cure, and
/// in a second call.
pub(crate) fn shutdown(fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    let outcome = retry("shutdown", || {
        // SAFETY: sound with any arguments, because shutdown(2) takes two integers by value.
        unsafe { libc::shutdown(fd.as_raw_fd(), how) }
    });
    match outcome {
        Err(error) if error.raw_os_error() != Some(libc::ENOTCONN) => Err(error),
        _ => Ok(()),
    }
}

/// Says whether the fd has something to read, accept or report right now.
///
/// At the fd limit accept4(2) fails with EMFILE before it looks into the queue; this says whether anything
/// is in there. If poll(2) fails, the answer is yes: a caller that pauses wrongly loses time, but one that
/// waits for an event wrongly is stranded.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    poll_now(fd, libc::POLLIN).map_or(true, |events| events != 0)
}

/// Says whether there are bytes to read, or the end of the stream, as poll(2) sees it.
///
/// recv(2) may return EAGAIN although bytes are there: where an urgent byte stood, it checks for a pending
/// signal before it goes on to the bytes behind (tcp_recvmsg_locked in net/ipv4/tcp.c). Not
/// [`is_readable`], because an entry in the error queue is POLLERR until it is taken from there.
pub(crate) fn holds_bytes(fd: BorrowedFd<'_>) -> bool {
    poll_now(fd, libc::POLLIN).is_ok_and(|events| events & libc::POLLIN != 0)
}

/// Says whether nothing more can come in, because the socket is shut down or the peer has gone. If poll(2) fails, the
/// answer is no.
pub(crate) fn is_at_end(fd: BorrowedFd<'_>) -> bool {
    let ends = libc::POLLRDHUP | libc::POLLHUP;
    poll_now(fd, libc::POLLRDHUP).is_ok_and(|events| events & ends != 0)
}

/// The address of the peer: getpeername(2); ENOTCONN without one.
fn peer_name(fd: BorrowedFd<'_>) -> io::Result<SockAddr> {
    let mut peer = SockAddr::EMPTY;
    retry("getpeername", || {
        let (name, len) = peer.as_out_parameters();
        // SAFETY: `name` is good for writes of `*len` bytes and `len` for a read and a write,
        // because both come from `peer`, which is borrowed mutably for the whole call;
        // getpeername(2) writes no more than `*len` bytes there.
        unsafe { libc::getpeername(fd.as_raw_fd(), name, len) }
    })?;
    Ok(peer)
}

/// Says which of `events`, POLLERR and POLLHUP hold at this moment; never waits.
pub(super) fn poll_now(fd: BorrowedFd<'_>, events: c_short) -> io::Result<c_short> {
    let mut entry = libc::pollfd {
        fd: fd.as_raw_fd(),
        events,
        revents: 0,
    };
    retry("poll", || {
        // SAFETY: the pointer is good for one pollfd, because it points to `entry` and the count
        // is 1; poll(2) writes `revents` only.
        unsafe { libc::poll(&raw mut entry, 1, 0) }
    })?;
    Ok(entry.revents)
}
