//! A TCP stream: how it is made, its options, and its public methods.
//!
//! Interface: [`TcpStream`]; all its methods take `&self`.
//! Invariant (R10): whatever hands the socket out calls [`Stream::lend`] first. From then on no short read
//! proves anything, because other code may read, too.
//!
//! Over 400 lines because each operation is there as a future, `try_` and `poll_`, with its docs.
//! Read before: `net::stream`, the engine of what reads and writes. Read next: `split`, `keepalive`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::super::addr::{Target, ToSocketAddrs};
use super::super::lookup::{alternate, resolve};
use super::super::race::race;
use super::super::stream::{Attempt, Stream};
use super::super::sys::{self, Connecting, Int};
use super::keepalive::TcpKeepalive;
use super::refuse_in_child;
use super::split::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::io::{AsyncFd, Interest, Ready};
use crate::task::coop::consume_budget;

/// A TCP connection.
///
/// Reading and writing take `&self`, so two tasks can do both at once through an `Rc` or a
/// reference.
///
/// # Closing
/// Dropping a stream closes the connection. Bytes already written are still sent, but only if everything that
/// arrived has been read, and nothing arrives later: otherwise the kernel resets the connection and throws
/// away what it has not sent yet (RFC 2525, 2.17). In a test with one byte unread, 113 kB of 3.9 MB arrived.
/// A server that answers before it has read all of a request (it refuses a large upload, say) should end its
/// writing, read on for a while, and then close, so that a client that writes first and reads later sees the
/// answer:
/// ```
/// use std::net::Shutdown;
/// use std::time::Duration;
/// use reveille::net::TcpStream;
/// use reveille::time::timeout;
///
/// /// Gives the peer up to 2 s to read what was written, even if the peer goes on sending.
/// async fn close_gently(stream: TcpStream) -> std::io::Result<()> {
///     stream.shutdown(Shutdown::Write)?;
///     let mut unread = vec![0; 64 * 1024];
///     let drain = async { while matches!(stream.read(&mut unread).await, Ok(1..)) {} };
///     timeout(Duration::from_secs(2), drain).await.or(Ok(()))
/// }
/// # use std::io::{Read, Write};
/// # use reveille::net::TcpListener;
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let address = listener.local_addr()?;
/// # let client = std::thread::spawn(move || {
/// #     let mut stream = std::net::TcpStream::connect(address)?;
/// #     stream.write_all(&vec![0; 16 << 20])?;
/// #     stream.shutdown(Shutdown::Write)?;
/// #     let mut answer = String::new();
/// #     stream.read_to_string(&mut answer)?;
/// #     std::io::Result::Ok(answer)
/// # });
/// # let (stream, _) = listener.accept().await?;
///
/// stream.read(&mut [0; 1024]).await?; // The head of an upload of 16 MiB.
/// stream.write_all(b"too large").await?;
/// close_gently(stream).await?;
/// # assert_eq!(client.join().unwrap()?, "too large");
/// # Ok(())
/// # })
/// # }
/// ```
///
/// If several tasks read or write at once, the bytes of one `read` or `write` stay together, but the order of
/// these calls is not defined, and `read_exact` and `write_all` may consist of several.
///
/// In the child of a process that had a runtime before it forked, the connection is the parent's, too, and
/// each call that would change it is an error.
///
/// A future of a read or write panics when it is polled after it was ready, as any async fn does.
///
/// # Examples
/// ```
/// use std::net::Shutdown;
/// use reveille::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// reveille::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     client.write_all(b"hello").await?;
///     client.shutdown(Shutdown::Write)?;
///     let mut buf = [0; 16];
///     assert_eq!(server.read(&mut buf).await?, 5);
///     assert_eq!(server.read(&mut buf).await?, 0);
///     Ok(())
/// })
/// # }
/// ```
pub struct TcpStream {
    stream: Stream<std::net::TcpStream>,
}

impl TcpStream {
    /// Connects to an address, to one of several, or to a host by its name.
    ///
    /// Several addresses race, as RFC 8305 ("Happy Eyeballs") says: the next one is tried 250 ms after the last, at
    /// once if one has failed, and only while none has connected. So an address that never answers costs 250 ms, and
    /// not the two minutes after which the kernel gives up. The attempts that lose are closed before this returns.
    /// The addresses of a name are tried in the order of [`lookup_host`](crate::net::lookup_host), but for the
    /// families, IPv6 and IPv4, which alternate; a slice keeps its order. The delay is one of the runtime's clock: while
    /// that is [paused](crate::time::pause), only [`advance`](crate::time::advance) lets the race go on, for a clock that
    /// advances by itself stands still while an attempt waits for its socket.
    ///
    /// # Errors
    /// ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH: connect(2); EMFILE, ENFILE: socket(2); those of
    /// [`lookup_host`](crate::net::lookup_host). For several addresses or a name, the text lists all that were tried,
    /// and `raw_os_error` is `None`: see [`AddressesError`](crate::net::AddressesError).
    ///
    /// If a firewall or a sandbox refuses a call (EPERM, EACCES, EINVAL, EOPNOTSUPP, ENOSYS), the text of the error
    /// names the call, and its `raw_os_error` is `None` (see [`ExplainedError`](crate::io::ExplainedError)); this holds
    /// for the other operations, too.
    ///
    /// TCP connects a socket with itself if the system happens to choose, as its own port, the one it
    /// connects to. Such a connection counts as refused.
    ///
    /// # Cancel safety
    /// Safe: a future that is dropped early closes its sockets, and forgets the lookup. There is no time limit but the
    /// resolver's and the kernel's, of about two minutes: wrap the future in a [`timeout`](crate::time::timeout).
    pub async fn connect(addresses: impl ToSocketAddrs) -> io::Result<TcpStream> {
        let addresses = match addresses.target()? {
            Target::One(address) => return TcpStream::connect_to(address).await,
            Target::Several(addresses) => addresses,
            Target::Name(name) => alternate(resolve(name).await?),
        };
        race(addresses, TcpStream::connect_to).await
    }

    async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
        // It may fail, or connect, at once, and so may the next.
        consume_budget().await;
        let socket = sys::stream_socket(&address)?;
        let connecting = sys::connect(socket.as_fd(), &address)?;
        let stream = TcpStream::ours(socket)?;
        if connecting == Connecting::InProgress {
            stream.connected().await?;
        }
        // Compared with the address of the peer and not with the one asked for, which may be "any". Where a
        // sandbox refuses one of these calls, the connection is taken as it is.
        match (stream.local_addr(), stream.peer_addr()) {
            (Ok(local), Ok(peer)) if local == peer => {
                Err(io::Error::from_raw_os_error(libc::ECONNREFUSED))
            }
            _ => Ok(stream),
        }
    }

    /// Waits until a connection that was begun is established, or has failed.
    async fn connected(&self) -> io::Result<()> {
        loop {
            // "Writable" is a hint, not yet "connected": connect(2), EINPROGRESS.
            let mut guard = self.io().writable().await?;
            match sys::finish_connect(self.socket())? {
                Connecting::Connected => return Ok(()),
                Connecting::InProgress => guard.clear_ready(),
            }
        }
    }

    /// Wraps a socket that was just made here, and that no other code has.
    fn ours(socket: OwnedFd) -> io::Result<TcpStream> {
        TcpStream::new(std::net::TcpStream::from(socket), true)
    }

    /// Wraps a socket that a listener accepted. It is ours alone if the listener is.
    pub(super) fn accepted(socket: OwnedFd, ours_alone: bool) -> io::Result<TcpStream> {
        TcpStream::new(std::net::TcpStream::from(socket), ours_alone)
    }

    fn new(stream: std::net::TcpStream, ours_alone: bool) -> io::Result<TcpStream> {
        let stream = Stream::new(stream, ours_alone)?;
        Ok(TcpStream { stream })
    }

    /// Makes a `TcpStream` of std's stream, which is put into non-blocking mode.
    ///
    /// # Errors
    /// As ioctl(2) of FIONBIO; and always in the child of a process that had a runtime before it forked.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        refuse_in_child(stream.as_fd())?;
        stream.set_nonblocking(true)?;
        TcpStream::new(stream, false)
    }

    /// Gives back std's stream, in non-blocking mode and deregistered.
    ///
    /// # Errors
    /// None today.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        Ok(self.stream.into_inner())
    }

    /// Makes another handle to the same connection. It is not registered anywhere, so it can be used in
    /// another runtime. Bytes that one handle reads, the other does not get.
    ///
    /// # Errors
    /// EMFILE: fcntl(2), F_DUPFD_CLOEXEC.
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        self.stream.lend();
        TcpStream::new(self.std().try_clone()?, false)
    }

    /// Reads up to `buf.len()` bytes; 0 means that the peer closed its write side, or that `buf`
    /// is empty.
    ///
    /// # Errors
    /// What recv(2) reports, but for EAGAIN (waits) and EINTR (tries again): ECONNRESET,
    /// ETIMEDOUT; and those of waiting, see [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns bytes takes them from the socket.
    #[inline]
    pub fn read(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.stream.read(buf)
    }

    /// Reads into several buffers, one after the other; see [`read`](TcpStream::read). At most 1024 of them
    /// are used (IOV_MAX), beginning with the first that is not empty.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    ///
    /// # Cancel safety
    /// Safe, as [`read`](TcpStream::read).
    pub fn read_vectored(
        &self,
        bufs: &mut [IoSliceMut<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        self.stream.read_vectored(bufs)
    }

    /// Appends what arrives to `buf`, into its spare room, and returns how many bytes that were; 0 means that the peer
    /// closed its write side. A `buf` without spare room is given some for 64 bytes or more; it is for the caller to
    /// [reserve](Vec::reserve) what is worth a read. tokio's `read_buf` does the same.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read); the bytes of `buf` are then as they were, though it may have got room.
    ///
    /// # Cancel safety
    /// Safe, as [`read`](TcpStream::read).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::TcpStream;
    ///
    /// /// Reads until a whole line is there, or the end.
    /// async fn line(stream: &TcpStream) -> std::io::Result<Vec<u8>> {
    ///     let mut line = Vec::with_capacity(512);
    ///     while !line.contains(&b'\n') && stream.read_vec(&mut line).await? > 0 {}
    ///     Ok(line)
    /// }
    /// # reveille::block_on(async {
    /// # let listener = reveille::net::TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # client.write_all(b"hello\n").await?;
    /// # assert_eq!(line(&listener.accept().await?.0).await?, b"hello\n");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    #[inline]
    pub fn read_vec(&self, buf: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> {
        self.stream.read_vec(buf)
    }

    /// Fills `buf` and returns its length.
    ///
    /// # Errors
    /// `UnexpectedEof` if the peer closed its write side before; else as [`read`](TcpStream::read). The error
    /// does not say how much was read before.
    ///
    /// # Cancel safety
    /// Not safe: the bytes read so far are in `buf`, but their number is lost.
    pub fn read_exact(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.stream.read_exact(buf)
    }

    /// As [`read`](TcpStream::read), but leaves the bytes in the socket.
    ///
    /// Where SO_PEEK_OFF is set (Linux 6.9), a peek begins behind what was peeked before, and no event
    /// announces bytes there. So the peek is tried again after 1 ms, and then less and less often, at last
    /// every 100 ms.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read); `WouldBlock` outside a runtime, where nothing could end a pause.
    ///
    /// # Cancel safety
    /// Safe: a peek takes no byte.
    pub fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        self.stream.peek(buf)
    }

    /// Writes some bytes of `buf` and returns how many, which may be fewer than all.
    ///
    /// # Errors
    /// What send(2) reports, but for EAGAIN (waits) and EINTR (tries again): EPIPE (no SIGPIPE is
    /// raised), ECONNRESET; and those of waiting, see [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends bytes.
    #[inline]
    pub fn write(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> {
        self.stream.write(buf)
    }

    /// Writes from several buffers, one after the other; see [`write`](TcpStream::write). At most 1024 of
    /// them are used (IOV_MAX), beginning with the first that is not empty.
    ///
    /// # Errors
    /// As [`write`](TcpStream::write).
    ///
    /// # Cancel safety
    /// Safe, as [`write`](TcpStream::write).
    pub fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> impl Future<Output = io::Result<usize>> {
        self.stream.write_vectored(bufs)
    }

    /// Writes all of `buf`, waiting for room as often as need be.
    ///
    /// # Errors
    /// As [`write`](TcpStream::write). The error does not say how much was written before.
    ///
    /// # Cancel safety
    /// Not safe: the number of bytes written so far is lost.
    #[inline]
    pub fn write_all(&self, buf: &[u8]) -> impl Future<Output = io::Result<()>> {
        self.stream.write_all(buf)
    }

    /// Waits until a read may succeed. That is a hint; see the [contract](AsyncFd#contract).
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// Safe: readiness stays.
    pub async fn readable(&self) -> io::Result<()> {
        self.io().readable().await.map(drop)
    }

    /// Waits until a write may succeed; see [`readable`](TcpStream::readable).
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn writable(&self) -> io::Result<()> {
        self.io().writable().await.map(drop)
    }

    /// Waits until something of `interest` is reported, and returns what.
    ///
    /// # Errors
    /// As [`AsyncFd::ready`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        Ok(self.io().ready(interest).await?.ready())
    }

    /// Reads what is there, without waiting. What "is there" is as of the runtime's last turn: for bytes that
    /// came since then (right after `connect`, say) this may return `WouldBlock`.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is there; else as [`read`](TcpStream::read).
    #[inline]
    pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buf).try_now()
    }

    /// As [`try_read`](TcpStream::try_read), into several buffers.
    ///
    /// # Errors
    /// As [`try_read`](TcpStream::try_read).
    pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.stream.read_vectored(bufs).try_now()
    }

    /// As [`try_read`](TcpStream::try_read), into the spare room of a `Vec`; see [`read_vec`](TcpStream::read_vec).
    ///
    /// # Errors
    /// As [`try_read`](TcpStream::try_read).
    pub fn try_read_vec(&self, buf: &mut Vec<u8>) -> io::Result<usize> {
        self.stream.read_vec(buf).try_now()
    }

    /// Writes what there is room for, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; else as [`write`](TcpStream::write).
    #[inline]
    pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
        self.stream.write(buf).try_now()
    }

    /// As [`try_write`](TcpStream::try_write), from several buffers.
    ///
    /// # Errors
    /// As [`try_write`](TcpStream::try_write).
    pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write_vectored(bufs).try_now()
    }

    /// Tries an operation of the caller's on the socket, without waiting; see [`AsyncFd::try_io`].
    ///
    /// # Errors
    /// What `op` returns; `WouldBlock` if it is known that `op` would block.
    pub fn try_io<R>(
        &self,
        interest: Interest,
        op: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        self.stream.lend();
        self.io().try_io(interest, |_| op())
    }

    /// Tries an operation of the caller's on the socket and waits while it would block; see
    /// [`AsyncFd::async_io`].
    ///
    /// # Errors
    /// What `op` returns, but for `WouldBlock`; those of waiting, see [`AsyncFd::readable`].
    ///
    /// # Cancel safety
    /// As safe as `op`.
    pub async fn async_io<R>(
        &self,
        interest: Interest,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        self.stream.lend();
        self.io().async_io(interest, |_| op()).await
    }

    /// Polls [`read`](TcpStream::read). This and the other `poll_` methods keep wakers as
    /// [`AsyncFd::poll_read_ready`] does.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    #[inline]
    pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.stream.read(buf).poll_once(cx)
    }

    /// Polls a [`read`](TcpStream::read) into memory that need not be initialised. After `Ready(Ok(n))` the first `n`
    /// bytes of `buf` are; the others, and after anything else all, are untouched. This is for what implements the
    /// traits of other crates; into a `Vec`, [`read_vec`](TcpStream::read_vec) reads without `unsafe`.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    #[inline]
    pub fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        self.stream.read_uninit(buf).poll_once(cx)
    }

    /// Polls [`read_vec`](TcpStream::read_vec).
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    pub fn poll_read_vec(
        &self,
        cx: &mut Context<'_>,
        buf: &mut Vec<u8>,
    ) -> Poll<io::Result<usize>> {
        self.stream.read_vec(buf).poll_once(cx)
    }

    /// Polls [`read_vectored`](TcpStream::read_vectored).
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    pub fn poll_read_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.read_vectored(bufs).poll_once(cx)
    }

    /// Polls [`peek`](TcpStream::peek). Where SO_PEEK_OFF is set and there is nothing new to see, this wakes
    /// the task at once, because it has no place to keep a pause: other tasks run meanwhile, but the CPU is
    /// busy.
    ///
    /// # Errors
    /// As [`read`](TcpStream::read).
    pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_peek(cx, buf)
    }

    /// Polls [`write`](TcpStream::write).
    ///
    /// # Errors
    /// As [`write`](TcpStream::write).
    #[inline]
    pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.write(buf).poll_once(cx)
    }

    /// Polls [`write_vectored`](TcpStream::write_vectored).
    ///
    /// # Errors
    /// As [`write`](TcpStream::write).
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream.write_vectored(bufs).poll_once(cx)
    }

    /// Polls [`async_io`](TcpStream::async_io): tries an operation of the caller's on the socket.
    ///
    /// # Errors
    /// As [`async_io`](TcpStream::async_io).
    pub fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.stream.lend();
        self.io().poll_io(cx, interest, |_| op())
    }

    /// Polls [`readable`](TcpStream::readable).
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_read_ready(cx).map_ok(drop)
    }

    /// Polls [`writable`](TcpStream::writable).
    ///
    /// # Errors
    /// As [`AsyncFd::readable`].
    pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_write_ready(cx).map_ok(drop)
    }

    /// Shuts down reading, writing or both, at once: shutdown(2). What was written before is sent, unless the
    /// stream is closed meanwhile with bytes unread; see [Closing](TcpStream#closing).
    ///
    /// # Errors
    /// In the child of a fork, because the connection is the parent's, too. Else hardly any: if the
    /// connection has ended already (ENOTCONN), that is no error.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        sys::shutdown(self.socket(), how)
    }

    /// Splits the stream into halves that borrow it.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::split(self)
    }

    /// Splits the stream into halves that share it. Dropping the write half shuts down writing.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::into_split(Arc::new(self))
    }

    /// The address of this end.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// ENOTCONN if the connection has ended: getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// True if small writes are sent at once, and not gathered first (TCP_NODELAY).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn nodelay(&self) -> io::Result<bool> {
        self.std().nodelay()
    }

    /// Sets whether small writes are sent at once.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().set_nodelay(nodelay)
    }

    /// The time to live of the stream's packets, in hops (IP_TTL).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn ttl(&self) -> io::Result<u32> {
        self.std().ttl()
    }

    /// Sets the time to live of the stream's packets, in hops.
    ///
    /// # Errors
    /// EINVAL for 0 and above 255: setsockopt(2).
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().set_ttl(ttl)
    }

    /// How long the close waits for what has not been sent; `None` if it does not wait (SO_LINGER). There is
    /// no setter but [`set_zero_linger`](TcpStream::set_zero_linger): with a linger of 2 s, the close of a
    /// non-blocking socket blocked its thread for 2.02 s.
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        let seconds = sys::linger(self.socket())?;
        Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
    }

    /// True if acknowledgments are sent at once, and not with the next data (TCP_QUICKACK).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn quickack(&self) -> io::Result<bool> {
        sys::quickack(self.socket())
    }

    /// Sets whether acknowledgments are sent at once. The setting does not last: the kernel turns it on and
    /// off by itself (tcp(7)).
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        sys::set_quickack(self.socket(), quickack)
    }

    /// When the kernel asks a silent peer if it is still there (SO_KEEPALIVE and its kin); `None` if it does not.
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn keepalive(&self) -> io::Result<Option<TcpKeepalive>> {
        TcpKeepalive::of(self.socket())
    }

    /// Has the kernel ask a silent peer if it is still there, or no longer. Without this, a connection whose peer has
    /// vanished lives for ever, unless something is sent.
    ///
    /// # Errors
    /// `InvalidInput` for what is beyond the limits of [`TcpKeepalive`], and nothing is set; else as setsockopt(2).
    pub fn set_keepalive(&self, keepalive: Option<&TcpKeepalive>) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        match keepalive {
            Some(keepalive) => keepalive.give_to(self.socket()),
            None => sys::set(self.socket(), Int::KEEPALIVE, 0),
        }
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
    /// [keepalive](TcpStream::set_keepalive): a silent peer is given up at the first question after this time.
    ///
    /// # Errors
    /// `InvalidInput` for another duration; else as setsockopt(2).
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        let millis = |timeout: Duration| {
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            let millis = libc::c_int::try_from(millis)
                .ok()
                .filter(|&millis| millis > 0);
            let text = "a user timeout is from 1 ms to 2,147,483,647 ms";
            millis.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, text))
        };
        let millis = timeout.map_or(Ok(0), millis)?;
        sys::set(self.socket(), Int::USER_TIMEOUT, millis)
    }

    /// The room for bytes to be sent, in bytes, of which some is for the kernel's own use (SO_SNDBUF).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn send_buffer_size(&self) -> io::Result<u32> {
        Ok(sys::get(self.socket(), Int::SEND_BUFFER)?.unsigned_abs())
    }

    /// Sets the room for bytes to be sent, in bytes. The kernel cuts it at net.core.wmem_max, doubles it, for its own use,
    /// raises it to 4,608 bytes, and from then on no longer adjusts it (socket(7), tcp(7)).
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_send_buffer_size(&self, bytes: u32) -> io::Result<()> {
        self.set_buffer_size(Int::SEND_BUFFER, bytes)
    }

    /// The room for bytes received, in bytes, of which some is for the kernel's own use (SO_RCVBUF).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn recv_buffer_size(&self) -> io::Result<u32> {
        Ok(sys::get(self.socket(), Int::RECV_BUFFER)?.unsigned_abs())
    }

    /// Sets the room for bytes received, in bytes. The kernel cuts it at net.core.rmem_max, doubles it, for its own use,
    /// raises it to 2,304 bytes, and from then on no longer adjusts it (socket(7), tcp(7)).
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
        self.set_buffer_size(Int::RECV_BUFFER, bytes)
    }

    fn set_buffer_size(&self, option: Int, bytes: u32) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        // A number that is no int would be a negative one to the kernel, which takes that for a great one.
        let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
        sys::set(self.socket(), option, bytes)
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

    /// Takes the error that is pending on the socket, if there is one (SO_ERROR). The socket has it no
    /// longer.
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        // A child would take the error from its parent.
        refuse_in_child(self.socket())?;
        self.std().take_error()
    }

    /// True in the child of a fork, where the connection is the parent's, too.
    pub(super) fn is_inherited(&self) -> bool {
        refuse_in_child(self.socket()).is_err()
    }

    /// What reads and writes, for the traits of other crates.
    #[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
    pub(in crate::net) fn engine(&self) -> &Stream<std::net::TcpStream> {
        &self.stream
    }

    fn socket(&self) -> BorrowedFd<'_> {
        // Not `self.as_fd()`, after which no short read proves anything.
        self.stream.socket()
    }

    fn io(&self) -> &AsyncFd<std::net::TcpStream> {
        self.stream.io()
    }

    fn std(&self) -> &std::net::TcpStream {
        self.io().get_ref()
    }
}

impl AsFd for TcpStream {
    /// Hands out the socket. From then on a read that drains it costs a recv(2) and a poll(2) more: other
    /// code may read, too, so short reads prove nothing.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.lend();
        self.socket()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl TryFrom<std::net::TcpStream> for TcpStream {
    type Error = io::Error;

    fn try_from(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        TcpStream::from_std(stream)
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std().fmt(f)
    }
}
