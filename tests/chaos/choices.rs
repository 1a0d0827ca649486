//! What chaos chooses: each choice is made, and none that is not legal.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use reveille::io::Interest;
use reveille::task::yield_now;
use reveille::{Builder, Runtime};

use super::seeds::under_seeds;
use super::step::{Wakes, inside, poll};
use super::within::within;
use super::{pair, tcp_pair, write_all};
use crate::limit::limit;

/// So many seeds, of which each choice must be made under some.
const SEEDS: u64 = 200;

/// What a program comes to under each of these seeds, without duplicates.
fn outcomes<T: Ord + Send + 'static>(program: fn(&Runtime) -> T) -> BTreeSet<T> {
    let under = move |seed| program(&Builder::new().chaos(seed).build().unwrap());
    within(60, move || (0..SEEDS).map(under).collect())
}

/// Catches: ready tasks always polled in the order they were queued.
#[test]
fn ready_tasks_are_polled_in_every_order() {
    let _limit = limit(120);
    let orders = outcomes(|runtime| {
        let order = Rc::new(RefCell::new(Vec::new()));
        runtime.block_on(async {
            let tasks = ["a", "b", "c"].map(|name| {
                let order = Rc::clone(&order);
                reveille::spawn(async move { order.borrow_mut().push(name) })
            });
            for task in tasks {
                task.await.unwrap();
            }
        });
        order.take()
    });
    assert_eq!(orders.len(), 6, "{orders:?}");
}

/// Wakers that are called inside the turn show the order of the events themselves.
/// Catches: the events of a batch always applied in the kernel's order.
#[test]
fn events_of_a_batch_are_applied_in_every_order() {
    let _limit = limit(120);
    let orders = outcomes(|runtime| {
        let pairs = [pair(), pair(), pair()];
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut waits = pairs.each_ref().map(|(ours, _)| Box::pin(ours.readable()));
        for (nth, wait) in waits.iter_mut().enumerate() {
            let waker = Waker::from(Arc::new(Note(nth, Arc::clone(&order))));
            assert!(inside(runtime, || poll(wait, &waker).is_pending()));
        }
        for (_, theirs) in &pairs {
            theirs.get_ref().write_all(&[1]).unwrap();
        }
        runtime.turn().unwrap();
        order.lock().unwrap().clone()
    });
    assert_eq!(orders.len(), 6, "{orders:?}");
}

/// A waker that notes its number at once.
struct Note(usize, Arc<Mutex<Vec<usize>>>);

impl Wake for Note {
    fn wake(self: Arc<Self>) {
        self.1.lock().unwrap().push(self.0);
    }
}

/// Catches: reads and writes that always move all they could; an operation that is seldom whole.
#[test]
fn reads_and_writes_are_short_now_and_then() {
    let _limit = limit(120);
    let moved = |seed| {
        let runtime = Builder::new().chaos(seed).build().unwrap();
        runtime.block_on(async {
            let (here, there) = tcp_pair().await;
            let wrote = here.write(&[7; 8]).await.unwrap();
            let n = there.read(&mut [0; 8]).await.unwrap();
            (wrote, n)
        })
    };
    let moved: Vec<_> = (0..SEEDS).map(moved).collect();
    let written: BTreeSet<_> = moved.iter().map(|&(wrote, _)| wrote).collect();
    assert_eq!(written.len(), 8, "from 1 to all of 8");
    assert!(moved.iter().any(|(wrote, n)| n < wrote), "{moved:?}");
    let whole = moved.iter().filter(|&&(wrote, _)| wrote == 8).count();
    assert!(whole > 60, "{whole} of {SEEDS}");
}

/// Catches: a stream that chaos passes over, because it is at home in another runtime.
#[test]
fn reads_and_writes_of_what_is_at_home_elsewhere_are_short_as_well() {
    let _limit = limit(120);
    let home = Builder::new().build().unwrap();
    let (here, there) = home.block_on(async {
        let (here, there) = tcp_pair().await;
        for stream in [&here, &there] {
            // The first wait registers it.
            stream.writable().await.unwrap();
        }
        (here, there)
    });
    let moved = |seed| {
        let runtime = Builder::new().chaos(seed).build().unwrap();
        runtime.block_on(async {
            let wrote = here.write(&[7; 8]).await.unwrap();
            let n = there.read(&mut [0; 8]).await.unwrap();
            let mut left = wrote - n;
            while left > 0 {
                left -= there.read(&mut [0; 8]).await.unwrap();
            }
            (wrote, n)
        })
    };
    let moved: Vec<_> = (0..SEEDS).map(moved).collect();
    assert!(moved.iter().any(|&(wrote, _)| wrote < 8), "{moved:?}");
    assert!(moved.iter().any(|(wrote, n)| n < wrote), "{moved:?}");
}

/// Catches: a try that chaos refuses elsewhere than at home, where no wait could follow.
#[test]
fn tries_of_what_is_at_home_elsewhere_are_not_refused() {
    let _limit = limit(120);
    let home = Builder::new().build().unwrap();
    let stream = home.block_on(async {
        let (here, _there) = tcp_pair().await;
        here.writable().await.unwrap();
        here
    });
    for seed in 0..SEEDS {
        let runtime = Builder::new().chaos(seed).build().unwrap();
        runtime.block_on(async {
            stream.try_io(Interest::WRITABLE, || Ok(())).unwrap();
        });
    }
}

/// Catches: a vectored write that always offers all of its buffers.
#[test]
fn vectored_writes_are_short_now_and_then() {
    let _limit = limit(120);
    let written = outcomes(|runtime| {
        runtime.block_on(async {
            let (here, _there) = tcp_pair().await;
            let bufs = [IoSlice::new(&[1; 3]), IoSlice::new(&[2; 5])];
            here.write_vectored(&bufs).await.unwrap()
        })
    });
    assert_eq!(written, (1..=8).collect(), "from 1 to all of 8");
}

/// Catches: a vectored read that always offers the room of all its buffers.
#[test]
fn vectored_reads_are_short_now_and_then() {
    let _limit = limit(120);
    let read = outcomes(|runtime| {
        runtime.block_on(async {
            let (here, there) = tcp_pair().await;
            there.write_all(&[7; 8]).await.unwrap();
            let (mut one, mut other) = ([0; 3], [0; 5]);
            let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
            here.read_vectored(&mut bufs).await.unwrap()
        })
    });
    assert_eq!(read, (1..=8).collect(), "from 1 to all of 8");
}

/// Catches: a read into a `Vec`, or into memory without values, that always offers all of its room.
#[test]
fn reads_into_spare_room_are_short_now_and_then() {
    let _limit = limit(120);
    let into_vec = outcomes(|runtime| {
        runtime.block_on(async {
            let (here, there) = tcp_pair().await;
            there.write_all(&[7; 8]).await.unwrap();
            here.read_vec(&mut Vec::with_capacity(8)).await.unwrap()
        })
    });
    let into_memory = outcomes(|runtime| {
        runtime.block_on(async {
            let (here, there) = tcp_pair().await;
            there.write_all(&[7; 8]).await.unwrap();
            let mut room = [MaybeUninit::uninit(); 8];
            poll_fn(|cx| here.poll_read_uninit(cx, &mut room))
                .await
                .unwrap()
        })
    });
    let from_one_to_all = (1..=8).collect();
    assert_eq!(
        (&into_vec, &into_memory),
        (&from_one_to_all, &from_one_to_all)
    );
}

/// Catches: a peek that always offers all of its buffer.
#[test]
fn peeks_are_short_now_and_then() {
    let _limit = limit(120);
    let peeked = outcomes(|runtime| {
        runtime.block_on(async {
            let (here, there) = tcp_pair().await;
            there.write_all(&[7; 8]).await.unwrap();
            here.peek(&mut [0; 8]).await.unwrap()
        })
    });
    assert_eq!(peeked, (1..=8).collect(), "from 1 to all of 8");
}

/// No turn comes between a try and the wait that follows. Catches: a try that always succeeds when
/// there is something; one that is refused and takes the readiness along, so that its caller waits
/// for an event that has been.
#[test]
fn tries_are_refused_now_and_then_and_the_wait_that_follows_ends_at_once() {
    let _limit = limit(120);
    let refusals = outcomes(|runtime| {
        runtime.block_on(async {
            let (here, there) = tcp_pair().await;
            there.write_all(&[7; 8]).await.unwrap();
            here.readable().await.unwrap();
            poll_fn(|cx| {
                let mut refused = 0;
                while let Err(error) = here.try_read(&mut [0; 8]) {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    refused += 1;
                    assert!(here.poll_read_ready(cx).is_ready(), "there is something");
                }
                Poll::Ready(refused)
            })
            .await
        })
    });
    assert!(refusals.len() > 1, "{refusals:?}");
}

/// Without a registration there is no event that could be still to come.
/// Catches: a try that is refused by a source which was never registered.
#[test]
fn what_was_never_registered_is_tried_under_every_seed() {
    let _limit = limit(120);
    let kinds = outcomes(|runtime| {
        runtime.block_on(async {
            let (here, there) = pair();
            there.get_ref().write_all(&[7]).unwrap();
            let read = here.try_io(Interest::READABLE, |mut file| file.read(&mut [0; 8]));
            read.map_err(|error| error.kind())
        })
    });
    assert_eq!(kinds, BTreeSet::from([Ok(1)]));
}

/// Catches: no wake for nothing; one that is not for nothing, and completes something.
#[test]
fn tasks_are_polled_for_nothing_now_and_then() {
    let _limit = limit(120);
    let polls = outcomes(|runtime| {
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        runtime.block_on(async {
            let task = reveille::spawn(poll_fn(move |_| {
                counted.set(counted.get() + 1);
                Poll::<()>::Pending
            }));
            for _ in 0..200 {
                yield_now().await;
            }
            assert!(!task.is_finished());
        });
        polls.get() > 1
    });
    assert!(polls.contains(&true), "never");
    let polls = outcomes(|runtime| {
        let polls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&polls);
        let _task = runtime.spawn(poll_fn(move |_| {
            counted.set(counted.get() + 1);
            Poll::<()>::Pending
        }));
        (0..200).for_each(|_| runtime.turn().unwrap());
        polls.get() > 1
    });
    assert!(polls.contains(&true), "never under `turn`");
}

/// Catches: a wake for nothing that is drawn among no slots.
#[test]
fn a_runtime_without_tasks_can_be_turned_under_every_seed() {
    let _limit = limit(120);
    outcomes(|runtime| (0..20).for_each(|_| runtime.turn().unwrap()));
}

/// A wait that was interrupted is begun again. Catches: EINTR that is never played, or passed on.
#[test]
fn waits_are_interrupted_now_and_then() {
    let _limit = limit(120);
    let parks = outcomes(|runtime| {
        runtime.block_on(async {
            // Two wakes at the most: one for the timer, and one for nothing.
            reveille::time::sleep(Duration::from_micros(100)).await;
        });
        runtime.handle().metrics().parks
    });
    assert!(parks.iter().any(|&parks| parks > 1), "{parks:?}");
}

/// Catches: a look always after as many polls.
#[test]
fn looks_come_after_any_number_of_polls() {
    let _limit = limit(120);
    let looks = outcomes(|runtime| {
        runtime.block_on(async {
            for _ in 0..61 {
                yield_now().await;
            }
        });
        runtime.handle().metrics().turns
    });
    assert!(looks.len() > 3, "{looks:?}");
    assert!(looks.iter().all(|&looks| looks >= 1), "fewer than without");
}

/// epoll_wait(2) is not interrupted where it does not wait. Catches: a turn that hears nothing
/// although there is something: a foreign loop that watches edges would never turn again.
#[test]
fn a_turn_under_chaos_leaves_nothing_in_the_kernel() {
    under_seeds("REVEILLE_CHAOS", SEEDS, |seed| {
        let runtime = Builder::new().chaos(seed).build().unwrap();
        for _ in 0..10 {
            let (ours, theirs) = pair();
            let mut wait = Box::pin(ours.readable());
            let (wakes, waker) = Wakes::new();
            assert!(inside(&runtime, || poll(&mut wait, &waker).is_pending()));
            theirs.get_ref().write_all(&[1]).unwrap();
            runtime.turn().unwrap();
            assert_eq!(wakes.count(), 1);
        }
    });
}

/// Off, it costs nothing that can be seen, to the last poll. Catches: choices made without being
/// asked for.
#[test]
fn without_chaos_a_run_is_exactly_what_it_was() {
    let _limit = limit(120);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (here, there) = pair();
        let echo = reveille::spawn(async move {
            let mut buf = [0; 8];
            while let Ok(n @ 1..) = super::read(&there, &mut buf).await {
                write_all(&there, &buf[..n]).await.unwrap();
            }
        });
        for _ in 0..100 {
            write_all(&here, &[1; 8]).await.unwrap();
            assert_eq!(super::read(&here, &mut [0; 8]).await.unwrap(), 8);
        }
        drop(here);
        echo.await.unwrap();
    });
    let metrics = runtime.handle().metrics();
    let counted = [metrics.polls, metrics.turns, metrics.parks, metrics.events];
    // A poll and a wait for each of 200 messages, and for the end; three polls to begin with.
    assert_eq!(counted, [203, 200, 200, 201]);
}
