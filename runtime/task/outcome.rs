//! The outcome of a task: from the task's end to the handle that takes it, or to its drop.
//!
//! Interface: [`Executor::finish`] after the last poll, [`poll_join`](Executor::poll_join) and
//! [`detach`](Executor::detach) for handles, [`clear_away`](Executor::clear_away) for an outcome
//! that no handle will take.
//! Invariant (R1, R5): the function that takes or discards an outcome frees the slot, unless the
//! slot is queued: then the pop does. Outcomes, wakers and spans are dropped outside the borrow,
//! and their panics are caught.
//! Read before: `executor`. Read next: `join`, the public side; `shutdown`.

use std::any::Any;
use std::cell::RefMut;
use std::mem;
use std::task::{Context, Poll};

use super::cell::Finished;
use super::executor::{Body, Executor, Life, State, Task};
use crate::runtime::name::slab::{Name, Slab};
use crate::runtime::name::waker;
use crate::runtime::observe::{self, TaskSpan};
use crate::runtime::user_code;

impl Executor {
    /// The future has been dropped and the outcome is in the cell: wakes the joiner, or, if no
    /// handle is left, clears the task away.
    #[inline]
    pub(super) fn finish(&self, index: u32, serial: u64, finished: Finished) {
        if self.end(index, serial, finished) == Claim::Unclaimed {
            self.clear_away(index, serial);
        }
    }

    /// Marks the task done, reports a panic that no handle will report, wakes the joiner, and says who frees the
    /// slot.
    #[inline]
    pub(super) fn end(&self, index: u32, serial: u64, finished: Finished) -> Claim {
        let mut state = self.state.borrow_mut();
        let Some(task) = state.tasks.get_mut(index, serial) else {
            return Claim::Claimed;
        };
        task.life = Life::Done;
        let joiner = task.joiner.take();
        let detached = task.detached;
        // A queued slot is freed by its pop (R1).
        let claim = if detached && !task.queued {
            Claim::Unclaimed
        } else {
            Claim::Claimed
        };
        drop(state);
        if finished == Finished::DropPanicked {
            observe::future_drop_panicked(serial);
        }
        if let Some(other) = joiner.and_then(|joiner| self.wake_ours(joiner)) {
            user_code::wake(other);
        }
        claim
    }

    /// Frees the slot of a task that is done and not queued, and drops what the task still holds.
    #[inline(never)] // So that the loop, which calls this for few tasks, keeps its registers.
    pub(super) fn clear_away(&self, index: u32, serial: u64) {
        let mut state = self.state.borrow_mut();
        let Some(task) = state.tasks.get_mut(index, serial) else {
            return;
        };
        let body = task.body.clone();
        let span = task.leave(index);
        state.tasks.vacate(index);
        drop(state);
        // The task is current meanwhile, also when a pop does this long after the task's last poll.
        let _current = self.set_current(serial);
        if let Body::Spawned(cell) = &body {
            // Here and not in `end`, because the handle may be dropped before the end or after it. The cell is
            // empty before the outcome is dropped: code that spawns from there may fill it again.
            match cell.as_ref().discard() {
                Finished::Quietly => {}
                Finished::Panicked => {
                    self.unhandled_panic.set(true);
                    observe::detached_task_panicked(serial);
                }
                Finished::DropPanicked => observe::output_drop_panicked(serial),
            }
        }
        span.discard();
    }

    /// Moves the outcome of a finished task into `into`, or stores the waker of `cx` to be woken at
    /// the task's end. If the name is stale, returns `Ready` and leaves `into` as it is.
    pub(crate) fn poll_join(&self, name: Name, cx: &Context<'_>, into: &mut dyn Any) -> Poll<()> {
        let mut clone = None;
        loop {
            let mut state = self.state.borrow_mut();
            let Some(task) = state.tasks.get_mut(name.index(), name.serial) else {
                return Poll::Ready(());
            };
            if task.life != Life::Running {
                self.take_output_of(state, name, into);
                return Poll::Ready(());
            }
            let joiner = task.joiner.as_ref();
            if joiner.is_some_and(|joiner| joiner.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if let Some(clone) = clone.take().or_else(|| waker::clone_ours(cx.waker())) {
                let before = task.joiner.replace(clone);
                drop(state);
                user_code::discard_any(before);
                return Poll::Pending;
            }
            drop(state);
            // The clone of another executor's waker runs user code (R5): the task may be done when that returns.
            clone = Some(cx.waker().clone());
        }
    }

    /// Takes the outcome of a task and frees its slot. The main future has no outcome to take.
    pub(crate) fn take_output(&self, name: Name, into: &mut dyn Any) {
        self.take_output_of(self.state.borrow_mut(), name, into);
    }

    /// [`take_output`](Executor::take_output) by a borrow that the caller has already, which saves a look-up.
    #[inline(always)]
    fn take_output_of(&self, mut state: RefMut<'_, State>, name: Name, into: &mut dyn Any) {
        let Some(task) = state.tasks.get_mut(name.index(), name.serial) else {
            return;
        };
        if let Body::Spawned(cell) = &task.body {
            // A move, under the borrow: it runs no user code (R5).
            cell.as_ref().take_output(into);
        }
        // A queued slot is freed by its pop (R1).
        if task.queued {
            task.life = Life::Taken;
        } else {
            let span = task.leave(name.index());
            state.tasks.vacate(name.index());
            drop(state);
            span.discard();
        }
    }

    /// The handle was dropped, so nothing will take the outcome. A pop drops that of a finished
    /// task, not this function, which runs inside the code that dropped the handle.
    pub(crate) fn detach(&self, name: Name) {
        let mut state = self.state.borrow_mut();
        let State { tasks, queue } = &mut *state;
        let Some(task) = tasks.get_mut(name.index(), name.serial) else {
            return;
        };
        task.detached = true;
        if task.life == Life::Done && !task.queued {
            task.queued = true;
            queue.push(name.index());
        }
        let joiner = task.joiner.take();
        drop(state);
        user_code::discard_any(joiner);
    }

    /// True if the future is gone; also if the slot is free, or another task's.
    pub(crate) fn is_finished(&self, name: Name) -> bool {
        let state = self.state.borrow();
        state
            .tasks
            .get(name.index(), name.serial)
            .is_none_or(|task| task.life != Life::Running)
    }
}

impl Task {
    /// Makes a task that is done ready for its slot to be freed, and returns its span, whose destructor is
    /// user code: discard it when nothing is borrowed (R5). The task's end took the joiner. The cell is empty,
    /// or the caller has a clone and will empty it; it stays for the slot's next task, unless it is large or
    /// the slot's memory may be given back.
    #[inline]
    fn leave(&mut self, index: u32) -> TaskSpan {
        debug_assert!(self.joiner.is_none(), "no task waits for one that is done");
        if !Slab::<Task>::is_near(index) || !self.body.is_small() {
            self.body = Body::Main;
        }
        mem::replace(&mut self.span, TaskSpan::NONE)
    }
}

/// What frees the slot of a task that has ended.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// The handle that takes the outcome, or the pop of a queued slot.
    Claimed,
    /// Nothing else: the caller frees it.
    Unclaimed,
}
