//! Descriptors with datagrams.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::os::linux::net::SocketAddrExt;
use std::task::{Context, Poll, Waker};

use reveille::net::UnixDatagram;

use super::{borrow, letters, read};
use crate::limit::limit;

/// Catches: a cut that is not told; an empty datagram whose descriptors are lost; a sender without its name.
#[test]
fn a_datagram_says_where_it_is_from_and_whether_it_was_cut() {
    let _limit = limit(30);
    reveille::block_on(async {
        let (ours, theirs) = (
            UnixDatagram::bind("").unwrap(),
            UnixDatagram::bind("").unwrap(),
        );
        let there = theirs.local_addr().unwrap();
        let here = ours.local_addr().unwrap();
        let files = letters("abcdef");
        let files = borrow(&files);
        let message = &[IoSlice::new(b"he"), IoSlice::new(b"llo")];
        assert_eq!(
            ours.send_fds_to_addr(message, &files[..1], &there)
                .await
                .unwrap(),
            5
        );
        let (mut one, mut other) = ([0; 1], [0; 3]);
        let bufs = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
        let received = theirs.recv_fds(bufs, 1).await.unwrap();
        let from = received.from().unwrap();
        assert_eq!(from.as_abstract_name(), here.as_abstract_name());
        assert_eq!((received.len(), received.is_data_truncated()), (4, true));
        assert!(!received.are_fds_truncated());
        assert_eq!(read(received.into_fds()), "a");
        assert_eq!((&one[..], &other[..]), (&b"h"[..], &b"ell"[..]));
        // An empty one, into no room.
        ours.connect_addr(&there).unwrap();
        assert_eq!(ours.send_fds(&[], &files[1..2]).await.unwrap(), 0);
        let received = theirs.recv_fds(&mut [], 1).await.unwrap();
        assert_eq!((received.len(), received.is_data_truncated()), (0, false));
        assert_eq!(read(received.into_fds()), "b");
    });
}

/// Catches: a form that passes nothing.
#[test]
fn datagrams_pass_descriptors_in_all_three_forms() {
    let _limit = limit(30);
    let name = format!("\0reveille-passing-{}", std::process::id());
    reveille::block_on(async {
        let (ours, theirs) = (
            UnixDatagram::bind("").unwrap(),
            UnixDatagram::bind(&name).unwrap(),
        );
        let there = theirs.local_addr().unwrap();
        let bytes = &[IoSlice::new(b"x")];
        let cx = &mut Context::from_waker(Waker::noop());
        let files = letters("abcdefghi");
        let files = borrow(&files);
        ours.send_fds_to(bytes, &files[0..1], &name).await.unwrap();
        ours.try_send_fds_to(bytes, &files[1..2], &name).unwrap();
        let polled = ours.poll_send_fds_to(cx, bytes, &files[2..3], &name);
        assert!(matches!(polled, Poll::Ready(Ok(1))));
        ours.send_fds_to_addr(bytes, &files[3..4], &there)
            .await
            .unwrap();
        ours.try_send_fds_to_addr(bytes, &files[4..5], &there)
            .unwrap();
        let polled = ours.poll_send_fds_to_addr(cx, bytes, &files[5..6], &there);
        assert!(matches!(polled, Poll::Ready(Ok(1))));
        ours.connect(&name).unwrap();
        ours.send_fds(bytes, &files[6..7]).await.unwrap();
        ours.try_send_fds(bytes, &files[7..8]).unwrap();
        let polled = ours.poll_send_fds(cx, bytes, &files[8..9]);
        assert!(matches!(polled, Poll::Ready(Ok(1))));

        let mut buf = [0; 4];
        let bufs = &mut [IoSliceMut::new(&mut buf)];
        let mut came = String::new();
        for _ in 0..3 {
            came += &read(theirs.recv_fds(bufs, 1).await.unwrap().into_fds());
            came += &read(theirs.try_recv_fds(bufs, 1).unwrap().into_fds());
            let Poll::Ready(received) = theirs.poll_recv_fds(cx, bufs, 1) else {
                panic!("it is there");
            };
            came += &read(received.unwrap().into_fds());
        }
        assert_eq!(came, "abcdefghi");
        let error = theirs.try_recv_fds(bufs, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(theirs.poll_recv_fds(cx, bufs, 1).is_pending());
    });
}
