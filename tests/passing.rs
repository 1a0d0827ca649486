//! Descriptors that are passed through Unix sockets: each arrives, or is closed, and none is inherited.
//!
//! Whether one leaked, a [`Tracer`] says: a stream one end of which was passed ends when all duplicates are closed. Where
//! the limit of descriptors matters, a test runs in a process of its own and counts.

use std::fs;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream as StdStream;

use reveille::net::unix::ReceivedFds;
use reveille::net::{UnixDatagram, UnixStream};

use limit::limit;

#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "passing/raw.rs"]
mod raw;
#[path = "support/seeds.rs"]
mod seeds;
#[path = "support/step.rs"]
mod step;

#[path = "passing/datagrams.rs"]
mod datagrams;
#[path = "passing/kernel.rs"]
mod kernel;
#[path = "passing/rooms.rs"]
mod rooms;
#[path = "passing/streams.rs"]
mod streams;

/// A stream, one end of which is passed around.
struct Tracer {
    reader: StdStream,
    writer: Option<StdStream>,
}

impl Tracer {
    fn new() -> Tracer {
        let (reader, writer) = StdStream::pair().unwrap();
        Tracer {
            reader,
            writer: Some(writer),
        }
    }

    /// The end that is passed, so many times.
    fn ends(&self, count: usize) -> Vec<BorrowedFd<'_>> {
        vec![self.writer.as_ref().unwrap().as_fd(); count]
    }

    /// What was written through duplicates. If one of them leaked, this hangs.
    #[track_caller]
    fn written(mut self) -> String {
        self.writer = None;
        let mut text = String::new();
        self.reader.read_to_string(&mut text).unwrap();
        text
    }
}

/// A file for each letter, which holds it, to tell descriptors apart.
fn letters(letters: &str) -> Vec<StdStream> {
    let file = |letter: char| {
        let (reader, mut writer) = StdStream::pair().unwrap();
        write!(writer, "{letter}").unwrap();
        reader
    };
    letters.chars().map(file).collect()
}

fn borrow(files: &[impl AsFd]) -> Vec<BorrowedFd<'_>> {
    files.iter().map(AsFd::as_fd).collect()
}

/// The letters in files that arrived.
fn read(fds: Vec<OwnedFd>) -> String {
    let mut text = String::new();
    for fd in fds {
        StdStream::from(fd)
            .take(1)
            .read_to_string(&mut text)
            .unwrap();
    }
    text
}

#[track_caller]
fn assert_not_inherited(fds: &[OwnedFd]) {
    for fd in fds {
        // SAFETY: F_GETFD takes no argument and touches no memory.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags, libc::FD_CLOEXEC);
    }
}

/// Open descriptors of this process, without the one that counts them.
fn open() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// The two kinds of sockets, with the same methods.
enum Pair {
    Streams(UnixStream, UnixStream),
    Datagrams(UnixDatagram, UnixDatagram),
}

impl Pair {
    fn both() -> [Pair; 2] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let streams = Pair::Streams(ours, theirs);
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        [streams, Pair::Datagrams(ours, theirs)]
    }

    async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> std::io::Result<usize> {
        let bufs = &[IoSlice::new(bytes)];
        match self {
            Pair::Streams(ours, _) => ours.send_fds(bufs, fds).await,
            Pair::Datagrams(ours, _) => ours.send_fds(bufs, fds).await,
        }
    }

    async fn recv(&self, buf: &mut [u8], max_fds: usize) -> std::io::Result<ReceivedFds> {
        let bufs = &mut [IoSliceMut::new(buf)];
        match self {
            Pair::Streams(_, theirs) => theirs.recv_fds(bufs, max_fds).await,
            Pair::Datagrams(_, theirs) => theirs.recv_fds(bufs, max_fds).await,
        }
    }

    async fn read(&self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Pair::Streams(_, theirs) => theirs.read(buf).await,
            Pair::Datagrams(_, theirs) => theirs.recv(buf).await,
        }
    }

    /// The number of the receiver.
    fn receiver(&self) -> RawFd {
        match self {
            Pair::Streams(_, theirs) => theirs.as_raw_fd(),
            Pair::Datagrams(_, theirs) => theirs.as_raw_fd(),
        }
    }
}

/// Catches: descriptors in another order, or others; one that a child would inherit (fault A21).
#[test]
fn descriptors_arrive_in_order_with_their_bytes_and_are_not_inherited() {
    let _limit = limit(30);
    reveille::block_on(async {
        for pair in Pair::both() {
            let files = letters("abc");
            assert_eq!(pair.send(b"hello", &borrow(&files)).await.unwrap(), 5);
            drop(files); // What was passed lives on.
            let mut buf = [0; 16];
            let received = pair.recv(&mut buf, 8).await.unwrap();
            assert_eq!((received.len(), &buf[..5]), (5, &b"hello"[..]));
            assert!(!received.is_data_truncated() && !received.are_fds_truncated());
            assert_eq!(received.fds().len(), 3);
            assert_not_inherited(received.fds());
            assert_eq!(read(received.into_fds()), "abc");
            // Bytes without any, and a receive that wants none.
            pair.send(b"bye", &[]).await.unwrap();
            let received = pair.recv(&mut buf, 0).await.unwrap();
            assert_eq!((received.len(), received.fds().len()), (3, 0));
            assert!(!received.are_fds_truncated());
        }
    });
}

/// Catches: a limit that is not checked, or is wrong by one.
#[test]
fn two_hundred_and_fifty_three_descriptors_go_at_once_and_no_more() {
    let _limit = limit(30);
    reveille::block_on(async {
        for pair in Pair::both() {
            let tracer = Tracer::new();
            let error = pair.send(b"x", &tracer.ends(254)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("253"), "{error}");
            pair.send(b"x", &tracer.ends(253)).await.unwrap();
            let received = pair.recv(&mut [0; 4], usize::MAX).await.unwrap();
            assert_eq!((received.len(), received.fds().len()), (1, 253));
            assert!(!received.are_fds_truncated());
            drop(received);
            assert_eq!(tracer.written(), "");
        }
    });
}

/// Catches: a descriptor that stays in the process although nothing there knows of it.
#[test]
fn a_plain_read_closes_what_came_along_and_a_peek_leaves_it() {
    let _limit = limit(30);
    reveille::block_on(async {
        for pair in Pair::both() {
            let tracer = Tracer::new();
            pair.send(b"hello", &tracer.ends(3)).await.unwrap();
            pair.read(&mut [0; 2]).await.unwrap();
            assert_eq!(tracer.written(), "");

            let tracer = Tracer::new();
            pair.send(b"hello", &tracer.ends(3)).await.unwrap();
            if let Pair::Streams(_, theirs) = &pair {
                let mut buf = [0; 8];
                assert_eq!(theirs.read(&mut buf[..3]).await.unwrap(), 3); // Of the first.
                assert_eq!(theirs.peek(&mut buf[..2]).await.unwrap(), 2);
            }
            let received = pair.recv(&mut [0; 2], 3).await.unwrap();
            assert_eq!(received.fds().len(), 3);
            drop(received);
            assert_eq!(tracer.written(), "");
        }
    });
}

/// Catches: a descriptor that is taken from the socket for a future that is dropped.
#[test]
fn a_receive_that_is_dropped_takes_no_descriptor() {
    let _limit = limit(30);
    let runtime = reveille::Runtime::new().unwrap();
    for pair in Pair::both() {
        let tracer = Tracer::new();
        let (wakes, waker) = step::Wakes::new();
        let mut buf = [0; 8];
        let mut receive = Box::pin(pair.recv(&mut buf, 4));
        step::inside(&runtime, || {
            assert!(step::poll(&mut receive, &waker).is_pending())
        });
        runtime
            .block_on(pair.send(b"first", &tracer.ends(2)))
            .unwrap();
        while wakes.count() == 0 {
            runtime.turn().unwrap();
        }
        drop(receive); // Woken, and never polled again.
        let received = runtime.block_on(pair.recv(&mut buf, 4)).unwrap();
        assert_eq!((received.len(), received.fds().len()), (5, 2));
        drop(received);
        assert_eq!(tracer.written(), "");
    }
}

/// Fault C18: a sharer clears O_NONBLOCK. Catches: a call that blocks the thread, and the loop with it.
#[test]
fn a_socket_that_blocks_does_not_block_the_loop() {
    let _limit = limit(30);
    let (ours, theirs) = StdStream::pair().unwrap();
    let streams = [ours, theirs].map(|end| UnixStream::from_std(end).unwrap());
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let make_blocking = |fd: BorrowedFd<'_>| {
        let duplicate = StdStream::from(fd.try_clone_to_owned().unwrap());
        duplicate.set_nonblocking(false).unwrap();
    };
    for fd in [
        streams[0].as_fd(),
        streams[1].as_fd(),
        ours.as_fd(),
        theirs.as_fd(),
    ] {
        make_blocking(fd);
    }
    let kind = |error: std::io::Error| error.kind();
    let bytes = [7; 4096];
    let bufs = [IoSlice::new(&bytes)];
    let fds = [ours.as_fd()];
    while streams[0].try_send_fds(&bufs, &fds).is_ok() {}
    while ours.try_send_fds(&bufs, &fds).is_ok() {}
    assert_eq!(
        streams[0].try_send_fds(&bufs, &fds).map_err(kind),
        Err(ErrorKind::WouldBlock)
    );
    assert_eq!(
        ours.try_send_fds(&bufs, &fds).map_err(kind),
        Err(ErrorKind::WouldBlock)
    );
    let mut buf = [0; 4096];
    let bufs = &mut [IoSliceMut::new(&mut buf)];
    while streams[1].try_recv_fds(bufs, 1).is_ok() {}
    while theirs.try_recv_fds(bufs, 1).is_ok() {}
    let nothing = streams[1].try_recv_fds(bufs, 1).map_err(kind);
    assert_eq!(nothing.map(drop), Err(ErrorKind::WouldBlock));
    let nothing = theirs.try_recv_fds(bufs, 1).map_err(kind);
    assert_eq!(nothing.map(drop), Err(ErrorKind::WouldBlock));
}

/// Catches: descriptors that a short operation under chaos loses, or passes twice.
#[test]
fn under_chaos_each_descriptor_arrives_once_with_its_byte() {
    let _limit = limit(120);
    seeds::under_seeds("REVEILLE_CHAOS", 100, |seed| {
        reveille::Builder::new().chaos(seed).block_on(async {
            for pair in Pair::both() {
                let files = letters("ab");
                let message = b"a message of some length";
                let n = pair.send(message, &borrow(&files)).await.unwrap();
                if let Pair::Datagrams(..) = pair {
                    assert_eq!(n, message.len(), "chaos must not shorten a datagram");
                }
                pair.send(&message[n..], &[]).await.unwrap();
                let mut buf = [0; 64];
                let received = pair.recv(&mut buf, 2).await.unwrap();
                assert!(received.len() > 0 && message.starts_with(&buf[..received.len()]));
                if let Pair::Datagrams(..) = pair {
                    assert_eq!(received.len(), message.len());
                }
                assert_eq!(read(received.into_fds()), "ab");
            }
        });
    });
}
