//! Cancel safety: a future dropped at any poll before its last has taken nothing and sent nothing.
//!
//! Fault C13, in all tests here. The futures are polled by hand, and dropped at random polls.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::Poll;

use reveille::net::{TcpListener, TcpStream};

use super::step::{Wakes, inside, poll};
use super::{LOCAL, Random, Reader, counted, delivered, ours, pair, stepping};
use crate::limit::limit;

/// R10. Catches: a read that takes bytes in one poll and returns them in another.
#[test]
fn reads_canceled_at_random_lose_nothing() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let (mut random, sent) = (Random(42), counted(100_000));
        let (_wakes, waker) = Wakes::new();
        let (mut got, mut at) = (Vec::new(), 0);
        while got.len() < sent.len() {
            let end = sent.len().min(at + random.below(200));
            theirs.write_all(&sent[at..end]).unwrap();
            at = end;
            let mut buf = vec![0; 1 + random.below(200)];
            let into_vec = random.below(2) == 0;
            if into_vec {
                buf = Vec::with_capacity(buf.len());
            }
            let mut read: Pin<Box<dyn Future<Output = io::Result<usize>>>> = match into_vec {
                true => Box::pin(ours.read_vec(&mut buf)),
                false => Box::pin(ours.read(&mut buf)),
            };
            let mut outcome = Poll::Pending;
            for _ in 0..random.below(3) {
                outcome = inside(runtime, || poll(&mut read, &waker));
                if outcome.is_ready() {
                    break;
                }
                runtime.turn().unwrap();
            }
            drop(read);
            match outcome {
                Poll::Ready(n) => got.extend_from_slice(&buf[..n.unwrap()]),
                Poll::Pending => assert!(!into_vec || buf.is_empty()),
            }
        }
        assert_eq!(got, sent);
    });
}

/// Catches: a write that sends in one poll and tells so in another.
#[test]
fn writes_canceled_at_random_send_nothing_untold() {
    let _limit = limit(120);
    stepping(|runtime| {
        let (sender, receiver) = runtime.block_on(ours());
        let mut reader = Reader::new(runtime, &receiver);
        let (mut random, bytes) = (Random(7), counted(40_000_000));
        let (_wakes, waker) = Wakes::new();
        let mut at = 0;
        for _ in 0..1500 {
            let end = bytes.len().min(at + 1 + random.below(60_000));
            let mut write = Box::pin(sender.write(&bytes[at..end]));
            for _ in 0..random.below(3) {
                if let Poll::Ready(n) = inside(runtime, || poll(&mut write, &waker)) {
                    at += n.unwrap();
                    break;
                }
                runtime.turn().unwrap();
            }
            drop(write);
            if random.below(4) == 0 {
                let _some = reader.read(1 + random.below(100_000));
            }
        }
        drop(sender);
        assert_eq!(reader.rest(1 << 20), super::End::Eof);
        assert!(
            reader.bytes == bytes[..at],
            "{} of {at}",
            reader.bytes.len()
        );
    });
}

/// Catches: an accept that takes a connection in one poll and returns it in another.
#[test]
fn accepts_canceled_at_random_lose_no_connection() {
    let _limit = limit(30);
    stepping(|runtime| {
        let listener = runtime.block_on(TcpListener::bind(LOCAL)).unwrap();
        let at = listener.local_addr().unwrap();
        let (mut random, (_wakes, waker)) = (Random(3), Wakes::new());
        let (mut expected, mut clients, mut accepted) = (Vec::new(), Vec::new(), Vec::new());
        while accepted.len() < 300 {
            if clients.len() < 300 && random.below(2) == 0 {
                let client = std::net::TcpStream::connect(at).unwrap();
                expected.push(client.local_addr().unwrap());
                clients.push(client);
            }
            let mut accept = Box::pin(listener.accept());
            for _ in 0..random.below(3) {
                if let Poll::Ready(outcome) = inside(runtime, || poll(&mut accept, &waker)) {
                    accepted.push(outcome.unwrap().1);
                    break;
                }
                runtime.turn().unwrap();
            }
        }
        assert_eq!(accepted, expected);
    });
}

/// Catches: a waiter that outlives its future, and is woken instead of the next.
#[test]
fn a_dropped_read_leaves_no_waiter() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let ((dropped, first), (kept, second)) = (Wakes::new(), Wakes::new());
        let (mut a, mut b) = ([0], [0]);
        let mut early = Box::pin(ours.read(&mut a));
        let mut late = Box::pin(ours.read(&mut b));
        assert!(inside(runtime, || poll(&mut early, &first)).is_pending());
        assert!(inside(runtime, || poll(&mut late, &second)).is_pending());
        inside(runtime, || drop(early));
        theirs.write_all(b"x").unwrap();
        delivered(&theirs);
        runtime.turn().unwrap();
        assert_eq!((dropped.count(), kept.count()), (0, 1));
        assert!(inside(runtime, || poll(&mut late, &second)).is_ready());
    });
}

/// Catches: readiness that is used up by waiting for it.
#[test]
fn readiness_stays_when_a_wait_for_it_is_dropped() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let (_wakes, waker) = Wakes::new();
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        theirs.write_all(b"abc").unwrap();
        delivered(&theirs);
        runtime.turn().unwrap();
        for _ in 0..2 {
            let mut wait = Box::pin(TcpStream::readable(&ours));
            assert!(inside(runtime, || poll(&mut wait, &waker)).is_ready());
        }
        assert_eq!(
            (reader.rest(9), &*reader.take()),
            (super::End::Waits, "abc")
        );
    });
}
