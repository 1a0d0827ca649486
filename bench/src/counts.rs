//! Exact counts beside the times: system calls, instructions, allocations, memory.
//!
//! Interface: [`counts`] returns the tables.
//! Invariant: as in `tools`. A contender that cannot do a thing leaves its cell empty.

use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use crate::Effort;
use crate::child::Child;
use crate::contenders::{Buffer, PEERS, URING};
use crate::load::{Load, PING_PONG, Until, churn};
use crate::memory;
use crate::table::Table;
use crate::tools::{Counts, Tool};

const OPERATIONS: &[(&str, &str)] = &[
    ("spawn and await", "spawn"),
    ("spawn, 1,000 at once", "spawn-batch:1000"),
    ("self-wake", "self-wake:1000"),
    ("yield_now", "yield"),
    ("ping-pong, cell", "cell"),
    ("ping-pong, channel", "channel"),
    ("timer", "timer"),
];

/// Connections that take turns.
const CONNECTIONS: usize = 50;
/// Longer than three system calls take under strace.
const PAUSE: Duration = Duration::from_millis(2);
/// Connections that echo once and then wait.
const IDLE: usize = 10_000;
/// Tasks that wait.
const TASKS: usize = 1000;

/// The system calls of these are shown by name.
const NAMED: &[&str] = if cfg!(feature = "peers") {
    &["raw", "reveille", "tokio"]
} else {
    &["raw", "reveille"]
};
/// A call that a connection makes less often is not shown.
const SELDOM: f64 = 0.05;

pub fn counts(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    Tool::Valgrind.version()?;
    let of_calls = Tool::of_calls()?;
    let mut calls = Table::new([
        "",
        "a message, 1 connection",
        "a message, bursts on 50",
        "a connection",
    ]);
    let operations = OPERATIONS.iter().map(|(title, _)| *title);
    let mut instructions = Table::new(
        [""].into_iter()
            .chain(operations)
            .chain(["echo, 50 in turn", "echo, bursts on 50"]),
    );
    let mut memory = Table::new([
        "",
        "allocations a task",
        "bytes a task",
        "resident bytes an idle connection, 4 KiB in its future",
        "4 KiB boxed",
        "one buffer for all",
    ]);
    for name in ["raw", "reveille"].iter().chain(PEERS) {
        eprintln!("counts: {name}");
        let label = || [(*name).to_owned()].into_iter();
        calls.row(label().chain(system_calls(of_calls, name, effort).map(shown)));
        if !URING.contains(name) {
            let operations = OPERATIONS.iter();
            let counts = operations.map(|(_, operation)| operate(name, operation, effort));
            let counts = counts.chain(echo(name, effort));
            instructions.row(label().chain(counts.map(|count| shown(count.map(f64::round)))));
        }
        memory.row(label().chain(bytes(name, effort).map(shown)));
    }
    let names = names(of_calls, effort)?;
    Ok(vec![
        (title("System calls", of_calls), calls),
        (
            title("The calls that a connection makes", of_calls.named()),
            names,
        ),
        (
            "Instructions of user space (valgrind)".to_owned(),
            instructions,
        ),
        ("Memory".to_owned(), memory),
    ])
}

/// The title, with the tool that has counted.
fn title(what: &str, tool: Tool) -> String {
    let by = match tool {
        Tool::Perf => {
            "perf, raw_syscalls:sys_enter; what an io_uring is asked for by its memory is no call"
        }
        Tool::PerfByName => "perf, syscalls:sys_enter_*",
        Tool::Strace | Tool::Valgrind => {
            "strace, because perf is refused here: so slow that all bytes of a connection are there already, and it \
             makes fewer calls than it does"
        }
    };
    format!("{what} ({by})")
}

/// Up to two decimals; nothing if it could not be counted.
fn shown(count: io::Result<f64>) -> String {
    let text = count.map(|count| format!("{count:.2}")).unwrap_or_default();
    text.trim_end_matches(".00").to_owned()
}

/// A server of this contender, under a tool.
fn server(name: &str) -> impl Fn(&[String]) -> io::Result<Child> {
    move |tool| Child::server(tool, name, Buffer::usual(name))
}

/// Of a short run and of a long one.
fn numbers(effort: Effort) -> [u64; 2] {
    [100, 100 + 1000 / effort.divisor]
}

fn churned(server: &mut Child, n: u64) -> io::Result<()> {
    churn(server.port, n, 0).map(drop)
}

fn system_calls(tool: Tool, name: &str, effort: Effort) -> [io::Result<f64>; 3] {
    let count = |work: fn(&mut Child, u64) -> io::Result<()>| {
        tool.count(numbers(effort), server(name), work)
    };
    [
        count(|server, n| Load::connect(server.port, 1)?.in_turn(n, PAUSE)),
        count(|server, n| {
            let mut load = Load::connect(server.port, CONNECTIONS)?;
            load.run(0..CONNECTIONS, PING_PONG, Until::Sent(n))
                .map(drop)
        }),
        count(churned),
    ]
}

/// Calls a connection by name: a row each, and their sum.
fn names(tool: Tool, effort: Effort) -> io::Result<Table> {
    let count = |name| tool.named().by_name(numbers(effort), server(name), churned);
    let columns: Vec<Counts> = NAMED
        .iter()
        .map(|name| count(name))
        .collect::<io::Result<_>>()?;
    let calls = columns.iter().flatten();
    let calls = calls.filter(|(_, count)| **count >= SELDOM);
    let calls: BTreeSet<&String> = calls.map(|(call, _)| call).collect();
    let mut table = Table::of_rows(calls.iter().map(|call| format!("`{call}`")));
    table.row(["all".to_owned()]);
    for (name, counts) in NAMED.iter().zip(&columns) {
        let of = |call: &&String| counts.get(*call).copied().unwrap_or(0.0);
        let all = calls.iter().map(of).chain([counts.values().sum()]);
        table.column(*name, all.map(|count| shown(Ok(count))));
    }
    Ok(table)
}

fn operate(name: &str, operation: &str, effort: Effort) -> io::Result<f64> {
    let start = |tool: &[String]| Child::operator(tool, name);
    let counts = [1000, 1000 + 20_000 / effort.divisor];
    Tool::Valgrind.count(counts, start, |operator, n| {
        operator.operate(operation, n).map(drop)
    })
}

fn echo(name: &str, effort: Effort) -> [io::Result<f64>; 2] {
    let counts = [1000, 1000 + 10_000 / effort.divisor];
    [
        Tool::Valgrind.count(counts, server(name), |server, n| {
            Load::connect(server.port, CONNECTIONS)?.in_turn(n, Duration::ZERO)
        }),
        Tool::Valgrind.count(counts, server(name), |server, n| {
            let mut load = Load::connect(server.port, CONNECTIONS)?;
            load.run(0..CONNECTIONS, PING_PONG, Until::Sent(n))
                .map(drop)
        }),
    ]
}

fn bytes(name: &str, effort: Effort) -> [io::Result<f64>; 5] {
    let task = Child::operator(&[], name)
        .and_then(|mut operator| operator.operate(&format!("memory:{TASKS}"), 1));
    let (allocations, size) = match task {
        Ok(sample) => (Ok(sample.wall), Ok(sample.cpu)),
        Err(error) => (Err(error), Err(io::ErrorKind::Unsupported.into())),
    };
    let idle = IDLE / effort.divisor as usize;
    let connection = |buffer: Buffer| {
        // The loop has one for all in any case.
        if !buffer.suits(name) || (name == "raw" && buffer == Buffer::Own) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(memory::connections(name, buffer, idle)?.waiting.round())
    };
    [
        allocations,
        size,
        connection(Buffer::Own),
        connection(Buffer::Boxed),
        connection(Buffer::Shared),
    ]
}
