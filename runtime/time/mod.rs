//! Time: a heap of deadlines, a clock that tests can stop, and the futures that wait for them.
//!
//! [`timers`] is the heap, [`clock`] says what time it is. On these stand [`sleep`], [`timeout`] and
//! [`interval`].

pub(crate) mod clock;
pub(crate) mod interval;
pub(crate) mod sleep;
pub(crate) mod timeout;
pub(crate) mod timers;
