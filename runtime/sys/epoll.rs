//! Every system call of the runtime, each behind a safe function that checks its result.
//!
//! Interface: [`Epoll`] and its [`Events`], the [`Bell`] other threads ring, [`is_forked_child`],
//! the thread's timer slack, and the signal hooks.
//! Invariant: nothing here keeps state but what the kernel requires; what leaves is `io::Result`.
//! Over 400 lines because a proof is best read beside its call and what the call relies on.
//! Read next: `place` (who rings), `reactor` (who waits), `signal` (who listens).

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use libc::{c_int, c_ulong, c_void};

use super::super::chaos::Chaos;

/// Turns the -1 of a system call into the error it stands for.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Adds the name of the call to an error by which a sandbox may have refused it: a seccomp filter says
/// what it likes, and "Operation not permitted" alone does not tell what to allow.
pub(crate) fn name_refusal(call: &str, error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EPERM | libc::EACCES | libc::EINVAL | libc::EOPNOTSUPP) => {
            let text =
                format!("{call}(2): {error}; if a sandbox refuses the call, it must allow it");
            io::Error::new(error.kind(), text)
        }
        _ => error,
    }
}

/// An epoll instance, epoll(7).
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> io::Result<Epoll> {
        // SAFETY: epoll_create1(2) takes a flag and no pointer.
        let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
            .map_err(|error| name_refusal("epoll_create1", error))?;
        // SAFETY: the call above succeeded, so `fd` is open and nobody else knows its number.
        Ok(Epoll(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Adds `fd` to the interest list; `token` comes back in `epoll_event.data` with each event.
    ///
    /// # Errors
    /// EPERM (a regular file or directory), EEXIST (already there), ENOSPC (max_user_watches),
    /// ENOMEM, EBADF: epoll_ctl(2).
    pub(crate) fn add(&self, fd: RawFd, interest: u32, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: interest,
            u64: token,
        };
        // SAFETY: the kernel reads one `epoll_event` from the pointer, and `event` outlives the
        // call; a wrong `fd` is an error and touches no memory.
        check(unsafe { libc::epoll_ctl(self.raw(), libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
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

    /// Has `bell`, an eventfd, watched under `token`, and does each thing once without which nothing
    /// could ever wait: what a sandbox refuses is an error now, and no panic at the first sleep.
    pub(crate) fn watch(&self, bell: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        // Edge-triggered: each ring is an event, and nobody has to read the counter.
        let edge = (libc::EPOLLIN | libc::EPOLLET) as u32;
        let named = |call| move |error| name_refusal(call, error);
        self.add(bell.as_raw_fd(), edge, token)
            .and_then(|()| self.delete(bell.as_raw_fd()))
            .and_then(|()| self.add(bell.as_raw_fd(), edge, token))
            .map_err(named("epoll_ctl"))?;
        let one = 1u64.to_ne_bytes();
        // SAFETY: the kernel reads the eight bytes of `one`, which outlives the call.
        let rung = unsafe { libc::write(bell.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        // Eight, or -1.
        check(rung as c_int).map_err(named("write"))?;
        // Which also takes the event away that this ring was.
        self.wait(&mut Events::new(), Some(Duration::ZERO))
            .map_err(named("epoll_wait"))
    }

    fn wait_millis(&self, events: &mut Events, millis: c_int) -> io::Result<c_int> {
        let (buffer, room) = events.room();
        // SAFETY: `buffer` points at `room` writable entries that `events` owns and that no one
        // else reads while it is mutably borrowed here.
        check(unsafe { libc::epoll_wait(self.raw(), buffer, room, millis) })
    }

    /// epoll_pwait2(2), Linux 5.11: a timeout in nanoseconds. Where it does not exist or a sandbox
    /// refuses it, with any errno but EINTR, milliseconds are used from then on, rounded up: rounded
    /// down, a wait of 900 µs would spin until its deadline. It counts as refused only if
    /// epoll_wait(2) succeeds in its place; else it was the wait that failed, and not the call.
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
            // By number, for glibc has a function for it only since 2.35.
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
            // At most `room`, or -1.
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

    pub(crate) fn new() -> Events {
        Events(Vec::with_capacity(Events::ROOM))
    }

    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Puts them into another order, which is as good as the kernel's.
    pub(crate) fn shuffle(&mut self, chaos: &Chaos) {
        chaos.shuffle(&mut self.0);
    }

    /// The events as pairs of event bits and token.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u64)> {
        // By copy: the struct is packed on x86-64, so a reference into it would be misaligned.
        self.0.iter().map(|event| (event.events, event.u64))
    }

    /// True if the kernel may hold more than fitted.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() == Events::ROOM
    }

    fn room(&mut self) -> (*mut libc::epoll_event, c_int) {
        const { assert!(Events::ROOM <= i32::MAX as usize) };
        (self.0.as_mut_ptr(), Events::ROOM as c_int)
    }
}

/// An eventfd(2): rung by other threads, heard by epoll. Registered edge-triggered, each ring is
/// an event, and it need not be read.
#[derive(Debug)]
pub(crate) struct Bell(File);

impl Bell {
    pub(crate) fn new() -> io::Result<Bell> {
        // SAFETY: eventfd(2) takes two integers and no pointer.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })
            .map_err(|error| name_refusal("eventfd2", error))?;
        // SAFETY: the call above succeeded, so `fd` is open and nobody else knows its number.
        Ok(Bell(File::from(unsafe { OwnedFd::from_raw_fd(fd) })))
    }

    /// Rings. Never blocks and never fails: a counter that is full (EAGAIN, at 2^64 - 2) is read
    /// once, which empties it, and rung again; any other error has no cure here.
    pub(crate) fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        let mut file = &self.0;
        if let Err(error) = file.write(&one) {
            if error.kind() == io::ErrorKind::WouldBlock {
                let _emptied = file.read(&mut [0; 8]);
                let _rung = file.write(&one);
            }
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The byte that is 1 in the process that made it and 0 in every child; [`watch_for_fork`] says how.
static FORK_GUARD: AtomicPtr<AtomicU8> = AtomicPtr::new(ptr::from_ref(&CLEARED_BY_FORK).cast_mut());

/// The byte before the first runtime, and for good where no page can be wiped.
static CLEARED_BY_FORK: AtomicU8 = AtomicU8::new(1);

/// True in the child of a process that had a runtime before it forked.
///
/// A child shares the parent's open file descriptions, its epoll among them: what it registers,
/// removes or waits for there, it takes from the parent (fork(2), epoll(7) Q&A). So every entry
/// point that reaches beyond the thread asks here first, before it takes any lock (a lock may
/// have been held by a thread the child does not have). Two loads; getpid(2) would take 120 ns.
#[inline]
pub(crate) fn is_forked_child() -> bool {
    let byte = FORK_GUARD.load(Ordering::Acquire);
    // SAFETY: the pointer is that of a static, or of a page that `watch_for_fork` stored for good,
    // which is aligned, initialised and never unmapped. Either is only ever accessed as this atomic.
    unsafe { &*byte }.load(Ordering::Relaxed) == 0
}

/// Makes [`is_forked_child`] work from here on.
///
/// The byte lies in a page that the kernel wipes in every child, however that was made: Linux 4.14
/// and MADV_WIPEONFORK, madvise(2). Where the kernel has no such thing or a sandbox refuses it, the
/// C library's fork(3) clears a byte in the child instead, and a child made without it (by a raw
/// clone(2), or by `_Fork`) is not known for one.
///
/// # Errors
/// ENOMEM: pthread_atfork(3).
pub(crate) fn watch_for_fork() -> io::Result<()> {
    // Not a `OnceLock`: a child forked while another thread initialises it would hang.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.load(Ordering::Acquire) {
        return Ok(());
    }
    match wiped_page() {
        Some(page) => {
            let unwatched = ptr::from_ref(&CLEARED_BY_FORK).cast_mut();
            let (byte, order) = (page.cast::<AtomicU8>().as_ptr(), Ordering::AcqRel);
            let stored = FORK_GUARD.compare_exchange(unwatched, byte, order, Ordering::Acquire);
            if stored.is_err() {
                // Another thread was faster, and nobody knows of this one.
                unmap(page);
            }
        }
        None => clear_by_fork()?,
    }
    WATCHED.store(true, Ordering::Release);
    Ok(())
}

const PAGE: usize = 4096;

/// A page whose first byte is 1, and 0 in every child; `None` if the kernel refuses.
fn wiped_page() -> Option<NonNull<c_void>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: mmap(2) of fresh anonymous memory at an address of the kernel's choice touches no
    // existing mapping.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    let page = NonNull::new(page)?;
    // SAFETY: the range is the mapping made above, whole.
    let wiped = check(unsafe { libc::madvise(page.as_ptr(), PAGE, libc::MADV_WIPEONFORK) });
    if wiped.is_err() {
        unmap(page);
        return None;
    }
    // SAFETY: the page is ours, mapped readable and writable, zeroed (a valid AtomicU8) and
    // aligned; nobody else has its address yet.
    unsafe { page.cast::<AtomicU8>().as_ref() }.store(1, Ordering::Relaxed);
    Some(page)
}

fn unmap(page: NonNull<c_void>) {
    // SAFETY: the page was mapped by `wiped_page` with this size, and no reference to it is left.
    let _unmapped = unsafe { libc::munmap(page.as_ptr(), PAGE) };
}

/// Has fork(3) clear [`CLEARED_BY_FORK`] in every child: pthread_atfork(3).
fn clear_by_fork() -> io::Result<()> {
    extern "C" fn clear() {
        CLEARED_BY_FORK.store(0, Ordering::Relaxed);
    }
    // SAFETY: the handler lives as long as the program and does nothing but one atomic store, which
    // a child may do in any state. Registered twice, by two threads at once, it does so twice.
    match unsafe { libc::pthread_atfork(None, None, Some(clear)) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// An error in a forked child, for all that would reach the parent's runtime or descriptors.
#[inline]
pub(crate) fn refuse_in_forked_child() -> io::Result<()> {
    if is_forked_child() {
        Err(forked_child_error())
    } else {
        Ok(())
    }
}

#[cold]
fn forked_child_error() -> io::Error {
    io::Error::other(ForkedChild)
}

/// See [`is_forked_child_error`].
#[derive(Debug)]
struct ForkedChild;

impl fmt::Display for ForkedChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this process was forked from one that has a runtime and shares its epoll instance: \
             exec first, or fork before the first runtime is made",
        )
    }
}

impl std::error::Error for ForkedChild {}

/// True if the error says that this is the child of a process that had a runtime before it forked, where
/// sockets and runtimes of the parent are refused.
pub fn is_forked_child_error(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<ForkedChild>())
}

/// Sets the timer slack of this thread, in nanoseconds (0: the thread's default), and returns
/// what it was: prctl(2) PR_SET_TIMERSLACK.
pub(crate) fn set_timer_slack(nanos: c_ulong) -> io::Result<c_ulong> {
    // By number, for the C library's prctl returns an int, in which `u32::MAX` is -1: an error.
    // SAFETY: PR_GET_TIMERSLACK takes no further argument (those it has are zeros) and writes
    // nothing.
    let before = unsafe {
        libc::syscall(
            libc::SYS_prctl,
            libc::PR_GET_TIMERSLACK,
            0u64,
            0u64,
            0u64,
            0u64,
        )
    };
    if before == -1 {
        return Err(io::Error::last_os_error());
    }
    let zero: c_ulong = 0;
    // SAFETY: PR_SET_TIMERSLACK takes one integer (the others are zeros) and writes nothing.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanos, zero, zero, zero) })?;
    Ok(c_ulong::try_from(before).unwrap_or(0))
}

/// The greatest signal number of Linux, SIGRTMAX on x86-64.
const LAST_SIGNAL: usize = 64;

/// How often each signal arrived. A listener keeps the count it last saw.
static SIGNALS: [AtomicU64; LAST_SIGNAL + 1] = [const { AtomicU64::new(0) }; LAST_SIGNAL + 1];

/// The eventfd the handler writes, or -1 before the first listener; open for good from then on.
static SIGNAL_BELL: AtomicI32 = AtomicI32::new(-1);

/// How often `signal` has arrived since the handler was installed.
pub(crate) fn signal_count(signal: c_int) -> u64 {
    usize::try_from(signal)
        .ok()
        .and_then(|n| SIGNALS.get(n))
        .map_or(0, |n| n.load(Ordering::Acquire))
}

/// A descriptor of its own for the eventfd that every signal rings.
pub(crate) fn signal_bell() -> io::Result<OwnedFd> {
    if SIGNAL_BELL.load(Ordering::Acquire) == -1 {
        let bell = Bell::new()?;
        let fd = bell.0.as_raw_fd();
        let order = Ordering::AcqRel;
        if SIGNAL_BELL
            .compare_exchange(-1, fd, order, Ordering::Acquire)
            .is_ok()
        {
            // The handler may write it for as long as the process lives.
            std::mem::forget(bell);
        }
    }
    // SAFETY: the descriptor was stored above or before, and what is stored is never closed.
    unsafe { BorrowedFd::borrow_raw(SIGNAL_BELL.load(Ordering::Acquire)) }.try_clone_to_owned()
}

/// The signal handler: count, ring, and leave errno as it was. Only what signal-safety(7) allows:
/// atomics and write(2). In a forked child it does nothing, for the bell is the parent's too.
extern "C" fn on_signal(signal: c_int) {
    if is_forked_child() {
        return;
    }
    // SAFETY: returns the address of this thread's errno, valid for as long as the thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: `errno` is this thread's own integer, valid and aligned, see above.
    let before = unsafe { errno.read() };
    if let Some(count) = usize::try_from(signal).ok().and_then(|n| SIGNALS.get(n)) {
        count.fetch_add(1, Ordering::Release);
    }
    let one = 1u64.to_ne_bytes();
    let bell = SIGNAL_BELL.load(Ordering::Acquire);
    // SAFETY: the kernel reads the eight bytes of `one`, which outlives the call.
    let _rung = unsafe { libc::write(bell, one.as_ptr().cast(), one.len()) };
    // SAFETY: as for the read above.
    unsafe { errno.write(before) };
}

/// What is done on a signal.
#[derive(Clone, Copy)]
pub(crate) struct SignalAction(libc::sigaction);

impl SignalAction {
    /// True if it is the handler of this copy of the library.
    pub(crate) fn is_ours(&self) -> bool {
        self.0.sa_sigaction == handler()
    }

    /// True if it is a handler of somebody's, and not the default action or none.
    pub(crate) fn is_handler(&self) -> bool {
        !matches!(self.0.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
    }
}

fn handler() -> libc::sighandler_t {
    on_signal as extern "C" fn(c_int) as libc::sighandler_t
}

/// Installs the handler for `signal` and returns what was done on it before.
///
/// # Errors
/// EINVAL for SIGKILL, SIGSTOP and what is no signal: sigaction(2).
pub(crate) fn catch_signal(signal: c_int) -> io::Result<SignalAction> {
    let mut action = no_action();
    action.sa_sigaction = handler();
    // SA_RESTART, so that foreign code's slow system calls go on; epoll_wait(2) is never restarted.
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // No signal interrupts the handler. Otherwise all that are pending are delivered at once, each
    // with a frame of 1 to 12 KiB on the alternate stack, of which std makes 8 KiB: the third or
    // fourth kind would overflow it (sigaction(2), "sa_mask"; sigaltstack(2)).
    // SAFETY: sigfillset(3) writes the set it is given, a field of a local, and cannot fail.
    let _filled = unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    change_signal_action(signal, Some(&action))
}

/// What is done on `signal`.
///
/// # Errors
/// As [`catch_signal`].
pub(crate) fn signal_action(signal: c_int) -> io::Result<SignalAction> {
    change_signal_action(signal, None)
}

/// Puts back what [`catch_signal`] returned, and returns what was done until then.
pub(crate) fn set_signal_action(signal: c_int, action: SignalAction) -> io::Result<SignalAction> {
    change_signal_action(signal, Some(&action.0))
}

fn change_signal_action(
    signal: c_int,
    action: Option<&libc::sigaction>,
) -> io::Result<SignalAction> {
    let mut before = no_action();
    let action = action.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the kernel reads `action`, unless it is null, and writes `before`, both of which
    // outlive the call; the handler is `on_signal`, which is async-signal-safe, or what the process
    // had before.
    check(unsafe { libc::sigaction(signal, action, &raw mut before) })?;
    Ok(SignalAction(before))
}

fn no_action() -> libc::sigaction {
    // SAFETY: all zeroes is a valid `sigaction`: no flags, SIG_DFL, an empty mask.
    unsafe { std::mem::zeroed::<libc::sigaction>() }
}

/// Lets `signal` be delivered to this thread, whatever its mask was: pthread_sigmask(3).
pub(crate) fn unblock_signal(signal: c_int) -> io::Result<()> {
    // SAFETY: all zeroes is a valid `sigset_t`, and it is emptied below.
    let mut set = unsafe { std::mem::zeroed::<libc::sigset_t>() };
    // SAFETY: sigemptyset(3) writes the set it is given, a local.
    check(unsafe { libc::sigemptyset(&raw mut set) })?;
    // SAFETY: sigaddset(3) writes the set it is given, a local; a wrong number is an error.
    check(unsafe { libc::sigaddset(&raw mut set, signal) })?;
    let (unblock, none) = (libc::SIG_UNBLOCK, ptr::null_mut());
    // SAFETY: the set is read and outlives the call; the former mask is not asked for.
    match unsafe { libc::pthread_sigmask(unblock, &raw const set, none) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}
