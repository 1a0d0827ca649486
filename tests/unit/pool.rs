//! `runtime::pool` step by step: who is called, and what a thread takes.

use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use super::limit::limit;
use crate::runtime::pool::Lane::{Lookup, Work};
use crate::runtime::pool::{Pushed, Threads};

/// A pool of at most so many threads, which end at once when they are idle.
fn threads<J>(most: usize) -> Threads<J> {
    Threads::new(NonZeroUsize::new(most).unwrap(), Duration::ZERO)
}

/// Catches: a thread for each job although all there may be are at work; none for one that no other would take.
#[test]
fn a_thread_is_made_for_each_job_up_to_the_limit() {
    let _limit = limit(30);
    let pool = threads(2);
    assert_eq!(pool.push(Work, 1), Pushed::MakeThread);
    assert_eq!(pool.push(Work, 2), Pushed::MakeThread);
    assert_eq!(pool.push(Work, 3), Pushed::Queued);
    assert_eq!(pool.next(), Some((Work, 1)));
    assert_eq!(pool.push(Work, 4), Pushed::Queued);
    let mut taken = Vec::new();
    while let Some((lane, job)) = pool.next() {
        taken.push(job);
        pool.done(lane);
    }
    assert_eq!(taken, [2, 3, 4], "first in, first out");
    // One thread has ended, so one more may be made.
    assert_eq!(pool.push(Work, 5), Pushed::MakeThread);
}

/// Catches: names that take all threads, or more than half of them; one that is never resolved where there is one thread.
#[test]
fn names_take_half_of_the_threads_at_most() {
    let _limit = limit(30);
    for (most, resolving) in [(1, 1), (2, 1), (3, 1), (4, 2), (512, 256)] {
        let pool = threads(most);
        let made = (0..600).filter(|&n| pool.push(Lookup, n) == Pushed::MakeThread);
        let made = made.count();
        assert!(made >= resolving, "of {most}");
        for n in 0..resolving {
            assert_eq!(pool.next(), Some((Lookup, n)), "of {most}");
        }
        // The next thread finds no job that it may take, and would wait.
        assert_eq!(pool.next(), None, "of {most}");
        let _either = pool.push(Work, 1000);
        assert_eq!(pool.next(), Some((Work, 1000)), "of {most}");
        pool.done(Lookup);
        assert_eq!(pool.next(), Some((Lookup, resolving)), "of {most}");
    }
}

/// Catches: names that go first for ever, so that the one thread never does work; or work that does.
#[test]
fn jobs_are_taken_in_the_order_in_which_they_came() {
    let _limit = limit(30);
    let pool = threads(1);
    let jobs = [(Lookup, 1), (Lookup, 2), (Work, 3), (Lookup, 4), (Work, 5)];
    for (lane, job) in jobs {
        let _either = pool.push(lane, job);
    }
    for (lane, job) in jobs {
        assert_eq!(pool.next(), Some((lane, job)));
        pool.done(lane);
    }
}

/// Catches: a job that is left behind, or is handed back although a thread will come for it.
#[test]
fn a_job_comes_back_only_if_no_thread_is_left_for_it() {
    let _limit = limit(30);
    let pool = threads(3);
    assert_eq!(pool.push(Work, 1), Pushed::MakeThread);
    assert_eq!(pool.unmade(Work), Some(1));
    assert!(!pool.is_busy());
    assert_eq!(pool.push(Work, 2), Pushed::MakeThread);
    assert_eq!(pool.push(Work, 3), Pushed::MakeThread);
    assert_eq!(pool.unmade(Work), None);
    assert_eq!(pool.next(), Some((Work, 2)));
    assert_eq!(pool.next(), Some((Work, 3)));
}

/// Catches: a pool that counts as busy for ever, or not until its job has ended.
#[test]
fn a_pool_is_busy_from_the_first_job_to_the_last_end() {
    let _limit = limit(30);
    let pool = threads(2);
    assert!(!pool.is_busy());
    for job in 1..=2 {
        let _made = pool.push(Work, job);
    }
    assert!(pool.is_busy());
    assert_eq!(pool.next(), Some((Work, 1)));
    assert_eq!(pool.next(), Some((Work, 2)));
    assert!(!pool.done(Work), "one still runs");
    assert!(pool.is_busy());
    assert!(pool.done(Work));
    assert!(!pool.is_busy());
}

/// Catches: an idle thread that sleeps on when the pool is closed; queued work that is begun, or lost; a name that is
/// not resolved, though another runtime awaits it.
#[test]
fn closing_hands_back_what_is_queued_and_sends_the_idle_home() {
    let _limit = limit(30);
    let hour = Duration::from_secs(3600);
    let pool = Threads::new(NonZeroUsize::new(1).unwrap(), hour);
    thread::scope(|scope| {
        assert_eq!(pool.push(Work, 1), Pushed::MakeThread);
        let idle = scope.spawn(|| {
            assert_eq!(pool.next(), Some((Work, 1)));
            pool.done(Work);
            pool.next()
        });
        while pool.is_busy() {
            thread::yield_now();
        }
        assert_eq!(pool.close().count(), 0);
        assert_eq!(idle.join().unwrap(), None);
    });
    let pool = threads(1);
    for job in 1..=3 {
        let _made = pool.push(Work, job);
    }
    let _made = pool.push(Lookup, 4);
    assert!(pool.close().eq([1, 2, 3]));
    assert_eq!(pool.push(Work, 5), Pushed::Queued, "and is dropped");
    // Something may await the name in another runtime.
    assert_eq!(pool.next(), Some((Lookup, 4)));
    assert!(pool.done(Lookup));
    assert_eq!(pool.next(), None);
}
