//! Counters and gauges: what a runtime has done so far, and what there was at its last look.
//!
//! Interface: [`Metrics`] is a snapshot, taken by [`Handle::metrics`](super::Handle::metrics).
//! Invariant: each of them is written by the runtime's thread alone, so adding is a load and a
//! store, without a locked instruction, and any thread may read.
//! Read next: `handle`, which reads them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread adds to and any may read.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(super) fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn set(&self, n: usize) {
        self.0.store(n as u64, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(super) spawned: Counter,
    pub(super) polls: Counter,
    pub(super) turns: Counter,
    pub(super) parks: Counter,
    pub(super) events: Counter,
    pub(super) stale_events: Counter,
    pub(super) timers_fired: Counter,
    pub(super) remote_wakes: Counter,
    // What there was at the last look:
    pub(super) tasks: Counter,
    pub(super) queued: Counter,
    pub(super) sources: Counter,
    pub(super) timers: Counter,
}

impl Counters {
    pub(super) fn snapshot(&self) -> Metrics {
        Metrics {
            spawned: self.spawned.get(),
            polls: self.polls.get(),
            turns: self.turns.get(),
            parks: self.parks.get(),
            events: self.events.get(),
            stale_events: self.stale_events.get(),
            timers_fired: self.timers_fired.get(),
            remote_wakes: self.remote_wakes.get(),
            tasks: self.tasks.get(),
            queued: self.queued.get(),
            sources: self.sources.get(),
            timers: self.timers.get(),
        }
    }
}

/// What a runtime has done since it was made, and what there was when it last turned at epoll; see
/// [`Handle::metrics`](super::Handle::metrics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Tasks spawned, not counting main futures.
    pub spawned: u64,
    /// Polls of tasks, main futures included.
    pub polls: u64,
    /// Looks at epoll, with or without waiting.
    pub turns: u64,
    /// Looks that were allowed to wait, because nothing was to be done.
    pub parks: u64,
    /// Events that found their source.
    pub events: u64,
    /// Events that did not: their source had gone, but a duplicate of its descriptor had not.
    pub stale_events: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// Wakes that came through the inbox; those of one task between two polls count once.
    pub remote_wakes: u64,
    /// Tasks that lived at the last look, main futures included, and those that have ended and whose
    /// output nobody has taken.
    pub tasks: u64,
    /// Tasks that were queued at the end of the last look.
    pub queued: u64,
    /// Descriptors that were registered at the last look.
    pub sources: u64,
    /// Timers that were armed at the end of the last look.
    pub timers: u64,
}
