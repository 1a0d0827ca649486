//! What several test binaries need.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Runs `f` on a thread of its own, and fails if that takes longer: a hang becomes a failure.
#[track_caller]
pub(crate) fn within<R: Send + 'static>(seconds: u64, f: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, finished) = channel();
    let thread = thread::spawn(move || {
        let result = f();
        // If nobody listens any more, the test has failed already.
        let _heard = done.send(());
        result
    });
    // Disconnected: it panicked, which the join tells.
    if finished.recv_timeout(Duration::from_secs(seconds)) == Err(RecvTimeoutError::Timeout) {
        panic!("still not done after {seconds} s");
    }
    thread
        .join()
        .unwrap_or_else(|payload| resume_unwind(payload))
}
