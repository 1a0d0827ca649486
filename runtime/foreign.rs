//! Foreign code at arm's length: wakers and destructors that may do anything, panic included.
//!
//! Interface: [`wake`], [`wake_by_ref`], [`wake_all`], [`discard`], [`discard_any`], [`discard_all`], [`trace`],
//! [`tell`], and [`contain`] beneath them. The caller holds no borrow and no lock (R5).
//! Invariant (R9): a panic ends here. It silences no other waker, breaks no loop and aborts no
//! process; the panic hook has printed it, and one tracing event says where it was caught.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

use tracing::error;

use super::task::forget_payload;

/// Wakes, whatever the waker does.
pub(crate) fn wake(waker: Waker) {
    contain("a waker panicked while it was woken", || waker.wake());
}

/// As [`wake`], without dropping it.
pub(crate) fn wake_by_ref(waker: &Waker) {
    contain("a waker panicked while it was woken", || {
        waker.wake_by_ref()
    });
}

/// Wakes all of them, whatever one of them does; the vector is left empty and keeps its room.
pub(crate) fn wake_all(wakers: &mut Vec<Waker>) {
    wakers.drain(..).for_each(wake);
}

/// Drops a waker, a span or whatever else has a destructor that is not ours.
#[inline]
pub(crate) fn discard<T>(value: T) {
    if std::mem::needs_drop::<T>() {
        contain("a value panicked while it was dropped", || drop(value));
    }
}

/// As [`discard`], of what mostly is not there.
#[inline]
pub(crate) fn discard_any<T>(value: Option<T>) {
    if let Some(value) = value {
        discard(value);
    }
}

/// Drops them one by one: two that panic in the drop of one vector would abort the process.
#[inline]
pub(crate) fn discard_all<T>(values: impl IntoIterator<Item = T>) {
    values.into_iter().for_each(discard);
}

/// Makes an event or a span of level TRACE in the middle of something that must be finished: the
/// subscriber is foreign. `None` if nobody listens, too.
#[inline] // So that it is one comparison where nobody listens: 60 instructions a message otherwise.
pub(crate) fn trace<R>(event: impl FnOnce() -> R) -> Option<R> {
    if is_traced() { tell(event) } else { None }
}

/// True if some subscriber may want events of level TRACE. This asks none of them.
#[inline]
pub(crate) fn is_traced() -> bool {
    tracing::level_enabled!(tracing::Level::TRACE)
}

/// As [`trace`], for what is of any level.
pub(crate) fn tell<R>(event: impl FnOnce() -> R) -> Option<R> {
    contain("a tracing subscriber panicked", event)
}

/// Runs `f`; a panic of it ends here, and `what` is said of it.
#[inline]
pub(crate) fn contain<R>(what: &'static str, f: impl FnOnce() -> R) -> Option<R> {
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
