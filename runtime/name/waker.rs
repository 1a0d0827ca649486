//! A `Waker` is a hint: 64 bits that say which task to wake, and own nothing.
//!
//! Interface: [`waker`] makes one; waking it runs [`wake`], on any thread and at any
//! time, but not in a signal handler.
//! Invariant (R6): the bits are never dereferenced. They are looked up, and find the task, or
//! nothing, or (if the hint is stale) another task, which is polled once for nothing.
//!
//! So `clone` copies two words and `drop` does nothing: no reference count, no locked
//! instruction, no allocation, and no last owner that would have to free a future on the wrong
//! thread. Why is a waker `Send + Sync` in a single-threaded runtime? Because std demands it, and
//! because other threads do wake tasks: after a blocking call, or after a send on a channel.
//!
//! Read before: `slab`. Read next: `executor` (a wake at home), `place` (a wake from elsewhere).

use std::mem::ManuallyDrop;
use std::ptr;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::place;
use crate::runtime::context;
use crate::runtime::observe;

/// A task's name, truncated to what fits into a waker's data pointer.
///
/// ```text
///  63        48 47            28 27              0
/// ┌────────────┬────────────────┬─────────────────┐
/// │ place (16) │  serial (20)   │   index (28)    │
/// └────────────┴────────────────┴─────────────────┘
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hint(u64);

impl Hint {
    /// The hint in a waker of ours; `None` for a waker of another executor.
    #[inline]
    pub(crate) fn of(waker: &Waker) -> Option<Hint> {
        ptr::eq(waker.vtable(), &VTABLE).then(|| Hint(waker.data().addr() as u64))
    }

    /// So many tasks can be named at a time, as a power of two.
    const INDEX_BITS: u32 = 28;
    /// Of a serial so many of its lowest bits are in a hint. A stale hint is taken for that of another task only if
    /// a multiple of 2^20 serials lies between the two.
    const SERIAL_BITS: u32 = 20;

    /// A task's index must be below this, or a hint could not hold it: 268 million tasks at a time.
    pub(crate) const INDEX_LIMIT: u32 = 1 << Hint::INDEX_BITS;

    /// The hint of the task in slot `index` of the runtime at `place`.
    #[inline]
    pub(crate) fn new(place: u16, index: u32, serial: u64) -> Hint {
        debug_assert!(index < Hint::INDEX_LIMIT);
        let serial = serial % (1 << Hint::SERIAL_BITS);
        let place = u64::from(place) << (Hint::INDEX_BITS + Hint::SERIAL_BITS);
        Hint(place | serial << Hint::INDEX_BITS | u64::from(index))
    }

    /// The place of the task's runtime.
    #[inline]
    pub(crate) fn place(self) -> u16 {
        (self.0 >> (Hint::INDEX_BITS + Hint::SERIAL_BITS)) as u16
    }

    /// The slot of the task.
    #[inline]
    pub(crate) fn index(self) -> u32 {
        (self.0 % u64::from(Hint::INDEX_LIMIT)) as u32
    }

    /// True if this may be the hint of a task with that serial: the lower 20 of its 64 bits agree.
    #[inline]
    pub(crate) fn matches(self, serial: u64) -> bool {
        (self.0 >> Hint::INDEX_BITS) % (1 << Hint::SERIAL_BITS) == serial % (1 << Hint::SERIAL_BITS)
    }
}

/// The waker of the task that `hint` names.
#[inline]
pub(crate) fn waker(hint: Hint) -> Waker {
    // SAFETY: the contract of `RawWakerVTable` holds because every function of `VTABLE` reads the
    // data pointer as an integer only: each may be called on any thread, at any time and any
    // number of times, and `clone` returns a waker of the same bits and the same table.
    unsafe { Waker::from_raw(raw(hint)) }
}

/// A clone of `waker`, if it is one of ours: so no user code runs. `None` for a waker of another executor.
#[inline]
pub(crate) fn clone_ours(waker: &Waker) -> Option<Waker> {
    Hint::of(waker).map(self::waker)
}

/// As [`waker`], for the length of a poll. It is not dropped: that would be a call that does nothing.
#[inline]
pub(crate) fn unowned(hint: Hint) -> ManuallyDrop<Waker> {
    ManuallyDrop::new(waker(hint))
}

/// One table for all wakers, so that `will_wake` is true exactly when the bits are equal.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake, drop);

const _: () = assert!(
    size_of::<usize>() == size_of::<u64>(),
    "a hint fills a data pointer"
);

/// The two words of a waker: the hint in place of a pointer, and the table.
#[inline]
fn raw(hint: Hint) -> RawWaker {
    RawWaker::new(ptr::without_provenance(hint.0 as usize), &VTABLE)
}

/// `clone` of the table: the same two words.
fn clone(data: *const ()) -> RawWaker {
    RawWaker::new(data, &VTABLE)
}

/// Wakes the task: at home its index is pushed onto the run queue, from elsewhere it is put into
/// the inbox of its place. Serves `wake` and `wake_by_ref`, because there is nothing to consume.
fn wake(data: *const ()) {
    let hint = Hint(data.addr() as u64);
    let woken_at_home = context::with_current(|core| {
        let home = core.place == hint.place();
        if home {
            core.executor.wake(hint);
        }
        home
    });
    if woken_at_home == Some(true) {
        observe::woken(|| context::with_current(|core| core.executor.span_id(hint)).flatten());
    } else {
        place::wake(hint.place(), hint.index());
    }
}

/// `drop` of the table: the hint owns nothing.
fn drop(_data: *const ()) {}
