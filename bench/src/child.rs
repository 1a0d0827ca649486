//! Processes: each contender runs in one of its own, which is this program again.
//!
//! Interface: the parent starts a [`Child::server`], [`Child::of_datagrams`], [`Child::operator`], [`Child::load`] or
//! [`Child::callers`]; the child runs [`serve`], [`serve_datagrams`], [`operate`], [`load`] or [`call`].
//! Invariant: each thread of a child is pinned to one CPU. A child says all it has to say in lines on stdout,
//! and ends with its parent, or when the parent drops it.

use std::error::Error;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::contenders::{self, Buffer};
use crate::load::{Load, Slice, Traffic, Until};
use crate::operations::Sample;
use crate::sys;

/// The contenders' CPU.
pub const CPU: usize = 0;
/// The parent's, where the load is made.
pub const LOAD_CPU: usize = 1;
/// Descriptors of a server, and of a load: as many connections as are made to it, and its own; or what the system allows.
pub const DESCRIPTORS: u64 = 100_000 + OWN_DESCRIPTORS;
/// Descriptors that a process needs for itself, valgrind's among them.
pub const OWN_DESCRIPTORS: u64 = 200;

/// A child that has said nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(100);

/// When a server of datagrams runs.
#[derive(Clone, Copy, PartialEq)]
pub enum Turn {
    /// Whenever it can, on a CPU of its own.
    Free,
    /// On the load's CPU, and only while the load waits: whatever the load sends in one go is there before the server sees
    /// any of it. So it does the same in each run, and its calls can be counted.
    Last,
}

pub struct Child {
    process: process::Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    /// Of the contender itself, also if a tool runs it.
    pub pid: u32,
    /// Where it listens, if it serves.
    pub port: u16,
}

impl Child {
    /// Starts an echo server. `tool` is put in front of the command: perf, strace or valgrind, or nothing.
    pub fn server(tool: &[String], name: &str, buffer: Buffer) -> io::Result<Child> {
        Child::start(tool, &["serve", name, buffer.word()])
    }

    /// Starts an echo server that has a runtime on a thread of its own for each of `cpus`, and returns
    /// where they listen, too.
    pub fn servers(name: &str, cpus: &[usize]) -> io::Result<(Child, Vec<u16>)> {
        let cpus: Vec<String> = cpus.iter().map(ToString::to_string).collect();
        let arguments = ["serve", name, Buffer::usual(name).word()].into_iter();
        let arguments: Vec<&str> = arguments.chain(cpus.iter().map(String::as_str)).collect();
        let mut child = Child::start(&[], &arguments)?;
        let mut ports = vec![child.port];
        while ports.len() < cpus.len() {
            let [_pid, port] = numbers(&child.line()?)?;
            ports.push(port as u16);
        }
        Ok((child, ports))
    }

    /// Starts an echo server of datagrams, `at_once` a system call.
    pub fn of_datagrams(
        tool: &[String],
        name: &str,
        at_once: usize,
        turn: Turn,
    ) -> io::Result<Child> {
        let turn = match turn {
            Turn::Free => "free",
            Turn::Last => "last",
        };
        Child::start(tool, &["datagrams", name, &at_once.to_string(), turn])
    }

    /// Starts a process that does operations.
    pub fn operator(tool: &[String], name: &str) -> io::Result<Child> {
        Child::start(tool, &["operate", name])
    }

    /// Starts a process that holds `connections` to a server: the limit of descriptors is one of processes.
    pub fn load(port: u16, connections: usize) -> io::Result<Child> {
        Child::start(&[], &["load", &port.to_string(), &connections.to_string()])
    }

    /// Starts a process that has `count` connections to a server, which need not accept any, when this returns.
    pub fn callers(port: u16, count: usize) -> io::Result<Child> {
        Child::start(&[], &["call", &port.to_string(), &count.to_string()])
    }

    fn start(tool: &[String], arguments: &[&str]) -> io::Result<Child> {
        let program = std::env::current_exe()?;
        let mut command = match tool {
            [] => Command::new(&program),
            [tool, options @ ..] => {
                let mut command = Command::new(tool);
                command.args(options).arg(&program);
                command
            }
        };
        command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let mut child = Child {
            process,
            stdin,
            stdout,
            pid: 0,
            port: 0,
        };
        // A failing child has said why on stderr.
        let line = child.line()?;
        let [pid, port] = numbers(&line)?;
        (child.pid, child.port) = (pid as u32, port as u16);
        Ok(child)
    }

    /// Has it do `operation` `n` times. `2 OPERATION`: on two threads, each with a runtime of its own.
    pub fn operate(&mut self, operation: &str, n: u64) -> io::Result<Sample> {
        let [wall, cpu] = self.ask(format_args!("{operation} {n}"))?;
        Ok(Sample { wall, cpu })
    }

    /// Has the first `active` connections of a load speak.
    pub fn run(&mut self, active: usize, traffic: Traffic, over: Duration) -> io::Result<Slice> {
        let Traffic { message, ahead } = traffic;
        let question = format_args!("{active} {message} {ahead} {}", over.as_nanos());
        let [messages, elapsed, round_trip] = self.ask(question)?;
        Ok(Slice {
            messages: messages as u64,
            elapsed: Duration::from_nanos(elapsed as u64),
            round_trip,
        })
    }

    fn ask<const N: usize>(&mut self, question: fmt::Arguments) -> io::Result<[f64; N]> {
        writeln!(self.stdin.as_mut().expect("it is piped"), "{question}")?;
        numbers(&self.line()?)
    }

    /// What it has spent so far.
    pub fn cpu_time(&self) -> io::Result<Duration> {
        sys::cpu_time(Some(self.pid))
    }

    /// Ends it and the tool that runs it, whose report is then complete: an operator by the end of its
    /// input, a server by SIGTERM.
    pub fn finish(mut self) -> io::Result<()> {
        self.stdin = None;
        if self.port != 0 {
            sys::terminate(self.pid)?;
        }
        self.process.wait().map(drop)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stdout.buffer().is_empty() {
            sys::wait_readable(self.stdout.get_ref(), PATIENCE)?;
        }
        if self.stdout.read_line(&mut line)? == 0 {
            return Err(io::Error::other("it has ended"));
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself, which is no error here.
        let _ended = self.process.kill();
        let _status = self.process.wait();
    }
}

/// The child's side of [`Child::server`] and [`Child::servers`].
pub fn serve(name: &str, buffer: &str, cpus: &[&str]) -> io::Result<()> {
    let contender = begin(name)?;
    sys::raise_descriptors(DESCRIPTORS)?;
    let buffer = buffer.parse().map_err(io::Error::other)?;
    let say = |port| println!("{} {port}", process::id());
    let Some((first, others)) = cpus.split_first() else {
        return contender.serve(buffer, &say);
    };
    let pin = |cpu: &str| sys::pin(cpu.parse().map_err(io::Error::other)?);
    // With one CPU only, all share it.
    let _one_cpu = pin(first);
    thread::scope(|scope| {
        for cpu in others {
            scope.spawn(move || {
                let _one_cpu = pin(cpu);
                let served = contenders::find(name).map(|other| other.serve(buffer, &say));
                // A line that is no number is an error to the parent.
                println!("a second {name} ended: {served:?}");
            });
        }
        contender.serve(buffer, &say)
    })
}

/// The child's side of [`Child::of_datagrams`].
pub fn serve_datagrams(name: &str, at_once: &str, turn: &str) -> io::Result<()> {
    let contender = begin(name)?;
    if turn == "last" {
        // With one CPU only, all share it.
        let _one_cpu = sys::pin(LOAD_CPU);
        sys::run_last()?;
    }
    let at_once = at_once.parse().map_err(io::Error::other)?;
    contender.serve_datagrams(at_once, &|port| println!("{} {port}", process::id()))
}

/// The child's side of [`Child::operator`].
pub fn operate(name: &str) -> io::Result<()> {
    let contender = begin(name)?;
    answer(|question| {
        let words: Vec<&str> = question.split(' ').collect();
        let (runtimes, operation, n) = match words[..] {
            [operation, n] => (1, operation, n),
            [runtimes, operation, n] => (runtimes.parse()?, operation, n),
            _ => return Err("an operation and a number".into()),
        };
        let (operation, n) = (operation.parse()?, n.parse()?);
        // The others are on CPUs of their own; what they take is in the clock of the process.
        thread::scope(|scope| {
            for cpu in 1..runtimes {
                scope.spawn(move || {
                    let _fewer_cpus = sys::pin(CPU + cpu);
                    contenders::find(name).map(|contender| contender.operate(operation, n))
                });
            }
            let Sample { wall, cpu } = contender.operate(operation, n)?;
            Ok(format!("{wall} {cpu}"))
        })
    })
}

/// The child's side of [`Child::load`].
pub fn load(port: &str, connections: &str) -> io::Result<()> {
    sys::die_with_parent()?;
    sys::raise_descriptors(DESCRIPTORS)?;
    let port = port.parse().map_err(io::Error::other)?;
    let mut load = Load::connect(port, connections.parse().map_err(io::Error::other)?)?;
    answer(|question| {
        let [active, message, ahead, nanoseconds] = numbers(question)?;
        let traffic = Traffic {
            message: message as usize,
            ahead: ahead as u64,
        };
        let until = Until::Over(Duration::from_nanos(nanoseconds as u64));
        let slice = load.run(0..active as usize, traffic, until)?;
        let elapsed = slice.elapsed.as_nanos();
        Ok(format!("{} {elapsed} {}", slice.messages, slice.round_trip))
    })
}

/// The child's side of [`Child::callers`].
pub fn call(port: &str, count: &str) -> io::Result<()> {
    sys::die_with_parent()?;
    let port = port.parse().map_err(io::Error::other)?;
    let count: usize = count.parse().map_err(io::Error::other)?;
    let call = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    let _connections = (0..count).map(call).collect::<io::Result<Vec<_>>>()?;
    answer(|_| Err("it has nothing to say".into()))
}

/// A line for each line; what goes wrong is an answer too.
fn answer(mut answer: impl FnMut(&str) -> Result<String, Box<dyn Error>>) -> io::Result<()> {
    println!("{} 0", process::id());
    for question in io::stdin().lines() {
        match answer(&question?) {
            Ok(answer) => println!("{answer}"),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}

/// The numbers of a line; a line of words is an error.
fn numbers<const N: usize>(line: &str) -> io::Result<[f64; N]> {
    let numbers: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
    let numbers = numbers.ok().and_then(|numbers| numbers.try_into().ok());
    numbers.ok_or_else(|| io::Error::other(line.to_owned()))
}

fn begin(name: &str) -> io::Result<Box<dyn contenders::Bench>> {
    sys::die_with_parent()?;
    // With one CPU only, all share it.
    let _one_cpu = sys::pin(CPU);
    contenders::find(name).ok_or_else(|| io::Error::other(format!("no contender `{name}`")))
}
