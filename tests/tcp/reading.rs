//! Reading: whatever lies in the kernel is read without any further traffic (R10).

use std::future::{Future, poll_fn};
use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use reveille::io::Interest;
use reveille::net::TcpStream;

use super::step::{Wakes, inside, poll};
use super::{
    End, Random, Reader, counted, delivered, eventually, fill, finish, pair, reset, running,
    send_urgent, stepping, write_now,
};
use crate::limit::limit;

/// When the traffic comes, seen from the reader.
#[derive(Clone, Copy, Debug)]
enum When {
    /// It has never tried to read.
    BeforeTheFirstRead,
    /// It waits, and the reactor has not looked since.
    BeforeTheLook,
    /// The first bytes came before the reactor looked, the rest after it.
    AroundTheLook,
}

const MOMENTS: [When; 3] = [
    When::BeforeTheFirstRead,
    When::BeforeTheLook,
    When::AroundTheLook,
];

/// Lets `first` and `rest` happen at the moment `when`, then reads to the end.
fn read_all(
    when: When,
    room: usize,
    first: impl FnOnce(&std::net::TcpStream) + Send + 'static,
    rest: impl FnOnce(std::net::TcpStream) -> Option<std::net::TcpStream> + Send + 'static,
    expected: (&'static str, End),
) {
    stepping(move |runtime| {
        let (theirs, ours) = runtime.block_on(pair());
        let mut reader = Reader::new(runtime, &ours);
        if !matches!(when, When::BeforeTheFirstRead) {
            reader.wait();
        }
        first(&theirs);
        delivered(&theirs);
        if matches!(when, When::AroundTheLook) {
            runtime.turn().unwrap();
        }
        let _open = rest(theirs);
        let end = reader.rest(room);
        assert_eq!(
            (&*reader.take(), end),
            expected,
            "{when:?}, {room} at a time"
        );
    });
}

fn abc(mut stream: &std::net::TcpStream) {
    stream.write_all(b"abc").unwrap();
}

/// R10. Fault A7: an urgent byte ends a read early, so "short" does not mean "drained" (tcp(7)).
/// Catches: a short read trusted after an event with PRI.
#[test]
fn bytes_behind_an_urgent_one_are_read_whenever_it_comes() {
    let _limit = limit(30);
    for when in MOMENTS {
        for room in [1, 2, 3, 100] {
            let rest = |mut theirs: std::net::TcpStream| {
                send_urgent(&theirs);
                theirs.write_all(b"def").unwrap();
                delivered(&theirs);
                Some(theirs)
            };
            read_all(when, room, abc, rest, ("abcdef", End::Waits));
        }
    }
}

/// R10. Fault A7: the end of the stream behind bytes brings no edge of its own.
/// R10. Catches: a short read, into one buffer or several, that proves nothing although nothing speaks
/// against it: each message would cost another call.
#[test]
fn a_short_read_says_that_nothing_is_left() {
    let _limit = limit(30);
    for form in ["read", "read_vectored", "read_vec", "poll_read_uninit"] {
        stepping(move |runtime| {
            let (mut theirs, ours) = runtime.block_on(pair());
            // It is registered once it has waited.
            Reader::new(runtime, &ours).wait();
            theirs.write_all(b"abc").unwrap();
            runtime.block_on(async {
                let (one, other) = (&mut [0; 2], &mut [0; 62]);
                let n = match form {
                    "read" => ours.read(other).await,
                    "read_vectored" => {
                        let bufs = &mut [IoSliceMut::new(one), IoSliceMut::new(other)];
                        ours.read_vectored(bufs).await
                    }
                    "read_vec" => ours.read_vec(&mut Vec::with_capacity(64)).await,
                    _ => {
                        poll_fn(|cx| ours.poll_read_uninit(cx, &mut [MaybeUninit::uninit(); 64]))
                            .await
                    }
                };
                assert_eq!(n.unwrap(), 3);
            });
            inside(runtime, || {
                let cx = &mut Context::from_waker(Waker::noop());
                assert!(ours.poll_read_ready(cx).is_pending(), "{form}");
            });
        });
    }
}

/// R10. Catches: doubts about short reads that a write clears which would block.
#[test]
fn the_end_behind_bytes_is_read_after_a_write_that_waits() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let (wakes, waker) = Wakes::new();
        fill(runtime, &ours, (&wakes, &waker));
        theirs.write_all(b"abc").unwrap();
        finish(&theirs);
        // All that has arrived, so that there is room to write again.
        theirs.set_nonblocking(true).unwrap();
        while theirs.read(&mut [0; 65_536]).is_ok() {}
        let before = wakes.count();
        eventually("there is no room", || {
            runtime.turn().unwrap();
            wakes.count() > before
        });
        assert!(write_now(runtime, &ours, &waker) > 0);
        let buf = &mut [0; 64];
        for expected in [3, 0] {
            let read = inside(runtime, || poll(&mut pin!(ours.read(buf)), Waker::noop()));
            assert!(
                matches!(read, Poll::Ready(Ok(n)) if n == expected),
                "{read:?}"
            );
        }
    });
}

/// R10. Catches: an end that is taken for a short read, and then waits for its event.
#[test]
fn the_end_is_told_again_before_its_event_is_seen() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        Reader::new(runtime, &ours).wait();
        theirs.write_all(b"abc").unwrap();
        let buf = &mut [0; 3];
        // All that there is room for, so that it stays readable.
        assert_eq!(runtime.block_on(ours.read(buf)).unwrap(), 3);
        finish(&theirs);
        inside(runtime, || {
            for _ in 0..2 {
                let end = poll(&mut pin!(ours.read(buf)), Waker::noop());
                assert!(matches!(end, Poll::Ready(Ok(0))), "{end:?}");
            }
        });
    });
}

/// Catches: a short read trusted after an event with RDHUP.
#[test]
fn the_end_behind_bytes_is_read_whenever_it_comes() {
    let _limit = limit(30);
    for when in MOMENTS {
        for room in [1, 3, 100] {
            let rest = |theirs: std::net::TcpStream| {
                finish(&theirs);
                Some(theirs)
            };
            read_all(when, room, abc, rest, ("abc", End::Eof));
        }
    }
}

/// R10. Faults A7, C6: what came before a reset is read first, then the reset is reported.
/// Catches: a short read trusted after an event with RDHUP, HUP or ERR.
#[test]
fn a_reset_behind_bytes_is_reported_after_them_whenever_it_comes() {
    let _limit = limit(120);
    for when in MOMENTS {
        for room in [1, 3, 100] {
            let rest = |theirs: std::net::TcpStream| {
                reset(theirs);
                None
            };
            let end = End::Failed(std::io::ErrorKind::ConnectionReset);
            read_all(when, room, abc, rest, ("abc", end));
        }
    }
}

/// Fault C6. Catches: an error that is told for ever, or a wait after it.
#[test]
fn a_reset_is_reported_once_and_then_the_end() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (theirs, ours) = runtime.block_on(pair());
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        reset(theirs);
        let error = std::io::ErrorKind::ConnectionReset;
        assert_eq!(reader.rest(9), End::Failed(error));
        assert_eq!(reader.rest(9), End::Eof);
        let written = runtime.block_on(ours.write(b"x")).unwrap_err();
        assert_eq!(written.kind(), std::io::ErrorKind::BrokenPipe);
    });
}

/// R10. Fault A7: an urgent byte that somebody took is not reported, and still ends reads early.
/// Catches: a stream that is lent, and trusts its short reads all the same.
#[test]
fn an_urgent_byte_taken_through_a_lent_descriptor_strands_nothing() {
    let _limit = limit(30);
    type Lend = fn(&TcpStream) -> std::os::fd::RawFd;
    let lenders: [(&str, Lend); 6] = [
        ("as_fd", |stream| stream.as_fd().as_raw_fd()),
        ("as_raw_fd", AsRawFd::as_raw_fd),
        ("try_io", |stream| {
            let fd = fd_by_debug(stream);
            stream.try_io(Interest::WRITABLE, || Ok(fd)).unwrap()
        }),
        ("poll_io", |stream| {
            let fd = fd_by_debug(stream);
            let cx = &mut Context::from_waker(Waker::noop());
            match stream.poll_io(cx, Interest::WRITABLE, || Ok(fd)) {
                Poll::Ready(fd) => fd.unwrap(),
                Poll::Pending => panic!("there is room"),
            }
        }),
        ("async_io", |stream| {
            let fd = fd_by_debug(stream);
            let lent = stream.async_io(Interest::WRITABLE, || Ok(fd));
            futures_lite::future::block_on(lent).unwrap()
        }),
        ("try_clone", |stream| {
            let clone = stream.try_clone().unwrap();
            let fd = clone.as_raw_fd();
            std::mem::forget(clone); // The descriptor stays open until the test process ends.
            fd
        }),
    ];
    for (name, lend) in lenders {
        stepping(move |runtime| {
            let (mut theirs, ours) = runtime.block_on(pair());
            let mut reader = Reader::new(runtime, &ours);
            reader.wait();
            theirs.write_all(b"abc").unwrap();
            send_urgent(&theirs);
            theirs.write_all(b"def").unwrap();
            delivered(&theirs);
            take_urgent(lend(&ours));
            let end = reader.rest(100);
            assert_eq!((&*reader.take(), end), ("abcdef", End::Waits), "{name}");
        });
    }
}

/// R10. Fault A7. Catches: a stream of std's trusted like one of ours.
#[test]
fn a_stream_of_stds_is_not_taken_for_ours_alone() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let ours = ours.into_std().unwrap();
        let other = ours.try_clone().unwrap();
        let ours = TcpStream::from_std(ours).unwrap();
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        theirs.write_all(b"abc").unwrap();
        send_urgent(&theirs);
        theirs.write_all(b"def").unwrap();
        delivered(&theirs);
        take_urgent(other.as_raw_fd());
        assert_eq!((reader.rest(100), &*reader.take()), (End::Waits, "abcdef"));
    });
}

/// Catches: bytes that are put over others, or lost; room that is made though there is some; 0 for a `Vec` without room;
/// a length that counts what was not received.
#[test]
fn a_read_into_a_vec_appends_to_its_spare_room() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, ours) = pair().await;
        theirs.write_all(b"abcdefgh").unwrap();
        delivered(&theirs);
        let mut buf = Vec::with_capacity(16);
        let room = buf.capacity();
        buf.extend(vec![b'-'; room - 3]);
        assert_eq!(ours.read_vec(&mut buf).await.unwrap(), 3);
        assert_eq!((buf.capacity(), buf.len()), (room, room));
        assert!(buf.ends_with(b"--abc"));
        // It is full now.
        assert_eq!(ours.try_read_vec(&mut buf).unwrap(), 5);
        assert!(buf.ends_with(b"--abcdefgh"));
        assert!(buf.capacity() >= room + 64, "{}", buf.capacity());
        assert_eq!(buf.len(), room + 5);

        let (before, mut cx) = (buf.clone(), Context::from_waker(Waker::noop()));
        assert!(ours.poll_read_vec(&mut cx, &mut buf).is_pending());
        let error = ours.try_read_vec(&mut buf).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        assert_eq!(buf, before);

        let mut none = Vec::new();
        theirs.write_all(b"x").unwrap();
        assert_eq!(ours.read_vec(&mut none).await.unwrap(), 1);
        drop(theirs);
        assert_eq!(ours.read_vec(&mut none).await.unwrap(), 0);
        assert_eq!(none, b"x");
    });
}

/// Catches: a `Vec` that is longer after an error than before.
#[test]
fn after_an_error_a_vec_is_as_it_was() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (theirs, ours) = runtime.block_on(pair());
        reset(theirs);
        let mut buf = b"abc".to_vec();
        let error = runtime.block_on(ours.read_vec(&mut buf)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(buf, b"abc");
    });
}

/// Catches: bytes behind the received ones that are touched; a number that is not that of the bytes received; an end
/// taken for nothing, or nothing for the end.
#[test]
fn a_read_into_memory_without_values_writes_what_it_received_and_no_more() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, ours) = pair().await;
        let mut buf = [MaybeUninit::new(0xa5_u8); 16];
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(ours.poll_read_uninit(cx, &mut buf).is_pending());
        theirs.write_all(b"abc").unwrap();
        let n = poll_fn(|cx| ours.poll_read_uninit(cx, &mut buf)).await;
        assert_eq!(n.unwrap(), 3);
        // SAFETY: each was given a value above.
        let bytes = buf.map(|byte| unsafe { byte.assume_init() });
        assert_eq!((&bytes[..3], &bytes[3..]), (&b"abc"[..], &[0xa5; 13][..]));
        drop(theirs);
        let n = poll_fn(|cx| ours.poll_read_uninit(cx, &mut buf)).await;
        assert_eq!(n.unwrap(), 0);
    });
}

/// Fault B41. Catches: reads that are over at once and spend nothing.
#[test]
fn reads_into_no_room_let_others_run() {
    let _limit = limit(30);
    super::running(async || {
        let (_theirs, ours) = pair().await;
        let reads = reveille::spawn(async move {
            loop {
                assert_eq!(ours.read(&mut []).await.unwrap(), 0);
                assert_eq!(ours.peek(&mut []).await.unwrap(), 0);
            }
        });
        for _ in 0..10 {
            reveille::task::yield_now().await;
        }
        reads.abort();
    });
}

/// Its number, without lending it: `Debug` is std's and shows it.
fn fd_by_debug(stream: &TcpStream) -> std::os::fd::RawFd {
    let text = format!("{stream:?}");
    let (_, number) = text.split_once("fd: ").unwrap();
    number.trim_end_matches([' ', '}']).parse().unwrap()
}

fn take_urgent(fd: std::os::fd::RawFd) {
    let mut byte = [0u8];
    // SAFETY: recv(2) writes one byte at most through the pointer, which is that of a live one.
    let taken = unsafe { libc::recv(fd, byte.as_mut_ptr().cast(), 1, libc::MSG_OOB) };
    assert_eq!((taken, byte), (1, *b"X"));
}

/// R10. Fault C10. Catches: a read into the first 1024 buffers compared with the room in all.
#[test]
fn a_full_read_into_a_thousand_of_five_thousand_buffers_is_not_taken_for_short() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        let sent = counted(5000);
        theirs.write_all(&sent).unwrap();
        delivered(&theirs);
        runtime.turn().unwrap();

        let (mut got, (_wakes, waker)) = (Vec::new(), Wakes::new());
        loop {
            let mut room = [0; 5000];
            let mut bufs: Vec<_> = room.chunks_mut(1).map(IoSliceMut::new).collect();
            let polled = inside(runtime, || {
                ours.poll_read_vectored(&mut Context::from_waker(&waker), &mut bufs)
            });
            match polled {
                Poll::Ready(n) => got.extend_from_slice(&room[..n.unwrap()]),
                Poll::Pending => break,
            }
        }
        assert_eq!(got.len(), 5000);
        assert_eq!(got, sent);
    });
}

/// R10. Catches: a read that filled its buffer taken for one that drained the socket.
#[test]
fn reads_smaller_than_the_data_need_no_new_edge() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        let sent = counted(4096);
        theirs.write_all(&sent).unwrap();
        delivered(&theirs);
        assert_eq!(reader.rest(1), End::Waits);
        assert_eq!(reader.bytes, sent);
    });
}

/// R10. Fault A7: random traffic against random reads, peeks and looks; the reader must have all
/// that was sent when nothing wakes it any more, at every quiet moment.
/// Catches: a short read trusted after an event with PRI or RDHUP.
#[test]
fn no_schedule_of_bytes_urgent_bytes_and_reads_strands_anything() {
    let _limit = limit(120);
    stepping(|runtime| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for schedule in 0..60 {
            let (mut theirs, ours) = runtime.block_on(pair());
            let mut reader = Reader::new(runtime, &ours);
            let (mut sent, mut steps) = (Vec::new(), Vec::new());
            for _ in 0..20 {
                let step = random.below(8);
                steps.push(step);
                match step {
                    0 | 1 => {
                        let bytes = counted(1 + random.below(6));
                        theirs.write_all(&bytes).unwrap();
                        sent.extend(bytes);
                    }
                    2 => send_urgent(&theirs),
                    3 => runtime.turn().unwrap(),
                    4 => drop(reader.read(1 + random.below(4))),
                    5 => drop(reader.read(100)),
                    6 => {
                        let mut room = vec![0; 1 + random.below(4)];
                        let _peeked = inside(runtime, || {
                            let mut cx = Context::from_waker(&reader.waker);
                            ours.poll_peek(&mut cx, &mut room)
                        });
                    }
                    _ => {
                        delivered(&theirs);
                        // tcp(7): a second urgent byte makes an ordinary one of the first.
                        let end = reader.rest(100);
                        reader.bytes.retain(|byte| *byte != b'X');
                        let context = format!("schedule {schedule}, {steps:?}");
                        assert_eq!((&reader.bytes, end), (&sent, End::Waits), "{context}");
                    }
                }
            }
            finish(&theirs);
            assert_eq!(reader.rest(100), End::Eof, "schedule {schedule}, {steps:?}");
            reader.bytes.retain(|byte| *byte != b'X');
            assert_eq!(reader.bytes, sent, "schedule {schedule}, {steps:?}");
        }
    });
}

/// A peek takes nothing. Catches: `peek` that reads; a read after it that waits.
#[test]
fn peeked_bytes_are_read_afterwards() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, ours) = pair().await;
        theirs.write_all(b"abc").unwrap();
        let mut buf = [0; 2];
        assert_eq!(ours.peek(&mut buf).await.unwrap(), 2);
        assert_eq!(ours.peek(&mut buf).await.unwrap(), 2);
        let mut buf = [0; 9];
        assert_eq!(ours.read(&mut buf).await.unwrap(), 3);
        assert_eq!(&buf[..3], b"abc");
    });
}

/// Fault C7: of no room, nothing is expected, so there is nothing to wait for: 0 at once, whether
/// the stream has bytes, waits, or is at its end.
/// Catches: an empty buffer that waits for bytes; one that passes for an end and clears readiness.
#[test]
fn a_read_into_no_room_is_zero_at_once_in_any_state() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        check_no_room(runtime, &ours, "never tried");
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        check_no_room(runtime, &ours, "waits");
        theirs.write_all(b"abc").unwrap();
        delivered(&theirs);
        check_no_room(runtime, &ours, "has bytes, unreported");
        runtime.turn().unwrap();
        check_no_room(runtime, &ours, "has bytes");
        assert_eq!((reader.rest(9), &*reader.take()), (End::Waits, "abc"));
        finish(&theirs);
        assert_eq!(reader.rest(9), End::Eof);
        check_no_room(runtime, &ours, "is at its end");
    });
}

/// Fault C13. Catches: a future that begins anew when it is polled once more, as a `select!` in a loop
/// may do: it would send twice, or take what nobody sees.
#[test]
fn what_was_read_or_written_once_is_not_read_or_written_again() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        theirs.write_all(b"abc").unwrap();
        delivered(&theirs);
        let mut buf = [0; 1];
        let polled_twice = [
            twice(runtime, ours.read(&mut buf)),
            twice(runtime, ours.write(b"x")),
        ];
        assert!(polled_twice.iter().all(Result::is_err));
        twice(runtime, ours.write_all(b"y")).unwrap_err();
        let mut reader = Reader::new(runtime, &ours);
        assert_eq!((reader.rest(9), &*reader.take()), (End::Waits, "bc"));
        drop(ours);
        let mut sent = String::new();
        theirs.read_to_string(&mut sent).unwrap();
        assert_eq!(sent, "xy");
    });
}

/// Polls a future that is ready at once, and once more.
fn twice<T>(
    runtime: &reveille::Runtime,
    future: impl Future<Output = std::io::Result<T>>,
) -> std::thread::Result<()> {
    let (_wakes, waker) = Wakes::new();
    let mut future = pin!(future);
    inside(runtime, || {
        let mut poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(matches!(poll(), Poll::Ready(Ok(_))));
        catch_unwind(AssertUnwindSafe(|| drop(poll())))
    })
}

#[track_caller]
fn check_no_room(runtime: &reveille::Runtime, stream: &TcpStream, state: &str) {
    let (_wakes, waker) = Wakes::new();
    inside(runtime, || {
        let cx = &mut Context::from_waker(&waker);
        let mut empty = [IoSliceMut::new(&mut []), IoSliceMut::new(&mut [])];
        let outcomes = [
            ("read", once(stream.read(&mut []), &waker)),
            ("read_exact", once(stream.read_exact(&mut []), &waker)),
            ("peek", once(stream.peek(&mut []), &waker)),
            (
                "read_vectored of none",
                once(stream.read_vectored(&mut []), &waker),
            ),
            (
                "read_vectored of empty ones",
                once(stream.read_vectored(&mut empty), &waker),
            ),
            ("poll_read", stream.poll_read(cx, &mut [])),
            ("poll_read_uninit", stream.poll_read_uninit(cx, &mut [])),
            ("poll_peek", stream.poll_peek(cx, &mut [])),
            (
                "poll_read_vectored",
                stream.poll_read_vectored(cx, &mut empty),
            ),
            ("try_read", Poll::Ready(stream.try_read(&mut []))),
            (
                "try_read_vectored",
                Poll::Ready(stream.try_read_vectored(&mut empty)),
            ),
        ];
        for (name, outcome) in outcomes {
            let zero = matches!(outcome, Poll::Ready(Ok(0)));
            assert!(zero, "{name} on a stream that {state}: {outcome:?}");
        }
    });
}

/// Polls once and lets go.
fn once<T>(future: impl Future<Output = T>, waker: &Waker) -> Poll<T> {
    poll(&mut Box::pin(future), waker)
}
