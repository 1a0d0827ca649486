//! Named pipes by their path.
//!
//! Interface: [`OpenOptions`].
//! Invariant: an end that is opened here is in non-blocking mode from the call that makes it, and is held by no other
//! code. (open(2) of a named pipe in that mode never waits: fifo(7).)
//! Read before: `net::pipe`. Read next: fifo(7).

use std::fs::{File, OpenOptions as StdOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::super::sys::PipeFd;
use super::{Receiver, Sender, is_pipe, not_a_pipe};
use crate::io::refuse_in_forked_child;

/// How a named pipe (FIFO) is opened.
///
/// The pipe has to be there: mkfifo(3) makes one, or the program `mkfifo`.
///
/// # Examples
/// A service that reads commands from a named pipe, and outlives those who write them:
/// ```
/// use reveille::net::pipe;
///
/// # fn main() -> std::io::Result<()> {
/// # let path = std::env::temp_dir().join(format!("reveille-doc-open-{}", std::process::id()));
/// # assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
/// reveille::block_on(async {
///     // Open for writing, too: so it does not end with the first writer.
///     let receiver = pipe::OpenOptions::new().read_write(true).open_receiver(&path)?;
///     for command in ["start", "stop"] {
///         let sender = pipe::OpenOptions::new().open_sender(&path)?;
///         sender.write_all(command.as_bytes()).await?;
///         drop(sender);
///         let mut buf = [0; 16];
///         let n = receiver.read(&mut buf).await?;
///         assert_eq!(&buf[..n], command.as_bytes());
///     }
/// #   std::fs::remove_file(&path)?;
///     Ok(())
/// })
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Whether a pipe is opened in both directions, whichever end it is for.
    read_write: bool,
    /// Whether a file that is no pipe is taken, too.
    unchecked: bool,
}

impl OpenOptions {
    /// All off.
    pub fn new() -> OpenOptions {
        OpenOptions::default()
    }

    /// Opens the pipe for reading and writing, whichever end it is for. Then a [`Receiver`] never ends, and a [`Sender`] can
    /// be opened, and written to, without a reader. Linux allows this for named pipes, POSIX does not say: fifo(7).
    pub fn read_write(&mut self, value: bool) -> &mut OpenOptions {
        self.read_write = value;
        self
    }

    /// Opens the file even if it is not a pipe: any that epoll(7) can watch.
    ///
    /// # Examples
    /// A log that may be turned off by its path:
    /// ```
    /// use std::io::ErrorKind;
    /// use reveille::net::pipe::OpenOptions;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// # reveille::block_on(async {
    /// let path = "/dev/null";
    /// let error = OpenOptions::new().open_sender(path).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::InvalidInput); // "Not a pipe".
    /// let log = OpenOptions::new().unchecked(true).open_sender(path)?;
    /// log.write_all(b"started\n").await?;
    /// # Ok(())
    /// # })
    /// # }
    /// ```
    pub fn unchecked(&mut self, value: bool) -> &mut OpenOptions {
        self.unchecked = value;
        self
    }

    /// Opens the end to read from, at once, whether there is a writer or not: reads wait for the first.
    ///
    /// # Errors
    /// As open(2): ENOENT, EACCES, EMFILE. `InvalidInput` if the file is not a pipe, and is not to be
    /// [taken as it is](OpenOptions::unchecked). In the child of a process that had a runtime before it forked.
    pub fn open_receiver(&self, path: impl AsRef<Path>) -> io::Result<Receiver> {
        Receiver::new(self.open(path.as_ref(), (true, self.read_write))?)
    }

    /// Opens the end to write to, at once.
    ///
    /// # Errors
    /// ENXIO if nothing holds the pipe open for reading: try again later, or use [`read_write`](OpenOptions::read_write).
    /// Else as [`open_receiver`](OpenOptions::open_receiver).
    pub fn open_sender(&self, path: impl AsRef<Path>) -> io::Result<Sender> {
        Sender::new(self.open(path.as_ref(), (self.read_write, true))?)
    }

    /// Opens the file for reading, writing or both, without waiting for the other end.
    fn open(&self, path: &Path, (read, write): (bool, bool)) -> io::Result<PipeFd> {
        // Before the pipe has another reader or writer: when that goes, the pipe ends.
        refuse_in_forked_child()?;
        // CLOEXEC is std's. NOCTTY, because the path may be that of a terminal.
        let file: File = StdOptions::new()
            .read(read)
            .write(write)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(path)?;
        let is_pipe = is_pipe(&file)?;
        if !is_pipe && !self.unchecked {
            return Err(not_a_pipe());
        }
        Ok(PipeFd::new(file.into(), is_pipe, false))
    }
}
