//! Scaling: what an operation costs as there are more tasks, timers and connections; and what stays behind.
//!
//! Interface: [`scaling`] returns the tables, and draws scaling.svg.
//! Invariant: as in `executor`. The plot shows medians; a point is missing where a contender failed.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::Effort;
use crate::child::{CPU, Child, LOAD_CPU};
use crate::contenders::Buffer;
use crate::crowds::CROWDS;
use crate::load::PING_PONG;
use crate::plot::{Chart, draw};
use crate::stats::median;
use crate::table::{Table, time};

/// Those of one thread that get by without io_uring.
const NAMES: &[&str] = if cfg!(feature = "peers") {
    &["reveille", "tokio", "smol", "monoio epoll"]
} else {
    &["reveille"]
};

/// An operation of a size, and how often; at least once for each of its tasks.
const OPERATIONS: &[(&str, &str, u64)] = &[
    ("self-wake, tasks", "self-wake", 200_000),
    ("spawn and await, tasks at once", "spawn-batch", 50_000),
    ("timer made, polled, dropped, timers", "timer", 100_000),
];
const SIZES: &[usize] = &[10, 100, 1000, 10_000, 100_000, 1_000_000];

/// Those that gather crowds.
const CROWD_NAMES: &[&str] = if cfg!(feature = "peers") {
    &["reveille", "tokio"]
} else {
    &["reveille"]
};

const ECHO: &str = "echo of 64 bytes (server CPU), connections";
const CONNECTIONS: &[usize] = &[10, 100, 1000, 10_000];

/// Tasks of the burst.
const BURST: usize = 1_000_000;
/// Operations of one thread beside another.
const PAIRED: u64 = 500_000;
/// Connections to each of two runtimes.
const PAIRED_CONNECTIONS: usize = 50;

pub fn scaling(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    let rounds = effort.rounds.div_ceil(3);
    let most = 1_000_000 / effort.divisor as usize;
    let mut charts = Vec::new();
    for &(title, operation, n) in OPERATIONS {
        let mut chart = Chart::new(title, NAMES);
        for &size in SIZES.iter().filter(|size| **size <= most) {
            eprintln!("scaling: {size} of {title}");
            chart.column(size, &samples(operation, size, n / effort.divisor, rounds)?);
        }
        charts.push(chart);
    }
    let mut chart = Chart::new(ECHO, NAMES);
    for &size in CONNECTIONS.iter().filter(|size| **size * 100 <= most) {
        eprintln!("scaling: {size} of {ECHO}");
        chart.column(size, &echo(size, rounds, effort)?);
    }
    charts.push(chart);
    let svg = Path::new(env!("CARGO_MANIFEST_DIR")).join("scaling.svg");
    if effort.draws {
        std::fs::write(svg, draw(&charts))?;
    }
    let tables = charts
        .iter()
        .map(|chart| (chart.title.to_owned(), table(chart)));
    Ok(tables
        .chain([
            burst(most.min(BURST))?,
            pair(effort)?,
            pair_of_servers(effort)?,
            crowds(most, rounds)?,
        ])
        .collect())
}

fn table(chart: &Chart) -> Table {
    let sizes = chart.sizes.iter().map(ToString::to_string);
    let mut table = Table::new([String::new()].into_iter().chain(sizes));
    for (name, line) in NAMES.iter().zip(&chart.lines) {
        table.row(
            [(*name).to_owned()]
                .into_iter()
                .chain(line.iter().map(|ns| time(*ns))),
        );
    }
    table
}

/// The median of each contender, in nanoseconds.
fn samples(operation: &str, size: usize, n: u64, rounds: usize) -> io::Result<Vec<f64>> {
    let mut samples = vec![Vec::new(); NAMES.len()];
    let mut operators = Vec::new();
    for name in NAMES {
        operators.push(Child::operator(&[], name)?);
    }
    for round in 0..rounds {
        for place in 0..NAMES.len() {
            let which = (round + place) % NAMES.len();
            let sample = operators[which].operate(&format!("{operation}:{size}"), n)?;
            samples[which].push(sample.wall);
        }
    }
    Ok(samples.iter().map(|samples| median(samples)).collect())
}

fn echo(connections: usize, rounds: usize, effort: Effort) -> io::Result<Vec<f64>> {
    let mut samples = vec![Vec::new(); NAMES.len()];
    let mut pairs = Vec::new();
    for name in NAMES {
        let server = Child::server(&[], name, Buffer::Own)?;
        let load = Child::load(server.port, connections)?;
        pairs.push((server, load));
    }
    for round in 0..rounds {
        for place in 0..NAMES.len() {
            let which = (round + place) % NAMES.len();
            let (server, load) = &mut pairs[which];
            let before = server.cpu_time()?;
            let slice = load.run(connections, PING_PONG, effort.slice)?;
            let cpu = server.cpu_time()? - before;
            samples[which].push(cpu.as_nanos() as f64 / slice.messages as f64);
        }
    }
    Ok(samples.iter().map(|samples| median(samples)).collect())
}

/// What a burst of tasks leaves behind, in bytes a task.
fn burst(tasks: usize) -> io::Result<(String, Table)> {
    let mut table = Table::new(["", "resident", "allocated"]);
    for name in NAMES {
        let sample = Child::operator(&[], name)?.operate(&format!("burst:{tasks}"), 1)?;
        let bytes = |bytes: f64| format!("{bytes:.1}");
        table.row([(*name).to_owned(), bytes(sample.wall), bytes(sample.cpu)]);
    }
    Ok((
        format!("Bytes a task that are kept after a burst of {tasks} tasks"),
        table,
    ))
}

/// The CPU of one of a crowd that comes to a process for the first time. What a contender cannot do is an empty cell.
fn crowds(most: usize, rounds: usize) -> io::Result<(String, Table)> {
    let mut table = Table::new(["", "of"].iter().chain(CROWD_NAMES).copied());
    for crowd in CROWDS {
        for size in crowd.sizes()?.into_iter().filter(|size| *size <= most) {
            eprintln!("scaling: {size} {}", crowd.title());
            let operation = format!("{}:{size}", crowd.name());
            let cost = |name| {
                let mut operator = Child::operator(&[], name)?;
                io::Result::Ok(operator.operate(&operation, size as u64)?.cpu)
            };
            let mut samples = vec![Vec::new(); CROWD_NAMES.len()];
            for _ in 0..rounds {
                for (name, samples) in CROWD_NAMES.iter().zip(&mut samples) {
                    samples.extend(cost(name));
                }
            }
            let shown = |samples: &Vec<f64>| match samples[..] {
                [] => String::new(),
                _ => time(median(samples)),
            };
            let label = [crowd.title().to_owned(), size.to_string()];
            table.row(label.into_iter().chain(samples.iter().map(shown)));
        }
    }
    let title = "Crowds: cost of each (CPU), by how many there are";
    Ok((title.to_owned(), table))
}

/// The CPU of an operation, of one runtime alone and of one beside another on another thread and CPU.
fn pair(effort: Effort) -> io::Result<(String, Table)> {
    let mut table = Table::new(["", "one", "two"]);
    for name in NAMES {
        let mut alone = Vec::new();
        let mut beside = Vec::new();
        let n = PAIRED / effort.divisor;
        let mut operator = Child::operator(&[], name)?;
        for _ in 0..effort.rounds {
            for (samples, runtimes) in [(&mut alone, 1), (&mut beside, 2)] {
                let before = operator.cpu_time()?;
                operator.operate(&format!("{runtimes} cell"), n)?;
                let cpu = operator.cpu_time()? - before;
                samples.push(cpu.as_nanos() as f64 / (runtimes * n) as f64);
            }
        }
        table.row([
            (*name).to_owned(),
            time(median(&alone)),
            time(median(&beside)),
        ]);
    }
    let title = "CPU of a ping-pong through a cell, of one runtime and of two on two threads";
    Ok((title.to_owned(), table))
}

/// The CPU of a message of two servers at once, on a CPU each, which the load shares: in a process each,
/// and on two threads of one.
fn pair_of_servers(effort: Effort) -> io::Result<(String, Table)> {
    const LAYOUTS: [&[&[usize]]; 2] = [&[&[CPU], &[LOAD_CPU]], &[&[CPU, LOAD_CPU]]];
    let mut table = Table::new(["", "a process each", "two threads of one"]);
    for name in NAMES {
        let mut samples = LAYOUTS.map(|_| Vec::new());
        let mut sets = Vec::new();
        for layout in LAYOUTS {
            let (mut servers, mut loads) = (Vec::new(), Vec::new());
            for cpus in layout {
                let (server, ports) = Child::servers(name, cpus)?;
                servers.push(server);
                for port in ports {
                    loads.push(Child::load(port, PAIRED_CONNECTIONS)?);
                }
            }
            sets.push((servers, loads));
        }
        for round in 0..effort.rounds {
            for place in 0..LAYOUTS.len() {
                let which = (round + place) % LAYOUTS.len();
                let (servers, loads) = &mut sets[which];
                samples[which].push(cpu_of_a_message(servers, loads, effort)?);
            }
        }
        let medians = samples.iter().map(|samples| time(median(samples)));
        table.row([(*name).to_owned()].into_iter().chain(medians));
    }
    let title =
        format!("CPU of a message of two servers at once, {PAIRED_CONNECTIONS} connections each");
    Ok((title, table))
}

/// Of all `servers`, while all `loads` run at once.
fn cpu_of_a_message(servers: &[Child], loads: &mut [Child], effort: Effort) -> io::Result<f64> {
    let cpu_time = || {
        servers
            .iter()
            .map(Child::cpu_time)
            .sum::<io::Result<Duration>>()
    };
    let before = cpu_time()?;
    let messages = thread::scope(|scope| {
        let run = |load: &mut Child| load.run(PAIRED_CONNECTIONS, PING_PONG, effort.slice);
        let runs = loads.iter_mut().map(|load| scope.spawn(move || run(load)));
        let runs: Vec<_> = runs.collect();
        let slices = runs
            .into_iter()
            .map(|run| run.join().expect("no load panics"));
        slices
            .map(|slice| Ok(slice?.messages))
            .sum::<io::Result<u64>>()
    })?;
    Ok((cpu_time()? - before).as_nanos() as f64 / messages as f64)
}
