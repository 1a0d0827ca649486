//! Scaling: what an operation costs as there are more tasks, timers and connections; and what stays behind.
//!
//! Interface: [`scaling`] returns the tables, and draws scaling.svg.
//! Invariant: as in `rounds`, with a third of the rounds. Medians are shown; a point is missing where a contender
//! failed. Connections are as many as the limit of descriptors allows.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::Effort;
use crate::child::{CPU, Child, DESCRIPTORS, LOAD_CPU, OWN_DESCRIPTORS};
use crate::contenders::Buffer;
use crate::crowds::CROWDS;
use crate::load::PING_PONG;
use crate::memory::{self, Held};
use crate::plot::{Chart, draw};
use crate::rounds::{Rounds, original, with_noise};
use crate::sys;
use crate::table::Table;

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
const CONNECTIONS: &[usize] = &[10, 100, 1000, 10_000, 100_000];
/// To open so many takes ten seconds a contender, and a slice is over when each of them has spoken: fewer rounds do.
const MANY: usize = 100_000;
const ROUNDS_OF_MANY: usize = 3;

/// Connections whose memory is shown.
const HELD: &[usize] = &[1000, 10_000, 100_000];

/// Tasks of the burst.
const BURST: usize = 1_000_000;
/// Operations of one thread beside another.
const PAIRED: u64 = 500_000;
/// Connections to each of two runtimes.
const PAIRED_CONNECTIONS: usize = 50;

pub fn scaling(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    let most = 1_000_000 / effort.divisor as usize;
    let effort = Effort {
        rounds: effort.rounds.div_ceil(3),
        ..effort
    };
    let descriptors = sys::raise_descriptors(DESCRIPTORS)?;
    let room = descriptors.saturating_sub(OWN_DESCRIPTORS) as usize;
    let most_connections = room.min(most / 10);
    let mut curves = Vec::new();
    for &(title, operation, n) in OPERATIONS {
        let mut curve = Curve::new(title);
        for &size in SIZES.iter().filter(|size| **size <= most) {
            eprintln!("scaling: {size} of {title}");
            let operation = format!("{operation}:{size}");
            curve.column(size, &operations(&operation, n / effort.divisor, effort)?);
        }
        curves.push(curve);
    }
    let mut curve = Curve::new(ECHO);
    for size in up_to(most_connections, CONNECTIONS) {
        eprintln!("scaling: {size} of {ECHO}");
        curve.column(size, &echo(size, effort)?);
    }
    curves.push(curve);
    let (charts, tables): (Vec<_>, Vec<_>) = curves
        .into_iter()
        .map(|curve| (curve.chart, (curve.title, curve.table)))
        .unzip();
    let svg = Path::new(env!("CARGO_MANIFEST_DIR")).join("scaling.svg");
    if effort.draws {
        std::fs::write(svg, draw(&charts))?;
    }
    let limit = match descriptors {
        DESCRIPTORS.. => String::new(),
        fewer => format!("; a process may have {fewer} descriptors here, and no more connections"),
    };
    let titled = |(title, table): (&str, Table)| match title {
        ECHO => (format!("{title}{limit}"), table),
        _ => (title.to_owned(), table),
    };
    let tables: Vec<_> = tables.into_iter().map(titled).collect();
    let others = [
        held(most_connections)?,
        burst(most.min(BURST))?,
        pair(effort)?,
        pair_of_servers(effort)?,
        crowds(most, effort)?,
    ];
    Ok(tables.into_iter().chain(others).collect())
}

/// A chart, and the table of the same.
struct Curve {
    title: &'static str,
    chart: Chart,
    table: Table,
}

impl Curve {
    fn new(title: &'static str) -> Curve {
        Curve {
            title,
            chart: Chart::new(title, NAMES),
            table: Table::of_rows(with_noise(&labels(NAMES))),
        }
    }

    fn column(&mut self, size: usize, rounds: &Rounds<1>) {
        let median = |name: &&str| rounds.median(rounds.place(name)?, 0);
        let medians: Vec<_> = NAMES.iter().map(median).collect();
        self.chart.column(size, &medians);
        self.table.column(size.to_string(), rounds.times(0));
    }
}

/// These contenders, and reveille once more.
fn labels(names: &[&str]) -> Vec<String> {
    let names = names.iter().copied().chain(["reveille, again"]);
    names.map(str::to_owned).collect()
}

/// What it measures, or a line on stderr.
fn told<T>(label: &str, result: io::Result<T>) -> Option<T> {
    result
        .inspect_err(|error| eprintln!("{label}: {error}"))
        .ok()
}

fn operations(operation: &str, n: u64, effort: Effort) -> io::Result<Rounds<1>> {
    let labels = labels(NAMES);
    let start = |label: &String| Child::operator(&[], original(label));
    let operators: io::Result<Vec<_>> = labels.iter().map(start).collect();
    let mut operators = operators?;
    Ok(Rounds::take(&labels, effort, |which| {
        let sample = operators[which].operate(operation, n);
        told(&labels[which], sample).map(|sample| [sample.wall])
    }))
}

fn echo(connections: usize, effort: Effort) -> io::Result<Rounds<1>> {
    let labels = labels(NAMES);
    let pair = |label: &String| {
        let name = original(label);
        let server = Child::server(&[], name, Buffer::usual(name))?;
        let load = Child::load(server.port, connections)?;
        io::Result::Ok(([server], [load]))
    };
    let pairs: io::Result<Vec<_>> = labels.iter().map(pair).collect();
    let mut pairs = pairs?;
    let rounds = if connections < MANY {
        effort.rounds
    } else {
        ROUNDS_OF_MANY
    };
    Ok(Rounds::take(
        &labels,
        Effort { rounds, ..effort },
        |which| {
            let (server, load) = &mut pairs[which];
            let cpu = cpu_of_a_message(server, load, connections, effort);
            told(&labels[which], cpu).map(|cpu| [cpu])
        },
    ))
}

/// What a server holds for a connection, by how many there are, and what it keeps of the last ones.
fn held(most: usize) -> io::Result<(String, Table)> {
    let usual = NAMES.iter().map(|name| (*name, Buffer::usual(name)));
    let shared = NAMES.iter().filter(|name| Buffer::Shared.suits(name));
    let shared = shared.map(|name| (*name, Buffer::Shared));
    let rows: Vec<_> = [("raw", Buffer::Shared)]
        .into_iter()
        .chain(usual)
        .chain(shared)
        .collect();
    let label = |(name, buffer): &(&str, Buffer)| match buffer {
        Buffer::Shared => format!("{name}, one buffer for all"),
        Buffer::Own | Buffer::Boxed => (*name).to_owned(),
    };
    let mut table = Table::of_rows(rows.iter().map(label));
    let bytes = |bytes: Option<f64>| bytes.map(|bytes| format!("{bytes:.0}")).unwrap_or_default();
    let mut last = vec![None; rows.len()];
    for size in up_to(most, HELD) {
        eprintln!("scaling: memory of {size} connections");
        for (row, last) in rows.iter().zip(&mut last) {
            let (name, buffer) = *row;
            *last = told(name, memory::connections(name, buffer, size));
        }
        let waiting = last
            .iter()
            .map(|held: &Option<Held>| held.map(|held| held.waiting));
        table.column(size.to_string(), waiting.map(bytes));
    }
    let kept = last.iter().map(|held| held.map(|held| held.kept));
    table.column("kept when all have closed", kept.map(bytes));
    let title = "Resident bytes an idle connection, by how many there are; each has 4 KiB of its own, or where it is \
                 said one buffer is for all";
    Ok((title.to_owned(), table))
}

/// These sizes; or the smaller ones and the most that there may be.
fn up_to(most: usize, sizes: &[usize]) -> Vec<usize> {
    let mut fitting: Vec<_> = sizes.iter().copied().filter(|size| *size <= most).collect();
    if fitting.len() < sizes.len() && fitting.last() != Some(&most) {
        fitting.push(most);
    }
    fitting
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
fn crowds(most: usize, effort: Effort) -> io::Result<(String, Table)> {
    let labels = labels(CROWD_NAMES);
    let head = ["".to_owned(), "of".to_owned()].into_iter();
    let mut table = Table::new(head.chain(with_noise(&labels)));
    for crowd in CROWDS {
        for size in crowd.sizes()?.into_iter().filter(|size| *size <= most) {
            eprintln!("scaling: {size} {}", crowd.title());
            let operation = format!("{}:{size}", crowd.name());
            let cost = |label| {
                let mut operator = Child::operator(&[], original(label))?;
                io::Result::Ok(operator.operate(&operation, size as u64)?.cpu)
            };
            let rounds = Rounds::take(&labels, effort, |which| {
                let label = &labels[which];
                told(label, cost(label)).map(|cpu| [cpu])
            });
            let label = [crowd.title().to_owned(), size.to_string()];
            table.row(label.into_iter().chain(rounds.times(0)));
        }
    }
    let title = "Crowds: cost of each (CPU), by how many there are";
    Ok((title.to_owned(), table))
}

/// The CPU of an operation, of one runtime alone and of one beside another on another thread and CPU.
fn pair(effort: Effort) -> io::Result<(String, Table)> {
    let labels = labels(NAMES);
    let n = PAIRED / effort.divisor;
    let start = |label: &String| Child::operator(&[], original(label));
    let operators: io::Result<Vec<_>> = labels.iter().map(start).collect();
    let mut operators = operators?;
    let mut cpu = |which: usize, runtimes: u64| {
        let operator = &mut operators[which];
        let before = operator.cpu_time()?;
        operator.operate(&format!("{runtimes} cell"), n)?;
        let cpu = operator.cpu_time()? - before;
        io::Result::Ok(cpu.as_nanos() as f64 / (runtimes * n) as f64)
    };
    let rounds = Rounds::take(&labels, effort, |which| {
        let mut cpu = |runtimes| told(&labels[which], cpu(which, runtimes));
        Some([cpu(1)?, cpu(2)?])
    });
    let mut table = Table::of_rows(with_noise(&labels));
    table.column("one", rounds.times(0));
    table.column("two", rounds.times(1));
    let title = "CPU of a ping-pong through a cell, of one runtime and of two on two threads";
    Ok((title.to_owned(), table))
}

/// Servers, and the loads of all of them.
type Layout = (Vec<Child>, Vec<Child>);

/// The CPU of a message of two servers at once, on a CPU each, which the load shares: in a process each,
/// and on two threads of one.
fn pair_of_servers(effort: Effort) -> io::Result<(String, Table)> {
    const EACH: &[&[usize]] = &[&[CPU], &[LOAD_CPU]];
    const TOGETHER: &[&[usize]] = &[&[CPU, LOAD_CPU]];
    let labels = labels(NAMES);
    let start = |label: &String| {
        let name = original(label);
        io::Result::Ok([layout(name, EACH)?, layout(name, TOGETHER)?])
    };
    let layouts: io::Result<Vec<_>> = labels.iter().map(start).collect();
    let mut layouts = layouts?;
    let rounds = Rounds::take(&labels, effort, |which| {
        let [each, together] = &mut layouts[which];
        let cpu = |(servers, loads): &mut Layout| {
            let cpu = cpu_of_a_message(servers, loads, PAIRED_CONNECTIONS, effort);
            told(&labels[which], cpu)
        };
        Some([cpu(each)?, cpu(together)?])
    });
    let mut table = Table::of_rows(with_noise(&labels));
    table.column("a process each", rounds.times(0));
    table.column("two threads of one", rounds.times(1));
    let title =
        format!("CPU of a message of two servers at once, {PAIRED_CONNECTIONS} connections each");
    Ok((title, table))
}

/// A process for each set of CPUs, and a server on each of these.
fn layout(name: &str, processes: &[&[usize]]) -> io::Result<Layout> {
    let (mut servers, mut loads) = (Vec::new(), Vec::new());
    for cpus in processes {
        let (server, ports) = Child::servers(name, cpus)?;
        servers.push(server);
        for port in ports {
            loads.push(Child::load(port, PAIRED_CONNECTIONS)?);
        }
    }
    Ok((servers, loads))
}

/// Of all `servers`, while all `loads` run at once, with so many connections each.
fn cpu_of_a_message(
    servers: &[Child],
    loads: &mut [Child],
    connections: usize,
    effort: Effort,
) -> io::Result<f64> {
    let cpu_time = || {
        servers
            .iter()
            .map(Child::cpu_time)
            .sum::<io::Result<Duration>>()
    };
    let before = cpu_time()?;
    let messages = thread::scope(|scope| {
        let run = |load: &mut Child| load.run(connections, PING_PONG, effort.slice);
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

#[cfg(test)]
mod tests {
    use super::up_to;

    #[test]
    fn a_limit_is_the_last_size() {
        assert_eq!(up_to(1000, &[10, 100, 1000]), [10, 100, 1000]);
        assert_eq!(up_to(2000, &[10, 100, 1000]), [10, 100, 1000]);
        assert_eq!(up_to(500, &[10, 100, 1000]), [10, 100, 500]);
        assert_eq!(up_to(100, &[10, 100, 1000]), [10, 100]);
    }
}
