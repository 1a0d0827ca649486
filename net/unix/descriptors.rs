//! Descriptors that are passed between processes.
//!
//! Interface: [`ReceivedFds`]; `send_fds` and `recv_fds` of [`UnixStream`], its halves and [`UnixDatagram`], which also has
//! [`send_fds_to`](UnixDatagram::send_fds_to).
//! Invariant: a descriptor that came is in the [`ReceivedFds`], or closed: only the poll that returns one takes anything
//! from the socket.
//!
//! Over 400 lines because each operation is there as a future, `try_` and `poll_`, for streams and for datagrams,
//! with its docs and an example.
//! Read before: `net::sys::descriptors`, `unix::stream`, `unix::datagram`.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{SocketAddr, UnixStream as StdStream};
use std::path::Path;
use std::task::{Context, Poll, ready};

use super::super::split::{Reader, Writer};
use super::super::stream::{Attempt, Stream};
use super::super::sys::{self, Came, UnixAddr};
use super::addr::address;
use super::datagram::{UnixDatagram, named};
use super::stream::UnixStream;
use crate::io::Interest;

/// What `recv_fds` received: some bytes, and the descriptors that came with them.
///
/// The descriptors are duplicates, which this process now owns: they are close-on-exec, and dropping this closes them.
/// What they are is the sender's choice, and O_NONBLOCK is a flag of what both share: look before you trust them.
///
/// To close one may take time, and the thread with it. If the sender has closed its own, this one is the last: a TCP socket
/// with SO_LINGER and bytes that its peer does not take keeps close(2) for as long as the sender chose. That holds for what is
/// closed unseen, too: descriptors beyond `max_fds`, and all that come to a plain receive, which the kernel closes. Let only
/// peers pass descriptors that you trust so far. (The kernel takes them from whoever can send; there is no way to refuse them
/// before Linux 6.16, SO_PASSRIGHTS.)
#[derive(Debug)]
#[must_use = "dropping it closes the descriptors that came"]
pub struct ReceivedFds {
    /// How many bytes, which descriptors, and whether any were lost.
    came: Came,
    /// The sender; `None` on a stream.
    from: Option<SocketAddr>,
}

impl ReceivedFds {
    /// How many bytes were received. On a stream, 0 means that the peer closed its write side, or that there was no room
    /// for a byte.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty datagram is one like any other"
    )]
    pub fn len(&self) -> usize {
        self.came.len
    }

    /// The descriptors, in the order in which they were sent.
    pub fn fds(&self) -> &[OwnedFd] {
        &self.came.fds
    }

    /// The descriptors, for the caller to keep.
    ///
    /// # Examples
    /// ```
    /// use std::fs::File;
    /// use std::io::{Error, IoSlice, IoSliceMut, Result};
    /// use std::os::fd::{AsFd, OwnedFd};
    /// use reveille::net::UnixStream;
    ///
    /// /// Receives a byte, and the one descriptor that has to come with it.
    /// async fn receive(stream: &UnixStream) -> Result<OwnedFd> {
    ///     let mut byte = [0];
    ///     let received = stream.recv_fds(&mut [IoSliceMut::new(&mut byte)], 1).await?;
    ///     if received.are_fds_truncated() {
    ///         return Err(Error::other("descriptors were lost"));
    ///     }
    ///     received.into_fds().pop().ok_or_else(|| Error::other("no descriptor came"))
    /// }
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (byte, file) = ([IoSlice::new(b"x")], File::open("/dev/null")?);
    /// ours.send_fds(&byte, &[file.as_fd()]).await?;
    /// receive(&theirs).await?;
    /// for wrong in [&[][..], &[file.as_fd(), file.as_fd()]] {
    ///     ours.send_fds(&byte, wrong).await?;
    ///     assert!(receive(&theirs).await.is_err());
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn into_fds(self) -> Vec<OwnedFd> {
        self.came.fds
    }

    /// True if the datagram was longer than the room for it; the rest is lost. Never on a stream.
    pub fn is_data_truncated(&self) -> bool {
        self.came.data_truncated
    }

    /// True if descriptors came that are lost, and closed. Either there were more than `max_fds`, or this process has
    /// reached its limit of descriptors (EMFILE is not reported otherwise), or a security module (SELinux, say) did not let
    /// them pass. It is also true if there was no room for something else that the socket is set to receive: a security label
    /// of more than 256 bytes.
    pub fn are_fds_truncated(&self) -> bool {
        self.came.fds_truncated
    }

    /// The sender of the datagram; `None` on a stream.
    pub fn from(&self) -> Option<&SocketAddr> {
        self.from.as_ref()
    }
}

/// Descriptors, which go with the bytes of a stream.
///
/// A descriptor that is passed is another one, of the receiver's, to the same open file, socket or pipe. Descriptors belong
/// to the first byte of a message. If the bytes of a message are its length and what is in it, say, pass them with the
/// length, and expect them there.
///
/// ```
/// use std::fs::File;
/// use std::io::{IoSlice, IoSliceMut, Write};
/// use std::os::fd::AsFd;
/// use reveille::net::UnixStream;
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("reveille-doc-fds-{}", std::process::id()));
/// reveille::block_on(async {
///     let (ours, theirs) = UnixStream::pair()?;
///
///     // A process that may write to the file passes it to one that may not.
///     let log = File::create(&path)?;
///     let request = b"log here";
///     let n = ours.send_fds(&[IoSlice::new(request)], &[log.as_fd()]).await?;
///     ours.write_all(&request[n..]).await?; // The rest, if there is one, without the descriptor.
///
///     let mut buf = [0; 64];
///     let received = theirs.recv_fds(&mut [IoSliceMut::new(&mut buf)], 1).await?;
///     for fd in received.into_fds() {
///         File::from(fd).write_all(b"started")?;
///     }
///     assert_eq!(std::fs::read(&path)?, b"started");
///     # std::fs::remove_file(&path)?;
///     Ok(())
/// })
/// # }
/// ```
impl UnixStream {
    /// Writes some bytes of `bufs`, one after the other, and passes `fds` to the peer with the first of them. Returns how
    /// many bytes were written, which may be fewer than all: the descriptors have gone then, so send the rest without them.
    /// At most 1024 of the buffers are used (IOV_MAX), beginning with the first that is not empty.
    ///
    /// The peer has to receive them by [`recv_fds`](UnixStream::recv_fds), or recvmsg(2): a plain read closes them. The
    /// descriptors given here stay open.
    ///
    /// # Errors
    /// `InvalidInput` for descriptors without a byte, with which the kernel would pass nothing, and for more than 253
    /// (unix(7), SCM_MAX_FD); ETOOMANYREFS if more are under way than the limit of descriptors (RLIMIT_NOFILE); else as
    /// [`write`](UnixStream::write).
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends.
    pub async fn send_fds(
        &self,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> io::Result<usize> {
        sending(self.engine(), bufs, fds)?.await
    }

    /// As [`send_fds`](UnixStream::send_fds) what there is room for, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; else as [`send_fds`](UnixStream::send_fds).
    ///
    /// # Examples
    /// ```
    /// use std::fs::File;
    /// use std::io::{ErrorKind, IoSlice, IoSliceMut};
    /// use std::os::fd::AsFd;
    /// use reveille::net::UnixStream;
    ///
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let file = File::open("/dev/null")?;
    /// assert_eq!(ours.try_send_fds(&[IoSlice::new(b"x")], &[file.as_fd()])?, 1);
    ///
    /// theirs.readable().await?;
    /// let mut buf = [0; 16];
    /// let received = theirs.try_recv_fds(&mut [IoSliceMut::new(&mut buf)], 1)?;
    /// assert_eq!((received.len(), received.fds().len()), (1, 1));
    /// let error = theirs.try_recv_fds(&mut [IoSliceMut::new(&mut buf)], 1).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::WouldBlock);
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn try_send_fds(&self, bufs: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        sending(self.engine(), bufs, fds)?.try_now()
    }

    /// Polls [`send_fds`](UnixStream::send_fds).
    ///
    /// # Errors
    /// As [`send_fds`](UnixStream::send_fds).
    ///
    /// # Examples
    /// ```
    /// use std::collections::VecDeque;
    /// use std::fs::File;
    /// use std::future::poll_fn;
    /// use std::io::{IoSlice, IoSliceMut, Result};
    /// use std::os::fd::{AsFd, OwnedFd};
    /// use std::task::{Context, Poll, ready};
    /// use reveille::net::UnixStream;
    ///
    /// /// Passes descriptors, each with a byte. A descriptor is closed here once it is on its way.
    /// fn poll_flush(
    ///     stream: &UnixStream,
    ///     fds: &mut VecDeque<OwnedFd>,
    ///     cx: &mut Context<'_>,
    /// ) -> Poll<Result<()>> {
    ///     while let Some(fd) = fds.front() {
    ///         ready!(stream.poll_send_fds(cx, &[IoSlice::new(b"x")], &[fd.as_fd()]))?;
    ///         fds.pop_front();
    ///     }
    ///     Poll::Ready(Ok(()))
    /// }
    ///
    /// /// The next descriptor that was passed; `None` is the end of the stream.
    /// fn poll_next(stream: &UnixStream, cx: &mut Context<'_>) -> Poll<Result<Option<OwnedFd>>> {
    ///     loop {
    ///         let mut byte = [0];
    ///         let bufs = &mut [IoSliceMut::new(&mut byte)];
    ///         let received = ready!(stream.poll_recv_fds(cx, bufs, 1))?;
    ///         let is_end = received.len() == 0;
    ///         let fd = received.into_fds().pop();
    ///         if fd.is_some() || is_end {
    ///             return Poll::Ready(Ok(fd));
    ///         }
    ///     }
    /// }
    /// # reveille::block_on(async {
    /// # let (ours, theirs) = UnixStream::pair()?;
    /// # let mut fds = VecDeque::new();
    /// # for _ in 0..3 {
    /// #     fds.push_back(File::open("/dev/null")?.into());
    /// # }
    /// poll_fn(|cx| poll_flush(&ours, &mut fds, cx)).await?;
    /// drop(ours);
    /// let mut received = Vec::new();
    /// while let Some(fd) = poll_fn(|cx| poll_next(&theirs, cx)).await? {
    ///     received.push(fd);
    /// }
    /// # assert_eq!((fds.len(), received.len()), (0, 3));
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn poll_send_fds(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        sending(self.engine(), bufs, fds)?.poll_once(cx)
    }

    /// Reads into `bufs`, one after the other, and receives the descriptors that came with these bytes, `max_fds` of them at
    /// most. If more came, those are closed, and [it says so](ReceivedFds::are_fds_truncated).
    ///
    /// A read does not go beyond a message with descriptors: they are of the last message that it has bytes of. They come
    /// with the first byte of that, even if there is no room for the rest. So **whatever reads that byte has to be this**:
    /// a plain read closes them, and nothing says so. A peek leaves them.
    ///
    /// # Errors
    /// As [`read`](UnixStream::read).
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` takes bytes and descriptors from the socket.
    pub async fn recv_fds(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        max_fds: usize,
    ) -> io::Result<ReceivedFds> {
        let mut came = Came::NOTHING;
        reading(self.engine(), bufs, max_fds, &mut came).await?;
        Ok(ReceivedFds { came, from: None })
    }

    /// As [`recv_fds`](UnixStream::recv_fds) what is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is; else as [`read`](UnixStream::read).
    pub fn try_recv_fds(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        max_fds: usize,
    ) -> io::Result<ReceivedFds> {
        let mut came = Came::NOTHING;
        reading(self.engine(), bufs, max_fds, &mut came).try_now()?;
        Ok(ReceivedFds { came, from: None })
    }

    /// Polls [`recv_fds`](UnixStream::recv_fds).
    ///
    /// # Errors
    /// As [`read`](UnixStream::read).
    pub fn poll_recv_fds(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        max_fds: usize,
    ) -> Poll<io::Result<ReceivedFds>> {
        let mut came = Came::NOTHING;
        ready!(reading(self.engine(), bufs, max_fds, &mut came).poll_once(cx))?;
        Poll::Ready(Ok(ReceivedFds { came, from: None }))
    }
}

/// Descriptors, which come with the bytes of the stream.
impl<S: Deref<Target = UnixStream>> Reader<S> {
    /// See [`UnixStream::recv_fds`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Safe, as there.
    ///
    /// # Examples
    /// ```
    /// use std::fs::File;
    /// use std::future::poll_fn;
    /// use std::io::{IoSlice, IoSliceMut};
    /// use std::os::fd::AsFd;
    /// use reveille::net::UnixStream;
    ///
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixStream::pair()?;
    /// let (reader, writer) = theirs.into_split();
    /// let file = File::open("/dev/null")?;
    /// for _ in 0..3 {
    ///     ours.send_fds(&[IoSlice::new(b"x")], &[file.as_fd()]).await?;
    /// }
    /// let mut buf = [0; 16];
    /// let bufs = &mut [IoSliceMut::new(&mut buf)];
    /// // One after the other, though there is room for the bytes of all.
    /// assert_eq!(reader.recv_fds(bufs, 1).await?.len(), 1);
    /// assert_eq!(reader.try_recv_fds(bufs, 1)?.len(), 1);
    /// let received = poll_fn(|cx| reader.poll_recv_fds(cx, bufs, 1)).await?;
    /// assert_eq!((received.len(), received.fds().len()), (1, 1));
    /// writer.write_all(b"thanks").await?;
    /// ours.read_exact(&mut [0; 6]).await?;
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn recv_fds(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        max_fds: usize,
    ) -> impl Future<Output = io::Result<ReceivedFds>> {
        self.as_ref().recv_fds(bufs, max_fds)
    }

    /// See [`UnixStream::try_recv_fds`].
    ///
    /// # Errors
    /// As there.
    pub fn try_recv_fds(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        max_fds: usize,
    ) -> io::Result<ReceivedFds> {
        self.as_ref().try_recv_fds(bufs, max_fds)
    }

    /// See [`UnixStream::poll_recv_fds`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_recv_fds(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        max_fds: usize,
    ) -> Poll<io::Result<ReceivedFds>> {
        self.as_ref().poll_recv_fds(cx, bufs, max_fds)
    }
}

/// Descriptors, which go with the bytes of the stream.
impl<S: Deref<Target = UnixStream>> Writer<S> {
    /// See [`UnixStream::send_fds`].
    ///
    /// # Errors
    /// As there.
    ///
    /// # Cancel safety
    /// Safe, as there.
    ///
    /// # Examples
    /// ```
    /// use std::fs::File;
    /// use std::future::poll_fn;
    /// use std::io::{IoSlice, IoSliceMut};
    /// use std::os::fd::AsFd;
    /// use reveille::net::UnixStream;
    ///
    /// # reveille::block_on(async {
    /// let (mut ours, theirs) = UnixStream::pair()?;
    /// let (_reader, writer) = ours.split();
    /// let (byte, file) = ([IoSlice::new(b"x")], File::open("/dev/null")?);
    /// writer.send_fds(&byte, &[file.as_fd()]).await?;
    /// writer.try_send_fds(&byte, &[file.as_fd()])?;
    /// poll_fn(|cx| writer.poll_send_fds(cx, &byte, &[file.as_fd()])).await?;
    ///
    /// let mut buf = [0; 16];
    /// for _ in 0..3 {
    ///     let received = theirs.recv_fds(&mut [IoSliceMut::new(&mut buf)], 1).await?;
    ///     assert_eq!((received.len(), received.fds().len()), (1, 1));
    /// }
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn send_fds(
        &self,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        self.as_ref().send_fds(bufs, fds)
    }

    /// See [`UnixStream::try_send_fds`].
    ///
    /// # Errors
    /// As there.
    pub fn try_send_fds(&self, bufs: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.as_ref().try_send_fds(bufs, fds)
    }

    /// See [`UnixStream::poll_send_fds`].
    ///
    /// # Errors
    /// As there.
    pub fn poll_send_fds(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        self.as_ref().poll_send_fds(cx, bufs, fds)
    }
}

/// A write with descriptors.
fn sending(
    stream: &Stream<StdStream>,
    bufs: &[IoSlice<'_>],
    fds: &[BorrowedFd<'_>],
) -> io::Result<impl Attempt<Output = io::Result<usize>>> {
    if !fds.is_empty() && bufs.iter().all(|buf| buf.is_empty()) {
        let text = "on a stream descriptors go with a byte, and there is none";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    Ok(stream.write_by(bufs, |socket, bufs| {
        sys::send_fds(socket, &bufs[sys::window(bufs)], fds, None)
    }))
}

/// A read of bytes and of the descriptors that come with them.
fn reading(
    stream: &Stream<StdStream>,
    bufs: &mut [IoSliceMut<'_>],
    max_fds: usize,
    came: &mut Came,
) -> impl Attempt<Output = io::Result<usize>> {
    stream.read_by(bufs, move |socket, bufs| {
        let window = sys::window(bufs);
        let mut from = UnixAddr::EMPTY; // Of no interest: it is the peer.
        *came = sys::recv_fds(socket, &mut bufs[window], max_fds, &mut from)?;
        Ok(came.len)
    })
}

/// Descriptors, which go with a datagram.
impl UnixDatagram {
    /// Sends `bufs`, one after the other, as one datagram to the peer, and passes `fds` with it. The datagram may be empty.
    /// Returns its length.
    ///
    /// The receiver has to take it by [`recv_fds`](UnixDatagram::recv_fds), or recvmsg(2): a plain receive closes the
    /// descriptors. Those given here stay open.
    ///
    /// # Errors
    /// `InvalidInput` for more than 253 descriptors (unix(7), SCM_MAX_FD); ETOOMANYREFS if more are under way than the limit
    /// of descriptors (RLIMIT_NOFILE); EMSGSIZE for more than 1024 buffers (IOV_MAX); else as [`send`](UnixDatagram::send).
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends.
    ///
    /// # Examples
    /// ```
    /// use std::io::{IoSlice, Read, Write};
    /// use std::os::fd::AsFd;
    /// use std::os::unix::net::UnixStream as StdStream;
    /// use reveille::net::UnixDatagram;
    ///
    /// # reveille::block_on(async {
    /// let (ours, theirs) = UnixDatagram::pair()?;
    /// let (mut output, input) = StdStream::pair()?;
    /// // A datagram may be empty: the descriptor says enough.
    /// ours.send_fds(&[], &[input.as_fd()]).await?;
    /// drop(input);
    ///
    /// let received = theirs.recv_fds(&mut [], 1).await?;
    /// // std's calls may block; here nothing makes them wait.
    /// for fd in received.into_fds() {
    ///     StdStream::from(fd).write_all(b"hello")?;
    /// }
    /// // The descriptor here is closed, and so is the one that was passed: this is the end.
    /// let mut text = String::new();
    /// output.read_to_string(&mut text)?;
    /// assert_eq!(text, "hello");
    /// # std::io::Result::Ok(())
    /// # }).unwrap();
    /// ```
    pub fn send_fds(
        &self,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> impl Future<Output = io::Result<usize>> {
        self.io().async_io(Interest::WRITABLE, move |socket| {
            sys::send_fds(socket.as_fd(), bufs, fds, Some(&UnixAddr::PEER))
        })
    }

    /// As [`send_fds`](UnixDatagram::send_fds) if there is room, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if there is none; else as [`send_fds`](UnixDatagram::send_fds).
    pub fn try_send_fds(&self, bufs: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.io().try_io(Interest::WRITABLE, |socket| {
            sys::send_fds(socket.as_fd(), bufs, fds, Some(&UnixAddr::PEER))
        })
    }

    /// Polls [`send_fds`](UnixDatagram::send_fds).
    ///
    /// # Errors
    /// As [`send_fds`](UnixDatagram::send_fds).
    ///
    /// # Examples
    /// ```
    /// use std::fs::File;
    /// use std::future::poll_fn;
    /// use std::io::{IoSlice, IoSliceMut, Result};
    /// use std::os::fd::{AsFd, BorrowedFd};
    /// use std::path::Path;
    /// use std::task::{Context, Poll};
    /// use reveille::net::UnixDatagram;
    /// use reveille::net::unix::SocketAddr;
    ///
    /// /// Where a descriptor is passed to.
    /// enum To<'a> {
    ///     Peer,
    ///     Path(&'a Path),
    ///     Address(&'a SocketAddr),
    /// }
    ///
    /// fn poll_pass(
    ///     socket: &UnixDatagram,
    ///     (fd, to): (BorrowedFd<'_>, &To<'_>),
    ///     cx: &mut Context<'_>,
    /// ) -> Poll<Result<usize>> {
    ///     let bufs = &[IoSlice::new(b"file")];
    ///     match to {
    ///         To::Peer => socket.poll_send_fds(cx, bufs, &[fd]),
    ///         To::Path(path) => socket.poll_send_fds_to(cx, bufs, &[fd], path),
    ///         To::Address(address) => socket.poll_send_fds_to_addr(cx, bufs, &[fd], address),
    ///     }
    /// }
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-pass-{}", std::process::id()));
    /// # reveille::block_on(async {
    /// let (ours, theirs) = (UnixDatagram::unbound()?, UnixDatagram::bind(&path)?);
    /// ours.connect(&path)?;
    /// let (address, file) = (theirs.local_addr()?, File::open("/dev/null")?);
    /// for to in [To::Peer, To::Path(&path), To::Address(&address)] {
    ///     poll_fn(|cx| poll_pass(&ours, (file.as_fd(), &to), cx)).await?;
    ///     let mut buf = [0; 16];
    ///     let bufs = &mut [IoSliceMut::new(&mut buf)];
    ///     let received = poll_fn(|cx| theirs.poll_recv_fds(cx, bufs, 1)).await?;
    ///     assert_eq!((received.len(), received.fds().len()), (4, 1));
    /// }
    /// # std::fs::remove_file(&path)
    /// # }).unwrap();
    /// ```
    pub fn poll_send_fds(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_io(cx, Interest::WRITABLE, |socket| {
            sys::send_fds(socket.as_fd(), bufs, fds, Some(&UnixAddr::PEER))
        })
    }

    /// As [`send_fds`](UnixDatagram::send_fds), to the socket at a path, or at an abstract name. While there is no room, it
    /// [tries again](UnixDatagram#room), from time to time.
    ///
    /// # Errors
    /// As [`send_fds`](UnixDatagram::send_fds) and [`send_to`](UnixDatagram::send_to).
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends.
    ///
    /// # Examples
    /// A client asks for a file, and gets it open:
    /// ```
    /// use std::fs::File;
    /// use std::io::{IoSlice, IoSliceMut};
    /// use std::os::fd::AsFd;
    /// use reveille::net::UnixDatagram;
    ///
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-ask-{}", std::process::id()));
    /// # reveille::block_on(async {
    /// let (server, client) = (UnixDatagram::bind(&path)?, UnixDatagram::bind("")?);
    /// client.send_fds_to(&[IoSlice::new(b"the file")], &[], &path).await?;
    ///
    /// let mut buf = [0; 64];
    /// let asked = server.recv_fds(&mut [IoSliceMut::new(&mut buf)], 0).await?;
    /// let from = asked.from().expect("of a datagram it is known");
    /// // A name that the server knows, and no path: the server opens the file with rights of its own.
    /// assert_eq!(&buf[..asked.len()], b"the file");
    /// let file = File::open("/dev/null")?;
    /// server.send_fds_to_addr(&[IoSlice::new(b"open")], &[file.as_fd()], from).await?;
    ///
    /// let answer = client.recv_fds(&mut [IoSliceMut::new(&mut buf)], 1).await?;
    /// assert_eq!((&buf[..answer.len()], answer.fds().len()), (&b"open"[..], 1));
    /// # std::fs::remove_file(&path)
    /// # }).unwrap();
    /// ```
    pub async fn send_fds_to(
        &self,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        path: impl AsRef<Path>,
    ) -> io::Result<usize> {
        let to = address(path.as_ref())?;
        self.send_fds_to_addr(bufs, fds, &to).await
    }

    /// As [`send_fds_to`](UnixDatagram::send_fds_to) if there is room, without waiting; see
    /// [`try_send_to`](UnixDatagram::try_send_to).
    ///
    /// # Errors
    /// `WouldBlock` if there is none; else as [`send_fds_to`](UnixDatagram::send_fds_to).
    ///
    /// # Examples
    /// ```
    /// use std::fs::File;
    /// use std::io::{ErrorKind, IoSlice, IoSliceMut};
    /// use std::os::fd::AsFd;
    /// use reveille::net::UnixDatagram;
    ///
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-try-{}", std::process::id()));
    /// let (server, client) = (UnixDatagram::bind(&path)?, UnixDatagram::unbound()?);
    /// let (bufs, file) = ([IoSlice::new(b"file")], File::open("/dev/null")?);
    /// let fds = [file.as_fd()];
    /// // None of these waits, so there need be no runtime.
    /// client.try_send_fds_to(&bufs, &fds, &path)?;
    /// client.try_send_fds_to_addr(&bufs, &fds, &server.local_addr()?)?;
    /// client.connect(&path)?;
    /// client.try_send_fds(&bufs, &fds)?;
    ///
    /// let mut buf = [0; 16];
    /// let bufs = &mut [IoSliceMut::new(&mut buf)];
    /// for _ in 0..3 {
    ///     assert_eq!(server.try_recv_fds(bufs, 1)?.into_fds().len(), 1);
    /// }
    /// assert_eq!(server.try_recv_fds(bufs, 1).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_send_fds_to(
        &self,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        path: impl AsRef<Path>,
    ) -> io::Result<usize> {
        self.try_send_fds_to_addr(bufs, fds, &address(path.as_ref())?)
    }

    /// Polls [`send_fds_to`](UnixDatagram::send_fds_to), as [`poll_send_to`](UnixDatagram::poll_send_to) does.
    ///
    /// # Errors
    /// As [`send_fds_to`](UnixDatagram::send_fds_to).
    pub fn poll_send_fds_to(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        path: impl AsRef<Path>,
    ) -> Poll<io::Result<usize>> {
        self.poll_send_fds_to_addr(cx, bufs, fds, &address(path.as_ref())?)
    }

    /// As [`send_fds_to`](UnixDatagram::send_fds_to), to an address of std's.
    ///
    /// # Errors
    /// As [`send_fds_to`](UnixDatagram::send_fds_to).
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns `Ready` sends.
    pub async fn send_fds_to_addr(
        &self,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        to: &SocketAddr,
    ) -> io::Result<usize> {
        let to = UnixAddr::encode(to);
        self.sending_to(|socket| sys::send_fds(socket, bufs, fds, Some(&to)))
            .await
    }

    /// As [`try_send_fds_to`](UnixDatagram::try_send_fds_to), to an address of std's.
    ///
    /// # Errors
    /// As [`try_send_fds_to`](UnixDatagram::try_send_fds_to).
    pub fn try_send_fds_to_addr(
        &self,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        to: &SocketAddr,
    ) -> io::Result<usize> {
        let to = UnixAddr::encode(to);
        self.send_now(|socket| sys::send_fds(socket, bufs, fds, Some(&to)))
    }

    /// As [`poll_send_fds_to`](UnixDatagram::poll_send_fds_to), to an address of std's.
    ///
    /// # Errors
    /// As [`send_fds_to`](UnixDatagram::send_fds_to).
    pub fn poll_send_fds_to_addr(
        &self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        to: &SocketAddr,
    ) -> Poll<io::Result<usize>> {
        let to = UnixAddr::encode(to);
        self.poll_sending_to(cx, |socket| sys::send_fds(socket, bufs, fds, Some(&to)))
    }

    /// Receives a datagram into `bufs`, one after the other, and the descriptors that came with it, `max_fds` of them at
    /// most. If more came, those are closed, and [it says so](ReceivedFds::are_fds_truncated); also if the datagram
    /// [was cut](ReceivedFds::is_data_truncated).
    ///
    /// # Errors
    /// EMSGSIZE for more than 1024 buffers (IOV_MAX); else as [`recv`](UnixDatagram::recv).
    ///
    /// # Cancel safety
    /// Safe: only the poll that returns a datagram takes it, with its descriptors, from the socket.
    pub fn recv_fds(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        max_fds: usize,
    ) -> impl Future<Output = io::Result<ReceivedFds>> {
        self.receiving(move |socket| receive(socket, bufs, max_fds))
    }

    /// As [`recv_fds`](UnixDatagram::recv_fds) if a datagram is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` if none is; else as [`recv_fds`](UnixDatagram::recv_fds).
    pub fn try_recv_fds(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        max_fds: usize,
    ) -> io::Result<ReceivedFds> {
        self.try_receiving(|socket| receive(socket, bufs, max_fds))
    }

    /// Polls [`recv_fds`](UnixDatagram::recv_fds).
    ///
    /// # Errors
    /// As [`recv_fds`](UnixDatagram::recv_fds).
    pub fn poll_recv_fds(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        max_fds: usize,
    ) -> Poll<io::Result<ReceivedFds>> {
        self.poll_receiving(cx, |socket| receive(socket, bufs, max_fds))
    }
}

/// Receives a datagram and what came with it.
fn receive(
    socket: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    max_fds: usize,
) -> io::Result<ReceivedFds> {
    let (came, from) = named(|from| sys::recv_fds(socket, bufs, max_fds, from))?;
    Ok(ReceivedFds {
        came,
        from: Some(from),
    })
}
