//! Waiting for descriptors: from epoll's events to the operation that is tried again.
//!
//! [`sources`] keeps what each source is ready for, and its waiters; [`waiters`] finds those that an event
//! concerns; [`reactor`] receives the events from epoll, and [`alarm`] ends its short waits on time. On these
//! stand [`registration`], which tries an operation and waits as [`decision`] says; [`operation`], which makes a
//! future of that; and [`async_fd`], the public type. [`interest`] is what a task may wait for; [`errors`] has
//! the errors of a wait that is not possible.

pub(crate) mod alarm;
pub(crate) mod async_fd;
pub(crate) mod decision;
pub(crate) mod errors;
pub(crate) mod interest;
pub(crate) mod operation;
pub(crate) mod reactor;
pub(crate) mod registration;
pub(crate) mod sources;
pub(crate) mod waiters;
