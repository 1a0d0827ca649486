//! A Unix socket that is neither bound nor connected yet.
//!
//! Interface: [`UnixSocket`]: made, bound, and then turned into what it is to be.
//! Read before: `unix::listener`, `unix::stream`. Read next: `ucred`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixListener as StdListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::methods::{buffer_sizes, refuse_in_child, set_buffer_size};
use super::super::options::{invalid, set_option};
use super::super::sys::{self, Int, UnixAddr};
use super::addr::address;
use super::datagram::UnixDatagram;
use super::listener::UnixListener;
use super::stream::UnixStream;

/// A Unix socket to be configured: bound before it connects, or given a backlog of its own.
///
/// # Examples
/// ```
/// use reveille::net::{UnixSocket, UnixStream};
///
/// # fn main() -> std::io::Result<()> {
/// # let id = std::process::id();
/// let (server, client) = (format!("\0server-{id}"), format!("\0client-{id}"));
/// reveille::block_on(async {
///     let socket = UnixSocket::new_stream()?;
///     socket.bind(&server)?;
///     let listener = socket.listen(16)?;
///
///     let socket = UnixSocket::new_stream()?;
///     socket.bind(&client)?; // So that the server knows who it is.
///     let _stream = socket.connect(&server).await?;
///     let (_, peer) = listener.accept().await?;
///     # use std::os::linux::net::SocketAddrExt;
///     assert_eq!(peer.as_abstract_name(), Some(&client.as_bytes()[1..]));
///     Ok(())
/// })
/// # }
/// ```
#[derive(Debug)]
pub struct UnixSocket {
    /// Neither connected nor listening; perhaps bound.
    socket: OwnedFd,
    /// SOCK_STREAM; else SOCK_DGRAM.
    is_stream: bool,
    /// False once other code may hold the socket.
    ours_alone: AtomicBool,
}

impl UnixSocket {
    /// A socket for a stream or a listener.
    ///
    /// # Errors
    /// EMFILE, ENFILE: socket(2).
    pub fn new_stream() -> io::Result<UnixSocket> {
        UnixSocket::new(libc::SOCK_STREAM)
    }

    /// A socket for datagrams.
    ///
    /// # Errors
    /// EMFILE, ENFILE: socket(2).
    pub fn new_datagram() -> io::Result<UnixSocket> {
        UnixSocket::new(libc::SOCK_DGRAM)
    }

    /// Makes a socket of a kind: SOCK_STREAM or SOCK_DGRAM.
    fn new(kind: libc::c_int) -> io::Result<UnixSocket> {
        Ok(UnixSocket {
            socket: sys::socket(libc::AF_UNIX, kind)?,
            is_stream: kind == libc::SOCK_STREAM,
            ours_alone: AtomicBool::new(true),
        })
    }

    /// Binds the socket to a path, or to an abstract name; see [`UnixListener::bind`].
    ///
    /// # Errors
    /// As [`UnixListener::bind`]; EINVAL if it is bound already.
    pub fn bind(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.bind_addr(&address(path.as_ref())?)
    }

    /// Binds the socket to an address of the standard library's.
    ///
    /// # Errors
    /// As [`bind`](UnixSocket::bind).
    pub fn bind_addr(&self, address: &SocketAddr) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        sys::bind(self.socket(), &UnixAddr::encode(address))
    }

    /// Makes a listener of a socket that is bound. So many connections may wait for `accept`, and one more, if
    /// net.core.somaxconn allows that.
    ///
    /// # Errors
    /// `InvalidInput` if it is not bound, or is a socket for datagrams; else as listen(2).
    pub fn listen(self, backlog: u32) -> io::Result<UnixListener> {
        self.expect_stream("listen")?;
        let ours_alone = self.ours_alone.into_inner();
        let listener = StdListener::from(self.socket);
        // The kernel would say EINVAL, which looks as if a sandbox had refused the call. Where a sandbox refuses
        // getsockname(2), the kernel decides.
        if listener.local_addr().is_ok_and(|local| local.is_unnamed()) {
            let text = "the socket is not bound, so it cannot listen: call `bind` before";
            return Err(invalid(text.to_owned()));
        }
        UnixListener::listen(listener.into(), backlog, ours_alone)
    }

    /// Connects the socket to a path, or to an abstract name; see [`UnixStream::connect`].
    ///
    /// # Errors
    /// As [`UnixStream::connect`]; `InvalidInput` if it is a socket for datagrams.
    ///
    /// # Cancel safety
    /// Safe: a future that is dropped early closes the socket.
    pub async fn connect(self, path: impl AsRef<Path>) -> io::Result<UnixStream> {
        self.connect_addr(&address(path.as_ref())?).await
    }

    /// Connects the socket to an address of the standard library's.
    ///
    /// # Errors
    /// As [`connect`](UnixSocket::connect).
    ///
    /// # Cancel safety
    /// Safe, as [`connect`](UnixSocket::connect).
    ///
    /// # Examples
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use reveille::net::{UnixListener, UnixSocket};
    /// use reveille::net::unix::SocketAddr;
    ///
    /// # let name = format!("reveille-doc-socket-{}", std::process::id());
    /// # reveille::block_on(async {
    /// let listener = UnixListener::bind("")?;
    /// let socket = UnixSocket::new_stream()?;
    /// let client = SocketAddr::from_abstract_name(&name)?;
    /// socket.bind_addr(&client)?;
    /// let _stream = socket.connect_addr(&listener.local_addr()?).await?;
    /// let (_server, peer) = listener.accept().await?;
    /// assert_eq!(peer.as_abstract_name(), client.as_abstract_name());
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn connect_addr(self, address: &SocketAddr) -> io::Result<UnixStream> {
        self.expect_stream("connect")?;
        let ours_alone = self.ours_alone.into_inner();
        UnixStream::connected(self.socket, ours_alone, UnixAddr::encode(address)).await
    }

    /// Makes a socket for datagrams of what this is.
    ///
    /// # Errors
    /// `InvalidInput` if it is a socket for a stream.
    ///
    /// # Examples
    /// ```
    /// use reveille::net::{UnixDatagram, UnixSocket};
    ///
    /// # reveille::block_on(async {
    /// let socket = UnixSocket::new_datagram()?;
    /// socket.set_passcred(true)?; // Before it has an address: no datagram comes without.
    /// socket.bind("")?;
    /// let server = socket.datagram()?;
    /// assert!(server.passcred()?);
    /// # let client = UnixDatagram::unbound()?;
    /// # client.send_to_addr(b"hello", &server.local_addr()?).await?;
    /// # assert_eq!(server.recv(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn datagram(self) -> io::Result<UnixDatagram> {
        if self.is_stream {
            let text = "`datagram` needs a socket made by `new_datagram`, not `new_stream`";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        refuse_in_child(self.socket())?;
        UnixDatagram::new(self.socket.into())
    }

    /// Sets whether what arrives carries the credentials of its sender; see [`UnixStream::set_passcred`]. What a listener
    /// accepts has what its socket had.
    ///
    /// # Errors
    /// As setsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::{UnixSocket, UnixStream};
    ///
    /// # reveille::block_on(async {
    /// let socket = UnixSocket::new_stream()?;
    /// socket.set_passcred(true)?;
    /// socket.bind("")?;
    /// let listener = socket.listen(16)?;
    /// let _client = UnixStream::connect_addr(&listener.local_addr()?).await?;
    /// let (server, _) = listener.accept().await?;
    /// assert!(server.passcred()?);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        set_option(self.socket(), Int::PASSCRED, passcred.into())
    }

    buffer_sizes!(
        "It has no effect on Unix sockets: what may wait for a receiver is about the senders' \
         [rooms](Self::set_send_buffer_size) (unix(7))."
    );

    /// Asked before the socket becomes a stream or a listener.
    fn expect_stream(&self, what: &str) -> io::Result<()> {
        if !self.is_stream {
            let text = format!("`{what}` needs a socket made by `new_stream`, not `new_datagram`");
            return Err(invalid(text));
        }
        refuse_in_child(self.socket())
    }

    /// The descriptor, for the library's own calls: unlike [`as_fd`](AsFd::as_fd), this does not share it.
    fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for UnixSocket {
    /// Hands out the socket. A listener made of it may then be shared; see [Sharing](UnixListener#sharing).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours_alone.store(false, Ordering::Relaxed);
        self.socket()
    }
}

impl AsRawFd for UnixSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
