//! reveille beside its peers, and beside an epoll loop written by hand.
//!
//! ```text
//! cargo run --release --manifest-path bench/Cargo.toml             all tables, in about ten minutes
//! ... -- echo                                                      one part: echo, executor, counts,
//!                                                                  scaling, size
//! ... -- --quick                                                   a smoke test: the figures mean nothing
//! ... -- --write                                                   also into bench/README.md
//! ```
//!
//! Read next: `contenders`, to judge what is fair; `load` and `operations`, what is measured; `echo` and
//! `executor`, how.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use table::Table;

mod child;
mod contenders;
mod echo;
mod executor;
mod foreign_wakes;
mod gate;
mod load;
mod operations;
mod stats;
mod sys;
mod table;
mod tools;

/// How long to measure.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// Of one contender in one round.
    pub slice: Duration,
    /// Operations are done so many times less.
    pub divisor: u64,
}

const FULL: Effort = Effort {
    rounds: 15,
    slice: Duration::from_millis(120),
    divisor: 1,
};
const QUICK: Effort = Effort {
    rounds: 2,
    slice: Duration::from_millis(20),
    divisor: 20,
};

/// A part of the benchmark, and what it measures.
type Part = (&'static str, fn(Effort) -> io::Result<Vec<(String, Table)>>);

const PARTS: &[Part] = &[("echo", echo::echo), ("executor", executor::executor)];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["serve", name, buffer] => child::serve(name, buffer),
        ["operate", name] => child::operate(name),
        ["gate"] => gate::gate(false),
        ["gate", "--bless"] => gate::gate(true),
        ["load", port, connections] => child::load(port, connections),
        _ => parts(&words),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

fn parts(words: &[&str]) -> io::Result<()> {
    let (options, names): (Vec<&str>, Vec<&str>) = words
        .iter()
        .copied()
        .partition(|word| word.starts_with("--"));
    let known = |name: &str| PARTS.iter().any(|(part, _)| *part == name);
    if let Some(word) = options
        .iter()
        .find(|word| !["--quick", "--write"].contains(word))
    {
        return Err(io::Error::other(format!("no option `{word}`")));
    }
    if let Some(word) = names.iter().find(|name| !known(name)) {
        return Err(io::Error::other(format!("no part `{word}`")));
    }
    let effort = if options.contains(&"--quick") {
        QUICK
    } else {
        FULL
    };
    // With one CPU only, the load shares it.
    let _one_cpu = sys::pin(child::LOAD_CPU);
    for (name, part) in PARTS {
        if !names.is_empty() && !names.contains(name) {
            continue;
        }
        let mut text = String::new();
        for (title, table) in part(effort)? {
            text += &format!("{title}:\n\n{table}\n");
        }
        println!("{text}");
        if options.contains(&"--write") {
            let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
            table::write_section(&readme, name, &text)?;
        }
    }
    Ok(())
}
