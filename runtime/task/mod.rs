//! Tasks: from the future that is spawned to the output that is taken.
//!
//! [`cell`] holds a future, then its output. [`executor`] decides which task is polled next, from a [`queue`].
//! [`outcome`] and [`shutdown`] are how a task ends. The public modules stand on these: [`spawn`], [`join`],
//! [`join_set`], [`blocking`] and [`yield_now`]. [`id`] has the types that all of them use.

pub(crate) mod blocking;
pub(crate) mod cell;
pub(crate) mod executor;
pub(crate) mod id;
pub(crate) mod join;
pub(crate) mod join_set;
mod outcome;
pub(crate) mod queue;
pub(crate) mod shutdown;
pub(crate) mod spawn;
pub(crate) mod yield_now;
