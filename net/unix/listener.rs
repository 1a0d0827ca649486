//! A Unix listener.
//!
//! Interface: [`UnixListener::bind`], [`accept`](UnixListener::accept).
//! Invariant: no file is ever removed: not the one of its socket, and not one in its way.
//! Read before: `accept`, `unix::addr`. Read next: `unix::stream`.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::task::{Context, Poll};

use super::super::accept::{Acceptor, BACKLOG, Connection};
use super::super::methods::refuse_in_child;
use super::super::sys::{self, UnixAddr};
use super::addr::address;
use super::stream::UnixStream;

/// Accepts connections to a path, or to an abstract name.
///
/// The file of the socket stays when the listener is dropped; see [After a crash](super#after-a-crash).
///
/// # Examples
/// ```
/// use reveille::net::{UnixListener, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// let path = std::env::temp_dir().join(format!("greetings-{}", std::process::id()));
/// reveille::block_on(async {
///     let listener = UnixListener::bind(&path)?;
///     let client = UnixStream::connect(&path).await?;
///     let (server, peer) = listener.accept().await?;
///     assert!(peer.is_unnamed()); // As most clients are.
///     server.write_all(b"hello").await?;
///     let mut buf = [0; 5];
///     client.read_exact(&mut buf).await?;
///     assert_eq!(&buf, b"hello");
///     std::fs::remove_file(&path)
/// })
/// # }
/// ```
///
/// # Sharing
/// As with a [`TcpListener`](crate::net::TcpListener#sharing): before each accept from a listener that was made by
/// [`from_std`](UnixListener::from_std), or handed out, O_NONBLOCK is set again if a sharer cleared it, and poll(2) says
/// whether a connection waits. Between that and the accept a sharer may still clear the flag *and* take the connection;
/// only a listener from which one process accepts is safe from that.
pub struct UnixListener {
    /// The socket, and how connections are taken from it.
    acceptor: Acceptor<UnixStream>,
}

impl UnixListener {
    /// Listens at a path, or at an abstract name, which begins with a NUL: `"\0name"`. The empty path lets the kernel choose
    /// an abstract name. Up to 1024 connections may wait for `accept`, and one more, if net.core.somaxconn allows so many.
    ///
    /// # Errors
    /// EADDRINUSE if there is a file, though nobody may listen there (see [After a crash](super#after-a-crash)); ENOENT,
    /// ENOTDIR, EACCES, EROFS: bind(2); EMFILE, ENFILE: socket(2); `InvalidInput` for a path or a name of more than 107
    /// bytes, and for a path with a NUL inside.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::bind_addr(&address(path.as_ref())?)
    }

    /// Listens at an address of the standard library's; see [`bind`](UnixListener::bind).
    ///
    /// # Errors
    /// As [`bind`](UnixListener::bind).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use std::os::linux::net::SocketAddrExt;
    /// use reveille::net::UnixListener;
    /// use reveille::net::unix::SocketAddr;
    ///
    /// # let name = format!("reveille-doc-listener-{}", std::process::id());
    /// // An abstract name: there is no file, so nothing has to be removed.
    /// let address = SocketAddr::from_abstract_name(&name)?;
    /// let listener = UnixListener::bind_addr(&address)?;
    /// let taken = UnixListener::bind_addr(&address).unwrap_err();
    /// assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    /// drop(listener); // From here on the name is free.
    /// UnixListener::bind_addr(&address)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        let socket = sys::socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
        // Before there is a file, which nothing would remove.
        refuse_in_child(socket.as_fd())?;
        sys::bind(socket.as_fd(), &UnixAddr::encode(address))?;
        UnixListener::listen(socket, BACKLOG, true)
    }

    /// Makes a listener of a socket that is bound.
    pub(super) fn listen(
        socket: OwnedFd,
        backlog: u32,
        ours_alone: bool,
    ) -> io::Result<UnixListener> {
        sys::listen(socket.as_fd(), backlog)?;
        UnixListener::new(socket.into(), ours_alone)
    }

    /// Wraps a socket that listens, in non-blocking mode; `ours_alone` unless other code may hold it.
    fn new(
        listener: std::os::unix::net::UnixListener,
        ours_alone: bool,
    ) -> io::Result<UnixListener> {
        let acceptor = Acceptor::new(listener, ours_alone)?;
        Ok(UnixListener { acceptor })
    }

    /// Makes a `UnixListener` of std's listener, which is put into non-blocking mode.
    ///
    /// # Errors
    /// As ioctl(2) of FIONBIO; and always in the child of a process that had a runtime before it forked.
    ///
    /// # Examples
    /// ```
    /// use reveille::net::{UnixListener, UnixStream};
    ///
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-from-std-{}", std::process::id()));
    /// // Other code has made the listener: a supervisor that passes it on, say.
    /// let listener = std::os::unix::net::UnixListener::bind(&path)?;
    /// # reveille::block_on(async {
    /// let listener = UnixListener::from_std(listener)?;
    /// let client = UnixStream::connect(&path).await?;
    ///
    /// // The connections that wait belong to the socket: std's listener gets them.
    /// let listener = listener.into_std()?;
    /// let (_server, _) = listener.accept()?;
    /// # drop(client);
    /// # std::fs::remove_file(&path)
    /// # }).unwrap();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
        refuse_in_child(listener.as_fd())?;
        listener.set_nonblocking(true)?;
        UnixListener::new(listener, false)
    }

    /// Gives back std's listener, in non-blocking mode and deregistered.
    ///
    /// # Errors
    /// None today.
    pub fn into_std(self) -> io::Result<std::os::unix::net::UnixListener> {
        Ok(self.acceptor.into_inner())
    }

    /// Accepts the next connection, and returns it with the address of its peer, which has no name unless it was bound.
    /// (std's type has no room for a path of 108 bytes without a NUL behind it; such a peer counts as unnamed here.)
    ///
    /// At the limit of descriptors or memory `accept` waits until there is room again: it tries every 10 to 160 ms, and
    /// logs at most once a second, while the connection stays in the backlog. To get the error instead, use
    /// [`try_accept`](UnixListener::try_accept).
    ///
    /// # Errors
    /// What else accept(2) reports: EINVAL if the socket does not listen, or a sharer has shut it down, EOPNOTSUPP if it is one of datagrams; those of
    /// waiting, see [`AsyncFd::readable`](crate::io::AsyncFd::readable); outside a runtime, where `accept` cannot pause,
    /// also those of the limit.
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns a connection takes it from the backlog.
    pub fn accept(&self) -> impl Future<Output = io::Result<(UnixStream, SocketAddr)>> {
        self.acceptor.accept()
    }

    /// Polls for the next connection. At the limit of descriptors or memory it returns the error,
    /// as [`try_accept`](UnixListener::try_accept) does.
    ///
    /// # Errors
    /// As [`accept`](UnixListener::accept), and EMFILE, ENFILE, ENOBUFS, ENOMEM.
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::io::Result;
    /// use std::task::Poll;
    /// use reveille::net::{UnixListener, UnixStream};
    ///
    /// /// Accepts from whichever listener has a connection; says by its position which one that was.
    /// async fn accept(listeners: &[UnixListener]) -> Result<(usize, UnixStream)> {
    ///     poll_fn(|cx| {
    ///         for (position, listener) in listeners.iter().enumerate() {
    ///             if let Poll::Ready(accepted) = listener.poll_accept(cx) {
    ///                 return Poll::Ready(accepted.map(|(stream, _)| (position, stream)));
    ///             }
    ///         }
    ///         Poll::Pending
    ///     })
    ///     .await
    /// }
    /// # reveille::block_on(async {
    /// let listeners = [UnixListener::bind("")?, UnixListener::bind("")?];
    /// let _client = UnixStream::connect_addr(&listeners[1].local_addr()?).await?;
    /// let (position, _server) = accept(&listeners).await?;
    /// assert_eq!(position, 1);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(UnixStream, SocketAddr)>> {
        self.acceptor.poll_accept(cx)
    }

    /// Accepts a connection if one is waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; EMFILE, ENFILE, ENOBUFS, ENOMEM at the limit, where the connection stays
    /// in the backlog, and no event will announce it again: try again later. Else as
    /// [`accept`](UnixListener::accept).
    ///
    /// # Examples
    /// ```
    /// use std::io::{ErrorKind, Result};
    /// use reveille::net::{UnixListener, UnixStream};
    ///
    /// /// Ends a server. The clients that wait are told, but for those that are gone.
    /// async fn refuse(listener: UnixListener) -> Result<()> {
    ///     loop {
    ///         match listener.try_accept() {
    ///             Ok((stream, _)) => drop(stream.write_all(b"closed").await),
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    /// }
    /// # reveille::block_on(async {
    /// let listener = UnixListener::bind("")?;
    /// let client = UnixStream::connect_addr(&listener.local_addr()?).await?;
    /// refuse(listener).await?;
    /// let mut buf = [0; 16];
    /// assert_eq!(client.read(&mut buf).await?, 6);
    /// assert_eq!(client.read(&mut buf).await?, 0);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        self.acceptor.try_accept()
    }

    /// The address at which it listens.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.acceptor.get_ref().local_addr()
    }

    /// Takes the error that is pending on the socket, if there is one (SO_ERROR). The socket has it no longer.
    ///
    /// # Errors
    /// As getsockopt(2).
    ///
    /// # Examples
    /// ```
    /// let listener = reveille::net::UnixListener::bind("")?;
    /// assert!(listener.take_error()?.is_none());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let listener = self.acceptor.get_ref();
        // A child would take the error from its parent.
        refuse_in_child(listener.as_fd())?;
        listener.take_error()
    }
}

impl Connection for UnixStream {
    type Listener = std::os::unix::net::UnixListener;
    type Peer = SocketAddr;

    fn accept(listener: BorrowedFd<'_>) -> io::Result<(OwnedFd, SocketAddr)> {
        sys::accept_unix(listener)
    }

    fn accepted(socket: OwnedFd, _ours_alone: bool) -> io::Result<UnixStream> {
        UnixStream::new(socket.into())
    }
}

impl AsFd for UnixListener {
    /// Hands out the socket. From then on it may be shared; see [Sharing](UnixListener#sharing).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.acceptor.lend()
    }
}

impl AsRawFd for UnixListener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl TryFrom<std::os::unix::net::UnixListener> for UnixListener {
    type Error = io::Error;

    fn try_from(listener: std::os::unix::net::UnixListener) -> io::Result<UnixListener> {
        UnixListener::from_std(listener)
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.acceptor.get_ref().fmt(f)
    }
}
