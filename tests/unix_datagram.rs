//! Unix datagrams: none is lost, shortened or stranded, whoever is slow.

use std::fs;
use std::io::ErrorKind;
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

/// Sends from a socket of std's until there is no room, and returns how many datagrams that were.
#[track_caller]
fn fill(send: impl Fn(&[u8]) -> std::io::Result<usize>) -> usize {
    for sent in 0..100_000 {
        match send(&[b'x'; 100]) {
            Ok(n) => assert_eq!(n, 100),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                return sent;
            }
        }
    }
    panic!("there is always room");
}

/// Receives all that is there, and returns how many datagrams that were.
fn drain(socket: &UnixDatagram) -> usize {
    let mut buf = [0; 200];
    // Not by its own `try_recv`, which may remember that nothing was there.
    let std = {
        use std::os::fd::AsFd;
        std::os::unix::net::UnixDatagram::from(socket.as_fd().try_clone_to_owned().unwrap())
    };
    std::iter::from_fn(|| std.recv(&mut buf).ok()).count()
}
