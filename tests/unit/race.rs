//! `net::race`, with attempts that end when the test says so, under a paused clock.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::limit::limit;
use crate::net::AddressesError;
use crate::net::race::race;
use crate::runtime::Builder;
use crate::task::yield_now;
use crate::time::advance;

fn address(nth: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], u16::try_from(nth).unwrap()))
}

/// The attempts, by the ports of their addresses: how far each is.
#[derive(Default)]
struct Attempts {
    states: RefCell<Vec<(State, Option<Waker>)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Pending,
    Connected,
    Failed(i32),
    Dropped,
}
use State::{Connected, Dropped, Failed, Pending};

impl Attempts {
    fn states(&self) -> Vec<State> {
        self.states
            .borrow()
            .iter()
            .map(|(state, _)| *state)
            .collect()
    }

    fn set(&self, nth: usize, state: State) {
        let waker = {
            let mut states = self.states.borrow_mut();
            states[nth].0 = state;
            states[nth].1.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// An attempt: its number if it connects.
struct Attempt {
    nth: usize,
    attempts: Rc<Attempts>,
}

impl Future for Attempt {
    type Output = io::Result<usize>;

    fn poll(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut states = self.attempts.states.borrow_mut();
        let (state, waker) = &mut states[self.nth];
        match *state {
            Connected => Poll::Ready(Ok(self.nth)),
            Failed(errno) => Poll::Ready(Err(io::Error::from_raw_os_error(errno))),
            Pending | Dropped => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.attempts.states.borrow_mut()[self.nth] = (Dropped, None);
    }
}

/// Runs a race of `count` addresses, whose attempts begin as `first` says, and `test` beside it.
fn racing(
    count: usize,
    first: impl Fn(usize) -> State + 'static,
    test: impl AsyncFnOnce(Rc<Attempts>, crate::task::JoinHandle<io::Result<usize>>),
) {
    let mut options = Builder::new();
    options.start_paused(true).block_on(async {
        let attempts = Rc::new(Attempts::default());
        let of_race = Rc::clone(&attempts);
        let addresses = (0..count).map(address).collect();
        let race = crate::spawn(race(addresses, move |at| {
            let nth = usize::from(at.port());
            let mut states = of_race.states.borrow_mut();
            assert_eq!(nth, states.len(), "in order");
            states.push((first(nth), None));
            let attempts = Rc::clone(&of_race);
            Attempt { nth, attempts }
        }));
        yield_now().await;
        test(attempts, race).await;
    });
}

/// Fault C15. Catches: a next attempt that waits until the last has failed, or for longer, or that comes early; two
/// attempts at once.
#[test]
fn the_next_attempt_begins_a_quarter_of_a_second_after_the_last() {
    let _limit = limit(30);
    racing(
        3,
        |_| Pending,
        async |attempts, race| {
            assert_eq!(attempts.states(), [Pending]);
            advance(Duration::from_millis(249)).await;
            assert_eq!(attempts.states(), [Pending]);
            advance(Duration::from_millis(1)).await;
            assert_eq!(attempts.states(), [Pending; 2]);
            advance(Duration::from_millis(249)).await;
            assert_eq!(attempts.states(), [Pending; 2]);
            advance(Duration::from_millis(1)).await;
            assert_eq!(attempts.states(), [Pending; 3]);
            attempts.set(1, Connected);
            assert_eq!(race.await.unwrap().unwrap(), 1);
        },
    );
}

/// Catches: a failure after which the next attempt waits; a delay that is not counted from the attempt that began last.
#[test]
fn the_next_attempt_begins_at_once_when_one_has_failed() {
    let _limit = limit(30);
    racing(
        4,
        |_| Pending,
        async |attempts, race| {
            advance(Duration::from_millis(200)).await;
            attempts.set(0, Failed(libc::ECONNREFUSED));
            yield_now().await;
            assert_eq!(attempts.states(), [Dropped, Pending]);
            advance(Duration::from_millis(249)).await;
            assert_eq!(attempts.states(), [Dropped, Pending]);
            advance(Duration::from_millis(1)).await;
            assert_eq!(attempts.states(), [Dropped, Pending, Pending]);
            attempts.set(1, Failed(libc::ECONNREFUSED));
            yield_now().await;
            assert_eq!(attempts.states(), [Dropped, Dropped, Pending, Pending]);
            attempts.set(3, Connected);
            assert_eq!(race.await.unwrap().unwrap(), 3);
        },
    );
}

/// Catches: attempts that fail in their first poll, and after which a delay is waited for.
#[test]
fn addresses_that_fail_at_once_cost_no_time() {
    let _limit = limit(30);
    let first = |nth| match nth {
        0..4 => Failed(libc::ENETUNREACH),
        _ => Connected,
    };
    racing(5, first, async |_, race| {
        assert_eq!(race.await.unwrap().unwrap(), 4);
    });
}

/// Catches: an attempt that begins although one has connected in the same turn.
#[test]
fn none_begins_once_one_has_connected() {
    let _limit = limit(30);
    racing(
        3,
        |_| Pending,
        async |attempts, race| {
            attempts.set(0, Connected);
            advance(Duration::from_secs(1)).await;
            assert_eq!(attempts.states(), [Dropped]);
            assert_eq!(race.await.unwrap().unwrap(), 0);
        },
    );
}

/// Catches: the one that was woken first, or that began last, wins.
#[test]
fn of_two_that_connect_in_one_turn_the_earlier_wins() {
    let _limit = limit(30);
    racing(
        2,
        |_| Pending,
        async |attempts, race| {
            advance(Duration::from_millis(250)).await;
            attempts.set(1, Connected);
            attempts.set(0, Connected);
            assert_eq!(race.await.unwrap().unwrap(), 0);
        },
    );
}

/// Catches: losers that live on in the future, or that are dropped after the winner was returned.
#[test]
fn the_losers_are_dropped_before_the_winner_is_returned() {
    let _limit = limit(30);
    let mut options = Builder::new();
    options.start_paused(true).block_on(async {
        let attempts = Rc::new(Attempts::default());
        let begun = Cell::new(0);
        let race = race((0..3).map(address).collect(), |_| {
            let nth = begun.replace(begun.get() + 1);
            attempts.states.borrow_mut().push((Pending, None));
            let attempts = Rc::clone(&attempts);
            Attempt { nth, attempts }
        });
        let mut race = pin!(race);
        for _ in 0..3 {
            let polled = futures_lite::future::poll_once(race.as_mut()).await;
            assert!(polled.is_none());
            advance(Duration::from_millis(250)).await;
        }
        attempts.set(1, Connected);
        let winner = poll_fn(|cx| race.as_mut().poll(cx)).await.unwrap();
        assert_eq!(winner, 1);
        // The future is still there.
        assert_eq!(attempts.states(), [Dropped; 3]);
    });
}

/// Fault C15. Catches: a failure that is forgotten; another kind than the last one's; an error without its cause.
#[test]
fn the_error_has_those_of_all_addresses() {
    let _limit = limit(30);
    let errnos = [libc::ENETUNREACH, libc::EACCES, libc::ECONNREFUSED];
    racing(
        3,
        move |nth| Failed(errnos[nth]),
        async |_, race| {
            let error = race.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            assert_eq!(error.raw_os_error(), None);
            let tried = error.get_ref().unwrap().downcast_ref::<AddressesError>();
            let failures = tried.unwrap().failures();
            for (nth, (at, error)) in failures.iter().enumerate() {
                let expected = (address(nth), Some(errnos[nth]));
                assert_eq!((*at, error.raw_os_error()), expected);
            }
            assert_eq!(failures.len(), 3);
            let source = std::error::Error::source(&error).unwrap();
            let source = source.downcast_ref::<io::Error>().unwrap();
            assert_eq!(source.raw_os_error(), Some(libc::ECONNREFUSED));
            let texts = failures.iter().map(|(at, error)| format!("{at}: {error}"));
            assert_eq!(error.to_string(), texts.collect::<Vec<_>>().join("; "));
        },
    );
}

/// Fault C13. Catches: an attempt that outlives the race.
#[test]
fn a_race_that_is_dropped_drops_its_attempts() {
    let _limit = limit(30);
    racing(
        2,
        |_| Pending,
        async |attempts, race| {
            advance(Duration::from_millis(250)).await;
            assert_eq!(attempts.states(), [Pending; 2]);
            race.abort();
            assert!(race.await.unwrap_err().is_cancelled());
            assert_eq!(attempts.states(), [Dropped; 2]);
        },
    );
}
