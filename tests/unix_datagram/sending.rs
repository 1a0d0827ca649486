//! Sending, while there is room.

use std::io::{ErrorKind, Result};
use std::net::Shutdown;
use std::task::{Context, Poll, Waker};

use reveille::net::UnixDatagram;

use super::Place;
use crate::limit::limit;

/// Catches: a form that sends nothing, or to somewhere else.
#[test]
fn a_datagram_is_sent_in_every_form() {
    let _limit = limit(30);
    let place = Place::new();
    reveille::block_on(async {
        let server = UnixDatagram::bind(&place.0).unwrap();
        let there = server.local_addr().unwrap();
        let ours = UnixDatagram::unbound().unwrap();
        let cx = &mut Context::from_waker(Waker::noop());
        let ready = |polled: Poll<Result<usize>>| match polled {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("there is room"),
        };
        let mut buf = [0; 8];
        for form in 0..9 {
            let bytes = &[form; 3];
            if form == 6 {
                ours.connect(&place.0).unwrap();
            }
            let sent = match form {
                0 => ours.send_to(bytes, &place.0).await,
                1 => ours.try_send_to(bytes, &place.0),
                2 => ready(ours.poll_send_to(cx, bytes, &place.0)),
                3 => ours.send_to_addr(bytes, &there).await,
                4 => ours.try_send_to_addr(bytes, &there),
                5 => ready(ours.poll_send_to_addr(cx, bytes, &there)),
                6 => ours.send(bytes).await,
                7 => ours.try_send(bytes),
                _ => ready(ours.poll_send(cx, bytes)),
            };
            assert_eq!(sent.unwrap(), 3);
            assert_eq!(server.recv(&mut buf).await.unwrap(), 3);
            assert_eq!(buf[..3], *bytes);
        }
    });
}

/// Catches: a peer that stays after another was connected; a socket that hears from others though it is connected.
#[test]
fn to_connect_again_is_to_change_the_peer() {
    let _limit = limit(30);
    reveille::block_on(async {
        let servers = [(); 2].map(|()| UnixDatagram::bind("").unwrap());
        let ours = UnixDatagram::bind("").unwrap();
        let mut buf = [0; 8];
        for server in &servers {
            ours.connect_addr(&server.local_addr().unwrap()).unwrap();
            ours.send(b"hello").await.unwrap();
            let (n, from) = server.recv_from(&mut buf).await.unwrap();
            assert_eq!(n, 5);
            server.send_to_addr(b"!", &from).await.unwrap();
            assert_eq!(ours.recv(&mut buf).await.unwrap(), 1);
        }
        let here = ours.local_addr().unwrap();
        let stranger = servers[0].send_to_addr(b"?", &here).await;
        assert_eq!(stranger.unwrap_err().kind(), ErrorKind::PermissionDenied);
    });
}

/// Catches: an end that is not told to a task that waits for it (R10).
#[test]
fn a_sender_that_waits_is_told_that_its_peer_is_gone() {
    let _limit = limit(30);
    let runtime = reveille::Runtime::new().unwrap();
    for shuts_down in [false, true] {
        runtime.block_on(async {
            let server = UnixDatagram::bind("").unwrap();
            let ours = UnixDatagram::unbound().unwrap();
            let there = server.local_addr().unwrap();
            ours.connect_addr(&there).unwrap();
            super::fill(&there);
            let sender = reveille::spawn(async move { ours.send(b"x").await });
            reveille::task::yield_now().await;
            if shuts_down {
                // The kernel tells nobody of this by itself, but only when a datagram is taken.
                server.shutdown(Shutdown::Read).unwrap();
                super::drain(&server);
                let error = sender.await.unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            } else {
                drop(server);
                let error = sender.await.unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            }
        });
    }
}

/// unix(7) has no permission for it. Catches: an error that blames a sandbox, where the peer talks to another by now.
#[test]
fn a_peer_that_has_connected_elsewhere_is_an_error_of_its_own() {
    let _limit = limit(30);
    reveille::block_on(async {
        let [a, b, c] = [(); 3].map(|()| UnixDatagram::bind("").unwrap());
        let at = |socket: &UnixDatagram| socket.local_addr().unwrap();
        a.connect_addr(&at(&b)).unwrap();
        b.connect_addr(&at(&c)).unwrap();
        let bytes = [std::io::IoSlice::new(b"x")];
        for (name, sent) in [
            ("send", a.send(b"x").await),
            ("try_send", a.try_send(b"x")),
            ("send_fds", a.send_fds(&bytes, &[]).await),
            ("try_send_fds", a.try_send_fds(&bytes, &[])),
            ("send_to", a.send_to_addr(b"x", &at(&b)).await),
        ] {
            assert_eq!(
                sent.unwrap_err().raw_os_error(),
                Some(libc::EPERM),
                "{name}"
            );
        }
    });
}
