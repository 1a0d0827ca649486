//! Options of sockets, where std's types do not serve.
//!
//! Interface: [`take_error`], [`is_listening`], [`linger`] and [`quickack`] ask; [`set_reuse_address`],
//! [`set_zero_linger`] and [`set_quickack`] set; [`get`] and [`set`] do either with any option that is an [`Int`].
//! Invariant: an option's value has the type and the length that the kernel expects.
//! Read next: `tcp::stream`; socket(7), tcp(7).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, c_void, socklen_t};

use super::{is_refusal, retry};

const LEN_OF_INT: socklen_t = size_of::<c_int>() as socklen_t;

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
    // To the kernel a value that does not fit into an int is a large number, not a negative one.
    Ok((linger.l_onoff != 0).then_some(linger.l_linger as u32))
}

/// True if acknowledgments are sent at once: TCP_QUICKACK, tcp(7).
pub(crate) fn quickack(fd: BorrowedFd<'_>) -> io::Result<bool> {
    int_option_at(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK).map(|on| on != 0)
}

/// Sets whether acknowledgments are sent at once; the kernel may change that later.
pub(crate) fn set_quickack(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    set_int_option(fd, libc::IPPROTO_TCP, libc::TCP_QUICKACK, on.into())
}

/// An option that is an int, by its level and its name.
#[derive(Clone, Copy)]
pub(crate) struct Int(c_int, c_int);

impl Int {
    /// Whether the kernel asks a silent peer if it is still there: socket(7).
    pub(crate) const KEEPALIVE: Int = Int(libc::SOL_SOCKET, libc::SO_KEEPALIVE);
    /// After so many seconds of silence: tcp(7), as the next three.
    pub(crate) const KEEPALIVE_TIME: Int = Int(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE);
    /// And so many seconds later again.
    pub(crate) const KEEPALIVE_INTERVAL: Int = Int(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL);
    /// So often.
    pub(crate) const KEEPALIVE_RETRIES: Int = Int(libc::IPPROTO_TCP, libc::TCP_KEEPCNT);
    /// How long what was sent may stay unacknowledged, in milliseconds; 0 is the system's limit.
    pub(crate) const USER_TIMEOUT: Int = Int(libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT);
    /// The room for what is to be sent, in bytes: socket(7), as the next.
    pub(crate) const SEND_BUFFER: Int = Int(libc::SOL_SOCKET, libc::SO_SNDBUF);
    /// The room for what was received, in bytes.
    pub(crate) const RECV_BUFFER: Int = Int(libc::SOL_SOCKET, libc::SO_RCVBUF);
    /// Where a peek begins; -1 is at the first byte that has not been received: socket(7).
    pub(crate) const PEEK_OFFSET: Int = Int(libc::SOL_SOCKET, libc::SO_PEEK_OFF);
    /// Into how many bytes what is sent is cut; 0 is not at all: udp(7), as the next.
    pub(crate) const UDP_SEGMENT: Int = Int(libc::SOL_UDP, libc::UDP_SEGMENT);
    /// Whether datagrams that were received are glued together.
    pub(crate) const UDP_GRO: Int = Int(libc::SOL_UDP, libc::UDP_GRO);
    /// The byte of a packet that has its class and its mark of congestion: ip(7), as those of IPv4 below.
    pub(crate) const TOS: Int = Int(libc::IPPROTO_IP, libc::IP_TOS);
    /// Whether that byte is told with what is received.
    pub(crate) const RECV_TOS: Int = Int(libc::IPPROTO_IP, libc::IP_RECVTOS);
    /// Whether the address is told that a datagram was sent to.
    pub(crate) const RECV_PKTINFO: Int = Int(libc::IPPROTO_IP, libc::IP_PKTINFO);
    /// From which interface multicast is sent: an address of ours, in the order of the network.
    pub(crate) const MULTICAST_IF: Int = Int(libc::IPPROTO_IP, libc::IP_MULTICAST_IF);
    /// As [`TOS`](Int::TOS), for IPv6: ipv6(7), as those below.
    pub(crate) const TCLASS: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_TCLASS);
    /// As [`RECV_TOS`](Int::RECV_TOS), for IPv6.
    pub(crate) const RECV_TCLASS: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS);
    /// As [`RECV_PKTINFO`](Int::RECV_PKTINFO), for IPv6.
    pub(crate) const RECV_PKTINFO_V6: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO);
    /// From which interface multicast is sent, by its index; 0 is the system's choice.
    pub(crate) const MULTICAST_IF_V6: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF);
    /// How many routers multicast passes.
    pub(crate) const MULTICAST_HOPS_V6: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS);
}

/// The value of an option.
pub(crate) fn get(fd: BorrowedFd<'_>, Int(level, option): Int) -> io::Result<c_int> {
    int_option_at(fd, level, option)
}

/// Sets the value of an option.
pub(crate) fn set(fd: BorrowedFd<'_>, Int(level, option): Int, value: c_int) -> io::Result<()> {
    set_int_option(fd, level, option, value)
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

/// Lets a listener take a port that has old connections in TIME_WAIT; see socket(7).
///
/// Call it before `bind`. Linux wants the option on both listeners, the old one and the new. Where a
/// sandbox refuses the call, the listener works without it.
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
