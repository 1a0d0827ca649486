//! Models of what crosses threads: every interleaving of a place's inbox with its tenant.
//!
//! The outside is the real one, `Place`. The tenant's side is [`Home`], which calls it as the loop
//! in `runtime/mod.rs` does; a lost wake leaves it waiting for an eventfd that nobody rings, and loom
//! reports the deadlock.

use std::panic::Location;
use std::sync::Arc as StdArc;

use loom::model;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use loom::thread::{self, JoinHandle};

use super::loom_eventfd::EventFd;
use crate::runtime::metrics::Counters;
use crate::runtime::name::place::{Command, FellAsleep, Messages, Open, Place, Room};
use crate::runtime::name::slab::{Name, Slab};
use crate::runtime::sys::Epoll;

/// The first serial of the first tenant.
const BORN: u64 = 10;

/// Room for so many tasks, in as many slots.
fn room(slots: usize) -> Room {
    Room {
        slots,
        tasks: slots,
    }
}

/// A tenant's side of a place.
struct Home {
    place: Arc<Place>,
    eventfd: Arc<EventFd>,
    messages: Messages,
}

impl Home {
    /// Moves in, with room for `slots` tasks, at rest.
    fn open(place: &Arc<Place>, epoll: &StdArc<Epoll>, born: u64, slots: usize) -> Home {
        let eventfd = Arc::new(EventFd::new().unwrap());
        let tenant = Open::new(born, Arc::clone(&eventfd), StdArc::clone(epoll), counters());
        place.open(tenant);
        place.resize(room(slots));
        Home {
            place: Arc::clone(place),
            eventfd,
            messages: Messages::default(),
        }
    }

    /// `Running::enter`.
    fn enter(&self) {
        self.place.awake();
    }

    /// `Core::read_inbox`: what it collected.
    fn read_inbox(&mut self) -> Messages {
        if self.place.has_messages() {
            self.place.collect(&mut self.messages);
        }
        std::mem::take(&mut self.messages)
    }

    /// `Core::park`: what it was woken with, which may be nothing.
    fn park(&mut self) -> Messages {
        if self.place.fall_asleep() == FellAsleep::InboxNotEmpty {
            let messages = self.read_inbox();
            assert!(
                !messages.wakes.is_empty() || !messages.commands.is_empty(),
                "the inbox is not empty, but its flag is down: the loop would spin"
            );
            return messages;
        }
        self.eventfd.wait();
        let messages = self.read_inbox();
        self.place.awake();
        messages
    }
}

fn counters() -> StdArc<Counters> {
    StdArc::new(Counters::default())
}

fn epoll() -> StdArc<Epoll> {
    StdArc::new(Epoll::new().unwrap())
}

fn name(index: u32, serial: u64) -> Name {
    let place = 0;
    Name::new(place, index, serial)
}

/// A thread that writes `data` and then wakes the task in slot `index`.
fn waker(place: &Arc<Place>, data: &Arc<AtomicBool>, index: u32) -> JoinHandle<()> {
    let (place, data) = (Arc::clone(place), Arc::clone(data));
    thread::spawn(move || {
        data.store(true, Relaxed);
        place.wake(index);
    })
}

/// R8. Fault B10.
/// Catches: the inbox looked into before "asleep" is published; the flag of the mail not raised, or
/// lowered after the lock was released.
#[test]
fn two_wakers_and_a_parking_owner_lose_no_wake() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let mut home = Home::open(&place, &epoll, BORN, 64);
        home.enter();
        let data = [false; 2].map(|new| Arc::new(AtomicBool::new(new)));
        let wakers = [0, 1].map(|i| waker(&place, &data[i as usize], i));
        let mut woken = [0; 2];
        while woken.contains(&0) {
            for index in home.park().wakes {
                woken[index as usize] += 1;
                assert!(data[index as usize].load(Relaxed), "woken before the data");
            }
        }
        assert_eq!(woken, [1, 1]);
        for thread in wakers {
            thread.join().unwrap();
        }
    });
}

/// R8. Fault B9: nothing but the wake orders the data here.
/// Catches: a wake that is skipped, without the lock, because mail is there already.
#[test]
fn what_was_written_before_a_coalesced_wake_is_seen() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let mut home = Home::open(&place, &epoll, BORN, 64);
        home.enter();
        let data = [false; 2].map(|new| Arc::new(AtomicBool::new(new)));
        let wakers = [0, 1].map(|i: usize| waker(&place, &data[i], 0));
        // The task of slot 0: done when it has seen both, else pending until it is woken.
        while !data.iter().all(|data| data.load(Relaxed)) {
            while home.park().wakes.is_empty() {}
        }
        for thread in wakers {
            thread.join().unwrap();
        }
    });
}

/// R8. Catches: the bit of a collected wake left set, so that the next wake of the task is taken
/// for a second one and goes nowhere.
#[test]
fn each_wake_after_a_poll_is_another_wake() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let mut home = Home::open(&place, &epoll, BORN, 64);
        home.enter();
        let (sent, elsewhere) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&place));
        let counted = Arc::clone(&sent);
        let thread = thread::spawn(move || {
            for _ in 0..3 {
                counted.fetch_add(1, Relaxed);
                elsewhere.wake(5);
            }
        });
        while sent.load(Relaxed) < 3 {
            let _mail = home.park();
        }
        thread.join().unwrap();
    });
}

/// R8: at rest it is a foreign loop that waits, for the eventfd and until `next_deadline`.
/// Catches: a runtime that leaves `turn` or `block_on` awake, so that nobody rings.
#[test]
fn a_wake_against_coming_to_rest_rings_or_is_mail() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let mut home = Home::open(&place, &epoll, BORN, 64);
        home.enter();
        let data = Arc::new(AtomicBool::new(false));
        let waker = waker(&place, &data, 7);
        // `turn`: the last look at the inbox, then the guard is dropped.
        let mut messages = home.read_inbox();
        place.rest();
        if messages.wakes.is_empty() {
            if !place.has_messages() {
                home.eventfd.wait();
            }
            home.enter();
            messages = home.read_inbox();
        }
        assert_eq!(messages.wakes, [7]);
        assert!(data.load(Relaxed));
        waker.join().unwrap();
    });
}

/// Faults B4, B5, R6. Catches: the tenant not asked for its `born`, so that an order for the task
/// of one who left reaches one who moved in.
#[test]
fn an_order_for_a_tenant_who_left_does_not_reach_the_next() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let home = Home::open(&place, &epoll, BORN, 64);
        let elsewhere = Arc::clone(&place);
        let thread = thread::spawn(move || {
            elsewhere.wake(3);
            let name = name(3, BORN + 1);
            // Taken by the first tenant, or handed back.
            drop(elsewhere.post(name.serial, Command::Abort(name)));
        });
        let left = place.close();
        drop((left, home));
        let mut next = Home::open(&place, &epoll, BORN + 100, 64);
        next.enter();
        let early = next.read_inbox();
        thread.join().unwrap();
        let late = next.read_inbox();
        assert!(early.commands.is_empty() && late.commands.is_empty());
        // A wake is a hint: it may come, and then somebody is polled for nothing, once.
        assert!(early.wakes.len() + late.wakes.len() <= 1);
    });
}

/// Faults B4, B5, R8. Catches: a stale wake that takes the place of a fresh one; the flag of the
/// mail lowered after the tenant was let in.
#[test]
fn a_stale_wake_does_not_swallow_a_fresh_one_after_a_place_is_reused() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let first = Home::open(&place, &epoll, BORN, 64);
        let stale = {
            let place = Arc::clone(&place);
            thread::spawn(move || place.wake(0))
        };
        drop((place.close(), first));
        let mut next = Home::open(&place, &epoll, BORN + 100, 64);
        next.enter();
        let data = Arc::new(AtomicBool::new(false));
        let fresh = waker(&place, &data, 0);
        while !data.load(Relaxed) {
            let _mail = next.park();
        }
        stale.join().unwrap();
        fresh.join().unwrap();
    });
}

/// Fault B4. Catches: a tenant let in before the flag of the mail is lowered: a wake that comes
/// in between is in the inbox, and nobody looks there.
#[test]
fn a_wake_against_moving_in_is_not_forgotten() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let elsewhere = Arc::clone(&place);
        // A command, for it needs no room, so it may come as soon as the tenant is there.
        let thread = thread::spawn(move || {
            let name = name(0, BORN + 1);
            elsewhere.post(name.serial, Command::Abort(name)).is_ok()
        });
        let mut home = Home::open(&place, &epoll, BORN, 64);
        home.enter();
        let posted = thread.join().unwrap();
        assert_eq!(home.read_inbox().commands.len(), usize::from(posted));
    });
}

/// Counts how often it is dropped.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Fault B5. Catches: a closing tenant that forgets what is in its inbox.
#[test]
fn a_future_spawned_from_afar_against_the_end_is_dropped_once() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let mut home = Home::open(&place, &epoll, BORN, 64);
        home.enter();
        let dropped = Arc::new(AtomicUsize::new(0));
        let elsewhere = Arc::clone(&place);
        let counted = Counted(Arc::clone(&dropped));
        let thread = thread::spawn(move || {
            let future = Box::pin(async move { drop(counted) });
            let command = Command::Spawn(future, Location::caller());
            elsewhere.post(BORN, command).is_ok()
        });
        // `Executor::shutdown`, then the end of the place.
        let adopted = home.read_inbox().commands.len();
        let left = place.close().unwrap().into_commands().len();
        let accepted = thread.join().unwrap();
        assert_eq!(adopted + left, usize::from(accepted));
        assert_eq!(dropped.load(Relaxed), 1, "dropped once, wherever it was");
    });
}

/// R6. Catches: a command taken by a place whose tenant has left, which then nobody ever sees.
#[test]
fn a_command_against_the_end_is_seen_or_handed_back() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let mut home = Home::open(&place, &epoll, BORN, 64);
        home.enter();
        let elsewhere = Arc::clone(&place);
        let thread = thread::spawn(move || {
            let name = name(0, BORN + 1);
            elsewhere.post(name.serial, Command::Detach(name)).is_ok()
        });
        let before = home.read_inbox().commands.len();
        let after = place.close().unwrap().into_commands().len();
        let accepted = thread.join().unwrap();
        assert_eq!(before + after, usize::from(accepted));
    });
}

/// R6. Fault B3. Catches: a look-up by index alone, so that the abort of a task that finished
/// hits the one that lives in its slot now.
#[test]
fn an_abort_against_the_finish_hits_that_task_or_none() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let mut home = Home::open(&place, &epoll, BORN, 64);
        home.enter();
        // A task is here the flag "aborted".
        let mut tasks = Slab::new();
        let old = name(tasks.insert(BORN + 1, false), BORN + 1);
        let elsewhere = Arc::clone(&place);
        let thread = thread::spawn(move || {
            let posted = elsewhere.post(old.serial, Command::Abort(old));
            assert!(posted.is_ok());
        });
        let obey = |messages: Messages, tasks: &mut Slab<bool>| {
            for command in messages.commands {
                let Command::Abort(name) = command else {
                    unreachable!()
                };
                if let Some(aborted) = tasks.get_mut(name.index(), name.serial) {
                    *aborted = true;
                }
            }
        };
        obey(home.read_inbox(), &mut tasks);
        let finished = tasks.remove(old.index(), old.serial);
        assert!(finished.is_some());
        assert_eq!(
            tasks.insert(BORN + 2, false),
            old.index(),
            "the slot is used again"
        );
        thread.join().unwrap();
        obey(home.read_inbox(), &mut tasks);
        assert_eq!(tasks.get(old.index(), BORN + 2), Some(&false));
    });
}

/// R8. Catches: the list kept as it is when the bitmap shrinks, so that collecting it reaches
/// beyond the bitmap; the bits of what is in the list lost.
#[test]
fn a_wake_against_a_resize_is_kept_if_there_is_room_and_else_ignored() {
    let epoll = epoll();
    model(move || {
        let place = Arc::new(Place::new());
        let mut home = Home::open(&place, &epoll, BORN, 128);
        home.enter();
        let data = [false; 2].map(|new| Arc::new(AtomicBool::new(new)));
        // Slot 3 has room throughout, slot 100 only before.
        let wakers = [waker(&place, &data[0], 3), waker(&place, &data[1], 100)];
        place.resize(room(64));
        let mut woken = 0;
        while woken == 0 {
            woken = home.park().wakes.iter().filter(|&&i| i == 3).count();
        }
        assert_eq!(woken, 1);
        for thread in wakers {
            thread.join().unwrap();
        }
        // What was ignored leaves nothing behind: the slot can be woken once it is there again.
        place.resize(room(128));
        let _late = home.read_inbox();
        place.wake(100);
        assert_eq!(home.read_inbox().wakes, [100]);
    });
}
