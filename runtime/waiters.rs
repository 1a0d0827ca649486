//! Who waits for a source: any number of tasks, in either direction.
//!
//! Interface: [`Waiters::add`] stores a waiter, [`take`](Waiters::take) hands out the wakers of
//! those an event concerns, [`forget`](Waiters::forget) removes one that gave up.
//!
//! There are two kinds. A future *owns* its waiter, under a key, and removes it when it is
//! dropped. A `poll_*` method has nobody to remove it: it may be called by one task today and by
//! another tomorrow, and the first may be gone or may be still waiting. So polled waiters are kept
//! side by side, one a waker, and when they become a crowd all are woken and forgotten: who still
//! waits comes back. A crowd is twice as many as came back from the last one, and at least
//! [`CROWD`]. Who came back is counted when all have had their turn: judged any sooner, tasks that
//! all wait would drive each other out for ever.
//!
//! Invariant (R5): a waker goes in and out by value; no foreign one is cloned, woken or dropped here.
//! What wakers are given to runs under the caller's borrow, and so runs nothing foreign either.

use std::collections::VecDeque;
use std::task::{RawWakerVTable, Waker};

use super::Shared;
use super::foreign;
use super::interest::{Interest, Ready};

/// The fewest polled waiters that are too many.
const CROWD: usize = 8;

/// Which waiter an operation owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterKey(pub(super) u64);

impl WaiterKey {
    /// A `poll_*` call: it owns none.
    pub(crate) const POLLED: WaiterKey = WaiterKey(0);
    /// A future that does not wait.
    pub(crate) const UNSET: WaiterKey = WaiterKey(u64::MAX);

    /// The key of the same operation when it waits no longer.
    #[inline]
    pub(super) fn unset(self) -> WaiterKey {
        match self {
            WaiterKey::POLLED => WaiterKey::POLLED,
            _ => WaiterKey::UNSET,
        }
    }

    /// True if this is the key of a waiter that somebody owns.
    #[inline]
    pub(super) fn is_owned(self) -> bool {
        !matches!(self, WaiterKey::POLLED | WaiterKey::UNSET)
    }
}

pub(super) struct Waiter {
    pub(super) waker: Waker,
    pub(super) key: WaiterKey,
    pub(super) interest: Interest,
}

impl Waiter {
    fn is_like(&self, other: &Waiter) -> bool {
        let same = self.key == other.key && self.interest == other.interest;
        same && self.waker.will_wake(&other.waker)
    }
}

/// Whom a new waiter displaced; the caller lets go of the borrow and then of them (R5).
#[must_use]
pub(super) enum Displaced {
    Nobody,
    /// The waiter of the same key, whose task moved on: to be dropped.
    Waker(Waker),
    /// To be woken: who still waits comes back.
    Crowd(Vec<Waker>),
}

impl Displaced {
    /// Does what is to be done about them. It is foreign code: nothing may be borrowed.
    #[inline]
    pub(super) fn settle(self) {
        match self {
            Displaced::Nobody => {}
            Displaced::Waker(before) => foreign::discard(before),
            Displaced::Crowd(mut crowd) => foreign::wake_all(&mut crowd),
        }
    }
}

/// How far the executor has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    pub(super) polls: u64,
    /// When there have been more polls than this, each task that is queued now has been polled,
    /// because the queue is never longer than there are tasks (R1), and the poll that runs now is over.
    pub(super) round: u64,
}

impl Progress {
    pub(super) fn of(shared: &Shared) -> Progress {
        let polls = shared.counters.polls.get();
        let round = polls + shared.executor.tasks() as u64 + 1;
        Progress { polls, round }
    }
}

/// One waiter is the rule and lies in place; more are the exception and lie in a box.
pub(super) struct Waiters {
    first: Option<Waiter>,
    more: Option<Box<More>>,
}

struct More {
    /// Those after the first, oldest first.
    waiters: VecDeque<Waiter>,
    /// How many polled waiters are a crowd.
    limit: usize,
    /// The wakers of the last crowd, by their identity, that have not come back yet.
    dispersed: Vec<Identity>,
    returned: usize,
    /// When there have been more polls than this, all who still wait have returned.
    judged_after: u64,
}

/// What `Waker::will_wake` compares. Two wakers that agree wake the same task.
type Identity = (*const (), *const RawWakerVTable);

fn identity(waker: &Waker) -> Identity {
    (waker.data(), std::ptr::from_ref(waker.vtable()))
}

impl Waiters {
    pub(super) fn new() -> Waiters {
        Waiters {
            first: None,
            more: None,
        }
    }

    /// Adds a waiter and says whom that displaced: one of the same key, or a crowd. One that waits
    /// already, under the same key and for the same thing, displaces itself.
    #[inline]
    pub(super) fn add(&mut self, waiter: Waiter, progress: impl FnOnce() -> Progress) -> Displaced {
        if self.first.is_none() && self.more.is_none() {
            self.first = Some(waiter);
            return Displaced::Nobody;
        }
        self.add_to_others(waiter, progress)
    }

    fn add_to_others(&mut self, waiter: Waiter, progress: impl FnOnce() -> Progress) -> Displaced {
        if self.iter().any(|other| other.is_like(&waiter)) {
            return Displaced::Waker(waiter.waker);
        }
        let displaced = if waiter.key == WaiterKey::POLLED {
            self.disperse_crowd(&waiter, progress())
        } else {
            self.forget(waiter.key)
                .map_or(Displaced::Nobody, Displaced::Waker)
        };
        match &mut self.more {
            None if self.first.is_none() => self.first = Some(waiter),
            // Behind those who have waited longer, even if the first place is free.
            Some(more) if self.first.is_some() || !more.waiters.is_empty() => {
                more.waiters.push_back(waiter);
            }
            Some(_) => self.first = Some(waiter),
            None => {
                let (waiters, dispersed) = (VecDeque::from([waiter]), Vec::new());
                self.more = Some(Box::new(More {
                    waiters,
                    limit: CROWD,
                    dispersed,
                    returned: 0,
                    judged_after: 0,
                }));
            }
        }
        displaced
    }

    /// Gives the wakers of all that wait for some of `ready` to `to`.
    #[inline]
    pub(super) fn take(&mut self, ready: Ready, to: impl FnMut(Waker)) {
        self.take_if(|waiter| waiter.interest.mask().intersects(ready), to);
    }

    /// Gives all wakers to `to`.
    pub(super) fn take_all(&mut self, to: impl FnMut(Waker)) {
        self.take_if(|_| true, to);
    }

    /// Removes the waiter that owns this key and returns its waker, to be dropped outside the
    /// borrow.
    #[inline]
    pub(super) fn forget(&mut self, key: WaiterKey) -> Option<Waker> {
        if !key.is_owned() {
            return None;
        }
        if let Some(first) = self.first.take_if(|waiter| waiter.key == key) {
            return Some(first.waker);
        }
        let waiters = &mut self.more.as_mut()?.waiters;
        let position = waiters.iter().position(|waiter| waiter.key == key)?;
        Some(waiters.remove(position)?.waker)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        let more = self.more.as_ref();
        self.first.is_none() && more.is_none_or(|more| more.waiters.is_empty())
    }

    fn iter(&self) -> impl Iterator<Item = &Waiter> {
        self.first
            .iter()
            .chain(self.more.iter().flat_map(|more| &more.waiters))
    }

    #[inline]
    fn take_if(&mut self, wanted: impl Fn(&Waiter) -> bool, mut to: impl FnMut(Waker)) {
        if let Some(first) = self.first.take_if(|waiter| wanted(waiter)) {
            to(first.waker);
        }
        if let Some(more) = &mut self.more {
            // Once around: what is not wanted goes to the back, and so keeps its order.
            for _ in 0..more.waiters.len() {
                match more.waiters.pop_front() {
                    Some(waiter) if wanted(&waiter) => to(waiter.waker),
                    unwanted => more.waiters.extend(unwanted),
                }
            }
            if more.waiters.len() < more.waiters.capacity() / 4 {
                more.waiters.shrink_to((2 * more.waiters.len()).max(8));
            }
        }
    }

    /// Before `newcomer`, a polled waiter, is added: if there are too many already, takes them all.
    fn disperse_crowd(&mut self, newcomer: &Waiter, progress: Progress) -> Displaced {
        let polled = self
            .iter()
            .filter(|waiter| waiter.key == WaiterKey::POLLED)
            .count();
        let Some(more) = &mut self.more else {
            return Displaced::Nobody;
        };
        let newcomer = identity(&newcomer.waker);
        if let Some(found) = more.dispersed.iter().position(|gone| *gone == newcomer) {
            more.dispersed.swap_remove(found);
            more.returned += 1;
        }
        if polled < more.limit || progress.polls <= more.judged_after {
            return Displaced::Nobody;
        }
        more.limit = CROWD.max(2 * more.returned);
        more.returned = 0;
        more.judged_after = progress.round;
        let mut crowd = Vec::new();
        let polled = |waiter: &Waiter| waiter.key == WaiterKey::POLLED;
        self.take_if(polled, |waker| crowd.push(waker));
        if let Some(more) = &mut self.more {
            more.dispersed.clear();
            more.dispersed.extend(crowd.iter().map(identity));
        }
        Displaced::Crowd(crowd)
    }
}
