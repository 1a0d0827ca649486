//! Descriptors of other kinds, through `AsyncFd`.
