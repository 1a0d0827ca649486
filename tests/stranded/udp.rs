//! UDP sockets: no short receive proves anything, however many datagrams a call takes, and what the network reports reaches
//! one that waits.

use std::io::IoSliceMut;
use std::net::UdpSocket as StdSocket;
use std::os::fd::{AsFd, AsRawFd};

use reveille::Runtime;
use reveille::io::Interest;
use reveille::net::UdpSocket;
use reveille::net::udp::{Batch, Outgoing, RecvMeta};

use super::arrived::arrived;
use super::kernel;
use super::play::{Outcome, Play, What, runtime};
use super::random::Random;
use super::schedules;
use crate::limit::limit;

/// Longer than any datagram here: none is cut.
const ROOM: usize = 10;

#[derive(Clone, Copy, Debug)]
enum Step {
    // The peer:
    Send(usize),
    SendSeveral(usize),
    /// It ends, so that what is sent to it from here on is reported.
    Die,
    // Ours, which may wait:
    Recv,
    RecvFrom,
    RecvVec,
    RecvVecFrom,
    RecvMany(usize),
    Peek,
    PeekSender,
    Readable,
    AsyncIo,
    Writable,
    SendOurs,
    SendMany,
    // Ours, which does not:
    TryRecv,
    TryRecvBatch(usize),
    TryRecvMany,
    TryPeek,
    TryIo,
    TrySend,
    PollAny,
    CancelAny,
    Turn,
    Rest,
}

impl Step {
    fn any(random: &mut Random) -> Step {
        let several = random.pick(&[1, 2, 3, 8]);
        match random.below(64) {
            0..8 => Step::Send(random.pick(&[0, 1, 3, 9])),
            8..12 => Step::SendSeveral(several),
            12 if random.below(4) == 0 => Step::Die,
            12..16 => Step::Recv,
            16..19 => Step::RecvFrom,
            19..21 => Step::RecvVec,
            21 => Step::RecvVecFrom,
            22..28 => Step::RecvMany(several),
            28..30 => Step::Peek,
            30 => Step::PeekSender,
            31 => Step::Readable,
            32..34 => Step::AsyncIo,
            34 => Step::Writable,
            35 => Step::SendOurs,
            36 => Step::SendMany,
            37..40 => Step::TryRecv,
            40..42 => Step::TryRecvBatch(several),
            42 => Step::TryRecvMany,
            43 => Step::TryPeek,
            44..46 => Step::TryIo,
            46..48 => Step::TrySend,
            48..51 => Step::PollAny,
            51..53 => Step::CancelAny,
            53..60 => Step::Turn,
            _ => Step::Rest,
        }
    }
}

/// The other end, a socket of std's, and all bytes that it has sent.
struct Peer {
    socket: Option<StdSocket>,
    sent: Vec<u8>,
}

impl Peer {
    fn send(&mut self, n: usize) {
        let Some(socket) = &self.socket else {
            return;
        };
        let bytes: Vec<u8> = (self.sent.len()..self.sent.len() + n)
            .map(|i| (i % 251) as u8)
            .collect();
        assert_eq!(socket.send(&bytes).unwrap(), n);
        arrived();
        self.sent.extend_from_slice(&bytes);
    }
}

/// A `WouldBlock` is none.
fn holds(ours: &UdpSocket) -> impl Fn(What) -> bool {
    let fd = ours.as_raw_fd();
    // By poll(2): a peek would take what was reported.
    move |what| match what {
        What::Room => kernel::poll(fd, libc::POLLOUT) != 0,
        _ => kernel::poll(fd, libc::POLLIN) != 0,
    }
}

fn all_in(batch: &Batch) -> Outcome {
    Outcome::Read(
        batch
            .iter()
            .flat_map(|datagram| datagram.bytes().to_vec())
            .collect(),
    )
}

fn lent(ours: &UdpSocket) -> StdSocket {
    ours.as_fd().try_clone_to_owned().unwrap().into()
}

fn waits<'a>(play: &mut Play<'a>, ours: &'a UdpSocket, step: Step) {
    match step {
        Step::Recv => play.begin(What::Bytes, async move {
            let mut buf = vec![0; ROOM];
            Outcome::of_read(ours.recv(&mut buf).await, buf)
        }),
        Step::RecvFrom => play.begin(What::Bytes, async move {
            let mut buf = vec![0; ROOM];
            Outcome::of_read(ours.recv_from(&mut buf).await.map(|(n, _)| n), buf)
        }),
        Step::RecvVec => play.begin(What::Bytes, async move {
            let mut buf = Vec::with_capacity(ROOM);
            Outcome::of_read(ours.recv_vec(&mut buf).await, buf)
        }),
        Step::RecvVecFrom => play.begin(What::Bytes, async move {
            let mut buf = Vec::with_capacity(ROOM);
            Outcome::of_read(ours.recv_vec_from(&mut buf).await.map(|(n, _)| n), buf)
        }),
        Step::RecvMany(count) => play.begin(What::Bytes, async move {
            let mut batch = Batch::new(count, ROOM);
            match ours.recv_many(&mut batch).await {
                Ok(_) => all_in(&batch),
                Err(error) => Outcome::Failed(error),
            }
        }),
        Step::Peek => play.begin(What::Bytes, async move {
            Outcome::of_look(ours.peek(&mut [0; 2]).await)
        }),
        Step::PeekSender => play.begin(What::Bytes, async move {
            Outcome::of_look(ours.peek_sender().await)
        }),
        Step::Readable => play.begin(What::Bytes, async move {
            Outcome::of_look(ours.readable().await)
        }),
        Step::AsyncIo => play.begin(What::Bytes, async move {
            let mut buf = vec![0; ROOM];
            let recv = || lent(ours).recv(&mut buf);
            let n = ours.async_io(Interest::READABLE, recv).await;
            Outcome::of_read(n, buf)
        }),
        Step::Writable => play.begin(What::Room, async move {
            Outcome::of_look(ours.writable().await)
        }),
        Step::SendOurs => play.begin(What::Room, async move {
            Outcome::of_look(ours.send(b"hello").await)
        }),
        Step::SendMany => play.begin(What::Room, async move {
            let two = [Outgoing::to_peer(b"hello"); 2];
            Outcome::of_look(ours.send_many(&two).await)
        }),
        _ => unreachable!("not a step that waits"),
    }
}

fn step<'a>(play: &mut Play<'a>, ours: &'a UdpSocket, peer: &mut Peer, random: &mut Random) {
    let step = Step::any(random);
    play.tell(&step);
    match step {
        Step::Send(n) => peer.send(n),
        Step::SendSeveral(count) => (0..count).for_each(|n| peer.send(n % 4)),
        Step::Die => peer.socket = None,
        Step::TryRecv => play.attempt(|| {
            let mut buf = vec![0; ROOM];
            Outcome::of_read(ours.try_recv(&mut buf), buf)
        }),
        Step::TryRecvBatch(count) => play.attempt(|| {
            let mut batch = Batch::new(count, ROOM);
            match ours.try_recv_batch(&mut batch) {
                Ok(_) => all_in(&batch),
                Err(error) => Outcome::Failed(error),
            }
        }),
        Step::TryRecvMany => play.attempt(|| {
            let mut buf = vec![0; ROOM];
            let mut metas = [RecvMeta::default()];
            let n = ours.try_recv_many(&mut [IoSliceMut::new(&mut buf)], &mut metas);
            Outcome::of_read(n.map(|_| metas[0].len()), buf)
        }),
        Step::TryPeek => play.attempt(|| Outcome::of_look(ours.try_peek(&mut [0; 2]))),
        Step::TryIo => play.attempt(|| {
            let mut buf = vec![0; ROOM];
            let n = ours.try_io(Interest::READABLE, || lent(ours).recv(&mut buf));
            Outcome::of_read(n, buf)
        }),
        Step::TrySend => {
            play.attempt(|| Outcome::of_look(ours.try_send(b"hello")));
            arrived();
        }
        Step::PollAny => play.poll_any(random),
        Step::CancelAny => play.cancel_any(random),
        Step::Turn => play.turn(),
        Step::Rest => play.rest(holds(ours)),
        waiting => waits(play, ours, waiting),
    }
}

fn sockets(runtime: &Runtime) -> (UdpSocket, Peer) {
    let peer = StdSocket::bind("127.0.0.1:0").unwrap();
    let ours = runtime.block_on(UdpSocket::bind("127.0.0.1:0")).unwrap();
    peer.connect(ours.local_addr().unwrap()).unwrap();
    runtime
        .block_on(ours.connect(peer.local_addr().unwrap()))
        .unwrap();
    let (socket, sent) = (Some(peer), Vec::new());
    (ours, Peer { socket, sent })
}

/// R10. Faults C8, C9. Catches: a receive that is shorter than its room, or a batch that is not full, taken for the last; one
/// datagram an event; a peek or an error that uses readiness up; a report of which one that waits is not told.
#[test]
fn no_schedule_of_datagrams_strands_a_receiver() {
    schedules(|random| {
        let runtime = runtime(random);
        let (ours, mut peer) = sockets(&runtime);
        let mut play = Play::new(&runtime);
        if random.below(2) == 0 {
            waits(&mut play, &ours, Step::RecvMany(3)); // Registered before the first datagram.
        }
        for _ in 0..10 + random.below(30) {
            step(&mut play, &ours, &mut peer, random);
        }
        play.rest(holds(&ours));

        // And nothing was lost or mixed up on the way.
        play.cancel_all();
        while kernel::poll(ours.as_raw_fd(), libc::POLLIN) != 0 {
            waits(&mut play, &ours, Step::Recv);
            play.rest(holds(&ours));
        }
        assert!(play.read == peer.sent, "not what was sent");
    });
}

/// R10. Fault C9: one event announces them all. Catches: a socket that waits after the first of three.
#[test]
fn three_datagrams_of_one_event_are_three_receives() {
    let _limit = limit(60);
    for first in [
        Step::Recv,
        Step::RecvVecFrom,
        Step::RecvMany(1),
        Step::AsyncIo,
    ] {
        let runtime = Runtime::new().unwrap();
        let (ours, mut peer) = sockets(&runtime);
        let mut play = Play::new(&runtime);
        waits(&mut play, &ours, first);
        play.turn();
        (0..3).for_each(|_| peer.send(3));
        play.rest(holds(&ours));
        for _ in 0..2 {
            waits(&mut play, &ours, first);
        }
        play.rest(holds(&ours));
        assert_eq!(play.read, peer.sent, "{first:?}");
    }
}
