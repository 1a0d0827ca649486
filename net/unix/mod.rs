//! Unix sockets: a listener, a stream, and the stream's halves.
//! Read before: `addr`. Read next: `unix::listener`, `unix::stream`.

pub(crate) mod addr;
