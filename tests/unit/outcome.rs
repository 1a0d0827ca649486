//! `runtime::task::outcome`, step by step: when a joiner hears of the end, and when a slot is free again.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn, ready};
use std::panic::panic_any;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::executor::{Falls, Stand, Step};
use super::limit::limit;
use super::roll::Roll;
use super::user_code::{Act, foreign};
use crate::runtime::name::slab::Name;
use crate::runtime::name::waker::{self, Hint};
use crate::task::JoinError;

type Outcome<T> = Option<Result<T, JoinError>>;

impl Stand {
    /// Polls the handle of the task `name`, as `waker`'s task.
    fn join<T: 'static>(&self, name: Name, waker: &Waker, into: &mut Outcome<T>) -> Poll<()> {
        self.executor
            .poll_join(name, &Context::from_waker(waker), into)
    }

    /// A task that is done at the poll after `open` was set.
    fn adopt_gated(&self, open: &Rc<Cell<bool>>) -> Name {
        let open = Rc::clone(open);
        self.adopt(poll_fn(move |_| match open.get() {
            true => Poll::Ready(5),
            false => Poll::Pending,
        }))
    }
}

/// Catches: a joiner who is not woken at the end, or before it; an output that is taken with a poll that
/// was not ready, or that is taken twice.
#[test]
fn a_joiner_is_woken_at_the_end_and_takes_the_output() {
    let _limit = limit(30);
    let (stand, roll, open) = (Stand::new(), Roll::new(), Rc::default());
    let name = stand.adopt_gated(&open);
    let mut outcome: Outcome<i32> = None;
    let joiner = roll.waker(1);
    assert!(stand.join(name, &joiner, &mut outcome).is_pending());
    stand.settle();
    assert!(!stand.executor.is_finished(name));
    assert!(stand.join(name, &joiner, &mut outcome).is_pending());
    assert!(roll.take().is_empty() && outcome.is_none());
    open.set(true);
    stand.wake(name);
    stand.settle();
    assert_eq!(roll.take(), [1]);
    assert!(stand.executor.is_finished(name));
    assert!(stand.join(name, &joiner, &mut outcome).is_ready());
    assert_eq!(outcome.take().unwrap().unwrap(), 5);
    stand.expect(0, 0);
    assert!(stand.executor.is_finished(name), "what has gone is done");
    assert!(stand.join(name, &joiner, &mut outcome).is_ready());
    assert!(outcome.is_none() && roll.take().is_empty());
}

/// Catches: a joiner that is a task of this executor and has to be woken by the way for others, which
/// here leads nowhere.
#[test]
fn a_joiner_that_is_a_task_of_ours_is_queued_at_the_end() {
    let _limit = limit(30);
    let (stand, open) = (Stand::new(), Rc::default());
    let joining = stand.adopt(pending::<()>());
    let name = stand.adopt_gated(&open);
    stand.settle();
    let ours = Hint::new(joining.place(), joining.index(), joining.serial);
    let mut outcome: Outcome<i32> = None;
    assert!(
        stand
            .join(name, &waker::waker(ours), &mut outcome)
            .is_pending()
    );
    open.set(true);
    stand.wake(name);
    assert_eq!(stand.step(), Step::Ran);
    stand.expect(2, 1);
}

/// Fault A12. Catches: a handle that moved to another task, while the first one is woken.
#[test]
fn the_joiner_who_polled_last_is_woken() {
    let _limit = limit(30);
    let (stand, roll) = (Stand::new(), Roll::new());
    let name = stand.adopt(ready(5));
    let mut outcome: Outcome<i32> = None;
    for number in 0..3 {
        let polled = stand.join(name, &roll.waker(number), &mut outcome);
        assert!(polled.is_pending());
    }
    assert_eq!(stand.step(), Step::Ran);
    assert_eq!(roll.take(), [2]);
}

/// R6. Catches: a name that went stale and finds who lives in the slot now: its output is given to
/// somebody else's handle, or it is detached, or it is waited for.
#[test]
fn a_stale_name_is_ready_and_leaves_what_it_was_given_untouched() {
    let _limit = limit(30);
    let (stand, roll) = (Stand::new(), Roll::new());
    let gone = stand.adopt(ready(1));
    stand.settle();
    stand
        .executor
        .take_output(gone, &mut (None as Outcome<i32>));
    let tenant = stand.adopt(ready(2));
    assert_eq!(tenant.index(), gone.index());
    for _ in 0..2 {
        // Before the end of the tenant, and after it.
        let mut outcome = Some(Ok(77));
        assert!(stand.join(gone, &roll.waker(1), &mut outcome).is_ready());
        stand.executor.take_output(gone, &mut outcome);
        stand.executor.detach(gone);
        assert!(stand.executor.is_finished(gone));
        assert_eq!(outcome.unwrap().unwrap(), 77);
        stand.settle();
        stand.expect(1, 0);
    }
    assert!(roll.take().is_empty());
    let mut outcome: Outcome<i32> = None;
    stand.executor.take_output(tenant, &mut outcome);
    assert_eq!(outcome.unwrap().unwrap(), 2);
}

/// R5. Catches: an output that is dropped in the middle of whoever drops the handle, or that waits for a
/// pop which never comes.
#[test]
fn detached_after_its_end_a_task_is_cleared_away_by_a_pop() {
    let _limit = limit(30);
    let stand = Stand::new();
    let drops = Rc::new(Cell::new(0));
    let name = stand.adopt(ready(Falls(Rc::clone(&drops))));
    stand.settle();
    stand.expect(1, 0);
    stand.executor.detach(name);
    stand.executor.detach(name);
    stand.expect(1, 1);
    assert_eq!(drops.get(), 0, "not in the middle of a drop of the handle");
    assert_eq!(stand.step(), Step::Cleared);
    assert_eq!(drops.get(), 1);
    stand.expect(0, 0);
}

/// Catches: a joiner that is woken although it let go; an end that leaves the slot occupied.
#[test]
fn detached_before_its_end_a_task_takes_its_slot_along() {
    let _limit = limit(30);
    let (stand, roll, open) = (Stand::new(), Roll::new(), Rc::default());
    let name = stand.adopt_gated(&open);
    stand.settle();
    let mut outcome: Outcome<i32> = None;
    assert!(stand.join(name, &roll.waker(1), &mut outcome).is_pending());
    stand.executor.detach(name);
    stand.expect(1, 0);
    open.set(true);
    stand.wake(name);
    assert_eq!(stand.step(), Step::Ran);
    stand.expect(0, 0);
    assert!(roll.take().is_empty(), "nobody waits for it");
}

/// R1. Catches: a slot that is freed while it is in the queue, and given to another, for whom its entry in
/// the queue stands then; one that nobody frees.
#[test]
fn a_slot_that_is_queued_is_freed_by_its_pop_only() {
    let _limit = limit(30);
    // How the outcome goes: by the handle, or with it, before the end or after it.
    for way in ["taken", "detached before", "detached after"] {
        let stand = Stand::new();
        let drops = Rc::new(Cell::new(0));
        let name = stand.adopt_done_and_queued(Falls(Rc::clone(&drops)));
        if way == "detached before" {
            stand.executor.detach(name);
        }
        assert_eq!(stand.step(), Step::Ran);
        stand.expect(1, 1);
        let mut outcome: Outcome<Falls> = None;
        match way {
            "taken" => {
                assert!(stand.join(name, Waker::noop(), &mut outcome).is_ready());
                assert!(outcome.is_some());
            }
            "detached after" => stand.executor.detach(name),
            _ => {}
        }
        stand.expect(1, 1);
        assert_eq!(drops.get(), 0, "{way}");
        let newcomer = stand.adopt(pending::<()>());
        assert_ne!(newcomer.index(), name.index(), "{way}");
        assert_eq!(stand.step(), Step::Cleared, "{way}");
        stand.expect(1, 1);
        assert_eq!(stand.step(), Step::Ran, "{way}");
        drop(outcome);
        assert_eq!(drops.get(), 1, "{way}");
        let newcomer = stand.adopt(pending::<()>());
        assert_eq!(newcomer.index(), name.index(), "{way}");
    }
}

/// R1. Catches: a queued slot that its pop frees although the output is still to be asked for.
#[test]
fn an_output_survives_the_pop_of_its_slot() {
    let _limit = limit(30);
    let stand = Stand::new();
    let name = stand.adopt_done_and_queued(5);
    assert_eq!(stand.step(), Step::Ran);
    assert_eq!(stand.step(), Step::Cleared);
    stand.expect(1, 0);
    let mut outcome: Outcome<i32> = None;
    assert!(stand.join(name, Waker::noop(), &mut outcome).is_ready());
    assert_eq!(outcome.unwrap().unwrap(), 5);
    stand.expect(0, 0);
}

/// Fault B11. Catches: a panic that nobody hears of, for there is no handle any more; one that is reported
/// although the handle takes it, or may yet do so.
#[test]
fn a_panic_is_unhandled_once_no_handle_can_take_it() {
    let _limit = limit(30);
    let panicking = || poll_fn(|_| -> Poll<()> { panic_any(17_u8) });
    let unhandled = |stand: &Stand| stand.executor.unhandled_panic.get();

    let stand = Stand::new();
    let taken = stand.adopt(panicking());
    stand.settle();
    assert!(!unhandled(&stand), "the handle may still take it");
    let mut outcome: Outcome<()> = None;
    assert!(stand.join(taken, Waker::noop(), &mut outcome).is_ready());
    let payload = outcome.unwrap().unwrap_err().into_panic();
    assert_eq!(payload.downcast_ref(), Some(&17_u8));
    stand.settle();
    assert!(!unhandled(&stand));

    let stand = Stand::new();
    let before = stand.adopt(panicking());
    stand.executor.detach(before);
    assert!(!unhandled(&stand));
    stand.settle();
    assert!(unhandled(&stand));

    let stand = Stand::new();
    let after = stand.adopt(panicking());
    stand.settle();
    stand.executor.detach(after);
    assert!(!unhandled(&stand), "it comes to light with the pop");
    stand.settle();
    assert!(unhandled(&stand));

    // What ends without an output and without a panic is no matter of a report.
    let stand = Stand::new();
    let aborted = stand.adopt(pending::<()>());
    stand.executor.abort(aborted);
    stand.executor.detach(aborted);
    stand.settle();
    stand.expect(0, 0);
    assert!(!unhandled(&stand));
}

/// Panics when it is dropped.
struct Bang;

impl Drop for Bang {
    fn drop(&mut self) {
        panic_any(());
    }
}

/// R5, fault B12. Catches: the panic of an output's drop that leaves the executor half done, or passes for
/// the task's own.
#[test]
fn an_output_that_panics_when_it_is_dropped_harms_nobody() {
    let _limit = limit(30);
    let stand = Stand::new();
    let name = stand.adopt(ready(Bang));
    stand.executor.detach(name);
    let next = stand.adopt(ready(5));
    assert_eq!(stand.settle(), 2);
    stand.expect(1, 0);
    assert!(!stand.executor.unhandled_panic.get());
    assert!(stand.executor.is_finished(next));
}

/// R5, fault B17. Catches: a joiner whose waker is stored for an end that came while it was cloned, and who
/// waits for ever; a clone under the borrow.
#[test]
fn a_task_that_ends_while_the_joiners_waker_is_cloned_is_ready() {
    let _limit = limit(30);
    let stand = Rc::new(Stand::new());
    let name = stand.adopt(ready(5));
    let mut outcome: Outcome<i32> = None;
    let acts = Rc::new(RefCell::new(Vec::new()));
    let (inner, noted) = (Rc::downgrade(&stand), Rc::clone(&acts));
    let joiner = foreign(move |act| {
        noted.borrow_mut().push(act);
        if act == Act::Clone {
            assert_eq!(inner.upgrade().unwrap().settle(), 1);
        }
    });
    assert!(stand.join(name, &joiner, &mut outcome).is_ready());
    assert_eq!(outcome.unwrap().unwrap(), 5);
    stand.expect(0, 0);
    drop(joiner);
    assert_eq!(*acts.borrow(), [Act::Clone, Act::Drop, Act::Drop]);
}

/// R5. Catches: the waker of a joiner that is cloned at each poll, or is dropped under the borrow, where its
/// drop may ask for anything.
#[test]
fn a_waker_that_comes_again_is_not_cloned_and_one_that_goes_may_do_anything() {
    let _limit = limit(30);
    let stand = Rc::new(Stand::new());
    let name = stand.adopt(pending::<()>());
    let acts = Rc::new(RefCell::new(Vec::new()));
    let (inner, noted) = (Rc::downgrade(&stand), Rc::clone(&acts));
    let joiner = foreign(move |act| {
        noted.borrow_mut().push(act);
        if let (Act::Drop, Some(stand)) = (act, inner.upgrade()) {
            stand.wake(name);
        }
    });
    let mut outcome: Outcome<()> = None;
    for _ in 0..3 {
        assert!(stand.join(name, &joiner, &mut outcome).is_pending());
    }
    assert_eq!(acts.take(), [Act::Clone]);
    // Another takes its place.
    assert!(stand.join(name, Waker::noop(), &mut outcome).is_pending());
    assert_eq!(acts.take(), [Act::Drop]);
    assert!(stand.join(name, &joiner, &mut outcome).is_pending());
    stand.executor.detach(name);
    assert_eq!(acts.take(), [Act::Clone, Act::Drop]);
}
