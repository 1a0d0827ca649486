//! Unix datagrams: none is lost, shortened or stranded, whoever is slow.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use reveille::net::UnixDatagram;

#[path = "support/limit.rs"]
mod limit;
#[path = "support/seeds.rs"]
mod seeds;
#[path = "support/step.rs"]
mod step;

#[path = "unix_datagram/full.rs"]
mod full;
#[path = "unix_datagram/kernel.rs"]
mod kernel;
#[path = "unix_datagram/making.rs"]
mod making;
#[path = "unix_datagram/receiving.rs"]
mod receiving;
#[path = "unix_datagram/sending.rs"]
mod sending;

/// A path in the directory of temporary files, which no other test uses; what is there is removed in the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("reveille-datagram-{}-{nth}", process::id());
        Place(std::env::temp_dir().join(name))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _nothing_there = fs::remove_file(&self.0);
    }
}

/// Fills the queue of the socket at this address, by as many others as it takes: each has a buffer of its own, which may
/// be full before the queue is.
#[track_caller]
fn fill(address: &SocketAddr) {
    for _ in 0..100_000 {
        let sender = StdDatagram::unbound().unwrap();
        sender.set_nonblocking(true).unwrap();
        let send = || sender.send_to_addr(&[b'x'; 100], address);
        let mut sent = 0;
        let error = loop {
            match send() {
                Ok(_) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        if sent == 0 {
            return;
        }
    }
    panic!("there is always room");
}

/// Receives all that is there, and returns how many datagrams that were.
fn drain(socket: &UnixDatagram) -> usize {
    let mut buf = [0; 200];
    // Not by its own `try_recv`, which may remember that nothing was there.
    let std = { StdDatagram::from(socket.as_fd().try_clone_to_owned().unwrap()) };
    std::iter::from_fn(|| std.recv(&mut buf).ok()).count()
}
