//! Options of sockets, where std's types do not serve.
//!
//! Interface: [`get`] and [`set`], for any option that is an [`Int`], [`get_bytes`] and [`set_bytes`], for those that are
//! [`Bytes`], and [`count`], for what the kernel counts; on them [`take_error`], [`is_listening`], [`linger`],
//! [`peer_pidfd`], [`set_reuse_address`] and [`set_zero_linger`].
//! Invariants:
//! - An option's value has the type and the length that the kernel expects.
//! - A length that the kernel returns is believed only as far as the room that it was given.
//!
//! Read next: `net::options`; socket(7), ip(7), ipv6(7), tcp(7).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_ulong, c_void, socklen_t};

use super::{is_refusal, retry};

/// The length of the value of an [`Int`], in bytes.
const LEN_OF_INT: socklen_t = size_of::<c_int>() as socklen_t;

/// Takes the socket's pending error, if it has one. socket(7), SO_ERROR: reading clears it.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<Option<io::Error>> {
    let errno = get(fd, Int(libc::SOL_SOCKET, libc::SO_ERROR))?;
    Ok((errno != 0).then(|| io::Error::from_raw_os_error(errno)))
}

/// True if listen(2) was called on the socket: SO_ACCEPTCONN, socket(7).
pub(crate) fn is_listening(fd: BorrowedFd<'_>) -> io::Result<bool> {
    get(fd, Int(libc::SOL_SOCKET, libc::SO_ACCEPTCONN)).map(|listening| listening != 0)
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

/// A descriptor for the process at the other end of a Unix socket: SO_PEERPIDFD. A pidfd is close-on-exec by itself:
/// pidfd_open(2).
pub(crate) fn peer_pidfd(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let pidfd = get(fd, Int::PEER_PIDFD)?;
    // SAFETY: `pidfd` is open and nothing else owns it, because getsockopt(2) succeeded, and for this option that means
    // that it has just made the descriptor it wrote (sk_getsockopt in net/core/sock.c).
    Ok(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

/// An option that is an int, by its level and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Int(c_int, c_int);

impl Int {
    /// The family of the socket's addresses: socket(7).
    pub(crate) const DOMAIN: Int = Int(libc::SOL_SOCKET, libc::SO_DOMAIN);
    /// Whether a port may be taken that has old connections in TIME_WAIT: socket(7), as the next.
    pub(crate) const REUSE_ADDRESS: Int = Int(libc::SOL_SOCKET, libc::SO_REUSEADDR);
    /// Whether several sockets may be bound to one port, and share what comes.
    pub(crate) const REUSE_PORT: Int = Int(libc::SOL_SOCKET, libc::SO_REUSEPORT);
    /// Whether a bind to port 0 leaves the choice of the port to connect: ip(7), as the next two.
    pub(crate) const NO_PORT: Int = Int(libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT);
    /// How many routers an IPv4 packet may pass.
    pub(crate) const TTL: Int = Int(libc::IPPROTO_IP, libc::IP_TTL);
    /// The type of service of IPv4 packets.
    pub(crate) const TOS: Int = Int(libc::IPPROTO_IP, libc::IP_TOS);
    /// How many routers an IPv6 packet may pass: ipv6(7), as the next two.
    pub(crate) const HOPS: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS);
    /// The traffic class of IPv6 packets.
    pub(crate) const TRAFFIC_CLASS: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_TCLASS);
    /// Whether an IPv6 socket has nothing to do with IPv4.
    pub(crate) const ONLY_V6: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_V6ONLY);
    /// Whether small writes are sent at once: tcp(7), as the next two.
    pub(crate) const NODELAY: Int = Int(libc::IPPROTO_TCP, libc::TCP_NODELAY);
    /// Whether acknowledgments are sent at once, until the kernel decides otherwise.
    pub(crate) const QUICKACK: Int = Int(libc::IPPROTO_TCP, libc::TCP_QUICKACK);
    /// How many connections may wait whose first packet brought data.
    pub(crate) const FASTOPEN: Int = Int(libc::IPPROTO_TCP, libc::TCP_FASTOPEN);
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
    /// Whether a packet may be cut: ip(7), as those of IPv4 below.
    pub(crate) const MTU_DISCOVER: Int = Int(libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
    /// Whether the type of service is told with what is received.
    pub(crate) const RECV_TOS: Int = Int(libc::IPPROTO_IP, libc::IP_RECVTOS);
    /// Whether the address is told that a datagram was sent to.
    pub(crate) const RECV_PKTINFO: Int = Int(libc::IPPROTO_IP, libc::IP_PKTINFO);
    /// From which interface multicast is sent: an address of ours, in the order of the network.
    pub(crate) const MULTICAST_IF: Int = Int(libc::IPPROTO_IP, libc::IP_MULTICAST_IF);
    /// As [`MTU_DISCOVER`](Int::MTU_DISCOVER), for IPv6: ipv6(7), as those below.
    pub(crate) const MTU_DISCOVER_V6: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER);
    /// As [`RECV_TOS`](Int::RECV_TOS), for IPv6.
    pub(crate) const RECV_TCLASS: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS);
    /// As [`RECV_PKTINFO`](Int::RECV_PKTINFO), for IPv6.
    pub(crate) const RECV_PKTINFO_V6: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO);
    /// From which interface multicast is sent, by its index; 0 is the system's choice.
    pub(crate) const MULTICAST_IF_V6: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_IF);
    /// Whether multicast comes back to this machine's members.
    pub(crate) const MULTICAST_LOOP_V6: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_LOOP);
    /// How many routers multicast passes.
    pub(crate) const MULTICAST_HOPS_V6: Int = Int(libc::IPPROTO_IPV6, libc::IPV6_MULTICAST_HOPS);
    /// Whether what arrives carries the credentials of its sender: unix(7).
    pub(crate) const PASSCRED: Int = Int(libc::SOL_SOCKET, libc::SO_PASSCRED);
    /// A descriptor of the process at the other end: a new one, each time it is asked for (linux/socket.h).
    pub(crate) const PEER_PIDFD: Int = Int(libc::SOL_SOCKET, libc::SO_PEERPIDFD);
}

/// The value of an option.
pub(crate) fn get(fd: BorrowedFd<'_>, Int(level, option): Int) -> io::Result<c_int> {
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

/// Sets the value of an option.
pub(crate) fn set(fd: BorrowedFd<'_>, Int(level, option): Int, value: c_int) -> io::Result<()> {
    retry("setsockopt", || {
        let value = (&raw const value).cast::<c_void>();
        // SAFETY: `value` is good for reads of `LEN_OF_INT` bytes, because it points to a c_int
        // that outlives the call; setsockopt(2) only reads.
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value, LEN_OF_INT) }
    })?;
    Ok(())
}

/// An option that is a number of bytes, by its level and its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(c_int, c_int);

impl Bytes {
    /// The name of the network device that the socket is bound to: socket(7).
    pub(crate) const DEVICE: Bytes = Bytes(libc::SOL_SOCKET, libc::SO_BINDTODEVICE);
    /// Who is at the other end of a Unix socket: unix(7).
    pub(crate) const PEER_CREDENTIALS: Bytes = Bytes(libc::SOL_SOCKET, libc::SO_PEERCRED);
    /// What TCP knows of a connection: tcp(7).
    pub(crate) const TCP_INFO: Bytes = Bytes(libc::IPPROTO_TCP, libc::TCP_INFO);
}

/// Writes the value of an option to `buf`, as far as there is room, and returns how many bytes that were.
pub(crate) fn get_bytes(
    fd: BorrowedFd<'_>,
    Bytes(level, option): Bytes,
    buf: &mut [u8],
) -> io::Result<usize> {
    let mut len = 0;
    retry("getsockopt", || {
        // No buffer here is as long as a socklen_t can say.
        len = socklen_t::try_from(buf.len()).unwrap_or(socklen_t::MAX);
        let (value, len) = (buf.as_mut_ptr().cast::<c_void>(), &raw mut len);
        // SAFETY: `value` is good for writes of `*len` bytes, because `*len` is at most the length of `buf`, which is
        // borrowed mutably for the whole call; getsockopt(2) writes at most that, and to `len` itself.
        unsafe { libc::getsockopt(fd.as_raw_fd(), level, option, value, len) }
    })?;
    Ok(buf.len().min(len as usize))
}

/// Sets the value of an option.
pub(crate) fn set_bytes(
    fd: BorrowedFd<'_>,
    Bytes(level, option): Bytes,
    value: &[u8],
) -> io::Result<()> {
    // No value here is as long as a socklen_t can say.
    let len = socklen_t::try_from(value.len()).unwrap_or(socklen_t::MAX);
    retry("setsockopt", || {
        let value = value.as_ptr().cast::<c_void>();
        // SAFETY: `value` is good for reads of `len` bytes, because that is at most the length of the slice, which is
        // borrowed for the whole call; setsockopt(2) only reads.
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, value, len) }
    })?;
    Ok(())
}

/// A number of bytes that the kernel counts, by its ioctl.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count(c_ulong);

impl Count {
    /// Those that arrived and were not read: SIOCINQ, tcp(7); FIONREAD, pipe(7).
    pub(crate) const UNREAD: Count = Count(libc::FIONREAD as c_ulong);
    /// Those that were written and not acknowledged: SIOCOUTQ, tcp(7), by its other name.
    pub(crate) const UNACKED: Count = Count(libc::TIOCOUTQ as c_ulong);
    /// Those of them that were not sent either: SIOCOUTQNSD, linux/sockios.h.
    pub(crate) const UNSENT: Count = Count(0x894B);
}

/// What the kernel counts at this moment, in bytes.
pub(crate) fn count(fd: BorrowedFd<'_>, Count(request): Count) -> io::Result<usize> {
    let mut bytes: c_int = 0;
    retry("ioctl", || {
        let bytes = &raw mut bytes;
        // The type of a request is unsigned long in glibc, and int in musl.
        // SAFETY: `bytes` is good for the write of an int, because it points to one that outlives the call, and each
        // request that a `Count` can have writes one int and nothing else.
        unsafe { libc::ioctl(fd.as_raw_fd(), request as _, bytes) }
    })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Lets a listener take a port that has old connections in TIME_WAIT; see socket(7).
///
/// Call it before `bind`. Linux wants the option on both listeners, the old one and the new. Where a
/// sandbox refuses the call, the listener works without it.
pub(crate) fn set_reuse_address(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    match set(fd, Int::REUSE_ADDRESS, on.into()) {
        Err(error) if !is_refusal(&error) => Err(error),
        _ => Ok(()),
    }
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
