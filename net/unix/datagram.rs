//! A Unix datagram socket: how it is made, and what it sends and receives.
//!
//! Interface: [`UnixDatagram`]; all its methods take `&self`.
//! Invariants:
//! - A datagram is sent whole or not at all, and received by one call: nothing here offers the kernel less than the
//!   caller did.
//! - No short receive proves anything (R10): only the kernel's EAGAIN ends a run of receives.
//! - What is sent to an address never waits for an event (R10). The queue that is full is another socket's, and epoll
//!   tells of room there only to a socket that is connected to it.
//!
//! Over 400 lines because each operation is there as a future, `try_` and `poll_`, with its docs and an example.
//! Read before: `methods`, `addr`, `message`. Read next: `unix::descriptors`.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, ready};

use super::super::methods::{
    buffer_sizes, operations, readable, refuse_in_child, set_buffer_size, writable,
};
use super::super::pause::{BackOff, poll_again_soon};
use super::super::sys::{self, Connecting, Int, UnixAddr, decode_unix};
use super::addr::address;
use crate::io::{AsyncFd, Interest, Ready};
use crate::task::coop::consume_budget;

/// A Unix datagram socket: to talk with any number of sockets on this machine, or, [connected](UnixDatagram::connect), with
/// one. Nothing is lost or reordered on the way: a sender waits while the queue of the receiver is full.
///
/// Sending and receiving take `&self`, so any number of tasks can do both at once.
///
/// - An empty datagram is one: `Ok(0)` is not an end.
/// - A datagram that is longer than the room for it is cut, and the rest is lost; only
///   [`recv_fds`](UnixDatagram::recv_fds) says so. A buffer of no bytes is a room, too: the call waits for a datagram, takes
///   it, and all of it is lost.
/// - A short datagram does not prove that no other waits. Each is received until the kernel says that there are no more.
///
/// In the child of a process that had a runtime before it forked, the socket is the parent's, too, and each call that would
/// change it is an error.
///
/// # Addresses
/// As those of listeners: see [Paths and names](super#paths-and-names), and [After a crash](super#after-a-crash) for the file
/// that stays behind; whether a socket is there, [`connect`](UnixDatagram::connect) of another says. A socket that is not
/// bound has no address, so it gets no answers.
///
/// # Room
/// How many datagrams wait in a socket is a setting of the system (net.unix.max_dgram_qlen, often 10). If there is no more
/// room, [`send`](UnixDatagram::send) of a connected socket waits until there is. The kernel does not say when there is
/// room at another address. So [`send_to`](UnixDatagram::send_to) tries again after a pause: of 1 ms, then of 2, 4, and so
/// on, at last of 50 ms each. These are pauses of the runtime's clock: while that is [paused](crate::time::pause) they do not
/// end by themselves, and [`auto_advance`](crate::runtime::Builder::auto_advance) jumps from one to the next.
///
/// A [`send`](UnixDatagram::send) that waits is not woken when the peer connects, be it to another socket, which is EPERM, or to
/// this one, for which there is always room then: it goes on when the peer takes a datagram, or ends.
///
/// # Coming from tokio
/// In place of `recv_buf<B: BufMut>` and `recv_buf_from` there are [`recv_vec`](UnixDatagram::recv_vec) and
/// [`recv_vec_from`](UnixDatagram::recv_vec_from), and the `poll_` methods take a slice and return a length. Addresses are
/// std's.
///
/// # Examples
/// ```
/// use reveille::net::UnixDatagram;
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("reveille-doc-datagram-{}", std::process::id()));
/// reveille::block_on(async {
///     let server = UnixDatagram::bind(&path)?;
///     // The empty path: the kernel chooses an abstract name, so that the answer has somewhere to go.
///     let client = UnixDatagram::bind("")?;
///     client.send_to(b"hello", &path).await?;
///
///     let mut buf = [0; 1024];
///     let (n, from) = server.recv_from(&mut buf).await?;
///     server.send_to_addr(&buf[..n], &from).await?;
///     assert_eq!(client.recv(&mut buf).await?, 5);
///     std::fs::remove_file(&path)
/// })
/// # }
/// ```
pub struct UnixDatagram {
    /// The socket, and its registration.
    io: AsyncFd<StdDatagram>,
}

/// The room that a `Vec` without any is given before a datagram is received into it, in bytes. A datagram may have more, but
/// few have: what it may have is about the sender's [buffer](UnixDatagram::send_buffer_size).
const ROOM: usize = 65_536;

impl UnixDatagram {
    /// Makes a socket at a path, where a file is made; with a NUL in front of it, at an abstract name; at an abstract name
    /// that the kernel chooses, if the path is empty.
    ///
    /// # Errors
    /// EADDRINUSE if there is something at the path, whether or not anything uses it; ENOENT, EACCES, EROFS and so on, for
    /// its directory: bind(2); EMFILE, ENFILE: socket(2); `InvalidInput` for more than 107 bytes, and for a NUL inside a
    /// path.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        UnixDatagram::bind_addr(&address(path.as_ref())?)
    }

    /// As [`bind`](UnixDatagram::bind), at an address of std's.
    ///
    /// # Errors
    /// As [`bind`](UnixDatagram::bind).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use std::os::linux::net::SocketAddrExt;
    /// use reveille::net::UnixDatagram;
    /// use reveille::net::unix::SocketAddr;
    ///
    /// # let name = format!("reveille-doc-bind-addr-{}", std::process::id());
    /// // An abstract name: there is no file, so nothing has to be removed.
    /// let address = SocketAddr::from_abstract_name(&name)?;
    /// let server = UnixDatagram::bind_addr(&address)?;
    /// let taken = UnixDatagram::bind_addr(&address).unwrap_err();
    /// assert_eq!(taken.kind(), ErrorKind::AddrInUse);
    /// drop(server); // From here on the name is free.
    /// UnixDatagram::bind_addr(&address)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        let socket = sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM)?;
        // Before there is a file, which nothing would remove.
        refuse_in_child(socket.as_fd())?;
        sys::bind(socket.as_fd(), &UnixAddr::encode(address))?;
        UnixDatagram::new(socket.into())
    }

    /// Makes a socket without an address: it can send, but gets no answers.
    ///
    /// # Errors
    /// EMFILE, ENFILE: socket(2).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use reveille::net::UnixDatagram;
    ///
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-unbound-{}", std::process::id()));
    /// # reveille::block_on(async {
    /// let server = UnixDatagram::bind(&path)?;
    /// let client = UnixDatagram::unbound()?;
    /// client.send_to(b"started", &path).await?;
    ///
    /// let mut report = Vec::with_capacity(1024);
    /// let (_, from) = server.recv_vec_from(&mut report).await?;
    /// assert_eq!(report, b"started");
    /// assert!(from.is_unnamed()); // There is no address to answer to.
    /// let error = server.send_to_addr(b"thanks", &from).await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// # std::fs::remove_file(&path)
    /// # }).unwrap();
    /// ```
    pub fn unbound() -> io::Result<UnixDatagram> {
        UnixDatagram::new(sys::socket(libc::AF_UNIX, libc::SOCK_DGRAM)?.into())
    }

    /// Makes two sockets that are connected with each other.
    ///
    /// # Errors
    /// EMFILE, ENFILE: socketpair(2).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UnixDatagram;
    ///
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// ours.send(b"one").await?;
    /// ours.send(b"two").await?;
    /// let mut buf = [0; 64];
    /// assert_eq!(theirs.recv(&mut buf).await?, 3); // Datagrams do not run together.
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let [one, other] = sys::unix_pair(libc::SOCK_DGRAM)?;
        Ok((
            UnixDatagram::new(one.into())?,
            UnixDatagram::new(other.into())?,
        ))
    }

    /// Wraps a socket that is in non-blocking mode.
    pub(super) fn new(socket: StdDatagram) -> io::Result<UnixDatagram> {
        let io = AsyncFd::new(socket)?;
        // Each datagram that the peer takes makes room, which would be an event each.
        io.registration().set_reports_room_late();
        Ok(UnixDatagram { io })
    }

    /// Makes a `UnixDatagram` of std's socket, which is put into non-blocking mode.
    ///
    /// # Errors
    /// As ioctl(2) of FIONBIO; and always in the child of a process that had a runtime before it forked.
    ///
    /// # Examples
    /// ```
    /// use std::os::unix::net::UnixDatagram as StdDatagram;
    /// use reveille::net::UnixDatagram;
    ///
    /// # reveille::block_on(async {
    /// let (ours, theirs) = StdDatagram::pair()?;
    /// let thread = std::thread::spawn(move || {
    ///     let mut buf = [0; 16];
    ///     let n = theirs.recv(&mut buf)?; // This blocks, on a thread that has nothing else to do.
    ///     theirs.send(&buf[..n])
    /// });
    /// let ours = UnixDatagram::from_std(ours)?;
    /// ours.send(b"hello").await?;
    /// assert_eq!(ours.recv(&mut [0; 16]).await?, 5);
    ///
    /// // It goes back to std in non-blocking mode, which std's methods report as `WouldBlock`.
    /// let ours = ours.into_std()?;
    /// ours.set_nonblocking(false)?;
    /// # thread.join().unwrap()?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn from_std(socket: StdDatagram) -> io::Result<UnixDatagram> {
        refuse_in_child(socket.as_fd())?;
        socket.set_nonblocking(true)?;
        UnixDatagram::new(socket)
    }

    /// Gives back std's socket, in non-blocking mode and deregistered.
    ///
    /// # Errors
    /// None today.
    pub fn into_std(self) -> io::Result<StdDatagram> {
        Ok(self.io.into_inner())
    }

    /// Connects the socket to the one at a path, or at an abstract name: from here on it sends to that one, by
    /// [`send`](UnixDatagram::send), and receives from no other. To connect again is to change the peer; what is in the
    /// socket then, the kernel throws away.
    ///
    /// # Errors
    /// ENOENT if there is nothing at the path, ECONNREFUSED if nothing is bound to it any more; EACCES without permission to
    /// write to it; EPROTOTYPE if it is of another kind; EPERM if it is connected to a third (the text then names the call,
    /// and `raw_os_error` is `None`): connect(2); `InvalidInput` as with [`bind`](UnixDatagram::bind).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use reveille::net::UnixDatagram;
    ///
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-connect-{}", std::process::id()));
    /// # reveille::block_on(async {
    /// let server = UnixDatagram::bind(&path)?;
    /// let log = UnixDatagram::unbound()?;
    /// log.connect(&path)?;
    /// log.send(b"one").await?;
    ///
    /// // The server ends, and another takes its place. The socket is still connected to the first.
    /// drop(server);
    /// std::fs::remove_file(&path)?;
    /// let server = UnixDatagram::bind(&path)?;
    /// let error = log.send(b"two").await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    /// log.connect(&path)?;
    /// log.send(b"two").await?;
    /// # assert_eq!(server.recv(&mut [0; 16]).await?, 3);
    /// # std::fs::remove_file(&path)
    /// # }).unwrap();
    /// ```
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        self.connect_addr(&address(path.as_ref())?)
    }

    /// As [`connect`](UnixDatagram::connect), to an address of std's.
    ///
    /// # Errors
    /// As [`connect`](UnixDatagram::connect).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use reveille::net::UnixDatagram;
    ///
    /// # reveille::block_on(async {
    /// let server = UnixDatagram::bind("")?;
    /// let [client, stranger] = [UnixDatagram::bind("")?, UnixDatagram::bind("")?];
    /// let there = server.local_addr()?;
    /// client.send_to_addr(b"hello", &there).await?;
    ///
    /// let mut buf = [0; 16];
    /// let (_, from) = server.recv_from(&mut buf).await?;
    /// server.connect_addr(&from)?; // From here on it hears this client only.
    /// let error = stranger.try_send_to_addr(b"hello", &there).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    /// server.send(b"welcome").await?;
    /// assert_eq!(client.recv(&mut buf).await?, 7);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        let address = UnixAddr::encode(address);
        // It does not wait for the other socket. If a signal interrupts it, in a file system, it does not go on alone.
        while sys::connect(self.socket(), &address)? == Connecting::InProgress {}
        Ok(())
    }

    /// Sends `buf` to the peer, as one datagram, and returns its length. It waits while there is no room, in the queue of
    /// the peer or in the buffer of this socket.
    ///
    /// # Errors
    /// What send(2) reports, but for EAGAIN (waits) and EINTR (tries again): ENOTCONN without a peer; ECONNREFUSED if that
    /// is gone, after which there is none; EPERM if it has connected to another; ECONNRESET, once, if it did so with datagrams
    /// of this socket unread, and was connected with it; EPIPE if it has shut down reading (a send that waits hears of that
    /// when the peer takes a datagram), or this socket writing; EMSGSIZE for more than the
    /// [buffer](UnixDatagram::send_buffer_size) has room for; and those of waiting, see [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends.
    pub fn send(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> {
        let send = |socket: &StdDatagram| sys::send_to(socket.as_fd(), buf, &UnixAddr::PEER);
        self.io.async_io(Interest::WRITABLE, send)
    }

    /// Sends `buf` to the peer if there is room, without waiting; see [`send`](UnixDatagram::send).
    ///
    /// # Errors
    /// `WouldBlock` if there is none; else as [`send`](UnixDatagram::send).
    ///
    /// # Examples
    /// A program that does not wait for its log:
    /// ```
    /// use std::io::{ErrorKind, Result};
    /// use reveille::net::UnixDatagram;
    ///
    /// /// Counts in `lost` what there is no room for.
    /// fn log(socket: &UnixDatagram, line: &str, lost: &mut u32) -> Result<()> {
    ///     match socket.try_send(line.as_bytes()) {
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => *lost += 1,
    ///         sent => drop(sent?),
    ///     }
    ///     Ok(())
    /// }
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// let mut lost = 0;
    /// while lost < 3 {
    ///     log(&ours, "busy", &mut lost)?;
    /// }
    /// assert_eq!(theirs.recv(&mut [0; 16]).await?, 4);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_send(&self, buf: &[u8]) -> io::Result<usize> {
        let send = |socket: &StdDatagram| sys::send_to(socket.as_fd(), buf, &UnixAddr::PEER);
        self.io.try_io(Interest::WRITABLE, send)
    }

    /// Polls [`send`](UnixDatagram::send). This and the other `poll_` methods keep wakers as [`AsyncFd::poll_read_ready`]
    /// does.
    ///
    /// # Errors
    /// As [`send`](UnixDatagram::send).
    ///
    /// # Examples
    /// ```
    /// use std::collections::VecDeque;
    /// use std::future::poll_fn;
    /// use std::io::Result;
    /// use std::task::{Context, Poll, ready};
    /// use reveille::net::UnixDatagram;
    ///
    /// /// Datagrams to be sent. Each stays here until it is sent, even if the wait is given up.
    /// struct Outbox {
    ///     socket: UnixDatagram,
    ///     datagrams: VecDeque<Vec<u8>>,
    /// }
    ///
    /// impl Outbox {
    ///     fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
    ///         while let Some(datagram) = self.datagrams.front() {
    ///             ready!(self.socket.poll_send(cx, datagram))?;
    ///             self.datagrams.pop_front();
    ///         }
    ///         Poll::Ready(Ok(()))
    ///     }
    /// }
    /// # reveille::block_on(async {
    /// # let (socket, theirs) = UnixDatagram::pair()?;
    /// # let datagrams = VecDeque::from([b"one".to_vec(), b"two".to_vec()]);
    /// # let mut outbox = Outbox { socket, datagrams };
    /// poll_fn(|cx| outbox.poll_flush(cx)).await?;
    /// # assert!(outbox.datagrams.is_empty());
    /// # for _ in 0..2 {
    /// #     assert_eq!(theirs.recv(&mut [0; 16]).await?, 3);
    /// # }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_send(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let send = |socket: &StdDatagram| sys::send_to(socket.as_fd(), buf, &UnixAddr::PEER);
        self.io.poll_io(cx, Interest::WRITABLE, send)
    }

    /// Sends `buf` to the socket at a path, or at an abstract name, as one datagram. While there is no room, it
    /// [tries again](UnixDatagram#room), from time to time.
    ///
    /// # Errors
    /// ENOENT, ECONNREFUSED, EACCES, EPROTOTYPE, as [`connect`](UnixDatagram::connect); EPERM if that socket is connected to
    /// another; EPIPE, EMSGSIZE, as [`send`](UnixDatagram::send); `InvalidInput` as with [`bind`](UnixDatagram::bind);
    /// `WouldBlock` if there is no room, outside a runtime, where nothing could end a pause.
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends.
    pub async fn send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let to = address(path.as_ref())?;
        self.send_to_addr(buf, &to).await
    }

    /// As [`send_to`](UnixDatagram::send_to) if there is room, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if there is none, and [`writable`](UnixDatagram::writable) will not say when there is: it is about this
    /// socket's buffer. Else as [`send_to`](UnixDatagram::send_to).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UnixDatagram;
    ///
    /// # let id = std::process::id();
    /// # let watchers = ["a", "b", "gone"].map(|name| format!("\0reveille-doc-{name}-{id}"));
    /// # let [a, b] = [UnixDatagram::bind(&watchers[0])?, UnixDatagram::bind(&watchers[1])?];
    /// let news = UnixDatagram::unbound()?;
    /// // A watcher that is slow misses this, and so does one that is gone: neither delays the others.
    /// for watcher in &watchers {
    ///     if let Err(error) = news.try_send_to(b"changed", watcher) {
    ///         println!("{watcher:?}: {error}");
    ///     }
    /// }
    /// # for watcher in [a, b] {
    /// #     assert_eq!(watcher.try_recv(&mut [0; 16])?, 7);
    /// # }
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_send_to(&self, buf: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        self.try_send_to_addr(buf, &address(path.as_ref())?)
    }

    /// Polls [`send_to`](UnixDatagram::send_to). While there is no room, each poll has the task woken after
    /// 5 ms, whatever was asked for by the polls before.
    ///
    /// # Errors
    /// As [`send_to`](UnixDatagram::send_to).
    ///
    /// # Examples
    /// ```
    /// use std::io::Result;
    /// use std::path::Path;
    /// use std::pin::Pin;
    /// use std::task::{Context, Poll, ready};
    /// use reveille::net::UnixDatagram;
    ///
    /// /// Passes on what the socket receives, until that is an empty datagram.
    /// struct Relay<'a> {
    ///     socket: &'a UnixDatagram,
    ///     to: &'a Path,
    ///     /// What was received, and is not sent yet: the next poll must not lose it.
    ///     held: Option<Vec<u8>>,
    /// }
    ///
    /// impl Future for Relay<'_> {
    ///     type Output = Result<()>;
    ///
    ///     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
    ///         loop {
    ///             if let Some(datagram) = &self.held {
    ///                 ready!(self.socket.poll_send_to(cx, datagram, self.to))?;
    ///                 self.held = None;
    ///             }
    ///             let mut datagram = Vec::with_capacity(1024);
    ///             if ready!(self.socket.poll_recv_vec(cx, &mut datagram))? == 0 {
    ///                 return Poll::Ready(Ok(()));
    ///             }
    ///             self.held = Some(datagram);
    ///         }
    ///     }
    /// }
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-relay-{}", std::process::id()));
    /// # reveille::block_on(async {
    /// # let (from, socket) = UnixDatagram::pair()?;
    /// # let to = UnixDatagram::bind(&path)?;
    /// # for datagram in [&b"one"[..], b"two", b""] {
    /// #     from.send(datagram).await?;
    /// # }
    /// Relay { socket: &socket, to: &path, held: None }.await?;
    /// # for _ in 0..2 {
    /// #     assert_eq!(to.recv(&mut [0; 16]).await?, 3);
    /// # }
    /// # std::fs::remove_file(&path)
    /// # }).unwrap();
    /// ```
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        path: impl AsRef<Path>,
    ) -> Poll<io::Result<usize>> {
        self.poll_send_to_addr(cx, buf, &address(path.as_ref())?)
    }

    /// As [`send_to`](UnixDatagram::send_to), to an address of std's, such as [`recv_from`](UnixDatagram::recv_from)
    /// returns.
    ///
    /// # Errors
    /// As [`send_to`](UnixDatagram::send_to); EINVAL for one without a name.
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends.
    pub async fn send_to_addr(&self, buf: &[u8], to: &SocketAddr) -> io::Result<usize> {
        let to = UnixAddr::encode(to);
        self.sending_to(|socket| sys::send_to(socket, buf, &to))
            .await
    }

    /// As [`try_send_to`](UnixDatagram::try_send_to), to an address of std's.
    ///
    /// # Errors
    /// As [`try_send_to`](UnixDatagram::try_send_to).
    pub fn try_send_to_addr(&self, buf: &[u8], to: &SocketAddr) -> io::Result<usize> {
        let to = UnixAddr::encode(to);
        self.send_now(|socket| sys::send_to(socket, buf, &to))
    }

    /// As [`poll_send_to`](UnixDatagram::poll_send_to), to an address of std's.
    ///
    /// # Errors
    /// As [`send_to`](UnixDatagram::send_to).
    ///
    /// # Examples
    /// ```
    /// use std::convert::Infallible;
    /// use std::future::poll_fn;
    /// use std::io::Result;
    /// use std::task::{Context, Poll, ready};
    /// use reveille::net::UnixDatagram;
    /// use reveille::net::unix::SocketAddr;
    ///
    /// /// Sends each datagram back. `answer` is the one that there was no room for yet.
    /// fn poll_echo(
    ///     socket: &UnixDatagram,
    ///     answer: &mut Option<(Vec<u8>, SocketAddr)>,
    ///     cx: &mut Context<'_>,
    /// ) -> Poll<Result<Infallible>> {
    ///     loop {
    ///         if let Some((datagram, to)) = answer {
    ///             ready!(socket.poll_send_to_addr(cx, datagram, to))?;
    ///         }
    ///         *answer = None;
    ///         let mut datagram = Vec::with_capacity(1024);
    ///         let (_, from) = ready!(socket.poll_recv_vec_from(cx, &mut datagram))?;
    ///         *answer = Some((datagram, from));
    ///     }
    /// }
    /// # reveille::block_on(async {
    /// let [server, client] = [UnixDatagram::bind("")?, UnixDatagram::bind("")?];
    /// let there = server.local_addr()?;
    /// reveille::spawn(async move {
    ///     let mut answer = None;
    ///     poll_fn(|cx| poll_echo(&server, &mut answer, cx)).await
    /// });
    /// for question in [&b"one"[..], b"three"] {
    ///     client.send_to_addr(question, &there).await?;
    ///     assert_eq!(client.recv(&mut [0; 16]).await?, question.len());
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_send_to_addr(
        &self,
        cx: &mut Context<'_>,
        buf: &[u8],
        to: &SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let to = UnixAddr::encode(to);
        self.poll_sending_to(cx, |socket| sys::send_to(socket, buf, &to))
    }

    /// Receives a datagram, and returns its length, or that of `buf` if that is less: the rest of the datagram is lost then.
    /// Descriptors that came with it are closed; see [`recv_fds`](UnixDatagram::recv_fds).
    ///
    /// After [`shutdown`](UnixDatagram::shutdown) of reading, nothing comes any more, and nothing says so: this waits for
    /// ever, once what was there is received.
    ///
    /// # Errors
    /// What recv(2) reports, but for EAGAIN (waits) and EINTR (tries again): ECONNRESET, once, if the peer was
    /// connected with this socket and has connected to another, with datagrams unread; and those of waiting, see [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns a datagram takes it from the socket.
    pub fn recv(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.receiving(|socket| sys::recv(socket, buf, 0))
    }

    /// Receives a datagram if one is there, without waiting; see [`recv`](UnixDatagram::recv). What "is there" is as of the
    /// runtime's last turn.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`recv`](UnixDatagram::recv).
    ///
    /// # Examples
    /// ```
    /// use std::io::{ErrorKind, Result};
    /// use reveille::net::UnixDatagram;
    ///
    /// /// Waits for a datagram. If several are there, only the last one counts.
    /// async fn newest(socket: &UnixDatagram, buf: &mut [u8]) -> Result<usize> {
    ///     let mut newest = socket.recv(buf).await?;
    ///     loop {
    ///         match socket.try_recv(buf) {
    ///             Ok(n) => newest = n,
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(newest),
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    /// }
    /// # reveille::block_on(async {
    /// # let (ours, theirs) = UnixDatagram::pair()?;
    /// for percent in ["1 %", "2 %", "100 %"] {
    ///     ours.send(percent.as_bytes()).await?;
    /// }
    /// let mut buf = [0; 16];
    /// let n = newest(&theirs, &mut buf).await?;
    /// assert_eq!(&buf[..n], b"100 %");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.try_receiving(|socket| sys::recv(socket, buf, 0))
    }

    /// Polls [`recv`](UnixDatagram::recv).
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::io::Result;
    /// use std::task::{Context, Poll};
    /// use reveille::net::UnixDatagram;
    ///
    /// #[derive(Debug, PartialEq)]
    /// enum Came {
    ///     Command(usize),
    ///     Request(usize),
    /// }
    ///
    /// /// Receives from whichever of two sockets has something; if both have, a command goes first.
    /// fn poll_either(
    ///     (commands, requests): (&UnixDatagram, &UnixDatagram),
    ///     cx: &mut Context<'_>,
    ///     buf: &mut [u8],
    /// ) -> Poll<Result<Came>> {
    ///     if let Poll::Ready(received) = commands.poll_recv(cx, buf) {
    ///         return Poll::Ready(received.map(Came::Command));
    ///     }
    ///     let received = requests.poll_recv_from(cx, buf);
    ///     received.map_ok(|(n, _from)| Came::Request(n))
    /// }
    /// # reveille::block_on(async {
    /// let (boss, commands) = UnixDatagram::pair()?;
    /// let (requests, client) = (UnixDatagram::bind("")?, UnixDatagram::unbound()?);
    /// client.send_to_addr(b"work", &requests.local_addr()?).await?;
    /// boss.send(b"stop").await?;
    /// let mut buf = [0; 16];
    /// for expected in [Came::Command(4), Came::Request(4)] {
    ///     let came = poll_fn(|cx| poll_either((&commands, &requests), cx, &mut buf)).await?;
    ///     assert_eq!(came, expected);
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_receiving(cx, |socket| sys::recv(socket, buf, 0))
    }

    /// Appends a datagram to `buf`, into its spare room, and returns its length. What is longer than that room is cut, as
    /// with [`recv`](UnixDatagram::recv), so [`clear`](Vec::clear) the `Vec`, or [`reserve`](Vec::reserve), before each call.
    /// A `buf` without spare room is given some for 65,536 bytes.
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv); the bytes of `buf` are then as they were, though it may have got room.
    ///
    /// # Cancel safety
    /// Safe, as [`recv`](UnixDatagram::recv).
    ///
    /// # Examples
    /// ```
    /// # reveille::block_on(async {
    /// # let (theirs, socket) = reveille::net::UnixDatagram::pair()?;
    /// # theirs.send(b"hello").await?;
    /// let mut datagram = Vec::with_capacity(4096); // Its bytes need not be zeroed.
    /// let n = socket.recv_vec(&mut datagram).await?;
    /// assert_eq!((n, &datagram[..]), (5, &b"hello"[..]));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn recv_vec(&self, buf: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> {
        self.receiving(|socket| sys::recv_vec(socket, with_room(buf), usize::MAX))
    }

    /// As [`recv_vec`](UnixDatagram::recv_vec) if a datagram is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`recv_vec`](UnixDatagram::recv_vec).
    ///
    /// # Examples
    /// ```
    /// use std::io::{ErrorKind, Result};
    /// use reveille::net::UnixDatagram;
    ///
    /// /// Appends the datagrams that are there to one `Vec`, and returns where each of them ends.
    /// fn batch(socket: &UnixDatagram, bytes: &mut Vec<u8>) -> Result<Vec<usize>> {
    ///     let mut ends = Vec::new();
    ///     // Up to 100: a peer that sends fast must not keep the task here, nor fill the memory.
    ///     while ends.len() < 100 {
    ///         bytes.reserve(1024); // What is longer than the room is cut.
    ///         match socket.try_recv_vec(bytes) {
    ///             Ok(_) => ends.push(bytes.len()),
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    ///     Ok(ends)
    /// }
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// for datagram in ["one", "", "three"] {
    ///     ours.send(datagram.as_bytes()).await?;
    /// }
    /// theirs.readable().await?;
    /// let mut bytes = Vec::new();
    /// assert_eq!(batch(&theirs, &mut bytes)?, [3, 3, 8]);
    /// assert_eq!(bytes, b"onethree");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_recv_vec(&self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.try_receiving(|socket| sys::recv_vec(socket, with_room(buf), usize::MAX))
    }

    /// Polls [`recv_vec`](UnixDatagram::recv_vec).
    ///
    /// # Errors
    /// As [`recv_vec`](UnixDatagram::recv_vec).
    pub fn poll_recv_vec(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.poll_receiving(cx, |socket| {
            sys::recv_vec(socket, with_room(buf), usize::MAX)
        })
    }

    /// As [`recv`](UnixDatagram::recv), and returns the address of the sender, too; one that is not bound has no name.
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv).
    ///
    /// # Cancel safety
    /// Safe, as [`recv`](UnixDatagram::recv).
    pub fn recv_from(
        &self,
        buf: &mut [u8],
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> {
        self.receiving(|socket| named(|from| sys::recv_from(socket, buf, 0, from)))
    }

    /// As [`recv_from`](UnixDatagram::recv_from) if a datagram is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`recv`](UnixDatagram::recv).
    ///
    /// # Examples
    /// ```
    /// use std::io::{ErrorKind, Result};
    /// use reveille::net::UnixDatagram;
    ///
    /// /// Answers what is there. It waits for nothing: not for more, and not for a client that has no room, or is
    /// /// gone, and so gets no answer.
    /// fn answer(socket: &UnixDatagram) -> Result<()> {
    ///     let mut buf = [0; 1024];
    ///     loop {
    ///         match socket.try_recv_from(&mut buf) {
    ///             Ok((n, from)) => drop(socket.try_send_to_addr(&buf[..n], &from)),
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
    ///             Err(error) => return Err(error),
    ///         }
    ///     }
    /// }
    /// # reveille::block_on(async {
    /// let server = UnixDatagram::bind("")?;
    /// let clients = [UnixDatagram::bind("")?, UnixDatagram::bind("")?];
    /// for client in &clients {
    ///     client.send_to_addr(b"hello", &server.local_addr()?).await?;
    /// }
    /// server.readable().await?;
    /// answer(&server)?;
    /// for client in &clients {
    ///     assert_eq!(client.recv(&mut [0; 16]).await?, 5);
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_recv_from(&self, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.try_receiving(|socket| named(|from| sys::recv_from(socket, buf, 0, from)))
    }

    /// Polls [`recv_from`](UnixDatagram::recv_from).
    ///
    /// # Errors
    /// As [`recv`](UnixDatagram::recv).
    pub fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll_receiving(cx, |socket| {
            named(|from| sys::recv_from(socket, buf, 0, from))
        })
    }

    /// As [`recv_vec`](UnixDatagram::recv_vec), and returns the address of the sender, too.
    ///
    /// # Errors
    /// As [`recv_vec`](UnixDatagram::recv_vec).
    ///
    /// # Cancel safety
    /// Safe, as [`recv`](UnixDatagram::recv).
    pub fn recv_vec_from(
        &self,
        buf: &mut Vec<u8>,
    ) -> impl Future<Output = io::Result<(usize, SocketAddr)>> {
        self.receiving(|socket| named(|from| sys::recv_vec_from(socket, with_room(buf), from)))
    }

    /// As [`recv_vec_from`](UnixDatagram::recv_vec_from) if a datagram is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`recv_vec`](UnixDatagram::recv_vec).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use reveille::net::UnixDatagram;
    ///
    /// # reveille::block_on(async {
    /// let (server, client) = (UnixDatagram::bind("")?, UnixDatagram::bind("")?);
    /// client.send_to_addr(b"one", &server.local_addr()?).await?;
    /// client.send_to_addr(b"two", &server.local_addr()?).await?;
    /// server.readable().await?;
    ///
    /// // Each in a `Vec` of its own, with its sender.
    /// let mut letters = Vec::new();
    /// loop {
    ///     let mut letter = Vec::with_capacity(1024);
    ///     match server.try_recv_vec_from(&mut letter) {
    ///         Ok((_, from)) => letters.push((letter, from)),
    ///         Err(error) if error.kind() == ErrorKind::WouldBlock => break,
    ///         Err(error) => return Err(error),
    ///     }
    /// }
    /// assert_eq!((&letters[0].0[..], &letters[1].0[..]), (&b"one"[..], &b"two"[..]));
    /// # assert_eq!(letters.len(), 2);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_recv_vec_from(&self, buf: &mut Vec<u8>) -> io::Result<(usize, SocketAddr)> {
        self.try_receiving(|socket| named(|from| sys::recv_vec_from(socket, with_room(buf), from)))
    }

    /// Polls [`recv_vec_from`](UnixDatagram::recv_vec_from).
    ///
    /// # Errors
    /// As [`recv_vec`](UnixDatagram::recv_vec).
    pub fn poll_recv_vec_from(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        self.poll_receiving(cx, |socket| {
            named(|from| sys::recv_vec_from(socket, with_room(buf), from))
        })
    }

    readable!();
    writable!();
    operations!();

    /// Polls [`readable`](UnixDatagram::readable), by tokio's name.
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::task::Poll;
    /// use reveille::net::UnixDatagram;
    ///
    /// # reveille::block_on(async {
    /// let (_near, here) = UnixDatagram::pair()?;
    /// let (far, there) = UnixDatagram::pair()?;
    /// far.send(b"hello").await?;
    /// // Waits for either, and takes nothing from it: that is for the code that knows how.
    /// let ready = poll_fn(|cx| {
    ///     for socket in [&here, &there] {
    ///         if socket.poll_recv_ready(cx)?.is_ready() {
    ///             return Poll::Ready(std::io::Result::Ok(socket));
    ///         }
    ///     }
    ///     Poll::Pending
    /// });
    /// assert_eq!(ready.await?.recv(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_recv_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }

    /// Polls [`writable`](UnixDatagram::writable), by tokio's name.
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    ///
    /// # Examples
    /// ```
    /// use std::cell::Cell;
    /// use std::future::poll_fn;
    /// use std::io::{ErrorKind, Result};
    /// use reveille::net::UnixDatagram;
    ///
    /// /// Reports how far the work is when there is room for that, and not when the wait begins.
    /// async fn report(socket: &UnixDatagram, percent: &Cell<u8>) -> Result<()> {
    ///     loop {
    ///         poll_fn(|cx| socket.poll_send_ready(cx)).await?;
    ///         match socket.try_send(&[percent.get()]) {
    ///             Err(error) if error.kind() == ErrorKind::WouldBlock => {} // Readiness is a hint.
    ///             sent => return sent.map(drop),
    ///         }
    ///     }
    /// }
    /// # reveille::block_on(async {
    /// # let (ours, theirs) = UnixDatagram::pair()?;
    /// # report(&ours, &Cell::new(7)).await?;
    /// # let mut buf = [0];
    /// # assert_eq!((theirs.recv(&mut buf).await?, buf), (1, [7]));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_send_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_write_ready(cx)
    }

    /// Shuts down reading, writing or both, at once: shutdown(2). What sends to a socket that has shut down reading gets
    /// EPIPE, and so does this socket if it sends after it has shut down writing.
    ///
    /// # Errors
    /// In the child of a fork, because the socket is the parent's, too. Else hardly any.
    ///
    /// # Examples
    /// A server that ends loses nothing that was sent to it, and hears nothing more:
    /// ```
    /// use std::io::ErrorKind;
    /// use std::net::Shutdown;
    /// use reveille::net::UnixDatagram;
    ///
    /// # reveille::block_on(async {
    /// let (server, client) = (UnixDatagram::bind("")?, UnixDatagram::unbound()?);
    /// client.connect_addr(&server.local_addr()?)?;
    /// client.send(b"last").await?;
    ///
    /// server.shutdown(Shutdown::Read)?;
    /// let error = client.send(b"late").await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    /// let mut buf = [0; 16];
    /// assert_eq!(server.try_recv(&mut buf)?, 4);
    /// assert_eq!(server.try_recv(&mut buf).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        sys::shutdown(self.socket(), how)
    }

    /// The address that the socket is bound to; without a name if it is not.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// The address of the socket that this one is connected to; without a name if that is not bound.
    ///
    /// # Errors
    /// ENOTCONN if it is connected to none: getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// Takes the error that is pending on the socket, if there is one (SO_ERROR). The socket has it no longer.
    ///
    /// # Errors
    /// As getsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use reveille::net::UnixDatagram;
    ///
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// ours.try_send(b"lost")?;
    /// // The peer turns to another socket, and what it has not received is lost.
    /// let other = UnixDatagram::bind("")?;
    /// theirs.connect_addr(&other.local_addr()?)?;
    /// let error = ours.take_error()?.expect("the kernel reports that");
    /// assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    /// assert!(ours.take_error()?.is_none());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        // A child would take the error from its parent.
        refuse_in_child(self.socket())?;
        self.std().take_error()
    }

    /// True if the credentials of the sender come with each datagram (SO_PASSCRED).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn passcred(&self) -> io::Result<bool> {
        Ok(sys::get(self.socket(), Int::PASSCRED)? != 0)
    }

    /// Sets whether the credentials of the sender come with each datagram, for recvmsg(2) of other code: no method here
    /// tells them. A socket that is not bound is given an abstract name when it sends.
    ///
    /// # Errors
    /// As setsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UnixDatagram;
    ///
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-passcred-{}", std::process::id()));
    /// # reveille::block_on(async {
    /// let server = UnixDatagram::bind(&path)?;
    /// let client = UnixDatagram::unbound()?;
    /// client.set_passcred(true)?;
    /// client.send_to(b"hello", &path).await?;
    /// // The kernel has bound the client, so it can be answered.
    /// let mut buf = [0; 16];
    /// let (n, from) = server.recv_from(&mut buf).await?;
    /// server.send_to_addr(&buf[..n], &from).await?;
    /// assert_eq!(client.recv(&mut buf).await?, 5);
    /// # std::fs::remove_file(&path)
    /// # }).unwrap();
    /// ```
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        sys::set(self.socket(), Int::PASSCRED, passcred.into())
    }

    buffer_sizes!(
        "It has no effect on Unix sockets: what may wait for a receiver is about the senders' \
         [rooms](Self::set_send_buffer_size) (unix(7))."
    );

    /// Sends to an address. While there is no room, it tries again, from time to time.
    pub(super) async fn sending_to(
        &self,
        mut send: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut back_off = BackOff::new(1, 50);
        loop {
            consume_budget().await;
            match self.send_now(&mut send) {
                Err(full) if is_full(&full) => back_off.pause(full).await?,
                sent => return sent,
            }
        }
    }

    /// Sends to an address. While there is no room, the task is polled again every 5 ms, to try; outside a runtime,
    /// where nothing could wake it, that is an error.
    pub(super) fn poll_sending_to(
        &self,
        cx: &mut Context<'_>,
        send: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        ready!(pin!(consume_budget()).poll(cx));
        match self.send_now(send) {
            Err(full) if is_full(&full) => poll_again_soon(cx).map(|()| Err(full)),
            sent => Poll::Ready(sent),
        }
    }

    /// Sends to an address, not by [`AsyncFd::try_io`]: whether this socket counts as writable says nothing of the other.
    pub(super) fn send_now(
        &self,
        mut send: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        refuse_in_child(self.socket())?;
        send(self.socket())
    }

    /// What receives one datagram, as a future.
    pub(super) fn receiving<R>(
        &self,
        mut receive: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        self.io
            .async_io(Interest::READABLE, move |socket| receive(socket.as_fd()))
    }

    /// Receives a datagram if one is there.
    pub(super) fn try_receiving<R>(
        &self,
        receive: impl FnOnce(BorrowedFd<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        self.io
            .try_io(Interest::READABLE, |socket| receive(socket.as_fd()))
    }

    /// Receives a datagram, or keeps the waker until one may be there.
    pub(super) fn poll_receiving<R>(
        &self,
        cx: &mut Context<'_>,
        mut receive: impl FnMut(BorrowedFd<'_>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.io
            .poll_io(cx, Interest::READABLE, |socket| receive(socket.as_fd()))
    }

    /// What waits for events.
    pub(super) fn io(&self) -> &AsyncFd<StdDatagram> {
        &self.io
    }

    /// The descriptor, for system calls.
    fn socket(&self) -> BorrowedFd<'_> {
        self.std().as_fd()
    }

    /// The socket as std has it, for what std can do.
    fn std(&self) -> &StdDatagram {
        self.io.get_ref()
    }

    /// Other code may receive, too: nothing to do, because no receive proves anything here anyway.
    fn lend(&self) {}
}

/// The queue at the address is full, or the buffer of this socket is: sendmsg(2) does not say which, and poll(2) neither.
fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// Receives with the name of the sender.
pub(super) fn named<R>(
    receive: impl FnOnce(&mut UnixAddr) -> io::Result<R>,
) -> io::Result<(R, SocketAddr)> {
    let mut from = UnixAddr::EMPTY;
    let received = receive(&mut from)?;
    Ok((received, decode_unix(from.written())?))
}

/// Gives [`ROOM`] to a `buf` without spare room, where all of a datagram would be lost.
fn with_room(buf: &mut Vec<u8>) -> &mut Vec<u8> {
    if buf.capacity() == buf.len() {
        buf.reserve(ROOM);
    }
    buf
}

impl AsFd for UnixDatagram {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket()
    }
}

impl AsRawFd for UnixDatagram {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl TryFrom<StdDatagram> for UnixDatagram {
    type Error = io::Error;

    fn try_from(socket: StdDatagram) -> io::Result<UnixDatagram> {
        UnixDatagram::from_std(socket)
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std().fmt(f)
    }
}
