//! Messages at a constant rate, whatever becomes of those before: an open loop.
//!
//! Interface: [`Load::paced`] sends by a [`Pace`], and returns how late the answers were: a [`Paced`].
//! Invariant: the nth message is due n intervals after the first, and its time runs from then, not from when it was
//! sent: what holds the load up counts too, so that no slow answer hides those that had to wait behind it. The thread
//! never sleeps. It asks epoll without a timeout, over and over, and the clock before each report.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use super::{BULK, Budget, Connection, Load, PATIENCE, PERIOD, PING_PONG, Until};

#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// From one message to the next.
    pub interval: Duration,
    pub messages: u64,
    /// The connections that speak, one after the other: the first so many.
    pub speakers: usize,
    /// Whether the connection after them streams meanwhile, as fast as it goes.
    pub streams: bool,
}

/// What came of it.
pub struct Paced {
    /// From when each message was due until it was back, in nanoseconds.
    pub latencies: Vec<f64>,
    /// Of a chunk of the stream; infinite if none came back.
    pub chunk: f64,
}

/// What a speaker still waits for.
struct Speaker {
    /// When the messages were due that are not back.
    due: VecDeque<Duration>,
    /// Bytes that are due, and that have come back in whole messages: places in the stream of the connection.
    to_send: usize,
    answered: usize,
}

/// The clock, and the speakers.
struct Schedule {
    pace: Pace,
    began: Instant,
    speakers: Vec<Speaker>,
    /// Messages that have been due so far.
    begun: u64,
}

impl Load {
    /// Sends so many messages, and returns when all have come back.
    pub fn paced(&mut self, pace: Pace) -> io::Result<Paced> {
        let speaker = |connection: &Connection| Speaker {
            due: VecDeque::new(),
            to_send: connection.sent,
            answered: connection.received,
        };
        let mut schedule = Schedule {
            pace,
            began: Instant::now(),
            speakers: self.connections[..pace.speakers]
                .iter()
                .map(speaker)
                .collect(),
            begun: 0,
        };
        let mut latencies = Vec::with_capacity(pace.messages as usize);
        let mut stream = Stream::new(pace);
        let patience =
            pace.interval * pace.messages as u32 + Duration::from_millis(PATIENCE as u64);
        while (latencies.len() as u64) < pace.messages || stream.waiting > 0 {
            schedule.send_due(self)?;
            for nth in 0..self.epoll.wait(0)? {
                let which = self.epoll.token(nth) as usize;
                if which < pace.speakers {
                    schedule.receive(which, self, &mut latencies)?;
                    schedule.send_due(self)?;
                }
            }
            if pace.streams {
                let over = schedule.begun == pace.messages;
                stream.go_on(self, over)?;
            }
            if schedule.began.elapsed() > patience {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(Paced {
            latencies,
            chunk: stream.chunk(schedule.began.elapsed()),
        })
    }
}

impl Schedule {
    /// Sends each message that is due by now, or what there is room for.
    fn send_due(&mut self, load: &mut Load) -> io::Result<()> {
        let now = self.began.elapsed();
        while self.begun < self.pace.messages {
            let due = self.pace.interval * self.begun as u32;
            if due > now {
                break;
            }
            let which = self.begun as usize % self.speakers.len();
            let speaker = &mut self.speakers[which];
            speaker.due.push_back(due);
            speaker.to_send += PING_PONG.message;
            load.connections[which].send_until(speaker.to_send, &load.pattern)?;
            self.begun += 1;
        }
        Ok(())
    }

    /// Receives what is there, notes the messages that are whole by now, and sends what there was no room for.
    fn receive(
        &mut self,
        which: usize,
        load: &mut Load,
        latencies: &mut Vec<f64>,
    ) -> io::Result<()> {
        let (connection, speaker) = (&mut load.connections[which], &mut self.speakers[which]);
        connection.receive(&load.pattern, &mut load.buf)?;
        let now = self.began.elapsed();
        while connection.received - speaker.answered >= PING_PONG.message {
            let due = speaker.due.pop_front().expect("what came back was due");
            latencies.push((now - due).as_nanos() as f64);
            speaker.answered += PING_PONG.message;
        }
        connection.send_until(speaker.to_send, &load.pattern)
    }
}

impl Connection {
    /// Sends up to this place of its stream, as far as there is room.
    fn send_until(&mut self, place: usize, pattern: &[u8]) -> io::Result<()> {
        while self.sent < place {
            let at = self.sent % PERIOD;
            let end = (at + place - self.sent).min(pattern.len());
            match self.stream.write(&pattern[at..end]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The stream beside the speakers. It is tried each time round, a chunk at a time, so that it delays the messages by no
/// more than one takes.
struct Stream {
    /// The place of its connection.
    which: usize,
    /// Bytes.
    waiting: usize,
    received: usize,
    budget: Budget,
}

impl Stream {
    fn new(pace: Pace) -> Stream {
        Stream {
            which: pace.speakers,
            waiting: 0,
            received: 0,
            budget: Budget {
                sent: 0,
                until: Until::Over(Duration::MAX),
                over: false,
            },
        }
    }

    /// Receives a chunk, and sends what may be sent, unless that is `over`.
    fn go_on(&mut self, load: &mut Load, over: bool) -> io::Result<()> {
        self.budget.over = over;
        let connection = &mut load.connections[self.which];
        let n = connection.receive_once(&load.pattern, &mut load.buf)?;
        self.received += n;
        self.waiting -= n;
        self.waiting += connection.send(&load.pattern, BULK, &mut self.budget)?;
        Ok(())
    }

    /// Nanoseconds of a chunk.
    fn chunk(&self, elapsed: Duration) -> f64 {
        elapsed.as_nanos() as f64 * BULK.message as f64 / self.received as f64
    }
}
