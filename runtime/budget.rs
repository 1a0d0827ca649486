//! The budget: how many ready operations a task may do before one is refused, and how many polls there are between two
//! turns of the reactor.
//!
//! Interface: an operation calls [`Budget::poll`] before it tries, and [`Budget::spend`] when it returns
//! `Ready`, with a success or an error; the executor [refills](Budget::refill) the budget before each poll. The
//! loop asks [`Budget::may_poll`] before each poll, and [grants](Budget::grant) so many at each turn.
//!
//! A task with a socket that always has data never returns `Pending` by itself, and no other task would run. So
//! after about 128 operations, which is tokio's number, the next one is refused: it returns `Pending`, with a wake.
//!
//! Why "about"? The budget refuses whichever operation comes next, ready or not. If one future of a task does 128
//! operations in every poll, a budget of exactly 128 would refuse the future after it in every poll: a
//! timeout there would never fire. So each refill draws a number from [`LEAST`] to 128. A counter in place
//! of the draws would have a rhythm, and a program could fall into step with it. The draws are the same in
//! every run, and the seed of chaos does not change them.
//!
//! How many operations are refused, before the budget is renewed? Tasks want different answers:
//! - A task that polls many futures in one poll, a sub-executor, is to lose few of these polls. And what stands behind a
//!   busy connection, say a timeout, is to be heard, although the connection has spent the budget: if all were refused
//!   until the poll ends, it would be refused in every poll. For these, one.
//! - A loop over a select of something quiet, say a signal, and something busy behind it meets the refusal at the
//!   quiet one, which has nothing to say anyway. Renewed, the budget lets the busy one go on, in the same poll, for ever.
//!   To give way, a loop with `w` quiet branches needs `w` + 1 refusals.
//!
//! As the runtime does not know `w`, it draws: there are `n` refusals in a row, or more, with a chance of one in `n`. So
//! that loop gives way one time in `w` + 1, with one quiet branch after some 250 operations; what stands behind the loop
//! is heard in one of `w` + 2 of these polls; and a sub-executor loses some eight polls each time, on the average. The row
//! has an end, [`MOST_REFUSALS`], for a sub-executor that polls until nothing is woken, as each refusal wakes. (tokio's
//! budget stays spent until the poll ends, and its `timeout` is an exception.)
//!
//! The promise: a loop over a select gives way, with fewer than some two thousand quiet branches; but each round polls all
//! of them, so with a hundred that is a million polls, and a select that rotates is the better one. Of futures that one task
//! polls in a fixed order, any number may do operations without end, and each makes progress; those in front more.
//!
//! A poll in which an operation was refused has taken long: 128 reads and writes are a tenth of a millisecond and more. So
//! the reactor turns before the next poll, whatever is left of the 61 polls. Otherwise a task that waits for a socket
//! beside a connection that streams would wait for 61 such polls.
//!
//! Read next: `coop`, for operations that are not the runtime's own.

use std::cell::Cell;
use std::task::{Context, Poll};

/// The smallest budget, in ready operations of one poll; the greatest is 7 more.
const LEAST: u32 = 121;

/// The most refusals in a row.
const MOST_REFUSALS: u32 = 4096;

/// The budget of the task that is being polled, and the count of the polls until the reactor must turn.
pub(crate) struct Budget {
    /// Ready operations that the task may still do in this poll.
    left: Cell<u32>,
    /// Operations that are still to be refused, one after the other, before the budget is renewed.
    refusals: Cell<u32>,
    /// Polls left before the reactor must turn. Polls of the main future count, too.
    polls: Cell<usize>,
    /// The state of the generator: the last draw.
    draws: Cell<u64>,
}

impl Budget {
    /// A budget for the first poll. No poll is granted yet: see [`grant`](Budget::grant).
    pub(super) fn new() -> Budget {
        Budget {
            left: Cell::new(LEAST),
            refusals: Cell::new(0),
            polls: Cell::new(0),
            draws: Cell::new(1),
        }
    }

    /// Starts the draws from another number.
    #[cfg(test)]
    pub(super) fn seed(&self, seed: u64) {
        self.draws.set(2 * seed + 1);
    }

    /// Draws 64 bits, by a congruential generator with the multiplier of Knuth's MMIX. Its low bits have short periods;
    /// its high bits do not, if it begins with an odd number.
    #[inline]
    fn draw(&self) -> u64 {
        let draw = self.draws.get().wrapping_mul(6_364_136_223_846_793_005);
        self.draws.set(draw);
        draw
    }

    /// Sets the budget to what is drawn from 121 to 128, by the three highest bits.
    #[inline]
    pub(super) fn refill(&self) {
        self.left.set(LEAST + (self.draw() >> 61) as u32);
    }

    /// Pending if the budget is spent; the task is woken.
    #[inline]
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        if self.is_left() {
            return Poll::Ready(());
        }
        self.give_way(cx);
        Poll::Pending
    }

    /// Called when the budget is spent: refuses an operation, and wakes the task.
    #[cold]
    pub(super) fn give_way(&self, cx: &Context<'_>) {
        self.refuse();
        cx.waker().wake_by_ref();
    }

    /// True if the task may do another operation in this poll. If not, this is the first refusal of a row, unless it has
    /// begun: code that asks, and then waits by itself, gives way without being refused.
    pub(super) fn ask(&self) -> bool {
        let is_left = self.is_left();
        if !is_left && self.refusals.get() == 0 {
            self.refuse();
        }
        is_left
    }

    /// Counts a refusal. If this was the last one of its row, the budget is renewed. The reactor turns before the next
    /// poll.
    fn refuse(&self) {
        self.polls.set(0);
        let refusals = match self.refusals.get() {
            // From 1 to 4,096, by 12 bits: `n` or more with a chance of 1 in `n`.
            0 => MOST_REFUSALS / (1 + (self.draw() >> 52) as u32),
            refusals => refusals,
        };
        self.refusals.set(refusals - 1);
        if refusals == 1 {
            self.refill();
        }
    }

    /// Counts a poll; false if the reactor must turn first.
    #[inline]
    pub(super) fn may_poll(&self) -> bool {
        let left = self.polls.get();
        if left == 0 {
            return false;
        }
        self.polls.set(left - 1);
        true
    }

    /// Grants so many polls before the reactor must turn again, at a turn and so between two polls. If a poll has ended in
    /// the middle of a row of refusals, the row ends here, so that a destructor that runs before the next poll has a
    /// budget.
    pub(super) fn grant(&self, polls: usize) {
        self.polls.set(polls);
        if self.refusals.replace(0) > 0 {
            self.refill();
        }
    }

    /// True if the next operation is not refused.
    #[inline]
    pub(super) fn is_left(&self) -> bool {
        self.left.get() > 0
    }

    /// Sets the budget to more than can be spent in a poll, and returns what it was.
    pub(super) fn lift(&self) -> u32 {
        self.left.replace(u32::MAX)
    }

    /// Sets the budget to what [`lift`](Budget::lift) returned.
    pub(super) fn restore(&self, left: u32) {
        self.left.set(left);
    }

    /// Counts an operation that was ready. An operation that waits spends nothing.
    #[inline]
    pub(super) fn spend(&self) {
        self.left.set(self.left.get().saturating_sub(1));
    }
}
