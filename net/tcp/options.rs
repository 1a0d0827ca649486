//! The options of TCP: which type has which, and those that several have, written once.
//!
//! Idea: what can be set on a socket that is not connected yet can be set on a listener, too, whose connections inherit it,
//! and costs them no system call. So three types have most options.
//!
//! Interface: getters and setters of [`TcpSocket`], [`TcpStream`] and [`TcpListener`]; the table is on the page of
//! [`tcp`](super).
//!
//! Over 400 lines because each option has its contract, and each type has examples.
//! Read before: `net::options`. Read next: `keepalive`, `info`.

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::super::methods::{buffer_sizes, refuse_in_child, set_buffer_size};
use super::super::options::{
    bind_to_device, device, device_of, get_of_v6, invalid, ip_options, is_on, number, set_option,
};
use super::super::sys::{self, Int};
use super::keepalive::TcpKeepalive;
use super::listener::TcpListener;
use super::socket::TcpSocket;
use super::stream::TcpStream;

/// What a listener's connections inherit.
macro_rules! inherited {
    () => {
        /// True if small writes are sent at once, and not gathered first (TCP_NODELAY).
        ///
        /// # Errors
        /// As getsockopt(2).
        pub fn nodelay(&self) -> io::Result<bool> {
            is_on(self.socket(), Int::NODELAY)
        }

        /// Sets whether small writes are sent at once (tcp(7)). What a listener accepts inherits it, unless it waits already.
        ///
        /// # Errors
        /// As setsockopt(2).
        pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
            set_option(self.socket(), Int::NODELAY, nodelay.into())
        }

        /// True if the kernel asks a silent peer if it is still there (SO_KEEPALIVE).
        ///
        /// # Errors
        /// As getsockopt(2).
        pub fn keepalive(&self) -> io::Result<bool> {
            is_on(self.socket(), Int::KEEPALIVE)
        }

        /// Sets whether the kernel asks a silent peer if it is still there, as
        /// [`set_tcp_keepalive`](Self::set_tcp_keepalive) says, or else the system: after two hours (tcp(7)). What a
        /// listener accepts inherits it, unless it waits already.
        ///
        /// # Errors
        /// As setsockopt(2).
        pub fn set_keepalive(&self, keepalive: bool) -> io::Result<()> {
            set_option(self.socket(), Int::KEEPALIVE, keepalive.into())
        }

        /// When the kernel asks a silent peer, if [`keepalive`](Self::keepalive) says that it does.
        ///
        /// # Errors
        /// As getsockopt(2).
        pub fn tcp_keepalive(&self) -> io::Result<TcpKeepalive> {
            TcpKeepalive::of(self.socket())
        }

        /// Has the kernel ask a silent peer if it is still there, and says when. Without this, a connection whose peer
        /// has vanished lives for ever, unless something is sent. What a listener accepts inherits it, unless it waits already.
        ///
        /// # Errors
        /// `InvalidInput` for what is beyond the limits of [`TcpKeepalive`], and nothing is set; else as setsockopt(2).
        pub fn set_tcp_keepalive(&self, keepalive: &TcpKeepalive) -> io::Result<()> {
            refuse_in_child(self.socket())?;
            keepalive.give_to(self.socket())
        }

        /// How long what was sent may stay unacknowledged before the connection is broken; `None` if that is the system's
        /// limit, of some 15 minutes (TCP_USER_TIMEOUT, tcp(7)).
        ///
        /// # Errors
        /// As getsockopt(2).
        pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
            let millis = sys::get(self.socket(), Int::USER_TIMEOUT)?.unsigned_abs();
            Ok((millis > 0).then(|| Duration::from_millis(millis.into())))
        }

        /// Sets how long what was sent may stay unacknowledged, in milliseconds, of which parts count as one: from 1 ms to
        /// 24 days. `None` is the system's limit. It also takes the place of the retries of a
        /// [keepalive](Self::set_tcp_keepalive): a silent peer is given up at the first question after this time. What a
        /// listener accepts inherits it, unless it waits already.
        ///
        /// # Errors
        /// `InvalidInput` for another duration; else as setsockopt(2).
        pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            set_user_timeout(self.socket(), timeout)
        }
    };
}

/// What is about one connection, and not inherited.
macro_rules! of_one_connection {
    () => {
        /// How long the close waits for what has not been sent; `None` if it does not wait (SO_LINGER). There is
        /// no setter but [`set_zero_linger`](Self::set_zero_linger): with a linger of 2 s, the close of a
        /// non-blocking socket blocked its thread for 2.02 s.
        ///
        /// # Errors
        /// As getsockopt(2).
        pub fn linger(&self) -> io::Result<Option<Duration>> {
            let seconds = sys::linger(self.socket())?;
            Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
        }

        /// Makes the close reset the connection (SO_LINGER of zero): the peer sees ECONNRESET, bytes
        /// not yet sent are thrown away, and no TIME_WAIT remains. A linger of more than zero is not
        /// offered: it would block the thread in close(2), non-blocking or not.
        ///
        /// # Errors
        /// As setsockopt(2).
        pub fn set_zero_linger(&self) -> io::Result<()> {
            refuse_in_child(self.socket())?;
            sys::set_zero_linger(self.socket())
        }

        /// True if acknowledgments are sent at once, and not with the next data (TCP_QUICKACK).
        ///
        /// # Errors
        /// As getsockopt(2).
        pub fn quickack(&self) -> io::Result<bool> {
            is_on(self.socket(), Int::QUICKACK)
        }

        /// Sets whether acknowledgments are sent at once. The setting does not last: the kernel turns it on and
        /// off by itself (tcp(7)).
        ///
        /// # Errors
        /// As setsockopt(2).
        pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
            set_option(self.socket(), Int::QUICKACK, quickack.into())
        }

        /// Takes the error that is pending on the socket, if there is one (SO_ERROR). The socket has it no
        /// longer.
        ///
        /// # Errors
        /// As getsockopt(2).
        pub fn take_error(&self) -> io::Result<Option<io::Error>> {
            // A child would take the error from its parent.
            refuse_in_child(self.socket())?;
            sys::take_error(self.socket())
        }
    };
}

/// Options: the [table](super#options) says which type has which.
///
/// # Examples
/// The sizes of the buffers, which are to be set before the connection is made (tcp(7)), and the device by which it is
/// made:
/// ```
/// # use reveille::net::{TcpListener, TcpSocket};
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let server = listener.local_addr()?;
/// let socket = TcpSocket::new_v4()?;
/// socket.set_recv_buffer_size(50_000)?;
/// socket.set_send_buffer_size(20_000)?;
/// socket.bind_device(Some(b"lo"))?;
/// let stream = socket.connect(server).await?;
/// // The kernel has doubled them, for its own use.
/// assert_eq!((stream.recv_buffer_size()?, stream.send_buffer_size()?), (100_000, 40_000));
/// # Ok(())
/// # })
/// # }
/// ```
/// A listener for each family, at one port, and what their packets say to the routers:
/// ```
/// use reveille::net::{TcpListener, TcpSocket};
///
/// const EXPEDITED: u32 = 46 << 2; // RFC 3246; a DSCP is the upper six bits of the byte.
///
/// /// The error is `AddrInUse` if the port is free for IPv4 only.
/// fn listeners() -> std::io::Result<[TcpListener; 2]> {
///     let v4 = TcpSocket::new_v4()?;
///     v4.set_tos_v4(EXPEDITED)?;
///     v4.set_ttl(16)?;
///     v4.bind(([0; 4], 0).into())?;
///     let port = v4.local_addr()?.port();
///
///     let v6 = TcpSocket::new_v6()?;
///     v6.set_only_v6(true)?; // Else its port would be that for IPv4, too, which is taken.
///     v6.set_tclass_v6(EXPEDITED)?;
///     v6.set_unicast_hops_v6(16)?;
///     v6.bind(([0; 16], port).into())?;
///     Ok([v4.listen(1024)?, v6.listen(1024)?])
/// }
/// # if std::net::TcpListener::bind("[::1]:0").is_err() {
/// #     return Ok(()); // A machine without IPv6.
/// # }
/// # let [v4, v6] = loop {
/// #     match listeners() {
/// #         Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
/// #         listeners => break listeners?,
/// #     }
/// # };
/// # assert_eq!(v4.local_addr()?.port(), v6.local_addr()?.port());
/// # std::io::Result::Ok(())
/// ```
/// More connections than there are ports, from one address to different peers:
/// ```
/// # use reveille::net::{TcpListener, TcpSocket};
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let server = listener.local_addr()?;
/// let socket = TcpSocket::new_v4()?;
/// socket.set_bind_address_no_port(true)?;
/// socket.bind("127.0.0.2:0".parse().unwrap())?;
/// assert_eq!(socket.local_addr()?.port(), 0); // None was chosen yet.
/// let stream = socket.connect(server).await?;
/// assert_ne!(stream.local_addr()?.port(), 0);
/// # Ok(())
/// # })
/// # }
/// ```
impl TcpSocket {
    ip_options!();
    device!();
    buffer_sizes!();
    inherited!();
    of_one_connection!();

    /// True if the socket may be bound to a port with old connections (SO_REUSEADDR).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn reuseaddr(&self) -> io::Result<bool> {
        is_on(self.socket(), Int::REUSE_ADDRESS)
    }

    /// Sets whether the socket may be bound to a port that has old connections in TIME_WAIT, so that a server can be started
    /// again at once (socket(7)). It counts when the socket is bound. [`TcpListener::bind`] always sets it; here it is off.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_reuseaddr(&self, reuseaddr: bool) -> io::Result<()> {
        set_option(self.socket(), Int::REUSE_ADDRESS, reuseaddr.into())
    }

    /// True if other sockets may be bound to the same port (SO_REUSEPORT).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn reuseport(&self) -> io::Result<bool> {
        is_on(self.socket(), Int::REUSE_PORT)
    }

    /// Sets whether other sockets of the same user may be bound to the same address and port, if all of them have this
    /// option: the kernel distributes connections among those that listen (socket(7)). So each thread can have a runtime
    /// and a listener of its own. It counts when the socket is bound.
    ///
    /// A connection belongs to one listener from its first packet on. When that is dropped, the connections in its backlog
    /// are reset, and not handed to the others, unless net.ipv4.tcp_migrate_req says so.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_reuseport(&self, reuseport: bool) -> io::Result<()> {
        set_option(self.socket(), Int::REUSE_PORT, reuseport.into())
    }

    /// True if the socket has nothing to do with IPv4 (IPV6_V6ONLY).
    ///
    /// # Errors
    /// ENOPROTOOPT on a socket of IPv4; else as getsockopt(2).
    pub fn only_v6(&self) -> io::Result<bool> {
        Ok(get_of_v6(self.socket(), Int::ONLY_V6)? != 0)
    }

    /// Sets whether the socket has nothing to do with IPv4, before it is bound (ipv6(7)). If not, one that listens at
    /// `[::]` serves IPv4 as well, with peers that look like `[::ffff:192.0.2.1]`. The default is that of
    /// net.ipv6.bindv6only.
    ///
    /// # Errors
    /// `InvalidInput` if the socket is bound; ENOPROTOOPT on a socket of IPv4; else as setsockopt(2).
    pub fn set_only_v6(&self, only_v6: bool) -> io::Result<()> {
        self.refuse_if_bound()?;
        set_option(self.socket(), Int::ONLY_V6, only_v6.into())
    }

    /// True if a bind to port 0 chooses no port (IP_BIND_ADDRESS_NO_PORT).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn bind_address_no_port(&self) -> io::Result<bool> {
        is_on(self.socket(), Int::NO_PORT)
    }

    /// Sets whether a bind to port 0 leaves the choice of the port to `connect` (ip(7)), which knows the peer: then many
    /// connections from one address to different peers can share a port. Without it they end at the number of ports, of
    /// some 28,000 (net.ipv4.ip_local_port_range). It counts when the socket is bound.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_bind_address_no_port(&self, no_port: bool) -> io::Result<()> {
        set_option(self.socket(), Int::NO_PORT, no_port.into())
    }
}

/// Options: the [table](super#options) says which type has which.
///
/// # Examples
/// A server refuses to serve a client, and keeps nothing of the connection: no bytes, no TIME_WAIT.
/// ```
/// use std::io::ErrorKind;
/// use std::time::Duration;
/// # use reveille::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// assert_eq!(server.linger()?, None);
/// server.set_zero_linger()?;
/// assert_eq!(server.linger()?, Some(Duration::ZERO));
/// drop(server);
///
/// // The other side learns of it by an error, which a read would report, or which is taken.
/// client.readable().await?;
/// let error = client.take_error()?.expect("the connection was reset");
/// assert_eq!(error.kind(), ErrorKind::ConnectionReset);
/// assert!(client.take_error()?.is_none());
/// # Ok(())
/// # })
/// # }
/// ```
/// Each request is acknowledged at once, although its answer takes long:
/// ```
/// # use reveille::net::{TcpListener, TcpStream};
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// # client.write_all(b"request").await?;
/// # drop(client);
/// let mut request = vec![0; 1024];
/// while server.read(&mut request).await? > 0 {
///     server.set_quickack(true)?; // Each time, because it does not last.
///     // … answer …
/// }
/// # Ok(())
/// # })
/// # }
/// ```
impl TcpStream {
    ip_options!();
    buffer_sizes!();
    inherited!();
    of_one_connection!();
}

/// Options, which what it accepts inherits, unless it waits already: the [table](super#options) says which type has which.
///
/// # Examples
/// What is set once holds for all connections, and costs them no system call:
/// ```
/// use std::time::Duration;
/// use reveille::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// listener.set_nodelay(true)?;
/// listener.set_keepalive(true)?;
/// listener.set_user_timeout(Some(Duration::from_secs(30)))?;
/// listener.set_fastopen(16)?; // Of the listener itself.
///
/// let client = TcpStream::connect(listener.local_addr()?).await?;
/// let (server, _) = listener.accept().await?;
/// assert!(server.nodelay()? && server.keepalive()?);
/// assert_eq!(server.user_timeout()?, Some(Duration::from_secs(30)));
/// # assert_eq!(listener.fastopen()?, 16);
/// # Ok(())
/// # })
/// # }
/// ```
impl TcpListener {
    ip_options!();
    buffer_sizes!();
    inherited!();

    /// True if the listener has nothing to do with IPv4 (IPV6_V6ONLY); [`TcpSocket::set_only_v6`] sets that.
    ///
    /// # Errors
    /// ENOPROTOOPT on a socket of IPv4; else as getsockopt(2).
    pub fn only_v6(&self) -> io::Result<bool> {
        Ok(get_of_v6(self.socket(), Int::ONLY_V6)? != 0)
    }

    /// How many connections may wait whose first packet brought data (TCP_FASTOPEN).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn fastopen(&self) -> io::Result<u32> {
        Ok(sys::get(self.socket(), Int::FASTOPEN)?.unsigned_abs())
    }

    /// Sets how many connections may wait whose first packet brought data (TCP Fast Open, RFC 7413): such a peer has its
    /// answer one round trip earlier. The kernel cuts the number at net.core.somaxconn; 0, the default, is none. It takes
    /// effect if net.ipv4.tcp_fastopen has the bit 2.
    ///
    /// The network may repeat a first packet, and then the server sees the data twice: only for requests that may be
    /// repeated. There is nothing for the other side, because `connect` would then succeed without having sent anything.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_fastopen(&self, queue: u32) -> io::Result<()> {
        // A number that is no int would be a negative one to the kernel, which refuses it.
        let queue = libc::c_int::try_from(queue).unwrap_or(libc::c_int::MAX);
        set_option(self.socket(), Int::FASTOPEN, queue)
    }
}

/// Sets a user timeout, rounded up to milliseconds; the kernel takes 0 for the system's limit.
fn set_user_timeout(socket: BorrowedFd<'_>, timeout: Option<Duration>) -> io::Result<()> {
    let millis = |timeout: Duration| {
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        let millis = libc::c_int::try_from(millis)
            .ok()
            .filter(|&millis| millis > 0);
        let text = "a user timeout is from 1 ms to 2,147,483,647 ms";
        millis.ok_or_else(|| invalid(text.to_owned()))
    };
    let millis = timeout.map_or(Ok(0), millis)?;
    set_option(socket, Int::USER_TIMEOUT, millis)
}
