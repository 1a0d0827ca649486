//! The builder: sets the options of a runtime.
//!
//! Interface: [`Builder::build`], or [`Builder::block_on`] for a runtime of one use.
//! Invariant: the defaults are what the free `block_on` uses.
//! Read before: `options`.

use std::fmt;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use super::options::{Options, UnhandledPanic};
use super::run::{self, Runtime};
use super::task::cell::is_big;

/// Makes a [`Runtime`] with options.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use reveille::runtime::Builder;
///
/// # fn main() -> std::io::Result<()> {
/// let runtime = Builder::new().timer_slack(Duration::from_nanos(1)).build()?;
/// assert_eq!(runtime.block_on(async { 1 + 1 }), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Builder {
    /// What was set so far; the rest are the defaults.
    options: Options,
}

impl Builder {
    /// The defaults.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Sets the timer slack of the thread while the runtime runs on it, in nanoseconds from 1 to
    /// `u32::MAX`; afterwards it is what it was before. The kernel may end a sleep this much late, to end
    /// several with one interrupt; its default is 50 µs (prctl(2), PR_SET_TIMERSLACK). Threads and
    /// processes that are started meanwhile inherit it. It does not matter to sleeps of at most 10 ms,
    /// which a timerfd ends, unless the kernel refuses one, or five or more end within 50 µs. A wait of more
    /// than 50 ms may be late by 0.1 % of it, and at most 100 ms, whatever the slack (Linux,
    /// `select_estimate_accuracy`).
    pub fn timer_slack(&mut self, slack: Duration) -> &mut Builder {
        self.options.timer_slack = Some(slack);
        self
    }

    /// Has the thread ask epoll again and again, for up to `duration`, before it sleeps. An event in that
    /// time is served some microseconds earlier, because the kernel need not wake the thread; the price
    /// is a busy CPU. Off by default.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use reveille::runtime::Builder;
    ///
    /// // Answers come within 50 µs, or the thread sleeps.
    /// let one = Builder::new().busy_poll(Duration::from_micros(50)).block_on(async { 1 });
    /// assert_eq!(one, 1);
    /// ```
    pub fn busy_poll(&mut self, duration: Duration) -> &mut Builder {
        self.options.busy_poll = duration;
        self
    }

    /// Sets what the runtime does when a detached task panics.
    ///
    /// # Examples
    /// ```
    /// use std::future::pending;
    /// use std::panic::{AssertUnwindSafe, catch_unwind};
    /// use reveille::runtime::{Builder, UnhandledPanic};
    ///
    /// let mut builder = Builder::new();
    /// builder.unhandled_panic(UnhandledPanic::ShutdownRuntime);
    /// let main = async {
    ///     reveille::spawn(async { panic!("no handle tells of this") }).detach();
    ///     pending::<()>().await
    /// };
    /// assert!(catch_unwind(AssertUnwindSafe(|| builder.block_on(main))).is_err());
    /// ```
    pub fn unhandled_panic(&mut self, policy: UnhandledPanic) -> &mut Builder {
        self.options.unhandled_panic = policy;
        self
    }

    /// Starts with the clock paused; see [`time::pause`](crate::time::pause), also for what the pause
    /// does not stop: [`std::time::Instant::now`].
    pub fn start_paused(&mut self, paused: bool) -> &mut Builder {
        self.options.start_paused = paused;
        self
    }

    /// Lets a paused clock jump to the next deadline when nothing else can happen: no task is queued, no
    /// message is in the inbox, no task waits for any source, and neither blocking work nor a lookup of a host name is
    /// queued or runs. For tests that sleep.
    ///
    /// A waker that a `poll_` method stored counts as a task that waits, until the next event of its
    /// source, because the runtime cannot know whether the task gave up. If a `poll_` method lost a race,
    /// say, the clock stays where it is. Poll futures instead
    /// ([`readable`](crate::io::AsyncFd::readable), `read`), which remove their waker when they are
    /// dropped. The pauses of [`accept`](crate::net::TcpListener::accept) at the descriptor limit, of a peek under
    /// SO_PEEK_OFF, of [`UnixStream::connect`](crate::net::UnixStream::connect) while the listener's queue is full, and
    /// of [`UnixDatagram::send_to`](crate::net::UnixDatagram::send_to) while the address is, are sleeps like any other: if
    /// only another process can make room, the clock jumps on and on until it has.
    pub fn auto_advance(&mut self, auto_advance: bool) -> &mut Builder {
        self.options.auto_advance = auto_advance;
        self
    }

    /// Shuffles, as `seed` says, whatever is legal to shuffle, so that tests find faults that would show
    /// only on another machine or another day. `seed` decides which queued task is polled next, the order
    /// of events, when the reactor turns, and how many bytes a read, peek or write moves, or how many datagrams. It also adds
    /// spurious wakes, interruptions (EINTR), and a `WouldBlock` of a `try_` method as if the event were
    /// still to come: wait, and try again. A program must bear all of it. Tasks are not polled first in,
    /// first out then: a [`yield_now`](crate::task::yield_now), and the one at the end of
    /// [`time::advance`](crate::time::advance), may let no other task run.
    ///
    /// The same seed makes the same choices. A program that takes no input from outside (only its own
    /// pipes and Unix sockets, a paused clock, no other threads) runs the same way again.
    ///
    /// # Examples
    /// ```
    /// use reveille::runtime::Builder;
    ///
    /// for seed in 0..50 {
    ///     // Whichever wins, both must come in.
    ///     let places = Builder::new().chaos(seed).block_on(async {
    ///         let mut racers = reveille::task::JoinSet::new();
    ///         racers.spawn(async { "hare" });
    ///         racers.spawn(async { "tortoise" });
    ///         racers.join_all().await
    ///     });
    ///     assert_eq!(places.len(), 2, "seed {seed}");
    /// }
    /// ```
    pub fn chaos(&mut self, seed: u64) -> &mut Builder {
        self.options.chaos = Some(seed);
        self
    }

    /// Sets how many threads [`spawn_blocking`](crate::task::spawn_blocking) may use at most; 512 by default. Work
    /// beyond that waits. At most half of them, and at least one, resolve host names.
    ///
    /// # Panics
    /// If `count` is 0: no work would ever be done.
    ///
    /// # Examples
    /// ```
    /// use reveille::runtime::Builder;
    /// use reveille::task::spawn_blocking;
    ///
    /// Builder::new().max_blocking_threads(1).block_on(async {
    ///     // The second waits until the first has ended.
    ///     let first = spawn_blocking(|| std::thread::current().id());
    ///     let second = spawn_blocking(|| std::thread::current().id());
    ///     assert_eq!(first.await.unwrap(), second.await.unwrap());
    /// });
    /// ```
    #[track_caller]
    pub fn max_blocking_threads(&mut self, count: usize) -> &mut Builder {
        self.options.max_blocking_threads =
            NonZeroUsize::new(count).expect("blocking work needs at least one thread");
        self
    }

    /// Sets after which time without work a thread of [`spawn_blocking`](crate::task::spawn_blocking) ends; 10 s by
    /// default.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use reveille::runtime::Builder;
    ///
    /// // For a program that reads a file once an hour.
    /// let runtime = Builder::new().thread_keep_alive(Duration::from_millis(1)).build()?;
    /// # drop(runtime);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn thread_keep_alive(&mut self, duration: Duration) -> &mut Builder {
        self.options.thread_keep_alive = duration;
        self
    }

    /// Names the threads of [`spawn_blocking`](crate::task::spawn_blocking); `reveille-work` by default. The kernel
    /// shows the first 15 bytes (pthread_setname_np(3)). NUL characters are left out.
    ///
    /// # Examples
    /// ```
    /// use reveille::runtime::Builder;
    ///
    /// let name = Builder::new().thread_name("files").block_on(async {
    ///     let name = || std::thread::current().name().map(str::to_owned);
    ///     reveille::task::spawn_blocking(name).await.unwrap()
    /// });
    /// assert_eq!(name.as_deref(), Some("files"));
    /// ```
    pub fn thread_name(&mut self, name: impl Into<String>) -> &mut Builder {
        self.options.thread_name = Arc::from(name.into().replace('\0', ""));
        self
    }

    /// Makes the runtime. It has three descriptors: an epoll instance, an eventfd, and a timerfd, which ends
    /// short sleeps on time and is done without where there is none.
    ///
    /// # Errors
    /// What epoll_create1(2), epoll_ctl(2) and eventfd(2) report: EMFILE, ENFILE, ENOMEM, ENOSPC; an
    /// error if 65,534 runtimes exist, or in the child of a process that had a runtime before it forked;
    /// and the refusal by a sandbox of a call without which the runtime could not wait: these calls are
    /// tried here, and the error names the call. The runtime works without epoll_pwait2, timerfd_create,
    /// timerfd_settime, madvise, mmap and prctl. (That epoll_ctl(2) may modify is not tried: where it may not, a
    /// write is an error if it has to wait beside a read.)
    pub fn build(&self) -> io::Result<Runtime> {
        Runtime::with_options(self.options.clone())
    }

    /// Makes a runtime, runs `future` on it, and ends it: [`reveille::block_on`](crate::block_on)
    /// with options.
    ///
    /// # Panics
    /// As [`reveille::block_on`](crate::block_on).
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if const { is_big::<F>() } {
            run::block_on_once(&self.options, Box::pin(future))
        } else {
            run::block_on_once(&self.options, future)
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.options;
        f.debug_struct("Builder")
            .field("timer_slack", &options.timer_slack)
            .field("busy_poll", &options.busy_poll)
            .field("unhandled_panic", &options.unhandled_panic)
            .field("start_paused", &options.start_paused)
            .field("auto_advance", &options.auto_advance)
            .field("chaos", &options.chaos)
            .field("max_blocking_threads", &options.max_blocking_threads)
            .field("thread_keep_alive", &options.thread_keep_alive)
            .field("thread_name", &options.thread_name)
            .finish()
    }
}
