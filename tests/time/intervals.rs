//! Intervals: no drift, no tick too many or too few.

use std::panic::catch_unwind;
use std::pin::pin;
use std::time::Duration;

use reveille::time::{MissedTickBehavior, advance, interval, interval_at, now};

use crate::limit::limit;
use crate::step::{Wakes, poll};
use crate::{MILLISECOND, SECOND, paused, timers};

/// Fault D9. Catches: a next tick counted from when the last one was noticed.
#[test]
fn ticks_do_not_drift() {
    let _limit = limit(30);
    let runtime = paused();
    runtime.block_on(async {
        let start = now();
        let mut ticking = interval(SECOND);
        for nth in 0..100 {
            // Late each time, and never by a period: 100 times 2 ms.
            assert_eq!(ticking.tick().await - start, nth * SECOND);
            advance(SECOND + 2 * MILLISECOND).await;
        }
    });
}

/// The seconds at which ticks are due, after 4.5 periods in which nobody asked.
fn ticks_after_a_pause(missed: MissedTickBehavior) -> Vec<f64> {
    let runtime = paused();
    runtime.block_on(async move {
        let start = now();
        let mut ticking = interval(SECOND);
        ticking.set_missed_tick_behavior(missed);
        assert_eq!(ticking.missed_tick_behavior(), missed);
        assert_eq!(ticking.period(), SECOND);
        ticking.tick().await;
        advance(Duration::from_millis(4500)).await;
        let mut due = Vec::new();
        let (_, waker) = Wakes::new();
        while due.len() < 7 {
            // Asked for as fast as can be, and time passes only when there is none.
            match poll(&mut pin!(ticking.tick()), &waker) {
                std::task::Poll::Ready(tick) => {
                    assert!(tick <= now(), "early");
                    due.push((tick - start).as_secs_f64());
                }
                std::task::Poll::Pending => advance(Duration::from_millis(250)).await,
            }
        }
        due
    })
}

/// Fault D9. Catches: ticks that are lost.
#[test]
fn burst_makes_up_for_missed_ticks() {
    let _limit = limit(30);
    let due = ticks_after_a_pause(MissedTickBehavior::Burst);
    assert_eq!(due, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
}

/// Fault D9. Catches: a next tick by the old beat.
#[test]
fn delay_starts_anew_from_the_late_tick() {
    let _limit = limit(30);
    let due = ticks_after_a_pause(MissedTickBehavior::Delay);
    assert_eq!(due, [1.0, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5]);
}

/// Fault D9. Catches: a next tick off the beat, or one that was missed.
#[test]
fn skip_keeps_the_beat_and_leaves_out_what_was_missed() {
    let _limit = limit(30);
    let due = ticks_after_a_pause(MissedTickBehavior::Skip);
    assert_eq!(due, [1.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
}

/// When the tick is due after one that was due at the first second, and noticed so much later.
fn tick_after_one_that_is_late(missed: MissedTickBehavior, late: Duration) -> Duration {
    paused().block_on(async {
        let start = now();
        let mut ticking = interval(SECOND);
        ticking.set_missed_tick_behavior(missed);
        ticking.tick().await;
        advance(SECOND + late).await;
        assert_eq!(ticking.tick().await - start, SECOND);
        advance(10 * SECOND).await;
        ticking.tick().await - start
    })
}

/// Fault D9. Catches: a tick that is late by the work before it and taken for a missed one; one that
/// is late by a whole period and not.
#[test]
fn a_tick_is_missed_if_it_is_late_by_a_period() {
    let _limit = limit(30);
    use MissedTickBehavior::{Burst, Delay, Skip};
    for missed in [Burst, Delay, Skip] {
        let next = tick_after_one_that_is_late(missed, SECOND - MILLISECOND);
        assert_eq!(next, 2 * SECOND, "{missed:?}");
    }
    for (missed, expected) in [(Burst, 2), (Delay, 3), (Skip, 3)] {
        let next = tick_after_one_that_is_late(missed, SECOND);
        assert_eq!(next, expected * SECOND, "{missed:?}");
    }
}

/// Fault D9. Catches: a tick after which no timer is armed again, or with the waker of before.
#[test]
fn each_tick_is_waited_for_anew() {
    let _limit = limit(30);
    let runtime = paused();
    let (wakes, waker) = Wakes::new();
    runtime.block_on(async {
        let mut ticking = interval(SECOND);
        assert!(
            poll(&mut pin!(ticking.tick()), &waker).is_ready(),
            "at once"
        );
        for nth in 1..=5 {
            assert!(poll(&mut pin!(ticking.tick()), &waker).is_pending());
            advance(SECOND).await;
            assert_eq!(wakes.count(), nth);
            assert!(poll(&mut pin!(ticking.tick()), &waker).is_ready());
        }
    });
    assert_eq!(timers(&runtime), 0);
}

/// Fault D9. Catches: a cancelled wait that takes the tick along.
#[test]
fn a_tick_whose_wait_was_cancelled_is_not_lost() {
    let _limit = limit(30);
    let runtime = paused();
    let (_, waker) = Wakes::new();
    runtime.block_on(async {
        let start = now();
        let mut ticking = interval_at(start + SECOND, SECOND);
        assert!(poll(&mut pin!(ticking.tick()), &waker).is_pending());
        advance(SECOND).await;
        assert_eq!(ticking.tick().await, start + SECOND);
    });
}

/// Fault D9. Catches: a reset that keeps the old deadline, or the old timer.
#[test]
fn an_interval_can_be_reset_to_any_time() {
    let _limit = limit(30);
    let runtime = paused();
    runtime.block_on(async {
        let start = now();
        let mut ticking = interval(10 * SECOND);
        ticking.tick().await;
        advance(SECOND).await;
        ticking.reset();
        advance(9 * SECOND).await;
        let (_, waker) = Wakes::new();
        assert!(poll(&mut pin!(ticking.tick()), &waker).is_pending());
        ticking.reset_after(SECOND);
        advance(SECOND).await;
        assert_eq!(ticking.tick().await - start, 11 * SECOND);
        ticking.reset_immediately();
        assert_eq!(ticking.tick().await - start, 11 * SECOND);
        ticking.reset_at(start + 13 * SECOND);
        advance(2 * SECOND).await;
        assert_eq!(ticking.tick().await - start, 13 * SECOND);
    });
}

/// Catches: a period of nothing, which would tick for ever.
#[test]
fn a_period_of_zero_is_refused() {
    let _limit = limit(30);
    assert!(catch_unwind(|| interval(Duration::ZERO)).is_err());
}
