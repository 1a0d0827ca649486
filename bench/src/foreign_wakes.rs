//! Wakes from another thread: how long from the wake to the poll.
//!
//! Interface: [`foreign_wakes`], an operation like those in `operations`, with a thread of its own.
//! Invariant: the flag is set before the wake and read under the lock that keeps the waker, so no wake is
//! lost; the runtime sleeps before each wake, or never.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use crate::contenders::Contender;
use crate::operations::Sample;
use crate::stats::median;
use crate::sys;

/// How long the other thread waits for the runtime to fall asleep.
const ASLEEP: Duration = Duration::from_micros(200);
/// A runtime that has not noticed a wake for so long while a task kept it busy would never do so.
const STARVED: Duration = Duration::from_millis(100);
/// The CPU of the other thread; the runtime's is 0.
const OTHER_CPU: usize = 1;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    done: AtomicBool,
    starved: AtomicBool,
    received: AtomicU64,
}

#[derive(Default)]
struct State {
    waiter: Option<Waker>,
    woken: Option<Instant>,
}

/// The wall time is infinite if a busy runtime does not notice.
pub async fn foreign_wakes<C: Contender>(n: u64, awake: bool) -> Sample {
    let shared = Arc::new(Shared::default());
    let waking = Arc::clone(&shared);
    let other = thread::spawn(move || {
        // With one CPU only, the wakes come from there too.
        let _one_cpu = sys::pin(OTHER_CPU);
        (0..n).for_each(|_| waking.wake(awake));
    });
    let busy = Arc::clone(&shared);
    let keep_awake = C::spawn(async move {
        let began = Instant::now();
        while awake && !busy.done.load(Ordering::Relaxed) {
            C::yield_now().await;
            if began.elapsed() > STARVED && busy.received.load(Ordering::Relaxed) == 0 {
                return busy.starved.store(true, Ordering::Relaxed);
            }
        }
    });
    let cpu = sys::cpu_time(None).expect("a process can read its own clock");
    let mut latencies = Vec::new();
    for _ in 0..n {
        latencies.push(shared.woken().await.as_nanos() as f64);
        shared.received.fetch_add(1, Ordering::Relaxed);
    }
    let cpu = sys::cpu_time(None).expect("a process can read its own clock") - cpu;
    shared.done.store(true, Ordering::Relaxed);
    keep_awake.await;
    other.join().expect("the other thread does not panic");
    let starved = shared.starved.load(Ordering::Relaxed);
    Sample {
        wall: if starved {
            f64::INFINITY
        } else {
            median(&latencies)
        },
        cpu: cpu.as_nanos() as f64 / n as f64,
    }
}

impl Shared {
    /// Waits for a wake and says how long ago it was.
    async fn woken(&self) -> Duration {
        poll_fn(|cx| {
            let mut state = self.state.lock().expect("nobody panics");
            match state.woken.take() {
                Some(woken) => Poll::Ready(woken.elapsed()),
                None => {
                    state.waiter = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// Wakes the task, once it waits.
    fn wake(&self, awake: bool) {
        let waiter = loop {
            if let Some(waiter) = self.state.lock().expect("nobody panics").waiter.take() {
                break waiter;
            }
            std::hint::spin_loop();
        };
        if !awake {
            thread::sleep(ASLEEP);
        }
        self.state.lock().expect("nobody panics").woken = Some(Instant::now());
        waiter.wake();
    }
}
