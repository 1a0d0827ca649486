//! Every system call of `net`.

mod socket;

pub(crate) use socket::*;
