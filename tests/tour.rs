//! The tour says what is so: its table is what the example prints, its exercises are judged by tests that exist.
//!
//! The programs on its pages are doctests. What the pages cite of other projects was read there, and is not checked here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use built::built;
use limit::limit;
use source::{code, has_word};
use within::within;

#[path = "support/built.rs"]
mod built;
#[path = "support/limit.rs"]
mod limit;
#[path = "tidy/source.rs"]
mod source;
#[path = "support/within.rs"]
mod within;

/// The pages with a question, in the order of the stops, which begin at 1. Stop 0 is a program.
const STOPS: [&str; 7] = [
    "what_is_a_task",
    "who_polls_and_when",
    "who_wakes",
    "when_is_a_socket_ready",
    "whose_event_is_this",
    "what_time_is_it",
    "how_does_it_end",
];

/// What each stop has, in this order.
const PARTS: [&str; 6] = [
    "\n**Question.** ",
    "\n**Naive answer.** ",
    "\n**Code.** ",
    "\n**Invariant.** ",
    "\n**Real world.** ",
    "\n**Exercise.** ",
];

/// The tour is shorter than this: the stops, their solutions and the page that lists them.
const LINES: usize = 700;

/// The lines of code of the example, at most.
const LINES_OF_CODE: usize = 150;

/// Catches: a table on the page that no program prints (any more).
#[test]
fn the_table_of_trigger_modes_is_what_the_example_prints() {
    let _limit = limit(120);
    let page = page("trigger_modes");
    let table = page.split("```text\n").nth(1).expect("a table");
    let (table, _) = table.split_once("```").expect("the end of the table");
    assert_eq!(table, printed());
}

/// What the page says of the modes, asked of the counts: so a table that was copied anew from a wrong program is noticed.
/// Catches: a program that shows no fault, or shows it in the wrong mode.
#[test]
fn each_trigger_mode_costs_and_strands_what_the_page_says() {
    let _limit = limit(120);
    let printed = printed();
    let row = |work: &str, mode: &str| -> [usize; 5] {
        let mut lines = printed.lines().skip_while(|line| !line.starts_with(work));
        lines.next();
        let mut rows = lines.take_while(|line| line.starts_with("  "));
        let counts = rows.find_map(|line| line.trim().strip_prefix(mode)?.strip_prefix("  "));
        let counts = counts.unwrap_or_else(|| panic!("no row `{mode}` of `{work}`"));
        let counts = counts
            .split_whitespace()
            .map(|n| n.parse().expect("a count"));
        counts.collect::<Vec<_>>().try_into().expect("five counts")
    };
    let (hundred, ten) = ("a hundred messages", "ten messages");
    // One epoll_ctl for a connection, but one more for each event if it is one-shot; one more read for each if EAGAIN ends
    // the reading.
    assert_eq!(row(hundred, "level"), [1, 100, 100, 100, 0]);
    assert_eq!(
        row(hundred, "edge, read until EAGAIN"),
        [1, 100, 100, 200, 0]
    );
    assert_eq!(
        row(hundred, "edge, until a read is short"),
        [1, 100, 100, 100, 0]
    );
    assert_eq!(
        row(hundred, "one-shot, armed again"),
        [101, 100, 100, 100, 0]
    );
    // Level and one-shot forgive a reader that stops early; an edge, and a one-shot that was not armed, strand the rest.
    for (mode, left) in [
        ("level", 0),
        ("edge, one read for each event", 90),
        ("edge, read until EAGAIN", 0),
        ("one-shot, not armed again", 90),
        ("one-shot, armed again", 0),
    ] {
        let [_, waits, events, _, rest] = row(ten, mode);
        assert_eq!((rest, waits), (left, events + 1), "{mode}");
    }
    // Only level reports what was reported already; nothing but silence ends the reports of what was closed.
    let events = |work, mode| row(work, mode)[2];
    for (mode, unread, closed) in [("level", 10, 10), ("edge", 1, 5), ("one-shot", 1, 1)] {
        assert_eq!(events("one message", mode), unread, "{mode}");
        assert_eq!(events("closed", mode), closed, "{mode}");
    }
}

/// Catches: an example that grows beyond what is read in one go, stands on what it is to explain, or has no proof.
#[test]
fn the_example_of_trigger_modes_is_short_and_stands_on_std_and_libc() {
    let _limit = limit(30);
    let text = include_str!("../examples/trigger_modes.rs");
    let code = code(text);
    let lines = code.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= LINES_OF_CODE, "{lines} lines of code");
    for name in [
        "futures_lite",
        "futures_task",
        "reveille",
        "tokio",
        "tracing",
    ] {
        assert!(!has_word(&code, &format!("{name}::")), "it uses {name}");
    }
    let blocks = code.matches("unsafe {").count();
    assert_eq!((blocks, text.matches("// SAFETY: ").count()), (4, 4));
}

/// Catches: a stop without one of its parts, code that is pasted and not linked, a tour that nobody has the time for.
#[test]
fn each_stop_has_its_six_parts_and_the_tour_is_short() {
    let _limit = limit(30);
    let mut lines = 0;
    for (number, name) in (1..).zip(STOPS) {
        let page = page(name);
        assert!(page.starts_with(&format!("Stop {number}: ")), "{name}");
        let at: Vec<_> = PARTS.iter().map(|part| page.find(part)).collect();
        assert!(at.iter().all(Option::is_some), "{name}: {at:?}");
        assert!(at.is_sorted(), "{name}: {at:?}");
        let code = between(&page, PARTS[2], PARTS[3]);
        assert!(
            code.matches("](crate::").count() >= 3,
            "{name} links to no code"
        );
        assert!(!page.contains("```"), "{name} has pasted code");
        lines += page.lines().count();
    }
    for name in ["index", "what_a_future_is", "solutions"] {
        lines += page(name).lines().count();
    }
    assert!(lines < LINES, "the tour has {lines} lines");
}

/// The edits of the exercises are mutants, so that the test is known to judge them.
/// Catches: an exercise whose judge is gone, or is blind to the edit.
#[test]
fn each_exercise_is_a_mutant_that_the_test_it_names_notices() {
    let _limit = limit(30);
    let solutions = page("solutions");
    let mut mutants = Vec::new();
    files(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants"),
        &mut mutants,
    );
    for (number, name) in (1..).zip(STOPS) {
        let page = page(name);
        let (_, exercise) = page.split_once(PARTS[5]).expect("an exercise");
        // A line break may stand between the words of a command.
        let exercise = exercise.split_whitespace().collect::<Vec<_>>().join(" ");
        let judges = exercise.split('`').skip(1).step_by(2);
        let judges: Vec<_> = judges
            .filter(|text| text.contains("cargo test "))
            .map(|command| command.rsplit(' ').next().expect("a name"))
            .collect();
        let (_, solution) = solutions
            .split_once(&format!("\n# {number}\n"))
            .expect("a solution");
        let solution = solution.split("\n# ").next().expect("up to the next");
        let edits = solution.split('`').skip(1).step_by(2);
        let edits: Vec<_> = edits.filter(|text| text.contains('-')).collect();
        // The layout of stop 1 is an edit that the test is to pass.
        let edits = if number == 1 { &edits[1..] } else { &edits[..] };
        assert_eq!(
            edits.len(),
            judges.len() - usize::from(number == 1),
            "stop {number}"
        );
        for (edit, judge) in edits.iter().zip(&judges) {
            let file = mutants
                .iter()
                .find(|path| path.file_stem().is_some_and(|stem| stem == *edit));
            let text = fs::read_to_string(file.unwrap_or_else(|| panic!("no mutant {edit}")));
            let text = text.expect("a mutant is text");
            let test = text.lines().find_map(|line| line.strip_prefix("test: "));
            let test = test.expect("a mutant names a test");
            let noticed = test.rsplit([' ', ':']).next() == Some(judge);
            assert!(noticed, "stop {number}: {judge} does not notice {edit}");
        }
    }
}

/// Catches: a tour that no reader comes to.
#[test]
fn the_readme_and_the_page_of_the_runtime_lead_to_the_tour() {
    let _limit = limit(30);
    assert!(include_str!("../README.md").contains("](runtime/tour/index.md)"));
    assert!(include_str!("../runtime/mod.rs").contains("](crate::tour)"));
}

/// What the example prints.
fn printed() -> String {
    let program = built("trigger_modes");
    let output = within(60, move || {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        command.output().expect("the example starts")
    });
    // libtest shows it if the test fails.
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

fn page(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtime/tour");
    fs::read_to_string(folder.join(format!("{name}.md"))).expect("a page")
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, text) = text.split_once(start).expect("the start");
    text.split_once(end).expect("the end").0
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}
