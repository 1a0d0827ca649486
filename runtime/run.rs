//! The loop: what a runtime does until its main future is done.
//!
//! Interface: [`Runtime`], with [`block_on`](Runtime::block_on), and [`turn`](Runtime::turn) for a
//! program that has a loop of its own.
//! Invariants: R4, the reactor turns only between polls; R8, the loop publishes that the runtime is
//! asleep before it waits.
//!
//! ```text
//!   ┌─▶ 1 read the inbox and poll the first task of the queue; repeat until the queue is empty,
//!   │     61 times at most, or until a task is refused for want of budget      run_until_main
//!   │   2 take events from epoll: without waiting if a task is queued; else publish "asleep",
//!   │     look into the inbox once more, and wait until the next deadline      park, turn
//!   │   3 read the inbox again, and the clock once; fire the timers that are due turn
//!   └───┘
//! ```
//!
//! The main future has a slot and waits in the queue like a task, so neither can starve the other.
//!
//! Over 400 lines because the loop is best read whole, with the code that makes and ends a runtime.
//!
//! Read before: `core`, `context`, `chaos`, `observe`. Read next: `builder`, for the options; `spawn`.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{
    AssertUnwindSafe, Location, RefUnwindSafe, UnwindSafe, catch_unwind, resume_unwind,
};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use super::context::{self, Running};
use super::core::{Core, UNHANDLED};
use super::handle::Handle;
use super::io::alarm::SLACK;
use super::name::place::{self, FellAsleep, Open};
use super::observe;
use super::options::Options;
use super::sys;
use super::task::cell::is_big;
use super::task::executor::Next;
use super::task::join::JoinHandle;
use super::user_code;

/// A single-threaded runtime.
///
/// A runtime runs on the thread that made it, and only inside [`block_on`](Runtime::block_on) and
/// [`turn`](Runtime::turn). Dropping it drops its tasks, in the order they were spawned, and wakes the
/// tasks of other runtimes that wait for its sources and timers.
///
/// # Other event loops
/// A program that has an event loop of its own can drive the runtime from there: wait until
/// [`as_fd`](AsFd::as_fd) is readable, but not beyond [`next_deadline`](Runtime::next_deadline), then
/// call [`turn`](Runtime::turn).
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let runtime = reveille::Runtime::new()?;
/// let answer = runtime.block_on(async { reveille::spawn(async { 42 }).await.unwrap() });
/// assert_eq!(answer, 42);
/// # Ok(())
/// # }
/// ```
pub struct Runtime {
    /// Shared with the thread's context while it runs, and with nothing that leaves the runtime.
    core: Rc<Core>,
}

impl Runtime {
    /// Makes a runtime with the default options.
    ///
    /// # Errors
    /// As [`Builder::build`](super::Builder::build).
    pub fn new() -> io::Result<Runtime> {
        Runtime::with_options(Options::default())
    }

    /// As [`new`](Runtime::new), with these options.
    pub(super) fn with_options(options: Options) -> io::Result<Runtime> {
        let core = Rc::new(Core::new(options)?);
        Ok(Runtime { core })
    }

    /// Runs `future`, and meanwhile the tasks of this runtime, until `future` is done. Tasks that are not
    /// done then go on in the next call, or in a [`turn`](Runtime::turn).
    ///
    /// The future need not be `'static`, because it is dropped before this returns.
    ///
    /// # Panics
    /// - Inside a runtime, this one or another: the outer runtime could poll no task meanwhile. Await the
    ///   future, or spawn it.
    /// - With the panic of `future`, after `future` was dropped.
    /// - In the child of a process that had a runtime before it forked, before anything is polled there;
    ///   and if epoll_wait(2) fails.
    /// - As [`UnhandledPanic::ShutdownRuntime`](super::UnhandledPanic::ShutdownRuntime) says.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let outcome = if const { is_big::<F>() } {
            self.run(Box::pin(future))
        } else {
            self.run(future)
        };
        outcome.unwrap_or_else(|payload| resume_unwind(payload))
    }

    /// Refuses to run inside a runtime, then runs `future`; the panic of `future` is the error.
    #[track_caller]
    fn run<F: Future>(&self, future: F) -> thread::Result<F::Output> {
        if context::current().is_some() {
            panic!("{NESTED}");
        }
        self.drive(future)
    }

    /// The loop of `block_on`: the main future is polled when its slot is popped.
    fn drive<F: Future>(&self, future: F) -> thread::Result<F::Output> {
        let core = &self.core;
        let _running = Running::enter(core);
        let name = core.executor.insert_main(core.serials.next());
        let mut main = pin!(Some(future));
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            loop {
                core.run_until_main();
                let future = main
                    .as_mut()
                    .as_pin_mut()
                    .expect("the main future is dropped below");
                if let Poll::Ready(output) = core.executor.poll_main(name, future) {
                    break output;
                }
            }
        }));
        let dropped = {
            let _current = core.executor.set_current(name.serial);
            core.executor.budget.refill();
            catch_unwind(AssertUnwindSafe(|| main.set(None)))
        };
        core.executor.remove_main(name);
        // The first panic goes on. The output, or a second panic, is dropped, which may panic again.
        match (outcome, dropped) {
            (Ok(output), Err(payload)) => {
                user_code::discard(output);
                Err(payload)
            }
            (Err(payload), Err(second)) => {
                user_code::forget_payload(second);
                Err(payload)
            }
            (outcome, Ok(())) => outcome,
        }
    }

    /// Spawns a task, to be polled in the next [`block_on`](Runtime::block_on) or
    /// [`turn`](Runtime::turn); see [`spawn`](crate::spawn). Between two such calls, the first spawn
    /// makes the runtime's descriptor readable.
    ///
    /// # Errors
    /// The handle's: a [`JoinError`](super::task::id::JoinError) if the task panicked or was aborted, or if the runtime ended first.
    ///
    /// # Panics
    /// If the runtime has 2^28 tasks already.
    ///
    /// # Cancel safety
    /// The handle's: to drop it detaches the task, which goes on; see [`JoinHandle`].
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let core = &self.core;
        let name = if const { is_big::<F>() } {
            core.spawn(Box::pin(future), None, Location::caller())
        } else {
            core.spawn(future, None, Location::caller())
        };
        // The loop that drives the runtime may be asleep on its descriptor by now.
        core.inbox.rouse();
        JoinHandle::new(name)
    }

    /// The runtime's handle: its name, for other threads.
    pub fn handle(&self) -> Handle {
        Handle::new(self.core.place, self.core.born)
    }

    /// Does what can be done without waiting: takes events from epoll and messages from the inbox, polls
    /// as many tasks as are queued then, in their order, and takes events again until the kernel has no more. As
    /// in [`block_on`](Runtime::block_on), it also takes events after every 61 polls, and after a poll in
    /// which an operation was refused for want of [budget](crate::task::coop). If nothing is left to do but to wait, and
    /// a paused clock would advance by itself in `block_on`, it advances once here.
    ///
    /// # Errors
    /// What epoll_wait(2) reports; in a forked child, an error that says so.
    ///
    /// # Panics
    /// Inside this runtime (inside another one it works); and as
    /// [`UnhandledPanic::ShutdownRuntime`](super::UnhandledPanic::ShutdownRuntime) says.
    ///
    /// # Examples
    /// ```
    /// use std::{cell::Cell, rc::Rc, thread, time::{Duration, Instant}};
    ///
    /// let runtime = reveille::Runtime::new()?;
    /// let done = Rc::new(Cell::new(false));
    /// let tell = Rc::clone(&done);
    /// runtime.spawn(async move {
    ///     reveille::time::sleep(Duration::from_millis(1)).await;
    ///     tell.set(true);
    /// });
    /// while !done.get() {
    ///     runtime.turn()?;
    ///     // A real loop waits for its own descriptors here, and for `runtime.as_fd()`: poll(2).
    ///     if let Some(deadline) = runtime.next_deadline() {
    ///         thread::sleep(deadline.saturating_duration_since(Instant::now()));
    ///     }
    /// }
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn turn(&self) -> io::Result<()> {
        let core = &self.core;
        if core.running.get() {
            panic!("`turn` called inside the same runtime: it turns by itself there");
        }
        let _running = Running::enter(core);
        core.executor.wake_for_nothing(&core.chaos);
        core.count_polls_anew();
        core.turn(Some(Duration::ZERO))?;
        let is_idle = core.executor.queued() == 0 && !core.inbox.has_messages();
        if is_idle && core.clock.is_paused() && core.timeout().is_some() {
            core.fire_timers();
        }
        for _ in 0..core.executor.queued() {
            // As in `block_on`: a poll may have forked, the reactor turns after 61 polls, and a command
            // from another thread takes effect before the next poll.
            sys::refuse_in_forked_child()?;
            while !core.executor.budget.may_poll() {
                core.count_polls_anew();
                core.turn(Some(Duration::ZERO))?;
            }
            core.read_inbox();
            match core.executor.pop(&core.chaos) {
                Next::Run(task) => core.executor.run(task),
                Next::Idle | Next::Cleared | Next::Main => {}
            }
        }
        // Until epoll is empty: an outer loop that is edge-triggered gets no event for what a batch left.
        while core.turn(Some(Duration::ZERO))? {}
        core.unhandled_panic();
        Ok(())
    }

    /// Ends the runtime, as a drop does, and waits until no blocking work runs, for `timeout` at most. Work that has
    /// not begun is dropped, and lookups of host names are not waited for. In the child of a fork this waits for nothing.
    ///
    /// # Examples
    /// ```
    /// use std::{sync::mpsc, time::Duration};
    ///
    /// let runtime = reveille::Runtime::new()?;
    /// let (begun, begins) = mpsc::channel();
    /// let (ended, ends) = mpsc::channel();
    /// runtime.spawn_blocking(move || {
    ///     begun.send(()).unwrap();
    ///     ended.send("saved").unwrap();
    /// });
    /// begins.recv().unwrap();
    /// runtime.shutdown_timeout(Duration::from_secs(10));
    /// assert_eq!(ends.try_recv(), Ok("saved"));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown_timeout(self, timeout: Duration) {
        let rest = self.core.pool.rest();
        drop(self);
        rest.wait(timeout);
    }

    /// Ends the runtime without waiting for blocking work. A drop does the same; tokio's waits.
    ///
    /// # Examples
    /// ```
    /// let runtime = reveille::Runtime::new()?;
    /// runtime.spawn_blocking(std::thread::park); // It may block for ever.
    /// runtime.shutdown_background();
    /// # std::io::Result::Ok(())
    /// ```
    pub fn shutdown_background(self) {
        drop(self);
    }

    /// The parts of the runtime.
    pub(super) fn core(&self) -> &Rc<Core> {
        &self.core
    }

    /// Starts the draws of budgets from `seed`.
    #[cfg(test)]
    pub(crate) fn seed_budget(&self, seed: u64) {
        self.core.executor.budget.seed(seed);
    }

    /// When [`turn`](Runtime::turn) must be called at the latest, if the descriptor does not become
    /// readable before. That is now, if a task is queued, a message is in the inbox, or a paused clock
    /// would advance by itself; else the deadline of the next timer; else never. It is a time of the
    /// monotonic clock; while the runtime's own clock is paused, only a timer that is due counts.
    pub fn next_deadline(&self) -> Option<Instant> {
        let core = &self.core;
        if core.executor.queued() > 0 || core.inbox.has_messages() {
            return Some(Instant::now());
        }
        let deadline = core.timers.borrow().next_deadline()?;
        if core.auto_advances(deadline) {
            return Some(Instant::now());
        }
        core.clock.real(deadline)
    }
}

// A panic that unwinds through one leaves nothing half-made: user code runs with no borrow held (R5).
impl UnwindSafe for Runtime {}
impl RefUnwindSafe for Runtime {}

impl AsFd for Runtime {
    /// The epoll instance, which is readable when an event or a message waits for a
    /// [`turn`](Runtime::turn): a socket, a wake or a spawn from elsewhere. A timer and a task that is still queued do not
    /// make it readable, [`next_deadline`](Runtime::next_deadline) is for those. After a `block_on` that waited for a sleep
    /// of at most 10 ms, it may be readable once for nothing.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.reactor.epoll().as_fd()
    }
}

impl Drop for Runtime {
    /// Drops the tasks in spawn order, then the timers and sources, and wakes the tasks of other runtimes
    /// that wait for those: their futures go on, or fail and say why. Blocking work that has not begun does not begin.
    fn drop(&mut self) {
        let core = &self.core;
        core.pool.close();
        let running = Running::enter(core);
        core.inbox.leave();
        core.end();
        // From here on the names of this runtime are stale everywhere. (In the child of a fork the lock
        // must not be taken, and `close` does nothing.)
        let left = core.inbox.close();
        user_code::discard_all(left.into_iter().flat_map(Open::into_commands));
        // Again, for what those commands, and the wakers before them, spawned as they were dropped: the
        // drop of `core` would drop it outside its runtime.
        core.end();
        drop(running);
        // Last, because another runtime may take the place at once. A child of a fork leaves the table
        // alone: its lock may be held by a thread that does not exist there.
        if !sys::is_forked_child() {
            place::release(core.place);
        }
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime")
            .field("tasks", &self.core.executor.tasks())
            .field("sources", &self.core.reactor.sources.len())
            .field("timers", &self.core.timers.borrow().len())
            .finish_non_exhaustive()
    }
}

impl Core {
    /// Runs the loop until the main future's slot is popped.
    fn run_until_main(&self) {
        loop {
            while self.executor.budget.may_poll() {
                // Before each poll, because the poll before may have forked.
                if let Err(error) = sys::refuse_in_forked_child() {
                    panic!("the runtime cannot go on: {error}");
                }
                self.read_inbox();
                match self.executor.pop(&self.chaos) {
                    Next::Main => return,
                    Next::Run(task) => self.executor.run(task),
                    Next::Cleared => {}
                    Next::Idle => break,
                }
                self.unhandled_panic();
            }
            self.count_polls_anew();
            // Before the decision to wait: the thread does not sleep while a task is queued.
            self.executor.wake_for_nothing(&self.chaos);
            let queued = self.executor.queued() > 0;
            let turned = if queued {
                self.turn(Some(Duration::ZERO))
            } else {
                self.park()
            };
            if let Err(error) = turned {
                panic!("the runtime cannot wait for events: {error}");
            }
        }
    }

    /// One turn: gives back memory that a burst has left, takes events from epoll and messages from the
    /// inbox, and fires timers. Returns true if the kernel may hold more events.
    fn turn(&self, timeout: Option<Duration>) -> io::Result<bool> {
        sys::refuse_in_forked_child()?;
        self.counters.turns.add(1);
        self.trim();
        self.set_alarm(timeout);
        let turned = self
            .reactor
            .turn(&self.executor, &self.counters, &self.chaos, timeout);
        self.read_inbox();
        self.fire_timers();
        self.gauge();
        turned
    }

    /// Sees to it that a wait for a timer ends on time, unless that is one of many.
    fn set_alarm(&self, timeout: Option<Duration>) {
        let waits = timeout.is_some_and(|timeout| !timeout.is_zero());
        if waits && !self.timers.borrow().are_dense(SLACK) {
            self.reactor.alarm.set(timeout);
        }
    }

    /// Stores how many tasks, sources and timers there are, for [`Handle::metrics`].
    fn gauge(&self) {
        let counters = &self.counters;
        counters.tasks.set(self.executor.tasks());
        counters.queued.set(self.executor.queued());
        counters.sources.set(self.reactor.sources.len());
        counters.timers.set(self.timers.borrow().len());
    }

    /// Called when nothing is queued: sleeps until an event or a message comes, or the next deadline.
    fn park(&self) -> io::Result<bool> {
        if self.busy_poll()? {
            return Ok(false);
        }
        observe::parked();
        // A subscriber is user code, and may have woken a task just now.
        if self.executor.queued() > 0 {
            return self.turn(Some(Duration::ZERO));
        }
        // Publish, look into the inbox once more, and only then wait (R8).
        if self.inbox.fall_asleep() == FellAsleep::InboxNotEmpty {
            return self.turn(Some(Duration::ZERO));
        }
        let timeout = self.timeout();
        self.counters.parks.add(1);
        let turned = self.turn(timeout);
        self.inbox.awake();
        turned
    }

    /// Turns without waiting, again and again, for as long as the options say; true if that queued one.
    fn busy_poll(&self) -> io::Result<bool> {
        if self.options.busy_poll.is_zero() {
            return Ok(false);
        }
        let start = Instant::now();
        while start.elapsed() < self.options.busy_poll {
            self.turn(Some(Duration::ZERO))?;
            if self.executor.queued() > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How long the thread may sleep: until the next deadline, or for ever. May advance a paused clock.
    fn timeout(&self) -> Option<Duration> {
        let deadline = self.timers.borrow().next_deadline()?;
        let left = deadline.saturating_duration_since(self.clock.now());
        if left.is_zero() || !self.clock.is_paused() {
            return Some(left);
        }
        // A paused clock advances only when the program says so, or here, by itself.
        self.auto_advances(deadline).then(|| {
            self.clock.advance(left);
            Duration::ZERO
        })
    }

    /// True if a paused clock may jump to this deadline, once there is nothing else to do. It may not
    /// while a task waits for a source, or blocking work goes on: what comes from outside cannot be known. Nor to a
    /// deadline that no `Instant` of this clock can show.
    fn auto_advances(&self, deadline: Instant) -> bool {
        self.clock.is_paused()
            && self.options.auto_advance
            && self.clock.may_show(deadline)
            && !self.reactor.sources.has_waiters()
            && !self.pool.is_busy()
    }
}

/// The free `block_on`: makes a runtime for one call. The runtime ends before the panic of `future` goes
/// on, because a shutdown while the thread unwinds could abort the process.
#[track_caller]
pub(crate) fn block_on_once<F: Future>(options: &Options, future: F) -> F::Output {
    if context::current().is_some() {
        panic!("{NESTED}");
    }
    let runtime = match Runtime::with_options(options.clone()) {
        Ok(runtime) => runtime,
        Err(error) => panic!("cannot make a runtime: {error}"),
    };
    let outcome = runtime.run(future);
    let core = Rc::clone(&runtime.core);
    drop(runtime);
    let output = outcome.unwrap_or_else(|payload| resume_unwind(payload));
    // The shutdown may have found the panic of a task that lost its handle to the drop of the main future
    // or of another task.
    if core.unhandled_panic_is_to_be_reported() {
        // The drop of the output may panic, and must not do so while the thread unwinds.
        user_code::discard(output);
        panic!("{UNHANDLED}");
    }
    output
}

/// The panic of a `block_on` that would stop the runtime around it.
const NESTED: &str = "`block_on` called inside a runtime: await the future, or `spawn` it";
