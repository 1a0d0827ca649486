//! The engine of byte streams: [`TcpStream`](super::TcpStream), [`UnixStream`](super::UnixStream) and the ends of a
//! [`pipe`](super::pipe) are thin layers over it.
//!
//! Interface: [`Stream`], of a [`ByteStream`]. Its methods are those of the public type, which documents them. A read or
//! write is written once and serves all three forms: the future, `try_` and `poll_`.
//! Invariant (R10): a short read counts as EAGAIN only on a TCP socket that is *ours alone*: made by our accept or
//! connect, and never handed out. Other code that reads the socket, peeks into it or takes an urgent byte from it can
//! make a read short although bytes remain. So `as_fd`, `try_clone`, `try_io`, `async_io` and `poll_io` end this for
//! good; a peek of ours, and an event with PRI, RDHUP, HUP or ERR, until the next EAGAIN.
//!
//! It uses the public [`AsyncFd`], and one thing that is not public: its registration, which sees the events
//! and decides whether a short read proves anything.
//!
//! Read before: `operation`, `net::sys::stream`. Read next: `methods`.

use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::pause::poll_again_soon;
use super::sys::{self, Medium};
use crate::io::{AsyncFd, Interest};
use crate::runtime::Handle;
pub(super) use crate::runtime::io::operation::Attempt;
use crate::runtime::io::operation::{self, Wait};
use crate::time::{Sleep, sleep};

/// The room that a `Vec` without any is given before it is read into, in bytes: as tokio's `read_buf` does.
const LEAST_ROOM: usize = 64;

/// `pub`, because the halves of streams name it in a bound; it is not exported.
#[derive(Debug)]
pub struct Stream<T: ByteStream> {
    /// The socket or pipe, and its registration.
    io: AsyncFd<T>,
}

/// What an engine can move bytes through. `pub` for the same reason.
pub trait ByteStream: AsFd {
    /// What the system calls take.
    type Handle<'a>: Into<Medium<'a>> + Copy
    where
        Self: 'a;

    /// Borrowed for a call, without being [lent](Stream::lend).
    fn handle(&self) -> Self::Handle<'_>;
}

/// Implements [`ByteStream`] for a socket of std: the system calls take its descriptor.
macro_rules! socket {
    ($type:ty) => {
        impl ByteStream for $type {
            type Handle<'a> = BorrowedFd<'a>;

            #[inline(always)]
            fn handle(&self) -> BorrowedFd<'_> {
                self.as_fd()
            }
        }
    };
}

socket!(std::net::TcpStream);
socket!(std::os::unix::net::UnixStream);

impl<T: ByteStream> Stream<T> {
    /// Wraps a socket, which is ours alone or may be shared.
    pub(super) fn new(socket: T, ours_alone: bool) -> io::Result<Stream<T>> {
        // PRIORITY, to learn of urgent bytes: they make reads short (tcp(7)).
        let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
        let io = AsyncFd::with_interest(socket, interest)?;
        io.registration().set_short_reads_prove(ours_alone);
        io.registration().set_reports_room_late();
        Ok(Stream { io })
    }

    /// Wraps one end of a pipe: no short read of it proves anything.
    pub(super) fn one_way(pipe: T, interest: Interest) -> io::Result<Stream<T>> {
        let io = AsyncFd::with_interest(pipe, interest)?;
        Ok(Stream { io })
    }

    /// The registration, and the socket in it.
    pub(super) fn io(&self) -> &AsyncFd<T> {
        &self.io
    }

    /// Deregisters the socket, and gives it back.
    pub(super) fn into_inner(self) -> T {
        self.io.into_inner()
    }

    /// The socket, for calls by `net`. Before other code gets it, call [`lend`](Stream::lend).
    #[inline]
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.io.get_ref().as_fd()
    }

    /// What the system calls take, borrowed for a read or write.
    fn handle(&self) -> T::Handle<'_> {
        self.io.get_ref().handle()
    }

    /// From now on other code may read, peek or take urgent bytes: no short read proves anything.
    pub(super) fn lend(&self) {
        self.io.registration().set_short_reads_prove(false);
    }

    /// An attempt to read into `buf`.
    #[inline]
    pub(super) fn read(&self, buf: &mut [u8]) -> impl Attempt<Output = io::Result<usize>> {
        let (medium, registration) = (self.handle(), self.io.registration());
        let holds_bytes = move || medium.into().holds_bytes();
        operation::read(registration, buf.len(), recv(medium, buf), holds_bytes)
    }

    /// [`read`](Stream::read) into memory that need not be initialised.
    #[inline]
    pub(super) fn read_uninit(
        &self,
        buf: &mut [MaybeUninit<u8>],
    ) -> impl Attempt<Output = io::Result<usize>> {
        let (medium, registration) = (self.handle(), self.io.registration());
        let (len, holds_bytes) = (buf.len(), move || medium.into().holds_bytes());
        let recv = move |asked: &mut usize| sys::recv_uninit(medium, &mut buf[..*asked]);
        operation::read(registration, len, recv, holds_bytes)
    }

    /// [`read`](Stream::read) into the spare room of a `Vec`, which is given some if it has none.
    #[inline]
    pub(super) fn read_vec(&self, buf: &mut Vec<u8>) -> impl Attempt<Output = io::Result<usize>> {
        if buf.capacity() == buf.len() {
            buf.reserve(LEAST_ROOM);
        }
        let (medium, registration) = (self.handle(), self.io.registration());
        let room = buf.capacity() - buf.len();
        let holds_bytes = move || medium.into().holds_bytes();
        let recv = move |asked: &mut usize| sys::recv_vec(medium, buf, *asked);
        operation::read(registration, room, recv, holds_bytes)
    }

    /// [`read`](Stream::read) into the unfilled part of tokio's buffer.
    #[cfg(feature = "tokio-io")]
    #[inline]
    pub(super) fn read_read_buf(
        &self,
        buf: &mut ::tokio::io::ReadBuf<'_>,
    ) -> impl Attempt<Output = io::Result<usize>> {
        let (medium, registration) = (self.handle(), self.io.registration());
        let (room, holds_bytes) = (buf.remaining(), move || medium.into().holds_bytes());
        let recv = move |asked: &mut usize| sys::recv_read_buf(medium, buf, *asked);
        operation::read(registration, room, recv, holds_bytes)
    }

    /// [`read`](Stream::read) into hyper's buffer, behind its cursor, which moves on.
    #[cfg(feature = "hyper")]
    #[inline]
    pub(super) fn read_cursor(
        &self,
        mut buf: ::hyper::rt::ReadBufCursor<'_>,
    ) -> impl Attempt<Output = io::Result<usize>> {
        let (medium, registration) = (self.handle(), self.io.registration());
        let (room, holds_bytes) = (buf.remaining(), move || medium.into().holds_bytes());
        let recv = move |asked: &mut usize| sys::recv_cursor(medium, &mut buf, *asked);
        operation::read(registration, room, recv, holds_bytes)
    }

    /// An attempt to read into several buffers, by recvmsg(2) or its like.
    pub(super) fn read_vectored(
        &self,
        bufs: &mut [IoSliceMut<'_>],
    ) -> impl Attempt<Output = io::Result<usize>> {
        self.read_by(bufs, |medium, bufs| medium.into().recv_vectored(bufs))
    }

    /// Reads into several buffers by a call of the caller's, which is given what of them it is to ask for.
    pub(super) fn read_by<'a>(
        &'a self,
        bufs: &mut [IoSliceMut<'_>],
        mut recv: impl FnMut(T::Handle<'a>, &mut [IoSliceMut<'_>]) -> io::Result<usize>,
    ) -> impl Attempt<Output = io::Result<usize>> {
        let (medium, registration) = (self.handle(), self.io.registration());
        // Short means less than was offered to the kernel, which is not all if there are many buffers.
        let most = sys::offered(bufs);
        let read = move |asked: &mut usize| {
            let n = if *asked == most {
                recv(medium, bufs)?
            } else {
                recv(medium, &mut sys::first_mut(bufs, *asked))?
            };
            // Where recvmsg(2) is refused, only the first buffer is read into. If it is full, the read is
            // not short.
            if n == sys::first_len(bufs) {
                *asked = n;
            }
            Ok(n)
        };
        let holds_bytes = move || medium.into().holds_bytes();
        operation::read(registration, most, read, holds_bytes)
    }

    /// Reads until `buf` is full, by as many calls as that takes.
    pub(super) fn read_exact(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        let medium = self.handle();
        let mut filled = 0;
        Wait::new(self.io.registration()).until_ready(move |wait, cx| {
            if buf.is_empty() {
                // 0 at once, and yet an operation of the budget.
                return self.read(buf).poll_once(cx);
            }
            while filled < buf.len() {
                let rest = &mut buf[filled..];
                let holds_bytes = || medium.into().holds_bytes();
                match ready!(wait.poll_read(cx, rest.len(), recv(medium, rest), holds_bytes))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                    n => filled += n,
                }
            }
            Poll::Ready(Ok(filled))
        })
    }

    /// Waits for bytes and copies them; pauses while there is nothing behind what was peeked before.
    pub(super) fn peek(&self, buf: &mut [u8]) -> impl Future<Output = io::Result<usize>> {
        let mut pause = None;
        Wait::new(self.io.registration()).until_ready(move |wait, cx| {
            if buf.is_empty() {
                // 0 at once, and yet an operation of the budget.
                return self.read(buf).poll_once(cx);
            }
            loop {
                if pause.is_some() && Handle::try_current().is_err() {
                    // Outside a runtime nothing could end the pause.
                    return Poll::Ready(Err(io::ErrorKind::WouldBlock.into()));
                }
                ready!(Pause::poll(&mut pause, cx));
                let peeked = wait.poll_io(cx, Interest::READABLE, || self.recv_peek(buf));
                match ready!(peeked)? {
                    Peeked::Bytes(n) => return Poll::Ready(Ok(n)),
                    Peeked::NothingNew => Pause::begin(&mut pause),
                }
            }
        })
    }

    /// As [`peek`](Stream::peek), but has the task polled again soon where that pauses.
    pub(super) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return self.read(buf).poll_once(cx);
        }
        let peek = |_: &T| self.recv_peek(buf);
        match ready!(self.io.poll_io(cx, Interest::READABLE, peek))? {
            Peeked::Bytes(n) => Poll::Ready(Ok(n)),
            Peeked::NothingNew => {
                poll_again_soon(cx).map(|()| Err(io::ErrorKind::WouldBlock.into()))
            }
        }
    }

    /// An attempt to write bytes of `buf`.
    #[inline]
    pub(super) fn write(&self, buf: &[u8]) -> impl Attempt<Output = io::Result<usize>> {
        let (medium, registration) = (self.handle(), self.io.registration());
        operation::write(registration, buf.len(), send(medium, buf))
    }

    /// An attempt to write from several buffers, by sendmsg(2) or its like.
    pub(super) fn write_vectored(
        &self,
        bufs: &[IoSlice<'_>],
    ) -> impl Attempt<Output = io::Result<usize>> {
        self.write_by(bufs, |medium, bufs| medium.into().send_vectored(bufs))
    }

    /// Writes from several buffers by a call of the caller's, which is given what of them it is to offer.
    pub(super) fn write_by<'a>(
        &'a self,
        bufs: &[IoSlice<'_>],
        mut send: impl FnMut(T::Handle<'a>, &[IoSlice<'_>]) -> io::Result<usize>,
    ) -> impl Attempt<Output = io::Result<usize>> {
        let (medium, registration) = (self.handle(), self.io.registration());
        let most = sys::offered(bufs);
        operation::write(registration, most, move |n| {
            let n = medium.into().uncut(most, n);
            if n == most {
                send(medium, bufs)
            } else {
                send(medium, &sys::first(bufs, n))
            }
        })
    }

    /// Writes all of `buf`, by as many calls as that takes.
    #[inline]
    pub(super) fn write_all(&self, mut buf: &[u8]) -> impl Future<Output = io::Result<()>> {
        let (medium, registration) = (self.handle(), self.io.registration());
        Wait::new(registration).until_ready(move |wait, cx| {
            if buf.is_empty() {
                // Nothing to write is an operation of the budget, too.
                return self.read(&mut []).poll_once(cx).map_ok(drop);
            }
            while !buf.is_empty() {
                let n = ready!(wait.poll_write(cx, buf.len(), send(medium, buf)))?;
                buf = &buf[n..];
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Peeks. If poll(2) sees bytes, an EAGAIN does not clear READABLE, on any stream: SO_PEEK_OFF may be
    /// set, and then EAGAIN means that nothing lies behind what was peeked before. Without READABLE a read
    /// would wait for bytes that are there (R10).
    fn recv_peek(&self, buf: &mut [u8]) -> io::Result<Peeked> {
        // Where an urgent byte stands, a pending signal causes EAGAIN, too, but that does not last (see
        // `Registration::read_now`).
        const TRIES: usize = 3;
        let offered = self.io.registration().offer(buf.len());
        for _ in 0..TRIES {
            match sys::recv(self.socket(), &mut buf[..offered], libc::MSG_PEEK) {
                Ok(n) => {
                    self.io.registration().unprove_short_reads();
                    return Ok(Peeked::Bytes(n));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !sys::holds_bytes(self.socket()) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Peeked::NothingNew)
    }
}

/// The call of a read, into as much of `buf` as it is to ask for.
fn recv<'a>(
    medium: impl Into<Medium<'a>> + Copy,
    buf: &mut [u8],
) -> impl FnMut(&mut usize) -> io::Result<usize> {
    move |asked| medium.into().recv(&mut buf[..*asked])
}

/// The call of a write, of as much of `buf` as it is to offer.
fn send<'a>(
    medium: impl Into<Medium<'a>> + Copy,
    buf: &[u8],
) -> impl FnMut(usize) -> io::Result<usize> {
    move |offered| medium.into().send(buf, offered)
}

/// The outcome of a peek.
enum Peeked {
    /// That many, or 0 at the end of the stream.
    Bytes(usize),
    /// Bytes are there, but the peek begins behind them.
    NothingNew,
}

/// The pause of a peek that saw nothing new. It is made when it is first needed.
struct Pause {
    /// The pause that lasts, or the last one.
    sleep: Sleep,
    /// How long the next one is.
    next: Duration,
}

impl Pause {
    /// What no pause exceeds.
    const LONGEST: Duration = Duration::from_millis(100);

    /// Begins a pause: at first of 1 ms, then twice as long as the one before, up to [`LONGEST`](Pause::LONGEST).
    fn begin(pause: &mut Option<Box<Pause>>) {
        let pause = pause.get_or_insert_with(|| {
            let (sleep, next) = (sleep(Duration::ZERO), Duration::from_millis(1));
            Box::new(Pause { sleep, next })
        });
        pause.sleep = sleep(pause.next);
        pause.next = Pause::LONGEST.min(pause.next * 2);
    }

    /// Pending while a pause lasts.
    fn poll(pause: &mut Option<Box<Pause>>, cx: &mut Context<'_>) -> Poll<()> {
        match pause {
            Some(pause) => Pin::new(&mut pause.sleep).poll(cx),
            None => Poll::Ready(()),
        }
    }
}
