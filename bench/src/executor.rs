//! Without sockets: what tasks, wakes and timers cost.
//!
//! Interface: [`executor`] measures all [`CASES`] and returns the table; [`Operators`] measure any of them.
//! Invariant: as in `rounds`, with one process a contender. Ratios are against the first one, reveille.

use std::io;

use crate::Effort;
use crate::child::Child;
use crate::contenders::PEERS;
use crate::rounds::{Rounds, with_noise};
use crate::table::Table;

pub struct Case {
    pub title: &'static str,
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

pub const CASES: &[Case] = &[
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

/// The contenders that work, all alive at once.
pub struct Operators {
    pub labels: Vec<String>,
    /// `None` where one has failed.
    children: Vec<Option<Child>>,
}

pub fn executor(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    let mut operators = Operators::start(&[
        ("reveille", "reveille"),
        ("reveille, again", "reveille"),
        ("reveille, timer_slack 1 ns", "reveille slack"),
    ]);
    let head = ["".to_owned()].into_iter();
    let mut table = Table::new(head.chain(with_noise(&operators.labels)));
    for case in CASES {
        let rounds = operators.measure(case, effort);
        table.row(
            [case.title.to_owned()]
                .into_iter()
                .chain(rounds.cells(0, 0)),
        );
    }
    Ok(vec![("Time for an operation".to_owned(), table)])
}

impl Operators {
    /// These, which are a label and a name each, and all peers; but for those that do not start here.
    pub fn start(first: &[(&str, &str)]) -> Operators {
        let mut operators = Operators {
            labels: Vec::new(),
            children: Vec::new(),
        };
        let peers = PEERS.iter().map(|peer| (*peer, *peer));
        for (label, name) in first.iter().copied().chain(peers) {
            match Child::operator(&[], name) {
                Ok(child) => {
                    operators.labels.push(label.to_owned());
                    operators.children.push(Some(child));
                }
                Err(error) => eprintln!("{label} does not start here: {error}"),
            }
        }
        operators
    }

    /// Nanoseconds an operation. One that fails is not asked for later cases either.
    pub fn measure(&mut self, case: &Case, effort: Effort) -> Rounds<1> {
        eprintln!("executor: {}", case.title);
        let n = (case.n / effort.divisor).max(1);
        Rounds::take(&self.labels, effort, |which| {
            let child = &mut self.children[which];
            match child.as_mut()?.operate(case.operation, n) {
                Ok(sample) => Some([if case.by_cpu { sample.cpu } else { sample.wall }]),
                Err(error) => {
                    eprintln!("{}: {}: {error}", self.labels[which], case.title);
                    *child = None;
                    None
                }
            }
        })
    }
}
