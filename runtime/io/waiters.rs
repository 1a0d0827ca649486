//! The waiters of a source: any number of them, in either direction.
//!
//! Interface: [`Waiters::add`] stores a waiter, [`drain_ready`](Waiters::drain_ready) hands out the wakers of
//! those that an event concerns, [`forget`](Waiters::forget) removes one that waits no longer.
//!
//! There are two kinds. A future *owns* its waiter, under a key, and removes it when it is dropped. A
//! *polled* waiter, which a `poll_*` method stored, has no owner to remove it: one task may call the method
//! now and another task later, and the first may have ended or may be still waiting. So polled waiters are
//! kept side by side, one for each waker and interest. When they have reached a limit and another comes, all
//! are *flushed*: woken and removed. A task that still waits then registers again.
//!
//! The limit is [`LEAST_LIMIT`] at first, and is set anew by each flush: max([`LEAST_LIMIT`], 2 × the wakers
//! that have registered again since the flush before). The next flush comes only after every task that the
//! last one woke was polled: otherwise tasks that all still wait would flush each other endlessly.
//!
//! Invariant (R5): a waker goes in and out by value; none is cloned, woken or dropped under the caller's
//! borrow. The function that wakers are given to runs under that borrow, and must run no user code either.
//!
//! A waiter is found in O(log n), and an event walks over all of them: a hundred thousand tasks may wait
//! for one descriptor, say one that announces a shutdown.
//! Read before: `interest`. Read next: `sources`.

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::task::Waker;

use super::interest::{Interest, Ready};
use crate::runtime::name::slab::WaiterKey;
use crate::runtime::user_code;

/// The least limit of polled waiters.
const LEAST_LIMIT: usize = 8;

/// A task that waits for a source.
pub(crate) struct Waiter {
    /// Wakes the task.
    pub(crate) waker: Waker,
    /// Which operation the waiter belongs to; `POLLED` if it has no owner.
    pub(crate) key: WaiterKey,
    /// What the task waits for: an event with any part of it wakes.
    pub(crate) interest: Interest,
}

impl Waiter {
    /// True if both wake the same task, and wait for the same interest.
    fn is_like(&self, other: &Waiter) -> bool {
        self.interest == other.interest && self.waker.will_wake(&other.waker)
    }

    /// True if a `poll_*` method stored it, so that nothing removes it when the task gives up.
    fn is_polled(&self) -> bool {
        self.key == WaiterKey::POLLED
    }
}

/// What a new waiter displaced. The caller lets go of the borrow, and then settles this (R5).
#[must_use]
pub(crate) enum Displaced {
    /// No waker: there was no such waiter.
    Nobody,
    /// The waker of the waiter that the new one replaced: to be dropped.
    Waker(Waker),
    /// The wakers of a flush, to be woken: a task that still waits registers again.
    Flushed(Vec<Waker>),
}

impl Displaced {
    /// Drops or wakes the wakers. That runs user code, so the caller holds no borrow (R5).
    #[inline]
    pub(super) fn settle(self) {
        match self {
            Displaced::Nobody => {}
            Displaced::Waker(before) => user_code::discard(before),
            Displaced::Flushed(mut wakers) => user_code::wake_all(&mut wakers),
        }
    }
}

/// How many polls the executor has made, and the serial for a polled waiter that is added now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    /// The polls that the executor has made so far.
    pub(super) polls: u64,
    /// When there have been more polls than this, each task that is queued now has been polled,
    /// because the queue is never longer than there are tasks (R1), and the poll that runs now is over.
    pub(super) round: u64,
    /// The key under which a polled waiter is stored: it says when the waiter came.
    pub(super) serial: u64,
}

impl Progress {
    /// The state of the executor after `polls` polls, while it has `tasks` tasks.
    pub(crate) fn new(polls: u64, tasks: usize, serial: u64) -> Progress {
        let round = polls + tasks as u64 + 1;
        Progress {
            polls,
            round,
            serial,
        }
    }
}

/// Most sources have one waiter at a time: it is stored in place, all others in a box.
#[derive(Default)]
pub(crate) struct Waiters {
    /// The only waiter, or one of several: the one that came when there was no other.
    first: Option<Waiter>,
    /// The others. Once made it stays, with the limit that its flushes have found.
    more: Option<Box<More>>,
}

/// All waiters but the first.
#[derive(Default)]
struct More {
    /// The waiters after the first, by serial; if a future owns the waiter, its key is the serial. Serials
    /// rise, so their order is the order of arrival.
    waiters: BTreeMap<u64, Waiter>,
    /// The serials of the polled waiters among them, by waker and interest.
    polled: BTreeMap<(Identity, u8), u64>,
    /// When the polled waiters among them are flushed.
    flushes: Flushes,
}

/// The last flush, and when there will be another.
struct Flushes {
    /// If there are this many polled waiters, the next one that is added flushes them.
    limit: usize,
    /// The wakers of the last flush, by their identity, that have not registered again yet.
    flushed: BTreeSet<Identity>,
    /// How many of the last flush have registered again: twice as many may be kept from the next one on.
    returned: usize,
    /// When there have been more polls than this, all tasks that still wait have registered again.
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

/// The identity of the task behind `waker`.
fn identity(waker: &Waker) -> Identity {
    let vtable: *const _ = waker.vtable();
    (waker.data().addr(), vtable.addr())
}

impl Waiters {
    /// No waiters.
    pub(crate) fn new() -> Waiters {
        Waiters {
            first: None,
            more: None,
        }
    }

    /// Adds a waiter and returns what that displaced: the waker of the same waiter, if it was there already,
    /// or the wakers of a flush.
    #[inline]
    pub(crate) fn add(&mut self, waiter: Waiter, progress: impl FnOnce() -> Progress) -> Displaced {
        if self.first.is_none() && self.more.is_none() {
            self.first = Some(waiter);
            return Displaced::Nobody;
        }
        self.add_to_others(waiter, progress)
    }

    /// [`add`](Waiters::add), where there is a waiter already, or have been several.
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
            // Behind those that have waited longer, even if `first` is free.
            if waiter.is_polled() {
                more.polled.insert(polled_key(&waiter), serial);
            }
            more.waiters.insert(serial, waiter);
        }
        displaced
    }

    /// The waiter of the same key; for a polled one, the polled waiter with the same waker and the same
    /// interest.
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

    /// Removes the waiter with this key, which a future owns, and returns its waker, to be dropped outside
    /// the borrow.
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

    /// True if no task waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let more = self.more.as_ref();
        self.first.is_none() && more.is_none_or(|more| more.waiters.is_empty())
    }

    /// Takes out the waiters that are `wanted`, and gives their wakers to `to`, the first one first.
    #[inline]
    fn drain_if(&mut self, wanted: impl Fn(&Waiter) -> bool, mut to: impl FnMut(Waker)) {
        if let Some(first) = self.first.take_if(|waiter| wanted(waiter)) {
            to(first.waker);
        }
        if let Some(more) = &mut self.more {
            more.drain_if(wanted, to);
        }
    }

    /// Before `newcomer`, a polled waiter, is added: takes out all polled waiters, if the limit is reached.
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

/// By what a polled waiter is found again: its task, and what it waits for.
fn polled_key(waiter: &Waiter) -> (Identity, u8) {
    (identity(&waiter.waker), waiter.interest.bits())
}
