//! The end of a pipe to write to.
//!
//! Interface: [`Sender`]; all its methods take `&self`.
//! Invariant: whatever hands the descriptor out calls `lend` first, so that O_NONBLOCK is no longer trusted.
//! Read before: `methods`, for those of writing. Read next: `open`.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use super::super::methods::{operations, refuse_in_child, writable, writing};
use super::super::stream::{Attempt, Stream};
use super::super::sys::{self, Count, PipeFd};
use super::{both_ends, set_capacity, take, take_unchecked};
use crate::io::{AsyncFd, Interest, Ready};

/// The end of a pipe to write to.
///
/// [The module](super) says which writes stay together, when a write without a reader raises SIGPIPE, and what sharing the
/// descriptor means. Dropping this closes it; the pipe ends, unless other code holds this end, too. There is no other way
/// to end it: closing by the [traits](crate#features) of other crates does nothing.
///
/// # Examples
/// The input of a program:
/// ```
/// use std::process::{Command, Stdio};
/// use reveille::net::pipe::Sender;
///
/// # fn main() -> std::io::Result<()> {
/// reveille::block_on(async {
///     let mut command = Command::new("sh");
///     command.args(["-c", "read word && test $word = hello"]).stdin(Stdio::piped());
///     let mut child = command.spawn()?;
///     let stdin = child.stdin.take().expect("it is piped");
///     let stdin = Sender::from_owned_fd(stdin.into())?;
///     stdin.write_all(b"hello\n").await?;
///     drop(stdin);
///     assert!(child.wait()?.success());
///     Ok(())
/// })
/// # }
/// ```
pub struct Sender {
    stream: Stream<PipeFd>,
}

impl Sender {
    /// Wraps a descriptor in non-blocking mode.
    pub(super) fn new(pipe: PipeFd) -> io::Result<Sender> {
        let stream = Stream::one_way(pipe, Interest::WRITABLE)?;
        Ok(Sender { stream })
    }

    /// Takes an open file, which is put into non-blocking mode; see [`from_owned_fd`](Sender::from_owned_fd).
    ///
    /// # Errors
    /// As [`from_owned_fd`](Sender::from_owned_fd).
    pub fn from_file(file: File) -> io::Result<Sender> {
        Sender::from_owned_fd(file.into())
    }

    /// Takes a descriptor, which is put into non-blocking mode, and so are its duplicates: see
    /// [Sharing](super#sharing).
    ///
    /// # Errors
    /// `InvalidInput` if it is not of a pipe, or not open for writing; as fstat(2) and fcntl(2); and in the child of a
    /// process that had a runtime before it forked. The descriptor is closed then.
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Sender> {
        Sender::new(take(fd, libc::O_WRONLY)?)
    }

    /// Takes an open file as it is; see [`from_owned_fd_unchecked`](Sender::from_owned_fd_unchecked).
    ///
    /// # Errors
    /// As [`from_owned_fd_unchecked`](Sender::from_owned_fd_unchecked).
    pub fn from_file_unchecked(file: File) -> io::Result<Sender> {
        Sender::from_owned_fd_unchecked(file.into())
    }

    /// Takes a descriptor as it is: of a pipe, a terminal, or what else epoll(7) can watch and write(2) can write to. It
    /// should be in non-blocking mode; if it is not, the first transfer that needs that puts it there.
    ///
    /// # Errors
    /// In the child of a process that had a runtime before it forked. The errors of a file that does not fit come from
    /// the first write.
    pub fn from_owned_fd_unchecked(fd: OwnedFd) -> io::Result<Sender> {
        Sender::new(take_unchecked(fd))
    }

    writable!();
    writing!(
        "which are all if they are [at most 4096](super#writes-that-stay-together); otherwise it may be fewer.",
        "What write(2) reports, but for EAGAIN (waits) and EINTR (tries again): EPIPE if nothing holds the pipe open for \
         reading, which may [raise SIGPIPE](super#sigpipe), too; and those of waiting, see \
         [`AsyncFd::readable`](crate::io::AsyncFd::readable)."
    );
    operations!();
    both_ends!();
}

impl AsFd for Sender {
    /// Hands out the descriptor. From then on other code may clear O_NONBLOCK; see [Sharing](super#sharing).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lend();
        self.pipe().as_fd()
    }
}

impl AsRawFd for Sender {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl TryFrom<OwnedFd> for Sender {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<Sender> {
        Sender::from_owned_fd(fd)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.pipe().as_fd().as_raw_fd();
        f.debug_struct("Sender").field("fd", &fd).finish()
    }
}
