//! What several test binaries need.

mod within;

pub(crate) use within::within;
