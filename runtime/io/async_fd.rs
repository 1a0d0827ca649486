//! `AsyncFd`: the public, safe way to the reactor. The sockets of `net` are built on it, too.
//!
//! Interface: [`AsyncFd::async_io`] tries an operation and waits while it would block;
//! [`AsyncFd::readable`] and the like wait for a report and return an [`AsyncFdReadyGuard`].
//! Invariant (R7): the registration is dropped, and with it the descriptor leaves epoll, before
//! the descriptor is closed, because the fields are dropped in that order.
//!
//! Over 400 lines because each method has its contract and an example; the code is a quarter of it.
//! Read before: `registration`, `operation`. Read next: `net::stream`.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use super::interest::{Interest, Ready};
use super::operation::{self, Attempt, Wait};
use super::registration::Registration;
use super::sources::Observed;
use crate::runtime::name::slab::WaiterKey;
use crate::runtime::sys;

/// A file descriptor that tasks can wait for.
///
/// It works for whatever epoll(7) can watch: sockets, pipes, terminals, eventfd, timerfd, pidfd,
/// inotify. The descriptor should be in non-blocking mode, or an operation that would have to wait
/// blocks the whole runtime.
///
/// # Contract
/// 1. *Readiness is a hint; the operation decides.* What was reported ready may no longer be: be
///    prepared for `WouldBlock`, and for a wait that ends although nothing is ready.
/// 2. *Repeat until `WouldBlock`.* Registration is edge-triggered: the kernel reports that
///    something came, not that it is still there. So readiness is remembered until an operation
///    meets `WouldBlock`. A task that stops before that may go on at any time, without a new report.
///    [`async_io`](AsyncFd::async_io), [`try_io`](AsyncFd::try_io) and the guard's
///    [`try_io`](AsyncFdReadyGuard::try_io) keep this rule by themselves.
/// 3. *The latest waker counts.* A future that waits may move to another task between polls.
/// 4. *Any number of tasks may wait* for the same direction; all of them are woken.
///
/// # Datagrams to a peer with a full queue
/// A Unix datagram socket that is not connected is writable if its own buffer has room, whatever room
/// its peers have: unix(7). Each try that finds the peer's queue full returns `WouldBlock` *and* brings a
/// new event. So waiting for room there is a busy loop: other tasks run, but the CPU is busy until the
/// peer reads; then the datagram is sent. Connect the socket, or put a pause between the tries, as
/// [`UnixDatagram`](crate::net::UnixDatagram#room) does.
///
/// # Registration
/// The descriptor is registered when a task first has to wait for it, with the runtime of that task.
/// It stays registered there until the `AsyncFd` is dropped, and waiting in another runtime is an
/// error. Before the first wait it belongs to no runtime. The `AsyncFd` may be sent and shared at any
/// time.
///
/// The number of the descriptor is read once, when the `AsyncFd` is made. There is no `get_mut`,
/// because it would let the descriptor be exchanged under its registration. If the value's `as_fd`
/// returns another descriptor than before, the reports are wrong, and nothing worse happens.
///
/// # Coming from tokio
/// `new` does not register, so it works outside a runtime, and the errors of registration come
/// from the first wait. `async_io` tries first, and waits only if it has to.
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use reveille::io::{AsyncFd, Interest};
///
/// # fn main() -> std::io::Result<()> {
/// let (ours, mut theirs) = UnixStream::pair()?;
/// ours.set_nonblocking(true)?;
/// theirs.write_all(b"hello")?;
/// reveille::block_on(async {
///     let ours = AsyncFd::new(ours)?;
///     let mut buf = [0; 16];
///     let n = ours.async_io(Interest::READABLE, |mut socket| socket.read(&mut buf)).await?;
///     assert_eq!(&buf[..n], b"hello");
///     Ok(())
/// })
/// # }
/// ```
pub struct AsyncFd<T: AsFd> {
    // Dropped before the descriptor is (R7):
    /// The descriptor's number, and the name of its source once a task had to wait.
    registration: Registration,
    /// What was wrapped; it owns the descriptor, or borrows it.
    inner: T,
}

impl<T: AsFd> AsyncFd<T> {
    /// Wraps `inner`, so that tasks can wait for it to be readable or writable.
    ///
    /// # Errors
    /// In the child of a process that had a runtime before it forked. The errors of registration
    /// come from the first wait: `PermissionDenied` (EPERM: epoll cannot watch it),
    /// `AlreadyExists` (EEXIST: this descriptor is registered already), ENOSPC, ENOMEM; see
    /// epoll_ctl(2).
    pub fn new(inner: T) -> io::Result<AsyncFd<T>> {
        AsyncFd::with_interest(inner, Interest::READABLE | Interest::WRITABLE)
    }

    /// Wraps `inner`, so that tasks can wait for it; the first wait registers exactly this `interest`.
    ///
    /// # Errors
    /// As [`new`](AsyncFd::new).
    ///
    /// # Examples
    /// ```
    /// use std::io::ErrorKind;
    /// use reveille::io::{AsyncFd, Interest};
    ///
    /// # let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # reveille::block_on(async {
    /// let ours = AsyncFd::with_interest(ours, Interest::READABLE)?;
    /// let error = ours.writable().await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn with_interest(inner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
        sys::refuse_in_forked_child()?;
        let registration = Registration::new(inner.as_fd().as_raw_fd(), interest);
        Ok(AsyncFd {
            registration,
            inner,
        })
    }

    /// The value that was wrapped.
    #[inline]
    pub fn get_ref(&self) -> &T {
        &self.inner
    }

    /// Deregisters, and gives back the value that was wrapped.
    ///
    /// # Examples
    /// ```
    /// use reveille::io::AsyncFd;
    ///
    /// # let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// // One runtime waits for it, and then another.
    /// let ours = reveille::block_on(async {
    ///     let ours = AsyncFd::new(ours)?;
    ///     ours.writable().await?;
    ///     std::io::Result::Ok(ours.into_inner())
    /// })?;
    /// let ours = AsyncFd::new(ours)?;
    /// reveille::block_on(ours.writable())?;
    /// # drop(theirs);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn into_inner(self) -> T {
        self.inner // And the registration is dropped.
    }

    /// Waits until reading is reported ready.
    ///
    /// # Errors
    /// Those of registration, see [`new`](AsyncFd::new); waiting in another runtime than before,
    /// or outside any.
    ///
    /// # Cancel safety
    /// Safe: nothing is read, and readiness stays.
    ///
    /// # Examples
    /// ```
    /// use std::io::{Read, Write};
    /// use reveille::io::AsyncFd;
    ///
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # reveille::block_on(async {
    /// let ours = AsyncFd::new(ours)?;
    /// theirs.write_all(b"hello")?;
    /// let mut buf = [0; 16];
    /// let n = loop {
    ///     let mut guard = ours.readable().await?;
    ///     // If it would block after all, wait again.
    ///     if let Ok(n) = guard.try_io(|fd| Read::read(&mut fd.get_ref(), &mut buf)) {
    ///         break n?;
    ///     }
    /// };
    /// assert_eq!(&buf[..n], b"hello");
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn readable(&self) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        self.ready(Interest::READABLE).await
    }

    /// Waits until writing is reported ready.
    ///
    /// # Errors
    /// As [`readable`](AsyncFd::readable).
    ///
    /// # Cancel safety
    /// Safe: nothing is written, and readiness stays.
    ///
    /// # Examples
    /// ```
    /// use std::io::Write;
    /// use reveille::io::AsyncFd;
    ///
    /// # let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # reveille::block_on(async {
    /// let ours = AsyncFd::new(ours)?;
    /// let mut guard = ours.writable().await?;
    /// let written = guard.try_io(|fd| Write::write(&mut fd.get_ref(), b"hello"));
    /// assert_eq!(written.unwrap()?, 5);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn writable(&self) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        self.ready(Interest::WRITABLE).await
    }

    /// Waits until something of `interest` is reported ready; the guard says what.
    ///
    /// # Errors
    /// As [`readable`](AsyncFd::readable), and `InvalidInput` if nothing of it was registered for.
    ///
    /// # Cancel safety
    /// Safe, as [`readable`](AsyncFd::readable).
    ///
    /// # Examples
    /// ```
    /// use reveille::io::{AsyncFd, Interest};
    ///
    /// # let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # reveille::block_on(async {
    /// let ours = AsyncFd::new(ours)?;
    /// let guard = ours.ready(Interest::READABLE | Interest::WRITABLE).await?;
    /// assert!(guard.ready().is_writable() && !guard.ready().is_readable());
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub async fn ready(&self, interest: Interest) -> io::Result<AsyncFdReadyGuard<'_, T>> {
        let mut wait = Wait::new(&self.registration);
        let observed = poll_fn(|cx| wait.poll_ready(cx, interest)).await?;
        Ok(AsyncFdReadyGuard { fd: self, observed })
    }

    /// Polls for readiness to read.
    ///
    /// Any number of tasks may do so: the wakers are kept side by side, one for each task, and all
    /// are woken. When there are many more of them than seem to be in use, all are woken without an
    /// event and removed, to get rid of those of ended tasks; a task that still waits polls again.
    ///
    /// # Errors
    /// As [`readable`](AsyncFd::readable).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::io::Write;
    /// use reveille::io::AsyncFd;
    ///
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # reveille::block_on(async {
    /// let ours = AsyncFd::new(ours)?;
    /// theirs.write_all(b"hello")?;
    /// let guard = poll_fn(|cx| ours.poll_read_ready(cx)).await?;
    /// assert!(guard.ready().is_readable());
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn poll_read_ready(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, T>>> {
        self.poll_ready(cx, Interest::READABLE)
    }

    /// Polls for readiness to write; see [`poll_read_ready`](AsyncFd::poll_read_ready).
    ///
    /// # Errors
    /// As [`readable`](AsyncFd::readable).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use reveille::io::AsyncFd;
    ///
    /// # let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # reveille::block_on(async {
    /// let ours = AsyncFd::new(ours)?;
    /// let guard = poll_fn(|cx| ours.poll_write_ready(cx)).await?;
    /// assert!(guard.ready().is_writable());
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn poll_write_ready(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, T>>> {
        self.poll_ready(cx, Interest::WRITABLE)
    }

    /// The `poll_` form of [`ready`](AsyncFd::ready), for one direction.
    fn poll_ready(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
    ) -> Poll<io::Result<AsyncFdReadyGuard<'_, T>>> {
        let mut key = WaiterKey::POLLED;
        let observed = ready!(self.registration.poll_ready(cx, interest, &mut key))?;
        Poll::Ready(Ok(AsyncFdReadyGuard { fd: self, observed }))
    }

    /// Tries `op`; while it would block, waits for `interest` and tries again.
    ///
    /// `op` must be an operation on this descriptor in the direction of `interest`: a `WouldBlock` that it
    /// returns is taken for a fact about the descriptor. If `op` returns it for a reason of its own (a rate
    /// limit, say), this waits for an event that may never come: what was reported before is not reported
    /// again, not even the end of the stream.
    ///
    /// # Errors
    /// What `op` returns, except `WouldBlock` (waits) and `Interrupted` (tries again; where it could not
    /// wait, 128 times at most); those of
    /// [`readable`](AsyncFd::readable) if it has to wait; and, in a runtime, `InvalidInput` before it tries if
    /// nothing of `interest` was registered for.
    ///
    /// # Cancel safety
    /// As safe as `op`: a future that is dropped while it waits has only made tries that would block.
    ///
    /// # Panics
    /// When the future is polled after it was ready.
    #[inline]
    pub fn async_io<R>(
        &self,
        interest: Interest,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> impl Future<Output = io::Result<R>> {
        operation::any(&self.registration, interest, move || op(&self.inner))
    }

    /// What the streams of `net` are built on.
    #[inline]
    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    /// As [`async_io`](AsyncFd::async_io), for a hand-written `poll`; wakers are kept as by
    /// [`poll_read_ready`](AsyncFd::poll_read_ready).
    ///
    /// # Errors
    /// As [`async_io`](AsyncFd::async_io).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use reveille::io::{AsyncFd, Interest};
    ///
    /// # let (ours, mut theirs) = UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # reveille::block_on(async {
    /// let ours = AsyncFd::new(ours)?;
    /// theirs.write_all(b"hello")?;
    /// let mut buf = [0; 16];
    /// let mut read = |mut socket: &UnixStream| socket.read(&mut buf);
    /// let n = poll_fn(|cx| ours.poll_io(cx, Interest::READABLE, &mut read)).await?;
    /// assert_eq!(&buf[..n], b"hello");
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn poll_io<R>(
        &self,
        cx: &mut Context<'_>,
        interest: Interest,
        mut op: impl FnMut(&T) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        operation::any(&self.registration, interest, || op(&self.inner)).poll_once(cx)
    }

    /// Tries `op` once, without waiting. If `op` would block, that is remembered until the next event,
    /// and until then `op` is not called again. Nothing is remembered before the descriptor is
    /// registered, which the first wait does; until then `op` is called each time.
    ///
    /// An event counts once the runtime has taken it. To read what is there at the very end, say before the descriptor is
    /// dropped, do so by [`get_ref`](AsyncFd::get_ref).
    ///
    /// # Errors
    /// What `op` returns; `WouldBlock` if it is remembered that `op` would block; and, before it tries,
    /// `InvalidInput` if nothing of `interest` was registered for, because no event would end that.
    ///
    /// # Examples
    /// ```
    /// use std::io::{ErrorKind, Read};
    /// use reveille::io::{AsyncFd, Interest};
    ///
    /// # let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # reveille::block_on(async {
    /// let ours = AsyncFd::new(ours)?;
    /// let read = ours.try_io(Interest::READABLE, |mut socket| socket.read(&mut [0; 16]));
    /// assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[inline]
    pub fn try_io<R>(
        &self,
        interest: Interest,
        op: impl FnOnce(&T) -> io::Result<R>,
    ) -> io::Result<R> {
        self.registration.try_io(interest, |_, _| op(&self.inner))
    }
}

impl<T: AsFd> AsFd for AsyncFd<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFd")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// A report of readiness, which an operation may disprove.
///
/// It may be kept for any time: if an event came after it was made, nothing is cleared through it.
///
/// # Examples
/// ```
/// use std::io::{ErrorKind, Read};
/// use reveille::io::{AsyncFd, Interest, Ready};
///
/// # let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
/// # ours.set_nonblocking(true)?;
/// # reveille::block_on(async {
/// let ours = AsyncFd::new(ours)?;
/// let mut guard = ours.ready(Interest::READABLE | Interest::WRITABLE).await?;
/// let error = Read::read(&mut ours.get_ref(), &mut [0; 16]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::WouldBlock);
/// guard.clear_ready_matching(Ready::READABLE);
/// assert!(guard.ready().is_writable());
/// guard.retain_ready(); // There is still room to write.
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
#[must_use = "a guard does nothing by itself: try an operation with `try_io`"]
pub struct AsyncFdReadyGuard<'a, T: AsFd> {
    /// Where the report is cleared, if the operation disproves it.
    fd: &'a AsyncFd<T>,
    /// What was reported, and how many events there were by then.
    observed: Observed,
}

impl<'a, T: AsFd> AsyncFdReadyGuard<'a, T> {
    /// What was waited for and reported, without what was cleared through this guard.
    pub fn ready(&self) -> Ready {
        self.observed.ready
    }

    /// Tries `op`. If it would block, the report is disproved: it is cleared, unless an event came
    /// since.
    ///
    /// # Errors
    /// [`TryIoError`] if it would block: wait again. What else `op` returns is in the inner result.
    ///
    /// # Examples
    /// ```
    /// use std::io::Write;
    /// use reveille::io::AsyncFd;
    ///
    /// # let (ours, _theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # reveille::block_on(async {
    /// let ours = AsyncFd::new(ours)?;
    /// let mut guard = ours.writable().await?;
    /// // Until there is no room left: then the report is cleared.
    /// while let Ok(written) = guard.try_io(|fd| Write::write(&mut fd.get_ref(), &[0; 4096])) {
    ///     assert!(written? > 0);
    /// }
    /// assert!(!guard.ready().is_writable());
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn try_io<R>(
        &mut self,
        op: impl FnOnce(&'a AsyncFd<T>) -> io::Result<R>,
    ) -> Result<io::Result<R>, TryIoError> {
        if let Err(error) = sys::refuse_in_forked_child() {
            return Ok(Err(error));
        }
        match op(self.fd) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.clear_ready();
                Err(TryIoError(()))
            }
            outcome => Ok(outcome),
        }
    }

    /// Says that an operation met `WouldBlock`; does nothing if an event came since the report.
    ///
    /// # Examples
    /// ```
    /// use std::io::{ErrorKind, Read, Write};
    /// use reveille::io::AsyncFd;
    ///
    /// # let (ours, mut theirs) = std::os::unix::net::UnixStream::pair()?;
    /// # ours.set_nonblocking(true)?;
    /// # reveille::block_on(async {
    /// let ours = AsyncFd::new(ours)?;
    /// theirs.write_all(b"hello")?;
    /// let mut guard = ours.readable().await?;
    /// // Other code reads until it would block, and says so.
    /// let mut bytes = Vec::new();
    /// let error = ours.get_ref().read_to_end(&mut bytes).unwrap_err();
    /// assert_eq!((bytes.len(), error.kind()), (5, ErrorKind::WouldBlock));
    /// guard.clear_ready();
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn clear_ready(&mut self) {
        self.clear_ready_matching(self.observed.ready);
    }

    /// As [`clear_ready`](AsyncFdReadyGuard::clear_ready), for a part of what was reported. The guard
    /// does not report that part any more.
    pub fn clear_ready_matching(&mut self, ready: Ready) {
        self.fd
            .registration
            .clear_observed(self.observed, ready & self.observed.ready);
        self.observed.ready = self.observed.ready - ready;
    }

    /// Says that the descriptor is still ready, as dropping the guard does too.
    pub fn retain_ready(&mut self) {}

    /// The [`AsyncFd`] that was waited for.
    pub fn get_ref(&self) -> &'a AsyncFd<T> {
        self.fd
    }

    /// The value that the [`AsyncFd`] wraps.
    pub fn get_inner(&self) -> &'a T {
        self.fd.get_ref()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for AsyncFdReadyGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncFdReadyGuard")
            .field("fd", self.fd)
            .field("ready", &self.observed.ready)
            .finish()
    }
}

/// The operation given to a guard's [`try_io`](AsyncFdReadyGuard::try_io) would have blocked.
#[derive(Debug)]
pub struct TryIoError(());

impl fmt::Display for TryIoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the operation would block")
    }
}

impl std::error::Error for TryIoError {}
