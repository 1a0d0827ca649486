//! One datagram a call.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket as StdSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use reveille::io::Interest;
use reveille::net::UdpSocket;
use reveille::net::udp::Batch;
use reveille::time::timeout;
use reveille::{Runtime, block_on};

use super::arrived::arrived;
use super::step::{Wakes, inside, poll};
use super::{lengths, now, pair, polls_readable, set, socket, waiting};
use crate::limit::limit;

/// What one receives: its bytes, and its sender if that is told.
type Came = io::Result<(Vec<u8>, Option<SocketAddr>)>;

fn came<T>(outcome: io::Result<T>, told: impl FnOnce(T) -> (Vec<u8>, Option<SocketAddr>)) -> Came {
    outcome.map(told)
}

type Receive = fn(&UdpSocket, usize) -> Poll<Came>;

/// Each way to receive one datagram, or to look at it, into room for `room` bytes; and whether it stays.
const RECEIVES: [(&str, bool, Receive); 23] = [
    ("recv", false, |s, room| {
        let mut buf = vec![0; room];
        now(s.recv(&mut buf)).map(|n| came(n, |n| (buf[..n].to_vec(), None)))
    }),
    ("try_recv", false, |s, room| {
        let mut buf = vec![0; room];
        told(s.try_recv(&mut buf)).map(|n| came(n, |n| (buf[..n].to_vec(), None)))
    }),
    ("poll_recv", false, |s, room| {
        let mut buf = vec![0; room];
        s.poll_recv(&mut cx(), &mut buf)
            .map(|n| came(n, |n| (buf[..n].to_vec(), None)))
    }),
    ("recv_from", false, |s, room| {
        let mut buf = vec![0; room];
        now(s.recv_from(&mut buf)).map(|n| came(n, |(n, from)| (buf[..n].to_vec(), Some(from))))
    }),
    ("try_recv_from", false, |s, room| {
        let mut buf = vec![0; room];
        told(s.try_recv_from(&mut buf))
            .map(|n| came(n, |(n, from)| (buf[..n].to_vec(), Some(from))))
    }),
    ("poll_recv_from", false, |s, room| {
        let mut buf = vec![0; room];
        s.poll_recv_from(&mut cx(), &mut buf)
            .map(|n| came(n, |(n, from)| (buf[..n].to_vec(), Some(from))))
    }),
    ("recv_vec", false, |s, room| {
        let mut buf = vec_with(room);
        now(s.recv_vec(&mut buf)).map(|n| came(n, |n| (tail(&buf, n), None)))
    }),
    ("try_recv_vec", false, |s, room| {
        let mut buf = vec_with(room);
        told(s.try_recv_vec(&mut buf)).map(|n| came(n, |n| (tail(&buf, n), None)))
    }),
    ("poll_recv_vec", false, |s, room| {
        let mut buf = vec_with(room);
        s.poll_recv_vec(&mut cx(), &mut buf)
            .map(|n| came(n, |n| (tail(&buf, n), None)))
    }),
    ("recv_vec_from", false, |s, room| {
        let mut buf = vec_with(room);
        now(s.recv_vec_from(&mut buf)).map(|n| came(n, |(n, from)| (tail(&buf, n), Some(from))))
    }),
    ("try_recv_vec_from", false, |s, room| {
        let mut buf = vec_with(room);
        told(s.try_recv_vec_from(&mut buf))
            .map(|n| came(n, |(n, from)| (tail(&buf, n), Some(from))))
    }),
    ("poll_recv_vec_from", false, |s, room| {
        let mut buf = vec_with(room);
        s.poll_recv_vec_from(&mut cx(), &mut buf)
            .map(|n| came(n, |(n, from)| (tail(&buf, n), Some(from))))
    }),
    ("peek", true, |s, room| {
        let mut buf = vec![0; room];
        now(s.peek(&mut buf)).map(|n| came(n, |n| (buf[..n].to_vec(), None)))
    }),
    ("try_peek", true, |s, room| {
        let mut buf = vec![0; room];
        told(s.try_peek(&mut buf)).map(|n| came(n, |n| (buf[..n].to_vec(), None)))
    }),
    ("poll_peek", true, |s, room| {
        let mut buf = vec![0; room];
        s.poll_peek(&mut cx(), &mut buf)
            .map(|n| came(n, |n| (buf[..n].to_vec(), None)))
    }),
    ("peek_from", true, |s, room| {
        let mut buf = vec![0; room];
        now(s.peek_from(&mut buf)).map(|n| came(n, |(n, from)| (buf[..n].to_vec(), Some(from))))
    }),
    ("try_peek_from", true, |s, room| {
        let mut buf = vec![0; room];
        told(s.try_peek_from(&mut buf))
            .map(|n| came(n, |(n, from)| (buf[..n].to_vec(), Some(from))))
    }),
    ("poll_peek_from", true, |s, room| {
        let mut buf = vec![0; room];
        s.poll_peek_from(&mut cx(), &mut buf)
            .map(|n| came(n, |(n, from)| (buf[..n].to_vec(), Some(from))))
    }),
    ("peek_sender", true, |s, _| {
        now(s.peek_sender()).map(|from| came(from, |from| (Vec::new(), Some(from))))
    }),
    ("try_peek_sender", true, |s, _| {
        told(s.try_peek_sender()).map(|from| came(from, |from| (Vec::new(), Some(from))))
    }),
    ("poll_peek_sender", true, |s, _| {
        s.poll_peek_sender(&mut cx())
            .map(|from| came(from, |from| (Vec::new(), Some(from))))
    }),
    ("async_io", false, |s, room| {
        let mut buf = vec![0; room];
        now(s.async_io(Interest::READABLE, || lent(s).recv(&mut buf)))
            .map(|n| came(n, |n| (buf[..n].to_vec(), None)))
    }),
    ("poll_io", false, |s, room| {
        let mut buf = vec![0; room];
        s.poll_io(&mut cx(), Interest::READABLE, || lent(s).recv(&mut buf))
            .map(|n| came(n, |n| (buf[..n].to_vec(), None)))
    }),
];

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// As a poll would tell it.
fn told<T>(outcome: io::Result<T>) -> Poll<io::Result<T>> {
    match outcome {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        outcome => Poll::Ready(outcome),
    }
}

/// With something in it, and `room` bytes to spare.
fn vec_with(room: usize) -> Vec<u8> {
    let mut buf = Vec::with_capacity(2 + room);
    buf.extend(*b"ab");
    assert_eq!(buf.capacity(), 2 + room);
    buf
}

fn tail(buf: &[u8], n: usize) -> Vec<u8> {
    assert_eq!((&buf[..2], buf.len()), (&b"ab"[..], 2 + n));
    buf[2..].to_vec()
}

fn lent(socket: &UdpSocket) -> StdSocket {
    socket.as_fd().try_clone_to_owned().unwrap().into()
}

/// Faults C7, C9. Catches: an empty datagram taken for an end, or for nothing; a short one taken for the last, so that the
/// next waits for an event that has come already; a form that asks the kernel for less; a wrong sender.
#[test]
fn every_receive_gets_each_datagram_of_one_event_whole() {
    let _limit = limit(60);
    for (name, stays, receive) in RECEIVES {
        for registered in [false, true] {
            let runtime = Runtime::new().unwrap();
            let (theirs, ours, at) = runtime.block_on(pair());
            let receive = |room| inside(&runtime, || receive(&ours, room));
            if registered {
                assert!(receive(9).is_pending(), "{name}");
            }
            for bytes in [&b"three"[..], b"", b"datagrams"] {
                assert_eq!(theirs.try_send(bytes).unwrap(), bytes.len());
            }
            arrived();
            runtime.turn().unwrap();
            for expected in [&b"three"[..], b"", b"datagrams"] {
                let Poll::Ready(Ok((bytes, from))) = receive(9) else {
                    panic!("{name} does not find {expected:?}");
                };
                let shown = if name.ends_with("sender") {
                    b""
                } else {
                    expected
                };
                assert_eq!(bytes, shown, "{name}");
                assert!(from.is_none_or(|from| from == at[0]), "{name}: {from:?}");
                if stays {
                    assert_eq!(
                        inside(&runtime, || ours.try_recv(&mut [0; 9])).unwrap(),
                        expected.len()
                    );
                }
            }
            assert!(receive(9).is_pending(), "{name}");
        }
    }
}

/// Fault C7. Catches: a receive into no room that returns at once, as if an empty datagram had come, or leaves the
/// datagram where it is; one that is cut by less than the room.
#[test]
fn a_datagram_is_cut_at_the_room_for_it() {
    let _limit = limit(60);
    for (name, stays, receive) in RECEIVES {
        let is_vec = name.contains("vec");
        for room in [0, 1, 4] {
            let runtime = Runtime::new().unwrap();
            let (theirs, ours, _) = runtime.block_on(pair());
            let receive = || inside(&runtime, || receive(&ours, room));
            assert!(receive().is_pending(), "{name} waits for a datagram");
            runtime.block_on(theirs.send(b"hello")).unwrap();
            arrived();
            runtime.turn().unwrap();
            let Poll::Ready(Ok((bytes, _))) = receive() else {
                panic!("{name} into {room}");
            };
            // A vec without room gets some.
            let expected = if is_vec && room == 0 { 5 } else { room };
            if !name.ends_with("sender") {
                assert_eq!(bytes, b"hello"[..expected], "{name} into {room}");
            }
            assert_eq!(lengths(&ours).len(), usize::from(stays), "{name}");
        }
    }
}

/// Fault C18. O_NONBLOCK belongs to what is shared. Catches: a receive that blocks the thread, because a sharer made the socket
/// block.
#[test]
fn a_sharer_that_makes_the_socket_block_blocks_nothing() {
    let _limit = limit(30);
    let blocking = async || {
        let (theirs, ours, _) = pair().await;
        lent(&ours).set_nonblocking(false).unwrap();
        (theirs, ours)
    };
    block_on(async {
        // Those that end so are of the caller's own.
        for (name, _, receive) in RECEIVES.iter().filter(|row| !row.0.ends_with("_io")) {
            // One that found nothing has each later one wait for an event, untried.
            let (_theirs, ours) = blocking().await;
            assert!(receive(&ours, 9).is_pending(), "{name}");
        }
        let batch = &mut Batch::new(4, 9);
        let (theirs, ours) = blocking().await;
        assert!(now(ours.recv_many(batch)).is_pending());
        theirs.send(b"hello").await.unwrap();
        assert_eq!(
            ours.recv_many(batch).await.unwrap(),
            1,
            "and it waits for no more"
        );
    });
}

/// Catches: a `Vec` that is given too little room for a datagram; one whose room is enlarged though it has some.
#[test]
fn a_vec_without_room_gets_enough_for_any_datagram() {
    let _limit = limit(30);
    block_on(async {
        let (theirs, ours, _) = pair().await;
        let longest = vec![7; 65_507];
        let mut buf = Vec::new();
        for _ in 0..2 {
            theirs.send(&longest).await.unwrap();
            assert_eq!(ours.recv_vec(&mut buf).await.unwrap(), longest.len());
            buf.shrink_to_fit();
        }
        theirs.send(&longest).await.unwrap();
        let (n, _) = ours.recv_vec_from(&mut buf).await.unwrap();
        assert_eq!((n, buf.len()), (longest.len(), 3 * longest.len()));
    });
}

/// Catches: a form of send that sends something else, or elsewhere; an empty datagram that is not sent.
#[test]
fn every_send_sends_one_datagram_whole() {
    let _limit = limit(30);
    block_on(async {
        let (ours, theirs, [_, there]) = pair().await;
        for bytes in [&b"hello"[..], b""] {
            let sent = [
                ours.send(bytes).await,
                ours.try_send(bytes),
                polled(ours.poll_send(&mut cx(), bytes)),
                ours.send_to(bytes, there).await,
                ours.send_to(bytes, ("localhost", there.port())).await,
                ours.send_to(bytes, &[there, SocketAddr::from(([127, 0, 0, 1], 1))][..])
                    .await,
                ours.try_send_to(bytes, there),
                polled(ours.poll_send_to(&mut cx(), bytes, there)),
                ours.async_io(Interest::WRITABLE, || lent(&ours).send(bytes))
                    .await,
                ours.try_io(Interest::WRITABLE, || lent(&ours).send(bytes)),
            ];
            for (nth, sent) in sent.iter().enumerate() {
                // `localhost` may be an address of IPv6 first, for which the socket is none.
                assert!(
                    nth == 4 || *sent.as_ref().unwrap() == bytes.len(),
                    "{nth}: {sent:?}"
                );
            }
            let arrived = waiting(&theirs);
            assert!(arrived.len() >= sent.len() - 1);
            assert!(arrived.iter().all(|arrived| arrived == bytes));
        }
    });
}

fn polled<T>(poll: Poll<T>) -> T {
    match poll {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => panic!("it waits"),
    }
}

/// Catches: a datagram that is sent in part; an error without its number.
#[test]
fn what_cannot_be_sent_is_an_error() {
    let _limit = limit(30);
    block_on(async {
        let (ours, theirs, [_, there]) = pair().await;
        let too_long = ours.send(&[0; 65_508]).await.unwrap_err();
        assert_eq!(too_long.raw_os_error(), Some(libc::EMSGSIZE));
        let nowhere = theirs.send(b"?").await.unwrap_err();
        assert_eq!(nowhere.raw_os_error(), Some(libc::EDESTADDRREQ));
        let no_port = theirs.send_to(b"?", "127.0.0.1:0").await.unwrap_err();
        assert_eq!(no_port.kind(), ErrorKind::InvalidInput);
        let all = theirs.send_to(b"?", "255.255.255.255:9").await.unwrap_err();
        assert_eq!(all.kind(), ErrorKind::PermissionDenied);
        let family = theirs.send_to(b"?", "[::1]:9").await.unwrap_err();
        assert_eq!(family.raw_os_error(), Some(libc::EAFNOSUPPORT));
        assert_eq!(there, theirs.local_addr().unwrap());
        assert!(waiting(&theirs).is_empty());
    });
}

/// Catches: a socket that is not made as documented: inherited by programs, blocking, or at another address; a connect that
/// does not filter; `peer_addr` of nobody.
#[test]
fn a_socket_is_made_connected_and_given_back() {
    let _limit = limit(30);
    block_on(async {
        let (ours, theirs, at) = pair().await;
        for socket in [&ours, &theirs] {
            // SAFETY: F_GETFD and F_GETFL take no argument and touch no memory.
            let flags = [libc::F_GETFD, libc::F_GETFL]
                .map(|which| unsafe { libc::fcntl(socket.as_raw_fd(), which) });
            assert_eq!(flags[0] & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
            assert_eq!(flags[1] & libc::O_NONBLOCK, libc::O_NONBLOCK);
        }
        assert_eq!(ours.peer_addr().unwrap(), at[1]);
        let unconnected = theirs.peer_addr().unwrap_err();
        assert_eq!(unconnected.raw_os_error(), Some(libc::ENOTCONN));
        // A stranger's datagram does not come through.
        socket().await.send_to(b"?", at[0]).await.unwrap();
        theirs.send_to(b"!", at[0]).await.unwrap();
        assert_eq!(waiting(&ours), [b"!"]);
        // To connect again is to change the peer.
        let third = socket().await;
        ours.connect(third.local_addr().unwrap()).await.unwrap();
        ours.send(b"3").await.unwrap();
        assert_eq!(waiting(&third), [b"3"]);

        let std = ours.into_std().unwrap();
        assert_eq!(std.local_addr().unwrap(), at[0]);
        std.set_nonblocking(false).unwrap();
        let ours = UdpSocket::try_from(std).unwrap();
        assert!(now(ours.recv(&mut [0; 9])).is_pending());
        assert!(format!("{ours:?}").contains("127.0.0.1"), "{ours:?}");
        let taken = UdpSocket::bind(at[0]).await.unwrap_err();
        assert_eq!(taken.raw_os_error(), Some(libc::EADDRINUSE));
        let second = [at[0], SocketAddr::from(([127, 0, 0, 1], 0))];
        UdpSocket::bind(&second[..]).await.unwrap();
    });
}

/// R10. Catches: an EAGAIN of a peek behind SO_PEEK_OFF that counts as one of the socket, so that a receive waits for a
/// datagram that is there.
#[test]
fn a_peek_offset_strands_no_receive() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (theirs, ours, _) = runtime.block_on(pair());
    let (_wakes, waker) = Wakes::new();
    set(ours.as_fd(), libc::SOL_SOCKET, libc::SO_PEEK_OFF, 100);
    let mut buf = [0; 9];
    let mut recv = Box::pin(ours.recv(&mut buf));
    assert!(inside(&runtime, || poll(&mut recv, &waker)).is_pending());
    drop(recv);
    inside(&runtime, || theirs.try_send(b"hello")).unwrap();
    arrived();
    runtime.turn().unwrap();
    let peeked = inside(&runtime, || ours.try_peek(&mut [0; 9])).unwrap_err();
    assert_eq!(peeked.kind(), ErrorKind::Unsupported);
    let mut recv = Box::pin(ours.recv(&mut buf));
    assert!(inside(&runtime, || poll(&mut recv, &waker)).is_ready());
}

/// Fault C42. poll(2) says for ever that something is there, and recv(2) that nothing is. Catches: a peek that believes
/// poll(2), and tries again without end, on the runtime's thread; a receive that does, turn for turn.
#[test]
fn after_a_shutdown_of_reading_a_peek_waits_as_a_receive_does() {
    let _limit = limit(10);
    block_on(async {
        let (theirs, ours, at) = pair().await;
        ours.connect(at[0]).await.unwrap();
        // SAFETY: shutdown(2) takes integers only.
        let shut = unsafe { libc::shutdown(ours.as_raw_fd(), libc::SHUT_RD) };
        assert_eq!(shut, 0);
        assert!(polls_readable(ours.as_fd()));
        let (mut peeks, mut receives) = (0, 0);
        let waits = poll_fn(|cx| {
            peeks += 1;
            ours.poll_peek(cx, &mut [0; 9]).map(drop)
        });
        assert!(timeout(Duration::from_millis(30), waits).await.is_err());
        let waits = poll_fn(|cx| {
            receives += 1;
            ours.poll_recv(cx, &mut [0; 9]).map(drop)
        });
        assert!(timeout(Duration::from_millis(30), waits).await.is_err());
        assert!(peeks < 5 && receives < 5, "{peeks} {receives}");
        // Nothing is lost that comes all the same.
        theirs.send(b"hello").await.unwrap();
        assert_eq!(ours.peek(&mut [0; 9]).await.unwrap(), 5);
        assert_eq!(ours.recv(&mut [0; 9]).await.unwrap(), 5);
    });
}

/// Catches: bytes in the `Vec` of a call that is an error.
#[test]
fn a_sender_that_is_no_internet_socket_leaves_the_vec_as_it_was() {
    let _limit = limit(30);
    block_on(async {
        let (ours, theirs) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let ours = UdpSocket::from_std(OwnedFd::from(ours).into()).unwrap();
        theirs.send(b"hello").unwrap();
        let mut buf = b"before".to_vec();
        let error = ours.recv_vec_from(&mut buf).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        assert_eq!(buf, b"before");
        // Of many there is no error: who received them is told, and their sender is not known.
        theirs.send(b"many").unwrap();
        let mut batch = Batch::new(2, 9);
        assert_eq!(ours.recv_many(&mut batch).await.unwrap(), 1);
        let datagram = batch.iter().next().unwrap();
        assert_eq!(datagram.bytes(), b"many");
        assert!(datagram.from().ip().is_unspecified());
    });
}
