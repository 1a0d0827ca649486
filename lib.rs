//! An async runtime for Linux, made from scratch on epoll, to be used and to be read.
//!
//! One thread, one run queue, one reactor; TCP, UDP, Unix sockets, pipes, host names, timers, signals and blocking work on
//! top. There are no macros: a program is a `main` that calls [`block_on`].
//!
//! ```no_run
//! use reveille::net::TcpListener;
//!
//! fn main() -> std::io::Result<()> {
//!     reveille::block_on(async {
//!         let listener = TcpListener::bind("127.0.0.1:7000").await?;
//!         loop {
//!             let (stream, _peer) = listener.accept().await?;
//!             reveille::spawn(async move {
//!                 let mut buf = [0; 4096];
//!                 while let Ok(n @ 1..) = stream.read(&mut buf).await {
//!                     stream.write_all(&buf[..n]).await?;
//!                 }
//!                 std::io::Result::Ok(())
//!             });
//!         }
//!     })
//! }
//! ```
//!
//! # Why not just use tokio?
//!
//! Use tokio if you need more than one thread, another system than Linux, or tokio's ecosystem. This crate is
//! for programs that one thread serves well, with tasks that need not be `Send`, by authors who want to know,
//! or to learn, what runs beneath. [`which_runtime`] says where tokio, smol, monoio, compio and this one win, with
//! figures.
//!
//! # What is where
//!
//! To use:
//! - [`task`]: [`spawn`], [blocking work](task::spawn_blocking), [sets of tasks](task::JoinSet), the [budget](task::coop).
//! - [`runtime`]: [options](runtime::Builder), driving a [`Runtime`] from another event loop, [reaching it](runtime::Handle)
//!   from other threads.
//! - [`net`]: TCP, UDP, Unix sockets, pipes and host names. [`io`]: [`AsyncFd`](io::AsyncFd), to wait for any other kind
//!   of descriptor, with the [contract](io::AsyncFd#contract) of readiness.
//! - [`time`]: sleeping, limiting, ticking, and a [clock that tests can stop](time#tests-with-a-paused-clock).
//!   [`signal`]: Ctrl-C and other signals.
//! - [`which_runtime`] to choose, [`coming_from_tokio`], and [`what_runs_on_it`]: crates that are known to work here.
//!   On this page: [features](#features), and [what is not here](#not-here).
//! - `examples/` in the repository: whole programs, among them echo, chat, drain, close_gently, timeout and custom_source.
//!
//! To learn from, in this order:
//! 1. [`grown_from_nothing`]: six programs of at most 150 lines. Each mends a flaw of the one before, and the last is a
//!    miniature of this library.
//! 2. [`tour`]: eight stops, from a future to the end of a runtime, with exercises that tests judge.
//! 3. [The design](runtime) on one page: the idea, the words, the invariants R1 to R10, and a
//!    [reading order](runtime#reading-order) of the source.
//! 4. [`two_tutorials`]: what is commonly taught of epoll, statement by statement.
//! 5. [`when_a_server_is_stuck`]: what the system's tools say of a server.
//! 6. [`questions`]: thirty, which tell whether you have understood it. [`labs`]: you break a part, and see what it is for.
//!
//! # Features
//!
//! None is on by default. Each implements the traits of other crates for [`TcpStream`](net::TcpStream),
//! [`UnixStream`](net::UnixStream), references to them, the halves of a stream, and both ends of a [`pipe`](net::pipe):
//!
//! - `futures-io`: `AsyncRead` and `AsyncWrite` of the futures crates, for smol's ecosystem. One crate more.
//! - `tokio-io`: `AsyncRead` and `AsyncWrite` of tokio, without its runtime, for most other crates. One crate more.
//! - `hyper`: `Read` and `Write` of hyper 1, and an executor and a timer for it. Six crates more.
//!
//! Flushing is done at once. Closing shuts down writing, as often as it is asked for, and reading goes on; the end of a pipe
//! is closed by dropping it only. Vectored writes take up to 1024 buffers. Reads do not zero the buffer before.
//!
//! # Not here
//!
//! [`what_runs_on_it`] has the crates that are known to work here, and how.
//! [`coming_from_tokio`] has a table of what is otherwise than in tokio, and of what is not here.
//!
//! Channels, locks, `select` and streams are not here: tokio's `sync` module and `select!`
//! (`tokio = { version = "1.54", default-features = false, features = ["sync", "macros"] }`), async-channel, futures-lite
//! and futures-concurrency work on any runtime, and so on this one. They do not spend the budget that makes a
//! task let others run: see [`task::coop`]. Functions that block (tokio's `blocking_recv`, say) block this
//! thread and all its tasks. Functions that need tokio's timers (`send_timeout`) panic: use
//! [`time::timeout`].
//!
//! # To be read
//!
//! Begin with the page of [`runtime`], which states the idea (whatever leaves the runtime is a name) and the
//! invariants R1 to R10. Each file opens with what it is for, which invariants it keeps, and what to read
//! before and next.
//!
//! Each function is shown in an example that runs, most of them at the function itself, others at its type; private items
//! are documented as public ones are.

// The public pages link to private items on purpose: those are there to be read, and docs.rs shows them.
#![allow(rustdoc::private_intra_doc_links)]
#![warn(clippy::missing_docs_in_private_items)]

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("reveille needs 64-bit Linux: it is built on epoll, and a waker is 64 bits");

#[doc = include_str!("runtime/coming_from_tokio.md")]
pub mod coming_from_tokio {}
#[doc = include_str!("runtime/grown_from_nothing.md")]
pub mod grown_from_nothing {}
#[doc = include_str!("runtime/two_tutorials.md")]
pub mod two_tutorials {}
#[doc = include_str!("runtime/what_runs_on_it.md")]
pub mod what_runs_on_it {}
#[doc = include_str!("runtime/when_a_server_is_stuck.md")]
pub mod when_a_server_is_stuck {}
#[doc = include_str!("runtime/which_runtime.md")]
pub mod which_runtime {}
pub mod net;
pub mod runtime;

pub use runtime::pages::{labs, questions};
pub use runtime::task::spawn::spawn;
pub use runtime::{Builder, Handle, Runtime};

use std::future::Future;

use runtime::options::Options;

/// Runs `future`, and the tasks it spawns, on a runtime made for this call.
///
/// When `future` is done, the runtime ends: tasks that are not done are dropped, in the order in which they
/// were spawned. The future need not be `'static` or `Send`.
///
/// # Panics
/// - Inside a runtime: await the future there, or [`spawn`] it.
/// - With the panic of `future`, after the runtime has ended.
/// - If no runtime can be made; [`Runtime::new`] gives the error instead.
/// - If epoll_wait(2) fails, but for EINTR (a signal, or SIGSTOP and SIGCONT), after which it waits again.
///
/// # Examples
/// ```
/// let name = String::from("reveille");
/// let length = reveille::block_on(async { name.len() });
/// assert_eq!(length, 8);
/// ```
#[track_caller]
pub fn block_on<F: Future>(future: F) -> F::Output {
    if const { runtime::task::cell::is_big::<F>() } {
        runtime::run::block_on_once(&Options::default(), Box::pin(future))
    } else {
        runtime::run::block_on_once(&Options::default(), future)
    }
}

pub mod task {
    //! Tasks: spawning, awaiting, aborting and detaching them.
    //!
    //! # Wakers
    //! A waker may be cloned, woken and dropped on any thread at any time, but not in a signal handler: a
    //! wake from elsewhere takes a lock. In a handler write an eventfd, or use [`signal`](crate::signal).
    //!
    //! # tokio-console
    //! [tokio-console](https://docs.rs/tokio-console) (seen with 0.1.14) shows the tasks: their names, which
    //! [`Builder::name`] gives, where they were spawned, polls, times and wakes. It shows neither the main
    //! future nor, as "resources", sockets and timers. Call `console_subscriber::init()`, of
    //! console-subscriber 0.5, at the beginning of `main`; its server runs on a thread of its own.
    //! console-subscriber panics unless it is told that the runtime is not tokio's:
    //! ```text
    //! RUSTFLAGS="--cfg console_without_tokio_unstable" cargo run
    //!
    //! cargo install --locked tokio-console       # in another terminal
    //! tokio-console
    //! ```
    //!
    //! # Coming from tokio
    //! - `spawn` takes any `'static` future; it need not be `Send`, and there is no `LocalSet`.
    //!   `spawn_local` is [`spawn`]. `block_in_place` is not here: use [`spawn_blocking`].
    //! - An abort of [`spawn_blocking`] takes effect while the work runs, too: the handle says so at once, and the
    //!   work goes on (tokio's handle waits for it). A runtime that is dropped does not wait for work (tokio's does).
    //! - From another thread, spawn by [`Handle::spawn`](crate::runtime::Handle::spawn); it returns nothing.
    //! - A [`JoinHandle`] can be sent anywhere, but awaited inside its runtime only.
    //! - The main future is a task, too: [`id`] works in it, and `block_on` panics with its panic.
    //! - A future that panics is dropped after its panic was caught: in the destructors of its fields
    //!   [`std::thread::panicking`] is false, and a mutex with its guard in a field is not poisoned. (The locals
    //!   of an async fn are dropped earlier, by the panic itself.)
    //! - [`JoinError`] prints "task `7` was cancelled" and "task `7` panicked: ...", where tokio prints "task
    //!   7 was cancelled" and "task 7 panicked with message ...". Its `Debug` is tokio's.
    //! - Waiting for readiness ([`readable`](crate::io::AsyncFd::readable)) spends budget like reading.

    pub use crate::runtime::task::blocking::spawn_blocking;
    pub use crate::runtime::task::id::{Id, JoinError};
    pub use crate::runtime::task::join::{AbortHandle, JoinHandle};
    pub use crate::runtime::task::join_set::JoinSet;
    pub use crate::runtime::task::spawn::{TaskBuilder as Builder, id, spawn, try_id};
    pub use crate::runtime::task::yield_now::yield_now;

    pub mod coop {
        //! The budget of a poll, for operations that are not the runtime's own.
        //!
        //! A task that never waits would let no other run. So after about 128 operations that were ready, in one poll, the next
        //! one, ready or not, is refused: it returns `Pending`, and wakes its task. Operations are those of this library: of
        //! sockets, pipes, of an [`AsyncFd`](crate::io::AsyncFd), of timers, signals and handles. Channels, locks and
        //! computations of other crates are none: let them spend budget by [`cooperative`] or [`consume_budget`].
        //!
        //! - How many are refused in a row is drawn: `n` or more with a chance of one in `n`, 4,096 at most. Then the budget is
        //!   renewed. So a loop over a select that asks a signal first, and a busy socket behind it, lets others run after
        //!   some 250 operations, and what the task polls behind such a loop is heard in one of three polls; a
        //!   [`timeout`](crate::time::timeout) around it, always. (A select may, once in a while, take what it asks later
        //!   although what it asks first was ready: that was refused. A timeout of one operation does not.)
        //! - A loop in which each round has an operation of this library that is *ready* spends budget by that, and needs no
        //!   `cooperative`. What waits spends none, as a read does that is quiet beside a busy channel.
        //! - An operation may be much work. A read that brings a thousand lines is one: a task that puts each into a bounded
        //!   queue fills it before the queue's receiver has run, unless it calls `yield_now` after each. Reads of less at a time
        //!   let the loop look at its sockets and signals sooner.

        pub use crate::runtime::coop::{
            Coop, Unconstrained, consume_budget, cooperative, has_budget_remaining, unconstrained,
        };
    }
}

pub mod tour {
    #![doc = include_str!("runtime/tour/index.md")]

    pub use crate::runtime::tour::{
        misconceptions, solutions, stop_0_what_a_future_is, stop_1_what_is_a_task,
        stop_2_who_polls_and_when, stop_3_who_wakes, stop_4_when_is_a_socket_ready,
        stop_5_whose_event_is_this, stop_6_what_time_is_it, stop_7_how_does_it_end, trigger_modes,
    };
}

pub mod time {
    //! Sleeping, limiting, ticking; and a clock that tests can stop.
    //!
    //! # Tests with a paused clock
    //! ```
    //! use reveille::runtime::Builder;
    //! use reveille::time::{self, Duration};
    //!
    //! // The body of a `#[test]`:
    //! Builder::new().start_paused(true).auto_advance(true).block_on(async {
    //!     let start = time::now();
    //!     time::sleep(Duration::from_secs(3600)).await;
    //!     assert_eq!(time::now() - start, Duration::from_secs(3600));
    //! });
    //! ```
    //! **[`std::time::Instant::now`] does not follow the paused clock, and no error says so**: an `elapsed()`
    //! in the code under test measures the time of the machine. Ask [`now`] there.
    //!
    //! # Coming from tokio
    //! - `Instant` is the standard library's; `tokio::time::Instant::now` is [`now`].
    //! - A paused clock advances by itself only if [`auto_advance`](crate::runtime::Builder::auto_advance) is
    //!   set. Otherwise, after [`pause`], a sleep ends only when the program [advances](advance) or
    //!   [resumes](resume) the clock.
    //! - [`Sleep`] is `Unpin`. Sleeps of at most 10 ms end on time by a timerfd, longer ones as exactly as the
    //!   kernel's timer slack allows; tokio's are exact to a millisecond.
    //! - `timeout` takes a future, and not an `IntoFuture`.

    pub use crate::runtime::time::interval::{Interval, MissedTickBehavior, interval, interval_at};
    pub use std::time::Duration;

    pub use crate::runtime::time::sleep::{Sleep, advance, now, pause, resume, sleep, sleep_until};
    pub use crate::runtime::time::timeout::{Timeout, timeout, timeout_at};

    pub mod error {
        //! The error of a timeout.

        pub use crate::runtime::time::timeout::Elapsed;
    }
}

pub mod io {
    //! Waiting for file descriptors of any kind.

    pub use crate::runtime::explained::ExplainedError;
    pub(crate) use crate::runtime::explained::explained;
    pub use crate::runtime::io::async_fd::{AsyncFd, AsyncFdReadyGuard, TryIoError};
    pub use crate::runtime::io::errors::is_not_at_home;
    pub use crate::runtime::io::interest::{Interest, Ready};
    pub use crate::runtime::sys::is_forked_child_error as is_forked_child;
    pub(crate) use crate::runtime::sys::refuse_in_forked_child;

    pub mod unix {
        //! `AsyncFd` at the path tokio has it.

        pub use super::{AsyncFd, AsyncFdReadyGuard, TryIoError};
    }
}

#[cfg(feature = "hyper")]
pub mod hyper {
    //! What hyper 1 asks of a runtime. Behind the feature `hyper`, which also implements hyper's `Read` and `Write` for
    //! the streams of [`net`](crate::net): no adapter is needed.
    //!
    //! ```ignore
    //! // hyper with the features `server` and `http1`; http-body-util.
    //! let listener = TcpListener::bind("127.0.0.1:7000").await?;
    //! loop {
    //!     let (stream, _peer) = listener.accept().await?;
    //!     reveille::spawn(async move {
    //!         hyper::server::conn::http1::Builder::new()
    //!             .timer(reveille::hyper::Timer)
    //!             .serve_connection(stream, service_fn(hello))
    //!             .await
    //!     });
    //! }
    //! ```
    //! HTTP/2 is `http2::Builder::new(reveille::hyper::Executor)`, with the same timer.

    pub use crate::runtime::hyper::{Executor, Timer};
}

pub mod signal {
    //! Waiting for signals.
    //!
    //! # Ending a server
    //! Stop to accept, by dropping the listener; tell the connections, by a channel; wait for their tasks, within a
    //! [`timeout`](crate::time::timeout), by a [`JoinSet`](crate::task::JoinSet); what is left then is dropped with the
    //! runtime. `examples/drain.rs` is a whole server that ends so, `examples/close_gently.rs` shows how a connection is closed
    //! so that the last words arrive. With [`restore_default`](unix::restore_default) a second signal ends the process at once.
    //!
    //! # Coming from tokio
    //! - The handler is installed again with each listener; [`unix::restore_default`] restores the former
    //!   action, which tokio never does.
    //! - [`unix::signal`] unblocks its signal in the calling thread; [`unix::signal_keep_mask`] does not.
    //! - There is no driver to enable: a listener is a descriptor of its own.

    pub use crate::runtime::signal::ctrl_c;

    pub mod unix {
        //! Listeners for any kind of signal.
        //!
        //! # Examples
        //! SIGINT or SIGTERM, whichever comes first:
        //! ```
        //! use std::future::poll_fn;
        //! use std::task::Poll;
        //! use reveille::signal::unix::{SignalKind, signal};
        //!
        //! # reveille::block_on(async {
        //! let mut interrupt = signal(SignalKind::interrupt())?;
        //! let mut terminate = signal(SignalKind::terminate())?;
        //! # reveille::spawn(async { std::process::Command::new("sh").args(["-c", "kill -TERM $PPID"]).status() });
        //! let kind = poll_fn(|cx| {
        //!     if interrupt.poll_recv(cx).is_ready() {
        //!         return Poll::Ready(SignalKind::interrupt());
        //!     }
        //!     terminate.poll_recv(cx).map(|_| SignalKind::terminate())
        //! });
        //! assert_eq!(kind.await, SignalKind::terminate());
        //! # std::io::Result::Ok(())
        //! # }).unwrap();
        //! ```

        pub use crate::runtime::signal::{
            Signal, SignalKind, restore_default, signal, signal_keep_mask,
        };
    }
}

/// The README's code is compiled with the tests.
#[cfg(doctest)]
#[doc = include_str!("README.md")]
struct Readme;

#[cfg(test)]
#[path = "tests/unit/mod.rs"]
mod unit;
