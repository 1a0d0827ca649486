//! The epoll instance: what is watched, and the wait.
//!
//! Interface: [`Epoll`], which registers descriptors under tokens and waits; [`Events`], what a wait brings.
//! Invariants: a token is handed back as it came, and is not interpreted here; a wait that a signal
//! interrupts ends early, and does not fail.
//! Read before: `runtime::sys`. Read next: `reactor`, which makes the tokens and waits.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use libc::c_int;

use super::{check, name_refusal, own};
use crate::runtime::chaos::Chaos;

/// An epoll instance, epoll(7).
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    /// epoll_create1(2), closed by exec.
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: epoll_create1(2) takes a flag and no pointer.
        let made = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        Ok(Epoll(own("epoll_create1", made)?))
    }

    /// Adds `fd` to the interest list; `token` comes back in `epoll_event.data` with each event.
    ///
    /// # Errors
    /// EPERM (a regular file or directory), EEXIST (already there), ENOSPC (max_user_watches),
    /// ENOMEM, EBADF: epoll_ctl(2).
    pub(crate) fn add(&self, fd: RawFd, interest: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, interest, token)
    }

    /// Changes the interest in `fd`. What is ready of the new interest is reported by the next wait, also if
    /// it was reported before: epoll_ctl(2) asks the file, as for an ADD.
    ///
    /// # Errors
    /// ENOENT (not there), EBADF, ENOMEM: epoll_ctl(2).
    pub(crate) fn modify(&self, fd: RawFd, interest: u32, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, interest, token)
    }

    /// epoll_ctl(2) with an event; a DEL needs none.
    fn control(&self, operation: c_int, fd: RawFd, interest: u32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest,
            u64: token,
        };
        // SAFETY: the kernel reads one `epoll_event` from the pointer, and `event` outlives the
        // call; a wrong `fd` or operation is an error and touches no memory.
        check(unsafe { libc::epoll_ctl(self.raw(), operation, fd, &raw mut event) })?;
        Ok(())
    }

    /// Removes `fd` from the interest list. Since Linux 2.6.9 the event pointer may be null.
    pub(crate) fn delete(&self, fd: RawFd) -> io::Result<()> {
        // SAFETY: epoll_ctl(2) "BUGS": DEL ignores the event pointer, so null is never read.
        check(unsafe { libc::epoll_ctl(self.raw(), libc::EPOLL_CTL_DEL, fd, ptr::null_mut()) })?;
        Ok(())
    }

    /// Waits until something is ready, a signal arrives or `timeout` is over (`None`: for ever),
    /// and fills `events`. An interruption (EINTR) is an early end without events: the caller
    /// computes its timeout anew.
    pub(crate) fn wait(&self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        events.0.clear();
        let waited = match timeout {
            None => self.wait_millis(events, -1),
            Some(Duration::ZERO) => self.wait_millis(events, 0),
            Some(timeout) => self.wait_nanos(events, timeout),
        };
        match waited {
            Ok(count) => {
                let count = usize::try_from(count).unwrap_or(0);
                assert!(
                    count <= events.0.capacity(),
                    "epoll_wait(2) reported more than asked for"
                );
                // SAFETY: the kernel wrote the first `count` entries, and `count` is at most the
                // capacity it was given (checked just above).
                unsafe { events.0.set_len(count) };
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Watches `eventfd`, an eventfd, under `token`, and makes each system call once without which a runtime
    /// could not wait: if a sandbox refuses one, that is an error now, and not a panic at the first wait.
    pub(crate) fn watch(&self, eventfd: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        // Edge-triggered: each write is an event, and the counter need not be read.
        let edge = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let named = |call| move |error| name_refusal(call, error);
        self.add(eventfd.as_raw_fd(), edge, token)
            .and_then(|()| self.delete(eventfd.as_raw_fd()))
            .and_then(|()| self.add(eventfd.as_raw_fd(), edge, token))
            .map_err(named("epoll_ctl"))?;
        let one = 1u64.to_ne_bytes();
        // SAFETY: the kernel reads the eight bytes of `one`, which outlives the call.
        let written = unsafe { libc::write(eventfd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        // The result is 8, or -1.
        check(written as c_int).map_err(named("write"))?;
        // This also takes out the event of the write above.
        self.wait(&mut Events::new(), Some(Duration::ZERO))
            .map_err(named("epoll_wait"))
    }

    /// epoll_wait(2): waits at most `millis` milliseconds, for ever if that is -1.
    fn wait_millis(&self, events: &mut Events, millis: c_int) -> io::Result<c_int> {
        let (buffer, room) = events.room();
        // SAFETY: `buffer` points at `room` writable entries that `events` owns and that no other
        // code reads while it is mutably borrowed here.
        check(unsafe { libc::epoll_wait(self.raw(), buffer, room, millis) })
    }

    /// epoll_pwait2(2), Linux 5.11: a timeout in nanoseconds. If it fails, with any errno but EINTR,
    /// epoll_wait(2) is called in its place, with milliseconds, rounded up: rounded down, a wait of 900 µs
    /// would spin until its deadline. If that succeeds, the kernel lacks epoll_pwait2 or a sandbox refuses
    /// it, and it is not called again; if that fails too, it was the wait that failed.
    fn wait_nanos(&self, events: &mut Events, timeout: Duration) -> io::Result<c_int> {
        static REFUSED: AtomicBool = AtomicBool::new(false);
        let refused = REFUSED.load(Ordering::Relaxed);
        if !refused {
            let timeout = libc::timespec {
                tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
                tv_nsec: libc::c_long::from(timeout.subsec_nanos()),
            };
            let (buffer, room) = events.room();
            let timeout = &raw const timeout;
            let no_mask = ptr::null::<libc::sigset_t>();
            let epoll = self.raw();
            // By number, because glibc has a function for it only since 2.35.
            // SAFETY: as in `wait_millis`; the kernel only reads the timespec, which outlives the
            // call; a null signal mask, of whatever size, means "leave the mask alone".
            let waited = unsafe {
                libc::syscall(
                    libc::SYS_epoll_pwait2,
                    epoll,
                    buffer,
                    room,
                    timeout,
                    no_mask,
                    0usize,
                )
            };
            // The result is at most `room`, or -1.
            match check(waited as c_int) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {}
                waited => return waited,
            }
        }
        let millis = timeout.as_nanos().div_ceil(1_000_000);
        let waited = self.wait_millis(events, c_int::try_from(millis).unwrap_or(c_int::MAX));
        if !refused && waited.is_ok() {
            REFUSED.store(true, Ordering::Relaxed);
        }
        waited
    }

    /// The number, for a call that borrows it.
    fn raw(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The events one wait brings, at most [`Events::ROOM`].
pub(crate) struct Events(Vec<libc::epoll_event>);

impl Events {
    /// What one wait can bring at most: 12 bytes each. From 64 up the size makes no difference to
    /// throughput; the kernel keeps what does not fit at the head of its ready list.
    const ROOM: usize = 256;

    /// Room for a batch, allocated once.
    pub(crate) fn new() -> Events {
        Events(Vec::with_capacity(Events::ROOM))
    }

    /// Removes all events.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Puts the events into another order, which the kernel could have chosen as well.
    pub(crate) fn shuffle(&mut self, chaos: &Chaos) {
        chaos.shuffle(&mut self.0);
    }

    /// The events as pairs of event bits and token.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        // By copy: the struct is packed on x86-64, so a reference into it would be misaligned.
        self.0.iter().map(|event| (event.events, event.u64))
    }

    /// True if the kernel may hold more events than fitted.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() == Events::ROOM
    }

    /// Where the kernel may write, and how many entries.
    fn room(&mut self) -> (*mut libc::epoll_event, c_int) {
        const { assert!(Events::ROOM <= i32::MAX as usize) };
        (self.0.as_mut_ptr(), Events::ROOM as c_int)
    }
}
