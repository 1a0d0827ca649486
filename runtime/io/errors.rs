//! The errors of a wait that is not possible, and what to do instead.
//!
//! Interface: one function for each, and [`is_not_at_home`], by which a program tells that one from others.
//! Invariant: each text names what to do instead, or, if the interest is at fault, what was registered.
//! Read next: `registration`, which gives them.

use std::fmt;
use std::io;

use super::interest::Interest;
use crate::runtime::explained::explained;

/// For a wait in another runtime than the one in which the descriptor is registered.
#[cold]
pub(super) fn not_at_home() -> io::Error {
    io::Error::other(NotAtHome)
}

/// See [`is_not_at_home`].
#[derive(Debug)]
struct NotAtHome;

impl fmt::Display for NotAtHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this is registered with another runtime, and only there can it wait: take the \
             descriptor out (`into_std`, `into_inner`) and wrap it anew in this runtime, or wrap a \
             duplicate (`try_clone`, or `as_fd().try_clone_to_owned()` where there is none)",
        )
    }
}

impl std::error::Error for NotAtHome {}

/// True if the error says that a socket, or another descriptor, would have had to wait in another runtime
/// than the one it is registered with.
///
/// # Examples
/// ```
/// use reveille::net::{TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let (client, server) = reveille::block_on(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let client = TcpStream::connect(listener.local_addr()?).await?;
///     let (server, _) = listener.accept().await?;
///     let wait = server.readable();
///     futures_lite::future::poll_once(wait).await; // From here on this runtime is its home.
///     std::io::Result::Ok((client, server))
/// })?;
/// let error = reveille::block_on(server.readable()).unwrap_err();
/// assert!(reveille::io::is_not_at_home(&error));
/// # drop(client);
/// # Ok(())
/// # }
/// ```
pub fn is_not_at_home(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<NotAtHome>())
}

/// The error of a wait where no runtime runs.
#[cold]
pub(super) fn outside() -> io::Error {
    io::Error::other(
        "cannot wait outside a runtime: poll this inside `reveille::block_on` or \
         `Runtime::block_on`",
    )
}

/// The error of a wait for `interest` that no event could end.
#[cold]
pub(super) fn never_reported(interest: Interest, registered: Interest) -> io::Error {
    let text = format!("waiting for {interest:?} on what is registered for {registered:?}");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Explains two errors of epoll_ctl(2).
pub(super) fn explain_registration(error: io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "epoll cannot watch this file (a regular file or a directory is always ready): read it \
             on a thread"
        }
        Some(libc::EEXIST) => {
            "this descriptor is registered with this runtime already: use the first one, or a \
             duplicate (`try_clone`, or `as_fd().try_clone_to_owned()` where there is none)"
        }
        _ => return error,
    };
    let text = format!("{why}: {error}");
    explained(error, text)
}
