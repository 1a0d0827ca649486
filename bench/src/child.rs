//! Processes: each contender runs in one of its own, which is this program again.
//!
//! Interface: the parent starts [`Child::server`] or [`Child::operator`]; the child runs [`serve`] or
//! [`operate`].
//! Invariant: a child is pinned to [`CPU`], says all it has to say in lines on stdout, and ends with its
//! parent, or when the parent drops it.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::contenders::{self, Buffer};
use crate::operations::{Operation, Sample};
use crate::sys;

/// The contenders' CPU.
pub const CPU: usize = 0;
/// The parent's, where the load is made.
pub const LOAD_CPU: usize = 1;
/// Descriptors of a server: as many connections as are made to it, and its own.
pub const DESCRIPTORS: u64 = 20_000;

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
    /// Starts an echo server. `tool` is put in front of the command: strace or valgrind, or nothing.
    pub fn server(tool: &[&str], name: &str, buffer: Buffer) -> io::Result<Child> {
        let buffer = if buffer == Buffer::Own {
            "own"
        } else {
            "shared"
        };
        Child::start(tool, &["serve", name, buffer])
    }

    /// Starts a process that does operations.
    pub fn operator(tool: &[&str], name: &str) -> io::Result<Child> {
        Child::start(tool, &["operate", name])
    }

    fn start(tool: &[&str], arguments: &[&str]) -> io::Result<Child> {
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
        let mut numbers = line.split(' ').map(str::parse);
        let (Some(Ok(pid)), Some(Ok(port))) = (numbers.next(), numbers.next()) else {
            return Err(io::Error::other(line));
        };
        (child.pid, child.port) = (pid, port as u16);
        Ok(child)
    }

    /// Has it do `operation` `n` times.
    pub fn operate(&mut self, operation: &str, n: u64) -> io::Result<Sample> {
        let stdin = self.stdin.as_mut().expect("it is piped");
        writeln!(stdin, "{operation} {n}")?;
        let line = self.line()?;
        let mut numbers = line.split(' ').map(str::parse);
        let (Some(Ok(wall)), Some(Ok(cpu))) = (numbers.next(), numbers.next()) else {
            return Err(io::Error::other(line));
        };
        Ok(Sample { wall, cpu })
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

/// The child's side of [`Child::server`].
pub fn serve(name: &str, buffer: &str) -> io::Result<()> {
    let contender = begin(name)?;
    sys::raise_descriptors(DESCRIPTORS)?;
    let buffer = if buffer == "own" {
        Buffer::Own
    } else {
        Buffer::Shared
    };
    contender.serve(buffer, &|port| println!("{} {port}", process::id()))
}

/// The child's side of [`Child::operator`].
pub fn operate(name: &str) -> io::Result<()> {
    let contender = begin(name)?;
    println!("{} 0", process::id());
    for line in io::stdin().lines() {
        let line = line?;
        let (operation, n) = line.split_once(' ').unwrap_or((&line, "1"));
        let operation: Operation = operation.parse().map_err(io::Error::other)?;
        let n = n.parse().map_err(io::Error::other)?;
        match contender.operate(operation, n) {
            Ok(Sample { wall, cpu }) => println!("{wall} {cpu}"),
            Err(error) => println!("{error}"),
        }
    }
    Ok(())
}

fn begin(name: &str) -> io::Result<Box<dyn contenders::Bench>> {
    sys::die_with_parent()?;
    // With one CPU only, all share it.
    let _one_cpu = sys::pin(CPU);
    contenders::find(name).ok_or_else(|| io::Error::other(format!("no contender `{name}`")))
}
