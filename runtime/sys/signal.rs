//! Signals as the kernel delivers them: a handler that counts them and writes an eventfd, and the action of
//! each signal.
//!
//! Interface: [`catch_signal`] installs the handler, [`signal_action`] reads the action of a signal, and
//! [`set_signal_action`] puts one back; [`signal_count`] says how often a signal came, [`signal_eventfd`] gives
//! a descriptor that has an event when one came; [`unblock_signal`] lets a signal be delivered.
//! Invariants:
//! - The handler does only what signal-safety(7) allows, and leaves errno as it was.
//! - The descriptor that it writes is never closed, because the handler may run at any time.
//!
//! Read next: `runtime::signal`: its listeners compare the counts.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use libc::c_int;

use super::{EventFd, check, is_forked_child};

/// The greatest signal number of Linux, SIGRTMAX on x86-64.
const LAST_SIGNAL: usize = 64;

/// How often each signal arrived. A listener keeps the count it last saw.
static SIGNALS: [AtomicU64; LAST_SIGNAL + 1] = [const { AtomicU64::new(0) }; LAST_SIGNAL + 1];

/// The eventfd the handler writes, or -1 before the first listener; open for good from then on.
static SIGNAL_EVENTFD: AtomicI32 = AtomicI32::new(-1);

/// How often `signal` has arrived since the handler was installed.
pub(crate) fn signal_count(signal: c_int) -> u64 {
    usize::try_from(signal)
        .ok()
        .and_then(|n| SIGNALS.get(n))
        .map_or(0, |n| n.load(Ordering::Acquire))
}

/// A duplicate of the descriptor of the eventfd that the handler writes, for the caller to own.
pub(crate) fn signal_eventfd() -> io::Result<OwnedFd> {
    if SIGNAL_EVENTFD.load(Ordering::Acquire) == -1 {
        let eventfd = EventFd::new()?;
        let fd = eventfd.as_fd().as_raw_fd();
        let order = Ordering::AcqRel;
        if SIGNAL_EVENTFD
            .compare_exchange(-1, fd, order, Ordering::Acquire)
            .is_ok()
        {
            // The handler may write it for as long as the process lives.
            std::mem::forget(eventfd);
        }
    }
    // SAFETY: the descriptor was stored above or before, and what is stored is never closed.
    unsafe { BorrowedFd::borrow_raw(SIGNAL_EVENTFD.load(Ordering::Acquire)) }.try_clone_to_owned()
}

/// The signal handler: counts, writes the eventfd, and leaves errno as it was. It does only what
/// signal-safety(7) allows: atomics and write(2). In a forked child it does nothing, because the
/// eventfd is the parent's, too.
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
    let eventfd = SIGNAL_EVENTFD.load(Ordering::Acquire);
    // SAFETY: the kernel reads the eight bytes of `one`, which outlives the call.
    let _rung = unsafe { libc::write(eventfd, one.as_ptr().cast(), one.len()) };
    // SAFETY: as for the read above.
    unsafe { errno.write(before) };
}

/// The action of a signal: what is done when it is delivered.
#[derive(Clone, Copy)]
pub(crate) struct SignalAction(libc::sigaction);

impl SignalAction {
    /// True if it is the handler of this copy of the library.
    pub(crate) fn is_ours(&self) -> bool {
        self.0.sa_sigaction == handler()
    }

    /// True if it is a handler, of whatever code, and not the default action or "ignore".
    pub(crate) fn is_handler(&self) -> bool {
        !matches!(self.0.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN)
    }
}

/// The address of [`on_signal`], as sigaction(2) has it.
fn handler() -> libc::sighandler_t {
    on_signal as extern "C" fn(c_int) as libc::sighandler_t
}

/// Installs the handler for `signal` and returns the action that it had before.
///
/// # Errors
/// EINVAL for SIGKILL, SIGSTOP and what is no signal: sigaction(2).
pub(crate) fn catch_signal(signal: c_int) -> io::Result<SignalAction> {
    let mut action = no_action();
    action.sa_sigaction = handler();
    // SA_RESTART, so that slow system calls of other code go on; epoll_wait(2) is never restarted.
    action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
    // No signal interrupts the handler. Otherwise all pending signals are delivered at once, each with
    // a frame of 1 to 12 KiB on the alternate stack, for which std allocates 8 KiB: the third or fourth
    // signal would overflow it (sigaction(2), "sa_mask"; sigaltstack(2)).
    // SAFETY: sigfillset(3) writes the set it is given, a field of a local, and cannot fail.
    let _filled = unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    change_signal_action(signal, Some(&action))
}

/// The action of `signal`.
///
/// # Errors
/// As [`catch_signal`].
pub(crate) fn signal_action(signal: c_int) -> io::Result<SignalAction> {
    change_signal_action(signal, None)
}

/// Puts back what [`catch_signal`] returned, and returns the action that `signal` had until then.
pub(crate) fn set_signal_action(signal: c_int, action: SignalAction) -> io::Result<SignalAction> {
    change_signal_action(signal, Some(&action.0))
}

/// sigaction(2): sets an action, if there is one to set, and returns the one before.
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

/// An action with nothing set, to be filled in by the kernel or by us.
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
