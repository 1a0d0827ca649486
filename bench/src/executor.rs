//! Without sockets: what tasks, wakes and timers cost.
//!
//! Interface: [`executor`] measures all [`CASES`] and returns the table.
//! Invariant: as in `echo`: one process a contender, rounds in rotating order, ratios within a round
//! against the first contender, which is there twice.

use std::io;

use crate::Effort;
use crate::child::Child;
use crate::contenders::PEERS;
use crate::echo::cell;
use crate::table::Table;

struct Case {
    title: &'static str,
    operation: &'static str,
    n: u64,
    /// Operations that wait for a clock are told by the CPU they take; those that tell a delay by that.
    by_cpu: bool,
}

const fn case(title: &'static str, operation: &'static str, n: u64) -> Case {
    Case {
        title,
        operation,
        n,
        by_cpu: false,
    }
}

const CASES: &[Case] = &[
    case("spawn and await, one by one", "spawn", 50_000),
    case(
        "spawn and await, 1,000 at once",
        "spawn-batch:1000",
        100_000,
    ),
    case("self-wake, 1 task", "self-wake:1", 300_000),
    case("self-wake, 1,000 tasks", "self-wake:1000", 300_000),
    case("yield_now", "yield", 300_000),
    case("ping-pong, one-slot cell", "cell", 100_000),
    case("ping-pong, async-channel", "channel", 50_000),
    case("wake from another thread, asleep", "wake-asleep", 200),
    case("wake from another thread, awake", "wake-awake", 2_000),
    case("timer made, polled, dropped", "timer", 100_000),
    Case {
        title: "one of 100,000 sleeps, CPU",
        operation: "sleeps:100000",
        n: 1,
        by_cpu: true,
    },
    case("sleep of 0.1 ms ends late by", "lateness:100", 100),
    case("sleep of 0.5 ms", "lateness:500", 50),
    case("sleep of 1 ms", "lateness:1000", 40),
    case("sleep of 5 ms", "lateness:5000", 10),
];

/// A contender that works, and its samples of the case at hand.
struct Operator {
    label: &'static str,
    child: Option<Child>,
    samples: Vec<f64>,
}

pub fn executor(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    let fixed = [
        ("reveille", "reveille"),
        ("reveille, again", "reveille"),
        ("reveille, timer_slack 1 ns", "reveille slack"),
    ];
    let names = fixed
        .into_iter()
        .chain(PEERS.iter().map(|peer| (*peer, *peer)));
    let mut operators: Vec<_> = names
        .filter_map(|(label, name)| Operator::start(label, name))
        .collect();
    let labels = operators.iter().map(|operator| operator.label);
    let mut table = Table::new([""].into_iter().chain(labels));
    for case in CASES {
        eprintln!("executor: {}", case.title);
        measure(case, effort, &mut operators);
        let base = operators[0].samples.clone();
        let cells = operators
            .iter()
            .map(|operator| cell(&operator.samples, &base));
        table.row([case.title.to_owned()].into_iter().chain(cells));
    }
    Ok(vec![("Time for an operation".to_owned(), table)])
}

fn measure(case: &Case, effort: Effort, operators: &mut [Operator]) {
    let count = operators.len();
    operators
        .iter_mut()
        .for_each(|operator| operator.samples.clear());
    for round in 0..effort.rounds {
        for place in 0..count {
            operators[(round + place) % count].operate(case, effort);
        }
    }
}

impl Operator {
    fn start(label: &'static str, name: &str) -> Option<Operator> {
        match Child::operator(&[], name) {
            Ok(child) => Some(Operator {
                label,
                child: Some(child),
                samples: Vec::new(),
            }),
            Err(error) => {
                eprintln!("{label} does not start here: {error}");
                None
            }
        }
    }

    fn operate(&mut self, case: &Case, effort: Effort) {
        let Some(child) = &mut self.child else { return };
        match child.operate(case.operation, (case.n / effort.divisor).max(1)) {
            Ok(sample) => self
                .samples
                .push(if case.by_cpu { sample.cpu } else { sample.wall }),
            Err(error) => {
                eprintln!("{}: {}: {error}", self.label, case.title);
                self.child = None;
                self.samples.clear();
            }
        }
    }
}
