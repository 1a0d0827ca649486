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

    /// Lets blocks that are taken from here on begin at `serial` or later, to test what is cut off.
    #[cfg(test)]
    pub(crate) fn skip_to(serial: u64) {
        NEXT_BLOCK.fetch_max(serial, Ordering::Relaxed);
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
    /// The ends of the list of vacant slots, or [`NONE`]. It is linked both ways, so that those at
    /// the end of the slab can be taken out of it and given back, wherever in the list they are.
    first_vacant: u32,
    last_vacant: u32,
    len: usize,
}

struct Slot<T> {
    serial: u64,
    content: Content<T>,
}

enum Content<T> {
    Vacant { before: u32, next: u32 },
    Occupied(T),
}

/// No slot.
const NONE: u32 = u32::MAX;

/// Memory for fewer slots is not given back.
const SMALL: usize = 64;

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab {
            slots: Vec::new(),
            first_vacant: NONE,
            last_vacant: NONE,
            len: 0,
        }
    }

    /// Puts `value` into a vacant slot under `serial` and returns the slot's index.
    pub(crate) fn insert(&mut self, serial: u64, value: T) -> u32 {
        let slot = Slot {
            serial,
            content: Content::Occupied(value),
        };
        self.len += 1;
        if self.first_vacant != NONE {
            let index = self.first_vacant;
            self.unlink(index);
            self.slots[index as usize] = slot;
            return index;
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(NONE);
        assert!(index < NONE, "a slab cannot hold more than {NONE} entries");
        self.slots.push(slot);
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
        let (before, next) = (NONE, NONE);
        let content = mem::replace(&mut slot.content, Content::Vacant { before, next });
        self.len -= 1;
        self.link(index);
        self.trim();
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

    /// Puts a vacant slot into the list: low ones in front, so that the living gather at the
    /// beginning of the slab, and its end becomes free.
    fn link(&mut self, index: u32) {
        let (before, next) = if (index as usize) < self.len {
            (NONE, self.first_vacant)
        } else {
            (self.last_vacant, NONE)
        };
        self.slots[index as usize].content = Content::Vacant { before, next };
        *self.next_of(before) = index;
        *self.before_of(next) = index;
    }

    /// Takes a vacant slot out of the list.
    fn unlink(&mut self, index: u32) {
        if let Content::Vacant { before, next } = self.slots[index as usize].content {
            *self.next_of(before) = next;
            *self.before_of(next) = before;
        }
    }

    /// What says which slot follows `index` in the list; for [`NONE`], which one is the first.
    fn next_of(&mut self, index: u32) -> &mut u32 {
        match self.slots.get_mut(index as usize) {
            Some(Slot {
                content: Content::Vacant { next, .. },
                ..
            }) => next,
            _ => &mut self.first_vacant,
        }
    }

    /// What says which slot `index` follows; for [`NONE`], which one is the last.
    fn before_of(&mut self, index: u32) -> &mut u32 {
        match self.slots.get_mut(index as usize) {
            Some(Slot {
                content: Content::Vacant { before, .. },
                ..
            }) => before,
            _ => &mut self.last_vacant,
        }
    }

    /// Gives back the vacant slots at the end. Each was pushed once for each time it is popped, so
    /// this costs nothing that was not paid for, and memory returns whatever the order of removal.
    fn trim(&mut self) {
        while let Some(Slot {
            content: Content::Vacant { .. },
            ..
        }) = self.slots.last()
        {
            // Every index fits, for `insert` saw to it.
            self.unlink(self.slots.len() as u32 - 1);
            self.slots.pop();
        }
        let slots = self.slots.len().max(SMALL);
        if slots <= self.slots.capacity() / 4 {
            self.slots.shrink_to(2 * slots);
        }
    }
}
