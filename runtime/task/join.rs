//! The handles of a task: await it, abort it, detach it.
//!
//! Interface: [`JoinHandle`] awaits, aborts or detaches; [`AbortHandle`] aborts.
//! Invariant (R3): a handle is a name. It can be sent anywhere, whatever the type of the output is,
//! because the output leaves the runtime only through a poll of the handle at home.
//! Read before: `id`, `outcome`. Read next: `join_set`.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use super::id::{Id, JoinError};
use crate::runtime::context;
use crate::runtime::core::Core;
use crate::runtime::name::place::{self, Command};
use crate::runtime::name::slab::Name;

/// Awaits the output of a spawned task.
///
/// The handle is a name, and so `Send + Sync` whatever `T` is. The task and its output stay on the
/// runtime's thread; a poll of the handle takes the output there. Dropping the handle detaches the
/// task, which goes on; see [`abort_on_drop`](JoinHandle::abort_on_drop).
///
/// The handle resolves after the task's future has been dropped.
///
/// # Errors
/// [`JoinError`]: the task panicked, or it was cancelled by an abort or by its runtime's end. After that a task counts as
/// cancelled even if it had finished: its output was dropped with its runtime.
///
/// # Panics
/// Polling the handle panics outside the task's runtime while that runtime exists (send the result
/// through a channel instead), and after it gave its output.
///
/// # Cancel safety
/// Polling `&mut handle` is cancel safe: the output stays in the task until it is taken.
///
/// # Examples
/// ```
/// reveille::block_on(async {
///     let task = reveille::spawn(async { 6 * 7 });
///     assert_eq!(task.await.unwrap(), 42);
/// });
/// ```
pub struct JoinHandle<T> {
    /// With the [`OnDrop`] as its note: so the handle is two words, which are returned in registers.
    name: Name,
    /// Invariant in `T`: by covariance a `JoinHandle<for<'a> fn(&'a u8)>` could become one of
    /// `fn(&'static u8)`, a type with another `TypeId`, and the downcast would not find the output.
    /// ```compile_fail
    /// fn shortened(handle: JoinHandle<for<'a> fn(&'a u8)>) -> JoinHandle<fn(&'static u8)> {
    ///     handle
    /// }
    /// # use reveille::task::JoinHandle;
    /// ```
    output: PhantomData<fn(T) -> T>,
}

/// What is to be done when a handle is dropped.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnDrop {
    /// The note of a name that was just given.
    Detach = 0,
    Abort = 1,
    /// The output was taken: nothing is left to detach or abort.
    Nothing = 2,
}

impl<T> JoinHandle<T> {
    /// The handle of the task with this name, which has no other.
    #[inline]
    pub(crate) fn new(name: Name) -> JoinHandle<T> {
        JoinHandle {
            name,
            output: PhantomData,
        }
    }

    /// What the note says.
    #[inline]
    fn on_drop(&self) -> OnDrop {
        match self.name.note() {
            0 => OnDrop::Detach,
            1 => OnDrop::Abort,
            _ => OnDrop::Nothing,
        }
    }

    /// Notes what the drop is to do.
    #[inline]
    fn set_on_drop(&mut self, on_drop: OnDrop) {
        self.name = self.name.with_note(on_drop as u8);
    }

    /// The task's name; `None` once the output was taken.
    #[inline]
    fn name(&self) -> Option<Name> {
        (self.on_drop() != OnDrop::Nothing).then_some(self.name)
    }

    /// Marks the task aborted, from any thread: its future is dropped, on the runtime's thread,
    /// before the task would be polled again. A task that is being polled right now finishes if
    /// that poll returns `Ready`; a task that has finished keeps its output.
    ///
    /// # Examples
    /// ```
    /// reveille::block_on(async {
    ///     let task = reveille::spawn(std::future::pending::<()>());
    ///     task.abort();
    ///     assert!(task.await.unwrap_err().is_cancelled());
    /// });
    /// ```
    pub fn abort(&self) {
        if let Some(name) = self.name() {
            abort(name);
        }
    }

    /// Drops this handle and lets the task go on, even if the drop would
    /// [abort](JoinHandle::abort_on_drop) it.
    ///
    /// # Examples
    /// ```
    /// reveille::block_on(async {
    ///     let (sender, receiver) = std::sync::mpsc::channel();
    ///     let task = reveille::spawn(async move { sender.send("done").unwrap() }).abort_on_drop();
    ///     task.detach();
    ///     reveille::task::yield_now().await;
    ///     assert_eq!(receiver.try_recv(), Ok("done"));
    /// });
    /// ```
    pub fn detach(mut self) {
        self.set_on_drop(OnDrop::Detach);
    }

    /// Makes dropping this handle abort the task instead of detaching it.
    ///
    /// # Examples
    /// ```
    /// reveille::block_on(async {
    ///     let task = reveille::spawn(std::future::pending::<()>()).abort_on_drop();
    ///     let watch = task.abort_handle();
    ///     drop(task);
    ///     reveille::task::yield_now().await;
    ///     assert!(watch.is_finished());
    /// });
    /// ```
    pub fn abort_on_drop(mut self) -> JoinHandle<T> {
        if self.on_drop() == OnDrop::Detach {
            self.set_on_drop(OnDrop::Abort);
        }
        self
    }

    /// A handle that can abort the task, but not take its output; it may outlive this one.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle {
            name: self.name.with_note(0),
        }
    }

    /// True if awaiting the handle would give the outcome at once; also after the handle gave it,
    /// and after the runtime's end.
    ///
    /// # Panics
    /// Outside the task's runtime while that runtime exists.
    #[track_caller]
    pub fn is_finished(&self) -> bool {
        match self.name() {
            Some(name) => is_finished(name),
            None => true,
        }
    }

    /// The task's id.
    pub fn id(&self) -> Id {
        Id(self.name.serial)
    }
}

/// As [`JoinHandle::is_finished`], for either kind of handle.
#[track_caller]
fn is_finished(name: Name) -> bool {
    match context::home_of(name) {
        Some(core) => core.executor.is_finished(name),
        None if place::is_open(name) => panic!("{NOT_AT_HOME}"),
        None => true,
    }
}

/// The panic of a handle that is polled elsewhere, or asked there whether its task has finished.
const NOT_AT_HOME: &str = "a `JoinHandle` can be polled only inside the runtime its task runs in: \
                           send the result through a channel";

impl<T: 'static> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    // So that a panic shows the line of the `.await`.
    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let home = self.name().and_then(context::home_of);
        if let Some(core) = &home {
            ready!(core.executor.budget.poll(cx));
        }
        let outcome = ready!(self.poll_outcome(home.as_deref(), cx));
        if let Some(core) = &home {
            core.executor.budget.spend();
        }
        Poll::Ready(outcome)
    }
}

impl<T: 'static> JoinHandle<T> {
    /// The outcome, if it is there. This never waits, so the budget is neither asked nor spent.
    #[track_caller]
    pub(super) fn try_take(&mut self) -> Option<Result<T, JoinError>> {
        // Checked first: `poll_join` would replace the waker of a task that waits by the no-op one.
        if !self.is_finished() {
            return None;
        }
        let home = context::home_of(self.name);
        match self.poll_outcome(home.as_deref(), &Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Some(outcome),
            Poll::Pending => None,
        }
    }

    /// The outcome, if it is there; otherwise the waker of `cx` is stored. `home` is the task's runtime, if it is
    /// current.
    #[inline]
    #[track_caller]
    fn poll_outcome(
        &mut self,
        home: Option<&Core>,
        cx: &Context<'_>,
    ) -> Poll<Result<T, JoinError>> {
        let name = self
            .name()
            .expect("a `JoinHandle` was polled after it gave its output");
        let mut outcome: Option<Result<T, JoinError>> = None;
        match home {
            Some(core) => ready!(core.executor.poll_join(name, cx, &mut outcome)),
            None => assert!(!place::is_open(name), "{NOT_AT_HOME}"),
        }
        self.set_on_drop(OnDrop::Nothing);
        Poll::Ready(outcome.unwrap_or_else(|| Err(JoinError::cancelled(self.id()))))
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        match self.on_drop() {
            OnDrop::Nothing => return,
            OnDrop::Abort => abort(self.name),
            OnDrop::Detach => {}
        }
        detach(self.name);
    }
}

/// Tells the runtime that no handle will take the outcome.
fn detach(name: Name) {
    context::order(name, Command::Detach(name));
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Aborts a task, from any thread; see [`JoinHandle::abort`]. Dropping this handle does nothing.
///
/// # Examples
/// ```
/// reveille::block_on(async {
///     let task = reveille::spawn(std::future::pending::<()>());
///     let abort = task.abort_handle();
///     std::thread::spawn(move || abort.abort());
///     assert!(task.await.unwrap_err().is_cancelled());
/// });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AbortHandle {
    /// The task's name.
    name: Name,
}

impl AbortHandle {
    /// Marks the task aborted; see [`JoinHandle::abort`].
    pub fn abort(&self) {
        abort(self.name);
    }

    /// True if the task has ended; see [`JoinHandle::is_finished`].
    ///
    /// # Panics
    /// As [`JoinHandle::is_finished`].
    #[track_caller]
    pub fn is_finished(&self) -> bool {
        is_finished(self.name)
    }

    /// The task's id.
    pub fn id(&self) -> Id {
        Id(self.name.serial)
    }
}

/// Has the runtime abort the task; a stale name does nothing.
fn abort(name: Name) {
    context::order(name, Command::Abort(name));
}
