//! Every system call of `net`, each behind a safe function; the only file in `net` with `unsafe`.
//!
//! Idea: a call takes borrowed fds and slices, gives an `io::Result`, and never waits. What EAGAIN
//! means is for the callers to decide. std's types serve for options and local addresses; here is
//! what std does not do: a connect that does not block, a choice of backlog, writes that cannot
//! raise SIGPIPE, and accept4.
//!
//! Interface: [`stream_socket`], [`bind`], [`listen`], [`connect`], [`finish_connect`], [`accept`],
//! [`keep_nonblocking`] · [`recv`], [`peek`], [`send`], [`recv_vectored`], [`send_vectored`] · [`take_error`],
//! [`shutdown`], [`is_readable`], [`holds_bytes`], [`is_listening`], and some options.
//!
//! Invariants:
//! - Every fd is born close-on-exec and non-blocking, and is owned from the line that makes it.
//! - Bytes move under MSG_DONTWAIT and, outwards, MSG_NOSIGNAL: no transfer blocks the thread even
//!   if somebody clears O_NONBLOCK through a duplicate of the fd, and none raises SIGPIPE.
//! - EINTR is handled in [`retry`] alone. connect(2) does not go through it, because an
//!   interrupted connect goes on by itself; close(2) is std's, which does not retry it either.
//!
//! Over 400 lines because a proof is best read beside its call and what the call relies on.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::{self, offset_of};
use std::net::{Shutdown, SocketAddr, SocketAddrV6};
use std::ops::{Deref, Range};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, c_short, c_void, sa_family_t, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};

/// How far a connection is, if it has not failed.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Connecting {
    Connected,
    /// The kernel goes on alone. Wait until the socket is writable, then call [`finish_connect`].
    InProgress,
}

/// Makes a TCP socket of the address's family, unbound and unconnected.
pub(crate) fn stream_socket(address: &SocketAddr) -> io::Result<OwnedFd> {
    let domain = match address {
        SocketAddr::V4(_) => libc::AF_INET,
        SocketAddr::V6(_) => libc::AF_INET6,
    };
    // socket(2): CLOEXEC and NONBLOCK at birth, no race with a fork in another thread.
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let fd = retry("socket", || {
        // SAFETY: sound with any arguments, because socket(2) takes three integers by value and
        // touches no memory of ours.
        unsafe { libc::socket(domain, kind, 0) }
    })?;
    // SAFETY: `fd` is open and nobody else owns it, because socket(2) has just made it and `retry`
    // turned a -1 into the error returned above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Binds the socket to a local address; port 0 lets the kernel choose.
pub(crate) fn bind(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<()> {
    let name = SockAddr::encode(address);
    loop {
        let bound = checked_for(address, "bind", || {
            // SAFETY: the pointer is good for reads of `name.len` bytes, because `encode` made `name`
            // (see `SockAddr::as_ptr`) and it outlives the call; bind(2) only reads.
            unsafe { libc::bind(fd.as_raw_fd(), name.as_ptr(), name.len) }
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
/// Whatever connect(2) reports, except EINPROGRESS and EINTR. EAGAIN is an error like any other
/// here: for TCP it means a shortage in the kernel, and nothing will ever report its end.
pub(crate) fn connect(fd: BorrowedFd<'_>, address: &SocketAddr) -> io::Result<Connecting> {
    let name = SockAddr::encode(address);
    let outcome = checked_for(address, "connect", || {
        // SAFETY: the pointer is good for reads of `name.len` bytes, because `encode` made `name`
        // (see `SockAddr::as_ptr`) and it outlives the call; connect(2) only reads.
        unsafe { libc::connect(fd.as_raw_fd(), name.as_ptr(), name.len) }
    });
    match outcome {
        Ok(_) => Ok(Connecting::Connected),
        // POSIX connect(): if interrupted, "the connection shall be established asynchronously".
        // Calling it again would give EALREADY, or EISCONN for a connection that is ours.
        Err(error) => match error.raw_os_error() {
            Some(libc::EINPROGRESS | libc::EINTR) => Ok(Connecting::InProgress),
            _ => Err(error),
        },
    }
}

/// Says how a connection in progress fares, once its socket was reported writable.
///
/// A report is only a hint, so this asks the kernel: poll(2) whether the attempt is over,
/// getpeername(2) how it ended. SO_ERROR alone could not tell success from "not yet": both are 0.
///
/// # Errors
/// The reason why the connection failed; ENOTCONN if somebody else has already taken the reason.
pub(crate) fn finish_connect(fd: BorrowedFd<'_>) -> io::Result<Connecting> {
    // connect(2), EINPROGRESS: completion is told by poll(2) for writing. Where that is refused, the
    // report is believed.
    match poll_now(fd, libc::POLLOUT) {
        Ok(0) => return Ok(Connecting::InProgress),
        Err(error) if !is_refusal(&error) => return Err(error),
        _ => {}
    }
    let not_connected = match peer_name(fd) {
        Ok(_) => return Ok(Connecting::Connected),
        Err(error) => error,
    };
    // In this order: the attempt is over, so having no peer means failure, whose reason was set
    // before. Asking for the reason first would miss one that comes between the two calls.
    match take_error(fd) {
        Ok(None) if is_refusal(&not_connected) => Ok(Connecting::Connected),
        Ok(reason) => Err(reason.unwrap_or(not_connected)),
        // It is refused: nothing else can befall a socket that is open.
        Err(_) => Err(not_connected),
    }
}

/// Takes a connection out of the listener's queue, with the address of its peer.
///
/// The address is the one accept4 wrote: of a connection that was reset while it was in the queue,
/// getpeername(2) would only say ENOTCONN. That this does not block rests on the listener's
/// O_NONBLOCK alone; accept4 has no flag like MSG_DONTWAIT.
///
/// # Errors
/// Whatever accept(2) reports, except EINTR; `InvalidData` if the peer has no IP address.
pub(crate) fn accept(fd: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
    let mut peer = SockAddr::EMPTY;
    // accept(2): on Linux the new fd inherits no status flags from the listener. CLOEXEC and
    // NONBLOCK at birth, no race with a fork in another thread.
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let accepted = retry("accept4", || {
        let (name, len) = peer.as_out_parameters();
        // SAFETY: `name` is good for writes of `*len` bytes and `len` for a read and a write,
        // because both come from `peer`, which is borrowed mutably for the whole call;
        // accept4(2) writes no more than `*len` bytes there, whatever the length it reports.
        unsafe { libc::accept4(fd.as_raw_fd(), name, len, flags) }
    })?;
    // SAFETY: `accepted` is open and nobody else owns it, because accept4(2) has just made it and
    // `retry` turned a -1 into the error returned above.
    let accepted = unsafe { OwnedFd::from_raw_fd(accepted) };
    Ok((accepted, decode(peer.written())?))
}

/// Puts the fd back into non-blocking mode if somebody who shares it has taken it out.
///
/// fcntl(2): O_NONBLOCK is a flag of the open file description, which a duplicate, a child and whoever
/// passed the descriptor share.
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

/// Receives up to `buf.len()` bytes; 0 means the peer closed its write side (or `buf` is empty).
pub(crate) fn recv(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buf, 0)
}

/// As [`recv`], but leaves the bytes in the socket.
pub(crate) fn peek(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<usize> {
    recv_with(fd, buf, libc::MSG_PEEK)
}

fn recv_with(fd: BorrowedFd<'_>, buf: &mut [u8], flags: c_int) -> io::Result<usize> {
    transfer("recv", || {
        let (start, len) = (buf.as_mut_ptr().cast::<c_void>(), buf.len());
        // SAFETY: `start` is good for writes of `len` bytes, because both are those of `buf`,
        // which is borrowed mutably for the whole call; recv(2) writes at most `len` bytes and
        // keeps no pointer.
        unsafe { libc::recv(fd.as_raw_fd(), start, len, flags | libc::MSG_DONTWAIT) }
    })
}

/// Sends up to `buf.len()` bytes and says how many the kernel took.
pub(crate) fn send(fd: BorrowedFd<'_>, buf: &[u8]) -> io::Result<usize> {
    transfer("send", || {
        let (start, len) = (buf.as_ptr().cast::<c_void>(), buf.len());
        // SAFETY: `start` is good for reads of `len` bytes, because both are those of `buf`,
        // which is borrowed for the whole call; send(2) only reads and keeps no pointer.
        unsafe { libc::send(fd.as_raw_fd(), start, len, SEND_FLAGS) }
    })
}

/// As [`recv`], into several buffers in turn; into no more of them than [`offered`] counts.
pub(crate) fn recv_vectored(fd: BorrowedFd<'_>, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
    let window = window(bufs);
    let bufs = &mut bufs[window];
    let received = transfer("recvmsg", || {
        let mut message = message(bufs.as_mut_ptr().cast::<libc::iovec>(), bufs.len());
        // SAFETY: `message` points to `bufs.len()` iovecs, because std guarantees that `IoSliceMut`
        // has the ABI of iovec, and each is good for writes of its length, because `bufs` is
        // borrowed mutably for the whole call; name and control are null with length 0, so
        // recvmsg(2) writes nothing else but `message`, which is ours.
        unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) }
    });
    match (received, bufs.first_mut()) {
        // Into one of them is slower, and as good; but see `first_len`.
        (Err(error), Some(first)) if is_refusal(&error) => recv(fd, first),
        (received, _) => received,
    }
}

/// As [`send`], from several buffers in turn.
pub(crate) fn send_vectored(fd: BorrowedFd<'_>, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
    let bufs = &bufs[window(bufs)];
    // sendmsg(2) takes a const msghdr and only reads the iovecs; `msg_iov` is not const because
    // recvmsg(2) shares the struct.
    let iovecs = bufs.as_ptr().cast::<libc::iovec>().cast_mut();
    let message = message(iovecs, bufs.len());
    let sent = transfer("sendmsg", || {
        // SAFETY: `message` points to `bufs.len()` iovecs, because std guarantees that `IoSlice`
        // has the ABI of iovec, and each is good for reads of its length, because `bufs` is
        // borrowed for the whole call; name and control are null with length 0; sendmsg(2) writes
        // to no memory of ours.
        unsafe { libc::sendmsg(fd.as_raw_fd(), &raw const message, SEND_FLAGS) }
    });
    match (sent, bufs.first()) {
        (Err(error), Some(first)) if is_refusal(&error) => send(fd, first),
        (sent, _) => sent,
    }
}

/// The number of bytes that [`recv_vectored`] or [`send_vectored`] hands to the kernel of these
/// buffers.
///
/// A read is short if it brought less than *this*; judged by the sum of all the buffers, a full
/// read into the first 1024 of them would pass for one that drained the socket.
pub(crate) fn offered<B: Deref<Target = [u8]>>(bufs: &[B]) -> usize {
    // read(2), NOTES: it and similar calls transfer at most this many bytes.
    const MOST_BYTES_A_CALL: usize = 0x7fff_f000;
    // What is written may be the same bytes again and again, and more than can be counted.
    let total = bufs[window(bufs)]
        .iter()
        .fold(0_usize, |total, buf| total.saturating_add(buf.len()));
    total.min(MOST_BYTES_A_CALL)
}

/// The length of the first buffer that [`recv_vectored`] hands to the kernel. What it reads is short of
/// all the buffers where recvmsg(2) is refused, and proves nothing if it is just this much.
pub(crate) fn first_len<B: Deref<Target = [u8]>>(bufs: &[B]) -> usize {
    bufs[window(bufs)].first().map_or(0, |buf| buf.len())
}

/// The first `n` of the bytes that [`send_vectored`] would hand to the kernel.
pub(crate) fn first<'a>(bufs: &'a [IoSlice<'_>], mut n: usize) -> Vec<IoSlice<'a>> {
    let cut = |buf: &'a IoSlice<'_>| {
        let len = n.min(buf.len());
        n -= len;
        IoSlice::new(&buf[..len])
    };
    bufs[window(bufs)].iter().map(cut).collect()
}

/// Room for the first `n` of the bytes for which [`recv_vectored`] would hand room to the kernel.
pub(crate) fn first_mut<'a>(bufs: &'a mut [IoSliceMut<'_>], mut n: usize) -> Vec<IoSliceMut<'a>> {
    let cut = |buf: &'a mut IoSliceMut<'_>| {
        let len = n.min(buf.len());
        n -= len;
        IoSliceMut::new(&mut buf[..len])
    };
    let window = window(bufs);
    bufs[window].iter_mut().map(cut).collect()
}

/// Takes the socket's pending error, if it has one. socket(7), SO_ERROR: reading clears it.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let errno = int_option(fd, libc::SO_ERROR)?;
    Ok((errno != 0).then(|| io::Error::from_raw_os_error(errno)))
}

/// True if listen(2) was called on the socket: SO_ACCEPTCONN, socket(7).
pub(crate) fn is_listening(fd: BorrowedFd<'_>) -> io::Result<bool> {
    int_option(fd, libc::SO_ACCEPTCONN).map(|listening| listening != 0)
}

/// How long close waits for bytes to be sent, in seconds; `None` if it does not: SO_LINGER, socket(7).
pub(crate) fn linger(fd: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let mut linger = libc::linger {
        l_onoff: 0,
        l_linger: 0,
    };
    let mut len = size_of::<libc::linger>() as socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_LINGER);
    retry("getsockopt", || {
        let value = (&raw mut linger).cast::<c_void>();
        let len = &raw mut len;
        // SAFETY: `value` is good for writes of `*len` bytes, because it points to a `linger` and
        // `*len` is its size; getsockopt(2) writes at most that, and to `len` itself.
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, value, len) }
    })?;
    // The kernel takes what does not fit into an int for a great number, and not for a negative one.
    Ok((linger.l_onoff != 0).then_some(linger.l_linger as u32))
}

/// True if acknowledgments are sent at once: TCP_QUICKACK, tcp(7).
pub(crate) fn quickack(fd: BorrowedFd<'_>) -> io::Result<bool> {
    int_option_at(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK).map(|on| on != 0)
}

/// Sets whether acknowledgments are sent at once; the kernel may change its mind.
pub(crate) fn set_quickack(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, on.into())
}

/// An option of the socket level that is an int.
fn int_option(fd: BorrowedFd<'_>, option: c_int) -> io::Result<c_int> {
    int_option_at(fd, libc::SOL_SOCKET, option)
}

fn int_option_at(fd: BorrowedFd<'_>, level: c_int, option: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut len = LEN_OF_INT;
    retry("getsockopt", || {
        let value = (&raw mut value).cast::<c_void>();
        let len = &raw mut len;
        // SAFETY: `value` is good for writes of `*len` bytes, because it points to a c_int and
        // `*len` is its size; getsockopt(2) writes at most that, and to `len` itself.
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, value, len) }
    })?;
    Ok(value)
}

/// Shuts down one direction or both; a socket that is not connected (any more) counts as shut down.
///
/// shutdown(2) says ENOTCONN after a reset by the peer, which a caller can neither foresee nor
/// cure, and for a second call.
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
/// At the fd limit accept4(2) fails with EMFILE before it looks into the queue; this tells whether
/// anything is in there. If the kernel will not say, the answer is yes: a caller that wrongly backs
/// off loses time, one that wrongly waits is stranded.
pub(crate) fn is_readable(fd: BorrowedFd<'_>) -> bool {
    poll_now(fd, libc::POLLIN).map_or(true, |events| events != 0)
}

/// Says whether there is something to read, as poll(2) sees it.
///
/// recv(2) may say EAGAIN although there is: where an urgent byte stood it looks for a pending signal
/// before it goes on to what lies behind (tcp_recvmsg_locked in net/ipv4/tcp.c). Not [`is_readable`],
/// since an entry in the error queue is POLLERR for as long as nobody takes it from there.
pub(crate) fn holds_bytes(fd: BorrowedFd<'_>) -> bool {
    poll_now(fd, libc::POLLIN).is_ok_and(|events| events & libc::POLLIN != 0)
}

/// Lets a listener take a port whose old connections are still in TIME_WAIT; see socket(7).
///
/// To be set before `bind`, and Linux wants it of both listeners, the old one and the new. Where a
/// sandbox refuses it, a listener does without.
pub(crate) fn set_reuse_address(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    match set_int_option(fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, on.into()) {
        Err(error) if !is_refusal(&error) => Err(error),
        _ => Ok(()),
    }
}

fn set_int_option(fd: BorrowedFd<'_>, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    retry("setsockopt", || {
        let value = (&raw const value).cast::<c_void>();
        // SAFETY: `value` is good for reads of `LEN_OF_INT` bytes, because it points to a c_int
        // that outlives the call; setsockopt(2) only reads.
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value, LEN_OF_INT) }
    })?;
    Ok(())
}

/// Makes close reset the connection instead of ending it; see SO_LINGER in socket(7).
pub(crate) fn set_zero_linger(fd: BorrowedFd<'_>) -> io::Result<()> {
    const LEN: socklen_t = size_of::<libc::linger>() as socklen_t;
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    retry("setsockopt", || {
        let value = (&raw const linger).cast::<c_void>();
        // SAFETY: `value` is good for reads of `LEN` bytes, because it points to a `linger` that
        // outlives the call; setsockopt(2) only reads.
        unsafe {
            libc::setsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                value,
                LEN,
            )
        }
    })?;
    Ok(())
}

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

/// Which of `events`, POLLERR and POLLHUP hold at this moment; never waits.
fn poll_now(fd: BorrowedFd<'_>, events: c_short) -> io::Result<c_short> {
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

/// The most iovecs one call takes. readv(2): IOV_MAX, on Linux UIO_MAXIOV = 1024; one more is
/// EINVAL.
const MOST_IOVECS: usize = 1024;

/// send(2): EPIPE without the signal, EAGAIN without waiting; see the head of this file.
const SEND_FLAGS: c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;

const LEN_OF_INT: socklen_t = size_of::<c_int>() as socklen_t;

/// Which buffers go to the kernel in one call: at most [`MOST_IOVECS`], from the first that is not
/// empty. With 1024 empty ones in front, a read would return 0, which means the end of the stream.
fn window<B: Deref<Target = [u8]>>(bufs: &[B]) -> Range<usize> {
    let start = bufs
        .iter()
        .position(|buf| !buf.is_empty())
        .unwrap_or(bufs.len());
    start..bufs.len().min(start + MOST_IOVECS)
}

/// A msghdr of these buffers, without address and control data.
fn message(iovecs: *mut libc::iovec, count: usize) -> libc::msghdr {
    // Not a literal, because some C libraries have private padding in it.
    // SAFETY: all bytes zero are a value of msghdr, because it consists of integers and raw
    // pointers only (recv(2)).
    let mut message = unsafe { mem::zeroed::<libc::msghdr>() };
    message.msg_iov = iovecs;
    message.msg_iovlen = count as _; // size_t in glibc, int in musl; at most 1024.
    message
}

/// A sockaddr_in (ip(7)) or sockaddr_in6 (ipv6(7)), byte for byte as the kernel has it.
///
/// Bytes, so that both ways are safe code: reading a field of a C struct that the kernel may have
/// filled only in part would take a proof for each.
#[repr(C)]
pub(crate) struct SockAddr {
    bytes: [u8; ROOM],
    /// At most `ROOM`, unless the kernel had to cut an address: then its whole length (accept(2)).
    len: socklen_t,
}

/// sockaddr_in6 is the longer of the two.
const ROOM: usize = size_of::<sockaddr_in6>();

impl SockAddr {
    const EMPTY: Self = Self {
        bytes: [0; ROOM],
        len: ROOM as socklen_t,
    };

    pub(crate) fn encode(address: &SocketAddr) -> Self {
        let (domain, len) = match address {
            SocketAddr::V4(_) => (libc::AF_INET, size_of::<sockaddr_in>()),
            SocketAddr::V6(_) => (libc::AF_INET6, size_of::<sockaddr_in6>()),
        };
        let mut name = Self {
            bytes: [0; ROOM],
            len: len as socklen_t,
        };
        // ip(7), ipv6(7): port and address in network order, the rest in the host's. Both structs
        // start alike, with the family and the port. flowinfo goes through as std passes it, so
        // that both show the same number.
        let family = domain as sa_family_t; // 2 or 10.
        name.put(offset_of!(sockaddr_in, sin_family), family.to_ne_bytes());
        name.put(
            offset_of!(sockaddr_in, sin_port),
            address.port().to_be_bytes(),
        );
        match address {
            SocketAddr::V4(v4) => {
                name.put(offset_of!(sockaddr_in, sin_addr), v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                let (flow, scope) = (v6.flowinfo().to_ne_bytes(), v6.scope_id().to_ne_bytes());
                name.put(offset_of!(sockaddr_in6, sin6_flowinfo), flow);
                name.put(offset_of!(sockaddr_in6, sin6_addr), v6.ip().octets());
                name.put(offset_of!(sockaddr_in6, sin6_scope_id), scope);
            }
        }
        name
    }

    /// The bytes that are the address.
    pub(crate) fn written(&self) -> &[u8] {
        &self.bytes[..ROOM.min(self.len as usize)]
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&value);
    }

    /// Good for reads of `len` bytes of an encoded address: `encode` sets `len` to the size of a
    /// struct that fits into `bytes`.
    fn as_ptr(&self) -> *const sockaddr {
        ptr::from_ref(&self.bytes).cast::<sockaddr>()
    }

    /// What accept4(2) and getpeername(2) want: where to write, and the room there, which they
    /// overwrite with the length of the address.
    fn as_out_parameters(&mut self) -> (*mut sockaddr, *mut socklen_t) {
        self.len = ROOM as socklen_t;
        (
            ptr::from_mut(&mut self.bytes).cast::<sockaddr>(),
            &raw mut self.len,
        )
    }
}

/// Reads the address that the kernel wrote.
///
/// # Errors
/// `InvalidData` if it is neither an IPv4 nor an IPv6 address, or is cut short.
pub(crate) fn decode(written: &[u8]) -> io::Result<SocketAddr> {
    parse(written).ok_or_else(|| {
        let text = "the peer's address is neither IPv4 nor IPv6: this is not an internet socket";
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

fn parse(written: &[u8]) -> Option<SocketAddr> {
    let family = field(written, offset_of!(sockaddr_in, sin_family))?;
    let port = field(written, offset_of!(sockaddr_in, sin_port))?;
    let port = u16::from_be_bytes(port);
    match c_int::from(sa_family_t::from_ne_bytes(family)) {
        libc::AF_INET => {
            let ip: [u8; 4] = field(written, offset_of!(sockaddr_in, sin_addr))?;
            Some((ip, port).into())
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = field(written, offset_of!(sockaddr_in6, sin6_addr))?;
            let flow = field(written, offset_of!(sockaddr_in6, sin6_flowinfo))?;
            let scope = field(written, offset_of!(sockaddr_in6, sin6_scope_id))?;
            let (flow, scope) = (u32::from_ne_bytes(flow), u32::from_ne_bytes(scope));
            Some(SocketAddrV6::new(ip.into(), port, flow, scope).into())
        }
        _ => None,
    }
}

/// `None` if the kernel wrote less.
fn field<const N: usize>(written: &[u8], at: usize) -> Option<[u8; N]> {
    written.get(at..)?.first_chunk().copied()
}

/// [`retry`] for a call that moves bytes.
fn transfer(name: &'static str, call: impl FnMut() -> isize) -> io::Result<usize> {
    // Nothing is lost: no call returns less than the -1 that `checked` made an error.
    retry(name, call).map(isize::unsigned_abs)
}

/// Makes a system call again for as long as it says EINTR. signal(7): a handler without SA_RESTART
/// interrupts any slow call. Not for connect(2) and close(2); see the head of this file.
fn retry<T: PartialEq + From<i8>>(
    name: &'static str,
    mut call: impl FnMut() -> T,
) -> io::Result<T> {
    loop {
        match checked(name, &mut call) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// Makes a system call once, and an `io::Error` of errno if it returns -1 (intro(2)).
fn checked<T: PartialEq + From<i8>>(name: &'static str, call: impl FnOnce() -> T) -> io::Result<T> {
    // accept(2): a firewall's, and of what does not listen. The listener names them if need be.
    let accepting = [libc::EPERM, libc::EINVAL, libc::EOPNOTSUPP];
    checked_as(name, call, |errno| {
        name == "accept4" && accepting.contains(&errno)
    })
}

/// As [`checked`]. An error by which a sandbox may have refused the call gets its name, because a seccomp
/// filter says what it likes, and "Operation not permitted" alone does not tell what to allow; but not
/// where the errno has a meaning of its own that callers act on.
#[inline]
fn checked_as<T: PartialEq + From<i8>>(
    name: &'static str,
    call: impl FnOnce() -> T,
    has_own_meaning: impl FnOnce(c_int) -> bool,
) -> io::Result<T> {
    if let Some(fault) = faults::take(name) {
        return Err(fault);
    }
    let outcome = call();
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
    Err(if named { refused(name, &error) } else { error })
}

/// As [`checked`], of a call whose errors may be those of its address.
fn checked_for<T: PartialEq + From<i8>>(
    address: &SocketAddr,
    name: &'static str,
    call: impl FnOnce() -> T,
) -> io::Result<T> {
    // ipv6(7): an address of a link, or of a group there, without the link.
    let lacks_scope = match address {
        SocketAddr::V4(_) => false,
        SocketAddr::V6(v6) if v6.scope_id() != 0 => false,
        SocketAddr::V6(v6) => v6.ip().is_unicast_link_local() || v6.ip().is_multicast(),
    };
    checked_as(name, call, |errno| match errno {
        // ip(7): the ports for which it takes a privilege.
        libc::EACCES => name == "bind" && (1..1024).contains(&address.port()),
        libc::EINVAL => lacks_scope,
        _ => false,
    })
}

/// True of an error by which a sandbox may have refused the call.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), PermissionDenied | Unsupported | InvalidInput)
}

/// The error of a call that was refused, of the same kind, with its name and the cure.
#[cold]
pub(crate) fn refused(name: &str, error: &io::Error) -> io::Error {
    let text =
        format!("{name}(2): {error}; if a sandbox or a firewall refuses it, that must allow it");
    io::Error::new(error.kind(), text)
}

#[cfg(not(test))]
mod faults {
    /// No faults but the kernel's; the compiler removes this.
    pub(super) fn take(_: &'static str) -> Option<std::io::Error> {
        None
    }
}

/// Errors that a unit test wants instead of a system call, on its own thread.
#[cfg(test)]
pub(crate) mod faults {
    use std::cell::RefCell;
    use std::io;

    thread_local! {
        static FAULTS: RefCell<Vec<(&'static str, i32)>> = const { RefCell::new(Vec::new()) };
    }

    /// Lets the next call of this name fail with `errno`; several for one name take turns.
    pub(crate) fn inject(name: &'static str, errno: i32) {
        FAULTS.with_borrow_mut(|faults| faults.push((name, errno)));
    }

    pub(super) fn take(name: &'static str) -> Option<io::Error> {
        FAULTS.with_borrow_mut(|faults| {
            let at = faults.iter().position(|fault| fault.0 == name)?;
            Some(io::Error::from_raw_os_error(faults.remove(at).1))
        })
    }
}
