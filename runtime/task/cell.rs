//! A task's cell: its future, then its output, in one allocation.
//!
//! Interface: [`RawTask`] is what the executor polls, cancels and takes from, whatever the future's
//! type; [`TaskCell`] is the one that implements it.
//! Invariant (R3): the future, its output and its panic payload live in the cell, and the cell in
//! the executor's slab, on whose thread they are polled and dropped.
//!
//! ```text
//!              poll: Pending
//!              ┌─────────┐
//!              ▼         │      poll: Ready or panic; cancel          take
//!  spawn ──▶ Running ────┴────────────────────────────────▶ Done ─────────────▶ Done, emptied
//! ```
//!
//! The cell's `RefCell` is borrowed while the future runs, the one borrow there is across foreign
//! code (R5). Whatever else is known of a task (is it queued, aborted, detached, done, who waits
//! for it) lies beside it in the slab, and every entry point reads that first.
//!
//! Read before: `id`, `foreign`. Read next: `executor`.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::id::{Id, JoinError};
use crate::runtime::foreign::forget_payload;

/// What the executor does with a task, whatever its future. No method lets a panic through: it is
/// either in the outcome or returned.
pub(crate) trait RawTask {
    /// Polls the future. `Ready` means that the stage is `Done` now and the future dropped.
    fn poll(self: Pin<&Self>, id: Id, cx: &mut Context<'_>) -> Poll<Finished>;

    /// Drops the future unpolled; its outcome is "cancelled", or the panic of that drop.
    fn cancel(self: Pin<&Self>, id: Id) -> Finished;

    /// Moves the outcome into `into`, which is an `Option<Result<T, JoinError>>`.
    fn take_output(self: Pin<&Self>, into: &mut dyn Any);

    /// Drops the outcome, which nobody will take; `Panicked` if it was a panic.
    fn discard(self: Pin<&Self>) -> Finished;
}

/// How a task came to its end, for who would report a panic that no handle will.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finished {
    Quietly,
    Panicked,
    /// It finished, but the drop of its future, or of its outcome, panicked.
    DropPanicked,
}

/// A future's cell. It is pinned from birth, in an `Rc` that the executor's slab holds.
pub(crate) struct TaskCell<F: Future> {
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
    pub(crate) fn new(future: F) -> TaskCell<F> {
        TaskCell {
            stage: RefCell::new(Stage::Running { future }),
        }
    }

    /// Runs `f` on the stage, pinned.
    #[inline]
    fn with_stage<R>(self: Pin<&Self>, f: impl FnOnce(Pin<&mut Stage<F>>) -> R) -> R {
        let mut stage = self.get_ref().stage.borrow_mut();
        // SAFETY: the stage is structurally pinned because (1) the cell is, as `self` says, (2)
        // this is the only way to reach the stage, so no one is ever handed a `&mut Stage` to
        // move the future out of, and (3) `TaskCell` has no `Drop` and is not packed. It is
        // `Unpin` only where the stage is, for the compiler sees through the `RefCell`.
        let stage = unsafe { Pin::new_unchecked(&mut *stage) };
        f(stage)
    }

    /// Drops the future of a task that gave no output, then puts the outcome where it was.
    fn finish(self: Pin<&Self>, id: Id, outcome: Result<F::Output, JoinError>) -> Finished {
        let dropped = catch_unwind(AssertUnwindSafe(|| {
            self.with_stage(|mut stage| stage.set(Stage::Done { outcome: None }));
        }));
        let (outcome, finished) = match (outcome, dropped) {
            (outcome, Ok(())) => (outcome, Finished::Quietly),
            (Err(error), Err(payload)) if error.is_cancelled() => {
                (Err(JoinError::panicked(id, payload)), Finished::Panicked)
            }
            // The panic of the poll came first: that is what the handle gets.
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
                // Drops the future, and then the output stands where it was. Should the drop panic
                // it does so all the same: an assignment that unwinds still writes its value.
                let outcome = Some(Ok(output));
                stage.set(Stage::Done { outcome });
                Poll::Ready(())
            })
        }));
        match polled {
            Ok(polled) => polled.map(|()| Finished::Quietly),
            // The output came first: that is what the handle gets.
            Err(payload) if gave_output => {
                forget_payload(payload);
                Poll::Ready(Finished::DropPanicked)
            }
            Err(payload) => {
                // The first panic is the one to report; what the drop adds has been printed.
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
                mem::swap(into, outcome); // It is `None`, and need not be dropped.
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
}

/// Futures of more bytes are boxed before anything else is done with them: moved by value through
/// several functions, a big one overflows a small stack (tokio#8093).
const BOX_ABOVE: usize = 16 * 1024;

/// True if `F` is to be boxed. Each function that users call asks this first, and in a `const`, so
/// that the code of one branch does not take stack for the other's copies, which without
/// optimization are all laid out beside each other.
pub(crate) const fn is_big<F>() -> bool {
    size_of::<F>() > BOX_ABOVE
}
