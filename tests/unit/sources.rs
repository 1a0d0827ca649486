//! `runtime::io::sources`, fed by hand: a slice of events does here what an epoll instance does otherwise.

use std::task::{Context, Waker};

use libc::{EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP};

use super::limit::limit;
use super::roll::Roll;
use crate::io::{Interest, Ready};
use crate::runtime::io::sources::{Sources, Token};
use crate::runtime::io::waiters::Progress;
use crate::runtime::name::slab::{Name, Serials, WaiterKey};

const READ: Interest = Interest::READABLE;
const WRITE: Interest = Interest::WRITABLE;

struct Stand {
    sources: Sources,
    serials: Serials,
    roll: Roll,
}

impl Stand {
    fn new() -> Stand {
        Stand {
            sources: Sources::new(),
            serials: Serials::new(),
            roll: Roll::new(),
        }
    }

    /// A source of which nothing is known yet.
    fn source(&self) -> Name {
        self.source_that_is(Ready::EMPTY)
    }

    fn source_that_is(&self, ready: Ready) -> Name {
        let serial = self.serials.next();
        Name::new(0, self.sources.insert(serial, ready, false), serial)
    }

    /// A task waits, by a future or by a poll, as its key says; false if the source has gone.
    fn wait(&self, source: Name, interest: Interest, waker: &Waker, key: &mut WaiterKey) -> bool {
        let progress = || Progress::new(0, 1, self.serials.next());
        let cx = Context::from_waker(waker);
        self.sources
            .wait(source, interest, &cx, key, &self.serials, progress)
    }

    /// A future of the task `number` begins to wait.
    #[track_caller]
    fn wait_once(&self, source: Name, interest: Interest, number: usize) -> WaiterKey {
        let mut key = WaiterKey::UNSET;
        assert!(self.wait(source, interest, &self.roll.waker(number), &mut key));
        assert!(key.is_owned());
        key
    }

    /// Applies the events in order. Returns who was woken, and how many found a source.
    fn feed(&self, events: &[(i32, Token)]) -> (Vec<usize>, usize) {
        let found = events
            .iter()
            .filter(|(bits, token)| {
                let applied = self.sources.apply(*bits as u32, *token, Waker::wake);
                applied.is_some()
            })
            .count();
        (self.roll.take(), found)
    }

    fn event(&self, bits: i32, source: Name) -> Vec<usize> {
        let (woken, found) = self.feed(&[(bits, token(source))]);
        assert_eq!(found, 1);
        woken
    }

    fn is_ready(&self, source: Name, interest: Interest) -> bool {
        self.sources.is_ready(source, interest).unwrap()
    }
}

fn token(source: Name) -> Token {
    Token::new(source.index(), source.serial)
}

/// R4. Catches: readiness by anything but an event, or that goes by anything but an operation; a direction
/// that stands for the other.
#[test]
fn readiness_comes_with_an_event_and_goes_when_it_is_disproved() {
    let _limit = limit(30);
    let stand = Stand::new();
    let (source, other) = (stand.source(), stand.source());
    let nothing = |source| !stand.is_ready(source, READ) && !stand.is_ready(source, WRITE);
    assert!(nothing(source));
    stand.wait_once(source, READ, 1);
    stand.sources.clear(source, READ);
    stand.sources.unprove_short_reads(source);
    assert!(nothing(source));
    assert_eq!(stand.event(EPOLLIN, source), [1]);
    for _ in 0..3 {
        assert!(stand.is_ready(source, READ) && !stand.is_ready(source, WRITE));
        assert!(stand.is_ready(source, READ | WRITE), "some of it");
        stand.sources.clear(source, WRITE);
    }
    assert_eq!(stand.event(EPOLLOUT, source), []);
    assert!(stand.is_ready(source, READ) && stand.is_ready(source, WRITE));
    stand.sources.clear(source, READ);
    assert!(!stand.is_ready(source, READ) && stand.is_ready(source, WRITE));
    assert!(nothing(other));
    let untried = stand.source_that_is(Ready::WRITABLE);
    assert!(stand.is_ready(untried, WRITE) && !stand.is_ready(untried, READ));
}

/// Faults A4, A5. Catches: an end or an error that ends no wait, or the wait of those it is no matter of;
/// one that is latched, so that every later wait ends at once.
#[test]
fn what_an_event_makes_ready_is_what_it_speaks_of() {
    let _limit = limit(30);
    let priority = Interest::PRIORITY;
    let table = [
        (EPOLLIN, [true, false, false, false]),
        (EPOLLOUT, [false, true, false, false]),
        (EPOLLPRI, [false, false, true, false]),
        (EPOLLRDHUP, [true, false, true, false]),
        (EPOLLHUP, [true, true, true, false]),
        (EPOLLERR, [true, true, false, true]),
    ];
    for (bits, expected) in table {
        let stand = Stand::new();
        let source = stand.source();
        let interests = [READ, WRITE, priority, Interest::ERROR];
        for (number, interest) in interests.into_iter().enumerate() {
            stand.wait_once(source, interest, number);
        }
        let concerned: Vec<usize> = (0..4).filter(|number| expected[*number]).collect();
        assert_eq!(stand.event(bits, source), concerned, "{bits:#x}");
        for (interest, expected) in interests.into_iter().zip(expected) {
            assert_eq!(stand.is_ready(source, interest), expected, "{bits:#x}");
        }
        for interest in interests {
            stand.sources.clear(source, interest);
            assert!(!stand.is_ready(source, interest), "{bits:#x}");
        }
        assert_eq!(stand.sources.has_waiters(), concerned.len() < 4);
    }
}

/// R6. Catches: an event for a source that has gone, taken by who lives in its slot now; a token whose
/// serial is compared whole, or not at all.
#[test]
fn a_stale_token_finds_nothing() {
    let _limit = limit(30);
    let stand = Stand::new();
    let gone = stand.source();
    stand.wait_once(gone, READ, 1);
    stand.sources.free(gone);
    let tenant = stand.source();
    assert_eq!(tenant.index(), gone.index(), "the slot is used again");
    stand.wait_once(tenant, READ, 2);
    let beyond = Token::new(77, tenant.serial);
    let events = [token(gone), beyond, Token::EVENTFD].map(|token| (EPOLLIN, token));
    assert_eq!(stand.feed(&events), (vec![], 0));
    assert!(!stand.is_ready(tenant, READ));
    assert_eq!(stand.sources.len(), 1);
    // Half of the serial is compared, and no more is there.
    let far = Token::new(tenant.index(), tenant.serial + (1 << 32));
    assert_eq!(stand.feed(&[(EPOLLIN, far)]), (vec![2], 1));
    assert!(stand.is_ready(tenant, READ));
}

/// R6. Catches: a name that went stale and clears, waits or asks at the source that lives there now.
#[test]
fn a_stale_name_changes_nothing() {
    let _limit = limit(30);
    let stand = Stand::new();
    let gone = stand.source();
    let observed = stand.sources.observe(gone, READ).unwrap();
    stand.sources.free(gone);
    let tenant = stand.source();
    let key = stand.wait_once(tenant, WRITE, 1);
    stand.event(EPOLLIN, tenant);
    stand.sources.clear(gone, READ);
    stand
        .sources
        .clear_observed(gone, observed, Ready::READABLE);
    stand.sources.clear_drained(gone);
    stand.sources.unprove_short_reads(gone);
    stand.sources.forget(gone, key);
    stand.sources.free(gone);
    assert!(stand.is_ready(tenant, READ));
    assert!(!stand.sources.short_reads_are_unproved(tenant));
    assert!(stand.sources.is_ready(gone, READ).is_none());
    assert!(stand.sources.observe(gone, READ).is_none());
    let mut unset = WaiterKey::UNSET;
    assert!(!stand.wait(gone, READ, Waker::noop(), &mut unset));
    assert_eq!(stand.event(EPOLLOUT, tenant), [1]);
}

/// R9, R6. Catches: a waker of a batch that is not handed out, or is handed out again; an order that is not
/// that of the events; a stale event that ends the batch.
#[test]
fn a_batch_of_events_hands_out_the_wakers_of_all_it_concerns() {
    let _limit = limit(30);
    let stand = Stand::new();
    let sources = [(); 3].map(|()| stand.source());
    for (nth, &source) in sources.iter().enumerate() {
        stand.wait_once(source, READ, 10 * nth);
        stand.wait_once(source, WRITE, 10 * nth + 1);
        stand.wait_once(source, READ, 10 * nth + 2);
    }
    let stale = Token::new(sources[1].index(), sources[1].serial - 1);
    let events = [
        (EPOLLIN, token(sources[2])),
        (EPOLLIN, stale),
        (EPOLLIN | EPOLLOUT, token(sources[0])),
        (EPOLLIN, token(sources[2])),
    ];
    assert_eq!(stand.feed(&events), (vec![20, 22, 0, 1, 2], 3));
    assert_eq!(stand.feed(&events), (vec![], 3));
    assert!(stand.sources.has_waiters());
}

/// Fault C13. Catches: a wait that outlives its future, or a poll of it that is stored beside the one before;
/// a key that is another at each poll.
#[test]
fn a_future_waits_once_and_is_forgotten() {
    let _limit = limit(30);
    let stand = Stand::new();
    let source = stand.source();
    let mut key = stand.wait_once(source, READ, 1);
    let first = key;
    for number in 2..5 {
        assert!(stand.wait(source, READ, &stand.roll.waker(number), &mut key));
        assert_eq!(key, first);
    }
    assert_eq!(stand.event(EPOLLIN, source), [4]);
    assert!(!stand.sources.has_waiters());
    let key = stand.wait_once(source, READ, 5);
    assert_ne!(key, first);
    stand.sources.forget(source, key);
    assert!(!stand.sources.has_waiters());
    assert_eq!(stand.event(EPOLLIN, source), []);
    // A poll has no future whose end could forget it, and no key of its own.
    let mut polled = WaiterKey::POLLED;
    assert!(stand.wait(source, READ, &stand.roll.waker(6), &mut polled));
    assert_eq!(polled, WaiterKey::POLLED);
    assert_eq!(stand.event(EPOLLIN, source), [6]);
}

/// R10. Catches: a short read that is trusted behind an urgent byte, an end, a reset or an error, which has
/// no edge of its own any more.
#[test]
fn a_short_read_proves_nothing_once_an_event_gave_reason_to_doubt_it() {
    let _limit = limit(30);
    let doubtful = [EPOLLPRI, EPOLLRDHUP, EPOLLHUP, EPOLLERR];
    for bits in doubtful {
        let stand = Stand::new();
        let source = stand.source();
        stand.event(EPOLLIN | bits, source);
        // Other events, writes and short reads do not end the doubt; EAGAIN of a read does.
        stand.event(EPOLLIN | EPOLLOUT, source);
        stand.sources.clear(source, WRITE);
        for _ in 0..2 {
            stand.sources.clear_drained(source);
            assert!(stand.is_ready(source, READ), "{bits:#x}");
            assert!(stand.sources.short_reads_are_unproved(source));
        }
        stand.sources.clear(source, READ);
        assert!(!stand.is_ready(source, READ));
        assert!(!stand.sources.short_reads_are_unproved(source));
        stand.event(EPOLLIN, source);
        stand.sources.clear_drained(source);
        assert!(!stand.is_ready(source, READ), "{bits:#x}");
    }
}

/// R10. Catches: a doubt where there is no reason, which costs a second read each time; a short read that
/// disproves room to write as well; a word of the caller's that is not heard.
#[test]
fn a_short_read_proves_that_a_plain_stream_is_drained() {
    let _limit = limit(30);
    let stand = Stand::new();
    let source = stand.source();
    stand.event(EPOLLIN | EPOLLOUT, source);
    assert!(!stand.sources.short_reads_are_unproved(source));
    stand.sources.clear_drained(source);
    assert!(!stand.is_ready(source, READ) && stand.is_ready(source, WRITE));
    stand.event(EPOLLIN, source);
    stand.sources.unprove_short_reads(source);
    assert!(stand.sources.short_reads_are_unproved(source));
    stand.sources.clear_drained(source);
    assert!(stand.is_ready(source, READ));
}

/// R4. Catches: a guard, held over events, that clears what came since it looked; one that clears nothing;
/// one that clears what was not disproved.
#[test]
fn an_old_observation_clears_nothing() {
    let _limit = limit(30);
    let stand = Stand::new();
    let source = stand.source();
    stand.event(EPOLLIN | EPOLLOUT, source);
    let old = stand.sources.observe(source, READ | WRITE).unwrap();
    assert_eq!(old.ready, Ready::READABLE | Ready::WRITABLE);
    // An event of any kind is one: it may be the very thing that was missing.
    stand.event(EPOLLIN, source);
    stand.sources.clear_observed(source, old, Ready::ALL);
    assert!(stand.is_ready(source, READ) && stand.is_ready(source, WRITE));
    let new = stand.sources.observe(source, READ).unwrap();
    assert_eq!(new.ready, Ready::READABLE, "what was asked for");
    stand.sources.clear_observed(source, new, Ready::READABLE);
    assert!(!stand.is_ready(source, READ) && stand.is_ready(source, WRITE));
    // What is cleared is no event.
    stand.sources.clear_observed(source, new, Ready::WRITABLE);
    assert!(!stand.is_ready(source, WRITE));
}

/// R9, fault B44. Catches: the end of a runtime that leaves somebody waiting, or wakes him under the borrow;
/// a source that survives it.
#[test]
fn in_the_end_everybody_is_handed_out_and_nothing_is_left() {
    let _limit = limit(30);
    let stand = Stand::new();
    let sources = [(); 3].map(|()| stand.source());
    for (nth, &source) in sources.iter().enumerate() {
        stand.wait_once(source, READ, 10 * nth);
        stand.wait_once(source, WRITE, 10 * nth + 1);
    }
    let mut wakers = vec![stand.roll.waker(99)];
    stand.sources.drain_all(&mut wakers);
    assert_eq!(stand.roll.take(), [], "it is for the caller to wake them");
    wakers.into_iter().for_each(Waker::wake);
    assert_eq!(stand.roll.take(), [99, 0, 1, 10, 11, 20, 21]);
    assert_eq!(stand.sources.len(), 0);
    assert!(!stand.sources.has_waiters());
    let events = sources.map(|source| (EPOLLIN, token(source)));
    assert_eq!(stand.feed(&events), (vec![], 0));
}

/// Catches: those who wait for a source that is deregistered, woken for what will never come.
#[test]
fn who_waits_for_a_source_that_goes_is_dropped_with_it() {
    let _limit = limit(30);
    let stand = Stand::new();
    let source = stand.source();
    let waker = stand.roll.waker(1);
    let mut polled = WaiterKey::POLLED;
    assert!(stand.wait(source, READ, &waker, &mut polled));
    stand.wait_once(source, WRITE, 2);
    stand.sources.free(source);
    assert_eq!(stand.roll.take(), []);
    assert!(!stand.sources.has_waiters());
    assert!(!stand.wait(source, READ, &waker, &mut polled));
}
