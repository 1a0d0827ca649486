//! Programs made of random bytes, each against a model of what must happen.
//!
//! - [`timers`]: sleeps that are armed, reset, re-polled, dropped and fired, against a sorted map.
//! - [`executor`]: tasks of two runtimes that spawn, wake, abort, join, panic and drop each other,
//!   from here and from other threads, against what they were told.
//! - [`readiness`]: operations that wait for sockets and pipes, against what poll(2) says.
//!
//! Each `run` panics if the library and the model disagree. Panics that belong to the program are
//! raised by `resume_unwind`, which runs no hook, for libFuzzer's hook ends the process.
//!
//! The inputs that together reach everything are in `corpus/`, one a line, in hexadecimal; those
//! made by hand go where a coverage that counts lines sees nothing new.

pub mod executor;
pub mod readiness;
pub mod timers;

#[cfg(test)]
#[path = "../support/limit.rs"]
mod limit;

use std::cell::Cell;

/// What a program reads its decisions from.
pub(crate) struct Input {
    data: Vec<u8>,
    at: Cell<usize>,
}

impl Input {
    pub(crate) fn new(data: &[u8]) -> Input {
        // Long inputs find nothing that short ones do not, and cost time.
        let data = data[..data.len().min(512)].to_vec();
        let at = Cell::new(0);
        Input { data, at }
    }

    /// The next byte, until there is none.
    pub(crate) fn next(&self) -> Option<u8> {
        let byte = self.data.get(self.at.get()).copied();
        self.at.set(self.at.get() + 1);
        byte
    }

    /// The next byte, or zero.
    pub(crate) fn byte(&self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// Below `n`; zero if there is nothing left.
    pub(crate) fn below(&self, n: usize) -> usize {
        usize::from(self.byte()) % n.max(1)
    }
}

/// The inputs of a corpus file.
pub fn inputs(corpus: &str) -> Vec<Vec<u8>> {
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("hexadecimal is ASCII");
        u8::from_str_radix(pair, 16).expect("a corpus is hexadecimal")
    };
    let line = |line: &str| line.as_bytes().chunks(2).map(byte).collect();
    corpus.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::limit::limit;
    use super::*;

    /// One target at a time: a waker of one that outlived its runtime may wake a stranger for nothing
    /// in another's, which is legal (R6), and which the models do not expect.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    fn replay(corpus: &str, by_hand: &str, run: fn(&[u8])) {
        let _alone = ONE_AT_A_TIME.lock().unwrap();
        // What the model finds wrong inside a task must not become the task's panic.
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            print(panic);
            std::process::abort();
        }));
        let mut inputs = inputs(corpus);
        inputs.extend(self::inputs(by_hand));
        assert!(inputs.len() > 10, "only {} inputs", inputs.len());
        inputs.iter().for_each(|input| run(input));
    }

    #[test]
    fn timers_agree_with_a_sorted_map_on_the_whole_corpus() {
        let _limit = limit(300);
        let by_hand = include_str!("corpus/timers.by-hand.hex");
        replay(include_str!("corpus/timers.hex"), by_hand, timers::run);
    }

    #[test]
    fn tasks_do_what_they_were_told_on_the_whole_corpus() {
        let _limit = limit(300);
        replay(include_str!("corpus/executor.hex"), "", executor::run);
    }

    #[test]
    fn operations_see_what_the_kernel_holds_on_the_whole_corpus() {
        let _limit = limit(300);
        let by_hand = include_str!("corpus/readiness.by-hand.hex");
        replay(
            include_str!("corpus/readiness.hex"),
            by_hand,
            readiness::run,
        );
    }
}
