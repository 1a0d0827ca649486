//! Tests of private parts, mounted by the library.

mod addr;
mod alarm;
pub(crate) mod answers;
#[cfg(not(reveille_loom))]
mod budget;
mod chaos;
mod control;
mod decision;
#[cfg(not(reveille_loom))]
mod executor;
#[path = "../support/limit.rs"]
mod limit;
#[cfg(not(reveille_loom))]
mod lookup;
#[cfg(not(reveille_loom))]
mod names;
mod net_sys;
#[cfg(not(reveille_loom))]
mod outcome;
#[cfg(not(reveille_loom))]
mod place;
#[cfg(not(reveille_loom))]
mod pool;
mod queue;
#[cfg(not(reveille_loom))]
mod race;
#[cfg(not(reveille_loom))]
mod registration;
mod roll;
#[cfg(not(reveille_loom))]
mod slab;
mod sources;
#[cfg(not(reveille_loom))]
mod tcp;
mod tcp_info;
mod timers;
#[cfg(not(reveille_loom))]
mod udp;
#[cfg(not(reveille_loom))]
#[path = "../support/foreign.rs"]
mod user_code;
mod waiters;
#[cfg(not(reveille_loom))]
mod wrapping;

// Under this cfg the places are made of loom's primitives, which work inside a model only.
#[cfg(reveille_loom)]
pub(crate) mod loom_eventfd;
#[cfg(reveille_loom)]
mod loom_place;
#[cfg(reveille_loom)]
mod loom_pool;
