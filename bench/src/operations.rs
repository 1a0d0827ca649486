//! What a runtime does without sockets: each operation is written once, for any [`Contender`].
//!
//! Interface: [`run`] an [`Operation`], which costs so many nanoseconds: a [`Sample`].
//! Invariant: the time is taken around the operations only, and everything happens in a task.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::str::FromStr;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::contenders::Contender;
use crate::crowds::{CROWDS, Crowd};
use crate::foreign_wakes::foreign_wakes;
use crate::stats::median;
use crate::sys;

/// An operation, as it is called on a command line: `NAME` or `NAME:SIZE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Spawns a task and awaits it.
    Spawn,
    /// Spawns so many tasks, then awaits them.
    SpawnBatch(usize),
    /// So many tasks take turns to wake themselves.
    SelfWake(usize),
    Yield,
    /// Two tasks throw a value to and fro, through two cells that hold one.
    Cell,
    /// The same through two channels that hold one.
    Channel,
    /// Another thread wakes a task of a runtime that sleeps; from the wake to the poll.
    WakeAsleep,
    /// The same while another task keeps the runtime awake.
    WakeAwake,
    /// Makes a timer, polls it once, drops it; beside others: so many in all.
    Timer(usize),
    /// So many tasks sleep at once, for 10 to 110 ms. What counts is the CPU.
    Sleeps(usize),
    /// A sleep of so many microseconds; how late it ends.
    Lateness(usize),
    /// So many tasks that wait for ever: allocations (instead of wall time) and bytes (instead of CPU).
    Memory(usize),
    /// So many tasks come, wait, and go: bytes each that are not given back, resident (instead of wall
    /// time) and allocated (instead of CPU).
    Burst(usize),
    /// So many come together; what counts is one of them, and the CPU.
    Crowd(Crowd, usize),
}

/// Nanoseconds an operation, but for lateness and wakes by other threads, where `wall` is the median.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub wall: f64,
    pub cpu: f64,
}

impl FromStr for Operation {
    type Err = String;

    fn from_str(text: &str) -> Result<Operation, String> {
        let (name, size) = text.split_once(':').unwrap_or((text, "1"));
        let size = size.parse().map_err(|_| format!("`{size}` is no size"))?;
        Ok(match name {
            "spawn" => Operation::Spawn,
            "spawn-batch" => Operation::SpawnBatch(size),
            "self-wake" => Operation::SelfWake(size),
            "yield" => Operation::Yield,
            "cell" => Operation::Cell,
            "channel" => Operation::Channel,
            "wake-asleep" => Operation::WakeAsleep,
            "wake-awake" => Operation::WakeAwake,
            "timer" => Operation::Timer(size),
            "sleeps" => Operation::Sleeps(size),
            "lateness" => Operation::Lateness(size),
            "memory" => Operation::Memory(size),
            "burst" => Operation::Burst(size),
            _ => match CROWDS.iter().find(|crowd| crowd.name() == name) {
                Some(crowd) => Operation::Crowd(*crowd, size),
                None => return Err(format!("no operation `{name}`")),
            },
        })
    }
}

/// Runs `operation` `n` times.
pub fn run<C: Contender>(contender: &C, operation: Operation, n: u64) -> io::Result<Sample> {
    let sample = Rc::new(Cell::new(None));
    let out = Rc::clone(&sample);
    contender.block_on(async move {
        C::spawn(async move { out.set(Some(operate::<C>(operation, n).await)) }).await;
    })?;
    sample.take().expect("the task was awaited")
}

async fn operate<C: Contender>(operation: Operation, n: u64) -> io::Result<Sample> {
    Ok(match operation {
        Operation::Spawn => spawn::<C>(n).await,
        Operation::SpawnBatch(size) => spawn_batch::<C>(size, n).await,
        Operation::SelfWake(tasks) => self_wake::<C>(tasks, n).await,
        Operation::Yield => yield_now::<C>(n).await,
        Operation::Cell => cell::<C>(n).await,
        Operation::Channel => channel::<C>(n).await,
        Operation::WakeAsleep => foreign_wakes::<C>(n, false).await,
        Operation::WakeAwake => foreign_wakes::<C>(n, true).await,
        Operation::Timer(size) => timer::<C>(size, n).await,
        Operation::Sleeps(tasks) => sleeps::<C>(tasks).await,
        Operation::Lateness(micros) => lateness::<C>(Duration::from_micros(micros as u64), n).await,
        Operation::Memory(tasks) => memory::<C>(tasks).await,
        Operation::Burst(tasks) => burst::<C>(tasks).await,
        Operation::Crowd(crowd, size) => C::crowd(crowd, size, n).await?,
    })
}

/// Wall time and CPU time of this process, since when.
pub struct Watch {
    wall: Instant,
    cpu: Duration,
}

impl Watch {
    pub fn start() -> Watch {
        let cpu = sys::cpu_time(None).expect("a process can read its own clock");
        Watch {
            wall: Instant::now(),
            cpu,
        }
    }

    pub fn per(&self, n: u64) -> Sample {
        let wall = self.wall.elapsed();
        let cpu = sys::cpu_time(None).expect("a process can read its own clock") - self.cpu;
        let per = |time: Duration| time.as_nanos() as f64 / n as f64;
        Sample {
            wall: per(wall),
            cpu: per(cpu),
        }
    }
}

async fn spawn<C: Contender>(n: u64) -> Sample {
    let watch = Watch::start();
    for _ in 0..n {
        C::spawn(async {}).await;
    }
    watch.per(n)
}

async fn spawn_batch<C: Contender>(size: usize, n: u64) -> Sample {
    let batches = n.div_ceil(size as u64);
    let mut handles = Vec::with_capacity(size);
    let watch = Watch::start();
    for _ in 0..batches {
        handles.extend((0..size).map(|_| C::spawn(async {})));
        for handle in handles.drain(..) {
            handle.await;
        }
    }
    watch.per(batches * size as u64)
}

/// From the moment when each task was polled once to the last poll, so that neither spawning nor joining
/// is timed, in whatever order the runtime polls.
async fn self_wake<C: Contender>(tasks: usize, n: u64) -> Sample {
    let tasks = tasks as u64;
    let wakes = n.div_ceil(tasks); // For each.
    let polls = Rc::new(Cell::new(0));
    let watch = Rc::new(RefCell::new(None));
    let sample = Rc::new(Cell::new(None));
    let spin = |polls: Rc<Cell<u64>>, watch: Rc<RefCell<Option<Watch>>>, sample: Rc<Cell<_>>| async move {
        let mut left = wakes;
        poll_fn(|cx| {
            polls.set(polls.get() + 1);
            if polls.get() == tasks {
                *watch.borrow_mut() = Some(Watch::start());
            }
            if polls.get() == tasks * (wakes + 1) {
                sample.set(
                    watch
                        .borrow()
                        .as_ref()
                        .map(|watch| watch.per(tasks * wakes)),
                );
            }
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    };
    let spawn = |_| {
        C::spawn(spin(
            Rc::clone(&polls),
            Rc::clone(&watch),
            Rc::clone(&sample),
        ))
    };
    let handles: Vec<_> = (0..tasks).map(spawn).collect();
    for handle in handles {
        handle.await;
    }
    sample.take().expect("the last poll takes the time")
}

async fn yield_now<C: Contender>(n: u64) -> Sample {
    let watch = Watch::start();
    for _ in 0..n {
        C::yield_now().await;
    }
    watch.per(n)
}

/// Holds one value, and the waker of whoever waits for it. The thrower never finds it full.
#[derive(Default)]
struct Slot {
    value: Cell<Option<u64>>,
    waiter: Cell<Option<Waker>>,
}

impl Slot {
    fn put(&self, value: u64) {
        self.value.set(Some(value));
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    fn poll_take(&self, cx: &mut Context<'_>) -> Poll<u64> {
        match self.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.waiter.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

async fn cell<C: Contender>(n: u64) -> Sample {
    let (ping, pong) = (Rc::new(Slot::default()), Rc::new(Slot::default()));
    let (ping2, pong2) = (Rc::clone(&ping), Rc::clone(&pong));
    let other = C::spawn(async move {
        for _ in 0..n {
            pong2.put(poll_fn(|cx| ping2.poll_take(cx)).await);
        }
    });
    let watch = Watch::start();
    for value in 0..n {
        ping.put(value);
        assert_eq!(poll_fn(|cx| pong.poll_take(cx)).await, value);
    }
    let sample = watch.per(n);
    other.await;
    sample
}

async fn channel<C: Contender>(n: u64) -> Sample {
    let (ping, ping_end) = async_channel::bounded(1);
    let (pong_end, pong) = async_channel::bounded(1);
    let other = C::spawn(async move {
        while let Ok(value) = ping_end.recv().await {
            pong_end.send(value).await.expect("the other end is there");
        }
    });
    let watch = Watch::start();
    for value in 0..n {
        ping.send(value).await.expect("the other end is there");
        assert_eq!(pong.recv().await, Ok(value));
    }
    let sample = watch.per(n);
    drop(ping);
    other.await;
    sample
}

/// Polls once, whatever comes of it.
async fn poll_once<F: Future>(mut future: Pin<&mut F>) {
    poll_fn(|cx| {
        let _pending = future.as_mut().poll(cx);
        Poll::Ready(())
    })
    .await;
}

async fn timer<C: Contender>(size: usize, n: u64) -> Sample {
    let mut others = Vec::new();
    for nth in 1..size as u64 {
        let mut sleep = Box::pin(C::sleep(Duration::from_millis(3_600_000 + scattered(nth))));
        poll_once(sleep.as_mut()).await;
        others.push(sleep);
    }
    let watch = Watch::start();
    for nth in 0..n {
        poll_once(pin!(C::sleep(Duration::from_millis(
            3_600_000 + scattered(nth)
        ))))
        .await;
    }
    watch.per(n)
}

/// Something below 100,000, the same for all contenders.
fn scattered(nth: u64) -> u64 {
    nth * 7919 % 100_000
}

async fn sleeps<C: Contender>(tasks: usize) -> Sample {
    let watch = Watch::start();
    let sleep = |nth| C::spawn(C::sleep(Duration::from_micros(10_000 + scattered(nth))));
    let handles: Vec<_> = (0..tasks as u64).map(sleep).collect();
    for handle in handles {
        handle.await;
    }
    watch.per(tasks as u64)
}

async fn lateness<C: Contender>(duration: Duration, n: u64) -> Sample {
    let watch = Watch::start();
    let mut late = Vec::new();
    for _ in 0..n {
        let began = Instant::now();
        C::sleep(duration).await;
        late.push((began.elapsed() - duration).as_nanos() as f64);
    }
    Sample {
        wall: median(&late),
        cpu: watch.per(n).cpu,
    }
}

async fn memory<C: Contender>(tasks: usize) -> Sample {
    let mut handles = Vec::with_capacity(tasks);
    sys::count_allocations();
    let (calls, bytes) = sys::allocated();
    handles.extend((0..tasks).map(|_| C::spawn(std::future::pending())));
    let (calls, bytes) = (
        sys::allocated().0 - calls,
        sys::allocated().1.wrapping_sub(bytes),
    );
    Sample {
        wall: calls as f64 / tasks as f64,
        cpu: bytes as f64 / tasks as f64,
    }
}

async fn burst<C: Contender>(tasks: usize) -> Sample {
    sys::count_allocations();
    let (_, allocated) = sys::allocated();
    let resident = resident_bytes("self");
    let handles: Vec<_> = (0..tasks)
        .map(|_| C::spawn(futures_lite::future::yield_now()))
        .collect();
    for handle in handles {
        handle.await;
    }
    // At rest: some give memory back between their turns, and not in the middle of one.
    C::sleep(Duration::from_millis(1)).await;
    let kept = |before: u64, after: u64| after.wrapping_sub(before) as i64 as f64 / tasks as f64;
    Sample {
        wall: kept(resident, resident_bytes("self")),
        cpu: kept(allocated, sys::allocated().1),
    }
}

/// The pages of a process that are in memory, in bytes: proc_pid_statm(5).
pub fn resident_bytes(pid: &str) -> u64 {
    let pages = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    pages
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0)
        * 4096
}
