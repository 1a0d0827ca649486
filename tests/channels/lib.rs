//! Channels and locks of tokio's `sync` on reveille: what has no budget gets one by `task::coop`.
#![cfg(test)]

#[path = "../support/limit.rs"]
mod limit;

use std::cell::Cell;
use std::rc::Rc;

use limit::limit;
use reveille::task::coop::{cooperative, unconstrained};
use reveille::task::yield_now;
use reveille::{block_on, spawn};
use tokio::sync::{Mutex, mpsc};

const MESSAGES: usize = 2_000_000;

/// How often another ready task is polled while `drain` goes on.
async fn polls_during(drain: impl Future<Output = ()>) -> usize {
    let polls = Rc::new(Cell::new(0));
    let counted = Rc::clone(&polls);
    let other = spawn(async move {
        loop {
            counted.set(counted.get() + 1);
            yield_now().await;
        }
    });
    drain.await;
    other.abort();
    polls.get()
}

fn full() -> mpsc::Receiver<usize> {
    let (sender, receiver) = mpsc::channel(MESSAGES);
    for message in 0..MESSAGES {
        sender.try_send(message).unwrap();
    }
    receiver
}

/// Fault B49. Catches: an operation that spends nothing, so that a receiver which always has something
/// lets no other task run.
#[test]
fn a_receiver_that_always_has_something_lets_others_run() {
    let _limit = limit(120);
    block_on(async {
        let mut receiver = full();
        let polls = polls_during(async {
            let mut expected = 0..MESSAGES;
            while let Some(message) = cooperative(receiver.recv()).await {
                assert_eq!(Some(message), expected.next());
            }
            assert!(expected.next().is_none());
        });
        let polls = polls.await;
        assert!((15_000..18_000).contains(&polls), "{polls}");
    });
}

/// Catches: a budget where it was lifted.
#[test]
fn a_receiver_without_a_budget_lets_nobody_run() {
    let _limit = limit(120);
    block_on(async {
        let mut receiver = full();
        let polls = polls_during(unconstrained(async {
            while cooperative(receiver.recv()).await.is_some() {}
        }));
        assert!(polls.await <= 1);
    });
}

/// Fault B49. Catches: as the first, of a lock that nobody else wants.
#[test]
fn a_lock_that_is_always_free_lets_others_run() {
    let _limit = limit(120);
    block_on(async {
        let counter = Mutex::new(0);
        let polls = polls_during(async {
            for _ in 0..100_000 {
                *cooperative(counter.lock()).await += 1;
            }
        });
        assert!(polls.await >= 700);
        assert_eq!(*counter.lock().await, 100_000);
    });
}
