//! Names, and the slab that finds the thing by its name, or nothing.
//!
//! Interface: [`Slab::insert`] puts a value under a fresh serial; [`Slab::get`] finds it by index
//! and serial; [`Slab::occupant`] tells who lives at an index now;
//! [`Slab::give_back_room`] is for after a burst.
//! Invariant (R6): a slot's serial is compared on every look-up, and a serial is used once in the
//! life of the process, so an exact name that went stale finds nothing.
//! Read next: `waker` and `reactor`, which truncate names to hints.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// An exact name: what a handle, a socket or a timer holds of a thing inside a runtime.
///
/// Plain data: it may be copied, sent anywhere and kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// The place and, in the lower half, the index: two words travel in registers, where three
    /// fields would be written to memory one by one and read back together, which stalls.
    slot: u64,
    /// Never recycled: it also tells one tenant of a place from the next.
    pub(crate) serial: u64,
}

impl Name {
    #[inline]
    pub(crate) fn new(place: u16, index: u32, serial: u64) -> Name {
        let slot = u64::from(place) << 32 | u64::from(index);
        Name { slot, serial }
    }

    /// The runtime's entry in the table of places; recycled, so it proves nothing by itself.
    #[inline]
    pub(crate) fn place(self) -> u16 {
        (self.slot >> 32) as u16
    }

    /// Where in its slab the thing lives.
    #[inline]
    pub(crate) fn index(self) -> u32 {
        self.slot as u32
    }
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
    #[inline]
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
    /// The vacant slots: low ones, which are taken first, so that the living gather at the beginning
    /// of the slab and its end becomes free, and the others.
    low: Vec<u32>,
    high: Vec<u32>,
    len: usize,
}

struct Slot<T> {
    /// 0 while nobody lives here.
    serial: u64,
    value: Option<T>,
}

/// Memory for fewer slots is not given back, so that a batch of a thousand tasks, again and again,
/// does not grow and shrink the slab each time.
const SMALL: usize = 1024;

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab {
            slots: Vec::new(),
            low: Vec::new(),
            high: Vec::new(),
            len: 0,
        }
    }

    /// Puts `value` into a vacant slot under `serial` and returns the slot's index.
    #[inline]
    pub(crate) fn insert(&mut self, serial: u64, value: T) -> u32 {
        let value = Some(value);
        self.len += 1;
        while let Some(index) = self.low.pop().or_else(|| self.high.pop()) {
            // One that was given back is still listed, once: it comes again only by growth, and the
            // slab grows only when nothing is listed.
            if let Some(slot) = self.slots.get_mut(index as usize) {
                *slot = Slot { serial, value };
                return index;
            }
        }
        let index = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        assert!(index < u32::MAX, "a slab cannot hold 2^32 entries");
        self.slots.push(Slot { serial, value });
        index
    }

    /// Finds what was inserted at `index` under `serial`, unless it has gone.
    #[inline]
    pub(crate) fn get(&self, index: u32, serial: u64) -> Option<&T> {
        let slot = self.slots.get(index as usize)?;
        slot.value.as_ref().filter(|_| slot.serial == serial)
    }

    /// As [`get`](Slab::get), to change it.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32, serial: u64) -> Option<&mut T> {
        let slot = self.slots.get_mut(index as usize)?;
        slot.value.as_mut().filter(|_| slot.serial == serial)
    }

    /// Whoever lives at `index` now, with its serial: the look-up of hints.
    #[inline]
    pub(crate) fn occupant(&mut self, index: u32) -> Option<(u64, &mut T)> {
        let slot = self.slots.get_mut(index as usize)?;
        Some((slot.serial, slot.value.as_mut()?))
    }

    /// Takes out what was inserted at `index` under `serial`, unless it has gone.
    #[inline]
    pub(crate) fn remove(&mut self, index: u32, serial: u64) -> Option<T> {
        let slot = self.slots.get_mut(index as usize)?;
        let value = slot.value.take_if(|_| slot.serial == serial)?;
        self.vacate(index);
        Some(value)
    }

    /// Frees the slot of what was inserted at `index` under `serial`, unless it has gone. What the
    /// caller has left there is dropped where it lies.
    #[inline]
    pub(crate) fn free(&mut self, index: u32, serial: u64) {
        if self.get(index, serial).is_some() {
            self.vacate(index);
        }
    }

    /// Empties a slot in which somebody lives.
    #[inline]
    fn vacate(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        slot.value = None;
        slot.serial = 0;
        self.len -= 1;
        if (index as usize) < self.len {
            self.low.push(index);
        } else {
            self.high.push(index);
        }
    }

    /// Everything that lives here, in the order of the slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u64, &T)> {
        self.slots
            .iter()
            .zip(0u32..)
            .filter_map(|(slot, index)| Some((index, slot.serial, slot.value.as_ref()?)))
    }

    /// Takes everything out, in the order of the slots.
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        self.slots.into_iter().filter_map(|slot| slot.value)
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Slots, vacant ones included: every index is below this.
    #[inline]
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Gives back the vacant slots at the end, if most of the slab is vacant: each turn of the loop
    /// asks for this, so memory returns whatever the order of removal, but not in the middle of a
    /// batch, after which the next one would take it again.
    #[inline]
    pub(crate) fn give_back_room(&mut self) {
        if self.slots.capacity() > SMALL && self.slots.len() / 4 >= self.len {
            self.trim();
        }
    }

    /// A slot was pushed once for each time it is popped, so this costs nothing that was not paid for.
    fn trim(&mut self) {
        while self.slots.len() > SMALL && self.slots.last().is_some_and(|slot| slot.serial == 0) {
            self.slots.pop();
        }
        if self.slots.len() <= self.slots.capacity() / 4 {
            let slots = self.slots.len();
            self.slots.shrink_to(2 * slots);
            for vacant in [&mut self.low, &mut self.high] {
                vacant.retain(|&index| (index as usize) < slots);
                vacant.shrink_to(2 * slots);
            }
        }
    }
}
