//! The runtime: the design on one page.
//!
//! # The idea: whatever leaves the runtime is a name
//!
//! A single-threaded runtime hands things out to four outsiders: the kernel (64 bits in each
//! `epoll_event`), other threads (a `Waker` must be `Send + Sync`), the user's structs (a socket, a
//! `Sleep`, a `JoinHandle`), and time (a timer may fire when its owner has gone). Hand out pointers,
//! and each of the four can be the last to hold one, or hold one too long. So it hands out *names*.
//! Looking a name up finds the thing, or nothing; it can go stale, be copied, outlive the runtime
//! and cross threads.
//!
//! An *exact name* ([`slab::Name`]: place, index, serial) never errs: handles, timers and sockets
//! hold one. A *hint* is a name truncated to 64 bits, in a waker ([`waker::Hint`]) or an epoll token
//! ([`reactor`]); when it errs, another task is woken once without a reason. `Future::poll` allows such
//! spurious wakes.
//!
//! *Home* means: this runtime is the innermost one that runs on this thread. Everything else is
//! *elsewhere*, and goes through the inbox of the runtime's [`place`].
//!
//! ```text
//!      your futures                                      other threads
//!   spawn │    ▲ poll                          Waker::wake │ Handle::spawn
//!         ▼    │                                           ▼
//!   ┌── executor ───┐  wake    ┌── timers ──┐      ┌──── place ────┐
//!   │ slab of tasks │ ◀─────── │    heap    │      │ inbox, bell   │
//!   │  run queue    │          └─────┬──────┘      └──────┬────────┘
//!   └──────▲────────┘                │ next deadline      │ eventfd
//!          │ wake    ┌─── reactor ───▼────────────────────▼──┐
//!          └──────── │ slab of sources; epoll_wait, events   │ ◀──▶ kernel
//!                    └───────────────────────────────────────┘
//! ```
//!
//! # The invariants
//!
//! - R1 A slot is in the run queue at most once: `queued` is true exactly while it is there, and no
//!   slot is freed while it is. So the queue is never longer than there are tasks, and a wake at home never
//!   allocates. Kept by [`executor`].
//! - R2 `queued` is cleared before the poll, so that a wake during the poll queues the task again.
//!   Kept by [`executor`].
//! - R3 A future, its output and its panic payload are polled and dropped on the runtime's thread
//!   only, until the output is handed to the joiner. Names go anywhere. Kept by [`task`].
//! - R4 Readiness is set only by the registration, of what was never tried, and inside
//!   [`Reactor::turn`](reactor::Reactor::turn), and cleared only by an operation of ours that saw EAGAIN,
//!   or proved as much; the turn never runs while a task is being polled. So there is no gap between a look and a wait. Kept by [`reactor`].
//! - R5 No borrow, lock or half-made state is held while foreign code runs: poll, wake, a waker's
//!   clone and drop, destructors of futures and outputs, tracing subscribers. The one exception is
//!   the stage of the task that is polled. Kept everywhere; [`foreign`] is the arm's length.
//! - R6 An exact name that is stale finds nothing; a hint that is stale costs one spurious wake at
//!   most. Kept by [`slab`].
//! - R7 A source leaves epoll's interest list before its descriptor is closed, because a duplicate or
//!   a child would keep it there. Kept by [`registration`].
//! - R8 A runtime is asleep by default. Before it waits it publishes that, and looks at its inbox
//!   once more, under one lock; when it stops running it publishes it, and `next_deadline` turns. A
//!   wake that finds it asleep rings. Kept by [`place`] and [`Core::park`].
//! - R9 No wake is skipped: collect the wakers, let go of every borrow, wake all, then return the
//!   error. One that panics silences no other. (A waker of this runtime's own tasks is not foreign:
//!   it is woken where it is found.) The end of a runtime is an event like any other, and wakes
//!   whoever else waits for its sources and timers. Kept by [`reactor`], [`core`] and [`foreign`].
//! - R10 Nothing is stranded: if the kernel holds bytes, an end, an error, a connection or room for a
//!   waiting task, the task is runnable without further traffic. Kept by [`reactor`] and `net`.
//!
//! # The loop
//!
//! ```text
//!   ┌─▶ 1 read the inbox, if there is mail; poll a task from the queue, first in, first out;
//!   │     again, until the queue is empty, 61 times at most
//!   │   2 look at epoll: without waiting if a task is queued; else say "asleep", look at the
//!   │     inbox once more, and wait until the next deadline
//!   │   3 read the clock once, fire the timers that are due
//!   └───┘
//! ```
//!
//! The main future is one slot among the others, so it starves nobody and nobody starves it.
//!
//! # Coming from tokio
//!
//! - A [`Runtime`] is tokio's `current_thread` flavor, with I/O and time always enabled. There is no
//!   `enter`: drive it by [`Runtime::block_on`] or [`Runtime::turn`], and spawn from outside by
//!   [`Runtime::spawn`].
//! - A [`Handle`] is a name: it keeps nothing alive, it is `Copy`, and it has no `block_on`.
//! - Dropping a runtime inside another is allowed. It wakes whoever else waits for its sockets and timers.
//! - A socket waits in one runtime only; elsewhere waiting is an error,
//!   [`io::is_not_at_home`](crate::io::is_not_at_home), whose kind is `Other`.
//! - `#[tokio::main]` is `fn main` with a call of [`block_on`](crate::block_on); `#[tokio::test]` a `#[test]`
//!   with the same.
//! - The budget of a poll is about 128 operations, drawn anew each time, and not tokio's exact 128.
//!
//! # Reading order
//!
//! [`slab`], [`chunks`], [`waker`], [`place`], [`task`], [`executor`], [`reactor`], [`timers`], and back here.
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
