//! The runtime: the design on one page.
//!
//! # The idea: whatever leaves the runtime is a name
//!
//! A single-threaded runtime hands things out to four outsiders: the kernel (64 bits in each `epoll_event`),
//! other threads (a `Waker` must be `Send + Sync`), the user's structs (a socket, a `Sleep`, a `JoinHandle`),
//! and time (a timer may be due after its owner was dropped). If the runtime handed out pointers, each of the
//! four could own the last pointer to a thing, or use one for too long. So the runtime hands out *names*.
//! Looking a name up finds the thing, or nothing. A name may go stale, be copied, outlive the runtime and
//! cross threads.
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
//! Beside the boxes: `run` is the loop, `core` holds the boxes together, and `context` says which runtime
//! runs on this thread. [`pool`] has threads for work that blocks, which reach the runtime as any other thread does.
//! Imports run downwards; `tests/tidy/imports.rs` has the order, and its one exception.
//!
//! # Words
//!
//! - *Name*: place, index and serial of a thing ([`Name`](name::slab::Name)). A name is exact, because no
//!   serial is used twice. *Hint*: a task's name, truncated to the 64 bits of a waker
//!   ([`Hint`](name::waker::Hint)). *Token*: a source's name, truncated to the 64 bits of an epoll event
//!   ([`Token`](io::sources::Token)). A stale one may wake another
//!   task for nothing, which `Future::poll` allows.
//! - *Slot*: room for one task, source or timer in a [`Slab`](name::slab::Slab). *Index*: the number of a
//!   slot. *Serial*: a number that no two things of the process share.
//! - *Place*: a runtime's entry in a table that exists as long as the process. Its *inbox* is there.
//! - *Home* of a name: the runtime that gave it. Code is *at home* if the innermost runtime on its thread is
//!   that one. Other code is *elsewhere*, and reaches the home through the inbox.
//! - *Source*: a registered descriptor. *Waiter*: the waker of a task that waits for a source.
//! - *Blocking work*: a closure that runs on a thread of the [`pool`].
//! - *Turn*: one round of epoll events, inbox messages and timers. *Poll*: one call of `Future::poll`.
//! - *User code*: what may call back or panic: futures, wakers of other executors, destructors, subscribers.
//! - *Short read*: one that brings less than it has room for. Where it *proves* that the socket is drained,
//!   the next read waits without a system call.
//!
//! # The invariants
//!
//! - R1 A slot is in the run queue at most once: `queued` is true exactly while the slot is there, and no
//!   slot is freed while it is there. So the queue is never longer than the number of tasks, and a wake at
//!   home never allocates. Kept by [`task::executor`].
//! - R2 `queued` is cleared before the poll, so that a wake during the poll queues the task again. Kept by
//!   [`task::executor`].
//! - R3 A task's future is polled and dropped on the runtime's thread only. So are its output and its panic payload,
//!   until they are handed to the joiner. Names go anywhere. Kept by [`task::cell`].
//! - R4 Readiness is set in two places: at registration, for what was never tried, and inside
//!   [`Reactor::turn`](io::reactor::Reactor::turn). It is cleared only after an operation saw EAGAIN or proved
//!   that the next one would, after a user's guard said so, or when epoll begins to report room that was only
//!   assumed. The reactor never turns while a task is being polled. So there is no gap between a try and a wait.
//!   Kept by [`io::sources`] and [`run`].
//! - R5 No borrow, lock or half-made state is held while user code runs: poll, wake, a waker's clone and
//!   drop, destructors of futures and outputs, tracing subscribers. The one exception is the stage of the
//!   task that is being polled. Kept everywhere; [`user_code`] calls the user code that must not
//!   panic any further.
//! - R6 A stale name finds nothing; a stale hint costs at most one spurious poll each time it is woken.
//!   Kept by [`name::slab`], and for the tokens of events by [`io::sources`].
//! - R7 A source leaves epoll's interest list before its descriptor is closed. Otherwise a duplicate, here or
//!   in a child, would keep it there. (Where other code has closed the descriptor before, that happens: R6 recognizes the
//!   events.) Kept by [`io::registration`].
//! - R8 A runtime counts as asleep until it says otherwise. Before it waits, it publishes that it is asleep
//!   and checks its inbox once more, both under one lock. When it stops running, it publishes that it is
//!   asleep, too, and [`next_deadline`](Runtime::next_deadline) checks the inbox. A wake from elsewhere that
//!   finds it asleep writes its eventfd. Kept by [`name::place`] and [`run`].
//! - R9 No wake is skipped: collect the wakers, release every borrow, wake all of them, and only then return
//!   an error. A waker that panics does not keep the others from being woken. (A task of this runtime is
//!   queued where its waker is found, which runs no user code.) The end of a runtime is an event, too: it
//!   wakes the tasks of other runtimes and executors that wait for its sources and timers. Kept by
//!   [`io::reactor`], [`core`] and [`user_code`].
//! - R10 Nothing is stranded: if the kernel holds bytes, an end, an error, a connection or room for a waiting
//!   task, the task is runnable without further traffic. A stream whose first wait is a read is registered
//!   without room to write. As no event would report that then, it is assumed: each write is tried. Before a task
//!   waits for room, epoll is asked to report it. Kept by [`io::registration`], [`io::sources`] and `net`.
//!   What the kernel has no event for is tried again by a timer, or named where it is documented.
//!
//! # A wake from another thread, call by call
//!
//! 1. The thread calls `Waker::wake`. [`name::waker`] reads the place from the waker's 64 bits, and
//!    [`context`] says that the runtime at that place is not the current one of this thread.
//! 2. [`Place::wake`](name::place::Place::wake) locks the inbox. Unless the bit of the task's slot is set in
//!    `woken`, it sets the bit and puts the index into `listed`, where `spawn` made room: nothing is
//!    allocated (R1). (If stale wakes have filled `listed`, it sets `unlisted` instead, and all bits are read
//!    later.)
//! 3. Still under the lock it notes that there are messages, and reads `asleep`. If that is false, it only
//!    unlocks: the runtime will check its inbox before it waits. If it is true, it sets `asleep` to false,
//!    unlocks, and writes the eventfd (R8).
//! 4. epoll_wait(2) returns in the runtime's thread, in [`Reactor::turn`](io::reactor::Reactor::turn). The
//!    token is that of the eventfd, and belongs to no source.
//! 5. [`Core::read_inbox`](core::Core::read_inbox) moves the messages out under the lock. For each index,
//!    [`Executor::wake_occupant`](task::executor::Executor::wake_occupant) sets `queued` and pushes the index
//!    onto the run queue, unless the task is queued already or done.
//! 6. [`Executor::pop`](task::executor::Executor::pop) clears `queued` (R2), and
//!    [`Executor::run`](task::executor::Executor::run) polls the task.
//!
//! # A read that is aborted, structure by structure
//!
//! 1. The task waits in `stream.read(..).await`. The task's name is in the `JoinHandle`; its hint is in the
//!    waiter of the source. The source's token is in epoll's interest list; its name is in the registration
//!    of the stream. The waiter has a key, and the future of the read holds that key.
//! 2. `handle.abort()`, at home, marks the task `aborted` and queues it. Nothing is dropped yet.
//! 3. The pop finds the mark, and [`RawTask::cancel`](task::cell::RawTask::cancel) is called instead of
//!    `poll`: it drops the future. First the read's [`Wait`](io::operation::Wait) takes the waiter out of the
//!    source. Then the stream's registration takes the descriptor out of epoll (R7) and frees the slot of the
//!    source. Then the descriptor is closed.
//! 4. "Cancelled" now stands where the future was, the task's `life` is `Done`, and the joiner is woken. The
//!    slot is freed when the handle takes the outcome. If the handle was dropped before, the slot is freed at
//!    once; if it is dropped later, the drop queues the slot, and the pop frees it. In any case a slot that
//!    is queued is freed by its pop (R1).
//! 5. Only names are left. A waker that was kept finds nothing, or wakes the task that has the slot by then
//!    for nothing (R6). An event that still has the token finds no source with that serial, and counts as
//!    stale.
//!
//! # Coming from tokio
//!
//! - A [`Runtime`] is tokio's `current_thread` flavor, with I/O and time always enabled. There is no `enter`:
//!   drive it by [`Runtime::block_on`] or [`Runtime::turn`], and spawn from outside by [`Runtime::spawn`].
//! - A [`Handle`] is plain data, as a name is: it keeps nothing alive, is `Copy`, and has no `block_on`.
//! - A runtime may be dropped inside another one. The drop wakes the tasks of other runtimes that wait for
//!   its sockets and timers.
//! - A socket waits in one runtime only. To wait for it in another is an error of kind `Other`, which
//!   [`io::is_not_at_home`](crate::io::is_not_at_home) recognizes.
//! - `#[tokio::main]` is `fn main` with a call of [`block_on`](crate::block_on); `#[tokio::test]` is a
//!   `#[test]` with the same.
//! - The budget of a poll is drawn anew each time, from 121 to 128 operations; tokio's is always 128. Spent, it is
//!   renewed in the same poll, after some refusals, where tokio's stays spent: see [`task::coop`](crate::task::coop).
//!
//! # Reading order
//!
//! Up to a poll: [`name::slab`], [`name::waker`], [`name::place`], [`task::cell`], [`task::executor`]. Up to
//! a read: [`io::sources`], [`io::reactor`], [`io::decision`], [`io::registration`], [`io::operation`]. Then
//! [`time::timers`], [`core`], [`context`] and [`run`], the loop. Blocking work: [`pool`], [`task::blocking`]. The README lists every file that one echo
//! enters. By questions instead of files: [the tour](crate::tour), with exercises.
//!
//! # Questions
//!
//! *Why edge-triggered?* Two `epoll_ctl` serve the life of a connection, one when it first waits and one at its end, and a
//! third where its writer had to wait: the runtime remembers readiness, and need not ask for it again. Level-triggered, a byte that is not read
//! at once is an event at each turn (the [lab](crate::labs) 17 counts them), or two calls more take the interest away and
//! bring it back. One-shot, each wait is one call more: smol's reactor stands on [that](https://docs.rs/polling), and
//! its echo takes 12 system calls a message, of which epoll_ctl(2) is a part, where this one takes 3 (bench/README.md).
//! [The modes in numbers](crate::tour::trigger_modes).
//!
//! *Why no `Arc<Task>` in the waker?* The last clone may be dropped on any thread, and would have to drop there a future
//! that must not leave this thread. The test `a_future_is_dropped_on_its_thread_whoever_drops_the_last_waker` is the program that would fail.
//!
//! *Why no thread for each connection?* A thread that waits has a stack in the kernel, [16 KiB on
//! x86-64](https://docs.kernel.org/arch/x86/kernel-stacks.html), and one of its own; a connection that waits takes
//! 269 bytes here (bench/README.md). In the [second step](crate::grown_from_nothing#2-poll-what-was-woken) a thousand waits are 1001 threads.
//!
//! *Why no io_uring?* Readiness needs no buffer while a task waits, cancels by forgetting a waiter, and works wherever epoll
//! does: Docker's usual profile [refuses](https://github.com/moby/moby/pull/46762) io_uring. The fewer system
//! calls (0.18 a message in bursts on monoio, 2.02 here) are not less CPU for 50 connections: 1.32 and 1.01 times that of an epoll
//! loop by hand. For 1,000 they are: 0.95 and 1.11. See [which runtime](crate::which_runtime#figures).
//!
//! Thirty more [questions](crate::questions), each with its test.

mod budget;
mod builder;
pub(crate) mod chaos;
mod context;
pub(crate) mod coop;
mod core;
pub(crate) mod explained;
mod handle;
#[cfg(feature = "hyper")]
pub(crate) mod hyper;
pub(crate) mod io;
pub(crate) mod metrics;
pub(crate) mod name;
pub(crate) mod observe;
pub(crate) mod options;
pub(crate) mod pages {
    //! Pages that link to what is private to the runtime, and so are made inside it.

    #[doc = include_str!("labs.md")]
    pub mod labs {}
    #[doc = include_str!("questions.md")]
    pub mod questions {}
}
pub(crate) mod pool;
pub(crate) mod run;
pub(crate) mod signal;
pub(crate) mod sys;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod tour;
mod user_code;

pub use builder::Builder;
pub use handle::{Handle, TryCurrentError};
pub use metrics::Metrics;
pub use options::UnhandledPanic;
pub use run::Runtime;
