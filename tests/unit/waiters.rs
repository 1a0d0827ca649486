//! `runtime::io::waiters`, step by step: who waits for one source, whom an event takes, and when those who
//! only polled are too many.

use std::task::Waker;

use proptest::collection::vec;
use proptest::prelude::*;

use super::limit::limit;
use super::roll::Roll;
use crate::io::{Interest, Ready};
use crate::runtime::io::waiters::{Displaced, Progress, Waiter, Waiters};
use crate::runtime::name::slab::WaiterKey;

/// So many that only polled are not yet too many.
const LIMIT: usize = 8;

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;

/// The waiters of one source, and how far the executor would have come.
struct Stand {
    waiters: Waiters,
    roll: Roll,
    polls: u64,
    tasks: usize,
    serial: u64,
}

impl Stand {
    /// Before the first poll, when nobody is judged to be too many.
    fn new() -> Stand {
        Stand {
            waiters: Waiters::new(),
            roll: Roll::new(),
            polls: 0,
            tasks: 10,
            serial: 0,
        }
    }

    /// A waiter that a future owns, and its key.
    fn own(&mut self, number: usize, interest: Interest) -> WaiterKey {
        self.serial += 1;
        let key = WaiterKey(self.serial);
        let displaced = self.add(self.roll.waker(number), key, interest);
        assert!(matches!(displaced, Displaced::Nobody));
        key
    }

    fn poll(&mut self, waker: &Waker, interest: Interest) -> Displaced {
        self.serial += 1;
        self.add(waker.clone(), WaiterKey::POLLED, interest)
    }

    fn add(&mut self, waker: Waker, key: WaiterKey, interest: Interest) -> Displaced {
        let (polls, tasks, serial) = (self.polls, self.tasks, self.serial);
        let waiter = Waiter {
            waker,
            key,
            interest,
        };
        self.waiters
            .add(waiter, || Progress::new(polls, tasks, serial))
    }

    /// One after the other polls; says how many were displaced, and wakes them.
    fn crowd(&mut self, wakers: &[Waker]) -> usize {
        let flushed = wakers.iter().map(|waker| match self.poll(waker, READ) {
            Displaced::Nobody => 0,
            Displaced::Waker(_) => panic!("none of them waits already"),
            Displaced::Flushed(wakers) => {
                let flushed = wakers.len();
                wakers.into_iter().for_each(Waker::wake);
                flushed
            }
        });
        flushed.sum()
    }

    /// All tasks have had their turn, and the poll that went on is over.
    fn round(&mut self) {
        self.polls += self.tasks as u64 + 2;
    }

    /// Whom an event takes.
    fn ready(&mut self, ready: Ready) -> Vec<usize> {
        self.waiters.drain_ready(ready, Waker::wake);
        self.roll.take()
    }

    fn rest(&mut self) -> Vec<usize> {
        self.waiters.drain_all(Waker::wake);
        assert!(self.waiters.is_empty());
        self.roll.take()
    }
}

fn wakers(roll: &Roll, numbers: std::ops::Range<usize>) -> Vec<Waker> {
    numbers.map(|number| roll.waker(number)).collect()
}

/// Fault A11. Catches: one that replaces another; one that an event does not concern and that it takes, or
/// leaves behind one that it does; an order that is not that of their coming.
#[test]
fn an_event_takes_those_it_concerns_in_the_order_in_which_they_came() {
    let _limit = limit(30);
    let mut stand = Stand::new();
    let interests = [READ, WRITE, READ | WRITE, READ, WRITE, Interest::PRIORITY];
    for (number, interest) in interests.into_iter().enumerate() {
        stand.own(number, interest);
    }
    assert_eq!(stand.ready(Ready::EMPTY), []);
    assert_eq!(stand.ready(Ready::ERROR), []);
    assert_eq!(stand.ready(Ready::READABLE), [0, 2, 3]);
    assert_eq!(stand.ready(Ready::READABLE), []);
    // Who comes now is behind those who stayed, though the first place is free.
    stand.own(6, WRITE);
    stand.own(7, READ);
    assert_eq!(stand.ready(Ready::WRITABLE), [1, 4, 6]);
    assert_eq!(stand.rest(), [5, 7]);
    stand.own(8, READ);
    assert_eq!(stand.rest(), [8]);
}

/// Catches: a waiter that is stored once more at each poll of its future, or goes to the end of the line
/// with it; the waker of a task that the future has left.
#[test]
fn a_waiter_of_the_same_key_displaces_itself() {
    let _limit = limit(30);
    let mut stand = Stand::new();
    let keys = [0, 1, 2].map(|number| stand.own(number, READ));
    for (nth, key) in keys.into_iter().enumerate() {
        for times in 1..3 {
            let moved = stand.roll.waker(nth + 10 * times);
            let Displaced::Waker(before) = stand.add(moved, key, READ) else {
                panic!("somebody else");
            };
            assert_eq!(stand.roll.take(), [], "it is for the caller");
            before.wake();
            assert_eq!(stand.roll.take(), [nth + 10 * (times - 1)]);
        }
    }
    assert_eq!(stand.rest(), [20, 21, 22]);
}

/// Fault C13. Catches: a waiter that stays when its future is dropped; one that takes another along.
#[test]
fn who_gave_up_is_not_there_any_more() {
    let _limit = limit(30);
    for gone in 0..3 {
        let mut stand = Stand::new();
        let keys = [0, 1, 2].map(|number| stand.own(number, READ));
        stand.waiters.forget(keys[gone]).unwrap().wake();
        assert_eq!(stand.roll.take(), [gone]);
        assert!(stand.waiters.forget(keys[gone]).is_none());
        let left: Vec<usize> = (0..3).filter(|number| *number != gone).collect();
        assert_eq!(stand.ready(Ready::READABLE), left);
        assert!(keys.iter().all(|key| stand.waiters.forget(*key).is_none()));
        assert!(stand.waiters.is_empty());
    }
}

/// Fault A11. Catches: a `poll_*` method whose waker is stored anew at each call; two tasks, or two
/// directions of one task, of which one replaces the other.
#[test]
fn of_one_task_that_polls_a_waiter_is_kept_once() {
    let _limit = limit(30);
    let mut stand = Stand::new();
    let wakers = wakers(&stand.roll, 0..3);
    for times in 0..100 {
        for waker in &wakers {
            let displaced = stand.poll(waker, READ);
            assert_eq!(matches!(displaced, Displaced::Waker(_)), times > 0);
        }
    }
    for waker in &wakers {
        assert!(matches!(stand.poll(waker, WRITE), Displaced::Nobody));
    }
    assert_eq!(stand.ready(Ready::READABLE), [0, 1, 2]);
    // The event has taken them: the next poll is a new one.
    assert!(matches!(stand.poll(&wakers[1], READ), Displaced::Nobody));
    assert_eq!(stand.rest(), [0, 1, 2, 1]);
}

/// Fault A11. Catches: wakers of tasks that have gone, piled up for ever; a crowd that is flushed sooner, or
/// takes along those that a future owns.
#[test]
fn too_many_that_polled_are_woken_and_forgotten() {
    let _limit = limit(30);
    let mut stand = Stand::new();
    stand.round();
    // Those whom an event takes are not there any more, however many they were.
    for _ in 0..3 {
        let wakers = wakers(&stand.roll, 0..LIMIT);
        assert_eq!(stand.crowd(&wakers), 0);
        assert_eq!(stand.ready(Ready::READABLE).len(), LIMIT);
    }
    stand.own(100, READ);
    let wakers = wakers(&stand.roll, 0..LIMIT + 1);
    assert_eq!(stand.crowd(&wakers[..LIMIT]), 0);
    stand.own(101, READ);
    // One that waits already is none more.
    let same = stand.poll(&wakers[0], READ);
    assert!(matches!(same, Displaced::Waker(_)));
    drop(same);
    assert_eq!(stand.crowd(&wakers[LIMIT..]), LIMIT);
    assert_eq!(stand.roll.take(), (0..LIMIT).collect::<Vec<_>>());
    assert_eq!(stand.rest(), [100, 101, LIMIT]);
}

/// Fault A11. Catches: tasks that all wait and drive each other out for ever, because who came back is
/// counted before all have had their turn.
#[test]
fn a_crowd_is_judged_when_everybody_had_a_turn() {
    let _limit = limit(30);
    let mut stand = Stand::new();
    stand.round();
    let mut wakers = wakers(&stand.roll, 0..LIMIT + 1);
    assert_eq!(stand.crowd(&wakers), LIMIT);
    let newcomers = 10 * LIMIT;
    wakers.truncate(LIMIT);
    assert_eq!(stand.crowd(&wakers), 0, "they come back");
    let more: Vec<Waker> = (0..newcomers).map(|nth| stand.roll.waker(nth)).collect();
    assert_eq!(stand.crowd(&more), 0);
    // The last poll that does not count yet.
    stand.polls += stand.tasks as u64 + 1;
    let last = [stand.roll.waker(200)];
    assert_eq!(stand.crowd(&last), 0);
    stand.polls += 1;
    let late = [stand.roll.waker(201)];
    assert_eq!(stand.crowd(&late), 2 * LIMIT + 2 + newcomers - LIMIT);
}

/// Fault A11. Catches: a limit that does not grow with those who come back, so that they are woken again
/// and again; one that does not shrink when they do not.
#[test]
fn twice_as_many_as_came_back_are_too_many() {
    let _limit = limit(30);
    let mut stand = Stand::new();
    stand.round();
    let first = wakers(&stand.roll, 0..LIMIT + 1);
    assert_eq!(stand.crowd(&first), LIMIT);
    // All of them come back, beside the one for whom they had to go.
    assert_eq!(stand.crowd(&first[..LIMIT]), 0);
    stand.round();
    let others = wakers(&stand.roll, 20..40);
    assert_eq!(
        stand.crowd(&others[..1]),
        LIMIT + 1,
        "judged by the old limit"
    );
    // Eight had come back: sixteen are too many now, of whomever.
    stand.round();
    assert_eq!(stand.crowd(&others[1..2 * LIMIT]), 0);
    assert_eq!(stand.crowd(&others[2 * LIMIT..][..1]), 2 * LIMIT);
    // Of those nobody comes back: the limit is the least again.
    stand.round();
    let strangers = wakers(&stand.roll, 50..80);
    assert_eq!(stand.crowd(&strangers[..2 * LIMIT - 1]), LIMIT);
}

/// What happens to the waiters of a source.
#[derive(Clone, Debug)]
enum Op {
    Own(Interest),
    /// The nth of those that were ever owned polls again, with another waker.
    Again(usize),
    /// The nth of the tasks that only poll.
    Poll(usize, Interest),
    Forget(usize),
    Ready(Ready),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let interest = || {
        prop_oneof![
            Just(READ),
            Just(WRITE),
            Just(READ | WRITE),
            Just(Interest::PRIORITY)
        ]
    };
    let ready = prop_oneof![
        Just(Ready::READABLE),
        Just(Ready::WRITABLE),
        Just(Ready::PRIORITY),
        Just(Ready::READ_CLOSED),
        Just(Ready::ERROR),
    ];
    let op = prop_oneof![
        3 => interest().prop_map(Op::Own),
        1 => any::<usize>().prop_map(Op::Again),
        3 => (0..4usize, interest()).prop_map(|(task, interest)| Op::Poll(task, interest)),
        1 => any::<usize>().prop_map(Op::Forget),
        1 => ready.prop_map(Op::Ready),
    ];
    vec(op, 1..100)
}

/// Whether `ready` ends a wait for `interest`, as the documentation of both says.
fn concerns(ready: Ready, interest: Interest) -> bool {
    interest.is_readable() && ready.is_readable()
        || interest.is_writable() && ready.is_writable()
        || interest.is_priority() && (ready.is_priority() || ready.is_read_closed())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Fault A11. Catches: whatever there is beside the first waiter that does not do what a list would do:
    /// who is found, who is replaced where he stands, who is taken and in which order.
    #[test]
    fn they_are_a_list_in_the_order_of_coming(ops in ops()) {
        let _limit = limit(30);
        let mut stand = Stand::new();
        let tasks = wakers(&stand.roll, 0..4);
        let (mut list, mut owned) = (Vec::<(WaiterKey, usize, Interest)>::new(), Vec::new());
        for (step, op) in ops.into_iter().enumerate() {
            match op {
                Op::Own(interest) => {
                    let key = stand.own(10 + step, interest);
                    list.push((key, 10 + step, interest));
                    owned.push(key);
                }
                Op::Again(nth) if !owned.is_empty() => {
                    let key = owned[nth % owned.len()];
                    if let Some((_, number, interest)) = list.iter_mut().find(|entry| entry.0 == key) {
                        *number = 10 + step;
                        let displaced = stand.add(stand.roll.waker(*number), key, *interest);
                        prop_assert!(matches!(displaced, Displaced::Waker(_)));
                    }
                }
                Op::Poll(task, interest) => {
                    let entry = (WaiterKey::POLLED, task, interest);
                    let is_there = list.contains(&entry);
                    let displaced = stand.poll(&tasks[task], interest);
                    prop_assert_eq!(matches!(displaced, Displaced::Waker(_)), is_there);
                    if !is_there {
                        prop_assert!(matches!(displaced, Displaced::Nobody));
                        list.push(entry);
                    }
                }
                Op::Forget(nth) if !owned.is_empty() => {
                    let key = owned.swap_remove(nth % owned.len());
                    let forgotten = stand.waiters.forget(key).is_some();
                    prop_assert_eq!(forgotten, list.iter().any(|entry| entry.0 == key));
                    list.retain(|entry| entry.0 != key);
                }
                Op::Ready(ready) => {
                    let taken = list.iter().filter(|entry| concerns(ready, entry.2));
                    let expected: Vec<usize> = taken.map(|entry| entry.1).collect();
                    prop_assert_eq!(stand.ready(ready), expected);
                    list.retain(|entry| !concerns(ready, entry.2));
                }
                Op::Again(_) | Op::Forget(_) => {}
            }
            prop_assert_eq!(stand.waiters.is_empty(), list.is_empty());
        }
        let expected: Vec<usize> = list.iter().map(|entry| entry.1).collect();
        prop_assert_eq!(stand.rest(), expected);
    }
}
