//! The budget: how many ready operations a task may do in one poll, and how many polls there are between two turns
//! of the reactor.
//!
//! Interface: an operation calls [`Budget::poll`] before it tries, and [`Budget::spend`] when it returns
//! `Ready`, with a success or an error; the executor [refills](Budget::refill) the budget before each poll. The
//! loop asks [`Budget::may_poll`] before each poll, and [grants](Budget::grant) so many after each turn.
//!
//! A task with a socket that always has data never returns `Pending` by itself, and no other task would run. So
//! after about 128 operations, which is tokio's number, the next one is refused: it returns `Pending`, with a wake.
//! Is the rest of the poll refused, too? Two kinds of tasks want opposite answers:
//! - A task that polls many futures in one poll, a sub-executor, is to lose one of these polls, and not to walk over
//!   all futures for 128 operations. And where a busy connection has spent the budget, the timeout behind it must be
//!   heard all the same. So a refusal renews the budget.
//! - A loop over a select of something quiet, say a signal, and something busy behind it meets the refusal at the
//!   quiet one, which has nothing to say anyway. If that renews the budget, the busy one goes on, in the same poll, for
//!   ever. So the budget must stay spent.
//!
//! Hence a draw: after one refusal in four the budget stays spent until the poll ends. So the select gives way after
//! some 500 operations, and the timeout is heard in three polls of four. (tokio's stays spent each time, and its
//! `timeout` is an exception.) There is an end to that, after [`MOST_REFUSED`] refusals in a row: a sub-executor that
//! polls until nothing is woken would otherwise never return, because each refusal wakes.
//!
//! Why "about"? The budget refuses whichever operation comes next. If one future of a task does 128
//! operations in every poll, a budget of exactly 128 would refuse the future after it in every poll: a
//! timeout there would never fire. So each refill draws a number from [`LEAST`] to 128. A counter in place
//! of the draws would have a rhythm, and a program could fall into step with it. The draws are the same in
//! every run, and the seed of chaos does not change them.
//!
//! The promise: a task that polls fewer than [`MOST_REFUSED`] operations between two that are ready gives way. Of
//! futures that one task polls in a fixed order, one may do any number of operations, and all others make progress,
//! in most polls, if together they do fewer than [`LEAST`] a poll. If several do operations without end, each makes
//! progress, but the more of them stand before it, the rarer.
//!
//! A poll that spends its budget has taken long: 128 reads and writes are a tenth of a millisecond and more. So the
//! reactor turns before the next poll, whatever is left of the 61 polls. Otherwise a task that waits for a socket
//! beside a connection that streams would wait for 61 such polls.
//!
//! Read next: `coop`, for operations that are not the runtime's own.

use std::cell::Cell;
use std::task::{Context, Poll};

/// The smallest budget, in ready operations of one poll; the greatest is 7 more.
const LEAST: u32 = 121;

/// Refusals in a row, in one poll, until the budget is renewed in any case. A select with more branches than this would
/// not give way; a sub-executor loses so many polls each time.
const MOST_REFUSED: u32 = 512;

/// The budget of the task that is being polled, and the count of the polls until the reactor must turn.
pub(crate) struct Budget {
    /// Ready operations that the task may still do in this poll.
    left: Cell<u32>,
    /// Operations refused since the budget was spent to stay so. 0: it is renewed.
    refused: Cell<u32>,
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
            refused: Cell::new(0),
            polls: Cell::new(0),
            draws: Cell::new(1),
        }
    }

    /// Starts the draws from another number.
    #[cfg(test)]
    pub(super) fn seed(&self, seed: u64) {
        self.draws.set(2 * seed + 1);
    }

    /// Draws a budget from 121 to 128, by the three highest bits of a congruential generator with the multiplier
    /// of Knuth's MMIX, and returns the draw. Its low bits have short periods; its high bits do not, if it begins with
    /// an odd number.
    #[inline]
    pub(super) fn refill(&self) -> u64 {
        let draw = self.draws.get().wrapping_mul(6_364_136_223_846_793_005);
        self.draws.set(draw);
        self.left.set(LEAST + (draw >> 61) as u32);
        draw
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

    /// Called when the budget is spent: wakes the task, and renews the budget or leaves it spent. The reactor turns
    /// before the next poll.
    #[cold]
    pub(super) fn give_way(&self, cx: &Context<'_>) {
        self.polls.set(0);
        let refused = match self.refused.get() {
            // The two highest bits that `refill` does not look at.
            0 => u32::from((self.refill() >> 59) & 3 == 0),
            MOST_REFUSED.. => {
                self.refill();
                0
            }
            refused => refused + 1,
        };
        self.refused.set(refused);
        if refused > 0 {
            self.left.set(0);
        }
        cx.waker().wake_by_ref();
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

    /// Grants so many polls before the reactor must turn. It has turned: the poll whose budget stayed spent, if there
    /// was one, is over.
    pub(super) fn grant(&self, polls: usize) {
        self.polls.set(polls);
        self.refused.set(0);
    }

    /// True if the task may do another operation in this poll.
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
