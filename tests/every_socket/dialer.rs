//! The peer of a listener, and what the listener gets from it.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;

use super::subject::{Peer, set_nonblocking};

/// Connects, sends a byte by each connection, and keeps them.
pub(crate) struct Dialer {
    dial: Box<dyn Fn() -> io::Result<OwnedFd> + Send>,
    reset: fn(OwnedFd),
    open: Vec<OwnedFd>,
}

impl Dialer {
    /// `dial` makes a connection, and `reset` breaks one off.
    pub(crate) fn boxed<S: Into<OwnedFd>>(
        dial: impl Fn() -> io::Result<S> + Send + 'static,
        reset: fn(OwnedFd),
    ) -> Box<dyn Peer> {
        let dial = Box::new(move || dial().map(S::into));
        Box::new(Dialer {
            dial,
            reset,
            open: Vec::new(),
        })
    }
}

impl Peer for Dialer {
    fn give(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            let mut connection = File::from((self.dial)()?);
            connection.write_all(&[*byte])?;
            self.open.push(connection.into());
        }
        Ok(bytes.len())
    }

    fn reset(&mut self) {
        (self.reset)((self.dial)().unwrap());
    }
}

/// The byte of a connection that was accepted, or none if that was broken off. The byte was sent before, or is just being
/// sent.
pub(crate) fn byte_of(
    connection: impl Into<OwnedFd>,
    room: &mut [u8],
) -> Option<io::Result<usize>> {
    let connection = connection.into();
    set_nonblocking(&connection, false);
    match File::from(connection).read(&mut room[..1]) {
        Ok(0) => None,
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        byte => Some(byte),
    }
}
