//! Several addresses that were tried, and none worked.
//!
//! Interface: [`in_turn`] tries them; [`all_failed`] is the error that names them all, [`AddressesError`] what a program
//! finds in it.
//! Read before: `lookup`. Read next: `race`, `listener`.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;

use super::addr::Target;
use super::lookup;
use crate::task::coop::consume_budget;

/// None of several addresses worked, or none of a name's.
///
/// The [`io::Error`] of [`connect`](super::TcpStream::connect) and [`bind`](super::TcpListener::bind) has this inside,
/// where [`io::Error::get_ref`] finds it, if they were given several addresses, or a name that has some. Its kind, and its
/// [`source`](Error::source), are those of the address that failed last; its `raw_os_error` is `None`.
///
/// # Examples
/// ```
/// use reveille::net::{AddressesError, TcpStream};
/// use std::net::SocketAddr;
///
/// # reveille::block_on(async {
/// let closed = ["127.0.0.1:1", "127.0.0.1:2"].map(|at| at.parse::<SocketAddr>().unwrap());
/// let error = TcpStream::connect(&closed[..]).await.unwrap_err();
/// let tried = error.get_ref().unwrap().downcast_ref::<AddressesError>().unwrap();
/// for (address, error) in tried.failures() {
///     println!("{address}: {error}"); // 127.0.0.1:1: Connection refused (os error 111)
/// }
/// # assert_eq!(tried.failures().len(), 2);
/// # });
/// ```
#[derive(Debug)]
pub struct AddressesError {
    /// In the order in which the addresses failed.
    failures: Vec<(SocketAddr, io::Error)>,
}

impl AddressesError {
    /// The addresses, and the error of each, in the order in which they failed.
    pub fn failures(&self) -> &[(SocketAddr, io::Error)] {
        &self.failures
    }
}

impl fmt::Display for AddressesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (address, error)) in self.failures.iter().enumerate() {
            let before = if nth == 0 { "" } else { "; " };
            write!(f, "{before}{address}: {error}")?;
        }
        Ok(())
    }
}

impl Error for AddressesError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let (_, last) = self.failures.last()?;
        Some(last)
    }
}

/// The error of addresses of which none worked.
pub(super) fn all_failed(failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let kind = failures.last().map(|(_, last)| last.kind());
    let kind = kind.unwrap_or(io::ErrorKind::InvalidInput);
    io::Error::new(kind, AddressesError { failures })
}

/// Tries the addresses of the target one after the other, until one works.
///
/// # Errors
/// The error of the address, if it was given as one; else that of [`all_failed`].
pub(super) async fn in_turn<T>(
    target: Target,
    mut attempt: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    if let Target::One(address) = target {
        consume_budget().await;
        return attempt(address);
    }
    let mut failures = Vec::new();
    for address in lookup::addresses(target).await? {
        // Each may fail at once.
        consume_budget().await;
        match attempt(address) {
            Ok(done) => return Ok(done),
            Err(error) => failures.push((address, error)),
        }
    }
    Err(all_failed(failures))
}
