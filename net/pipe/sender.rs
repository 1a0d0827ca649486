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
/// A log that never makes its writer wait: what the pipe has no room for is lost, but no line is torn, because each is written
/// [whole or not at all](super#writes-that-stay-together).
/// ```
/// use std::io::ErrorKind;
/// use reveille::net::pipe;
///
/// # fn main() -> std::io::Result<()> {
/// # reveille::block_on(async {
/// let (log, receiver) = pipe::pipe()?;
/// let capacity = log.set_capacity(8192)?;
/// let mut lost = 0;
/// for _ in 0..10_000 {
///     match log.try_write(b"something has happened\n") {
///         Ok(_) => {}
///         Err(error) if error.kind() == ErrorKind::WouldBlock => lost += 1,
///         Err(error) => return Err(error),
///     }
/// }
/// assert!(receiver.unread_bytes()? <= capacity && lost > 0);
/// # Ok(())
/// # })
/// # }
/// ```
pub struct Sender {
    /// The engine, which holds the descriptor.
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
    ///
    /// # Examples
    /// A log to a path that may be a named pipe, or a device:
    /// ```
    /// use std::fs::File;
    /// use std::io::Result;
    /// use std::os::unix::fs::FileTypeExt;
    /// use std::path::Path;
    /// use reveille::net::pipe::Sender;
    ///
    /// fn log(path: &Path) -> Result<Sender> {
    ///     // For reading, too: else open(2) of a pipe would wait until something reads (fifo(7)).
    ///     let file = File::options().read(true).write(true).open(path)?;
    ///     if file.metadata()?.file_type().is_fifo() {
    ///         Sender::from_file(file)
    ///     } else {
    ///         Sender::from_file_unchecked(file)
    ///     }
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-log-{}", std::process::id()));
    /// # assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
    /// # let logs = (log(&path), log("/dev/null".as_ref()));
    /// # std::fs::remove_file(&path)?;
    /// # reveille::block_on(async {
    /// # logs.0?.write_all(b"started\n").await?;
    /// # logs.1?.write_all(b"started\n").await?;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
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
    ///
    /// # Examples
    /// See [`from_file`](Sender::from_file).
    pub fn from_file_unchecked(file: File) -> io::Result<Sender> {
        Sender::from_owned_fd_unchecked(file.into())
    }

    /// Takes a descriptor as it is: of a pipe, a terminal, or what else epoll(7) can watch and write(2) can write to. It
    /// should be in non-blocking mode; if it is not, the first transfer that needs that puts it there.
    ///
    /// # Errors
    /// In the child of a process that had a runtime before it forked. The errors of a file that does not fit come from
    /// the first write.
    ///
    /// # Examples
    /// Standard output may be a pipe, or else a terminal or a socket. The non-blocking mode is that of its other
    /// holders, too, until [`into_blocking_fd`](Sender::into_blocking_fd) ends it: until then a `println!` for which
    /// there is no room panics. See [Sharing](super#sharing).
    /// ```
    /// use std::io::Result;
    /// use std::os::fd::OwnedFd;
    /// use reveille::net::pipe::Sender;
    ///
    /// fn output(fd: OwnedFd) -> Result<Sender> {
    ///     // A duplicate, because a descriptor that is refused is closed.
    ///     Sender::from_owned_fd(fd.try_clone()?).or_else(|_| Sender::from_owned_fd_unchecked(fd))
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// # reveille::block_on(async {
    /// # let (mut theirs, stdout) = std::os::unix::net::UnixStream::pair()?;
    /// let output = output(stdout.into())?;
    /// output.write_all(b"hello").await?;
    /// # let mut got = [0; 5];
    /// # std::io::Read::read_exact(&mut theirs, &mut got)?;
    /// # assert_eq!(&got, b"hello");
    /// # Ok(())
    /// # })
    /// # }
    /// ```
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
