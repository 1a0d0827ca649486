//! Sleeps that are reset or made elsewhere, and a paused clock that shows what is due.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use reveille::task::yield_now;
use reveille::time::{Sleep, advance, interval, interval_at, now, pause, sleep, sleep_until};
use reveille::{Runtime, block_on, spawn};

use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::within::within;
use crate::{MILLISECOND, SECOND, paused, timers};

const HOUR: Duration = Duration::from_secs(3600);

/// Waits for a sleep that others reset meanwhile.
async fn wait_for(sleep: Rc<RefCell<Sleep>>) {
    poll_fn(|cx| Pin::new(&mut *sleep.borrow_mut()).poll(cx)).await;
}

/// Fault D15. Catches: a sleep that was over when the clock was paused, and is not when it is awaited.
#[test]
fn a_sleep_that_was_due_when_the_clock_was_paused_ends() {
    within(20, || {
        block_on(async {
            let sleep = sleep(Duration::from_micros(100));
            while now() < sleep.deadline() {}
            pause();
            sleep.await;
        });
    });
}

/// Fault D15. Catches: a deadline that has come by the paused clock, and that nothing looks at.
#[test]
fn a_sleep_that_is_reset_to_now_ends_under_a_paused_clock() {
    for by_turns in [false, true] {
        within(20, move || {
            let runtime = paused();
            let sleep = Rc::new(RefCell::new(inside(&runtime, || sleep(HOUR))));
            let waiter = runtime.spawn(wait_for(Rc::clone(&sleep)));
            runtime.turn().unwrap();
            drop(runtime.spawn(async move { sleep.borrow_mut().reset(now()) }));
            if by_turns {
                for _ in 0..3 {
                    assert!(
                        runtime
                            .next_deadline()
                            .is_some_and(|at| at <= Instant::now())
                    );
                    runtime.turn().unwrap();
                    if inside(&runtime, || waiter.is_finished()) {
                        return;
                    }
                }
                panic!("it does not end");
            }
            runtime.block_on(waiter).unwrap();
        });
    }
}

/// Fault D16. Catches: a reset between two turns that disarms, and leaves the task that waits to sleep
/// for ever; one whose old deadline ends the sleep.
#[test]
fn a_task_is_woken_at_a_deadline_that_was_set_between_two_turns() {
    for later in [true, false] {
        within(20, move || {
            let runtime = Runtime::new().unwrap();
            let (old, new) = if later { (200, 220) } else { (3_600_000, 5) };
            let sleep = Rc::new(RefCell::new(sleep(old * MILLISECOND)));
            let waiter = runtime.spawn(wait_for(Rc::clone(&sleep)));
            runtime.turn().unwrap();
            let deadline = Instant::now() + new * MILLISECOND;
            sleep.borrow_mut().reset(deadline);
            runtime.block_on(waiter).unwrap();
            assert!(Instant::now() >= deadline);
            assert_eq!(timers(&runtime), 0);
        });
    }
}

/// Fault D16. Catches: as above, from another thread, and from inside another runtime on this one.
#[test]
fn a_task_is_woken_at_a_deadline_that_was_set_elsewhere() {
    for by_thread in [true, false] {
        within(20, move || {
            let runtime = Runtime::new().unwrap();
            let sleep = Arc::new(Mutex::new(sleep(HOUR)));
            let awaited = Arc::clone(&sleep);
            let waiter = runtime.spawn(poll_fn(move |cx| {
                Pin::new(&mut *awaited.lock().unwrap()).poll(cx)
            }));
            runtime.turn().unwrap();
            let reset = move || sleep.lock().unwrap().reset(Instant::now() + MILLISECOND);
            if by_thread {
                let thread = thread::spawn(reset);
                runtime.block_on(waiter).unwrap();
                thread.join().unwrap();
            } else {
                block_on(async move { reset() });
                runtime.block_on(waiter).unwrap();
            }
        });
    }
}

/// Fault D16. Catches: an order to fire that is obeyed by a timer which was armed after it.
#[test]
fn a_sleep_reset_elsewhere_and_polled_before_the_mail_is_read_waits_for_the_new_deadline() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let mut sleep = inside(&runtime, || sleep(HOUR));
    let (wakes, waker) = Wakes::new();
    let (others, other) = Wakes::new();
    inside(&runtime, || assert!(poll(&mut sleep, &waker).is_pending()));
    sleep.reset(Instant::now() + 2 * HOUR);
    // By another task, so that it is armed anew.
    inside(&runtime, || assert!(poll(&mut sleep, &other).is_pending()));
    runtime.turn().unwrap();
    runtime.turn().unwrap();
    assert!(wakes.count() + others.count() <= 1);
    assert_eq!(timers(&runtime), 1);
    drop(sleep);
}

/// Fault D17. Catches: what was over by the clock of the machine, and ends early by the one that is
/// paused.
#[test]
fn a_sleep_made_or_reset_outside_is_judged_by_the_clock_it_waits_under() {
    let _limit = limit(30);
    for was_reset in [false, true] {
        let runtime = paused();
        let stands = inside(&runtime, now);
        while Instant::now() < stands + MILLISECOND {}
        let later = Instant::now();
        let mut sleep = if was_reset {
            let mut sleep = sleep(HOUR);
            sleep.reset(later);
            sleep
        } else {
            sleep_until(later)
        };
        inside(&runtime, || {
            let (_, waker) = Wakes::new();
            assert!(poll(&mut sleep, &waker).is_pending(), "{was_reset}");
        });
        runtime.block_on(async move {
            reveille::time::advance(SECOND).await;
            assert!(now() >= later);
            sleep.await;
        });
    }
}

/// Fault D17. Catches: a reset inside one runtime that takes a sleep which waits in another for over.
#[test]
fn a_sleep_that_is_reset_in_another_runtime_is_judged_by_its_own_clock() {
    let _limit = limit(30);
    let (still, other) = (paused(), Runtime::new().unwrap());
    let mut sleep = inside(&still, || sleep(HOUR));
    let (_, waker) = Wakes::new();
    inside(&still, || assert!(poll(&mut sleep, &waker).is_pending()));
    let later = inside(&still, now) + MILLISECOND;
    other.block_on(async {
        reveille::time::sleep(2 * MILLISECOND).await;
        assert!(now() > later);
        sleep.reset(later);
        assert!(!sleep.is_elapsed());
    });
    still.turn().unwrap();
    inside(&still, || assert!(poll(&mut sleep, &waker).is_pending()));
}

/// Fault D17. Catches: a sleep whose runtime has ended, and that is judged by no clock any more.
#[test]
fn a_sleep_whose_runtime_has_ended_is_judged_by_the_one_it_is_in() {
    let _limit = limit(30);
    let ended = Runtime::new().unwrap();
    let mut sleep = sleep(HOUR);
    let (_, waker) = Wakes::new();
    inside(&ended, || assert!(poll(&mut sleep, &waker).is_pending()));
    drop(ended);
    paused().block_on(async {
        assert!(!sleep.is_elapsed());
        advance(HOUR).await;
        assert!(sleep.is_elapsed());
        sleep.reset(now() + SECOND);
        assert!(!sleep.is_elapsed());
        advance(SECOND).await;
        assert!(sleep.is_elapsed());
        (&mut sleep).await;
    });
    // What was found to be over is, wherever it is asked.
    assert!(sleep.is_elapsed());
}

/// Fault D17. Catches: an interval made outside, whose first tick waits for a paused clock.
#[test]
fn an_interval_made_outside_ticks_at_once_and_when_it_is_reset_to_now() {
    within(20, || {
        let runtime = paused();
        let mut ticks = interval(SECOND);
        runtime.block_on(ticks.tick());
        ticks.reset_immediately();
        runtime.block_on(ticks.tick());
        // But one that begins at a time of its own waits for that.
        let mut later = interval_at(Instant::now() + SECOND, SECOND);
        runtime.block_on(async {
            let tick = spawn(async move { later.tick().await });
            yield_now().await;
            assert!(!tick.is_finished());
            tick.abort();
        });
    });
}
