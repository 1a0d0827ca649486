//! Chunks: the slots of a slab beyond the first [`NEAR`], in pieces that are allocated and freed one by one.
//!
//! Interface: [`Chunks::take`] takes a vacant slot, [`vacate`](Chunks::vacate) gives one back,
//! [`trim`](Chunks::trim) frees the vacant chunks: those in which all slots are vacant.
//! Invariant: a chunk is in `open` exactly while it exists and has a vacant slot, and each position of the
//! directory without a chunk is in `holes`, once. So a task that survives a burst keeps its own chunk
//! allocated, and half a byte for each slot below its own (in the directory, in `holes` and in the bits of
//! the inbox), and no other memory.
//!
//! ```text
//!   directory   [ ■ ][ ■ ][   ][ ■ ]       open: 1, 3    holes: 2
//!                 │    │         │
//!               full  some     some
//! ```
//!
//! Slots are taken from one chunk until it is full, and then from the one that has been open longest. So
//! values gather in few chunks, and the others become vacant.
//!
//! Read before: `slab`, which these slots are for.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Room for one value, stamped with the serial of the value that is in it.
pub(super) struct Slot<T> {
    /// 0 while the slot is vacant.
    pub(super) serial: u64,
    /// In a vacant slot, what the last value has left, or the default.
    pub(super) value: T,
}

impl<T: Default> Slot<T> {
    /// A slot that never had a value.
    pub(super) fn vacant() -> Slot<T> {
        Slot {
            serial: 0,
            value: T::default(),
        }
    }
}

/// Slots of a slab that lie in a vector, before those of its chunks.
pub(super) const NEAR: usize = 1024;

/// Slots of a chunk. A slot of a task or a source, the largest values in a slab, takes 56 bytes, so a chunk
/// takes 1.8 KiB.
const SLOTS: usize = 32;

/// The chunks of one slab, and where there is room.
pub(super) struct Chunks<T> {
    /// By position: chunk `i` has the slots from `i * SLOTS` on. `None` where a chunk was freed.
    directory: Vec<Option<Box<Chunk<T>>>>,
    /// Chunks with a vacant slot; the last of them is being filled.
    open: VecDeque<u32>,
    /// Positions of the directory without a chunk; the lowest comes out first. Positions that are beyond the
    /// directory's end by now may be in it, too, and come out last.
    holes: BinaryHeap<Reverse<u32>>,
    /// The number of chunks; in `vacant`, the number of vacant ones.
    present: usize,
    /// Chunks in which every slot is vacant: trimming frees them.
    vacant: usize,
    /// Occupied slots, in all chunks together.
    len: usize,
}

/// Slots that are allocated, and freed, together.
struct Chunk<T> {
    /// One bit for each vacant slot.
    vacant: u32,
    /// An index is a position here, plus [`SLOTS`] times the chunk's position in the directory.
    slots: [Slot<T>; SLOTS],
}

const _: () = assert!(SLOTS == u32::BITS as usize);

impl<T: Default> Chunks<T> {
    /// No chunks; the first [`take`](Chunks::take) makes one.
    pub(super) fn new() -> Chunks<T> {
        Chunks {
            directory: Vec::new(),
            open: VecDeque::new(),
            holes: BinaryHeap::new(),
            present: 0,
            vacant: 0,
            len: 0,
        }
    }

    /// Takes a vacant slot, which the caller occupies, and returns its index.
    pub(super) fn take(&mut self) -> usize {
        let at = self.open.back().copied().unwrap_or_else(|| self.add());
        let chunk = self.directory[at as usize]
            .as_mut()
            .expect("an open chunk is there");
        let bit = chunk.vacant.trailing_zeros();
        if chunk.vacant == u32::MAX {
            self.vacant -= 1;
        }
        chunk.vacant &= !(1 << bit);
        if chunk.vacant == 0 {
            self.open.pop_back();
        }
        self.len += 1;
        at as usize * SLOTS + bit as usize
    }

    /// Makes a chunk, at the lowest position without one.
    fn add(&mut self) -> u32 {
        let chunk = Box::new(Chunk {
            vacant: u32::MAX,
            slots: std::array::from_fn(|_| Slot::vacant()),
        });
        let end = self.directory.len();
        let at = match self.holes.pop() {
            Some(Reverse(at)) if (at as usize) < end => {
                self.directory[at as usize] = Some(chunk);
                at
            }
            _ => {
                // All positions that are left in `holes` are beyond the directory's end.
                self.holes.clear();
                self.directory.push(Some(chunk));
                end as u32
            }
        };
        self.present += 1;
        self.vacant += 1;
        self.open.push_back(at);
        at
    }

    /// The slot at `index`, vacant or not; `None` if its chunk does not exist.
    #[inline]
    pub(super) fn slot(&self, index: usize) -> Option<&Slot<T>> {
        let chunk = self.directory.get(index / SLOTS)?.as_ref()?;
        Some(&chunk.slots[index % SLOTS])
    }

    /// As [`slot`](Chunks::slot), to be changed.
    #[inline]
    pub(super) fn slot_mut(&mut self, index: usize) -> Option<&mut Slot<T>> {
        let chunk = self.directory.get_mut(index / SLOTS)?.as_mut()?;
        Some(&mut chunk.slots[index % SLOTS])
    }

    /// Frees an occupied slot.
    pub(super) fn vacate(&mut self, index: usize) {
        let at = index / SLOTS;
        let Some(chunk) = &mut self.directory[at] else {
            unreachable!("somebody lives in a chunk that is not there");
        };
        chunk.slots[index % SLOTS].serial = 0;
        if chunk.vacant == 0 {
            self.open.push_front(at as u32);
        }
        chunk.vacant |= 1 << (index % SLOTS);
        if chunk.vacant == u32::MAX {
            self.vacant += 1;
        }
        self.len -= 1;
    }

    /// Every slot of every chunk, with its index, in the order of the indices.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Slot<T>)> {
        let chunks = self.directory.iter().enumerate();
        chunks
            .filter_map(|(at, chunk)| Some((at, chunk.as_ref()?)))
            .flat_map(|(at, chunk)| (at * SLOTS..).zip(&chunk.slots))
    }

    /// Every slot of every chunk, by value, in the order of the indices.
    pub(super) fn into_slots(self) -> impl Iterator<Item = Slot<T>> {
        let chunks = self.directory.into_iter().flatten();
        chunks.flat_map(|chunk| chunk.slots)
    }

    /// The number of occupied slots.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Every index is below this.
    #[inline]
    pub(super) fn slots(&self) -> usize {
        self.directory.len() * SLOTS
    }

    /// Slots for which there is memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.present * SLOTS
    }

    /// Frees all vacant chunks, if they are more than half of all chunks and have more slots than the vector.
    /// Fewer are kept, so that the next batch need not allocate them again, unless the last chunk is vacant
    /// and most positions of the directory have no chunk.
    #[inline]
    pub(super) fn trim(&mut self) {
        const FEW: usize = NEAR / SLOTS;
        if self.vacant == 0 {
            return;
        }
        let most = self.vacant > FEW && self.vacant > self.present - self.vacant;
        let long = self.directory.len() > 4 * self.present.max(FEW);
        if most || long && self.ends_vacant() {
            self.free_vacant();
        }
    }

    /// True if the last chunk of the directory is vacant, so that freeing it shortens the directory.
    fn ends_vacant(&self) -> bool {
        let last = self.directory.last().and_then(Option::as_ref);
        last.is_some_and(|last| last.vacant == u32::MAX)
    }

    /// Walks over the open chunks. If most chunks are vacant, this frees at least half of those it walks
    /// over, and a chunk is freed once for each time it was made: amortised O(1). If only the directory is
    /// long, the open chunks are less than a quarter of its length.
    #[cold]
    fn free_vacant(&mut self) {
        let Chunks {
            directory, holes, ..
        } = self;
        self.open.retain(|&at| {
            let chunk = &mut directory[at as usize];
            let vacated = chunk.take_if(|chunk| chunk.vacant == u32::MAX);
            if vacated.is_some() {
                holes.push(Reverse(at));
            }
            vacated.is_none()
        });
        self.present -= self.vacant;
        self.vacant = 0;
        while directory.last().is_some_and(Option::is_none) {
            directory.pop();
        }
        let end = directory.len();
        if end <= directory.capacity() / 4 {
            directory.shrink_to(2 * end);
            holes.retain(|&Reverse(at)| (at as usize) < end);
            holes.shrink_to(2 * holes.len());
            self.open.shrink_to(2 * self.open.len());
        }
    }
}
