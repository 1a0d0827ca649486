//! What a tracing subscriber receives: one function for each thing that happens to a task, a source, a
//! timer or the loop.
//!
//! Interface: each function is named after what has happened. [`TaskSpan`] is the span of a task.
//! Invariant (R5, R9): a subscriber is user code. The caller holds no borrow and no lock, and a panic of
//! the subscriber ends here. If no subscriber wants level TRACE, a function of that level is one
//! comparison.
//!
//! | target | what |
//! |---|---|
//! | `reveille::task` | the span of each task, and spawn, poll, cancel; panics that no handle will report |
//! | `reveille::io` | register, modify (a wait for room has begun), deregister, ready |
//! | `reveille::time` | fire |
//! | `reveille::runtime` | park; what is leaked at the end of a runtime; signals; panics that were contained |
//! | `reveille::net` | a listener, of any kind, at the limit of descriptors (in `net::accept`) |
//! | `runtime::waker` | wakes, in the form that tokio-console reads |
//! Read before: `user_code`.

use std::fmt::Debug;
use std::io;
use std::os::fd::RawFd;
use std::panic::Location;
use std::rc::Rc;

use tracing::{Span, error, trace, trace_span, warn};

use super::user_code;

/// The target of what happens to tasks.
const TASK: &str = "reveille::task";
/// The target of what happens to descriptors.
const IO: &str = "reveille::io";
/// The target of what happens to timers.
const TIME: &str = "reveille::time";
/// The target of what happens to the loop, and of what the runtime had to put up with.
const RUNTIME: &str = "reveille::runtime";
/// The target by which tokio-console knows the events of wakers.
const WAKER: &str = "runtime::waker";

/// True if some subscriber may want events of level TRACE. This calls no subscriber.
#[inline]
pub(super) fn is_on() -> bool {
    tracing::level_enabled!(tracing::Level::TRACE)
}

/// Makes an event or a span of level TRACE. `None` if no subscriber wants it, or if one panicked.
#[inline] // One comparison where no subscriber wants it; not inlined, it would be 60 instructions an echo.
fn trace<R>(event: impl FnOnce() -> R) -> Option<R> {
    if is_on() { report(event) } else { None }
}

/// As [`trace()`], for any level.
#[cold] // And so out of the way of what runs without a subscriber.
#[inline(never)]
fn report<R>(event: impl FnOnce() -> R) -> Option<R> {
    user_code::contain("a tracing subscriber panicked", event)
}

/// The span of a task, by which tokio-console knows it. Made only if a subscriber wants it (a `Span` is 40
/// bytes), and shared, because cloning the `Span` itself would call the subscriber, perhaps under a borrow.
#[derive(Clone)]
pub(crate) struct TaskSpan(Option<Rc<Span>>);

impl TaskSpan {
    /// No subscriber has asked for a span.
    pub(crate) const NONE: TaskSpan = TaskSpan(None);

    /// True if the task has no span.
    #[inline]
    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The id that the subscriber has given the span.
    pub(super) fn id(&self) -> Option<u64> {
        self.0.as_ref()?.id().map(|id| id.into_u64())
    }

    /// Enters the span until the guard is dropped. Drop the guard by [`user_code::discard_any`].
    #[inline]
    pub(super) fn enter(&self) -> Option<tracing::span::Entered<'_>> {
        let span = self.0.as_deref()?;
        report(|| span.enter())
    }

    /// Drops this share of the span, which may close the span.
    #[inline]
    pub(super) fn discard(self) {
        user_code::discard_any(self.0);
    }
}

/// A task is about to be adopted. If the subscriber panics as the span is made, the task has none.
#[inline]
pub(super) fn spawned(
    task: u64,
    name: Option<&str>,
    location: &'static Location<'static>,
) -> TaskSpan {
    if !is_on() {
        return TaskSpan::NONE;
    }
    TaskSpan(report(|| make_task_span(task, name, location)).flatten())
}

/// The slow half of [`spawned`]: makes the span, and reports the spawn and the task's one waker.
#[cold]
fn make_task_span(
    task: u64,
    name: Option<&str>,
    location: &'static Location<'static>,
) -> Option<Rc<Span>> {
    let span = trace_span!(
        target: TASK,
        parent: None,
        "runtime.spawn",
        kind = "task",
        task.name = name.unwrap_or_default(),
        task.id = task,
        loc.file = location.file(),
        loc.line = location.line(),
        loc.col = location.column(),
    );
    if span.is_disabled() {
        return None;
    }
    let span = Rc::new(span);
    report(|| {
        trace!(target: TASK, parent: &*span, task, "spawn");
        // tokio-console counts the wakers of a task, and takes a task that has none for lost. This gives
        // the task one waker, which stands for its name.
        let id = span.id().map(|id| id.into_u64());
        trace!(target: WAKER, op = "waker.clone", task.id = id);
    });
    Some(span)
}

/// A task is about to be polled.
#[inline]
pub(super) fn polled(task: u64) {
    trace(|| trace!(target: TASK, task, "poll"));
}

/// The future of a task is about to be dropped unpolled.
#[inline]
pub(super) fn cancelled(task: u64) {
    trace(|| trace!(target: TASK, task, "cancel"));
}

/// A task was woken. tokio-console counts wakes by this event, which has the id of the task's span.
#[inline]
pub(super) fn woken(span_id: impl FnOnce() -> Option<u64>) {
    trace(|| {
        let span = span_id();
        // A waker here owns nothing, so waking by value and by reference are the same, and clones and drops
        // are not events. Nor is `enabled!` asked first: what it asks for is neither an event nor a span of
        // a runtime, and tokio-console answers no.
        trace!(target: WAKER, op = "waker.wake_by_ref", task.id = span);
    });
}

/// A task has given its output, and the drop of its future panicked.
pub(super) fn future_drop_panicked(task: u64) {
    report(|| {
        error!(target: TASK, task, "the future of a finished task panicked while it was dropped");
    });
}

/// A task has panicked, and no handle will report it.
pub(super) fn detached_task_panicked(task: u64) {
    report(|| error!(target: TASK, task, "a detached task panicked"));
}

/// The drop of an output that no handle will take panicked.
pub(super) fn output_drop_panicked(task: u64) {
    report(|| {
        error!(target: TASK, task, "the output of a detached task panicked while it was dropped");
    });
}

/// A source was added to the interest list.
#[inline]
pub(super) fn registered(fd: RawFd, source: u64, interest: impl Debug) {
    trace(|| trace!(target: IO, fd, source, ?interest, "register"));
}

/// A source is in the interest list with another interest now.
#[cold]
pub(super) fn modified(fd: RawFd, source: u64, interest: impl Debug) {
    trace(|| trace!(target: IO, fd, source, ?interest, "modify"));
}

/// A source was removed from the interest list.
#[inline]
pub(super) fn deregistered(fd: RawFd, source: u64) {
    trace(|| trace!(target: IO, fd, source, "deregister"));
}

/// An event has found its source.
#[inline]
pub(super) fn ready(source: u64, ready: impl Debug) {
    trace(|| trace!(target: IO, source, ?ready, "ready"));
}

/// This many timers were due, and have been disarmed.
#[inline]
pub(super) fn fired(timers: u64) {
    trace(|| trace!(target: TIME, timers, "fire"));
}

/// Nothing is queued, and the thread is about to sleep.
#[inline]
pub(super) fn parked() {
    trace(|| trace!(target: RUNTIME, "park"));
}

/// A runtime ends, and the destructors of its tasks have spawned in each of `rounds` rounds.
#[cold]
pub(super) fn tasks_leaked(rounds: usize) {
    report(|| {
        error!(target: RUNTIME, rounds, "tasks go on spawning tasks while they are dropped: leaked");
    });
}

/// A runtime ends, and wakers have armed timers or registered sources in each of `rounds` rounds.
#[cold]
pub(super) fn wakers_leaked(rounds: usize) {
    report(|| {
        error!(
            target: RUNTIME,
            rounds,
            "wakers go on arming timers and sources at the end of their runtime: leaked"
        );
    });
}

/// A listener was made for a signal that this thread blocks and could not unblock.
#[cold]
pub(super) fn signal_stays_blocked(signal: i32, error: &io::Error) {
    report(|| warn!(target: RUNTIME, signal, %error, "cannot unblock a signal"));
}

/// A listener has replaced a handler of other code.
#[cold]
pub(super) fn signal_handler_replaced(signal: i32) {
    report(|| warn!(target: RUNTIME, signal, "a handler of other code was replaced"));
}
