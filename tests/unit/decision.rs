//! `runtime::io::decision`: what decides, of all that could.

use std::cell::Cell;

use super::limit::limit;
use crate::runtime::io::decision::{Decision, Facts, Standing, decide};

const STANDINGS: [Standing; 5] = [
    Standing::Elsewhere,
    Standing::Unregistered,
    Standing::Gone,
    Standing::NotReady,
    Standing::Ready,
];

/// Facts that are known beforehand, and how many of them were asked.
#[derive(Clone, Debug)]
struct Known {
    forked: bool,
    outside: bool,
    interrupted: bool,
    budget_left: bool,
    awaitable: bool,
    standing: Standing,
    asked: Cell<usize>,
}

impl Known {
    fn tell<T>(&self, fact: T) -> T {
        self.asked.set(self.asked.get() + 1);
        fact
    }
}

impl Facts for Known {
    fn forked(&self) -> bool {
        self.tell(self.forked)
    }

    fn outside(&self) -> bool {
        self.tell(self.outside)
    }

    fn interrupted(&self) -> bool {
        self.tell(self.interrupted)
    }

    fn budget_left(&self) -> bool {
        self.tell(self.budget_left)
    }

    fn awaitable(&self) -> bool {
        self.tell(self.awaitable)
    }

    fn standing(&self) -> Standing {
        self.tell(self.standing)
    }
}

/// All that can be known.
fn all() -> impl Iterator<Item = Known> {
    STANDINGS.into_iter().flat_map(|standing| {
        (0..32).map(move |bits| Known {
            forked: bits & 1 != 0,
            outside: bits & 16 != 0,
            interrupted: bits & 2 != 0,
            budget_left: bits & 4 != 0,
            awaitable: bits & 8 != 0,
            standing,
            asked: Cell::new(0),
        })
    })
}

/// Those of which this is true.
fn where_it_is(is: impl Fn(&Known) -> bool) -> impl Iterator<Item = Known> {
    all().filter(move |facts| is(facts))
}

/// All others have had their say.
fn nothing_is_in_the_way(facts: &Known) -> bool {
    !facts.forked && !facts.outside && !facts.interrupted && facts.budget_left && facts.awaitable
}

/// What is true of the facts, and what is decided then.
type Row = (fn(&Known) -> bool, Decision);

/// The first row that is true decides; those below it may be true as well.
const TABLE: [Row; 10] = [
    (|facts| facts.forked, Decision::Forked),
    (|facts| facts.outside, Decision::TryElsewhere),
    (|facts| facts.interrupted, Decision::AskAgain),
    (|facts| !facts.budget_left, Decision::GiveWay),
    (|facts| !facts.awaitable, Decision::NeverReported),
    (
        |facts| matches!(facts.standing, Standing::Elsewhere),
        Decision::TryElsewhere,
    ),
    (
        |facts| matches!(facts.standing, Standing::Unregistered),
        Decision::TryUnregistered,
    ),
    (
        |facts| matches!(facts.standing, Standing::Gone),
        Decision::NotAtHome,
    ),
    (
        |facts| matches!(facts.standing, Standing::Ready),
        Decision::Try,
    ),
    (|_| true, Decision::Wait),
];

/// Catches: two obstacles that change places; one that is not asked about, or asked in vain (chaos draws anew
/// each time); a default for what is known.
#[test]
fn the_first_obstacle_decides() {
    let _limit = limit(30);
    let mut decided = TABLE.map(|_| 0);
    for facts in all() {
        let row = TABLE.iter().position(|(is, _)| is(&facts)).unwrap();
        assert_eq!(decide(&facts), TABLE[row].1, "{facts:?}");
        // The last four are one question.
        assert_eq!(facts.asked.get(), (row + 1).min(6), "{facts:?}");
        decided[row] += 1;
    }
    assert_eq!(decided.iter().sum::<usize>(), 160);
    assert!(!decided.contains(&0), "{decided:?}");
}

/// Faults A3, E5. Catches: a child that touches what is its parent's: tries, waits, or spends of a budget.
#[test]
fn in_a_forked_child_nothing_else_matters() {
    let _limit = limit(30);
    for facts in where_it_is(|facts| facts.forked) {
        assert_eq!(decide(&facts), Decision::Forked, "{facts:?}");
    }
}

/// Catches: an operation outside a runtime that is refused for want of a budget, which is the runtime's, or
/// of an event, for which nobody waits there.
#[test]
fn outside_a_runtime_it_is_tried_whatever_the_budget() {
    let _limit = limit(30);
    let outside = |facts: &Known| !facts.forked && facts.outside;
    for facts in where_it_is(outside) {
        assert_eq!(decide(&facts), Decision::TryElsewhere, "{facts:?}");
    }
}

/// Fault B41. Catches: a task that starves the others with what is an error each time, or with tries of what
/// is at home elsewhere.
#[test]
fn a_spent_budget_gives_way_before_an_error_and_before_a_try() {
    let _limit = limit(30);
    let spent = |facts: &Known| !facts.forked && !facts.interrupted && !facts.budget_left;
    for facts in where_it_is(spent) {
        if !facts.outside {
            assert_eq!(decide(&facts), Decision::GiveWay, "{facts:?}");
        }
    }
}

/// Chaos. Catches: an interruption that is taken for a wait, or that is an error.
#[test]
fn who_is_interrupted_asks_again() {
    let _limit = limit(30);
    let interrupted = |facts: &Known| !facts.forked && facts.interrupted;
    for facts in where_it_is(interrupted) {
        if !facts.outside {
            assert_eq!(decide(&facts), Decision::AskAgain, "{facts:?}");
        }
    }
}

/// Catches: an operation that is tried, or waits, although no event could end the wait; one that is an error
/// in one place and waits in another.
#[test]
fn what_no_event_could_end_is_an_error_before_it_is_tried() {
    let _limit = limit(30);
    let never = |facts: &Known| {
        !facts.forked && !facts.interrupted && facts.budget_left && !facts.awaitable
    };
    for facts in where_it_is(never) {
        let expected = match facts.outside {
            true => Decision::TryElsewhere,
            false => Decision::NeverReported,
        };
        assert_eq!(decide(&facts), expected, "{facts:?}");
    }
}

/// R4. Catches: a wait for what is ready; a try of what is known not to be; a wait at a source that has
/// gone, which nobody would end.
#[test]
fn at_home_readiness_decides_when_nothing_is_in_the_way() {
    let _limit = limit(30);
    let at_home = |standing| {
        where_it_is(|facts| facts.standing == standing && nothing_is_in_the_way(facts))
            .map(|facts| decide(&facts))
            .collect::<Vec<_>>()
    };
    assert_eq!(at_home(Standing::Ready), [Decision::Try]);
    assert_eq!(at_home(Standing::NotReady), [Decision::Wait]);
    assert_eq!(at_home(Standing::Gone), [Decision::NotAtHome]);
    // Nobody else waits, and nobody else tries as one who is at home.
    for facts in all() {
        if matches!(decide(&facts), Decision::Try | Decision::Wait) {
            assert!(nothing_is_in_the_way(&facts), "{facts:?}");
            assert!(
                matches!(facts.standing, Standing::Ready | Standing::NotReady),
                "{facts:?}"
            );
        }
    }
}
