//! The reactor: turns epoll events into wakes.
//!
//! Interface: [`Reactor::register`] a descriptor, [`turn`](Reactor::turn) to receive events from epoll,
//! [`deregister`](Reactor::deregister) before the descriptor is closed (R7). Readiness and waiters are in
//! its [`Sources`].
//!
//! Invariants:
//! - R4. `turn` never runs while a task is being polled, so readiness is not set between a task's EAGAIN
//!   and its `Pending`.
//! - R9. `turn` queues the tasks of its own runtime as it finds them, which runs no user code. It
//!   collects all other wakers, lets go of every borrow, and then wakes all of them. (If a tracing subscriber
//!   listens at TRACE, it collects those of its own tasks, too, because a wake is then an event, told to user code, which
//!   must not run under the borrow in which the waker is found: `Executor::wake_ours`.)
//!
//! A source is registered once, edge-triggered, for everything that tasks may ever wait for. (A stream of
//! `net` is registered for room to write only when a task first waits for room, which most never do. Otherwise each
//! new connection would bring an event that says what is known, that there is room.)
//! Readiness is kept until an operation disproves it, so a task that stops reading before EAGAIN can
//! go on later without a new event.
//!
//! Read before: `sources`, `epoll`, `alarm`. Read next: `registration`.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::alarm::Alarm;
use super::interest::{Interest, Ready};
use super::sources::{Sources, Token};
use crate::runtime::chaos::Chaos;
use crate::runtime::metrics::Counters;
use crate::runtime::name::place::EventFd;
use crate::runtime::name::slab::{Name, trim};
use crate::runtime::observe;
use crate::runtime::sys::{Epoll, Events};
use crate::runtime::task::executor::Executor;
use crate::runtime::user_code;

/// epoll, and what is known of the descriptors that it watches.
pub(crate) struct Reactor {
    /// Shared with the inbox, so that a source can be deregistered from another thread.
    epoll: Arc<Epoll>,
    /// The registered descriptors, and the tasks that wait for them.
    pub(crate) sources: Sources,
    /// Ends short waits on time.
    pub(crate) alarm: Alarm,
    /// Taken out for the length of a turn, so that no borrow is held while wakers run (R5).
    events: Cell<Option<Events>>,
    /// The wakers of other executors that a turn has to wake. Empty between turns; kept for its capacity.
    woken: Cell<Vec<Waker>>,
}

impl Reactor {
    /// # Errors
    /// What epoll_create1(2) and epoll_ctl(2) report: EMFILE, ENFILE, ENOMEM, ENOSPC; and what a sandbox
    /// refuses.
    pub(crate) fn new(eventfd: &EventFd) -> io::Result<Reactor> {
        let epoll = Epoll::new()?;
        epoll.watch(eventfd.as_fd(), Token::EVENTFD.0)?;
        Ok(Reactor {
            alarm: Alarm::new(&epoll, Token::ALARM.0),
            epoll: Arc::new(epoll),
            sources: Sources::new(),
            events: Cell::new(Some(Events::new())),
            woken: Cell::new(Vec::new()),
        })
    }

    /// The epoll instance, to be shared with the inbox.
    pub(crate) fn epoll(&self) -> &Arc<Epoll> {
        &self.epoll
    }

    /// Registers `fd` for `interest`, and gives its source a name. From the start the source counts as
    /// `ready`: what was never tried may be tried. The kernel reports at the next turn what is ready in fact;
    /// room to write only if `interest` has that, else after [`report_room`](Reactor::report_room).
    pub(crate) fn register(
        &self,
        place: u16,
        serial: u64,
        fd: RawFd,
        interest: Interest,
        ready: Ready,
    ) -> io::Result<Name> {
        let room_unreported = ready.is_writable() && !interest.is_writable();
        let index = self.sources.insert(serial, ready, room_unreported);
        let name = Name::new(place, index, serial);
        if let Err(error) = self
            .epoll
            .add(fd, interest.events(), Token::new(index, serial).0)
        {
            self.sources.free(name);
            return Err(error);
        }
        observe::registered(fd, serial, interest);
        Ok(name)
    }

    /// Has epoll report room to write from here on, beside what it reports already: `interest` is all of that
    /// together. The next turn brings a report if there is room. Returns false, and calls nothing, if epoll
    /// reports room already.
    ///
    /// # Errors
    /// What epoll_ctl(2) reports. Nothing has changed then.
    pub(super) fn report_room(
        &self,
        source: Name,
        fd: RawFd,
        interest: Interest,
    ) -> io::Result<bool> {
        if !self.sources.is_room_unreported(source) {
            return Ok(false);
        }
        let token = Token::new(source.index(), source.serial);
        self.epoll.modify(fd, interest.events(), token.0)?;
        self.sources.room_is_reported(source);
        observe::modified(fd, source.serial, interest);
        Ok(true)
    }

    /// Takes `fd` out of the interest list and frees the slot of its source.
    pub(super) fn deregister(&self, source: Name, fd: RawFd) {
        // Before the close: a duplicate of the descriptor, here or in a child, would keep the registration
        // alive, and epoll_ctl(2), which asks for the number too, would not find it by the duplicate's (epoll(7)
        // Q&A). EBADF and ENOENT say that other code has closed the descriptor; the slot is freed all the same (R7).
        let _gone = self.epoll.delete(fd);
        observe::deregistered(fd, source.serial);
        self.sources.free(source);
    }

    /// Waits for events, for at most `timeout` (`None`: for ever), and wakes all waiters that they
    /// concern. Returns true if the kernel may hold more events than this batch.
    pub(crate) fn turn(
        &self,
        executor: &Executor,
        counters: &Counters,
        chaos: &Chaos,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        // A nested turn of the same runtime is refused, so the buffer is there.
        let mut events = self.events.take().unwrap_or_else(Events::new);
        // A call with a zero timeout is never interrupted (epoll_wait(2), EINTR), not by chaos either: an
        // outer loop that turns the runtime relies on that.
        let waits = timeout != Some(Duration::ZERO);
        let waited = if waits && chaos.says(8) {
            events.clear();
            Ok(())
        } else {
            self.epoll.wait(&mut events, timeout)
        };
        events.shuffle(chaos);
        let mut woken = self.woken.take();
        for (bits, token) in events.iter().map(|(bits, token)| (bits, Token(token))) {
            match token {
                Token::EVENTFD => continue,
                Token::ALARM => {
                    self.alarm.rang();
                    continue;
                }
                _ => {}
            }
            // Our own tasks are queued at once, which runs no user code (R5); other wakers are collected.
            let to = |waker| woken.extend(executor.wake_ours(waker));
            match self.sources.apply(bits, token, to) {
                Some((serial, ready)) => {
                    counters.events.add(1);
                    observe::ready(serial, ready);
                }
                None => counters.stale_events.add(1),
            }
        }
        let full = events.is_full();
        self.events.set(Some(events));
        // All of them, even if one panics or the wait has failed (R9).
        let others = woken.len();
        user_code::wake_all(&mut woken);
        trim(&mut woken, others);
        self.woken.set(woken);
        waited.map(|()| full)
    }
}
