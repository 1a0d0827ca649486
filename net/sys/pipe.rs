//! Pipes, anonymous and named: how one is made, its bytes, its capacity.
//!
//! Idea: a pipe has no MSG_DONTWAIT and no MSG_NOSIGNAL. preadv2(2) and pwritev2(2) have flags that do the same,
//! RWF_NOWAIT and RWF_NOSIGNAL, but not for every pipe, and not in every kernel. So an end of a pipe begins with all
//! flags, and where the kernel refuses them it goes on with fewer, then with readv(2) and writev(2), at last with read(2)
//! and write(2). What it has learned, it keeps in [`PipeFd`].
//!
//! | | anonymous | named |
//! |---|---|---|
//! | RWF_NOWAIT | from Linux 6.4 on | never |
//! | RWF_NOSIGNAL | from Linux 6.18 on | from Linux 6.18 on |
//!
//! Interface: [`pipe`]; [`PipeFd::new`], then [`read_vectored`](PipeFd::read_vectored) and
//! [`write_vectored`](PipeFd::write_vectored); for reads elsewhere, [`way_to_read`](PipeFd::way_to_read) and
//! [`judge_read`](PipeFd::judge_read).
//!
//! Invariants:
//! - Under RWF_NOWAIT no transfer blocks, whatever other code does with O_NONBLOCK. Without it O_NONBLOCK decides; if
//!   other code may have cleared it, it is set again before each transfer.
//! - A read of 0 bytes into room is the end: poll(2) has said so, too.
//!
//! Read before: `net::sys::stream`. Read next: `medium`, `net::pipe`; pipe(7), fifo(7), preadv2(2).

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use libc::{c_int, c_void};

use super::socket::poll_now;
use super::stream::window;
use super::{checked, is_refusal, keep_nonblocking, retry};
use crate::io::explained;

/// pwritev2(2): EPIPE without the signal. The crate libc does not have it yet: include/uapi/linux/fs.h.
const RWF_NOSIGNAL: c_int = 0x100;

/// How bytes are read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By preadv2(2) or pwritev2(2), with these flags.
    Flags(c_int),
    /// By readv(2) or writev(2).
    Vectored,
    /// By read(2) or write(2), from or into the first buffer only.
    Plain,
}

impl Way {
    /// The ways to read, the best first.
    const TO_READ: [Way; 4] = [
        Way::Flags(libc::RWF_NOWAIT),
        Way::Flags(0),
        Way::Vectored,
        Way::Plain,
    ];

    /// The ways to write, the best first.
    const TO_WRITE: [Way; 6] = [
        Way::Flags(libc::RWF_NOWAIT | RWF_NOSIGNAL),
        Way::Flags(libc::RWF_NOWAIT),
        Way::Flags(RWF_NOSIGNAL),
        Way::Flags(0),
        Way::Vectored,
        Way::Plain,
    ];

    /// True if O_NONBLOCK does not matter.
    fn never_waits(self) -> bool {
        matches!(self, Way::Flags(flags) if flags & libc::RWF_NOWAIT != 0)
    }
}

/// What becomes of the outcome of a transfer.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is that of the operation.
    Stands,
    /// Something was learned: the next try differs.
    TryAgain,
    /// Nothing is there yet, although a read of 0 bytes seemed to be the end.
    WouldBlock,
}

/// One end of a pipe, and what was learned of it.
#[derive(Debug)]
pub struct PipeFd {
    /// In non-blocking mode, unless a sharer has cleared O_NONBLOCK.
    fd: OwnedFd,
    /// False for what a caller says can be used as a pipe: of a terminal poll(2) does not know the end.
    is_pipe: bool,
    /// Set once other code may hold the descriptor.
    shared: AtomicBool,
    /// How many of the ways were refused. An end of a pipe is used in one direction.
    refused: AtomicUsize,
    /// How often EAGAIN was [doubted](PipeFd::holds_bytes) since one was last believed.
    doubts: AtomicUsize,
}

/// How often EAGAIN is doubted of what is no pipe before one is believed. Its other reader may wait for long, as one of
/// a terminal does that has a minimum of bytes and a time (termios(3), VMIN and VTIME): then the thread must go on. In
/// a test with a reader that blocks, of 600 reads 296 were stranded without this, and 1 with it.
const MOST_DOUBTS: usize = 100;

/// Makes a pipe: the end to read from, and the one to write to.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    retry("pipe2", || {
        // pipe2(2): CLOEXEC and NONBLOCK in the call that makes the fds: no race with a fork in another thread.
        let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
        // SAFETY: the pointer is good for writes of two ints, because it points to `ends`, which has two.
        unsafe { libc::pipe2(ends.as_mut_ptr(), flags) }
    })?;
    let own = |fd| {
        // SAFETY: `fd` is open and nothing else owns it, because pipe2(2) has just made it, once for each of `ends`, and
        // `retry` turned a -1 into the error returned above.
        unsafe { OwnedFd::from_raw_fd(fd) }
    };
    Ok((own(ends[0]), own(ends[1])))
}

/// The flags of the open file description: how it may be used, and O_NONBLOCK among others. fcntl(2), F_GETFL.
pub(crate) fn status_flags(fd: BorrowedFd<'_>) -> io::Result<c_int> {
    retry("fcntl", || {
        // SAFETY: F_GETFL takes no argument and touches no memory of ours.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }
    })
}

/// Lets reads and writes wait in the kernel again.
pub(crate) fn set_blocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = status_flags(fd)? & !libc::O_NONBLOCK;
    retry("fcntl", || {
        // SAFETY: F_SETFL takes an integer and touches no memory of ours.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }
    })?;
    Ok(())
}

impl PipeFd {
    /// Takes a descriptor that is in non-blocking mode: of a pipe or not, which other code may hold or not.
    pub(crate) fn new(fd: OwnedFd, is_pipe: bool, shared: bool) -> PipeFd {
        PipeFd {
            fd,
            is_pipe,
            shared: AtomicBool::new(shared),
            refused: AtomicUsize::new(0),
            doubts: AtomicUsize::new(0),
        }
    }

    /// From now on other code may hold the descriptor.
    pub(crate) fn share(&self) {
        self.shared.store(true, Ordering::Relaxed);
    }

    /// True if other code may hold the descriptor.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    /// Gives back the descriptor, in the mode that it is in.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Reads into several buffers in turn, into no more of them than [`offered`](super::offered) counts; 0 means the end
    /// (or that there is no room).
    pub(super) fn read_vectored(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let fd = self.fd.as_raw_fd();
        let window = window(bufs);
        let bufs = &mut bufs[window];
        loop {
            let way = self.way_to_read();
            let read = match way {
                Way::Flags(flags) => retry("preadv2", || {
                    let (start, count) = (bufs.as_mut_ptr().cast::<libc::iovec>(), count(bufs));
                    // SAFETY: `start` is good for `count` iovecs, because std guarantees that `IoSliceMut` has the ABI
                    // of iovec, and each is good for writes of its length, because `bufs` is borrowed mutably for the
                    // whole call; preadv2(2) writes nothing else and keeps no pointer.
                    unsafe { libc::preadv2(fd, start, count, -1, flags) }
                }),
                Way::Vectored => retry("readv", || {
                    let (start, count) = (bufs.as_mut_ptr().cast::<libc::iovec>(), count(bufs));
                    // SAFETY: as for preadv2(2) above, because readv(2) takes the same buffers, writes nothing else and
                    // keeps no pointer.
                    unsafe { libc::readv(fd, start, count) }
                }),
                Way::Plain => retry("read", || {
                    let (start, len) = first_mut(bufs);
                    // SAFETY: `start` is good for writes of `len` bytes, because both are those of a buffer which is
                    // borrowed mutably for the whole call; read(2) writes at most `len` bytes and keeps no pointer.
                    unsafe { libc::read(fd, start, len) }
                }),
            }
            .map(isize::unsigned_abs);
            match self.judge_read(way, &read) {
                Verdict::Stands => return read,
                Verdict::TryAgain => {}
                Verdict::WouldBlock => return Err(io::ErrorKind::WouldBlock.into()),
            }
        }
    }

    /// Writes from several buffers in turn, and says how many bytes the kernel took.
    pub(super) fn write_vectored(&self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let fd = self.fd.as_raw_fd();
        let bufs = &bufs[window(bufs)];
        loop {
            let way = self.way(&Way::TO_WRITE);
            let written = match way {
                Way::Flags(flags) => retry("pwritev2", || {
                    let (start, count) = (bufs.as_ptr().cast::<libc::iovec>(), count(bufs));
                    // SAFETY: `start` is good for `count` iovecs, because std guarantees that `IoSlice` has the ABI of
                    // iovec, and each is good for reads of its length, because `bufs` is borrowed for the whole call;
                    // pwritev2(2) writes to no memory of ours and keeps no pointer.
                    unsafe { libc::pwritev2(fd, start, count, -1, flags) }
                }),
                Way::Vectored => retry("writev", || {
                    let (start, count) = (bufs.as_ptr().cast::<libc::iovec>(), count(bufs));
                    // SAFETY: as for pwritev2(2) above, because writev(2) takes the same buffers, writes to no memory of
                    // ours and keeps no pointer.
                    unsafe { libc::writev(fd, start, count) }
                }),
                Way::Plain => retry("write", || {
                    let (start, len) = first(bufs);
                    // SAFETY: `start` is good for reads of `len` bytes, because both are those of a buffer which is
                    // borrowed for the whole call; write(2) only reads and keeps no pointer.
                    unsafe { libc::write(fd, start, len) }
                }),
            }
            .map(isize::unsigned_abs);
            if !self.refuses(&Way::TO_WRITE, way, &written) {
                return written;
            }
        }
    }

    /// How to read now.
    pub(super) fn way_to_read(&self) -> Way {
        self.way(&Way::TO_READ)
    }

    /// Says what becomes of what a read returned.
    pub(super) fn judge_read(&self, way: Way, read: &io::Result<usize>) -> Verdict {
        match read {
            Ok(0) if self.is_pipe => self.judge_end(),
            read if self.refuses(&Way::TO_READ, way, read) => Verdict::TryAgain,
            _ => Verdict::Stands,
        }
    }

    /// After a read of 0 bytes.
    ///
    /// A named pipe gives 0 bytes, too, until it is first opened for writing: that is no end, for nothing has begun.
    /// preadv2(2), BUGS: on Linux 5.9 and 5.10 RWF_NOWAIT may give 0 before the end.
    fn judge_end(&self) -> Verdict {
        match poll_now(self.as_fd(), libc::POLLIN) {
            Ok(0) => Verdict::WouldBlock,
            // It has come since the read.
            Ok(events) if events & libc::POLLIN != 0 => Verdict::TryAgain,
            // POLLHUP; or a sandbox refuses poll(2), and the 0 is believed.
            _ => Verdict::Stands,
        }
    }

    /// Says whether there are bytes to read although a read has just said EAGAIN.
    ///
    /// That of a pipe is true. A terminal says it, too, while another reader holds its lock (n_tty_read in
    /// drivers/tty/n_tty.c); what that one leaves, no event announces (R10). So poll(2) is asked, and the other reader is
    /// given the time to go on, but only so many times.
    pub(super) fn holds_bytes(&self) -> bool {
        if self.is_pipe {
            return false;
        }
        let doubts = self.doubts.fetch_add(1, Ordering::Relaxed);
        if doubts < MOST_DOUBTS && super::holds_bytes(self.as_fd()) {
            thread::yield_now();
            return true;
        }
        self.doubts.store(0, Ordering::Relaxed);
        false
    }

    /// The best way that was not refused.
    fn way(&self, ways: &[Way]) -> Way {
        let refused = self.refused.load(Ordering::Relaxed);
        let way = ways.get(refused).copied().unwrap_or(Way::Plain);
        if !way.never_waits() && self.is_shared() {
            // Where a sandbox refuses this, the transfer blocks if a sharer cleared the flag.
            let _kept = keep_nonblocking(self.as_fd());
        }
        way
    }

    /// True if the outcome says that this way cannot be gone, and there is another one.
    fn refuses(&self, ways: &[Way], way: Way, outcome: &io::Result<usize>) -> bool {
        let refused = matches!(outcome, Err(error) if is_refusal(error)) && way != Way::Plain;
        if refused {
            let next = ways.iter().position(|&other| other == way);
            let next = next.map_or(ways.len(), |at| at + 1);
            // The greatest, because another thread may have come farther.
            self.refused.fetch_max(next, Ordering::Relaxed);
        }
        refused
    }

    /// How many bytes the pipe holds at most.
    pub(crate) fn capacity(&self) -> io::Result<usize> {
        let bytes = retry("fcntl", || {
            // SAFETY: F_GETPIPE_SZ takes no argument and touches no memory of ours.
            unsafe { libc::fcntl(self.fd.as_raw_fd(), libc::F_GETPIPE_SZ) }
        })?;
        Ok(bytes.unsigned_abs() as usize)
    }

    /// Sets how many bytes the pipe holds at least, and returns how many it does.
    pub(crate) fn set_capacity(&self, bytes: c_int) -> io::Result<usize> {
        // SAFETY: F_SETPIPE_SZ takes an integer and touches no memory of ours.
        let set = unsafe { libc::fcntl(self.fd.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) };
        match checked("fcntl", set, |errno| errno == libc::EPERM) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                let text = format!(
                    "fcntl(2): {error}; more than /proc/sys/fs/pipe-max-size needs a privilege, and so do, for all \
                     pipes of the user together, more pages than /proc/sys/fs/pipe-user-pages-soft or \
                     pipe-user-pages-hard; or a sandbox refuses the call"
                );
                Err(explained(error, text))
            }
            set => set.map(|bytes| bytes.unsigned_abs() as usize),
        }
    }
}

impl AsFd for PipeFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The number of buffers, which is 1024 at most.
fn count<T>(bufs: &[T]) -> c_int {
    c_int::try_from(bufs.len()).unwrap_or(c_int::MAX)
}

/// Start and length of the first buffer.
fn first(bufs: &[IoSlice<'_>]) -> (*const c_void, usize) {
    let buf: &[u8] = bufs.first().map_or(&[], |buf| buf);
    (buf.as_ptr().cast(), buf.len())
}

/// Start and length of the first buffer.
fn first_mut(bufs: &mut [IoSliceMut<'_>]) -> (*mut c_void, usize) {
    let buf: &mut [u8] = bufs.first_mut().map_or(&mut [], |buf| buf);
    (buf.as_mut_ptr().cast(), buf.len())
}
