//! Where the instructions of an operation are: by function, without those it calls.
//!
//! Interface: [`profile`] returns the tables.
//! Invariant: as in `tools`, the difference of a long run and a short one. What the compiler has inlined
//! counts as the function it was inlined into, and all instances of a generic function are one.

use std::collections::HashMap;
use std::io;
use std::process::id;

use crate::Effort;
use crate::child::Child;
use crate::contenders::Buffer;
use crate::load::{Load, PING_PONG, Until};
use crate::table::Table;
use crate::tools::Tool;

const OPERATIONS: &[(&str, &str)] = &[
    ("spawn, 1,000 at once", "spawn-batch:1000"),
    ("self-wake", "self-wake:1000"),
    ("ping-pong, cell", "cell"),
    ("timer", "timer"),
];
const CONNECTIONS: usize = 50;

/// Functions of fewer instructions an operation are not shown.
const LEAST: f64 = 10.0;

/// Instructions by function.
type Costs = HashMap<String, f64>;

pub fn profile(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    Tool::Valgrind.version()?;
    let mut tables = Vec::new();
    for (title, operation) in OPERATIONS {
        let start = |tool: &[String]| Child::operator(tool, "reveille");
        let counts = [1000, 1000 + 20_000 / effort.divisor];
        let costs = difference(counts, start, |operator, n| {
            operator.operate(operation, n).map(drop)
        })?;
        tables.push(((*title).to_owned(), table(&costs)));
    }
    let start = |tool: &[String]| Child::server(tool, "reveille", Buffer::Own);
    let counts = [1000, 1000 + 10_000 / effort.divisor];
    let costs = difference(counts, start, |server, n| {
        let mut load = Load::connect(server.port, CONNECTIONS)?;
        load.run(0..CONNECTIONS, PING_PONG, Until::Sent(n))
            .map(drop)
    })?;
    tables.push(("echo, bursts on 50".to_owned(), table(&costs)));
    Ok(tables)
}

fn table(costs: &Costs) -> Table {
    let mut costs: Vec<_> = costs.iter().collect();
    costs.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    let mut table = Table::new(["", "instructions"]);
    let mut others = 0.0;
    for (name, cost) in costs {
        if *cost >= LEAST {
            table.row([format!("`{name}`"), format!("{cost:.0}")]);
        } else {
            others += cost;
        }
    }
    table.row(["others".to_owned(), format!("{others:.0}")]);
    table
}

/// What one more of something costs, by function.
fn difference(
    [few, many]: [u64; 2],
    start: impl Fn(&[String]) -> io::Result<Child>,
    work: impl Fn(&mut Child, u64) -> io::Result<()>,
) -> io::Result<Costs> {
    let run = |n| {
        let out = std::env::temp_dir().join(format!("reveille-profile-{}", id()));
        let file = format!("--callgrind-out-file={}", out.display());
        let tool = "valgrind -q --tool=callgrind --compress-strings=no --compress-pos=no";
        let tool: Vec<_> = tool.split(' ').map(str::to_owned).chain([file]).collect();
        let mut child = start(&tool)?;
        work(&mut child, n)?;
        child.finish()?;
        let report = std::fs::read_to_string(&out)?;
        std::fs::remove_file(out)?;
        Ok::<_, io::Error>(costs(&report))
    };
    let (short, mut long) = (run(few)?, run(many)?);
    for (name, cost) in &mut long {
        *cost = (*cost - short.get(name).unwrap_or(&0.0)) / (many - few) as f64;
    }
    Ok(long)
}

/// Of a callgrind.out file: `fn=NAME`, then lines of a position and a cost. The line after `calls=` is
/// what the callee took.
fn costs(report: &str) -> Costs {
    let mut costs = Costs::new();
    let mut function = String::new();
    let mut lines = report.lines();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name.to_owned();
        } else if line.starts_with("calls=") {
            lines.next();
        } else if let Some((_position, cost)) = line.split_once(' ')
            && line.starts_with(|first: char| first.is_ascii_digit())
            && let Ok(cost) = cost.parse::<f64>()
        {
            *costs.entry(function.clone()).or_default() += cost;
        }
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::costs;

    #[test]
    fn what_a_function_calls_is_not_its_own_cost() {
        let report = "version: 1\nevents: Ir\nfl=a.rs\nfn=one\n3 10\ncfn=two\ncalls=2 7\n3 500\n4 5\n\nfn=two\n7 500\n";
        let costs = costs(report);
        assert_eq!((costs["one"], costs["two"]), (15.0, 500.0));
    }
}
