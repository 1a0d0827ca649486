//! Datagrams: a window of them is sent in one call, and the next when all are back, or are given up.
//!
//! Interface: [`Windows::connect`] to a server, [`Windows::run`] for a while, [`Windows::in_turn`] of a server that
//! sleeps before each.
//! Invariant: a datagram says which one of its client's it is, and every byte of it is checked. Each is counted once, as
//! echoed or as lost; one that comes back after its window was given up is lost, and one that comes twice is an error.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::stats::median;
use crate::sys::Epoll;
use crate::sys::datagrams::Datagrams;

use super::{Budget, PERIOD, Until, pattern};

/// Bytes of a datagram.
const SIZE: usize = 64;
/// Datagrams of a window at most; where they are received there is room for as many.
pub const WINDOW: usize = 32;
/// A window of which nothing more has come for so long, in milliseconds, is given up.
const PATIENCE: i32 = 50;
/// So many in a row, and the server never will answer.
const GIVEN_UP: u32 = 200;

/// From one look whether a server sleeps to the next, and how many of them are enough.
const LOOK: Duration = Duration::from_micros(100);
const LOOKS: u32 = 100_000;

/// Clients, each a socket of its own.
pub struct Windows {
    epoll: Epoll,
    clients: Vec<Client>,
    pattern: Vec<u8>,
}

struct Client {
    socket: UdpSocket,
    datagrams: Datagrams,
    /// The number of the first datagram of this window, and of the first of the next.
    first: u64,
    next: u64,
    /// By its place in the window, whether one is back.
    back: [bool; WINDOW],
    missing: u64,
}

/// What became of the datagrams of a slice.
#[derive(Clone, Copy, Debug)]
pub struct Echoed {
    pub datagrams: u64,
    pub lost: u64,
    pub elapsed: Duration,
    /// The median time of a window, in nanoseconds; of one client only.
    pub round_trip: f64,
}

impl Windows {
    /// Each client has an echo back when this returns.
    pub fn connect(port: u16, clients: usize) -> io::Result<Windows> {
        let mut windows = Windows {
            epoll: Epoll::new()?,
            clients: Vec::with_capacity(clients),
            pattern: pattern(),
        };
        for token in 0..clients {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect((Ipv4Addr::LOCALHOST, port))?;
            socket.set_nonblocking(true)?;
            windows.epoll.add_readable(&socket, token as u64)?;
            windows.clients.push(Client {
                socket,
                datagrams: Datagrams::new(WINDOW, true),
                // None has the same as another.
                first: (token as u64) << 32,
                next: (token as u64) << 32,
                back: [false; WINDOW],
                missing: 0,
            });
        }
        for _ in 0..GIVEN_UP {
            if windows.run(clients, 1, Until::Sent(clients as u64))?.lost == 0 {
                return Ok(windows);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the server does not answer",
        ))
    }

    /// So many datagrams, in windows of one client, each sent when `server`, a process, sleeps.
    pub fn in_turn(&mut self, server: u32, datagrams: u64, window: usize) -> io::Result<()> {
        let mut left = datagrams;
        while left > 0 {
            sleeps(server)?;
            let count = left.min(window as u64);
            self.run(1, window, Until::Sent(count))?;
            left -= count;
        }
        Ok(())
    }

    /// Has so many clients send windows of this size, and waits for the last of them.
    pub fn run(&mut self, clients: usize, window: usize, until: Until) -> io::Result<Echoed> {
        let mut budget = Budget {
            sent: 0,
            until,
            over: false,
        };
        let (mut waiting, mut in_vain) = (0, 0);
        let mut echoed = Echoed {
            datagrams: 0,
            lost: 0,
            elapsed: Duration::ZERO,
            round_trip: 0.0,
        };
        let began = Instant::now();
        let (mut last, mut round_trips) = (began, Vec::new());
        for client in &mut self.clients[..clients] {
            waiting += usize::from(client.send(window, &self.pattern, &mut budget)?);
        }
        while waiting > 0 {
            let reports = self.epoll.wait(PATIENCE)?;
            let now = Instant::now();
            if let Until::Over(duration) = until {
                budget.over = now - began >= duration;
            }
            if reports == 0 {
                in_vain += 1;
                if in_vain > GIVEN_UP {
                    let text = "the server does not answer";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                for client in &mut self.clients[..clients] {
                    if client.missing > 0 {
                        echoed.lost += client.missing;
                        client.missing = 0;
                        let sent = client.send(window, &self.pattern, &mut budget)?;
                        waiting -= usize::from(!sent);
                    }
                }
                continue;
            }
            in_vain = 0;
            for nth in 0..reports {
                let client = &mut self.clients[self.epoll.token(nth) as usize];
                let back = client.receive(&self.pattern)?;
                echoed.datagrams += back;
                if back > 0 && client.missing == 0 {
                    if clients == 1 {
                        round_trips.push((now - last).as_nanos() as f64);
                        last = now;
                    }
                    let sent = client.send(window, &self.pattern, &mut budget)?;
                    waiting -= usize::from(!sent);
                }
            }
        }
        echoed.elapsed = began.elapsed();
        echoed.round_trip = median(&round_trips);
        Ok(echoed)
    }
}

/// Waits until the first thread of a process sleeps: proc_pid_stat(5), and "state" is behind the name in parentheses.
fn sleeps(process: u32) -> io::Result<()> {
    for _ in 0..LOOKS {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        if stat
            .rsplit_once(") ")
            .is_some_and(|(_, rest)| rest.starts_with('S'))
        {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
    let text = "the server never sleeps";
    Err(io::Error::new(io::ErrorKind::TimedOut, text))
}

impl Client {
    /// Sends a window, as far as the budget goes, and returns whether that is anything.
    fn send(&mut self, window: usize, pattern: &[u8], budget: &mut Budget) -> io::Result<bool> {
        self.first = self.next;
        self.back = [false; WINDOW];
        let mut count = 0;
        while count < window && budget.take() {
            self.datagrams.set(count, &datagram(self.next, pattern));
            self.next += 1;
            count += 1;
        }
        let mut sent = 0;
        while sent < count {
            sent += self.datagrams.send(&self.socket, sent..count)?;
        }
        self.missing = count as u64;
        Ok(count > 0)
    }

    /// Receives what is there, and returns how many of this window that is.
    fn receive(&mut self, pattern: &[u8]) -> io::Result<u64> {
        let mut fresh = 0;
        loop {
            let received = match self.datagrams.receive(&self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                received => received?,
            };
            for nth in 0..received {
                fresh += u64::from(self.note(nth, pattern)?);
            }
            // Fewer than there is room for are the last; what comes later is a new report.
            if received < WINDOW {
                break;
            }
        }
        self.missing -= fresh;
        Ok(fresh)
    }

    /// Whether the `nth` received is of this window.
    fn note(&mut self, nth: usize, pattern: &[u8]) -> io::Result<bool> {
        let bytes = self.datagrams.bytes(nth);
        let number = bytes
            .first_chunk()
            .map(|number| u64::from_le_bytes(*number));
        let number = number.filter(|number| *number < self.next);
        let number = number.filter(|number| *bytes == datagram(*number, pattern));
        let number = number.ok_or_else(|| io::Error::other("other bytes came back"))?;
        let Some(place) = number.checked_sub(self.first) else {
            return Ok(false);
        };
        if std::mem::replace(&mut self.back[place as usize], true) {
            return Err(io::Error::other("a datagram came back twice"));
        }
        Ok(true)
    }
}

/// Its number, and bytes that depend on it.
fn datagram(number: u64, pattern: &[u8]) -> [u8; SIZE] {
    let at = number as usize % PERIOD;
    let mut bytes = [0; SIZE];
    bytes.copy_from_slice(&pattern[at..at + SIZE]);
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    /// A server that sends the `nth` datagram back as often as `times` says, until it is told to end by an empty one.
    fn served(times: fn(u64) -> usize, client: impl FnOnce(u16)) {
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = server.local_addr().unwrap();
        let echo = thread::spawn(move || {
            let mut buf = [0; 2 * SIZE];
            for nth in 0.. {
                let (n, peer) = server.recv_from(&mut buf).unwrap();
                if n == 0 {
                    break;
                }
                for _ in 0..times(nth) {
                    server.send_to(&buf[..n], peer).unwrap();
                }
            }
        });
        client(address.port());
        let last = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        last.send_to(&[], address).unwrap();
        echo.join().unwrap();
    }

    #[test]
    fn what_does_not_come_back_is_counted_and_the_rest_goes_on() {
        served(
            |nth| usize::from(nth != 7 && nth != 8),
            |port| {
                let mut windows = Windows::connect(port, 2).unwrap();
                let echoed = windows.run(2, WINDOW, Until::Sent(200)).unwrap();
                // More are lost if this machine stands still for longer than the client waits.
                assert!(echoed.lost >= 2, "{echoed:?}");
                assert_eq!(echoed.datagrams + echoed.lost, 200);
            },
        );
    }

    #[test]
    fn what_comes_back_twice_is_an_error() {
        served(
            |nth| if nth % 8 == 5 { 2 } else { 1 },
            |port| {
                let mut windows = Windows::connect(port, 1).unwrap();
                let outcome = windows.run(1, WINDOW, Until::Sent(64));
                let error = outcome.unwrap_err().to_string();
                assert_eq!(error, "a datagram came back twice");
            },
        );
    }
}
