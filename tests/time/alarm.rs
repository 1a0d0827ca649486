//! The timerfd that ends short sleeps, and on which nothing depends.

use std::fs;
use std::future::poll_fn;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use reveille::Runtime;
use reveille::time::{sleep, sleep_until};

use crate::child::in_child;
use crate::limit::limit;
use crate::seccomp::refuse;

/// How often the runtime's timerfd has expired since it was last set: proc_pid_fdinfo(5).
fn rung(runtime: &Runtime) -> u32 {
    let info = |fd: &str| fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    let epoll = info(&runtime.as_fd().as_raw_fd().to_string());
    let watched = epoll.lines().filter_map(|line| line.strip_prefix("tfd:"));
    let fds = watched.map(|rest| rest.split_whitespace().next().unwrap());
    let ticks = fds.filter_map(|fd| Some(info(fd).split_once("ticks:")?.1.to_owned()));
    let ticks: Vec<String> = ticks.collect();
    let [ticks] = &ticks[..] else {
        panic!("one timerfd, and not {ticks:?}");
    };
    ticks.split_whitespace().next().unwrap().parse().unwrap()
}

/// True if an outer loop would find the runtime's descriptor readable now: poll(2).
fn is_readable(runtime: &Runtime) -> bool {
    let mut entry = libc::pollfd {
        fd: runtime.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: poll(2) reads and writes one entry, which is that of a local.
    let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
    assert_ne!(ready, -1);
    ready == 1
}

/// Catches: a timerfd that is never set, and sleeps that end late; one that is set for each wait.
#[test]
fn a_short_sleep_sets_the_alarm_and_a_long_one_does_not() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(sleep(Duration::from_millis(30)));
    // A signal may interrupt the wait, and what is left then may be short.
    assert!(rung(&runtime) == 0 || runtime.handle().metrics().parks > 1);
    for _ in 0..3 {
        runtime.block_on(sleep(Duration::from_millis(1)));
        assert_eq!(rung(&runtime), 1);
    }
}

/// Catches: an alarm for each of many timers, which the slack would have end together; none for two.
#[test]
fn where_many_sleeps_end_together_no_alarm_is_set() {
    let _limit = limit(30);
    for (sleeps, alarms) in [(2, 1), (4, 1), (5, 0), (1000, 0)] {
        let runtime = Runtime::new().unwrap();
        let deadline = Instant::now() + Duration::from_millis(9);
        for _ in 1..sleeps {
            drop(runtime.spawn(sleep_until(deadline)));
        }
        runtime.block_on(sleep_until(deadline));
        assert!(Instant::now() >= deadline);
        assert_eq!(rung(&runtime), alarms, "{sleeps} sleeps");
    }
}

/// Catches: an alarm that leaves the descriptor readable for ever, on which an outer loop would spin.
#[test]
fn an_alarm_that_nobody_needs_any_more_ends_with_one_turn() {
    let _limit = limit(30);
    // A slow machine may take so long to come to the wait that no alarm is needed.
    let leaves_one = || {
        let runtime = Runtime::new().unwrap();
        let deadline = Instant::now() + Duration::from_millis(8);
        let waiting = runtime.spawn(sleep_until(deadline));
        runtime.block_on(woken_by_a_thread());
        drop(waiting.abort_on_drop());
        runtime.turn().unwrap();
        assert_eq!(runtime.next_deadline(), None);
        while Instant::now() < deadline + Duration::from_millis(5) {
            thread::yield_now();
        }
        let has_rung = is_readable(&runtime);
        runtime.turn().unwrap();
        assert!(!is_readable(&runtime));
        has_rung
    };
    assert!((0..100).any(|_| leaves_one()));
}

/// Waits until a thread wakes this task, a millisecond later. Meanwhile the runtime sleeps until its next deadline.
async fn woken_by_a_thread() {
    let mut thread = None;
    let mut is_told = false;
    poll_fn(|cx| {
        let waker = cx.waker().clone();
        thread.get_or_insert_with(|| {
            thread::spawn(move || {
                thread::sleep(Duration::from_millis(1));
                waker.wake();
            })
        });
        if mem::replace(&mut is_told, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    thread.unwrap().join().unwrap();
}

/// Fault A34. Catches: a timerfd that is refused, or that cannot be set, and ends the runtime or a sleep.
#[test]
fn without_a_timerfd_sleeps_end_all_the_same() {
    in_child("alarm::without_a_timerfd_sleeps_end_all_the_same", || {
        for call in [libc::SYS_timerfd_create, libc::SYS_timerfd_settime] {
            let sleeper = thread::spawn(move || {
                refuse(call, None, libc::EPERM);
                let runtime = Runtime::new().unwrap();
                for _ in 0..3 {
                    let start = Instant::now();
                    runtime.block_on(sleep(Duration::from_millis(1)));
                    assert!(start.elapsed() >= Duration::from_millis(1));
                }
            });
            sleeper.join().unwrap();
        }
    });
}
