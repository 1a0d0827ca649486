//! Tasks: from the future that is spawned to the output that is taken.
//!
//! [`cell`] holds a future, then its output; [`executor`] says which task is polled next; [`outcome`] and
//! [`shutdown`] are how a task ends. On these stand the doors: [`spawn`], [`join`] and [`join_set`],
//! [`yield_now`]; [`id`] is what both sides speak of.

pub(crate) mod cell;
pub(crate) mod executor;
pub(crate) mod id;
pub(crate) mod join;
pub(crate) mod join_set;
mod outcome;
pub(crate) mod shutdown;
pub(crate) mod spawn;
pub(crate) mod yield_now;
