//! Foreign code at arm's length: wakers and destructors that may do anything, panic included.
//!
//! Interface: [`wake`], [`wake_by_ref`], [`wake_all`], [`discard`], [`discard_any`], [`discard_all`],
//! [`forget_payload`], and [`contain`] beneath them. The caller holds no borrow and no lock (R5).
//! Invariant (R9): a panic ends here. It silences no other waker, breaks no loop and aborts no
//! process; the panic hook has printed it, and one tracing event says where it was caught.
//! Read next: `executor`, which calls most of what is user code.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use tracing::error;

/// Wakes, whatever the waker does.
pub(super) fn wake(waker: Waker) {
    contain("a waker panicked while it was woken", || waker.wake());
}

/// As [`wake`], without dropping it.
pub(super) fn wake_by_ref(waker: &Waker) {
    contain("a waker panicked while it was woken", || {
        waker.wake_by_ref()
    });
}

/// Wakes all of them, whatever one of them does; the vector is left empty and keeps its room.
pub(super) fn wake_all(wakers: &mut Vec<Waker>) {
    wakers.drain(..).for_each(wake);
}

/// Drops a waker, a span or whatever else has a destructor that is not ours.
#[inline]
pub(super) fn discard<T>(value: T) {
    if mem::needs_drop::<T>() {
        contain("a value panicked while it was dropped", || drop(value));
    }
}

/// As [`discard`], of what mostly is not there.
#[inline(always)] // So that what is not there is one comparison.
pub(super) fn discard_any<T>(value: Option<T>) {
    if let Some(value) = value {
        discard(value);
    }
}

/// Drops them one by one: two that panic in the drop of one vector would abort the process.
#[inline]
pub(super) fn discard_all<T>(values: impl IntoIterator<Item = T>) {
    values.into_iter().for_each(discard);
}

/// Runs `f`; a panic of it ends here, and `what` is said of it.
#[inline]
pub(super) fn contain<R>(what: &'static str, f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(outcome) => Some(outcome),
        Err(payload) => {
            forget_payload(payload);
            // The subscriber may be the one who panics: then nobody can be told.
            if let Err(payload) = catch_unwind(|| error!("{what}")) {
                forget_payload(payload);
            }
            None
        }
    }
}

/// Drops the payload of a panic that will not be resumed. It is foreign, so its own drop may
/// panic: the payload of that is leaked, for it could go on for ever.
pub(super) fn forget_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
}
