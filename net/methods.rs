//! The public methods that types have alike: each is written, and documented, once.
//!
//! Idea: what a type can do is a list of these macros, in the body of an `impl` of its own. So a method is inherent, needs
//! no trait in scope, and says the same of a stream, its halves and a pipe.
//!
//! Interface: [`reading!`], [`peeking!`] and [`writing!`] want of the type a method `engine`, which has the operations of
//! [`Stream`](super::stream::Stream); [`readable!`] and [`writable!`] want `io`, the [`AsyncFd`];
//! [`operations!`] wants `lend`, too, which is called before other code gets at the descriptor (R10);
//! [`buffer_sizes!`] wants `socket`.
//!
//! Over 400 lines because each operation is there as a future, `try_` and `poll_`, with its docs.
//! Read before: `net::stream`. Read next: `split`, `tcp::stream`.

use std::io;
use std::os::fd::BorrowedFd;

use super::sys::{self, Int};
use crate::io::AsyncFd;

/// What reads bytes. Of other things than sockets: what the end is, and which errors there are.
macro_rules! reading {
    () => {
        reading!(
            "that the peer closed its write side",
            "What recv(2) reports, but for EAGAIN (waits) and EINTR (tries again): ECONNRESET, ETIMEDOUT; and \
             those of waiting, see [`AsyncFd::readable`](crate::io::AsyncFd::readable)."
        );
    };
    ($end:literal, $errors:literal) => {
        #[doc = concat!("Reads up to `buf.len()` bytes; 0 means ", $end, ", or that `buf` is empty.")]
        ///
        /// # Errors
        #[doc = $errors]
        ///
        /// # Cancel safety
        /// Safe: only the poll that returns bytes takes them.
        #[inline]
        pub fn read(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
            self.engine().read(buf)
        }

        /// Reads into several buffers, one after the other; see [`read`](Self::read). At most 1024 of them
        /// are used (IOV_MAX), beginning with the first that is not empty.
        ///
        /// # Errors
        /// As [`read`](Self::read).
        ///
        /// # Cancel safety
        /// Safe, as [`read`](Self::read).
        pub fn read_vectored(
            &self,
            bufs: &mut [IoSliceMut<'_>],
        ) -> impl Future<Output = io::Result<usize>> {
            self.engine().read_vectored(bufs)
        }

        /// Appends what arrives to `buf`, into its spare room, and returns how many bytes that were;
        #[doc = concat!("0 means ", $end, ".")]
        /// A `buf` without spare room is given some for 64 bytes or more; it is for the caller to
        /// [reserve](Vec::reserve) what is worth a read. tokio's `read_buf` does the same.
        ///
        /// # Errors
        /// As [`read`](Self::read); the bytes of `buf` are then as they were, though it may have got room.
        ///
        /// # Cancel safety
        /// Safe, as [`read`](Self::read).
        ///
        /// # Examples
        /// ```
        /// use reveille::net::TcpStream;
        ///
        /// /// The next line. What has come behind it stays in `read` for the next call. `None` at the end, or once
        /// /// `read` has `most` bytes without the end of a line: what came stays there, too.
        /// async fn line(
        ///     stream: &TcpStream,
        ///     read: &mut Vec<u8>,
        ///     most: usize,
        /// ) -> std::io::Result<Option<Vec<u8>>> {
        ///     let mut searched = 0;
        ///     loop {
        ///         if let Some(at) = read[searched..].iter().position(|byte| *byte == b'\n') {
        ///             return Ok(Some(read.drain(..=searched + at).collect()));
        ///         }
        ///         searched = read.len();
        ///         if searched >= most || stream.read_vec(read).await? == 0 {
        ///             return Ok(None);
        ///         }
        ///     }
        /// }
        /// # reveille::block_on(async {
        /// # let listener = reveille::net::TcpListener::bind("127.0.0.1:0").await?;
        /// # let client = TcpStream::connect(listener.local_addr()?).await?;
        /// # client.write_all(b"one\ntwo\nthe rest").await?;
        /// # client.shutdown(std::net::Shutdown::Write)?;
        /// # let (stream, mut read) = (listener.accept().await?.0, Vec::new());
        /// assert_eq!(line(&stream, &mut read, 1000).await?.unwrap(), b"one\n");
        /// assert_eq!(line(&stream, &mut read, 1000).await?.unwrap(), b"two\n");
        /// # assert_eq!(line(&stream, &mut read, 1000).await?, None);
        /// # std::io::Result::Ok(())
        /// # }).unwrap();
        /// ```
        #[inline]
        pub fn read_vec(&self, buf: &mut Vec<u8>) -> impl Future<Output = io::Result<usize>> {
            self.engine().read_vec(buf)
        }

        /// Fills `buf` and returns its length.
        ///
        /// # Errors
        /// `UnexpectedEof` if the end comes before; else as [`read`](Self::read). The error does not say how much was
        /// read before.
        ///
        /// # Cancel safety
        /// Not safe: the bytes read so far are in `buf`, but their number is lost.
        pub fn read_exact(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
            self.engine().read_exact(buf)
        }

        /// Reads what is there, without waiting. What "is there" is as of the runtime's last turn: for bytes that
        /// came since then (right after `connect`, say) this may return `WouldBlock`. For examples of this and the
        /// other forms see [`TcpStream`](crate::net::TcpStream#forms).
        ///
        /// # Errors
        /// `WouldBlock` if nothing is there; else as [`read`](Self::read).
        #[inline]
        pub fn try_read(&self, buf: &mut [u8]) -> io::Result<usize> {
            self.engine().read(buf).try_now()
        }

        /// As [`try_read`](Self::try_read), into several buffers.
        ///
        /// # Errors
        /// As [`try_read`](Self::try_read).
        pub fn try_read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
            self.engine().read_vectored(bufs).try_now()
        }

        /// As [`try_read`](Self::try_read), into the spare room of a `Vec`; see [`read_vec`](Self::read_vec).
        ///
        /// # Errors
        /// As [`try_read`](Self::try_read).
        pub fn try_read_vec(&self, buf: &mut Vec<u8>) -> io::Result<usize> {
            self.engine().read_vec(buf).try_now()
        }

        /// Polls [`read`](Self::read). This and the other `poll_` methods keep wakers as
        /// [`AsyncFd::poll_read_ready`](crate::io::AsyncFd::poll_read_ready) does.
        ///
        /// # Errors
        /// As [`read`](Self::read).
        ///
        /// # Examples
        /// Of two connections, whichever has something first:
        /// ```
        /// use std::future::poll_fn;
        /// use std::io::Result;
        /// use std::task::Poll;
        /// # use reveille::net::TcpListener;
        /// use reveille::net::TcpStream;
        ///
        /// async fn read_either(a: &TcpStream, b: &TcpStream, buf: &mut [u8]) -> Result<usize> {
        ///     poll_fn(|cx| match a.poll_read(cx, buf) {
        ///         // If this one is pending, too, either of the two wakes the task.
        ///         Poll::Pending => b.poll_read(cx, buf),
        ///         ready => ready,
        ///     })
        ///     .await
        /// }
        ///
        /// # fn main() -> std::io::Result<()> {
        /// # reveille::block_on(async {
        /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
        /// # let client = TcpStream::connect(listener.local_addr()?).await?;
        /// # let (server, _) = listener.accept().await?;
        /// # let other = TcpStream::connect(listener.local_addr()?).await?;
        /// client.write_all(b"hello").await?;
        /// let mut buf = [0; 16];
        /// assert_eq!(read_either(&other, &server, &mut buf).await?, 5);
        /// # Ok(())
        /// # })
        /// # }
        /// ```
        #[inline]
        pub fn poll_read(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            self.engine().read(buf).poll_once(cx)
        }

        /// Polls a [`read`](Self::read) into memory that need not be initialised. After `Ready(Ok(n))` the first `n`
        /// bytes of `buf` are; the others, and after anything else all, are untouched. This is for what implements the
        /// traits of other crates; into a `Vec`, [`read_vec`](Self::read_vec) reads without `unsafe`.
        ///
        /// # Errors
        /// As [`read`](Self::read).
        ///
        /// # Examples
        /// ```
        /// use std::future::poll_fn;
        /// use std::mem::MaybeUninit;
        /// # use reveille::net::{TcpListener, TcpStream};
        ///
        /// # fn main() -> std::io::Result<()> {
        /// # reveille::block_on(async {
        /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
        /// # let client = TcpStream::connect(listener.local_addr()?).await?;
        /// # let (server, _) = listener.accept().await?;
        /// client.write_all(b"hello").await?;
        /// let mut room = [MaybeUninit::uninit(); 1024];
        /// let n = poll_fn(|cx| server.poll_read_uninit(cx, &mut room)).await?;
        /// // SAFETY: the first `n` bytes are initialised, says the contract of `poll_read_uninit`.
        /// let got = room[..n].iter().map(|byte| unsafe { byte.assume_init() });
        /// assert!(got.eq(*b"hello"));
        /// # Ok(())
        /// # })
        /// # }
        /// ```
        #[inline]
        pub fn poll_read_uninit(
            &self,
            cx: &mut Context<'_>,
            buf: &mut [MaybeUninit<u8>],
        ) -> Poll<io::Result<usize>> {
            self.engine().read_uninit(buf).poll_once(cx)
        }

        /// Polls [`read_vec`](Self::read_vec).
        ///
        /// # Errors
        /// As [`read`](Self::read).
        pub fn poll_read_vec(
            &self,
            cx: &mut Context<'_>,
            buf: &mut Vec<u8>,
        ) -> Poll<io::Result<usize>> {
            self.engine().read_vec(buf).poll_once(cx)
        }

        /// Polls [`read_vectored`](Self::read_vectored).
        ///
        /// # Errors
        /// As [`read`](Self::read).
        pub fn poll_read_vectored(
            &self,
            cx: &mut Context<'_>,
            bufs: &mut [IoSliceMut<'_>],
        ) -> Poll<io::Result<usize>> {
            self.engine().read_vectored(bufs).poll_once(cx)
        }
    };
}
pub(in crate::net) use reading;

/// What looks at bytes and leaves them.
macro_rules! peeking {
    () => {
        /// As [`read`](Self::read), but leaves the bytes in the socket.
        ///
        /// Where SO_PEEK_OFF is set (for TCP from Linux 6.9 on), a peek begins behind what was peeked before, and no event
        /// announces bytes there. So the peek is tried again after 1 ms, and then less and less often, at last
        /// every 100 ms.
        ///
        /// # Errors
        /// As [`read`](Self::read); `WouldBlock` outside a runtime, where nothing could end a pause.
        ///
        /// # Cancel safety
        /// Safe: a peek takes no byte.
        ///
        /// # Examples
        /// One port for TLS and for plain text: the first byte tells which it is, and stays for what serves it.
        /// ```
        /// use std::future::poll_fn;
        /// # use reveille::net::{TcpListener, TcpStream};
        ///
        /// async fn is_tls(stream: &TcpStream) -> std::io::Result<bool> {
        ///     let mut first = [0];
        ///     stream.peek(&mut first).await?;
        ///     Ok(first[0] == 22) // A record of the handshake: RFC 8446, section 5.1.
        /// }
        ///
        /// # fn main() -> std::io::Result<()> {
        /// # reveille::block_on(async {
        /// # let listener = TcpListener::bind("127.0.0.1:0").await?;
        /// # let client = TcpStream::connect(listener.local_addr()?).await?;
        /// # let (server, _) = listener.accept().await?;
        /// client.write_all(b"GET /").await?;
        /// assert!(!is_tls(&server).await?);
        /// let mut buf = [0; 16];
        /// assert_eq!(poll_fn(|cx| server.poll_peek(cx, &mut buf)).await?, 5);
        /// assert_eq!(server.read(&mut buf).await?, 5);
        /// assert_eq!(&buf[..5], b"GET /");
        /// # Ok(())
        /// # })
        /// # }
        /// ```
        pub fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
            self.engine().peek(buf)
        }

        /// Polls [`peek`](Self::peek). Where SO_PEEK_OFF is set and there is nothing new to see, this has
        /// the task polled again after 5 ms, as it has no place to keep a longer pause.
        ///
        /// # Errors
        /// As [`read`](Self::read); `WouldBlock` outside a runtime, where nothing could end the pause.
        pub fn poll_peek(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            self.engine().poll_peek(cx, buf)
        }
    };
}
pub(in crate::net) use peeking;

/// What waits until a read may succeed.
macro_rules! readable {
    () => {
        /// Waits until a read may succeed. That is a hint; see the [contract](crate::io::AsyncFd#contract).
        ///
        /// # Errors
        /// As [`AsyncFd::readable`](crate::io::AsyncFd::readable).
        ///
        /// # Cancel safety
        /// Safe: readiness stays.
        pub async fn readable(&self) -> io::Result<()> {
            self.io().readable().await.map(drop)
        }

        /// Polls [`readable`](Self::readable).
        ///
        /// # Errors
        /// As [`AsyncFd::readable`](crate::io::AsyncFd::readable).
        pub fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.io().poll_read_ready(cx).map_ok(drop)
        }
    };
}
pub(in crate::net) use readable;

/// What writes bytes. Of other things than sockets: how many of them, and which errors there are.
macro_rules! writing {
    () => {
        writing!(
            "which may be fewer than all.",
            "What send(2) reports, but for EAGAIN (waits) and EINTR (tries again): EPIPE (no SIGPIPE is raised), \
             ECONNRESET; and those of waiting, see [`AsyncFd::readable`](crate::io::AsyncFd::readable)."
        );
    };
    ($how_many:literal, $errors:literal) => {
        #[doc = concat!("Writes some bytes of `buf` and returns how many, ", $how_many)]
        ///
        /// # Errors
        #[doc = $errors]
        ///
        /// # Cancel safety
        /// Safe: only the poll that returns `Ready` writes bytes.
        #[inline]
        pub fn write(&self, buf: &[u8]) -> impl Future<Output = io::Result<usize>> {
            self.engine().write(buf)
        }

        /// Writes from several buffers, one after the other; see [`write`](Self::write). At most 1024 of
        /// them are used (IOV_MAX), beginning with the first that is not empty.
        ///
        /// # Errors
        /// As [`write`](Self::write).
        ///
        /// # Cancel safety
        /// Safe, as [`write`](Self::write).
        pub fn write_vectored(
            &self,
            bufs: &[IoSlice<'_>],
        ) -> impl Future<Output = io::Result<usize>> {
            self.engine().write_vectored(bufs)
        }

        /// Writes all of `buf`, waiting for room as often as need be.
        ///
        /// # Errors
        /// As [`write`](Self::write). The error does not say how much was written before.
        ///
        /// # Cancel safety
        /// Not safe: the number of bytes written so far is lost.
        #[inline]
        pub fn write_all(&self, buf: &[u8]) -> impl Future<Output = io::Result<()>> {
            self.engine().write_all(buf)
        }

        /// Writes what there is room for, without waiting. For examples of this and the other forms see
        /// [`TcpStream`](crate::net::TcpStream#forms).
        ///
        /// # Errors
        /// `WouldBlock` if there is none; else as [`write`](Self::write).
        #[inline]
        pub fn try_write(&self, buf: &[u8]) -> io::Result<usize> {
            self.engine().write(buf).try_now()
        }

        /// As [`try_write`](Self::try_write), from several buffers.
        ///
        /// # Errors
        /// As [`try_write`](Self::try_write).
        pub fn try_write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
            self.engine().write_vectored(bufs).try_now()
        }

        /// Polls [`write`](Self::write).
        ///
        /// # Errors
        /// As [`write`](Self::write).
        #[inline]
        pub fn poll_write(&self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            self.engine().write(buf).poll_once(cx)
        }

        /// Polls [`write_vectored`](Self::write_vectored).
        ///
        /// # Errors
        /// As [`write`](Self::write).
        pub fn poll_write_vectored(
            &self,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.engine().write_vectored(bufs).poll_once(cx)
        }
    };
}
pub(in crate::net) use writing;

/// What waits until a write may succeed.
macro_rules! writable {
    () => {
        /// Waits until a write may succeed. That is a hint; see the [contract](crate::io::AsyncFd#contract).
        ///
        /// # Errors
        /// As [`AsyncFd::readable`](crate::io::AsyncFd::readable).
        ///
        /// # Cancel safety
        /// Safe.
        pub async fn writable(&self) -> io::Result<()> {
            self.io().writable().await.map(drop)
        }

        /// Polls [`writable`](Self::writable).
        ///
        /// # Errors
        /// As [`AsyncFd::readable`](crate::io::AsyncFd::readable).
        pub fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.io().poll_write_ready(cx).map_ok(drop)
        }
    };
}
pub(in crate::net) use writable;

/// What makes an operation of the caller's wait.
macro_rules! operations {
    () => {
        /// Waits until something of `interest` is reported, and returns what.
        ///
        /// # Errors
        /// As [`AsyncFd::ready`](crate::io::AsyncFd::ready).
        ///
        /// # Cancel safety
        /// Safe.
        pub async fn ready(&self, interest: Interest) -> io::Result<Ready> {
            Ok(self.io().ready(interest).await?.ready())
        }

        /// Tries an operation of the caller's on the descriptor, without waiting; see
        /// [`AsyncFd::try_io`](crate::io::AsyncFd::try_io).
        ///
        /// # Errors
        /// What `op` returns; `WouldBlock` if it is known that `op` would block.
        pub fn try_io<R>(
            &self,
            interest: Interest,
            op: impl FnOnce() -> io::Result<R>,
        ) -> io::Result<R> {
            self.lend();
            self.io().try_io(interest, |_| op())
        }

        /// Tries an operation of the caller's on the descriptor and waits while it would block; see
        /// [`AsyncFd::async_io`](crate::io::AsyncFd::async_io).
        ///
        /// # Errors
        /// What `op` returns, but for `WouldBlock`; those of waiting, see [`AsyncFd::readable`](crate::io::AsyncFd::readable).
        ///
        /// # Cancel safety
        /// As safe as `op`.
        pub async fn async_io<R>(
            &self,
            interest: Interest,
            mut op: impl FnMut() -> io::Result<R>,
        ) -> io::Result<R> {
            self.lend();
            self.io().async_io(interest, |_| op()).await
        }

        /// Polls [`async_io`](Self::async_io): tries an operation of the caller's on the descriptor.
        ///
        /// # Errors
        /// As [`async_io`](Self::async_io).
        pub fn poll_io<R>(
            &self,
            cx: &mut Context<'_>,
            interest: Interest,
            mut op: impl FnMut() -> io::Result<R>,
        ) -> Poll<io::Result<R>> {
            self.lend();
            self.io().poll_io(cx, interest, |_| op())
        }
    };
}
pub(in crate::net) use operations;

/// The rooms that the kernel keeps for a socket.
macro_rules! buffer_sizes {
    () => {
        buffer_sizes!("");
    };
    // What there is to say of the room for bytes received, where it has no effect.
    ($received:literal) => {
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
            set_buffer_size(self.socket(), Int::SEND_BUFFER, bytes)
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
        #[doc = $received]
        ///
        /// # Errors
        /// As setsockopt(2).
        pub fn set_recv_buffer_size(&self, bytes: u32) -> io::Result<()> {
            set_buffer_size(self.socket(), Int::RECV_BUFFER, bytes)
        }
    };
}
pub(in crate::net) use buffer_sizes;

/// Sets the room for bytes sent or received.
pub(in crate::net) fn set_buffer_size(
    socket: BorrowedFd<'_>,
    option: Int,
    bytes: u32,
) -> io::Result<()> {
    refuse_in_child(socket)?;
    // A number that is no int would be a negative one to the kernel, which takes that for a great one.
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    sys::set(socket, option, bytes)
}

/// Asked before a socket is changed: an error in the child of a fork, because the socket is the
/// parent's, too. [`AsyncFd::new`] is an error there; otherwise it makes no system call, and so
/// costs nothing.
pub(in crate::net) fn refuse_in_child(socket: BorrowedFd<'_>) -> io::Result<()> {
    AsyncFd::new(socket).map(drop)
}
