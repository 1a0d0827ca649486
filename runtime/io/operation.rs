//! Operations as futures: of one step, in three forms, or of several steps.
//!
//! Interface: [`read`], [`write()`] and [`any`] are one step, to be awaited, tried or polled ([`Attempt`]);
//! [`Wait`] owns the waiter of a future, and [`Wait::until_ready`] makes a future of several steps.
//! Invariant: a future that is dropped has no waiter any more, on whatever thread it is dropped.
//! Read before: `registration`. Read next: `async_fd`, the public door, and `net::stream`.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use super::interest::Interest;
use super::registration::{Registration, offer};
use super::sources::Observed;
use crate::runtime::context;
use crate::runtime::core::Core;
use crate::runtime::name::slab::WaiterKey;

/// A read by `op` into room for `len` bytes; if `len` is 0, it reads 0 bytes at once, without a system
/// call. `op` is called with the number of bytes that it should ask for, and may lower that number if it
/// asks for less; `holds_bytes` says whether there is something to read.
#[inline]
pub(crate) fn read(
    registration: &Registration,
    len: usize,
    op: impl FnMut(&mut usize) -> io::Result<usize>,
    holds_bytes: impl Fn() -> bool,
) -> impl Attempt<Output = io::Result<usize>> {
    let interest = (len > 0).then_some(Interest::READABLE);
    let read = Registration::reading(len, op, holds_bytes);
    Operation::new(registration, interest, read)
}

/// A write by `op`, which is called with the number of bytes that it should offer.
#[inline]
pub(crate) fn write(
    registration: &Registration,
    len: usize,
    mut op: impl FnMut(usize) -> io::Result<usize>,
) -> impl Attempt<Output = io::Result<usize>> {
    let op = move |_: &Registration, core: Option<&Core>| op(offer(core, len));
    Operation::new(registration, Some(Interest::WRITABLE), op)
}

/// An operation by `op`, which waits for `interest`.
#[inline]
pub(super) fn any<R>(
    registration: &Registration,
    interest: Interest,
    mut op: impl FnMut() -> io::Result<R>,
) -> impl Attempt<Output = io::Result<R>> {
    let op = move |_: &Registration, _: Option<&Core>| op();
    Operation::new(registration, Some(interest), op)
}

/// An operation in any of its three forms: await it, or call one of these two methods.
pub(crate) trait Attempt: Future {
    /// Tries once, without waiting; see [`Registration::try_io`].
    fn try_now(self) -> Self::Output;

    /// Polls once. If it has to wait, the waker stays stored, although this future is dropped here.
    fn poll_once(self, cx: &mut Context<'_>) -> Poll<Self::Output>;
}

/// An operation that is tried until it does not block.
struct Operation<'a, F> {
    /// Removes the waiter when the operation is dropped.
    wait: Wait<'a>,
    /// `None` for an operation that never waits.
    interest: Option<Interest>,
    /// Makes one try. It may be called any number of times, until it does not block.
    op: F,
    /// True after `Ready`: another poll panics.
    done: bool,
}

impl<'a, F> Operation<'a, F> {
    /// An operation that has not been tried, and waits for nothing yet.
    #[inline]
    fn new(registration: &'a Registration, interest: Option<Interest>, op: F) -> Operation<'a, F> {
        Operation {
            wait: Wait::new(registration),
            interest,
            op,
            done: false,
        }
    }
}

impl<R, F: FnMut(&Registration, Option<&Core>) -> io::Result<R>> Attempt for Operation<'_, F> {
    #[inline]
    fn try_now(mut self) -> io::Result<R> {
        match self.interest {
            Some(interest) => self.wait.registration.try_io(interest, self.op),
            None => (self.op)(self.wait.registration, None),
        }
    }

    #[inline]
    fn poll_once(mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        self.wait.key = WaiterKey::POLLED;
        Pin::new(&mut self).poll(cx)
    }
}

impl<R, F: FnMut(&Registration, Option<&Core>) -> io::Result<R>> Future for Operation<'_, F> {
    type Output = io::Result<R>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let this = self.get_mut();
        assert!(!this.done, "{POLLED_AFTER_READY}");
        let Wait { registration, key } = &mut this.wait;
        let polled = match this.interest {
            Some(interest) => registration.poll_io(cx, interest, key, &mut this.op),
            None => spend_at_once(cx).map(|()| (this.op)(registration, None)),
        };
        this.done = polled.is_ready();
        polled
    }
}

// Nothing in it need be pinned: `op` is called, and is no future.
impl<F> Unpin for Operation<'_, F> {}

/// The waiter of a future: it is removed when the future is dropped, wherever that is. One `Wait` waits
/// for the same interest always.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    /// What is waited for.
    registration: &'a Registration,
    /// Which waiter is this one's; `UNSET` while it does not wait.
    key: WaiterKey,
}

impl<'a> Wait<'a> {
    /// A wait that has not begun.
    pub(crate) fn new(registration: &'a Registration) -> Wait<'a> {
        Wait {
            registration,
            key: WaiterKey::UNSET,
        }
    }

    /// A future that calls `poll` until that is ready. An async fn would do the same, but it stores each
    /// argument twice: as it was passed, and in the body.
    ///
    /// # Panics
    /// When the future is polled after it was ready, as an async fn does: what was read or written once is
    /// not to be read or written again.
    #[inline]
    pub(crate) fn until_ready<R>(
        mut self,
        mut poll: impl FnMut(&mut Wait<'a>, &mut Context<'_>) -> Poll<R>,
    ) -> impl Future<Output = R> {
        let mut done = false;
        poll_fn(move |cx| {
            assert!(!done, "{POLLED_AFTER_READY}");
            let polled = poll(&mut self, cx);
            done = polled.is_ready();
            polled
        })
    }

    /// See [`Registration::poll_io`].
    #[inline]
    pub(crate) fn poll_io<R>(
        &mut self,
        cx: &Context<'_>,
        interest: Interest,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.registration
            .poll_io(cx, interest, &mut self.key, &mut |_, _| op())
    }

    /// See [`read`]; into no room nothing can be read this way.
    #[inline]
    pub(crate) fn poll_read(
        &mut self,
        cx: &Context<'_>,
        len: usize,
        op: impl FnMut(&mut usize) -> io::Result<usize>,
        holds_bytes: impl Fn() -> bool,
    ) -> Poll<io::Result<usize>> {
        let mut read = Registration::reading(len, op, holds_bytes);
        self.registration
            .poll_io(cx, Interest::READABLE, &mut self.key, &mut read)
    }

    /// See [`write()`].
    #[inline]
    pub(crate) fn poll_write(
        &mut self,
        cx: &Context<'_>,
        len: usize,
        mut op: impl FnMut(usize) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let mut op = |_: &Registration, core: Option<&Core>| op(offer(core, len));
        self.registration
            .poll_io(cx, Interest::WRITABLE, &mut self.key, &mut op)
    }

    /// See [`Registration::poll_ready`].
    pub(super) fn poll_ready(
        &mut self,
        cx: &Context<'_>,
        interest: Interest,
    ) -> Poll<io::Result<Observed>> {
        self.registration.poll_ready(cx, interest, &mut self.key)
    }
}

impl Drop for Wait<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.key.is_owned() {
            self.registration.forget(self.key);
        }
    }
}

/// The panic of an operation's future that is polled after it was ready: what was read or written once is
/// not to be read or written again.
const POLLED_AFTER_READY: &str = "a read or write was polled after it was ready";

/// Spends budget for an operation that does nothing: else a loop of such operations would never give way.
fn spend_at_once(cx: &Context<'_>) -> Poll<()> {
    let Some(core) = context::current() else {
        return Poll::Ready(());
    };
    ready!(core.executor.budget.poll(cx));
    core.executor.budget.spend();
    Poll::Ready(())
}
