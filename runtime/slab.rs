//! Names, and the slab that finds the thing by its name, or nothing.
//!
//! Interface: [`Slab::insert`] puts a value under a fresh serial; [`Slab::get`] finds it by index
//! and serial; [`Slab::occupant`] tells who lives at an index now.
//! Invariant (R6): a slot's serial is compared on every look-up, and a serial is used once in the
//! life of the process, so an exact name that went stale finds nothing.
//! Read next: `waker` and `reactor`, which truncate names to hints.

use std::cell::Cell;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

/// An exact name: what a handle, a socket or a timer holds of a thing inside a runtime.
///
/// Plain data: it may be copied, sent anywhere and kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The runtime's entry in the table of places; recycled, so it proves nothing by itself.
    pub(crate) place: u16,
    pub(crate) index: u32,
    /// Never recycled: it also tells one tenant of a place from the next.
    pub(crate) serial: u64,
}

/// Hands out serials: unique in the process, rising within a runtime.
///
/// They are taken from the process in blocks, so that one atomic addition serves 4,096 of them.
#[derive(Debug)]
pub(crate) struct Serials {
    next: Cell<u64>,
    end: Cell<u64>,
}

/// At a billion serials a second, 64 bits last for 580 years.
static NEXT_BLOCK: AtomicU64 = AtomicU64::new(Serials::BLOCK);

impl Serials {
    const BLOCK: u64 = 4096;

    pub(crate) fn new() -> Serials {
        let first = NEXT_BLOCK.fetch_add(Serials::BLOCK, Ordering::Relaxed);
        Serials {
            next: Cell::new(first),
            end: Cell::new(first + Serials::BLOCK),
        }
    }

    /// The next serial; never 0, which marks a vacant slot.
    pub(crate) fn take(&self) -> u64 {
        if self.next.get() == self.end.get() {
            let fresh = Serials::new();
            self.next.set(fresh.next.get());
            self.end.set(fresh.end.get());
        }
        self.next.replace(self.next.get() + 1)
    }
}

/// A vector of slots that are used again, each stamped with the serial of who lives there.
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    /// The first vacant slot, or [`NONE`]; the vacant ones form a list.
    vacant: u32,
    len: usize,
    /// When `len` falls below this, the vacant tail is given back.
    shrink_below: usize,
}

struct Slot<T> {
    serial: u64,
    content: Content<T>,
}

enum Content<T> {
    Vacant { next: u32 },
    Occupied(T),
}

/// No slot.
const NONE: u32 = u32::MAX;

/// Slabs of fewer slots are never shrunk.
const SMALL: usize = 64;

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab {
            slots: Vec::new(),
            vacant: NONE,
            len: 0,
            shrink_below: 0,
        }
    }

    /// Puts `value` into a vacant slot under `serial` and returns the slot's index.
    pub(crate) fn insert(&mut self, serial: u64, value: T) -> u32 {
        let slot = Slot {
            serial,
            content: Content::Occupied(value),
        };
        self.len += 1;
        let index = self.vacant;
        if let Some(place) = self.slots.get_mut(index as usize) {
            if let Content::Vacant { next } = place.content {
                self.vacant = next;
            }
            *place = slot;
            return index;
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(NONE);
        assert!(index < NONE, "a slab cannot hold more than {NONE} entries");
        self.slots.push(slot);
        // After growth to n slots, shrinking is worth its walk once three quarters are vacant.
        self.shrink_below = self.shrink_below.max(self.slots.len() / 4);
        index
    }

    /// Finds what was inserted at `index` under `serial`, unless it has gone.
    pub(crate) fn get(&self, index: u32, serial: u64) -> Option<&T> {
        match self.slots.get(index as usize) {
            Some(Slot {
                serial: s,
                content: Content::Occupied(value),
            }) if *s == serial => Some(value),
            _ => None,
        }
    }

    /// As [`get`](Slab::get), to change it.
    pub(crate) fn get_mut(&mut self, index: u32, serial: u64) -> Option<&mut T> {
        match self.occupant(index) {
            Some((s, value)) if s == serial => Some(value),
            _ => None,
        }
    }

    /// Whoever lives at `index` now, with its serial: the look-up of hints.
    pub(crate) fn occupant(&mut self, index: u32) -> Option<(u64, &mut T)> {
        match self.slots.get_mut(index as usize) {
            Some(Slot {
                serial,
                content: Content::Occupied(value),
            }) => Some((*serial, value)),
            _ => None,
        }
    }

    /// Takes out what was inserted at `index` under `serial`, unless it has gone.
    pub(crate) fn remove(&mut self, index: u32, serial: u64) -> Option<T> {
        self.get(index, serial)?;
        let slot = &mut self.slots[index as usize];
        slot.serial = 0;
        let content = mem::replace(&mut slot.content, Content::Vacant { next: self.vacant });
        self.vacant = index;
        self.len -= 1;
        if self.len < self.shrink_below && self.slots.len() > SMALL {
            self.shrink();
        }
        match content {
            Content::Occupied(value) => Some(value),
            Content::Vacant { .. } => None,
        }
    }

    /// Everything that lives here, in the order of the slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u64, &T)> {
        self.slots
            .iter()
            .zip(0u32..)
            .filter_map(|(slot, index)| match &slot.content {
                Content::Occupied(value) => Some((index, slot.serial, value)),
                Content::Vacant { .. } => None,
            })
    }

    /// Takes everything out, in the order of the slots.
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.slots
            .into_iter()
            .filter_map(|slot| match slot.content {
                Content::Occupied(value) => Some(value),
                Content::Vacant { .. } => None,
            })
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Slots, vacant ones included: every index is below this.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Gives back the vacant tail after a burst. The walk is paid for by the removals before it:
    /// the next one comes after half of what is left has gone.
    #[cold]
    fn shrink(&mut self) {
        while matches!(
            self.slots.last(),
            Some(Slot {
                content: Content::Vacant { .. },
                ..
            })
        ) {
            self.slots.pop();
        }
        self.slots.shrink_to(2 * self.slots.len());
        // The list threads through slots that may be gone: thread it anew, low indices first, so
        // that the living gather at the front and the next tail is longer.
        self.vacant = NONE;
        for (index, slot) in self.slots.iter_mut().enumerate().rev() {
            if let Content::Vacant { next } = &mut slot.content {
                // Every index fits, for `insert` saw to it.
                *next = mem::replace(&mut self.vacant, index as u32);
            }
        }
        self.shrink_below = self.len / 2;
    }
}
