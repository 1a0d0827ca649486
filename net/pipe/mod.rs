//! Pipes: an end to write to, and one to read from; anonymous ones, and those with a name in the file system (FIFOs).
//!
//! [`pipe`] makes an anonymous pipe, to talk with a program that this one starts; [`OpenOptions`] opens a named one.
//! [`Receiver::from_owned_fd`] and [`Sender::from_owned_fd`] take the end of a pipe that other code made: standard
//! input, say, or what [`std::process::Child`] has.
//!
//! # Examples
//! The output of a program, without a thread that waits for it:
//! ```
//! use std::process::Command;
//! use reveille::net::pipe;
//!
//! # fn main() -> std::io::Result<()> {
//! reveille::block_on(async {
//!     let (sender, receiver) = pipe::pipe()?;
//!     // A program expects that its output blocks. The `Command`, which holds this end, too, is dropped with the statement:
//!     // while anything holds it, the pipe does not end.
//!     let mut child = Command::new("echo").arg("hello").stdout(sender.into_blocking_fd()?).spawn()?;
//!     let mut output = Vec::new();
//!     while receiver.read_vec(&mut output).await? > 0 {}
//!     assert_eq!(output, b"hello\n");
//!     child.wait().map(drop)
//! })
//! # }
//! ```
//! A named pipe:
//! ```
//! use reveille::net::pipe;
//!
//! # fn main() -> std::io::Result<()> {
//! # let path = std::env::temp_dir().join(format!("reveille-doc-{}", std::process::id()));
//! # assert!(std::process::Command::new("mkfifo").arg(&path).status()?.success());
//! reveille::block_on(async {
//!     let receiver = pipe::OpenOptions::new().open_receiver(&path)?;
//!     // The reader comes first: without one, this would be an error.
//!     let sender = pipe::OpenOptions::new().open_sender(&path)?;
//!     sender.write_all(b"hello").await?;
//!     let mut buf = [0; 16];
//!     assert_eq!(receiver.read(&mut buf).await?, 5);
//! #   std::fs::remove_file(&path)?;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # The end
//! A read returns 0 when nothing is left and nothing holds the pipe open for writing any more. A named pipe which nothing
//! has opened for writing yet has not ended: a read waits for the first writer. (In both cases read(2) returns 0;
//! poll(2) tells them apart.) After the end each read returns 0 at once, until there is a writer again; to wait for the
//! next one, open the pipe again, or with [`read_write`](OpenOptions::read_write), which never ends.
//!
//! # SIGPIPE
//! A write to a pipe that nothing holds open for reading is the error EPIPE. Before Linux 6.18, and in a sandbox that
//! refuses pwritev2(2), the kernel also sends SIGPIPE to the process, which ends it unless the signal is ignored or
//! handled. A Rust `main` ignores it; a program in C that uses a Rust library may not, and has to call
//! `signal(SIGPIPE, SIG_IGN)`. (The sockets here never raise it.) A program that this one starts gets the default action
//! from [`std::process::Command`].
//!
//! # Sharing
//! O_NONBLOCK is a flag of what all holders of an end share: its duplicates, and the processes that have inherited it.
//! A holder that clears it does not stop this runtime: on anonymous pipes, from Linux 6.4 on, each transfer says by
//! itself that it does not wait (RWF_NOWAIT). The kernel offers that neither for named pipes nor before 6.4. There, if
//! other code may hold the descriptor (it was not made here, or it was handed out through
//! [`as_fd`](std::os::fd::AsFd::as_fd) or the like), the flag is set again before each transfer, which costs a system call
//! more. Only if the other code clears it between these two calls, the thread waits until the pipe has bytes or room. A
//! named pipe that is opened by its path has the flag for itself. (Opening /proc/self/fd/N would give an inherited one a
//! flag of its own, but needs that file system and the right to open the file, and fails for the end to write to while
//! there is no reader.)
//!
//! In the other direction, taking a descriptor sets the flag for its other holders, too: a shell's input, for example.
//! [`into_blocking_fd`](Receiver::into_blocking_fd) clears it.
//!
//! # Writes that stay together
//! Of several writers to one pipe the bytes of a write of at most 4096 bytes (PIPE_BUF, pipe(7)) stay together, and such a
//! write is done whole or not at all. A longer one may be done in part, and another writer's bytes may come in between.
//! A write of several buffers counts as one, except in a sandbox that refuses both pwritev2(2) and writev(2): there, it
//! ends behind the first buffer that is not empty.
//!
//! If other code writes packets (pipe2(2), O_DIRECT), each read takes one of them. What a read has no room for is lost, and
//! so it is if [chaos](crate::Builder::chaos) makes the read short.
//!
//! # Coming from tokio
//! `try_io` is told what it waits for, as on the other types here. There are the forms `read_vec` for `read_buf`, and
//! [`capacity`](Receiver::capacity), [`set_capacity`](Receiver::set_capacity) and [`unread_bytes`](Receiver::unread_bytes).
//!
//! Read before: `net::stream`, `net::sys::pipe`. Read next: `receiver`, `sender`, `open`; pipe(7), fifo(7).

mod open;
mod receiver;
mod sender;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;

use libc::c_int;

use super::methods::refuse_in_child;
use super::stream::ByteStream;
use super::sys::{self, PipeFd};

pub use open::OpenOptions;
pub use receiver::Receiver;
pub use sender::Sender;

/// Makes an anonymous pipe. Both ends are closed in a program that is started (O_CLOEXEC), unless they are handed to it.
///
/// # Errors
/// EMFILE, ENFILE: pipe2(2), where the last is also about the memory of all pipes of a user. In the child of a process that
/// had a runtime before it forked.
///
/// # Examples
/// See the [module](self#examples).
pub fn pipe() -> io::Result<(Sender, Receiver)> {
    let (receiver, sender) = sys::pipe()?;
    let sender = Sender::new(PipeFd::new(sender, true, false))?;
    let receiver = Receiver::new(PipeFd::new(receiver, true, false))?;
    Ok((sender, receiver))
}

/// What both ends have, which have `pipe`, too.
macro_rules! both_ends {
    () => {
        /// How many bytes the pipe holds at most: 65,536 at first, on most systems. Small writes may fill it with
        /// fewer, because it is made of pages.
        ///
        /// # Errors
        /// As fcntl(2), F_GETPIPE_SZ: EBADF if the descriptor is not one of a pipe.
        pub fn capacity(&self) -> io::Result<usize> {
            self.pipe().capacity()
        }

        /// Sets how many bytes the pipe holds, for both of its ends. The kernel takes the next power of two, of a page
        /// at least, and this returns which number that is.
        ///
        /// # Errors
        /// As fcntl(2), F_SETPIPE_SZ: `PermissionDenied` if the process is not privileged and it is more than
        /// /proc/sys/fs/pipe-max-size (1 MiB, usually), or all pipes of the user together would then have more pages than
        /// /proc/sys/fs/pipe-user-pages-soft (16,384, usually, which is 64 MiB) or pipe-user-pages-hard (no limit,
        /// usually); EBUSY if the pipe holds more bytes than that; ENOMEM; EBADF if the descriptor is not
        /// one of a pipe. `InvalidInput` above 2,147,483,647 bytes. In the child of a process that had a runtime before
        /// it forked, because the pipe is the parent's, too.
        pub fn set_capacity(&self, bytes: usize) -> io::Result<usize> {
            set_capacity(self.pipe(), bytes)
        }

        /// How many bytes are in the pipe, and not read yet.
        ///
        /// # Errors
        /// As ioctl(2), FIONREAD (pipe(7)).
        pub fn unread_bytes(&self) -> io::Result<usize> {
            sys::count(self.pipe().as_fd(), Count::UNREAD)
        }

        /// Deregisters, and gives back the descriptor, which is put into blocking mode: for a program to be started, say.
        ///
        /// # Errors
        /// As fcntl(2); and in the child of a process that had a runtime before it forked, because the mode is the parent's,
        /// too. The descriptor is closed then.
        pub fn into_blocking_fd(self) -> io::Result<OwnedFd> {
            let fd = self.stream.into_inner().into_fd();
            refuse_in_child(fd.as_fd())?;
            sys::set_blocking(fd.as_fd())?;
            Ok(fd)
        }

        /// Deregisters, and gives back the descriptor, in non-blocking mode: it is put there if other code may have
        /// changed that.
        ///
        /// # Errors
        /// For a descriptor that other code may hold, as fcntl(2); and in the child of a process that had a runtime before
        /// it forked, because the mode is the parent's, too. The descriptor is closed then.
        pub fn into_nonblocking_fd(self) -> io::Result<OwnedFd> {
            let pipe = self.stream.into_inner();
            if pipe.is_shared() {
                refuse_in_child(pipe.as_fd())?;
                sys::keep_nonblocking(pipe.as_fd())?;
            }
            Ok(pipe.into_fd())
        }

        /// The descriptor, for calls by `net`: this does not lend it.
        fn pipe(&self) -> &PipeFd {
            self.io().get_ref()
        }

        /// What moves the bytes.
        pub(in crate::net) fn engine(&self) -> &Stream<PipeFd> {
            &self.stream
        }

        /// The registration, and the descriptor in it.
        fn io(&self) -> &AsyncFd<PipeFd> {
            self.stream.io()
        }

        /// From now on other code may clear O_NONBLOCK: the flag is no longer trusted.
        fn lend(&self) {
            self.pipe().share();
        }
    };
}
use both_ends;

/// Sets the capacity, in bytes, if it is a number that fcntl(2) takes; returns the one that the pipe has now.
fn set_capacity(pipe: &PipeFd, bytes: usize) -> io::Result<usize> {
    refuse_in_child(pipe.as_fd())?;
    let bytes = c_int::try_from(bytes).map_err(|_| {
        let text = "the capacity of a pipe is at most 2147483647 bytes";
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })?;
    pipe.set_capacity(bytes)
}

/// Takes a descriptor of other code's, if it is of a pipe and has `access`, which is O_RDONLY or O_WRONLY; puts it into
/// non-blocking mode.
fn take(fd: OwnedFd, access: c_int) -> io::Result<PipeFd> {
    refuse_in_child(fd.as_fd())?;
    let file = File::from(fd);
    if !is_pipe(&file)? {
        return Err(not_a_pipe());
    }
    let has = sys::status_flags(file.as_fd())? & libc::O_ACCMODE;
    if has != access && has != libc::O_RDWR {
        let text = match access {
            libc::O_WRONLY => "the descriptor is not open for writing (O_WRONLY or O_RDWR)",
            _ => "the descriptor is not open for reading (O_RDONLY or O_RDWR)",
        };
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    sys::keep_nonblocking(file.as_fd())?;
    Ok(PipeFd::new(file.into(), true, true))
}

/// Takes a descriptor of other code's as it is.
fn take_unchecked(fd: OwnedFd) -> PipeFd {
    let file = File::from(fd);
    let is_pipe = is_pipe(&file).unwrap_or(false);
    PipeFd::new(file.into(), is_pipe, true)
}

/// True if the file is a pipe, named or not.
fn is_pipe(file: &File) -> io::Result<bool> {
    Ok(file.metadata()?.file_type().is_fifo())
}

/// The error of a file that is no pipe and should be one.
fn not_a_pipe() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a pipe")
}

impl ByteStream for PipeFd {
    type Handle<'a> = &'a PipeFd;

    #[inline]
    fn handle(&self) -> &PipeFd {
        self
    }
}
