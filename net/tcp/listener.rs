//! A TCP listener.
//!
//! Interface: [`TcpListener::bind`], [`accept`](TcpListener::accept).
//! Read before: `accept`. Read next: `tcp::stream`.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use super::super::accept::{Acceptor, BACKLOG, Connection};
use super::super::addr::ToSocketAddrs;
use super::super::methods::refuse_in_child;
use super::super::sys::{self, SockAddr};
use super::super::tried::in_turn;
use super::stream::TcpStream;

/// Accepts TCP connections. Dropping it ends the listening, unless other code holds the socket, too: from then on a
/// connect is refused, and the connections that wait to be accepted are reset.
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
    /// The engine, which holds the socket.
    acceptor: Acceptor<TcpStream>,
}

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
            // Before a peer can connect, which would be reset.
            refuse_in_child(socket.as_fd())?;
            sys::set_reuse_address(socket.as_fd(), true)?;
            sys::bind(socket.as_fd(), &SockAddr::encode(&address))?;
            sys::listen(socket.as_fd(), BACKLOG)?;
            TcpListener::new(std::net::TcpListener::from(socket), true)
        })
        .await
    }

    /// Wraps a listener in non-blocking mode, which is ours alone or may be shared.
    pub(super) fn new(
        listener: std::net::TcpListener,
        ours_alone: bool,
    ) -> io::Result<TcpListener> {
        let acceptor = Acceptor::new(listener, ours_alone)?;
        Ok(TcpListener { acceptor })
    }

    /// Makes a `TcpListener` of std's listener, which is put into non-blocking mode.
    ///
    /// # Errors
    /// As ioctl(2) of FIONBIO; and always in the child of a process that had a runtime before it forked.
    ///
    /// # Examples
    /// A listener that other code has made, as a service manager does for the programs that it starts:
    /// ```
    /// use reveille::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let inherited = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let address = inherited.local_addr()?;
    /// # let client = std::net::TcpStream::connect(address)?;
    /// let listener = reveille::block_on(async {
    ///     let listener = TcpListener::from_std(inherited)?;
    ///     let (stream, peer) = listener.accept().await?;
    ///     // … serve …
    /// #   assert_eq!(peer, client.local_addr()?);
    ///     listener.into_std() // For whatever listens next.
    /// })?;
    /// // Meanwhile, connections wait in the backlog.
    /// let client = std::net::TcpStream::connect(address)?;
    /// # listener.set_nonblocking(false)?;
    /// # assert_eq!(listener.accept()?.1, client.local_addr()?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_std(listener: std::net::TcpListener) -> io::Result<TcpListener> {
        refuse_in_child(listener.as_fd())?;
        listener.set_nonblocking(true)?;
        TcpListener::new(listener, false)
    }

    /// Gives back std's listener, in non-blocking mode and deregistered.
    ///
    /// # Errors
    /// None today.
    ///
    /// # Examples
    /// See [`from_std`](TcpListener::from_std).
    pub fn into_std(self) -> io::Result<std::net::TcpListener> {
        Ok(self.acceptor.into_inner())
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
    /// datagrams; those of waiting, see [`AsyncFd::readable`](crate::io::AsyncFd::readable); outside a
    /// runtime, where `accept` cannot pause, also those of the limit.
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns a connection takes it from the backlog.
    pub fn accept(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> {
        self.acceptor.accept()
    }

    /// Polls for the next connection. At the limit of descriptors or memory it returns the error,
    /// as [`try_accept`](TcpListener::try_accept) does.
    ///
    /// # Errors
    /// As [`accept`](TcpListener::accept), and EMFILE, ENFILE, ENOBUFS, ENOMEM.
    ///
    /// # Examples
    /// One task accepts at two addresses:
    /// ```
    /// use std::future::poll_fn;
    /// use std::task::Poll;
    /// use reveille::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # reveille::block_on(async {
    /// let a = TcpListener::bind("127.0.0.1:0").await?;
    /// let b = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(b.local_addr()?).await?;
    /// let (_server, peer) = poll_fn(|cx| match a.poll_accept(cx) {
    ///     Poll::Pending => b.poll_accept(cx),
    ///     ready => ready,
    /// })
    /// .await?;
    /// assert_eq!(peer, client.local_addr()?);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.acceptor.poll_accept(cx)
    }

    /// Accepts a connection if one is waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; EMFILE, ENFILE, ENOBUFS, ENOMEM at the limit, where the connection stays
    /// in the backlog, and no event will announce it again: try again later. Else as
    /// [`accept`](TcpListener::accept).
    ///
    /// # Examples
    /// After one wait, all connections that are there:
    /// ```
    /// use std::io::ErrorKind;
    /// use reveille::net::TcpListener;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # reveille::block_on(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let address = listener.local_addr()?;
    /// # let clients = [(); 3].map(|()| std::net::TcpStream::connect(address).unwrap());
    /// let mut accepted = Vec::new();
    /// # while accepted.len() < clients.len() {
    /// accepted.push(listener.accept().await?);
    /// loop {
    ///     match listener.try_accept() {
    ///         Ok(another) => accepted.push(another),
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// # }
    /// assert_eq!(accepted.len(), clients.len());
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn try_accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.acceptor.try_accept()
    }

    /// The address at which it listens.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.acceptor.get_ref().local_addr()
    }

    /// The socket, for calls by `net`: this does not hand it out.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        // Not `self.as_fd()`, after which the listener may be shared.
        self.acceptor.get_ref().as_fd()
    }
}

impl Connection for TcpStream {
    type Listener = std::net::TcpListener;
    type Peer = SocketAddr;

    fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
        sys::accept(listener)
    }

    fn accepted(socket: OwnedFd, ours_alone: bool) -> io::Result<TcpStream> {
        TcpStream::of(socket, ours_alone)
    }
}

impl AsFd for TcpListener {
    /// Hands out the socket. From then on it may be shared; see [Sharing](TcpListener#sharing).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.acceptor.lend()
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
        self.acceptor.get_ref().fmt(f)
    }
}
