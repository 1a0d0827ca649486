//! Sockets, written on the public door of the runtime and nothing else.

pub(crate) mod addr;
pub(crate) mod sys;

pub use addr::ToSocketAddrs;
