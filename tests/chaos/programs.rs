//! Correct programs, which come out right under every seed, whatever order things happen in.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use reveille::Builder;
use reveille::io::Interest;
use reveille::net::{TcpListener, TcpStream};
use reveille::task::{JoinSet, yield_now};
use reveille::time::{self, interval, sleep, timeout};

use super::seeds::under_seeds;
use super::{pair, read, tcp_pair, write_all};

/// Runs `program` under 200 seeds, or as many as `REVEILLE_CHAOS` says.
#[track_caller]
fn under_chaos<F: Future<Output = ()>>(program: impl Fn() -> F + Send + 'static) {
    under_seeds("REVEILLE_CHAOS", 200, move |seed| {
        Builder::new().chaos(seed).block_on(program());
    });
}

/// `n` bytes that betray one that is lost, doubled or out of place.
fn counted(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i ^ (i >> 8)) as u8).collect()
}

/// Catches: a wake that is lost; an interruption that is taken for a wait.
#[test]
fn two_play_ping_pong() {
    under_chaos(async || {
        let (ping, pong) = pair();
        let other = reveille::spawn(async move {
            let mut buf = [0; 4];
            while let Ok(n @ 1..) = read(&pong, &mut buf).await {
                write_all(&pong, &buf[..n]).await.unwrap();
            }
        });
        for round in 0..20 {
            write_all(&ping, &[round; 4]).await.unwrap();
            let (mut buf, mut filled) = ([0xff; 4], 0);
            while filled < 4 {
                filled += read(&ping, &mut buf[filled..]).await.unwrap();
            }
            assert_eq!(buf, [round; 4]);
        }
        drop(ping);
        other.await.unwrap();
    });
}

/// Catches: a byte lost, doubled or out of place by a read or write cut short; an end that is lost.
#[test]
fn tcp_echoes_every_byte() {
    under_chaos(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = reveille::spawn(async move {
            let mut connections = JoinSet::new();
            for _ in 0..3 {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(async move {
                    let mut buf = [0; 700];
                    while let n @ 1.. = stream.read(&mut buf).await.unwrap() {
                        stream.write_all(&buf[..n]).await.unwrap();
                    }
                });
            }
            connections.join_all().await;
        });
        let mut clients = JoinSet::new();
        for n in [1, 3000, 20_000] {
            clients.spawn(async move {
                let stream = Rc::new(TcpStream::connect(address).await.unwrap());
                let writer = Rc::clone(&stream);
                let writer = reveille::spawn(async move {
                    writer.write_all(&counted(n)).await.unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                let (mut got, mut buf) = (Vec::new(), [0; 1000]);
                while let n @ 1.. = stream.read(&mut buf).await.unwrap() {
                    got.extend_from_slice(&buf[..n]);
                }
                writer.await.unwrap();
                assert!(got == counted(n), "not what was sent");
            });
        }
        clients.join_all().await;
        server.await.unwrap();
    });
}

/// R10. Catches: a vectored read cut short and compared with the room in all of its buffers, so that
/// what it left behind is waited for; one that leaves a gap between them; a peek that takes.
#[test]
fn tcp_moves_every_byte_from_and_into_several_buffers() {
    under_chaos(async || {
        let (here, there) = tcp_pair().await;
        let writer = reveille::spawn(async move {
            let bytes = counted(2000);
            let mut written = 0;
            while written < bytes.len() {
                let mut parts = bytes[written..].chunks(100).take(3).map(IoSlice::new);
                let parts = [(); 3].map(|()| parts.next().unwrap_or(IoSlice::new(&[])));
                written += match here.try_write_vectored(&parts) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        here.write_vectored(&parts).await.unwrap()
                    }
                    n => n.unwrap(),
                };
                if written % 3 == 0 {
                    yield_now().await;
                }
            }
            // Until all has been read, nothing comes behind it.
            assert_eq!(here.read(&mut [0]).await.unwrap(), 1);
        });
        let mut got = Vec::new();
        while got.len() < 2000 {
            // Not all the time: after a peek no short read is trusted.
            if got.len() < 1000 {
                let mut peeked = [0; 40];
                let n = there.peek(&mut peeked).await.unwrap();
                assert!(counted(2000)[got.len()..].starts_with(&peeked[..n]));
            }
            let (mut one, mut other) = ([0; 70], [0; 130]);
            let mut bufs = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
            let n = there.read_vectored(&mut bufs).await.unwrap();
            assert_ne!(n, 0, "the end");
            got.extend_from_slice(&[&one[..], &other].concat()[..n]);
        }
        there.write_all(&[1]).await.unwrap();
        writer.await.unwrap();
        assert!(got == counted(2000), "not what was sent");
    });
}

/// Catches: a task whose end is told twice, or not at all.
#[test]
fn a_join_set_gives_each_output_once() {
    under_chaos(async || {
        let mut set = JoinSet::new();
        for i in 0..20u32 {
            set.spawn(async move {
                for _ in 0..i % 4 {
                    yield_now().await;
                }
                i
            });
        }
        let mut outputs = Vec::new();
        while let Some(output) = set.join_next().await {
            outputs.push(output.unwrap());
        }
        outputs.sort_unstable();
        assert_eq!(outputs, Vec::from_iter(0..20));
    });
}

/// Catches: a timeout whose two outcomes happen both, or neither; bytes that a cancelled read took.
#[test]
fn timeouts_cancel_reads_that_have_taken_nothing() {
    under_chaos(async || {
        let (here, there) = pair();
        let writer = reveille::spawn(async move {
            for byte in counted(50) {
                write_all(&here, &[byte]).await.unwrap();
                if byte % 3 == 0 {
                    yield_now().await;
                }
            }
        });
        let (mut got, mut buf) = (Vec::new(), [0; 8]);
        loop {
            match timeout(Duration::from_micros(1), read(&there, &mut buf)).await {
                Ok(Ok(0)) => break,
                Ok(n) => got.extend_from_slice(&buf[..n.unwrap()]),
                Err(_elapsed) => {}
            }
        }
        writer.await.unwrap();
        assert_eq!(got, counted(50));
    });
}

/// Catches: a timer that fires early, or in another order than that of the deadlines; a tick lost.
#[test]
fn sleeps_end_by_their_deadlines() {
    under_seeds("REVEILLE_CHAOS", 200, |seed| {
        let mut options = Builder::new();
        options.chaos(seed).start_paused(true).auto_advance(true);
        options.block_on(async {
            let start = time::now();
            let mut sleeps = JoinSet::new();
            for millis in [5, 1, 4, 2, 3] {
                let limit = Duration::from_millis(millis);
                sleeps.spawn(async move {
                    sleep(limit).await;
                    assert!(time::now() - start >= limit, "early");
                    limit
                });
            }
            let mut ticks = interval(Duration::from_millis(2));
            for _ in 0..4 {
                ticks.tick().await;
            }
            assert!(time::now() - start >= Duration::from_millis(6));
            let mut last = Duration::ZERO;
            while let Some(limit) = sleeps.join_next().await {
                last = last.max(limit.unwrap());
            }
            assert_eq!(last, Duration::from_millis(5));
        });
    });
}

/// Counts those that live.
struct Alive(Rc<Cell<usize>>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Catches: an abort that is lost, or ends another; a future that is dropped twice or never.
#[test]
fn an_aborted_task_is_done_or_dropped() {
    under_chaos(async || {
        let alive = Rc::new(Cell::new(0));
        let mut tasks = Vec::new();
        for i in 0..12 {
            alive.set(alive.get() + 1);
            let me = Alive(Rc::clone(&alive));
            tasks.push(reveille::spawn(async move {
                for _ in 0..i {
                    yield_now().await;
                }
                drop(me);
                i
            }));
        }
        for _ in 0..5 {
            yield_now().await;
        }
        for task in tasks.iter().step_by(2) {
            task.abort();
        }
        for (i, task) in tasks.into_iter().enumerate() {
            match task.await {
                Ok(output) => assert_eq!(output, i),
                Err(error) => assert!(error.is_cancelled() && i % 2 == 0),
            }
        }
        assert_eq!(alive.get(), 0);
    });
}

/// Catches: a panic that is lost, or ends more than its task.
#[test]
fn a_panic_ends_its_task_and_no_other() {
    under_chaos(async || {
        let mut set = JoinSet::new();
        for i in 0..6 {
            set.spawn(async move {
                yield_now().await;
                if i % 3 == 0 {
                    // Without the panic hook, which would print it 400 times.
                    std::panic::resume_unwind(Box::new(i));
                }
                yield_now().await;
                i
            });
        }
        let (mut sum, mut panics) = (0, 0);
        while let Some(ended) = set.join_next().await {
            match ended {
                Ok(i) => sum += i,
                Err(error) => panics += usize::from(error.is_panic()),
            }
        }
        assert_eq!((sum, panics), (1 + 2 + 4 + 5, 2));
    });
}

/// Catches: a waiter that is left out when several wait for one descriptor.
#[test]
fn several_tasks_share_what_comes() {
    under_chaos(async || {
        let (here, there) = pair();
        let there = Rc::new(there);
        let got = Rc::new(RefCell::new(Vec::new()));
        let mut readers = JoinSet::new();
        for _ in 0..3 {
            let (there, got) = (Rc::clone(&there), Rc::clone(&got));
            readers.spawn(async move {
                let mut byte = [0];
                while let Ok(1) = read(&there, &mut byte).await {
                    got.borrow_mut().push(byte[0]);
                    there.writable().await.unwrap().retain_ready();
                }
            });
        }
        write_all(&here, &counted(30)).await.unwrap();
        yield_now().await;
        here.ready(Interest::WRITABLE).await.unwrap().retain_ready();
        drop(here);
        readers.join_all().await;
        assert_eq!(*got.borrow(), counted(30));
    });
}
