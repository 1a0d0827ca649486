//! Descriptors on streams: they belong to a byte.

use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::AsFd;
use std::task::{Context, Poll, Waker};

use reveille::net::UnixStream;

use super::step::inside;
use super::{Tracer, borrow, child, letters, read};
use crate::limit::limit;

/// The kernel would take them and pass nothing. Catches: descriptors that are said to be sent.
#[test]
fn descriptors_without_a_byte_are_an_error_on_a_stream() {
    let _limit = limit(30);
    reveille::block_on(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let tracer = Tracer::new();
        let fds = &tracer.ends(1);
        for bufs in [&[][..], &[IoSlice::new(b""), IoSlice::new(b"")]] {
            let error = ours.send_fds(bufs, fds).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("byte"), "{error}");
            let error = ours.try_send_fds(bufs, fds).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert_eq!(ours.send_fds(bufs, &[]).await.unwrap(), 0);
        }
        // Nor is a read into no room the end, or one that takes anything.
        ours.send_fds(&[IoSlice::new(b"x")], fds).await.unwrap();
        let received = theirs.recv_fds(&mut [], 1).await.unwrap();
        assert_eq!((received.len(), received.fds().len()), (0, 0));
        let received = theirs.try_recv_fds(&mut [IoSliceMut::new(&mut [0; 4])], 1);
        assert_eq!(received.unwrap().fds().len(), 1);
        drop(ours);
        let end = theirs
            .recv_fds(&mut [IoSliceMut::new(&mut [0; 4])], 1)
            .await;
        assert_eq!(end.unwrap().len(), 0);
    });
}

/// Catches: descriptors that go with the last bytes, or with none, where a write is short; that go again with the rest.
#[test]
fn descriptors_go_with_the_first_byte_of_a_short_write_and_come_with_it() {
    let _limit = limit(30);
    reveille::block_on(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_send_buffer_size(4608).unwrap();
        let message: Vec<u8> = (0..1 << 20).map(|i| i as u8).collect();
        let files = letters("ab");
        // Many buffers, the first of them empty: more than one call takes.
        let bufs: Vec<_> = std::iter::repeat_n(&b""[..], 2000)
            .chain(message.chunks(100))
            .map(IoSlice::new)
            .collect();
        let n = ours.send_fds(&bufs, &borrow(&files)).await.unwrap();
        assert!((1..message.len()).contains(&n), "short");
        let rest = ours.try_send_fds(&[IoSlice::new(b"x")], &borrow(&files));
        assert_eq!(rest.unwrap_err().kind(), ErrorKind::WouldBlock);

        let mut first = [0; 3];
        let (one, other) = first.split_at_mut(1);
        let bufs = &mut [&mut [][..], one, other].map(IoSliceMut::new);
        let received = theirs.recv_fds(bufs, 2).await.unwrap();
        assert_eq!(received.len(), 3);
        assert!(received.from().is_none());
        assert_eq!(read(received.into_fds()), "ab");
        assert_eq!(first, message[..3]);
        let mut got = 3;
        let mut buf = vec![0; 1 << 20];
        while got < n {
            let received = theirs
                .recv_fds(&mut [IoSliceMut::new(&mut buf)], 2)
                .await
                .unwrap();
            assert_eq!(
                (received.fds().len(), received.are_fds_truncated()),
                (0, false)
            );
            assert_eq!(buf[..received.len()], message[got..][..received.len()]);
            got += received.len();
        }
        assert_eq!(got, n);
    });
}

/// Catches: descriptors of two messages in one receive; bytes of the next message, of which it could not be said where
/// they begin; bytes behind, that are not read although they are there (R10).
#[test]
fn a_receive_ends_behind_the_message_that_its_descriptors_came_with() {
    let _limit = limit(30);
    reveille::block_on(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let reader = reveille::spawn(async move {
            let mut came = Vec::new();
            loop {
                let mut buf = [0; 100];
                let received = theirs
                    .recv_fds(&mut [IoSliceMut::new(&mut buf)], 9)
                    .await
                    .unwrap();
                if received.len() == 0 {
                    return came;
                }
                let text = String::from_utf8_lossy(&buf[..received.len()]).into_owned();
                came.push((text, read(received.into_fds())));
            }
        });
        reveille::task::yield_now().await; // Now it waits.
        let files = letters("abc");
        let files = borrow(&files);
        ours.write_all(b"one").await.unwrap();
        ours.send_fds(&[IoSlice::new(b"two")], &files[..1])
            .await
            .unwrap();
        ours.send_fds(&[IoSlice::new(b"three")], &files[1..])
            .await
            .unwrap();
        ours.write_all(b"four").await.unwrap();
        drop(ours);
        let came = reader.await.unwrap();
        let came: Vec<_> = came
            .iter()
            .map(|(text, fds)| (&text[..], &fds[..]))
            .collect();
        assert_eq!(came, [("onetwo", "a"), ("three", "bc"), ("four", "")]);
    });
}

/// Fault C4. Catches: SIGPIPE, which ends a process that does not ignore it.
#[test]
fn a_dead_peer_is_an_error_and_not_a_signal() {
    child::in_child("streams::a_dead_peer_is_an_error_and_not_a_signal", || {
        // SAFETY: the default action is restored, and no handler runs.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let sent = ours.try_send_fds(&[IoSlice::new(b"x")], &[ours.as_fd()]);
        assert_eq!(sent.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// Catches: a form that passes nothing, or that a half does not have.
#[test]
fn halves_pass_descriptors_in_all_three_forms() {
    let _limit = limit(30);
    let runtime = reveille::Runtime::new().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let ((_, writer), (reader, _other)) = (ours.into_split(), theirs.into_split());
    let files = letters("abc");
    let files = borrow(&files);
    let (bytes, mut buf) = ([IoSlice::new(b"x")], [0; 4]);
    let cx = &mut Context::from_waker(Waker::noop());
    let mut came = Vec::new();
    runtime.block_on(async {
        assert_eq!(writer.send_fds(&bytes, &files[..1]).await.unwrap(), 1);
        assert_eq!(writer.try_send_fds(&bytes, &files[1..2]).unwrap(), 1);
        let polled = writer.poll_send_fds(cx, &bytes, &files[2..]);
        assert!(matches!(polled, Poll::Ready(Ok(1))));
        let bufs = &mut [IoSliceMut::new(&mut buf)];
        came.push(reader.recv_fds(bufs, 1).await.unwrap());
        came.push(reader.try_recv_fds(bufs, 1).unwrap());
        let Poll::Ready(received) = reader.poll_recv_fds(cx, bufs, 1) else {
            panic!("it is there");
        };
        came.push(received.unwrap());
        let error = reader.try_recv_fds(bufs, 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(reader.poll_recv_fds(cx, bufs, 1).is_pending());
    });
    let came: Vec<_> = came
        .into_iter()
        .map(|received| read(received.into_fds()))
        .collect();
    assert_eq!(came, ["a", "b", "c"]);
    inside(&runtime, || drop((reader, writer)));
}
