//! `runtime::task::executor`, step by step: who is in the queue, and what a pop and a run do. There is no
//! runtime, no epoll, and nobody else who pops.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::task::{Poll, Waker};

use super::limit::limit;
use super::roll::Roll;
use crate::runtime::chaos::Chaos;
use crate::runtime::metrics::Counters;
use crate::runtime::name::place::{Messages, Open, Place};
use crate::runtime::name::slab::{Name, Serials};
use crate::runtime::name::waker::{self, Hint};
use crate::runtime::observe::TaskSpan;
use crate::runtime::sys::{Epoll, EventFd};
use crate::runtime::task::executor::{Executor, Next};

/// So many runtimes never live at once: a waker that goes the way of those from elsewhere finds nobody.
const PLACE: u16 = 60_000;

/// An executor, and what its runtime would bring along.
pub(super) struct Stand {
    pub(super) executor: Rc<Executor>,
    serials: Serials,
    chaos: Chaos,
    /// The numbers of tasks, once for each poll.
    polled: Rc<RefCell<Vec<usize>>>,
}

/// What a step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Idle,
    Main,
    Ran,
    Cleared,
}

impl Stand {
    /// With an inbox that nobody has opened.
    pub(super) fn new() -> Stand {
        static INBOX: LazyLock<Place> = LazyLock::new(Place::new);
        Stand::with(&INBOX, None)
    }

    fn with(inbox: &'static Place, seed: Option<u64>) -> Stand {
        Stand {
            executor: Rc::new(Executor::new(PLACE, inbox, Arc::new(Counters::default()))),
            serials: Serials::new(),
            chaos: Chaos::new(seed),
            polled: Rc::default(),
        }
    }

    pub(super) fn adopt<F: Future + 'static>(&self, future: F) -> Name {
        self.executor
            .spawn(self.serials.next(), future, TaskSpan::NONE)
    }

    /// A task that writes its number down at each poll, and is never done.
    fn adopt_waiting(&self, number: usize) -> Name {
        let polled = Rc::clone(&self.polled);
        self.adopt(poll_fn(move |_| {
            polled.borrow_mut().push(number);
            Poll::<()>::Pending
        }))
    }

    /// A task that wakes itself at its only poll, and is done with this.
    pub(super) fn adopt_done_and_queued<T: Unpin + 'static>(&self, output: T) -> Name {
        let executor = Rc::downgrade(&self.executor);
        let mut output = Some(output);
        self.adopt(poll_fn(move |cx| {
            let executor = executor.upgrade().unwrap();
            executor.wake(Hint::of(cx.waker()).unwrap());
            Poll::Ready(output.take().unwrap())
        }))
    }

    /// The numbers that were written down since the last call.
    fn polled(&self) -> Vec<usize> {
        self.polled.take()
    }

    pub(super) fn wake(&self, name: Name) {
        self.executor.wake(hint(name));
    }

    /// Pops, and runs what there is to run.
    pub(super) fn step(&self) -> Step {
        match self.executor.pop(&self.chaos) {
            Next::Idle => Step::Idle,
            Next::Main => Step::Main,
            Next::Cleared => Step::Cleared,
            Next::Run(popped) => {
                self.executor.run(popped);
                Step::Ran
            }
        }
    }

    /// Steps until nothing is queued, and says how many steps that were.
    pub(super) fn settle(&self) -> usize {
        let mut steps = 0;
        while self.step() != Step::Idle {
            steps += 1;
        }
        steps
    }

    /// How many tasks live, and how many are queued.
    #[track_caller]
    pub(super) fn expect(&self, tasks: usize, queued: usize) {
        let found = (self.executor.tasks(), self.executor.queued());
        assert_eq!(found, (tasks, queued), "tasks, and those that are queued");
    }
}

fn hint(name: Name) -> Hint {
    Hint::new(name.place(), name.index(), name.serial)
}

/// Counts up when it is dropped.
pub(super) struct Falls(pub(super) Rc<Cell<usize>>);

impl Drop for Falls {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Catches: the last in, or the next in the slab, that is the first out; a task that is not queued at its
/// birth, or still queued after its poll.
#[test]
fn who_was_queued_first_is_polled_first() {
    let _limit = limit(30);
    let stand = Stand::new();
    let names = [0, 1, 2, 3].map(|number| stand.adopt_waiting(number));
    stand.expect(4, 4);
    assert_eq!(stand.settle(), 4);
    assert_eq!(stand.polled(), [0, 1, 2, 3]);
    stand.expect(4, 0);
    for number in [2, 0, 3] {
        stand.wake(names[number]);
    }
    assert_eq!(stand.settle(), 3);
    assert_eq!(stand.polled(), [2, 0, 3]);
}

/// R1. Catches: a wake, by whichever of the ways there are, that queues a task once more.
#[test]
fn a_thousand_wakes_queue_a_task_once() {
    let _limit = limit(30);
    let stand = Stand::new();
    let name = stand.adopt_waiting(7);
    let by_hint = |_| stand.wake(name);
    let by_index = |_| stand.executor.wake_occupant(name.index());
    let by_waker = |_| {
        let left = stand.executor.wake_ours(waker::waker(hint(name)));
        assert!(left.is_none(), "it is one of ours");
    };
    let by_abort_of_another = |_| {
        let stale = Name::new(PLACE, name.index(), name.serial + 1);
        stand.executor.abort(stale);
    };
    // At its birth it is queued already.
    for _ in 0..3 {
        (0..1000).for_each(by_hint);
        (0..1000).for_each(by_index);
        (0..1000).for_each(by_waker);
        (0..1000).for_each(by_abort_of_another);
        stand.expect(1, 1);
        assert_eq!(stand.settle(), 1);
        assert_eq!(stand.polled(), [7]);
        (0..1000).for_each(by_abort_of_another);
        stand.expect(1, 0);
    }
}

/// R2. Catches: `queued` cleared after the poll, so that a wake in its middle is taken for one that is
/// queued already, and lost.
#[test]
fn a_wake_in_the_middle_of_its_poll_queues_a_task_again() {
    let _limit = limit(30);
    let stand = Stand::new();
    let executor = Rc::downgrade(&stand.executor);
    let (polls, counted) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (count, seen) = (Rc::clone(&polls), Rc::clone(&counted));
    stand.adopt(poll_fn(move |cx| {
        count.set(count.get() + 1);
        let executor = executor.upgrade().unwrap();
        seen.set(seen.get() + executor.queued());
        if count.get() < 5 {
            let hint = Hint::of(cx.waker()).unwrap();
            (0..1000).for_each(|_| executor.wake(hint));
        }
        Poll::<()>::Pending
    }));
    for _ in 0..4 {
        assert_eq!(stand.step(), Step::Ran);
        stand.expect(1, 1);
    }
    assert_eq!(stand.step(), Step::Ran);
    assert_eq!(stand.step(), Step::Idle);
    assert_eq!(polls.get(), 5);
    assert_eq!(counted.get(), 0, "who is polled is not queued");
}

/// R6. Catches: the serial in a hint that is not compared, or an index that is looked for beyond the slab.
/// By its index alone whoever lives there now is woken, which is what a wake from elsewhere does.
#[test]
fn a_hint_that_went_stale_wakes_nobody() {
    let _limit = limit(30);
    let stand = Stand::new();
    let gone = stand.adopt(ready(()));
    stand.executor.detach(gone);
    assert_eq!(stand.settle(), 1);
    let tenant = stand.adopt_waiting(1);
    assert_eq!(tenant.index(), gone.index(), "the slot is used again");
    stand.settle();
    stand.wake(gone);
    stand.wake(Name::new(PLACE, 1000, tenant.serial));
    stand.executor.wake_occupant(1000);
    stand.expect(1, 0);
    stand.executor.wake_occupant(gone.index());
    stand.expect(1, 1);
    stand.settle();
    // Twenty bits of the serial are compared, and no more are there.
    stand.wake(Name::new(PLACE, tenant.index(), tenant.serial + (1 << 20)));
    stand.expect(1, 1);
}

/// R5. Catches: another runtime's waker, or anybody's, that is woken here as if it were a name of a task in
/// this slab; one of ours that is given back.
#[test]
fn a_waker_that_is_not_ours_is_given_back() {
    let _limit = limit(30);
    let stand = Stand::new();
    let name = stand.adopt_waiting(1);
    stand.settle();
    let roll = Roll::new();
    let other = stand.executor.wake_ours(roll.waker(3));
    assert!(roll.take().is_empty(), "it is for the caller to wake it");
    other.unwrap().wake();
    assert_eq!(roll.take(), [3]);
    let neighbour = Hint::new(PLACE + 1, name.index(), name.serial);
    let given_back = stand.executor.wake_ours(waker::waker(neighbour));
    assert_eq!(Hint::of(&given_back.unwrap()), Some(neighbour));
    stand.expect(1, 0);
    assert!(stand.executor.wake_ours(waker::waker(hint(name))).is_none());
    stand.expect(1, 1);
}

/// Fault B3. Catches: an abort that queues nothing; one that drops the future on the spot, perhaps from
/// inside its own poll; a poll of an aborted task; an outcome other than "cancelled".
#[test]
fn an_aborted_task_is_dropped_by_its_turn_and_not_polled() {
    let _limit = limit(30);
    let stand = Stand::new();
    let drops = Rc::new(Cell::new(0));
    let (falls, polls) = (Falls(Rc::clone(&drops)), Rc::new(Cell::new(0)));
    let count = Rc::clone(&polls);
    let name = stand.adopt(poll_fn(move |_| {
        let _kept = &falls;
        count.set(count.get() + 1);
        Poll::<()>::Pending
    }));
    stand.settle();
    (0..1000).for_each(|_| stand.executor.abort(name));
    stand.expect(1, 1);
    assert_eq!(drops.get(), 0, "an abort runs no destructor");
    assert_eq!(stand.step(), Step::Ran);
    assert_eq!((polls.get(), drops.get()), (1, 1));
    // It is done now: neither a wake nor an abort queues it, and the outcome waits for its handle.
    stand.executor.abort(name);
    stand.wake(name);
    stand.expect(1, 0);
    let mut outcome: Option<Result<(), crate::task::JoinError>> = None;
    let cx = std::task::Context::from_waker(Waker::noop());
    assert!(stand.executor.poll_join(name, &cx, &mut outcome).is_ready());
    assert!(outcome.unwrap().unwrap_err().is_cancelled());
    stand.expect(0, 0);
}

/// Fault B3. Catches: an abort during the poll that is lost with it, or takes an output that was there
/// before it.
#[test]
fn an_abort_in_the_middle_of_its_poll_takes_the_task_at_its_next_turn() {
    let _limit = limit(30);
    for is_done in [false, true] {
        let stand = Stand::new();
        let executor = Rc::downgrade(&stand.executor);
        let own = Rc::new(Cell::new(None));
        let mine = Rc::clone(&own);
        let name = stand.adopt(poll_fn(move |_| {
            executor.upgrade().unwrap().abort(mine.get().unwrap());
            if is_done {
                Poll::Ready("done")
            } else {
                Poll::Pending
            }
        }));
        own.set(Some(name));
        assert_eq!(stand.step(), Step::Ran);
        stand.expect(1, 1);
        assert_eq!(stand.executor.is_finished(name), is_done);
        let step = if is_done { Step::Cleared } else { Step::Ran };
        assert_eq!(stand.step(), step);
        let mut outcome: Option<Result<&str, crate::task::JoinError>> = None;
        stand.executor.take_output(name, &mut outcome);
        match outcome.unwrap() {
            Ok(output) => assert!(is_done && output == "done"),
            Err(error) => assert!(!is_done && error.is_cancelled()),
        }
        stand.expect(0, 0);
    }
}

/// Catches: a task without a handle that keeps its slot when it is done, or is cleared away before; one
/// with a handle that does not wait for it; a wake that queues what is done.
#[test]
fn a_task_that_is_done_leaves_unless_its_handle_may_ask() {
    let _limit = limit(30);
    let stand = Stand::new();
    let drops = Rc::new(Cell::new(0));
    let detached = stand.adopt(ready(Falls(Rc::clone(&drops))));
    stand.executor.detach(detached);
    let held = stand.adopt(ready(Falls(Rc::clone(&drops))));
    stand.expect(2, 2);
    assert_eq!(stand.step(), Step::Ran);
    assert_eq!(drops.get(), 1);
    stand.expect(1, 1);
    assert_eq!(stand.step(), Step::Ran);
    stand.expect(1, 0);
    stand.wake(held);
    stand.executor.wake_occupant(held.index());
    stand.expect(1, 0);
    assert_eq!(drops.get(), 1);
}

/// R1. Catches: a main future that jumps the queue, or stays in it; a slot that is freed under its entry.
#[test]
fn the_main_future_is_one_slot_among_the_others() {
    let _limit = limit(30);
    let stand = Stand::new();
    stand.adopt_waiting(1);
    let main = stand.executor.insert_main(stand.serials.next());
    stand.adopt_waiting(2);
    let steps = [(); 4].map(|()| stand.step());
    assert_eq!(steps, [Step::Ran, Step::Main, Step::Ran, Step::Idle]);
    // It is polled by who has it, and its waker is as good as another's.
    let mut taken = None;
    let mut future = pin!(poll_fn(|cx| {
        taken = Hint::of(cx.waker());
        Poll::<()>::Pending
    }));
    assert!(stand.executor.poll_main(main, future.as_mut()).is_pending());
    stand.executor.wake(taken.unwrap());
    stand.expect(3, 1);
    // Queued, it is cleared away by its pop; otherwise it goes at once.
    stand.executor.remove_main(main);
    stand.expect(3, 1);
    assert_eq!(stand.step(), Step::Cleared);
    stand.expect(2, 0);
    let main = stand.executor.insert_main(stand.serials.next());
    assert_eq!(stand.step(), Step::Main);
    stand.executor.remove_main(main);
    stand.expect(2, 0);
}

/// Chaos. Catches: a queue that is first in, first out in spite of a seed; choices that are not the seed's
/// alone; a task that is left out or polled twice.
#[test]
fn a_seed_has_the_tasks_polled_in_an_order_of_its_own() {
    let _limit = limit(30);
    static INBOX: LazyLock<Place> = LazyLock::new(Place::new);
    let in_order: Vec<usize> = (0..50).collect();
    let order = |seed| {
        let stand = Stand::with(&INBOX, seed);
        for &number in &in_order {
            stand.adopt_waiting(number);
        }
        assert_eq!(stand.settle(), in_order.len());
        let order = stand.polled();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, in_order, "each of them once");
        order
    };
    assert_eq!(order(None), in_order);
    assert_ne!(order(Some(1)), in_order);
    assert_eq!(order(Some(1)), order(Some(1)));
    assert_ne!(order(Some(1)), order(Some(2)));
}

/// Chaos. Catches: spurious wakes that never come, come without a seed, concern one slot only, or queue
/// what is done or queued already.
#[test]
fn under_a_seed_tasks_are_woken_for_nothing_now_and_then() {
    let _limit = limit(30);
    let stand = Stand::new();
    for number in 0..4 {
        stand.adopt_waiting(number);
    }
    stand.adopt(ready(()));
    stand.settle();
    stand.polled();
    for _ in 0..1000 {
        stand.executor.wake_for_nothing(&stand.chaos);
    }
    stand.expect(5, 0);
    let chaos = Chaos::new(Some(1));
    for _ in 0..1000 {
        stand.executor.wake_for_nothing(&chaos);
    }
    stand.expect(5, 4);
    stand.settle();
    stand.executor.wake_for_nothing(&Chaos::new(None));
    let mut woken = stand.polled();
    woken.sort_unstable();
    assert_eq!(woken, [0, 1, 2, 3]);
}

/// Slots whose wake the inbox takes, if they are at most 16,384. It is empty then.
fn slots_with_room(inbox: &Place) -> usize {
    let words = || (0..16_384).step_by(64);
    words().for_each(|index| inbox.wake(index));
    64 * collect(inbox).len()
}

fn collect(inbox: &Place) -> Vec<u32> {
    let mut messages = Messages::default();
    inbox.collect(&mut messages);
    messages.wakes
}

/// R1, fault B33. Catches: an inbox whose room does not follow the tasks: wakes from elsewhere that are
/// dropped, or have to be looked for one by one; room that a burst has left for good.
#[test]
fn the_inbox_has_room_for_the_tasks_there_are() {
    let _limit = limit(30);
    static INBOX: LazyLock<Place> = LazyLock::new(Place::new);
    let (eventfd, epoll) = (EventFd::new().unwrap(), Epoll::new().unwrap());
    let counters = Arc::new(Counters::default());
    INBOX.open(Open::new(1, Arc::new(eventfd), Arc::new(epoll), counters));
    assert_eq!(slots_with_room(&INBOX), 0);

    let stand = Stand::with(&INBOX, None);
    let adopt = || stand.adopt(pending::<()>());
    let mut names = vec![adopt()];
    assert_eq!(slots_with_room(&INBOX), 64);
    names.extend((1..64).map(|_| adopt()));
    assert_eq!(slots_with_room(&INBOX), 64);
    names.push(adopt());
    assert_eq!(slots_with_room(&INBOX), 128);
    names.extend((65..5000).map(|_| adopt()));
    assert_eq!(slots_with_room(&INBOX), 8192);

    // Those beyond the first slots are given back when nobody lives there, and the room with them.
    let end = |name: Name| {
        stand.executor.abort(name);
        stand.executor.detach(name);
    };
    names.drain(100..).for_each(end);
    stand.settle();
    stand.expect(100, 0);
    stand.executor.trim();
    assert_eq!(slots_with_room(&INBOX), 2048);
    // Each of those that live has room in the list, which keeps the order in which they were woken.
    names.extend((100..700).map(|_| adopt()));
    let woken: Vec<u32> = names.iter().rev().map(|name| name.index()).collect();
    woken.iter().for_each(|&index| INBOX.wake(index));
    assert_eq!(collect(&INBOX), woken);
    drop(INBOX.close());
}
