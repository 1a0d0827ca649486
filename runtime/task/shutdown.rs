//! The end of the tasks: every future is dropped, in spawn order, on the runtime's thread.
//!
//! Interface: [`Executor::shutdown`].
//! Invariant (R3, R5): futures are dropped unpolled, while their runtime is current and only their
//! cell is borrowed. So a destructor may spawn, wake, drop sockets and get the current handle.
//! Read before: `executor`, `outcome`. Read next: `core`, which calls this.

use std::mem;

use super::executor::{Body, Executor, Life, State, Task, TaskRef};
use super::id::Id;
use crate::runtime::name::slab::Slab;
use crate::runtime::observe;

/// The most rounds of a shutdown; each drops the tasks that the drops of the last one spawned.
pub(crate) const SHUTDOWN_ROUNDS: usize = 10_000;

impl Executor {
    /// Drops every task, in spawn order and unpolled, and then what their destructors spawned.
    ///
    /// Repeats this until no task is left. Destructors that spawn without end are stopped by a
    /// limit; the tasks that are left then are leaked, because dropping them would spawn more.
    ///
    /// `read_inbox` carries out the messages of the inbox: other threads may have spawned.
    pub(crate) fn shutdown(&self, read_inbox: impl Fn()) {
        for _round in 0..SHUTDOWN_ROUNDS {
            read_inbox();
            let mut tasks = self.living();
            if tasks.is_empty() {
                return;
            }
            tasks.sort_unstable_by_key(|&(serial, ..)| serial);
            for (serial, index, cell) in &tasks {
                self.cancel(*index, *serial, cell.as_ref());
            }
            for (serial, index, _) in tasks {
                // Before each one, because the last destructor may have queued this slot (R1).
                self.unqueue_all();
                self.clear_away(index, serial);
            }
        }
        observe::tasks_leaked(SHUTDOWN_ROUNDS);
        mem::forget(mem::replace(
            &mut self.state.borrow_mut().tasks,
            Slab::new(),
        ));
        self.unqueue_all();
    }

    /// Drops the future of one task, while that task is current in its runtime, and then wakes its
    /// joiner.
    fn cancel(&self, index: u32, serial: u64, cell: Option<&TaskRef>) {
        let life = {
            let state = self.state.borrow();
            state.tasks.get(index, serial).map(|task| task.life)
        };
        if let (Some(Life::Running), Some(cell)) = (life, cell) {
            let _current = self.set_current(serial);
            self.budget.refill();
            let finished = cell.as_ref().cancel(Id(serial));
            let _freed_below = self.end(index, serial, finished);
        }
    }

    /// Every task that has a slot: its serial, its index, and its cell, but for the main future.
    fn living(&self) -> Vec<(u64, u32, Option<TaskRef>)> {
        let state = self.state.borrow();
        let cell = |task: &Task| match &task.body {
            Body::Main => None,
            Body::Spawned(cell) => Some(cell.clone()),
        };
        state
            .tasks
            .iter()
            .map(|(index, serial, task)| (serial, index, cell(task)))
            .collect()
    }

    /// Empties the queue, and says so in each slot, so that the slots can be freed (R1).
    fn unqueue_all(&self) {
        let State { tasks, queue } = &mut *self.state.borrow_mut();
        while let Some(index) = queue.pop() {
            if let Some((_, task)) = tasks.occupant(index) {
                task.queued = false;
            }
        }
    }
}
