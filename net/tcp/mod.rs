//! TCP: a listener, a stream, and the stream's halves.
//! Read before: `addr`. Read next: `listener`, `tcp::stream`.

mod keepalive;
mod listener;
mod split;
mod stream;

pub use keepalive::TcpKeepalive;
pub use listener::TcpListener;
pub use split::{
    OwnedReadHalf, OwnedWriteHalf, ReadHalf, Reader, ReuniteError, ShutdownOnDrop, WriteHalf,
    Writer,
};
pub use stream::TcpStream;

use std::io;
use std::os::fd::BorrowedFd;

use crate::io::AsyncFd;

/// Asked before a socket is changed: an error in the child of a fork, because the socket is the
/// parent's, too. [`AsyncFd::new`] is an error there; otherwise it makes no system call, and so
/// costs nothing.
fn refuse_in_child(socket: BorrowedFd<'_>) -> io::Result<()> {
    AsyncFd::new(socket).map(drop)
}
