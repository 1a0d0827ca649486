//! Several runtimes: descriptors that change between them, and tasks that wake each other.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::future::poll_once;
use reveille::task::yield_now;
use reveille::time::sleep;
use reveille::{Runtime, block_on, spawn};

use crate::limit::limit;
use crate::support::alone;
use crate::{LIMIT, assert_holds, pair, read, registrations, within};

/// Catches: an `AsyncFd` that belongs to where it was made.
#[test]
fn an_async_fd_made_on_one_thread_works_in_the_runtime_of_another() {
    within(LIMIT, || {
        let (fd, mut theirs) = block_on(async { pair() });
        let thread = thread::spawn(move || block_on(async { read(&fd).await }));
        theirs.write_all(b"x").unwrap();
        assert_eq!(thread.join().unwrap().unwrap(), b'x');
    });
}

/// Fault B36. Catches: an `AsyncFd` that waits where nobody will wake it.
#[test]
fn waiting_in_another_runtime_is_an_error_that_says_so() {
    within(LIMIT, || {
        let (home, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
        let (fd, mut theirs) = pair();
        home.block_on(async { assert!(poll_once(read(&fd)).await.is_none()) });
        let errors = other.block_on(async {
            [
                read(&fd).await.unwrap_err(),
                fd.readable().await.map(drop).unwrap_err(),
            ]
        });
        for error in errors {
            let text = error.to_string();
            assert!(
                text.contains("another runtime") && text.contains("try_clone"),
                "{text}"
            );
        }
        theirs.write_all(b"h").unwrap();
        assert_eq!(
            home.block_on(read(&fd)).unwrap(),
            b'h',
            "at home it goes on"
        );
        drop(home);
        assert!(other.block_on(read(&fd)).is_err(), "it does not migrate");
    });
}

/// Fault B36. Catches: an operation that is not even tried elsewhere.
#[test]
fn what_need_not_wait_works_in_another_runtime_and_outside_any() {
    let _limit = limit(30);
    let (home, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (fd, mut theirs) = pair();
    home.block_on(async { assert!(poll_once(read(&fd)).await.is_none()) });
    theirs.write_all(b"ab").unwrap();
    assert_eq!(other.block_on(read(&fd)).unwrap(), b'a');
    assert_eq!(futures_lite::future::block_on(read(&fd)).unwrap(), b'b');
    let error = futures_lite::future::block_on(read(&pair().0)).unwrap_err();
    assert!(error.to_string().contains("outside a runtime"), "{error}");
}

/// Catches: a `JoinHandle` that waits where nobody will wake it.
#[test]
fn a_join_handle_polled_in_another_runtime_panics_with_the_cure() {
    let _limit = limit(30);
    let (home, other) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let task = home.spawn(async { 1 });
    let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| other.block_on(task)));
    let panic = polled.unwrap_err();
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap();
    assert!(text.contains("send the result through a channel"), "{text}");
    other.block_on(async {});
}

/// Fault B36. Catches: "home" taken for any runtime of this thread, so that a wake is looked up in
/// the wrong one.
#[test]
fn tasks_of_nested_runtimes_wake_each_other() {
    within(LIMIT, || {
        const ROUNDS: usize = 100;
        let inner = Rc::new(Runtime::new().unwrap());
        let turn = Rc::new(Cell::new(0));
        let wakers: Rc<RefCell<[Option<Waker>; 2]>> = Rc::default();
        // Each counts when it is its turn, and then wakes the other.
        let player = |me: usize| {
            let (turn, wakers) = (Rc::clone(&turn), Rc::clone(&wakers));
            poll_fn(move |cx| {
                wakers.borrow_mut()[me] = Some(cx.waker().clone());
                if turn.get() >= 2 * ROUNDS {
                    return Poll::Ready(());
                }
                if turn.get() % 2 == me {
                    turn.set(turn.get() + 1);
                    let other = wakers.borrow()[1 - me].clone();
                    if let Some(other) = other {
                        other.wake();
                    }
                }
                Poll::Pending
            })
        };
        drop(inner.spawn(player(0)));
        let driver = Rc::clone(&inner);
        let finished = Rc::clone(&turn);
        block_on(async move {
            drop(spawn(player(1)));
            while finished.get() < 2 * ROUNDS {
                driver.turn().unwrap();
                yield_now().await;
            }
        });
        assert_eq!(turn.get(), 2 * ROUNDS);
    });
}

/// A subscriber that runs something when a descriptor has just been registered, which is the
/// moment between epoll_ctl(2) and the name of the source.
struct OnRegister<F>(F);

impl<F: Fn() + 'static> tracing::Subscriber for OnRegister<F>
where
    F: Send + Sync,
{
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.fields().field("interest").is_some()
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        (self.0)();
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Fault B36. Catches: the loser of the race left in its epoll instance, or waiting there.
///
/// Alone, for where there is a subscriber the wakes of all threads go the long way, past what other
/// tests are about.
#[test]
fn of_two_runtimes_that_register_one_async_fd_the_loser_leaves_no_trace() {
    let name = "runtimes::of_two_runtimes_that_register_one_async_fd_the_loser_leaves_no_trace";
    alone(name, || {
        let (fd, mut theirs) = pair();
        let fd = Arc::new(fd);
        let slow = Runtime::new().unwrap();
        let (registered, others) = mpsc::channel::<()>();
        let (go, wait) = mpsc::channel();
        let shared = Arc::clone(&fd);
        // The fast one registers while the slow one is about to.
        let fast = thread::spawn(move || {
            block_on(async {
                others.recv().unwrap();
                let mut reading = Box::pin(read(&shared));
                assert!(poll_once(reading.as_mut()).await.is_none());
                go.send(()).unwrap();
                reading.await
            })
        });
        let once = Mutex::new(Some((registered, wait)));
        let subscriber = OnRegister(move || {
            if let Some((registered, wait)) = once.lock().unwrap().take() {
                registered.send(()).unwrap();
                wait.recv().unwrap();
            }
        });
        let outcome = tracing::subscriber::with_default(subscriber, || slow.block_on(read(&fd)));
        assert!(outcome.unwrap_err().to_string().contains("another runtime"));
        assert_eq!(registrations(&slow).len(), 1, "the bell alone");
        assert_holds(&slow, "sources: 0");
        theirs.write_all(b"f").unwrap();
        assert_eq!(fast.join().unwrap().unwrap(), b'f', "the winner is served");
    });
}

/// Fault B36. Catches: whatever the race brings that the staged one above does not show.
#[test]
fn two_threads_race_to_register_one_async_fd() {
    within(LIMIT, || {
        for _ in 0..300 {
            let (fd, mut theirs) = pair();
            let (fd, start) = (Arc::new(fd), Arc::new(Barrier::new(3)));
            let racers = [(); 2].map(|()| {
                let (fd, start) = (Arc::clone(&fd), Arc::clone(&start));
                thread::spawn(move || {
                    block_on(async {
                        start.wait();
                        read(&fd).await
                    })
                })
            });
            start.wait();
            theirs.write_all(b"ab").unwrap();
            for racer in racers {
                match racer.join().unwrap() {
                    Ok(byte) => assert!(byte == b'a' || byte == b'b'),
                    Err(error) => assert!(error.to_string().contains("another runtime")),
                }
            }
        }
    });
}

/// Fault B36. Catches: a waker of another runtime's task taken for one of this runtime's own by the
/// reactor, the timers or the end of a task.
#[test]
fn what_happens_in_one_runtime_wakes_the_task_of_another() {
    within(LIMIT, || {
        let (here, there) = (Runtime::new().unwrap(), Runtime::new().unwrap());
        let polls = Rc::new(Cell::new(0));
        let waker: Rc<Cell<Option<Waker>>> = Rc::default();
        drop(there.spawn({
            let (polls, waker) = (Rc::clone(&polls), Rc::clone(&waker));
            poll_fn(move |cx| {
                polls.set(polls.get() + 1);
                waker.set(Some(cx.waker().clone()));
                Poll::<()>::Pending
            })
        }));
        there.turn().unwrap();
        let waker = waker.take().unwrap();
        let mut cx = Context::from_waker(&waker);
        let is_polled_once_more = || {
            let before = polls.get();
            there.turn().unwrap();
            assert_eq!(polls.get(), before + 1);
        };

        let (fd, mut theirs) = pair();
        here.block_on(async {
            let asked = fd.poll_read_ready(&mut cx);
            assert!(asked.is_pending());
        });
        theirs.write_all(b"x").unwrap();
        here.turn().unwrap();
        is_polled_once_more();

        here.block_on(async {
            let mut short = sleep(Duration::from_millis(1));
            assert!(Pin::new(&mut short).poll(&mut cx).is_pending());
            sleep(Duration::from_millis(2)).await;
        });
        is_polled_once_more();

        here.block_on(async {
            let mut ends = spawn(async {});
            assert!(Pin::new(&mut ends).poll(&mut cx).is_pending());
            yield_now().await;
            assert!(ends.is_finished());
        });
        is_polled_once_more();
    });
}

/// Promise: each thread its own runtime. Catches: state that runtimes share.
#[test]
fn runtimes_on_two_threads_wake_each_others_tasks() {
    within(LIMIT, || {
        const ROUNDS: usize = 2_000;
        let count = Arc::new(AtomicUsize::new(0));
        let wakers: Arc<[Mutex<Option<Waker>>; 2]> = Arc::default();
        let players = [0, 1].map(|me: usize| {
            let (count, wakers) = (Arc::clone(&count), Arc::clone(&wakers));
            thread::spawn(move || {
                block_on(poll_fn(move |cx| {
                    *wakers[me].lock().unwrap() = Some(cx.waker().clone());
                    let now = count.load(SeqCst);
                    if now % 2 == me && now < ROUNDS {
                        count.store(now + 1, SeqCst);
                    }
                    let done = count.load(SeqCst) >= ROUNDS;
                    let other = wakers[1 - me].lock().unwrap().clone();
                    if let Some(other) = other.filter(|_| done || now % 2 == me) {
                        other.wake();
                    }
                    if done { Poll::Ready(()) } else { Poll::Pending }
                }));
            })
        });
        for player in players {
            player.join().unwrap();
        }
    });
}
