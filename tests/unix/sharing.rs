//! A stream that several tasks, handles, runtimes or programs have.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream as StdStream;

use reveille::Runtime;
use reveille::io::Interest;
use reveille::net::UnixStream;

use super::{Folder, ours, registrations, running};
use crate::limit::limit;

/// Fault C17. Catches: a stream of std's that still blocks; one given back that blocks, or is still registered.
#[test]
fn a_stream_goes_from_std_and_back() {
    let _limit = limit(30);
    running(async || {
        let (std_stream, mut theirs) = StdStream::pair().unwrap();
        let ours = UnixStream::try_from(std_stream).unwrap();
        let reader = async {
            let mut buf = [0; 5];
            ours.read_exact(&mut buf).await.unwrap();
            buf
        };
        let writer = async {
            theirs.write_all(b"hello").unwrap();
        };
        let (read, ()) = futures_lite::future::zip(reader, writer).await;
        assert_eq!(&read, b"hello");
        assert!(ours.take_error().unwrap().is_none());
        let mut ours = ours.into_std().unwrap();
        assert_eq!(
            ours.read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

/// Catches: a handle that hears only through the other, or is registered where the other is.
#[test]
fn two_handles_work_in_two_runtimes() {
    let _limit = limit(30);
    let [one, other] = [(); 2].map(|()| Runtime::new().unwrap());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let clone = ours.try_clone().unwrap();
    let mut buf = [0; 2];
    one.block_on(async {
        let read = ours.read_exact(&mut buf);
        let (n, ()) = futures_lite::future::zip(read, async {
            theirs.try_write(b"ab").unwrap();
        })
        .await;
        n.unwrap();
    });
    assert_eq!(registrations(&one), 1);
    other.block_on(async {
        let read = clone.read_exact(&mut buf);
        let (n, ()) = futures_lite::future::zip(read, async {
            reveille::task::yield_now().await;
            theirs.try_write(b"cd").unwrap();
        })
        .await;
        n.unwrap();
    });
    assert_eq!(&buf, b"cd");
    assert_eq!(registrations(&other), 1);
}

/// Fault A32. Catches: a sharer that clears O_NONBLOCK and so stops the loop.
#[test]
fn a_sharer_that_makes_a_stream_block_does_not_stop_the_loop() {
    let _limit = limit(30);
    running(async || {
        let folder = Folder::new();
        let (client, server) = ours(&folder.path("server")).await;
        let sharer = StdStream::from(server.as_fd().try_clone_to_owned().unwrap());
        sharer.set_nonblocking(false).unwrap();
        let echo = async {
            let mut buf = vec![0; 4 << 20];
            server.read_exact(&mut buf).await.unwrap();
            server.write_all(&buf).await.unwrap();
        };
        let ask = async {
            let mut buf = vec![7; 4 << 20];
            client.write_all(&buf).await.unwrap();
            client.read_exact(&mut buf).await.unwrap();
        };
        futures_lite::future::zip(echo, ask).await;
        assert_eq!(
            server.try_read(&mut [0]).unwrap_err().kind(),
            ErrorKind::WouldBlock
        );
    });
}

/// Catches: the forms of the caller's own operations, and of readiness, on a stream and on its halves.
#[test]
fn operations_of_the_callers_own_wait_like_the_librarys() {
    let _limit = limit(30);
    running(async || {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        let peek = |socket: i32| {
            let mut byte = 0u8;
            let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
            // SAFETY: recv(2) writes one byte at most through the pointer, which is that of a live one.
            let n = unsafe { libc::recv(socket, (&raw mut byte).cast(), 1, flags) };
            if n < 0 {
                Err(std::io::Error::last_os_error())
            } else {
                Ok(byte)
            }
        };
        let (byte, ()) =
            futures_lite::future::zip(ours.async_io(Interest::READABLE, || peek(fd)), async {
                theirs.write_all(b"x").await.unwrap();
            })
            .await;
        assert_eq!(byte.unwrap(), b'x');
        ours.readable().await.unwrap();
        assert_eq!(ours.peek(&mut [0; 4]).await.unwrap(), 1);
        assert_eq!(ours.try_io(Interest::READABLE, || peek(fd)).unwrap(), b'x');
        let (reader, writer) = ours.split();
        assert!(
            reader
                .ready(Interest::READABLE)
                .await
                .unwrap()
                .is_readable()
        );
        assert_eq!(reader.read(&mut [0; 4]).await.unwrap(), 1);
        writer.writable().await.unwrap();
        writer.write_all(b"y").await.unwrap();
        writer.shutdown().unwrap();
        assert_eq!(theirs.read(&mut [0; 4]).await.unwrap(), 1);
        assert_eq!(theirs.read(&mut [0; 4]).await.unwrap(), 0);
    });
}
