//! The load: one thread, many connections, every byte checked.
//!
//! Interface: [`Load::connect`] to a server, [`Load::run`] some [`Traffic`] for a while; [`churn`]. In `paced`:
//! [`Load::paced`], messages at a constant rate. In `windows`: datagrams.
//! Invariant: a slice ends when every byte that was sent has come back, so that what the server has spent
//! by then is the price of exactly these messages. A byte depends on its place in its connection's stream,
//! and the streams begin at different places of the pattern: nothing lost, doubled or swapped goes unseen.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::stats::median;
use crate::sys::Epoll;

mod paced;
mod windows;

pub use paced::{Pace, Paced};
pub use windows::Windows;

/// What each connection does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// The size of a message, in bytes; [`CHUNK`] at most.
    pub message: usize,
    /// Messages sent before the first has come back.
    pub ahead: u64,
}

/// Send 64 bytes, wait for them.
pub const PING_PONG: Traffic = Traffic {
    message: 64,
    ahead: 1,
};

/// As fast as it goes, with up to 512 KiB on their way.
pub const BULK: Traffic = Traffic {
    message: CHUNK,
    ahead: 8,
};

#[derive(Clone, Copy, Debug)]
pub enum Until {
    Over(Duration),
    Sent(u64),
}

/// What was done in a slice.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub messages: u64,
    pub elapsed: Duration,
    /// The median of the round trips, in nanoseconds; of one connection only.
    pub round_trip: f64,
}

/// Bytes sent or received at once.
const CHUNK: usize = 64 * 1024;
/// A prime: the pattern's period has nothing in common with the size of a message or a buffer.
const PERIOD: usize = 65_537;
/// Loopback addresses, each with 28,000 client ports (`ip_local_port_range`).
const ADDRESSES: usize = 8;
/// A server that has not answered for so long never will.
const PATIENCE: i32 = 20_000; // ms

pub struct Load {
    epoll: Epoll,
    connections: Vec<Connection>,
    pattern: Vec<u8>,
    buf: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    /// Bytes so far; where they are in the pattern.
    sent: usize,
    received: usize,
    /// What is left of the message that is being sent.
    unsent: usize,
}

impl Load {
    /// Opens `count` connections, and has each echo once: they are accepted, and known to the server.
    pub fn connect(port: u16, count: usize) -> io::Result<Load> {
        let mut load = Load {
            epoll: Epoll::new()?,
            connections: Vec::with_capacity(count),
            pattern: pattern(),
            buf: vec![0; CHUNK],
        };
        for index in 0..count {
            let host = [127, 0, 0, 1 + (index % ADDRESSES) as u8];
            let stream = TcpStream::connect((std::net::Ipv4Addr::from(host), port))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            load.epoll.add(&stream, index as u64)?;
            let start = index * 251 % PERIOD;
            load.connections.push(Connection {
                stream,
                sent: start,
                received: start,
                unsent: 0,
            });
            load.run(index..index + 1, PING_PONG, Until::Sent(1))?;
        }
        Ok(load)
    }

    /// Messages one at a time, on one connection after the other. In a `pause` before each the server has
    /// time to begin to wait.
    pub fn in_turn(&mut self, messages: u64, pause: Duration) -> io::Result<()> {
        for nth in 0..messages {
            if !pause.is_zero() {
                std::thread::sleep(pause);
            }
            let index = nth as usize % self.connections.len();
            self.run(index..index + 1, PING_PONG, Until::Sent(1))?;
        }
        Ok(())
    }

    /// Has the `active` connections speak, and waits for all answers.
    pub fn run(
        &mut self,
        active: Range<usize>,
        traffic: Traffic,
        until: Until,
    ) -> io::Result<Slice> {
        let began = Instant::now();
        let mut budget = Budget {
            sent: 0,
            until,
            over: false,
        };
        let mut waiting = 0; // Bytes.
        let mut received = 0;
        let single = active.len() == 1;
        let (mut last, mut round_trips) = (began, Vec::new());
        for index in active {
            waiting += self.connections[index].send(&self.pattern, traffic, &mut budget)?;
        }
        while waiting > 0 {
            let reports = self.epoll.wait(PATIENCE)?;
            if reports == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the server does not answer",
                ));
            }
            let now = Instant::now();
            if let Until::Over(duration) = until {
                budget.over = now - began >= duration;
            }
            for nth in 0..reports {
                let connection = &mut self.connections[self.epoll.token(nth) as usize];
                let n = connection.receive(&self.pattern, &mut self.buf)?;
                if n > 0 && single {
                    round_trips.push((now - last).as_nanos() as f64);
                    last = now;
                }
                received += n;
                waiting -= n;
                waiting += connection.send(&self.pattern, traffic, &mut budget)?;
            }
        }
        Ok(Slice {
            messages: (received / traffic.message) as u64,
            elapsed: began.elapsed(),
            round_trip: median(&round_trips),
        })
    }
}

/// What may still be sent.
struct Budget {
    sent: u64,
    until: Until,
    over: bool,
}

impl Budget {
    fn take(&mut self) -> bool {
        let more = match self.until {
            Until::Over(_) => !self.over,
            Until::Sent(messages) => self.sent < messages,
        };
        self.sent += u64::from(more);
        more
    }
}

impl Connection {
    /// Sends what it may, and returns by how many bytes more it waits now: a message begun counts whole.
    fn send(&mut self, pattern: &[u8], traffic: Traffic, budget: &mut Budget) -> io::Result<usize> {
        let mut begun = 0;
        loop {
            if self.unsent == 0 {
                let ahead = (self.sent - self.received).div_ceil(traffic.message) as u64;
                if ahead >= traffic.ahead || !budget.take() {
                    return Ok(begun);
                }
                self.unsent = traffic.message;
                begun += traffic.message;
            }
            let at = self.sent % PERIOD;
            match self.stream.write(&pattern[at..at + self.unsent]) {
                Ok(n) => {
                    self.sent += n;
                    self.unsent -= n;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(begun),
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives what is there, and returns how many bytes that is. A short read is the last one.
    fn receive(&mut self, pattern: &[u8], buf: &mut [u8]) -> io::Result<usize> {
        let mut received = 0;
        // Nothing can be there of what was not sent; an event may tell of room to send only.
        while self.received < self.sent {
            let n = self.receive_once(pattern, buf)?;
            received += n;
            if n < buf.len() {
                break;
            }
        }
        Ok(received)
    }

    /// Receives at most as much as the buffer holds; 0 if nothing is there.
    fn receive_once(&mut self, pattern: &[u8], buf: &mut [u8]) -> io::Result<usize> {
        let n = match self.stream.read(buf) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let at = self.received % PERIOD;
        if buf[..n] != pattern[at..at + n] {
            return Err(io::Error::other("other bytes came back"));
        }
        self.received += n;
        Ok(n)
    }
}

/// Pseudo-random bytes, and the first of them again behind the last: any piece of a message is one slice.
fn pattern() -> Vec<u8> {
    let mut state = 1u64;
    let step = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(step).take(PERIOD).collect();
    bytes.extend_from_within(..CHUNK - 1);
    bytes
}

/// Opens `count` connections, one after the other: connect, send 64 bytes, receive them, close. `nth` is
/// the number of such slices so far, which chooses the address: closed ports rest for a minute.
pub fn churn(port: u16, count: u64, nth: usize) -> io::Result<Slice> {
    let began = Instant::now();
    let host = std::net::Ipv4Addr::from([127, 0, 1 + (nth / 250) as u8, 1 + (nth % 250) as u8]);
    for message in 0..count {
        let mut stream = TcpStream::connect((host, port))?;
        stream.set_read_timeout(Some(Duration::from_millis(PATIENCE as u64)))?;
        let message = [message as u8; 64];
        stream.write_all(&message)?;
        let mut echoed = [0; 64];
        stream.read_exact(&mut echoed)?;
        if echoed != message {
            return Err(io::Error::other("other bytes came back"));
        }
        stream.shutdown(Shutdown::Write)?;
        if stream.read(&mut echoed)? != 0 {
            return Err(io::Error::other("more bytes came back"));
        }
    }
    Ok(Slice {
        messages: count,
        elapsed: began.elapsed(),
        round_trip: 0.0,
    })
}
