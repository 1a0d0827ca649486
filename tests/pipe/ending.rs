//! How a pipe ends, on either side; SIGPIPE.

use std::io::{ErrorKind, IoSlice};
use std::os::unix::process::ExitStatusExt;

use futures_lite::future::poll_once;
use reveille::Runtime;
use reveille::net::pipe::{OpenOptions, Sender, pipe};

use super::kernel::{RWF_NOSIGNAL, takes_flag_to_write};
use super::step::{Wakes, inside, poll};
use super::within::within;
use super::{Fifo, child, descriptors, fill, named_descriptors, running};
use crate::limit::limit;
use crate::seccomp::refuse;

/// Catches: an end that is announced by HUP alone and ends no read; bytes that are lost before it; an end that is told
/// once.
#[test]
fn a_pipe_ends_when_nothing_holds_it_open_for_writing() {
    let _limit = limit(30);
    within(30, || {
        let runtime = Runtime::new().unwrap();
        let (sender, receiver) = pipe().unwrap();
        let (wakes, waker) = Wakes::new();
        let mut buf = [0; 8];
        let mut read = Box::pin(receiver.read(&mut buf));
        assert!(inside(&runtime, || poll(&mut read, &waker)).is_pending());
        runtime.turn().unwrap();
        assert_eq!(wakes.count(), 0);
        runtime.block_on(sender.write_all(b"last")).unwrap();
        drop(sender);
        runtime.turn().unwrap();
        assert_eq!(wakes.count(), 1);
        assert_eq!(runtime.block_on(read).unwrap(), 4);
        assert_eq!(&buf[..4], b"last");
        for _ in 0..2 {
            assert_eq!(runtime.block_on(receiver.read(&mut buf)).unwrap(), 0);
            assert_eq!(inside(&runtime, || receiver.try_read(&mut buf)).unwrap(), 0);
        }
        let error = runtime.block_on(receiver.read_exact(&mut buf));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    });
}

/// Fault A5. Catches: an ERR that ends no wait for room; a write that fails and is not told so.
#[test]
fn a_writer_that_waits_hears_that_the_last_reader_is_gone() {
    let _limit = limit(30);
    running(async || {
        for waits_for_room in [true, false] {
            let (sender, receiver) = pipe().unwrap();
            fill(&sender);
            let writer = reveille::spawn(async move {
                if waits_for_room {
                    sender.writable().await.unwrap();
                }
                let error = sender.write_all(&[7; 100_000]).await.unwrap_err();
                let vectored = [IoSlice::new(b"x")];
                let again = sender.write_vectored(&vectored).await.unwrap_err();
                (error.kind(), again.kind())
            });
            reveille::task::yield_now().await;
            drop(receiver);
            let broken = ErrorKind::BrokenPipe;
            assert_eq!(writer.await.unwrap(), (broken, broken));
        }
    });
}

/// Catches: bytes written before a reader came that are lost, or an end that forgets them.
#[test]
fn bytes_outlive_their_writer_and_not_their_last_reader() {
    let _limit = limit(30);
    running(async || {
        let (sender, receiver) = pipe().unwrap();
        sender.write_all(b"kept").await.unwrap();
        drop(sender);
        let mut got = Vec::new();
        while receiver.read_vec(&mut got).await.unwrap() > 0 {}
        assert_eq!(got, b"kept");
    });
}

/// Gives SIGPIPE its default action, which Rust's `main` has taken from it.
fn let_sigpipe_kill() {
    // SAFETY: SIG_DFL installs no handler, so no code runs in signal context; this process runs this one test only.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);
}

/// Fault C4. Catches: a write that raises SIGPIPE where the kernel (6.18) can do without: the whole process ends.
#[test]
fn where_the_kernel_can_no_write_to_a_pipe_raises_sigpipe() {
    let _limit = limit(200);
    if !takes_flag_to_write(&descriptors()[1], RWF_NOSIGNAL) {
        return; // Then the next test says what happens.
    }
    child::in_child(
        "ending::where_the_kernel_can_no_write_to_a_pipe_raises_sigpipe",
        || {
            let_sigpipe_kill();
            reveille::block_on(async {
                let (sender, receiver) = pipe().unwrap();
                drop(receiver);
                let fifo = Fifo::new();
                let reader = OpenOptions::new().open_receiver(fifo.path()).unwrap();
                let named = OpenOptions::new().open_sender(fifo.path()).unwrap();
                // One that has learned which flags it may use, and one that has not.
                let learned = OpenOptions::new().open_sender(fifo.path()).unwrap();
                learned.write(b"x").await.unwrap();
                drop(reader);
                for sender in [sender, named, learned] {
                    for _ in 0..2 {
                        let broken = sender.write(b"x").await.unwrap_err();
                        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
                        let broken = sender.write_vectored(&[IoSlice::new(b"x")]).await;
                        assert_eq!(broken.unwrap_err().kind(), ErrorKind::BrokenPipe);
                    }
                }
            });
        },
    );
}

/// What the page of pipes says of kernels before 6.18, where nothing has to be refused to see it. Catches: a page that is
/// not true; a write that is tried again for ever, or is no error, where the signal is ignored.
#[test]
fn where_the_kernel_cannot_sigpipe_ends_the_process_unless_it_is_ignored() {
    let name = "ending::where_the_kernel_cannot_sigpipe_ends_the_process_unless_it_is_ignored";
    let status = child::child(name, || {
        let write = |sender: Sender| {
            reveille::block_on(async move {
                let error = sender.write(b"x").await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            });
        };
        // (For ENOSYS the C library would call writev(2).)
        refuse(libc::SYS_pwritev2, None, libc::EPERM);
        // Rust's `main` has it ignored.
        let mut ends = Vec::new();
        for [reading, writing] in [descriptors(), named_descriptors(), descriptors()] {
            drop(reading);
            ends.push(Sender::from_owned_fd(writing).unwrap());
        }
        write(ends.pop().unwrap());
        write(ends.pop().unwrap());
        let_sigpipe_kill();
        write(ends.pop().unwrap());
    });
    if let Some(status) = status {
        assert_eq!(status.signal(), Some(libc::SIGPIPE), "{status}");
    }
}

/// Fault C13. Catches: a read that is dropped and takes bytes with it.
#[test]
fn a_read_that_is_dropped_takes_nothing() {
    let _limit = limit(30);
    running(async || {
        let (sender, receiver) = pipe().unwrap();
        let mut buf = [0; 8];
        assert!(poll_once(receiver.read(&mut buf)).await.is_none());
        sender.write_all(b"here").await.unwrap();
        assert_eq!(receiver.read(&mut buf).await.unwrap(), 4);
    });
}
