//! Spawning: how a future becomes a task.
//!
//! Interface: [`spawn`], [`TaskBuilder`] for a name, [`id`] of the task that runs.
//! Invariant: one allocation a task, the cell that holds its future.
//! Read before: `task`, `executor`.

use std::future::Future;
use std::panic::Location;
use std::rc::Rc;

use tracing::{Span, trace};

use super::Core;
use super::context;
use super::executor::{Body, TaskRef};
use super::foreign;
use super::join::{Id, JoinHandle};
use super::task::TaskCell;

/// Futures of more bytes are boxed before anything else is done with them: moved by value through
/// several functions, a big one overflows a small stack (tokio#8093).
const BOX_ABOVE: usize = 16 * 1024;

/// True if `F` is to be boxed. Each function that users call asks this first, and in a `const`, so
/// that the code of one branch does not take stack for the other's copies, which without
/// optimization are all laid out beside each other.
pub(crate) const fn is_big<F>() -> bool {
    size_of::<F>() > BOX_ABOVE
}

/// Spawns a task onto the current runtime: it is polled from the next turn on, on this thread,
/// whether or not its [`JoinHandle`] is awaited.
///
/// The future need not be `Send`. Dropping the handle detaches the task.
///
/// # Panics
/// Outside a runtime (from another thread, use [`Handle::spawn`](crate::runtime::Handle::spawn)),
/// and where 2^28 tasks live already.
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
        core.spawn(Box::pin(future), None, Location::caller())
    } else {
        core.spawn(future, None, Location::caller())
    }
}

/// Spawns a task with a name, which tracing shows; tokio's `task::Builder`.
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
    name: Option<&'a str>,
}

impl<'a> TaskBuilder<'a> {
    /// A task without a name.
    pub fn new() -> TaskBuilder<'a> {
        TaskBuilder::default()
    }

    /// Gives it a name.
    pub fn name(self, name: &'a str) -> TaskBuilder<'a> {
        TaskBuilder { name: Some(name) }
    }

    /// Spawns it; see [`spawn`].
    ///
    /// # Panics
    /// As [`spawn`].
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let core = context::expect_current("`task::Builder::spawn` called");
        if const { is_big::<F>() } {
            core.spawn(Box::pin(future), self.name, Location::caller())
        } else {
            core.spawn(future, self.name, Location::caller())
        }
    }
}

/// The id of the task that calls this.
///
/// # Panics
/// Outside a task.
#[track_caller]
pub fn id() -> Id {
    try_id().expect("`task::id` called outside a task")
}

/// The id of the task that calls this, if one does: also in the destructors of a task's future
/// and output.
pub fn try_id() -> Option<Id> {
    context::with_current(|core| core.executor.current()).flatten()
}

impl Core {
    pub(super) fn spawn<F, T>(
        &self,
        future: F,
        name: Option<&str>,
        location: &'static Location<'static>,
    ) -> JoinHandle<T>
    where
        F: Future<Output = T> + 'static,
        T: 'static,
    {
        let cell: TaskRef = Rc::pin(TaskCell::new(future));
        let serial = self.serials.next();
        let span = task_span(serial, name, location);
        self.counters.spawned.add(1);
        let body = Body::Spawned(cell);
        JoinHandle::new(self.executor.adopt(self, serial, body, span))
    }
}

/// The span tokio-console knows tasks by, if a subscriber wants it; one that panics gets none.
#[inline]
pub(super) fn task_span(
    serial: u64,
    name: Option<&str>,
    location: &'static Location<'static>,
) -> Option<Rc<Span>> {
    if !foreign::is_traced() {
        return None;
    }
    let span = foreign::tell(|| make_task_span(serial, name, location)).flatten()?;
    foreign::tell(|| {
        trace!(parent: &*span, task = serial, "spawn");
        // The console counts the wakers of a task, and takes one without any for lost. Here it has the
        // one that its name is.
        let id = span.id().map(|id| id.into_u64());
        trace!(target: "runtime::waker", op = "waker.clone", task.id = id);
    });
    Some(span)
}

#[cold]
fn make_task_span(
    serial: u64,
    name: Option<&str>,
    location: &'static Location<'static>,
) -> Option<Rc<Span>> {
    let span = tracing::trace_span!(
        target: "reveille::task",
        parent: None,
        "runtime.spawn",
        kind = "task",
        task.name = name.unwrap_or_default(),
        task.id = serial,
        loc.file = location.file(),
        loc.line = location.line(),
        loc.col = location.column(),
    );
    (!span.is_disabled()).then(|| Rc::new(span))
}
