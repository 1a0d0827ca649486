//! Descriptors of other kinds, through `AsyncFd`: only EAGAIN says that they are drained.

use std::fs::File;
use std::io::{IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use reveille::io::{AsyncFd, Interest};

use super::kernel::{self, URGENT, eventually};
use super::play::{Outcome, Play, What, runtime};
use super::random::Random;
use super::schedules;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    UnixStream,
    Pipe,
    /// Each write is a packet, and what a read leaves of it is lost: pipe(2), O_DIRECT.
    PacketPipe,
    /// Written to by its slave.
    Master,
    /// Written to by its master; gives whole lines only if so.
    Slave {
        lines: bool,
    },
}

impl Kind {
    /// The end to read from, in non-blocking mode, and the one to write to.
    fn ends(self) -> [OwnedFd; 2] {
        match self {
            Kind::UnixStream => {
                let (ours, theirs) = UnixStream::pair().unwrap();
                ours.set_nonblocking(true).unwrap();
                theirs.set_nonblocking(true).unwrap();
                [ours.into(), theirs.into()]
            }
            Kind::Pipe => kernel::pipe(0),
            Kind::PacketPipe => kernel::pipe(libc::O_DIRECT),
            Kind::Master => kernel::terminal(false),
            Kind::Slave { lines } => {
                let [master, slave] = kernel::terminal(lines);
                [slave, master]
            }
        }
    }

    /// True if all that was written before the end can be read.
    fn keeps_all(self, ended: bool) -> bool {
        match self {
            Kind::UnixStream | Kind::Pipe => true,
            Kind::PacketPipe => false,
            // A terminal that is hung up forgets what it holds.
            Kind::Master | Kind::Slave { .. } => !ended,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    // The peer:
    Send(usize),
    SendWithDescriptor(usize),
    SendUrgent,
    FinishWriting,
    Close,
    // Ours, which may wait:
    Read(usize),
    ReadVectored(usize),
    Peek,
    Readable,
    // Ours, which does not:
    TryRead(usize),
    ReadBehindItsBack(usize),
    PollAny,
    CancelAny,
    Turn,
    Rest,
}

impl Step {
    fn any(random: &mut Random) -> Step {
        let room = random.pick(&[1, 2, 3, 10, 100]);
        let n = random.pick(&[1, 3, 3, 10, 500]);
        match random.below(64) {
            0..12 => Step::Send(n),
            12..18 => Step::SendWithDescriptor(n),
            18..20 => Step::SendUrgent,
            20 => Step::FinishWriting,
            21 => Step::Close,
            22..34 => Step::Read(room),
            34..37 => Step::ReadVectored(room),
            37..39 => Step::Peek,
            39..42 => Step::Readable,
            42..45 => Step::TryRead(room),
            45..47 => Step::ReadBehindItsBack(room),
            47..49 => Step::PollAny,
            49..51 => Step::CancelAny,
            51..59 => Step::Turn,
            _ => Step::Rest,
        }
    }
}

/// The writing end.
struct Peer {
    kind: Kind,
    end: Option<File>,
    finished: bool,
    sent: Vec<u8>,
}

impl Peer {
    fn play(&mut self, step: Step) {
        let Some(mut end) = self.end.as_ref().filter(|_| !self.finished) else {
            return;
        };
        let fd = end.as_raw_fd();
        match step {
            Step::Send(n) => {
                let bytes = self.bytes(n);
                // If the terminal or the pipe is full, that much less.
                let n = end.write(&bytes).unwrap_or(0);
                self.sent.extend_from_slice(&bytes[..n]);
            }
            Step::SendWithDescriptor(n) if self.kind == Kind::UnixStream => {
                let bytes = self.bytes(n);
                let n = kernel::send_with_descriptor(fd, &bytes, fd).unwrap_or(0);
                self.sent.extend_from_slice(&bytes[..n]);
            }
            Step::SendUrgent if self.kind == Kind::UnixStream => {
                let _sent = kernel::send_urgent(fd); // A kernel may be built without it.
            }
            Step::FinishWriting if self.kind == Kind::UnixStream => {
                let end = UnixStream::from(OwnedFd::from(end.try_clone().unwrap()));
                end.shutdown(Shutdown::Write).unwrap();
                self.finished = true;
            }
            Step::Close => {
                self.end = None;
                self.finished = true;
            }
            _ => {} // Not for this kind.
        }
    }

    /// The next `n`: letters, and here and there a line's end.
    fn bytes(&self, n: usize) -> Vec<u8> {
        (self.sent.len()..self.sent.len() + n)
            .map(|i| {
                if i % 7 == 6 {
                    b'\n'
                } else {
                    b'a' + (i % 26) as u8
                }
            })
            .collect()
    }
}

fn holds(kind: Kind, fd: RawFd) -> impl Fn(What) -> bool {
    move |what| {
        if (kind, what) == (Kind::UnixStream, What::Bytes) {
            // Not poll(2), which counts an urgent byte that no read returns.
            return kernel::holds_bytes(fd);
        }
        let (wanted, ends) = match what {
            What::Bytes => (libc::POLLIN, libc::POLLHUP | libc::POLLERR),
            What::Priority => (libc::POLLPRI, 0),
            What::Room => (libc::POLLOUT, libc::POLLERR),
        };
        kernel::poll(fd, wanted) & (wanted | ends) != 0
    }
}

fn read<'a>(play: &mut Play<'a>, ours: &'a AsyncFd<File>, room: usize) {
    play.begin(What::Bytes, async move {
        let mut buf = vec![0; room];
        let n = ours.async_io(Interest::READABLE, |mut file| file.read(&mut buf));
        let n = n.await;
        Outcome::of_read(n, buf)
    });
}

fn step<'a>(play: &mut Play<'a>, ours: &'a AsyncFd<File>, peer: &mut Peer, random: &mut Random) {
    let step = Step::any(random);
    play.tell(&step);
    match step {
        Step::Read(room) => read(play, ours, room),
        Step::ReadVectored(room) => play.begin(What::Bytes, async move {
            let mut buf = vec![0; room];
            let read = |mut file: &File| {
                let mut bufs: Vec<_> = buf.chunks_mut(2).map(IoSliceMut::new).collect();
                file.read_vectored(&mut bufs)
            };
            let n = ours.async_io(Interest::READABLE, read).await;
            Outcome::of_read(n, buf)
        }),
        Step::Peek if peer.kind == Kind::UnixStream => play.begin(What::Bytes, async move {
            let peek = |file: &File| kernel::peek(file.as_raw_fd());
            Outcome::of_look(ours.async_io(Interest::READABLE, peek).await)
        }),
        Step::Readable => play.begin(What::Bytes, async move {
            let mut buf = vec![0; 2];
            loop {
                let Ok(mut guard) = ours.readable().await else {
                    return Outcome::Seen;
                };
                if let Ok(n) = guard.try_io(|ours| ours.get_ref().read(&mut buf)) {
                    return Outcome::of_read(n, buf);
                }
            }
        }),
        Step::TryRead(room) => play.attempt(|| {
            let mut buf = vec![0; room];
            let n = ours.try_io(Interest::READABLE, |mut file| file.read(&mut buf));
            Outcome::of_read(n, buf)
        }),
        // The runtime does not know of this one.
        Step::ReadBehindItsBack(room) => play.attempt(|| {
            let mut buf = vec![0; room];
            let n = ours.get_ref().read(&mut buf);
            Outcome::of_read(n, buf)
        }),
        Step::PollAny => play.poll_any(random),
        Step::CancelAny => play.cancel_any(random),
        Step::Turn => play.turn(),
        Step::Rest => play.rest(holds(peer.kind, ours.get_ref().as_raw_fd())),
        _ => peer.play(step),
    }
}

fn readers_of(kinds: &'static [Kind]) {
    schedules(move |random| {
        let runtime = runtime(random);
        let kind = random.pick(kinds);
        let [ours, theirs] = kind.ends();
        let ours = AsyncFd::with_interest(File::from(ours), Interest::READABLE).unwrap();
        let fd = ours.get_ref().as_raw_fd();
        let mut peer = Peer {
            kind,
            end: Some(File::from(theirs)),
            finished: false,
            sent: Vec::new(),
        };
        let mut play = Play::new(&runtime);
        play.tell(&kind);
        for _ in 0..10 + random.below(30) {
            step(&mut play, &ours, &mut peer, random);
        }
        play.rest(holds(kind, fd));

        // And nothing was lost or mixed up on the way.
        play.cancel_all();
        play.ended = false;
        let lines = kind == Kind::Slave { lines: true };
        let promised = match peer.sent.iter().rposition(|&byte| byte == b'\n') {
            Some(last) if lines => last + 1,
            None if lines => 0,
            _ => peer.sent.len(),
        };
        if kind.keeps_all(peer.finished) {
            eventually("bytes are missing", || {
                read(&mut play, &ours, 1000);
                play.rest(holds(kind, fd));
                play.read.retain(|&byte| byte != URGENT);
                play.read.len() >= promised
            });
            assert!(play.read == peer.sent[..promised], "not what was sent");
        }
    });
}

/// R10. Fault A7. Catches: a short read taken for the last where descriptors are passed between the
/// bytes; an end without an edge of its own; readiness that an event sets and a guard forgets.
#[test]
fn no_schedule_strands_a_reader_of_a_unix_stream() {
    readers_of(&[Kind::UnixStream]);
}

/// R10. Faults A5, A7. Catches: HUP that ends no read; a packet taken for all there is.
#[test]
fn no_schedule_strands_a_reader_of_a_pipe() {
    readers_of(&[Kind::Pipe, Kind::PacketPipe]);
}

/// R10. Fault A7. Catches: a line taken for all there is.
#[test]
fn no_schedule_strands_a_reader_of_a_terminal() {
    readers_of(&[
        Kind::Master,
        Kind::Slave { lines: false },
        Kind::Slave { lines: true },
    ]);
}

/// R10. Catches: a writer that is not told of room, or of a reader that has gone.
#[test]
fn no_schedule_strands_a_writer() {
    schedules(|random| {
        let runtime = runtime(random);
        let kind = random.pick(&[Kind::UnixStream, Kind::Pipe]);
        let [theirs, ours] = kind.ends();
        if kind == Kind::Pipe {
            kernel::shrink_pipe(ours.as_raw_fd());
        } else {
            kernel::set_option(ours.as_raw_fd(), libc::SO_SNDBUF, 4096);
        }
        let ours = AsyncFd::with_interest(File::from(ours), Interest::WRITABLE).unwrap();
        let fd = ours.get_ref().as_raw_fd();
        let mut theirs = Some(File::from(theirs));
        let mut play = Play::new(&runtime);
        let mut buf = [0; 8192];
        for _ in 0..20 + random.below(20) {
            let n = random.pick(&[1, 100, 3000, 8192]);
            match random.below(32) {
                0..12 => play.begin(What::Room, {
                    let ours = &ours;
                    async move {
                        let write = |mut file: &File| file.write(&vec![7; n]);
                        Outcome::of_write(ours.async_io(Interest::WRITABLE, write).await)
                    }
                }),
                12..20 => {
                    let read = theirs.as_mut().map(|file| file.read(&mut buf[..n]));
                    let _taken = read; // However many.
                }
                20..23 => play.cancel_any(random),
                23..28 => play.turn(),
                28 if random.below(4) == 0 => theirs = None,
                _ => play.rest(holds(kind, fd)),
            }
        }
        play.rest(holds(kind, fd));
    });
}
