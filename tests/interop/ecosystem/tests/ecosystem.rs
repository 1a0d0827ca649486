//! tokio's channels and locks, `select!`, futures-concurrency and tokio-util's codecs on reveille.
//!
//! Each test runs under shuffled choices, too.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_concurrency::prelude::*;
use futures_util::{SinkExt, StreamExt, TryStreamExt, stream};
use reveille::net::{TcpListener, TcpStream};
use reveille::task::{JoinSet, yield_now};
use reveille::time::{advance, interval, sleep, timeout};
use reveille::{Builder, spawn};
use tokio::sync::{Mutex, Notify, RwLock, Semaphore, broadcast, mpsc, oneshot, watch};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec, LinesCodec, LinesCodecError};

#[path = "../../../support/limit.rs"]
mod limit;
#[path = "../../../support/seeds.rs"]
mod seeds;

use limit::limit;
use seeds::under_seeds;

/// Runs it in the usual order, and under shuffled choices.
#[track_caller]
fn in_any_order(test: impl AsyncFn() + Send + 'static) {
    reveille::block_on(test());
    under_seeds("REVEILLE_CHAOS", 2, move |seed| {
        let _limit = limit(60);
        Builder::new().chaos(seed).block_on(test());
    });
}

/// Catches: a wake of a sender that is lost when the channel was full.
#[test]
fn a_bounded_channel_brings_all_of_many_senders_in_their_order() {
    let _limit = limit(120);
    in_any_order(async || {
        let (sender, mut receiver) = mpsc::channel(3);
        for from in 0..10 {
            let sender = sender.clone();
            spawn(async move {
                for n in 0..100 {
                    sender.send((from, n)).await.unwrap();
                }
            })
            .detach();
        }
        drop(sender);
        let mut next = [0; 10];
        while let Some((from, n)) = receiver.recv().await {
            assert_eq!(n, next[from]);
            next[from] += 1;
        }
        assert_eq!(next, [100; 10]);
    });
}

/// Catches: a wake from another thread that is lost while the runtime sleeps.
#[test]
fn threads_send_into_a_task_and_hear_its_answers() {
    let _limit = limit(120);
    in_any_order(async || {
        let (requests, mut requested) = mpsc::unbounded_channel::<(u64, oneshot::Sender<u64>)>();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let requests = requests.clone();
                thread::spawn(move || {
                    for n in 0..200 {
                        let (answer, answered) = oneshot::channel();
                        requests.send((n, answer)).unwrap();
                        assert_eq!(answered.blocking_recv().unwrap(), n * n);
                    }
                })
            })
            .collect();
        drop(requests);
        while let Some((n, answer)) = requested.recv().await {
            answer.send(n * n).unwrap();
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// Catches: a receiver that is woken by some messages only; one that falls behind and is not told.
#[test]
fn every_receiver_of_a_broadcast_hears_every_message_or_how_many_it_missed() {
    let _limit = limit(120);
    in_any_order(async || {
        let (sender, mut slow) = broadcast::channel(4);
        let mut listening = JoinSet::new();
        for _ in 0..5 {
            let mut receiver = sender.subscribe();
            listening.spawn(async move {
                let mut heard = 0;
                loop {
                    match receiver.recv().await {
                        Ok(n) => {
                            assert_eq!(n, heard);
                            heard += 1;
                        }
                        Err(broadcast::error::RecvError::Lagged(missed)) => heard += missed,
                        Err(broadcast::error::RecvError::Closed) => return heard,
                    }
                }
            });
        }
        for n in 0..100 {
            sender.send(n).unwrap();
            yield_now().await;
        }
        drop(sender);
        assert_eq!(listening.join_all().await, [100; 5]);
        let missed = slow.recv().await.unwrap_err();
        assert_eq!(missed, broadcast::error::RecvError::Lagged(96));
        assert_eq!(slow.recv().await.unwrap(), 96);
    });
}

/// Catches: a last value that a watcher never sees.
#[test]
fn a_watcher_sees_the_last_value_and_the_end() {
    let _limit = limit(120);
    in_any_order(async || {
        let (sender, mut receiver) = watch::channel(0);
        let watching = spawn(async move {
            let mut seen = vec![*receiver.borrow()];
            while receiver.changed().await.is_ok() {
                seen.push(*receiver.borrow_and_update());
            }
            seen
        });
        for n in 1..=100 {
            sender.send(n).unwrap();
            if n % 7 == 0 {
                yield_now().await;
            }
        }
        drop(sender);
        let seen = watching.await.unwrap();
        assert!(seen.is_sorted() && seen.ends_with(&[100]), "{seen:?}");
    });
}

/// Catches: two in the lock at once; a permit that goes to a waiter that was dropped; one that is woken for nobody.
#[test]
fn locks_and_permits_are_handed_on_past_waiters_that_gave_up() {
    let _limit = limit(120);
    in_any_order(async || {
        let lock = Rc::new(Mutex::new(0));
        let table = Rc::new(RwLock::new(0));
        let permits = Arc::new(Semaphore::new(2));
        let inside = Rc::new(Cell::new(0));
        let mut tasks = JoinSet::new();
        for n in 0..60 {
            let (lock, table, inside) = (lock.clone(), table.clone(), inside.clone());
            let permits = Arc::clone(&permits);
            tasks.spawn(async move {
                if n % 3 == 0 {
                    // It gives up while it waits, or has it at once.
                    tokio::select! {
                        biased;
                        permit = permits.acquire() => drop(permit.unwrap()),
                        guard = lock.lock() => drop(guard),
                        () = yield_now() => {}
                    }
                    return;
                }
                let _permit = permits.acquire_owned().await.unwrap();
                inside.set(inside.get() + 1);
                assert!(inside.get() <= 2);
                yield_now().await;
                let mut guard = lock.lock().await;
                let before = *guard;
                yield_now().await;
                *guard = before + 1;
                drop(guard);
                *table.write().await += 1;
                inside.set(inside.get() - 1);
            });
        }
        tasks.join_all().await;
        assert_eq!((*lock.lock().await, *table.read().await), (40, 40));
        assert_eq!(permits.available_permits(), 2);
    });
}

/// Catches: a notification that is forgotten if nobody waits yet, or that wakes too few.
#[test]
fn a_notification_wakes_one_and_a_call_to_all_wakes_all() {
    let _limit = limit(120);
    in_any_order(async || {
        let notify = Rc::new(Notify::new());
        notify.notify_one();
        notify.notified().await;
        let woken = Rc::new(Cell::new(0));
        let mut waiting = JoinSet::new();
        for _ in 0..10 {
            let (notify, woken) = (Rc::clone(&notify), Rc::clone(&woken));
            waiting.spawn(async move {
                notify.notified().await;
                woken.set(woken.get() + 1);
            });
        }
        for n in 1..=3 {
            notify.notify_one();
            while woken.get() < n {
                yield_now().await;
            }
            yield_now().await;
            assert_eq!(woken.get(), n);
        }
        // Those that do not wait yet are called again.
        while woken.get() < 10 {
            notify.notify_waiters();
            yield_now().await;
        }
        waiting.join_all().await;
    });
}

/// Catches: a branch of `select!` that takes something and loses it, because another was ready, too.
#[test]
fn select_loses_no_message_to_a_timer_or_another_channel() {
    let _limit = limit(120);
    in_any_order(async || {
        let (sender, mut numbers) = mpsc::channel(2);
        let (stop, mut stopped) = oneshot::channel();
        let (told, mut texts) = mpsc::unbounded_channel();
        spawn(async move {
            for n in 0..200 {
                sender.send(n).await.unwrap();
                told.send(n.to_string()).unwrap();
                if n % 20 == 0 {
                    sleep(Duration::from_micros(300)).await;
                }
            }
            stop.send("stopped").unwrap();
        })
        .detach();
        let mut ticks = interval(Duration::from_micros(200));
        let (mut got, mut heard) = (Vec::new(), Vec::new());
        let mut end = None;
        while end.is_none() || got.len() < 200 || heard.len() < 200 {
            tokio::select! {
                Some(n) = numbers.recv() => got.push(n),
                Some(text) = texts.recv() => heard.push(text),
                stopped = &mut stopped, if end.is_none() => end = Some(stopped.unwrap()),
                _ = ticks.tick() => {}
            }
        }
        assert!(got.iter().copied().eq(0..200));
        assert!(heard.into_iter().eq((0..200).map(|n| n.to_string())));
        assert_eq!(end, Some("stopped"));
    });
}

/// Catches: a waker of a part that does not wake the whole.
#[test]
fn joins_races_and_merges_of_futures_concurrency_end() {
    let _limit = limit(120);
    in_any_order(async || {
        let (sender, receiver) = oneshot::channel();
        let joined = (
            async {
                yield_now().await;
                sender.send("sent").unwrap();
                1
            },
            receiver,
            spawn(async { 'c' }),
        );
        let (one, sent, c) = joined.join().await;
        assert_eq!((one, sent.unwrap(), c.unwrap()), (1, "sent", 'c'));

        let fastest = [300, 1, 200].map(|millis| async move {
            sleep(Duration::from_millis(millis)).await;
            millis
        });
        assert_eq!(fastest.race().await, 1);

        let failing = [Ok(1), Err("no"), Ok(3)].map(|result| async move {
            yield_now().await;
            result
        });
        assert_eq!(failing.try_join().await, Err("no"));

        let counted = |from: u32| {
            stream::unfold(from, |n| async move {
                yield_now().await;
                (n % 100 < 50).then_some((n, n + 1))
            })
        };
        let streams = [counted(0), counted(100), counted(200)].map(Box::pin);
        let mut merged: Vec<u32> = streams.merge().collect().await;
        merged.sort_unstable();
        assert!(
            merged
                .into_iter()
                .eq((0..50).chain(100..150).chain(200..250))
        );
    });
}

/// Catches: a timer that does not wake a task which waits for a channel of another crate.
#[test]
fn a_timeout_of_a_paused_clock_ends_a_wait_for_a_channel() {
    let _limit = limit(60);
    Builder::new().start_paused(true).block_on(async {
        let (_sender, mut receiver) = mpsc::channel::<()>(1);
        let waiting = spawn(async move { timeout(Duration::from_secs(5), receiver.recv()).await });
        yield_now().await;
        assert!(!waiting.is_finished());
        advance(Duration::from_secs(5)).await;
        assert!(waiting.await.unwrap().is_err());
    });
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    (client, listener.accept().await.unwrap().0)
}

/// Catches: a line that is lost where a read ends, or a sink that says it is flushed and is not.
#[test]
fn lines_are_framed_on_a_stream_in_both_directions() {
    let _limit = limit(120);
    in_any_order(async || {
        let (client, server) = pair().await;
        spawn(async move {
            let (mut sink, lines) = Framed::new(server, LinesCodec::new()).split();
            let mut shouted = lines.map_ok(|line| line.to_uppercase());
            sink.send_all(&mut shouted).await.unwrap();
            sink.close().await.unwrap();
        })
        .detach();
        let (mut sink, lines) = Framed::new(client, LinesCodec::new()).split();
        let line = |n: usize| format!("line {n} {}", "x".repeat(n % 300));
        let sending = spawn(async move {
            for n in 0..2000 {
                SinkExt::<String>::feed(&mut sink, line(n)).await.unwrap();
            }
            SinkExt::<String>::close(&mut sink).await.unwrap();
        });
        let got: Vec<String> = lines.try_collect().await.unwrap();
        sending.await.unwrap();
        assert_eq!(got.len(), 2000);
        for (n, got) in got.into_iter().enumerate() {
            assert_eq!(got, line(n).to_uppercase());
        }
    });
}

/// Catches: an error of a codec that ends the stream, or is taken for one of the socket.
#[test]
fn a_line_that_is_too_long_is_an_error_and_the_next_is_read() {
    let _limit = limit(120);
    in_any_order(async || {
        let (client, server) = pair().await;
        let sending = spawn(async move {
            let text = format!("short\n{}\nnext\nend", "long".repeat(10_000));
            client.write_all(text.as_bytes()).await.unwrap();
        });
        let mut lines = Framed::new(server, LinesCodec::new_with_max_length(100));
        assert_eq!(lines.next().await.unwrap().unwrap(), "short");
        let error = lines.next().await.unwrap().unwrap_err();
        assert!(matches!(error, LinesCodecError::MaxLineLengthExceeded));
        // The stream ends after an error, and can be asked on: tokio-util's `FramedRead`.
        let mut rest = Vec::new();
        while rest.len() < 2 {
            if let Some(line) = lines.next().await {
                rest.push(line.unwrap());
            }
        }
        assert_eq!(rest, ["next", "end"]);
        sending.await.unwrap();
    });
}

/// Catches: a frame that is cut where a buffer ends.
#[test]
fn frames_of_a_given_length_are_whole() {
    let _limit = limit(120);
    in_any_order(async || {
        let (client, server) = pair().await;
        let sizes = [0, 1, 8191, 8192, 8193, 1 << 20];
        let sending = spawn(async move {
            let mut frames = Framed::new(client, LengthDelimitedCodec::new());
            for size in sizes {
                let frame = Bytes::from(vec![size as u8; size]);
                frames.send(frame).await.unwrap();
            }
        });
        let frames = Framed::new(server, LengthDelimitedCodec::new());
        let got: Vec<_> = frames.try_collect().await.unwrap();
        sending.await.unwrap();
        assert_eq!(got.len(), sizes.len());
        for (got, size) in got.iter().zip(sizes) {
            assert!(*got == vec![size as u8; size], "{size} bytes");
        }
    });
}
