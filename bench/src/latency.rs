//! Latency: how long a message takes while the server is half busy, and while a stream goes on beside it.
//!
//! Interface: [`latency`] returns the tables.
//! Invariant: as in `rounds`, and as in `load::paced`. All contenders have the same load, which is made in this process:
//! half of what saturates the raw loop. A percentile is taken of a slice, and the median of these is shown, so that an
//! accident of the machine is one sample of many; for that a slice is [`SLICES`] times as long as elsewhere.

use std::io;
use std::time::Duration;

use crate::Effort;
use crate::child::Child;
use crate::contenders::{Buffer, PEERS};
use crate::echo::{Entrant, TWINS};
use crate::load::{Load, PING_PONG, Pace, Paced, Until};
use crate::rounds::{Rounds, with_noise};
use crate::stats::{median, percentiles};
use crate::table::{Table, time};

/// Connections that speak.
const SPEAKERS: usize = 50;
/// A slice is so many usual ones: of 10,000 messages and more ten are above the last percentile.
const SLICES: u32 = 2;
/// From one message to the next beside a stream, which is a lot more than the load takes for a chunk.
const BESIDE: Duration = Duration::from_micros(200);

/// The peers that are asked.
const ASKED: &[&str] = &["tokio", "monoio epoll"];

/// A server, and the connections to it.
struct Pair {
    _server: Child,
    load: Load,
}

pub fn latency(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    let (labels, mut pairs) = start()?;
    let message = saturated(&mut pairs[0].load, effort)?;
    let busy = Pace {
        interval: message * 2,
        messages: 0,
        speakers: SPEAKERS,
        streams: false,
    };
    let beside = Pace {
        interval: BESIDE,
        speakers: 1,
        streams: true,
        ..busy
    };
    let shares = [0.5, 0.99, 0.999];
    let rounds = measure(&labels, &mut pairs, busy, effort, |paced| {
        percentiles(&paced.latencies, shares)
    });
    let rate = 1.0 / busy.interval.as_secs_f64();
    let title = format!(
        "Round trip of 64 bytes on {SPEAKERS} connections that take turns, at {rate:.0} messages a second in all, which \
         is half of what the raw loop can do"
    );
    let columns = ["p50", "p99", "p99.9"];
    let busy = (title, table(&labels, columns, &rounds, 0));
    let rounds = measure(&labels, &mut pairs, beside, effort, |paced| {
        let [p50, p99] = percentiles(&paced.latencies, [0.5, 0.99])?;
        Some([p50, p99, paced.chunk])
    });
    let title = format!(
        "Round trip of 64 bytes on one connection, every {}, beside one that streams as fast as it goes",
        time(BESIDE.as_nanos() as f64)
    );
    let columns = ["p50", "p99", "a chunk of 64 KiB of the stream"];
    // The raw loop leaves a stream only at its end, so that its figures tell how long a slice is.
    let base = rounds.place("reveille").unwrap_or(0);
    Ok(vec![busy, (title, table(&labels, columns, &rounds, base))])
}

fn start() -> io::Result<(Vec<String>, Vec<Pair>)> {
    let peers = PEERS.iter().filter(|peer| ASKED.contains(peer));
    let peers = peers.map(|peer| (*peer, *peer, Buffer::usual(peer)));
    let pair = |(_, name, buffer): Entrant| {
        let server = Child::server(&[], name, buffer)?;
        let load = Load::connect(server.port, SPEAKERS)?;
        let _server = server;
        io::Result::Ok(Pair { _server, load })
    };
    let entrants = || TWINS.into_iter().chain(peers.clone());
    let labels = entrants().map(|(label, ..)| label.to_owned()).collect();
    let pairs: io::Result<Vec<Pair>> = entrants().map(pair).collect();
    Ok((labels, pairs?))
}

/// The time of a message when each connection sends the next as soon as one has come back.
fn saturated(load: &mut Load, effort: Effort) -> io::Result<Duration> {
    let mut samples = Vec::new();
    for _ in 0..effort.rounds {
        let slice = load.run(0..SPEAKERS, PING_PONG, Until::Over(effort.slice))?;
        samples.push(slice.elapsed.as_nanos() as f64 / slice.messages as f64);
    }
    Ok(Duration::from_nanos(median(&samples) as u64))
}

/// Slices of this pace, in which as many messages are sent as are due by the end.
fn measure(
    labels: &[String],
    pairs: &mut [Pair],
    pace: Pace,
    effort: Effort,
    figures: impl Fn(&Paced) -> Option<[f64; 3]>,
) -> Rounds<3> {
    eprintln!("latency: a message each {:?}", pace.interval);
    let slice = effort.slice * SLICES;
    let messages = slice.as_nanos().div_ceil(pace.interval.as_nanos()) as u64;
    let pace = Pace { messages, ..pace };
    Rounds::take(labels, effort, |which| {
        match pairs[which].load.paced(pace) {
            Ok(paced) => figures(&paced),
            Err(error) => {
                eprintln!("{}: {error}", labels[which]);
                None
            }
        }
    })
}

fn table(labels: &[String], columns: [&str; 3], rounds: &Rounds<3>, base: usize) -> Table {
    let mut table = Table::of_rows(with_noise(labels));
    for (figure, title) in columns.into_iter().enumerate() {
        table.column(title, rounds.cells(figure, base));
    }
    table
}
