//! Chunks: the slots of a slab beyond the first, in pieces that come and go.
//!
//! Interface: [`Chunks::insert`] takes a vacant slot, [`vacate`](Chunks::vacate) gives one back,
//! [`give_back_room`](Chunks::give_back_room) frees the chunks in which nobody lives.
//! Invariant: a chunk is in `open` exactly while it is there and has a vacant slot, and a place of the
//! directory is in `holes` exactly while it has no chunk. So neither list names what is not there, and
//! whatever survives a burst holds one chunk at most.
//!
//! ```text
//!   directory   [ ■ ][ ■ ][   ][ ■ ][   ]       open: 1, 3    holes: 2, 4
//!                 │    │         │
//!               full  some     some
//! ```
//!
//! Slots are taken from one chunk until it is full, and then from the one that has been open longest, so
//! the living gather, and the other chunks become vacant.
//!
//! Read before: `slab`.

use std::collections::VecDeque;

use super::slab::{NEAR, Slot};

/// Slots of a chunk. A slot of a task, the largest thing in a slab, takes 96 bytes, so a chunk is 3 KiB.
const SLOTS: usize = 32;

pub(super) struct Chunks<T> {
    directory: Vec<Option<Box<Chunk<T>>>>,
    /// Chunks with a vacant slot; the last is the one that is being filled.
    open: VecDeque<u32>,
    /// Places of the directory without a chunk, the lowest last.
    holes: Vec<u32>,
    /// Chunks in which nobody lives.
    vacant: usize,
    len: usize,
}

struct Chunk<T> {
    /// One bit for each vacant slot.
    vacant: u32,
    slots: [Slot<T>; SLOTS],
}

const _: () = assert!(SLOTS == u32::BITS as usize);

impl<T> Chunks<T> {
    pub(super) fn new() -> Chunks<T> {
        Chunks {
            directory: Vec::new(),
            open: VecDeque::new(),
            holes: Vec::new(),
            vacant: 0,
            len: 0,
        }
    }

    /// Puts `slot` into a vacant place and returns its index.
    pub(super) fn insert(&mut self, slot: Slot<T>) -> usize {
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
        chunk.slots[bit as usize] = slot;
        self.len += 1;
        at as usize * SLOTS + bit as usize
    }

    /// Makes a chunk, in the lowest place there is for one.
    fn add(&mut self) -> u32 {
        let vacant = |_| Slot {
            serial: 0,
            value: None,
        };
        let chunk = Box::new(Chunk {
            vacant: u32::MAX,
            slots: std::array::from_fn(vacant),
        });
        let at = match self.holes.pop() {
            Some(at) => {
                self.directory[at as usize] = Some(chunk);
                at
            }
            None => {
                self.directory.push(Some(chunk));
                self.directory.len() as u32 - 1
            }
        };
        self.vacant += 1;
        self.open.push_back(at);
        at
    }

    #[inline]
    pub(super) fn slot(&self, index: usize) -> Option<&Slot<T>> {
        let chunk = self.directory.get(index / SLOTS)?.as_ref()?;
        Some(&chunk.slots[index % SLOTS])
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, index: usize) -> Option<&mut Slot<T>> {
        let chunk = self.directory.get_mut(index / SLOTS)?.as_mut()?;
        Some(&mut chunk.slots[index % SLOTS])
    }

    /// Empties a slot in which somebody lives.
    pub(super) fn vacate(&mut self, index: usize) {
        let at = index / SLOTS;
        let Some(chunk) = &mut self.directory[at] else {
            unreachable!("somebody lives in a chunk that is not there");
        };
        chunk.slots[index % SLOTS] = Slot {
            serial: 0,
            value: None,
        };
        if chunk.vacant == 0 {
            self.open.push_front(at as u32);
        }
        chunk.vacant |= 1 << (index % SLOTS);
        if chunk.vacant == u32::MAX {
            self.vacant += 1;
        }
        self.len -= 1;
    }

    /// Every slot of every chunk that is there, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Slot<T>)> {
        let chunks = self.directory.iter().enumerate();
        chunks
            .filter_map(|(at, chunk)| Some((at, chunk.as_ref()?)))
            .flat_map(|(at, chunk)| (at * SLOTS..).zip(&chunk.slots))
    }

    pub(super) fn into_slots(self) -> impl Iterator<Item = Slot<T>> {
        let chunks = self.directory.into_iter().flatten();
        chunks.flat_map(|chunk| chunk.slots)
    }

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
        (self.directory.len() - self.holes.len()) * SLOTS
    }

    /// Frees the chunks in which nobody lives, if most are such and they are more than a few: as many
    /// slots as the vector has, which the next batch need not take again.
    #[inline]
    pub(super) fn give_back_room(&mut self) {
        const FEW: usize = NEAR / SLOTS;
        if self.vacant > FEW {
            let occupied = self.directory.len() - self.holes.len() - self.vacant;
            if self.vacant > occupied {
                self.free_vacant();
            }
        }
    }

    /// A chunk is freed once for each time it was made, so this costs little that was not paid for.
    #[cold]
    fn free_vacant(&mut self) {
        let Chunks {
            directory, holes, ..
        } = self;
        self.open.retain(|&at| {
            let chunk = &mut directory[at as usize];
            let vacated = chunk.take_if(|chunk| chunk.vacant == u32::MAX);
            if vacated.is_some() {
                holes.push(at);
            }
            vacated.is_none()
        });
        self.vacant = 0;
        while directory.last().is_some_and(Option::is_none) {
            directory.pop();
        }
        let end = directory.len();
        holes.retain(|&at| (at as usize) < end);
        holes.sort_unstable_by(|one, other| other.cmp(one));
        if end <= directory.capacity() / 4 {
            directory.shrink_to(2 * end);
        }
        holes.shrink_to(2 * holes.len());
        self.open.shrink_to(2 * self.open.len());
    }
}
