//! The end of a runtime, as those see it who wait there with wakers of their own.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use reveille::io::AsyncFd;
use reveille::net::TcpListener;
use reveille::runtime::Handle;
use reveille::time::sleep;
use reveille::{Runtime, block_on};

use crate::foreign::{Act, foreign};
use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::within::within;
use crate::{pair, reader};

/// Fault B44. Catches: a future of a source, or of a timer, whose runtime ends and that nobody is
/// told of, so that the set it lives in never polls it again; a wake of a task that has been dropped.
#[test]
fn the_end_of_a_runtime_wakes_whoever_else_waits_there() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, _theirs) = reader();
    let (polled, _others) = reader();
    let mut fires = sleep(Duration::from_secs(3600));
    let mut readable = Box::pin(ours.readable());
    let (by_source, source) = Wakes::new();
    let (by_poll, method) = Wakes::new();
    let (by_timer, timer) = Wakes::new();
    inside(&runtime, || {
        assert!(poll(&mut readable, &source).is_pending());
        let cx = &mut Context::from_waker(&method);
        assert!(polled.poll_read_ready(cx).is_pending());
        assert!(poll(&mut fires, &timer).is_pending());
    });
    drop(runtime.spawn(pending::<()>()));
    drop(runtime);
    assert_eq!(
        (by_source.count(), by_poll.count(), by_timer.count()),
        (1, 1, 1)
    );
    // They are polled elsewhere, and say what is the matter, or go on.
    block_on(async {
        assert!(matches!(poll(&mut readable, &source), Poll::Ready(Err(_))));
        assert!(poll(&mut fires, &timer).is_pending());
    });
}

/// A set of one, as a `FuturesUnordered` is: it polls its future only if that was woken.
struct Set<F> {
    future: Pin<Box<F>>,
    woken: Arc<Woken>,
}

struct Woken {
    flag: AtomicBool,
    outer: Mutex<Option<Waker>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.flag.store(true, SeqCst);
        let outer = self.outer.lock().unwrap().take();
        outer.into_iter().for_each(Waker::wake);
    }
}

impl<F: Future> Set<F> {
    fn new(future: F) -> Set<F> {
        let (flag, outer) = (AtomicBool::new(true), Mutex::new(None));
        Set {
            future: Box::pin(future),
            woken: Arc::new(Woken { flag, outer }),
        }
    }
}

impl<F: Future> Future for Set<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        *self.woken.outer.lock().unwrap() = Some(cx.waker().clone());
        if !self.woken.flag.swap(false, SeqCst) {
            return Poll::Pending;
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }
}

/// Fault B44. Catches: a set that moved on and sleeps for ever.
#[test]
fn a_set_that_moves_on_when_its_runtime_ends_goes_on() {
    within(20, || {
        let first = Runtime::new().unwrap();
        let mut sleeps = Set::new(sleep(Duration::from_millis(1)));
        let listens = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.accept().await.map(drop)
        };
        let mut listens = Set::new(listens);
        inside(&first, || {
            assert!(poll(&mut sleeps, Waker::noop()).is_pending());
            assert!(poll(&mut listens, Waker::noop()).is_pending());
        });
        drop(first);
        block_on(async {
            sleeps.await;
            let error = listens.await.unwrap_err();
            assert!(error.to_string().contains("another runtime"), "{error}");
        });
    });
}

/// Faults B15, B44; R9. Catches: a waker that panics, or a destructor that does, and keeps the others
/// from being woken; one that is dropped before all are woken.
#[test]
fn at_the_end_of_a_runtime_all_are_woken_before_any_is_dropped() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let acts: Rc<RefCell<Vec<Act>>> = Rc::default();
    let seen = Rc::clone(&acts);
    let waker = foreign(move |act| {
        if act != Act::Clone {
            seen.borrow_mut().push(act);
            panic!("of a foreign waker");
        }
    });
    let readers: Vec<_> = (0..3).map(|_| reader()).collect();
    let mut sleeps: Vec<_> = (0..3).map(|_| sleep(Duration::from_secs(3600))).collect();
    inside(&runtime, || {
        for (ours, _) in &readers {
            assert!(
                ours.poll_read_ready(&mut Context::from_waker(&waker))
                    .is_pending()
            );
        }
        for sleep in &mut sleeps {
            assert!(poll(sleep, &waker).is_pending());
        }
    });
    drop(runtime);
    let mut expected = vec![Act::Wake; 6];
    expected.extend([Act::Drop; 6]);
    assert_eq!(*acts.borrow(), expected);
    std::mem::forget(waker);
}

/// A waker that, while it is dropped, polls another sleep, as long as that is possible: its own
/// successor is in there.
struct Rearm(u32, Arc<AtomicUsize>);

impl Wake for Rearm {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Rearm {
    fn drop(&mut self) {
        self.1.fetch_add(1, SeqCst);
        assert!(Handle::try_current().is_ok(), "dropped outside its runtime");
        if self.0 > 0 {
            arm(self.0 - 1, &self.1);
        }
    }
}

fn arm(left: u32, drops: &Arc<AtomicUsize>) {
    let waker = Waker::from(Arc::new(Rearm(left, Arc::clone(drops))));
    let mut sleep = sleep(Duration::from_secs(1000));
    assert!(poll(&mut sleep, &waker).is_pending());
    std::mem::forget(sleep);
}

/// Fault B45; promise 7. Catches: timers that are armed while the wakers of others are dropped, and
/// whose own are dropped when the runtime has gone, so that their panic comes out of its drop.
#[test]
fn what_is_armed_while_a_runtime_ends_is_dropped_inside_it() {
    let _limit = limit(30);
    for left in [1, 2, 100] {
        let drops = Arc::new(AtomicUsize::new(0));
        let runtime = Runtime::new().unwrap();
        inside(&runtime, || arm(left, &drops));
        drop(runtime);
        assert_eq!(drops.load(SeqCst), left as usize + 1);
    }
}

/// Registers a source whose waker registers the next one as it is dropped, so many of them.
fn register(left: u32, told: &Rc<Cell<u32>>) {
    let (ours, peer) = pair();
    let ours = AsyncFd::new(ours).unwrap();
    let count = Rc::clone(told);
    let waker = foreign(move |act| match act {
        Act::Clone => {}
        Act::Wake => count.set(count.get() + 1),
        Act::Drop if left > 0 => register(left - 1, &count),
        Act::Drop => {}
    });
    let cx = &mut Context::from_waker(&waker);
    assert!(ours.poll_read_ready(cx).is_pending());
    std::mem::forget((waker, ours, peer));
}

/// Fault B45. Catches: sources that are registered while a runtime ends, and are not told of it.
#[test]
fn what_is_registered_while_a_runtime_ends_goes_with_it() {
    let _limit = limit(30);
    let told = Rc::new(Cell::new(0));
    let runtime = Runtime::new().unwrap();
    inside(&runtime, || register(9, &told));
    drop(runtime);
    assert_eq!(told.get(), 10);
}

/// Fault B45. Catches: a shutdown that adopts what another thread spawns meanwhile, round after round.
#[test]
fn a_thread_that_goes_on_spawning_does_not_keep_a_runtime_from_ending() {
    within(60, || {
        let runtime = Runtime::new().unwrap();
        let handle = runtime.handle();
        let (stop, spawned) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    handle.spawn(async {});
                    spawned.fetch_add(1, SeqCst);
                }
            });
            while spawned.load(SeqCst) < 1000 {
                thread::yield_now();
            }
            let before = spawned.load(SeqCst);
            drop(runtime);
            // Far less than what can be spawned while as many are dropped again and again.
            let meanwhile = spawned.load(SeqCst) - before;
            stop.store(true, SeqCst);
            assert!(meanwhile < 10_000_000, "{meanwhile}");
        });
    });
}

/// Fault B45. Catches: a runtime that is about to end and says that it takes tasks.
#[test]
fn what_a_thread_spawns_while_a_runtime_ends_is_dropped_at_once() {
    let _limit = limit(30);
    struct Spawns(Handle, Rc<Cell<bool>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let dropped = Arc::new(AtomicBool::new(false));
            let flag = Flag(Arc::clone(&dropped));
            let handle = self.0;
            thread::spawn(move || handle.spawn(async move { drop(flag) }))
                .join()
                .unwrap();
            assert!(futures_task::Spawn::status(&self.0).is_err());
            self.1.set(dropped.load(SeqCst));
        }
    }
    struct Flag(Arc<AtomicBool>);
    impl Drop for Flag {
        fn drop(&mut self) {
            self.0.store(true, SeqCst);
        }
    }
    let runtime = Runtime::new().unwrap();
    let told = Rc::new(Cell::new(false));
    let spawns = Spawns(runtime.handle(), Rc::clone(&told));
    drop(runtime.spawn(async move {
        let _spawns = spawns;
        pending::<()>().await;
    }));
    runtime.turn().unwrap();
    assert!(futures_task::Spawn::status(&runtime.handle()).is_ok());
    drop(runtime);
    assert!(told.get());
}

/// Fault B45. Catches: a shutdown that never ends, or whose rest breaks out of it.
#[test]
fn wakers_that_arm_timers_for_ever_do_not_keep_a_runtime_from_ending() {
    within(60, || {
        let drops = Arc::new(AtomicUsize::new(0));
        let runtime = Runtime::new().unwrap();
        inside(&runtime, || arm(u32::MAX, &drops));
        drop(runtime);
        assert!(drops.load(SeqCst) >= 1000);
    });
}
