//! The race of several addresses to connect: RFC 8305, "Happy Eyeballs", section 5.
//!
//! Idea: the addresses are tried in order, and the next attempt begins before the last has failed, so that one that is
//! never answered costs a quarter of a second and not two minutes.
//!
//! Interface: [`race`], of any kind of attempt. What it awaits is a clock and the attempts.
//! Invariants:
//! - The next attempt begins a [`DELAY`] after the last one began, or at once if one has failed meanwhile, and none
//!   begins once one has connected.
//! - Of two that have connected when the race is polled, the one earlier in order wins.
//! - The losers are dropped before the winner is returned, as all that an async fn has when it returns, and with each
//!   its socket.
//!
//! Read before: `tried`. Read next: `tcp::stream`.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use super::tried::all_failed;
use crate::time::{Sleep, now, sleep};

/// The "Connection Attempt Delay": RFC 8305, section 8, recommends 250 ms.
const DELAY: Duration = Duration::from_millis(250);

/// Begins an attempt for each address, until one has connected.
///
/// # Errors
/// That of [`all_failed`].
pub(crate) async fn race<T, F>(
    addresses: Vec<SocketAddr>,
    begin: impl FnMut(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut race = Race {
        addresses: addresses.into_iter(),
        begin,
        attempts: Vec::new(),
        failures: Vec::new(),
        delay: sleep(Duration::ZERO),
    };
    poll_fn(move |cx| race.poll(cx)).await
}

/// What [`race`] polls.
struct Race<F, B> {
    /// Those that have not been tried yet.
    addresses: vec::IntoIter<SocketAddr>,
    /// Makes the attempt to connect to an address.
    begin: B,
    /// In the order in which they began.
    attempts: Vec<(SocketAddr, Pin<Box<F>>)>,
    /// The addresses that failed, in the order in which they did, for the error if all do.
    failures: Vec<(SocketAddr, io::Error)>,
    /// When the next attempt begins.
    delay: Sleep,
}

impl<T, F, B> Race<F, B>
where
    F: Future<Output = io::Result<T>>,
    B: FnMut(SocketAddr) -> F,
{
    /// Ready once an attempt has connected, or all have failed. Until then each attempt, and the delay while there is
    /// an address left, may wake the task.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            let failed_before = self.failures.len();
            if let Some(connected) = self.poll_attempts(cx) {
                return Poll::Ready(Ok(connected));
            }
            let has_failed = self.failures.len() > failed_before;
            if self.addresses.as_slice().is_empty() {
                if self.attempts.is_empty() {
                    let failures = std::mem::take(&mut self.failures);
                    return Poll::Ready(Err(all_failed(failures)));
                }
                return Poll::Pending;
            }
            // While an attempt is pending this is inside a runtime, as a sleep must be.
            let is_time = has_failed
                || self.attempts.is_empty()
                || Pin::new(&mut self.delay).poll(cx).is_ready();
            if !is_time {
                return Poll::Pending;
            }
            self.begin_next();
        }
    }

    /// Polls all attempts; the first that has connected ends it.
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Option<T> {
        let mut nth = 0;
        while nth < self.attempts.len() {
            match self.attempts[nth].1.as_mut().poll(cx) {
                Poll::Ready(Ok(connected)) => return Some(connected),
                Poll::Ready(Err(error)) => {
                    let (address, _) = self.attempts.remove(nth);
                    self.failures.push((address, error));
                }
                Poll::Pending => nth += 1,
            }
        }
        None
    }

    /// Begins the attempt for the next address, and with it the delay before the one behind that.
    fn begin_next(&mut self) {
        if let Some(address) = self.addresses.next() {
            let attempt = (self.begin)(address);
            self.attempts.push((address, Box::pin(attempt)));
            self.delay.reset(now() + DELAY);
        }
    }
}
