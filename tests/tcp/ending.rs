//! How connections end: shutdown, resets, SIGPIPE, and both halves being told.

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::task::{Context, Poll};

use reveille::io::Interest;
use reveille::net::{TcpListener, TcpStream};

use super::step::{Wakes, inside};
use super::{LOCAL, Reader, child, delivered, fill, finish, ours, pair, reset, running, stepping};
use crate::limit::limit;

/// Catches: an option that is read from, or set on, another place.
#[test]
fn linger_and_quickack_are_told_and_set() {
    let _limit = limit(30);
    super::running(async || {
        let listener = reveille::net::TcpListener::bind(super::LOCAL)
            .await
            .unwrap();
        let client = reveille::net::TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        assert_eq!(client.linger().unwrap(), None);
        client.set_zero_linger().unwrap();
        assert_eq!(client.linger().unwrap(), Some(std::time::Duration::ZERO));
        // An int to us, and a great number to the kernel.
        let endless = libc::linger {
            l_onoff: 1,
            l_linger: -1,
        };
        let value = (&raw const endless).cast();
        let (level, name) = (libc::SOL_SOCKET, libc::SO_LINGER);
        let fd = std::os::fd::AsRawFd::as_raw_fd(&client);
        let len = size_of::<libc::linger>() as libc::socklen_t;
        // SAFETY: the pointer is good for a read of `len` bytes, which is all that setsockopt(2) reads.
        assert_eq!(unsafe { libc::setsockopt(fd, level, name, value, len) }, 0);
        assert!(client.linger().unwrap() > Some(std::time::Duration::from_secs(3600)));
        client.set_zero_linger().unwrap();
        for quickack in [false, true] {
            client.set_quickack(quickack).unwrap();
            assert_eq!(client.quickack().unwrap(), quickack);
        }
    });
}

/// Fault C4: in a C program nobody has ignored SIGPIPE, and one client that closes with bytes unread
/// would end the server. Catches: MSG_NOSIGNAL missing in a write, vectored or not.
#[test]
fn writes_to_a_dead_peer_are_errors_where_sigpipe_kills() {
    child::in_child(
        "ending::writes_to_a_dead_peer_are_errors_where_sigpipe_kills",
        || {
            // SAFETY: SIG_DFL installs no handler, so no code runs in signal context; this process runs
            // this one test only.
            let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
            assert_ne!(before, libc::SIG_ERR);
            reveille::block_on(async {
                let listener = TcpListener::bind(LOCAL).await.unwrap();
                let at = listener.local_addr().unwrap();
                for vectored in [false, true] {
                    for _ in 0..20 {
                        let mut theirs = std::net::TcpStream::connect(at).unwrap();
                        theirs.write_all(b"bytes").unwrap();
                        let (ours, _) = listener.accept().await.unwrap();
                        ours.write_all(b"unread").await.unwrap();
                        theirs.read_exact(&mut [0; 1]).unwrap();
                        drop(theirs); // With bytes unread, close sends a reset (RFC 2525, 2.17).
                        let error = loop {
                            let written = match vectored {
                                false => ours.write(b"more").await,
                                true => ours.write_vectored(&[IoSlice::new(b"more")]).await,
                            };
                            match written {
                                Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                                Err(error) => break error,
                                Ok(_) => {}
                            }
                        };
                        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
                    }
                }
            });
        },
    );
}

/// Fault C5. Catches: ENOTCONN reported for a connection that the peer has reset, or the second time.
#[test]
fn shutdown_after_a_reset_is_no_error_and_may_be_repeated() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (theirs, ours) = runtime.block_on(pair());
        reset(theirs);
        for how in [
            Shutdown::Write,
            Shutdown::Write,
            Shutdown::Read,
            Shutdown::Both,
        ] {
            ours.shutdown(how).unwrap();
        }
    });
}

/// Catches: a shutdown of the other direction, or of both.
#[test]
fn after_shutting_down_writing_reading_goes_on() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, ours) = pair().await;
        ours.shutdown(Shutdown::Write).unwrap();
        assert_eq!(theirs.read(&mut [0]).unwrap(), 0);
        theirs.write_all(b"late").unwrap();
        let mut buf = [0; 4];
        assert_eq!(ours.read_exact(&mut buf).await.unwrap(), 4);
        assert_eq!(&buf, b"late");
        assert_eq!(
            ours.write(b"x").await.unwrap_err().kind(),
            ErrorKind::BrokenPipe
        );
    });
}

/// R10. Catches: a reader that is not told when its own side shuts down reading.
#[test]
fn shutting_down_reading_ends_a_read_that_waits() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (_theirs, ours) = runtime.block_on(pair());
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        ours.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reader.rest(1), super::End::Eof);
    });
}

/// Fault A5. Catches: an error or a hang-up that is told to one direction alone, or twice to one.
#[test]
fn a_reset_wakes_both_halves_once() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (theirs, ours) = runtime.block_on(pair());
        let ((reads, reader), (writes, writer)) = (Wakes::new(), Wakes::new());
        inside(runtime, || {
            let polled = ours.poll_read(&mut Context::from_waker(&reader), &mut [0]);
            assert!(polled.is_pending());
        });
        fill(runtime, &ours, (&writes, &writer));
        let before = (reads.count(), writes.count());
        reset(theirs);
        runtime.turn().unwrap();
        assert_eq!(
            (reads.count(), writes.count()),
            (before.0 + 1, before.1 + 1)
        );
        inside(runtime, || {
            let polled = ours.poll_read(&mut Context::from_waker(&reader), &mut [0]);
            assert!(matches!(polled, Poll::Ready(Err(_))));
            let polled = ours.poll_write(&mut Context::from_waker(&writer), &[0]);
            assert!(matches!(polled, Poll::Ready(Err(_))));
        });
    });
}

/// Fault C12. Catches: a write half whose drop leaves the peer waiting; one that shuts down although
/// it was forgotten.
#[test]
fn dropping_the_write_half_ends_the_stream_and_forgetting_it_does_not() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, stream) = pair().await;
        let (reader, writer) = stream.into_split();
        writer.write_all(b"abc").await.unwrap();
        drop(writer);
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).unwrap();
        assert_eq!(got, b"abc");
        theirs.write_all(b"def").unwrap();
        let mut buf = [0; 9];
        assert_eq!(reader.read(&mut buf).await.unwrap(), 3);

        let (theirs, stream) = pair().await;
        let (_reader, writer) = stream.into_split();
        writer.forget();
        theirs.set_nonblocking(true).unwrap();
        let nothing = (&theirs).read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
    });
}

/// Fault C12. Catches: reuniting that shuts down writing, or that puts two streams together.
#[test]
fn halves_reunite_with_their_own_stream_only() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, first) = pair().await;
        let (_others, second) = pair().await;
        let (first_read, first_write) = first.into_split();
        let (second_read, second_write) = second.into_split();

        let error = first_read.reunite(second_write).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the two halves are not of the same stream"
        );
        let (first_read, second_write) = (error.0, error.1);
        let stream = first_write.reunite(first_read).unwrap();
        let _second = second_read.reunite(second_write).unwrap();

        stream.write_all(b"still open").await.unwrap();
        let mut buf = [0; 10];
        theirs.read_exact(&mut buf).unwrap();
    });
}

/// The halves of a borrowed stream shut nothing down. Catches: a half whose drop does.
#[test]
fn borrowed_halves_leave_the_stream_as_it_was() {
    let _limit = limit(30);
    running(async || {
        let (client, mut server) = ours().await;
        {
            let (reader, writer) = server.split();
            client.write_all(b"ping").await.unwrap();
            let mut buf = [0; 4];
            reader.read_exact(&mut buf).await.unwrap();
            writer.write_all(&buf).await.unwrap();
        }
        server.write_all(b"pong").await.unwrap();
        let mut buf = [0; 8];
        client.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"pingpong");
    });
}

/// Catches: the end of the stream taken for success.
#[test]
fn read_exact_fails_at_an_early_end() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, ours) = pair().await;
        theirs.write_all(b"abc").unwrap();
        finish(&theirs);
        let error = ours.read_exact(&mut [0; 4]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

/// `ready` tells what there is. Catches: an interest that is lost on the way, an end not shown.
#[test]
fn ready_tells_bytes_room_and_the_end_apart() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, ours) = pair().await;
        let both = Interest::READABLE | Interest::WRITABLE;
        let ready = ours.ready(both).await.unwrap();
        assert!(ready.is_writable() && !ready.is_readable(), "{ready:?}");
        theirs.write_all(b"abc").unwrap();
        ours.readable().await.unwrap();
        let ready = ours.ready(both).await.unwrap();
        assert!(ready.is_readable() && !ready.is_read_closed(), "{ready:?}");
        let mut buf = [0; 9];
        assert_eq!(ours.try_read(&mut buf).unwrap(), 3);
        assert_eq!(
            ours.try_read(&mut buf).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
        finish(&theirs);
        let ready = ours.ready(Interest::READABLE).await.unwrap();
        assert!(ready.is_read_closed(), "{ready:?}");
        assert_eq!(ours.try_read(&mut buf).unwrap(), 0);
    });
}

/// The pending error is told once, by whoever asks first. Catches: an error kept, or never found.
#[test]
fn a_pending_error_can_be_taken_once() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (theirs, ours) = runtime.block_on(pair());
        assert!(ours.take_error().unwrap().is_none());
        reset(theirs);
        let error = ours.take_error().unwrap().unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(ours.take_error().unwrap().is_none());
    });
}

/// Catches: an address of the wrong end; an option that is read but not set.
#[test]
fn addresses_and_options_are_those_of_the_socket() {
    let _limit = limit(30);
    running(async || {
        let (client, server) = ours().await;
        assert_eq!(client.local_addr().unwrap(), server.peer_addr().unwrap());
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        assert!(!client.nodelay().unwrap());
        client.set_nodelay(true).unwrap();
        assert!(client.nodelay().unwrap());
        client.set_ttl(42).unwrap();
        assert_eq!(client.ttl().unwrap(), 42);
        let (reader, writer) = client.into_split();
        assert_eq!(reader.local_addr().unwrap(), server.peer_addr().unwrap());
        assert_eq!(writer.peer_addr().unwrap(), server.local_addr().unwrap());
    });
}

/// A stream of std's may block. Catches: one that is left so, and stops the runtime at its first wait.
#[test]
fn a_blocking_stream_of_stds_becomes_nonblocking() {
    let _limit = limit(30);
    running(async || {
        let listener = std::net::TcpListener::bind(LOCAL).unwrap();
        let at = listener.local_addr().unwrap();
        let listener = TcpListener::try_from(listener).unwrap();
        let nobody = listener.try_accept().unwrap_err(); // Would hang if it blocked.
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);

        let client = std::net::TcpStream::connect(at).unwrap();
        let mut client = TcpStream::try_from(client).unwrap().into_std().unwrap();
        let nothing = client.read(&mut [0]).unwrap_err(); // So would this.
        assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        delivered(&client);
    });
}
