//! Many datagrams sent by one call. What GSO is refused by, and no test can make a kernel do, is in tests/unit/udp.rs.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use reveille::block_on;
use reveille::net::UdpSocket;
use reveille::net::udp::{Outgoing, Sent};
use reveille::time::sleep;

use super::{lengths, pair, set, waiting};
use crate::limit::limit;

/// Bytes of which no two datagrams are alike.
fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i / 7 + i % 7 * 31) as u8).collect()
}

/// Sends all, going on from where each call ended, and returns how many calls that took.
async fn send_all(socket: &UdpSocket, outgoing: &[Outgoing<'_>]) -> usize {
    let mut left = outgoing.to_vec();
    let mut calls = 0;
    while !left.is_empty() {
        let sent = socket.send_many(&left).await.unwrap();
        assert_ne!(sent, Sent::default(), "nothing was sent, and no error");
        left.drain(..sent.whole());
        match left.first_mut() {
            Some(next) => *next = next.skip(sent.bytes_of_next()),
            None => assert_eq!(sent.bytes_of_next(), 0),
        }
        calls += 1;
    }
    calls
}

/// Catches: one that is sent twice, or not at all, where a call ends: at 32, or in the middle of a segmented one.
#[test]
fn each_datagram_is_sent_once_whatever_their_number() {
    let _limit = limit(60);
    block_on(async {
        let (ours, theirs, at) = pair().await;
        theirs.set_recv_buffer_size(1 << 22).unwrap();
        let text = bytes(2000);
        for count in [0, 1, 2, 31, 32, 33, 64, 70] {
            let all: Vec<_> = (0..count)
                .map(|i| match i % 3 {
                    0 => Outgoing::new(&text[..i], at[1]),
                    1 => Outgoing::to_peer(&text[i..3 * i]),
                    _ => Outgoing::new(&text[i..2 * i], at[1]).with_segment(10),
                })
                .collect();
            let calls = send_all(&ours, &all).await;
            assert_eq!(calls, count.div_ceil(32));
            let expected: Vec<_> = (0..count)
                .flat_map(|i| match i % 3 {
                    0 => vec![text[..i].to_vec()],
                    1 => vec![text[i..3 * i].to_vec()],
                    _ => text[i..2 * i].chunks(10).map(<[u8]>::to_vec).collect(),
                })
                .collect();
            assert_eq!(waiting(&theirs), expected, "{count}");
        }
        assert_eq!(ours.send_many(&[]).await.unwrap(), Sent::default());
    });
}

/// sendmmsg(2) loses the error of the k-th. Catches: that error lost for good, or told of the first; what stands before it
/// sent again, or not; what stands behind it sent.
#[test]
fn a_datagram_that_fails_in_the_middle_is_the_next_calls_error() {
    let _limit = limit(60);
    block_on(async {
        let (ours, theirs, at) = pair().await;
        let long = bytes(70_000);
        let no_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let bad = [
            (
                Outgoing::new(&long[..65_508], at[1]),
                Some(libc::EMSGSIZE),
                ErrorKind::Other,
            ),
            (Outgoing::new(b"?", no_port), None, ErrorKind::InvalidInput),
            (
                Outgoing::new(b"two", no_port).with_segment(1),
                None,
                ErrorKind::InvalidInput,
            ),
            (
                Outgoing::new(b"two", at[1]).with_segment(0),
                None,
                ErrorKind::InvalidInput,
            ),
            (
                Outgoing::new(&long[..650], at[1]).with_segment(10),
                None,
                ErrorKind::InvalidInput,
            ),
            (
                Outgoing::new(&long[..65_508], at[1]).with_segment(2000),
                None,
                ErrorKind::InvalidInput,
            ),
        ];
        for (bad, errno, kind) in bad {
            for place in 0..4 {
                let mut all = [b"a", b"b", b"c", b"d"].map(|text| Outgoing::new(text, at[1]));
                all[place] = bad;
                if place > 0 {
                    assert_eq!(ours.send_many(&all).await.unwrap().whole(), place);
                }
                let error = ours.send_many(&all[place..]).await.unwrap_err();
                assert_eq!(error.raw_os_error(), errno, "{error}");
                assert!(errno.is_some() || error.kind() == kind, "{error}");
                send_all(&ours, &all[place + 1..]).await;
                assert_eq!(lengths(&theirs), [1; 3]);
            }
        }
        // The kernel still cuts: nothing of this was about that.
        assert_eq!(ours.max_segments(), 64);
    });
}

/// Catches: a limit that is off by one; a check that concerns what is not segmented.
#[test]
fn what_is_segmented_has_64_segments_and_65_507_bytes_at_most() {
    let _limit = limit(60);
    block_on(async {
        let (ours, theirs, at) = pair().await;
        theirs.set_recv_buffer_size(1 << 22).unwrap();
        let bytes = bytes(65_507);
        for (len, segment, datagrams) in [
            (640, 10, 64),
            (65_507, 1024, 64),
            (65_507, 65_506, 2),
            (65_507, 65_507, 1),
            (10, 100, 1),
            (0, 100, 1),
            (10, usize::MAX, 1),
        ] {
            let one = Outgoing::new(&bytes[..len], at[1]).with_segment(segment);
            assert_eq!(send_all(&ours, &[one]).await, 1);
            assert_eq!(lengths(&theirs).len(), datagrams, "{len} by {segment}");
        }
    });
}

/// Without checksums no kernel segments: EINVAL, always. Catches: a refusal that is returned; bytes that are sent twice
/// or lost by it; GSO that stays on, and costs a refused call each time.
#[test]
fn where_the_kernel_does_not_segment_send_many_does() {
    let _limit = limit(60);
    block_on(async {
        let (ours, theirs, at) = pair().await;
        theirs.set_recv_buffer_size(1 << 22).unwrap();
        set(ours.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1);
        assert_eq!(ours.max_segments(), 64, "nothing has been refused yet");
        let bytes = bytes(64 * 100);
        let small = Outgoing::new(&bytes[..7], at[1]);
        // More than one call takes: it stops in the middle, where the next goes on.
        let most = Outgoing::new(&bytes, at[1]).with_segment(100);
        assert_eq!(send_all(&ours, &[small, most, small]).await, 4);
        let expected: Vec<_> = [&bytes[..7]]
            .into_iter()
            .chain(bytes.chunks(100))
            .chain([&bytes[..7]])
            .map(<[u8]>::to_vec)
            .collect();
        assert_eq!(waiting(&theirs), expected);
        assert_eq!(ours.max_segments(), 1, "the same bytes have passed");
        // And then it is not asked again.
        assert_eq!(send_all(&ours, &[small, most, small]).await, 3);
        assert_eq!(waiting(&theirs), expected);
    });
}

/// What is longer than the network carries is EMSGSIZE for GSO, though it passes in fragments. Catches: a refusal that is
/// returned; GSO off for the shorter ones, too.
#[test]
fn segments_beyond_the_mtu_go_in_fragments_and_shorter_ones_are_cut_by_the_kernel_still() {
    let _limit = limit(60);
    block_on(async {
        let ours = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
        let theirs = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
        set(ours.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU, 1280);
        let there = theirs.local_addr().unwrap();
        let bytes = bytes(5000);
        for segment in [2000, 1000] {
            send_all(&ours, &[Outgoing::new(&bytes, there).with_segment(segment)]).await;
            let expected: Vec<_> = bytes.chunks(segment).map(<[u8]>::to_vec).collect();
            assert_eq!(waiting(&theirs), expected);
            assert_eq!(ours.max_segments(), 64);
        }
    });
}

/// Catches: GSO switched off because of an address that is refused just the same without it.
#[test]
fn a_bad_address_switches_no_segmentation_off() {
    let _limit = limit(30);
    block_on(async {
        let (ours, theirs, at) = pair().await;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        for segmented in [Outgoing::new(b"abc", nowhere).with_segment(1); 3] {
            let error = ours.send_many(&[segmented]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(ours.max_segments(), 64);
        }
        let three = Outgoing::new(b"abc", at[1]).with_segment(1);
        assert_eq!(ours.send_many(&[three]).await.unwrap().whole(), 1);
        assert_eq!(lengths(&theirs), [1; 3]);
    });
}

/// Catches: the rest of one that begins elsewhere, or has lost what was asked of it.
#[test]
fn the_rest_of_an_outgoing_is_what_was_not_sent() {
    let _limit = limit(30);
    block_on(async {
        let (ours, theirs, at) = pair().await;
        let rest = Outgoing::new(b"abcde", at[1]).with_segment(2).skip(2);
        assert_eq!(ours.send_many(&[rest]).await.unwrap().whole(), 1);
        assert_eq!(waiting(&theirs), [&b"cd"[..], b"e"]);
        let beyond = catch_unwind(AssertUnwindSafe(|| rest.skip(4)));
        assert!(beyond.is_err());
    });
}

/// The kernel overlooks the source of another family. Catches: a datagram that comes from elsewhere than it was told to; a
/// mapped address that is not taken for the one of IPv4 that it is.
#[test]
fn a_source_is_of_the_family_of_the_address() {
    let _limit = limit(30);
    block_on(async {
        let v4 = UdpSocket::bind("0.0.0.0:0").await.unwrap();
        let both = UdpSocket::bind("[::]:0").await.unwrap();
        let theirs = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let theirs_v6 = UdpSocket::bind("[::1]:0").await.unwrap();
        let at = theirs.local_addr().unwrap();
        let at_v6 = theirs_v6.local_addr().unwrap();
        let mapped = match at.ip() {
            IpAddr::V4(ip) => SocketAddr::from((ip.to_ipv6_mapped(), at.port())),
            IpAddr::V6(_) => unreachable!(),
        };
        let source = |text: &str| text.parse::<IpAddr>().unwrap();
        for text in ["127.0.0.2", "::ffff:127.0.0.2"] {
            for (socket, to) in [(&v4, at), (&both, at), (&both, mapped)] {
                let one = Outgoing::new(b"x", to).with_source(source(text));
                assert_eq!(socket.send_many(&[one]).await.unwrap().whole(), 1);
                let (_, from) = theirs.recv_from(&mut [0; 9]).await.unwrap();
                assert_eq!(from.ip(), source("127.0.0.2"), "{text} to {to}");
            }
        }
        let good = Outgoing::new(b"x", at_v6).with_source(source("::1"));
        assert_eq!(both.send_many(&[good]).await.unwrap().whole(), 1);
        both.connect(at_v6).await.unwrap();
        v4.connect(at).await.unwrap();
        for (socket, outgoing, text) in [
            (&v4, Outgoing::new(b"x", at), "::1"),
            (&both, Outgoing::new(b"x", at_v6), "127.0.0.2"),
            (&both, Outgoing::new(b"x", at_v6), "::ffff:127.0.0.2"),
            (&both, Outgoing::new(b"x", mapped), "::1"),
            (&v4, Outgoing::to_peer(b"x"), "::1"),
            (&both, Outgoing::to_peer(b"x"), "127.0.0.2"),
        ] {
            let bad = outgoing.with_source(source(text));
            for all in [&[bad][..], &[bad; 2]] {
                let error = socket.send_many(all).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{text}");
                assert!(error.to_string().contains("family"), "{error}");
            }
            // And in the middle it ends the call before it.
            let sent = socket.send_many(&[outgoing, bad]).await.unwrap();
            assert_eq!(sent.whole(), 1);
        }
    });
}

/// Fault B50. Catches: calls that take the last of the budget without being refused, as four of 32 do: the budget stays spent
/// for whatever is polled behind them, in each poll.
#[test]
fn what_stands_behind_a_call_for_many_datagrams_is_heard() {
    let _limit = limit(60);
    block_on(async {
        let (ours, _theirs, at) = pair().await;
        let all = [b"x"; 32].map(|text| Outgoing::new(text, at[1]));
        let (mut polls, mut heard) = (0, 0);
        poll_fn(|cx| {
            for _ in 0..4 {
                // Nothing receives: what finds no room is dropped. (udp(7))
                if let Poll::Ready(sent) = pin!(ours.send_many(&all)).poll(cx) {
                    let _sent = sent.unwrap();
                }
            }
            heard += usize::from(pin!(sleep(Duration::ZERO)).poll(cx).is_ready());
            polls += 1;
            cx.waker().wake_by_ref();
            if polls < 200 {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        assert!(heard >= polls / 4, "{heard} of {polls}");
    });
}
