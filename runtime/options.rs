//! The options of a runtime, as its parts read them.
//!
//! Interface: the fields of [`Options`]; the [`Builder`](super::Builder) sets them, and says what they do.
//! Invariant: the default of each is what the free `block_on` uses.
//! Read next: `builder`.

use std::time::Duration;

#[derive(Clone, Default)]
pub(crate) struct Options {
    pub(super) timer_slack: Option<Duration>,
    pub(super) busy_poll: Duration,
    pub(super) unhandled_panic: UnhandledPanic,
    pub(super) start_paused: bool,
    pub(super) auto_advance: bool,
    /// The seed of chaos.
    pub(super) chaos: Option<u64>,
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
