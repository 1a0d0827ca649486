//! The pool: threads for work that blocks.
//!
//! Idea: two queues under one lock. A thread takes the job that came first, runs it without the lock, and comes back;
//! it is made when a job comes and no thread is idle, and ends when it was idle for long.
//!
//! Interface: [`Pool::submit`] a [`Job`], with its [`Lane`]; [`Pool::is_busy`]; [`Pool::rest`] waits for the jobs that
//! run. `task::blocking` makes jobs of closures.
//! Invariants:
//! - No user code runs under the lock, and no job is dropped under it (R5).
//! - A job that can be taken is taken: an idle thread is called for it, or one is made, or all that there may be, or
//!   can be made, are at work, and look for a job when they come back. A thread that was called is counted, so that two jobs do not rely on
//!   the same one.
//! - At most half of the threads resolve names, or the only one, so that jobs go on while a name server is silent.
//! - Jobs begin in the order in which they came, but for lookups that are at their limit.
//! - A paused clock stands still for a job, and goes on when the last has ended. A runtime whose clock advances by itself is
//!   told of that end, after the job has woken its task: so the clock does not jump before the task was polled.
//!
//! In a forked child there are no threads, and the lock may be held by one that is gone: each caller asks first. A job that
//! forks and returns in the child ends its thread there, which is the child's only one.
//!
//! Read before: `place`. Read next: `task::blocking`.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use super::name::place::Place;
use super::options::Options;
use super::sys::{self, Inherited};
use super::user_code;
use primitives::{Arc, Condvar, Mutex, MutexGuard};

/// The models use loom's primitives, to try every interleaving.
mod primitives {
    #[cfg(all(test, reveille_loom))]
    pub(crate) use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
    #[cfg(not(all(test, reveille_loom)))]
    pub(crate) use std::sync::{Arc, Condvar, Mutex, MutexGuard};
}

/// What a thread of the pool does. A job that was called off is submitted and taken like any other, and does nothing.
pub(crate) trait Job: Send + Sync {
    /// Runs the job, and wakes who waits for it. Called once; a panic ends within.
    fn run(&self);
}

/// A job in the queue.
pub(crate) type Queued = std::sync::Arc<dyn Job>;

/// Which queue a job waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// A closure of the user's.
    Work,
    /// A name to resolve.
    Lookup,
}

/// The pool of one runtime.
pub(crate) struct Pool {
    /// Shared with the threads, which may outlive the runtime.
    threads: Arc<Threads<Queued>>,
    /// Where a runtime whose clock advances by itself is told that its last job has ended.
    inbox: Option<&'static Place>,
    /// What the threads are called.
    name: std::sync::Arc<str>,
    /// What the threads set first, so that a process that is started in a job has what one started in `main` has.
    inherited: Inherited,
}

impl Pool {
    /// A pool without threads, for the runtime whose inbox that is.
    pub(super) fn new(options: &Options, inbox: &'static Place) -> Pool {
        Pool {
            threads: Arc::new(Threads::new(
                options.max_blocking_threads,
                options.thread_keep_alive,
            )),
            inbox: options.auto_advance.then_some(inbox),
            name: options.thread_name.clone(),
            inherited: Inherited::of_this_thread(),
        }
    }

    /// Has a thread run `job`.
    ///
    /// # Errors
    /// Hands the job back if there is no thread, and none can be made: pthread_create(3), EAGAIN.
    pub(crate) fn submit(&self, lane: Lane, job: Queued) -> Result<(), (io::Error, Queued)> {
        if self.threads.push(lane, job) == Pushed::MakeThread {
            if let Err(error) = self.make_thread() {
                return match self.threads.unmade(lane) {
                    Some(job) => Err((error, job)),
                    None => Ok(()),
                };
            }
        }
        Ok(())
    }

    /// Makes one more thread, which [`Threads::push`] has counted already.
    fn make_thread(&self) -> io::Result<()> {
        let threads = Arc::clone(&self.threads);
        let (inbox, inherited) = (self.inbox, self.inherited);
        let thread = thread::Builder::new().name((*self.name).to_owned());
        let made = thread.spawn(move || {
            inherited.give_to_this_thread();
            work(&threads, inbox);
        });
        made.map(drop)
    }

    /// True if a job is queued or runs. A forked child has no threads.
    pub(crate) fn is_busy(&self) -> bool {
        !sys::is_forked_child() && self.threads.is_busy()
    }

    /// Drops the work that is queued, and sends idle threads home. Jobs that run go on.
    pub(super) fn close(&self) {
        if !sys::is_forked_child() {
            drop(self.threads.close());
        }
    }

    /// What waits for the jobs that run, after the runtime's end.
    pub(crate) fn rest(&self) -> Rest {
        Rest(Arc::clone(&self.threads))
    }
}

/// Waits for jobs of a runtime that has ended.
pub(crate) struct Rest(Arc<Threads<Queued>>);

impl Rest {
    /// Waits until no work runs, for `timeout` at most. Lookups are not waited for: they end within the
    /// resolver's time limits, and what awaits one in another runtime gets it there.
    pub(crate) fn wait(self, timeout: Duration) {
        if !sys::is_forked_child() {
            self.0.wait_for_rest(timeout);
        }
    }
}

/// The life of a thread.
fn work(threads: &Threads<Queued>, inbox: Option<&Place>) {
    while let Some((lane, job)) = threads.next() {
        job.run();
        if sys::is_forked_child() {
            // It is the parent's, and its lock may be held by a thread of the parent.
            return mem::forget(job);
        }
        // It may be the last of its owners, and what it still has may be a waker of another executor.
        user_code::discard(job);
        // The job still counted when it woke its task. The runtime may have polled that, found the pool busy, and
        // gone to sleep without an end, for a paused clock does not advance meanwhile: nothing else would end that sleep.
        if let (true, Some(inbox)) = (threads.done(lane), inbox) {
            inbox.rouse();
        }
    }
}

/// The queues, and the count of the threads. `J` is a job.
pub(crate) struct Threads<J> {
    /// Nothing but moves and counts happens under it (R5).
    state: Mutex<State<J>>,
    /// A job is there for an idle thread, or the pool was closed.
    call: Condvar,
    /// No work runs.
    rest: Condvar,
    /// At most so many threads.
    most: usize,
    /// An idle thread ends after so long.
    keep_alive: Duration,
}

/// What home and threads share under the lock.
pub(crate) struct State<J> {
    /// Each with its ticket.
    work: VecDeque<(u64, J)>,
    /// Each with its ticket, as the work.
    lookups: VecDeque<(u64, J)>,
    /// The ticket of the next job: they rise in the order in which jobs come.
    next_ticket: u64,
    /// All threads: those that run a job, that are idle, and that are being made.
    threads: usize,
    /// Threads that wait for a call, those that were called included.
    idle: usize,
    /// Idle threads that were called and have not noticed yet.
    called: usize,
    /// Threads that do work now.
    working: usize,
    /// Threads that resolve a name now.
    resolving: usize,
    /// The runtime has ended: no work begins any more.
    closed: bool,
}

/// What is to be done after a job was queued.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Nothing: a thread will take it.
    Queued,
    /// A thread is to be made, which is counted already; if that fails, call [`Threads::unmade`].
    MakeThread,
}

impl<J> Threads<J> {
    /// No threads, and no jobs. `most` threads may be made.
    pub(crate) fn new(most: NonZeroUsize, keep_alive: Duration) -> Threads<J> {
        Threads {
            state: Mutex::new(State {
                work: VecDeque::new(),
                lookups: VecDeque::new(),
                next_ticket: 0,
                threads: 0,
                idle: 0,
                called: 0,
                working: 0,
                resolving: 0,
                closed: false,
            }),
            call: Condvar::new(),
            rest: Condvar::new(),
            most: most.get(),
            keep_alive,
        }
    }

    /// Queues a job; drops it if the pool is closed.
    pub(crate) fn push(&self, lane: Lane, job: J) -> Pushed {
        let mut state = self.lock();
        if state.closed {
            // First the lock (R5).
            drop(state);
            drop(job);
            return Pushed::Queued;
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.queue(lane).push_back((ticket, job));
        self.call(&mut state)
    }

    /// Sees to it that a thread comes for a job that can be taken. (Which threads resolve is counted when one takes a
    /// lookup, so a burst of lookups may make more threads than may resolve; these go idle, or take other work.)
    fn call(&self, state: &mut State<J>) -> Pushed {
        if !state.has_job_for_thread(self.most_resolving()) {
            return Pushed::Queued;
        }
        if state.idle > state.called {
            state.called += 1;
            self.call.notify_one();
        } else if state.threads < self.most {
            state.threads += 1;
            return Pushed::MakeThread;
        }
        Pushed::Queued
    }

    /// The thread that [`push`](Threads::push) asked for could not be made. Hands back the job if no other thread will
    /// take it.
    pub(crate) fn unmade(&self, lane: Lane) -> Option<J> {
        let mut state = self.lock();
        state.threads -= 1;
        if state.threads > 0 {
            return None;
        }
        state.queue(lane).pop_back().map(|(_, job)| job)
    }

    /// The next job for a thread; waits for one. `None` if the thread is to end.
    pub(crate) fn next(&self) -> Option<(Lane, J)> {
        let mut state = self.lock();
        loop {
            if let Some((lane, job)) = state.take(self.most_resolving()) {
                return Some((lane, job));
            }
            state.idle += 1;
            let called;
            (state, called) = self.wait_for_call(state);
            state.idle -= 1;
            if !called {
                state.threads -= 1;
                return None;
            }
        }
    }

    /// Waits until this thread is called; false if it is to end: it was idle for too long, or the pool is closed.
    fn wait_for_call<'a>(
        &self,
        mut state: MutexGuard<'a, State<J>>,
    ) -> (MutexGuard<'a, State<J>>, bool) {
        let mut left = self.keep_alive;
        let deadline = Instant::now().checked_add(left);
        loop {
            if state.called > 0 {
                state.called -= 1;
                return (state, true);
            }
            if state.closed || left.is_zero() {
                return (state, false);
            }
            let waited = self.call.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            left = deadline.map_or(left, |at| at.saturating_duration_since(Instant::now()));
        }
    }

    /// True if a job is queued or runs, of either lane.
    pub(crate) fn is_busy(&self) -> bool {
        self.lock().is_busy()
    }

    /// A thread has run its job. True if that was the last one.
    pub(crate) fn done(&self, lane: Lane) -> bool {
        let mut state = self.lock();
        *state.running(lane) -= 1;
        if state.working == 0 {
            self.rest.notify_all();
        }
        !state.is_busy()
    }

    /// No more work is begun. Returns what was queued, to be dropped without the lock. Names go on being resolved:
    /// a lookup that nothing awaits is called off already, and one that is awaited, in another runtime, must end.
    pub(crate) fn close(&self) -> impl Iterator<Item = J> + use<J> {
        let mut state = self.lock();
        state.closed = true;
        self.call.notify_all();
        mem::take(&mut state.work).into_iter().map(|(_, job)| job)
    }

    /// Waits until no work runs, for `timeout` at most. Lookups are not waited for.
    fn wait_for_rest(&self, timeout: Duration) {
        let deadline = Instant::now().checked_add(timeout);
        let (mut state, mut left) = (self.lock(), timeout);
        while state.working > 0 && !left.is_zero() {
            let waited = self.rest.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            left = deadline.map_or(left, |at| at.saturating_duration_since(Instant::now()));
        }
    }

    /// The lock, also after a panic: no code under it leaves the state half-made.
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many threads at most resolve names: one may even if it is the only one.
    fn most_resolving(&self) -> usize {
        (self.most / 2).max(1)
    }
}

impl<J> State<J> {
    /// The queue of that lane.
    fn queue(&mut self, lane: Lane) -> &mut VecDeque<(u64, J)> {
        match lane {
            Lane::Work => &mut self.work,
            Lane::Lookup => &mut self.lookups,
        }
    }

    /// True if a thread that comes now finds a job: work, or a lookup if not too many run.
    fn has_job_for_thread(&self, most_resolving: usize) -> bool {
        !self.work.is_empty() || (!self.lookups.is_empty() && self.resolving < most_resolving)
    }

    /// How many jobs of this lane run.
    fn running(&mut self, lane: Lane) -> &mut usize {
        match lane {
            Lane::Work => &mut self.working,
            Lane::Lookup => &mut self.resolving,
        }
    }

    /// The job that came first of those that can be taken.
    fn take(&mut self, most_resolving: usize) -> Option<(Lane, J)> {
        let ticket = |queue: &VecDeque<(u64, J)>| queue.front().map(|(ticket, _)| *ticket);
        let lookup = ticket(&self.lookups).filter(|_| self.resolving < most_resolving);
        let lane = match (ticket(&self.work), lookup) {
            (Some(work), Some(lookup)) if lookup < work => Lane::Lookup,
            (None, Some(_)) => Lane::Lookup,
            _ => Lane::Work,
        };
        let (_, job) = self.queue(lane).pop_front()?;
        *self.running(lane) += 1;
        Some((lane, job))
    }

    /// True if a job is queued or runs.
    fn is_busy(&self) -> bool {
        let queued = self.work.len() + self.lookups.len();
        self.working + self.resolving + queued > 0
    }
}
