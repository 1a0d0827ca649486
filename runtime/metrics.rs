//! Counters and gauges: what a runtime has done so far, and what there was at its last turn.
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
    /// Adds `n`. Two threads that added at once would lose one of the two; only one thread does.
    #[inline]
    pub(super) fn add(&self, n: u64) {
        self.0
            .store(self.0.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }

    /// Sets a gauge to `n`.
    #[inline]
    pub(super) fn set(&self, n: usize) {
        self.0.store(n as u64, Ordering::Relaxed);
    }

    /// Reads the number, from any thread.
    #[inline]
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What [`Metrics`] is a snapshot of, field by field.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// As [`Metrics::spawned`].
    pub(super) spawned: Counter,
    /// As [`Metrics::polls`]; the flushes of waiters count by it, too.
    pub(super) polls: Counter,
    /// As [`Metrics::turns`].
    pub(super) turns: Counter,
    /// As [`Metrics::parks`].
    pub(super) parks: Counter,
    /// As [`Metrics::events`].
    pub(super) events: Counter,
    /// As [`Metrics::stale_events`].
    pub(super) stale_events: Counter,
    /// As [`Metrics::timers_fired`].
    pub(super) timers_fired: Counter,
    /// As [`Metrics::remote_wakes`].
    pub(super) remote_wakes: Counter,
    // What there was at the end of the last turn:
    /// As [`Metrics::tasks`].
    pub(super) tasks: Counter,
    /// As [`Metrics::queued`].
    pub(super) queued: Counter,
    /// As [`Metrics::sources`].
    pub(super) sources: Counter,
    /// As [`Metrics::timers`].
    pub(super) timers: Counter,
}

impl Counters {
    /// Reads the counters one after another. The runtime may go on meanwhile, so they need not be of one moment.
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

/// What a runtime has done since it was made, and what there was at its last turn; see
/// [`Handle::metrics`](super::Handle::metrics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Tasks spawned, not counting main futures.
    pub spawned: u64,
    /// Polls of tasks, main futures included.
    pub polls: u64,
    /// How often the runtime took events from epoll, with or without waiting.
    pub turns: u64,
    /// Turns with no task queued, which may wait; one with a timer that is due already does not.
    pub parks: u64,
    /// Events that found their source.
    pub events: u64,
    /// Events that did not: the source was freed, but a duplicate of its descriptor was still open, or the event had been
    /// taken already.
    pub stale_events: u64,
    /// Timers that fired.
    pub timers_fired: u64,
    /// Wakes that came through the inbox; those of one task between two readings of it count once.
    pub remote_wakes: u64,
    /// Tasks at the end of the last turn: main futures included, and tasks that have ended and
    /// still have their output.
    pub tasks: u64,
    /// Tasks that were queued at the end of the last turn.
    pub queued: u64,
    /// Descriptors that were registered at the end of the last turn.
    pub sources: u64,
    /// Timers that were armed at the end of the last turn.
    pub timers: u64,
}
