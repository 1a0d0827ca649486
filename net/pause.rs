//! Pauses, before something is tried again that no event announces.
//!
//! Interface: [`BackOff`], between the tries of a future; [`poll_again_soon`], for a poll, which has no place to keep one.
//! Invariant: outside a runtime nothing could end a pause. There it is an error, and no panic, whenever it is polled.
//! Read next: `accept`, `unix::datagram` and `unix::stream`, which back off; `net::stream`, of which the polled peek
//! tries again soon.

use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::runtime::Handle;
use crate::time::sleep;

/// Pauses that grow.
pub(super) struct BackOff {
    /// The next pause.
    next: Duration,
    /// What no pause exceeds.
    longest: Duration,
}

/// How long a poll waits that is to be repeated.
const POLLED: Duration = Duration::from_millis(5);

impl BackOff {
    /// The first pause and the longest, in milliseconds; each is twice as long as the one before.
    pub(super) const fn new(first: u64, longest: u64) -> BackOff {
        BackOff {
            next: Duration::from_millis(first),
            longest: Duration::from_millis(longest),
        }
    }

    /// Pauses on account of this error, which comes back where nothing could end the pause.
    pub(super) async fn pause(&mut self, error: io::Error) -> io::Result<()> {
        let mut sleep = sleep(self.next);
        self.next = self.longest.min(self.next * 2);
        let paused = poll_fn(move |cx| match is_outside() {
            true => Poll::Ready(false),
            false => Pin::new(&mut sleep).poll(cx).map(|()| true),
        });
        if paused.await { Ok(()) } else { Err(error) }
    }
}

/// Has the task polled again after 5 ms: pending, but outside a runtime ready.
pub(super) fn poll_again_soon(cx: &mut Context<'_>) -> Poll<()> {
    if is_outside() {
        return Poll::Ready(());
    }
    let mut pause = sleep(POLLED);
    if Pin::new(&mut pause).poll(cx).is_ready() {
        cx.waker().wake_by_ref();
    }
    // There is no place for it, and to drop it would disarm its timer. That is the runtime's: it wakes the task, and is
    // gone then.
    mem::forget(pause);
    Poll::Pending
}

/// True outside a runtime, where no timer wakes anything.
fn is_outside() -> bool {
    Handle::try_current().is_err()
}
