//! Spawning: how a future becomes a task.
//!
//! Interface: [`spawn`], [`TaskBuilder`] for a name, [`id`] of the task that runs.
//! Invariant: a task costs at most one allocation, its cell, and none if it takes over the cell of an
//! earlier task; a future that is boxed first costs another, and so does a span, if a tracing subscriber wants it. (The
//! tables that tasks stand in grow now and then.)
//! Read before: `executor`, `core`. Read next: `join`, `yield_now`.

use std::future::Future;
use std::panic::Location;

use super::cell::is_big;
use super::id::Id;
use super::join::JoinHandle;
use crate::runtime::context;

/// Spawns a task onto the current runtime. It is queued at once, and polled on this thread whether
/// or not its [`JoinHandle`] is awaited.
///
/// The future need not be `Send`. Dropping the handle detaches the task.
///
/// # Errors
/// The handle's: a [`JoinError`](super::id::JoinError) if the task panicked or was aborted, or if the runtime ended first.
///
/// # Panics
/// Outside a runtime (from another thread, use [`Handle::spawn`](crate::runtime::Handle::spawn)),
/// and if the runtime has 2^28 tasks already.
///
/// # Cancel safety
/// The handle's: to drop it detaches the task, which goes on; see [`JoinHandle`].
///
/// # Examples
/// ```
/// reveille::block_on(async {
///     let task = reveille::spawn(async { "hello" });
///     assert_eq!(task.await.unwrap(), "hello");
/// });
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let core = context::expect_current("`spawn` called");
    if const { is_big::<F>() } {
        JoinHandle::new(core.spawn(Box::pin(future), None, Location::caller()))
    } else {
        JoinHandle::new(core.spawn(future, None, Location::caller()))
    }
}

/// Spawns a task with a name, which tracing shows; as tokio's `task::Builder`.
///
/// # Examples
/// ```
/// reveille::block_on(async {
///     let task = reveille::task::Builder::new().name("answer").spawn(async { 42 });
///     assert_eq!(task.await.unwrap(), 42);
/// });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskBuilder<'a> {
    /// What tracing shows; `None` shows no name.
    name: Option<&'a str>,
}

impl<'a> TaskBuilder<'a> {
    /// A builder without a name.
    pub fn new() -> TaskBuilder<'a> {
        TaskBuilder::default()
    }

    /// Gives the task a name.
    pub fn name(self, name: &'a str) -> TaskBuilder<'a> {
        TaskBuilder { name: Some(name) }
    }

    /// Spawns the task; see [`spawn`].
    ///
    /// # Errors
    /// As [`spawn`].
    ///
    /// # Panics
    /// As [`spawn`].
    ///
    /// # Cancel safety
    /// As [`spawn`].
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let core = context::expect_current("`task::Builder::spawn` called");
        if const { is_big::<F>() } {
            JoinHandle::new(core.spawn(Box::pin(future), self.name, Location::caller()))
        } else {
            JoinHandle::new(core.spawn(future, self.name, Location::caller()))
        }
    }
}

/// The id of the task that calls this.
///
/// # Panics
/// Outside a task.
///
/// # Examples
/// ```
/// reveille::block_on(async {
///     let task = reveille::spawn(async { reveille::task::id() });
///     let id = task.id();
///     assert_eq!(task.await.unwrap(), id);
/// });
/// ```
#[track_caller]
pub fn id() -> Id {
    try_id().expect("`task::id` called outside a task")
}

/// The id of the task that calls this, if a task does. The destructors of a task's future and
/// output count as that task.
///
/// # Examples
/// ```
/// use reveille::task::try_id;
///
/// assert_eq!(try_id(), None);
/// assert!(reveille::block_on(async { try_id() }).is_some());
/// ```
pub fn try_id() -> Option<Id> {
    context::with_current(|core| core.executor.current()).flatten()
}
