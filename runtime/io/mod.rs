//! Waiting for descriptors: from epoll's events to the operation that is tried again.
//!
//! [`sources`] knows what is ready and who waits, [`waiters`] which of those an event concerns, [`reactor`]
//! hears from epoll. On these stand [`registration`], which tries an operation and waits as [`decision`] says,
//! [`operation`], which makes a future of that, and the door, [`async_fd`]. [`interest`] is what one may wait
//! for, [`errors`] what is said where one cannot.

pub(crate) mod async_fd;
pub(crate) mod decision;
pub(crate) mod errors;
pub(crate) mod interest;
pub(crate) mod operation;
pub(crate) mod reactor;
pub(crate) mod registration;
pub(crate) mod sources;
pub(crate) mod waiters;
