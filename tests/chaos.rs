//! Chaos: a seed shuffles what is legal to shuffle, the same seed in the same way, and no correct
//! program minds.
//!
//! `REVEILLE_CHAOS=10000 cargo test --test chaos` runs the programs under so many seeds. A failure
//! prints its seed, and `REVEILLE_SEED=<that>` runs that one alone.

#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/seeds.rs"]
mod seeds;
#[path = "support/step.rs"]
mod step;
#[path = "support/within.rs"]
mod within;

#[path = "chaos/choices.rs"]
mod choices;
#[path = "chaos/programs.rs"]
mod programs;
#[path = "chaos/replay.rs"]
mod replay;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use reveille::io::{AsyncFd, Interest};
use reveille::net::{TcpListener, TcpStream};

/// A connected pair of Unix streams that take part in chaos.
fn pair() -> (AsyncFd<File>, AsyncFd<File>) {
    let (one, other) = UnixStream::pair().unwrap();
    let wrap = |stream: UnixStream| {
        stream.set_nonblocking(true).unwrap();
        AsyncFd::new(File::from(OwnedFd::from(stream))).unwrap()
    };
    (wrap(one), wrap(other))
}

/// A connected pair of TCP streams.
async fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (there, _) = listener.accept().await.unwrap();
    (here, there)
}

async fn read(from: &AsyncFd<File>, buf: &mut [u8]) -> io::Result<usize> {
    from.async_io(Interest::READABLE, |mut file| file.read(buf))
        .await
}

async fn write_all(to: &AsyncFd<File>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let write = |mut file: &File| file.write(bytes);
        let n = to.async_io(Interest::WRITABLE, write).await?;
        bytes = &bytes[n..];
    }
    Ok(())
}
