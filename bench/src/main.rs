//! reveille beside its peers, and beside an epoll loop written by hand.
//!
//! The command line is in [`USAGE`], which `--help` prints.
//!
//! Read next: `contenders`, to judge what is fair; `load` and `operations`, what is measured; `rounds`, `echo` and
//! `executor`, how.

use std::io;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use table::Table;

mod aims;
mod child;
mod contenders;
mod counts;
mod crowd_gate;
mod crowds;
mod echo;
mod executor;
mod foreign_wakes;
mod gate;
mod latency;
mod load;
mod memory;
mod operations;
mod plot;
mod profile;
mod rounds;
mod scaling;
mod size;
mod stats;
mod sys;
mod table;
mod tools;
mod udp;

/// What `--help` prints.
const USAGE: &str = "\
cargo run --release --manifest-path bench/Cargo.toml             all tables, in half an hour
... -- echo                                                      one part: echo, udp, latency, executor,
                                                                 counts, profile, scaling, size
... -- aims                                                      what reveille is to be, and is; with
                                                                 `--profile fat` in place of `--release`
                                                                 optimized across crates
... -- gate                                                      instructions, against instructions.txt
... -- gate --bless                                              writes instructions.txt anew
... -- crowds                                                    instructions of one of few and of many,
                                                                 which must be alike
... -- --quick                                                   a smoke test: the figures mean nothing
... -- --write                                                   also into bench/README.md
";

/// How long to measure.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    /// How often a case is measured while it is noisy.
    pub laps: usize,
    /// Of one contender in one round.
    pub slice: Duration,
    /// Operations are done so many times less.
    pub divisor: u64,
    /// Whether the plot is drawn.
    pub draws: bool,
}

impl Effort {
    /// As many connections or tasks as time allows.
    pub fn at_most(self, count: usize) -> usize {
        count.min(20_000 / self.divisor as usize)
    }
}

const FULL: Effort = Effort {
    rounds: 15,
    laps: 5,
    slice: Duration::from_millis(120),
    divisor: 1,
    draws: false,
};
const QUICK: Effort = Effort {
    rounds: 2,
    laps: 2,
    slice: Duration::from_millis(20),
    divisor: 20,
    draws: false,
};

/// A part of the benchmark, and what it measures.
type Part = (&'static str, fn(Effort) -> io::Result<Vec<(String, Table)>>);

const PARTS: &[Part] = &[
    ("echo", echo::echo),
    ("udp", udp::udp),
    ("latency", latency::latency),
    ("executor", executor::executor),
    ("counts", counts::counts),
    ("profile", profile::profile),
    ("scaling", scaling::scaling),
    ("size", size::size),
];

/// Parts that are run by name only.
const NAMED: &[Part] = &[("aims", aims::aims)];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["serve", name, buffer, ref cpus @ ..] => child::serve(name, buffer, cpus),
        ["datagrams", name, at_once, turn] => child::serve_datagrams(name, at_once, turn),
        ["operate", name] => child::operate(name),
        ["--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        ["gate"] => gate::gate(false),
        ["gate", "--bless"] => gate::gate(true),
        ["crowds"] => crowd_gate::crowd_gate(),
        ["load", port, connections] => child::load(port, connections),
        ["call", port, connections] => child::call(port, connections),
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
    let known = |name: &str| PARTS.iter().chain(NAMED).any(|(part, _)| *part == name);
    if let Some(word) = options
        .iter()
        .find(|word| !["--quick", "--write"].contains(word))
    {
        return Err(io::Error::other(format!(
            "no option `{word}`; `--help` tells all"
        )));
    }
    if let Some(word) = names.iter().find(|name| !known(name)) {
        return Err(io::Error::other(format!(
            "no part `{word}`; `--help` tells all"
        )));
    }
    let mut effort = if options.contains(&"--quick") {
        QUICK
    } else {
        FULL
    };
    effort.draws = options.contains(&"--write");
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let profile = profile_name()?;
    let machine = machine(&words.join(" "));
    println!("{machine}\n");
    // With one CPU only, the load shares it.
    let _one_cpu = sys::pin(child::LOAD_CPU);
    let asked = |part: &&Part| names.contains(&part.0);
    let usual = PARTS.iter().filter(|part| names.is_empty() || asked(part));
    let chosen: Vec<&Part> = usual.chain(NAMED.iter().filter(asked)).collect();
    let writes = options.contains(&"--write");
    if writes {
        // What has no place there is not measured first.
        for (name, _) in &chosen {
            table::find_section(&readme, &section_name(name, &profile))?;
        }
    }
    for (name, part) in chosen {
        let mut text = String::new();
        for (title, table) in part(effort)? {
            text += &format!("{title} (profile {profile}):\n\n{table}\n");
        }
        println!("{text}");
        if !writes {
            continue;
        }
        // What is run by name is of another day than the rest.
        if NAMED.iter().any(|(other, _)| other == name) {
            text = format!("{machine}\n\n{text}");
        } else {
            table::write_section(&readme, "machine", &machine)?;
        }
        table::write_section(&readme, &section_name(name, &profile), &text)?;
    }
    Ok(())
}

/// Where a part stands in the README, by the profile.
fn section_name(part: &str, profile: &str) -> String {
    if profile == "release" {
        part.to_owned()
    } else {
        format!("{part} {profile}")
    }
}

/// The profile that this program was built with: cargo calls the folder by it, and says it nowhere else.
fn profile_name() -> io::Result<String> {
    let program = std::env::current_exe()?;
    let folder = program.parent().and_then(Path::file_name);
    let name = folder.ok_or_else(|| io::Error::other("this program is in no folder"))?;
    Ok(name.to_string_lossy().into_owned())
}

/// What the figures depend on: machine, date, versions, command.
fn machine(words: &str) -> String {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let date = Command::new("date").arg("+%F").output();
    let date = date.map(|output| output.stdout).unwrap_or_default();
    let (date, kernel) = (String::from_utf8_lossy(&date), kernel.trim());
    format!(
        "{}, {cpus} CPUs, Linux {kernel}; {}; {}; `bench {words}`.",
        gate::cpu_model(),
        date.trim(),
        versions(),
    )
}

/// Of the peers, as Cargo.lock has them.
fn versions() -> String {
    let names = [
        "tokio",
        "async-executor",
        "async-io",
        "monoio",
        "compio",
        "glommio",
    ];
    let lock = include_str!("../Cargo.lock");
    let version = |name: &str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
        Some(format!("{name} {}", rest.split('"').next()?))
    };
    let versions: Vec<_> = names.into_iter().filter_map(version).collect();
    versions.join(", ")
}
