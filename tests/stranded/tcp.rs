//! TCP streams: when a short read proves that the socket is drained, and when it does not.

use std::io::{self, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use reveille::Runtime;
use reveille::io::Interest;
use reveille::net::{TcpListener, TcpStream};

use super::child::in_child;
use super::kernel::{self, URGENT, eventually};
use super::play::{Outcome, Play, What, runtime};
use super::random::Random;
use super::schedules;
use super::step::{inside, poll};
use crate::limit::limit;

/// How the stream under test came about.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Accepted,
    Connected,
    FromStd,
    Cloned,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    // The peer:
    Send(usize),
    SendUrgent,
    /// Bytes on both sides of an urgent one, which somebody else takes before the reactor looks.
    SendAroundTaken(Lend),
    Fin,
    Reset,
    // Ours, which may wait:
    Read(usize),
    ReadVectored(usize),
    Peek,
    Readable,
    Priority,
    AsyncIo(usize),
    // Ours, which does not:
    TryRead(usize),
    TryReadVectored(usize),
    TryIo(usize),
    TakeUrgent(Lend),
    ShutdownReading,
    PollAny,
    CancelAny,
    Turn,
    Rest,
}

/// Through what somebody else gets at the socket.
#[derive(Clone, Copy, Debug)]
enum Lend {
    AsFd,
    AsRawFd,
    TryIo,
    AsyncIo,
    TryClone,
}

const LENDS: [Lend; 5] = [
    Lend::AsFd,
    Lend::AsRawFd,
    Lend::TryIo,
    Lend::AsyncIo,
    Lend::TryClone,
];

impl Step {
    fn any(random: &mut Random) -> Step {
        let room = random.pick(&[1, 2, 3, 10, 100]);
        match random.below(64) {
            0..11 => Step::Send(random.pick(&[1, 3, 3, 10, 2000, 2000])),
            11..16 => Step::SendUrgent,
            16..18 => Step::SendAroundTaken(random.pick(&LENDS)),
            18 => Step::Fin,
            19 => Step::Reset,
            20..30 => Step::Read(room),
            30..33 => Step::ReadVectored(random.pick(&[2, 50, 1100, 1100])),
            33..35 => Step::Peek,
            35 => Step::SendAroundTaken(random.pick(&LENDS)),
            36..38 => Step::Readable,
            38 => Step::Priority,
            39 => Step::AsyncIo(room),
            40..43 => Step::TryRead(room),
            43 => Step::TryReadVectored(room),
            44 => Step::TryIo(room),
            45..48 => Step::TakeUrgent(random.pick(&LENDS)),
            48 if random.below(4) == 0 => Step::ShutdownReading,
            48..50 => Step::PollAny,
            50..52 => Step::CancelAny,
            52..60 => Step::Turn,
            _ => Step::Rest,
        }
    }
}

/// The other end, a socket of std's.
struct Peer {
    stream: Option<std::net::TcpStream>,
    /// The number of the socket under test.
    reader: RawFd,
    /// Ordinary bytes, in order.
    sent: Vec<u8>,
    /// What the reader's kernel must have received so far.
    delivered: u64,
    finished: bool,
    /// Somebody else holds the socket under test, who need not borrow it from the stream.
    shared: bool,
}

impl Peer {
    fn new(stream: std::net::TcpStream, reader: RawFd) -> Peer {
        Peer {
            stream: Some(stream),
            reader,
            sent: Vec::new(),
            delivered: 0,
            finished: false,
            shared: false,
        }
    }

    /// Waits until all that was sent has arrived.
    fn deliver(&mut self, n: usize) {
        self.delivered += n as u64;
        eventually("not delivered", || {
            kernel::tcp_bytes_received(self.reader) >= self.delivered
        });
    }

    fn play(&mut self, step: Step) {
        let Some(mut stream) = self.stream.as_ref().filter(|_| !self.finished) else {
            return;
        };
        match step {
            Step::Send(n) => {
                let bytes: Vec<u8> = (self.sent.len()..self.sent.len() + n)
                    .map(|i| (i % 251) as u8)
                    .collect();
                stream.write_all(&bytes).unwrap();
                self.sent.extend_from_slice(&bytes);
                self.deliver(n);
            }
            Step::SendUrgent => {
                kernel::send_urgent(stream.as_raw_fd()).unwrap();
                self.deliver(1);
            }
            Step::Fin => {
                stream.shutdown(Shutdown::Write).unwrap();
                self.finished = true;
                let reader = self.reader;
                eventually("no end", || kernel::poll(reader, libc::POLLRDHUP) != 0);
            }
            Step::Reset => {
                kernel::reset_when_closed(stream);
                self.stream = None;
                let reader = self.reader;
                eventually("no reset", || kernel::poll(reader, 0) & libc::POLLHUP != 0);
            }
            _ => unreachable!("not a step of the peer's"),
        }
    }
}

/// A connection: ours, and the peer's end of it.
fn connection(runtime: &Runtime, origin: Origin) -> (TcpStream, std::net::TcpStream) {
    let listening = async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let there = listener.local_addr()?;
        io::Result::Ok((listener, there))
    };
    match origin {
        Origin::Connected => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let there = listener.local_addr().unwrap();
            let ours = runtime.block_on(TcpStream::connect(there)).unwrap();
            (ours, listener.accept().unwrap().0)
        }
        _ => {
            let (listener, there) = runtime.block_on(listening).unwrap();
            let theirs = std::net::TcpStream::connect(there).unwrap();
            let (ours, _) = runtime.block_on(listener.accept()).unwrap();
            let ours = match origin {
                Origin::FromStd => TcpStream::from_std(ours.into_std().unwrap()).unwrap(),
                Origin::Cloned => ours.try_clone().unwrap(),
                _ => ours,
            };
            (ours, theirs)
        }
    }
}

/// Its number, without lending it: `Debug` is std's and shows it.
fn number_of(stream: &TcpStream) -> RawFd {
    let text = format!("{stream:?}");
    let (_, number) = text.split_once("fd: ").unwrap();
    number.trim_end_matches([' ', '}']).parse().unwrap()
}

fn holds(reader: RawFd) -> impl Fn(What) -> bool {
    move |what| match what {
        What::Bytes => kernel::holds_bytes(reader),
        What::Priority => kernel::poll(reader, libc::POLLPRI) & libc::POLLPRI != 0,
        What::Room => kernel::poll(reader, libc::POLLOUT) & libc::POLLOUT != 0,
    }
}

fn read<'a>(play: &mut Play<'a>, ours: &'a TcpStream, room: usize) {
    play.begin(What::Bytes, async move {
        let mut buf = vec![0; room];
        if room % 2 == 0 {
            return Outcome::of_read(ours.read(&mut buf).await, buf);
        }
        let mut buf = Vec::with_capacity(room);
        Outcome::of_read(ours.read_vec(&mut buf).await, buf)
    });
}

/// Takes the urgent byte through a socket that was lent.
fn take_urgent<'a>(play: &mut Play<'a>, ours: &'a TcpStream, lend: Lend, peer: &Peer) {
    let fd = peer.reader;
    let take = |fd: RawFd| {
        let _taken = kernel::take_urgent(fd); // Or there is none.
        Outcome::Seen
    };
    match lend {
        _ if peer.shared => play.attempt(|| take(fd)),
        Lend::AsFd => play.attempt(|| take(ours.as_fd().as_raw_fd())),
        Lend::AsRawFd => play.attempt(|| take(ours.as_raw_fd())),
        Lend::TryIo => {
            play.attempt(|| Outcome::of_look(ours.try_io(Interest::WRITABLE, || Ok(take(fd)))))
        }
        Lend::AsyncIo => play.begin(What::Room, async move {
            let taken = ours.async_io(Interest::WRITABLE, || Ok(take(fd)));
            Outcome::of_look(taken.await)
        }),
        Lend::TryClone => play.attempt(|| take(ours.try_clone().unwrap().as_raw_fd())),
    }
}

fn step<'a>(play: &mut Play<'a>, ours: &'a TcpStream, peer: &mut Peer, random: &mut Random) {
    let step = Step::any(random);
    play.tell(&step);
    match step {
        Step::Send(_) | Step::SendUrgent | Step::Fin | Step::Reset => peer.play(step),
        Step::Read(room) => read(play, ours, room),
        Step::ReadVectored(count) => play.begin(What::Bytes, async move {
            let mut buf = vec![0; count];
            let mut bufs: Vec<_> = buf.chunks_mut(1).map(IoSliceMut::new).collect();
            let n = ours.read_vectored(&mut bufs).await;
            Outcome::of_read(n, buf)
        }),
        Step::Peek => play.begin(What::Bytes, async move {
            Outcome::of_look(ours.peek(&mut [0; 5]).await)
        }),
        Step::Readable => play.begin(What::Bytes, async move {
            Outcome::of_look(ours.readable().await)
        }),
        Step::Priority => play.begin(What::Priority, async move {
            Outcome::of_look(ours.ready(Interest::PRIORITY).await)
        }),
        Step::AsyncIo(room) => play.begin(What::Bytes, async move {
            let mut buf = vec![0; room];
            // A receive of the user's own, which peeks first.
            let op = || {
                ours.as_fd().try_clone_to_owned().and_then(|fd| {
                    let fd = std::net::TcpStream::from(fd);
                    fd.peek(&mut [0; 1])?;
                    (&fd).read(&mut buf)
                })
            };
            let n = ours.async_io(Interest::READABLE, op).await;
            Outcome::of_read(n, buf)
        }),
        Step::TryRead(room) => play.attempt(|| {
            let mut buf = vec![0; room];
            if room % 2 == 0 {
                return Outcome::of_read(ours.try_read(&mut buf), buf);
            }
            let mut buf = Vec::with_capacity(room);
            Outcome::of_read(ours.try_read_vec(&mut buf), buf)
        }),
        Step::TryReadVectored(room) => play.attempt(|| {
            let mut buf = vec![0; room];
            let mut bufs: Vec<_> = buf.chunks_mut(2).map(IoSliceMut::new).collect();
            let n = ours.try_read_vectored(&mut bufs);
            Outcome::of_read(n, buf)
        }),
        Step::TryIo(room) => play.attempt(|| {
            let mut buf = vec![0; room];
            let op = || {
                let fd = std::net::TcpStream::from(ours.as_fd().try_clone_to_owned()?);
                (&fd).read(&mut buf)
            };
            Outcome::of_read(ours.try_io(Interest::READABLE, op), buf)
        }),
        Step::TakeUrgent(lend) => take_urgent(play, ours, lend, peer),
        Step::SendAroundTaken(lend) => {
            for step in [Step::Send(3), Step::SendUrgent, Step::Send(3)] {
                peer.play(step);
            }
            take_urgent(play, ours, lend, peer);
        }
        Step::ShutdownReading => play.attempt(|| Outcome::of_look(ours.shutdown(Shutdown::Read))),
        Step::PollAny => play.poll_any(random),
        Step::CancelAny => play.cancel_any(random),
        Step::Turn => play.turn(),
        Step::Rest => play.rest(holds(peer.reader)),
    }
}

/// R10. Fault A7. Catches: each part of the rule by which a short read counts as the last, left out:
/// doubt after PRI, RDHUP, HUP or ERR; a socket that was lent, cloned or not made here; the room that
/// was offered to the kernel, which is less than all of 1100 buffers, and under chaos less than asked.
#[test]
fn no_schedule_of_traffic_strands_a_tcp_reader() {
    schedules(|random| {
        let runtime = runtime(random);
        let origin = match random.below(10) {
            0..2 => Origin::FromStd,
            2..4 => Origin::Cloned,
            4..6 => Origin::Connected,
            _ => Origin::Accepted,
        };
        let (ours, theirs) = connection(&runtime, origin);
        theirs.set_nodelay(true).unwrap();
        let reader = number_of(&ours);
        let mut peer = Peer::new(theirs, reader);
        peer.shared = matches!(origin, Origin::FromStd | Origin::Cloned);
        let mut play = Play::new(&runtime);
        play.tell(&origin);
        if random.below(2) == 0 {
            read(&mut play, &ours, 100); // Registered before the first byte.
        }
        for _ in 0..10 + random.below(30) {
            step(&mut play, &ours, &mut peer, random);
        }
        play.rest(holds(reader));

        // And nothing was lost or mixed up on the way.
        play.cancel_all();
        play.ended = false;
        while !play.ended && kernel::holds_bytes(reader) {
            read(&mut play, &ours, 1000);
            play.rest(holds(reader));
        }
        play.read.retain(|&byte| byte != URGENT);
        assert!(play.read == peer.sent, "not what was sent");
        if let Some(stream) = peer.stream {
            kernel::reset_when_closed(&stream);
        }
    });
}

/// R10. Catches: a short read after a peek taken for the last: what is looked at and left is not read.
#[test]
fn a_short_read_proves_nothing_after_a_peek() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = connection(&runtime, Origin::Accepted);
    let mut peer = Peer::new(theirs, number_of(&ours));
    let mut play = Play::new(&runtime);
    read(&mut play, &ours, 10);
    play.turn();
    for (peeks, reads_on) in [(false, false), (true, true)] {
        play.rest(holds(peer.reader));
        play.cancel_all();
        peer.play(Step::Send(3));
        play.turn();
        inside(&runtime, || {
            let mut buf = [0; 10];
            if peeks {
                let mut peek = Box::pin(ours.peek(&mut buf));
                let peeked = poll(&mut peek, Waker::noop());
                assert!(matches!(peeked, Poll::Ready(Ok(3))));
            }
            assert_eq!(ours.try_read(&mut [0; 10]).unwrap(), 3);
            // More has come, and the reactor has not looked: it is read if reading is still tried.
            peer.play(Step::Send(3));
            assert_eq!(ours.try_read(&mut [0; 10]).is_ok(), reads_on);
        });
        play.turn();
        read(&mut play, &ours, 10);
        read(&mut play, &ours, 10);
    }
}

/// R10. Catches: a writer that is not told of room; room that a write left taken for none.
#[test]
fn no_schedule_of_traffic_strands_a_tcp_writer() {
    schedules(|random| {
        let runtime = runtime(random);
        let (ours, mut theirs) = connection(&runtime, Origin::Accepted);
        let writer = number_of(&ours);
        kernel::set_option(writer, libc::SO_SNDBUF, 32 << 10);
        kernel::set_option(theirs.as_raw_fd(), libc::SO_RCVBUF, 256 << 10);
        theirs.set_nonblocking(true).unwrap();
        let (mut play, mut got) = (Play::new(&runtime), 0);
        let mut buf = vec![0; 500_000];
        for _ in 0..20 + random.below(20) {
            let n = random.pick(&[1, 1000, 50_000, 500_000]);
            match random.below(8) {
                0..3 => play.begin(What::Room, {
                    let ours = &ours;
                    async move { Outcome::of_write(ours.write(&vec![7; n]).await) }
                }),
                3 => play.attempt(|| Outcome::of_write(ours.try_write(&vec![7; n]))),
                4 => got += theirs.read(&mut buf[..n]).unwrap_or(0),
                5 => play.cancel_any(random),
                6 => play.turn(),
                _ => play.rest(holds(writer)),
            }
        }
        // Once all has been read there is room for everybody.
        play.rest(holds(writer));
        eventually("bytes are missing", || {
            while let Ok(n @ 1..) = theirs.read(&mut buf) {
                got += n;
            }
            play.rest(holds(writer));
            got == play.written
        });
        play.cancel_all();
        kernel::reset_when_closed(&theirs);
    });
}

/// R10. At the place of an urgent byte recv(2) says EAGAIN while a signal is pending, whatever lies
/// behind it. Catches: an EAGAIN that is believed after an event with PRI, or of a socket that was
/// lent, where the event need not have said so.
#[test]
fn a_signal_at_the_place_of_an_urgent_byte_strands_nothing() {
    let name = "tcp::a_signal_at_the_place_of_an_urgent_byte_strands_nothing";
    in_child(name, || {
        for origin in [Origin::Accepted, Origin::FromStd] {
            let runtime = Runtime::new().unwrap();
            let (ours, theirs) = connection(&runtime, origin);
            theirs.set_nodelay(true).unwrap();
            let mut peer = Peer::new(theirs, number_of(&ours));
            let mut play = Play::new(&runtime);
            let (began, mut rounds) = (Instant::now(), 0);
            kernel::under_signals(|| {
                while rounds < ROUNDS && began.elapsed() < PATIENCE {
                    rounds += 1;
                    read(&mut play, &ours, 10);
                    peer.play(Step::SendUrgent);
                    peer.play(Step::Send(3));
                    if matches!(origin, Origin::FromStd) {
                        // Then PRI is not reported.
                        let _taken = kernel::take_urgent(peer.reader);
                    }
                    // Not by peeking, which a signal deceives just as well.
                    play.rest(|_| kernel::poll(peer.reader, libc::POLLIN) != 0);
                }
            });
            assert!(play.read.len() == 3 * rounds);
        }
    });
}

/// Of these some dozen meet a signal at the right time.
const ROUNDS: usize = 10_000;
/// A machine on which signals are slow goes through fewer of them, and ends before its watchdog.
const PATIENCE: Duration = Duration::from_secs(10);

/// R10. Fault A7: an urgent byte in the stream ends a read before what lies behind it (tcp(7)).
/// Catches: a short read taken for the last after an event with PRI.
#[test]
fn bytes_behind_an_urgent_byte_are_read() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = connection(&runtime, Origin::Accepted);
    let mut peer = Peer::new(theirs, number_of(&ours));
    let mut play = Play::new(&runtime);
    read(&mut play, &ours, 100);
    for step in [Step::Send(3), Step::SendUrgent, Step::Send(3)] {
        peer.play(step);
    }
    play.rest(holds(peer.reader));
    assert_eq!(play.read.len(), 3, "a read ends at the urgent byte");
    for _ in 0..2 {
        read(&mut play, &ours, 100); // The second one waits.
        play.rest(holds(peer.reader));
    }
    assert_eq!(play.read, peer.sent);
}
