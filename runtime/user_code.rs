//! Calls of user code that keep its panics in: wakers, destructors, tracing subscribers.
//!
//! Interface: [`wake`], [`wake_by_ref`], [`wake_all`], [`discard`], [`discard_any`], [`discard_all`]
//! and [`forget_payload`]; [`contain`] for all else. The caller holds no borrow and no lock (R5).
//! Invariant (R9): a panic ends here. It silences no other waker, breaks no loop and aborts no
//! process; the panic hook has printed it, and one tracing event says where it was caught.
//! Read next: `executor`, which calls most of what is user code.

use std::any::Any;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use tracing::error;

/// Wakes; a panic of the waker ends here.
pub(super) fn wake(waker: Waker) {
    contain("a waker panicked while it was woken", || waker.wake());
}

/// As [`wake`], without dropping the waker.
pub(super) fn wake_by_ref(waker: &Waker) {
    contain("a waker panicked while it was woken", || {
        waker.wake_by_ref()
    });
}

/// Wakes all of them, even if one panics; the vector is left empty and keeps its capacity.
pub(super) fn wake_all(wakers: &mut Vec<Waker>) {
    wakers.drain(..).for_each(wake);
}

/// Drops a waker, a span or another value with a destructor that is user code.
#[inline]
pub(super) fn discard<T>(value: T) {
    if mem::needs_drop::<T>() {
        contain("a value panicked while it was dropped", || drop(value));
    }
}

/// As [`discard`], of a value that mostly is not there.
#[inline(always)] // So that `None` is one comparison.
pub(super) fn discard_any<T>(value: Option<T>) {
    if let Some(value) = value {
        discard(value);
    }
}

/// Drops the values one by one: two panics in the drop of one vector would abort the process.
#[inline]
pub(super) fn discard_all<T>(values: impl IntoIterator<Item = T>) {
    values.into_iter().for_each(discard);
}

/// Runs `f`. A panic of `f` ends here, and a tracing event says `what`.
#[inline]
pub(super) fn contain<R>(what: &'static str, f: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(outcome) => Some(outcome),
        Err(payload) => {
            forget_payload(payload);
            // The subscriber itself may be what panics: then there is no way to report it.
            if let Err(payload) = catch_unwind(|| error!(target: "reveille::runtime", "{what}")) {
                forget_payload(payload);
            }
            None
        }
    }
}

/// Drops the payload of a panic that will not be resumed. Its destructor is user code and may panic,
/// too: the payload of that panic is leaked, because dropping it could panic again, without end.
pub(super) fn forget_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
}
