//! The timers: a heap of deadlines.
//!
//! Interface: [`Timers::insert`] arms a timer, [`remove`](Timers::remove) disarms it,
//! [`fire`](Timers::fire) takes out all that are due, [`next_deadline`](Timers::next_deadline)
//! says how long the thread may sleep.
//! Invariant: `heap` is a 4-ary heap by (deadline, serial), and each timer knows its position in
//! it. So a disarmed timer is removed from the heap at once, and timers of equal deadlines fire in
//! the order they were armed. (Of the timers due in one turn, the runtime's own tasks are queued
//! before any other waker is woken.)
//!
//! Why not a wheel? A wheel rounds deadlines to its ticks and has to cascade; both are where wheels
//! have had their bugs. Four children a node instead of two halve the height, and lie in 128 bytes:
//! two or three cache lines.
//!
//! Read before: `slab`. Read next: `sleep`.

use std::task::Waker;
use std::time::{Duration, Instant};

use crate::runtime::name::slab::{Slab, trim};

/// The timers of one runtime.
pub(crate) struct Timers {
    /// The earliest deadline is first.
    heap: Vec<Entry>,
    /// By the index in the timer's name.
    timers: Slab<Timer>,
}

/// What the heap compares, and the index of the timer.
#[derive(Clone, Copy)]
struct Entry {
    /// When the timer is due.
    deadline: Instant,
    /// The timer's serial: among equal deadlines the earlier one fires first.
    serial: u64,
    /// Where the timer is in the slab.
    index: u32,
}

/// An armed timer, without its deadline, which is in the heap.
struct Timer {
    /// Where the timer's entry is in the heap.
    position: usize,
    /// Wakes the task that sleeps.
    waker: Waker,
}

/// What is in a slot that is vacant.
impl Default for Timer {
    fn default() -> Timer {
        Timer {
            position: 0,
            waker: Waker::noop().clone(),
        }
    }
}

/// Children of a node in the heap.
const ARITY: usize = 4;

impl Timers {
    /// No timers.
    pub(crate) fn new() -> Timers {
        Timers {
            heap: Vec::new(),
            timers: Slab::new(),
        }
    }

    /// Arms a timer under `serial` and returns its index.
    pub(crate) fn insert(&mut self, serial: u64, deadline: Instant, waker: Waker) -> u32 {
        let position = self.heap.len();
        let index = self.timers.insert(serial, Timer { position, waker });
        self.heap.push(Entry {
            deadline,
            serial,
            index,
        });
        self.sift_up(position);
        index
    }

    /// The waker of a timer that is armed, to be compared or replaced.
    pub(super) fn waker_mut(&mut self, index: u32, serial: u64) -> Option<&mut Waker> {
        self.timers
            .get_mut(index, serial)
            .map(|timer| &mut timer.waker)
    }

    /// Disarms a timer and returns its waker; `None` if it has fired or was disarmed before.
    pub(crate) fn remove(&mut self, index: u32, serial: u64) -> Option<Waker> {
        let Timer { position, waker } = self.timers.remove(index, serial)?;
        self.remove_entry(position);
        Some(waker)
    }

    /// The earliest deadline.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// True if five timers or more end within `span`, the first of them with [`next_deadline`](Timers::next_deadline).
    /// Only the root of the heap and its children are looked at, so some of five may be overlooked.
    pub(crate) fn are_dense(&self, span: Duration) -> bool {
        let Some((first, others)) = self.heap.split_first() else {
            return false;
        };
        let children = others.get(..ARITY);
        let is_near = |entry: &Entry| entry.deadline.duration_since(first.deadline) <= span;
        children.is_some_and(|children| children.iter().all(is_near))
    }

    /// Disarms all timers that are due at `now`, gives their wakers to `to`, earliest first, and
    /// returns how many there were. `to` runs under the caller's borrow, so it must run no user code
    /// (R5): it queues the tasks of its own runtime, and keeps the other wakers for later.
    pub(crate) fn fire(&mut self, now: Instant, mut to: impl FnMut(Waker)) -> u64 {
        let mut fired = 0;
        while let Some(&Entry {
            deadline,
            serial,
            index,
        }) = self.heap.first()
        {
            if deadline > now {
                break;
            }
            let waker = self.remove(index, serial);
            debug_assert!(waker.is_some(), "the heap names a timer that is not there");
            waker.into_iter().for_each(&mut to);
            fired += 1;
        }
        fired
    }

    /// Takes every waker, at the end of the runtime.
    pub(crate) fn drain_all(&mut self) -> Vec<Waker> {
        let mut wakers = Vec::with_capacity(self.heap.len());
        while let Some(&Entry { serial, index, .. }) = self.heap.last() {
            wakers.extend(self.remove(index, serial));
        }
        wakers
    }

    /// The number of armed timers.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Gives back what a burst of timers has left.
    pub(crate) fn trim(&mut self) {
        let armed = self.heap.len();
        trim(&mut self.heap, armed);
        self.timers.trim();
    }

    /// Moves the last entry to the position of the removed one, then to where it belongs.
    fn remove_entry(&mut self, position: usize) {
        self.heap.swap_remove(position);
        if position < self.heap.len() {
            // It came from another branch, so it may be too small for its new position or too great.
            self.sift_down(position);
            self.sift_up(position);
        }
    }

    /// Moves an entry up until its parent is less, and stores the new positions of all that moved.
    fn sift_up(&mut self, mut position: usize) {
        while position > 0 {
            let parent = (position - 1) / ARITY;
            if self.heap[parent].key() <= self.heap[position].key() {
                break;
            }
            self.heap.swap(parent, position);
            self.place(position);
            position = parent;
        }
        self.place(position);
    }

    /// Moves an entry down until its children are greater, and stores the new positions of all that moved.
    fn sift_down(&mut self, mut position: usize) {
        loop {
            let children = position * ARITY + 1;
            let children = children..(children + ARITY).min(self.heap.len());
            let Some(least) = children.min_by_key(|&child| self.heap[child].key()) else {
                break;
            };
            if self.heap[position].key() <= self.heap[least].key() {
                break;
            }
            self.heap.swap(position, least);
            self.place(position);
            position = least;
        }
        self.place(position);
    }

    /// Stores `position` in the timer of the entry that is there.
    fn place(&mut self, position: usize) {
        if let Some(Entry { serial, index, .. }) = self.heap.get(position) {
            if let Some(timer) = self.timers.get_mut(*index, *serial) {
                timer.position = position;
            }
        }
    }
}

impl Entry {
    /// By what the heap is ordered.
    fn key(&self) -> (Instant, u64) {
        (self.deadline, self.serial)
    }
}
