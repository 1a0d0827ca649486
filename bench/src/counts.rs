//! Exact counts beside the times: system calls, instructions, allocations, memory.
//!
//! Interface: [`counts`] returns the tables.
//! Invariant: as in `tools`. A contender that cannot do a thing leaves its cell empty.

use std::io;
use std::time::Duration;

use crate::Effort;
use crate::child::Child;
use crate::contenders::{Buffer, PEERS, SHARING, URING};
use crate::load::{Load, PING_PONG, Until, churn};
use crate::operations::resident_bytes;
use crate::table::Table;
use crate::tools::Tool;

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

pub fn counts(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    Tool::Valgrind.version()?;
    Tool::Strace.version()?;
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
        "resident bytes an idle connection, 4 KiB buffers",
        "one buffer for all",
    ]);
    for name in ["raw", "reveille"].iter().chain(PEERS) {
        eprintln!("counts: {name}");
        let label = || [(*name).to_owned()].into_iter();
        calls.row(label().chain(system_calls(name, effort).map(shown)));
        if !URING.contains(name) {
            let operations = OPERATIONS.iter();
            let counts = operations.map(|(_, operation)| operate(name, operation, effort));
            let counts = counts.chain(echo(name, effort));
            instructions.row(label().chain(counts.map(|count| shown(count.map(f64::round)))));
        }
        memory.row(label().chain(bytes(name, effort).map(shown)));
    }
    Ok(vec![
        ("System calls (strace)".to_owned(), calls),
        (
            "Instructions of user space (valgrind)".to_owned(),
            instructions,
        ),
        ("Memory".to_owned(), memory),
    ])
}

/// Up to two decimals; nothing if it could not be counted.
fn shown(count: io::Result<f64>) -> String {
    let text = count.map(|count| format!("{count:.2}")).unwrap_or_default();
    text.trim_end_matches(".00").to_owned()
}

fn system_calls(name: &str, effort: Effort) -> [io::Result<f64>; 3] {
    let start = |tool: &[String]| Child::server(tool, name, Buffer::Own);
    let [few, many] = [100, 100 + 1000 / effort.divisor];
    let count = |work: fn(&Child, u64) -> io::Result<()>| {
        Tool::Strace.count([few, many], start, |server, n| work(server, n))
    };
    [
        count(|server, n| Load::connect(server.port, 1)?.in_turn(n, PAUSE)),
        count(|server, n| {
            let mut load = Load::connect(server.port, CONNECTIONS)?;
            load.run(0..CONNECTIONS, PING_PONG, Until::Sent(n))
                .map(drop)
        }),
        count(|server, n| churn(server.port, n, 0).map(drop)),
    ]
}

fn operate(name: &str, operation: &str, effort: Effort) -> io::Result<f64> {
    let start = |tool: &[String]| Child::operator(tool, name);
    let counts = [1000, 1000 + 20_000 / effort.divisor];
    Tool::Valgrind.count(counts, start, |operator, n| {
        operator.operate(operation, n).map(drop)
    })
}

fn echo(name: &str, effort: Effort) -> [io::Result<f64>; 2] {
    let start = |tool: &[String]| Child::server(tool, name, Buffer::Own);
    let counts = [1000, 1000 + 10_000 / effort.divisor];
    [
        Tool::Valgrind.count(counts, start, |server, n| {
            Load::connect(server.port, CONNECTIONS)?.in_turn(n, Duration::ZERO)
        }),
        Tool::Valgrind.count(counts, start, |server, n| {
            let mut load = Load::connect(server.port, CONNECTIONS)?;
            load.run(0..CONNECTIONS, PING_PONG, Until::Sent(n))
                .map(drop)
        }),
    ]
}

fn bytes(name: &str, effort: Effort) -> [io::Result<f64>; 4] {
    let task = Child::operator(&[], name)
        .and_then(|mut operator| operator.operate(&format!("memory:{TASKS}"), 1));
    let (allocations, size) = match task {
        Ok(sample) => (Ok(sample.wall), Ok(sample.cpu)),
        Err(error) => (Err(error), Err(io::ErrorKind::Unsupported.into())),
    };
    let idle = IDLE / effort.divisor as usize;
    let connection = |buffer| {
        if buffer == Buffer::Shared && !SHARING.contains(&name) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let server = Child::server(&[], name, buffer)?;
        // The first few take what is there once.
        let _few = Load::connect(server.port, CONNECTIONS)?;
        let before = resident_bytes(&server.pid.to_string());
        let _load = Child::load(server.port, idle)?;
        let after = resident_bytes(&server.pid.to_string());
        Ok(((after - before) as f64 / idle as f64).round())
    };
    [
        allocations,
        size,
        connection(Buffer::Own),
        connection(Buffer::Shared),
    ]
}
