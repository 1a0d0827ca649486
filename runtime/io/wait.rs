//! The waiter of a future, for operations of one step or of several.
//!
//! Interface: [`Wait`] owns the waiter; [`Wait::until_ready`] makes a future of it.
//! Invariant: a future that is dropped waits no longer, wherever it is dropped.
//! Read before: `registration`. Read next: `async_fd`.

use std::future::{Future, poll_fn};
use std::io;
use std::task::{Context, Poll};

use super::interest::Interest;
use super::registration::{POLLED_AFTER_READY, Registration, offer};
use super::sources::Observed;
use crate::runtime::core::Core;
use crate::runtime::name::slab::WaiterKey;

/// The waiter of a future: it is removed when the future is dropped, wherever that is. It waits for
/// one interest in all its life.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    pub(super) registration: &'a Registration,
    pub(super) key: WaiterKey,
}

impl<'a> Wait<'a> {
    pub(super) fn new(registration: &'a Registration) -> Wait<'a> {
        Wait {
            registration,
            key: WaiterKey::UNSET,
        }
    }

    /// The future that polls `poll` until that is ready. An async fn would do the same, but it keeps
    /// each argument twice, once as it came and once in its body.
    ///
    /// # Panics
    /// When it is polled after it was ready, as an async fn does: what was read or written once is
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
            .poll_io(cx, interest, &mut self.key, &mut |_| op())
    }

    /// See [`Registration::write`].
    #[inline]
    pub(crate) fn poll_write(
        &mut self,
        cx: &Context<'_>,
        len: usize,
        mut op: impl FnMut(usize) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let mut op = |core: Option<&Core>| op(offer(core, len));
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
