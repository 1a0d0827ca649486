//! One schedule: its runtime, those who wait, and the question at rest.

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use reveille::runtime::{Builder, Runtime};

use super::random::Random;
use super::seeds::only_seed;
use super::step::{Wakes, inside, poll};

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Anything a read would return.
    Bytes,
    /// An urgent byte.
    Priority,
    /// Room to write.
    Room,
}

/// What an operation came to.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// These bytes were taken; none are the end.
    Read(Vec<u8>),
    /// So many bytes were written.
    Wrote(usize),
    /// Nothing was taken or given.
    Seen,
    Failed(io::Error),
}

impl Outcome {
    /// Of a read that took the first `n` bytes of `buf`.
    pub(crate) fn of_read(n: io::Result<usize>, mut buf: Vec<u8>) -> Outcome {
        match n {
            Ok(n) => {
                buf.truncate(n);
                Outcome::Read(buf)
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    /// Of a write.
    pub(crate) fn of_write(n: io::Result<usize>) -> Outcome {
        n.map_or_else(Outcome::Failed, Outcome::Wrote)
    }

    /// Of what takes nothing and gives nothing.
    pub(crate) fn of_look<T>(seen: io::Result<T>) -> Outcome {
        seen.map_or_else(Outcome::Failed, |_| Outcome::Seen)
    }
}

struct Wait<'a> {
    what: What,
    future: Pin<Box<dyn Future<Output = Outcome> + 'a>>,
    waker: Waker,
    wakes: Arc<Wakes>,
    /// Wakes that were answered by a poll.
    answered: usize,
}

pub(crate) struct Play<'a> {
    pub(crate) runtime: &'a Runtime,
    /// Who is at it, and has not been told.
    waits: Vec<Wait<'a>>,
    pub(crate) read: Vec<u8>,
    pub(crate) written: usize,
    /// A read gave the end or an error.
    pub(crate) ended: bool,
    verbose: bool,
}

/// An event that the kernel owes does not take longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(2);

/// As many may wait at once.
const CROWDED: usize = 3;

/// A runtime as most are, or, once in three, one under chaos.
pub(crate) fn runtime(random: &mut Random) -> Runtime {
    let mut options = Builder::new();
    if random.below(3) == 0 {
        options.chaos(random.below(usize::MAX) as u64);
    }
    options.build().unwrap()
}

impl<'a> Play<'a> {
    pub(crate) fn new(runtime: &'a Runtime) -> Play<'a> {
        Play {
            runtime,
            waits: Vec::new(),
            read: Vec::new(),
            written: 0,
            ended: false,
            verbose: only_seed().is_some(),
        }
    }

    /// Tells what is about to be done, when a schedule is replayed.
    pub(crate) fn tell(&self, step: &dyn Debug) {
        if self.verbose {
            println!("{step:?}");
        }
    }

    /// Begins something that may wait, unless enough do already.
    pub(crate) fn begin(&mut self, what: What, future: impl Future<Output = Outcome> + 'a) {
        if self.waits.len() == CROWDED {
            return;
        }
        let (wakes, waker) = Wakes::new();
        self.waits.push(Wait {
            what,
            future: Box::pin(future),
            waker,
            wakes,
            answered: 0,
        });
        self.poll(self.waits.len() - 1);
    }

    /// Does something that does not wait; EAGAIN is no outcome.
    pub(crate) fn attempt(&mut self, op: impl FnOnce() -> Outcome) {
        let outcome = inside(self.runtime, op);
        self.note(outcome);
    }

    fn poll(&mut self, nth: usize) {
        let wait = &mut self.waits[nth];
        wait.answered = wait.wakes.count();
        let polled = inside(self.runtime, || poll(&mut wait.future, &wait.waker));
        if let Poll::Ready(outcome) = polled {
            self.waits.remove(nth);
            self.note(outcome);
        }
    }

    fn note(&mut self, outcome: Outcome) {
        if self.verbose {
            println!("    {outcome:?}");
        }
        match outcome {
            Outcome::Read(bytes) => {
                self.ended |= bytes.is_empty();
                self.read.extend_from_slice(&bytes);
            }
            Outcome::Wrote(n) => self.written += n,
            Outcome::Failed(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Outcome::Failed(_) => self.ended = true,
            Outcome::Seen => {}
        }
    }

    /// Polls one that waits, for no reason.
    pub(crate) fn poll_any(&mut self, random: &mut Random) {
        if !self.waits.is_empty() {
            self.poll(random.below(self.waits.len()));
        }
    }

    /// Drops one that waits, woken or not.
    pub(crate) fn cancel_any(&mut self, random: &mut Random) {
        if !self.waits.is_empty() {
            drop(self.waits.remove(random.below(self.waits.len())));
        }
    }

    /// Drops all that wait.
    pub(crate) fn cancel_all(&mut self) {
        self.waits.clear();
    }

    /// Lets the reactor look.
    pub(crate) fn turn(&self) {
        self.runtime.turn().unwrap();
    }

    /// Turns and polls until nobody is woken any more, and returns how many have been.
    fn settle(&mut self) -> usize {
        for woken in 0..10_000 {
            self.turn();
            let is_woken = |wait: &Wait<'_>| wait.wakes.count() != wait.answered;
            match self.waits.iter().position(is_woken) {
                Some(nth) => self.poll(nth),
                None => return woken,
            }
        }
        panic!("they wake and wait without end");
    }

    /// Comes to rest. Then nobody may wait for what the kernel `holds`.
    #[track_caller]
    pub(crate) fn rest(&mut self, holds: impl Fn(What) -> bool) {
        self.settle();
        while let Some(wait) = self.waits.iter().find(|wait| holds(wait.what)) {
            let what = wait.what;
            // It may have come after the look; then the next one hears of it. Or a moment later: a
            // worker of the kernel fills a terminal's buffer first, and wakes who polls it then.
            let start = Instant::now();
            while self.settle() == 0 {
                assert!(start.elapsed() < PATIENCE, "stranded: {what:?}");
                thread::yield_now();
            }
        }
    }
}
