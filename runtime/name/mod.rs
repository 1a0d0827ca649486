//! Names: what leaves the runtime, and where it is looked up.
//!
//! [`slab`] defines exact names, and finds the thing that a name stands for, or nothing; [`waker`] truncates
//! a task's name to the 64 bits of a `Waker`; [`place`] is where a runtime is reached from elsewhere.
//! [`chunks`] is memory of the slab.

mod chunks;
pub(crate) mod place;
pub(crate) mod slab;
pub(crate) mod waker;
