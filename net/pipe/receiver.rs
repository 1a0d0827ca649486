//! The end of a pipe to read from.
//!
//! Interface: [`Receiver`]; all its methods take `&self`.
//! Invariant: whatever hands the descriptor out calls `lend` first, so that O_NONBLOCK is no longer trusted.
//! Read before: `methods`, for those of reading. Read next: `sender`.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use super::super::methods::{operations, readable, reading, refuse_in_child};
use super::super::stream::{Attempt, Stream};
use super::super::sys::{self, Count, PipeFd};
use super::{both_ends, set_capacity, take, take_unchecked};
use crate::io::{AsyncFd, Interest, Ready};

/// The end of a pipe to read from.
///
/// [The module](super) says how a pipe ends, and what sharing its descriptor means. Dropping this closes it; a write
/// to the pipe is an error from then on, unless other code holds this end, too.
///
/// # Examples
/// A program's errors, beside its output:
/// ```
/// use std::process::{Command, Stdio};
/// use reveille::net::pipe::Receiver;
///
/// # fn main() -> std::io::Result<()> {
/// reveille::block_on(async {
///     let mut command = Command::new("sh");
///     command.args(["-c", "echo lost >&2"]).stderr(Stdio::piped());
///     let mut child = command.spawn()?;
///     let stderr = child.stderr.take().expect("it is piped");
///     let stderr = Receiver::from_owned_fd(stderr.into())?;
///     let mut errors = Vec::new();
///     while stderr.read_vec(&mut errors).await? > 0 {}
///     assert_eq!(errors, b"lost\n");
///     child.wait().map(drop)
/// })
/// # }
/// ```
/// Each end goes to another thread: one to code that blocks, the other to another runtime.
/// ```
/// use std::fs::File;
/// use std::io::Write;
/// use std::thread;
/// use reveille::net::pipe::{self, Receiver};
///
/// # fn main() -> std::io::Result<()> {
/// let (sender, receiver) = pipe::pipe()?;
/// let fd = sender.into_blocking_fd()?;
/// let writing = thread::spawn(move || File::from(fd).write_all(b"hello"));
/// let fd = receiver.into_nonblocking_fd()?;
/// let reading = thread::spawn(move || {
///     reveille::block_on(async {
///         let receiver = Receiver::from_owned_fd(fd)?;
///         let mut got = Vec::new();
///         while receiver.read_vec(&mut got).await? > 0 {}
///         std::io::Result::Ok(got)
///     })
/// });
/// writing.join().unwrap()?;
/// assert_eq!(reading.join().unwrap()?, b"hello");
/// # Ok(())
/// # }
/// ```
pub struct Receiver {
    /// The engine, which holds the descriptor.
    stream: Stream<PipeFd>,
}

impl Receiver {
    /// Wraps a descriptor in non-blocking mode.
    pub(super) fn new(pipe: PipeFd) -> io::Result<Receiver> {
        let stream = Stream::one_way(pipe, Interest::READABLE)?;
        Ok(Receiver { stream })
    }

    /// Takes an open file, which is put into non-blocking mode; see [`from_owned_fd`](Receiver::from_owned_fd).
    ///
    /// # Errors
    /// As [`from_owned_fd`](Receiver::from_owned_fd).
    ///
    /// # Examples
    /// A named pipe that std has opened, for both directions: for one of them open(2) would wait until something opens
    /// the other one (fifo(7)).
    /// ```
    /// use std::fs::File;
    /// use reveille::net::pipe::{Receiver, Sender};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # let path = std::env::temp_dir().join(format!("reveille-doc-file-{}", std::process::id()));
    /// # assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
    /// # reveille::block_on(async {
    /// let file = File::options().read(true).write(true).open(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// let sender = Sender::from_file(file.try_clone()?)?;
    /// let receiver = Receiver::from_file(file)?;
    /// sender.write_all(b"hello").await?;
    /// assert_eq!(receiver.read(&mut [0; 16]).await?, 5);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn from_file(file: File) -> io::Result<Receiver> {
        Receiver::from_owned_fd(file.into())
    }

    /// Takes a descriptor, which is put into non-blocking mode, and so are its duplicates: see
    /// [Sharing](super#sharing).
    ///
    /// # Errors
    /// `InvalidInput` if it is not of a pipe, or not open for reading; as fstat(2) and fcntl(2); and in the child of a
    /// process that had a runtime before it forked. The descriptor is closed then.
    pub fn from_owned_fd(fd: OwnedFd) -> io::Result<Receiver> {
        Receiver::new(take(fd, libc::O_RDONLY)?)
    }

    /// Takes an open file as it is; see [`from_owned_fd_unchecked`](Receiver::from_owned_fd_unchecked).
    ///
    /// # Errors
    /// As [`from_owned_fd_unchecked`](Receiver::from_owned_fd_unchecked).
    ///
    /// # Examples
    /// A terminal echoes what is typed; here it is a pseudoterminal, of which this is the master (pty(7)):
    /// ```
    /// use std::fs::File;
    /// use reveille::net::pipe::{Receiver, Sender};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # if File::options().read(true).write(true).open("/dev/ptmx").is_err() {
    /// #     return Ok(()); // A sandbox without terminals.
    /// # }
    /// # reveille::block_on(async {
    /// let master = File::options().read(true).write(true).open("/dev/ptmx")?;
    /// let typed = Sender::from_file_unchecked(master.try_clone()?)?;
    /// let shown = Receiver::from_file_unchecked(master)?;
    /// typed.write_all(b"hello\n").await?;
    /// let mut echo = [0; 7];
    /// shown.read_exact(&mut echo).await?;
    /// assert_eq!(&echo, b"hello\r\n");
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn from_file_unchecked(file: File) -> io::Result<Receiver> {
        Receiver::from_owned_fd_unchecked(file.into())
    }

    /// Takes a descriptor as it is: of a pipe, a terminal, or what else epoll(7) can watch and read(2) can read. It should
    /// be in non-blocking mode; if it is not, the first transfer that needs that puts it there.
    ///
    /// A terminal that other code reads at the same time can leave this reader waiting although bytes are there, until more
    /// come: a read is EAGAIN while the other one is at work, and what that leaves, no event announces. This reader then
    /// tries again up to 100 times, which is enough unless the other one keeps the terminal for itself for longer, or is
    /// not given a processor. (Of two readers, neither knows which bytes it gets.) Pipes have no such gap.
    ///
    /// # Errors
    /// In the child of a process that had a runtime before it forked. The errors of a file that does not fit come from
    /// the first read.
    ///
    /// # Examples
    /// Standard input may be a pipe, or else a terminal or a socket. The non-blocking mode is that of its other
    /// holders, too, of a shell for example, until [`into_blocking_fd`](Receiver::into_blocking_fd) ends it: see
    /// [Sharing](super#sharing).
    /// ```
    /// use std::io::Result;
    /// use std::os::fd::OwnedFd;
    /// use reveille::net::pipe::Receiver;
    ///
    /// fn input(fd: OwnedFd) -> Result<Receiver> {
    ///     // A duplicate, because a descriptor that is refused is closed.
    ///     Receiver::from_owned_fd(fd.try_clone()?).or_else(|_| Receiver::from_owned_fd_unchecked(fd))
    /// }
    ///
    /// # fn main() -> Result<()> {
    /// # reveille::block_on(async {
    /// # let (mut theirs, stdin) = std::os::unix::net::UnixStream::pair()?;
    /// # std::io::Write::write_all(&mut theirs, b"hello")?;
    /// let input = input(stdin.into())?;
    /// assert_eq!(input.read(&mut [0; 16]).await?, 5);
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn from_owned_fd_unchecked(fd: OwnedFd) -> io::Result<Receiver> {
        Receiver::new(take_unchecked(fd))
    }

    readable!();
    reading!(
        "[the end](super#the-end): nothing is left, and nothing holds the pipe open for writing",
        "What read(2) reports, but for EAGAIN (waits) and EINTR (tries again), and of a pipe that is nothing; those of \
         waiting, see [`AsyncFd::readable`](crate::io::AsyncFd::readable)."
    );
    operations!();
    both_ends!();
}

impl AsFd for Receiver {
    /// Hands out the descriptor. From then on other code may clear O_NONBLOCK; see [Sharing](super#sharing).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.lend();
        self.pipe().as_fd()
    }
}

impl AsRawFd for Receiver {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl TryFrom<OwnedFd> for Receiver {
    type Error = io::Error;

    fn try_from(fd: OwnedFd) -> io::Result<Receiver> {
        Receiver::from_owned_fd(fd)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.pipe().as_fd().as_raw_fd();
        f.debug_struct("Receiver").field("fd", &fd).finish()
    }
}
