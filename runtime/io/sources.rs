//! The sources: what each registered descriptor is ready for, and who waits for it.
//!
//! Interface: ask whether a source [is ready](Sources::is_ready), [`wait`](Sources::wait) for it,
//! [`clear`](Sources::clear) what was seen to block; [`apply`](Sources::apply) tells it of an event.
//!
//! Invariants:
//! - R4. Readiness is set only by [`apply`](Sources::apply), and cleared only by an operation of ours that
//!   saw EAGAIN, or that read less than it asked for where that proves the same (R10). The reactor applies
//!   events while no task is being polled, so nothing can change readiness between a task's EAGAIN and its
//!   `Pending`: there is no gap to lose an event in, and no tick to tell old events from new.
//! - R6. An event is matched to its source by the serial in its token. A stale one finds nothing.
//!
//! Nothing here knows of epoll, of the executor or of a runtime.
//!
//! Read before: `slab`, `interest`, `waiters`. Read next: `reactor`.

use std::cell::RefCell;
use std::mem;
use std::task::{Context, Waker};

use super::interest::{Interest, Ready};
use super::waiters::{Progress, Waiter, Waiters};
use crate::runtime::foreign;
use crate::runtime::name::slab::{Name, Serials, Slab, WaiterKey};

pub(crate) struct Sources {
    sources: RefCell<Slab<Source>>,
}

/// A registered descriptor.
struct Source {
    // Set by `turn`, cleared by the operation that was refused (R4):
    ready: Ready,
    /// An event said PRI, RDHUP, HUP or ERR since the last EAGAIN: a short read proves nothing.
    short_reads_unproved: bool,
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
pub(crate) struct Token(pub(super) u64);

impl Token {
    /// The runtime's own eventfd: no slab has a slot of this index.
    pub(crate) const BELL: Token = Token(u64::MAX);

    pub(crate) fn new(index: u32, serial: u64) -> Token {
        Token(serial << 32 | u64::from(index))
    }

    fn index(self) -> u32 {
        self.0 as u32
    }

    fn matches(self, serial: u64) -> bool {
        self.0 >> 32 == serial & u64::from(u32::MAX)
    }
}

impl Sources {
    pub(crate) fn new() -> Sources {
        Sources {
            sources: RefCell::new(Slab::new()),
        }
    }

    /// Makes a source that counts as `ready` until the first event, and returns its index.
    pub(crate) fn insert(&self, serial: u64, ready: Ready) -> u32 {
        let source = Source {
            ready,
            short_reads_unproved: false,
            events: 0,
            waiters: Waiters::new(),
        };
        self.sources.borrow_mut().insert(serial, source)
    }

    /// Forgets a source that is not, or not any more, in the interest list.
    pub(crate) fn free(&self, source: Name) {
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

    pub(crate) fn trim(&self) {
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
        name: Name,
        interest: Interest,
        cx: &Context<'_>,
        key: &mut WaiterKey,
        serials: &Serials,
        progress: impl FnOnce() -> Progress,
    ) -> bool {
        // The clone of a foreign waker is foreign code (R5). It cannot turn the reactor, so what is
        // not ready is not ready after it either (R4), but the source may be gone.
        let waker = cx.waker().clone();
        if *key == WaiterKey::UNSET {
            *key = WaiterKey(serials.next());
        }
        let key = *key;
        let waiter = Waiter {
            waker,
            key,
            interest,
        };
        let displaced = match self.sources.borrow_mut().get_mut(name.index(), name.serial) {
            Some(source) => source.waiters.add(waiter, progress),
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

    /// As [`clear`](Sources::clear), for an observation that may be old: if an event has come
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
            if !source.short_reads_unproved {
                source.clear(Interest::READABLE.mask());
            }
        });
    }

    /// Data may remain that no event will announce (after a peek, say). Until EAGAIN, a short read does not
    /// mean "drained".
    pub(crate) fn unprove_short_reads(&self, name: Name) {
        self.with_source(name, |source| source.short_reads_unproved = true);
    }

    /// True if an event, or [`unprove_short_reads`](Sources::unprove_short_reads), gave reason to doubt
    /// since the last EAGAIN.
    pub(crate) fn short_reads_are_unproved(&self, name: Name) -> bool {
        let sources = self.sources.borrow();
        let source = sources.get(name.index(), name.serial);
        source.is_some_and(|source| source.short_reads_unproved)
    }

    #[inline]
    fn with_source(&self, name: Name, f: impl FnOnce(&mut Source)) {
        if let Some(source) = self.sources.borrow_mut().get_mut(name.index(), name.serial) {
            f(source);
        }
    }

    /// One event: its source is ready now. Gives the wakers of all that waited for that to `to`, which runs
    /// under a borrow, and so runs nothing foreign (R5). Returns what is ready, and the serial of the source;
    /// `None` if it has gone: a duplicate that outlived it, or a source that a subscriber just dropped (R6).
    #[inline]
    pub(crate) fn apply(
        &self,
        bits: u32,
        token: Token,
        to: impl FnMut(Waker),
    ) -> Option<(u64, Ready)> {
        let ready = Ready::from_events(bits);
        let mut sources = self.sources.borrow_mut();
        let (serial, source) = sources.occupant(token.index())?;
        if !token.matches(serial) {
            return None;
        }
        source.ready |= ready;
        source.short_reads_unproved |= bits & UNPROVING != 0;
        source.events = source.events.wrapping_add(1);
        source.waiters.drain_ready(ready, to);
        Some((serial, ready))
    }

    /// Forgets all sources and takes everyone's wakers, at the end of the runtime.
    pub(crate) fn drain_all(&self, wakers: &mut Vec<Waker>) {
        let sources = mem::replace(&mut *self.sources.borrow_mut(), Slab::new());
        for mut source in sources.into_values() {
            source.waiters.drain_all(|waker| wakers.push(waker));
        }
    }

    /// Registered sources.
    pub(crate) fn len(&self) -> usize {
        self.sources.borrow().len()
    }

    /// True if some task waits for some source.
    pub(crate) fn has_waiters(&self) -> bool {
        self.sources
            .borrow()
            .iter()
            .any(|(_, _, source)| !source.waiters.is_empty())
    }
}

/// Events after which a short read does not prove that the socket is drained: an urgent byte ends
/// a read early (tcp(7)), and behind data already there a FIN, a reset or an error brings no edge.
const UNPROVING: u32 = (libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

impl Source {
    #[inline]
    fn clear(&mut self, ready: Ready) {
        self.ready = self.ready - ready;
        if ready.intersects(Ready::READABLE) {
            self.short_reads_unproved = false;
        }
    }
}
