//! TCP: a listener, a stream, and the stream's halves.
//! Read before: `addr`. Read next: `listener`, `tcp::stream`.

mod keepalive;
mod listener;
mod options;
mod stream;

use std::sync::Arc;

pub use super::split::{Reader, ShutdownOnDrop, SplitStream, Writer};
pub use keepalive::TcpKeepalive;
pub use listener::TcpListener;
pub use stream::TcpStream;

/// The read half of a borrowed stream; see [`TcpStream::split`].
pub type ReadHalf<'a> = Reader<&'a TcpStream>;
/// The write half of a borrowed stream; see [`TcpStream::split`].
pub type WriteHalf<'a> = Writer<&'a TcpStream>;
/// The read half of a shared stream; see [`TcpStream::into_split`].
pub type OwnedReadHalf = Reader<Arc<TcpStream>>;
/// The write half of a shared stream; see [`TcpStream::into_split`].
pub type OwnedWriteHalf = Writer<ShutdownOnDrop<TcpStream>>;
/// The error of halves that belong to different streams; see [`reunite`](OwnedReadHalf::reunite).
pub type ReuniteError = super::split::ReuniteError<TcpStream>;
