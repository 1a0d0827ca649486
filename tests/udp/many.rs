//! Many datagrams received by one call.

use std::cell::Cell;
use std::io::{ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use reveille::net::UdpSocket;
use reveille::net::udp::{Batch, Ecn, Outgoing, RecvMeta};
use reveille::task::yield_now;
use reveille::{Runtime, block_on, spawn};

use super::arrived::arrived;
use super::child::in_child;
use super::seccomp::refuse;
use super::step::inside;
use super::{lengths, now, pair, set, socket};
use crate::limit::limit;

/// The texts in a batch.
fn texts(batch: &Batch) -> Vec<&[u8]> {
    batch.iter().map(|datagram| datagram.bytes()).collect()
}

/// Fault C9, and R10. Catches: a call that takes fewer than there are and is taken for the last, at any number of
/// datagrams and of rooms; one that is received twice, or lost; a room that shows what another call left there.
#[test]
fn every_short_count_is_followed_by_the_rest() {
    let _limit = limit(60);
    let texts_of = |n: usize| (0..n).map(|i| vec![i as u8; i % 5]).collect::<Vec<_>>();
    for count in [1, 2, 3, 31, 32] {
        for datagrams in [1, 2, 3, 4, 31, 32, 33, 70] {
            let runtime = Runtime::new().unwrap();
            let (theirs, ours, _) = runtime.block_on(pair());
            let mut batch = Batch::new(count, 4);
            // It waits, is registered, and hears of all by one event.
            assert!(inside(&runtime, || now(ours.recv_many(&mut batch))).is_pending());
            for text in texts_of(datagrams) {
                theirs.try_send(&text).unwrap();
            }
            arrived();
            runtime.turn().unwrap();
            let mut received = Vec::new();
            while let Poll::Ready(n) = inside(&runtime, || now(ours.recv_many(&mut batch))) {
                let n = n.unwrap();
                assert_eq!(
                    (n, batch.iter().len()),
                    (count.min(datagrams - received.len()), n)
                );
                received.extend(texts(&batch).into_iter().map(<[u8]>::to_vec));
            }
            assert_eq!(received, texts_of(datagrams), "{count} rooms");
            assert_eq!(batch.iter().len(), 0, "it had to wait");
        }
    }
}

/// Catches: a truncation that is not told, or told of the wrong one; a sender of another datagram.
#[test]
fn a_batch_says_what_was_cut_and_who_sent_it() {
    let _limit = limit(30);
    block_on(async {
        let (ours, theirs) = (socket().await, socket().await);
        let (there, from) = (ours.local_addr().unwrap(), theirs.local_addr().unwrap());
        let other = socket().await;
        theirs.send_to(b"four", there).await.unwrap();
        other.send_to(b"fives", there).await.unwrap();
        theirs.send_to(b"", there).await.unwrap();
        let mut batch = Batch::new(8, 4);
        assert_eq!(ours.recv_many(&mut batch).await.unwrap(), 3);
        let told: Vec<_> = batch
            .iter()
            .map(|datagram| (datagram.from(), datagram.bytes(), datagram.is_truncated()))
            .collect();
        let other = other.local_addr().unwrap();
        assert_eq!(
            told,
            [
                (from, &b"four"[..], false),
                (other, b"five", true),
                (from, b"", false)
            ]
        );
        assert!(batch.iter().all(|datagram| datagram.segment().is_none()));
        let shown = format!("{batch:?}");
        assert!(shown.contains("truncated: true"), "{shown}");

        // No room at all cuts all.
        theirs.send_to(b"x", there).await.unwrap();
        let mut batch = Batch::new(2, 0);
        assert_eq!(ours.recv_many(&mut batch).await.unwrap(), 1);
        let cut = batch.iter().next().unwrap();
        assert_eq!((cut.bytes(), cut.is_truncated()), (&b""[..], true));
    });
}

/// Catches: a `Batch` beyond what a call takes; one without room for any.
#[test]
fn a_batch_has_from_1_to_32_rooms() {
    let _limit = limit(30);
    assert_eq!(Batch::MOST, 32);
    for count in [0, 33] {
        let made = catch_unwind(AssertUnwindSafe(|| Batch::new(count, 10)));
        let message = made.unwrap_err();
        let message = message.downcast_ref::<String>().unwrap();
        assert!(message.contains("1 to 32"), "{message}");
    }
}

/// As quinn calls it. Catches: a form that fills other buffers than those it was given, or tells more of them.
#[test]
fn the_callers_buffers_are_filled_in_order() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (theirs, ours, at) = runtime.block_on(pair());
    inside(&runtime, || {
        for text in [&b"a"[..], b"", b"ccc", b"dddd"] {
            theirs.try_send(text).unwrap();
        }
        let (mut first, mut second, mut third) = ([0; 3], [0; 2], [0; 2]);
        let mut bufs = [&mut first[..], &mut second, &mut third].map(IoSliceMut::new);
        let mut metas = [RecvMeta::default(); 2];
        // There are fewer metas than buffers.
        assert_eq!(ours.try_recv_many(&mut bufs, &mut metas).unwrap(), 2);
        assert_eq!((bufs[0][0], metas[0].len(), metas[1].len()), (b'a', 1, 0));
        assert_eq!(metas[0].from(), at[0]);
        // And fewer buffers than metas.
        let cx = &mut Context::from_waker(Waker::noop());
        let mut metas = [RecvMeta::default(); 9];
        let polled = ours.poll_recv_many(cx, &mut bufs[1..], &mut metas);
        assert!(matches!(polled, Poll::Ready(Ok(2))), "{polled:?}");
        assert_eq!((&*bufs[1], &*bufs[2]), (&b"cc"[..], &b"dd"[..]));
        assert!(metas[0].is_truncated() && metas[1].is_truncated());
        assert_eq!(metas[2], RecvMeta::default());
        assert!(ours.poll_recv_many(cx, &mut bufs, &mut metas).is_pending());
        // Nothing can be received into nothing: that is said, and no datagram is lost.
        theirs.try_send(b"e").unwrap();
    });
    arrived();
    runtime.turn().unwrap();
    inside(&runtime, || {
        let none = ours.try_recv_many(&mut [], &mut [RecvMeta::default()]);
        assert_eq!(none.unwrap_err().kind(), ErrorKind::InvalidInput);
        let mut buf = [0; 9];
        let none = ours.try_recv_many(&mut [IoSliceMut::new(&mut buf)], &mut []);
        assert_eq!(none.unwrap_err().kind(), ErrorKind::InvalidInput);
    });
    assert_eq!(lengths(&ours), [1]);
}

/// Catches: an ECN or an address that is told without being asked for, of the wrong family, or not at all; one that stays
/// from the datagram before.
#[test]
fn ecn_and_the_address_are_told_where_asked_for() {
    let _limit = limit(30);
    block_on(async {
        let mapped = IpAddr::from(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        let (v4, v6) = (
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        );
        for (at, from, to, told) in [
            ("127.0.0.1:0", "127.0.0.1:0", v4, v4),
            ("[::1]:0", "[::1]:0", v6, v6),
            ("[::]:0", "[::]:0", v6, v6),
            ("[::]:0", "[::]:0", mapped, mapped),
            ("[::]:0", "127.0.0.1:0", v4, mapped),
        ] {
            let (ours, theirs) = (
                UdpSocket::bind(at).await.unwrap(),
                UdpSocket::bind(from).await.unwrap(),
            );
            let there = (to, ours.local_addr().unwrap().port()).into();
            let all = [Ecn::Ect0, Ecn::Ect1, Ecn::Ce, Ecn::NotEct];
            let marked = all.map(|ecn| Outgoing::new(b"x", there).with_ecn(ecn));
            let mut batch = Batch::new(8, 9);
            for (ecn, pktinfo) in [(false, false), (true, false), (true, true), (false, true)] {
                ours.set_recv_ecn(ecn).unwrap();
                ours.set_recv_pktinfo(pktinfo).unwrap();
                assert_eq!(theirs.send_many(&marked).await.unwrap().whole(), 4);
                assert_eq!(ours.recv_many(&mut batch).await.unwrap(), 4);
                for (datagram, mark) in batch.iter().zip(all) {
                    assert_eq!(datagram.ecn(), ecn.then_some(mark), "{at} from {from}");
                    assert_eq!(datagram.to(), pktinfo.then_some(told), "{at} from {from}");
                }
            }
        }
    });
}

/// Catches: an answer that comes from another address than the question went to; a source that is not ours and is used all
/// the same.
#[test]
fn an_answer_comes_from_where_the_question_went() {
    let _limit = limit(30);
    block_on(async {
        for any in ["0.0.0.0:0", "[::]:0"] {
            let server = UdpSocket::bind(any).await.unwrap();
            server.set_recv_pktinfo(true).unwrap();
            let port = server.local_addr().unwrap().port();
            let client = socket().await;
            let there = (Ipv4Addr::new(127, 0, 0, 7), port).into();
            client.send_to(b"?", there).await.unwrap();
            let mut batch = Batch::new(1, 9);
            server.recv_many(&mut batch).await.unwrap();
            let question = batch.iter().next().unwrap();
            let answer = Outgoing::new(b"!", question.from());
            let answer = answer.with_source(question.to().unwrap());
            assert_eq!(server.send_many(&[answer]).await.unwrap().whole(), 1);
            let (_, from) = client.recv_from(&mut [0; 9]).await.unwrap();
            assert_eq!(from, there, "{any}");
            let foreign = answer.with_source(Ipv4Addr::new(192, 0, 2, 200).into());
            assert!(server.send_many(&[foreign]).await.is_err());
        }
        let server = UdpSocket::bind("[::]:0").await.unwrap();
        let client = UdpSocket::bind("[::1]:0").await.unwrap();
        let answer = Outgoing::new(b"!", client.local_addr().unwrap());
        let answer = answer.with_source(Ipv6Addr::LOCALHOST.into());
        assert_eq!(server.send_many(&[answer]).await.unwrap().whole(), 1);
    });
}

/// Catches: datagrams that are glued though nobody asked; glued ones that a plain receive takes for one; a room that cuts
/// some of them off; a segment that is not told, or of the wrong length.
#[test]
fn datagrams_are_glued_only_where_that_is_on_and_then_told() {
    let _limit = limit(60);
    block_on(async {
        let (theirs, ours, at) = pair().await;
        let bytes: Vec<u8> = (0..2500_u32).map(|i| (i % 251) as u8).collect();
        let three = [Outgoing::new(&bytes, at[1]).with_segment(1000)];
        assert!(!ours.gro());
        assert_eq!(theirs.send_many(&three).await.unwrap().whole(), 1);
        assert_eq!(lengths(&ours), [1000, 1000, 500]);

        ours.set_gro(true).unwrap();
        assert!(ours.gro());
        assert_eq!(theirs.send_many(&three).await.unwrap().whole(), 1);
        let long = &mut [0; 65_535];
        let refused = [
            now(ours.recv(&mut [0; 9])).map_ok(drop),
            now(ours.recv_from(&mut [0; 9])).map_ok(drop),
            now(ours.recv_vec(&mut Vec::new())).map_ok(drop),
            now(ours.peek(&mut [0; 9])).map_ok(drop),
            now(ours.recv_many(&mut Batch::new(4, 65_534))).map_ok(drop),
            Poll::Ready(ours.try_recv(&mut [0; 9]).map(drop)),
            Poll::Ready(ours.try_recv_vec_from(&mut Vec::new()).map(drop)),
            Poll::Ready(
                ours.try_recv_many(
                    &mut [IoSliceMut::new(long), IoSliceMut::new(&mut [0; 9])],
                    &mut [RecvMeta::default(); 2],
                )
                .map(drop),
            ),
        ];
        for (nth, refused) in refused.into_iter().enumerate() {
            let Poll::Ready(Err(error)) = refused else {
                panic!("{nth}: {refused:?}");
            };
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{nth}");
        }
        // Nothing of it was lost by the errors.
        let mut batch = Batch::new(4, 65_535);
        let mut received = Vec::new();
        while received.len() < bytes.len() {
            ours.recv_many(&mut batch).await.unwrap();
            for glued in batch.iter() {
                assert!(!glued.is_truncated());
                assert_eq!(glued.segment(), Some(1000));
                received.extend_from_slice(glued.bytes());
            }
        }
        assert_eq!(received, bytes);
        // One alone is not glued, whatever its length.
        for bytes in [&bytes[..], b""] {
            theirs.send(bytes).await.unwrap();
            assert_eq!(ours.recv_many(&mut batch).await.unwrap(), 1);
            let alone = batch.iter().next().unwrap();
            assert_eq!((alone.bytes(), alone.segment()), (bytes, None));
        }
        ours.set_gro(false).unwrap();
        theirs.send(b"plain").await.unwrap();
        assert_eq!(ours.recv(&mut [0; 9]).await.unwrap(), 5);

        // A socket comes with what it has.
        ours.set_gro(true).unwrap();
        let ours = UdpSocket::from_std(ours.into_std().unwrap()).unwrap();
        assert!(ours.gro());
        let outside = socket().await;
        set(outside.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1);
        let outside = UdpSocket::from_std(outside.into_std().unwrap()).unwrap();
        assert!(outside.try_recv(&mut [0; 9]).unwrap_err().kind() == ErrorKind::InvalidInput);
    });
}

/// A sandbox that does not know recvmmsg(2) or sendmmsg(2). Catches: a convenience whose lack is fatal; the first datagram
/// of a refused call lost or sent twice.
#[test]
fn where_the_calls_for_many_are_refused_they_go_one_by_one() {
    let name = "many::where_the_calls_for_many_are_refused_they_go_one_by_one";
    in_child(name, || {
        block_on(async {
            let (theirs, ours, at) = pair().await;
            for call in [libc::SYS_recvmmsg, libc::SYS_sendmmsg] {
                refuse(call, None, libc::ENOSYS);
            }
            let texts = [&b"one"[..], b"", b"three"];
            let three = texts.map(|text| Outgoing::new(text, at[1]));
            assert_eq!(theirs.send_many(&three).await.unwrap().whole(), 3);
            let mut batch = Batch::new(8, 4);
            for text in texts {
                assert_eq!(ours.recv_many(&mut batch).await.unwrap(), 1);
                let datagram = batch.iter().next().unwrap();
                assert_eq!(datagram.bytes(), &text[..text.len().min(4)]);
                assert_eq!(datagram.from(), at[0]);
                assert_eq!(datagram.is_truncated(), text.len() > 4);
            }
            assert!(now(ours.recv_many(&mut batch)).is_pending());
            // One in the middle fails: those before were sent, and its error comes next.
            let mut four = [
                three[0],
                three[1],
                Outgoing::new(b"?", ([127, 0, 0, 1], 0).into()),
                three[2],
            ];
            assert_eq!(theirs.send_many(&four).await.unwrap().whole(), 2);
            let error = theirs.send_many(&four[2..]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            four.swap(2, 3);
            assert_eq!(theirs.send_many(&four[2..]).await.unwrap().whole(), 1);
            assert_eq!(lengths(&ours), [3, 0, 5]);
        });
    });
}

/// Promise: up to 32 datagrams a system call. Catches: many that go one by one though the kernel takes them together; one alone
/// that goes by the call for many, which costs more.
#[test]
fn many_go_by_the_calls_for_many_and_one_by_the_call_for_one() {
    let name = "many::many_go_by_the_calls_for_many_and_one_by_the_call_for_one";
    in_child(name, || {
        block_on(async {
            let (theirs, ours, at) = pair().await;
            refuse(libc::SYS_recvmsg, None, libc::EPERM);
            let one = Outgoing::new(b"hello", at[1]);
            assert_eq!(theirs.send_many(&[one]).await.unwrap().whole(), 1);
            refuse(libc::SYS_sendmsg, None, libc::EPERM);
            assert_eq!(theirs.send_many(&[one; 31]).await.unwrap().whole(), 31);
            let mut batch = Batch::new(32, 9);
            arrived();
            assert_eq!(ours.recv_many(&mut batch).await.unwrap(), 32);
            refuse(libc::SYS_sendmmsg, None, libc::ENOBUFS);
            let error = theirs.send_many(&[one]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied);
            let error = theirs.send_many(&[one; 2]).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS));
        });
    });
}

/// Catches: room for fewer bytes than the datagrams are told of, where the product of both has no place in a `usize`.
#[test]
fn more_room_than_there_can_be_is_a_panic() {
    let _limit = limit(30);
    let made = catch_unwind(AssertUnwindSafe(|| Batch::new(32, usize::MAX / 32 + 1)));
    let message = made.unwrap_err();
    let message = message.downcast_ref::<String>().unwrap();
    assert!(message.contains("`Batch`"), "{message}");
}

/// Faults B25, B41. 32 datagrams a call are 32 operations. Catches: a call for many that spends as much as one for one, so
/// that others wait 32 times as long; one that spends it before it is ready, and loses what it did.
#[test]
fn a_call_for_many_spends_as_much_of_the_budget_as_its_datagrams() {
    let _limit = limit(60);
    block_on(async {
        let (theirs, ours, at) = pair().await;
        ours.set_recv_buffer_size(1 << 22).unwrap();
        let turns = Rc::new(Cell::new(0));
        let counted = Rc::clone(&turns);
        let other = spawn(async move {
            loop {
                counted.set(counted.get() + 1);
                yield_now().await;
            }
        });
        let (small, bytes) = (Outgoing::new(b"x", at[1]), [7; 64]);
        let (many, segmented) = ([small; 32], [Outgoing::new(&bytes, at[1]).with_segment(1)]);
        let mut batch = Batch::new(32, 9);
        let cx = &mut Context::from_waker(Waker::noop());
        for (name, polled, outgoing, datagrams) in [
            ("futures", false, &many[..], 32),
            ("polls", true, &many, 32),
            ("segments", false, &segmented, 64),
        ] {
            let before = turns.get();
            for _ in 0..40 {
                let (mut left, mut received) = (outgoing, 0);
                while !left.is_empty() {
                    let sent = if polled {
                        came_or_yield(theirs.poll_send_many(cx, left)).await
                    } else {
                        Some(theirs.send_many(left).await)
                    };
                    left = &left[sent.map_or(0, |sent| sent.unwrap().whole())..];
                }
                arrived();
                while received < datagrams {
                    let n = if polled {
                        came_or_yield(ours.poll_recv_batch(cx, &mut batch)).await
                    } else {
                        Some(ours.recv_many(&mut batch).await)
                    };
                    received += n.map_or(0, |n| n.unwrap());
                }
                assert_eq!(received, datagrams, "{name}");
            }
            // A call that takes the last of the budget is not refused, which counts as a refusal: one time in two it is renewed.
            let (turns, least) = (turns.get() - before, 40 * 2 * datagrams / 128 / 3);
            assert!(turns >= least, "{name}: {turns} turns, not {least}");
        }
        other.abort();
    });
}

/// What a poll brought, or nothing once others have run.
async fn came_or_yield<T>(polled: Poll<T>) -> Option<T> {
    match polled {
        Poll::Ready(came) => Some(came),
        Poll::Pending => {
            yield_now().await;
            None
        }
    }
}

/// What is sent to many comes from an address of ours that was not written on it. Catches: an answer from the address of
/// broadcast or multicast, which the kernel refuses.
#[test]
fn what_was_sent_to_many_is_answered_from_an_address_of_ours() {
    let _limit = limit(30);
    block_on(async {
        let (group, local) = (Ipv4Addr::new(239, 255, 77, 78), Ipv4Addr::LOCALHOST);
        for any in ["0.0.0.0:0", "[::]:0"] {
            let server = UdpSocket::bind(any).await.unwrap();
            server.set_recv_pktinfo(true).unwrap();
            let port = server.local_addr().unwrap().port();
            let client = socket().await;
            client.set_broadcast(true).unwrap();
            client.set_multicast_if_v4(local).unwrap();
            let single = Ipv4Addr::new(127, 0, 0, 9);
            let sent_to = [Ipv4Addr::new(127, 255, 255, 255), group, single];
            server.join_multicast_v4(group, local).unwrap();
            for to in sent_to {
                client.send_to(b"?", (to, port)).await.unwrap();
                let mut batch = Batch::new(1, 9);
                server.recv_many(&mut batch).await.unwrap();
                let question = batch.iter().next().unwrap();
                let written = question.to().unwrap();
                assert_eq!(written.to_canonical(), IpAddr::from(to));
                assert_eq!(written.is_ipv6(), any.starts_with('['));
                let ours = question.local().unwrap();
                assert_eq!(ours.is_ipv6(), any.starts_with('['));
                let expected = if to == single { single } else { local };
                assert_eq!(ours.to_canonical(), IpAddr::from(expected), "{to}");
                let answer = Outgoing::new(b"!", question.from()).with_source(ours);
                assert_eq!(server.send_many(&[answer]).await.unwrap().whole(), 1);
                let (_, from) = client.recv_from(&mut [0; 9]).await.unwrap();
                assert_eq!(from, (expected, port).into(), "{any} {to}");
            }
        }
    });
}
