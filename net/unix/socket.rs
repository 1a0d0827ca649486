//! A Unix socket that is neither bound nor connected yet.
//!
//! Interface: [`UnixSocket`]: made, bound, and then turned into what it is to be.
//! Read before: `unix::listener`, `unix::stream`. Read next: `ucred`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
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
    socket: OwnedFd,
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
    /// EINVAL if it is not bound: listen(2); `InvalidInput` if it is a socket for datagrams.
    pub fn listen(self, backlog: u32) -> io::Result<UnixListener> {
        self.expect_stream("listen")?;
        let ours_alone = self.ours_alone.into_inner();
        UnixListener::listen(self.socket, backlog, ours_alone)
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
    pub async fn connect_addr(self, address: &SocketAddr) -> io::Result<UnixStream> {
        self.expect_stream("connect")?;
        UnixStream::connected(self.socket, UnixAddr::encode(address)).await
    }

    /// Makes a socket for datagrams of what this is.
    ///
    /// # Errors
    /// `InvalidInput` if it is a socket for a stream.
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
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        set_option(self.socket(), Int::PASSCRED, passcred.into())
    }

    buffer_sizes!();

    /// Asked before the socket becomes a stream or a listener.
    fn expect_stream(&self, what: &str) -> io::Result<()> {
        if !self.is_stream {
            let text = format!("`{what}` needs a socket made by `new_stream`, not `new_datagram`");
            return Err(invalid(text));
        }
        refuse_in_child(self.socket())
    }

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
