//! Exact counts: instructions by valgrind, system calls by strace.
//!
//! Interface: [`Tool::count`] what one more of something costs, [`Tool::total`] what all of a process does.
//! Invariant: what is counted is the difference of a long run and a short one of the same process, so that
//! starting and ending cancel. Mostly one message or connection at a time, so that nothing depends on the
//! clock; bursts of messages repeat, in a full run, to one in a hundred.

use std::io;
use std::process::{Command, id};

use crate::child::Child;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tool {
    /// Instructions of user space: the `I refs` of its cachegrind.
    Valgrind,
    /// System calls, of all threads.
    Strace,
}

impl Tool {
    /// An error that says what is missing.
    pub fn version(self) -> io::Result<String> {
        let (name, option) = match self {
            Tool::Valgrind => ("valgrind", "--version"),
            Tool::Strace => ("strace", "-V"),
        };
        match Command::new(name).arg(option).output() {
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stdout);
                Ok(text.lines().next().unwrap_or("").to_owned())
            }
            Err(error) => Err(io::Error::other(format!("{name} is needed: {error}"))),
        }
    }

    /// What one costs, if `start` starts a process and `work` has it do so many.
    pub fn count(
        self,
        [few, many]: [u64; 2],
        start: impl Fn(&[String]) -> io::Result<Child>,
        work: impl Fn(&mut Child, u64) -> io::Result<()>,
    ) -> io::Result<f64> {
        let total = |n| self.total(&start, |child| work(child, n));
        Ok((total(many)? - total(few)?) / (many - few) as f64)
    }

    /// What a process costs in all that `start` starts and that does `work`.
    pub fn total(
        self,
        start: impl Fn(&[String]) -> io::Result<Child>,
        work: impl FnOnce(&mut Child) -> io::Result<()>,
    ) -> io::Result<f64> {
        let log = std::env::temp_dir().join(format!("reveille-bench-{}", id()));
        let log = log.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut child = start(&self.command(log))?;
        work(&mut child)?;
        child.finish()?;
        let report = std::fs::read_to_string(log)?;
        std::fs::remove_file(log)?;
        self.total_in(&report)
            .ok_or_else(|| io::Error::other(format!("no total in the report of {self:?}")))
    }

    fn command(self, log: &str) -> Vec<String> {
        let words = match self {
            Tool::Valgrind => {
                "valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null --log-file="
            }
            Tool::Strace => "strace -f -c -o",
        };
        let mut words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        match self {
            Tool::Valgrind => words.last_mut().expect("there are words").push_str(log),
            Tool::Strace => words.push(log.to_owned()),
        }
        words
    }

    /// valgrind: `==1== I   refs:      1,234`; strace: `100.00  0.1  1  1234  5 total`.
    fn total_in(self, report: &str) -> Option<f64> {
        let number = match self {
            Tool::Valgrind => {
                let mut lines = report.lines().filter(|line| line.contains(" refs:"));
                lines.next()?.split("refs:").nth(1)?.trim().replace(',', "")
            }
            Tool::Strace => {
                let mut lines = report.lines().filter(|line| line.ends_with(" total"));
                lines.next()?.split_whitespace().nth(3)?.to_owned()
            }
        };
        number.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::Tool;

    #[test]
    fn totals_are_found_in_reports() {
        let valgrind = "==7== Cachegrind\n==7== \n==7== I   refs:      1,234,567\n";
        assert_eq!(Tool::Valgrind.total_in(valgrind), Some(1_234_567.0));
        let strace = "% time seconds usecs/call calls errors syscall\n 99.00 0.1 3 9 recvfrom\n\
                      100.00 0.1 3 1234 5 total\n";
        assert_eq!(Tool::Strace.total_in(strace), Some(1234.0));
    }
}
