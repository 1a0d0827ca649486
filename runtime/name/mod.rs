//! Names: what leaves the runtime, and where it is looked up.
//!
//! [`slab`] gives exact names and finds the thing, or nothing; [`waker`] truncates a name to the 64 bits of a
//! `Waker`; [`place`] is where a runtime is reached from elsewhere. [`chunks`] is the slab's memory.

mod chunks;
pub(crate) mod place;
pub(crate) mod slab;
pub(crate) mod waker;
