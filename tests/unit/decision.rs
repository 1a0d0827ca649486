//! `runtime::io::decision`: what decides, of all that could.

use super::limit::limit;
use crate::runtime::io::decision::{Decision, Facts, Standing, decide};

const STANDINGS: [Standing; 6] = [
    Standing::Outside,
    Standing::Elsewhere,
    Standing::Unregistered,
    Standing::Home { ready: None },
    Standing::Home { ready: Some(false) },
    Standing::Home { ready: Some(true) },
];

/// All that can be known.
fn all() -> impl Iterator<Item = Facts> {
    STANDINGS.into_iter().flat_map(|standing| {
        (0..16).map(move |bits| Facts {
            forked: bits & 1 != 0,
            standing,
            interrupted: bits & 2 != 0,
            budget_left: bits & 4 != 0,
            awaitable: bits & 8 != 0,
        })
    })
}

/// Those of which this is true.
fn where_it_is(is: impl Fn(&Facts) -> bool) -> impl Iterator<Item = Facts> {
    all().filter(move |facts| is(facts))
}

/// All others have had their say.
fn nothing_is_in_the_way(facts: &Facts) -> bool {
    !facts.forked && !facts.interrupted && facts.budget_left && facts.awaitable
}

/// What is true of the facts, and what is decided then.
type Row = (fn(&Facts) -> bool, Decision);

/// The first row that is true decides; those below it may be true as well.
const TABLE: [Row; 10] = [
    (|facts| facts.forked, Decision::Forked),
    (
        |facts| matches!(facts.standing, Standing::Outside),
        Decision::TryElsewhere,
    ),
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
        |facts| matches!(facts.standing, Standing::Home { ready: None }),
        Decision::NotAtHome,
    ),
    (
        |facts| matches!(facts.standing, Standing::Home { ready: Some(true) }),
        Decision::Try,
    ),
    (|_| true, Decision::Wait),
];

/// Catches: two obstacles that change places; one that is not asked about; a default for what is known.
#[test]
fn the_first_obstacle_decides() {
    let _limit = limit(30);
    let mut decided = TABLE.map(|_| 0);
    for facts in all() {
        let row = TABLE.iter().position(|(is, _)| is(&facts)).unwrap();
        assert_eq!(decide(facts), TABLE[row].1, "{facts:?}");
        decided[row] += 1;
    }
    assert_eq!(decided.iter().sum::<usize>(), 96);
    assert!(!decided.contains(&0), "{decided:?}");
}

/// Faults A3, E5. Catches: a child that touches what is its parent's: tries, waits, or spends of a budget.
#[test]
fn in_a_forked_child_nothing_else_matters() {
    let _limit = limit(30);
    for facts in where_it_is(|facts| facts.forked) {
        assert_eq!(decide(facts), Decision::Forked, "{facts:?}");
    }
}

/// Catches: an operation outside a runtime that is refused for want of a budget, which is the runtime's, or
/// of an event, for which nobody waits there.
#[test]
fn outside_a_runtime_it_is_tried_whatever_the_budget() {
    let _limit = limit(30);
    let outside = |facts: &Facts| !facts.forked && facts.standing == Standing::Outside;
    for facts in where_it_is(outside) {
        assert_eq!(decide(facts), Decision::TryElsewhere, "{facts:?}");
    }
}

/// Fault B41. Catches: a task that starves the others with what is an error each time, or with tries of what
/// is at home elsewhere.
#[test]
fn a_spent_budget_gives_way_before_an_error_and_before_a_try() {
    let _limit = limit(30);
    let spent = |facts: &Facts| !facts.forked && !facts.interrupted && !facts.budget_left;
    for facts in where_it_is(spent) {
        if facts.standing != Standing::Outside {
            assert_eq!(decide(facts), Decision::GiveWay, "{facts:?}");
        }
    }
}

/// Chaos. Catches: an interruption that is taken for a wait, or that is an error.
#[test]
fn who_is_interrupted_asks_again() {
    let _limit = limit(30);
    let interrupted = |facts: &Facts| !facts.forked && facts.interrupted;
    for facts in where_it_is(interrupted) {
        if facts.standing != Standing::Outside {
            assert_eq!(decide(facts), Decision::AskAgain, "{facts:?}");
        }
    }
}

/// Catches: an operation that is tried, or waits, although no event could end the wait; one that is an error
/// in one place and waits in another.
#[test]
fn what_no_event_could_end_is_an_error_before_it_is_tried() {
    let _limit = limit(30);
    for standing in STANDINGS {
        let facts = Facts {
            forked: false,
            standing,
            interrupted: false,
            budget_left: true,
            awaitable: false,
        };
        let expected = match standing {
            Standing::Outside => Decision::TryElsewhere,
            _ => Decision::NeverReported,
        };
        assert_eq!(decide(facts), expected, "{facts:?}");
    }
}

/// R4. Catches: a wait for what is ready; a try of what is known not to be; a wait at a source that has
/// gone, which nobody would end.
#[test]
fn at_home_readiness_decides_when_nothing_is_in_the_way() {
    let _limit = limit(30);
    let at_home = |ready| {
        let standing = Standing::Home { ready };
        where_it_is(|facts| facts.standing == standing && nothing_is_in_the_way(facts))
            .map(decide)
            .collect::<Vec<_>>()
    };
    assert_eq!(at_home(Some(true)), [Decision::Try]);
    assert_eq!(at_home(Some(false)), [Decision::Wait]);
    assert_eq!(at_home(None), [Decision::NotAtHome]);
    // Nobody else waits, and nobody else tries as one who is at home.
    for facts in all() {
        if matches!(decide(facts), Decision::Try | Decision::Wait) {
            assert!(nothing_is_in_the_way(&facts), "{facts:?}");
            assert!(matches!(facts.standing, Standing::Home { .. }), "{facts:?}");
        }
    }
}
