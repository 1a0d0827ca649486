//! Names, and the slab that finds the thing by its name, or nothing.
//!
//! Interface: [`Slab::insert`] stores a value under a fresh serial; [`Slab::get`] finds it by index
//! and serial; [`Slab::occupant`] finds whatever is at an index now; [`Slab::remove`] takes it out, while
//! [`Slab::vacate`] leaves what is in the slot to the next [`Slab::occupy`];
//! [`Slab::trim`] gives memory back after a burst.
//! Invariant (R6): a slot's serial is compared on every look-up by name, and no serial is used twice
//! in a process, so an exact name that went stale finds nothing.
//! Read next: `chunks`, for what lies beyond the first slots; `waker`, which truncates names to hints, and
//! `sources`, which truncates them to tokens.

use std::cell::Cell;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};

use super::chunks::{Chunks, NEAR, Slot};

/// An exact name: what a handle, a socket or a `Sleep` holds instead of a pointer into a runtime.
///
/// Plain data: it may be copied, sent anywhere and kept for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// From the top: the note of 8 bits, 8 bits that are 0, the place, and, in the lower half, the index. A
    /// name of two words is passed in registers; one of three fields would be written to memory one by one
    /// and read back together, which stalls.
    slot: u64,
    /// Never used again, so it also tells one runtime of a place from the next.
    pub(crate) serial: u64,
}

impl Name {
    /// The name of the thing in slot `index`, without a note.
    #[inline]
    pub(crate) fn new(place: u16, index: u32, serial: u64) -> Name {
        let slot = u64::from(place) << 32 | u64::from(index);
        Name { slot, serial }
    }

    /// The runtime's entry in the table of places; used again, so it proves nothing by itself.
    #[inline]
    pub(crate) fn place(self) -> u16 {
        (self.slot >> 32) as u16
    }

    /// The slot of the thing in its slab.
    #[inline]
    pub(crate) fn index(self) -> u32 {
        self.slot as u32
    }

    /// The note that the holder of this name has made in bits that name nothing; at first 0.
    #[inline]
    pub(crate) fn note(self) -> u8 {
        (self.slot >> 56) as u8
    }

    /// The same name with another note. Names with different notes are not equal, but find the same thing.
    #[inline]
    pub(crate) fn with_note(self, note: u8) -> Name {
        let slot = self.slot & (u64::MAX >> 8) | u64::from(note) << 56;
        Name { slot, ..self }
    }
}

/// Which waiter an operation owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WaiterKey(pub(crate) u64);

impl WaiterKey {
    /// A `poll_*` call: it owns none.
    pub(crate) const POLLED: WaiterKey = WaiterKey(0);
    /// A future that does not wait.
    pub(crate) const UNSET: WaiterKey = WaiterKey(u64::MAX);

    /// The key of the same operation when it waits no longer.
    #[inline]
    pub(crate) fn unset(self) -> WaiterKey {
        match self {
            WaiterKey::POLLED => WaiterKey::POLLED,
            _ => WaiterKey::UNSET,
        }
    }

    /// True if this is the key of a waiter that a future owns.
    #[inline]
    pub(crate) fn is_owned(self) -> bool {
        !matches!(self, WaiterKey::POLLED | WaiterKey::UNSET)
    }
}

/// Hands out serials: unique in the process, rising within a runtime.
///
/// They are taken from the process in blocks, so that one atomic addition serves 4,096 of them.
#[derive(Debug)]
pub(crate) struct Serials {
    /// The serial that comes next.
    next: Cell<u64>,
    /// The end of the block: this serial is not one of the block's any more.
    end: Cell<u64>,
}

/// At a billion serials a second, 64 bits last for 580 years.
static NEXT_BLOCK: AtomicU64 = AtomicU64::new(Serials::BLOCK);

impl Serials {
    /// Serials that are taken from the process at a time.
    const BLOCK: u64 = 4096;

    /// Takes a block of serials from the process.
    pub(crate) fn new() -> Serials {
        let first = NEXT_BLOCK.fetch_add(Serials::BLOCK, Ordering::Relaxed);
        Serials {
            next: Cell::new(first),
            end: Cell::new(first + Serials::BLOCK),
        }
    }

    /// Makes blocks that are taken from here on begin at `serial` or later, to test truncated serials.
    #[cfg(test)]
    pub(crate) fn skip_to(serial: u64) {
        NEXT_BLOCK.fetch_max(serial, Ordering::Relaxed);
    }

    /// The next serial; never 0, which marks a vacant slot.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        if self.next.get() == self.end.get() {
            let fresh = Serials::new();
            self.next.set(fresh.next.get());
            self.end.set(fresh.end.get());
        }
        self.next.replace(self.next.get() + 1)
    }
}

/// Slots that are used again and again, each stamped with the serial of the value that is in it.
///
/// The first [`NEAR`] slots lie in a vector, are taken first and are never freed: a look-up there is one
/// load, and batches of a thousand tasks, one after another, allocate nothing. The slots beyond lie in
/// chunks, which are freed when all their slots are vacant. The index of a value never changes, because names
/// outside hold it: so values are not moved together.
pub(crate) struct Slab<T> {
    /// The first [`NEAR`] slots.
    near: Vec<Slot<T>>,
    /// The vacant slots of the vector.
    vacant: Vec<u32>,
    /// The slots beyond.
    far: Chunks<T>,
}

impl<T: Default> Slab<T> {
    /// A slab without slots, which has allocated nothing.
    pub(crate) fn new() -> Slab<T> {
        Slab {
            near: Vec::new(),
            vacant: Vec::new(),
            far: Chunks::new(),
        }
    }

    /// Puts `value` into a vacant slot under `serial` and returns the slot's index.
    #[inline]
    pub(crate) fn insert(&mut self, serial: u64, value: T) -> u32 {
        let (index, place) = self.occupy(serial);
        *place = value;
        index
    }

    /// Gives a vacant slot to `serial`. Returns its index and what is in it: what the last value has left
    /// there, or the default.
    #[inline]
    pub(crate) fn occupy(&mut self, serial: u64) -> (u32, &mut T) {
        debug_assert!(serial != 0, "serial 0 marks a vacant slot");
        let index = self.vacant.pop().unwrap_or_else(|| self.take_new());
        let slot = self
            .slot_mut(index)
            .expect("a slot that was taken is there");
        slot.serial = serial;
        (index, &mut slot.value)
    }

    /// Takes a slot where the vector has no vacant one.
    #[cold]
    fn take_new(&mut self) -> u32 {
        if self.near.len() < NEAR {
            self.near.push(Slot::vacant());
            return self.near.len() as u32 - 1;
        }
        let index = u32::try_from(NEAR + self.far.take()).unwrap_or(u32::MAX);
        // The two highest indices are in the tokens of the runtime's own descriptors.
        assert!(index < u32::MAX - 1, "a slab cannot hold 2^32 entries");
        index
    }

    /// True if the memory of this slot is never given back.
    #[inline]
    pub(crate) fn is_near(index: u32) -> bool {
        (index as usize) < NEAR
    }

    /// The slot at `index`, vacant or not, wherever it lies.
    #[inline]
    fn slot(&self, index: u32) -> Option<&Slot<T>> {
        match self.near.get(index as usize) {
            None => self.far.slot((index as usize).checked_sub(NEAR)?),
            near => near,
        }
    }

    /// As [`slot`](Slab::slot), to be changed.
    #[inline]
    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        match self.near.get_mut(index as usize) {
            None => self.far.slot_mut((index as usize).checked_sub(NEAR)?),
            near => near,
        }
    }

    /// Finds what was inserted at `index` under `serial`, unless it was removed.
    #[inline]
    pub(crate) fn get(&self, index: u32, serial: u64) -> Option<&T> {
        debug_assert!(serial != 0, "no name has serial 0");
        let slot = self.slot(index)?;
        (slot.serial == serial).then_some(&slot.value)
    }

    /// As [`get`](Slab::get), to change the value.
    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32, serial: u64) -> Option<&mut T> {
        debug_assert!(serial != 0, "no name has serial 0");
        let slot = self.slot_mut(index)?;
        (slot.serial == serial).then_some(&mut slot.value)
    }

    /// Finds whatever is at `index` now, with its serial: the look-up of hints and tokens.
    #[inline]
    pub(crate) fn occupant(&mut self, index: u32) -> Option<(u64, &mut T)> {
        let slot = self.slot_mut(index)?;
        (slot.serial != 0).then_some((slot.serial, &mut slot.value))
    }

    /// Takes out what was inserted at `index` under `serial`, unless it was removed.
    #[inline]
    pub(crate) fn remove(&mut self, index: u32, serial: u64) -> Option<T> {
        let value = mem::take(self.get_mut(index, serial)?);
        self.vacate(index);
        Some(value)
    }

    /// Frees an occupied slot. What is in it stays there.
    #[inline]
    pub(crate) fn vacate(&mut self, index: u32) {
        match self.near.get_mut(index as usize) {
            Some(slot) => {
                slot.serial = 0;
                self.vacant.push(index);
            }
            None => self.far.vacate(index as usize - NEAR),
        }
    }

    /// All values, with index and serial, in the order of the slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u64, &T)> {
        let near = self.near.iter().enumerate();
        let far = self.far.iter().map(|(index, slot)| (NEAR + index, slot));
        near.chain(far)
            .filter(|(_, slot)| slot.serial != 0)
            .map(|(index, slot)| (index as u32, slot.serial, &slot.value))
    }

    /// Takes all values out, in the order of the slots.
    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        let slots = self.near.into_iter().chain(self.far.into_slots());
        slots.filter(|slot| slot.serial != 0).map(|slot| slot.value)
    }

    /// The number of occupied slots.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.near.len() - self.vacant.len() + self.far.len()
    }

    /// Every index is below this.
    #[inline]
    pub(crate) fn slots(&self) -> usize {
        self.near.len() + self.far.slots()
    }

    /// Slots for which there is memory.
    #[cfg(test)]
    pub(crate) fn room(&self) -> usize {
        self.near.len() + self.far.room()
    }

    /// Gives back vacant chunks. Each turn of the loop calls this, so memory is given back whatever the
    /// order of removals. A removal itself does not: in the middle of a batch, the next insert would
    /// allocate the chunk again.
    #[inline]
    pub(crate) fn trim(&mut self) {
        self.far.trim();
    }
}

/// Gives back what a burst left: if less than a quarter of a buffer's room was used, the buffer keeps
/// twice what was used, and never less than 64 entries, so that a steady state allocates nothing.
pub(crate) fn trim<T>(buffer: &mut Vec<T>, used: usize) {
    if used < buffer.capacity() / 4 {
        buffer.shrink_to((2 * used).max(64));
    }
}
