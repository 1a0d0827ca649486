//! The budget: how much of one poll a task may spend on operations that are always ready.
//!
//! Interface: an operation asks [`Budget::poll`] before it tries and calls [`Budget::spend`] when
//! it returns `Ready`, be it a success or an error; the executor [refills](Budget::refill) before
//! each poll.
//!
//! A task whose socket always has data never returns `Pending` by itself, and no other task would
//! run. So after about 128 operations, tokio's number, the next is `Pending` once, with a wake, and
//! the count starts anew: a task that polls many futures in one poll (a sub-executor) loses one poll
//! of one of them and does not spin.
//!
//! Why "about"? The refusal falls on whichever operation is next. Beside a sibling that makes 128
//! operations whenever the task is polled, a budget of exactly 128 would refuse the operation after
//! those in every poll: a timeout that never fires. So each refill draws from [`LEAST`] to 128, and
//! the refusals have no rhythm that a program could fall into step with; a counter has one. The draws
//! are the same in every run, and the seed of chaos has no part in them.
//!
//! What this promises: of futures that one task polls in a fixed order, those that make less than
//! [`LEAST`] operations a poll between them all get on, beside one that makes any number. Of several
//! that make operations without end only the first in the order is sure to get on.
//! Read next: `coop`, for operations that are not the runtime's own.

use std::cell::Cell;
use std::task::{Context, Poll};

/// The fewest ready operations in one poll; the most are 7 more.
const LEAST: u32 = 121;

pub(crate) struct Budget {
    left: Cell<u32>,
    /// What the next draw is made of.
    draws: Cell<u64>,
}

impl Budget {
    pub(super) fn new() -> Budget {
        Budget {
            left: Cell::new(LEAST),
            draws: Cell::new(1),
        }
    }

    /// Has the draws begin elsewhere.
    #[cfg(test)]
    pub(super) fn seed(&self, seed: u64) {
        self.draws.set(2 * seed + 1);
    }

    /// Draws from 121 to 128: the three highest bits of a congruential generator, with the multiplier of
    /// Knuth's MMIX. Its low bits have short periods, its high ones do not, if it begins with an odd number.
    #[inline]
    pub(super) fn refill(&self) {
        let draw = self.draws.get().wrapping_mul(6_364_136_223_846_793_005);
        self.draws.set(draw);
        self.left.set(LEAST + (draw >> 61) as u32);
    }

    /// Pending if the budget is spent; the task is woken, and the count starts anew.
    #[inline]
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_left() {
            return Poll::Ready(());
        }
        self.give_way(cx);
        Poll::Pending
    }

    /// It is spent: the task is woken, and the count starts anew.
    pub(super) fn give_way(&self, cx: &Context<'_>) {
        self.refill();
        cx.waker().wake_by_ref();
    }

    #[inline]
    pub(super) fn is_left(&self) -> bool {
        self.left.get() > 0
    }

    /// Sets the budget to more than can be spent in a poll, and returns what it was.
    pub(super) fn lift(&self) -> u32 {
        self.left.replace(u32::MAX)
    }

    /// Sets it to what [`lift`](Budget::lift) returned.
    pub(super) fn restore(&self, left: u32) {
        self.left.set(left);
    }

    /// An operation was ready. What waits spends nothing.
    #[inline]
    pub(super) fn spend(&self) {
        self.left.set(self.left.get().saturating_sub(1));
    }
}
