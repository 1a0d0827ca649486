//! The addresses of Unix sockets: a path, or a name that is in no directory.
//!
//! Interface: [`address`] makes one of what a program writes, which is a path, as in tokio.
//! Invariant: what the kernel would cut, or take for another name, is refused here, with the limits.
//! Read before: `address`. Read next: `unix::listener`.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use super::super::options::invalid;
use super::super::sys::LONGEST_PATH;

/// The address of a path. One that begins with a NUL is an abstract name, which is what follows.
///
/// # Errors
/// `InvalidInput` for more than 107 bytes, and for a NUL inside a path.
pub(crate) fn address(path: &Path) -> io::Result<SocketAddr> {
    let bytes = path.as_os_str().as_bytes();
    let (what, name) = match bytes {
        [0, name @ ..] => ("abstract name", name),
        path => ("path", path),
    };
    if name.len() > LONGEST_PATH {
        return Err(invalid(format!(
            "the {what} of a Unix socket has at most {LONGEST_PATH} bytes, not {}",
            name.len()
        )));
    }
    match bytes {
        [0, name @ ..] => SocketAddr::from_abstract_name(name),
        path if path.contains(&0) => Err(invalid(
            "the path of a Unix socket has no NUL; in front, one makes it an abstract name".into(),
        )),
        _ => SocketAddr::from_pathname(path),
    }
}
