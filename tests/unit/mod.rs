//! Tests of private parts, mounted by the library.

mod addr;
mod net_sys;
