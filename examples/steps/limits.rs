//! What step 5 is put to: a thousand limits of an hour, around what is done at its second poll.

use std::future::poll_fn;
use std::mem;
use std::task::Poll;
use std::time::Duration;

use super::{TIMERS, run, spawn, timeout};

/// Says how many timers are left when the tasks are done.
pub(super) fn limits() {
    const HOUR: Duration = Duration::from_secs(3600);
    for _ in 0..1000 {
        let mut polled = false;
        spawn(async move {
            let yields = poll_fn(|cx| {
                if mem::replace(&mut polled, true) {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            });
            assert_eq!(timeout(HOUR, yields).await, Some(()));
        });
    }
    run(Duration::from_secs(10));
    let left = TIMERS.with_borrow(|timers| timers.len());
    println!("timers left: {left} of 1000");
}
