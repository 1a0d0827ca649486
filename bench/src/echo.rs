//! Echo over loopback: one server a contender, all alive at once, loaded in turn.
//!
//! Interface: [`echo`] measures all [`CASES`] and returns the tables; [`Servers`] measure any of them.
//! Invariant: as in `rounds`. Ratios are against the first contender, the raw loop.

use std::io;
use std::thread;
use std::time::Duration;

use crate::Effort;
use crate::child::Child;
use crate::contenders::{Buffer, PEERS};
use crate::load::{BULK, PING_PONG, Traffic, churn};
use crate::rounds::{Rounds, with_noise};
use crate::table::Table;

pub struct Case {
    pub title: &'static str,
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

/// The case that tells where buffers should live: so many that they are in no cache.
const MANY: Case = Case {
    title: "1,000",
    connections: 1000,
    active: 1000,
    kind: Kind::Streams(PING_PONG),
};

pub const CASES: &[Case] = &[
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
    MANY,
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

/// The figures of a case.
pub const WALL: usize = 0;
pub const CPU: usize = 1;

/// A contender as a server: its label, its name, and what it reads into.
pub type Entrant = (&'static str, &'static str, Buffer);

/// The raw loop and reveille, each of them twice.
pub const TWINS: [Entrant; 4] = [
    ("raw loop", "raw", Buffer::Own),
    ("raw loop, again", "raw", Buffer::Own),
    ("reveille", "reveille", Buffer::Own),
    ("reveille, again", "reveille", Buffer::Own),
];

pub const RAW_SHARED: Entrant = ("raw loop, 64 KiB", "raw", Buffer::Shared);
pub const REVEILLE_BOXED: Entrant = ("reveille, boxed", "reveille", Buffer::Boxed);
pub const REVEILLE_SHARED: Entrant = ("reveille, 64 KiB shared", "reveille", Buffer::Shared);

/// The peers that serve with a buffer of this kind.
pub fn peers(buffer: Buffer) -> impl Iterator<Item = Entrant> {
    let label = move |peer: &'static str| match (buffer, peer) {
        (Buffer::Boxed, "tokio") => "tokio, boxed",
        (Buffer::Shared, "tokio") => "tokio, 64 KiB shared",
        _ => peer,
    };
    let peers = PEERS.iter().filter(move |peer| buffer.suits(peer));
    peers.map(move |peer| (label(peer), *peer, buffer))
}

/// The peers, each with its usual buffer.
pub fn usual_peers() -> impl Iterator<Item = Entrant> {
    PEERS.iter().map(|peer| (*peer, *peer, Buffer::usual(peer)))
}

/// Servers that are alive at once.
pub struct Servers {
    pub labels: Vec<String>,
    servers: Vec<Server>,
    /// Slices of churn so far.
    churned: usize,
}

struct Server {
    child: Child,
    /// The connections to it; `None` where it has failed.
    load: Option<Child>,
}

/// Three tables: time and server CPU, a message; and the CPU again, by where the buffers live.
pub fn echo(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    let fixed = [
        RAW_SHARED,
        REVEILLE_SHARED,
        ("reveille, busy_poll", "reveille busy", Buffer::Own),
    ];
    let peers = usual_peers().chain(peers(Buffer::Shared));
    let mut servers = Servers::start(TWINS.into_iter().chain(fixed).chain(peers));
    let table = || Table::of_rows(with_noise(&servers.labels));
    let (mut wall, mut cpu) = (table(), table());
    for case in CASES {
        let rounds = servers.measure(case, effort);
        wall.column(case.title, rounds.cells(WALL, 0));
        cpu.column(case.title, rounds.cells(CPU, 0));
    }
    drop(servers);
    let note = "a message of 64 bytes, a chunk of 64 KiB, or a connection";
    Ok(vec![
        (
            format!("Time for {note}; with one connection the median round trip"),
            wall,
        ),
        (format!("Server CPU for {note}"), cpu),
        where_the_buffer_lives(effort),
    ])
}

/// The raw loop has one of 4 KiB for all, and tokio and reveille have each of the three.
fn where_the_buffer_lives(effort: Effort) -> (String, Table) {
    let tokio = [Buffer::Own, Buffer::Boxed, Buffer::Shared].map(peers);
    let tokio = tokio.into_iter().flatten();
    let tokio = tokio.filter(|(_, name, _)| *name == "tokio");
    let reveille = [REVEILLE_BOXED, REVEILLE_SHARED];
    let mut servers = Servers::start(TWINS.into_iter().chain(reveille).chain(tokio));
    let rounds = servers.measure(&MANY, effort);
    let mut table = Table::of_rows(with_noise(&servers.labels));
    table.column("1,000 connections", rounds.cells(CPU, 0));
    let title = "Where the buffer lives: server CPU of a message; in the future of its connection where nothing \
                 else is said, and the raw loop has one of 4 KiB for all";
    (title.to_owned(), table)
}

impl Servers {
    /// Those of them that start here; a buffer that does not suit its contender is left out.
    pub fn start(entrants: impl Iterator<Item = Entrant>) -> Servers {
        let mut servers = Servers {
            labels: Vec::new(),
            servers: Vec::new(),
            churned: 0,
        };
        for (label, name, buffer) in entrants.filter(|(_, name, buffer)| buffer.suits(name)) {
            match Child::server(&[], name, buffer) {
                Ok(child) => {
                    servers.labels.push(label.to_owned());
                    servers.servers.push(Server { child, load: None });
                }
                Err(error) => eprintln!("{label} does not start here: {error}"),
            }
        }
        servers
    }

    /// The time and the CPU of a message. A server that fails has neither, and a line on stderr.
    pub fn measure(&mut self, case: &Case, effort: Effort) -> Rounds<2> {
        eprintln!("echo: {}", case.title);
        let Servers {
            labels,
            servers,
            churned,
        } = self;
        for (label, server) in labels.iter().zip(servers.iter_mut()) {
            let connections = effort.at_most(case.connections);
            match Child::load(server.child.port, connections) {
                Ok(load) => server.load = Some(load),
                Err(error) => eprintln!("{label}: {error}"),
            }
        }
        let rounds = Rounds::take(labels, effort, |which| {
            *churned += 1;
            let server = &mut servers[which];
            let load = server.load.as_mut()?;
            match figures(&server.child, load, case, effort, *churned) {
                Ok(figures) => Some(figures),
                Err(error) => {
                    eprintln!("{}: {error}", labels[which]);
                    server.load = None;
                    None
                }
            }
        });
        // The ends of ten thousand connections are not to fall into the next case.
        servers.iter_mut().for_each(|server| server.load = None);
        thread::sleep(Duration::from_millis(300));
        rounds
    }
}

/// One slice: [`WALL`] and [`CPU`].
fn figures(
    server: &Child,
    load: &mut Child,
    case: &Case,
    effort: Effort,
    churned: usize,
) -> io::Result<[f64; 2]> {
    let before = server.cpu_time()?;
    let slice = match case.kind {
        Kind::Churn => churn(server.port, CHURNED, churned),
        Kind::Latency => load.run(1, PING_PONG, effort.slice),
        Kind::Streams(traffic) => load.run(effort.at_most(case.active), traffic, effort.slice),
    }?;
    let cpu = server.cpu_time()? - before;
    let per = |time: Duration| time.as_nanos() as f64 / slice.messages as f64;
    let wall = match case.kind {
        Kind::Latency => slice.round_trip,
        Kind::Streams(_) | Kind::Churn => per(slice.elapsed),
    };
    Ok([wall, per(cpu)])
}
