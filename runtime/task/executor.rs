//! The executor: which task is polled next.
//!
//! Interface: [`Executor::spawn`] makes a future a task, [`wake`](Executor::wake) queues a task,
//! [`pop`](Executor::pop) says what the loop does next and [`run`](Executor::run) does it.
//!
//! Invariants:
//! - R1. A slot index is in the run queue at most once: `queued` is true exactly while it is there.
//!   A queued slot is never freed; its pop frees it. So the queue is never longer than there are
//!   tasks, `spawn` makes room for them, and a wake at home never allocates.
//! - R2. `queued` is cleared before the poll, so that a wake during the poll queues the task again.
//! - R5. `state` is borrowed for look-ups, and never while user code runs: wakers, spans and
//!   whatever else has a destructor of the user's are moved out, and dropped after the borrow.
//!
//! ```text
//!            spawn, wake                  pop (R2)
//!   idle ─────────────────▶ queued ─────────────────▶ running ──▶ Ready ──▶ done
//!     ▲                       ▲                          │
//!     │                       └── woken during the poll ─┤
//!     └────────────────────────────── Pending ───────────┘
//! ```
//!
//! Over 400 lines because the table of a task's states is beside the code that changes them.
//!
//! Read before: `cell`, `queue`, `waker`. Read next: `outcome`, for what becomes of a task that is done, and
//! `run`, the loop that drives this.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::cell::{RawTask, TaskCell};
use super::id::Id;
use super::queue::RunQueue;
use crate::runtime::budget::Budget;
use crate::runtime::chaos::Chaos;
use crate::runtime::metrics::Counters;
use crate::runtime::name::place::{Place, Room};
use crate::runtime::name::slab::{Name, Slab};
use crate::runtime::name::waker::{self, Hint};
use crate::runtime::observe::{self, TaskSpan};
use crate::runtime::user_code;

/// Empty cells of more bytes are not kept for the next task, without the two counts of their `Rc`. As only the first
/// 1,024 slots keep theirs, a runtime holds at most 528 KiB in such cells.
const KEPT: usize = 512;

/// The pinned cell of a task, whatever the type of its future.
pub(crate) type TaskRef = Pin<Rc<dyn RawTask>>;

/// The tasks of one runtime.
pub(crate) struct Executor {
    /// The place in the names and wakers of the tasks.
    place: u16,
    /// Where room is made for wakes, whenever tasks need more of it.
    inbox: &'static Place,
    /// The slots and tasks that the inbox and the run queue have room for.
    room: Cell<Room>,
    /// How much the task that is polled may do.
    pub(crate) budget: Budget,
    /// Counts the polls.
    counters: Arc<Counters>,
    /// Never borrowed while user code runs (R5).
    pub(super) state: RefCell<State>,
    /// The serial of the task that is being polled or dropped, 0 if none is.
    current: Cell<u64>,
    /// Set when a task has panicked and no handle will report the panic. The loop decides what
    /// follows from it.
    pub(crate) unhandled_panic: Cell<bool>,
}

/// What a wake changes.
pub(super) struct State {
    /// Every task that has not ended, or has ended and still has its outcome.
    pub(super) tasks: Slab<Task>,
    /// The slots of the tasks that are to be polled.
    pub(super) queue: RunQueue,
}

/// The state of a task, except the stage of its cell. Between two calls of the executor, and while
/// a future is polled or dropped, the fields have one of these combinations:
///
/// | `life` | `queued` | `aborted` | `detached` | `joiner` | |
/// |---|---|---|---|---|---|
/// | `Running` | no | no | any | unless detached | waits, or is being polled |
/// | `Running` | yes | no | any | unless detached | was woken: the next pop has it polled |
/// | `Running` | yes | yes | any | unless detached | the next pop has its future dropped |
/// | `Running` | no | yes | any | unless detached | was aborted: its future is being dropped |
/// | `Done` | any | any | no | none | the outcome is there, for the handle |
/// | `Done` | yes | any | yes | none | nothing will take the outcome: the next pop frees the slot |
/// | `Taken` | yes | any | no | none | the outcome was taken: the next pop frees the slot |
///
/// `Done`, detached and not queued does not exist: that slot is free. The main future is `Running`
/// until `block_on` has dropped it, and is neither aborted nor detached nor joined.
pub(super) struct Task {
    /// The slot is in the run queue (R1). Set by adopting, wakes, aborts and detaching; cleared by
    /// the pop (R2) and the shutdown.
    pub(super) queued: bool,
    /// Set by handles and never cleared; the next pop drops the future.
    aborted: bool,
    /// The handle was dropped. Set by `detach`, which also takes the joiner; never cleared.
    pub(super) detached: bool,
    /// Set to `Done` by `end`, and to `Taken` by the handle if the slot is still queued.
    pub(super) life: Life,
    /// The waker of the task that awaits the `JoinHandle`; `end` takes and wakes it.
    pub(super) joiner: Option<Waker>,
    /// The future, or where it is.
    pub(super) body: Body,
    /// For tracing: most often none.
    pub(super) span: TaskSpan,
}

/// What is in a slot that never had a task.
impl Default for Task {
    fn default() -> Task {
        Task {
            queued: false,
            aborted: false,
            detached: false,
            life: Life::Taken,
            joiner: None,
            body: Body::Main,
            span: TaskSpan::NONE,
        }
    }
}

/// How far a task has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// The future is there.
    Running,
    /// The outcome is there.
    Done,
    /// Neither is there: the slot is queued, and its pop frees it.
    Taken,
}

/// Where the future of a task is.
#[derive(Clone)]
pub(crate) enum Body {
    /// The future of `block_on`, pinned on its stack. In a vacant slot: no cell.
    Main,
    /// In a vacant slot, an empty cell, for the next task.
    Spawned(TaskRef),
}

/// What the loop is to do next.
#[must_use]
pub(crate) enum Next {
    /// Nothing is queued.
    Idle,
    /// Poll the main future.
    Main,
    /// Pass this to [`Executor::run`].
    Run(Popped),
    /// The queue held a finished task, which has been taken out: pop again.
    Cleared,
}

/// A popped task and what is to be done with it.
pub(crate) struct Popped {
    /// The slot.
    index: u32,
    /// The task's serial, which is its id.
    serial: u64,
    /// A share of the cell, so that it can be polled while nothing is borrowed.
    cell: TaskRef,
    /// A share of the span, which is entered for the poll.
    span: TaskSpan,
    /// The future is to be dropped, and not polled.
    aborted: bool,
}

impl Body {
    /// Moves `future` into the empty cell that is here, if that was made for the same type, else into a new
    /// one.
    #[inline]
    fn hold<F>(&mut self, future: F)
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let mut future = Some(future);
        if let Body::Spawned(cell) = self {
            cell.as_ref().refill(&mut future);
        }
        if let Some(future) = future {
            *self = Body::Spawned(Rc::pin(TaskCell::new(future)));
        }
    }

    /// True if an empty cell may stay in a vacant slot.
    #[inline]
    pub(super) fn is_small(&self) -> bool {
        match self {
            Body::Main => true,
            Body::Spawned(cell) => size_of_val(&**cell) <= KEPT,
        }
    }
}

impl Executor {
    /// No tasks, for the runtime that has `place`.
    pub(crate) fn new(place: u16, inbox: &'static Place, counters: Arc<Counters>) -> Executor {
        let state = State {
            tasks: Slab::new(),
            queue: RunQueue::new(),
        };
        Executor {
            place,
            inbox,
            room: Cell::new(Room { slots: 0, tasks: 0 }),
            budget: Budget::new(),
            counters,
            state: RefCell::new(state),
            current: Cell::new(0),
            unhandled_panic: Cell::new(false),
        }
    }

    /// Gives the main future a slot and queues it.
    pub(crate) fn insert_main(&self, serial: u64) -> Name {
        self.adopt(serial, TaskSpan::NONE, |body| *body = Body::Main)
    }

    /// Makes `future` a task and queues it.
    #[inline]
    pub(crate) fn spawn<F>(&self, serial: u64, future: F, span: TaskSpan) -> Name
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.adopt(serial, span, |body| body.hold(future))
    }

    /// Gives a task a slot, has `fill` set its body, which runs no user code (R5), and queues it.
    #[inline(always)] // Once for each type of future, like `fill`.
    fn adopt(&self, serial: u64, span: TaskSpan, fill: impl FnOnce(&mut Body)) -> Name {
        let state = &mut *self.state.borrow_mut();
        // Before a slot is taken: below the limit one is vacant, or a new one's index fits a hint.
        assert!(
            state.tasks.len() < Hint::INDEX_LIMIT as usize,
            "2^28 tasks live in this runtime, and more cannot be named"
        );
        let (index, task) = state.tasks.occupy(serial);
        // Field by field: a task that is written whole is made elsewhere and read back, which stalls.
        task.queued = true;
        task.aborted = false;
        task.detached = false;
        task.life = Life::Running;
        debug_assert!(task.joiner.is_none() && task.span.is_none());
        task.span = span;
        fill(&mut task.body);
        if state.tasks.len() > self.room.get().tasks {
            self.make_room(state);
        }
        // The slab grows only when it is full, so slots exceed the room only if tasks do.
        debug_assert!(state.tasks.slots() <= self.room.get().slots);
        state.queue.push(index);
        Name::new(self.place, index, serial)
    }

    /// Queues the task that `hint` names, unless the task is queued already or has ended.
    #[inline]
    pub(crate) fn wake(&self, hint: Hint) {
        let state = &mut *self.state.borrow_mut();
        if let Some((serial, task)) = state.tasks.occupant(hint.index()) {
            if hint.matches(serial) {
                enqueue(&mut state.queue, hint.index(), task);
            }
        }
    }

    /// Queues the task that `waker` names, if the waker is one of this runtime; else returns the
    /// waker. This runs no user code, so the caller may hold a borrow (R5), and it saves the call
    /// through the vtable and the look-up of the current runtime. If a subscriber may want the
    /// event of the wake, which is user code, the waker is returned as well.
    #[inline]
    pub(crate) fn wake_ours(&self, waker: Waker) -> Option<Waker> {
        match Hint::of(&waker) {
            Some(hint) if hint.place() == self.place && !observe::is_on() => {
                self.wake(hint);
                None
            }
            _ => Some(waker),
        }
    }

    /// Queues the task in the slot `index`, for a wake from the inbox. The inbox keeps a bit for
    /// each slot, not a hint, so that a stale wake can never keep out a fresh one (R6).
    pub(crate) fn wake_occupant(&self, index: u32) {
        let state = &mut *self.state.borrow_mut();
        if let Some((_, task)) = state.tasks.occupant(index) {
            enqueue(&mut state.queue, index, task);
        }
    }

    /// Wakes some task without a reason, if chaos says so: `Future::poll` allows spurious wakes.
    pub(crate) fn wake_for_nothing(&self, chaos: &Chaos) {
        if !chaos.is_on() {
            return;
        }
        let slots = self.state.borrow().tasks.slots();
        if slots > 0 && chaos.says(4) {
            if let Some(index) = chaos.pick(slots) {
                // Nothing is lost: every index of the slab is a `u32`.
                self.wake_occupant(index as u32);
            }
        }
    }

    /// Takes a slot off the queue, the first unless chaos picks one, and says what to do with it.
    #[inline]
    pub(crate) fn pop(&self, chaos: &Chaos) -> Next {
        let mut state = self.state.borrow_mut();
        if let Some(any) = chaos.pick(state.queue.len()) {
            state.queue.swap_with_first(any);
        }
        let Some(index) = state.queue.pop() else {
            return Next::Idle;
        };
        let Some((serial, task)) = state.tasks.occupant(index) else {
            unreachable!("a queued slot is not freed (R1)");
        };
        // Before the poll, not after: a wake during the poll must queue the task again (R2).
        task.queued = false;
        match (task.life, &task.body) {
            (Life::Running, Body::Main) => Next::Main,
            (Life::Running, Body::Spawned(cell)) => Next::Run(Popped {
                index,
                serial,
                cell: cell.clone(),
                span: task.span.clone(),
                aborted: task.aborted,
            }),
            (Life::Done, _) if !task.detached => Next::Cleared,
            (Life::Done | Life::Taken, _) => {
                drop(state);
                self.clear_away(index, serial);
                Next::Cleared
            }
        }
    }

    /// Polls a popped task, or drops its future if it was aborted; the task is current meanwhile.
    #[inline]
    pub(crate) fn run(&self, popped: Popped) {
        let Popped {
            index,
            serial,
            cell,
            span,
            aborted,
        } = popped;
        // To the end of this function: the task is current also while its remains are dropped.
        let _current = self.set_current(serial);
        let entered = span.enter();
        let cell = cell.as_ref();
        // The destructor of an aborted task has a budget, too.
        self.budget.refill();
        let polled = if aborted {
            observe::cancelled(serial);
            Poll::Ready(cell.cancel(Id(serial)))
        } else {
            observe::polled(serial);
            self.counters.polls.add(1);
            let waker = waker::unowned(Hint::new(self.place, index, serial));
            cell.poll(Id(serial), &mut Context::from_waker(&waker))
        };
        user_code::discard_any(entered);
        if let Poll::Ready(finished) = polled {
            self.finish(index, serial, finished);
        }
        span.discard();
    }

    /// Marks the task and queues it; the pop drops the future. A done task keeps its outcome.
    pub(crate) fn abort(&self, name: Name) {
        let state = &mut *self.state.borrow_mut();
        if let Some(task) = state.tasks.get_mut(name.index(), name.serial) {
            task.aborted = true;
            enqueue(&mut state.queue, name.index(), task);
        }
    }

    /// How many tasks are in the run queue.
    #[inline]
    pub(crate) fn queued(&self) -> usize {
        self.state.borrow().queue.len()
    }

    /// How many tasks have a slot, with the main future and those that still have their outcome.
    pub(crate) fn tasks(&self) -> usize {
        self.state.borrow().tasks.len()
    }

    /// The task that is being polled or dropped.
    pub(super) fn current(&self) -> Option<Id> {
        Some(self.current.get())
            .filter(|&serial| serial != 0)
            .map(Id)
    }

    /// Gives back memory that a burst of tasks has left. The queue and the inbox shrink when at
    /// most a quarter of their room is used, and keep room for twice of that (R1), so that one task
    /// that comes and goes resizes nothing: they grow to the next power of two, so after a shrink the tasks must about
    /// double before the next growth, and after a growth about halve before the next shrink. Called at each turn, and when
    /// the runtime stops to run.
    pub(crate) fn trim(&self) {
        const LEAST: usize = 64;
        let state = &mut *self.state.borrow_mut();
        state.tasks.trim();
        let room = self.room.get();
        if room.tasks.max(room.slots) <= LEAST {
            return;
        }
        let (tasks, slots) = (state.tasks.len(), state.tasks.slots());
        let is_spare = |room: usize, used: usize| room > LEAST && used <= room / 4;
        if is_spare(room.tasks, tasks) || is_spare(room.slots, slots) {
            let twice = |used: usize| (2 * used).next_power_of_two().max(LEAST);
            let room = Room {
                slots: room.slots.min(twice(slots)),
                tasks: room.tasks.min(twice(tasks)),
            };
            self.resize(state, room);
        }
    }

    /// Makes room for the tasks in the queue and the inbox, up to a power of two, at least 64 (R1).
    #[cold]
    fn make_room(&self, state: &mut State) {
        let tasks = state.tasks.len().next_power_of_two().max(64);
        let slots = state.tasks.slots().next_power_of_two().max(64);
        self.resize(state, Room { slots, tasks });
    }

    /// Makes the room exact in the queue and in the inbox, more or less than before.
    fn resize(&self, state: &mut State, room: Room) {
        let before = self.room.replace(room);
        if before.tasks != room.tasks {
            state.queue.resize(room.tasks);
        }
        if before != room {
            self.inbox.resize(room);
        }
    }

    /// The id of the span of the task that `hint` names, if it has one.
    pub(crate) fn span_id(&self, hint: Hint) -> Option<u64> {
        let mut state = self.state.borrow_mut();
        let (serial, task) = state.tasks.occupant(hint.index())?;
        task.span.id().filter(|_| hint.matches(serial))
    }

    /// The id of the span of the task in the slot `index`, if it has one.
    pub(crate) fn span_id_at(&self, index: u32) -> Option<u64> {
        let mut state = self.state.borrow_mut();
        let (_, task) = state.tasks.occupant(index)?;
        task.span.id()
    }

    /// Polls the main future, after its slot was popped.
    pub(crate) fn poll_main<F: Future>(&self, name: Name, future: Pin<&mut F>) -> Poll<F::Output> {
        let _current = self.set_current(name.serial);
        self.counters.polls.add(1);
        self.budget.refill();
        let waker = waker::unowned(Hint::new(self.place, name.index(), name.serial));
        future.poll(&mut Context::from_waker(&waker))
    }

    /// The main future has been dropped: frees its slot, now or, if it is queued, by its pop.
    pub(crate) fn remove_main(&self, name: Name) {
        let mut nothing = ();
        self.take_output(name, &mut nothing);
    }

    /// Makes `serial` the current task until the guard is dropped.
    #[inline]
    pub(crate) fn set_current(&self, serial: u64) -> CurrentTask<'_> {
        CurrentTask {
            executor: self,
            outer: self.current.replace(serial),
        }
    }
}

/// Guard of [`Executor::set_current`].
pub(crate) struct CurrentTask<'a> {
    /// Whose current task is set.
    executor: &'a Executor,
    /// The serial that was current before; 0 if none was.
    outer: u64,
}

impl Drop for CurrentTask<'_> {
    #[inline]
    fn drop(&mut self) {
        self.executor.current.set(self.outer);
    }
}

/// Puts a task that is not done into the queue, unless it is there (R1).
#[inline]
fn enqueue(queue: &mut RunQueue, index: u32, task: &mut Task) {
    if !task.queued && task.life == Life::Running {
        task.queued = true;
        queue.push(index);
    }
}
