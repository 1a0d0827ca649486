//! Cells that pass from one task to the next of its type: no future, output or panic passes with them.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::panic::resume_unwind;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use reveille::task::{JoinHandle, yield_now};
use reveille::{block_on, spawn};

use crate::support::within;
use crate::{Drops, Foreign, foreign};

/// Ways for a task to end.
const ENDS: [&str; 5] = [
    "awaited",
    "dropped, then done",
    "done, then dropped",
    "aborted",
    "panicked",
];

/// A task whose type depends on `SIZE`. It drops one guard with its future, and one with its output.
async fn task<const SIZE: usize>(
    number: usize,
    panics: bool,
    future: Drops,
    output: Drops,
) -> (usize, Box<dyn Any>) {
    let _future = future.guard();
    let bytes = [number as u8; SIZE];
    yield_now().await;
    assert!(bytes.iter().all(|&byte| byte == number as u8));
    if panics {
        // Not `panic!`, which would be printed.
        resume_unwind(Box::new(number));
    }
    (number, Box::new(output.guard()))
}

/// One task from its spawn to its end.
async fn live<const SIZE: usize>(number: usize, end: &str) {
    let (future, output) = (Drops::default(), Drops::default());
    let panics = end == "panicked";
    let mut handle = spawn(task::<SIZE>(number, panics, future.clone(), output.clone()));
    match end {
        "awaited" => {
            let (found, guard) = handle.await.unwrap();
            assert_eq!(found, number);
            assert_eq!((future.count(), output.count()), (1, 0), "{end}");
            drop(guard);
        }
        "dropped, then done" => {
            drop(handle);
            while future.count() == 0 {
                yield_now().await;
            }
        }
        "done, then dropped" => {
            while !handle.is_finished() {
                yield_now().await;
            }
            assert_eq!((future.count(), output.count()), (1, 0), "{end}");
            drop(handle);
            yield_now().await;
        }
        "aborted" => {
            yield_now().await;
            handle.abort();
            assert!((&mut handle).await.unwrap_err().is_cancelled());
            assert_eq!((future.count(), output.count()), (1, 0), "{end}");
            return;
        }
        _ => {
            let payload = handle.await.unwrap_err().into_panic();
            assert_eq!(
                payload.downcast_ref(),
                Some(&number),
                "another task's panic"
            );
            assert_eq!((future.count(), output.count()), (1, 0), "{end}");
            return;
        }
    }
    assert_eq!((future.count(), output.count()), (1, 1), "{end}");
}

/// R3, R6. Catches: a future that is not moved into the cell it was to take over; an output that stays in the
/// cell of a slot that is free, and is dropped late, twice or never; what is given to the next task's handle.
#[test]
fn of_what_a_task_leaves_nothing_but_its_empty_cell_passes_to_the_next() {
    within(20, || {
        block_on(async {
            let mut number = 0;
            for first in ENDS {
                for second in ENDS {
                    // All in one slot: the same type again, another size, and one whose cell is not kept.
                    for end in [first, second, first] {
                        number += 1;
                        live::<8>(number, end).await;
                    }
                    live::<16>(number, second).await;
                    live::<600>(number, first).await;
                    live::<600>(number, second).await;
                }
            }
        });
    });
}

/// A task whose output spawns the next of its type when it is dropped.
struct Chained(usize, Rc<Cell<usize>>);

struct Link(usize, Rc<Cell<usize>>);

impl Future for Chained {
    type Output = Link;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Link> {
        self.1.set(self.1.get() + 1);
        Poll::Ready(Link(self.0, Rc::clone(&self.1)))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if self.0 > 0 {
            drop(spawn(Chained(self.0 - 1, Rc::clone(&self.1))));
        }
    }
}

/// R5. Catches: an output that is dropped in its cell, which is borrowed meanwhile; a cell that counts as
/// empty after the next future has moved in.
#[test]
fn the_drop_of_an_output_may_spawn_into_the_cell_that_held_it() {
    within(20, || {
        block_on(async {
            let polls = Rc::default();
            drop(spawn(Chained(100, Rc::clone(&polls))));
            for _ in 0..300 {
                yield_now().await;
            }
            assert_eq!(polls.get(), 101);
        });
    });
}

thread_local! {
    static HANDLE: RefCell<Option<JoinHandle<usize>>> = const { RefCell::new(None) };
}

/// Gives its number at its only poll.
struct Number(usize);

impl Future for Number {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<usize> {
        Poll::Ready(self.0)
    }
}

/// R5. Catches: a run that goes on with the cell of its task after the joiner's waker has taken the output and
/// spawned the next task into that cell.
#[test]
fn a_joiners_waker_may_take_the_output_and_spawn_into_its_cell() {
    within(20, || {
        block_on(async {
            let waker = foreign(Foreign {
                on_wake: Some(|| {
                    let mut handle = HANDLE.take().unwrap();
                    let mut cx = Context::from_waker(Waker::noop());
                    let taken = Pin::new(&mut handle).poll(&mut cx);
                    assert!(matches!(taken, Poll::Ready(Ok(1))));
                    HANDLE.set(Some(spawn(Number(2))));
                }),
                ..Foreign::default()
            });
            let mut handle = spawn(Number(1));
            let waits = Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
            assert!(waits.is_pending());
            HANDLE.set(Some(handle));
            let second = poll_fn(|cx| {
                let handle = HANDLE.take().unwrap();
                let first = handle.is_finished();
                HANDLE.set(Some(handle));
                cx.waker().wake_by_ref();
                if first {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            });
            second.await;
            assert_eq!(HANDLE.take().unwrap().await.unwrap(), 2);
        });
    });
}
