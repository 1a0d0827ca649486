//! The options of a runtime, as its parts read them.
//!
//! Interface: the fields of [`Options`]; the [`Builder`](super::Builder) sets them, and says what they do.
//! Invariant: the default of each is what the free `block_on` uses.
//! Read next: `builder`.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// As many threads as tokio has for blocking work.
const MOST_THREADS: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not 0");

/// What a builder sets and a runtime reads.
#[derive(Clone)]
pub(crate) struct Options {
    /// The thread's timer slack while the runtime runs; `None` leaves it alone.
    pub(super) timer_slack: Option<Duration>,
    /// How long to ask epoll again and again before the thread sleeps.
    pub(super) busy_poll: Duration,
    /// What becomes of the runtime when a detached task panics.
    pub(super) unhandled_panic: UnhandledPanic,
    /// The clock stands still from the start.
    pub(super) start_paused: bool,
    /// A paused clock jumps to the next deadline when nothing else can happen.
    pub(super) auto_advance: bool,
    /// The seed of chaos.
    pub(super) chaos: Option<u64>,
    /// As many threads of the pool at a time, at most.
    pub(super) max_blocking_threads: NonZeroUsize,
    /// An idle thread of the pool ends after so long.
    pub(super) thread_keep_alive: Duration,
    /// What the system's tools show as the name of the pool's threads.
    pub(super) thread_name: Arc<str>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            timer_slack: None,
            busy_poll: Duration::ZERO,
            unhandled_panic: UnhandledPanic::Ignore,
            start_paused: false,
            auto_advance: false,
            chaos: None,
            max_blocking_threads: MOST_THREADS,
            thread_keep_alive: Duration::from_secs(10),
            thread_name: Arc::from("reveille-work"),
        }
    }
}

/// What becomes of the runtime when a task panics after its `JoinHandle` was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnhandledPanic {
    /// The runtime goes on. The panic hook has printed the panic, and a tracing event reports it.
    #[default]
    Ignore,
    /// `block_on`, or `turn`, panics once the task has been cleared away. The runtime can still be
    /// used.
    ShutdownRuntime,
}
