//! Chaos: what may happen in any order, or not at all, happens as a seed says.
//!
//! Interface: [`Builder::chaos`](super::Builder::chaos) turns it on; the executor, the reactor and
//! the loop ask it where the contract leaves them a choice.
//! Invariant: it only ever chooses among what is legal, so a program that fails under some seed is
//! wrong, if not today then on another day. It draws from its seed and nothing else: the same seed
//! makes the same choices.
//!
//! What it chooses: which queued task is next; the order of the events of a batch; how many polls
//! until the next look; a wake for nothing, now and then; an interruption (EINTR) instead of an
//! operation, or of a wait; how many bytes a read, peek or write is offered, into or from however
//! many buffers; and whether a try (`try_io`, `try_read`) has heard yet that a source is ready.
//!
//! A try that has not says `WouldBlock` of bytes that are there. That is legal of a source that is
//! registered, and chosen of no other: bytes which came since the last turn are refused in the same
//! way, because readiness is what the last turn knew (R4). Whoever is refused must wait, and the
//! wait ends at once, because the readiness stays. One who gives up instead, since he knows by other
//! means that something is there, relies on a look that may not have been.

use std::cell::Cell;

pub(crate) struct Chaos {
    state: Cell<u64>,
}

impl Chaos {
    pub(crate) fn new(seed: u64) -> Chaos {
        Chaos {
            state: Cell::new(seed),
        }
    }

    /// The next number: SplitMix64, of Steele, Lea and Flood, "Fast splittable pseudorandom number
    /// generators" (OOPSLA 2014).
    pub(crate) fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`, which is not 0. Slightly more often a small one, which does not matter.
    #[cold]
    pub(super) fn below(&self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times, on average.
    #[cold]
    pub(crate) fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Puts `items` into another order (Fisher and Yates).
    #[cold]
    pub(super) fn shuffle<T>(&self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.below(end + 1));
        }
    }

    /// How many of `len` bytes to offer: often all, else from 1 up. Of none, none.
    #[cold]
    pub(super) fn offer(&self, len: usize) -> usize {
        if len == 0 || self.one_in(2) {
            return len;
        }
        1 + self.below(len)
    }
}
