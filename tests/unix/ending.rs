//! How a stream ends: for the one who ends it, and for its peer.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::task::Poll;

use reveille::Runtime;
use reveille::net::UnixStream;

use super::step::{Wakes, inside, poll};
use super::{Folder, ours, running};
use crate::limit::limit;

/// Catches: an end that is not seen, by one who waits for it or one who comes later; bytes lost before it.
#[test]
fn what_was_written_before_a_close_arrives_and_then_the_end() {
    let _limit = limit(30);
    running(async || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let reader = reveille::spawn(async move {
            let mut got = Vec::new();
            while theirs.read_vec(&mut got).await.unwrap() > 0 {}
            // And again.
            assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);
            got
        });
        let bytes: Vec<u8> = (0..1_000_000).map(|i| (i % 251) as u8).collect();
        ours.write_all(&bytes).await.unwrap();
        drop(ours);
        assert!(reader.await.unwrap() == bytes);
    });
}

/// Fault C6. Catches: a reset that is an end, or comes before the bytes, or twice.
#[test]
fn a_peer_that_closes_with_bytes_unread_resets_once() {
    let _limit = limit(30);
    running(async || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.write_all(b"unread").await.unwrap();
        theirs.write_all(b"last words").await.unwrap();
        drop(theirs);
        let mut buf = [0; 10];
        ours.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"last words");
        let reset = ours.read(&mut buf).await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        assert_eq!(ours.read(&mut buf).await.unwrap(), 0);
    });
}

/// Fault C4. Catches: a signal that ends the process; a writer that waits for room in a queue that is gone.
#[test]
fn writing_to_a_closed_unix_peer_is_an_error_and_not_a_signal() {
    let _limit = limit(30);
    running(async || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let writer = reveille::spawn(async move {
            let written = ours.write_all(&[7; 4 << 20]).await.unwrap_err();
            let buf: &[u8] = b"again";
            let again = ours.write_vectored(&[std::io::IoSlice::new(buf)]).await;
            (written.kind(), again.unwrap_err().kind())
        });
        // It waits for room.
        theirs.read_exact(&mut [0; 1000]).await.unwrap();
        reveille::task::yield_now().await;
        drop(theirs);
        assert_eq!(
            writer.await.unwrap(),
            (ErrorKind::BrokenPipe, ErrorKind::BrokenPipe)
        );
    });
}

/// Faults A4, C5. Catches: a half-close that ends both directions; one that is an error in the second call, or after
/// the peer is gone.
#[test]
fn a_direction_that_is_shut_down_leaves_the_other() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let (client, server) = ours(&folder.path("server")).await;
        client.write_all(b"question").await.unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut question = Vec::new();
        while server.read_vec(&mut question).await.unwrap() > 0 {}
        assert_eq!(question, b"question");
        server.write_all(b"answer").await.unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"answer");
        let refused = client.write(b"more").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
        drop(server);
        client.shutdown(Shutdown::Both).unwrap();
        assert_eq!(client.read(&mut [0; 8]).await.unwrap(), 0);
    });
}

/// Fault C12. Catches: a write half that is dropped and ends nothing; one that is forgotten or reunited and ends
/// writing; halves of two streams that are put together.
#[test]
fn the_end_of_a_write_half_ends_writing_and_nothing_else_does() {
    let _limit = limit(30);
    running(async || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (reader, writer) = ours.into_split();
        let ours = reader.reunite(writer).unwrap();
        let (reader, writer) = ours.into_split();
        let (other_reader, other_writer) = UnixStream::pair().unwrap().0.into_split();
        let strangers = reader.reunite(other_writer).unwrap_err();
        let (reader, other_writer) = (strangers.0, strangers.1);
        drop((other_reader, other_writer));
        poll_fn(|cx| {
            assert!(
                theirs.poll_read(cx, &mut [0]).is_pending(),
                "writing has ended"
            );
            Poll::Ready(())
        })
        .await;
        writer.write_all(b"x").await.unwrap();
        assert!(writer.local_addr().unwrap().is_unnamed());
        drop(writer);
        assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 1);
        assert_eq!(theirs.read(&mut [0; 8]).await.unwrap(), 0);
        theirs.write_all(b"y").await.unwrap();
        assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 1);
        let (_reader, writer) = theirs.into_split();
        writer.forget();
        poll_fn(|cx| {
            assert!(
                reader.poll_read(cx, &mut [0]).is_pending(),
                "writing has ended"
            );
            Poll::Ready(())
        })
        .await;
    });
}

/// What the page of `UnixStream` says of a write that waits. Catches: a page that is no longer true, which would be good news.
#[test]
fn a_write_that_waits_hears_of_a_shutdown_of_both_directions_only() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = runtime.block_on(async { UnixStream::pair() }).unwrap();
    let bytes = vec![0; 1 << 20];
    let fill = |runtime: &Runtime| inside(runtime, || ours.try_write(&bytes));
    while fill(&runtime).is_ok() {}
    let (wakes, waker) = Wakes::new();
    let mut write = Box::pin(ours.write(b"x"));
    assert!(inside(&runtime, || poll(&mut write, &waker)).is_pending());
    runtime.turn().unwrap();
    let before = wakes.count();
    for one_way in [
        ours.shutdown(Shutdown::Write),
        theirs.shutdown(Shutdown::Read),
    ] {
        one_way.unwrap();
        runtime.turn().unwrap();
        assert_eq!(wakes.count(), before, "an event comes: the page can say so");
    }
    ours.shutdown(Shutdown::Both).unwrap();
    runtime.turn().unwrap();
    assert!(wakes.count() > before);
    let Poll::Ready(Err(error)) = inside(&runtime, || poll(&mut write, &waker)) else {
        panic!("it waits on");
    };
    assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
}
