//! The runtime grown from nothing: each step in examples/ shows a flaw, and the next one has mended it.
//!
//! Two steps that follow one another are put to the same work, in a file of examples/steps/ that both compile, and count
//! the same thing. So the flaw is a count, and its cure another.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

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

/// The steps, and what each says of itself. A count that stands under two steps is the flaw of the first and the cure of
/// the second.
const STEPS: [(&str, &[(&str, &str)]); 6] = [
    ("step1_busy_loop", &[("polls", "> 1000"), ("cpu", "> 90 %")]),
    (
        "step2_wakers",
        &[
            ("lost wakes", "0"),
            ("threads while 1000 tasks wait", "1001"),
            ("ends seen", "1000 of 1000"),
            ("polls", "< 10"),
            ("cpu", "< 10 %"),
        ],
    ),
    (
        "step3_epoll",
        &[
            ("threads while 1000 tasks wait", "1"),
            ("ends seen", "1000 of 1000"),
            ("strangers closed", "100 of 100"),
        ],
    ),
    (
        "step4_names",
        &[
            ("strangers closed", "0 of 100"),
            ("silent clients left", "5 of 5"),
            ("answered", "5 of 5"),
        ],
    ),
    (
        "step5_timers",
        &[
            ("silent clients left", "0 of 5"),
            ("answered", "5 of 5"),
            ("timers left", "0 of 1000"),
            ("polls before the echo", "100000"),
            ("wakes heard from another thread", "0 of 10"),
        ],
    ),
    (
        "step6_miniature",
        &[
            ("polls before the echo", "< 200"),
            ("wakes heard from another thread", "10 of 10"),
        ],
    ),
];

/// Counts of what was done in spite of the flaw: the same in both steps.
const WORK_DONE: [&str; 2] = ["ends seen", "answered"];

/// What step 2 says if it is told to clear `queued` after the poll.
const LATE: &str = "lost wakes: 1";

/// The lines of code that a step may have.
const LINES: usize = 150;

/// The files with `unsafe` in them, and how many blocks.
const UNSAFE: [(&str, usize); 2] = [("steps/eventfd.rs", 2), ("steps/sys.rs", 4)];

/// Catches: a step whose flaw does not show, or one that has not mended the flaw of the last.
#[test]
fn each_step_shows_a_flaw_that_the_next_one_has_mended() {
    let _limit = limit(120);
    for ((step, expected), output) in STEPS.iter().zip(outputs()) {
        assert_eq!(*output, lines(expected), "{step}");
    }
}

/// Guards the test above: it would notice if one program stood in the place of the other.
/// Catches: a flaw and a cure that look the same.
#[test]
fn no_step_does_what_its_neighbor_does() {
    let _limit = limit(120);
    for (nth, pair) in STEPS.windows(2).enumerate() {
        let [(first, flaws), (second, cures)] = pair else {
            unreachable!("windows of two");
        };
        assert_ne!(outputs()[nth], lines(cures), "{first} for {second}");
        assert_ne!(outputs()[nth + 1], lines(flaws), "{second} for {first}");
        let mut mended = 0;
        for (name, flaw) in *flaws {
            let Some((_, cure)) = cures.iter().find(|(told, _)| told == name) else {
                continue;
            };
            if WORK_DONE.contains(name) {
                assert_eq!(
                    flaw, cure,
                    "{name}: {first} and {second} did not do the same work"
                );
            } else {
                assert_ne!(flaw, cure, "{name}: {second} has mended nothing");
                mended += 1;
            }
        }
        assert!(mended > 0, "{first} and {second} count nothing in common");
    }
}

/// Guards R2.
/// Catches: a demonstration that demonstrates nothing.
#[test]
fn step_2_loses_the_wake_of_a_poll_if_queued_is_cleared_after_it() {
    let _limit = limit(120);
    assert_eq!(output("step2_wakers", &["late"]), [LATE]);
}

/// Catches: a step that grows beyond what is read in one go.
#[test]
fn each_step_has_at_most_150_lines_of_code() {
    let _limit = limit(30);
    for (file, text) in files() {
        let lines = code(&text)
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count();
        assert!(lines <= LINES, "{file} has {lines} lines of code");
    }
}

/// Catches: a step that stands on what it is to explain.
#[test]
fn the_steps_use_std_and_libc_alone() {
    let _limit = limit(30);
    let crates = crates();
    for known in [
        "futures_lite",
        "futures_task",
        "reveille",
        "tokio",
        "tracing",
    ] {
        assert!(crates.iter().any(|name| name == known), "{crates:?}");
    }
    for (file, text) in files() {
        let code = code(&text);
        for name in crates.iter().filter(|name| *name != "libc") {
            assert!(!has_word(&code, &format!("{name}::")), "{file} uses {name}");
        }
    }
}

/// The crates that an example may use: this one, and what its manifest lists in whatever table of dependencies.
fn crates() -> Vec<String> {
    let manifest = include_str!("../Cargo.toml");
    let tables = manifest.split("\n[").filter(|table| {
        let (title, _) = table.split_once(']').unwrap_or((table, ""));
        title.ends_with("dependencies")
    });
    let lines = tables.flat_map(|table| table.lines().skip(1));
    let names = lines
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.replace('-', "_"));
    names.chain(["reveille".to_owned()]).collect()
}

/// clippy wants a proof at each block; this counts them.
/// Catches: `unsafe` in a file that has no business with it.
#[test]
fn the_system_calls_are_all_that_is_unsafe_in_the_steps() {
    let _limit = limit(30);
    for (file, text) in files() {
        let expected = UNSAFE.iter().find(|(known, _)| *known == file);
        let blocks = code(&text).matches("unsafe {").count();
        assert_eq!(blocks, expected.map_or(0, |(_, count)| *count), "{file}");
        assert_eq!(text.matches("// SAFETY: ").count(), blocks, "{file}");
        assert_eq!(code(&text).matches("unsafe").count(), blocks, "{file}");
    }
}

/// Catches: a part of the library that was given another name.
#[test]
fn the_parts_of_the_miniature_have_the_names_of_the_library() {
    let _limit = limit(30);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |file: &str| code(&fs::read_to_string(root.join(file)).expect("a file"));
    let miniature = read("examples/step6_miniature.rs");
    for (definition, file) in [
        ("struct Hint", "runtime/name/waker.rs"),
        ("struct Place", "runtime/name/place.rs"),
        ("struct Registration", "runtime/io/registration.rs"),
        ("const POLLS_BETWEEN_TURNS", "runtime/core.rs"),
        ("fn spawn", "runtime/task/executor.rs"),
        ("fn turn", "runtime/io/reactor.rs"),
        ("fn timeout", "runtime/time/timeout.rs"),
    ] {
        for code in [&miniature, &read(file)] {
            assert!(has_word(code, definition), "{definition}, as in {file}");
        }
    }
    // Of other kinds, but with the same use.
    for (name, file) in [
        ("Name", "runtime/name/slab.rs"),
        ("Slab", "runtime/name/slab.rs"),
        ("inbox", "runtime/task/executor.rs"),
        ("token", "runtime/io/sources.rs"),
        ("sources", "runtime/io/sources.rs"),
        ("timers", "runtime/time/timers.rs"),
        ("tasks", "runtime/task/executor.rs"),
    ] {
        for code in [&miniature, &read(file)] {
            assert!(has_word(code, name), "{name}, as in {file}");
        }
    }
}

/// A count is in backticks there: `cpu: > 90 %`.
/// Catches: a count on the page that no step prints, and one that the page does not tell.
#[test]
fn the_counts_on_the_page_are_those_that_the_steps_print() {
    let _limit = limit(30);
    let page = include_str!("../runtime/grown_from_nothing.md");
    let mut told: Vec<_> = STEPS.iter().flat_map(|(_, counts)| lines(counts)).collect();
    told.push(LATE.to_owned());
    let is_count = |text: &&str| text.contains(": ") && !text.contains('\n');
    let counts: Vec<_> = page
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(is_count)
        .collect();
    for count in &counts {
        assert!(
            told.iter().any(|line| line == count),
            "no step prints `{count}`"
        );
    }
    for line in &told {
        assert!(
            counts.contains(&line.as_str()),
            "the page is silent on `{line}`"
        );
    }
}

fn lines(counts: &[(&str, &str)]) -> Vec<String> {
    counts
        .iter()
        .map(|(name, count)| format!("{name}: {count}"))
        .collect()
}

/// What each step prints. They run at the same time, once a process.
fn outputs() -> &'static [Vec<String>] {
    static OUTPUTS: OnceLock<Vec<Vec<String>>> = OnceLock::new();
    OUTPUTS.get_or_init(|| {
        let running = STEPS.map(|(step, _)| thread::spawn(move || output(step, &[])));
        running
            .map(|thread| thread.join().expect("the step ends well"))
            .into()
    })
}

fn output(step: &'static str, arguments: &'static [&'static str]) -> Vec<String> {
    let program = built(step);
    let output = within(60, move || {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null());
        command.output().expect("the step starts")
    });
    // libtest shows it if the test fails.
    eprintln!("{step}: {}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{step}: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// The steps and what they share, by their path from examples/.
fn files() -> Vec<(String, String)> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files = Vec::new();
    for folder in ["", "steps/"] {
        for entry in fs::read_dir(examples.join(folder)).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = format!("{folder}{}", entry.file_name().to_string_lossy());
            if name.starts_with("step") && name.ends_with(".rs") {
                files.push((name, fs::read_to_string(entry.path()).expect("text")));
            }
        }
    }
    assert!(files.len() > STEPS.len(), "{files:?}");
    files
}
