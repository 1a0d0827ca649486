//! A TCP stream: how it is made, what it does, and how it ends.
//!
//! Interface: [`TcpStream`]; all its methods take `&self`.
//! Invariant (R10): whatever hands the socket out calls [`Stream::lend`] first. From then on no short read
//! proves anything, because other code may read, too.
//!
//! Over 400 lines because the examples of reading and writing are here, for all types that read and write.
//! Read before: `methods`, for those of reading and writing. Read next: `tcp::options`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use super::super::addr::{Target, ToSocketAddrs};
use super::super::lookup::{alternate, resolve};
use super::super::methods::{
    operations, peeking, readable, reading, refuse_in_child, writable, writing,
};
use super::super::race::race;
use super::super::split::{self, Split, SplitStream};
use super::super::stream::{Attempt, Stream};
use super::super::sys::{self, Connecting, SockAddr};
use super::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
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
/// # Forms
/// Each read and each write has three forms, which do the same: a future, which waits; `try_`, which returns
/// `WouldBlock` instead; and `poll_`, for futures that are written by hand. Each form takes one buffer, or several, or
/// reads into the spare room of a `Vec`. [`UnixStream`](crate::net::UnixStream), the halves of streams, and
/// [pipes](crate::net::pipe) have them, too.
///
/// Several buffers take one system call, and no copy into one buffer:
/// ```
/// use std::future::poll_fn;
/// use std::io::{ErrorKind, IoSlice, IoSliceMut};
/// # use reveille::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let message = [IoSlice::new(b"length: 5;"), IoSlice::new(b"hello")];
/// // It may be fewer than all, if there is not room for more.
/// assert_eq!(client.write_vectored(&message).await?, 15);
/// assert_eq!(poll_fn(|cx| client.poll_write_vectored(cx, &message)).await?, 15);
///
/// let (mut head, mut body) = ([0; 10], [0; 5]);
/// let mut room = [IoSliceMut::new(&mut head), IoSliceMut::new(&mut body)];
/// assert_eq!(server.read_vectored(&mut room).await?, 15);
/// assert_eq!(poll_fn(|cx| server.poll_read_vectored(cx, &mut room)).await?, 15);
/// // Nothing is left.
/// let error = server.try_read_vectored(&mut room).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::WouldBlock);
/// assert_eq!((&head, &body), (b"length: 5;", b"hello"));
///
/// assert_eq!(server.try_write_vectored(&message)?, 15);
/// # Ok(())
/// # })
/// # }
/// ```
/// One wait, and then all that is there, without another:
/// ```
/// use std::io::{ErrorKind, Result};
/// # use reveille::net::{TcpListener, TcpStream};
///
/// /// Appends what has arrived, and stops from 64 KiB on. False at the end of the stream.
/// async fn take_all(stream: &TcpStream, taken: &mut Vec<u8>) -> Result<bool> {
///     stream.readable().await?;
///     loop {
///         match stream.try_read_vec(taken) {
///             Ok(0) => return Ok(false),
///             // A peer that sends fast must not keep the task here, nor fill the memory.
///             Ok(_) if taken.len() >= 65_536 => return Ok(true),
///             Ok(_) => {}
///             Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
///             Err(error) => return Err(error),
///         }
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let error = server.try_read(&mut [0; 16]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::WouldBlock);
///
/// // Writes until there is no more room.
/// let mut written = 0;
/// let error = loop {
///     match client.try_write(&[7; 4096]) {
///         Ok(n) => written += n,
///         Err(error) => break error,
///     }
/// };
/// assert_eq!(error.kind(), ErrorKind::WouldBlock);
/// drop(client);
///
/// let (mut taken, mut read, mut goes_on) = (Vec::new(), 0, true);
/// while goes_on {
///     goes_on = take_all(&server, &mut taken).await?;
///     read += taken.len();
///     taken.clear();
/// }
/// assert_eq!(read, written);
/// # Ok(())
/// # })
/// # }
/// ```
/// A future that is written by hand:
/// ```
/// use std::io::Result;
/// use std::pin::Pin;
/// use std::task::{Context, Poll, ready};
/// # use reveille::net::{TcpListener, TcpStream};
///
/// /// Sends back what arrives, until the end of the stream.
/// struct Echo {
///     stream: TcpStream,
///     unsent: Vec<u8>,
/// }
///
/// impl Future for Echo {
///     type Output = Result<()>;
///
///     fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
///         let Echo { stream, unsent } = &mut *self;
///         loop {
///             if unsent.is_empty() {
///                 // If nothing is there, `ready!` returns `Pending`, and the stream will wake the task.
///                 if ready!(stream.poll_read_vec(cx, unsent))? == 0 {
///                     return Poll::Ready(Ok(()));
///                 }
///             }
///             let n = ready!(stream.poll_write(cx, unsent))?;
///             unsent.drain(..n);
///         }
///     }
/// }
///
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// # let listener = TcpListener::bind("127.0.0.1:0").await?;
/// # let client = TcpStream::connect(listener.local_addr()?).await?;
/// # let (server, _) = listener.accept().await?;
/// let echo = reveille::spawn(Echo { stream: server, unsent: Vec::new() });
/// client.write_all(b"hello").await?;
/// let mut answer = [0; 5];
/// client.read_exact(&mut answer).await?;
/// assert_eq!(&answer, b"hello");
/// drop(client);
/// echo.await.unwrap()?;
/// # Ok(())
/// # })
/// # }
/// ```
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
    /// The engine, which holds the socket.
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

    /// Connects a new socket to one address.
    async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
        // It may fail, or connect, at once, and so may the next.
        consume_budget().await;
        let socket = sys::stream_socket(&address)?;
        // Before a listener has a connection that ends at once.
        refuse_in_child(socket.as_fd())?;
        TcpStream::connected_by(socket, true, address).await
    }

    /// Connects a socket, which is ours alone or may be shared; a future that is dropped early closes it.
    pub(super) async fn connected_by(
        socket: OwnedFd,
        ours_alone: bool,
        address: SocketAddr,
    ) -> io::Result<TcpStream> {
        let connecting = sys::connect(socket.as_fd(), &SockAddr::encode(&address))?;
        let stream = TcpStream::of(socket, ours_alone)?;
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

    /// Wraps a socket that was connected here, or that a listener accepted: then it is ours alone if the listener is.
    pub(super) fn of(socket: OwnedFd, ours_alone: bool) -> io::Result<TcpStream> {
        TcpStream::new(std::net::TcpStream::from(socket), ours_alone)
    }

    /// Wraps a connection in non-blocking mode, which is ours alone or may be shared.
    fn new(stream: std::net::TcpStream, ours_alone: bool) -> io::Result<TcpStream> {
        let stream = Stream::new(stream, ours_alone)?;
        Ok(TcpStream { stream })
    }

    /// Makes a `TcpStream` of std's stream, which is put into non-blocking mode.
    ///
    /// # Errors
    /// As ioctl(2) of FIONBIO; and always in the child of a process that had a runtime before it forked.
    ///
    /// # Examples
    /// A connection that comes from other code, and one that goes to a thread which may block:
    /// ```
    /// use std::io::{Read, Write};
    /// use reveille::net::{TcpListener, TcpStream};
    /// use reveille::task::spawn_blocking;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # reveille::block_on(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let address = listener.local_addr()?;
    /// # let made_by_other_code = move || std::net::TcpStream::connect(address);
    /// let client: std::net::TcpStream = spawn_blocking(made_by_other_code).await.unwrap()?;
    /// let client = TcpStream::from_std(client)?;
    ///
    /// let (server, _) = listener.accept().await?;
    /// let mut server = server.into_std()?;
    /// let answered = spawn_blocking(move || {
    ///     server.set_nonblocking(false)?;
    ///     let mut question = [0; 4];
    ///     server.read_exact(&mut question)?;
    ///     server.write_all(b"pong")
    /// });
    ///
    /// client.write_all(b"ping").await?;
    /// let mut answer = [0; 4];
    /// client.read_exact(&mut answer).await?;
    /// assert_eq!(&answer, b"pong");
    /// answered.await.unwrap()?;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        refuse_in_child(stream.as_fd())?;
        stream.set_nonblocking(true)?;
        TcpStream::new(stream, false)
    }

    /// Gives back std's stream, in non-blocking mode and deregistered.
    ///
    /// # Errors
    /// None today.
    ///
    /// # Examples
    /// See [`from_std`](TcpStream::from_std).
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        Ok(self.stream.into_inner())
    }

    /// Makes another handle to the same connection. It is not registered anywhere, so it can be used in
    /// another runtime. Bytes that one handle reads, the other does not get.
    ///
    /// # Errors
    /// EMFILE: fcntl(2), F_DUPFD_CLOEXEC.
    ///
    /// # Examples
    /// One thread writes, and another reads, each with a runtime of its own:
    /// ```
    /// use std::thread;
    /// # use reveille::net::{TcpListener, TcpStream};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let writer = reveille::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # server.write_all(b"ping").await?;
    /// let other = client.try_clone()?;
    /// let writer = thread::spawn(move || reveille::block_on(other.write_all(b"pong")));
    /// let mut got = [0; 4];
    /// client.read_exact(&mut got).await?;
    /// # assert_eq!(&got, b"ping");
    /// # server.read_exact(&mut got).await?;
    /// # assert_eq!(&got, b"pong");
    /// # std::io::Result::Ok(writer)
    /// # })?;
    /// writer.join().unwrap()?; // Outside the runtime, because this blocks.
    /// # Ok(())
    /// # }
    /// ```
    pub fn try_clone(&self) -> io::Result<TcpStream> {
        self.stream.lend();
        TcpStream::new(self.std().try_clone()?, false)
    }

    readable!();
    reading!();
    peeking!();
    writable!();
    writing!();
    operations!();

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

    /// Splits the stream into halves that borrow it, for code that takes a reader and a writer: the stream itself can
    /// be read and written at once, too.
    ///
    /// # Examples
    /// ```
    /// use futures_lite::future::try_zip;
    /// use reveille::net::tcp::{ReadHalf, WriteHalf};
    /// # use reveille::net::{TcpListener, TcpStream};
    ///
    /// /// Writes more than there is room for, and meanwhile reads what comes back.
    /// async fn exchange(reader: ReadHalf<'_>, writer: WriteHalf<'_>) -> std::io::Result<()> {
    ///     let (sent, mut got) = (vec![7; 1 << 22], vec![0; 1 << 22]);
    ///     try_zip(writer.write_all(&sent), reader.read_exact(&mut got)).await?;
    ///     assert!(got == sent);
    ///     Ok(())
    /// }
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # reveille::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// # let echo = reveille::spawn(async move {
    /// #     let mut buf = vec![0; 65_536];
    /// #     loop {
    /// #         match server.read(&mut buf).await? {
    /// #             0 => return std::io::Result::Ok(()),
    /// #             n => server.write_all(&buf[..n]).await?,
    /// #         }
    /// #     }
    /// # });
    /// let mut stream = client;
    /// let (reader, writer) = stream.split();
    /// exchange(reader, writer).await?;
    /// # drop(stream);
    /// # echo.await.unwrap()?;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::split(self)
    }

    /// Splits the stream into halves that share it. Dropping the write half shuts down writing.
    ///
    /// # Examples
    /// One task reads, and another writes:
    /// ```
    /// # use reveille::net::{TcpListener, TcpStream};
    /// # fn main() -> std::io::Result<()> {
    /// # reveille::block_on(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let (server, _) = listener.accept().await?;
    /// let (reader, writer) = client.into_split();
    /// let writing = reveille::spawn(async move { writer.write_all(b"hello").await });
    /// // `writer` is dropped when its task ends, so the other side sees the end.
    /// let mut got = Vec::new();
    /// while server.read_vec(&mut got).await? > 0 {}
    /// assert_eq!(got, b"hello");
    /// writing.await.unwrap()?;
    ///
    /// server.write_all(b"answer").await?;
    /// assert_eq!(reader.read(&mut [0; 16]).await?, 6);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::into_split(self)
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

    /// What moves the bytes, for [`reading!`] and the like.
    fn engine(&self) -> &Stream<std::net::TcpStream> {
        &self.stream
    }

    /// Called before other code gets the socket (R10), by [`operations!`], too.
    fn lend(&self) {
        self.stream.lend();
    }

    /// The socket, for calls by `net`: this does not hand it out.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        // Not `self.as_fd()`, after which no short read proves anything.
        self.stream.socket()
    }

    /// The registration, for [`readable!`] and the like.
    fn io(&self) -> &AsyncFd<std::net::TcpStream> {
        self.stream.io()
    }

    /// std's stream, for calls by `net`: this does not hand it out.
    fn std(&self) -> &std::net::TcpStream {
        self.io().get_ref()
    }
}

impl SplitStream for TcpStream {
    type SocketAddr = SocketAddr;

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpStream::local_addr(self)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        TcpStream::peer_addr(self)
    }
}

impl Split for TcpStream {
    type Socket = std::net::TcpStream;

    fn engine(&self) -> &Stream<std::net::TcpStream> {
        &self.stream
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        TcpStream::shutdown(self, how)
    }

    fn is_inherited(&self) -> bool {
        refuse_in_child(self.socket()).is_err()
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
