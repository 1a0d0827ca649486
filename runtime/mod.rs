//! The runtime: the design on one page.
//!
//! # The idea: whatever leaves the runtime is a name
//!
//! A single-threaded runtime hands things out to four outsiders: the kernel (64 bits in each
//! `epoll_event`), other threads (a `Waker` must be `Send + Sync`), the user's structs (a socket, a
//! `Sleep`, a `JoinHandle`), and time (a timer may fire when its owner has gone). Hand out pointers,
//! and each of the four can be the last to hold one, or hold one too long. So the runtime hands out *names*.
//! Looking a name up finds the thing, or nothing; a name can go stale, be copied, outlive the runtime
//! and cross threads.
//!
//! The folders are the boxes:
//!
//! ```text
//!      your futures                                      other threads
//!   spawn │    ▲ poll                          Waker::wake │ Handle::spawn
//!         ▼    │                                           ▼
//!   ┌─── task/ ─────┐  wake    ┌── time/ ───┐      ┌──── name/ ────┐
//!   │ slab of tasks │ ◀─────── │  heap of   │      │ inbox of each │
//!   │  run queue    │          │ deadlines  │      │ runtime       │
//!   └──────▲────────┘          └─────┬──────┘      └──────┬────────┘
//!          │ wake                    │ next deadline      │ eventfd
//!          │         ┌──── io/ ──────▼────────────────────▼──┐  sys/
//!          └──────── │ slab of sources; epoll_wait, events   │ ◀──▶ kernel
//!                    └───────────────────────────────────────┘
//! ```
//!
//! Beside the boxes: `run` is the loop, `core` the boxes together, `context` which runtime runs on this
//! thread. Imports run downwards; `tests/tidy/imports.rs` has the order, and the one import that does not.
//!
//! # Words
//!
//! - *Name*: place, index and serial of a thing ([`Name`](name::slab::Name)); exact, because serials are never
//!   used again. *Hint*: a task's name truncated to the 64 bits of a waker ([`Hint`](name::waker::Hint));
//!   *token*: a source's, truncated to those of an epoll event ([`Token`](io::sources::Token)). When one of these
//!   errs, a task is woken once without a reason, a spurious wake, which `Future::poll` allows.
//! - *Slot*: room for one task, source or timer in a [`Slab`](name::slab::Slab); *index*: which slot; *serial*:
//!   a number that no two things of the process share.
//! - *Place*: a runtime's entry in a table that lives as long as the process; its *inbox* is there.
//! - *Home*: this runtime is the innermost that runs on this thread. Everything else is *elsewhere*, and goes
//!   through the inbox.
//! - *Source*: a registered descriptor. *Waiter*: a waker that waits for a source.
//! - *Turn*: events from epoll, messages from the inbox, timers. *Poll*: one call of a task's `Future::poll`.
//! - *User code*: whatever may call back or panic: futures, wakers of others, destructors, subscribers.
//! - *Short read*: one that brings less than it has room for. Where it *proves* that the socket is drained, the
//!   next read waits without a system call.
//!
//! # The invariants
//!
//! - R1 A slot is in the run queue at most once: `queued` is true exactly while it is there, and no
//!   slot is freed while it is. So the queue is never longer than there are tasks, and a wake at home never
//!   allocates. Kept by [`task::executor`].
//! - R2 `queued` is cleared before the poll, so that a wake during the poll queues the task again.
//!   Kept by [`task::executor`].
//! - R3 A future, its output and its panic payload are polled and dropped on the runtime's thread
//!   only, until the output is handed to the joiner. Names go anywhere. Kept by [`task::cell`].
//! - R4 Readiness is set only by the registration, of what was never tried, and inside
//!   [`Reactor::turn`](io::reactor::Reactor::turn), and cleared only by an operation of ours that saw EAGAIN,
//!   or proved as much; the reactor never turns while a task is being polled. So there is no gap between a try
//!   and a wait. Kept by [`io::sources`] and [`run`].
//! - R5 No borrow, lock or half-made state is held while user code runs: poll, wake, a waker's
//!   clone and drop, destructors of futures and outputs, tracing subscribers. The one exception is
//!   the stage of the task that is polled. Kept everywhere; [`foreign`] calls user code that must not panic
//!   through.
//! - R6 An exact name that is stale finds nothing; a hint that is stale costs one spurious wake at
//!   most. Kept by [`name::slab`].
//! - R7 A source leaves epoll's interest list before its descriptor is closed, because a duplicate or
//!   a child would keep it there. Kept by [`io::registration`].
//! - R8 A runtime is asleep by default. Before it waits it publishes that, and looks into its inbox
//!   once more, under one lock; when it stops running it publishes the same, and `next_deadline` looks. A
//!   wake that finds it asleep writes its eventfd. Kept by [`name::place`] and [`run`].
//! - R9 No wake is skipped: collect the wakers, let go of every borrow, wake all, then return the
//!   error. One that panics silences no other. (A waker of this runtime's own tasks is no user code:
//!   its task is queued where it is found.) The end of a runtime is an event like any other, and wakes
//!   the tasks of others that wait for its sources and timers. Kept by [`io::reactor`], [`core`] and [`foreign`].
//! - R10 Nothing is stranded: if the kernel holds bytes, an end, an error, a connection or room for a
//!   waiting task, the task is runnable without further traffic. Kept by [`io::registration`] and `net`.
//!
//! # A wake from another thread, call by call
//!
//! 1. The thread calls `Waker::wake`; [`name::waker`] reads place, serial and index from 64 bits, and
//!    [`context`] says that their runtime does not run on this thread.
//! 2. [`Place::wake`](name::place::Place::wake) locks the inbox, sets the bit of the slot in `woken`, and puts the
//!    index into `listed`; there was room for it before (R1).
//! 3. Still under the lock it looks at `asleep`. False: the runtime will look into its inbox before it waits, and
//!    nothing else is to be done. True: it sets that to false, unlocks, and writes the eventfd (R8).
//! 4. epoll_wait(2) returns in the runtime's thread, in [`Reactor::turn`](io::reactor::Reactor::turn); the token is
//!    the eventfd's, and concerns no source.
//! 5. [`Core::read_inbox`](core::Core::read_inbox) moves the inbox out under the lock;
//!    [`Executor::wake_occupant`](task::executor::Executor::wake_occupant) sets `queued` and pushes the index onto
//!    the run queue, unless it is there.
//! 6. [`Executor::pop`](task::executor::Executor::pop) clears `queued` (R2), and the task is polled.
//!
//! # A read that is aborted, structure by structure
//!
//! 1. The task waits in `stream.read(..).await`. Its name is in the `JoinHandle`; its hint in the waiter of the
//!    source; the source's token in epoll's interest list, and its name in the registration of the stream. The
//!    waiter has a key, which the future of the read holds.
//! 2. `handle.abort()` marks the task `aborted` and queues it. Nothing is dropped yet.
//! 3. The pop finds the mark, and [`RawTask::cancel`](task::cell::RawTask::cancel) drops the future: the read's
//!    [`Wait`](io::operation::Wait) takes the waiter out of the source; the stream's registration takes the
//!    descriptor out of epoll (R7) and frees the slot of the source; then the descriptor is closed.
//! 4. "Cancelled" stands where the future was, the task's `life` is `Done`, and the joiner is woken. The slot is
//!    freed when the handle takes that, or, without a handle, by a pop.
//! 5. What is left are names. A waker that somebody kept finds another serial in the slot, or nothing (R6). An
//!    event that was in the batch already finds no source of its serial, and is counted as stale.
//!
//! # Coming from tokio
//!
//! - A [`Runtime`] is tokio's `current_thread` flavor, with I/O and time always enabled. There is no
//!   `enter`: drive it by [`Runtime::block_on`] or [`Runtime::turn`], and spawn from outside by
//!   [`Runtime::spawn`].
//! - A [`Handle`] is a name: it keeps nothing alive, it is `Copy`, and it has no `block_on`.
//! - Dropping a runtime inside another is allowed. It wakes the tasks of others that wait for its sockets and
//!   timers.
//! - A socket waits in one runtime only; elsewhere waiting is an error,
//!   [`io::is_not_at_home`](crate::io::is_not_at_home), whose kind is `Other`.
//! - `#[tokio::main]` is `fn main` with a call of [`block_on`](crate::block_on); `#[tokio::test]` a `#[test]`
//!   with the same.
//! - The budget of a poll is about 128 operations, drawn anew each time, and not tokio's exact 128.
//!
//! # Reading order
//!
//! Up to a poll: [`name::slab`], [`name::waker`], [`name::place`], [`task::cell`], [`task::executor`]. Up to a
//! read: [`io::sources`], [`io::reactor`], [`io::decision`], [`io::registration`], [`io::operation`]. Then
//! [`time::timers`], [`core`], [`context`] and [`run`], the loop. The README lists every file that one echo enters.
//!
//! # Questions
//!
//! *Why edge-triggered?* One `epoll_ctl` serves the life of a connection; readiness is remembered
//! here instead of asked for again. *Why no `Arc<Task>` in the waker?* Its last owner may be any
//! thread, and would have to drop a future that must not leave this one. *Why no io_uring?* Readiness
//! needs no buffers while a task waits, cancels by forgetting, and runs wherever epoll does.

mod budget;
mod builder;
pub(crate) mod chaos;
mod context;
pub(crate) mod coop;
mod core;
mod foreign;
mod handle;
pub(crate) mod io;
pub(crate) mod metrics;
pub(crate) mod name;
pub(crate) mod observe;
pub(crate) mod options;
pub(crate) mod run;
pub(crate) mod signal;
pub(crate) mod sys;
pub(crate) mod task;
pub(crate) mod time;

pub use builder::Builder;
pub use handle::{Handle, TryCurrentError};
pub use metrics::Metrics;
pub use options::UnhandledPanic;
pub use run::Runtime;
