//! The clock that tests can stop.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use reveille::Runtime;
use reveille::io::{AsyncFd, Interest};
use reveille::runtime::Builder;
use reveille::time::{advance, now, pause, resume, sleep, timeout};

use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::within::within;
use crate::{MILLISECOND, SECOND, paused};

const HOUR: Duration = Duration::from_secs(3600);

/// Catches: a paused clock that runs.
#[test]
fn a_paused_clock_stands_still_until_it_is_advanced() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        pause();
        let start = now();
        let real = Instant::now();
        while real.elapsed() < MILLISECOND {}
        assert_eq!(now(), start);
        let long = reveille::spawn(sleep(HOUR));
        for _ in 0..100 {
            reveille::task::yield_now().await;
        }
        assert!(!long.is_finished());
        advance(HOUR - SECOND).await;
        assert!(!long.is_finished());
        advance(SECOND).await;
        // Those whose timers fired have run once before `advance` is over.
        assert!(long.is_finished());
        assert_eq!(now(), start + HOUR);
    });
}

/// Catches: a clock that goes back, or forgets what it was advanced by, when it runs again.
#[test]
fn a_clock_that_runs_again_goes_on_from_what_it_shows() {
    within(20, || {
        let runtime = paused();
        runtime.block_on(async {
            let start = now();
            advance(HOUR).await;
            resume();
            let resumed = now();
            assert!(resumed >= start + HOUR);
            assert!(resumed < start + 2 * HOUR);
            sleep(MILLISECOND).await;
            assert!(now() >= resumed + MILLISECOND);
            pause();
            let stopped = now();
            assert!(stopped >= resumed + MILLISECOND);
            assert_eq!(now(), stopped);
        });
    });
}

/// Catches: misuse that passes in silence.
#[test]
fn pausing_twice_or_resuming_what_runs_or_either_outside_a_runtime_panics() {
    let _limit = limit(30);
    fn panics(f: impl FnOnce()) -> String {
        let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
        match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => (*payload.downcast::<&str>().unwrap()).to_owned(),
        }
    }
    let (running, still) = (Runtime::new().unwrap(), paused());
    assert!(panics(|| inside(&still, pause)).contains("paused already"));
    assert!(panics(|| inside(&running, resume)).contains("not paused"));
    assert!(panics(|| running.block_on(advance(SECOND))).contains("not paused"));
    assert!(panics(pause).contains("outside a runtime"));
    assert!(panics(resume).contains("outside a runtime"));
}

/// Catches: auto-advance that waits in earnest, or jumps over a deadline.
#[test]
fn a_clock_that_advances_by_itself_jumps_from_deadline_to_deadline() {
    within(60, || {
        let mut options = Builder::new();
        let runtime = options
            .start_paused(true)
            .auto_advance(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let start = now();
            let early = reveille::spawn(async {
                sleep(HOUR).await;
                now()
            });
            sleep(24 * HOUR).await;
            assert_eq!(now() - start, 24 * HOUR);
            assert_eq!(early.await.unwrap() - start, HOUR);
        });
    });
}

/// Fault D12. Catches: a clock that jumps while the kernel, or another thread, still works for a
/// task.
#[test]
fn a_paused_clock_does_not_jump_while_a_source_has_a_waiter() {
    within(60, || {
        let mut options = Builder::new();
        let runtime = options
            .start_paused(true)
            .auto_advance(true)
            .build()
            .unwrap();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = AsyncFd::with_interest(ours, Interest::READABLE).unwrap();
        let far = runtime.handle();
        let peer = thread::spawn(move || {
            for nth in 0..20 {
                // Only when the runtime has gone to sleep: then it could have jumped instead.
                while far.metrics().parks < 2 * nth + 1 {
                    thread::yield_now();
                }
                theirs.write_all(b"x").unwrap();
            }
            theirs
        });
        runtime.block_on(async {
            let start = now();
            for _ in 0..20 {
                let read = ours.async_io(Interest::READABLE, |mut stream| stream.read(&mut [0]));
                assert_eq!(timeout(HOUR, read).await.unwrap().unwrap(), 1);
                sleep(SECOND).await;
            }
            assert_eq!(now() - start, 20 * SECOND);
        });
        peer.join().unwrap();
    });
}

/// Fault D18. Pins what the page of `auto_advance` says: a future that is given up takes its waker back,
/// and a polled waiter does not, until the next event of its source.
#[test]
fn a_waiter_that_was_polled_and_given_up_keeps_the_clock_until_the_next_event() {
    let _limit = limit(30);
    let mut options = Builder::new();
    let runtime = options
        .start_paused(true)
        .auto_advance(true)
        .build()
        .unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = AsyncFd::with_interest(ours, Interest::READABLE).unwrap();
    let (_, waker) = Wakes::new();
    inside(&runtime, || {
        assert!(poll(&mut Box::pin(ours.readable()), &waker).is_pending());
    });
    let start = inside(&runtime, now);
    runtime.block_on(async { sleep(HOUR).await });
    assert_eq!(inside(&runtime, now), start + HOUR);
    inside(&runtime, || {
        let cx = &mut std::task::Context::from_waker(&waker);
        assert!(ours.poll_read_ready(cx).is_pending());
    });
    let slept = inside(&runtime, || reveille::spawn(sleep(HOUR)));
    for _ in 0..10 {
        runtime.turn().unwrap();
    }
    assert!(!inside(&runtime, || slept.is_finished()));
    theirs.write_all(b"x").unwrap();
    for _ in 0..3 {
        runtime.turn().unwrap();
    }
    assert!(inside(&runtime, || slept.is_finished()));
}
