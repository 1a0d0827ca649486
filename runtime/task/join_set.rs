//! A set of tasks, awaited in the order they finish.
//!
//! Interface: [`JoinSet`].
//! Invariant: each task of the set reports its end exactly once, when its future is dropped, as it is by an abort, a
//! panic and the end of the runtime, too. So
//! [`join_next`](JoinSet::join_next) polls only the handles of tasks that have ended.
//!
//! Over 400 lines because each method has its contract and an example.
//! Read before: `join`.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use pin_project_lite::pin_project;

use super::blocking::Blocking;
use super::id::{Id, JoinError};
use super::join::{AbortHandle, JoinHandle};
use super::spawn::{spawn, try_id};
use crate::runtime::context;
use crate::runtime::run::Runtime;
use crate::runtime::user_code;

/// A set of tasks with outputs of one type.
///
/// Dropping the set aborts its tasks; see [`detach_all`](JoinSet::detach_all). The set is `Send`, as its
/// handles are, but its tasks are joined inside their runtime only.
///
/// # Examples
/// ```
/// use reveille::task::JoinSet;
///
/// reveille::block_on(async {
///     let mut tasks = JoinSet::new();
///     for i in 0..3 {
///         tasks.spawn(async move { i });
///     }
///     let mut sum = 0;
///     while let Some(output) = tasks.join_next().await {
///         sum += output.unwrap();
///     }
///     assert_eq!(sum, 3);
/// });
/// ```
pub struct JoinSet<T> {
    /// By id, hence in the order of spawning.
    tasks: BTreeMap<Id, JoinHandle<T>>,
    /// Shared with the tasks, and it may outlive the set: they go on if they are detached.
    ended: Arc<Mutex<Ended>>,
}

/// What the tasks report to the set. In a mutex, so that the set is `Send`; it is hardly ever contended.
#[derive(Default)]
struct Ended {
    /// Tasks that have dropped their future and still have their output, in the order of their ends.
    ids: VecDeque<Id>,
    /// The waker of the task that waits for the next end.
    waker: Option<Waker>,
}

impl<T: 'static> JoinSet<T> {
    /// An empty set.
    pub fn new() -> JoinSet<T> {
        JoinSet {
            tasks: BTreeMap::new(),
            ended: Arc::default(),
        }
    }

    /// Spawns a task into the set; see [`spawn`].
    ///
    /// # Panics
    /// As [`spawn`].
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        let member = self.member(future);
        self.insert(spawn(member))
    }

    /// Runs `work` where it may block, as a task of the set; see [`spawn_blocking`](super::blocking::spawn_blocking).
    ///
    /// # Panics
    /// As [`spawn_blocking`](super::blocking::spawn_blocking).
    ///
    /// # Examples
    /// ```
    /// use reveille::task::JoinSet;
    ///
    /// reveille::block_on(async {
    ///     let mut tasks = JoinSet::new();
    ///     tasks.spawn_blocking(|| std::fs::read("/proc/version").unwrap().len());
    ///     assert!(tasks.join_next().await.unwrap().unwrap() > 0);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_blocking<F>(&mut self, work: F) -> AbortHandle
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send,
    {
        let core = context::expect_current("`JoinSet::spawn_blocking` called");
        self.spawn(Blocking::start(&core, work))
    }

    /// The future of a task of this set.
    fn member<F>(&self, future: F) -> Member<F> {
        let ended = Arc::clone(&self.ended);
        Member {
            future,
            announce: Announce { ended },
        }
    }

    /// Takes a spawned task into the set.
    fn insert(&mut self, task: JoinHandle<T>) -> AbortHandle {
        let abort = task.abort_handle();
        self.tasks.insert(task.id(), task);
        abort
    }

    /// As [`spawn`](JoinSet::spawn), into this runtime and not the current one; see [`Runtime::spawn`].
    ///
    /// # Panics
    /// As [`Runtime::spawn`].
    ///
    /// # Examples
    /// ```
    /// use reveille::task::JoinSet;
    ///
    /// let runtime = reveille::Runtime::new()?;
    /// let mut tasks = JoinSet::new();
    /// tasks.spawn_on(async { 1 }, &runtime);
    /// assert_eq!(runtime.block_on(tasks.join_all()), [1]);
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn spawn_on<F>(&mut self, future: F, runtime: &Runtime) -> AbortHandle
    where
        F: Future<Output = T> + 'static,
    {
        let member = self.member(future);
        self.insert(runtime.spawn(member))
    }

    /// Waits for the next task to end and takes its output; `None` if the set is empty.
    ///
    /// # Errors
    /// Inside the `Option`: the [`JoinError`] of the task.
    ///
    /// # Panics
    /// Outside the tasks' runtime while that runtime exists, if a task has ended; and if the future is
    /// polled after it was ready.
    ///
    /// # Cancel safety
    /// Safe: a task leaves the set when its output is returned, and not before.
    pub fn join_next(&mut self) -> impl Future<Output = Option<Result<T, JoinError>>> {
        let pick = |(_, output)| output;
        JoinNext {
            set: Some(self),
            pick,
        }
    }

    /// As [`join_next`](JoinSet::join_next), with the task's id.
    ///
    /// # Errors
    /// As [`join_next`](JoinSet::join_next).
    ///
    /// # Panics
    /// As [`join_next`](JoinSet::join_next).
    ///
    /// # Cancel safety
    /// Safe.
    ///
    /// # Examples
    /// ```
    /// use reveille::task::JoinSet;
    ///
    /// reveille::block_on(async {
    ///     let mut tasks = JoinSet::new();
    ///     let first = tasks.spawn(async { "first" }).id();
    ///     let (id, output) = tasks.join_next_with_id().await.unwrap();
    ///     assert_eq!((id, output.unwrap()), (first, "first"));
    /// });
    /// ```
    pub fn join_next_with_id(
        &mut self,
    ) -> impl Future<Output = Option<(Id, Result<T, JoinError>)>> {
        let pick = |next| next;
        JoinNext {
            set: Some(self),
            pick,
        }
    }

    /// Polls for the next task to end; see [`join_next`](JoinSet::join_next).
    ///
    /// # Panics
    /// As [`join_next`](JoinSet::join_next).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use reveille::task::JoinSet;
    ///
    /// reveille::block_on(async {
    ///     let mut tasks = JoinSet::new();
    ///     tasks.spawn(async { 1 });
    ///     let output = poll_fn(|cx| tasks.poll_join_next(cx)).await;
    ///     assert_eq!(output.unwrap().unwrap(), 1);
    /// });
    /// ```
    #[track_caller]
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        let next = ready!(self.poll_join_next_with_id(cx));
        Poll::Ready(next.map(|(_, output)| output))
    }

    /// The `poll_` form of both [`join_next`](JoinSet::join_next) and
    /// [`join_next_with_id`](JoinSet::join_next_with_id).
    #[track_caller]
    fn poll_join_next_with_id(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(Id, Result<T, JoinError>)>> {
        if self.tasks.is_empty() {
            return Poll::Ready(None);
        }
        // Before `first_ended`, so that no end is missed; cloned and dropped outside the lock (R5).
        let waker = cx.waker().clone();
        let before = lock(&self.ended).waker.replace(waker);
        drop(before);
        let Some((id, task)) = self.first_ended() else {
            return Poll::Pending;
        };
        // Pending if the future is dropped but the task not done, as for code that runs inside the wake or the drop; or
        // if the budget is spent. The handle wakes.
        let output = ready!(Pin::new(task).poll(cx));
        self.remove(id);
        Poll::Ready(Some((id, output)))
    }

    /// Takes the output of a task that has ended, if there is one.
    ///
    /// # Errors
    /// Inside the `Option`: the [`JoinError`] of the task.
    ///
    /// # Panics
    /// As [`join_next`](JoinSet::join_next).
    ///
    /// # Examples
    /// ```
    /// use reveille::task::JoinSet;
    ///
    /// reveille::block_on(async {
    ///     let mut tasks = JoinSet::new();
    ///     tasks.spawn(async { 1 });
    ///     assert!(tasks.try_join_next().is_none()); // It has not run yet.
    ///     reveille::task::yield_now().await;
    ///     assert_eq!(tasks.try_join_next().unwrap().unwrap(), 1);
    /// });
    /// ```
    #[track_caller]
    pub fn try_join_next(&mut self) -> Option<Result<T, JoinError>> {
        let (_, output) = self.try_join_next_with_id()?;
        Some(output)
    }

    /// As [`try_join_next`](JoinSet::try_join_next), with the task's id.
    ///
    /// # Errors
    /// Inside the `Option`: the [`JoinError`] of the task.
    ///
    /// # Panics
    /// As [`join_next`](JoinSet::join_next).
    ///
    /// # Examples
    /// ```
    /// use reveille::task::JoinSet;
    ///
    /// reveille::block_on(async {
    ///     let mut tasks = JoinSet::new();
    ///     let first = tasks.spawn(async { 1 }).id();
    ///     reveille::task::yield_now().await;
    ///     let (id, output) = tasks.try_join_next_with_id().unwrap();
    ///     assert_eq!((id, output.unwrap()), (first, 1));
    /// });
    /// ```
    #[track_caller]
    pub fn try_join_next_with_id(&mut self) -> Option<(Id, Result<T, JoinError>)> {
        let (id, task) = self.first_ended()?;
        let output = task.try_take()?;
        self.remove(id);
        Some((id, output))
    }

    /// The task of the set that ended first.
    fn first_ended(&mut self) -> Option<(Id, &mut JoinHandle<T>)> {
        let id = *lock(&self.ended).ids.front()?;
        Some((id, self.tasks.get_mut(&id)?))
    }

    /// The output of the task that ended first has been taken.
    fn remove(&mut self, id: Id) {
        let mut ended = lock(&self.ended);
        ended.ids.pop_front();
        if ended.ids.is_empty() {
            ended.ids.shrink_to(64); // After a burst; room for 64 is kept.
        }
        drop(ended);
        self.tasks.remove(&id);
    }

    /// Waits for all tasks and returns their outputs in the order they ended.
    ///
    /// # Panics
    /// With the panic of a task, or if a task was cancelled; the other tasks are aborted. Else as
    /// [`join_next`](JoinSet::join_next).
    ///
    /// # Cancel safety
    /// Dropped early, it aborts the tasks that are left and drops the outputs so far.
    ///
    /// # Examples
    /// ```
    /// use reveille::task::JoinSet;
    ///
    /// reveille::block_on(async {
    ///     let mut tasks = JoinSet::new();
    ///     for n in 0..3 {
    ///         tasks.spawn(async move { n });
    ///     }
    ///     assert_eq!(tasks.join_all().await, [0, 1, 2]); // None has waited: they end as they were spawned.
    /// });
    /// ```
    pub async fn join_all(mut self) -> Vec<T> {
        let mut outputs = Vec::with_capacity(self.len());
        while let Some(output) = self.join_next().await {
            match output {
                Ok(output) => outputs.push(output),
                Err(error) => match error.try_into_panic() {
                    Ok(payload) => std::panic::resume_unwind(payload),
                    Err(error) => panic!("a task of a `JoinSet` gave no output: {error}"),
                },
            }
        }
        outputs
    }

    /// Aborts all tasks and waits until they have ended; the set is empty then.
    ///
    /// # Panics
    /// As [`join_next`](JoinSet::join_next).
    ///
    /// # Cancel safety
    /// Safe: the tasks are aborted by the first poll, and can be waited for again.
    ///
    /// # Examples
    /// ```
    /// use reveille::task::JoinSet;
    ///
    /// reveille::block_on(async {
    ///     let mut tasks = JoinSet::new();
    ///     tasks.spawn(std::future::pending::<()>());
    ///     tasks.shutdown().await;
    ///     assert!(tasks.is_empty());
    /// });
    /// ```
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }
}

impl<T> JoinSet<T> {
    /// Tasks in the set, those included that have ended but were not joined.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// True if the set has no tasks.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Aborts all tasks; they stay in the set until they are joined.
    ///
    /// # Examples
    /// ```
    /// use reveille::task::JoinSet;
    ///
    /// reveille::block_on(async {
    ///     let mut tasks = JoinSet::new();
    ///     tasks.spawn(std::future::pending::<()>());
    ///     tasks.abort_all();
    ///     assert!(tasks.join_next().await.unwrap().unwrap_err().is_cancelled());
    /// });
    /// ```
    pub fn abort_all(&self) {
        self.tasks.values().for_each(JoinHandle::abort);
    }

    /// Removes all tasks from the set and lets them go on.
    ///
    /// # Examples
    /// ```
    /// use reveille::task::JoinSet;
    ///
    /// reveille::block_on(async {
    ///     let mut tasks = JoinSet::new();
    ///     let task = tasks.spawn(async {});
    ///     tasks.detach_all();
    ///     drop(tasks); // Aborts nothing.
    ///     reveille::task::yield_now().await;
    ///     assert!(task.is_finished());
    /// });
    /// ```
    pub fn detach_all(&mut self) {
        self.tasks.clear();
        // The tasks report their ends to the old list, which is freed with the last of them.
        self.ended = Arc::default();
    }
}

impl<T: 'static> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

/// Spawns each future into the set.
///
/// # Panics
/// As [`JoinSet::spawn`].
impl<F> Extend<F> for JoinSet<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    #[track_caller]
    fn extend<I: IntoIterator<Item = F>>(&mut self, futures: I) {
        for future in futures {
            self.spawn(future);
        }
    }
}

/// Spawns each future into a new set.
///
/// # Panics
/// As [`JoinSet::spawn`].
impl<F> FromIterator<F> for JoinSet<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    #[track_caller]
    fn from_iter<I: IntoIterator<Item = F>>(futures: I) -> JoinSet<F::Output> {
        let mut set = JoinSet::new();
        set.extend(futures);
        set
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        self.abort_all();
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.len()).finish()
    }
}

/// The future of [`JoinSet::join_next`] and [`JoinSet::join_next_with_id`]; written by hand, so that its
/// panic shows the line of the `.await`.
struct JoinNext<'a, T, R> {
    /// `None` after it was ready: another poll panics, as that of an async fn does.
    set: Option<&'a mut JoinSet<T>>,
    /// What is given of the id and the output.
    pick: fn((Id, Result<T, JoinError>)) -> R,
}

impl<T: 'static, R> Future for JoinNext<'_, T, R> {
    type Output = Option<R>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<R>> {
        let set = self.set.as_mut();
        let set = set.expect("`join_next` was polled after it was ready");
        let next = ready!(set.poll_join_next_with_id(cx));
        self.set = None;
        Poll::Ready(next.map(self.pick))
    }
}

pin_project! {
    /// The future of a task of the set, and the report of its end: dropped in this order.
    struct Member<F> {
        #[pin]
        future: F,
        announce: Announce,
    }
}

impl<F: Future> Future for Member<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(cx)
    }
}

/// Reports to the set, when dropped, that the task has ended: finished, panicked or aborted.
struct Announce {
    /// Where the set looks for ends.
    ended: Arc<Mutex<Ended>>,
}

impl Drop for Announce {
    fn drop(&mut self) {
        // The future of a task is dropped while that task is current.
        let Some(id) = try_id() else { return };
        let waker = {
            let mut ended = lock(&self.ended);
            ended.ids.push_back(id);
            ended.waker.take()
        };
        // Its panic is caught: it is not the task's, and this may run while the future unwinds.
        if let Some(waker) = waker {
            user_code::wake(waker);
        }
    }
}

/// The lock, also after a panic: no code under it leaves the list half-made.
fn lock(ended: &Mutex<Ended>) -> MutexGuard<'_, Ended> {
    ended.lock().unwrap_or_else(PoisonError::into_inner)
}
