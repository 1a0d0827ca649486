//! `net::udp` where the kernel says what a test cannot make it say: faults injected into single calls.

use std::io;
use std::net::{Ipv4Addr, UdpSocket as StdSocket};
use std::task::{Context, Poll, Waker};

use super::limit::limit;
use crate::net::UdpSocket;
use crate::net::sys::faults;
use crate::net::udp::{Batch, Outgoing, Sent};

/// Ours, and a socket of std's that holds what is sent to it.
async fn pair() -> (UdpSocket, StdSocket) {
    let ours = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let theirs = StdSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    theirs.set_nonblocking(true).unwrap();
    ours.connect(theirs.local_addr().unwrap()).await.unwrap();
    (ours, theirs)
}

fn waiting(socket: &StdSocket) -> Vec<Vec<u8>> {
    let mut buf = vec![0; 65_535];
    std::iter::from_fn(|| socket.recv(&mut buf).ok().map(|n| buf[..n].to_vec())).collect()
}

/// What GSO may be refused with: by the kernel, a device, or for the size of these datagrams.
const REFUSALS: [i32; 3] = [libc::EIO, libc::EINVAL, libc::EMSGSIZE];

/// Which call the messages go by: one by sendmsg(2), several by sendmmsg(2).
const CALLS: [(&str, usize); 2] = [("sendmsg", 0), ("sendmmsg", 1)];

/// Catches: a refusal of GSO that is returned; bytes that are lost by it or sent twice; GSO that stays on where it is
/// refused, or goes off for all sizes because of one.
#[test]
fn what_gso_was_refused_goes_as_single_datagrams() {
    let _limit = limit(60);
    crate::block_on(async {
        for errno in REFUSALS {
            for (call, more) in CALLS {
                let (ours, theirs) = pair().await;
                let segmented = Outgoing::to_peer(b"onetwoend").with_segment(3);
                let all = [segmented, Outgoing::to_peer(b"more")];
                faults::inject(call, errno);
                let sent = ours.send_many(&all[..1 + more]).await.unwrap();
                assert_eq!((sent.whole(), sent.bytes_of_next()), (1, 0), "{errno}");
                assert_eq!(waiting(&theirs), [b"one", b"two", b"end"], "{errno}");
                let still = if errno == libc::EMSGSIZE { 64 } else { 1 };
                assert_eq!(ours.max_segments(), still, "{errno}");
            }
        }
    });
}

/// A device that refuses whatever it is to cut, or whatever is longer than it takes. Catches: a segment that is lost or sent
/// twice; a refusal that is asked for again and again, though it is of the device; one that ends asking, though it is of
/// these sizes.
#[test]
fn where_gso_is_refused_each_time_every_segment_arrives_once_and_in_order() {
    let _limit = limit(60);
    crate::block_on(async {
        for errno in REFUSALS {
            let (ours, theirs) = pair().await;
            let (mut refused, mut arrived) = (0, Vec::new());
            let bytes: Vec<u8> = (0..100).collect();
            for nth in 0..20 {
                // Up to 60 datagrams: more than one call takes.
                let (bytes, segment) = (&bytes[..3 * (nth + 1)], 1 + nth % 4);
                let (mut at, whole) = (0, Outgoing::to_peer(bytes).with_segment(segment));
                loop {
                    if ours.max_segments() > 1 && bytes.len() - at > segment {
                        faults::inject("sendmsg", errno);
                        refused += 1;
                    }
                    let sent = ours.send_many(&[whole.skip(at)]).await.unwrap();
                    arrived.extend(waiting(&theirs));
                    if sent.whole() == 1 {
                        break;
                    }
                    at += sent.bytes_of_next();
                }
                assert!(
                    arrived.drain(..).eq(bytes.chunks(segment)),
                    "{errno}: {nth}"
                );
            }
            let device = errno != libc::EMSGSIZE;
            assert_eq!(refused == 1, device, "{errno}: {refused}");
        }
    });
}

/// Catches: GSO switched off, or a refusal returned in place of the error, where the same bytes do not pass without it; the
/// part of a fallback that was sent forgotten, so that it is sent twice.
#[test]
fn a_fallback_that_fails_or_stops_switches_nothing_off() {
    let _limit = limit(60);
    crate::block_on(async {
        for errno in REFUSALS {
            let (ours, theirs) = pair().await;
            let segmented = Outgoing::to_peer(b"onetwoend").with_segment(3);
            // Not one passes.
            faults::inject("sendmsg", errno);
            faults::inject("sendmmsg", libc::ENOBUFS);
            let error = ours.send_many(&[segmented]).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS), "{errno}");
            assert_eq!(ours.max_segments(), 64, "{errno}");
            // One passes: the calls for many are refused, and the second datagram finds no room.
            for errno in [errno, 0, libc::EAGAIN] {
                faults::inject("sendmsg", errno);
            }
            // Of the call itself, and where it is asked whether the call is refused.
            faults::inject("sendmmsg", libc::ENOSYS);
            faults::inject("sendmmsg", libc::ENOSYS);
            let sent = ours.send_many(&[segmented]).await.unwrap();
            assert_eq!((sent.whole(), sent.bytes_of_next()), (0, 3), "{errno}");
            assert_eq!(ours.max_segments(), 64, "{errno}");
            let sent = ours.send_many(&[segmented.skip(3)]).await.unwrap();
            assert_eq!((sent.whole(), sent.bytes_of_next()), (1, 0), "{errno}");
            assert_eq!(waiting(&theirs), [b"one", b"two", b"end"], "{errno}");
        }
    });
}

/// Catches: a kernel that does not know GSO given bytes to cut, which it would send as one datagram.
#[test]
fn a_kernel_without_gso_is_not_asked_to_cut() {
    let _limit = limit(60);
    crate::block_on(async {
        let (ours, theirs) = pair().await;
        faults::inject("getsockopt", libc::ENOPROTOOPT);
        let segmented = Outgoing::to_peer(b"onetwoend").with_segment(3);
        assert_eq!(ours.send_many(&[segmented]).await.unwrap().whole(), 1);
        assert_eq!(waiting(&theirs), [b"one", b"two", b"end"]);
        assert_eq!(ours.max_segments(), 1);
    });
}

/// Each way to send, in the form that waits.
type Sends = fn(&UdpSocket, &mut Context<'_>) -> Poll<io::Result<()>>;

const SENDS: [(&str, Sends); 4] = [
    ("send", |socket, cx| {
        socket.poll_send(cx, b"hello").map_ok(drop)
    }),
    ("sendto", |socket, cx| {
        let to = socket.peer_addr().unwrap();
        socket.poll_send_to(cx, b"hello", to).map_ok(drop)
    }),
    ("sendmsg", |socket, cx| {
        let one = [Outgoing::to_peer(b"hello")];
        socket
            .poll_send_many(cx, &one)
            .map_ok(|sent| whole(sent, 1))
    }),
    ("sendmmsg", |socket, cx| {
        let two = [Outgoing::to_peer(b"hello"); 2];
        socket
            .poll_send_many(cx, &two)
            .map_ok(|sent| whole(sent, 2))
    }),
];

fn whole(sent: Sent, expected: usize) {
    assert_eq!(sent.whole(), expected);
}

/// R10. Over loopback there is always room. Catches: a send that returns `WouldBlock`, or waits for a report that was not
/// asked for; EINTR that is returned.
#[test]
fn a_send_without_room_waits_for_it() {
    let _limit = limit(60);
    for (call, send) in SENDS {
        let runtime = crate::Runtime::new().unwrap();
        let (ours, theirs) = runtime.block_on(pair());
        for errno in [libc::EINTR, libc::EAGAIN] {
            faults::inject(call, errno);
        }
        let poll =
            || runtime.block_on(async { send(&ours, &mut Context::from_waker(Waker::noop())) });
        assert!(poll().is_pending(), "{call}");
        assert!(waiting(&theirs).is_empty(), "{call}");
        runtime.turn().unwrap();
        assert!(matches!(poll(), Poll::Ready(Ok(()))), "{call}");
        assert!(!waiting(&theirs).is_empty(), "{call}");
    }
}

/// Catches: an error of a receive that leaves in the batch what an earlier one received.
#[test]
fn a_batch_is_empty_after_an_error() {
    let _limit = limit(60);
    crate::block_on(async {
        let (ours, theirs) = pair().await;
        let there = ours.local_addr().unwrap();
        let mut batch = Batch::new(4, 9);
        theirs.send_to(b"one", there).unwrap();
        assert_eq!(ours.recv_many(&mut batch).await.unwrap(), 1);
        theirs.send_to(b"two", there).unwrap();
        faults::inject("recvmmsg", libc::ENOMEM);
        let error = ours.recv_many(&mut batch).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
        assert_eq!(batch.iter().len(), 0);
        assert_eq!(ours.recv_many(&mut batch).await.unwrap(), 1);
        assert_eq!(batch.iter().next().unwrap().bytes(), b"two");
    });
}

/// Fault C43: EACCES and its kin are what a sandbox refuses a call with, and what ICMP reports, too ("prohibited", say).
/// Catches: such a report taken for a refusal, and lost, because the calls in place of the refused one do not meet it.
#[test]
fn a_report_of_the_network_is_no_refusal_of_the_calls_for_many() {
    let _limit = limit(60);
    crate::block_on(async {
        for errno in [libc::EACCES, libc::EPERM, libc::EOPNOTSUPP, libc::EINVAL] {
            let kind = io::Error::from_raw_os_error(errno).kind();
            let (ours, theirs) = pair().await;
            theirs.send_to(b"one", ours.local_addr().unwrap()).unwrap();
            let mut batch = Batch::new(4, 9);
            faults::inject("recvmmsg", errno);
            let error = ours.try_recv_batch(&mut batch).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert_eq!(ours.try_recv_batch(&mut batch).unwrap(), 1);

            let two = [Outgoing::to_peer(b"two"); 2];
            faults::inject("sendmmsg", errno);
            let error = ours.try_send_many(&two).unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(waiting(&theirs).is_empty());
            assert_eq!(ours.try_send_many(&two).unwrap().whole(), 2);
        }
    });
}
