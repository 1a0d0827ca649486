//! The bomb: its drop does everything there is to do with the runtime it explodes in, from wherever
//! that is.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::io;
use std::os::unix::net::UnixStream;
use std::panic::catch_unwind;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use reveille::io::{AsyncFd, Interest};
use reveille::runtime::{Handle, Runtime};
use reveille::signal::unix::{SignalKind, signal};
use reveille::task::{self, JoinHandle, JoinSet, yield_now};
use reveille::time::{self, Sleep, interval, sleep, timeout};
use reveille::{block_on, spawn};

thread_local! {
    static EXPLOSIONS: Cell<usize> = const { Cell::new(0) };
    /// Those that came to their end: a panic in the others may have been contained.
    static COMPLETE: Cell<usize> = const { Cell::new(0) };
    static MATERIAL: RefCell<Vec<Material>> = const { RefCell::new(Vec::new()) };
}

pub(crate) struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        explode();
    }
}

/// What a bomb needs for its explosion, and drops in it.
pub(crate) struct Material {
    pub(crate) victim: JoinHandle<()>,
    joined: JoinHandle<Box<u8>>,
    registered: AsyncFd<UnixStream>,
    due: Sleep,
    pub(crate) waker: Waker,
    set: JoinSet<()>,
}

impl Material {
    /// What one explosion would need; nothing if it is gone, as it may be when the destructor of
    /// another thread-local asks.
    pub(crate) fn take() -> Option<Material> {
        MATERIAL.try_with(|all| all.borrow_mut().pop()).ok()?
    }
}

/// Lays out material for so many explosions, in the current runtime.
pub(crate) async fn lay_out(explosions: usize) {
    for _ in 0..explosions {
        let registered = source();
        let mut due = sleep(Duration::from_millis(1));
        let mut set = JoinSet::new();
        set.spawn(pending());
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let mut cx = Context::from_waker(&waker);
        drop(registered.poll_read_ready(&mut cx));
        assert!(Pin::new(&mut due).poll(&mut cx).is_pending());
        let material = Material {
            victim: spawn(pending()),
            joined: spawn(async { Box::new(1) }),
            registered,
            due,
            waker,
            set,
        };
        MATERIAL.with_borrow_mut(|all| all.push(material));
    }
    EXPLOSIONS.set(0);
    COMPLETE.set(0);
}

/// There was an explosion, and each one came to its end; what material is left is dropped.
#[track_caller]
pub(crate) fn assert_exploded(place: &str) {
    assert!(EXPLOSIONS.get() >= 1, "{place}: no explosion");
    assert_eq!(COMPLETE.get(), EXPLOSIONS.get(), "{place}: one panicked");
    MATERIAL.take();
}

/// The runtime is as good as ever: it spawns, sleeps, waits and answers other threads.
pub(crate) fn check(runtime: &Runtime) {
    runtime.block_on(async {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        spawn(async { sleep(Duration::from_millis(1)).await })
            .await
            .unwrap();
        let mut thread = None;
        poll_fn(|_| match &thread {
            None => {
                let waker = waker.clone();
                thread = Some(thread::spawn(move || waker.wake()));
                Poll::Pending
            }
            Some(_) => Poll::Ready(()),
        })
        .await;
        thread.unwrap().join().unwrap();
    });
}

/// Does everything there is to do, short of turning the runtime.
pub(crate) fn explode() {
    EXPLOSIONS.set(EXPLOSIONS.get() + 1);
    let at_home = Handle::try_current().is_ok();
    if at_home {
        make_anew();
        // A panic in the panic hook, or one more while one unwinds, would end the process.
        if !thread::panicking() {
            misuse();
        }
    }
    use_up(at_home);
    COMPLETE.set(COMPLETE.get() + 1);
}

/// A source that was never registered.
fn source() -> AsyncFd<UnixStream> {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    AsyncFd::new(ours).unwrap()
}

/// Makes one of each thing there is, uses it, and drops it.
fn make_anew() {
    let mut cx = Context::from_waker(Waker::noop());
    drop(spawn(yield_now()));
    drop(spawn(pending::<()>()).abort_on_drop());
    drop(task::Builder::new().name("debris").spawn(yield_now()));
    Handle::current().spawn(async {});
    let _metrics = Handle::current().metrics();
    let _id = task::try_id();

    let minute = Duration::from_secs(60);
    let mut new = sleep(minute);
    assert!(Pin::new(&mut new).poll(&mut cx).is_pending());
    new.reset(Instant::now() + 2 * minute);
    assert!(
        pin!(timeout(minute, pending::<()>()))
            .poll(&mut cx)
            .is_pending()
    );
    let _tick = interval(minute).poll_tick(&mut cx);

    let registered = source();
    // Nobody holds the other end any more, which the next turn would tell.
    assert!(registered.poll_read_ready(&mut cx).is_pending());
    let refused: io::Result<()> =
        registered.try_io(
            Interest::READABLE,
            |_| Err(io::ErrorKind::WouldBlock.into()),
        );
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::WouldBlock);

    let mut signals = signal(SignalKind::user_defined2()).unwrap();
    assert!(signals.poll_recv(&mut cx).is_pending());

    let other = Runtime::new().unwrap();
    drop(other.spawn(yield_now()));
}

/// Calls what panics by its contract; stops and moves the clock.
fn misuse() {
    assert!(
        catch_unwind(|| block_on(async {})).is_err(),
        "it is refused"
    );
    let stopped = catch_unwind(time::pause).is_ok();
    let mut cx = Context::from_waker(Waker::noop());
    let _moved = pin!(time::advance(Duration::from_millis(1))).poll(&mut cx);
    if stopped {
        time::resume();
    }
}

/// Uses and drops what was laid out before.
fn use_up(at_home: bool) {
    let Some(material) = Material::take() else {
        return;
    };
    let Material {
        victim,
        mut joined,
        registered,
        mut due,
        waker,
        mut set,
    } = material;
    waker.wake_by_ref();
    victim.abort();
    if at_home {
        let mut cx = Context::from_waker(Waker::noop());
        let _finished = joined.is_finished();
        drop(Pin::new(&mut joined).poll(&mut cx));
        due.reset(Instant::now());
        drop(registered.poll_write_ready(&mut cx));
        set.spawn(async {});
        drop(set.try_join_next());
        set.abort_all();
    }
    drop((victim, joined, registered, due, waker, set));
}
