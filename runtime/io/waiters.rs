//! Who waits for a source: any number of tasks, in either direction.
//!
//! Interface: [`Waiters::add`] stores a waiter, [`drain_ready`](Waiters::drain_ready) hands out the wakers of
//! those an event concerns, [`forget`](Waiters::forget) removes one that gave up.
//!
//! There are two kinds. A future *owns* its waiter, under a key, and removes it when it is
//! dropped. A `poll_*` method has nobody to remove it: it may be called by one task today and by
//! another tomorrow, and the first may be gone or may be still waiting. So polled waiters are kept
//! side by side, one a waker, and when they become a crowd all are woken and forgotten: who still
//! waits comes back. A crowd is twice as many as came back from the last one, and at least
//! [`LEAST_LIMIT`]. Who came back is counted when all have had their turn: judged any sooner, tasks that
//! all wait would drive each other out for ever.
//!
//! Invariant (R5): a waker goes in and out by value; no foreign one is cloned, woken or dropped here.
//! What wakers are given to runs under the caller's borrow, and so runs nothing foreign either.
//!
//! A waiter is found in O(log n), and an event walks over all there are: a hundred thousand tasks may
//! wait on one descriptor, for the word to shut down, say.
//! Read before: `interest`. Read next: `sources`.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::task::Waker;

use super::interest::{Interest, Ready};
use crate::runtime::foreign;
use crate::runtime::name::slab::WaiterKey;

/// The fewest polled waiters that are too many.
const LEAST_LIMIT: usize = 8;

pub(crate) struct Waiter {
    pub(crate) waker: Waker,
    pub(crate) key: WaiterKey,
    pub(crate) interest: Interest,
}

impl Waiter {
    /// True if waking either wakes the same task, for the same thing.
    fn is_like(&self, other: &Waiter) -> bool {
        self.interest == other.interest && self.waker.will_wake(&other.waker)
    }

    fn is_polled(&self) -> bool {
        self.key == WaiterKey::POLLED
    }
}

/// Whom a new waiter displaced; the caller lets go of the borrow and then of them (R5).
#[must_use]
pub(crate) enum Displaced {
    Nobody,
    /// The waiter of the same key, whose task moved on: to be dropped.
    Waker(Waker),
    /// To be woken: who still waits comes back.
    Flushed(Vec<Waker>),
}

impl Displaced {
    /// Does what is to be done about them. It is foreign code: nothing may be borrowed.
    #[inline]
    pub(super) fn settle(self) {
        match self {
            Displaced::Nobody => {}
            Displaced::Waker(before) => foreign::discard(before),
            Displaced::Flushed(mut wakers) => foreign::wake_all(&mut wakers),
        }
    }
}

/// How far the executor has come, and the serial of a waiter that comes now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(super) polls: u64,
    /// When there have been more polls than this, each task that is queued now has been polled,
    /// because the queue is never longer than there are tasks (R1), and the poll that runs now is over.
    pub(super) round: u64,
    pub(super) serial: u64,
}

impl Progress {
    pub(crate) fn new(polls: u64, tasks: usize, serial: u64) -> Progress {
        let round = polls + tasks as u64 + 1;
        Progress {
            polls,
            round,
            serial,
        }
    }
}

/// One waiter is the rule and lies in place; more are the exception and lie in a box.
pub(crate) struct Waiters {
    first: Option<Waiter>,
    more: Option<Box<More>>,
}

#[derive(Default)]
struct More {
    /// Those after the first, by serial: that of its key if a future owns it. Serials rise, so their
    /// order is the order of arrival.
    waiters: BTreeMap<u64, Waiter>,
    /// The serials of those among them that were polled, by what tells them apart.
    polled: BTreeMap<(Identity, u8), u64>,
    flushes: Flushes,
}

/// What is known of polled waiters that were too many.
struct Flushes {
    /// How many are too many.
    limit: usize,
    /// The wakers of the last crowd, by their identity, that have not come back yet.
    flushed: BTreeSet<Identity>,
    returned: usize,
    /// When there have been more polls than this, all who still wait have returned.
    judged_after: u64,
}

impl Default for Flushes {
    fn default() -> Flushes {
        Flushes {
            limit: LEAST_LIMIT,
            flushed: BTreeSet::new(),
            returned: 0,
            judged_after: 0,
        }
    }
}

/// What `Waker::will_wake` compares: two addresses. Two wakers that agree wake the same task.
type Identity = (usize, usize);

fn identity(waker: &Waker) -> Identity {
    let vtable: *const _ = waker.vtable();
    (waker.data().addr(), vtable.addr())
}

impl Waiters {
    pub(crate) fn new() -> Waiters {
        Waiters {
            first: None,
            more: None,
        }
    }

    /// Adds a waiter and says whom that displaced: one of the same key, or a flushes. One that waits
    /// already, under the same key and for the same thing, displaces itself.
    #[inline]
    pub(crate) fn add(&mut self, waiter: Waiter, progress: impl FnOnce() -> Progress) -> Displaced {
        if self.first.is_none() && self.more.is_none() {
            self.first = Some(waiter);
            return Displaced::Nobody;
        }
        self.add_to_others(waiter, progress)
    }

    fn add_to_others(&mut self, waiter: Waiter, progress: impl FnOnce() -> Progress) -> Displaced {
        if let Some(before) = self.find(&waiter) {
            return Displaced::Waker(mem::replace(before, waiter).waker);
        }
        let (displaced, serial) = if waiter.is_polled() {
            let progress = progress();
            (self.flush(&waiter, progress), progress.serial)
        } else {
            (Displaced::Nobody, waiter.key.0)
        };
        let more = self.more.get_or_insert_default();
        if self.first.is_none() && more.waiters.is_empty() {
            self.first = Some(waiter);
        } else {
            // Behind those who have waited longer, even if the first place is free.
            if waiter.is_polled() {
                more.polled.insert(polled_key(&waiter), serial);
            }
            more.waiters.insert(serial, waiter);
        }
        displaced
    }

    /// The waiter of the same key; of those that were polled, the one of the same task that waits for
    /// the same thing.
    fn find(&mut self, waiter: &Waiter) -> Option<&mut Waiter> {
        let is_it = |first: &&mut Waiter| {
            first.key == waiter.key && (!waiter.is_polled() || first.is_like(waiter))
        };
        if let Some(first) = self.first.as_mut().filter(is_it) {
            return Some(first);
        }
        let more = self.more.as_mut()?;
        let serial = if waiter.is_polled() {
            *more.polled.get(&polled_key(waiter))?
        } else {
            waiter.key.0
        };
        more.waiters.get_mut(&serial)
    }

    /// Gives the wakers of all that wait for some of `ready` to `to`.
    #[inline]
    pub(crate) fn drain_ready(&mut self, ready: Ready, to: impl FnMut(Waker)) {
        self.drain_if(|waiter| waiter.interest.mask().intersects(ready), to);
    }

    /// Gives all wakers to `to`.
    pub(crate) fn drain_all(&mut self, to: impl FnMut(Waker)) {
        self.drain_if(|_| true, to);
    }

    /// Removes the waiter that owns this key and returns its waker, to be dropped outside the
    /// borrow.
    #[inline]
    pub(crate) fn forget(&mut self, key: WaiterKey) -> Option<Waker> {
        debug_assert!(
            key.is_owned(),
            "polled waiters have the same key, all of them"
        );
        if let Some(first) = self.first.take_if(|waiter| waiter.key == key) {
            return Some(first.waker);
        }
        Some(self.more.as_mut()?.waiters.remove(&key.0)?.waker)
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let more = self.more.as_ref();
        self.first.is_none() && more.is_none_or(|more| more.waiters.is_empty())
    }

    #[inline]
    fn drain_if(&mut self, wanted: impl Fn(&Waiter) -> bool, mut to: impl FnMut(Waker)) {
        if let Some(first) = self.first.take_if(|waiter| wanted(waiter)) {
            to(first.waker);
        }
        if let Some(more) = &mut self.more {
            more.drain_if(wanted, to);
        }
    }

    /// Before `newcomer`, a polled waiter, is added: if there are too many already, takes them all.
    fn flush(&mut self, newcomer: &Waiter, progress: Progress) -> Displaced {
        let Some(more) = &mut self.more else {
            return Displaced::Nobody;
        };
        let polled =
            more.polled.len() + usize::from(self.first.as_ref().is_some_and(Waiter::is_polled));
        let flushes = &mut more.flushes;
        if flushes.flushed.remove(&identity(&newcomer.waker)) {
            flushes.returned += 1;
        }
        if polled < flushes.limit || progress.polls <= flushes.judged_after {
            return Displaced::Nobody;
        }
        flushes.limit = LEAST_LIMIT.max(2 * flushes.returned);
        flushes.returned = 0;
        flushes.judged_after = progress.round;
        let mut wakers = Vec::new();
        self.drain_if(Waiter::is_polled, |waker| wakers.push(waker));
        if let Some(more) = &mut self.more {
            more.flushes.flushed = wakers.iter().map(identity).collect();
        }
        Displaced::Flushed(wakers)
    }
}

impl More {
    /// Gives the wakers of those that are `wanted` to `to`, in the order in which they came.
    fn drain_if(&mut self, wanted: impl Fn(&Waiter) -> bool, mut to: impl FnMut(Waker)) {
        if !self.waiters.values().any(&wanted) {
            return;
        }
        let all = mem::take(&mut self.waiters).into_iter();
        let keep = all.filter_map(|(serial, waiter)| {
            if !wanted(&waiter) {
                return Some((serial, waiter));
            }
            if waiter.is_polled() {
                self.polled.remove(&polled_key(&waiter));
            }
            to(waiter.waker);
            None
        });
        self.waiters = keep.collect();
    }
}

fn polled_key(waiter: &Waiter) -> (Identity, u8) {
    (identity(&waiter.waker), waiter.interest.bits())
}
