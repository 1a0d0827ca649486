//! Datagrams: an echo of UDP over loopback, with one datagram a system call and with 32.
//!
//! Interface: [`udp`] returns the tables.
//! Invariant: as in `rounds`; ratios are against the first contender, the raw loop with one datagram a call. What is counted
//! exactly is counted of servers that sleep before each window, and run last, so that it is there as a whole when they wake.

use std::io;

use crate::Effort;
use crate::child::{Child, Turn};
use crate::contenders::{PEERS, URING};
use crate::load::{Until, Windows};
use crate::rounds::{Rounds, with_noise};
use crate::table::Table;
use crate::tools::Tool;

/// Datagrams a call, where there are many.
const MANY: usize = 32;

/// A label, a name, and datagrams a call.
type Entrant = (&'static str, &'static str, usize);

const ENTRANTS: &[Entrant] = &[
    ("raw loop", "raw", 1),
    ("raw loop, again", "raw", 1),
    ("reveille", "reveille", 1),
    ("reveille, again", "reveille", 1),
    ("raw loop, 32 a call", "raw", MANY),
    ("reveille, 32 a call", "reveille", MANY),
    ("reveille, 32 a call, again", "reveille", MANY),
];

/// The peers that are asked. None of them has a call for many datagrams.
const ASKED: &[Entrant] = &[
    ("tokio", "tokio", 1),
    ("tokio, 32 a call by hand", "tokio", MANY),
    ("smol", "smol", 1),
    ("monoio epoll", "monoio epoll", 1),
    ("monoio uring", "monoio uring", 1),
    ("compio", "compio", 1),
];

struct Case {
    title: &'static str,
    clients: usize,
    window: usize,
}

const CASES: &[Case] = &[
    Case {
        title: "1 under way",
        clients: 1,
        window: 1,
    },
    Case {
        title: "a window of 32",
        clients: 1,
        window: 32,
    },
    Case {
        title: "4 windows of 32",
        clients: 4,
        window: 32,
    },
];

const CLIENTS: usize = 4;

/// The figures of a case.
const WALL: usize = 0;
const CPU: usize = 1;

/// A server, and its clients; `None` where it has failed.
struct Server {
    child: Child,
    clients: Option<Windows>,
    echoed: u64,
    lost: u64,
}

pub fn udp(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    let peers = ASKED.iter().filter(|(_, name, _)| PEERS.contains(name));
    let entrants: Vec<&Entrant> = ENTRANTS.iter().chain(peers).collect();
    let counts = counts(&entrants, effort)?;
    let mut labels = Vec::new();
    let mut servers = Vec::new();
    for (label, name, at_once) in entrants {
        match Server::start(name, *at_once) {
            Ok(server) => {
                labels.push((*label).to_owned());
                servers.push(server);
            }
            Err(error) => eprintln!("{label} does not start here: {error}"),
        }
    }
    let table = || Table::of_rows(with_noise(&labels));
    let (mut wall, mut cpu) = (table(), table());
    for case in CASES {
        eprintln!("udp: {}", case.title);
        let rounds = Rounds::take(&labels, effort, |which| {
            let server = &mut servers[which];
            match server.figures(case, effort) {
                Ok(figures) => Some(figures),
                Err(error) => {
                    eprintln!("{}: {error}", labels[which]);
                    server.clients = None;
                    None
                }
            }
        });
        wall.column(case.title, rounds.cells(WALL, 0));
        cpu.column(case.title, rounds.cells(CPU, 0));
    }
    let losses = servers.iter().map(|server| server.lost.to_string());
    let echoes = servers
        .iter()
        .map(|server| format!("{:.1}", server.echoed as f64 / 1e6));
    // Beside the noise is nothing.
    let none = || [String::new()];
    wall.column("millions echoed", echoes.chain(none()));
    wall.column("lost", losses.chain(none()));
    let note = "a datagram of 64 bytes";
    Ok(vec![
        (
            format!("Time for {note}; with 1 under way the median round trip"),
            wall,
        ),
        (format!("Server CPU for {note}"), cpu),
        counts,
    ])
}

impl Server {
    fn start(name: &str, at_once: usize) -> io::Result<Server> {
        let child = Child::of_datagrams(&[], name, at_once, Turn::Free)?;
        let clients = Windows::connect(child.port, CLIENTS)?;
        Ok(Server {
            child,
            clients: Some(clients),
            echoed: 0,
            lost: 0,
        })
    }

    /// One slice: [`WALL`] and [`CPU`].
    fn figures(&mut self, case: &Case, effort: Effort) -> io::Result<[f64; 2]> {
        let clients = self.clients.as_mut();
        let clients = clients.ok_or_else(|| io::Error::other("it has failed before"))?;
        let before = self.child.cpu_time()?;
        let echoed = clients.run(case.clients, case.window, Until::Over(effort.slice))?;
        let cpu = self.child.cpu_time()? - before;
        self.echoed += echoed.datagrams;
        self.lost += echoed.lost;
        let each = |nanoseconds: u128| nanoseconds as f64 / echoed.datagrams as f64;
        let wall = match case.window {
            1 => echoed.round_trip,
            _ => each(echoed.elapsed.as_nanos()),
        };
        Ok([wall, each(cpu.as_nanos())])
    }
}

/// System calls and instructions a datagram.
fn counts(entrants: &[&Entrant], effort: Effort) -> io::Result<(String, Table)> {
    let of_calls = Tool::of_calls()?;
    Tool::Valgrind.version()?;
    let mut table = Table::new([
        "",
        "system calls, alone",
        "one of 32",
        "instructions of user space, alone",
        "one of 32",
    ]);
    let shown = |count: io::Result<f64>| {
        let text = count.map(|count| format!("{count:.2}")).unwrap_or_default();
        text.trim_end_matches(".00").to_owned()
    };
    for (label, name, at_once) in entrants {
        if label.ends_with(", again") {
            continue;
        }
        eprintln!("udp: counts of {label}");
        let count = |tool: Tool, window: usize| {
            let start = |tool: &[String]| Child::of_datagrams(tool, name, *at_once, Turn::Last);
            let windows = [100, 100 + 1000 / effort.divisor];
            tool.count(
                windows.map(|count| count * window as u64),
                start,
                |server, n| Windows::connect(server.port, 1)?.in_turn(server.pid, n, window),
            )
        };
        let instructions = |window: usize| {
            if URING.contains(name) {
                return Err(io::ErrorKind::Unsupported.into());
            }
            count(Tool::Valgrind, window).map(f64::round)
        };
        table.row([
            (*label).to_owned(),
            shown(count(of_calls, 1)),
            shown(count(of_calls, MANY)),
            shown(instructions(1)),
            shown(instructions(MANY)),
        ]);
    }
    let by = match of_calls {
        Tool::Perf => "perf",
        _ => "strace, because perf is refused here",
    };
    let title = format!(
        "System calls ({by}) and instructions (valgrind) a datagram that comes while the server sleeps, alone or as one of 32 that \
         are there when it wakes"
    );
    Ok((title, table))
}
