//! The budget: how much of one poll a task may spend on operations that are always ready.
//!
//! Interface: an operation asks [`Budget::poll`] before it tries and calls [`Budget::spend`] when
//! it returns `Ready`; the executor [refills](Budget::refill) before each poll.
//!
//! A task whose socket always has data never returns `Pending` by itself, and no other task would
//! run. So after [`OPERATIONS`] the next operation is `Pending` once, with a wake, and the count
//! starts anew: a task that polls many futures in one poll (a sub-executor) loses one poll of one
//! of them and does not spin.

use std::cell::Cell;
use std::task::{Context, Poll};

/// Ready operations in one poll; tokio's number.
const OPERATIONS: u32 = 128;

pub(crate) struct Budget(Cell<u32>);

impl Budget {
    pub(super) fn new() -> Budget {
        Budget(Cell::new(OPERATIONS))
    }

    #[inline]
    pub(super) fn refill(&self) {
        self.0.set(OPERATIONS);
    }

    /// Pending if the budget is spent; the task is woken, and the count starts anew.
    #[inline]
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.0.get() > 0 {
            return Poll::Ready(());
        }
        self.refill();
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// An operation was ready. What waits spends nothing.
    #[inline]
    pub(crate) fn spend(&self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
