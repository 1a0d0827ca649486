//! A Unix stream: how it is made, what it does, and who is at its other end.
//!
//! Interface: [`UnixStream`]; all its methods take `&self`.
//! Invariants:
//! - R10: no short read proves anything here, even on a stream that no other code has: descriptors and credentials
//!   that were sent end a read, and so does an urgent byte.
//! - A connect that finds the listener's queue full is tried again on a timer, because no event ever tells that there is
//!   room (fault C2).
//!
//! Over 400 lines because each method has its contract and an example; the code is a third of it.
//! Read before: `methods`, for those of reading and writing. Read next: `unix::socket`.

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
use std::path::Path;
use std::task::{Context, Poll};

use super::super::methods::{
    buffer_sizes, operations, peeking, readable, reading, refuse_in_child, set_buffer_size,
    writable, writing,
};
use super::super::options::{is_on, set_option};
use super::super::pause::BackOff;
use super::super::split::{self, Split, SplitStream};
use super::super::stream::{Attempt, Stream};
use super::super::sys::{self, Connecting, Int, UnixAddr};
use super::addr::address;
use super::ucred::UCred;
use super::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::io::{AsyncFd, Interest, Ready};
use crate::task::coop::consume_budget;

/// A connection between two sockets of one machine.
///
/// Reading and writing take `&self`, so two tasks can do both at once through an `Rc` or a reference. What
/// [`TcpStream`](crate::net::TcpStream) says of several tasks that read or write at once, and of the child of a fork, holds
/// here, too.
///
/// # Closing
/// What was written before a close arrives: it lies with the peer already. If bytes were left unread, the peer then
/// sees ECONNRESET once, in place of the end.
///
/// Of one thing no event tells (unix_poll in net/unix/af_unix.c): that writing has ended while reading goes on, by `shutdown`
/// of this end or of the peer's reading. A write that waits for room then waits on, until the peer closes or reading ends,
/// too. So end what waits before writing is shut down, or shut down both.
///
/// # Descriptors, credentials, urgent bytes
/// A read ends behind the bytes that a descriptor came with, and, while [`set_passcred`](UnixStream::set_passcred) is on,
/// before those of another process. A plain read closes the descriptors that came along: receive them by
/// [`recv_fds`](UnixStream::recv_fds). An urgent byte (MSG_OOB) is none
/// of the bytes that a read returns; [`ready`](UnixStream::ready) with [`Interest::PRIORITY`] waits for one.
///
/// # Examples
/// ```
/// use reveille::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// reveille::block_on(async {
///     let (ours, theirs) = UnixStream::pair()?;
///     ours.write_all(b"hello").await?;
///     drop(ours);
///     let mut buf = [0; 16];
///     assert_eq!(theirs.read(&mut buf).await?, 5);
///     assert_eq!(theirs.read(&mut buf).await?, 0);
///     Ok(())
/// })
/// # }
/// ```
pub struct UnixStream {
    /// The engine, which holds the socket.
    stream: Stream<StdStream>,
}

impl UnixStream {
    /// Connects to a path, or to an abstract name, which begins with a NUL: `"\0name"`.
    ///
    /// While the queue of the listener is full, connect(2) is EAGAIN on Linux, and no event tells when there is room. So
    /// this tries again after 1 ms, and then less and less often, at last every 50 ms, by the runtime's clock. There
    /// is no limit: wrap the future in a [`timeout`](crate::time::timeout). As all try by themselves, those that
    /// wait are not served in order.
    ///
    /// # Errors
    /// ECONNREFUSED if nobody listens, or the file is no socket (see [After a crash](super#after-a-crash)), ENOENT,
    /// EACCES, EPROTOTYPE (a socket of another kind is there): connect(2), unix(7); EMFILE, ENFILE: socket(2);
    /// `InvalidInput` for a path or a name of more than 107 bytes, and for a path with a NUL inside; `WouldBlock` outside
    /// a runtime, where nothing could end a pause.
    ///
    /// # Cancel safety
    /// Safe: a future that is dropped early closes its socket.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use reveille::net::{UnixSocket, UnixStream};
    /// use reveille::time::timeout;
    ///
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-full-{}", std::process::id()));
    /// # reveille::block_on(async {
    /// let socket = UnixSocket::new_stream()?;
    /// socket.bind(&path)?;
    /// let listener = socket.listen(0)?; // One connection may wait.
    /// let _first = UnixStream::connect(&path).await?;
    /// let second = timeout(Duration::from_millis(10), UnixStream::connect(&path)).await;
    /// assert!(second.is_err()); // It has waited in vain for room in the queue.
    ///
    /// let (_server, _) = listener.accept().await?;
    /// let _second = UnixStream::connect(&path).await?;
    /// # std::fs::remove_file(&path)
    /// # }).unwrap();
    /// ```
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&address(path.as_ref())?).await
    }

    /// Connects to an address of the standard library's; see [`connect`](UnixStream::connect).
    ///
    /// # Errors
    /// As [`connect`](UnixStream::connect); EINVAL for an address without a name.
    ///
    /// # Cancel safety
    /// Safe, as [`connect`](UnixStream::connect).
    ///
    /// # Examples
    /// ```
    /// use reveille::net::{UnixListener, UnixStream};
    ///
    /// # reveille::block_on(async {
    /// // The kernel chooses an abstract name, which the listener tells.
    /// let listener = UnixListener::bind("")?;
    /// let one = UnixStream::connect_addr(&listener.local_addr()?).await?;
    /// // A second connection, to where the first one goes.
    /// let _other = UnixStream::connect_addr(&one.peer_addr()?).await?;
    /// for _ in 0..2 {
    ///     listener.accept().await?;
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub async fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        let socket = sys::socket(libc::AF_UNIX, libc::SOCK_STREAM)?;
        // Before a listener has a connection that ends at once.
        refuse_in_child(socket.as_fd())?;
        UnixStream::connected(socket, true, UnixAddr::encode(address)).await
    }

    /// Connects a socket, which is ours alone or may be shared.
    pub(super) async fn connected(
        socket: OwnedFd,
        ours_alone: bool,
        address: UnixAddr,
    ) -> io::Result<UnixStream> {
        let mut back_off = BackOff::new(1, 50);
        loop {
            // It may fail, or connect, at once, and so may the next.
            consume_budget().await;
            // Its parent may have begun.
            refuse_in_child(socket.as_fd())?;
            if !ours_alone {
                // connect(2) has no flag for a single call.
                sys::keep_nonblocking(socket.as_fd())?;
            }
            match sys::connect(socket.as_fd(), &address) {
                Ok(Connecting::Connected) => return UnixStream::new(socket.into()),
                // It was interrupted: a Unix socket does not go on alone (unix_stream_connect in net/unix/af_unix.c).
                Ok(Connecting::InProgress) => {}
                // Not by an event: there is none. poll(2) says at once that the socket may be written to, and has hung up.
                Err(full) if is_full(&full) => back_off.pause(full).await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes two streams that are connected with each other: socketpair(2).
    ///
    /// # Errors
    /// EMFILE, ENFILE: socketpair(2).
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let [one, other] = sys::unix_pair(libc::SOCK_STREAM)?;
        Ok((UnixStream::new(one.into())?, UnixStream::new(other.into())?))
    }

    /// Wraps a stream that is in non-blocking mode.
    pub(super) fn new(stream: StdStream) -> io::Result<UnixStream> {
        // Whoever made it: what the peer sends makes reads short (R10).
        let stream = Stream::new(stream, false)?;
        Ok(UnixStream { stream })
    }

    /// Makes a `UnixStream` of std's stream, which is put into non-blocking mode.
    ///
    /// # Errors
    /// As ioctl(2) of FIONBIO; and always in the child of a process that had a runtime before it forked.
    ///
    /// # Examples
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream as StdStream;
    /// use reveille::net::UnixStream;
    ///
    /// # reveille::block_on(async {
    /// let (ours, mut theirs) = StdStream::pair()?;
    /// let thread = std::thread::spawn(move || {
    ///     let mut buf = [0; 5];
    ///     theirs.read_exact(&mut buf)?; // This blocks, on a thread that has nothing else to do.
    ///     theirs.write_all(&buf)
    /// });
    /// let ours = UnixStream::from_std(ours)?;
    /// ours.write_all(b"hello").await?;
    /// ours.read_exact(&mut [0; 5]).await?;
    ///
    /// // It goes back to std in non-blocking mode, which std's methods report as `WouldBlock`.
    /// let ours = ours.into_std()?;
    /// ours.set_nonblocking(false)?;
    /// # thread.join().unwrap()?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn from_std(stream: StdStream) -> io::Result<UnixStream> {
        refuse_in_child(stream.as_fd())?;
        stream.set_nonblocking(true)?;
        UnixStream::new(stream)
    }

    /// Gives back std's stream, in non-blocking mode and deregistered.
    ///
    /// # Errors
    /// None today.
    pub fn into_std(self) -> io::Result<StdStream> {
        Ok(self.stream.into_inner())
    }

    /// Makes another handle to the same connection. It is not registered anywhere, so it can be used in
    /// another runtime. Bytes that one handle reads, the other does not get.
    ///
    /// # Errors
    /// EMFILE: fcntl(2), F_DUPFD_CLOEXEC.
    ///
    /// # Examples
    /// Another program writes to the stream, as its standard output:
    /// ```
    /// use std::os::fd::OwnedFd;
    /// use std::process::Command;
    /// use reveille::net::UnixStream;
    /// use reveille::task::spawn_blocking;
    ///
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let output = ours.try_clone()?.into_std()?;
    /// output.set_nonblocking(false)?; // For both handles; those of this library do not mind.
    /// let mut command = Command::new("echo");
    /// command.arg("two").stdout(OwnedFd::from(output));
    /// // On a thread that may block: this waits until the program has ended.
    /// let status = spawn_blocking(move || command.status()).await.unwrap()?;
    /// assert!(status.success());
    /// ours.write_all(b"three").await?;
    /// let mut buf = [0; 9];
    /// theirs.read_exact(&mut buf).await?;
    /// assert_eq!(&buf, b"two\nthree");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_clone(&self) -> io::Result<UnixStream> {
        UnixStream::new(self.std().try_clone()?)
    }

    readable!();
    reading!();
    peeking!();
    writable!();
    writing!();
    operations!();
    buffer_sizes!(
        "It has no effect on Unix sockets: what may wait for a receiver is about the senders' \
         [rooms](Self::set_send_buffer_size) (unix(7))."
    );

    /// Shuts down reading, writing or both, at once: shutdown(2). What was written before arrives.
    ///
    /// # Errors
    /// In the child of a fork, because the connection is the parent's, too. Else hardly any: if the
    /// connection has ended already (ENOTCONN), that is no error.
    ///
    /// # Examples
    /// ```
    /// use std::net::Shutdown;
    /// use reveille::net::UnixStream;
    ///
    /// # reveille::block_on(async {
    /// let (client, server) = UnixStream::pair()?;
    /// client.write_all(b"a question").await?;
    /// client.shutdown(Shutdown::Write)?; // The question ends here. The answer can still come.
    ///
    /// let mut question = Vec::with_capacity(64);
    /// while server.read_vec(&mut question).await? > 0 {}
    /// server.write_all(b"an answer").await?;
    /// client.read_exact(&mut [0; 9]).await?;
    /// # assert_eq!(question, b"a question");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        sys::shutdown(self.socket(), how)
    }

    /// Splits the stream into halves that borrow it.
    ///
    /// # Examples
    /// ```
    /// use futures_lite::future::zip;
    /// use reveille::net::UnixStream;
    ///
    /// # reveille::block_on(async {
    /// let (mut ours, theirs) = UnixStream::pair()?;
    /// let echo = reveille::spawn(async move {
    ///     let mut buf = [0; 4096];
    ///     while let n @ 1.. = theirs.read(&mut buf).await? {
    ///         theirs.write_all(&buf[..n]).await?;
    ///     }
    ///     std::io::Result::Ok(())
    /// });
    ///
    /// // More than there is room for on the way: it has to be read while it is written.
    /// let sent = vec![7; 1 << 20];
    /// let mut back = vec![0; 1 << 20];
    /// let (reader, writer) = ours.split();
    /// let (written, read) = zip(writer.write_all(&sent), reader.read_exact(&mut back)).await;
    /// (written?, read?);
    /// assert_eq!(back, sent);
    /// drop(ours); // The borrow has ended, and the stream is whole.
    /// echo.await.unwrap()
    /// # }).unwrap();
    /// ```
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        split::split(self)
    }

    /// Splits the stream into halves that share it. Dropping the write half shuts down writing.
    ///
    /// # Examples
    /// ```
    /// use reveille::net::UnixStream;
    ///
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (reader, writer) = ours.into_split();
    /// let received = reveille::spawn(async move {
    ///     let mut bytes = Vec::with_capacity(64);
    ///     while reader.read_vec(&mut bytes).await? > 0 {}
    ///     std::io::Result::Ok(bytes)
    /// });
    /// writer.write_all(b"hello").await?;
    /// drop(writer); // The peer sees the end, although the other half goes on reading.
    ///
    /// let mut buf = [0; 16];
    /// assert_eq!(theirs.read(&mut buf).await?, 5);
    /// assert_eq!(theirs.read(&mut buf).await?, 0);
    /// theirs.write_all(b"goodbye").await?;
    /// drop(theirs);
    /// assert_eq!(received.await.unwrap()?, b"goodbye");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        split::into_split(self)
    }

    /// The address of this end, which has no name unless it was bound, or accepted from a listener that was.
    ///
    /// # Errors
    /// As getsockname(2).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.std().local_addr()
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// ENOTCONN if it never was connected: getpeername(2).
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.std().peer_addr()
    }

    /// Who is at the other end (SO_PEERCRED): the process that called connect(2), listen(2) or socketpair(2), as it was then.
    /// Of a socket that neither was connected nor listens, as one of [`from_std`](UnixStream::from_std) may be, the kernel
    /// says without an error that user and group are 4,294,967,295, and that there is no process.
    ///
    /// # Errors
    /// As getsockopt(2).
    ///
    /// # Examples
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// let (ours, _theirs) = reveille::net::UnixStream::pair()?;
    /// let peer = ours.peer_cred()?;
    /// println!("{:?}, of user {}", peer.pid(), peer.uid());
    /// # assert_eq!(peer.pid(), Some(std::process::id() as i32));
    /// # Ok(())
    /// # }
    /// ```
    pub fn peer_cred(&self) -> io::Result<UCred> {
        UCred::of_peer(self.socket())
    }

    /// A descriptor for the process at the other end (SO_PEERPIDFD, Linux 6.5), the one of which
    /// [`peer_cred`](UnixStream::peer_cred) has the number. It stands for that process even when that has ended and another
    /// has its number; it becomes readable when the process ends: pidfd_open(2).
    ///
    /// # Errors
    /// ENOPROTOOPT before Linux 6.5; ESRCH or EINVAL if the process has ended and was waited for (Linux gives a
    /// descriptor of such a process, too, from 6.16 on); ENODATA for a socket that never was connected, as one of
    /// [`from_std`](UnixStream::from_std) may be; EMFILE, ENFILE.
    pub fn peer_pidfd(&self) -> io::Result<OwnedFd> {
        sys::peer_pidfd(self.socket())
    }

    /// True if what arrives carries the credentials of its sender (SO_PASSCRED).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn passcred(&self) -> io::Result<bool> {
        is_on(self.socket(), Int::PASSCRED)
    }

    /// Sets whether what arrives carries the credentials of its sender: unix(7), SCM_CREDENTIALS. Bytes of different
    /// processes are then not read together.
    ///
    /// # Errors
    /// As setsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use std::os::fd::OwnedFd;
    /// use std::process::Command;
    /// use reveille::net::UnixStream;
    /// use reveille::task::spawn_blocking;
    ///
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// theirs.set_passcred(true)?;
    /// ours.write_all(b"one").await?;
    /// let output = ours.try_clone()?.into_std()?;
    /// output.set_nonblocking(false)?; // As programs expect it.
    /// let mut command = Command::new("echo");
    /// command.arg("two").stdout(OwnedFd::from(output));
    /// assert!(spawn_blocking(move || command.status()).await.unwrap()?.success());
    ///
    /// let mut buf = [0; 16]; // For both, but what another process has sent is not read along.
    /// assert_eq!(theirs.read(&mut buf).await?, 3);
    /// assert_eq!(theirs.read(&mut buf).await?, 4);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn set_passcred(&self, passcred: bool) -> io::Result<()> {
        set_option(self.socket(), Int::PASSCRED, passcred.into())
    }

    /// Takes the error that is pending on the socket, if there is one (SO_ERROR). The socket has it no
    /// longer.
    ///
    /// # Errors
    /// As getsockopt(2).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use reveille::net::UnixStream;
    ///
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// ours.write_all(b"unread").await?;
    /// drop(theirs);
    /// let error = ours.take_error()?.expect("bytes were left unread");
    /// assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    /// assert_eq!(ours.read(&mut [0; 16]).await?, 0); // The error was told, so this is the end.
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        // A child would take the error from its parent.
        refuse_in_child(self.socket())?;
        self.std().take_error()
    }

    /// What reads and writes.
    pub(super) fn engine(&self) -> &Stream<StdStream> {
        &self.stream
    }

    /// Nothing is believed of the socket that other code could make untrue.
    fn lend(&self) {}

    /// The descriptor, for system calls.
    fn socket(&self) -> BorrowedFd<'_> {
        self.stream.socket()
    }

    /// What waits for events.
    fn io(&self) -> &AsyncFd<StdStream> {
        self.stream.io()
    }

    /// The socket as std has it, for what std can do.
    fn std(&self) -> &StdStream {
        self.io().get_ref()
    }
}

/// True of the error of connect(2) where the listener's queue is full: unix(7), and unix_stream_connect in
/// net/unix/af_unix.c.
fn is_full(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAGAIN)
}

impl SplitStream for UnixStream {
    type SocketAddr = SocketAddr;

    fn local_addr(&self) -> io::Result<SocketAddr> {
        UnixStream::local_addr(self)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        UnixStream::peer_addr(self)
    }
}

impl Split for UnixStream {
    type Socket = StdStream;

    fn engine(&self) -> &Stream<StdStream> {
        &self.stream
    }

    fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        UnixStream::shutdown(self, how)
    }

    fn is_inherited(&self) -> bool {
        refuse_in_child(self.socket()).is_err()
    }
}

impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket()
    }
}

impl AsRawFd for UnixStream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl TryFrom<StdStream> for UnixStream {
    type Error = io::Error;

    fn try_from(stream: StdStream) -> io::Result<UnixStream> {
        UnixStream::from_std(stream)
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.std().fmt(f)
    }
}
