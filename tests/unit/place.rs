//! Places, on one thread: room, stale names, the table; and the eventfd.

use std::env;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::limit::limit;
use crate::runtime::metrics::Counters;
use crate::runtime::name::place::{self, Command, FellAsleep, Messages, Open, Place, Room};
use crate::runtime::name::slab::Name;
use crate::runtime::sys::{Epoll, EventFd, Events};

const BORN: u64 = 1_000_000;

fn tenant(born: u64) -> Open {
    let (eventfd, epoll) = (EventFd::new().unwrap(), Epoll::new().unwrap());
    Open::new(
        born,
        Arc::new(eventfd),
        Arc::new(epoll),
        Arc::new(Counters::default()),
    )
}

/// A place let to a tenant who has room for `slots` tasks.
fn let_to_a_tenant(slots: usize) -> Place {
    let place = Place::new();
    place.open(tenant(BORN));
    place.resize(room(slots));
    place
}

/// Room for so many tasks, in as many slots.
fn room(slots: usize) -> Room {
    Room {
        slots,
        tasks: slots,
    }
}

fn collect(place: &Place) -> Messages {
    let mut messages = Messages::default();
    place.collect(&mut messages);
    messages
}

fn abort(place: u16, serial: u64) -> Command {
    Command::Abort(Name::new(place, 0, serial))
}

/// Catches: room taken for what has none, by growing there or by a panic.
#[test]
fn a_wake_beyond_the_room_is_ignored() {
    let _limit = limit(30);
    let place = let_to_a_tenant(64);
    for index in [64, 1_000, u32::MAX] {
        place.wake(index);
    }
    assert!(!place.has_messages());
    assert!(collect(&place).wakes.is_empty());
    place.wake(63);
    assert_eq!(collect(&place).wakes, [63]);
}

/// Fault B38. Catches: a wake listed again although its bit is set.
#[test]
fn a_task_woken_many_times_is_listed_once_and_in_order() {
    let _limit = limit(30);
    let place = let_to_a_tenant(128);
    for _ in 0..1_000 {
        for index in [70, 3, 127] {
            place.wake(index);
        }
    }
    assert_eq!(collect(&place).wakes, [70, 3, 127]);
    assert!(collect(&place).wakes.is_empty());
}

/// R8. Catches: the list cut to the new size without its bits, or the bits without the list.
#[test]
fn a_shrinking_inbox_keeps_the_wakes_it_has_room_for() {
    let _limit = limit(30);
    let place = let_to_a_tenant(256);
    for index in [10, 200, 63, 64] {
        place.wake(index);
    }
    place.resize(room(64));
    assert_eq!(collect(&place).wakes, [10, 63]);
    place.resize(room(256));
    place.wake(200); // its bit went with the room, so this is a first wake
    assert_eq!(collect(&place).wakes, [200]);
}

/// Promise: a wake from elsewhere allocates nothing. Catches: a stale wake, which may set any bit, that
/// is dropped, or takes the room of another's.
#[test]
fn every_bit_of_a_word_can_be_woken_when_only_some_have_tasks() {
    let _limit = limit(30);
    let place = let_to_a_tenant(65);
    for index in 0..128 {
        place.wake(index);
    }
    assert_eq!(collect(&place).wakes.len(), 128);
}

/// Fault B33. Catches: wakes beyond those of the tasks that live, which the list has no room for, lost or
/// told twice, or told again and again; an inbox that falls asleep on them.
#[test]
fn more_slots_may_be_woken_than_tasks_live() {
    let _limit = limit(30);
    let place = Place::new();
    place.open(tenant(BORN));
    let (slots, tasks) = (100_000, 64);
    place.resize(Room { slots, tasks });
    for round in 0..3 {
        let mut woken: Vec<u32> = (0..1000)
            .map(|nth| (nth * 7_919 + round) % 100_000)
            .collect();
        for index in woken.iter().chain(&woken) {
            place.wake(*index);
        }
        assert_eq!(place.fall_asleep(), FellAsleep::InboxNotEmpty);
        let mut wakes = collect(&place).wakes;
        assert_eq!(
            wakes[..64],
            woken[..64],
            "in order as far as they are listed"
        );
        wakes.sort_unstable();
        woken.sort_unstable();
        assert_eq!(wakes, woken);
        assert!(collect(&place).wakes.is_empty());
        assert_eq!(place.fall_asleep(), FellAsleep::Yes);
    }
}

/// Fault B33. Catches: wakes that are lost when the list shrinks below them.
#[test]
fn a_list_that_shrinks_loses_no_wake() {
    let _limit = limit(30);
    let place = let_to_a_tenant(1024);
    (0..500).for_each(|index| place.wake(index));
    place.resize(Room {
        slots: 1024,
        tasks: 64,
    });
    assert_eq!(place.fall_asleep(), FellAsleep::InboxNotEmpty);
    let mut wakes = collect(&place).wakes;
    wakes.sort_unstable();
    assert_eq!(wakes, (0..500).collect::<Vec<_>>());
}

/// R8, fault B33. Catches: a look for mail that asks the list alone.
#[test]
fn an_inbox_whose_wakes_are_not_listed_does_not_fall_asleep() {
    let _limit = limit(30);
    let place = let_to_a_tenant(1024);
    (500..600).for_each(|index| place.wake(index));
    // The list is cut to those below, of which there are none, and the bits above remain.
    place.resize(Room {
        slots: 1024,
        tasks: 0,
    });
    assert_eq!(place.fall_asleep(), FellAsleep::InboxNotEmpty);
    assert_eq!(collect(&place).wakes.len(), 100);
    assert_eq!(place.fall_asleep(), FellAsleep::Yes);
}

/// R8. Catches: "asleep" said in spite of mail, or not said without.
#[test]
fn whoever_has_mail_does_not_fall_asleep() {
    let _limit = limit(30);
    let place = let_to_a_tenant(64);
    place.awake();
    place.wake(1);
    assert_eq!(place.fall_asleep(), FellAsleep::InboxNotEmpty);
    collect(&place);
    assert_eq!(place.fall_asleep(), FellAsleep::Yes);
    assert!(place.post(BORN, abort(0, BORN)).is_ok());
    assert_eq!(place.fall_asleep(), FellAsleep::InboxNotEmpty);
}

/// R6: exact names. Catches: `born` not compared; a place that is empty taking commands.
#[test]
fn a_name_of_an_earlier_tenant_finds_nothing() {
    let _limit = limit(30);
    let place = Place::new();
    assert!(
        place.post(BORN, abort(0, BORN)).is_err(),
        "nobody lives here yet"
    );
    place.open(tenant(BORN));
    assert!(
        place.post(BORN - 1, abort(0, BORN - 1)).is_err(),
        "the tenant before"
    );
    assert!(place.post(BORN, abort(0, BORN)).is_ok());
    assert_eq!(
        place
            .close()
            .map(Open::into_commands)
            .map_or(0, |left| left.len()),
        1
    );
    assert!(
        place.post(BORN, abort(0, BORN)).is_err(),
        "that one has left"
    );
    place.wake(0);
    assert!(!place.has_messages() || place.close().is_none());
}

/// R7. Catches: a descriptor number deregistered by a name of the tenant before, which may be
/// another's descriptor by now.
#[test]
fn a_stale_name_deregisters_nothing() {
    let _limit = limit(30);
    let epoll = Arc::new(Epoll::new().unwrap());
    let place = Place::new();
    let eventfd = Arc::new(EventFd::new().unwrap());
    let counters = Arc::new(Counters::default());
    place.open(Open::new(
        BORN,
        Arc::clone(&eventfd),
        Arc::clone(&epoll),
        counters,
    ));
    let fd = eventfd.as_fd().as_raw_fd();
    epoll.add(fd, libc::EPOLLIN as u32, 5).unwrap();

    let mut name = Name::new(0, 0, BORN - 1);
    place.deregister(name, fd);
    assert!(epoll.add(fd, 0, 6).is_err(), "it is still registered");
    assert!(collect(&place).commands.is_empty());

    name.serial = BORN;
    place.deregister(name, fd);
    epoll.add(fd, 0, 6).unwrap();
    assert_eq!(collect(&place).commands.len(), 1);
}

/// Catches: a number that overflows, or finds another's place, at the end of the table. Numbers
/// that nobody ever had are in no chunk, or in one that is there for others' sake, and empty.
#[test]
fn a_place_nobody_had_finds_nothing() {
    let _limit = limit(30);
    for number in [u16::MAX, u16::MAX - 1, 60_000, 40_000] {
        place::wake(number, 0);
        let name = Name::new(number, 0, u64::MAX);
        assert!(place::post(name, abort(number, u64::MAX)).is_err());
        assert!(!place::is_open(name));
        place::deregister(name, -1);
    }
}

/// Catches: two numbers that share a place, a chunk that is too short; an end of the table without
/// an error, and places that do not come back.
#[test]
fn the_table_has_65_534_places_and_then_an_error() {
    let _limit = limit(30);
    const CHILD: &str = "REVEILLE_UNIT_PLACES_CHILD";
    if env::var_os(CHILD).is_none() {
        // Alone in a process: the other tests of this one need a place each.
        let (_, module) = module_path!().split_once("::").unwrap();
        let name = format!("{module}::the_table_has_65_534_places_and_then_an_error");
        let mut child = process::Command::new(env::current_exe().unwrap());
        let output = child
            .args(["--exact", &name])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && printed.contains("1 passed"),
            "{printed}"
        );
        return;
    }
    let mut taken = Vec::new();
    let error = loop {
        match place::allocate() {
            Ok(place) => taken.push(place),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("65,534 runtimes"), "{error}");
    assert_eq!(taken.len(), 65_534);
    let mut addresses: Vec<_> = taken
        .iter()
        .map(|(number, place)| (std::ptr::from_ref(*place), *number))
        .collect();
    for (number, place) in &taken {
        assert!(std::ptr::eq(place::at(*number).unwrap(), *place));
        place::release(*number);
    }
    addresses.sort_unstable();
    addresses.dedup_by_key(|(address, _)| *address);
    assert_eq!(addresses.len(), taken.len());
    assert_eq!(
        place::allocate().unwrap().0,
        taken[0].0,
        "the one that rested longest"
    );
}

/// Fault A22: a counter at 2^64 - 2 takes no more, and gives no edge.
/// Catches: a ring that gives up at EAGAIN, or blocks there.
#[test]
fn a_bell_whose_counter_is_full_is_still_heard() {
    let _limit = limit(30);
    let eventfd = Arc::new(EventFd::new().unwrap());
    let epoll = Epoll::new().unwrap();
    let edge = (libc::EPOLLIN | libc::EPOLLET) as u32;
    epoll.add(eventfd.as_fd().as_raw_fd(), edge, 1).unwrap();
    let mut counter = std::fs::File::from(eventfd.as_fd().try_clone_to_owned().unwrap());
    counter.write_all(&(u64::MAX - 1).to_ne_bytes()).unwrap();
    let mut events = Events::new();
    epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!(
        events.iter().count(),
        1,
        "the edge of the write that filled it"
    );
    epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!(events.iter().count(), 0);

    let elsewhere = Arc::clone(&eventfd);
    thread::spawn(move || elsewhere.notify()).join().unwrap();
    epoll.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!(events.iter().count(), 1);
}
