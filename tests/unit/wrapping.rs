//! Counters near their greatest value, and what is cut off from them.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::task::Waker;

use super::limit::limit;
use crate::Runtime;
use crate::io::AsyncFd;
use crate::runtime::name::slab::Serials;
use crate::task::yield_now;

/// Where hints (20 bits of the serial) and tokens (32 bits) begin anew.
const WRAPS: [u64; 4] = [1 << 20, 1 << 32, 1 << 33, 1 << 63];

/// Fault B34. Catches: a serial that is compared whole with what was cut off from one, in a waker or
/// in a token, which nobody notices until the serials are that long.
#[test]
fn serials_that_no_name_holds_whole_wake_and_report_as_small_ones() {
    let _limit = limit(30);
    for wrap in WRAPS {
        Serials::skip_to(wrap - 4096);
        // The first blocks from here on are before the wrap and after it.
        for _ in 0..3 {
            use_everything();
        }
    }
}

fn use_everything() {
    let runtime = Runtime::new().unwrap();
    let served = runtime.block_on(async {
        let mut stale: Vec<Waker> = Vec::new();
        let mut served = 0;
        for round in 0..1500 {
            // Three serials a round: a task, a source and a waiter.
            let task = crate::spawn(async {
                let waker = std::future::poll_fn(|cx| std::task::Poll::Ready(cx.waker().clone()));
                let waker = waker.await;
                yield_now().await;
                waker
            });
            stale.push(task.await.unwrap());
            if round % 50 == 0 {
                served += echo().await;
                // Those of tasks that have gone find nobody, or somebody once for nothing.
                stale.drain(..).for_each(Waker::wake);
            }
        }
        served
    });
    assert_eq!(served, 30);
    let metrics = runtime.handle().metrics();
    // Two polls a task, a few for the rest, and none for a stale waker.
    assert!(metrics.polls < 5 * 1500, "{} polls", metrics.polls);
    assert_eq!(metrics.stale_events, 0);
}

/// A byte that is waited for.
async fn echo() -> usize {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let fd = AsyncFd::new(ours).unwrap();
    let read = crate::spawn(async move {
        let read = |mut fd: &UnixStream| fd.read(&mut [0; 8]);
        fd.async_io(crate::io::Interest::READABLE, read)
            .await
            .unwrap()
    });
    yield_now().await;
    theirs.write_all(b"x").unwrap();
    read.await.unwrap()
}
