//! The echo server among clients that send nothing, drip, never read, reset and half-close.

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use crate::limit::limit;
use crate::server::{connect, until};
use crate::{echo, exchange};

/// How long it goes on.
fn seconds() -> u64 {
    env::var("REVEILLE_ABUSE").map_or(3, |text| text.parse().unwrap())
}

/// What all clients share.
struct Abuse {
    address: SocketAddr,
    over: AtomicBool,
    messages: AtomicUsize,
    connections: AtomicUsize,
}

/// Promise 13. Catches: an echo that mixes connections up, serves the loud before the honest, or keeps
/// a descriptor, a task or a buffer of a client that ended badly.
#[test]
fn whatever_others_do_the_honest_are_served_and_nothing_is_left_behind() {
    let _limit = limit(seconds() + 300);
    rlimit::increase_nofile_limit(4096).unwrap();
    let server = echo();
    let start = server.descriptors();
    let abuse = Abuse {
        address: server.address,
        over: AtomicBool::new(false),
        messages: AtomicUsize::new(0),
        connections: AtomicUsize::new(0),
    };
    // Three rounds, so that what is left behind shows as growth from the second to the last.
    let mut resident = Vec::new();
    for _ in 0..3 {
        abuse.round(Duration::from_millis(seconds() * 1000 / 3));
        until("all descriptors are back", || server.descriptors() == start);
        until("it waits for clients", || server.is_asleep());
        resident.push(server.status("VmRSS"));
    }
    let (messages, connections) = (
        abuse.messages.load(Relaxed),
        abuse.connections.load(Relaxed),
    );
    println!(
        "abuse: {messages} honest messages among {connections} connections; {resident:?} KiB resident"
    );
    assert!(messages > 100 && connections > 1000);
    // The allocator's own gaps, and not a megabyte more, however long it took.
    assert!(resident[2] < resident[0] + 1024, "{resident:?} KiB");
}

impl Abuse {
    fn round(&self, length: Duration) {
        self.over.store(false, Relaxed);
        thread::scope(|scope| {
            let mut clients: Vec<_> = (1..=2)
                .map(|seed| scope.spawn(move || self.honest(seed)))
                .collect();
            clients.push(scope.spawn(|| self.silent()));
            clients.push(scope.spawn(|| self.dripping()));
            clients.push(scope.spawn(|| self.never_reading()));
            clients.extend((3..=4).map(|seed| scope.spawn(move || self.ending_badly(seed))));
            let start = Instant::now();
            // If one fails there is nothing to wait for.
            while start.elapsed() < length && !clients.iter().any(|client| client.is_finished()) {
                thread::sleep(Duration::from_millis(20));
            }
            self.over.store(true, Relaxed);
        });
    }

    fn goes_on(&self) -> bool {
        !self.over.load(Relaxed)
    }

    fn connect(&self) -> TcpStream {
        self.connections.fetch_add(1, Relaxed);
        connect(self.address)
    }

    /// Message by message, each within the client's patience and each right.
    fn honest(&self, seed: u64) {
        let mut random = Random(seed);
        while self.goes_on() {
            let client = self.connect();
            for _ in 0..random.below(50) {
                exchange(&client, &random.bytes(20_000));
                self.messages.fetch_add(1, Relaxed);
            }
        }
    }

    fn silent(&self) {
        let _clients: Vec<TcpStream> = (0..1000).map(|_| self.connect()).collect();
        while self.goes_on() {
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn dripping(&self) {
        let clients: Vec<TcpStream> = (0..50).map(|_| self.connect()).collect();
        while self.goes_on() {
            clients.iter().for_each(|client| exchange(client, b"x"));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// They send for as long as anything is taken, and go with all their echoes unread.
    fn never_reading(&self) {
        while self.goes_on() {
            let clients: Vec<TcpStream> = (0..20).map(|_| self.connect()).collect();
            for mut client in &clients {
                client.set_nonblocking(true).unwrap();
                while self.goes_on() && client.write(&[7; 65_536]).is_ok() {}
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn ending_badly(&self, seed: u64) {
        let mut random = Random(seed);
        while self.goes_on() {
            let mut client = self.connect();
            let sent = random.bytes(5000);
            let how = random.below(6);
            if how == 0 {
                continue;
            }
            if how == 1 {
                urgent(&client);
            }
            client.write_all(&sent).unwrap();
            match how {
                // With its echo unread, or on the way, this is a reset.
                1 | 2 => {}
                3 => client.shutdown(Shutdown::Both).unwrap(),
                4 => {
                    client.shutdown(Shutdown::Read).unwrap();
                }
                _ => {
                    client.shutdown(Shutdown::Write).unwrap();
                    let mut echoed = Vec::new();
                    client.read_to_end(&mut echoed).unwrap();
                    assert!(echoed == sent, "other bytes came back");
                }
            }
        }
    }
}

/// Sends an urgent byte.
fn urgent(client: &TcpStream) {
    // SAFETY: the kernel reads one byte from a literal that lives for ever.
    let sent = unsafe { libc::send(client.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
    assert!(sent == 1 || std::io::Error::last_os_error().kind() == ErrorKind::ConnectionReset);
}

/// Numbers that are random enough: an xorshift.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// At least one, and fewer than `n`.
    fn bytes(&mut self, n: usize) -> Vec<u8> {
        let len = 1 + self.below(n - 1);
        (0..len).map(|_| self.next() as u8).collect()
    }
}
