//! A task's cell: its future, then its output, in one allocation.
//!
//! Interface: [`RawTask`] is what the executor does with a task, whatever the type of its future;
//! [`TaskCell`] implements it.
//! Invariant (R3): the future, its output and its panic payload are in the cell, and the cell is in
//! the executor's slab. They are polled and dropped on the thread of that runtime.
//!
//! ```text
//!              poll: Pending
//!              ┌─────────┐
//!              ▼         │      poll: Ready or panic; cancel          take
//!  spawn ──▶ Running ────┴────────────────────────────────▶ Done ─────────────▶ Done, empty
//!              ▲                                                                   │
//!              └────────── refill, by the next task of the slot ───────────────────┘
//! ```
//!
//! An empty cell stays in its slot for the slot's next task, if that has the same type of future, of which the layout and
//! the vtable are, if the cell has at most 512 bytes, and if the slot is one of the first 1,024: so that not much is kept
//! for nothing (`Body::hold`, `Task::leave`).
//!
//! The cell's `RefCell` is borrowed while the future is polled or dropped: no other borrow is held
//! while user code runs (R5). The rest of a task's state (queued, aborted, detached, done, the
//! joiner) is beside the cell in the slab, and the executor reads that before it enters the cell.
//!
//! If the drop of a future panics, too: after its output, the handle gets the output, and the panic is only reported;
//! after a panic of the poll, that first panic; after an abort, the panic of the drop.
//!
//! Read before: `id`, `user_code`. Read next: `executor`.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::id::{Id, JoinError};
use crate::runtime::user_code::forget_payload;

/// What the executor does with a task, whatever the type of its future. No method panics: a panic
/// of the future or of a destructor is in the outcome, or is reported by the [`Finished`] returned.
pub(crate) trait RawTask {
    /// Polls the future. `Ready` means that the stage is `Done` and the future has been dropped.
    fn poll(self: Pin<&Self>, id: Id, cx: &mut Context<'_>) -> Poll<Finished>;

    /// Drops the future without polling it; the outcome is "cancelled", or the panic of that drop.
    fn cancel(self: Pin<&Self>, id: Id) -> Finished;

    /// Moves the outcome into `into`, which is an `Option<Result<T, JoinError>>`.
    fn take_output(self: Pin<&Self>, into: &mut dyn Any);

    /// Drops the outcome, which no handle will take; returns `Panicked` if it was a panic.
    fn discard(self: Pin<&Self>) -> Finished;

    /// Moves the future out of `future`, which is an `Option<F>`, into this cell. Leaves it there if this is
    /// the cell of another type of future, or is not empty. This runs no user code.
    fn refill(self: Pin<&Self>, future: &mut dyn Any);
}

/// How a task ended. The executor reports a panic that no handle will report.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    /// Without a panic, or with one that the handle reports.
    Quietly,
    /// The future panicked.
    Panicked,
    /// The task finished, but the drop of its future, or of its outcome, panicked.
    DropPanicked,
}

/// The cell of one future at a time, pinned from the start in an `Rc` that the executor's slab holds.
pub(crate) struct TaskCell<F: Future> {
    /// Borrowed while the future is polled or dropped, and for moves.
    stage: RefCell<Stage<F>>,
}

pin_project! {
    #[project = StageProjection]
    enum Stage<F: Future> {
        Running { #[pin] future: F },
        Done { outcome: Option<Result<F::Output, JoinError>> },
    }
}

impl<F: Future> TaskCell<F> {
    /// A cell with a future that was not polled yet.
    pub(crate) fn new(future: F) -> TaskCell<F> {
        TaskCell {
            stage: RefCell::new(Stage::Running { future }),
        }
    }

    /// Calls `f` with the stage, pinned.
    #[inline]
    fn with_stage<R>(self: Pin<&Self>, f: impl FnOnce(Pin<&mut Stage<F>>) -> R) -> R {
        let mut stage = self.get_ref().stage.borrow_mut();
        // SAFETY: the stage is structurally pinned: (1) the cell is pinned, as the type of `self`
        // says; (2) the stage is reached only here, so no caller gets a `&mut Stage` to move the
        // future out of; (3) `TaskCell` has no `Drop` and is not packed; (4) it is `Unpin` only if
        // the stage is, because the compiler derives `Unpin` through the `RefCell`.
        let stage = unsafe { Pin::new_unchecked(&mut *stage) };
        f(stage)
    }

    /// Drops the future of a task that gave no output, then stores the outcome in its stead.
    fn finish(self: Pin<&Self>, id: Id, outcome: Result<F::Output, JoinError>) -> Finished {
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            self.with_stage(|mut stage| stage.set(Stage::Done { outcome: None }));
        }));
        let (outcome, finished) = match (outcome, dropped) {
            (outcome, Ok(())) => (outcome, Finished::Quietly),
            (Err(error), Err(payload)) if error.is_cancelled() => {
                (Err(JoinError::panicked(id, payload)), Finished::Panicked)
            }
            // The poll panicked first: the handle gets that panic.
            (outcome, Err(payload)) => {
                forget_payload(payload);
                (outcome, Finished::DropPanicked)
            }
        };
        self.with_stage(|stage| {
            if let StageProjection::Done { outcome: place } = stage.project() {
                *place = Some(outcome);
            }
        });
        finished
    }
}

impl<F> RawTask for TaskCell<F>
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn poll(self: Pin<&Self>, id: Id, cx: &mut Context<'_>) -> Poll<Finished> {
        let mut gave_output = false;
        let polled = catch_unwind(AssertUnwindSafe(|| {
            self.with_stage(|mut stage| {
                let StageProjection::Running { future } = stage.as_mut().project() else {
                    return Poll::Pending;
                };
                let output = ready!(future.poll(cx));
                gave_output = true;
                // Drops the future, then writes the output in its stead, even if that drop panics:
                // an assignment that unwinds still writes its value.
                let outcome = Some(Ok(output));
                stage.set(Stage::Done { outcome });
                Poll::Ready(())
            })
        }));
        match polled {
            Ok(polled) => polled.map(|()| Finished::Quietly),
            // The output came before the panic: the handle gets the output.
            Err(payload) if gave_output => {
                forget_payload(payload);
                Poll::Ready(Finished::DropPanicked)
            }
            Err(payload) => {
                // The handle gets the first panic; a second one, of the drop, was only printed.
                let _second = self.finish(id, Err(JoinError::panicked(id, payload)));
                Poll::Ready(Finished::Panicked)
            }
        }
    }

    fn cancel(self: Pin<&Self>, id: Id) -> Finished {
        self.finish(id, Err(JoinError::cancelled(id)))
    }

    fn take_output(self: Pin<&Self>, into: &mut dyn Any) {
        self.with_stage(|stage| {
            if let (StageProjection::Done { outcome }, Some(into)) = (
                stage.project(),
                into.downcast_mut::<Option<Result<F::Output, JoinError>>>(),
            ) {
                mem::swap(into, outcome); // A swap, for `into` is `None`: nothing is dropped.
            }
        });
    }

    fn discard(self: Pin<&Self>) -> Finished {
        let mut outcome: Option<Result<F::Output, JoinError>> = None;
        self.take_output(&mut outcome);
        let (payload, finished) = match outcome {
            None => return Finished::Quietly,
            Some(Ok(output)) => match catch_unwind(AssertUnwindSafe(|| drop(output))) {
                Ok(()) => return Finished::Quietly,
                Err(payload) => (payload, Finished::DropPanicked),
            },
            Some(Err(error)) => match error.try_into_panic() {
                Err(_cancelled) => return Finished::Quietly,
                Ok(payload) => (payload, Finished::Panicked),
            },
        };
        forget_payload(payload);
        finished
    }

    fn refill(self: Pin<&Self>, future: &mut dyn Any) {
        self.with_stage(|mut stage| {
            if let (StageProjection::Done { outcome: None }, Some(future)) =
                (stage.as_mut().project(), future.downcast_mut::<Option<F>>())
            {
                if let Some(future) = future.take() {
                    stage.set(Stage::Running { future });
                }
            }
        });
    }
}

/// A future of more bytes than this is boxed first: spawning moves it by value through several
/// functions, and a big one would overflow a small stack (tokio#8093).
const BOX_ABOVE: usize = 16 * 1024;

/// True if `F` is to be boxed. Each public function asks this first, in a `const` block, so that
/// only one branch is compiled: without optimization, both branches would reserve stack for their
/// moves of the future, side by side.
pub(crate) const fn is_big<F>() -> bool {
    size_of::<F>() > BOX_ABOVE
}
