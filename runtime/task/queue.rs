//! The run queue: the slots of the tasks that are to be polled, first in, first out.
//!
//! Interface: [`RunQueue::push`] and [`pop`](RunQueue::pop); [`resize`](RunQueue::resize) says how many
//! slots there is room for.
//! Invariant (R1): a slot is in the queue at most once, and the executor makes room for every task before it
//! queues one first. So a push finds room, and a wake never allocates.
//!
//! A ring of our own, and not a `VecDeque`, because that looks for room at each push: a wake and the pop that
//! follows take 25 instructions less.
//!
//! Why first in, first out? Whatever was queued before a task is polled before it, so a task that wakes itself waits for
//! all others. With a stack, or with a slot for the task that was woken last, it never does: the fifth [lab](crate::labs)
//! starves a task so, and the mutant `B24-last-woken-first` has two tasks that wake each other starve a third.
//!
//! Read next: `executor`, which says what is in the queue and when.

/// A ring of slot indices.
pub(crate) struct RunQueue {
    /// The length is 0 or a power of two.
    ring: Box<[u32]>,
    /// Pops since the last `resize`, wrapping; modulo the length of the ring this is the position of the first index.
    head: u32,
    /// How many indices are in the ring.
    len: u32,
}

impl RunQueue {
    /// A queue without room.
    pub(crate) fn new() -> RunQueue {
        RunQueue {
            ring: Box::default(),
            head: 0,
            len: 0,
        }
    }

    /// The position in the ring of the index that is `nth` in the queue.
    #[inline]
    fn position(&self, nth: u32) -> usize {
        self.head.wrapping_add(nth) as usize & self.ring.len().wrapping_sub(1)
    }

    /// Puts `index` behind all others.
    #[inline]
    pub(crate) fn push(&mut self, index: u32) {
        assert!(
            (self.len as usize) < self.ring.len(),
            "the run queue has no room (R1)"
        );
        let position = self.position(self.len);
        self.ring[position] = index;
        self.len += 1;
    }

    /// Takes the first index.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        let index = self.ring[self.position(0)];
        self.head = self.head.wrapping_add(1);
        self.len -= 1;
        Some(index)
    }

    /// Lets the `nth` and the first change places; `nth` is below [`len`](RunQueue::len).
    pub(crate) fn swap_with_first(&mut self, nth: usize) {
        let (first, nth) = (self.position(0), self.position(nth as u32));
        self.ring.swap(first, nth);
    }

    /// How many slots are queued.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len as usize
    }

    /// Makes room for `room` indices, which is a power of two and at least the length.
    pub(crate) fn resize(&mut self, room: usize) {
        debug_assert!(room.is_power_of_two() && room >= self.len());
        let mut ring = vec![0; room].into_boxed_slice();
        for (nth, place) in (0..self.len).zip(&mut ring) {
            *place = self.ring[self.position(nth)];
        }
        (self.ring, self.head) = (ring, 0);
    }
}
