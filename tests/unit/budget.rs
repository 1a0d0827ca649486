//! `runtime::budget`: whatever mix of operations a task makes, the refusals stay with nobody.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::limit::limit;
use crate::io::{AsyncFd, Interest};
use crate::runtime::Builder;
use crate::runtime::chaos::Chaos;
use crate::spawn;
use crate::task::{JoinHandle, yield_now};
use crate::time::sleep;

/// A task, and what runs beside it.
#[derive(Debug)]
struct MakeUp {
    /// Operations that the greedy sibling makes before it gives way.
    greedy: usize,
    /// The siblings that make one operation each, by its kind, in the order in which the task polls
    /// them; the greedy one stands before the one of this index.
    others: Vec<Kind>,
    before: usize,
    /// How many operations each of the other tasks makes before it gives way.
    busy: Vec<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Sleep,
    Join,
    Readiness,
    /// An error, of a descriptor that was not registered for this.
    Refused,
}

impl MakeUp {
    fn draw(seed: u64) -> MakeUp {
        let draws = Chaos::new(Some(seed));
        let below = |n: usize| (draws.next() % n as u64) as usize;
        let kinds = [Kind::Sleep, Kind::Join, Kind::Readiness, Kind::Refused];
        let others: Vec<_> = (0..1 + below(7)).map(|_| kinds[below(4)]).collect();
        MakeUp {
            // Half of them about where a budget of some constant size would come to its end.
            greedy: match below(4) {
                0 => 118 + below(12),
                1 => 240 + below(18),
                _ => 1 + below(300),
            },
            before: below(others.len() + 1),
            others,
            // Often 7, 15, 31: with the task itself, multiples of a short period.
            busy: match below(2) {
                0 => vec![below(3); (8 << below(3)) - 1],
                _ => (0..below(33)).map(|_| below(4)).collect(),
            },
        }
    }
}

/// Polls of a task in which each of its futures must get on, and those that are looked at. The sibling behind the greedy
/// one is refused in half of them, so 40 in a row are no accident.
const SOON: u64 = 40;
const POLLS: u64 = 64;

/// The longest that any of the others went without success, in polls of the task.
fn longest_wait(make_up: &MakeUp, options: &Builder, seed: u64) -> u64 {
    let runtime = options.build().unwrap();
    runtime.seed_budget(seed);
    runtime.block_on(async {
        for &operations in &make_up.busy {
            drop(spawn(greedy(operations)));
        }
        let (ours, _theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let fd = AsyncFd::with_interest(ours, Interest::WRITABLE).unwrap();
        drop(fd.writable().await);
        let finished: Rc<RefCell<Vec<JoinHandle<()>>>> = Rc::default();
        // As many as can be joined, all of them done before the first poll that counts.
        let is_join = |kind: &&Kind| matches!(kind, Kind::Join);
        for _ in 0..POLLS * make_up.others.iter().filter(is_join).count() as u64 {
            finished.borrow_mut().push(spawn(async {}));
        }
        while !finished.borrow().iter().all(JoinHandle::is_finished) {
            yield_now().await;
        }
        let mut others: Vec<_> = make_up.others.iter().map(|_| 0).collect();
        let (polls, mut longest) = (Cell::new(0), 0);
        let mut greedy = pin!(greedy(make_up.greedy));
        poll_fn(|cx| {
            for (nth, waits) in others.iter_mut().enumerate() {
                if nth == make_up.before {
                    assert!(greedy.as_mut().poll(cx).is_pending());
                }
                let once = once(make_up.others[nth], &fd, &mut finished.borrow_mut(), cx);
                *waits = if once.is_ready() { 0 } else { *waits + 1 };
                longest = longest.max(*waits);
            }
            if make_up.before == make_up.others.len() {
                assert!(greedy.as_mut().poll(cx).is_pending());
            }
            polls.set(polls.get() + 1);
            if polls.get() == POLLS {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        longest
    })
}

async fn greedy(operations: usize) {
    loop {
        for _ in 0..operations {
            sleep(Duration::ZERO).await;
        }
        yield_now().await;
    }
}

/// Polls one operation, which is ready unless the budget refuses it.
fn once(
    kind: Kind,
    fd: &AsyncFd<UnixStream>,
    finished: &mut Vec<JoinHandle<()>>,
    cx: &mut Context<'_>,
) -> Poll<()> {
    match kind {
        Kind::Sleep => Pin::new(&mut sleep(Duration::ZERO)).poll(cx),
        Kind::Join => {
            let handle = finished.last_mut().expect("there are enough");
            let joined = Pin::new(handle).poll(cx);
            if joined.is_ready() {
                finished.pop();
            }
            joined.map(|outcome| outcome.unwrap())
        }
        Kind::Readiness => pin!(fd.writable())
            .poll(cx)
            .map(|guard| drop(guard.unwrap())),
        Kind::Refused => pin!(fd.readable()).poll(cx).map(|refused| {
            let error = refused.expect_err("it is not registered for reading");
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
        }),
    }
}

/// Faults B25, B41. Catches: a budget of one size, or of sizes that come round: a sibling, or the
/// tasks beside it, fall into step with it, and the refusal is always the same neighbor's.
#[test]
fn beside_a_greedy_sibling_every_other_gets_on() {
    let _limit = limit(600);
    for seed in 0..1000 {
        let make_up = MakeUp::draw(seed);
        for options in [&Builder::new(), Builder::new().chaos(seed)] {
            let longest = longest_wait(&make_up, options, seed);
            assert!(
                longest < SOON,
                "seed {seed}, {options:?}: {longest} polls of {make_up:?}"
            );
        }
    }
}

/// Fault B41. Catches: draws outside of what the page says, or that favor some.
#[test]
fn each_budget_from_121_to_128_is_drawn_as_often_as_the_others() {
    let _limit = limit(300);
    let runtime = crate::Runtime::new().unwrap();
    let mut drawn = [0; 8];
    runtime.block_on(async {
        for _ in 0..8000 {
            let before = drawn.iter().sum::<usize>();
            poll_fn(|cx| {
                // The poll after a refill: this future's own, for the refusal ends it.
                let mut ready = 0;
                while Pin::new(&mut sleep(Duration::ZERO)).poll(cx).is_ready() {
                    ready += 1;
                }
                drawn[ready - 121] += 1;
                Poll::Ready(())
            })
            .await;
            assert_eq!(drawn.iter().sum::<usize>(), before + 1);
            yield_now().await;
        }
    });
    assert!(
        drawn.iter().all(|times| (800..1200).contains(times)),
        "{drawn:?}"
    );
}
