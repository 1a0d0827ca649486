//! Models of the pool: every interleaving of what is queued with threads that come, wait and go.
//!
//! The queue is the real one. loom's wait with a timeout never times out, so in these models idle threads end when the
//! pool is closed. A job that is forgotten leaves its submitter waiting, and loom reports the deadlock.

use std::num::NonZeroUsize;
use std::time::Duration;

use loom::model;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread::{self, JoinHandle};

use super::limit::limit;
use crate::runtime::pool::Lane::{self, Lookup, Work};
use crate::runtime::pool::{Pushed, Threads};

/// How many jobs have begun.
#[derive(Default)]
struct Begun(Mutex<usize>, Condvar);

impl Begun {
    fn add(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }

    fn wait_for(&self, goal: usize) {
        let mut begun = self.0.lock().unwrap();
        while *begun < goal {
            begun = self.1.wait(begun).unwrap();
        }
    }

    fn count(&self) -> usize {
        *self.0.lock().unwrap()
    }
}

/// A job adds to the count, and then waits until that is so high.
type Pool = Arc<Threads<(Arc<Begun>, usize)>>;

fn pool(most: usize) -> Pool {
    let keep_alive = Duration::from_secs(10);
    Arc::new(Threads::new(NonZeroUsize::new(most).unwrap(), keep_alive))
}

/// As `Pool::submit`, with a thread as `pool::work`.
fn submit(pool: &Pool, lane: Lane, begun: &Arc<Begun>, goal: usize) -> Option<JoinHandle<()>> {
    match pool.push(lane, (Arc::clone(begun), goal)) {
        Pushed::Queued => None,
        Pushed::MakeThread => {
            let pool = Arc::clone(pool);
            Some(thread::spawn(move || {
                while let Some((lane, (begun, goal))) = pool.next() {
                    begun.add();
                    begun.wait_for(goal);
                    drop(begun);
                    pool.done(lane);
                }
            }))
        }
    }
}

/// Fault F4. Catches: a job for which no thread comes; one that two threads take; a thread that does not end.
#[test]
fn loom_each_job_is_run_once_before_the_pool_is_closed() {
    let _limit = limit(300);
    for most in [1, 2] {
        model(move || {
            let pool = pool(most);
            let begun = Arc::new(Begun::default());
            let mut threads = Vec::new();
            for lane in [Work, Lookup] {
                threads.extend(submit(&pool, lane, &begun, 0));
            }
            begun.wait_for(2);
            drop(pool.close());
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(begun.count(), 2);
        });
    }
}

/// Faults F4 and F7. Catches: an idle thread that is counted twice, so that of two jobs one waits for the other's thread.
#[test]
fn loom_two_jobs_never_rely_on_one_idle_thread() {
    let _limit = limit(300);
    model(|| {
        let pool = pool(2);
        let begun = Arc::new(Begun::default());
        let mut threads = Vec::new();
        threads.extend(submit(&pool, Work, &begun, 0));
        // Each of these ends only when the other has begun.
        threads.extend(submit(&pool, Work, &begun, 3));
        threads.extend(submit(&pool, Work, &begun, 3));
        begun.wait_for(3);
        drop(pool.close());
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Catches: a pool that is closed between an idle thread's look and its wait, which then waits for ever.
#[test]
fn loom_a_pool_that_is_closed_leaves_no_thread_waiting() {
    let _limit = limit(300);
    model(|| {
        let pool = pool(1);
        let begun = Arc::new(Begun::default());
        let thread = submit(&pool, Work, &begun, 0).unwrap();
        let unrun = pool.close().count();
        thread.join().unwrap();
        assert_eq!(begun.count() + unrun, 1);
    });
}
