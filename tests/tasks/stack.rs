//! Small stacks: big futures are not moved about, and what is dropped does not recurse.

use std::future::pending;
use std::thread;

use reveille::block_on;
use reveille::runtime::Runtime;
use reveille::task::{JoinHandle, yield_now};

use crate::limit::limit;
use crate::{Drops, turn};

/// Fault B31. Catches: dropping or aborting that recurses from task to task.
#[test]
fn a_long_chain_of_abort_on_drop_handles_needs_no_stack() {
    let _limit = limit(120);
    let drops = Drops::default();
    let count = drops.clone();
    on_small_stack(256, move || {
        for aborted in [true, false] {
            let runtime = Runtime::new().unwrap();
            let mut next: Option<JoinHandle<()>> = None;
            for _ in 0..100_000 {
                let owned = next.map(JoinHandle::abort_on_drop);
                let guard = count.guard();
                next = Some(runtime.spawn(async move {
                    let _owned = (owned, guard);
                    pending::<()>().await;
                }));
            }
            if aborted {
                turn(&runtime);
                next.as_ref().unwrap().abort();
                // Each turn drops the task that the drop of the last one aborted: let it run.
                runtime.block_on(async {
                    while !next.as_ref().unwrap().is_finished() {
                        yield_now().await
                    }
                });
                while runtime.next_deadline().is_some() {
                    turn(&runtime);
                }
                assert_eq!(count.count(), 100_000);
            }
        }
    });
    assert_eq!(drops.count(), 200_000);
}

fn on_small_stack(kib: usize, f: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(kib * 1024);
    thread.spawn(f).unwrap().join().unwrap();
}

/// Fault B32. Catches: a big future that is moved by value through the functions of `spawn`.
#[test]
fn a_big_future_can_be_spawned_on_a_small_stack() {
    let _limit = limit(30);
    // Without optimization each function that passes it on takes a copy: two, the caller's
    // included.
    on_small_stack(256, || {
        let runtime = Runtime::new().unwrap();
        drop(runtime.spawn(big_future()));
        turn(&runtime);
        turn(&runtime);
    });
}

/// Fault B32. Catches: a big main future that is moved by value through `block_on`.
#[test]
fn a_big_future_can_be_blocked_on_on_a_small_stack() {
    let _limit = limit(30);
    // Two copies.
    on_small_stack(256, || assert_eq!(block_on(big_future()), 100));
}

/// 100 KiB of it.
async fn big_future() -> u8 {
    let bytes = [1u8; 100 * 1024];
    yield_now().await;
    bytes.iter().take(100).sum()
}
