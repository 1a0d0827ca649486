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

#[derive(Clone)]
pub(crate) struct Options {
    pub(super) timer_slack: Option<Duration>,
    pub(super) busy_poll: Duration,
    pub(super) unhandled_panic: UnhandledPanic,
    pub(super) start_paused: bool,
    pub(super) auto_advance: bool,
    /// The seed of chaos.
    pub(super) chaos: Option<u64>,
    pub(super) max_blocking_threads: NonZeroUsize,
    pub(super) thread_keep_alive: Duration,
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
