//! Sharing a stream: several tasks, two halves, several threads with a runtime each.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::thread;

use futures_lite::future::poll_once;
use reveille::Runtime;
use reveille::net::{TcpListener, TcpStream};

use super::step::{Wakes, inside, poll};
use super::{LOCAL, Reader, delivered, ours, pair, running, stepping};
use crate::limit::limit;

/// R10. Catches: two tasks on one stream, of which the second to wait replaces the first.
#[test]
fn one_task_reads_while_another_writes_the_same_stream() {
    let _limit = limit(30);
    running(async || {
        let (client, server) = ours().await;
        let client = Rc::new(client);
        let reader = reveille::spawn({
            let client = Rc::clone(&client);
            async move {
                let mut got = vec![0; 300_000];
                client.read_exact(&mut got).await.unwrap();
                got
            }
        });
        let writer = reveille::spawn(async move {
            client.write_all(&super::counted(300_000)).await.unwrap();
        });
        let echo = reveille::spawn(async move {
            let mut buf = [0; 1000];
            loop {
                match server.read(&mut buf).await.unwrap() {
                    0 => break,
                    n => server.write_all(&buf[..n]).await.unwrap(),
                }
            }
        });
        writer.await.unwrap();
        assert!(reader.await.unwrap() == super::counted(300_000));
        echo.await.unwrap();
    });
}

/// Fault A11. Catches: only one of several readers woken, the others left with bytes in the kernel.
#[test]
fn two_tasks_reading_one_stream_both_get_bytes() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, ours) = pair().await;
        let ours = Rc::new(ours);
        let readers = [(); 2].map(|()| {
            let ours = Rc::clone(&ours);
            reveille::spawn(async move { ours.read(&mut [0]).await.unwrap() })
        });
        reveille::task::yield_now().await;
        theirs.write_all(b"ab").unwrap();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), 1);
        }
    });
}

/// Fault A12. Catches: the waker of the first poll kept, though the future has moved to another task.
#[test]
fn a_read_that_moves_wakes_the_task_that_polled_it_last() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let ((before, first), (after, second)) = (Wakes::new(), Wakes::new());
        let mut buf = [0];
        let mut read = Box::pin(ours.read(&mut buf));
        assert!(inside(runtime, || poll(&mut read, &first)).is_pending());
        assert!(inside(runtime, || poll(&mut read, &second)).is_pending());
        theirs.write_all(b"x").unwrap();
        delivered(&theirs);
        runtime.turn().unwrap();
        assert_eq!((before.count(), after.count()), (0, 1));
        assert!(inside(runtime, || poll(&mut read, &second)).is_ready());
    });
}

/// Halves go to tasks of their own. Catches: a half that waits for the other's direction.
#[test]
fn owned_halves_work_in_different_tasks() {
    let _limit = limit(30);
    running(async || {
        let (client, server) = ours().await;
        let (reader, writer) = client.into_split();
        let (from, to) = server.into_split();
        let sending = reveille::spawn(async move {
            writer.write_all(&super::counted(500_000)).await.unwrap();
        });
        let echoing = reveille::spawn(async move {
            let mut buf = [0; 4096];
            while let n @ 1.. = from.read(&mut buf).await.unwrap() {
                to.write_all(&buf[..n]).await.unwrap();
            }
        });
        let mut got = Vec::new();
        let mut buf = [0; 4096];
        while let n @ 1.. = reader.read(&mut buf).await.unwrap() {
            got.extend_from_slice(&buf[..n]);
        }
        sending.await.unwrap();
        echoing.await.unwrap();
        assert!(got == super::counted(500_000));
    });
}

/// A stream that never waited belongs to no runtime. Catches: registration at birth.
#[test]
fn a_new_stream_can_be_sent_to_another_threads_runtime() {
    let _limit = limit(30);
    running(async || {
        let (client, server) = ours().await;
        // What connected had to wait here, so only what was accepted is free to go.
        let there = thread::spawn(move || {
            reveille::block_on(async move {
                let mut buf = [0; 4];
                server.read_exact(&mut buf).await.unwrap();
                server.write_all(&buf).await.unwrap();
            });
        });
        client.write_all(b"ping").await.unwrap();
        let mut buf = [0; 4];
        client.read_exact(&mut buf).await.unwrap();
        there.join().unwrap();
    });
}

/// R10: elsewhere an operation is tried, and one that would have to wait is an error with its cure.
/// Catches: a wait that never ends, in a runtime that has not registered the stream.
#[test]
fn a_registered_stream_works_elsewhere_until_it_would_have_to_wait() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        Reader::new(runtime, &ours).wait();
        theirs.write_all(b"abc").unwrap();
        delivered(&theirs);
        let cured = thread::scope(|scope| {
            let elsewhere = scope.spawn(|| {
                let other = Runtime::new().unwrap();
                other.block_on(async {
                    let mut buf = [0; 9];
                    assert_eq!(ours.read(&mut buf).await.unwrap(), 3);
                    assert_eq!(ours.write(b"de").await.unwrap(), 2);
                    for error in [
                        ours.read(&mut buf).await.unwrap_err(),
                        ours.readable().await.unwrap_err(),
                    ] {
                        let text = error.to_string();
                        assert!(text.contains("registered with another runtime"), "{text}");
                        assert!(text.contains("`try_clone`"), "{text}");
                    }
                    // The cure it names.
                    let clone = ours.try_clone().unwrap();
                    (&theirs).write_all(b"fg").unwrap();
                    assert_eq!(clone.read(&mut buf).await.unwrap(), 2);
                });
            });
            elsewhere.join()
        });
        cured.unwrap();
        let mut got = [0; 2];
        theirs.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"de");
        // At home nothing is lost by it.
        theirs.write_all(b"hi").unwrap();
        delivered(&theirs);
        let mut reader = Reader::new(runtime, &ours);
        assert_eq!((reader.rest(9), &*reader.take()), (super::End::Waits, "hi"));
    });
}

/// A listener has no `try_clone`. Catches: advice that does not compile, or does not help.
#[test]
fn a_registered_listener_is_duplicated_as_the_error_says() {
    let _limit = limit(30);
    stepping(|runtime| {
        let listener = runtime.block_on(TcpListener::bind(LOCAL)).unwrap();
        let at = listener.local_addr().unwrap();
        runtime.block_on(async { assert!(poll_once(listener.accept()).await.is_none()) });
        let elsewhere = thread::scope(|scope| {
            let elsewhere = scope.spawn(|| {
                reveille::block_on(async {
                    let error = listener.accept().await.unwrap_err();
                    assert!(reveille::io::is_not_at_home(&error), "{error}");
                    let text = error.to_string();
                    assert!(text.contains("`as_fd().try_clone_to_owned()`"), "{text}");
                    let duplicate = listener.as_fd().try_clone_to_owned().unwrap();
                    let duplicate = TcpListener::from_std(duplicate.into()).unwrap();
                    let _client = std::net::TcpStream::connect(at).unwrap();
                    duplicate.accept().await.unwrap();
                });
            });
            elsewhere.join()
        });
        elsewhere.unwrap();
    });
}

/// Catches: a wait outside of any runtime that hangs, or panics.
#[test]
fn outside_a_runtime_a_read_is_tried_and_a_wait_is_an_error() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        theirs.write_all(b"abc").unwrap();
        delivered(&theirs);
        let mut buf = [0; 9];
        let block_on = futures_lite::future::block_on;
        assert_eq!(block_on(ours.read(&mut buf)).unwrap(), 3);
        let error = futures_lite::future::block_on(ours.read(&mut buf)).unwrap_err();
        assert!(error.to_string().contains("outside a runtime"), "{error}");
    });
}

/// Two handles, one connection. Catches: a clone that takes the other's registration away with it.
#[test]
fn a_clone_is_registered_by_itself() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let clone: TcpStream = ours.try_clone().unwrap();
        Reader::new(runtime, &ours).wait();
        Reader::new(runtime, &clone).wait();
        assert_eq!(super::registrations(runtime), 2);
        drop(clone);
        assert_eq!(super::registrations(runtime), 1);
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        theirs.write_all(b"abc").unwrap();
        delivered(&theirs);
        assert_eq!(
            (reader.rest(9), &*reader.take()),
            (super::End::Waits, "abc")
        );
    });
}
