//! `runtime::io::alarm` with an epoll instance of its own: when it is set, and what it brings.

use std::time::{Duration, Instant};

use super::limit::limit;
use crate::runtime::io::alarm::{Alarm, SHORT};
use crate::runtime::sys::{Epoll, Events};

const TOKEN: u64 = 7;

const fn millis(millis: u64) -> Option<Duration> {
    Some(Duration::from_millis(millis))
}

/// The tokens of the events of one wait without a timeout, or without waiting.
fn wait(epoll: &Epoll, timeout: Option<Duration>) -> Vec<u64> {
    let mut events = Events::new();
    epoll.wait(&mut events, timeout).unwrap();
    events.iter().map(|(_, token)| token).collect()
}

/// Catches: an alarm that is not set, or is set and not watched; one that is too early, or rings twice.
#[test]
fn an_alarm_ends_a_wait_once_and_not_too_early() {
    let _limit = limit(30);
    let epoll = Epoll::new().unwrap();
    let alarm = Alarm::new(&epoll, TOKEN);
    for _ in 0..3 {
        let start = Instant::now();
        assert!(alarm.set(millis(2)));
        assert_eq!(wait(&epoll, None), [TOKEN]);
        assert!(start.elapsed() >= Duration::from_millis(2));
        alarm.rang();
        assert_eq!(wait(&epoll, millis(20)), [0; 0], "it rings again");
    }
}

/// Catches: a system call for each message that moves a timeout on; an alarm for a later deadline that is left
/// where an earlier one is needed.
#[test]
fn an_alarm_is_set_again_only_to_ring_earlier() {
    let _limit = limit(30);
    let epoll = Epoll::new().unwrap();
    let alarm = Alarm::new(&epoll, TOKEN);
    assert!(alarm.set(millis(9)));
    let set_again = (0..50).filter(|_| alarm.set(Some(SHORT))).count();
    assert!(
        set_again <= 1,
        "set {set_again} times, once if the machine took a pause"
    );
    assert!(alarm.set(millis(1)), "an earlier one");
    assert_eq!(wait(&epoll, None), [TOKEN]);
    alarm.rang();
    assert!(alarm.set(millis(9)), "it has rung");
    // It has rung, and the event was not seen yet.
    assert!(alarm.set(Some(Duration::from_micros(1))));
    while wait(&epoll, Some(Duration::ZERO)).is_empty() {}
    assert!(alarm.set(millis(9)));
}

/// Catches: an alarm for each wait, or for one that does not wait.
#[test]
fn there_is_an_alarm_for_short_waits_only() {
    let _limit = limit(30);
    let epoll = Epoll::new().unwrap();
    let alarm = Alarm::new(&epoll, TOKEN);
    for timeout in [
        None,
        millis(0),
        Some(SHORT + Duration::from_nanos(1)),
        millis(60_000),
    ] {
        assert!(!alarm.set(timeout), "{timeout:?}");
    }
    assert!(alarm.set(Some(SHORT)));
}
