//! A watchdog: what hangs is a failure.

use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use crate::limit::patience;

/// Runs `f` on a thread of its own for at most so many seconds: ten times as many where AddressSanitizer or valgrind
/// runs the test.
#[track_caller]
pub(crate) fn within<R: Send + 'static>(seconds: u64, f: impl FnOnce() -> R + Send + 'static) -> R {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn(move || {
        // Nobody listens any more if this comes too late.
        let _late = sender.send(f());
    });
    match receiver.recv_timeout(patience(seconds)) {
        Ok(result) => result,
        Err(RecvTimeoutError::Timeout) => panic!("still running after {seconds} s"),
        Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(()) => unreachable!("it ends by sending or by panicking"),
            Err(payload) => resume_unwind(payload),
        },
    }
}
