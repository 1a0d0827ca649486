//! What was mended for one way of driving a runtime holds for all of them: under `block_on`, by turns,
//! by turns inside another runtime; with and without chaos.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use reveille::io::{AsyncFd, Interest};
use reveille::net::{TcpListener, TcpStream};
use reveille::runtime::Builder;
use reveille::signal::unix::{SignalKind, signal};
use reveille::task::yield_now;
use reveille::time::{Sleep, advance, now, pause, sleep, timeout};
use reveille::{Runtime, block_on, spawn};

use child::in_child;
use limit::limit;
use within::within;

#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/within.rs"]
mod within;

/// How a runtime is driven to the end of a program.
#[derive(Clone, Copy, Debug)]
enum Way {
    BlockOn,
    /// By turns, as an outer loop does: what wakes it, and when, it asks the runtime.
    Turns,
    /// By turns, and the outer loop is a runtime.
    TurnsInside,
}

const MILLISECOND: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Runs the program in every way, by itself and under some seeds of chaos.
#[track_caller]
fn in_every_way<F: Future<Output = ()> + 'static>(program: fn() -> F) {
    within(100, move || {
        for way in [Way::BlockOn, Way::Turns, Way::TurnsInside] {
            for seed in [None, Some(1), Some(2), Some(3), Some(4)] {
                drive(way, seed, program());
            }
        }
    });
}

fn drive<F: Future<Output = ()> + 'static>(way: Way, seed: Option<u64>, program: F) {
    let mut options = Builder::new();
    if let Some(seed) = seed {
        options.chaos(seed);
    }
    let runtime = options.build().unwrap();
    match way {
        Way::BlockOn => runtime.block_on(program),
        Way::Turns => turn_to_the_end(&runtime, program),
        Way::TurnsInside => block_on(async { turn_to_the_end(&runtime, program) }),
    }
}

fn turn_to_the_end<F: Future<Output = ()> + 'static>(runtime: &Runtime, program: F) {
    let done = Rc::new(Cell::new(false));
    let told = Rc::clone(&done);
    let _task = runtime.spawn(async move {
        program.await;
        told.set(true);
    });
    while !done.get() {
        wait(runtime);
        runtime.turn().unwrap();
    }
}

/// Waits until the runtime's descriptor is readable, or its deadline; 5 s at most, for a hang is found
/// sooner so than by the watchdog.
fn wait(runtime: &Runtime) {
    use std::os::fd::AsFd;
    let left = runtime
        .next_deadline()
        .map_or(Duration::from_secs(5), |deadline| {
            deadline.saturating_duration_since(Instant::now())
        });
    let mut entry = libc::pollfd {
        fd: runtime.as_fd().as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    let millis = left.as_nanos().div_ceil(1_000_000) as i32;
    // SAFETY: the kernel reads and writes one `pollfd`, which outlives the call.
    let polled = unsafe { libc::poll(&raw mut entry, 1, millis) };
    assert!(polled > 0 || millis < 5000, "nothing wakes the outer loop");
}

/// Faults D15, D16.
#[test]
fn what_is_due_by_a_paused_clock_fires() {
    let _limit = limit(300);
    in_every_way(|| async {
        let due = sleep(Duration::from_micros(50));
        while now() < due.deadline() {}
        pause();
        due.await;
        let waits = Rc::new(RefCell::new(sleep(HOUR)));
        let awaited = Rc::clone(&waits);
        let waiter = spawn(poll_fn(move |cx| {
            Pin::new(&mut *awaited.borrow_mut()).poll(cx)
        }));
        yield_now().await;
        waits.borrow_mut().reset(now());
        waiter.await.unwrap();
        advance(HOUR).await;
    });
}

/// Fault D16.
#[test]
fn a_reset_from_another_thread_wakes_the_task() {
    let _limit = limit(300);
    in_every_way(|| async {
        let waits = std::sync::Arc::new(std::sync::Mutex::new(sleep(HOUR)));
        let awaited = std::sync::Arc::clone(&waits);
        let waiter = spawn(poll_fn(move |cx| {
            Pin::new(&mut *awaited.lock().unwrap()).poll(cx)
        }));
        yield_now().await;
        let at = Instant::now() + MILLISECOND;
        let reset = move || waits.lock().unwrap().reset(at);
        thread::spawn(reset).join().unwrap();
        waiter.await.unwrap();
        assert!(Instant::now() >= at);
    });
}

/// Fault D16: by the outer loop itself, between two turns; there is no such place in `block_on`.
#[test]
fn a_reset_between_two_turns_wakes_the_task() {
    within(60, || {
        for seed in [None, Some(1), Some(2), Some(3)] {
            let mut options = Builder::new();
            if let Some(seed) = seed {
                options.chaos(seed);
            }
            let runtime = options.build().unwrap();
            let waits: Rc<RefCell<Sleep>> = Rc::new(RefCell::new(sleep(HOUR)));
            let awaited = Rc::clone(&waits);
            let done = Rc::new(Cell::new(false));
            let told = Rc::clone(&done);
            let _task = runtime.spawn(async move {
                poll_fn(|cx| Pin::new(&mut *awaited.borrow_mut()).poll(cx)).await;
                told.set(true);
            });
            // Under chaos a task that is queued may not be the next.
            (0..10).for_each(|_| runtime.turn().unwrap());
            waits.borrow_mut().reset(Instant::now() + MILLISECOND);
            while !done.get() {
                wait(&runtime);
                runtime.turn().unwrap();
            }
        }
    });
}

/// Faults B25, B41.
#[test]
fn a_timeout_fires_beside_a_sibling_that_makes_128_operations() {
    let _limit = limit(300);
    in_every_way(|| async {
        let greedy = async {
            loop {
                for _ in 0..128 {
                    sleep(Duration::ZERO).await;
                }
                yield_now().await;
            }
        };
        let limited = async {
            let never = timeout(MILLISECOND, std::future::pending::<()>());
            never.await.unwrap_err();
        };
        or(greedy, limited).await;
    });
}

/// Fault B41.
#[test]
fn an_operation_that_fails_for_ever_starves_nobody() {
    let _limit = limit(300);
    in_every_way(|| async {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let fd = AsyncFd::with_interest(ours, Interest::READABLE).unwrap();
        // At home in a runtime that has ended.
        thread::scope(|scope| {
            scope.spawn(|| {
                block_on(poll_fn(|cx| {
                    assert!(pin!(fd.readable()).poll(cx).is_pending());
                    Poll::Ready(())
                }));
            });
        });
        let fails = spawn(async move {
            loop {
                let _error: io::Result<()> = fd.readable().await.map(drop);
            }
        });
        sleep(MILLISECOND).await;
        fails.abort();
    });
}

/// Fault B43.
#[test]
fn an_abort_by_another_thread_is_obeyed_before_the_next_poll() {
    let _limit = limit(300);
    in_every_way(|| async {
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let victim = spawn(poll_fn(move |cx| {
            counted.set(counted.get() + 1);
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        yield_now().await;
        let abort = victim.abort_handle();
        thread::spawn(move || abort.abort()).join().unwrap();
        let before = polls.get();
        assert!(victim.await.unwrap_err().is_cancelled());
        assert_eq!(polls.get(), before);
    });
}

/// Fault B44: the runtime that ends does so inside the one that is driven.
#[test]
fn what_waited_in_a_runtime_that_ends_goes_on() {
    let _limit = limit(300);
    in_every_way(|| async {
        let mut ends = Some(Runtime::new().unwrap());
        let moves = Rc::new(RefCell::new(sleep(HOUR)));
        poll_fn(|cx| {
            let Some(ends) = ends.take() else {
                // Woken by the end of the other: it goes on here, with another deadline.
                let moves = &mut *moves.borrow_mut();
                if moves.deadline() > Instant::now() + HOUR / 2 {
                    moves.reset(Instant::now() + MILLISECOND);
                }
                return Pin::new(moves).poll(cx);
            };
            // Armed there, by the waker of this task.
            let (armed, waker) = (Rc::clone(&moves), cx.waker().clone());
            let _task = ends.spawn(async move {
                let cx = &mut Context::from_waker(&waker);
                assert!(Pin::new(&mut *armed.borrow_mut()).poll(cx).is_pending());
            });
            ends.turn().unwrap();
            Poll::Pending
        })
        .await;
    });
}

/// Faults E6, E7, E9.
#[test]
fn signals_are_heard() {
    in_child("signals_are_heard", || {
        in_every_way(|| async {
            let kinds = [
                SignalKind::user_defined1(),
                SignalKind::user_defined2(),
                SignalKind::hangup(),
            ];
            let mut listeners = kinds.map(|kind| signal(kind).unwrap());
            for kind in kinds {
                // SAFETY: raise(3) takes an integer; the handler is the library's.
                assert_eq!(unsafe { libc::raise(kind.as_raw_value()) }, 0);
            }
            for listener in &mut listeners {
                timeout(HOUR, listener.recv()).await.unwrap();
            }
        });
    });
}

/// Fault A30.
#[test]
fn a_sharer_that_makes_the_listener_block_stops_nothing() {
    let _limit = limit(300);
    in_every_way(|| async {
        let theirs = StdListener::bind("127.0.0.1:0").unwrap();
        let listener = TcpListener::from_std(theirs.try_clone().unwrap()).unwrap();
        let accepting = async {
            loop {
                theirs.set_nonblocking(false).unwrap();
                drop(listener.accept().await.unwrap());
            }
        };
        let connecting = async {
            for _ in 0..5 {
                drop(
                    TcpStream::connect(theirs.local_addr().unwrap())
                        .await
                        .unwrap(),
                );
                theirs.set_nonblocking(false).unwrap();
                sleep(MILLISECOND).await;
            }
        };
        or(accepting, connecting).await;
    });
}

/// Fault A31.
#[test]
fn a_peek_behind_what_is_there_waits_and_the_bytes_can_be_read() {
    let _limit = limit(300);
    in_every_way(|| async {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        let mut theirs = StdStream::connect(listener.local_addr().unwrap()).unwrap();
        let ours = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
        let offset = 0_i32;
        let (level, name) = (libc::SOL_SOCKET, libc::SO_PEEK_OFF);
        let value = (&raw const offset).cast();
        // SAFETY: the pointer is good for a read of four bytes, which is all that setsockopt(2) reads.
        let set = unsafe { libc::setsockopt(ours.as_raw_fd(), level, name, value, 4) };
        assert_eq!(set, 0);
        theirs.write_all(b"hello").unwrap();
        let buf = &mut [0; 8];
        // Under chaos in several steps.
        let mut seen = 0;
        while seen < 5 {
            seen += ours.peek(buf).await.unwrap();
        }
        timeout(3 * MILLISECOND, ours.peek(buf)).await.unwrap_err();
        ours.read_exact(&mut buf[..5]).await.unwrap();
        assert_eq!(&buf[..5], b"hello");
    });
}
