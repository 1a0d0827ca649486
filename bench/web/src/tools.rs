//! Counts and times of a server's process.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::load::{self, Work};
use crate::servers::Kind;

/// Pairs of a time.
pub const PAIRS: usize = 21;

/// Instructions of user space that a request takes.
pub fn instructions(kind: Kind, work: Work) -> io::Result<f64> {
    per_request(work, |connections| {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        let said = traced(command, kind, work, connections)?;
        let count = said
            .lines()
            .find_map(|line| line.split_once("Collected : "));
        let count = count
            .ok_or_else(|| io::Error::other("callgrind gives no count"))?
            .1;
        count.trim().parse().map_err(io::Error::other)
    })
}

/// System calls that a request takes.
pub fn calls(kind: Kind, work: Work) -> io::Result<f64> {
    per_request(work, |requests| {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-c"]);
        let said = traced(command, kind, work, requests)?;
        // Share, seconds, microseconds a call, calls.
        let total = said.lines().find(|line| line.ends_with("total"));
        let total = total.and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
        total.ok_or_else(|| io::Error::other("strace gives no count"))
    })
}

/// The difference of two loads, by request.
fn per_request(work: Work, count: impl Fn(usize) -> io::Result<f64>) -> io::Result<f64> {
    let [less, more] = work.loads();
    Ok((count(more)? - count(less)?) / (more - less) as f64)
}

/// Runs a server under a tool, loads it, and returns what the tool said.
fn traced(mut tool: Command, kind: Kind, work: Work, requests: usize) -> io::Result<String> {
    tool.arg(std::env::current_exe()?);
    let (mut server, at) = start(tool, kind, work)?;
    load::run(&at, work, requests)?;
    let said = io::read_to_string(server.stderr.take().expect("it is piped"))?;
    ended(server)?;
    Ok(said)
}

/// Starts a server of one connection by a command to which its arguments are added.
fn start(mut command: Command, kind: Kind, work: Work) -> io::Result<(Child, String)> {
    let command = command.args(["serve", kind.name(), work.name()]);
    let mut server = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut at = String::new();
    BufReader::new(server.stdout.as_mut().expect("it is piped")).read_line(&mut at)?;
    Ok((server, at.trim().to_owned()))
}

fn ended(mut server: Child) -> io::Result<()> {
    let status = server.wait()?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("a server ended: {status}")))
    }
}

/// How much CPU time `one` takes in units of `other`: the quartiles of pairs, which take turns in going first.
pub fn ratios(one: Kind, other: Kind, work: Work) -> io::Result<[f64; 3]> {
    let mut ratios = Vec::new();
    for pair in 0..PAIRS {
        let (first, second) = if pair % 2 == 0 {
            (one, other)
        } else {
            (other, one)
        };
        let times = [cpu_time(first, work)?, cpu_time(second, work)?];
        let ratio = times[0] / times[1];
        ratios.push(if pair % 2 == 0 { ratio } else { 1.0 / ratio });
    }
    ratios.sort_by(f64::total_cmp);
    Ok([1, 2, 3].map(|quarter| ratios[quarter * (PAIRS - 1) / 4]))
}

/// The CPU time of a server under the load, in seconds: its own clock, read before the connection ends.
fn cpu_time(kind: Kind, work: Work) -> io::Result<f64> {
    let (server, at) = start(Command::new(std::env::current_exe()?), kind, work)?;
    load::run(&at, work, work.load())?;
    // schedstat: nanoseconds on a CPU. A process that has ended and was not waited for still has it.
    let text = fs::read_to_string(format!("/proc/{}/schedstat", server.id()))?;
    let nanos: f64 = text
        .split(' ')
        .next()
        .unwrap_or("")
        .parse()
        .map_err(io::Error::other)?;
    ended(server)?;
    Ok(nanos / 1e9)
}
