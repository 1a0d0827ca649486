//! The outcome of a task: from its end to whoever takes it, or to nobody.
//!
//! Interface: [`Executor::finish`] after the last poll, [`poll_join`](Executor::poll_join) and
//! [`detach`](Executor::detach) for handles, [`clear_away`](Executor::clear_away) for what nobody
//! will take.
//! Invariant (R1, R5): a slot is freed by whoever takes or discards the outcome, unless it is
//! queued: then by its pop. Outcomes, wakers and spans are dropped outside the borrow, and a panic
//! of theirs is contained.
//! Read before: `executor`. Read next: `join`, the public side.

use std::any::Any;
use std::task::{Context, Poll};

use tracing::error;

use super::Shared;
use super::executor::{Body, Executor, Life, State, Task};
use super::foreign;
use super::slab::Name;
use super::task::Finished;

impl Executor {
    /// The future has been dropped and the outcome stands: tells the joiner, or, if there never
    /// will be one, clears the task away.
    pub(super) fn finish(&self, shared: &Shared, index: u32, serial: u64, finished: Finished) {
        if self.end(index, serial, finished) == Claim::Nobody {
            self.clear_away(shared, index, serial);
        }
    }

    pub(super) fn end(&self, index: u32, serial: u64, finished: Finished) -> Claim {
        let mut state = self.state.borrow_mut();
        let Some(task) = state.tasks.get_mut(index, serial) else {
            return Claim::Somebody;
        };
        task.life = Life::Done;
        let joiner = task.joiner.take();
        let detached = task.detached;
        // A slot that is queued is freed by its pop (R1).
        let claim = if detached && !task.queued {
            Claim::Nobody
        } else {
            Claim::Somebody
        };
        drop(state);
        if finished == Finished::DropPanicked {
            foreign::tell(|| {
                error!(
                    task = serial,
                    "the future of a finished task panicked while it was dropped"
                );
            });
        }
        if let Some(joiner) = joiner {
            foreign::wake(joiner);
        }
        claim
    }

    /// Frees the slot of a task that is done and not queued, and drops what it still holds.
    pub(super) fn clear_away(&self, shared: &Shared, index: u32, serial: u64) {
        let removed = self.state.borrow_mut().remove(shared, index, serial);
        let Some(Task {
            body,
            joiner,
            span,
            life,
            ..
        }) = removed
        else {
            return;
        };
        // Also when a pop does this, long after the task's last poll.
        let _current = self.set_current(serial);
        if let (Body::Spawned(cell), Life::Done) = (&body, life) {
            // Here and not at its end, for the handle may be dropped before that or after it.
            match cell.as_ref().discard() {
                Finished::Quietly => {}
                Finished::Panicked => {
                    self.unhandled_panic.set(true);
                    foreign::tell(|| error!(task = serial, "a detached task panicked"));
                }
                Finished::DropPanicked => {
                    foreign::tell(|| {
                        error!(
                            task = serial,
                            "the output of a detached task panicked while it was dropped"
                        );
                    });
                }
            }
        }
        foreign::discard(joiner);
        foreign::discard(span);
    }

    /// Takes the outcome of a finished task into `into`, or keeps `cx`'s waker for its end. A
    /// stale name gives `Ready` and leaves `into` as it is.
    pub(super) fn poll_join(
        &self,
        shared: &Shared,
        name: Name,
        cx: &Context<'_>,
        into: &mut dyn Any,
    ) -> Poll<()> {
        let known = {
            let state = self.state.borrow();
            match state.tasks.get(name.index, name.serial) {
                Some(task) if task.life == Life::Running => task
                    .joiner
                    .as_ref()
                    .is_some_and(|joiner| joiner.will_wake(cx.waker())),
                _ => {
                    drop(state);
                    self.take(shared, name, into);
                    return Poll::Ready(());
                }
            }
        };
        if known {
            return Poll::Pending;
        }
        // A waker's clone is foreign code (R5): the task may be done when it returns.
        let waker = cx.waker().clone();
        let mut state = self.state.borrow_mut();
        match state.tasks.get_mut(name.index, name.serial) {
            Some(task) if task.life == Life::Running => {
                let before = task.joiner.replace(waker);
                drop(state);
                foreign::discard(before);
                Poll::Pending
            }
            _ => {
                drop(state);
                self.take(shared, name, into);
                Poll::Ready(())
            }
        }
    }

    pub(super) fn take(&self, shared: &Shared, name: Name, into: &mut dyn Any) {
        let mut state = self.state.borrow_mut();
        let Some(task) = state.tasks.get_mut(name.index, name.serial) else {
            return;
        };
        task.life = Life::Taken;
        let (body, queued) = (task.body.clone(), task.queued);
        // A queued slot is freed by its pop (R1).
        let removed = if queued {
            None
        } else {
            state.remove(shared, name.index, name.serial)
        };
        drop(state);
        if let Body::Spawned(cell) = body {
            cell.as_ref().take(into);
        }
        if let Some(Task { joiner, span, .. }) = removed {
            foreign::discard(joiner);
            foreign::discard(span);
        }
    }

    /// Nobody will ask for the outcome. That of a finished task is dropped by a pop and not here,
    /// in the middle of whoever dropped the handle.
    pub(super) fn detach(&self, name: Name) {
        let mut state = self.state.borrow_mut();
        let State { tasks, queue } = &mut *state;
        let Some(task) = tasks.get_mut(name.index, name.serial) else {
            return;
        };
        task.detached = true;
        if task.life == Life::Done && !task.queued {
            task.queued = true;
            queue.push_back(name.index);
        }
        let joiner = task.joiner.take();
        drop(state);
        foreign::discard(joiner);
    }

    pub(super) fn is_finished(&self, name: Name) -> bool {
        let state = self.state.borrow();
        state
            .tasks
            .get(name.index, name.serial)
            .is_none_or(|task| task.life != Life::Running)
    }
}

/// Who frees the slot of a task that has come to its end.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The handle that takes the outcome, or the pop of a queued slot.
    Somebody,
    Nobody,
}
