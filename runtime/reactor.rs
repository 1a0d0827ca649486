//! The reactor: turns epoll events into wakes.
//!
//! Interface: [`Reactor::register`] a descriptor, ask whether it [is ready](Reactor::is_ready),
//! [`wait`](Reactor::wait) for it, [`clear`](Reactor::clear) what was seen to block,
//! [`turn`](Reactor::turn) to hear from epoll, [`deregister`](Reactor::deregister) before the
//! descriptor is closed (R7).
//!
//! Invariants:
//! - R4. Readiness is set only in [`Reactor::turn`], and cleared only by an operation of ours that
//!   saw EAGAIN, or that read less than it asked for where that proves the same (R10). `turn`
//!   never runs while a task is being polled, so nothing can change readiness between a task's
//!   EAGAIN and its `Pending`: there is no gap to lose an event in, and no tick to tell old events
//!   from new.
//! - R6. An event is matched to its source by the serial in its token. A stale one finds nothing.
//! - R9. `turn` queues the tasks of its own runtime as it finds them, which runs no foreign code;
//!   the wakers of others it collects, lets go of every borrow, and wakes all of them.
//!
//! A source is registered once, edge-triggered, for everything it will ever wait for. Readiness
//! is kept until an operation disproves it, so a task that stops reading before EAGAIN can go on
//! later without a new edge.
//!
//! Read before: `slab`, `waiters`, `sys`. Read next: `registration`, `async_fd`.

use std::cell::{Cell, RefCell};
use std::io;
use std::mem;
use std::os::fd::{AsFd, RawFd};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use tracing::trace;

use super::Core;
use super::core::trim;
use super::foreign;
use super::interest::{Interest, Ready};
use super::place::Bell;
use super::slab::{Name, Slab};
use super::sys::{Epoll, Events};
use super::waiters::{Progress, Waiter, WaiterKey, Waiters};

pub(crate) struct Reactor {
    epoll: Arc<Epoll>,
    sources: RefCell<Slab<Source>>,
    /// Taken out for the length of a turn, so that no borrow is held while wakers run (R5).
    events: Cell<Option<Events>>,
    woken: Cell<Vec<Waker>>,
}

/// A registered descriptor.
struct Source {
    // Set by `turn`, cleared by the operation that was refused (R4):
    ready: Ready,
    /// An event said PRI, RDHUP, HUP or ERR since the last EAGAIN: a short read proves nothing.
    suspect: bool,
    /// Events so far, wrapping: a guard that is held across a turn tells by it that something
    /// came since.
    events: u32,
    // Put by tasks, taken by `turn`:
    waiters: Waiters,
}

/// The readiness of a source at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    pub(crate) ready: Ready,
    /// See [`Source::events`].
    events: u32,
}

/// What an event carries back: the serial's lower half and the index of its source.
///
/// ```text
///  63                32 31                 0
/// ┌────────────────────┬────────────────────┐
/// │  serial mod 2^32   │       index        │
/// └────────────────────┴────────────────────┘
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
struct Token(u64);

impl Token {
    /// The runtime's bell: no slab has a slot of this index.
    const BELL: Token = Token(u64::MAX);

    fn new(index: u32, serial: u64) -> Token {
        Token(serial << 32 | u64::from(index))
    }

    fn index(self) -> u32 {
        self.0 as u32
    }

    fn matches(self, serial: u64) -> bool {
        self.0 >> 32 == serial & u64::from(u32::MAX)
    }
}

impl Reactor {
    /// # Errors
    /// What epoll_create1(2) and epoll_ctl(2) report: EMFILE, ENFILE, ENOMEM, ENOSPC; and what a sandbox
    /// refuses.
    pub(super) fn new(bell: &Bell) -> io::Result<Reactor> {
        let epoll = Epoll::new()?;
        epoll.watch(bell.as_fd(), Token::BELL.0)?;
        Ok(Reactor {
            epoll: Arc::new(epoll),
            sources: RefCell::new(Slab::new()),
            events: Cell::new(Some(Events::new())),
            woken: Cell::new(Vec::new()),
        })
    }

    pub(super) fn epoll(&self) -> &Arc<Epoll> {
        &self.epoll
    }

    /// Registers `fd` and gives its source a name. Until the first event it counts as `ready`:
    /// what was never tried may be tried, and the kernel reports at the next turn what is.
    pub(crate) fn register(
        &self,
        core: &Core,
        fd: RawFd,
        interest: Interest,
        ready: Ready,
    ) -> io::Result<Name> {
        let serial = core.serials.next();
        let source = Source {
            ready,
            suspect: false,
            events: 0,
            waiters: Waiters::new(),
        };
        let index = self.sources.borrow_mut().insert(serial, source);
        if let Err(error) = self
            .epoll
            .add(fd, interest.events(), Token::new(index, serial).0)
        {
            let _unused = self.sources.borrow_mut().remove(index, serial);
            return Err(error);
        }
        foreign::trace(|| trace!(fd, source = serial, ?interest, "register"));
        Ok(Name::new(core.place, index, serial))
    }

    /// Takes `fd` out of the interest list and forgets its source.
    pub(crate) fn deregister(&self, source: Name, fd: RawFd) {
        // Before the close: a duplicate of the descriptor, here or in a child, would keep the
        // registration alive, and nothing could remove it then (epoll(7) Q&A). EBADF and ENOENT
        // say that somebody closed it under us; the slot is freed all the same (R7).
        let _gone = self.epoll.delete(fd);
        foreign::trace(|| trace!(fd, source = source.serial, "deregister"));
        self.free(source);
    }

    /// Forgets a source that is out of the interest list.
    pub(super) fn free(&self, source: Name) {
        let removed = self
            .sources
            .borrow_mut()
            .remove(source.index(), source.serial);
        let mut wakers = Vec::new();
        if let Some(mut source) = removed {
            source.waiters.drain_all(|waker| wakers.push(waker));
        }
        foreign::discard_all(wakers);
    }

    pub(super) fn trim(&self) {
        self.sources.borrow_mut().trim();
    }

    /// True if what `interest` stands for was reported, or never tried, and is not disproved.
    /// `None`: the source has gone.
    #[inline]
    pub(crate) fn is_ready(&self, name: Name, interest: Interest) -> Option<bool> {
        let sources = self.sources.borrow();
        let source = sources.get(name.index(), name.serial)?;
        Some(source.ready.intersects(interest.mask()))
    }

    /// Stores the waker, because nothing of `interest` is ready; false if the source has gone.
    #[must_use]
    #[inline]
    pub(crate) fn wait(
        &self,
        core: &Core,
        name: Name,
        interest: Interest,
        cx: &Context<'_>,
        key: &mut WaiterKey,
    ) -> bool {
        // The clone of a foreign waker is foreign code (R5). It cannot turn the reactor, so what is
        // not ready is not ready after it either (R4), but the source may be gone.
        let waker = cx.waker().clone();
        if *key == WaiterKey::UNSET {
            *key = WaiterKey(core.serials.next());
        }
        let key = *key;
        let waiter = Waiter {
            waker,
            key,
            interest,
        };
        let displaced = match self.sources.borrow_mut().get_mut(name.index(), name.serial) {
            Some(source) => source.waiters.add(waiter, || Progress::of(core)),
            None => return false,
        };
        displaced.settle();
        true
    }

    /// What of `interest` is ready, and as of which event.
    pub(crate) fn observe(&self, name: Name, interest: Interest) -> Option<Observed> {
        let sources = self.sources.borrow();
        let source = sources.get(name.index(), name.serial)?;
        Some(Observed {
            ready: source.ready & interest.mask(),
            events: source.events,
        })
    }

    /// Removes the waiter with this key, which waits no longer.
    #[inline]
    pub(crate) fn forget(&self, name: Name, key: WaiterKey) {
        let waker = {
            let mut sources = self.sources.borrow_mut();
            let source = sources.get_mut(name.index(), name.serial);
            source.and_then(|source| source.waiters.forget(key))
        };
        foreign::discard_any(waker);
    }

    /// An operation saw EAGAIN: what `interest` stands for is over until the next event, "closed"
    /// included, for a latched HUP would make every later wait end at once.
    #[inline]
    pub(crate) fn clear(&self, name: Name, interest: Interest) {
        self.with_source(name, |source| source.clear(interest.mask()));
    }

    /// As [`clear`](Reactor::clear), for an observation that may be old: if an event has come
    /// since, it may be the very thing that was missing, and nothing is cleared.
    pub(crate) fn clear_observed(&self, name: Name, observed: Observed, ready: Ready) {
        self.with_source(name, |source| {
            if source.events == observed.events {
                source.clear(ready);
            }
        });
    }

    /// A read was short: the socket is drained, unless an event gave reason to doubt it (R10).
    #[inline]
    pub(crate) fn clear_drained(&self, name: Name) {
        self.with_source(name, |source| {
            if !source.suspect {
                source.clear(Interest::READABLE.mask());
            }
        });
    }

    /// The state of the stream is not what the next event will tell: a short read proves nothing
    /// until the next EAGAIN.
    pub(crate) fn distrust(&self, name: Name) {
        self.with_source(name, |source| source.suspect = true);
    }

    /// True if an event, or [`distrust`](Reactor::distrust), gave reason to doubt since the last
    /// EAGAIN.
    pub(crate) fn is_suspect(&self, name: Name) -> bool {
        let sources = self.sources.borrow();
        let source = sources.get(name.index(), name.serial);
        source.is_some_and(|source| source.suspect)
    }

    #[inline]
    fn with_source(&self, name: Name, f: impl FnOnce(&mut Source)) {
        if let Some(source) = self.sources.borrow_mut().get_mut(name.index(), name.serial) {
            f(source);
        }
    }

    /// Hears from epoll, waiting for at most `timeout` (`None`: for ever), and wakes all whom it
    /// concerns. Returns true if the kernel may hold more than one batch.
    pub(super) fn turn(&self, core: &Core, timeout: Option<Duration>) -> io::Result<bool> {
        // A nested turn of the same runtime is refused, so the buffer is there.
        let mut events = self.events.take().unwrap_or_else(Events::new);
        // A look that does not wait is not interrupted (epoll_wait(2), EINTR), and who turns the
        // runtime from an outer loop relies on that.
        let waits = timeout != Some(Duration::ZERO);
        let chaos = core.chaos.as_ref().filter(|_| waits);
        let interrupted = chaos.is_some_and(|chaos| chaos.one_in(8));
        let waited = if interrupted {
            events.clear();
            Ok(())
        } else {
            self.epoll.wait(&mut events, timeout)
        };
        if let Some(chaos) = &core.chaos {
            events.shuffle(chaos);
        }
        let mut woken = self.woken.take();
        for (bits, token) in events.iter().map(|(bits, token)| (bits, Token(token))) {
            if token != Token::BELL {
                self.apply(core, bits, token, &mut woken);
            }
        }
        let full = events.is_full();
        self.events.set(Some(events));
        // All of them, whatever one does and whatever else went wrong (R9).
        let foreigners = woken.len();
        foreign::wake_all(&mut woken);
        trim(&mut woken, foreigners);
        self.woken.set(woken);
        waited.map(|()| full)
    }

    /// One event: its source is ready now. Whoever waited for that is queued, if it is a task of
    /// ours, or moved into `woken`.
    #[inline]
    fn apply(&self, core: &Core, bits: u32, token: Token, woken: &mut Vec<Waker>) {
        let ready = Ready::from_events(bits);
        let mut sources = self.sources.borrow_mut();
        match sources.occupant(token.index()) {
            Some((serial, source)) if token.matches(serial) => {
                source.ready |= ready;
                source.suspect |= bits & SUSPICIOUS != 0;
                source.events = source.events.wrapping_add(1);
                // Ours are queued here and now, which is no foreign code (R5); the others wait.
                source
                    .waiters
                    .drain_ready(ready, |waker| woken.extend(core.executor.wake_ours(waker)));
                drop(sources);
                core.counters.events.add(1);
                foreign::trace(|| trace!(source = serial, ?ready, "ready"));
            }
            // A duplicate that outlived its source, or one that a subscriber just dropped (R6).
            _ => core.counters.stale_events.add(1),
        }
    }

    /// Forgets all sources and takes everyone's wakers, at the end of the runtime.
    pub(super) fn drain_all(&self, wakers: &mut Vec<Waker>) {
        let sources = mem::replace(&mut *self.sources.borrow_mut(), Slab::new());
        for mut source in sources.into_values() {
            source.waiters.drain_all(|waker| wakers.push(waker));
        }
    }

    /// Registered sources.
    pub(super) fn sources(&self) -> usize {
        self.sources.borrow().len()
    }

    /// True if some task waits for some source.
    pub(super) fn has_waiters(&self) -> bool {
        self.sources
            .borrow()
            .iter()
            .any(|(_, _, source)| !source.waiters.is_empty())
    }
}

/// Events after which a short read does not prove that the socket is drained: an urgent byte ends
/// a read early (tcp(7)), and behind data already there a FIN, a reset or an error brings no edge.
const SUSPICIOUS: u32 =
    (libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

impl Source {
    #[inline]
    fn clear(&mut self, ready: Ready) {
        self.ready = self.ready - ready;
        if ready.intersects(Ready::READABLE) {
            self.suspect = false;
        }
    }
}
