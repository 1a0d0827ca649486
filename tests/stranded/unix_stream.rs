//! Unix streams: descriptors, credentials and urgent bytes in the queue make reads short, and an empty read is never
//! proved by one.

use std::fs::File;
use std::io::{self, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream as StdStream;
use std::process;

use reveille::Runtime;
use reveille::io::Interest;
use reveille::net::{UnixListener, UnixStream};

use super::kernel::{self, URGENT};
use super::play::{Outcome, Play, What, runtime};
use super::random::Random;
use super::schedules;
use crate::limit::limit;

/// How the stream under test came about.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Accepted,
    Connected,
    Pair,
    FromStd,
    Cloned,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    // The peer:
    Send(usize),
    SendDescriptor(usize),
    /// As another user: these bytes are not read together with others.
    SendAs(usize, u16),
    SendUrgent,
    Fin,
    /// With bytes unread, this is a reset.
    Close,
    // Ours, which may wait:
    Read(usize),
    ReadVectored(usize),
    RecvFds(usize),
    Peek,
    Readable,
    Priority,
    AsyncIo(usize),
    // Ours, which does not:
    TryRead(usize),
    TryReadVectored(usize),
    TryRecvFds(usize),
    TryIo(usize),
    TakeUrgent,
    PassCredentials(bool),
    Write,
    ShutdownReading,
    PollAny,
    CancelAny,
    Turn,
    Rest,
}

impl Step {
    fn any(random: &mut Random) -> Step {
        let room = random.pick(&[1, 2, 3, 10, 100]);
        let n = random.pick(&[1, 3, 3, 10, 2000]);
        match random.below(64) {
            0..7 => Step::Send(n),
            7..11 => Step::SendDescriptor(n),
            11..15 => Step::SendAs(n, random.pick(&[1, 2])),
            15..19 => Step::SendUrgent,
            19 => Step::Fin,
            20 => Step::Close,
            21..29 => Step::Read(room),
            29..31 => Step::ReadVectored(random.pick(&[2, 50, 1100])),
            31 | 62 => Step::RecvFds(room),
            63 => Step::TryRecvFds(room),
            32..34 => Step::Peek,
            34..36 => Step::Readable,
            36 => Step::Priority,
            37..39 => Step::AsyncIo(room),
            39..42 => Step::TryRead(room),
            42 => Step::TryReadVectored(room),
            43 => Step::TryIo(room),
            44..46 => Step::TakeUrgent,
            46..48 => Step::PassCredentials(random.below(3) > 0),
            48 => Step::Write,
            49 if random.below(4) == 0 => Step::ShutdownReading,
            49..51 => Step::PollAny,
            51..53 => Step::CancelAny,
            53..59 => Step::Turn,
            _ => Step::Rest,
        }
    }
}

/// The other end, a socket of std's.
struct Peer {
    stream: Option<StdStream>,
    /// Ordinary bytes, in order.
    sent: Vec<u8>,
    finished: bool,
    /// What is passed.
    null: File,
}

impl Peer {
    fn new(stream: StdStream) -> Peer {
        stream.set_nonblocking(true).unwrap();
        Peer {
            stream: Some(stream),
            sent: Vec::new(),
            finished: false,
            null: File::open("/dev/null").unwrap(),
        }
    }

    fn play(&mut self, step: Step) {
        let Some(mut stream) = self.stream.as_ref().filter(|_| !self.finished) else {
            return;
        };
        let fd = stream.as_raw_fd();
        let start = self.sent.len();
        let bytes = |n: usize| -> Vec<u8> { (start..start + n).map(|i| (i % 251) as u8).collect() };
        let (bytes, sent) = match step {
            Step::Send(n) => (bytes(n), stream.write(&bytes(n))),
            Step::SendDescriptor(n) => {
                let passed = self.null.as_raw_fd();
                (
                    bytes(n),
                    kernel::send_with_descriptor(fd, &bytes(n), passed),
                )
            }
            Step::SendAs(n, user) => match kernel::send_as(fd, &bytes(n), user) {
                // Without the privilege.
                Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                    (bytes(n), stream.write(&bytes(n)))
                }
                sent => (bytes(n), sent),
            },
            // Before Linux 5.15 there are none.
            Step::SendUrgent => (Vec::new(), kernel::send_urgent(fd).map(|()| 0)),
            Step::Fin => {
                stream.shutdown(Shutdown::Write).unwrap();
                self.finished = true;
                return;
            }
            Step::Close => {
                self.stream = None;
                return;
            }
            _ => unreachable!("not a step of the peer's"),
        };
        match sent {
            Ok(n) => self.sent.extend_from_slice(&bytes[..n]),
            // A full queue, or one who reads no more.
            Err(error) => assert!(
                matches!(
                    error.raw_os_error(),
                    Some(libc::EAGAIN | libc::EPIPE | libc::EOPNOTSUPP | libc::ECONNRESET)
                ),
                "{error}"
            ),
        }
    }
}

/// A connection: ours, and the peer's end of it.
fn connection(runtime: &Runtime, origin: Origin) -> (UnixStream, StdStream) {
    let name = format!(
        "\0reveille-stranded-{}-{:?}",
        process::id(),
        std::thread::current().id()
    );
    match origin {
        Origin::Pair => {
            let (ours, theirs) = UnixStream::pair().unwrap();
            (ours, theirs.into_std().unwrap())
        }
        Origin::Connected => {
            let listener = UnixListener::bind(name).unwrap().into_std().unwrap();
            let there = listener.local_addr().unwrap();
            let ours = runtime.block_on(UnixStream::connect_addr(&there)).unwrap();
            (ours, listener.accept().unwrap().0)
        }
        _ => {
            let listener = UnixListener::bind(name).unwrap();
            let theirs = StdStream::connect_addr(&listener.local_addr().unwrap()).unwrap();
            let (ours, _) = runtime.block_on(listener.accept()).unwrap();
            let ours = match origin {
                Origin::FromStd => UnixStream::from_std(ours.into_std().unwrap()).unwrap(),
                Origin::Cloned => ours.try_clone().unwrap(),
                _ => ours,
            };
            (ours, theirs)
        }
    }
}

fn holds(reader: RawFd) -> impl Fn(What) -> bool {
    move |what| match what {
        What::Bytes => kernel::holds_bytes(reader),
        What::Priority => kernel::poll(reader, libc::POLLPRI) & libc::POLLPRI != 0,
        What::Room => kernel::poll(reader, libc::POLLOUT) & libc::POLLOUT != 0,
    }
}

fn read<'a>(play: &mut Play<'a>, ours: &'a UnixStream, room: usize) {
    play.begin(What::Bytes, async move {
        let mut buf = vec![0; room];
        if room % 2 == 0 {
            return Outcome::of_read(ours.read(&mut buf).await, buf);
        }
        let mut buf = Vec::with_capacity(room);
        Outcome::of_read(ours.read_vec(&mut buf).await, buf)
    });
}

/// A receive of the user's own.
fn receive(ours: &UnixStream, buf: &mut [u8]) -> io::Result<usize> {
    let fd = StdStream::from(ours.as_fd().try_clone_to_owned()?);
    (&fd).read(buf)
}

fn step<'a>(play: &mut Play<'a>, ours: &'a UnixStream, peer: &mut Peer, random: &mut Random) {
    let step = Step::any(random);
    play.tell(&step);
    match step {
        Step::Send(_)
        | Step::SendDescriptor(_)
        | Step::SendAs(..)
        | Step::SendUrgent
        | Step::Fin
        | Step::Close => peer.play(step),
        Step::Read(room) => read(play, ours, room),
        Step::ReadVectored(count) => play.begin(What::Bytes, async move {
            let mut buf = vec![0; count];
            let mut bufs: Vec<_> = buf.chunks_mut(1).map(IoSliceMut::new).collect();
            let n = ours.read_vectored(&mut bufs).await;
            Outcome::of_read(n, buf)
        }),
        Step::RecvFds(room) => play.begin(What::Bytes, async move {
            let mut buf = vec![0; room];
            let received = ours.recv_fds(&mut [IoSliceMut::new(&mut buf)], 1).await;
            Outcome::of_read(received.map(|received| received.len()), buf)
        }),
        Step::TryRecvFds(room) => play.attempt(|| {
            let mut buf = vec![0; room];
            let received = ours.try_recv_fds(&mut [IoSliceMut::new(&mut buf)], 1);
            Outcome::of_read(received.map(|received| received.len()), buf)
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
            let op = || receive(ours, &mut buf);
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
            let op = || receive(ours, &mut buf);
            Outcome::of_read(ours.try_io(Interest::READABLE, op), buf)
        }),
        Step::TakeUrgent => play.attempt(|| {
            let _taken = kernel::take_urgent(ours.as_raw_fd()); // Or there is none.
            Outcome::Seen
        }),
        Step::PassCredentials(on) => ours.set_passcred(on).unwrap(),
        Step::Write => play.attempt(|| Outcome::of_look(ours.try_write(b"unread"))),
        Step::ShutdownReading => play.attempt(|| Outcome::of_look(ours.shutdown(Shutdown::Read))),
        Step::PollAny => play.poll_any(random),
        Step::CancelAny => play.cancel_any(random),
        Step::Turn => play.turn(),
        Step::Rest => play.rest(holds(ours.as_raw_fd())),
    }
}

/// R10. Fault A7. Catches: a short read of a Unix stream taken for the last; an EAGAIN at an urgent byte that is
/// believed where bytes are behind it; an end or a reset that is not told.
#[test]
fn no_schedule_of_descriptors_and_credentials_strands_a_unix_reader() {
    schedules(|random| {
        let runtime = runtime(random);
        let origin = random.pick(&[
            Origin::Accepted,
            Origin::Connected,
            Origin::Pair,
            Origin::FromStd,
            Origin::Cloned,
        ]);
        let (ours, theirs) = connection(&runtime, origin);
        let reader = ours.as_raw_fd();
        let mut peer = Peer::new(theirs);
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
    });
}

/// R10. Catches: a writer that is not told of room; room that a write left taken for none.
#[test]
fn no_schedule_of_traffic_strands_a_unix_writer() {
    schedules(|random| {
        let runtime = runtime(random);
        let (ours, mut theirs) = connection(&runtime, Origin::Accepted);
        let writer = ours.as_raw_fd();
        ours.set_send_buffer_size(32 << 10).unwrap();
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
        loop {
            while let Ok(n @ 1..) = theirs.read(&mut buf) {
                got += n;
            }
            play.rest(holds(writer));
            if !kernel::holds_bytes(theirs.as_raw_fd()) {
                break;
            }
        }
        assert_eq!(got, play.written, "bytes are missing");
        play.cancel_all();
    });
}

/// R10. Fault A7: an urgent byte ends a read before what lies behind it, as on TCP: unix(7), MSG_OOB.
/// Catches: a short read taken for the last; an urgent byte that nobody can wait for.
#[test]
fn bytes_behind_an_urgent_byte_of_a_unix_stream_are_read() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = connection(&runtime, Origin::Pair);
    let reader = ours.as_raw_fd();
    match kernel::send_urgent(theirs.as_raw_fd()) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return, // Before Linux 5.15.
        sent => sent.unwrap(),
    }
    let mut peer = Peer::new(theirs);
    let mut play = Play::new(&runtime);
    play.begin(What::Priority, async {
        Outcome::of_look(ours.ready(Interest::PRIORITY).await)
    });
    play.rest(holds(reader));
    assert_eq!(kernel::take_urgent(reader).unwrap(), URGENT);
    read(&mut play, &ours, 100);
    for step in [Step::Send(3), Step::SendUrgent, Step::Send(3)] {
        peer.play(step);
    }
    play.rest(holds(reader));
    assert_eq!(play.read.len(), 3, "a read ends at the urgent byte");
    for _ in 0..2 {
        read(&mut play, &ours, 100); // The second one waits.
        play.rest(holds(reader));
    }
    assert_eq!(play.read, peer.sent);
}
