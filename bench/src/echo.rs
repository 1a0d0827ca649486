//! Echo over loopback: one server a contender, all alive at once, loaded in turn.
//!
//! Interface: [`echo`] measures all [`CASES`] and returns the tables.
//! Invariant: a round loads each contender once, in an order that rotates; ratios are taken within a round,
//! against the first contender. The first is there twice, under another name: what the two differ by is noise.

use std::io;
use std::time::Duration;

use crate::Effort;
use crate::child::Child;
use crate::contenders::{Buffer, PEERS};
use crate::load::{BULK, PING_PONG, Slice, Traffic, churn};
use crate::stats::{median, ratios};
use crate::table::{Table, ratio, time};

struct Case {
    title: &'static str,
    connections: usize,
    active: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Messages there and back; what is reported is messages.
    Streams(Traffic),
    /// One connection: what is reported is the round trip.
    Latency,
    /// What is reported is connections.
    Churn,
}

const CASES: &[Case] = &[
    Case {
        title: "1 connection",
        connections: 1,
        active: 1,
        kind: Kind::Latency,
    },
    Case {
        title: "50",
        connections: 50,
        active: 50,
        kind: Kind::Streams(PING_PONG),
    },
    Case {
        title: "1,000",
        connections: 1000,
        active: 1000,
        kind: Kind::Streams(PING_PONG),
    },
    Case {
        title: "10,000",
        connections: 10_000,
        active: 10_000,
        kind: Kind::Streams(PING_PONG),
    },
    Case {
        title: "50 beside 10,000 idle",
        connections: 10_050,
        active: 50,
        kind: Kind::Streams(PING_PONG),
    },
    Case {
        title: "4 bulk streams, 64 KiB",
        connections: 4,
        active: 4,
        kind: Kind::Streams(BULK),
    },
    Case {
        title: "connect, echo, close",
        connections: 0,
        active: 0,
        kind: Kind::Churn,
    },
];

/// Connections of a slice of churn.
const CHURNED: u64 = 1000;

/// A server, what was seen of it, and the connections to it.
struct Server {
    label: String,
    child: Child,
    load: Option<Child>,
    // One sample a round, in nanoseconds a message (or connection):
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

/// Two tables: time and server CPU, a message.
pub fn echo(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    let mut servers = start()?;
    let head = || {
        ["".to_owned()]
            .into_iter()
            .chain(CASES.iter().map(|case| case.title.to_owned()))
    };
    let (mut wall, mut cpu) = (Table::new(head()), Table::new(head()));
    for table in [&mut wall, &mut cpu] {
        table.rows = servers
            .iter()
            .map(|server| vec![server.label.clone()])
            .collect();
    }
    let mut churned = 0;
    for case in CASES {
        measure(case, effort, &mut servers, &mut churned)?;
        for (table, samples) in [
            (
                &mut wall,
                (|server| &server.wall) as fn(&Server) -> &Vec<f64>,
            ),
            (&mut cpu, |server| &server.cpu),
        ] {
            let base = samples(&servers[0]).clone();
            for (row, server) in table.rows.iter_mut().zip(&servers) {
                row.push(cell(samples(server), &base));
            }
        }
    }
    let note = "a message of 64 bytes, a chunk of 64 KiB, or a connection";
    Ok(vec![
        (
            format!("Time for {note}; with one connection the median round trip"),
            wall,
        ),
        (format!("Server CPU for {note}"), cpu),
    ])
}

fn start() -> io::Result<Vec<Server>> {
    let fixed = [
        ("raw loop", "raw", Buffer::Own),
        ("raw loop, again", "raw", Buffer::Own),
        ("raw loop, 64 KiB", "raw", Buffer::Shared),
        ("reveille", "reveille", Buffer::Own),
        ("reveille, 64 KiB shared", "reveille", Buffer::Shared),
        ("reveille, busy_poll", "reveille busy", Buffer::Own),
    ];
    let peers = PEERS.iter().map(|peer| (*peer, *peer, Buffer::Own));
    let shared = PEERS.iter().filter(|peer| **peer == "tokio");
    let shared = shared.map(|peer| ("tokio, 64 KiB shared", *peer, Buffer::Shared));
    let mut servers = Vec::new();
    for (label, name, buffer) in fixed.into_iter().chain(peers).chain(shared) {
        match Child::server(&[], name, buffer) {
            Ok(child) => servers.push(Server {
                label: label.to_owned(),
                child,
                load: None,
                wall: Vec::new(),
                cpu: Vec::new(),
            }),
            Err(error) => eprintln!("{label} does not start here: {error}"),
        }
    }
    Ok(servers)
}

/// Fills the servers' samples. A server that fails has none, and a line on stderr.
fn measure(
    case: &Case,
    effort: Effort,
    servers: &mut [Server],
    churned: &mut usize,
) -> io::Result<()> {
    eprintln!("echo: {}", case.title);
    for server in servers.iter_mut() {
        server.forget();
        server.load = None;
        let connections = effort.at_most(case.connections);
        match Child::load(server.child.port, connections) {
            Ok(load) => server.load = Some(load),
            Err(error) => eprintln!("{}: {error}", server.label),
        }
    }
    for round in 0..effort.rounds {
        for place in 0..servers.len() {
            *churned += 1;
            let count = servers.len();
            let server = &mut servers[(round + place) % count];
            let Some(load) = &mut server.load else {
                continue;
            };
            let before = server.child.cpu_time()?;
            let slice = match case.kind {
                Kind::Churn => churn(server.child.port, CHURNED, *churned),
                Kind::Latency => load.run(1, PING_PONG, effort.slice),
                Kind::Streams(traffic) => {
                    load.run(effort.at_most(case.active), traffic, effort.slice)
                }
            };
            match slice {
                Ok(slice) => server.note(case.kind, slice, server.child.cpu_time()? - before),
                Err(error) => {
                    eprintln!("{}: {error}", server.label);
                    server.load = None;
                    server.forget();
                }
            }
        }
    }
    // The ends of ten thousand connections are not to fall into the next case.
    servers.iter_mut().for_each(|server| server.load = None);
    std::thread::sleep(Duration::from_millis(300));
    Ok(())
}

impl Server {
    fn forget(&mut self) {
        self.wall.clear();
        self.cpu.clear();
    }

    fn note(&mut self, kind: Kind, slice: Slice, cpu: Duration) {
        let per = |time: Duration| time.as_nanos() as f64 / slice.messages as f64;
        self.wall.push(if kind == Kind::Latency {
            slice.round_trip
        } else {
            per(slice.elapsed)
        });
        self.cpu.push(per(cpu));
    }
}

/// A median, and how many times the base that is.
pub fn cell(samples: &[f64], base: &[f64]) -> String {
    match ratios(samples, base) {
        Some(quartiles) => format!("{}{}", time(median(samples)), ratio(quartiles)),
        None => String::new(),
    }
}
