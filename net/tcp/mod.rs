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

/// Asked before a socket is changed: an error in the child of a fork, because the socket is the
/// parent's, too. [`AsyncFd::new`] is an error there; otherwise it makes no system call, and so
/// costs nothing.
fn refuse_in_child(socket: BorrowedFd<'_>) -> io::Result<()> {
    AsyncFd::new(socket).map(drop)
}

/// Tries the addresses in turn, until one works.
///
/// # Errors
/// The error of the address, if there was only one; else an error that lists those of all, and has
/// the kind of the last.
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
