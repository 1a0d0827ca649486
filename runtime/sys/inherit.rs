//! What a new thread inherits: the signal mask and the timer slack.
//!
//! Interface: [`Inherited::of_this_thread`] reads them, [`Inherited::give_to_this_thread`] sets them.
//! Invariant: what the kernel refuses to tell is left as it is.
//! Read before: `slack`. Read next: `pool`.

use std::mem::MaybeUninit;
use std::ptr;

use libc::c_ulong;

use super::slack::{set_timer_slack, timer_slack};

/// The mask and the slack of one thread, at one moment.
#[derive(Clone, Copy)]
pub(crate) struct Inherited {
    /// The signals that are blocked.
    mask: Option<libc::sigset_t>,
    /// In nanoseconds.
    slack: Option<c_ulong>,
}

impl Inherited {
    /// What a thread that this one makes now would have.
    pub(crate) fn of_this_thread() -> Inherited {
        Inherited {
            mask: signal_mask(),
            slack: timer_slack().ok(),
        }
    }

    /// Sets it for this thread. To the kernel the slack with which a thread is made is its default; what is set here is
    /// passed on to the threads and processes that this one makes.
    pub(crate) fn give_to_this_thread(self) {
        if let Some(mask) = self.mask {
            // SAFETY: the mask is read and outlives the call; the former one is not asked for. The numbers and the
            // mask are valid, so it cannot fail.
            unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask, ptr::null_mut()) };
        }
        if let Some(slack) = self.slack {
            let _before = set_timer_slack(slack);
        }
    }
}

/// The mask of this thread.
fn signal_mask() -> Option<libc::sigset_t> {
    let mut mask = MaybeUninit::uninit();
    // SAFETY: the kernel is given no mask to set, and the C library writes the present one to the pointer, which is
    // that of a local.
    let read = unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), mask.as_mut_ptr()) };
    // SAFETY: on success the whole mask was written (pthread_sigmask(3)).
    (read == 0).then(|| unsafe { mask.assume_init() })
}
