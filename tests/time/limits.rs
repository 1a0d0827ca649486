//! The greatest, the least, and the timeouts of the kernel.

use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use reveille::Runtime;
use reveille::time::{
    Interval, MissedTickBehavior, interval, interval_at, now, sleep, sleep_until, timeout,
    timeout_at,
};

use crate::child::in_child;
use crate::limit::limit;
use crate::seccomp::refuse;
use crate::step::{Wakes, inside, poll};
use crate::within::within;
use crate::{SECOND, advance, paused, timers};

const DAY: Duration = Duration::from_secs(86_400);

/// Durations that have overflowed somewhere: nanoseconds, milliseconds in 32 bits, epoll's
/// timeout, the clock itself.
fn huge() -> [Duration; 8] {
    [
        Duration::MAX,
        Duration::MAX - Duration::from_nanos(1),
        Duration::MAX / 2,
        Duration::from_millis(u64::MAX),
        Duration::from_secs(i64::MAX as u64),
        25 * DAY,
        50 * DAY,
        400 * 365 * DAY,
    ]
}

/// The same as points in time, where there are such.
fn far_deadlines() -> impl Iterator<Item = Instant> {
    let start = Instant::now();
    huge()
        .into_iter()
        .filter_map(move |by| start.checked_add(by))
}

/// Fault D1. Catches: an addition or a conversion that overflows: a panic, or a sleep that is over.
#[test]
fn huge_durations_are_pending_in_every_function_and_can_be_cancelled() {
    within(60, || {
        let runtime = Runtime::new().unwrap();
        let (_, waker) = Wakes::new();
        runtime.block_on(async {
            for duration in huge() {
                let mut sleeping = sleep(duration);
                assert!(poll(&mut sleeping, &waker).is_pending());
                let mut limited = timeout(duration, pending::<()>());
                assert!(poll(&mut pin!(&mut limited), &waker).is_pending());
                let mut ticking = interval(duration);
                ticking.tick().await;
                assert!(poll(&mut pin!(ticking.tick()), &waker).is_pending());
                ticking.reset_after(duration);
                assert!(poll(&mut pin!(ticking.tick()), &waker).is_pending());
                // The thread waits in earnest, with these timers armed.
                sleep(Duration::from_micros(100)).await;
            }
            for deadline in far_deadlines() {
                let mut sleeping = sleep_until(deadline);
                assert!(poll(&mut sleeping, &waker).is_pending());
                let mut limited = timeout_at(deadline, pending::<()>());
                assert!(poll(&mut pin!(&mut limited), &waker).is_pending());
                let mut ticking = interval_at(deadline, Duration::MAX);
                assert!(poll(&mut pin!(ticking.tick()), &waker).is_pending());
                let mut again = sleep(SECOND);
                again.reset(deadline);
                assert!(poll(&mut again, &waker).is_pending());
                sleep(Duration::from_micros(100)).await;
            }
        });
        assert_eq!(timers(&runtime), 0);
    });
}

/// Fault D1. Catches: an end of time that is near.
#[test]
fn a_duration_that_no_clock_can_tell_lasts_for_decades() {
    let _limit = limit(30);
    for decades in [sleep(Duration::MAX), sleep(Duration::from_secs(u64::MAX))] {
        assert!(decades.deadline() - Instant::now() > 20 * 365 * DAY);
    }
}

/// Fault D1. Catches: a paused clock advanced so far that "thirty years on" or one more second
/// overflows.
#[test]
fn at_the_end_of_time_nothing_overflows() {
    let _limit = limit(30);
    let runtime = paused();
    let (_, waker) = Wakes::new();
    // By ever smaller steps, as far as the clock goes.
    for exponent in (0..63).rev() {
        for _ in 0..2 {
            advance(&runtime, Duration::from_secs(1 << exponent));
        }
    }
    advance(&runtime, Duration::MAX);
    runtime.block_on(async {
        assert!(poll(&mut sleep(Duration::MAX), &waker).is_pending());
        assert!(poll(&mut sleep(SECOND), &waker).is_pending());
        let mut ticking = interval(Duration::MAX);
        ticking.tick().await;
        assert!(poll(&mut pin!(ticking.tick()), &waker).is_pending());
        for missed in [
            MissedTickBehavior::Burst,
            MissedTickBehavior::Delay,
            MissedTickBehavior::Skip,
        ] {
            let mut ticking: Interval = interval_at(now() - SECOND, SECOND / 3);
            ticking.set_missed_tick_behavior(missed);
            ticking.tick().await;
        }
        reveille::time::resume();
        assert!(now() <= now());
        sleep(Duration::from_micros(100)).await;
    });
}

/// Fault D4. Catches: a deadline of now or before that waits for the next turn.
#[test]
fn zero_and_the_past_are_over_at_the_first_poll_and_arm_nothing() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (wakes, waker) = Wakes::new();
    let before = Instant::now();
    inside(&runtime, || {
        assert!(poll(&mut sleep(Duration::ZERO), &waker).is_ready());
        assert!(poll(&mut sleep_until(now()), &waker).is_ready());
        assert!(poll(&mut sleep_until(before), &waker).is_ready());
        let mut limited = timeout(Duration::ZERO, pending::<()>());
        assert!(matches!(
            poll(&mut pin!(&mut limited), &waker),
            Poll::Ready(Err(_))
        ));
        let mut in_time = timeout_at(before, std::future::ready(1));
        assert!(matches!(
            poll(&mut pin!(&mut in_time), &waker),
            Poll::Ready(Ok(1))
        ));
    });
    assert_eq!((timers(&runtime), wakes.count()), (0, 0));
}

/// Fault D4. Catches: a sleep of no time that spends no budget, and so starves all others.
#[test]
fn a_task_that_sleeps_for_no_time_again_and_again_starves_nobody() {
    within(20, || {
        let runtime = Runtime::new().unwrap();
        let hog = runtime.spawn(async {
            loop {
                sleep(Duration::ZERO).await;
            }
        });
        runtime.block_on(async {
            for _ in 0..3 {
                reveille::task::yield_now().await;
            }
        });
        hog.abort();
    });
}

/// Fault A24. Catches: a timeout cut down to whole milliseconds, so that the last of a sleep spins.
#[test]
fn a_short_sleep_parks_a_few_times_at_most() {
    within(60, short_sleeps);
}

fn short_sleeps() {
    let runtime = Runtime::new().unwrap();
    for _ in 0..100 {
        let before = runtime.handle().metrics();
        let start = Instant::now();
        runtime.block_on(sleep(Duration::from_micros(900)));
        assert!(start.elapsed() >= Duration::from_micros(900));
        let after = runtime.handle().metrics();
        let (parks, polls) = (after.parks - before.parks, after.polls - before.polls);
        // One; and one more for each interruption.
        assert!(parks <= 5, "{parks} parks for one sleep");
        assert!(polls <= 2, "{polls} polls for one sleep");
    }
}

/// Fault A24. Catches: a timeout that overflows the kernel's type: negative, it waits for ever;
/// zero, it spins; refused, it panics.
#[test]
fn a_long_sleep_parks_until_something_else_happens() {
    within(60, long_sleeps);
}

fn long_sleeps() {
    for duration in [25 * DAY, 50 * DAY, 400 * 365 * DAY, Duration::MAX] {
        let runtime = Runtime::new().unwrap();
        let far = runtime.handle();
        runtime.block_on(async {
            let long = reveille::spawn(sleep(duration));
            reveille::task::yield_now().await;
            // Nothing but the long timer bounds the wait that this thread ends.
            let (sender, receiver) = std::sync::mpsc::channel();
            let thread =
                std::thread::spawn(move || far.spawn(async move { sender.send(()).unwrap() }));
            thread.join().unwrap();
            receiver_has(&receiver).await;
            assert!(!long.is_finished());
            long.abort();
        });
        assert!(runtime.handle().metrics().parks < 100, "it spins");
    }
}

/// Waits, without a timer of its own, until the channel has something.
async fn receiver_has(receiver: &std::sync::mpsc::Receiver<()>) {
    while receiver.try_recv().is_err() {
        reveille::task::yield_now().await;
    }
}

/// Fault A24. Catches: a kernel or a sandbox without epoll_pwait2 that makes every sleep fail; the
/// fallback's rounding, down to a spin or over to a negative timeout.
#[test]
fn without_epoll_pwait2_sleeps_are_as_good() {
    in_child("limits::without_epoll_pwait2_sleeps_are_as_good", || {
        refuse_epoll_pwait2(libc::ENOSYS);
        short_sleeps();
        long_sleeps();
    });
}

/// Fault A24. Catches, as the three after it: a sandbox whose word for "no" is taken for a failure of
/// the wait. Each in a process of its own, for what was refused once is not tried again.
#[test]
fn where_epoll_pwait2_is_not_supported_a_sleep_ends() {
    let _limit = limit(120);
    let name = "limits::where_epoll_pwait2_is_not_supported_a_sleep_ends";
    sleeps_though_epoll_pwait2_says(libc::EOPNOTSUPP, name);
}

/// Fault A24.
#[test]
fn where_epoll_pwait2_is_not_permitted_a_sleep_ends() {
    let _limit = limit(120);
    let name = "limits::where_epoll_pwait2_is_not_permitted_a_sleep_ends";
    sleeps_though_epoll_pwait2_says(libc::EPERM, name);
}

/// Fault A24.
#[test]
fn where_access_to_epoll_pwait2_is_denied_a_sleep_ends() {
    let _limit = limit(120);
    let name = "limits::where_access_to_epoll_pwait2_is_denied_a_sleep_ends";
    sleeps_though_epoll_pwait2_says(libc::EACCES, name);
}

/// Fault A24.
#[test]
fn where_epoll_pwait2_is_called_invalid_a_sleep_ends() {
    let _limit = limit(120);
    let name = "limits::where_epoll_pwait2_is_called_invalid_a_sleep_ends";
    sleeps_though_epoll_pwait2_says(libc::EINVAL, name);
}

#[track_caller]
fn sleeps_though_epoll_pwait2_says(errno: i32, test: &str) {
    in_child(test, || {
        refuse_epoll_pwait2(errno);
        for _ in 0..2 {
            reveille::block_on(sleep(Duration::from_micros(100)));
        }
    });
}

/// Fault A24. Catches: a wait that fails for another reason, after which epoll_pwait2 is never tried
/// again, though nothing was wrong with it; a failure of both that is swallowed.
#[test]
fn a_wait_that_fails_altogether_is_an_error_and_no_refusal_of_epoll_pwait2() {
    in_child(
        "limits::a_wait_that_fails_altogether_is_an_error_and_no_refusal_of_epoll_pwait2",
        || {
            // The panic is no news.
            std::panic::set_hook(Box::new(|_| ()));
            let failed = std::thread::spawn(|| {
                let runtime = Runtime::new().unwrap();
                refuse(libc::SYS_epoll_wait, None, libc::EPERM);
                refuse_epoll_pwait2(libc::EACCES);
                let main = std::panic::AssertUnwindSafe(|| runtime.block_on(sleep(SECOND)));
                let payload = std::panic::catch_unwind(main).unwrap_err();
                let text = payload.downcast_ref::<String>().unwrap();
                assert!(text.contains("cannot wait for events"), "{text}");
            });
            failed.join().unwrap();
            // On a thread where epoll_pwait2 is not refused, it is used: the fallback would fail, for
            // it would wait one millisecond.
            let runtime = Runtime::new().unwrap();
            refuse(libc::SYS_epoll_wait, Some((3, 1)), libc::EPERM);
            runtime.block_on(sleep(Duration::from_micros(300)));
        },
    );
}

/// Has the kernel refuse epoll_pwait2 in this thread from here on, and sees that it does.
fn refuse_epoll_pwait2(errno: i32) {
    refuse(libc::SYS_epoll_pwait2, None, errno);
    // SAFETY: with no descriptor the call fails before it reads any pointer.
    let result = unsafe { libc::syscall(libc::SYS_epoll_pwait2, -1, 0, 1, 0, 0, 0) };
    let error = std::io::Error::last_os_error();
    assert_eq!((result, error.raw_os_error()), (-1, Some(errno)));
}

/// Catches: a slack that is not set, or not put back when the runtime stops running.
#[test]
fn the_timer_slack_is_set_while_the_runtime_runs_and_put_back() {
    within(10, || {
        let mut options = reveille::runtime::Builder::new();
        let runtime = options
            .timer_slack(Duration::from_nanos(77))
            .build()
            .unwrap();
        let before = timer_slack();
        assert_ne!(before, 77);
        assert_eq!(inside(&runtime, timer_slack), 77);
        assert_eq!(timer_slack(), before);
        runtime.turn().unwrap();
        assert_eq!(timer_slack(), before);
        drop(runtime);
        assert_eq!(timer_slack(), before);
        // Zero would mean the default, so it is one nanosecond.
        let least = options.timer_slack(Duration::ZERO).build().unwrap();
        assert_eq!(inside(&least, timer_slack), 1);
    });
}

/// Catches: reading the slack as an int, in which the greatest is -1 and counts as an error.
#[test]
fn the_greatest_timer_slack_is_put_back_too() {
    within(10, || {
        let before = timer_slack();
        let mut options = reveille::runtime::Builder::new();
        let most = options.timer_slack(Duration::MAX).build().unwrap();
        assert_eq!(inside(&most, timer_slack), i64::from(u32::MAX));
        assert_eq!(timer_slack(), before);
    });
}

/// Catches: a slack of one nanosecond that counts as an error.
#[test]
fn the_least_timer_slack_is_put_back_too() {
    within(10, || {
        let mut options = reveille::runtime::Builder::new();
        let least = options.timer_slack(Duration::ZERO).build().unwrap();
        let nested = options
            .timer_slack(Duration::from_nanos(77))
            .build()
            .unwrap();
        let seen = nested.spawn(async { timer_slack() });
        inside(&least, || {
            nested.turn().unwrap();
            assert_eq!(timer_slack(), 1);
        });
        assert_eq!(nested.block_on(seen).unwrap(), 77);
    });
}

/// The slack of this thread, in nanoseconds.
fn timer_slack() -> i64 {
    let (get, zero) = (libc::PR_GET_TIMERSLACK, 0_u64);
    // SAFETY: PR_GET_TIMERSLACK takes no argument, and so zeros, and writes nothing.
    unsafe { libc::syscall(libc::SYS_prctl, get, zero, zero, zero, zero) }
}

/// Fault B51. Catches: a budget that is spent, refuses the future an output that is there, and is renewed for the sleep
/// behind it, whose time is over. Each future here is ready, so none is over, whatever its limit.
#[test]
fn a_limit_that_is_over_returns_what_is_there_although_the_budget_is_spent() {
    within(60, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let past = now();
            sleep(Duration::from_millis(1)).await;
            for _ in 0..10_000 {
                timeout_at(past, sleep_until(past)).await.unwrap();
            }
            for _ in 0..1000 {
                let task = reveille::spawn(async {});
                reveille::task::yield_now().await;
                // The task's poll has a budget of its own; this one has spent some of it.
                for _ in 0..130 {
                    timeout_at(past, sleep_until(past)).await.unwrap();
                }
                timeout_at(past, task).await.unwrap().unwrap();
            }
        });
    });
}

/// Fault B51. Catches: a sleep that the budget refuses in each poll, because the future before it spends that: a loop over a
/// select ends its polls by a row of refusals only, and mostly some of the row is left for the sleep.
#[test]
fn a_limit_is_over_whatever_its_future_spends() {
    within(60, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            for _ in 0..30 {
                let mut hours: Vec<_> = (0..10).map(|_| sleep(DAY)).collect();
                let deadline = now() + Duration::from_millis(1);
                let late = Cell::new(0);
                let limited = timeout_at(
                    deadline,
                    poll_fn(|cx| {
                        late.set(late.get() + i32::from(now() >= deadline));
                        while late.get() < 100 {
                            for hour in &mut hours {
                                assert!(Pin::new(hour).poll(cx).is_pending());
                            }
                            ready!(pin!(sleep(Duration::ZERO)).poll(cx));
                        }
                        Poll::Ready(())
                    }),
                );
                assert!(limited.await.is_err());
                // The time of the turn before a poll is what counts in it.
                assert!(late.get() <= 2, "{} polls too late", late.get());
            }
        });
    });
}
