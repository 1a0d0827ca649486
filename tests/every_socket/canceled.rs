//! Columns of operations that are not left to run: canceled at any poll, or cut short and interrupted by chaos.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::Poll;
use std::time::Instant;

use futures_lite::future::zip;
use reveille::task::yield_now;
use reveille::{Builder, Runtime};

use super::limit::limit;
use super::seeds::under_seeds;
use super::step::{Wakes, inside, poll};
use super::steps::{LONG, chunk, eventually};
use super::subject::{End, Parts, Peer, Side, Subject};
use super::table::Column;
use super::{each, each_within, unconnected};

/// Seconds that a type may take in a column.
const PATIENCE: u64 = 20;

/// Fault C13. Catches: a future that takes or gives in one poll, and tells so in another.
#[test]
fn what_is_canceled_at_any_poll_has_taken_and_given_nothing() {
    let _limit = limit(60);
    let column = (Column::Cancel, unconnected::canceled);
    each_within(PATIENCE, column, |end| {
        for &side in end.sides {
            let mut random = Random(0x9e37_79b9_7f4a_7c15);
            match side {
                Side::Input => input_canceled(end, &mut random),
                Side::Output | Side::OutputAtOnce => output_canceled(end, side, &mut random),
            }
        }
    });
}

fn input_canceled(end: &End, random: &mut Random) {
    let runtime = Runtime::new().unwrap();
    let (subject, mut peer) = (end.make)();
    let (total, most) = match end.parts {
        Parts::Connections => (100, 2),
        Parts::Bytes | Parts::Datagrams => (20_000, 200),
    };
    let sent = counted(total);
    let (mut at, mut got, mut canceled) = (0, Vec::new(), 0);
    let start = Instant::now();
    while got.len() < total {
        assert!(start.elapsed() < LONG, "only {} of {total} came", got.len());
        let to = total.min(at + 1 + random.below(most));
        if at < to && random.below(2) == 0 {
            // A full queue takes none.
            at += peer.give(&sent[at..to]).unwrap_or(0);
        }
        let room = if end.parts == Parts::Bytes {
            1 + random.below(most)
        } else {
            most
        };
        let mut room = vec![0; room];
        let outcome = canceled_at(random, &runtime, Side::Input, &*subject, &mut room);
        match outcome {
            Some(n) => got.extend_from_slice(&room[..n]),
            None => canceled += 1,
        }
    }
    assert!(got == sent, "not what was given");
    assert!(canceled > 10, "only {canceled} were canceled");
}

fn output_canceled(end: &End, side: Side, random: &mut Random) {
    let runtime = Runtime::new().unwrap();
    let (subject, mut peer) = (end.make)();
    let most = chunk(end.parts, side).len();
    let bytes = counted(300 * most);
    let (mut at, mut taken, mut canceled) = (0, Vec::new(), 0);
    let mut room = vec![0; most];
    let mut take = |peer: &mut dyn Peer, taken: &mut Vec<u8>| {
        let n = peer.take(&mut room);
        taken.extend_from_slice(&room[..n.as_ref().map_or(0, |n| *n)]);
        n.is_ok_and(|n| n > 0)
    };
    for _ in 0..300 {
        let mut part = bytes[at..at + 1 + random.below(most)].to_vec();
        match canceled_at(random, &runtime, side, &*subject, &mut part) {
            Some(n) => at += n,
            None => canceled += 1,
        }
        if random.below(4) == 0 || side == Side::OutputAtOnce {
            take(&mut *peer, &mut taken);
        }
    }
    assert!(canceled > 10, "only {canceled} were canceled");
    while taken.len() < at {
        eventually(|| take(&mut *peer, &mut taken).then_some(()));
    }
    drop(subject);
    while take(&mut *peer, &mut taken) {}
    assert!(taken == bytes[..at], "{} of {at} bytes", taken.len());
}

/// Drops a future after up to three polls, woken or not, unless it is ready before; then it says how much.
fn canceled_at(
    random: &mut Random,
    runtime: &Runtime,
    side: Side,
    subject: &dyn Subject,
    buf: &mut [u8],
) -> Option<usize> {
    let (_wakes, waker) = Wakes::new();
    let mut operation = side.begin(subject, buf);
    for _ in 0..random.below(4) {
        if let Poll::Ready(n) = inside(runtime, || poll(&mut operation, &waker)) {
            return Some(n.unwrap());
        }
        if random.below(2) == 0 {
            runtime.turn().unwrap();
        }
    }
    None
}

/// `REVEILLE_CHAOS=1000` tries so many seeds. Catches: a read, a write or an accept that is cut short and believed
/// whole, or interrupted and not tried again; bytes lost, doubled or out of place.
#[test]
fn under_every_seed_of_chaos_all_arrives_in_order() {
    under_seeds("REVEILLE_CHAOS", 20, |seed| {
        let _limit = limit(60);
        let column = (Column::Chaos, |make| unconnected::under_chaos(make, seed));
        each(column, |end| {
            for &side in end.sides {
                let (subject, mut peer) = (end.make)();
                let runtime = Builder::new().chaos(seed).build().unwrap();
                runtime.block_on(async {
                    match side {
                        Side::Input => input_under_chaos(end, &*subject, &mut *peer, seed).await,
                        _ => output_under_chaos(end, &*subject, &mut *peer, seed).await,
                    }
                });
            }
        });
    });
}

async fn input_under_chaos(end: &End, subject: &dyn Subject, peer: &mut dyn Peer, seed: u64) {
    let total = if end.parts == Parts::Connections {
        20
    } else {
        10_000
    };
    let (sent, mut random) = (counted(total), Random(seed | 1));
    let giving = async {
        let mut at = 0;
        while at < total {
            let most = if end.parts == Parts::Connections {
                3
            } else {
                700
            };
            let to = total.min(at + 1 + random.below(most));
            at += peer.give(&sent[at..to]).unwrap_or(0);
            yield_now().await;
        }
    };
    let taking = async {
        let mut got = Vec::new();
        while got.len() < total {
            let mut room = [0; 1000];
            // By turns.
            let n = match got.len() % 2 {
                0 => subject.input(&mut room).await,
                _ => poll_fn(|cx| subject.poll_input(cx, &mut room)).await,
            };
            let n = n.unwrap();
            assert!(n > 0, "it ends");
            got.extend_from_slice(&room[..n]);
        }
        got
    };
    assert!(zip(giving, taking).await.1 == sent);
}

async fn output_under_chaos(end: &End, subject: &dyn Subject, peer: &mut dyn Peer, seed: u64) {
    let most = chunk(end.parts, Side::Output).len();
    let total = if end.parts == Parts::Bytes {
        300_000
    } else {
        20_000
    };
    let (sent, mut random) = (counted(total), Random(seed | 1));
    let giving = async {
        let mut at = 0;
        while at < total {
            let to = total.min(at + 1 + random.below(most));
            let n = match at % 2 {
                0 => subject.output(&sent[at..to]).await,
                _ => poll_fn(|cx| subject.poll_output(cx, &sent[at..to])).await,
            };
            at += n.unwrap();
        }
    };
    let taking = async {
        let (mut got, mut room, start) = (Vec::new(), vec![0; most], Instant::now());
        while got.len() < total {
            assert!(start.elapsed() < LONG, "only {} of {total} came", got.len());
            match peer.take(&mut room) {
                Ok(n) => got.extend_from_slice(&room[..n]),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            yield_now().await;
        }
        got
    };
    assert!(zip(giving, taking).await.1 == sent);
}

/// Bytes of which each place shows where it is: a loss or a repetition is seen.
fn counted(len: usize) -> Vec<u8> {
    let cycle: Vec<u8> = (0..251).collect();
    let mut bytes = cycle.repeat(len / cycle.len() + 1);
    bytes.truncate(len);
    bytes
}

/// xorshift64: random enough to choose steps by, and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}
