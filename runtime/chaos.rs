//! Chaos: a seed decides what may legally happen in any order, or not at all.
//!
//! Interface: chaos is always there, and off unless [`Builder::chaos`](super::Builder::chaos) gives it a
//! seed. While it is off, [`says`](Chaos::says) returns false, [`pick`](Chaos::pick) returns `None`, and
//! the rest changes nothing. The executor, the reactor, the loop and the operations ask it where the
//! contract leaves them a choice.
//! Invariant: it chooses only among what is legal, so a program that fails under some seed is wrong, and
//! may fail without chaos on another day. (But for a pipe of packets, of which a short read loses bytes: `net::pipe`.) Its numbers come from the seed alone: the same seed makes the
//! same choices.
//!
//! What it chooses: which queued task is next; the order of the events of a batch; how many polls until the
//! next turn; spurious wakes; an interruption (EINTR) in place of an operation or of a wait; how many bytes
//! a read, peek or write is offered, that of a try, too, however many buffers it has, or, of datagrams, which are never cut, how many a call for
//! many is offered; and whether a try (`try_io`, `try_read`) knows yet that a source is ready.
//!
//! A try that does not know it yet returns `WouldBlock` although bytes are there, as if their event had not
//! been read. That is legal, because readiness is as of the last turn (R4): without chaos, bytes that came
//! since are refused in the same way. Only a registered source is treated so. A task that meets
//! `WouldBlock` must wait, and the wait ends at once, because the readiness stays. A task that gives up
//! instead, because it knows by other means that bytes are there, relies on a turn that may not have
//! happened.
//!
//! It is asked of an operation in `io::registration`, of the wait and the batch in `io::reactor`, of the rest in `run` and the
//! executor. An interruption neither returns `Pending` nor loses an event, and a wait of no time is none.
//! Read next: `run`.

use std::cell::Cell;

/// The generator of the choices, which one runtime asks.
pub(crate) struct Chaos {
    /// False without a seed: then nothing is drawn.
    on: bool,
    /// What the next draw is computed from; at first the seed.
    state: Cell<u64>,
}

impl Chaos {
    /// Chaos as the seed says; off without a seed.
    pub(crate) fn new(seed: Option<u64>) -> Chaos {
        Chaos {
            on: seed.is_some(),
            state: Cell::new(seed.unwrap_or(0)),
        }
    }

    /// True if the runtime was given a seed.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// True once in `n` times, on average; never if chaos is off.
    #[inline]
    pub(crate) fn says(&self, n: usize) -> bool {
        self.on && self.one_in(n)
    }

    /// The index of one of `n` things; `None` if chaos is off or `n` is 0.
    #[inline]
    pub(crate) fn pick(&self, n: usize) -> Option<usize> {
        (self.on && n > 0).then(|| self.below(n))
    }

    /// `n`, which is not 0, or any number from 1 to `n` if chaos is on.
    pub(crate) fn at_most(&self, n: usize) -> usize {
        if self.on { 1 + self.below(n) } else { n }
    }

    /// How many of `len` bytes to offer: all of them, or, if chaos is on, sometimes fewer, but at least 1.
    #[inline]
    pub(crate) fn offer(&self, len: usize) -> usize {
        if self.on { self.offer_some(len) } else { len }
    }

    /// Puts `items` into another order (Fisher and Yates), if chaos is on.
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

    /// A number below `n`, which is not 0. Small numbers are slightly more frequent, which does not matter.
    #[cold]
    fn below(&self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True once in `n` times; `n` is not 0.
    #[cold]
    fn one_in(&self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// All of `len` bytes in half of the draws, otherwise any number from 1 to `len`.
    #[cold]
    fn offer_some(&self, len: usize) -> usize {
        if len == 0 || self.one_in(2) {
            return len;
        }
        1 + self.below(len)
    }
}
