//! The timer slack: how late the kernel may end a wait of this thread, so that it can end several at once.
//!
//! Interface: [`set_timer_slack`], [`timer_slack`].
//! Invariant: the slack is the thread's, and no runtime's; a caller that sets it puts back what it was.
//! Read next: `context`, which sets it and puts it back.

use std::io;

use libc::c_ulong;

use super::check;

/// The timer slack of this thread, in nanoseconds: prctl(2) PR_GET_TIMERSLACK.
pub(super) fn timer_slack() -> io::Result<c_ulong> {
    // By number, because the C library's prctl returns an int, in which `u32::MAX` is -1: an error.
    // SAFETY: PR_GET_TIMERSLACK takes no further argument (those it has are zeros) and writes
    // nothing.
    let slack = unsafe {
        libc::syscall(
            libc::SYS_prctl,
            libc::PR_GET_TIMERSLACK,
            0u64,
            0u64,
            0u64,
            0u64,
        )
    };
    match c_ulong::try_from(slack) {
        Ok(slack) => Ok(slack),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Sets the timer slack of this thread, in nanoseconds (0: the thread's default), and returns
/// what it was: prctl(2) PR_SET_TIMERSLACK.
pub(crate) fn set_timer_slack(nanos: c_ulong) -> io::Result<c_ulong> {
    let before = timer_slack()?;
    let zero: c_ulong = 0;
    // SAFETY: PR_SET_TIMERSLACK takes one integer (the others are zeros) and writes nothing.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanos, zero, zero, zero) })?;
    Ok(before)
}
