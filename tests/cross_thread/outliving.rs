//! Outliving a runtime: wakers, handles and names that are used after its end, or in the middle of it; and
//! end of a thread.

use std::cell::RefCell;
use std::fs;
use std::future::{Future, pending, poll_fn};
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::future::poll_once;
use futures_task::LocalSpawn;
use reveille::io::AsyncFd;
use reveille::runtime::Handle;
use reveille::task::yield_now;
use reveille::time::sleep;
use reveille::{Runtime, block_on};

use crate::limit::limit;
use crate::support::alone;
use crate::{
    DroppedOn, Elsewhere, LIMIT, Wakes, a_waker_of, assert_holds, pair, poll_in, read,
    registrations, within,
};

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

/// R6, exact names. Catches: a place taken for its tenant, so that a handle of one who left spawns
/// into one who moved in, or reads its counters.
#[test]
fn names_of_an_earlier_tenant_find_nothing_in_a_reused_place() {
    alone(
        "outliving::names_of_an_earlier_tenant_find_nothing_in_a_reused_place",
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
        "outliving::ten_thousand_runtimes_use_one_place_and_no_descriptor",
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
        "outliving::what_is_spawned_while_the_timers_end_is_dropped_one_by_one",
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
    alone(
        "outliving::a_wake_without_descriptors_does_not_panic",
        || {
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
        },
    );
}

/// Fault A22. Catches: a wake after the end that writes to the number its bell had.
#[test]
fn a_wake_after_the_end_does_not_write_into_a_reused_descriptor() {
    alone(
        "outliving::a_wake_after_the_end_does_not_write_into_a_reused_descriptor",
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
        "outliving::thread_local_destructors_may_wake_drop_and_ask_in_either_order",
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
