//! Peers that are full: a sender waits, and goes on as soon as can be known.

use std::future::{Future, poll_fn};
use std::io::{ErrorKind, Result};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_lite::future::poll_once;
use reveille::net::UnixDatagram;
use reveille::task::yield_now;
use reveille::time::{self, advance};
use reveille::{Builder, Runtime};

use super::step::{Wakes, inside, poll};
use super::{drain, fill};
use crate::limit::limit;

/// A socket that is full, after one that is not connected to it.
fn full() -> (UnixDatagram, UnixDatagram, std::os::unix::net::SocketAddr) {
    let peer = UnixDatagram::bind("").unwrap();
    let there = peer.local_addr().unwrap();
    let ours = UnixDatagram::unbound().unwrap();
    fill(&there);
    (ours, peer, there)
}

/// R10. Catches: a connected sender that is not told of room at its peer; one that waits for a timer, though epoll tells.
#[test]
fn a_connected_sender_is_told_of_room_at_its_peer() {
    let _limit = limit(30);
    reveille::block_on(async {
        time::pause(); // No timer will help.
        let peer = UnixDatagram::bind("").unwrap();
        let ours = UnixDatagram::unbound().unwrap();
        let there = peer.local_addr().unwrap();
        ours.connect_addr(&there).unwrap();
        fill(&there);
        assert!(poll_once(ours.send(b"x")).await.is_none());
        let sender = reveille::spawn(async move {
            for _ in 0..100 {
                ours.send(b"x").await.unwrap();
            }
        });
        let mut came = 0;
        while !sender.is_finished() {
            yield_now().await;
            came += drain(&peer);
        }
        assert!(came + drain(&peer) > 100);
    });
}

/// R10. Catches: a back-off that is missing (the sender spins, or is never woken), begins late, or grows beyond 50 ms.
#[test]
fn a_sender_to_a_full_address_tries_again_after_1_to_50_milliseconds() {
    let _limit = limit(60);
    reveille::block_on(async {
        time::pause();
        // So many pauses pass before there is room.
        for pauses in 0..9 {
            let (ours, peer, there) = full();
            let sender = reveille::spawn(async move { ours.send_to_addr(b"x", &there).await });
            yield_now().await;
            for pause in [1, 2, 4, 8, 16, 32, 50, 50].iter().take(pauses) {
                advance(Duration::from_millis(*pause)).await;
                yield_now().await;
            }
            drain(&peer);
            assert!(!sender.is_finished());
            let last = Duration::from_millis([1, 2, 4, 8, 16, 32, 50, 50, 50][pauses]);
            advance(last - Duration::from_nanos(1)).await;
            yield_now().await;
            assert!(
                !sender.is_finished(),
                "after {pauses} pauses it tries too early"
            );
            advance(Duration::from_nanos(1)).await;
            yield_now().await;
            assert!(
                sender.is_finished(),
                "after {pauses} pauses it tries too late"
            );
            assert_eq!(drain(&peer), 1);
        }
    });
}

/// Catches: a task that waits for an event, which each of its own tries brings (AsyncFd has more on that).
#[test]
fn a_sender_to_a_full_address_does_not_spin() {
    let _limit = limit(60);
    let runtime = Runtime::new().unwrap();
    let (ours, peer, there) = full();
    runtime.block_on(async {
        let polls = std::rc::Rc::new(std::cell::Cell::new(0_u128));
        let count = std::rc::Rc::clone(&polls);
        let sender = reveille::spawn(async move {
            let mut send = pin!(ours.send_to_addr(b"x", &there));
            poll_fn(|cx| {
                count.set(count.get() + 1);
                send.as_mut().poll(cx)
            })
            .await
        });
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(200) {
            time::sleep(Duration::from_millis(20)).await;
        }
        // Six within 63 ms, and one in 50 ms from then on.
        let most = 8 + begin.elapsed().as_millis() / 50;
        assert!(polls.get() <= most, "polled {} times", polls.get());
        drain(&peer);
        assert_eq!(sender.await.unwrap().unwrap(), 1);
    });
}

/// R10. Catches: what is sent to an address waiting for room at the peer of a connected socket, which is another.
#[test]
fn a_full_peer_does_not_keep_a_connected_socket_from_sending_elsewhere() {
    let _limit = limit(60);
    reveille::block_on(async {
        let (peer, other) = (
            UnixDatagram::bind("").unwrap(),
            UnixDatagram::bind("").unwrap(),
        );
        let elsewhere = other.local_addr().unwrap();
        let ours = UnixDatagram::unbound().unwrap();
        let there = peer.local_addr().unwrap();
        ours.connect_addr(&there).unwrap();
        fill(&there);
        // It is known now that there is no room at the peer.
        assert!(poll_once(ours.send(b"x")).await.is_none());
        assert_eq!(ours.send_to_addr(b"x", &elsewhere).await.unwrap(), 1);
        assert_eq!(ours.try_send_to_addr(b"x", &elsewhere).unwrap(), 1);
        let polled = poll_fn(|cx| Poll::Ready(ours.poll_send_to_addr(cx, b"x", &elsewhere))).await;
        assert!(matches!(polled, Poll::Ready(Ok(1))));
        // Both are full, and room comes at the other only.
        fill(&elsewhere);
        let sender = reveille::spawn(async move { ours.send_to_addr(b"x", &elsewhere).await });
        yield_now().await;
        drain(&other);
        assert_eq!(sender.await.unwrap().unwrap(), 1);
        assert_eq!(drain(&other), 1);
        drop(peer);
    });
}

/// Catches: a polled send that is never woken, or spins.
#[test]
fn a_polled_send_to_a_full_address_is_woken_every_5_milliseconds() {
    let _limit = limit(60);
    let runtime = Builder::new().build().unwrap();
    let (ours, peer, there) = full();
    runtime.block_on(async {
        time::pause();
        let (wakes, waker) = Wakes::new();
        let cx = &mut std::task::Context::from_waker(&waker);
        for round in 0..3 {
            assert!(ours.poll_send_to_addr(cx, b"x", &there).is_pending());
            advance(Duration::from_micros(4999)).await;
            assert_eq!(wakes.count(), round);
            advance(Duration::from_micros(1)).await;
            assert_eq!(wakes.count(), round + 1);
        }
        drain(&peer);
        let polled = ours.poll_send_to_addr(cx, b"x", &there);
        assert!(matches!(polled, Poll::Ready(Ok(1))));
    });
}

/// Catches: a panic, or a wait that nothing would end.
#[test]
fn outside_a_runtime_a_full_address_is_an_error() {
    let _limit = limit(30);
    let (ours, _peer, there) = full();
    let kind = |outcome: Result<usize>| outcome.unwrap_err().kind();
    let sent = futures_lite::future::block_on(ours.send_to_addr(b"x", &there));
    assert_eq!(kind(sent), ErrorKind::WouldBlock);
    let polled =
        futures_lite::future::block_on(poll_fn(|cx| ours.poll_send_to_addr(cx, b"x", &there)));
    assert_eq!(kind(polled), ErrorKind::WouldBlock);
}

/// Catches: a datagram that is sent for a future that was dropped.
#[test]
fn a_send_that_is_dropped_sends_nothing() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, peer, there) = full();
    let (_, waker) = Wakes::new();
    let mut to_address = Box::pin(ours.send_to_addr(b"dropped", &there));
    inside(&runtime, || {
        assert!(poll(&mut to_address, &waker).is_pending())
    });
    ours.connect_addr(&there).unwrap();
    let mut to_peer = Box::pin(ours.send(b"dropped"));
    inside(&runtime, || {
        assert!(poll(&mut to_peer, &waker).is_pending())
    });
    let waiting = drain(&peer);
    drop((to_address, to_peer));
    for _ in 0..3 {
        runtime.turn().unwrap();
    }
    assert!(waiting > 0);
    assert_eq!(drain(&peer), 0);
}
