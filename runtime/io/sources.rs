//! The sources: what each registered descriptor is ready for, and its waiters.
//!
//! Interface: ask whether a source [is ready](Sources::is_ready), [`wait`](Sources::wait) for it,
//! [`clear`](Sources::clear) what an operation disproved; [`apply`](Sources::apply) applies an event to it.
//!
//! Invariants:
//! - R4. Readiness is set only by [`insert`](Sources::insert), for what was never tried, and by
//!   [`apply`](Sources::apply). It is cleared only after an operation saw EAGAIN, or read less than it asked
//!   for where that proves the same (R10); by a guard of the user's, if no event came since it
//!   [observed](Sources::clear_observed); and when epoll [begins](Sources::room_is_reported) to report room
//!   to write. The reactor applies events while no task is being polled, so nothing sets readiness between a
//!   task's EAGAIN and its `Pending`: no event is lost there, and an operation need not count events to tell
//!   old ones from new.
//! - R10. While epoll does not report room to write (`Registration::set_reports_room_late`), `WRITABLE` is never
//!   cleared: no event would set it again.
//! - R6. An event is matched to its source by the serial in its token. A stale event finds no source.
//!
//! Nothing here calls epoll, or knows of the executor or of a runtime.
//!
//! Read before: `slab`, `interest`, `waiters`. Read next: `reactor`.

use std::cell::RefCell;
use std::mem;
use std::task::{Context, Waker};

use super::interest::{Interest, Ready};
use super::waiters::{Progress, Waiter, Waiters};
use crate::runtime::name::slab::{Name, Serials, Slab, WaiterKey};
use crate::runtime::user_code;

/// Every source of one runtime.
pub(crate) struct Sources {
    /// By the index in the token of an event.
    sources: RefCell<Slab<Source>>,
}

/// A registered descriptor.
#[derive(Default)]
struct Source {
    // Set and cleared as R4 says:
    /// What was reported, or never tried, and not disproved since.
    ready: Ready,
    /// Since the last EAGAIN an event had PRI, RDHUP, HUP or ERR, or bytes were left that no event announces:
    /// a short read proves nothing.
    short_reads_unproved: bool,
    /// Epoll does not report room to write. So `WRITABLE` stays in `ready`: each write is tried. One that sees
    /// EAGAIN, and is to wait, has epoll report room from then on.
    room_unreported: bool,
    /// The number of events so far, wrapping: by it a guard that is held across a turn learns that an
    /// event came since.
    events: u32,
    // Added by tasks, taken by `turn`:
    /// The tasks that wait for an event of this source.
    waiters: Waiters,
}

/// The readiness of a source at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    /// What the source was ready for, of what was asked.
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
    pub(crate) const EVENTFD: Token = Token(u64::MAX);
    /// The runtime's own timerfd: no slab has a slot of this index either.
    pub(crate) const ALARM: Token = Token(u64::MAX - 1);

    /// The token of the source in the slot `index`.
    pub(crate) fn new(index: u32, serial: u64) -> Token {
        Token(serial << 32 | u64::from(index))
    }

    /// The slot that the event is for.
    fn index(self) -> u32 {
        self.0 as u32
    }

    /// True if the source with that serial may be the one that was registered: the lower halves agree.
    fn matches(self, serial: u64) -> bool {
        self.0 >> 32 == serial & u64::from(u32::MAX)
    }
}

impl Sources {
    /// No sources.
    pub(crate) fn new() -> Sources {
        Sources {
            sources: RefCell::new(Slab::new()),
        }
    }

    /// Makes a source that counts as `ready` until operations disprove that, and returns its index.
    /// `room_unreported` says that epoll does not report room to write.
    pub(crate) fn insert(&self, serial: u64, ready: Ready, room_unreported: bool) -> u32 {
        let source = Source {
            ready,
            short_reads_unproved: false,
            room_unreported,
            events: 0,
            waiters: Waiters::new(),
        };
        self.sources.borrow_mut().insert(serial, source)
    }

    /// Frees the slot of a source that is not, or no longer, in the interest list, and drops its waiters.
    pub(crate) fn free(&self, source: Name) {
        let removed = self
            .sources
            .borrow_mut()
            .remove(source.index(), source.serial);
        let mut wakers = Vec::new();
        if let Some(mut source) = removed {
            source.waiters.drain_all(|waker| wakers.push(waker));
        }
        user_code::discard_all(wakers);
    }

    /// Gives back the memory that a burst of sources has left.
    pub(crate) fn trim(&self) {
        self.sources.borrow_mut().trim();
    }

    /// True if something of `interest` was reported, or was never tried, and no operation has disproved
    /// it since. `None` if the source was freed.
    #[inline]
    pub(crate) fn is_ready(&self, name: Name, interest: Interest) -> Option<bool> {
        let sources = self.sources.borrow();
        let source = sources.get(name.index(), name.serial)?;
        Some(source.ready.intersects(interest.mask()))
    }

    /// Stores the waker, because nothing of `interest` is ready; false if the source was freed.
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
        // Cloning another executor's waker runs user code (R5). That cannot turn the reactor, so what
        // was not ready is still not ready (R4), but it may have freed the source.
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

    /// What of `interest` is ready, and after how many events.
    pub(crate) fn observe(&self, name: Name, interest: Interest) -> Option<Observed> {
        let sources = self.sources.borrow();
        let source = sources.get(name.index(), name.serial)?;
        Some(Observed {
            ready: source.ready & interest.mask(),
            events: source.events,
        })
    }

    /// Removes the waiter with this key: its operation waits no longer.
    #[inline]
    pub(crate) fn forget(&self, name: Name, key: WaiterKey) {
        let waker = {
            let mut sources = self.sources.borrow_mut();
            let source = sources.get_mut(name.index(), name.serial);
            source.and_then(|source| source.waiters.forget(key))
        };
        user_code::discard_any(waker);
    }

    /// Clears `interest` after an operation saw EAGAIN: the source is not ready for it until the next event.
    /// "Closed" is cleared, too, because a HUP that stayed set would end every later wait at once.
    #[inline]
    pub(crate) fn clear(&self, name: Name, interest: Interest) {
        self.with_source(name, |source| source.clear(interest.mask()));
    }

    /// As [`clear`](Sources::clear), for an observation that may be old: if an event has come since,
    /// nothing is cleared, because that event may have brought what the operation lacked. (Else: EAGAIN, an
    /// `.await`, the event, the clear; and the task waits for ever, as an edge is told once.)
    pub(crate) fn clear_observed(&self, name: Name, observed: Observed, ready: Ready) {
        self.with_source(name, |source| {
            if source.events == observed.events {
                source.clear(ready);
            }
        });
    }

    /// Clears `READABLE` after a short read, unless short reads are unproved (R10).
    #[inline]
    pub(crate) fn clear_drained(&self, name: Name) {
        self.with_source(name, |source| {
            if !source.short_reads_unproved {
                source.clear(Interest::READABLE.mask());
            }
        });
    }

    /// True if epoll does not report room to write yet.
    pub(super) fn is_room_unreported(&self, name: Name) -> bool {
        let sources = self.sources.borrow();
        let source = sources.get(name.index(), name.serial);
        source.is_some_and(|source| source.room_unreported)
    }

    /// From here on epoll reports room to write: what was assumed until now is cleared.
    pub(super) fn room_is_reported(&self, name: Name) {
        self.with_source(name, |source| {
            source.room_unreported = false;
            source.clear(Interest::WRITABLE.mask());
        });
    }

    /// Data may remain that no event will announce (after a peek, say). Until EAGAIN, a short read does not
    /// mean "drained".
    pub(crate) fn unprove_short_reads(&self, name: Name) {
        self.with_source(name, |source| source.short_reads_unproved = true);
    }

    /// True if since the last EAGAIN an event, or [`unprove_short_reads`](Sources::unprove_short_reads), has
    /// said that a short read proves nothing.
    pub(crate) fn short_reads_are_unproved(&self, name: Name) -> bool {
        let sources = self.sources.borrow();
        let source = sources.get(name.index(), name.serial);
        source.is_some_and(|source| source.short_reads_unproved)
    }

    /// Calls `f` with the source, if it is there. `f` runs under the borrow, so it runs no user code (R5).
    #[inline]
    fn with_source(&self, name: Name, f: impl FnOnce(&mut Source)) {
        if let Some(source) = self.sources.borrow_mut().get_mut(name.index(), name.serial) {
            f(source);
        }
    }

    /// Applies one event: its source is ready now. Hands the wakers that waited for that to `to`,
    /// which runs under a borrow and must run no user code (R5). Returns the serial of the source, and what
    /// is ready. `None` if the source was freed: a duplicate of its descriptor is still in the interest list,
    /// or a tracing subscriber has just dropped it (R6).
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

    /// Frees all sources and takes the wakers of all waiters, at the end of the runtime.
    pub(crate) fn drain_all(&self, wakers: &mut Vec<Waker>) {
        let sources = mem::replace(&mut *self.sources.borrow_mut(), Slab::new());
        for mut source in sources.into_values() {
            source.waiters.drain_all(|waker| wakers.push(waker));
        }
    }

    /// The number of registered sources.
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

/// Events after which a short read does not prove that the socket is drained. An urgent byte ends a read
/// early (tcp(7)); and a FIN, a reset or an error may stand behind the data, and no further event will
/// report it.
const UNPROVING: u32 = (libc::EPOLLPRI | libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) as u32;

impl Source {
    /// Clears `ready`, but not `WRITABLE` while epoll does not report room (R10).
    #[inline]
    fn clear(&mut self, mut ready: Ready) {
        if self.room_unreported {
            ready = ready - Ready::WRITABLE;
        }
        self.ready = self.ready - ready;
        if ready.intersects(Ready::READABLE) {
            self.short_reads_unproved = false;
        }
    }
}
