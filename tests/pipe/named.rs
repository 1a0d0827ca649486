//! Named pipes: who has to come first, and whether they end.

use std::fs::File;
use std::io::ErrorKind;

use futures_lite::future::poll_once;
use reveille::Runtime;
use reveille::net::pipe::OpenOptions;

use super::step::{Wakes, inside, poll};
use super::within::within;
use super::{Fifo, running};
use crate::limit::limit;

/// Catches: the 0 of a pipe that nothing has opened for writing yet, taken for its end; a first writer that writes nothing
/// and ends no wait.
#[test]
fn a_reader_that_comes_first_waits_for_the_first_writer() {
    let _limit = limit(60);
    for writes in [true, false] {
        within(30, move || {
            let runtime = Runtime::new().unwrap();
            let fifo = Fifo::new();
            let receiver = OpenOptions::new().open_receiver(fifo.path()).unwrap();
            let (wakes, waker) = Wakes::new();
            let mut buf = [0; 8];
            let error = inside(&runtime, || receiver.try_read(&mut buf)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            let mut vec = Vec::new();
            let error = inside(&runtime, || receiver.try_read_vec(&mut vec)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            let mut read = Box::pin(receiver.read(&mut buf));
            assert!(inside(&runtime, || poll(&mut read, &waker)).is_pending());
            runtime.turn().unwrap();
            let sender = OpenOptions::new().open_sender(fifo.path()).unwrap();
            runtime.turn().unwrap();
            if wakes.count() > 0 {
                // For nothing, which may be.
                assert!(inside(&runtime, || poll(&mut read, &waker)).is_pending());
            }
            if writes {
                runtime.block_on(sender.write_all(b"first")).unwrap();
                assert_eq!(runtime.block_on(read.as_mut()).unwrap(), 5);
                drop(sender);
                drop(read);
                assert_eq!(runtime.block_on(receiver.read(&mut buf)).unwrap(), 0);
            } else {
                drop(sender);
                assert_eq!(runtime.block_on(read).unwrap(), 0);
            }
        });
    }
}

/// Catches: an end that is remembered, so that bytes of the next writer are never seen.
#[test]
fn a_reader_goes_on_with_the_next_writer() {
    let _limit = limit(30);
    running(async || {
        let fifo = Fifo::new();
        let receiver = OpenOptions::new().open_receiver(fifo.path()).unwrap();
        for word in [b"one", b"two"] {
            let sender = OpenOptions::new().open_sender(fifo.path()).unwrap();
            // It has a writer: not at its end any more, and nothing is there yet.
            assert!(poll_once(receiver.read(&mut [0; 8])).await.is_none());
            sender.write_all(word).await.unwrap();
            let mut got = Vec::new();
            receiver.read_vec(&mut got).await.unwrap();
            assert_eq!(got, word);
            drop(sender);
            assert_eq!(receiver.read(&mut [0; 8]).await.unwrap(), 0);
        }
    });
}

/// Catches: an error that the page does not tell of; a wait for a reader, in the middle of the runtime.
#[test]
fn a_writer_without_a_reader_is_enxio() {
    let _limit = limit(30);
    running(async || {
        let fifo = Fifo::new();
        let error = OpenOptions::new().open_sender(fifo.path()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENXIO));
        let receiver = OpenOptions::new().open_receiver(fifo.path()).unwrap();
        let sender = OpenOptions::new().open_sender(fifo.path()).unwrap();
        sender.write_all(b"x").await.unwrap();
        assert_eq!(receiver.read(&mut [0; 8]).await.unwrap(), 1);
    });
}

/// Catches: one that is opened in one direction only.
#[test]
fn what_is_opened_both_ways_never_ends_and_needs_no_reader() {
    let _limit = limit(30);
    running(async || {
        let fifo = Fifo::new();
        let sender = OpenOptions::new().read_write(true).open_sender(fifo.path());
        let sender = sender.unwrap();
        sender.write_all(b"early").await.unwrap();
        let receiver = OpenOptions::new()
            .read_write(true)
            .open_receiver(fifo.path());
        let receiver = receiver.unwrap();
        let mut buf = [0; 8];
        assert_eq!(receiver.read(&mut buf).await.unwrap(), 5);
        drop(sender);
        assert!(poll_once(receiver.read(&mut buf)).await.is_none());
        let sender = OpenOptions::new().open_sender(fifo.path()).unwrap();
        sender.write_all(b"late").await.unwrap();
        assert_eq!(receiver.read(&mut buf).await.unwrap(), 4);
    });
}

/// Catches: a pipe opened again, through /proc, that is taken for something else: it is a named one to the kernel then,
/// which takes fewer flags.
#[test]
fn an_anonymous_pipe_can_be_opened_again_by_its_descriptor() {
    let _limit = limit(30);
    running(async || {
        let (sender, receiver) = reveille::net::pipe::pipe().unwrap();
        let path = format!("/proc/self/fd/{}", super::number(&receiver));
        let again = OpenOptions::new().open_receiver(&path).unwrap();
        let writing = OpenOptions::new().open_sender(&path).unwrap();
        sender.write_all(b"one").await.unwrap();
        assert_eq!(again.read(&mut [0; 8]).await.unwrap(), 3);
        writing.write_all(b"more").await.unwrap();
        assert_eq!(receiver.read(&mut [0; 8]).await.unwrap(), 4);
        drop((sender, writing));
        assert_eq!(again.read(&mut [0; 8]).await.unwrap(), 0);
        File::open(path).unwrap();
    });
}
