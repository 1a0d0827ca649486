//! Writing: every byte arrives, however slow the reader, and a writer is woken for room alone.

use std::cell::Cell;
use std::fs;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::task::Poll;
use std::thread;

use reveille::io::Interest;
use reveille::task::yield_now;
use reveille::{Runtime, spawn};

use super::step::{Wakes, inside, poll};
use super::{Reader, counted, fill, finish, ours, pair, running, stepping, write_now};
use crate::limit::limit;

/// R10. Catches: room that is not reported to a waiting writer.
#[test]
fn a_writer_that_waits_is_woken_by_room_and_nothing_is_lost() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let (wakes, waker) = Wakes::new();
        let mut taken = fill(runtime, &ours, (&wakes, &waker));
        let before = wakes.count();
        let mut room = vec![0; 1 << 20];
        let mut read = 0;
        while wakes.count() == before {
            read += theirs.read(&mut room).unwrap();
            runtime.turn().unwrap();
        }
        taken += write_now(runtime, &ours, &waker);
        drop(ours);
        loop {
            match theirs.read(&mut room).unwrap() {
                0 => break,
                n => read += n,
            }
        }
        assert_eq!(read, taken);
    });
}

/// True if epoll reports room to write of some stream: proc_pid_fdinfo(5).
fn reports_room(runtime: &Runtime) -> bool {
    let epoll = runtime.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).unwrap();
    let mut lines = info.lines().filter(|line| line.starts_with("tfd:"));
    lines.any(|line| {
        let events = line.split_whitespace().nth(3).unwrap();
        u32::from_str_radix(events, 16).unwrap() & libc::EPOLLOUT as u32 != 0
    })
}

/// Catches: an event for each new connection that says what is known, that there is room.
#[test]
fn that_a_new_stream_has_room_is_no_event() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        let before = runtime.handle().metrics().events;
        for _ in 0..10 {
            inside(runtime, || ours.try_write(b"abc").unwrap());
            runtime.turn().unwrap();
        }
        assert_eq!(runtime.handle().metrics().events, before);
        assert!(!reports_room(runtime));
        theirs.write_all(b"abc").unwrap();
        super::delivered(&theirs);
        runtime.turn().unwrap();
        assert_eq!(runtime.handle().metrics().events, before + 1);
    });
}

/// R4, R10. Catches: a stream that is registered without room and whose writer waits for it all the same: it
/// waits for ever; one that is registered by its writer, for whom room is asked for twice.
#[test]
fn a_writer_is_woken_by_room_whoever_registered_the_stream() {
    let _limit = limit(30);
    for reader_first in [false, true] {
        for by_try in [false, true] {
            stepping(move |runtime| {
                let (mut theirs, ours) = runtime.block_on(pair());
                let (wakes, waker) = Wakes::new();
                let mut reader = Reader::new(runtime, &ours);
                if reader_first {
                    reader.wait();
                    assert!(!reports_room(runtime));
                }
                if by_try {
                    // Its EAGAIN changes nothing: no task waits yet, and epoll is not asked.
                    inside(runtime, || while ours.try_write(&[7; 65_536]).is_ok() {});
                }
                fill(runtime, &ours, (&wakes, &waker));
                assert!(reports_room(runtime));
                let before = wakes.count();
                let mut room = vec![0; 1 << 20];
                while wakes.count() == before {
                    assert!(theirs.read(&mut room).unwrap() > 0);
                    runtime.turn().unwrap();
                }
                assert!(write_now(runtime, &ours, &waker) > 0);
                // The reader of the same stream hears of what comes.
                if reader_first {
                    theirs.write_all(b"abc").unwrap();
                    super::delivered(&theirs);
                    runtime.turn().unwrap();
                    assert!(reader.wakes.count() > 0);
                }
            });
        }
    }
}

/// R10. Catches: an EAGAIN of `try_write` or `try_io` that is remembered although no event will say that it has passed:
/// whoever drops what a slow peer has no room for would drop all from then on.
#[test]
fn after_a_full_socket_try_write_finds_the_room_that_nobody_has_waited_for() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        Reader::new(runtime, &ours).wait();
        let fill = || while ours.try_write(&[7; 65_536]).is_ok() {};
        let mut room = vec![0; 1 << 20];
        for round in 0..3 {
            inside(runtime, fill);
            let refused = inside(runtime, || {
                ours.try_io(Interest::WRITABLE, || {
                    Err::<(), _>(ErrorKind::WouldBlock.into())
                })
            });
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::WouldBlock);
            let tried = Cell::new(0);
            while inside(runtime, || ours.try_write(b"x")).is_err() {
                assert!(
                    theirs.read(&mut room).unwrap() > 0,
                    "round {round}: all was read, and there is no room"
                );
                runtime.turn().unwrap();
                let count = || {
                    tried.set(tried.get() + 1);
                    Ok(())
                };
                let probe = || ours.try_io(Interest::WRITABLE, count);
                inside(runtime, probe).unwrap();
            }
            assert!(tried.get() > 0);
            assert!(!reports_room(runtime));
        }
    });
}

/// Catches: `writable` that is answered from what is only assumed; one that never returns where epoll was not
/// asked.
#[test]
fn writable_is_what_the_kernel_says() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        Reader::new(runtime, &ours).wait();
        // Filled by other code, so that no write of ours finds out.
        let other = std::net::TcpStream::from(ours.as_fd().try_clone_to_owned().unwrap());
        let fill = || while (&other).write(&[7; 65_536]).is_ok() {};
        fill();
        let (wakes, waker) = Wakes::new();
        {
            let mut writable = Box::pin(ours.writable());
            assert!(inside(runtime, || poll(&mut writable, &waker)).is_pending());
            // The peer's kernel may have taken some meanwhile.
            loop {
                let before = wakes.count();
                runtime.turn().unwrap();
                if wakes.count() == before {
                    break;
                }
                fill();
                writable = Box::pin(ours.writable());
                inside(runtime, || while ours.try_write(b"x").is_ok() {});
                assert!(inside(runtime, || poll(&mut writable, &waker)).is_pending());
            }
            let before = wakes.count();
            let mut room = vec![0; 1 << 20];
            while wakes.count() == before {
                assert!(theirs.read(&mut room).unwrap() > 0);
                runtime.turn().unwrap();
            }
            let ready = inside(runtime, || poll(&mut writable, &waker));
            assert!(matches!(ready, Poll::Ready(Ok(()))));
        }
        // And of a stream that has room, at once and again.
        let (_theirs, ours) = runtime.block_on(pair());
        Reader::new(runtime, &ours).wait();
        runtime.block_on(ours.writable()).unwrap();
        runtime.block_on(ours.writable()).unwrap();
        drop(other);
    });
}

/// Fault C18, and what a server does that ignores the result of write(2): a reader that comes late
/// gets every byte, and what it has not read yet fills nobody's memory but the kernel's.
/// Catches: the result of a write taken for all of it.
#[test]
fn a_slow_reader_gets_every_byte() {
    let _limit = limit(120);
    running(async || {
        let (mut theirs, ours) = pair().await;
        let sent = counted(8 << 20);
        let expected = sent.clone();
        let writer = reveille::spawn(async move {
            ours.write_all(&sent).await.unwrap();
        });
        reveille::task::yield_now().await;
        assert!(!writer.is_finished(), "8 MiB fit into no socket");
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).unwrap();
            got
        });
        writer.await.unwrap();
        assert!(reader.join().unwrap() == expected);
    });
}

/// Fault C10. Catches: more than 1024 buffers passed to the kernel; some of them skipped.
#[test]
fn five_thousand_buffers_are_written_in_a_few_calls() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, ours) = pair().await;
        let sent = counted(5000);
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let slices: Vec<_> = rest.chunks(1).map(IoSlice::new).collect();
            let n = ours.write_vectored(&slices).await.unwrap();
            assert_eq!(n, rest.len().min(1024));
            rest = &rest[n..];
        }
        assert_eq!(ours.try_write_vectored(&[]).unwrap(), 0);
        drop(ours);
        let mut got = Vec::new();
        theirs.read_to_end(&mut got).unwrap();
        assert_eq!(got, sent);
    });
}

/// Fault A4: RDHUP says that the peer writes no more; it may read on.
/// Catches: a half-closed stream taken for a closed one.
#[test]
fn after_the_peers_end_a_mebibyte_can_still_be_written() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        finish(&theirs);
        assert_eq!(reader.rest(9), super::End::Eof);
        let peer = thread::spawn(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).unwrap();
            got.len()
        });
        runtime.block_on(async { ours.write_all(&vec![1; 1 << 20]).await.unwrap() });
        drop(ours);
        assert_eq!(peer.join().unwrap(), 1 << 20);
    });
}

/// Fault A4. Catches: RDHUP taken for room to write, on which a writer would spin.
#[test]
fn a_writer_that_waits_is_not_woken_by_the_peers_end() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (theirs, ours) = runtime.block_on(pair());
        let (wakes, waker) = Wakes::new();
        fill(runtime, &ours, (&wakes, &waker));
        let before = wakes.count();
        // It waits, so that the end comes by an event.
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        super::eventually("the end does not arrive", || {
            reader.rest(1) == super::End::Eof
        });
        assert_eq!(wakes.count(), before);
    });
}

/// epoll(7) reports OUT again with each IN under an edge. Catches: a writer that is kept as a waiter
/// though it does not wait; a reader that is told twice of one message.
#[test]
fn a_thousand_messages_are_a_thousand_events_for_the_reader_and_none_for_a_writer() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        assert_eq!(super::registrations(runtime), 1);
        let before = runtime.handle().metrics();
        for nth in 1..=1000 {
            theirs.write_all(b"message").unwrap();
            super::eventually("a message does not arrive", || {
                assert_eq!(reader.rest(100), super::End::Waits);
                reader.bytes.len() == 7 * nth
            });
        }
        let after = runtime.handle().metrics();
        assert_eq!(after.events - before.events, 1000);
        assert_eq!(reader.wakes.count(), 1000);
        assert_eq!(super::registrations(runtime), 1);
    });
}

/// `try_write` waits for nothing, remembers that there is no room, and goes on after a report.
/// Catches: WouldBlock remembered for ever, or not reported.
#[test]
fn try_write_would_block_when_full_and_works_after_a_report() {
    let _limit = limit(30);
    running(async || {
        let (theirs, ours) = ours().await;
        let bytes = vec![3; 1 << 16];
        let mut taken = 0;
        let full = loop {
            match ours.try_write(&bytes) {
                Ok(n) => taken += n,
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
        let reader = reveille::spawn(async move {
            let (mut room, mut read) = (vec![0; 1 << 16], 0);
            loop {
                match theirs.read(&mut room).await.unwrap() {
                    0 => break read,
                    n => read += n,
                }
            }
        });
        loop {
            ours.writable().await.unwrap();
            match ours.try_write(&bytes) {
                Ok(n) => break taken += n,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        drop(ours);
        assert_eq!(reader.await.unwrap(), taken);
    });
}

/// Fault B41. Catches: an operation on nothing that spends no budget, so that a loop of them starves all other tasks.
#[test]
fn empty_writes_and_exact_reads_let_others_run() {
    let _limit = limit(30);
    running(async || {
        let (_theirs, ours) = pair().await;
        for exact in [false, true] {
            let runs = Rc::new(Cell::new(0));
            let other = spawn({
                let runs = Rc::clone(&runs);
                async move {
                    loop {
                        runs.set(runs.get() + 1);
                        yield_now().await;
                    }
                }
            });
            for _ in 0..10_000 {
                match exact {
                    true => ours.read_exact(&mut []).await.map(drop).unwrap(),
                    false => ours.write_all(b"").await.unwrap(),
                }
            }
            assert!(runs.get() > 10, "exact: {exact}: {}", runs.get());
            other.abort();
        }
    });
}
