//! Unix datagrams: short and empty ones, with and without descriptors; peers that are full, and addresses that are, of
//! which no event tells.

use std::io::{IoSlice, IoSliceMut, Read};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram, UnixStream as StdStream};
use std::time::Duration;

use reveille::Builder;
use reveille::io::Interest;
use reveille::net::UnixDatagram;
use reveille::time;

use super::kernel;
use super::play::{Outcome, Play, What, runtime};
use super::random::Random;
use super::schedules;

/// How the socket under test came about.
#[derive(Clone, Copy, Debug)]
enum Origin {
    Pair,
    Bound,
    FromStd,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    // The peer:
    Send(usize),
    SendDescriptor(usize),
    // Ours, which may wait:
    Recv(usize),
    RecvFrom(usize),
    RecvFds(usize),
    Readable,
    AsyncIo,
    // Ours, which does not:
    TryRecv(usize),
    TryRecvFds(usize),
    TryIo,
    PassCredentials(bool),
    PollAny,
    CancelAny,
    Turn,
    Rest,
}

impl Step {
    fn any(random: &mut Random) -> Step {
        let room = random.pick(&[1, 2, 10, 100]);
        let n = random.pick(&[0, 0, 1, 3, 10, 2000]);
        match random.below(48) {
            0..8 => Step::Send(n),
            8..12 => Step::SendDescriptor(n),
            12..17 => Step::Recv(room),
            17..20 => Step::RecvFrom(room),
            20..23 => Step::RecvFds(random.below(3)),
            23 => Step::Readable,
            24..26 => Step::AsyncIo,
            26..29 => Step::TryRecv(room),
            29 => Step::TryRecvFds(random.below(3)),
            30 => Step::TryIo,
            31 => Step::PassCredentials(random.below(3) > 0),
            32..34 => Step::PollAny,
            34..37 => Step::CancelAny,
            37..43 => Step::Turn,
            _ => Step::Rest,
        }
    }
}

/// The other end, a socket of std's.
struct Peer {
    socket: StdDatagram,
    /// A letter for each datagram, in order.
    sent: Vec<u8>,
    /// A stream, the second end of which is passed: the first one tells when all duplicates are closed.
    traced: (StdStream, StdStream),
}

/// What stands for an empty datagram.
const EMPTY: u8 = b'.';

impl Peer {
    fn play(&mut self, step: Step) {
        let letter = b'a' + (self.sent.len() % 26) as u8;
        let (n, sent) = match step {
            Step::SendDescriptor(n) => {
                let (socket, passed) = (self.socket.as_raw_fd(), self.traced.1.as_raw_fd());
                (
                    n,
                    kernel::send_with_descriptor(socket, &vec![letter; n], passed),
                )
            }
            Step::Send(n) => (n, self.socket.send(&vec![letter; n])),
            _ => unreachable!("not a step of the peer's"),
        };
        match sent {
            Ok(_) => self.sent.push(if n == 0 { EMPTY } else { letter }),
            // Its queue is full.
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EAGAIN)),
        }
    }
}

/// A socket of ours, and the peer's.
fn sockets(origin: Origin) -> (UnixDatagram, StdDatagram) {
    let (ours, theirs) = match origin {
        Origin::Pair => {
            let (ours, theirs) = UnixDatagram::pair().unwrap();
            (ours, theirs.into_std().unwrap())
        }
        Origin::Bound => {
            let ours = UnixDatagram::bind("").unwrap();
            let theirs = StdDatagram::unbound().unwrap();
            theirs.connect_addr(&ours.local_addr().unwrap()).unwrap();
            (ours, theirs)
        }
        Origin::FromStd => {
            let (ours, theirs) = StdDatagram::pair().unwrap();
            (UnixDatagram::from_std(ours).unwrap(), theirs)
        }
    };
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn holds(socket: RawFd) -> impl Fn(What) -> bool {
    move |what| match what {
        What::Bytes => kernel::holds_bytes(socket),
        What::Priority => false,
        What::Room => kernel::poll(socket, libc::POLLOUT) & libc::POLLOUT != 0,
    }
}

/// Of a datagram of which `n` bytes came, into room for one or more.
fn outcome(n: std::io::Result<usize>, buf: &[u8]) -> Outcome {
    match n {
        Ok(0) => Outcome::Read(vec![EMPTY]),
        Ok(n) => {
            assert!(buf[..n].iter().all(|letter| *letter == buf[0]), "mixed up");
            Outcome::Read(vec![buf[0]])
        }
        Err(error) => Outcome::Failed(error),
    }
}

fn receive<'a>(play: &mut Play<'a>, ours: &'a UnixDatagram, room: usize) {
    play.begin(What::Bytes, async move {
        if room % 2 == 0 {
            let mut buf = vec![0; room];
            return outcome(ours.recv(&mut buf).await, &buf);
        }
        let mut buf = Vec::with_capacity(room);
        outcome(ours.recv_vec(&mut buf).await, &buf)
    });
}

/// A receive of the user's own.
fn by_std(ours: &UnixDatagram, buf: &mut [u8]) -> std::io::Result<usize> {
    StdDatagram::from(ours.as_fd().try_clone_to_owned()?).recv(buf)
}

fn step<'a>(play: &mut Play<'a>, ours: &'a UnixDatagram, peer: &mut Peer, random: &mut Random) {
    let step = Step::any(random);
    play.tell(&step);
    match step {
        Step::Send(_) | Step::SendDescriptor(_) => peer.play(step),
        Step::Recv(room) => receive(play, ours, room),
        Step::RecvFrom(room) => play.begin(What::Bytes, async move {
            let mut buf = vec![0; room];
            let n = ours.recv_from(&mut buf).await;
            outcome(n.map(|(n, _)| n), &buf)
        }),
        Step::RecvFds(max_fds) => play.begin(What::Bytes, async move {
            let mut buf = [0; 2];
            let (one, other) = buf.split_at_mut(1);
            let bufs = &mut [one, other].map(IoSliceMut::new);
            let received = ours.recv_fds(bufs, max_fds).await;
            let n = received.map(|received| received.len());
            outcome(n, &buf)
        }),
        Step::Readable => play.begin(What::Bytes, async move {
            Outcome::of_look(ours.readable().await)
        }),
        Step::AsyncIo => play.begin(What::Bytes, async move {
            let mut buf = [0; 4];
            let op = || by_std(ours, &mut buf);
            let n = ours.async_io(Interest::READABLE, op).await;
            outcome(n, &buf)
        }),
        Step::TryRecv(room) => play.attempt(|| {
            let mut buf = vec![0; room];
            outcome(ours.try_recv(&mut buf), &buf)
        }),
        Step::TryRecvFds(max_fds) => play.attempt(|| {
            let mut buf = [0; 2];
            let received = ours.try_recv_fds(&mut [IoSliceMut::new(&mut buf)], max_fds);
            outcome(received.map(|received| received.len()), &buf)
        }),
        Step::TryIo => play.attempt(|| {
            let mut buf = [0; 4];
            let op = || by_std(ours, &mut buf);
            outcome(ours.try_io(Interest::READABLE, op), &buf)
        }),
        Step::PassCredentials(on) => ours.set_passcred(on).unwrap(),
        Step::PollAny => play.poll_any(random),
        Step::CancelAny => play.cancel_any(random),
        Step::Turn => play.turn(),
        Step::Rest => play.rest(holds(ours.as_raw_fd())),
    }
}

/// R10. Faults C7, C9. Catches: a short datagram, or an empty one, taken for the last; one that a future took and that was
/// dropped with it; a descriptor that leaks on any of the ways.
#[test]
fn no_schedule_of_datagrams_strands_a_unix_receiver() {
    schedules(|random| {
        let runtime = runtime(random);
        let origin = random.pick(&[Origin::Pair, Origin::Bound, Origin::FromStd]);
        let (ours, socket) = sockets(origin);
        let mut peer = Peer {
            socket,
            sent: Vec::new(),
            traced: StdStream::pair().unwrap(),
        };
        let reader = ours.as_raw_fd();
        let mut play = Play::new(&runtime);
        play.tell(&origin);
        if random.below(2) == 0 {
            receive(&mut play, &ours, 10); // Registered before the first datagram.
        }
        for _ in 0..10 + random.below(30) {
            step(&mut play, &ours, &mut peer, random);
        }
        play.rest(holds(reader));

        // And nothing was lost or mixed up on the way.
        play.cancel_all();
        while kernel::holds_bytes(reader) {
            receive(&mut play, &ours, 10);
            play.rest(holds(reader));
        }
        assert!(play.read == peer.sent, "not what was sent");
        let (mut traced, passed) = peer.traced;
        drop(passed);
        assert_eq!(traced.read(&mut [0]).unwrap(), 0); // Or this hangs: a descriptor leaked.
    });
}

/// R10. Catches: a sender that is not told of room, at its peer or in its own buffer, or of the end of the peer.
#[test]
fn no_schedule_of_datagrams_strands_a_unix_sender() {
    schedules(|random| {
        let runtime = runtime(random);
        let theirs = StdDatagram::bind_addr(&SocketAddr::from_pathname("").unwrap()).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let there = theirs.local_addr().unwrap();
        let other = StdDatagram::unbound().unwrap();
        other.connect_addr(&there).unwrap();
        other.set_nonblocking(true).unwrap();
        let (ours, theirs) = if random.below(3) == 0 {
            // No limit but that of its own buffer.
            sockets(Origin::Pair)
        } else {
            let ours = UnixDatagram::unbound().unwrap();
            ours.connect_addr(&there).unwrap();
            (ours, theirs)
        };
        ours.set_send_buffer_size(16 << 10).unwrap();
        let writer = ours.as_raw_fd();
        let (mut play, mut got) = (Play::new(&runtime), 0);
        let mut buf = [0; 10_000];
        let mut receive = |count: usize| {
            for _ in 0..count {
                match theirs.recv(&mut buf) {
                    Ok(n) if buf[..n].first() != Some(&b'o') => got += n,
                    _ => {}
                }
            }
            got
        };
        for _ in 0..20 + random.below(30) {
            let n = random.pick(&[1, 100, 5000]);
            let ours = &ours;
            match random.below(12) {
                0..4 => play.begin(What::Room, async move {
                    Outcome::of_write(ours.send(&vec![7; n]).await)
                }),
                4 => play.begin(What::Room, async move {
                    let bytes = vec![7; n];
                    Outcome::of_write(
                        ours.send_fds(&[IoSlice::new(&bytes)], &[ours.as_fd()])
                            .await,
                    )
                }),
                5 => play.attempt(|| Outcome::of_write(ours.try_send(&vec![7; n]))),
                6 => play.begin(What::Room, async move {
                    Outcome::of_look(ours.writable().await)
                }),
                7 => (0..random.below(8)).for_each(|_| drop(other.send(b"other"))),
                8..10 => drop(receive(random.below(6))),
                10 if random.below(2) == 0 => play.cancel_any(random),
                10 => play.turn(),
                _ => play.rest(holds(writer)),
            }
        }
        play.rest(holds(writer));
        if random.below(2) == 0 {
            // Once all has been received there is room for everybody.
            for _ in 0..3 {
                receive(1000);
                play.rest(holds(writer));
            }
            assert_eq!(receive(1000), play.written, "bytes are missing");
        } else {
            drop(theirs);
        }
        play.rest(|_| true); // Nobody waits any more.
    });
}

/// R10. Catches: a sender to an address that waits for an event, which need not come, or longer than 50 ms after there is
/// room.
#[test]
fn no_schedule_of_datagrams_strands_a_unix_sender_to_an_address() {
    schedules(|random| {
        let mut options = Builder::new();
        if random.below(3) == 0 {
            options.chaos(random.below(usize::MAX) as u64);
        }
        let runtime = options.build().unwrap();
        runtime.block_on(async { time::pause() });
        let places = [(); 2].map(|()| {
            let place = StdDatagram::bind_addr(&SocketAddr::from_pathname("").unwrap()).unwrap();
            place.set_nonblocking(true).unwrap();
            place
        });
        let addresses = places.each_ref().map(|place| place.local_addr().unwrap());
        let ours = UnixDatagram::unbound().unwrap();
        if random.below(2) == 0 {
            ours.connect_addr(&addresses[0]).unwrap();
        }
        if random.below(2) == 0 {
            ours.set_send_buffer_size(16 << 10).unwrap();
        }
        let other = StdDatagram::unbound().unwrap();
        other.set_nonblocking(true).unwrap();
        let (mut play, mut got) = (Play::new(&runtime), 0);
        let mut buf = [0; 10_000];
        let mut receive = |place: &StdDatagram, count: usize| {
            for _ in 0..count {
                match place.recv(&mut buf) {
                    Ok(n) if buf[..n].first() != Some(&b'o') => got += n,
                    _ => {}
                }
            }
            got
        };
        for _ in 0..30 + random.below(30) {
            let n = random.pick(&[1, 100, 5000]);
            let nth = random.below(2);
            let (ours, there) = (&ours, &addresses[nth]);
            match random.below(12) {
                0..4 => play.begin(What::Room, async move {
                    Outcome::of_write(ours.send_to_addr(&vec![7; n], there).await)
                }),
                4 => play.begin(What::Room, async move {
                    let bytes = vec![7; n];
                    let poll =
                        |cx: &mut std::task::Context<'_>| ours.poll_send_to_addr(cx, &bytes, there);
                    Outcome::of_write(std::future::poll_fn(poll).await)
                }),
                5 => play.attempt(|| Outcome::of_write(ours.try_send_to_addr(&vec![7; n], there))),
                6 => (0..random.below(20)).for_each(|_| drop(other.send_to_addr(b"other", there))),
                7 if ours.peer_addr().is_ok() => {
                    play.attempt(|| Outcome::of_write(ours.try_send(&vec![7; n])));
                }
                7..9 => drop(receive(&places[nth], random.below(6))),
                9 => play.cancel_any(random),
                10 => {
                    runtime.block_on(time::advance(Duration::from_millis(random.below(9) as u64)))
                }
                _ => play.rest(|_| false),
            }
        }
        play.rest(|_| false);
        for place in &places {
            receive(place, 1000);
        }
        runtime.block_on(time::advance(Duration::from_millis(50)));
        play.rest(|_| true); // Nobody waits any more.
        let got = places.iter().map(|place| receive(place, 1000)).max();
        assert_eq!(got, Some(play.written), "bytes are missing");
    });
}
