//! The gate: a change that makes reveille's hot operations take more instructions is seen.
//!
//! Interface: [`gate`] compares with instructions.txt, or rewrites it.
//! Invariant: the counts repeat, exactly but for bursts, for one compiler, C library, valgrind and CPU (the library chooses
//! its memcpy by that). The first line of instructions.txt names them; on another machine the gate prints
//! and does not judge.

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child::Child;
use crate::contenders::Buffer;
use crate::load::{Load, PING_PONG, Until};
use crate::sys;
use crate::tools::Tool;

const OPERATIONS: &[&str] = &[
    "self-wake:1",
    "self-wake:1000",
    "yield",
    "spawn",
    "spawn-batch:1000",
    "cell",
    "channel",
    "timer",
];

/// A message of 64 bytes, on 50 connections in turn, and on all at once, so that many are ready together.
const ECHO: &str = "echo";
const BURSTS: &str = "echo-bursts";
const CONNECTIONS: usize = 50;

/// A count may be so many times the committed one. How many messages are ready together in a burst is a
/// matter of the clock, and makes for one in a hundred. The queue of the channel is another crate's, and whether the
/// compiler inlines its `pop` changes with code that has nothing to do with it: five in a hundred.
fn slack(name: &str) -> f64 {
    match name {
        BURSTS => 1.03,
        "channel" => 1.06,
        _ => 1.01,
    }
}

/// Counts, and fails if a count has risen; if `bless`, it becomes the committed one instead.
pub fn gate(bless: bool) -> io::Result<()> {
    if cfg!(feature = "peers") {
        // With them the compiler inlines otherwise: by 2 %.
        return Err(io::Error::other("the gate is for `--no-default-features`"));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.txt");
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let machine = machine()?;
    let judged = committed.lines().next() == Some(&machine);
    let mut text = format!("{machine}\n");
    let mut risen = Vec::new();
    for name in OPERATIONS.iter().chain([&ECHO, &BURSTS]) {
        let count = instructions(name)?;
        let before = committed
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
        let line = format!("{name:<18} {count:>8.1}");
        match before {
            Some(before) => println!("{line}  committed: {before:.1}"),
            None => println!("{line}"),
        }
        if before.is_some_and(|before| count > before * slack(name)) {
            risen.push(*name);
        }
        writeln!(text, "{line}").expect("a string takes everything");
    }
    if bless {
        return std::fs::write(&path, text);
    }
    if !judged {
        println!("not compared, because this machine is: {machine}");
        return Ok(());
    }
    if risen.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "more instructions than committed, by over 1 % (bursts: 3 %, channel: 6 %): {}. If it is worth it, run \
         `gate --bless`, commit bench/instructions.txt, and say why",
        risen.join(", ")
    )))
}

/// Instructions of user space that one operation of reveille takes.
fn instructions(name: &str) -> io::Result<f64> {
    if name == ECHO || name == BURSTS {
        let start = |tool: &[String]| Child::server(tool, "reveille", Buffer::Own);
        return Tool::Valgrind.count([1000, 11_000], start, |server, n| {
            let mut load = Load::connect(server.port, CONNECTIONS)?;
            if name == ECHO {
                return load.in_turn(n, Duration::ZERO);
            }
            load.run(0..CONNECTIONS, PING_PONG, Until::Sent(n))
                .map(drop)
        });
    }
    let start = |tool: &[String]| Child::operator(tool, "reveille");
    Tool::Valgrind.count([10_000, 110_000], start, |operator, n| {
        operator.operate(name, n).map(drop)
    })
}

/// What the counts depend on.
fn machine() -> io::Result<String> {
    let rustc = Command::new("rustc").arg("--version").output()?.stdout;
    let valgrind = Tool::Valgrind.version()?;
    let libc = sys::libc_version();
    let rustc = String::from_utf8_lossy(&rustc).trim().to_owned();
    Ok(format!(
        "{rustc}; glibc {libc}; {valgrind}; {}",
        cpu_model()
    ))
}

/// As /proc/cpuinfo names it.
pub fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut models = text.lines().filter(|line| line.starts_with("model name"));
    let model = models.next().and_then(|line| line.split(": ").nth(1));
    model.unwrap_or("unknown CPU").to_owned()
}
