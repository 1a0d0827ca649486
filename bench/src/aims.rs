//! The aims: whether reveille is as fast as it is to be, all of it in one run.
//!
//! Interface: [`aims`] measures what has an aim, and returns the table.
//! Invariant: as in `executor` and `echo`, which have the cases. A ratio is reveille's to the raw loop with the same
//! buffer, or to the best peer, which is the one with the smallest median here. Where two equal contenders differ by more
//! than [`MARGIN`](crate::rounds::MARGIN) nothing is judged.

use std::io;

use crate::Effort;
use crate::contenders::{Buffer, PEERS};
use crate::echo::{self, RAW_SHARED, REVEILLE_BOXED, REVEILLE_SHARED, Servers, TWINS};
use crate::executor::{self, Operators};
use crate::rounds::{MARGIN, Rounds, noise_cell};
use crate::stats::Quartiles;
use crate::table::{Table, time};

/// Operations, as `executor` calls them; how many times the best peer they may be. A channel has no aim: it is another
/// crate's.
const OPERATIONS: &[(&str, Option<f64>)] = &[
    ("spawn and await, one by one", Some(1.2)),
    ("spawn and await, 1,000 at once", Some(0.9)),
    ("self-wake, 1 task", Some(0.45)),
    ("yield_now", Some(0.45)),
    ("ping-pong, one-slot cell", Some(0.4)),
    ("ping-pong, async-channel", None),
    ("timer made, polled, dropped", Some(0.8)),
    ("one of 100,000 sleeps, CPU", Some(0.69)),
];

/// Cases, as `echo` calls them; what the buffer is, and how many times the raw loop's the server's CPU may be.
const ECHOES: &[(&str, &[(Buffer, f64)])] = &[
    ("1 connection", &[(Buffer::Own, 1.02)]),
    ("50", &[(Buffer::Own, 1.02)]),
    (
        "1,000",
        &[
            (Buffer::Shared, 1.04),
            (Buffer::Boxed, 1.04),
            (Buffer::Own, 1.07),
        ],
    ),
    ("connect, echo, close", &[(Buffer::Own, 1.03)]),
    (
        "4 bulk streams, 64 KiB",
        &[(Buffer::Own, 1.02), (Buffer::Shared, 1.02)],
    ),
];

/// What is judged: a figure of some contenders, called by their places.
struct Question<'a, const N: usize> {
    title: String,
    aim: Option<f64>,
    rounds: &'a Rounds<N>,
    figure: usize,
    reveille: Option<usize>,
    /// What reveille is compared with; the best peer if there is nothing else.
    floor: Option<(&'static str, usize)>,
    tokio: Option<usize>,
    peers: Vec<(&'static str, usize)>,
}

pub fn aims(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    let mut table = Table::new([
        "",
        "aim",
        "got",
        "of",
        "reveille",
        "tokio",
        "best peer",
        "noise",
        "",
    ]);
    operations(effort, &mut table)?;
    echoes(effort, &mut table)?;
    let title = "How many times the best peer or the raw loop reveille is, at most, and was; time of an operation, \
                 server CPU of a message";
    Ok(vec![(title.to_owned(), table)])
}

fn operations(effort: Effort, table: &mut Table) -> io::Result<()> {
    let mut operators =
        Operators::start(&[("reveille", "reveille"), ("reveille, again", "reveille")]);
    for (title, aim) in OPERATIONS {
        let mut cases = executor::CASES.iter();
        let case = cases.find(|case| case.title == *title);
        let case = case.ok_or_else(|| unknown(title))?;
        let rounds = operators.measure(case, effort);
        let place = |label: &'static str| Some((label, rounds.place(label)?));
        let question = Question {
            title: (*title).to_owned(),
            aim: *aim,
            rounds: &rounds,
            figure: 0,
            reveille: rounds.place("reveille"),
            floor: None,
            tokio: rounds.place("tokio"),
            peers: PEERS.iter().filter_map(|peer| place(peer)).collect(),
        };
        table.row(question.row());
    }
    Ok(())
}

fn echoes(effort: Effort, table: &mut Table) -> io::Result<()> {
    let fixed = [RAW_SHARED, REVEILLE_BOXED, REVEILLE_SHARED];
    let peers = [Buffer::Own, Buffer::Boxed, Buffer::Shared].map(echo::peers);
    let peers = peers.into_iter().flatten();
    let mut servers = Servers::start(TWINS.into_iter().chain(fixed).chain(peers));
    for (title, buffers) in ECHOES {
        let mut cases = echo::CASES.iter();
        let case = cases.find(|case| case.title == *title);
        let case = case.ok_or_else(|| unknown(title))?;
        let rounds = servers.measure(case, effort);
        for (buffer, aim) in *buffers {
            table.row(echo_question(title, *buffer, *aim, &rounds).row());
        }
    }
    Ok(())
}

/// The peers read into a buffer of their own each, as reveille does, or into one for all, as it does.
fn echo_question<'a>(
    title: &str,
    buffer: Buffer,
    aim: f64,
    rounds: &'a Rounds<2>,
) -> Question<'a, 2> {
    let (reveille, raw, tokio, words) = match buffer {
        Buffer::Own => ("reveille", "raw loop", "tokio", "a buffer in each future"),
        Buffer::Boxed => (
            REVEILLE_BOXED.0,
            "raw loop",
            "tokio, boxed",
            "boxed buffers",
        ),
        Buffer::Shared => (
            REVEILLE_SHARED.0,
            RAW_SHARED.0,
            "tokio, 64 KiB shared",
            "one buffer for all",
        ),
    };
    let each = [Buffer::Own, Buffer::Boxed].into_iter();
    let kinds = each.filter(|_| buffer != Buffer::Shared);
    let kinds = kinds.chain((buffer == Buffer::Shared).then_some(buffer));
    let place = |label: &'static str| Some((label, rounds.place(label)?));
    Question {
        title: format!("{title}; {words}"),
        aim: Some(aim),
        rounds,
        figure: echo::CPU,
        reveille: rounds.place(reveille),
        floor: place(raw),
        tokio: rounds.place(tokio),
        peers: kinds
            .flat_map(echo::peers)
            .filter_map(|(label, ..)| place(label))
            .collect(),
    }
}

fn unknown(title: &str) -> io::Error {
    io::Error::other(format!("no case is called `{title}`"))
}

impl<const N: usize> Question<'_, N> {
    fn row(&self) -> Vec<String> {
        let best = self.best_peer();
        let base = self.floor.or(best);
        let got = base.and_then(|(_, base)| self.rounds.ratio(self.reveille?, base, self.figure));
        let noise = self.rounds.noise(self.figure);
        let median = |which: Option<usize>| self.rounds.median(which?, self.figure).map(time);
        let named = |contender: Option<(&str, usize)>| {
            let (label, which) = contender?;
            Some(format!("{label}, {}", median(Some(which))?))
        };
        let cells = [
            self.aim.map(|aim| format!("×{aim}")),
            got.map(precise),
            named(base),
            median(self.reveille),
            median(self.tokio),
            named(best),
            Some(noise_cell(noise)),
            Some(verdict(got, self.aim, noise).to_owned()),
        ];
        let cells = cells.into_iter().map(Option::unwrap_or_default);
        [self.title.clone()].into_iter().chain(cells).collect()
    }

    /// The one with the smallest median.
    fn best_peer(&self) -> Option<(&'static str, usize)> {
        let median = |peer: &&(&str, usize)| self.rounds.median(peer.1, self.figure);
        let measured = self.peers.iter().filter(|peer| median(peer).is_some());
        let best = measured.min_by(|one, other| {
            let medians = [one, other].map(|peer| median(peer).unwrap_or(f64::INFINITY));
            medians[0].total_cmp(&medians[1])
        });
        best.copied()
    }
}

/// With a digit more than elsewhere: an aim may be 1.02.
fn precise(quartiles: Quartiles) -> String {
    let Quartiles { low, median, high } = quartiles;
    format!("×{median:.3} ({low:.3}–{high:.3})")
}

/// Nothing where there is no aim, or no contender to compare with.
fn verdict(got: Option<Quartiles>, aim: Option<f64>, noise: Option<f64>) -> &'static str {
    let (Some(got), Some(aim)) = (got, aim) else {
        return "";
    };
    if noise.is_none_or(|noise| noise > MARGIN) {
        "unjudged"
    } else if got.median <= aim {
        "met"
    } else {
        "missed"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_an_aim_and_silence() {
        let got = Quartiles::of(&[1.03]);
        assert_eq!(verdict(got, Some(1.03), Some(1.02)), "met");
        assert_eq!(verdict(got, Some(1.02), Some(1.0)), "missed");
        assert_eq!(verdict(got, Some(1.03), Some(1.03)), "unjudged");
        assert_eq!(verdict(got, Some(1.03), None), "unjudged");
        assert_eq!(verdict(got, None, Some(1.0)), "");
        assert_eq!(verdict(None, Some(1.0), Some(1.0)), "");
    }

    #[test]
    fn every_aim_is_of_a_case_that_is_measured() {
        for (title, _) in OPERATIONS {
            assert!(executor::CASES.iter().any(|case| case.title == *title));
        }
        for (title, _) in ECHOES {
            assert!(echo::CASES.iter().any(|case| case.title == *title));
        }
    }

    #[test]
    fn the_best_peer_has_the_smallest_median() {
        let labels = ["reveille", "reveille, again", "tokio", "smol"];
        let effort = Effort {
            rounds: 1,
            laps: 1,
            ..crate::QUICK
        };
        let rounds = Rounds::take(&labels.map(str::to_owned), effort, |which| {
            Some([[2.0, 2.0, 5.0, 4.0][which]])
        });
        let question = Question {
            title: "a case".to_owned(),
            aim: Some(0.45),
            rounds: &rounds,
            figure: 0,
            reveille: Some(0),
            floor: None,
            tokio: Some(2),
            peers: vec![("tokio", 2), ("smol", 3)],
        };
        let row = question.row();
        assert_eq!(row[2], "×0.500 (0.500–0.500)");
        assert_eq!((&row[3][..], &row[6][..]), ("smol, 4 ns", "smol, 4 ns"));
        assert_eq!((&row[5][..], &row[8][..]), ("5 ns", "missed"));
    }
}
