//! Blocking work: a closure that runs on another thread, and a task that awaits what it returns.
//!
//! Interface: [`spawn_blocking`]; [`Runtime::spawn_blocking`] and [`JoinSet`](super::join_set::JoinSet) use
//! [`Blocking::start`]. For host names, [`resolve`]: a future of its own, and no task.
//! Invariants:
//! - Home and worker meet in a [`Slot`]. Under its lock a value is moved and nothing else: closures, outputs and wakers
//!   are run, cloned and dropped without it (R5).
//! - The closure is run, or dropped, once. Who finds it in the slot takes it: the worker to run it, the task to call it
//!   off.
//! - The output goes to the task, or is dropped on the worker if the task has gone.
//!
//! Read before: `pool`, `spawn`. Read next: `join_set`.

use std::future::Future;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use super::id::Refused;
use super::join::JoinHandle;
use crate::runtime::context;
use crate::runtime::core::Core;
use crate::runtime::explained::explained;
use crate::runtime::pool::{Job, Lane};
use crate::runtime::run::Runtime;
use crate::runtime::sys;
use crate::runtime::user_code;

/// Runs `work` on a thread of its own kind, where it may block, and returns the handle of a task that awaits it: for
/// files, names, compression, and libraries that know no async.
///
/// The threads are the current runtime's. One is made when there is work and none is idle, up to
/// [`max_blocking_threads`](crate::runtime::Builder::max_blocking_threads), which is 512; beyond that, work waits for
/// its turn. An idle one ends after
/// [`thread_keep_alive`](crate::runtime::Builder::thread_keep_alive), which is 10 s. Inside `work` no runtime is
/// current; send what it finds through a channel, or return it.
///
/// `work` runs even if the handle is dropped. [Aborted](JoinHandle::abort) before it has begun, it is dropped unrun,
/// on the runtime's thread, as soon as the runtime comes to its task; until then it may still begin. Aborted while it
/// runs, the handle says so then, too, and `work` goes on: nothing can stop it. What it returns is dropped on its thread;
/// what it had returned already, on the runtime's. So it is when the runtime ends, which waits for nothing (tokio's
/// waits); the end of the process cuts it off. To wait, use
/// [`Runtime::shutdown_timeout`](crate::runtime::Runtime::shutdown_timeout).
///
/// A round trip takes some 10 to 20 µs: less than that is better done in place.
///
/// While work is queued or runs, a paused clock does not advance by itself.
///
/// # Signals, children
/// The threads have the signal mask that the thread had when it built the runtime, so that what is started in `work` has
/// that of a child of `main`. **Signals that are to be read from a descriptor must be blocked before the runtime is
/// built**; blocked later, they find a thread here that does not block them, and do what they do by default.
///
/// In the child of a fork that `work` makes and returns from, its thread ends, and with it the child, whose only thread
/// it is: call exec or `_exit` there.
///
/// # Errors
/// The handle's: a [`JoinError`](super::id::JoinError) if `work` panicked or was aborted. If no thread of the runtime
/// exists and none can be made (pthread_create(3), EAGAIN), it was cancelled, and that error is the source. (With
/// `panic = "abort"` the process ends there, and says so.)
///
/// # Panics
/// Outside a runtime; in the child of a process that had a runtime before it forked; and if the runtime has 2^28 tasks
/// already.
///
/// # Cancel safety
/// The handle's: to drop it detaches the task, and `work` runs; see [`JoinHandle`].
///
/// # Examples
/// ```
/// reveille::block_on(async {
///     let read = reveille::task::spawn_blocking(|| std::fs::read_to_string("/proc/version"));
///     let version = read.await.unwrap().unwrap();
///     assert!(version.starts_with("Linux"));
/// });
/// ```
#[track_caller]
pub fn spawn_blocking<F, R>(work: F) -> JoinHandle<R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    let core = context::expect_current("`spawn_blocking` called");
    let task = Blocking::start(&core, work);
    JoinHandle::new(core.spawn(task, None, Location::caller()))
}

impl Runtime {
    /// Runs `work` on a thread where it may block; see [`spawn_blocking`]. Its task is awaited in the next
    /// [`block_on`](Runtime::block_on) or [`turn`](Runtime::turn).
    ///
    /// # Errors
    /// As [`spawn_blocking`].
    ///
    /// # Panics
    /// In the child of a process that had a runtime before it forked, and if the runtime has 2^28 tasks already.
    ///
    /// # Cancel safety
    /// As [`spawn_blocking`].
    ///
    /// # Examples
    /// ```
    /// let runtime = reveille::Runtime::new()?;
    /// let read = runtime.spawn_blocking(|| std::fs::read_to_string("/proc/version"));
    /// assert!(runtime.block_on(read).unwrap()?.starts_with("Linux"));
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F, R>(&self, work: F) -> JoinHandle<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        self.spawn(Blocking::start(self.core(), work))
    }
}

/// Has `work`, which resolves a name, run by a thread of the current runtime. Dropped early, it is called off, and what
/// runs is forgotten.
///
/// # Errors
/// Outside a runtime; in a forked child; and if there is no thread, and none can be made.
pub(crate) fn resolve<F, R>(work: F) -> io::Result<impl Future<Output = R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    sys::refuse_in_forked_child()?;
    let Some(core) = context::current() else {
        return Err(io::Error::other(
            "cannot resolve a host name outside a runtime: poll this inside `reveille::block_on` or \
             `Runtime::block_on`",
        ));
    };
    Blocking::submit(&core, Lane::Lookup, work).map_err(|(error, _unrun)| {
        let text = format!("no thread could be made to resolve a host name: {error}");
        explained(error, text)
    })
}

/// The future of work on another thread. `spawn_blocking` makes a task of it.
pub(super) struct Blocking<F, R>(Arc<Slot<F, R>>);

impl<F, R> Blocking<F, R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    /// Queues `work` at once, and not when the task is polled first: the caller may go on for long.
    #[track_caller]
    pub(super) fn start(core: &Core, work: F) -> Blocking<F, R> {
        if sys::is_forked_child() {
            panic!("`spawn_blocking` called: {}", sys::forked_child_error());
        }
        Blocking::submit(core, Lane::Work, work).unwrap_or_else(|(error, blocking)| {
            drop(
                blocking
                    .0
                    .settle(Stage::Ended(Err(Box::new(Refused(error))))),
            );
            blocking
        })
    }

    /// Queues `work`; hands it back, unrun, if there is no thread for it.
    fn submit(core: &Core, lane: Lane, work: F) -> Result<Self, (io::Error, Self)> {
        let slot = Arc::new(Slot(Mutex::new(Inner {
            stage: Stage::Queued(work),
            waker: None,
        })));
        match core.pool.submit(lane, Arc::clone(&slot) as Arc<dyn Job>) {
            Ok(()) => Ok(Blocking(slot)),
            Err((error, _job)) => Err((error, Blocking(slot))),
        }
    }
}

/// Where home and worker meet.
struct Slot<F, R>(Mutex<Inner<F, R>>);

/// What the lock of a [`Slot`] guards.
struct Inner<F, R> {
    /// How far the work has come, and what it has left.
    stage: Stage<F, R>,
    /// The task that awaits the end, or what else polls a lookup.
    waker: Option<Waker>,
}

/// The life of one piece of work.
enum Stage<F, R> {
    /// The closure waits for a thread.
    Queued(F),
    /// A thread has the closure and runs it.
    Running,
    /// The output, or the payload of the closure's panic, waits for the task.
    Ended(thread::Result<R>),
    /// The task has gone, or has the output.
    Gone,
}

impl<F, R> Slot<F, R> {
    /// The lock, also after a panic: no code under it leaves the stage half-made.
    fn lock(&self) -> MutexGuard<'_, Inner<F, R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the stage for good, and returns what was there, to be dropped without the lock.
    fn settle(&self, stage: Stage<F, R>) -> Inner<F, R> {
        let waker = None;
        mem::replace(&mut *self.lock(), Inner { stage, waker })
    }
}

impl<F, R> Job for Slot<F, R>
where
    F: FnOnce() -> R + Send,
    R: Send,
{
    fn run(&self) {
        let Some(work) = self.take_work() else { return };
        let output = catch_unwind(AssertUnwindSafe(work));
        if sys::is_forked_child() {
            // The work has forked, and a thread of the parent may have held the lock.
            return mem::forget(output);
        }
        let (unwanted, waker) = self.end(output);
        user_code::discard_any(unwanted);
        if let Some(waker) = waker {
            user_code::wake(waker);
        }
    }
}

impl<F, R> Slot<F, R> {
    /// The closure; `None` if it was called off.
    fn take_work(&self) -> Option<F> {
        let mut inner = self.lock();
        match mem::replace(&mut inner.stage, Stage::Running) {
            Stage::Queued(work) => Some(work),
            stage => {
                inner.stage = stage;
                None
            }
        }
    }

    /// Leaves the output for the task; hands it back if the task has gone.
    fn end(&self, output: thread::Result<R>) -> (Option<thread::Result<R>>, Option<Waker>) {
        let mut inner = self.lock();
        if matches!(inner.stage, Stage::Gone) {
            return (Some(output), None);
        }
        inner.stage = Stage::Ended(output);
        (None, inner.waker.take())
    }
}

impl<F, R> Future for Blocking<F, R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let waker = cx.waker().clone();
        let mut inner = self.0.lock();
        if !matches!(inner.stage, Stage::Ended(_)) {
            let before = inner.waker.replace(waker);
            drop(inner);
            drop(before);
            return Poll::Pending;
        }
        let ended = mem::replace(&mut inner.stage, Stage::Gone);
        drop(inner);
        match ended {
            Stage::Ended(Ok(output)) => Poll::Ready(output),
            // With `panic = "abort"` the process ends here, and is to say why.
            Stage::Ended(Err(payload)) if cfg!(panic = "abort") => {
                let refused = payload.downcast_ref::<Refused>().map(|refused| &refused.0);
                panic!("no thread could be made for blocking work: {refused:?}");
            }
            // The panic is the task's from here on; the hook has told of it on the worker. Or it is `Refused`.
            Stage::Ended(Err(payload)) => resume_unwind(payload),
            Stage::Queued(_) | Stage::Running | Stage::Gone => unreachable!("looked at above"),
        }
    }
}

impl<F, R> Drop for Blocking<F, R> {
    fn drop(&mut self) {
        // In a forked child the worker may hold the lock, and is gone.
        if !sys::is_forked_child() {
            drop(self.0.settle(Stage::Gone));
        }
    }
}
