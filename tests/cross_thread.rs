//! What crosses threads, or runtimes: wakes, handles, and everything that is dropped elsewhere.
//!
//! "Elsewhere" is threefold, and [`Elsewhere`] goes through it: another thread, the same thread
//! outside `block_on` and `turn`, and the inside of another runtime's turn.

use std::cell::{Cell, RefCell};
use std::fs;
use std::future::{Future, pending, poll_fn};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_task::LocalSpawn;
use reveille::io::{AsyncFd, Interest};
use reveille::runtime::Handle;
use reveille::task::yield_now;
use reveille::time::{Sleep, sleep};
use reveille::{Runtime, block_on, spawn};

use limit::limit;
use support::alone;

#[path = "support/limit.rs"]
mod limit;
#[path = "support/alone.rs"]
mod support;

/// Far beyond what anything here takes, in seconds.
const LIMIT: u64 = 30;

/// Runs `f` on a thread of its own; a hang is a failure after so many seconds.
#[track_caller]
fn within<R: Send + 'static>(seconds: u64, f: impl FnOnce() -> R + Send + 'static) -> R {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        let result = f();
        done.send(()).ok();
        result
    });
    let waited = is_done.recv_timeout(Duration::from_secs(seconds));
    assert_ne!(waited, Err(mpsc::RecvTimeoutError::Timeout), "hangs");
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

#[derive(Clone, Copy, Debug)]
enum Elsewhere {
    Thread,
    Outside,
    OtherRuntime,
}

impl Elsewhere {
    const ALL: [Elsewhere; 3] = [
        Elsewhere::Thread,
        Elsewhere::Outside,
        Elsewhere::OtherRuntime,
    ];

    fn run<R: Send>(self, f: impl FnOnce() -> R + Send) -> R {
        match self {
            Elsewhere::Thread => thread::scope(|scope| scope.spawn(f).join().unwrap()),
            Elsewhere::Outside => f(),
            Elsewhere::OtherRuntime => block_on(async { f() }),
        }
    }
}

/// A waker that counts, and whose owners can be counted.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

/// Notes the thread it is dropped on.
struct DroppedOn(mpsc::Sender<ThreadId>);

impl Drop for DroppedOn {
    fn drop(&mut self) {
        self.0.send(thread::current().id()).ok();
    }
}

/// What `Debug` says of a runtime: its tasks, sources and timers.
#[track_caller]
fn assert_holds(runtime: &Runtime, what: &str) {
    let text = format!("{runtime:?}");
    assert!(text.contains(what), "{text}, expected {what}");
}

/// The registrations of a runtime's epoll instance, its bell's among them.
fn registrations(runtime: &Runtime) -> Vec<i32> {
    let path = format!("/proc/self/fdinfo/{}", runtime.as_fd().as_raw_fd());
    let mut fds = Vec::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        if let Some(rest) = line.strip_prefix("tfd:") {
            fds.push(rest.split_whitespace().next().unwrap().parse().unwrap());
        }
    }
    fds
}

/// How often a runtime that has no source was rung: its bell is never read.
fn rings(runtime: &Runtime) -> u64 {
    let [bell] = registrations(runtime)[..] else {
        panic!("the bell alone is registered")
    };
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{bell}")).unwrap();
    let count = info
        .lines()
        .find_map(|line| line.strip_prefix("eventfd-count:"));
    u64::from_str_radix(count.unwrap().trim(), 16).unwrap()
}

/// Polls `future` once in `runtime`, with a waker that counts.
fn poll_in<F: Future + Unpin>(runtime: &Runtime, future: &mut F, wakes: &Arc<Wakes>) -> bool {
    let waker = Waker::from(Arc::clone(wakes));
    runtime.block_on(async {
        Pin::new(&mut *future)
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
    })
}

/// A socket to wait for, and its other end.
fn pair() -> (AsyncFd<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (AsyncFd::new(ours).unwrap(), theirs)
}

async fn read(fd: &AsyncFd<UnixStream>) -> io::Result<u8> {
    let mut byte = [0];
    fd.async_io(Interest::READABLE, |mut socket| socket.read(&mut byte))
        .await?;
    Ok(byte[0])
}

/// A waker of a task in `runtime`, which goes on waiting.
fn a_waker_of(runtime: &Runtime) -> Waker {
    let (sender, receiver) = mpsc::channel();
    drop(runtime.spawn(poll_fn(move |cx| {
        sender.send(cx.waker().clone()).ok();
        Poll::<()>::Pending
    })));
    runtime.turn().unwrap();
    receiver.recv().unwrap()
}

/// Waits until the runtime has parked more than `before` times.
fn wait_until_parked(handle: &Handle, before: u64) {
    while handle.metrics().parks <= before {
        thread::yield_now();
    }
}

/// R8. Catches: a wake from elsewhere that does not ring.
#[test]
fn a_wake_from_a_thread_ends_the_wait() {
    within(LIMIT, || {
        let done = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel::<(Waker, Handle)>();
        let theirs = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let (waker, handle) = receiver.recv().unwrap();
            wait_until_parked(&handle, 0);
            theirs.store(true, SeqCst);
            waker.wake();
        });
        block_on(poll_fn(|cx| {
            if done.load(SeqCst) {
                return Poll::Ready(());
            }
            sender.send((cx.waker().clone(), Handle::current())).ok();
            Poll::Pending
        }));
        thread.join().unwrap();
    });
}

/// R8. Catches: a command put into the inbox without ringing.
#[test]
fn a_spawn_from_a_thread_ends_the_wait() {
    within(LIMIT, || {
        let (sender, receiver) = mpsc::channel::<(Waker, Handle)>();
        let done = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let (waker, handle) = receiver.recv().unwrap();
            wait_until_parked(&handle, 0);
            handle.spawn(async move {
                theirs.store(true, SeqCst);
                waker.wake(); // at home
            });
        });
        block_on(poll_fn(|cx| {
            if done.load(SeqCst) {
                return Poll::Ready(());
            }
            sender.send((cx.waker().clone(), Handle::current())).ok();
            Poll::Pending
        }));
        thread.join().unwrap();
    });
}

/// R3. Fault B3. Catches: an abort from elsewhere that is not obeyed.
#[test]
fn an_abort_from_elsewhere_drops_the_future_at_home() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let (sender, dropped) = mpsc::channel();
        let guard = DroppedOn(sender);
        let task = runtime.spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        runtime.turn().unwrap();
        elsewhere.run(|| task.abort());
        assert!(dropped.try_recv().is_err(), "{elsewhere:?}: only marked");
        runtime.turn().unwrap();
        runtime.turn().unwrap();
        assert_eq!(
            dropped.try_recv(),
            Ok(thread::current().id()),
            "{elsewhere:?}"
        );
        assert!(runtime.block_on(task).unwrap_err().is_cancelled());
        assert_holds(&runtime, "tasks: 0");
    }
}

/// R3. Fault B2. Catches: the output of a task whose handle was dropped elsewhere kept until the
/// end of the runtime, or dropped there.
#[test]
fn a_join_handle_dropped_elsewhere_has_the_output_dropped_at_home() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let (sender, dropped) = mpsc::channel();
        let task = runtime.spawn(async move { DroppedOn(sender) });
        runtime.turn().unwrap();
        elsewhere.run(|| drop(task));
        assert!(dropped.try_recv().is_err(), "{elsewhere:?}");
        runtime.turn().unwrap();
        runtime.turn().unwrap();
        assert_eq!(
            dropped.try_recv(),
            Ok(thread::current().id()),
            "{elsewhere:?}"
        );
        assert_holds(&runtime, "tasks: 0");
    }
}

/// Fault D11. Catches: a timer left armed until its deadline by a `Sleep` dropped elsewhere.
#[test]
fn a_sleep_dropped_elsewhere_is_disarmed() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let wakes = Arc::new(Wakes::default());
        let mut sleep: Sleep = sleep(Duration::from_secs(3600));
        assert!(!poll_in(&runtime, &mut sleep, &wakes));
        assert_holds(&runtime, "timers: 1");
        elsewhere.run(|| drop(sleep));
        runtime.turn().unwrap();
        assert_holds(&runtime, "timers: 0");
        assert_eq!(
            Arc::strong_count(&wakes),
            1,
            "{elsewhere:?}: its waker is gone"
        );
    }
}

/// R7. Catches: a registration that outlives its `AsyncFd` because a duplicate keeps the file
/// open; a slot that is not freed.
#[test]
fn an_async_fd_dropped_elsewhere_leaves_epoll_and_its_slot() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let (fd, _theirs) = pair();
        let duplicate = fd.get_ref().try_clone().unwrap();
        runtime.block_on(async { assert!(poll_once(read(&fd)).await.is_none()) });
        assert_eq!(registrations(&runtime).len(), 2, "the bell and the socket");
        elsewhere.run(|| drop(fd));
        assert_eq!(registrations(&runtime).len(), 1, "{elsewhere:?}: at once");
        runtime.turn().unwrap();
        assert_holds(&runtime, "sources: 0");
        drop(duplicate);
    }
}

/// Catches: the waiter of a future that was dropped elsewhere kept until the next event, or woken.
#[test]
fn a_pending_read_dropped_elsewhere_waits_no_longer() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let (fd, mut theirs) = pair();
        let fd = Arc::new(fd);
        let wakes = Arc::new(Wakes::default());
        let reading = Arc::clone(&fd);
        let mut future: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            read(&reading).await.unwrap();
        });
        assert!(!poll_in(&runtime, &mut future, &wakes));
        assert_eq!(Arc::strong_count(&wakes), 2);
        elsewhere.run(|| drop(future));
        runtime.turn().unwrap();
        assert_eq!(Arc::strong_count(&wakes), 1, "{elsewhere:?}");
        theirs.write_all(b"a").unwrap();
        runtime.turn().unwrap();
        assert_eq!(wakes.0.load(SeqCst), 0, "{elsewhere:?}");
    }
}

/// Fault B5; R6. Catches: a name that is not asked whether its runtime lives.
#[test]
fn what_outlives_its_runtime_finds_nothing_anywhere() {
    let _limit = limit(30);
    for elsewhere in Elsewhere::ALL {
        let runtime = Runtime::new().unwrap();
        let (fd, mut theirs) = pair();
        let wakes = Arc::new(Wakes::default());
        let mut timer = sleep(Duration::from_secs(3600));
        assert!(!poll_in(&runtime, &mut timer, &wakes));
        runtime.block_on(async { assert!(poll_once(read(&fd)).await.is_none()) });
        let task = runtime.spawn(pending::<()>());
        let other = runtime.spawn(pending::<()>());
        let (handle, waker) = (runtime.handle(), a_waker_of(&runtime));
        drop(runtime);
        assert_eq!(Arc::strong_count(&wakes), 1);
        elsewhere.run(move || {
            waker.wake_by_ref();
            let (sender, dropped) = mpsc::channel();
            let guard = DroppedOn(sender);
            handle.spawn(async move { drop(guard) });
            assert_eq!(
                dropped.try_recv(),
                Ok(thread::current().id()),
                "dropped here"
            );
            assert_eq!(handle.metrics(), Default::default());
            task.abort();
            assert!(task.is_finished());
            assert!(block_on_or_poll(task).is_err());
            drop((other, timer, waker, handle));
            theirs.write_all(b"a").unwrap();
            drop(fd);
        });
    }
}

/// Polls a future once, inside the runtime there is or in one made for it.
fn block_on_or_poll<F: Future + Unpin>(mut future: F) -> F::Output {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(&mut future).poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("pending"),
    }
}

/// Fault B5. Catches: a waker that owns something, or reaches for what has gone.
#[test]
fn a_thousand_wakers_are_woken_and_dropped_after_the_end() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let wakers: Vec<Waker> = (0..1_000).map(|_| a_waker_of(&runtime)).collect();
    drop(runtime);
    let next = Runtime::new().unwrap(); // perhaps in the same place
    thread::spawn(move || wakers.into_iter().for_each(Waker::wake))
        .join()
        .unwrap();
    next.block_on(async { yield_now().await });
}

/// Fault B6. Catches: a reference count in the waker, or a wake that is queued once for each.
#[test]
fn a_million_clones_of_a_waker_cost_one_poll() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let waker = a_waker_of(&runtime);
    let before = runtime.handle().metrics();
    let clones: Vec<Waker> = (0..1_000_000).map(|_| waker.clone()).collect();
    clones.iter().for_each(Waker::wake_by_ref);
    drop(clones);
    runtime.turn().unwrap();
    runtime.turn().unwrap();
    let after = runtime.handle().metrics();
    assert_eq!(after.polls, before.polls + 1);
    assert_eq!(after.remote_wakes, before.remote_wakes + 1);
}

/// Fault B38. Catches: "asleep" not cleared by the first who rings; a wake listed although its bit
/// is set.
#[test]
fn a_storm_of_wakes_is_one_ring_and_one_poll_a_task() {
    let _limit = limit(30);
    const TASKS: u64 = 100;
    let runtime = Runtime::new().unwrap();
    let wakers: Vec<Waker> = (0..TASKS).map(|_| a_waker_of(&runtime)).collect();
    let (before, rung) = (runtime.handle().metrics(), rings(&runtime));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..100 {
                    wakers.iter().for_each(Waker::wake_by_ref);
                }
            });
        }
    });
    assert_eq!(rings(&runtime) - rung, 1);
    runtime.turn().unwrap();
    runtime.turn().unwrap();
    let after = runtime.handle().metrics();
    assert_eq!(after.remote_wakes - before.remote_wakes, TASKS);
    assert_eq!(after.polls - before.polls, TASKS);
    assert_eq!(rings(&runtime) - rung, 1);
}

/// Fault B38. Catches: a ring for a runtime that is awake and will look by itself.
#[test]
fn nobody_rings_while_the_runtime_is_awake() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let waker = a_waker_of(&runtime);
    let rung = rings(&runtime);
    runtime.block_on(async {
        thread::spawn(move || (0..1_000).for_each(|_| waker.wake_by_ref()))
            .join()
            .unwrap();
    });
    assert_eq!(rings(&runtime), rung);
    assert!(
        runtime.next_deadline().is_some(),
        "there is mail: turn at once"
    );
}

/// Promise 6. Catches: an inbox that is read only when the runtime looks at epoll, every 61 polls.
#[test]
fn a_wake_that_comes_while_others_run_is_heard_at_the_next_poll() {
    let _limit = limit(30);
    block_on(async {
        let mut was_polled = false;
        let waits = poll_fn(move |cx| {
            if was_polled {
                return Poll::Ready(());
            }
            was_polled = true;
            let waker = cx.waker().clone();
            // Joined here, so that the wake has been before this poll ends.
            thread::spawn(move || waker.wake()).join().unwrap();
            Poll::Pending
        });
        let waits = spawn(waits);
        yield_now().await;
        yield_now().await;
        assert!(waits.is_finished());
    });
}

/// Fault B8. Catches: wakers that differ from poll to poll; a hint without the serial.
#[test]
fn will_wake_is_true_for_the_same_task_and_false_for_another() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let seen = Rc::new(RefCell::new(Vec::new()));
    let polled = |times: usize| {
        let (seen, mut left) = (Rc::clone(&seen), times);
        runtime.spawn(poll_fn(move |cx| {
            seen.borrow_mut().push(cx.waker().clone());
            left -= 1;
            if left == 0 {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    };
    for times in [2, 1] {
        drop(polled(times)); // and the slot is free as soon as it is done
        runtime.turn().unwrap();
        runtime.turn().unwrap();
    }
    let seen = seen.borrow();
    assert!(seen[0].will_wake(&seen[1]) && seen[0].will_wake(&seen[0].clone()));
    assert!(!seen[0].will_wake(&seen[2]));
    let index = |waker: &Waker| waker.data().addr() % (1 << 28);
    assert_eq!(index(&seen[0]), index(&seen[2]), "the slot was used again");
}

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
    let name = "of_two_runtimes_that_register_one_async_fd_the_loser_leaves_no_trace";
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

/// R6, exact names. Catches: a place taken for its tenant, so that a handle of one who left spawns
/// into one who moved in, or reads its counters.
#[test]
fn names_of_an_earlier_tenant_find_nothing_in_a_reused_place() {
    alone(
        "names_of_an_earlier_tenant_find_nothing_in_a_reused_place",
        || {
            let first = Runtime::new().unwrap();
            let (fd, _theirs) = pair();
            let wakes = Arc::new(Wakes::default());
            let mut timer = sleep(Duration::from_secs(3600));
            assert!(!poll_in(&first, &mut timer, &wakes));
            first.block_on(async { assert!(poll_once(read(&fd)).await.is_none()) });
            let (task, waker) = (first.spawn(pending::<()>()), a_waker_of(&first));
            let handle = first.handle();
            drop(first);

            let second = Runtime::new().unwrap();
            let (same, _other_end) = pair();
            second.block_on(async { assert!(poll_once(read(&same)).await.is_none()) });
            let mut own = sleep(Duration::from_secs(3600));
            assert!(!poll_in(&second, &mut own, &wakes));
            let living = second.spawn(pending::<()>());
            let new_waker = a_waker_of(&second);
            let place = |waker: &Waker| waker.data().addr() >> 48;
            assert_eq!(place(&waker), place(&new_waker), "the place was used again");

            let polls = second.handle().metrics().polls;
            waker.wake();
            second.block_on(async {
                let future = Box::new(async {}).into();
                assert!(
                    handle.spawn_local_obj(future).is_err(),
                    "its runtime has ended"
                );
                assert!(task.is_finished());
                task.abort();
                drop((task, timer));
            });
            assert_eq!(handle.metrics(), Default::default());
            drop(fd);
            // Two for the main future that ran, and one for nothing at most.
            assert!(second.handle().metrics().polls <= polls + 2);
            assert!(!living.abort_handle().id().to_string().is_empty());
            assert_holds(&second, "tasks: 2, sources: 1, timers: 1");
            assert_eq!(registrations(&second).len(), 2);
        },
    );
}

/// Catches: descriptors that a runtime leaves open; places that are not given back.
#[test]
fn ten_thousand_runtimes_use_one_place_and_no_descriptor() {
    alone(
        "ten_thousand_runtimes_use_one_place_and_no_descriptor",
        || {
            let fds = || fs::read_dir("/proc/self/fd").unwrap().count();
            let before = fds();
            for _ in 0..10_000 {
                let waker = block_on(poll_fn(|cx| Poll::Ready(cx.waker().clone())));
                assert_eq!(waker.data().addr() >> 48, 0);
            }
            assert_eq!(fds(), before);
        },
    );
}

/// Fault B4. Catches: a tenant's bell or inbox freed under a wake (with ASan), or a hang.
#[test]
fn runtimes_end_under_a_storm_of_wakes() {
    within(LIMIT, || {
        let wakers: Arc<Mutex<Vec<Waker>>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let storm = [(); 2].map(|()| {
            let (wakers, stop) = (Arc::clone(&wakers), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(SeqCst) {
                    let wakers = wakers.lock().unwrap().clone();
                    wakers.iter().for_each(Waker::wake_by_ref);
                }
            })
        });
        for _ in 0..1_000 {
            let runtime = Runtime::new().unwrap();
            let fresh: Vec<Waker> = (0..4).map(|_| a_waker_of(&runtime)).collect();
            *wakers.lock().unwrap() = fresh;
            runtime.turn().unwrap();
        }
        stop.store(true, SeqCst);
        for thread in storm {
            thread.join().unwrap();
        }
    });
}

/// A future whose drop panics.
struct PanicsInDrop(Arc<AtomicUsize>);

impl Drop for PanicsInDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
        panic!("in drop");
    }
}

/// A waker whose drop spawns: foreign code, at the very end of a runtime.
struct SpawnsInDrop(Handle, Arc<AtomicUsize>);

impl Wake for SpawnsInDrop {
    fn wake(self: Arc<Self>) {}
}

impl Drop for SpawnsInDrop {
    fn drop(&mut self) {
        for _ in 0..2 {
            let bomb = PanicsInDrop(Arc::clone(&self.1));
            self.0.spawn(async move {
                let _bomb = bomb;
                assert!(Handle::try_current().is_ok(), "never polled");
            });
        }
    }
}

/// Fault B12, R3. Catches: what arrives after the last look of a shutdown dropped in one go, where
/// two panics abort the process.
#[test]
fn what_is_spawned_while_the_timers_end_is_dropped_one_by_one() {
    alone(
        "what_is_spawned_while_the_timers_end_is_dropped_one_by_one",
        || {
            let runtime = Runtime::new().unwrap();
            let dropped = Arc::new(AtomicUsize::new(0));
            let waker = Waker::from(Arc::new(SpawnsInDrop(
                runtime.handle(),
                Arc::clone(&dropped),
            )));
            let mut timer = sleep(Duration::from_secs(3600));
            runtime.block_on(async {
                let mut cx = Context::from_waker(&waker);
                assert!(Pin::new(&mut timer).poll(&mut cx).is_pending());
            });
            drop(waker); // the timer has the last one
            drop(runtime);
            assert_eq!(dropped.load(SeqCst), 2);
        },
    );
}

/// Fault A22. Catches: a wake that panics because its bell is no longer what it was.
#[test]
fn a_wake_without_descriptors_does_not_panic() {
    alone("a_wake_without_descriptors_does_not_panic", || {
        let runtime = Runtime::new().unwrap();
        let waker = a_waker_of(&runtime);
        // SAFETY: close_range(2) touches no memory. It breaks the owners of every descriptor above
        // the standard streams, which is the point; what follows bears it, and the process ends.
        let closed = unsafe { libc::close_range(3, libc::c_uint::MAX, 0) };
        assert_eq!(closed, 0);
        let handle = runtime.handle();
        let polled = thread::spawn(move || {
            waker.wake();
            handle.spawn(async {});
        });
        polled.join().unwrap();
        std::mem::forget(runtime); // std's debug build aborts at the close of a closed descriptor
    });
}

/// Fault A22. Catches: a wake after the end that writes to the number its bell had.
#[test]
fn a_wake_after_the_end_does_not_write_into_a_reused_descriptor() {
    alone(
        "a_wake_after_the_end_does_not_write_into_a_reused_descriptor",
        || {
            let runtime = Runtime::new().unwrap();
            let wakers: Vec<Waker> = (0..1_000).map(|_| a_waker_of(&runtime)).collect();
            let (bell, handle) = (registrations(&runtime)[0], runtime.handle());
            drop(runtime);
            let name = format!("reveille-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            let mut files: Vec<fs::File> = Vec::new();
            while !files.iter().any(|file| file.as_raw_fd() == bell) {
                files.push(fs::File::create(&path).unwrap());
            }
            fs::remove_file(&path).unwrap();
            thread::spawn(move || {
                for waker in wakers {
                    waker.wake();
                    handle.spawn(async {});
                }
            })
            .join()
            .unwrap();
            for file in &mut files {
                assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), 0);
            }
        },
    );
}

/// What the end of a thread does with a runtime, and what it does from a destructor.
struct AtThreadEnd {
    waker: Option<Waker>,
    fd: Option<AsyncFd<OwnedFd>>,
    had_runtime: mpsc::Sender<bool>,
}

impl Drop for AtThreadEnd {
    fn drop(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        drop(self.fd.take());
        let _ = spawn_if_possible();
        self.had_runtime.send(Handle::try_current().is_ok()).ok();
    }
}

fn spawn_if_possible() -> Result<(), ()> {
    let handle = Handle::try_current().map_err(drop)?;
    handle.spawn(async {});
    Ok(())
}

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    static GUARD: RefCell<Option<AtThreadEnd>> = const { RefCell::new(None) };
}

/// Fault B21. Catches: a thread-local of the library's that is gone in another's destructor, so
/// that a wake, a drop or `try_current` panics there, which aborts.
#[test]
fn thread_local_destructors_may_wake_drop_and_ask_in_either_order() {
    alone(
        "thread_local_destructors_may_wake_drop_and_ask_in_either_order",
        || {
            for runtime_first in [true, false] {
                let (had_runtime, outcome) = mpsc::channel();
                let in_task = had_runtime.clone();
                let thread = thread::spawn(move || {
                    // Destructors run in the reverse order of the first use, or in it.
                    let uses: [fn(); 2] = [|| RUNTIME.with(|_| ()), || GUARD.with(|_| ())];
                    let order = if runtime_first { [0, 1] } else { [1, 0] };
                    for i in order {
                        uses[i]();
                    }

                    let runtime = Runtime::new().unwrap();
                    let (ours, _theirs) = UnixStream::pair().unwrap();
                    ours.set_nonblocking(true).unwrap();
                    let fd = AsyncFd::new(OwnedFd::from(ours)).unwrap();
                    runtime.block_on(async { assert!(poll_once(fd.readable()).await.is_none()) });
                    let guard = |waker, fd, had_runtime| AtThreadEnd {
                        waker,
                        fd,
                        had_runtime,
                    };
                    let task_guard = guard(Some(a_waker_of(&runtime)), None, in_task);
                    drop(runtime.spawn(async move {
                        let _guard = task_guard;
                        pending::<()>().await;
                    }));
                    runtime.turn().unwrap();
                    let outside = guard(Some(a_waker_of(&runtime)), Some(fd), had_runtime);
                    GUARD.set(Some(outside));
                    RUNTIME.set(Some(runtime));
                });
                thread.join().unwrap();
                let mut outcomes: Vec<bool> = outcome.iter().collect();
                outcomes.sort_unstable();
                // In the task's destructor its runtime is the current one, elsewhere there is none.
                assert_eq!(outcomes, [false, true]);
            }
        },
    );
}

/// Fault A23: each message is taken by a thread that then waits for the next answer, so one lost
/// wake stops all. Catches: "asleep" not published before the wait.
#[test]
fn a_ping_pong_over_threads_never_stops() {
    within(LIMIT, || {
        let (to_thread, from_runtime) = mpsc::channel::<Waker>();
        let answers = Arc::new(AtomicUsize::new(0));
        let theirs = Arc::clone(&answers);
        let thread = thread::spawn(move || {
            for waker in from_runtime {
                theirs.fetch_add(1, SeqCst);
                waker.wake();
            }
        });
        block_on(async {
            for round in 1..=5_000 {
                let mut sent = false;
                poll_fn(|cx| {
                    if !sent {
                        sent = true;
                        to_thread.send(cx.waker().clone()).unwrap();
                    }
                    if answers.load(SeqCst) >= round {
                        return Poll::Ready(());
                    }
                    Poll::Pending
                })
                .await;
            }
        });
        drop(to_thread);
        thread.join().unwrap();
    });
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
