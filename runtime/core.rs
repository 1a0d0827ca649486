//! The parts of a runtime, together, and the steps that concern several of them.
//!
//! Interface: [`Core`] is what the context hands out; [`read_inbox`](Core::read_inbox) and
//! [`fire_timers`](Core::fire_timers) are two steps of the loop.
//! Invariant (R5): a buffer in a `Cell` here is taken out while user code may run, and put back after; what
//! is in a `RefCell` is borrowed for look-ups only.
//! Read before: `executor`, `reactor`, `timers`, `place`, `metrics`, `options`. Read next: `context`, `run`.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::panic::Location;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use super::chaos::Chaos;
use super::io::interest::{Interest, Ready};
use super::io::reactor::Reactor;
use super::io::waiters::Progress;
use super::metrics::Counters;
use super::name::place::{self, Command, Messages, Open, Place};
use super::name::slab::{Name, Serials, WaiterKey, trim};
use super::name::waker::Hint;
use super::observe;
use super::options::{Options, UnhandledPanic};
use super::pool::Pool;
use super::sys;
use super::task::executor::Executor;
use super::task::shutdown::SHUTDOWN_ROUNDS;
use super::time::clock::Clock;
use super::time::timers::Timers;
use super::user_code;

/// Tasks polled between two turns of the reactor: a ready socket waits for at most this many polls, and for fewer if
/// one of these spends its [`budget`](super::budget). 61 is tokio's default (`event_interval`), which its own source
/// calls "fairly arbitrary"; 61 is prime, so it does not fall into step with a program's own periods.
const POLLS_BETWEEN_TURNS: usize = 61;

/// The parts of a runtime.
pub(super) struct Core {
    /// The runtime's entry in the table of places: its names and wakers have this number.
    pub(super) place: u16,
    /// The first serial: a name with a smaller one was given by an earlier runtime of the place.
    pub(super) born: u64,
    /// Where other threads leave messages for this runtime. As long-lived as the process, so it needs no count.
    pub(super) inbox: &'static Place,
    /// Gives the serials of tasks, sources, timers and waiters.
    pub(super) serials: Serials,
    /// The tasks, and which of them is next.
    pub(super) executor: Executor,
    /// epoll, and the sources that are registered with it.
    pub(super) reactor: Reactor,
    /// The timers that are armed.
    pub(super) timers: RefCell<Timers>,
    /// What time it is here; tests may stop it.
    pub(super) clock: Clock,
    /// What [`Handle::metrics`](super::Handle::metrics) reads. Shared with the inbox, where other threads find it.
    pub(super) counters: Arc<Counters>,
    /// What the builder was told.
    pub(super) options: Options,
    /// Off, unless the options have a seed.
    pub(super) chaos: Chaos,
    /// The threads for work that blocks.
    pub(super) pool: Pool,
    /// True inside `block_on`, `turn` and shutdown.
    pub(super) running: Cell<bool>,
    /// The buffers into which the inbox is emptied. Empty between readings; kept for their capacity.
    messages: Cell<Messages>,
    /// The wakers of other executors that wait for timers that are due. Empty between turns; kept for its
    /// capacity.
    due: Cell<Vec<Waker>>,
}

impl Core {
    /// # Errors
    /// As [`Builder::build`](super::Builder::build).
    pub(super) fn new(options: Options) -> io::Result<Core> {
        sys::refuse_in_forked_child()?;
        sys::watch_for_fork()?;
        let eventfd = place::Arc::new(place::EventFd::new()?);
        let reactor = Reactor::new(&eventfd)?;
        // The place first, and then a block of serials: so whatever earlier runtimes of this place have given is below `born`.
        let (place, inbox) = place::allocate()?;
        let serials = Serials::new();
        let born = serials.next();
        let counters = Arc::new(Counters::default());
        let chaos = Chaos::new(options.chaos);
        let executor = Executor::new(place, inbox, Arc::clone(&counters));
        executor.budget.grant(chaos.at_most(POLLS_BETWEEN_TURNS));
        inbox.open(Open::new(
            born,
            eventfd,
            Arc::clone(reactor.epoll()),
            Arc::clone(&counters),
        ));
        Ok(Core {
            place,
            born,
            inbox,
            serials,
            executor,
            reactor,
            timers: RefCell::new(Timers::new()),
            clock: Clock::new(options.start_paused),
            counters,
            chaos,
            pool: Pool::new(&options, inbox),
            options,
            running: Cell::new(false),
            messages: Cell::new(Messages::default()),
            due: Cell::new(Vec::new()),
        })
    }

    /// Makes `future` a task; tracing shows it under `name`.
    pub(super) fn spawn<F>(
        &self,
        future: F,
        name: Option<&str>,
        location: &'static Location<'static>,
    ) -> Name
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let serial = self.serials.next();
        let span = observe::spawned(serial, name, location);
        self.counters.spawned.add(1);
        self.executor.spawn(serial, future, span)
    }

    /// Registers `fd`; see [`Reactor::register`].
    pub(crate) fn register(&self, fd: RawFd, interest: Interest, ready: Ready) -> io::Result<Name> {
        let serial = self.serials.next();
        self.reactor
            .register(self.place, serial, fd, interest, ready)
    }

    /// Stores a waiter for a source, with the waker of `cx`; see
    /// [`Sources::wait`](super::io::sources::Sources::wait).
    #[must_use]
    #[inline]
    pub(super) fn wait(
        &self,
        name: Name,
        interest: Interest,
        cx: &Context<'_>,
        key: &mut WaiterKey,
    ) -> bool {
        let progress = || {
            let (polls, tasks) = (self.counters.polls.get(), self.executor.tasks());
            Progress::new(polls, tasks, self.serials.next())
        };
        self.reactor
            .sources
            .wait(name, interest, cx, key, &self.serials, progress)
    }

    /// Starts anew the count of polls until the reactor must turn.
    pub(super) fn count_polls_anew(&self) {
        let polls = self.chaos.at_most(POLLS_BETWEEN_TURNS);
        self.executor.budget.grant(polls);
    }

    /// Reads the clock for this turn and wakes the tasks that wait for timers that are due.
    pub(crate) fn fire_timers(&self) {
        let now = self.clock.start_turn();
        let mut due = self.due.take();
        // A task of this runtime is queued here and now, which runs no user code (R5).
        let to = |waker| due.extend(self.executor.wake_ours(waker));
        let fired = self.timers.borrow_mut().fire(now, to);
        if fired > 0 {
            self.counters.timers_fired.add(fired);
            observe::fired(fired);
        }
        let others = due.len();
        user_code::wake_all(&mut due);
        trim(&mut due, others);
        self.due.set(due);
    }

    /// Arms a timer that wakes `waker` at `deadline`.
    pub(crate) fn arm(&self, deadline: Instant, waker: Waker) -> Name {
        let serial = self.serials.next();
        let index = self.timers.borrow_mut().insert(serial, deadline, waker);
        Name::new(self.place, index, serial)
    }

    /// Disarms a timer and returns its waker; `None` if it has fired or was disarmed before.
    pub(super) fn disarm(&self, name: Name) -> Option<Waker> {
        let mut timers = self.timers.borrow_mut();
        timers.remove(name.index(), name.serial)
    }

    /// Carries out what the messages of the inbox ask for.
    #[inline]
    pub(crate) fn read_inbox(&self) {
        if self.inbox.has_messages() {
            self.read_what_came();
        }
    }

    /// The slow half of [`read_inbox`](Core::read_inbox): there are messages.
    fn read_what_came(&self) {
        let mut messages = self.messages.take();
        self.inbox.collect(&mut messages);
        let (wakes, commands) = (messages.wakes.len(), messages.commands.len());
        self.counters.remote_wakes.add(wakes as u64);
        for &index in &messages.wakes {
            self.executor.wake_occupant(index);
        }
        // Subscribers are user code. All tasks are queued by now, so no task waits for them (R9).
        for index in messages.wakes.drain(..) {
            observe::woken(|| self.executor.span_id_at(index));
        }
        for command in messages.commands.drain(..) {
            user_code::contain("a command from elsewhere panicked", || {
                self.execute(command)
            });
        }
        trim(&mut messages.wakes, wakes);
        trim(&mut messages.commands, commands);
        self.messages.set(messages);
    }

    /// Carries out a command on one of the runtime's own names. A stale name makes it do nothing (R6).
    #[inline]
    pub(super) fn execute(&self, command: Command) {
        match command {
            Command::Spawn(future, location) => {
                let task = self.spawn(future, None, location);
                self.executor.detach(task);
            }
            Command::Abort(name) => self.executor.abort(name),
            Command::Detach(name) => self.executor.detach(name),
            Command::FreeSource(name) => self.reactor.sources.free(name),
            Command::ForgetWaiter(name, key) => self.reactor.sources.forget(name, key),
            Command::CancelTimer(name) => user_code::discard_any(self.disarm(name)),
            Command::FireTimer(name) => {
                if let Some(waker) = self.disarm(name) {
                    user_code::wake(waker);
                }
            }
        }
    }

    /// Gives back memory that a burst of tasks, sources or timers has left.
    pub(crate) fn trim(&self) {
        self.executor.trim();
        self.reactor.sources.trim();
        self.timers.borrow_mut().trim();
    }

    /// True if `name` was given in this runtime.
    #[inline]
    pub(super) fn is_home_of(&self, name: Name) -> bool {
        // The place may have had other runtimes before; `born` tells their names apart.
        self.place == name.place() && self.born <= name.serial
    }

    /// Acts on the panic of a task that no handle will report, as the options say.
    #[inline]
    pub(super) fn unhandled_panic(&self) {
        // Read first: if the flag were written after each poll, the next poll would stall, because it reads
        // the word that the flag is in.
        if self.executor.unhandled_panic.get() && self.unhandled_panic_is_to_be_reported() {
            panic!("{UNHANDLED}");
        }
    }

    /// True once after the panic of a task that no handle reports, if the options ask for an end.
    #[cold]
    pub(crate) fn unhandled_panic_is_to_be_reported(&self) -> bool {
        self.executor.unhandled_panic.take()
            && self.options.unhandled_panic == UnhandledPanic::ShutdownRuntime
    }

    /// Drops the tasks, then timers and sources, wakes the tasks of others that wait for these (R9), and
    /// repeats that for what was spawned or armed meanwhile. Code that spawns or arms without end is
    /// stopped by a limit, as in the executor's shutdown.
    pub(super) fn end(&self) {
        for _round in 0..SHUTDOWN_ROUNDS {
            self.executor.shutdown(|| self.read_inbox());
            let mut wakers = self.timers.borrow_mut().drain_all();
            self.reactor.sources.drain_all(&mut wakers);
            self.wake_others(wakers);
            let (tasks, timers) = (self.executor.tasks(), self.timers.borrow().len());
            if tasks + timers + self.reactor.sources.len() == 0 {
                return;
            }
        }
        observe::wakers_leaked(SHUTDOWN_ROUNDS);
        let mut wakers = self.timers.borrow_mut().drain_all();
        self.reactor.sources.drain_all(&mut wakers);
        mem::forget(wakers);
    }

    /// `wakers` waited for timers and sources that are freed now. Those that are not of this runtime are
    /// woken: a future that another task took along, say, must be polled, to go on or to say why it cannot.
    /// The tasks of this runtime were dropped before, and a child of a fork must not wake the tasks of its
    /// parent. All are woken before any waker is dropped, so that no destructor delays a wake.
    fn wake_others(&self, wakers: Vec<Waker>) {
        if !sys::is_forked_child() {
            for waker in wakers.iter().filter(|waker| !self.is_of_ours(waker)) {
                user_code::wake_by_ref(waker);
            }
        }
        user_code::discard_all(wakers);
    }

    /// True if `waker` is of this place. By the time this is asked, the tasks of this place are dropped.
    fn is_of_ours(&self, waker: &Waker) -> bool {
        Hint::of(waker).is_some_and(|hint| hint.place() == self.place)
    }
}

/// What `block_on` and `turn` panic with under [`UnhandledPanic::ShutdownRuntime`].
pub(super) const UNHANDLED: &str =
    "a detached task panicked, and `UnhandledPanic::ShutdownRuntime` is set";
