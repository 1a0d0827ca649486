//! A TCP socket before it is connected or listens.
//!
//! Idea: it is a number that the kernel knows, and nothing of the runtime's: `connect` makes a [`TcpStream`] of it, `listen` a
//! [`TcpListener`], and these are registered when they first wait.
//!
//! Interface: [`TcpSocket`]; its options are in `tcp::options`.
//! Invariants:
//! - What other code may hold, because it was made of std's socket or was handed out, is ours alone never again
//!   (R10), and is put into non-blocking mode once more: connect(2) has no flag for a single call.
//! - What the kernel would refuse by EINVAL is refused here, with the reason: EINVAL looks as if a sandbox had refused
//!   the call.
//!
//! Read before: `tcp::stream`, `listener`. Read next: `tcp::options`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::methods::refuse_in_child;
use super::super::options::invalid;
use super::super::sys::{self, SockAddr};
use super::listener::TcpListener;
use super::stream::TcpStream;
use crate::task::coop::consume_budget;

/// A TCP socket that is neither connected nor listens: for what must be said before, as the address from which it connects,
/// or the number of connections that may wait. [`TcpStream::connect`] and [`TcpListener::bind`] do without.
///
/// # Examples
/// A connection from an address of one's own choice:
/// ```
/// use reveille::net::{TcpListener, TcpSocket};
///
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let server = listener.local_addr()?;
/// let socket = TcpSocket::new_v4()?;
/// socket.bind("127.0.0.2:0".parse().unwrap())?;
/// let stream = socket.connect(server).await?;
/// assert_eq!(stream.local_addr()?.ip().to_string(), "127.0.0.2");
/// # std::io::Result::Ok(())
/// # }).unwrap();
/// ```
/// Several listeners at one address, one for each thread and its runtime, among which the kernel distributes the
/// connections; what they accept inherits the options:
/// ```
/// use reveille::net::{TcpListener, TcpSocket};
/// use std::net::SocketAddr;
///
/// fn shared_listener(address: SocketAddr) -> std::io::Result<TcpListener> {
///     let socket = match address {
///         SocketAddr::V4(_) => TcpSocket::new_v4()?,
///         SocketAddr::V6(_) => TcpSocket::new_v6()?,
///     };
///     socket.set_reuseaddr(true)?;
///     socket.set_reuseport(true)?;
///     socket.set_nodelay(true)?;
///     socket.bind(address)?;
///     socket.listen(4096)
/// }
/// # let first = shared_listener("127.0.0.1:0".parse().unwrap()).unwrap();
/// # let address = first.local_addr().unwrap();
///
/// let threads = [(); 2].map(|()| {
///     std::thread::spawn(move || {
///         reveille::block_on(async {
///             let listener = shared_listener(address)?;
///             // … accept …
/// #           assert!(listener.nodelay()?);
///             std::io::Result::Ok(())
///         })
///     })
/// });
/// # for thread in threads { thread.join().unwrap().unwrap(); }
/// ```
pub struct TcpSocket {
    /// Not connected; std's type, because it tells the address and closes the socket.
    socket: std::net::TcpStream,
    /// False once other code may hold the socket.
    ours_alone: AtomicBool,
}

impl TcpSocket {
    /// Makes a socket for IPv4: socket(2).
    ///
    /// # Errors
    /// EMFILE, ENFILE: socket(2).
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::for_family_of(([0; 4], 0).into())
    }

    /// Makes a socket for IPv6: socket(2). Unless [`only_v6`](TcpSocket::set_only_v6) is set, it serves IPv4 as well, at
    /// addresses that look like `[::ffff:192.0.2.1]`.
    ///
    /// # Errors
    /// EMFILE, ENFILE, EAFNOSUPPORT: socket(2).
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::for_family_of(([0; 16], 0).into())
    }

    /// Makes a socket of the family of `address`.
    fn for_family_of(address: SocketAddr) -> io::Result<TcpSocket> {
        Ok(TcpSocket {
            socket: sys::stream_socket(&address)?.into(),
            ours_alone: AtomicBool::new(true),
        })
    }

    /// Takes a socket that other code made, socket2's `Socket` for example, as std's stream. It must be neither connected
    /// nor listen; it is put into non-blocking mode by [`connect`](TcpSocket::connect) or [`listen`](TcpSocket::listen).
    ///
    /// # Examples
    /// ```
    /// use std::os::fd::OwnedFd;
    /// use reveille::net::TcpSocket;
    ///
    /// # fn made_by_other_code() -> std::io::Result<OwnedFd> {
    /// #     std::os::fd::AsFd::as_fd(&TcpSocket::new_v4()?).try_clone_to_owned()
    /// # }
    /// # fn main() -> std::io::Result<()> {
    /// # reveille::block_on(async {
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let server = listener.local_addr()?;
    /// // With an option, say, that there is no method for here.
    /// let fd: OwnedFd = made_by_other_code()?;
    /// let socket = TcpSocket::from_std_stream(fd.into());
    /// let stream = socket.connect(server).await?;
    /// # assert_eq!(stream.peer_addr()?, server);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn from_std_stream(stream: std::net::TcpStream) -> TcpSocket {
        TcpSocket {
            socket: stream,
            ours_alone: AtomicBool::new(false),
        }
    }

    /// Binds the socket to a local address; port 0 takes a free one: bind(2).
    ///
    /// # Errors
    /// `InvalidInput` if the address is of the other family, or the socket is bound already; EADDRINUSE, EADDRNOTAVAIL,
    /// EACCES (ports below 1024): bind(2).
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.refuse_other_family(&address)?;
        self.refuse_if_bound()?;
        sys::bind(self.socket(), &SockAddr::encode(&address))
    }

    /// Connects the socket to an address. If it is not bound, the kernel chooses where it connects from.
    ///
    /// # Errors
    /// `InvalidInput` if the address is of the other family; EADDRNOTAVAIL if no port is free for this address; else as
    /// [`TcpStream::connect`] with one address. A connection with itself counts as refused here, too.
    ///
    /// # Cancel safety
    /// Safe: a future that is dropped early closes the socket. There is no time limit but the kernel's, of about two
    /// minutes: wrap the future in a [`timeout`](crate::time::timeout).
    pub async fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        // It may fail, or connect, at once, and so may the next.
        consume_budget().await;
        self.refuse_other_family(&address)?;
        let (socket, ours_alone) = self.into_parts()?;
        TcpStream::connected_by(socket, ours_alone, address).await
    }

    /// Makes a listener of the socket: listen(2). `backlog` is how many connections may wait for
    /// [`accept`](TcpListener::accept), and Linux has room for one more; the kernel cuts it at net.core.somaxconn, of 4096
    /// by default. When there is no room, the first packets of further peers are dropped, and these try again after 1 s.
    /// A socket that is not bound gets a free port at all addresses.
    ///
    /// # Errors
    /// `InvalidInput` if the socket is connected; EADDRINUSE if another one listens there: listen(2).
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        if self.socket.peer_addr().is_ok() {
            let text = "the socket is connected, so it cannot listen";
            return Err(invalid(text.to_owned()));
        }
        let (socket, ours_alone) = self.into_parts()?;
        sys::listen(socket.as_fd(), backlog)?;
        TcpListener::new(socket.into(), ours_alone)
    }

    /// The address to which the socket is bound; "any" with port 0 if to none.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket in non-blocking mode, and whether it is ours alone.
    fn into_parts(self) -> io::Result<(OwnedFd, bool)> {
        refuse_in_child(self.socket())?;
        let ours_alone = self.ours_alone.into_inner();
        if !ours_alone {
            sys::keep_nonblocking(self.socket.as_fd())?;
        }
        Ok((self.socket.into(), ours_alone))
    }

    /// An error if the address and the socket are not of one family.
    fn refuse_other_family(&self, address: &SocketAddr) -> io::Result<()> {
        // Where a sandbox refuses getsockname(2), the kernel decides.
        match self.local_addr() {
            Ok(local) if local.is_ipv4() != address.is_ipv4() => {
                let (family, constructor) = match address {
                    SocketAddr::V4(_) => ("IPv4", "TcpSocket::new_v4"),
                    SocketAddr::V6(_) => ("IPv6", "TcpSocket::new_v6"),
                };
                Err(invalid(format!(
                    "`{address}` is an address of {family}, and the socket is not: make it by `{constructor}`"
                )))
            }
            _ => Ok(()),
        }
    }

    /// An error if the socket is bound to a port.
    pub(super) fn refuse_if_bound(&self) -> io::Result<()> {
        match self.local_addr() {
            Ok(local) if local.port() != 0 => Err(invalid(format!(
                "the socket is bound already, to `{local}`"
            ))),
            _ => Ok(()),
        }
    }

    /// The socket, for calls by `net`: this does not hand it out.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        // Not `self.as_fd()`, after which no short read proves anything.
        self.socket.as_fd()
    }
}

impl AsFd for TcpSocket {
    /// Hands out the socket. From then on it may be shared: what comes of it is like a stream or a
    /// [listener](TcpListener#sharing) that was handed out.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours_alone.store(false, Ordering::Relaxed);
        self.socket()
    }
}

impl AsRawFd for TcpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpSocket")
            .field("local", &self.local_addr().ok())
            .field("fd", &self.socket.as_raw_fd())
            .finish()
    }
}
