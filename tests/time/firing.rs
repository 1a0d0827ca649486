//! What fires, when, and whom it wakes; and what becomes of a sleep in every state.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::time::{Duration, Instant};

use reveille::Runtime;
use reveille::time::{Sleep, now, sleep, sleep_until, timeout};

use crate::foreign::{Act, foreign};
use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::within::within;
use crate::{MILLISECOND, SECOND, advance, paused, timers};

/// Fault D3. Catches: a deadline rounded down, or judged by a clock that is ahead.
#[test]
fn a_sleep_never_ends_early() {
    within(60, || {
        let runtime = Runtime::new().unwrap();
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut tasks = Vec::new();
        for _ in 0..2000 {
            // xorshift64, Marsaglia 2003.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let duration = Duration::from_nanos(random % 5_000_000);
            tasks.push(runtime.spawn(async move {
                for part in [1, 3] {
                    let start = Instant::now();
                    sleep(duration / part).await;
                    assert!(start.elapsed() >= duration / part);
                }
            }));
        }
        runtime.block_on(async {
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(timers(&runtime), 0);
    });
}

/// Fault D2. Catches: an order of firing that is not that of the deadlines, or of arming where they
/// are equal.
#[test]
fn timers_fire_by_deadline_and_equal_ones_in_the_order_they_were_armed() {
    let _limit = limit(30);
    let runtime = paused();
    let fired = Rc::new(RefCell::new(Vec::new()));
    let mut sleeps = Vec::new();
    inside(&runtime, || {
        for (nth, seconds) in [5, 3, 5, 1, 3, 5, 2].into_iter().enumerate() {
            let fired = Rc::clone(&fired);
            let waker = foreign(move |act| {
                if act == Act::Wake {
                    fired.borrow_mut().push((seconds, nth));
                }
            });
            let mut sleep = sleep(seconds * SECOND);
            assert!(poll(&mut sleep, &waker).is_pending());
            sleeps.push(sleep);
        }
    });
    advance(&runtime, 10 * SECOND);
    let expected = [(1, 3), (2, 6), (3, 1), (3, 4), (5, 0), (5, 2), (5, 5)];
    assert_eq!(*fired.borrow(), expected);
}

/// Fault D5. Catches: a timer taken out of the heap while its batch fires, and looked for again; a
/// borrow held while wakers run.
#[test]
fn a_timer_that_is_dropped_or_reset_while_its_batch_fires_does_no_harm() {
    let _limit = limit(30);
    for meddle in [Meddle::Drop, Meddle::Earlier, Meddle::Later] {
        for victim_first in [false, true] {
            meddle_in_mid_batch(meddle, victim_first);
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Meddle {
    Drop,
    Earlier,
    Later,
}

/// Two timers are due in one batch, and the waker of the one meddles with the other, and with
/// itself.
fn meddle_in_mid_batch(meddle: Meddle, victim_first: bool) {
    let runtime = paused();
    let start = inside(&runtime, now);
    let (wakes, waker) = Wakes::new();
    let sleeps: Rc<[RefCell<Option<Sleep>>; 2]> = Rc::default();
    let (shared, fired) = (Rc::clone(&sleeps), Rc::new(Cell::new(0)));
    let counted = Rc::clone(&fired);
    let meddling = foreign(move |act| {
        if act != Act::Wake {
            return;
        }
        counted.set(counted.get() + 1);
        for sleep in shared.iter() {
            // Out of its cell first: what drops it may look here again.
            let taken = sleep.borrow_mut().take();
            let Some(mut taken) = taken else { continue };
            match meddle {
                Meddle::Drop => continue,
                Meddle::Earlier => taken.reset(start),
                Meddle::Later => taken.reset(start + 10 * SECOND),
            }
            *sleep.borrow_mut() = Some(taken);
        }
    });
    inside(&runtime, || {
        let mut order = [(0, &meddling), (1, &waker)];
        if victim_first {
            order.reverse();
        }
        for (nth, waker) in order {
            let mut sleep = sleep_until(start + SECOND);
            assert!(poll(&mut sleep, waker).is_pending());
            *sleeps[nth].borrow_mut() = Some(sleep);
        }
    });
    advance(&runtime, SECOND);
    assert_eq!(fired.get(), 1);
    assert!(wakes.count() <= 1, "one spurious wake at most");
    assert_eq!(timers(&runtime), 0, "all of them had fired");
    // Who polls finds what the deadline says.
    inside(&runtime, || {
        for sleep in sleeps.iter() {
            let over = sleep
                .borrow_mut()
                .as_mut()
                .map(|sleep| poll(sleep, &waker).is_ready());
            assert_eq!(
                over,
                match meddle {
                    Meddle::Drop => None,
                    Meddle::Earlier => Some(true),
                    Meddle::Later => Some(false),
                }
            );
        }
    });
    if matches!(meddle, Meddle::Later) {
        let before = wakes.count();
        advance(&runtime, 10 * SECOND);
        assert_eq!(wakes.count(), before + 2);
    }
    assert_eq!(timers(&runtime), 0);
}

/// Fault D6. Catches: a timer armed while its batch fires that fires in the same batch.
#[test]
fn a_timer_armed_by_a_waker_fires_in_a_later_look() {
    within(20, || {
        let runtime = Runtime::new().unwrap();
        let slot = Rc::new(RefCell::new(None::<Sleep>));
        let (kept, fired) = (Rc::clone(&slot), Rc::new(Cell::new(0u64)));
        let counted = Rc::clone(&fired);
        let this = Rc::new(RefCell::new(None::<std::task::Waker>));
        let again = Rc::clone(&this);
        let waker = foreign(move |act| {
            if act != Act::Wake {
                return;
            }
            counted.set(counted.get() + 1);
            let waker = again.borrow().clone();
            let before = kept.borrow_mut().take();
            if let (Some(mut sleep), Some(waker)) = (before, waker) {
                // Armed, and due at once.
                sleep.reset(now() + SECOND);
                assert!(poll(&mut sleep, &waker).is_pending());
                sleep.reset(now());
                *kept.borrow_mut() = Some(sleep);
            }
        });
        *this.borrow_mut() = Some(waker.clone());
        inside(&runtime, || {
            let mut first = sleep(Duration::from_nanos(1));
            assert!(poll(&mut first, &waker).is_pending());
            *slot.borrow_mut() = Some(first);
        });
        let looks = |runtime: &Runtime| runtime.handle().metrics().turns;
        let before = looks(&runtime);
        for _ in 0..10 {
            runtime.turn().unwrap();
        }
        let looked = looks(&runtime) - before;
        assert!(
            (1..=looked).contains(&fired.get()),
            "{} in {looked}",
            fired.get()
        );
        slot.take();
    });
}

/// Fault D7. Catches: a reset that forgets the timer, or keeps the old one.
#[test]
fn a_sleep_can_be_reset_in_every_state() {
    let _limit = limit(30);
    let states = ["unpolled", "pending", "fired, not polled", "over"];
    for state in states {
        for late in [false, true] {
            let runtime = paused();
            let (wakes, waker) = Wakes::new();
            let mut sleep = inside(&runtime, || sleep(SECOND));
            if state != "unpolled" {
                inside(&runtime, || assert!(poll(&mut sleep, &waker).is_pending()));
            }
            match state {
                "fired, not polled" => advance(&runtime, SECOND),
                "over" => {
                    advance(&runtime, SECOND);
                    inside(&runtime, || assert!(poll(&mut sleep, &waker).is_ready()));
                }
                _ => {}
            }
            let woken = wakes.count();
            let deadline = inside(&runtime, now) + if late { 5 * SECOND } else { 2 * SECOND };
            inside(&runtime, || {
                sleep.reset(deadline);
                assert_eq!(sleep.deadline(), deadline);
                assert!(!sleep.is_elapsed());
                assert!(poll(&mut sleep, &waker).is_pending(), "{state}");
            });
            assert_eq!(timers(&runtime), 1, "{state}");
            advance(&runtime, 2 * SECOND);
            assert_eq!(wakes.count() - woken, usize::from(!late), "{state}");
            if late {
                inside(&runtime, || assert!(poll(&mut sleep, &waker).is_pending()));
                advance(&runtime, 3 * SECOND);
            }
            inside(&runtime, || {
                assert!(sleep.is_elapsed());
                assert!(poll(&mut sleep, &waker).is_ready(), "{state}");
                sleep.reset(now());
                assert!(poll(&mut sleep, &waker).is_ready(), "{state}");
            });
            assert_eq!(timers(&runtime), 0, "{state}");
        }
    }
}

/// Fault D7. Catches: a timer that fires for the deadline it had before.
#[test]
fn a_sleep_that_is_due_and_has_not_fired_can_be_reset() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (wakes, waker) = Wakes::new();
    let mut sleep = inside(&runtime, || sleep(Duration::from_nanos(1)));
    inside(&runtime, || {
        // No look has seen that it is due.
        assert!(poll(&mut sleep, &waker).is_pending());
        assert!(sleep.deadline() <= now());
        sleep.reset(now() + 3600 * SECOND);
    });
    runtime.turn().unwrap();
    assert_eq!((wakes.count(), timers(&runtime)), (0, 1));
}

/// Fault D7. Catches: a task that waits and has to poll to learn of its new deadline.
#[test]
fn a_task_that_waits_is_woken_at_the_new_deadline_without_polling() {
    let _limit = limit(30);
    let runtime = paused();
    let (wakes, waker) = Wakes::new();
    let mut sleep = inside(&runtime, || sleep(5 * SECOND));
    inside(&runtime, || {
        assert!(poll(&mut sleep, &waker).is_pending());
        sleep.reset(now() + SECOND);
    });
    advance(&runtime, SECOND);
    assert_eq!(wakes.count(), 1);
}

/// Faults A12, D8. Catches: a waker kept from an earlier poll.
#[test]
fn a_sleep_that_moved_to_another_task_wakes_that_one_only() {
    let _limit = limit(30);
    let runtime = paused();
    let (old_wakes, old) = Wakes::new();
    let (wakes, waker) = Wakes::new();
    let mut sleep = inside(&runtime, || sleep(SECOND));
    inside(&runtime, || {
        for waker in [&old, &waker] {
            assert!(poll(&mut sleep, waker).is_pending());
        }
    });
    advance(&runtime, SECOND);
    assert_eq!((old_wakes.count(), wakes.count()), (0, 1));
}

/// Fault A12. Catches: a joiner's waker kept from an earlier poll.
#[test]
fn a_join_handle_that_moved_to_another_task_wakes_that_one_only() {
    let _limit = limit(30);
    let runtime = paused();
    let (old_wakes, old) = Wakes::new();
    let (wakes, waker) = Wakes::new();
    let mut task = runtime.spawn(sleep(SECOND));
    inside(&runtime, || {
        for waker in [&old, &waker] {
            assert!(poll(&mut task, waker).is_pending());
        }
    });
    advance(&runtime, 2 * SECOND);
    advance(&runtime, 2 * SECOND);
    runtime.turn().unwrap();
    assert_eq!((old_wakes.count(), wakes.count()), (0, 1));
    inside(&runtime, || assert!(poll(&mut task, &waker).is_ready()));
}

/// Catches: a timer that is armed again, with one more clone, at every poll of the same task.
#[test]
fn a_sleep_polled_again_by_the_same_task_keeps_its_timer() {
    let _limit = limit(30);
    let runtime = paused();
    let clones = Rc::new(Cell::new(0));
    let counted = Rc::clone(&clones);
    let waker = foreign(move |act| {
        if act == Act::Clone {
            counted.set(counted.get() + 1);
        }
    });
    inside(&runtime, || {
        let mut sleep = sleep(SECOND);
        for _ in 0..3 {
            assert!(poll(&mut sleep, &waker).is_pending());
        }
    });
    assert_eq!(clones.get(), 1);
}

/// Fault A10, R5. Catches: a borrow of the timers held while a waker is cloned or dropped.
#[test]
fn a_waker_whose_clone_and_drop_arm_and_disarm_timers_does_no_harm() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (wakes, plain) = Wakes::new();
    let other = Rc::new(RefCell::new(None));
    let kept = Rc::clone(&other);
    let meddling = foreign(move |act| {
        if act != Act::Wake {
            let mut fresh = sleep(3600 * SECOND);
            assert!(poll(&mut fresh, &plain).is_pending());
            let before = kept.borrow_mut().replace(fresh);
            drop(before);
        }
    });
    let (_, replacing) = Wakes::new();
    inside(&runtime, || {
        let mut sleep = sleep(3600 * SECOND);
        assert!(poll(&mut sleep, &meddling).is_pending());
        assert!(poll(&mut sleep, &replacing).is_pending());
        assert!(poll(&mut sleep, &meddling).is_pending());
        drop(sleep);
        other.take();
    });
    assert_eq!((timers(&runtime), wakes.count()), (0, 0));
    // The hook may run no more: outside it could not arm anything.
    std::mem::forget(meddling);
}

/// Fault D13. Catches: a cancelled timer that stays until its deadline.
#[test]
fn cancelled_timers_leave_nothing() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (_, waker) = Wakes::new();
    inside(&runtime, || {
        for _ in 0..20_000 {
            let mut sleep = sleep(3600 * SECOND);
            assert!(poll(&mut sleep, &waker).is_pending());
        }
        let mut held: Vec<_> = (0..1000).map(|nth| sleep((1 + nth) * SECOND)).collect();
        for sleep in &mut held {
            assert!(poll(sleep, &waker).is_pending());
        }
        // Timeouts that were not needed are cancelled, too.
        let mut in_time = timeout(SECOND, std::future::ready(()));
        assert!(poll(&mut pin!(&mut in_time), &waker).is_ready());
        let mut limited = timeout(SECOND, pending::<()>());
        assert!(poll(&mut pin!(&mut limited), &waker).is_pending());
    });
    assert_eq!(timers(&runtime), 0);
}

/// Fault D11. Catches: a sleep tied for ever to the runtime that it was first polled in.
#[test]
fn a_sleep_outlives_its_runtime_and_goes_on_in_another() {
    let _limit = limit(30);
    let first = paused();
    let second = paused();
    let (first_wakes, first_waker) = Wakes::new();
    let (wakes, waker) = Wakes::new();
    let mut sleep = inside(&first, || sleep(SECOND));
    inside(&first, || {
        assert!(poll(&mut sleep, &first_waker).is_pending())
    });
    inside(&second, || assert!(poll(&mut sleep, &waker).is_pending()));
    // It is disarmed there, by way of the inbox, and armed here.
    first.turn().unwrap();
    assert_eq!((timers(&first), timers(&second)), (0, 1));
    drop(first);
    advance(&second, 2 * SECOND);
    assert_eq!((first_wakes.count(), wakes.count()), (0, 1));
    inside(&second, || assert!(poll(&mut sleep, &waker).is_ready()));
    sleep.reset(Instant::now() + SECOND);
    drop(second);
    let third = paused();
    inside(&third, || {
        sleep.reset(now() + SECOND);
        assert!(poll(&mut sleep, &waker).is_pending());
    });
    drop(third);
    sleep.reset(Instant::now());
    drop(sleep);
}

/// Fault D11. Catches: a timer of an ended runtime whose name finds another's in the same place.
#[test]
fn a_sleep_of_an_ended_runtime_takes_no_timer_of_the_next_tenant() {
    let _limit = limit(30);
    let first = Runtime::new().unwrap();
    let (_, waker) = Wakes::new();
    let mut stale = inside(&first, || sleep(SECOND));
    inside(&first, || assert!(poll(&mut stale, &waker).is_pending()));
    drop(first);
    // Places rest as long as possible, so several runtimes are needed to come by the same again.
    for _ in 0..64 {
        let next = Runtime::new().unwrap();
        let mut own = inside(&next, || sleep(3600 * SECOND));
        inside(&next, || {
            assert!(poll(&mut own, &waker).is_pending());
            stale.reset(now() + SECOND);
        });
        next.turn().unwrap();
        assert_eq!(timers(&next), 1);
    }
}

/// Catches: an `Elapsed` where the future was ready in the same poll; the future not given back.
#[test]
fn a_future_that_is_ready_is_worth_more_than_the_time_it_came_too_late_by() {
    let _limit = limit(30);
    let runtime = paused();
    runtime.block_on(async {
        let late = timeout(MILLISECOND, std::future::ready(7));
        reveille::time::advance(SECOND).await;
        assert_eq!(late.await, Ok(7));
        let mut limited = timeout(MILLISECOND, pending::<()>());
        reveille::time::advance(SECOND).await;
        let (_, waker) = Wakes::new();
        let mut cx = Context::from_waker(&waker);
        let polled = std::future::Future::poll(pin!(&mut limited), &mut cx);
        assert!(polled.is_ready_and_err());
        let _future: std::future::Pending<()> = limited.into_inner();
        let elapsed = timeout(Duration::ZERO, pending::<()>()).await.unwrap_err();
        assert_eq!(elapsed.to_string(), "deadline has elapsed");
        let error = std::io::Error::from(elapsed);
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
}

trait IsErr {
    fn is_ready_and_err(&self) -> bool;
}

impl<T, E> IsErr for std::task::Poll<Result<T, E>> {
    fn is_ready_and_err(&self) -> bool {
        matches!(self, std::task::Poll::Ready(Err(_)))
    }
}
