//! What outlives its runtime: an error that says so, or what the crate it belongs to says; never a hang.

use std::future::pending;
use std::io::ErrorKind;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use reveille::io::is_not_at_home;
use reveille::net::{TcpListener, TcpStream};
use reveille::task::yield_now;
use reveille::time::{sleep, timeout};
use reveille::{Handle, Runtime, block_on, spawn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

#[path = "../../../support/limit.rs"]
mod limit;

use limit::limit;

/// Catches: a sender that waits for room which nobody will make.
#[test]
fn a_sender_finds_the_channel_closed_and_a_receiver_gets_what_was_sent() {
    let _limit = limit(60);
    let runtime = Runtime::new().unwrap();
    let (sender, mut inside) = mpsc::channel::<u32>(1);
    let (from_inside, mut receiver) = mpsc::channel(10);
    let (answer, answered) = oneshot::channel::<()>();
    runtime.block_on(async {
        spawn(async move {
            from_inside.send(1).await.unwrap();
            from_inside.send(2).await.unwrap();
            let _kept = (&mut inside, answer);
            pending::<()>().await;
        })
        .detach();
        while receiver.len() < 2 {
            yield_now().await;
        }
    });
    sender.try_send(1).unwrap();
    // A thread that waits for room is woken as the runtime drops its tasks.
    let waiting = sender.clone();
    let waiting = thread::spawn(move || waiting.blocking_send(2));
    drop(runtime);
    assert!(waiting.join().unwrap().is_err());
    assert!(sender.is_closed());
    block_on(async {
        sender.send(3).await.unwrap_err();
        assert_eq!(receiver.recv().await, Some(1));
        assert_eq!(receiver.recv().await, Some(2));
        assert_eq!(receiver.recv().await, None);
        answered.await.unwrap_err();
    });
}

/// Catches: a lock, a permit or a waiter that stays with a task which is no more.
#[test]
fn a_lock_is_free_and_its_waiters_are_gone() {
    let _limit = limit(60);
    let lock = Arc::new(Mutex::new(0));
    let notify = Arc::new(Notify::new());
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            let (lock, notify) = (Arc::clone(&lock), Arc::clone(&notify));
            spawn(async move {
                let _guard = lock.lock().await;
                notify.notified().await;
            })
            .detach();
        }
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(lock.try_lock().is_err());
    });
    drop(runtime);
    assert_eq!(
        (Arc::strong_count(&lock), Arc::strong_count(&notify)),
        (1, 1)
    );
    block_on(async {
        assert_eq!(*lock.lock().await, 0);
        // Not given to one that was dropped.
        notify.notify_one();
        notify.notified().await;
    });
}

/// Catches: a handle that waits for a task which is no more; an output that would be dropped elsewhere.
#[test]
fn a_handle_says_that_its_task_was_cancelled() {
    let _limit = limit(60);
    let runtime = Runtime::new().unwrap();
    let (waiting, finished) = runtime.block_on(async {
        let waiting = spawn(pending::<Rc<u32>>());
        let finished = spawn(async { Rc::new(1) });
        while !finished.is_finished() {
            yield_now().await;
        }
        (waiting, finished)
    });
    let abort = waiting.abort_handle();
    drop(runtime);
    assert!(waiting.is_finished() && abort.is_finished());
    abort.abort();
    block_on(async {
        assert!(waiting.await.unwrap_err().is_cancelled());
        assert!(finished.await.unwrap_err().is_cancelled());
    });
}

/// Catches: a future that waits in an inbox which nobody empties, with the channel that it holds.
#[test]
fn what_is_spawned_through_a_handle_is_dropped_at_once() {
    let _limit = limit(60);
    let runtime = Runtime::new().unwrap();
    let handle = runtime.block_on(async { Handle::current() });
    drop(runtime);
    let (sender, receiver) = oneshot::channel::<()>();
    handle.spawn(async move { sender.send(()).unwrap() });
    receiver.blocking_recv().unwrap_err();
}

/// A stream on which its runtime has waited, and the other end.
fn stream_of_an_ended_runtime() -> (TcpStream, std::net::TcpStream) {
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut buf = [0];
        let silent = timeout(Duration::from_millis(1), stream.read(&mut buf));
        assert!(silent.await.is_err());
        (stream, peer)
    })
}

/// Catches: a read that waits for an event of an epoll which is no more.
#[test]
fn a_stream_works_until_it_would_have_to_wait_and_then_says_that_it_is_not_at_home() {
    let _limit = limit(60);
    let (mut stream, mut peer) = stream_of_an_ended_runtime();
    block_on(async {
        // Not `write_all` and `read` of the stream itself, but those of tokio's traits.
        AsyncWriteExt::write_all(&mut stream, b"hello")
            .await
            .unwrap();
        let mut buf = [0; 9];
        std::io::Read::read_exact(&mut peer, &mut buf[..5]).unwrap();
        let error = AsyncReadExt::read(&mut stream, &mut buf).await.unwrap_err();
        assert!(is_not_at_home(&error), "{error}");

        std::io::Write::write_all(&mut peer, b"answer").unwrap();
        assert_eq!(AsyncReadExt::read(&mut stream, &mut buf).await.unwrap(), 6);
        // More than the sockets hold.
        let error = AsyncWriteExt::write_all(&mut stream, &vec![0; 64 << 20]).await;
        let error = error.unwrap_err();
        assert!(is_not_at_home(&error), "{error}");
    });
}

/// Catches: a stream that cannot be saved.
#[test]
fn a_stream_is_taken_to_another_runtime_by_way_of_std() {
    let _limit = limit(60);
    let (stream, mut peer) = stream_of_an_ended_runtime();
    let writing = thread::spawn(move || {
        std::io::Write::write_all(&mut peer, b"saved").unwrap();
    });
    block_on(async {
        let stream = TcpStream::from_std(stream.into_std().unwrap()).unwrap();
        let mut text = String::new();
        (&mut &stream).read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "saved");
    });
    writing.join().unwrap();
}

/// Catches: a sleep that hangs, because the timers of its runtime are no more.
#[test]
fn a_sleep_that_moves_to_another_runtime_ends_there() {
    let _limit = limit(60);
    let runtime = Runtime::new().unwrap();
    let mut nap = sleep(Duration::from_millis(20));
    runtime.block_on(async {
        let early = timeout(Duration::from_millis(1), &mut nap).await;
        assert!(early.is_err());
    });
    drop(runtime);
    block_on(nap);
}

/// Catches: a connection that stays open, because a task which is no more holds it.
#[test]
fn the_other_end_of_a_tasks_stream_sees_the_end() {
    let _limit = limit(60);
    let runtime = Runtime::new().unwrap();
    let mut peer = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            AsyncReadExt::read(&mut stream, &mut [0]).await.unwrap();
        })
        .detach();
        for _ in 0..100 {
            yield_now().await;
        }
        peer
    });
    drop(runtime);
    match std::io::Read::read(&mut peer, &mut [0]) {
        Ok(n) => assert_eq!(n, 0),
        // The listener had not accepted it yet.
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}
