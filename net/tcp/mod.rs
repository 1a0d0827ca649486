//! TCP: a listener, a stream, and the stream's halves.
//! Read before: `addr`. Read next: `listener`, `tcp::stream`.

mod listener;
mod split;
mod stream;

pub use listener::TcpListener;
pub use split::{
    OwnedReadHalf, OwnedWriteHalf, ReadHalf, Reader, ReuniteError, ShutdownOnDrop, WriteHalf,
    Writer,
};
pub use stream::TcpStream;

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use super::addr::ToSocketAddrs;
use crate::io::AsyncFd;

/// Refuses in the child of a fork what would be done to a socket of the parent's. There
/// [`AsyncFd::new`] is an error, and elsewhere it costs nothing, for it makes no system call.
fn refuse_in_child(socket: BorrowedFd<'_>) -> io::Result<()> {
    AsyncFd::new(socket).map(drop)
}

/// Tries the addresses in turn, until one works.
///
/// # Errors
/// That of the address, if there was one; else an error that lists all, of the last one's kind.
async fn first_that_works<T>(
    addresses: impl ToSocketAddrs,
    mut attempt: impl AsyncFnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut failures = Vec::new();
    for address in addresses.addresses()? {
        match attempt(address).await {
            Ok(done) => return Ok(done),
            Err(error) => failures.push((address, error)),
        }
    }
    Err(all_failed(failures))
}

fn all_failed(mut failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let texts: Vec<_> = failures
        .iter()
        .map(|(at, error)| format!("{at}: {error}"))
        .collect();
    let several = failures.len() > 1;
    match failures.pop() {
        Some((_, last)) if several => io::Error::new(last.kind(), texts.join("; ")),
        Some((_, only)) => only,
        None => io::Error::new(io::ErrorKind::InvalidInput, "no address was given"),
    }
}
