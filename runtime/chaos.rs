//! Chaos: what may happen in any order, or not at all, happens as a seed says.
//!
//! Interface: it is always there, and off unless [`Builder::chaos`](super::Builder::chaos) gives it a seed:
//! then [`says`](Chaos::says) says no, [`pick`](Chaos::pick) picks nothing, and all else is left as it is.
//! The executor, the reactor, the loop and the operations ask it where the contract leaves them a choice.
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
//! Read next: `run`, which asks it most.

use std::cell::Cell;

pub(crate) struct Chaos {
    on: bool,
    state: Cell<u64>,
}

impl Chaos {
    /// Without a seed it is off.
    pub(crate) fn new(seed: Option<u64>) -> Chaos {
        Chaos {
            on: seed.is_some(),
            state: Cell::new(seed.unwrap_or(0)),
        }
    }

    /// True once in `n` times, on average; never if it is off.
    #[inline]
    pub(crate) fn says(&self, n: usize) -> bool {
        self.on && self.one_in(n)
    }

    /// One of `n` things, by its index; none if it is off, or if there is none.
    #[inline]
    pub(crate) fn pick(&self, n: usize) -> Option<usize> {
        (self.on && n > 0).then(|| self.below(n))
    }

    /// `n`, which is not 0; if it is on, a number from 1 to `n`.
    pub(crate) fn at_most(&self, n: usize) -> usize {
        if self.on { 1 + self.below(n) } else { n }
    }

    /// How many of `len` bytes to offer: all; if it is on, often all, else from 1 up. Of none, none.
    #[inline]
    pub(crate) fn offer(&self, len: usize) -> usize {
        if self.on { self.offer_some(len) } else { len }
    }

    /// Puts `items` into another order (Fisher and Yates), if it is on.
    #[inline]
    pub(crate) fn shuffle<T>(&self, items: &mut [T]) {
        if self.on {
            for end in (1..items.len()).rev() {
                items.swap(end, self.below(end + 1));
            }
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
    fn below(&self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    #[cold]
    fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    #[cold]
    fn offer_some(&self, len: usize) -> usize {
        if len == 0 || self.one_in(2) {
            return len;
        }
        1 + self.below(len)
    }
}
