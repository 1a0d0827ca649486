//! Cancel safety and chaos: a future dropped at any poll before its last has taken nothing and sent nothing, and whatever
//! may come early, late or interrupted, each datagram stays whole.
//!
//! Fault C13, in all tests here.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use reveille::net::udp::{Batch, Outgoing};
use reveille::task::yield_now;
use reveille::{Builder, Runtime, spawn};

use super::arrived::arrived;
use super::step::{Wakes, inside, poll};
use super::{lengths, pair, socket};
use crate::limit::limit;

/// What a future that receives has brought, if it was not dropped before.
type Receives<'a> = Pin<Box<dyn Future<Output = Vec<Vec<u8>>> + 'a>>;

/// R10. Catches: a receive that takes a datagram in one poll and returns it in another; a waiter that outlives its future and
/// is woken in place of the next.
#[test]
fn receives_canceled_at_any_poll_lose_nothing() {
    let _limit = limit(60);
    let runtime = Runtime::new().unwrap();
    let (theirs, ours, _) = runtime.block_on(pair());
    let (_wakes, waker) = Wakes::new();
    let (mut sent, mut got) = (0_u32, Vec::new());
    for round in 0..3000_u32 {
        let ours = &ours;
        let mut receive: Receives<'_> = match round % 4 {
            0 => Box::pin(async move {
                let mut buf = [0; 4];
                ours.recv(&mut buf).await.unwrap();
                vec![buf.to_vec()]
            }),
            1 => Box::pin(async move {
                let mut buf = Vec::with_capacity(4);
                ours.recv_vec_from(&mut buf).await.unwrap();
                vec![buf]
            }),
            2 => Box::pin(async move {
                let mut batch = Batch::new(3, 4);
                ours.recv_many(&mut batch).await.unwrap();
                batch
                    .iter()
                    .map(|datagram| datagram.bytes().to_vec())
                    .collect()
            }),
            _ => Box::pin(async move {
                ours.peek(&mut [0; 4]).await.unwrap();
                Vec::new()
            }),
        };
        // Dropped after so many polls, between which something comes, or the reactor looks, or neither.
        for at in 0..round / 4 % 4 {
            let mix = (round / 16 + at) % 4;
            if mix & 1 != 0 {
                inside(&runtime, || theirs.try_send(&sent.to_ne_bytes())).unwrap();
                sent += 1;
            }
            if mix & 2 != 0 {
                arrived();
                runtime.turn().unwrap();
            }
            if let Poll::Ready(came) = inside(&runtime, || poll(&mut receive, &waker)) {
                got.extend(came);
                break;
            }
        }
    }
    let rest = super::waiting(&ours);
    let all: Vec<_> = got.into_iter().chain(rest).collect();
    let expected: Vec<_> = (0..sent).map(|n| n.to_ne_bytes().to_vec()).collect();
    assert!(sent > 1000 && all == expected, "{sent} {}", all.len());
}

/// Under chaos whatever may be short is short, but a datagram may not. Catches: a form that asks the kernel for less than the
/// caller did; one that sends less; a datagram lost where a try is told to wait.
#[test]
fn no_seed_of_chaos_cuts_a_datagram() {
    let _limit = limit(120);
    for seed in 0..50 {
        let runtime = Builder::new().chaos(seed).build().unwrap();
        runtime.block_on(async {
            let (theirs, ours, at) = pair().await;
            ours.set_recv_buffer_size(1 << 20).unwrap();
            let receiver = spawn(async move {
                let (mut got, mut batch) = (Vec::new(), Batch::new(5, 200));
                let mut buf = [0; 200];
                while got.len() < 40 {
                    match got.len() % 3 {
                        0 => {
                            let n = ours.recv(&mut buf).await.unwrap();
                            got.push(buf[..n].to_vec());
                        }
                        1 => {
                            let mut buf = Vec::with_capacity(200);
                            ours.recv_vec(&mut buf).await.unwrap();
                            got.push(buf);
                        }
                        _ => {
                            ours.recv_many(&mut batch).await.unwrap();
                            got.extend(batch.iter().map(|datagram| datagram.bytes().to_vec()));
                        }
                    }
                }
                got
            });
            let bytes = [7; 4000];
            let mut n = 0;
            while n < 40 {
                let one = Outgoing::new(&bytes[..100 + n], at[1]);
                match n % 3 {
                    0 => assert_eq!(theirs.send(&bytes[..100 + n]).await.unwrap(), 100 + n),
                    1 => assert_eq!(theirs.send_many(&[one]).await.unwrap().whole(), 1),
                    _ => {
                        let sent = theirs.try_send_to(&bytes[..100 + n], at[1]);
                        if sent.is_err() {
                            yield_now().await;
                            continue;
                        }
                    }
                }
                n += 1;
            }
            let got = receiver.await.unwrap();
            let lengths: Vec<_> = got.iter().map(Vec::len).collect();
            assert_eq!(lengths, (100..140).collect::<Vec<_>>(), "seed {seed}");
        });
    }
}

/// Catches: a program that takes a call for many to move all, and passes under chaos.
#[test]
fn under_chaos_a_call_for_many_moves_fewer_now_and_then() {
    let _limit = limit(60);
    let mut short = [0, 0];
    for seed in 0..50 {
        let runtime = Builder::new().chaos(seed).build().unwrap();
        runtime.block_on(async {
            let (theirs, ours, _) = pair().await;
            let eight = [Outgoing::to_peer(b"hello"); 8];
            let sent = theirs.send_many(&eight).await.unwrap().whole();
            assert_eq!(theirs.send(b"!").await.unwrap(), 1);
            arrived();
            let mut batch = Batch::new(9, 9);
            let received = ours.recv_many(&mut batch).await.unwrap();
            assert!((1..=8).contains(&sent) && (1..=1 + sent).contains(&received));
            short[0] += usize::from(sent < 8);
            short[1] += usize::from(received < 1 + sent);
        });
    }
    assert!(short[0] > 5 && short[1] > 5, "{short:?}");
}

/// Catches: a waiter that outlives its future, and is woken instead of the next.
#[test]
fn a_dropped_receive_leaves_no_waiter() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (theirs, ours, _) = runtime.block_on(pair());
    let ((dropped, first), (kept, second)) = (Wakes::new(), Wakes::new());
    let (mut batch, mut buf) = (Batch::new(1, 9), [0; 9]);
    let mut early = Box::pin(ours.recv_many(&mut batch));
    let mut late = Box::pin(ours.recv(&mut buf));
    assert!(inside(&runtime, || poll(&mut early, &first)).is_pending());
    assert!(inside(&runtime, || poll(&mut late, &second)).is_pending());
    inside(&runtime, || drop(early));
    inside(&runtime, || theirs.try_send(b"x")).unwrap();
    arrived();
    runtime.turn().unwrap();
    assert_eq!((dropped.count(), kept.count()), (0, 1));
    assert!(inside(&runtime, || poll(&mut late, &second)).is_ready());
}

/// Catches: a send that is made in the poll before its future is dropped, or by making the future.
#[test]
fn a_send_that_is_never_polled_sends_nothing() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs, at) = runtime.block_on(pair());
    inside(&runtime, || {
        drop(ours.send(b"?"));
        drop(ours.send_to(b"?", at[1]));
        drop(ours.send_many(&[Outgoing::new(b"?", at[1])]));
    });
    assert!(lengths(&theirs).is_empty());
    let _other = runtime.block_on(socket());
}
