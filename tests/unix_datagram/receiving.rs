//! Receiving: each datagram once, whole, and told apart from the next.

use std::future::Future;
use std::io::{ErrorKind, Result};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram as StdDatagram;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures_lite::future::poll_once;
use reveille::Runtime;
use reveille::io::{Interest, Ready};
use reveille::net::UnixDatagram;
use reveille::task::yield_now;

use super::seeds::under_seeds;
use super::step::{Wakes, inside, poll};
use crate::limit::limit;

/// Receives into 8 bytes in each way, by number.
async fn receive(socket: &UnixDatagram, way: usize) -> Result<Vec<u8>> {
    let (mut buf, mut vec) = ([0xaa; 8], Vec::with_capacity(8));
    let cx = &mut Context::from_waker(Waker::noop());
    let ready = |polled: Poll<Result<usize>>| match polled {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err(ErrorKind::WouldBlock.into()),
    };
    let with_name = |polled: Poll<Result<(usize, _)>>| ready(polled.map_ok(|(n, _)| n));
    let n = match way {
        0 => socket.recv(&mut buf).await?,
        1 => socket.try_recv(&mut buf)?,
        2 => ready(socket.poll_recv(cx, &mut buf))?,
        3 => socket.recv_from(&mut buf).await?.0,
        4 => socket.try_recv_from(&mut buf)?.0,
        5 => with_name(socket.poll_recv_from(cx, &mut buf))?,
        6 => socket.recv_vec(&mut vec).await?,
        7 => socket.try_recv_vec(&mut vec)?,
        8 => ready(socket.poll_recv_vec(cx, &mut vec))?,
        9 => socket.recv_vec_from(&mut vec).await?.0,
        10 => socket.try_recv_vec_from(&mut vec)?.0,
        11 => with_name(socket.poll_recv_vec_from(cx, &mut vec))?,
        12 => {
            let bufs = &mut [std::io::IoSliceMut::new(&mut buf)];
            socket.recv_fds(bufs, 0).await?.len()
        }
        _ => unreachable!("there are {WAYS} ways"),
    };
    if (6..12).contains(&way) {
        assert_eq!(vec.len(), n);
        return Ok(vec);
    }
    Ok(buf[..n].to_vec())
}

const WAYS: usize = 13;

/// Faults C7, C9. Catches: an empty datagram taken for the end, or skipped; two that run together; a short one taken for the
/// last of an edge; a way that does not wait, or returns something else.
#[test]
fn empty_and_short_datagrams_are_received_one_by_one_in_every_way() {
    let _limit = limit(30);
    for way in 0..WAYS {
        reveille::block_on(async {
            let (ours, theirs) = UnixDatagram::pair().unwrap();
            // Registered, and waiting: one edge tells of all three.
            assert!(poll_once(theirs.recv(&mut [0])).await.is_none());
            for bytes in ["one", "", "three", "", "ninebytes"] {
                assert_eq!(ours.send(bytes.as_bytes()).await.unwrap(), bytes.len());
            }
            theirs.readable().await.unwrap();
            for bytes in ["one", "", "three", "", "ninebyte"] {
                let received = receive(&theirs, way).await.unwrap();
                assert_eq!(received, bytes.as_bytes(), "{way}");
            }
            assert_eq!(
                theirs.try_recv(&mut [0]).unwrap_err().kind(),
                ErrorKind::WouldBlock
            );
        });
    }
}

/// Fault C7. Catches: a receive into no room that is Ok(0) at once, though that would say that an empty datagram came; one
/// that leaves the datagram there.
#[test]
fn a_receive_into_no_room_waits_for_a_datagram_and_takes_it() {
    let _limit = limit(30);
    reveille::block_on(async {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        assert!(poll_once(theirs.recv(&mut [])).await.is_none());
        ours.send(b"lost").await.unwrap();
        ours.send(b"next").await.unwrap();
        assert_eq!(theirs.recv(&mut []).await.unwrap(), 0);
        let mut buf = [0; 8];
        assert_eq!(theirs.recv(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf[..4], b"next");
    });
}

/// Catches: bytes of the `Vec` that are overwritten or lost; room that is not made, or is not used.
#[test]
fn a_datagram_is_appended_to_a_vec() {
    let _limit = limit(30);
    reveille::block_on(async {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let mut vec = b"before".to_vec();
        vec.shrink_to_fit();
        let large = vec![7; 50_000];
        ours.send(&large).await.unwrap();
        assert_eq!(theirs.recv_vec(&mut vec).await.unwrap(), 50_000);
        assert_eq!(vec, [b"before", &large[..]].concat());
        // With room there is, no more is made: the rest is lost.
        let mut vec = Vec::with_capacity(8);
        vec.extend(b"say ");
        ours.send(b"hello").await.unwrap();
        let (n, from) = theirs.recv_vec_from(&mut vec).await.unwrap();
        assert_eq!((n, &vec[..], vec.capacity()), (4, &b"say hell"[..], 8));
        assert!(from.is_unnamed());
    });
}

/// Fault C18: a sharer clears O_NONBLOCK. Catches: a call that blocks the thread, and the loop with it.
#[test]
fn a_socket_that_blocks_does_not_block_the_loop() {
    let _limit = limit(30);
    reveille::block_on(async {
        let (ours, theirs) = (
            UnixDatagram::unbound().unwrap(),
            UnixDatagram::bind("").unwrap(),
        );
        let there = theirs.local_addr().unwrap();
        for socket in [&ours, &theirs] {
            let duplicate = socket.as_fd().try_clone_to_owned().unwrap();
            StdDatagram::from(duplicate).set_nonblocking(false).unwrap();
        }
        // Not by the runtime's memory that nothing is there: the system call is made.
        for way in 0..WAYS {
            if let Poll::Ready(outcome) = futures_lite::future::poll_once(receive(&theirs, way))
                .await
                .map_or(Poll::Pending, Poll::Ready)
            {
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::WouldBlock, "{way}");
            }
            ours.send_to_addr(b"x", &there).await.unwrap();
            assert_eq!(receive(&theirs, 0).await.unwrap(), b"x");
        }
        super::fill(&there);
        let kind = |error: std::io::Error| error.kind();
        let full = ours.try_send_to_addr(b"x", &there).map_err(kind);
        assert_eq!(full, Err(ErrorKind::WouldBlock));
        ours.connect_addr(&there).unwrap();
        assert_eq!(
            ours.try_send(b"x").map_err(kind),
            Err(ErrorKind::WouldBlock)
        );
    });
}

/// Catches: a sender's name that is cut, or another's.
#[test]
fn a_datagram_says_who_sent_it() {
    let _limit = limit(30);
    reveille::block_on(async {
        let server = UnixDatagram::bind("").unwrap();
        let there = server.local_addr().unwrap();
        let clients = [(); 3].map(|()| UnixDatagram::bind("").unwrap());
        for client in &clients {
            client.send_to_addr(b"?", &there).await.unwrap();
        }
        let mut buf = [0; 8];
        for client in &clients {
            let (n, from) = server.recv_from(&mut buf).await.unwrap();
            let name = client.local_addr().unwrap();
            assert_eq!((n, from.as_abstract_name()), (1, name.as_abstract_name()));
            server.send_to_addr(b"!", &from).await.unwrap();
            assert_eq!(client.recv(&mut buf).await.unwrap(), 1);
            assert_eq!(buf[0], b'!');
        }
    });
}

/// Catches: a datagram that is taken for a future that is dropped.
#[test]
fn a_receive_that_is_dropped_takes_no_datagram() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    for way in [0, 3, 6, 9, 12] {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let (wakes, waker) = Wakes::new();
        let mut dropped = Box::pin(receive(&theirs, way));
        inside(&runtime, || {
            assert!(poll(&mut dropped, &waker).is_pending())
        });
        assert_eq!(runtime.block_on(ours.send(b"kept")).unwrap(), 4);
        while wakes.count() == 0 {
            runtime.turn().unwrap();
        }
        drop(dropped);
        assert_eq!(runtime.block_on(receive(&theirs, way)).unwrap(), b"kept");
    }
}

/// Catches: readiness that is not told, in whichever form, or not taken back.
#[test]
fn readiness_is_told_in_every_form() {
    let _limit = limit(30);
    reveille::block_on(async {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let (wakes, waker) = Wakes::new();
        let cx = &mut Context::from_waker(&waker);
        assert!(theirs.poll_recv_ready(cx).is_pending());
        assert!(theirs.poll_read_ready(cx).is_pending());
        assert!(ours.poll_send_ready(cx).is_ready() | ours.writable().await.is_ok());
        assert!(ours.poll_write_ready(cx).is_ready());
        ours.send(b"x").await.unwrap();
        theirs.readable().await.unwrap();
        assert!(wakes.count() > 0);
        assert!(theirs.poll_recv_ready(cx).is_ready());
        let ready = theirs.ready(Interest::READABLE).await.unwrap();
        assert_eq!(ready, Ready::READABLE);
        let receive = || {
            let mut byte = [0];
            // SAFETY: recv(2) writes one byte at most, into a live array.
            let n = unsafe {
                libc::recv(
                    std::os::fd::AsRawFd::as_raw_fd(&theirs),
                    byte.as_mut_ptr().cast(),
                    1,
                    libc::MSG_DONTWAIT,
                )
            };
            if n < 0 {
                Err(std::io::Error::last_os_error())
            } else {
                Ok(n)
            }
        };
        assert_eq!(theirs.try_io(Interest::READABLE, receive).unwrap(), 1);
        let mut waits = pin!(theirs.async_io(Interest::READABLE, receive));
        assert!(waits.as_mut().poll(cx).is_pending());
        ours.send(b"x").await.unwrap();
        assert_eq!(waits.await.unwrap(), 1);
        assert!(theirs.poll_io(cx, Interest::READABLE, receive).is_pending());
    });
}

/// Catches: chaos that cuts a datagram, or loses, doubles or reorders one.
#[test]
fn under_chaos_each_datagram_arrives_whole_and_in_order() {
    let _limit = limit(120);
    under_seeds("REVEILLE_CHAOS", 100, |seed| {
        reveille::Builder::new().chaos(seed).block_on(async {
            let server = UnixDatagram::bind("").unwrap();
            let there = server.local_addr().unwrap();
            let (ours, theirs) = UnixDatagram::pair().unwrap();
            let datagram = |nth: usize| vec![nth as u8; [0, 1, 100, 3000][nth % 4]];
            let sender = reveille::spawn(async move {
                for nth in 0..40 {
                    let bytes = datagram(nth);
                    assert_eq!(ours.send(&bytes).await.unwrap(), bytes.len());
                    assert_eq!(
                        ours.send_to_addr(&bytes, &there)
                            .await
                            .unwrap_or(bytes.len()),
                        bytes.len()
                    );
                }
            });
            let answers = reveille::spawn(async move {
                for nth in 0..40 {
                    let mut buf = [0; 4000];
                    let n = theirs.recv(&mut buf).await.unwrap();
                    assert_eq!(buf[..n], datagram(nth));
                }
            });
            for nth in 0..40 {
                let mut vec = Vec::with_capacity(4000);
                server.recv_vec_from(&mut vec).await.unwrap();
                assert_eq!(vec, datagram(nth));
                yield_now().await;
            }
            sender.await.unwrap();
            answers.await.unwrap();
        });
    });
}
