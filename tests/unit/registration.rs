//! `runtime::io::registration`: what a short read proves, and what takes the proof away.

#[cfg(debug_assertions)]
use std::backtrace::Backtrace;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::pin;
use std::task::{Context, Waker};

use super::limit::limit;
use crate::Runtime;
use crate::io::{AsyncFd, Interest};
use crate::runtime::io::operation::{self, Attempt};

const EVERYTHING: Interest = Interest::READABLE
    .add(Interest::WRITABLE)
    .add(Interest::PRIORITY);

/// R10. Catches: a short read that clears nothing, so that each message costs a second read.
#[test]
fn a_short_read_can_be_said_to_be_the_last() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let ours = proving(ours, EVERYTHING);
    register(&runtime, &ours, Interest::READABLE);
    theirs.write_all(b"abc").unwrap();
    hear(&runtime, &ours);
    inside(&runtime, || {
        assert_eq!(read_up_to(&ours, 2), 2);
        assert!(is_ready(&ours, Interest::READABLE), "this one was full");
        assert_eq!(read_up_to(&ours, 16), 1);
        assert!(!is_ready(&ours, Interest::READABLE));
        assert!(is_ready(&ours, Interest::WRITABLE));
    });
    // Where it is not said, it proves nothing.
    ours.registration().set_short_reads_prove(false);
    theirs.write_all(b"abc").unwrap();
    hear(&runtime, &ours);
    inside(&runtime, || {
        assert_eq!(read_up_to(&ours, 16), 3);
        assert!(is_ready(&ours, Interest::READABLE));
    });
}

/// R10. Catches: an end of the stream behind the data, which has no edge of its own any more.
#[test]
fn a_short_read_proves_nothing_if_the_stream_was_reported_to_end() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let ours = proving(ours, EVERYTHING);
    register(&runtime, &ours, Interest::READABLE);
    theirs.write_all(b"abc").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    hear_the_end(&runtime, &ours);
    inside(&runtime, || {
        assert_eq!(read_up_to(&ours, 16), 3);
        assert!(is_ready(&ours, Interest::READABLE), "the end is stranded");
        assert_eq!(read_up_to(&ours, 16), 0);
        assert!(is_ready(&ours, Interest::READABLE), "it is said again");
    });
}

/// R10. Catches: an urgent byte in mid-stream that ends a read early, heard of or not: without
/// PRIORITY the kernel does not report it, and a short read proves nothing.
#[test]
fn a_short_read_proves_nothing_if_an_urgent_byte_may_have_ended_it() {
    let _limit = limit(30);
    for interest in [
        Interest::READABLE | Interest::PRIORITY,
        Interest::READABLE | Interest::WRITABLE,
        Interest::READABLE,
    ] {
        let runtime = Runtime::new().unwrap();
        let (ours, mut theirs) = tcp_pair();
        let ours = proving(ours, interest);
        assert!(!inside(&runtime, || is_ready(&ours, Interest::READABLE)));
        theirs.write_all(b"abc").unwrap();
        urgent(&theirs, b'!');
        theirs.write_all(b"def").unwrap();
        // All of it has arrived before the reactor looks.
        let mut buf = [0; 16];
        while ours.get_ref().peek(&mut buf).unwrap_or(0) < 3 {
            std::thread::yield_now();
        }
        hear(&runtime, &ours);
        inside(&runtime, || {
            assert_eq!(read_up_to(&ours, 16), 3, "the urgent byte ends the read");
            assert!(
                is_ready(&ours, Interest::READABLE),
                "{interest:?}: def is stranded"
            );
        });
    }
}

/// R10. Catches: doubt that is forgotten before a read met EAGAIN, or kept beyond it.
#[test]
fn doubt_about_short_reads_lasts_until_one_would_block() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let ours = proving(ours, EVERYTHING);
    register(&runtime, &ours, Interest::READABLE);
    for doubted in [true, false, true] {
        theirs.write_all(b"abcdef").unwrap();
        hear(&runtime, &ours);
        inside(&runtime, || {
            if doubted {
                ours.registration().unprove_short_reads();
            }
            assert_eq!(read_up_to(&ours, 3), 3);
            assert_eq!(read_up_to(&ours, 16), 3);
            assert_eq!(is_ready(&ours, Interest::READABLE), doubted);
            let read = read(&ours, 16).unwrap_err();
            assert_eq!(read.kind(), io::ErrorKind::WouldBlock);
            assert!(!is_ready(&ours, Interest::READABLE));
        });
    }
}

/// R10. Catches: a short read before registration that is remembered for after it.
#[test]
fn a_short_read_before_registration_is_not_remembered() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let ours = proving(ours, EVERYTHING);
    theirs.write_all(&[1]).unwrap();
    inside(&runtime, || {
        assert_eq!(read_up_to(&ours, 16), 1);
        ours.registration().unprove_short_reads();
        assert!(!is_ready(&ours, Interest::READABLE));
    });
    theirs.write_all(&[2]).unwrap();
    runtime.turn().unwrap();
    inside(&runtime, || {
        assert!(is_ready(&ours, Interest::READABLE));
        // Nor is a doubt.
        assert_eq!(read_up_to(&ours, 16), 1);
        assert!(!is_ready(&ours, Interest::READABLE));
    });
}

/// R10. A short read of a pipe whose writers have gone is not the last: the end comes after it, and
/// a pipe reports it as HUP alone. Catches: a short read trusted after an event with HUP.
#[test]
fn a_short_read_proves_nothing_once_a_hangup_was_reported() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let [ours, mut theirs] = pipe();
    let ours = proving(ours, Interest::READABLE | Interest::PRIORITY);
    register(&runtime, &ours, Interest::READABLE);
    theirs.write_all(b"abc").unwrap();
    drop(theirs);
    runtime.turn().unwrap();
    inside(&runtime, || {
        assert!(is_ready(&ours, Interest::READABLE));
        assert_eq!(read_up_to(&ours, 16), 3);
        assert!(is_ready(&ours, Interest::READABLE), "the end is stranded");
        assert_eq!(read_up_to(&ours, 16), 0);
    });
}

/// R10. As above, for an error that is reported alone. (No stream of bytes does so that could be
/// read; what is tried is the writing end of a pipe that nobody reads, by a read of the test's own.)
/// Catches: a short read trusted after an event with ERR.
#[test]
fn a_short_read_proves_nothing_once_an_error_was_reported() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let [theirs, ours] = pipe();
    let ours = proving(ours, EVERYTHING);
    register(&runtime, &ours, Interest::READABLE);
    drop(theirs);
    runtime.turn().unwrap();
    inside(&runtime, || {
        assert!(is_ready(&ours, Interest::READABLE));
        let read = operation::read(ours.registration(), 16, |_| Ok(3), || false);
        assert_eq!(read.try_now().unwrap(), 3);
        assert!(
            is_ready(&ours, Interest::READABLE),
            "what came with it is stranded"
        );
    });
}

/// R10, fault A28. Catches: an EAGAIN that is believed where it proves nothing: of a descriptor that is shared, and
/// of one of which an event has spoken since.
#[test]
fn an_eagain_that_proves_nothing_is_asked_about() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    for (shared, unproved) in [(true, false), (false, true), (false, false)] {
        let (ours, theirs) = tcp_pair();
        let ours = proving(ours, EVERYTHING);
        register(&runtime, &ours, Interest::READABLE);
        (&theirs).write_all(b"abc").unwrap();
        hear(&runtime, &ours);
        inside(&runtime, || {
            ours.registration().set_short_reads_prove(!shared);
            if unproved {
                ours.registration().unprove_short_reads();
            }
            let mut tries = 0;
            let op = |_: &mut usize| {
                tries += 1;
                match tries {
                    1 => Err(io::ErrorKind::WouldBlock.into()),
                    _ => Ok(3),
                }
            };
            let read = operation::read(ours.registration(), 16, op, || true).try_now();
            match shared || unproved {
                true => assert_eq!(read.unwrap(), 3, "{shared} {unproved}"),
                false => assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock),
            }
        });
    }
}

/// Catches: a layer more between the poll of a future and what it reads by. With the poll itself, the closure of
/// `net::stream`, three frames in `net::sys` and recv(2) they are ten.
#[test]
#[cfg(debug_assertions)]
fn a_read_passes_at_most_four_frames_from_its_poll_to_its_operation() {
    let _limit = limit(30);
    let (ours, theirs) = UnixStream::pair().unwrap();
    (&theirs).write_all(b"abc").unwrap();
    let ours = proving(ours, EVERYTHING);
    let mut trace = String::new();
    crate::block_on(async {
        let op = |_: &mut usize| {
            trace = Backtrace::force_capture().to_string();
            Ok(3)
        };
        let read = operation::read(ours.registration(), 16, op, || false);
        assert_eq!(read.await.unwrap(), 3);
    });
    // Each frame is a line with its number and its name, and one with its place.
    let frames = trace.lines().filter_map(|line| {
        line.split_once(": ")?
            .1
            .trim_start_matches('<')
            .strip_prefix("reveille::")
    });
    let is_ours = |frame: &&str| frame.starts_with("unit::");
    let passed: Vec<_> = frames
        .skip_while(is_ours)
        .take_while(|frame| !is_ours(frame))
        .collect();
    // Fewer where the compiler has inlined some: no more than that is asked here.
    assert!(trace.contains("unit::registration::"), "{trace}");
    assert!(passed.len() <= 4, "{passed:#?}\n{trace}");
}

/// Runs `f` inside `runtime`, in one poll: without a look at epoll or the clock.
fn inside<R>(runtime: &Runtime, f: impl FnOnce() -> R) -> R {
    runtime.block_on(async { f() })
}

/// Something to read from, of which a short read proves that it is drained.
fn proving<T: AsFd>(inner: T, interest: Interest) -> AsyncFd<T> {
    let fd = AsyncFd::with_interest(inner, interest).unwrap();
    fd.registration().set_short_reads_prove(true);
    fd
}

/// Registers and lets the kernel say what is ready at birth, which the test is not about.
fn register<T: AsFd>(runtime: &Runtime, fd: &AsyncFd<T>, interest: Interest) {
    let registered = inside(runtime, || is_ready(fd, interest));
    assert!(!registered);
    runtime.turn().unwrap();
}

fn is_ready<T: AsFd>(fd: &AsyncFd<T>, interest: Interest) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    pin!(fd.ready(interest)).poll(&mut cx).is_ready()
}

/// Turns until the stream is reported readable.
fn hear(runtime: &Runtime, stream: &AsyncFd<TcpStream>) {
    turn_until(runtime, || is_ready(stream, Interest::READABLE));
}

/// Turns until it is reported to end, too: a report of the bytes alone may come first.
fn hear_the_end(runtime: &Runtime, stream: &AsyncFd<TcpStream>) {
    turn_until(runtime, || is_ready(stream, Interest::PRIORITY));
}

fn turn_until(runtime: &Runtime, happened: impl Fn() -> bool) {
    for _ in 0..100_000 {
        runtime.turn().unwrap();
        if inside(runtime, &happened) {
            return;
        }
        std::thread::yield_now();
    }
    panic!("nothing arrives");
}

#[track_caller]
fn read_up_to<T: AsFd>(fd: &AsyncFd<T>, room: usize) -> usize
where
    for<'a> &'a T: Read,
{
    read(fd, room).unwrap()
}

fn read<T: AsFd>(fd: &AsyncFd<T>, room: usize) -> io::Result<usize>
where
    for<'a> &'a T: Read,
{
    let mut buf = vec![0; room];
    let read = |asked: &mut usize| fd.get_ref().read(&mut buf[..*asked]);
    operation::read(fd.registration(), room, read, || false).try_now()
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nodelay(true).unwrap();
    (ours, theirs)
}

/// The end to read from, and the end to write to.
fn pipe() -> [File; 2] {
    let mut ends = [0; 2];
    // SAFETY: pipe2(2) writes two ints through the pointer, which is that of an array of two.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
    assert_eq!(made, 0, "pipe2: {}", io::Error::last_os_error());
    // SAFETY: both are open and nobody else owns them, because pipe2(2) has just made them.
    ends.map(|fd| File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn urgent(stream: &TcpStream, byte: u8) {
    // SAFETY: the kernel reads one byte from the pointer, and `byte` outlives the call.
    let sent = unsafe {
        libc::send(
            stream.as_raw_fd(),
            (&raw const byte).cast(),
            1,
            libc::MSG_OOB,
        )
    };
    assert_eq!(sent, 1);
}
