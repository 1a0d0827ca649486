//! Exact counts: instructions by valgrind, system calls by perf, or by strace where perf is refused.
//!
//! Interface: [`Tool::count`] what one more of something costs, [`Tool::by_name`] the same by what is counted,
//! [`Tool::total`] what all of a process does. [`Tool::of_calls`] chooses who counts system calls.
//! Invariant: what is counted is the difference of a long run and a short one of the same process, so that
//! starting and ending cancel. Mostly one message or connection at a time, so that nothing depends on the
//! clock; bursts of messages repeat, in a full run, to one in a hundred.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, id};

use crate::child::Child;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tool {
    /// Instructions of user space: the `I refs` of its cachegrind.
    Valgrind,
    /// System calls, of all threads: one tracepoint counts all of them, and the server takes no longer for it.
    Perf,
    /// System calls by name: each has a tracepoint, some 360 in all, which are switched with the server's thread
    /// whenever it sleeps. That makes a connection up to three times as long, but no call more or less.
    PerfByName,
    /// System calls, of all threads, by name. It stops the server at each of them, so that what a client sends next is
    /// there before the server asks, and the server asks less often.
    Strace,
}

/// How many, by what was counted.
pub type Counts = BTreeMap<String, f64>;

impl Tool {
    /// Who counts system calls here: perf, if it is there and may.
    pub fn of_calls() -> io::Result<Tool> {
        let mut trial = Command::new("perf");
        let trial = trial.args(&Tool::Perf.options()[1..]).arg("true").output();
        // Without `-o` the report is on stderr.
        let report = trial.map(|output| output.stderr).unwrap_or_default();
        let counts = Tool::Perf.counts_in(&String::from_utf8_lossy(&report));
        if counts.values().sum::<f64>() > 0.0 {
            return Ok(Tool::Perf);
        }
        Tool::Strace.version()?;
        Ok(Tool::Strace)
    }

    /// The one that tells system calls by name where this one counts them.
    pub fn named(self) -> Tool {
        match self {
            Tool::Perf => Tool::PerfByName,
            other => other,
        }
    }

    /// An error that says what is missing.
    pub fn version(self) -> io::Result<String> {
        let (name, option) = match self {
            Tool::Valgrind => ("valgrind", "--version"),
            Tool::Perf | Tool::PerfByName => ("perf", "--version"),
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
        numbers: [u64; 2],
        start: impl Fn(&[String]) -> io::Result<Child>,
        work: impl Fn(&mut Child, u64) -> io::Result<()>,
    ) -> io::Result<f64> {
        Ok(self.by_name(numbers, start, work)?.values().sum())
    }

    /// What one costs, by what is counted.
    pub fn by_name(
        self,
        [few, many]: [u64; 2],
        start: impl Fn(&[String]) -> io::Result<Child>,
        work: impl Fn(&mut Child, u64) -> io::Result<()>,
    ) -> io::Result<Counts> {
        let counts = |n| self.report(&start, |child| work(child, n));
        let (mut long, short) = (counts(many)?, counts(few)?);
        for (name, count) in short {
            *long.entry(name).or_default() -= count;
        }
        let more = (many - few) as f64;
        long.values_mut().for_each(|count| *count /= more);
        Ok(long)
    }

    /// What a process costs in all that `start` starts and that does `work`.
    pub fn total(
        self,
        start: impl Fn(&[String]) -> io::Result<Child>,
        work: impl FnOnce(&mut Child) -> io::Result<()>,
    ) -> io::Result<f64> {
        Ok(self.report(start, work)?.values().sum())
    }

    fn report(
        self,
        start: impl Fn(&[String]) -> io::Result<Child>,
        work: impl FnOnce(&mut Child) -> io::Result<()>,
    ) -> io::Result<Counts> {
        let log = std::env::temp_dir().join(format!("reveille-bench-{}", id()));
        let log = log.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        let mut child = start(&self.command(log))?;
        work(&mut child)?;
        child.finish()?;
        let report = std::fs::read_to_string(log)?;
        std::fs::remove_file(log)?;
        let counts = self.counts_in(&report);
        if counts.is_empty() {
            let text = format!("no count in the report of {self:?}");
            return Err(io::Error::other(text));
        }
        Ok(counts)
    }

    /// The tool and its options, but for where the report goes.
    fn options(self) -> Vec<String> {
        let words = match self {
            Tool::Valgrind => {
                "valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null"
            }
            Tool::Perf => "perf stat -x, -e raw_syscalls:sys_enter",
            Tool::PerfByName => "perf stat -x, -e syscalls:sys_enter_*",
            Tool::Strace => "strace -f -c",
        };
        words.split(' ').map(str::to_owned).collect()
    }

    fn command(self, log: &str) -> Vec<String> {
        let mut words = self.options();
        match self {
            Tool::Valgrind => words.push(format!("--log-file={log}")),
            Tool::Perf | Tool::PerfByName | Tool::Strace => {
                words.extend(["-o".to_owned(), log.to_owned()]);
            }
        }
        words
    }

    fn counts_in(self, report: &str) -> Counts {
        let count = match self {
            Tool::Valgrind => instructions,
            Tool::Perf | Tool::PerfByName => calls_by_perf,
            Tool::Strace => calls_by_strace,
        };
        report.lines().filter_map(count).collect()
    }
}

/// `==1== I   refs:      1,234`
fn instructions(line: &str) -> Option<(String, f64)> {
    let (_, number) = line.split_once(" refs:")?;
    let number = number.trim().replace(',', "").parse().ok()?;
    Some(("instructions".to_owned(), number))
}

/// `1234,,syscalls:sys_enter_sendto,5678,100.00,,`
fn calls_by_perf(line: &str) -> Option<(String, f64)> {
    let mut fields = line.split(',');
    let number = fields.next()?.parse().ok()?;
    let (_, name) = fields.nth(1)?.split_once(":sys_enter")?;
    Some((name.trim_start_matches('_').to_owned(), number))
}

/// `100.00  0.1  1  1234  5 sendto`; the fifth number is there if one of the calls has failed.
fn calls_by_strace(line: &str) -> Option<(String, f64)> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (number, name) = (words.get(3)?.parse().ok()?, words.last()?);
    (*name != "total").then(|| ((*name).to_owned(), number))
}

#[cfg(test)]
mod tests {
    use super::Tool;

    #[test]
    fn counts_are_found_in_reports() {
        let count = |tool: Tool, report, name| tool.counts_in(report).get(name).copied();
        let valgrind = "==7== Cachegrind\n==7== \n==7== I   refs:      1,234,567\n";
        let instructions = count(Tool::Valgrind, valgrind, "instructions");
        assert_eq!(instructions, Some(1_234_567.0));
        let perf = "# started on Monday\n\n77,,raw_syscalls:sys_enter,9,100.00,,\n";
        assert_eq!(count(Tool::Perf, perf, ""), Some(77.0));
        let perf = "3,,syscalls:sys_enter_sendto,9,100.00,,\n<not counted>,,syscalls:sys_enter_mmap,0,,,\n";
        assert_eq!(count(Tool::PerfByName, perf, "sendto"), Some(3.0));
        assert_eq!(count(Tool::PerfByName, perf, "mmap"), None);
        let strace = "% time seconds usecs/call calls errors syscall\n------ ---- --- --- --- ---\n\
                      99.00 0.1 3 9 2 recvfrom\n 1.00 0.1 3 7 close\n100.00 0.1 3 16 2 total\n";
        assert_eq!(count(Tool::Strace, strace, "recvfrom"), Some(9.0));
        assert_eq!(count(Tool::Strace, strace, "close"), Some(7.0));
        assert_eq!(Tool::Strace.counts_in(strace).len(), 2);
    }
}
