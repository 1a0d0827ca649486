//! What steps 2 and 3 are put to: a thousand tasks wait for the same thing, the end of a connection, at once.

use std::cell::Cell;
use std::fs;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use super::{Registration, run, spawn};

/// Says how many threads there are while all of them wait.
pub(super) fn crowd() {
    let (stream, peer) = UnixStream::pair().expect("two sockets");
    let ended = Rc::new(Cell::new(0));
    for _ in 0..1000 {
        // A descriptor each, and one connection for all: a process may have 1,024 descriptors, if no one has said more.
        let stream = Registration::new(stream.try_clone().expect("one more descriptor"));
        let ended = Rc::clone(&ended);
        spawn(async move {
            if let Ok(0) = stream.read(&mut [0]).await {
                ended.set(ended.get() + 1);
            }
        });
    }
    // The queue is first in, first out: when this task is polled, all others have been, and wait.
    spawn(async move {
        let status = fs::read_to_string("/proc/self/status").expect("Linux has this file");
        let threads = status
            .lines()
            .find_map(|line| line.strip_prefix("Threads:"));
        println!(
            "threads while 1000 tasks wait: {}",
            threads.map_or("?", str::trim)
        );
        drop(peer);
    });
    run(Duration::from_secs(10));
    println!("ends seen: {} of 1000", ended.get());
}
