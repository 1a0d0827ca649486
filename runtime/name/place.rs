//! Places: where a runtime can be reached from elsewhere, and its inbox.
//!
//! Interface: code elsewhere calls [`wake`], [`post`] and [`deregister`], with a place or a name; the
//! runtime itself opens and closes its [`Place`], [collects](Place::collect) its messages, and says
//! when it [sleeps](Place::fall_asleep).
//!
//! A place is never freed. A runtime has a place for as long as it exists; then another runtime may
//! get the place. A name is stale if its place is empty, or if its serial is below the `born` of the
//! runtime that has the place now: then the runtime that gave the name has ended. (Serials
//! only rise, so this one number stands for all runtimes that had the place before.) So a runtime that ends drops
//! its tasks, timers and sources, then [closes](Place::close) its place, which makes its names stale, then drops what was
//! left in the inbox, and gives the place back last (`Drop for Runtime`, in `run`). Otherwise a runtime of another thread
//! could take the place while this one still runs destructors, and names of the other, which have the same place, would
//! be looked up here.
//!
//! Invariant (R8): a runtime is asleep by default. Before it waits, it looks into the inbox and
//! publishes that it is asleep *under one lock*; a sender that finds it asleep writes the eventfd. So
//! there is no gap between "the inbox is empty" and epoll_wait(2): a message that came before the lock
//! is seen, and the sender of one that comes after it writes the eventfd. When the runtime stops
//! running it publishes the same, and `Runtime::next_deadline` looks into the inbox.
//!
//! ```text
//!   home                                  elsewhere
//!   lock; empty? yes: asleep = true; unlock
//!                                         lock; put a message; asleep? yes: clear it; unlock
//!   epoll_wait ◀───────────────────────── write the eventfd
//!   lock; asleep = false; unlock
//!   collect
//! ```
//!
//! So a wake from elsewhere takes the lock and allocates nothing, and it makes a system call only if it is the first since
//! the runtime fell asleep: one write, which is never read back.
//!
//! No user code runs under the lock, and no value of the user's is dropped under it (R5). A poisoned
//! lock is used all the same: no code that may panic runs under it.
//!
//! Over 400 lines because the protocol is best read whole, with the table of the places.
//!
//! Read before: `slab`, `waker`. Read next: `eventfd`, which ends the wait; `handle`, for users.

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
pub(crate) use primitives::{Arc, EventFd};
use primitives::{AtomicBool, Mutex, MutexGuard, Ordering};

/// The primitives of the protocol. The models use loom's instead, to try every interleaving.
mod primitives {
    #[cfg(all(test, reveille_loom))]
    pub(crate) use crate::unit::loom_eventfd::EventFd;
    #[cfg(all(test, reveille_loom))]
    pub(crate) use loom::sync::atomic::{AtomicBool, Ordering};
    #[cfg(all(test, reveille_loom))]
    pub(crate) use loom::sync::{Arc, Mutex, MutexGuard};

    #[cfg(not(all(test, reveille_loom)))]
    pub(crate) use crate::runtime::sys::EventFd;
    #[cfg(not(all(test, reveille_loom)))]
    pub(crate) use std::sync::atomic::{AtomicBool, Ordering};
    #[cfg(not(all(test, reveille_loom)))]
    pub(crate) use std::sync::{Arc, Mutex, MutexGuard};
}

/// What code elsewhere may ask of a runtime, besides waking one of its tasks.
pub(crate) enum Command {
    /// Adopt this future as a task.
    Spawn(
        Pin<Box<dyn Future<Output = ()> + Send>>,
        &'static Location<'static>,
    ),
    /// Mark the task aborted.
    Abort(Name),
    /// The task's handle was dropped: nothing will take its output.
    Detach(Name),
    /// The source has been deregistered: free its slot.
    FreeSource(Name),
    /// The operation with this key no longer waits for the source: remove its waiter.
    ForgetWaiter(Name, WaiterKey),
    /// Nothing waits for the timer any more: disarm it.
    CancelTimer(Name),
    /// The timer's `Sleep` has a new deadline: wake its task now, so that it arms a new timer.
    FireTimer(Name),
}

/// A runtime's entry in the table: empty, or open for the runtime that has it.
pub(crate) struct Place {
    /// True if there may be messages. Written under the lock, or by the runtime itself; read without it, by
    /// the runtime only, to spare taking the lock. If the runtime reads an old `false`, no harm is done: before it waits,
    /// [`fall_asleep`](Place::fall_asleep) looks into the inbox itself.
    messages: AtomicBool,
    /// `None` while no runtime has the place.
    open: Mutex<Option<Open>>,
}

/// What code elsewhere can reach of a runtime.
pub(crate) struct Open {
    /// The first serial of this runtime: a name with a smaller one is of an earlier runtime of the place.
    born: u64,
    /// The sender of the next message is to write the eventfd (R8).
    asleep: bool,
    /// The runtime is about to end. Other threads post no more tasks, but for one that has asked just before: they might
    /// come faster than it can drop them.
    leaving: bool,
    /// The eventfd. Shared, because it is written after the lock is released: by then the runtime may
    /// have ended.
    eventfd: Arc<EventFd>,
    /// From it a thread that drops a source takes the descriptor out (R7).
    epoll: std::sync::Arc<Epoll>,
    /// From it any thread reads the metrics.
    counters: std::sync::Arc<Counters>,
    /// The tasks to wake, one bit for each slot. `listed` has the slots with a set bit, in the order of the
    /// wakes. So a task that is woken a million times is listed once, and a wake allocates nothing.
    woken: Vec<u64>,
    /// It has room for all tasks. Stale wakes may set more bits than that: then `unlisted` is set, and the
    /// runtime goes through all bits.
    listed: Vec<u32>,
    /// Some set bits are not in `listed`.
    unlisted: bool,
    /// Their number has no bound: a thread that spawns tasks faster than the runtime runs them should wait
    /// now and then.
    commands: Vec<Command>,
}

/// How much an inbox has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Slots that may hold a task: a wake for a slot beyond them is stale, and is dropped.
    pub(crate) slots: usize,
    /// Tasks that may exist at a time.
    pub(crate) tasks: usize,
}

/// What a runtime collected from its inbox.
#[derive(Default)]
pub(crate) struct Messages {
    /// Slots: the task that is in each now must be woken.
    pub(crate) wakes: Vec<u32>,
    /// In the order in which they came.
    pub(crate) commands: Vec<Command>,
}

/// The outcome of [`Place::fall_asleep`].
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FellAsleep {
    /// The sender of the next message writes the eventfd.
    Yes,
    /// No: look at the inbox first.
    InboxNotEmpty,
}

impl Place {
    /// A place that no runtime has.
    pub(crate) fn new() -> Place {
        Place {
            messages: AtomicBool::new(false),
            open: Mutex::new(None),
        }
    }

    /// Opens the place for a runtime, which is asleep.
    pub(crate) fn open(&self, open: Open) {
        self.messages.store(false, Ordering::Relaxed);
        if let Some(mut guard) = self.lock() {
            *guard = Some(open);
        }
    }

    /// The runtime is about to end: see [`leaving`](Open::leaving).
    pub(crate) fn leave(&self) {
        self.with_open(|open| open.leaving = true);
    }

    /// True if the runtime that gave `serial` is there, and would adopt a task.
    fn adopts(&self, serial: u64) -> bool {
        self.with_open(|open| open.born <= serial && !open.leaving)
            .unwrap_or(false)
    }

    /// Empties the place, and returns what is left in the inbox, to be dropped without the lock.
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

    /// Publishes that the runtime is about to wait, unless it has messages. Both under one lock: otherwise
    /// a message could come after the look into the inbox and before "asleep" (R8).
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

    /// Publishes that the runtime has stopped running, whether it has messages or not: the sender of the
    /// next one writes the eventfd.
    pub(crate) fn rest(&self) {
        self.with_open(|open| open.asleep = true);
    }

    /// Writes the eventfd if the runtime is asleep: a task was queued on its own thread while it did not run.
    pub(crate) fn rouse(&self) {
        if let Some(guard) = self.lock() {
            notify_if_asleep(guard);
        }
    }

    /// Publishes that the runtime is awake: it will look into its inbox before it waits, so no sender need
    /// write the eventfd.
    pub(crate) fn awake(&self) {
        self.with_open(|open| open.asleep = false);
    }

    /// Makes room for wakes, so that a wake need not allocate.
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

    /// Wakes the task that is in the slot `index` now.
    ///
    /// Why the lock, even if the bit is set already? The poll that follows must see what this thread wrote before its wake,
    /// and a flag that is only read orders nothing: the poll may miss the write, and no other wake comes. The
    /// runtime collects under the same lock, which orders both. Counterexample: `B9-coalesced-without-the-lock` asks a
    /// flag first, and loom finds the schedule in which the write is not seen.
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

    /// Hands `command` to the runtime that gave `serial`, or back to the caller if that runtime has ended.
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

    /// Takes `fd` out of the runtime's interest list and has the slot of `source` freed, if the runtime
    /// that gave the name still has the place. The lock keeps the epoll instance open meanwhile: once the
    /// runtime has ended, the number of the instance may be another descriptor's.
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

    /// The counters of the runtime that gave `serial`.
    fn counters(&self, serial: u64) -> Option<std::sync::Arc<Counters>> {
        let counters =
            |open: &mut Open| (open.born <= serial).then(|| std::sync::Arc::clone(&open.counters));
        self.with_open(counters).flatten()
    }

    /// After a message was put under this lock: sets `messages`, and writes the eventfd if the runtime is
    /// asleep.
    fn delivered(&self, guard: MutexGuard<'_, Option<Open>>) {
        self.messages.store(true, Ordering::Relaxed);
        notify_if_asleep(guard);
    }

    /// Calls `f` under the lock; `None` if the place is empty, or in a forked child.
    fn with_open<R>(&self, f: impl FnOnce(&mut Open) -> R) -> Option<R> {
        self.lock()?.as_mut().map(f)
    }

    /// The lock; `None` in a forked child, where a thread that does not exist may hold it, and
    /// where the eventfd and the epoll instance behind it are the parent's.
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

/// Releases the lock, and writes the eventfd if the runtime is asleep.
fn notify_if_asleep(mut guard: MutexGuard<'_, Option<Open>>) {
    let eventfd = match guard.as_mut() {
        Some(open) if open.asleep => {
            // One write serves all messages: the runtime looks into its inbox before it sleeps again.
            open.asleep = false;
            Some(Arc::clone(&open.eventfd))
        }
        _ => None,
    };
    drop(guard);
    if let Some(eventfd) = eventfd {
        eventfd.notify();
    }
}

impl Open {
    /// The commands that will not be obeyed.
    pub(crate) fn into_commands(self) -> Vec<Command> {
        self.commands
    }

    /// A runtime that is asleep, has no messages yet, and gives no name with a serial below `born`.
    pub(crate) fn new(
        born: u64,
        eventfd: Arc<EventFd>,
        epoll: std::sync::Arc<Epoll>,
        counters: std::sync::Arc<Counters>,
    ) -> Open {
        let (woken, listed, commands) = (Vec::new(), Vec::new(), Vec::new());
        let (asleep, leaving, unlisted) = (true, false, false);
        Open {
            born,
            asleep,
            leaving,
            eventfd,
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

/// Which places no runtime has. Touched only when a runtime is made and when it ends.
static FREE: StdMutex<FreePlaces> = StdMutex::new(FreePlaces {
    left: VecDeque::new(),
    made: 0,
});

/// The numbers of the places that may be taken.
struct FreePlaces {
    /// In the order they were given back, so that each stays unused for as long as possible.
    left: VecDeque<u16>,
    /// Places below this were taken at least once.
    made: u16,
}

/// The place with this number, if its chunk was made.
pub(crate) fn at(place: u16) -> Option<&'static Place> {
    let (chunk, offset) = position(place)?;
    PLACES[chunk].get()?.get(offset)
}

/// Takes a free place.
///
/// # Errors
/// When 65,534 runtimes exist already.
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

/// Posts a command to the runtime in which `name` was given. If that runtime has ended, the command is
/// given back, to be dropped.
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

/// True if the runtime in which `name` was given has not ended.
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
