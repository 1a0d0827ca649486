//! Memory of connections: what a server holds for each that waits, and what it keeps when all have gone.
//!
//! Interface: [`connections`].
//! Invariant: resident memory, in a process of its own for each question, so that nothing is there from before. What the
//! first few connections bring about is not counted.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::child::Child;
use crate::contenders::Buffer;
use crate::load::Load;
use crate::operations::resident_bytes;

/// Connections that take what is there once.
const FEW: usize = 50;
/// A server that has not closed for so long never will.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may take to free what it has closed.
const REST: Duration = Duration::from_millis(200);

/// Bytes a connection.
#[derive(Clone, Copy)]
pub struct Held {
    /// While each has echoed once and waits.
    pub waiting: f64,
    /// When all are closed.
    pub kept: f64,
}

/// Opens `count` connections to a new server, and closes them.
pub fn connections(name: &str, buffer: Buffer, count: usize) -> io::Result<Held> {
    let server = Child::server(&[], name, buffer)?;
    let _few = Load::connect(server.port, FEW)?;
    let pid = server.pid.to_string();
    let before = resident_bytes(&pid);
    let each = |now: u64| (now as f64 - before as f64) / count as f64;
    let open = descriptors(&pid)?;
    let load = Child::load(server.port, count)?;
    let waiting = each(resident_bytes(&pid));
    drop(load);
    let deadline = Instant::now() + PATIENCE;
    while descriptors(&pid)? > open {
        if Instant::now() > deadline {
            let text = format!("{name} does not close what its peers have closed");
            return Err(io::Error::other(text));
        }
        thread::sleep(REST);
    }
    thread::sleep(REST);
    let kept = each(resident_bytes(&pid));
    Ok(Held { waiting, kept })
}

/// How many a process has open: proc_pid_fd(5).
fn descriptors(pid: &str) -> io::Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}
