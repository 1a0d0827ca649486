//! Places: where a runtime can be reached from elsewhere, and its inbox.
//!
//! Interface: elsewhere calls [`wake`], [`post`] and [`deregister`] by place; the runtime itself
//! opens and closes its [`Place`], [collects](Place::collect) its mail, and says when it
//! [sleeps](Place::fall_asleep).
//!
//! A place is immortal, a runtime is its tenant for a while. Whoever holds a name of a tenant who
//! left finds the place empty, or let to someone born later, and knows: that runtime has ended.
//!
//! Invariant (R8): "asleep" is the resting state. Before its runtime waits, it publishes that it is
//! asleep and looks at the inbox *under one lock*; a wake from elsewhere that finds it asleep rings.
//! So between "there is no mail" and epoll_wait(2) no gap is left: mail that came before the lock
//! is seen, and mail that comes after it rings. When it stops running it publishes the same, and
//! `Runtime::next_deadline` turns.
//!
//! ```text
//!   home                                  elsewhere
//!   lock; asleep = true; mail? no; unlock
//!                                         lock; put mail; asleep? yes: clear it; unlock
//!   epoll_wait ◀───────────────────────── write the eventfd
//!   lock; asleep = false; unlock
//!   collect
//! ```
//!
//! Nothing that foreign code could own is dropped under the lock (R5). A poisoned lock is used all
//! the same: no code that may panic runs under it.
//!
//! Over 400 lines because the protocol is best read whole, with the table that it starts from.
//!
//! Read before: `slab`, `waker`. Read next: `bell`, which ends the wait; `handle`, for users.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::panic::Location;
use std::pin::Pin;
use std::sync::{Mutex as StdMutex, OnceLock, PoisonError};

use super::slab::{Name, WaiterKey, trim};
use crate::runtime::metrics::{Counters, Metrics};
use crate::runtime::sys::{self, Epoll};
pub(crate) use primitives::{Arc, Bell};
use primitives::{AtomicBool, Mutex, MutexGuard, Ordering};

/// The primitives of the protocol, which the models swap for loom's to try every interleaving.
mod primitives {
    #[cfg(all(test, reveille_loom))]
    pub(crate) use crate::unit::loom_bell::Bell;
    #[cfg(all(test, reveille_loom))]
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
    #[cfg(all(test, reveille_loom))]
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};

    #[cfg(not(all(test, reveille_loom)))]
    pub(crate) use crate::runtime::sys::Bell;
    #[cfg(not(all(test, reveille_loom)))]
    pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
    #[cfg(not(all(test, reveille_loom)))]
    pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
}

/// What others may ask of a runtime from elsewhere, besides waking one of its tasks.
pub(crate) enum Command {
    /// Adopt this future as a task.
    Spawn(
        Pin<Box<dyn Future<Output = ()> + Send>>,
        &'static Location<'static>,
    ),
    /// Mark the task aborted.
    Abort(Name),
    /// Nobody waits for the task's output any more.
    Detach(Name),
    /// The source has been deregistered: free its slot.
    FreeSource(Name),
    /// The waiter with this key no longer waits for the source.
    ForgetWaiter(Name, WaiterKey),
    /// Nobody waits for the timer any more.
    CancelTimer(Name),
    /// The timer's deadline is another: its task must look, now.
    FireTimer(Name),
}

/// A runtime's entry in the table: empty, or open to its tenant.
pub(crate) struct Place {
    /// Written under the lock; read without it by the tenant only, as a hint that the lock is
    /// worth taking. One that reads a little late is caught by [`fall_asleep`](Place::fall_asleep).
    messages: AtomicBool,
    open: Mutex<Option<Open>>,
}

/// What a tenant shows to the outside.
pub(crate) struct Open {
    /// The first serial of this tenant: who asks by a smaller one means a tenant before.
    born: u64,
    asleep: bool,
    /// The tenant is about to leave, and adopts no more tasks of other threads: they might come faster
    /// than it can drop them.
    leaving: bool,
    /// Rung after the lock is released, hence shared: the tenant may be gone by then.
    bell: Arc<Bell>,
    epoll: std::sync::Arc<Epoll>,
    counters: std::sync::Arc<Counters>,
    /// The tasks to wake, one bit a slot, and the slots whose bit is set in the order they were:
    /// a task woken a million times is in the list once, and nothing is allocated.
    woken: Vec<u64>,
    /// It has room for the tasks that live. Stale wakes may set more bits than that: then some are not
    /// listed, and all of them are turned through.
    listed: Vec<u32>,
    unlisted: bool,
    /// Nothing bounds them: whoever spawns from another thread faster than this one runs should wait now
    /// and then.
    commands: Vec<Command>,
}

/// For how many an inbox has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Slots that tasks may live in: a wake beyond them is a stale one, and is dropped.
    pub(crate) slots: usize,
    /// Tasks that live.
    pub(crate) tasks: usize,
}

/// What the home thread collected from its inbox.
#[derive(Default)]
pub(crate) struct Messages {
    /// Slots whose task, whoever that is now, must be woken.
    pub(crate) wakes: Vec<u32>,
    pub(crate) commands: Vec<Command>,
}

/// The outcome of [`Place::fall_asleep`].
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FellAsleep {
    /// Whoever brings mail from now on rings.
    Yes,
    /// No: look at the inbox first.
    InboxNotEmpty,
}

impl Place {
    pub(crate) fn new() -> Place {
        Place {
            messages: AtomicBool::new(false),
            open: Mutex::new(None),
        }
    }

    /// A tenant moves in, asleep.
    pub(crate) fn open(&self, open: Open) {
        self.messages.store(false, Ordering::Relaxed);
        if let Some(mut guard) = self.lock() {
            *guard = Some(open);
        }
    }

    /// The tenant is about to leave.
    pub(crate) fn leave(&self) {
        self.with_open(|open| open.leaving = true);
    }

    /// True if the tenant under whom `serial` was given would adopt a task.
    fn adopts(&self, serial: u64) -> bool {
        self.with_open(|open| open.born <= serial && !open.leaving)
            .unwrap_or(false)
    }

    /// The tenant leaves. What is left in its inbox is returned, to be dropped without the lock.
    pub(crate) fn close(&self) -> Option<Open> {
        self.lock()?.take()
    }

    /// True if there may be messages: one relaxed load.
    pub(crate) fn has_messages(&self) -> bool {
        self.messages.load(Ordering::Relaxed)
    }

    /// Moves the inbox into `messages`.
    pub(crate) fn collect(&self, messages: &mut Messages) {
        self.with_open(|open| {
            self.messages.store(false, Ordering::Relaxed);
            messages.wakes.extend_from_slice(&open.listed);
            for index in open.listed.drain(..) {
                open.woken[index as usize / 64] &= !(1 << (index % 64));
            }
            if std::mem::take(&mut open.unlisted) {
                collect_bits(&mut open.woken, &mut messages.wakes);
            }
            messages.commands.append(&mut open.commands);
            trim(&mut open.commands, messages.commands.len());
        });
    }

    /// Publishes that the tenant is about to wait, unless it has messages. One lock for both: turned
    /// at before it is published, mail could slip in between (R8).
    pub(crate) fn fall_asleep(&self) -> FellAsleep {
        let asleep = self.with_open(|open| {
            open.asleep = open.listed.is_empty() && !open.unlisted && open.commands.is_empty();
            open.asleep
        });
        if asleep == Some(false) {
            FellAsleep::InboxNotEmpty
        } else {
            FellAsleep::Yes
        }
    }

    /// Publishes that the tenant has stopped running, mail or no messages: the next one rings.
    pub(crate) fn rest(&self) {
        self.with_open(|open| open.asleep = true);
    }

    /// Has a tenant that sleeps look: a task was queued behind its back, on its own thread.
    pub(crate) fn rouse(&self) {
        if let Some(guard) = self.lock() {
            ring_if_asleep(guard);
        }
    }

    /// The tenant is awake: it will look at its inbox before it waits, so nobody need ring.
    pub(crate) fn awake(&self) {
        self.with_open(|open| open.asleep = false);
    }

    /// Makes room for wakes, so that those who bring them need not allocate.
    pub(crate) fn resize(&self, room: Room) {
        self.with_open(|open| {
            let slots = room.slots.next_multiple_of(64);
            open.woken.resize(slots / 64, 0);
            open.woken.shrink_to_fit();
            open.listed.retain(|&index| (index as usize) < slots);
            if open.listed.len() > room.tasks {
                open.listed.truncate(room.tasks);
                open.unlisted = true;
            }
            open.listed.shrink_to(room.tasks);
            open.listed.reserve_exact(room.tasks - open.listed.len());
        });
    }

    /// Wakes whoever lives in the slot `index` of the tenant.
    pub(crate) fn wake(&self, index: u32) {
        let Some(mut guard) = self.lock() else { return };
        let Some(open) = guard.as_mut() else { return };
        let Some(word) = open.woken.get_mut(index as usize / 64) else {
            return;
        };
        let bit = 1 << (index % 64);
        if *word & bit == 0 {
            *word |= bit;
            if open.listed.len() < open.listed.capacity() {
                open.listed.push(index);
            } else {
                open.unlisted = true;
            }
        }
        self.delivered(guard);
    }

    /// Hands `command` to the tenant under whom `serial` was given, or back if that one has left.
    pub(crate) fn post(&self, serial: u64, command: Command) -> Result<(), Command> {
        let Some(mut guard) = self.lock() else {
            return Err(command);
        };
        match guard.as_mut() {
            Some(open) if open.born <= serial => open.commands.push(command),
            _ => return Err(command),
        }
        self.delivered(guard);
        Ok(())
    }

    /// Takes `fd` out of the tenant's interest list and has the slot of `source` freed, if the
    /// tenant who gave the name is still here. Under the lock, for once the tenant is gone its
    /// epoll instance is, and the number may be another's.
    pub(crate) fn deregister(&self, source: Name, fd: RawFd) {
        let Some(mut guard) = self.lock() else { return };
        match guard.as_mut() {
            Some(open) if open.born <= source.serial => {
                // EBADF or ENOENT: it is not in the list, which is all that is wanted (R7).
                let _gone = open.epoll.delete(fd);
                open.commands.push(Command::FreeSource(source));
            }
            _ => return,
        }
        self.delivered(guard);
    }

    /// The counters of the tenant under whom `serial` was given.
    fn counters(&self, serial: u64) -> Option<std::sync::Arc<Counters>> {
        let counters =
            |open: &mut Open| (open.born <= serial).then(|| std::sync::Arc::clone(&open.counters));
        self.with_open(counters).flatten()
    }

    /// Messages has been put under this lock: raises the flag, and rings if the tenant is asleep.
    fn delivered(&self, guard: MutexGuard<'_, Option<Open>>) {
        self.messages.store(true, Ordering::Relaxed);
        ring_if_asleep(guard);
    }

    fn with_open<R>(&self, f: impl FnOnce(&mut Open) -> R) -> Option<R> {
        self.lock()?.as_mut().map(f)
    }

    /// The lock; `None` in a forked child, where a thread that does not exist may hold it, and
    /// where the bell and the epoll instance behind it are the parent's.
    fn lock(&self) -> Option<MutexGuard<'_, Option<Open>>> {
        if sys::is_forked_child() {
            return None;
        }
        Some(self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Moves the bits that are set into `wakes`.
fn collect_bits(woken: &mut [u64], wakes: &mut Vec<u32>) {
    for (word, first) in woken.iter_mut().zip((0u32..).step_by(64)) {
        while *word != 0 {
            wakes.push(first + word.trailing_zeros());
            *word &= *word - 1;
        }
    }
}

/// Lets go of the lock, and rings if the tenant is asleep.
fn ring_if_asleep(mut guard: MutexGuard<'_, Option<Open>>) {
    let bell = match guard.as_mut() {
        Some(open) if open.asleep => {
            // The first to come rings for all: the tenant looks before it sleeps again.
            open.asleep = false;
            Some(Arc::clone(&open.bell))
        }
        _ => None,
    };
    drop(guard);
    if let Some(bell) = bell {
        bell.ring();
    }
}

impl Open {
    /// The commands that nobody will obey.
    pub(crate) fn into_commands(self) -> Vec<Command> {
        self.commands
    }

    /// A tenant who is asleep, has no mail yet, and gives no name with a serial below `born`.
    pub(crate) fn new(
        born: u64,
        bell: Arc<Bell>,
        epoll: std::sync::Arc<Epoll>,
        counters: std::sync::Arc<Counters>,
    ) -> Open {
        let (woken, listed, commands) = (Vec::new(), Vec::new(), Vec::new());
        let (asleep, leaving, unlisted) = (true, false, false);
        Open {
            born,
            asleep,
            leaving,
            bell,
            epoll,
            counters,
            woken,
            listed,
            unlisted,
            commands,
        }
    }
}

/// The table: chunk `k` holds `2^k` places, made when the first of them is needed and never freed.
static PLACES: [OnceLock<Box<[Place]>>; 16] = [const { OnceLock::new() }; 16];

/// Which places have no tenant. Only a runtime's birth and end touch it.
static FREE: StdMutex<FreePlaces> = StdMutex::new(FreePlaces {
    left: VecDeque::new(),
    made: 0,
});

struct FreePlaces {
    /// In the order they were left, so that a place rests as long as possible.
    left: VecDeque<u16>,
    /// Places below this were let at least once.
    made: u16,
}

/// The place with this number, if any runtime ever had it.
pub(crate) fn at(place: u16) -> Option<&'static Place> {
    let (chunk, offset) = position(place)?;
    PLACES[chunk].get()?.get(offset)
}

/// Takes a free place.
///
/// # Errors
/// When 65,534 runtimes live at once.
pub(crate) fn allocate() -> io::Result<(u16, &'static Place)> {
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let place = match free.left.pop_front() {
        Some(place) => place,
        None if free.made < u16::MAX - 1 => {
            free.made += 1;
            free.made - 1
        }
        None => {
            return Err(io::Error::other(
                "65,534 runtimes live in this process: drop some",
            ));
        }
    };
    drop(free);
    let Some((chunk, offset)) = position(place) else {
        return Err(io::Error::other("no such place"));
    };
    let places = PLACES[chunk].get_or_init(|| (0..1 << chunk).map(|_| Place::new()).collect());
    Ok((place, &places[offset]))
}

/// Gives a place back, once it is closed.
pub(crate) fn release(place: u16) {
    FREE.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .left
        .push_back(place);
}

/// Wakes a task from elsewhere.
pub(crate) fn wake(place: u16, index: u32) {
    if let Some(place) = at(place) {
        place.wake(index);
    }
}

/// Posts a command to the runtime in which `name` was given; gives it back, to be dropped, if that
/// runtime has ended.
pub(crate) fn post(name: Name, command: Command) -> Result<(), Command> {
    match at(name.place()) {
        Some(place) => place.post(name.serial, command),
        None => Err(command),
    }
}

/// Deregisters a source from elsewhere.
pub(crate) fn deregister(source: Name, fd: RawFd) {
    if let Some(place) = at(source.place()) {
        place.deregister(source, fd);
    }
}

/// True if the runtime in which `name` was given still lives.
pub(crate) fn is_open(name: Name) -> bool {
    at(name.place()).is_some_and(|place| place.counters(name.serial).is_some())
}

/// True if the runtime in which `name` was given would adopt a task.
pub(crate) fn adopts(name: Name) -> bool {
    at(name.place()).is_some_and(|place| place.adopts(name.serial))
}

/// The counters of the runtime in which `name` was given; zeros if it has ended.
pub(crate) fn metrics(name: Name) -> Metrics {
    let counters = at(name.place()).and_then(|place| place.counters(name.serial));
    counters.map_or_else(Metrics::default, |counters| counters.snapshot())
}

/// Where a place lies: chunk `k` begins with place `2^k - 1`.
fn position(place: u16) -> Option<(usize, usize)> {
    let nth = usize::from(place) + 1;
    let chunk = nth.checked_ilog2()? as usize;
    (chunk < PLACES.len()).then_some((chunk, nth - (1 << chunk)))
}
