//! Who is polled when: order, fairness in numbers, and one poll for one wake.

mod support;

#[path = "support/limit.rs"]
mod limit;

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker, ready};
use std::thread;
use std::time::{Duration, Instant};

use limit::limit;
use reveille::io::{AsyncFd, Interest};
use reveille::runtime::{Handle, Metrics, Runtime};
use reveille::signal::unix::{SignalKind, signal};
use reveille::task::{coop, yield_now};
use reveille::time::sleep;
use reveille::{block_on, spawn};
use support::within;

/// What happened, in order.
#[derive(Clone, Default)]
struct Trace(Rc<RefCell<Vec<&'static str>>>);

impl Trace {
    fn note(&self, what: &'static str) {
        self.0.borrow_mut().push(what);
    }

    fn take(&self) -> Vec<&'static str> {
        self.0.take()
    }
}

/// The waker of the task that awaits this.
async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

/// Counts its polls, stores its waker, and is done when told so.
#[derive(Clone, Default)]
struct Probe {
    polls: Rc<Cell<usize>>,
    waker: Rc<RefCell<Option<Waker>>>,
    done: Rc<Cell<bool>>,
}

impl Future for Probe {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.set(self.polls.get() + 1);
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        if self.done.get() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Probe {
    fn wake(&self) {
        let waker = self.waker.borrow().clone();
        waker.expect("it was polled").wake();
    }
}

/// Wakes itself for ever.
async fn spin(polls: Rc<Cell<usize>>) {
    loop {
        polls.set(polls.get() + 1);
        yield_now().await;
    }
}

fn turn(runtime: &Runtime) {
    runtime.turn().unwrap();
}

/// R2. Catches: clearing `queued` after the poll.
#[test]
fn wake_during_poll_queues_the_task_again() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let trace = Trace::default();
    for (poll, wake, name) in [("poll a", "wake a", "a"), ("poll b", "", "b")] {
        let trace = trace.clone();
        let mut polls = 0;
        drop(runtime.spawn(poll_fn(move |cx| {
            trace.note(poll);
            polls += 1;
            if name == "a" && polls == 1 {
                trace.note(wake);
                cx.waker().wake_by_ref();
            }
            Poll::<()>::Pending
        })));
    }

    (0..3).for_each(|_| turn(&runtime));

    assert_eq!(
        trace.take(),
        [
            "poll a", // spawned first
            "wake a", // wakes itself during the poll
            "poll b", // but b was queued before: FIFO
            "poll a", // one poll for one wake, in the next turn; then nobody is woken
        ]
    );
}

/// R1. Catches: pushing a task that is queued already.
#[test]
fn many_wakes_are_one_poll() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let probe = Probe::default();
    drop(runtime.spawn(probe.clone()));
    turn(&runtime);

    let wakes = probe.clone();
    runtime.block_on(async move { (0..1000).for_each(|_| wakes.wake()) });
    (0..3).for_each(|_| turn(&runtime));

    assert_eq!(probe.polls.get(), 2);
}

/// R1. Catches: freeing the slot of a task that finished while it was queued, so that whoever is
/// spawned there next is polled through the old entry of the queue.
#[test]
fn a_slot_is_not_reused_while_it_is_queued() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let newcomer = Probe::default();
    let spawned = newcomer.clone();
    runtime.block_on(async move {
        let finished = spawn(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::Ready(())
        }));
        // Main yields before the task is polled and wakes itself, so it is popped before the
        // queued slot is, and takes the output meanwhile.
        yield_now().await;
        assert!(finished.is_finished());
        finished.await.unwrap();
        drop(spawn(spawned));
    });
    (0..3).for_each(|_| turn(&runtime));

    assert_eq!(newcomer.polls.get(), 1);
}

/// R1. Catches: a slot freed by `block_on`'s end while a wake of the main future is queued.
#[test]
fn a_main_future_that_ends_while_queued_leaves_no_trace() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let newcomer = Probe::default();
    let spawned = newcomer.clone();
    runtime.block_on(async move {
        own_waker().await.wake();
    });
    drop(runtime.spawn(spawned));
    (0..3).for_each(|_| turn(&runtime));

    assert_eq!(newcomer.polls.get(), 1);
}

/// Fault B24. Catches: a slot for the last who was woken, or a queue popped at the wrong end.
#[test]
fn two_tasks_that_wake_each_other_do_not_pass_a_third() {
    let _limit = limit(30);
    let trace = Trace::default();
    let wakers: [Rc<RefCell<Option<Waker>>>; 2] = Default::default();
    let noted = trace.clone();
    block_on(async move {
        for (me, name) in [(0, "ping"), (1, "pong")] {
            let (noted, wakers) = (noted.clone(), wakers.clone());
            drop(spawn(poll_fn(move |cx| {
                noted.note(name);
                *wakers[me].borrow_mut() = Some(cx.waker().clone());
                let other = wakers[1 - me].borrow().clone();
                if let Some(other) = other {
                    other.wake();
                }
                Poll::<()>::Pending
            })));
        }
        let third = noted.clone();
        drop(spawn(async move {
            for _ in 0..3 {
                third.note("third");
                yield_now().await;
            }
        }));
        for _ in 0..4 {
            noted.note("main");
            yield_now().await;
        }
    });

    assert_eq!(
        trace.take(),
        [
            "main",  // spawned all three, then yields behind them
            "ping",  // spawned first; nobody to wake yet
            "pong",  // wakes ping, who goes behind main
            "third", // yields behind ping
            "main",  // was queued before ping was woken
            "ping",  // wakes pong, who goes behind main
            "third", // was queued before pong
            "main",  // each once a round, for ever
            "pong",  // wakes ping
            "third", // its last note
            "main",  // its last note; it yields behind ping, and its end ends the rest
            "ping",  // woken by pong
        ]
    );
}

/// Promise 6. Catches: spawning at the front, or polling in the middle of `spawn`.
#[test]
fn tasks_are_polled_in_the_order_they_were_spawned() {
    let _limit = limit(30);
    let trace = Trace::default();
    let noted = trace.clone();
    block_on(async move {
        for name in ["a", "b", "c"] {
            let noted = noted.clone();
            drop(spawn(async move { noted.note(name) }));
        }
        noted.note("main");
        yield_now().await;
        noted.note("main again");
    });

    assert_eq!(
        trace.take(),
        [
            "main",       // `spawn` polls nobody
            "a",          // in the order of spawning
            "b",          // likewise
            "c",          // likewise
            "main again", // yielded behind them
        ]
    );
}

/// Promise 6. Catches: `turn` that polls what its own polls queue, and so may never return.
#[test]
fn a_turn_polls_once_what_was_queued_when_it_began() {
    within(10, || {
        let runtime = Runtime::new().unwrap();
        let polls = Rc::new(Cell::new(0));
        drop(runtime.spawn(spin(polls.clone())));

        let seen: Vec<usize> = (0..3)
            .map(|_| {
                turn(&runtime);
                polls.get()
            })
            .collect();

        assert_eq!(seen, [1, 2, 3]);
    });
}

fn metrics() -> Metrics {
    Handle::current().metrics()
}

/// Fault A26. Catches: a count of polls that starts anew whenever the main future is polled.
#[test]
fn a_main_future_that_wakes_itself_looks_at_epoll_every_61_polls() {
    within(10, || {
        let (before, after) = block_on(async {
            let before = metrics();
            for _ in 0..6100 {
                yield_now().await;
            }
            (before, metrics())
        });
        assert_eq!(after.polls - before.polls, 6100);
        assert_eq!(after.turns - before.turns, 100);
    });
}

/// Fault A26, promise 6. Catches: another number of polls between two looks, and a count that
/// starts anew somewhere.
#[test]
fn tasks_that_wake_themselves_leave_a_look_every_61_polls() {
    within(10, || {
        for spinning in [1, 60, 61, 1000] {
            let (before, after) = block_on(async {
                for _ in 0..spinning {
                    drop(spawn(spin(Rc::default())));
                }
                yield_now().await;
                let before = metrics();
                while metrics().polls < before.polls + 61 * 100 {
                    yield_now().await;
                }
                (before, metrics())
            });
            let (polls, looks) = (after.polls - before.polls, after.turns - before.turns);
            assert!(
                looks.abs_diff(polls / 61) <= 1,
                "{spinning} tasks: {looks} looks in {polls} polls"
            );
        }
    });
}

/// Fault A26. Catches: a socket that waits for 61 polls beside a task that spends its whole budget in each, which are
/// milliseconds.
#[test]
fn after_a_poll_that_spends_its_budget_the_reactor_turns() {
    within(10, || {
        let seen = block_on(async {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let ours = AsyncFd::new(ours).unwrap();
            let polls = Rc::new(Cell::new(0));
            let written_at = Rc::new(Cell::new(None));
            let (counted, written) = (polls.clone(), written_at.clone());
            drop(spawn(poll_fn(move |cx| {
                counted.set(counted.get() + 1);
                if written.get().is_none() {
                    theirs.write_all(b"x").unwrap();
                    written.set(Some(counted.get()));
                }
                while pin!(coop::consume_budget()).poll(cx).is_ready() {}
                Poll::<()>::Pending
            })));
            let mut seen = Vec::new();
            for _ in 0..100 {
                let read = ours.async_io(Interest::READABLE, |mut socket| socket.read(&mut [0; 8]));
                assert_eq!(read.await.unwrap(), 1);
                seen.push(polls.get() - written_at.take().unwrap());
            }
            seen
        });
        assert!(seen.iter().all(|&polls| polls <= 2), "{seen:?}");
    });
}

/// Fault A26. Catches: a driver that is looked at only when nothing is queued.
#[test]
fn timers_fire_and_sockets_answer_although_everybody_wakes_himself() {
    within(60, || {
        for spinning in [1, 61, 10_000] {
            block_on(async move {
                let polls = Rc::new(Cell::new(0));
                for _ in 0..spinning {
                    drop(spawn(spin(polls.clone())));
                }
                let (ours, mut theirs) = UnixStream::pair().unwrap();
                ours.set_nonblocking(true).unwrap();
                let echo = spawn(async move {
                    let ours = AsyncFd::new(ours).unwrap();
                    let mut byte = [0];
                    let read = ours.async_io(Interest::READABLE, |mut socket| {
                        socket.read_exact(&mut byte)
                    });
                    read.await.unwrap();
                    ours.get_ref().write_all(&byte).unwrap();
                });
                let fired = spawn(async {
                    let asked = Instant::now();
                    sleep(Duration::from_millis(2)).await;
                    asked.elapsed()
                });
                yield_now().await;
                theirs.write_all(b"x").unwrap();
                // Main spins as well.
                while !(echo.is_finished() && fired.is_finished()) {
                    yield_now().await;
                }
                let mut byte = [0];
                theirs.read_exact(&mut byte).unwrap();
                assert_eq!(byte, *b"x", "{spinning} tasks spin");
                assert!(fired.await.unwrap() >= Duration::from_millis(2));
                assert!(polls.get() >= spinning, "the spinning tasks run too");
            });
        }
    });
}

/// Fault B25. Catches: a budget that is not asked, not spent, or of another size; draws that differ
/// from run to run.
#[test]
fn after_about_128_ready_operations_the_others_run() {
    let _limit = limit(30);
    let done = operations_between_others();
    assert_eq!(done, operations_between_others());
    assert!(done.iter().all(|n| (121..=128).contains(n)), "{done:?}");
    for n in 121..=128 {
        assert!(done.contains(&n), "{n} is never drawn");
    }
}

/// How many operations a task makes before the next turn of another one, each time.
fn operations_between_others() -> Vec<usize> {
    let others = Rc::new(Cell::new(0));
    let counted = others.clone();
    block_on(async move {
        drop(spawn(spin(counted)));
        let mut done = Vec::new();
        let mut seen = others.get();
        let mut since = 0;
        while done.len() < 200 {
            sleep(Duration::ZERO).await;
            if others.get() != seen {
                seen = others.get();
                done.push(since);
                since = 0;
            }
            since += 1;
        }
        done
    })
}

/// Fault B25. Catches: an operation of one kind that the budget does not cover.
#[test]
fn every_kind_of_ready_operation_spends_the_budget() {
    let _limit = limit(30);
    /// How often another task runs while `operation` is ready 1280 times, once it was: 10 or 11 times.
    fn others_during<F: Future>(mut operation: impl FnMut() -> F) -> usize {
        let others = Rc::new(Cell::new(0));
        let counted = others.clone();
        block_on(async move {
            drop(spawn(spin(counted)));
            operation().await;
            let before = others.get();
            for _ in 0..1280 {
                operation().await;
            }
            others.get() - before
        })
    }
    let socket = || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Rc::new(AsyncFd::new(ours).unwrap()), theirs)
    };

    within(10, move || {
        assert!(matches!(others_during(|| sleep(Duration::ZERO)), 10 | 11));
        let (fd, _theirs) = socket();
        let others = others_during(|| {
            let fd = Rc::clone(&fd);
            async move { fd.async_io(Interest::WRITABLE, |_| Ok(())).await.unwrap() }
        });
        assert!(matches!(others, 10 | 11));
        let (fd, _theirs) = socket();
        let others = others_during(|| {
            let fd = Rc::clone(&fd);
            async move { drop(fd.writable().await.unwrap()) }
        });
        assert!(matches!(others, 10 | 11));
        let others = block_on(async {
            let handles: Vec<_> = (0..1281).map(|_| spawn(async {})).collect();
            // They are done before anybody asks.
            yield_now().await;
            let others = Rc::new(Cell::new(0));
            spawn(spin(others.clone()));
            let mut handles = handles.into_iter();
            handles.next().unwrap().await.unwrap();
            let before = others.get();
            for handle in handles {
                handle.await.unwrap();
            }
            others.get() - before
        });
        assert!(matches!(others, 10 | 11));
    });
}

/// Fault B25. Catches: a task that begins with what the one before has left of its budget.
#[test]
fn each_poll_begins_with_a_whole_budget() {
    let _limit = limit(30);
    block_on(async {
        // One behind the other, and the main future not between them.
        let tasks = [(); 3].map(|()| {
            spawn(poll_fn(|cx| {
                // The least that a budget can be, but one.
                for _ in 0..120 {
                    let spent = pin!(reveille::task::coop::consume_budget()).poll(cx);
                    assert!(spent.is_ready());
                }
                Poll::Ready(())
            }))
        });
        for task in tasks {
            task.await.unwrap();
        }
    });
}

/// Fault B41. Catches: an operation that fails at once, or succeeds where it could not wait, and
/// spends nothing: a server that logs its errors and goes on starves all others.
#[test]
fn what_fails_at_once_spends_the_budget() {
    let _limit = limit(60);
    /// Makes the operation for ever, beside a task that must get on.
    fn endlessly<F: Future>(mut operation: impl FnMut() -> F) {
        block_on(async move {
            let looping = async {
                loop {
                    operation().await;
                }
            };
            let other = async {
                for _ in 0..10 {
                    yield_now().await;
                }
            };
            futures_lite::future::or(looping, other).await;
        });
    }
    fn file() -> std::fs::File {
        std::fs::File::open("/dev/null").unwrap()
    }
    within(20, || {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.write_all(b"x").unwrap();
        let fd = AsyncFd::with_interest(ours, Interest::READABLE).unwrap();
        // At home in a runtime that has ended.
        block_on(async { drop(fd.readable().await.unwrap()) });
        // Its bytes are there all the same.
        endlessly(|| async { fd.async_io(Interest::READABLE, |_| Ok(())).await.unwrap() });
        endlessly(|| async { fd.readable().await.map(drop).unwrap_err() });
        let interrupted = |_: &_| io::Result::<()>::Err(io::ErrorKind::Interrupted.into());
        endlessly(|| async {
            fd.async_io(Interest::READABLE, interrupted)
                .await
                .unwrap_err()
        });
        endlessly(|| async { fd.writable().await.map(drop).unwrap_err() });
        // As if a signal came each time.
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let ours = AsyncFd::new(ours).unwrap();
        endlessly(|| async {
            ours.async_io(Interest::READABLE, interrupted)
                .await
                .unwrap_err()
        });
        // epoll cannot watch it: EPERM.
        let unwatched = AsyncFd::new(file()).unwrap();
        endlessly(|| async { unwatched.readable().await.map(drop).unwrap_err() });
        let blocks = |_: &_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
        endlessly(|| async {
            unwatched
                .async_io(Interest::READABLE, blocks)
                .await
                .unwrap_err()
        });
    });
}

/// Fault B49. Catches: a unit of the budget that is not taken, or not asked for; a budget that is told to be
/// left when it is not; one that is lifted for good, or whose rest is lost.
#[test]
fn what_is_not_the_runtimes_own_can_be_counted_in() {
    let _limit = limit(30);
    use reveille::task::coop::{consume_budget, cooperative, has_budget_remaining, unconstrained};

    /// How many operations are ready in one poll, from the first on.
    async fn ready_in_a_poll<F: Future>(mut operation: impl FnMut() -> F) -> usize {
        yield_now().await;
        poll_fn(|cx| {
            let mut ready = 0;
            while pin!(operation()).poll(cx).is_ready() && ready < 10_000 {
                ready += 1;
            }
            Poll::Ready(ready)
        })
        .await
    }
    // Outside a runtime there is none.
    let mut cx = Context::from_waker(Waker::noop());
    assert!((0..1000).all(|_| pin!(consume_budget()).poll(&mut cx).is_ready()));
    assert!((0..1000).all(|_| pin!(cooperative(async {})).poll(&mut cx).is_ready()));
    assert!(pin!(unconstrained(async {})).poll(&mut cx).is_ready());
    assert!(has_budget_remaining());
    block_on(async {
        let about = 121..=128;
        assert!(about.contains(&ready_in_a_poll(consume_budget).await));
        assert!(about.contains(&ready_in_a_poll(|| cooperative(async {})).await));
        // What waits spends nothing.
        yield_now().await;
        poll_fn(|cx| {
            for _ in 0..1000 {
                assert!(pin!(cooperative(pending::<()>())).poll(cx).is_pending());
            }
            assert!((0..121).all(|_| pin!(consume_budget()).poll(cx).is_ready()));
            Poll::Ready(())
        })
        .await;
        // Lifted, nothing is refused and nothing spent.
        let lifted = || unconstrained(consume_budget());
        assert_eq!(ready_in_a_poll(lifted).await, 10_000);
        let mixed = || async {
            unconstrained(async {
                for _ in 0..1000 {
                    consume_budget().await;
                    assert!(has_budget_remaining());
                }
            })
            .await;
            consume_budget().await;
        };
        assert!(about.contains(&ready_in_a_poll(mixed).await));
        // Also where the future panics.
        yield_now().await;
        poll_fn(|cx| {
            let panics = unconstrained(async { panic!("in the middle") });
            let panics = std::panic::AssertUnwindSafe(|| pin!(panics).poll(cx));
            assert!(std::panic::catch_unwind(panics).is_err());
            let mut left = 0;
            while has_budget_remaining() && left < 1000 {
                left += 1;
                assert!(pin!(consume_budget()).poll(cx).is_ready());
            }
            assert!(about.contains(&left), "{left}");
            Poll::Ready(())
        })
        .await;
    });
}

/// Polls all its futures whenever it is polled, as a naive `join_all` does.
struct JoinAll<F>(Vec<Option<Pin<Box<F>>>>);

impl<F: Future> Future for JoinAll<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        for slot in &mut self.0 {
            if let Some(future) = slot {
                if future.as_mut().poll(cx).is_ready() {
                    *slot = None;
                }
            }
        }
        self.0.retain(Option::is_some);
        if self.0.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Fault B25. Catches: a budget that, once spent, makes every operation of the poll pending, so
/// that a future of many parts gets on by some 128 parts a poll and walks over all of them.
#[test]
fn a_spent_budget_costs_a_sub_executor_few_polls() {
    within(10, || {
        for (parts, most) in [(500, 3), (10_000, 4), (100_000, 6)] {
            let polls = Cell::new(0);
            let walked = block_on(async {
                let sleeps = (0..parts).map(|_| Some(Box::pin(sleep(Duration::ZERO))));
                let mut all = JoinAll(sleeps.collect());
                let mut walked = 0;
                poll_fn(|cx| {
                    polls.set(polls.get() + 1);
                    walked += all.0.len();
                    Pin::new(&mut all).poll(cx)
                })
                .await;
                walked
            });
            assert!(polls.get() <= most, "{parts} parts: {} polls", polls.get());
            assert!(
                10 * walked <= 13 * parts,
                "{parts} parts: {walked} walked over"
            );
        }
    });
}

/// The waker of a sub-executor with one future.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Fault B50. Catches: a budget that stays spent until the poll ends, whatever comes: a sub-executor that polls until
/// nothing is woken is refused, and woken by the refusal, for ever.
#[test]
fn a_sub_executor_that_polls_until_nothing_is_woken_comes_to_an_end() {
    within(30, || {
        const OPERATIONS: usize = 100_000;
        let polls = block_on(async {
            let woken = Arc::new(Woken(AtomicBool::new(true)));
            let waker = Waker::from(Arc::clone(&woken));
            let mut done = pin!(async {
                for _ in 0..OPERATIONS {
                    sleep(Duration::ZERO).await;
                }
            });
            let mut polls = 0;
            while woken.0.swap(false, Ordering::Relaxed) {
                polls += 1;
                if done
                    .as_mut()
                    .poll(&mut Context::from_waker(&waker))
                    .is_ready()
                {
                    return polls;
                }
            }
            panic!("it is not woken, and not done");
        });
        assert!(polls <= 2 * OPERATIONS, "{polls} polls");
    });
}

/// In each round polls `quiet`, which has nothing to say, and then what always has something. Returns how many rounds
/// there were each time before another task ran, a hundred times; it gives up after 200,000.
async fn rounds_between_others(mut quiet: impl FnMut(&mut Context<'_>)) -> Vec<usize> {
    let others = Rc::new(Cell::new(0));
    drop(spawn(spin(Rc::clone(&others))));
    yield_now().await;
    let mut rounds = Vec::new();
    let (mut seen, mut since) = (others.get(), 0);
    poll_fn(|cx| {
        while rounds.len() < 100 && since < 200_000 {
            quiet(cx);
            ready!(pin!(sleep(Duration::ZERO)).poll(cx));
            since += 1;
            if others.get() != seen {
                seen = others.get();
                rounds.push(since);
                since = 0;
            }
        }
        Poll::Ready(())
    })
    .await;
    rounds
}

/// With `branches` that are quiet: about one budget for each of them, and one.
#[track_caller]
fn gives_way(branches: usize, rounds: &[usize]) {
    assert_eq!(rounds.len(), 100, "it gave way to no other task");
    let mean = rounds.iter().sum::<usize>() / rounds.len();
    let expected = (1 + branches) * 125;
    assert!(
        (expected / 2..2 * expected).contains(&mean),
        "{mean} rounds, with {branches} branches"
    );
}

/// Fault B50. Catches: a refusal that always renews the budget: it falls on the branch that is polled first, which is
/// quiet anyway, and the busy one behind it goes on in the same poll for ever. Or so few refusals in a row that a select
/// of many branches does not end.
#[test]
fn a_select_of_something_quiet_before_something_busy_lets_others_run() {
    within(60, || {
        block_on(async {
            let mut never = signal(SignalKind::user_defined1()).unwrap();
            let quiet = |cx: &mut Context<'_>| assert!(never.poll_recv(cx).is_pending());
            gives_way(1, &rounds_between_others(quiet).await);
        });
        block_on(async {
            let mut hour = sleep(Duration::from_secs(3600));
            let quiet = |cx: &mut Context<'_>| assert!(Pin::new(&mut hour).poll(cx).is_pending());
            gives_way(1, &rounds_between_others(quiet).await);
        });
        block_on(async {
            let quiet = |cx: &mut Context<'_>| {
                assert!(pin!(sleep(Duration::from_secs(3600))).poll(cx).is_pending());
            };
            gives_way(1, &rounds_between_others(quiet).await);
        });
        block_on(async {
            let mut task = spawn(pending::<()>());
            let quiet = |cx: &mut Context<'_>| assert!(Pin::new(&mut task).poll(cx).is_pending());
            gives_way(1, &rounds_between_others(quiet).await);
        });
        block_on(async {
            let (ours, _theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            let ours = AsyncFd::new(ours).unwrap();
            let quiet = |cx: &mut Context<'_>| {
                let read = ours.poll_io(cx, Interest::READABLE, |mut ours| ours.read(&mut [0]));
                assert!(read.is_pending());
            };
            gives_way(1, &rounds_between_others(quiet).await);
        });
        block_on(async {
            let mut hours: Vec<_> = (0..15).map(|_| sleep(Duration::from_secs(3600))).collect();
            let quiet = |cx: &mut Context<'_>| {
                for hour in &mut hours {
                    assert!(Pin::new(hour).poll(cx).is_pending());
                }
            };
            gives_way(15, &rounds_between_others(quiet).await);
        });
    });
}

/// Polls something quiet and then something busy, again and again, until `stop`: only a refusal of both ends its poll.
async fn serve(stop: &Cell<bool>) {
    let mut hour = sleep(Duration::from_secs(3600));
    poll_fn(|cx| {
        while !stop.get() {
            assert!(Pin::new(&mut hour).poll(cx).is_pending());
            ready!(pin!(sleep(Duration::ZERO)).poll(cx));
        }
        Poll::Ready(())
    })
    .await;
}

/// Fault B50. Catches: a budget that stays spent until the poll ends: what a task polls behind a select loop, which ends its
/// poll by that only, is refused each time.
#[test]
fn what_stands_behind_a_select_loop_is_heard() {
    within(60, || {
        // `polls` of the task, of which at least a tenth hear what is ready: a third, on the average.
        fn heard<F: Future>(mut behind: impl FnMut() -> F) {
            block_on(async {
                let stop = Cell::new(false);
                let mut server = pin!(serve(&stop));
                let (mut polls, mut heard) = (0, 0);
                poll_fn(|cx| {
                    if polls == 200 {
                        return Poll::Ready(());
                    }
                    polls += 1;
                    assert!(server.as_mut().poll(cx).is_pending());
                    heard += usize::from(pin!(behind()).poll(cx).is_ready());
                    Poll::Pending
                })
                .await;
                assert!(heard >= polls / 10, "{heard} of {polls}");
            });
        }
        heard(|| sleep(Duration::ZERO));
        heard(coop::consume_budget);
    });
}

/// Fault B50. Catches: a task that asks whether budget is left, and then waits by itself: nothing is refused, and the budget
/// stays spent for whatever is polled behind it, in each poll.
#[test]
fn what_stands_behind_a_task_that_asks_for_its_budget_is_heard() {
    let _limit = limit(60);
    block_on(async {
        let (mut polls, mut heard) = (0, 0);
        poll_fn(|cx| {
            while coop::has_budget_remaining() {
                assert!(pin!(coop::consume_budget()).poll(cx).is_ready());
            }
            heard += usize::from(pin!(sleep(Duration::ZERO)).poll(cx).is_ready());
            polls += 1;
            cx.waker().wake_by_ref();
            if polls < 200 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        assert!(heard >= polls / 4, "{heard} of {polls}");
    });
}

/// Fault B50. Catches: rows of refusals so long, or budgets so rare, that of many busy futures in one task the last ones
/// hardly get on.
#[test]
fn of_thirty_busy_futures_of_one_task_each_gets_on() {
    within(60, || {
        block_on(async {
            let counts: Vec<_> = (0..30).map(|_| Cell::new(0u64)).collect();
            let mut loops: Vec<_> = counts
                .iter()
                .map(|count| {
                    Box::pin(async move {
                        loop {
                            sleep(Duration::ZERO).await;
                            count.set(count.get() + 1);
                        }
                    })
                })
                .collect();
            let mut polls = 0;
            poll_fn(|cx| {
                polls += 1;
                for one in &mut loops {
                    let _: Poll<()> = one.as_mut().poll(cx);
                }
                if polls < 1000 {
                    Poll::Pending
                } else {
                    Poll::Ready(())
                }
            })
            .await;
            let counts: Vec<_> = counts.iter().map(Cell::get).collect();
            assert!(counts.iter().all(|n| n * 16 > counts[0]), "{counts:?}");
        });
    });
}

/// Notes whether an operation that is ready was refused as this was dropped.
struct Goodbye(Rc<Cell<usize>>);
impl Drop for Goodbye {
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        if pin!(sleep(Duration::ZERO)).poll(&mut cx).is_pending() {
            self.0.set(self.0.get() + 1);
        }
    }
}

/// Fault B50. Catches: a row of refusals that outlives its poll, in the destructors of other tasks.
#[test]
fn a_destructor_has_a_budget_whatever_was_polled_before() {
    let _limit = limit(60);
    let refused = Rc::new(Cell::new(0));
    block_on(async {
        // Ends each of its polls by a refusal, mostly in the middle of a row of them.
        drop(spawn(async {
            loop {
                coop::consume_budget().await;
            }
        }));
        // Ends one of eight polls with nothing left, and unasked: then that was the least that a budget can be.
        drop(spawn(async {
            loop {
                for _ in 0..121 {
                    coop::consume_budget().await;
                }
                yield_now().await;
            }
        }));
        for _ in 0..500 {
            let goodbye = Goodbye(Rc::clone(&refused));
            let task = spawn(async move {
                let _goodbye = goodbye;
                pending::<()>().await;
            });
            yield_now().await;
            task.abort();
            assert!(task.await.unwrap_err().is_cancelled());
        }
        for _ in 0..500 {
            let goodbye = Goodbye(Rc::clone(&refused));
            drop(spawn(async move {
                let _goodbye = goodbye;
                pending::<()>().await;
            }));
        }
        yield_now().await;
        // Ends its last poll with nothing left, and so comes the end of the runtime.
        while coop::has_budget_remaining() {
            coop::consume_budget().await;
        }
    });
    // And what the main future has, after a last poll that ends in a row of refusals.
    for _ in 0..50 {
        let goodbye = Goodbye(Rc::clone(&refused));
        block_on(poll_fn(move |cx| {
            let _kept = &goodbye;
            while pin!(coop::consume_budget()).poll(cx).is_ready() {}
            Poll::Ready(())
        }));
    }
    assert_eq!(refused.get(), 0);
}

/// Fault B25. Catches: spending budget on operations that have to wait.
#[test]
fn what_waits_spends_nothing() {
    let _limit = limit(30);
    let pendings = block_on(async {
        let mut sleeps: Vec<_> = (0..1000).map(|_| sleep(Duration::from_secs(60))).collect();
        let mut ready = 0;
        let mut pendings = 0;
        poll_fn(|cx| {
            for sleep in &mut sleeps {
                assert!(Pin::new(sleep).poll(cx).is_pending());
            }
            while ready < 121 && pendings == 0 {
                match Pin::new(&mut sleep(Duration::ZERO)).poll(cx) {
                    Poll::Ready(()) => ready += 1,
                    Poll::Pending => pendings += 1,
                }
            }
            Poll::Ready(())
        })
        .await;
        pendings
    });
    assert_eq!(pendings, 0);
}

/// Fault B16. Catches: a wake that polls the task on the spot.
#[test]
fn a_wake_polls_nobody() {
    let _limit = limit(30);
    let lock = Arc::new(Mutex::new(()));
    let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
    block_on(async {
        let (wanted, stored) = (Arc::clone(&lock), Rc::clone(&waker));
        let task = spawn(poll_fn(move |cx| {
            // `try_lock`, so that a fault is a failure and not a deadlock.
            drop(
                wanted
                    .try_lock()
                    .expect("polled while the waker's caller holds the lock"),
            );
            match stored.replace(Some(cx.waker().clone())) {
                None => Poll::Pending,
                Some(_) => Poll::Ready(()),
            }
        }));
        yield_now().await;
        let waker = waker.borrow().clone().unwrap();
        let held = lock.lock().unwrap();
        waker.wake();
        drop(held);
        task.await.unwrap();
    });
}

/// Fault B8. Catches: a waker whose identity is not that of its task.
#[test]
fn wakers_are_alike_exactly_when_their_task_is_the_same() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let two_polls = |turns: usize| {
        let wakers = Rc::clone(&wakers);
        let mut polls = 0;
        runtime.spawn(poll_fn(move |cx| {
            wakers.borrow_mut().push(cx.waker().clone());
            polls += 1;
            cx.waker().wake_by_ref();
            if polls == turns {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }))
    };
    drop(two_polls(2));
    (0..4).for_each(|_| turn(&runtime));
    // The same slot again, then another beside it.
    drop(two_polls(1));
    drop(two_polls(1));
    (0..4).for_each(|_| turn(&runtime));

    let wakers = wakers.take();
    let [first, again, same_slot, beside] = wakers.as_slice() else {
        panic!("{} polls", wakers.len());
    };
    assert!(first.will_wake(again), "two polls of one task");
    assert!(first.will_wake(&first.clone()), "a clone");
    assert!(
        !first.will_wake(same_slot),
        "an old task and a new one in its slot"
    );
    assert!(!same_slot.will_wake(beside), "two tasks that live together");
}

/// Fault B37, R6. Catches: a wake at home that does not compare the serial.
#[test]
fn a_wake_of_a_finished_task_polls_nobody() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let finished = Probe::default();
    finished.done.set(true);
    drop(runtime.spawn(finished.clone()));
    turn(&runtime);
    let newcomer = Probe::default();
    drop(runtime.spawn(newcomer.clone()));
    turn(&runtime);

    let stale = finished.clone();
    runtime.block_on(async move { stale.wake() });
    (0..3).for_each(|_| turn(&runtime));

    assert_eq!(finished.polls.get(), 1);
    assert_eq!(
        newcomer.polls.get(),
        1,
        "it lives in the slot of the finished one"
    );
}

/// Fault B23. Catches: polling the main future when a task ends, or twice for one wake.
#[test]
fn the_main_future_is_polled_when_it_is_woken_and_not_else() {
    within(10, || {
        let polls = block_on(async {
            let waker = own_waker().await;
            let woken = Arc::new(AtomicUsize::new(0));
            (0..10).for_each(|_| drop(spawn(yield_now())));
            let wakes = Arc::clone(&woken);
            drop(spawn(async move {
                for _ in 0..100 {
                    yield_now().await;
                }
                thread::spawn(move || {
                    wakes.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                });
            }));
            let mut polls = 0;
            poll_fn(|_| {
                polls += 1;
                if woken.load(Ordering::Relaxed) > 0 {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
            polls
        });
        assert_eq!(polls, 2);
    });
}

/// Fault B23. Catches: waiting for tasks before `block_on` returns.
#[test]
fn block_on_returns_when_its_future_is_done_whatever_else_waits() {
    let answer = within(10, || {
        block_on(async {
            drop(spawn(pending::<()>()));
            drop(spawn(spin(Rc::default())));
            42
        })
    });
    assert_eq!(answer, 42);
}

/// Fault B18. Catches: a part of the queue that is forgotten when a look interrupts it.
#[test]
fn all_who_are_queued_at_once_run() {
    let _limit = limit(30);
    for tasks in [1, 61, 62, 10_000] {
        let ran = Rc::new(Cell::new(0));
        block_on(async {
            for _ in 0..tasks {
                let ran = Rc::clone(&ran);
                drop(spawn(async move { ran.set(ran.get() + 1) }));
            }
            yield_now().await;
        });
        assert_eq!(ran.get(), tasks);
    }
}

/// A waker that is not ours and passes wakes on.
struct Relay {
    wakes: AtomicUsize,
    to: Waker,
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.to.wake_by_ref();
    }
}

/// Fault B26. Catches: yielding by the task's own waker instead of the poll's.
#[test]
fn yielding_wakes_the_waker_of_the_poll() {
    let _limit = limit(30);
    let wakes = block_on(async {
        let to = own_waker().await;
        let wakes = AtomicUsize::new(0);
        let relay = Arc::new(Relay { wakes, to });
        let waker = Waker::from(Arc::clone(&relay));
        let mut yielding = pin!(yield_now());
        poll_fn(|_| yielding.as_mut().poll(&mut Context::from_waker(&waker))).await;
        relay.wakes.load(Ordering::Relaxed)
    });
    assert_eq!(wakes, 1);
}

/// Promise 6, R6. Catches: wakes from elsewhere that are handed on in another order, or twice.
#[test]
fn wakes_from_elsewhere_are_served_in_their_order() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let trace = Trace::default();
    let wakers = Rc::new(RefCell::new(Vec::new()));
    for name in ["a", "b", "c"] {
        let (trace, wakers) = (trace.clone(), Rc::clone(&wakers));
        drop(runtime.spawn(poll_fn(move |cx| {
            trace.note(name);
            wakers.borrow_mut().push(cx.waker().clone());
            Poll::<()>::Pending
        })));
    }
    turn(&runtime);
    trace.take();
    let [a, b, c] = <[Waker; 3]>::try_from(wakers.take()).unwrap();

    // Outside `turn`, so elsewhere, though it is the same thread.
    for waker in [&c, &a, &c, &b, &a] {
        waker.wake_by_ref();
    }
    (0..3).for_each(|_| turn(&runtime));

    assert_eq!(
        trace.take(),
        [
            "c", // woken first
            "a", // woken second
            "b", // the second wake of c, before this one, found c's bit set
        ]
    );
}

/// R8, fault B33. Catches: an inbox that is left with less room than there are slots when the slab
/// gives memory back, and so ignores the wakes of those who live high up.
#[test]
fn who_stays_after_a_burst_can_be_woken_from_elsewhere() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let probe = Probe::default();
    for nth in 0..10_000 {
        if nth == 500 {
            drop(runtime.spawn(probe.clone()));
        } else {
            drop(runtime.spawn(async {}));
        }
    }
    turn(&runtime);
    assert_eq!(probe.polls.get(), 1);

    // Outside `turn`, so elsewhere.
    probe.wake();
    turn(&runtime);

    assert_eq!(probe.polls.get(), 2);
}
