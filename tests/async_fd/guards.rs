//! Guards, and the rules by which a read that was short counts as the last.

use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::pin::pin;

use reveille::Runtime;
use reveille::io::{AsyncFd, AsyncFdReadyGuard, Interest, Ready};

use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::{pair, read_one, reader, write_one};

/// True if a wait for `interest` would end at once.
fn is_ready<T: std::os::fd::AsFd>(fd: &AsyncFd<T>, interest: Interest) -> bool {
    let (_, waker) = Wakes::new();
    poll(&mut pin!(fd.ready(interest)), &waker).is_ready()
}

/// Waits for what is there already.
fn report<T: std::os::fd::AsFd>(fd: &AsyncFd<T>, interest: Interest) -> AsyncFdReadyGuard<'_, T> {
    let (_, waker) = Wakes::new();
    match poll(&mut pin!(fd.ready(interest)), &waker) {
        std::task::Poll::Ready(guard) => guard.unwrap(),
        std::task::Poll::Pending => panic!("not ready"),
    }
}

/// Registers `fd` and hears what there is to be heard.
fn register<T: std::os::fd::AsFd>(runtime: &Runtime, fd: &AsyncFd<T>, interest: Interest) {
    let registered = inside(runtime, || is_ready(fd, interest));
    assert!(!registered);
    runtime.turn().unwrap();
}

/// R4. Catches: a guard that clears an event which came after it was made.
#[test]
fn a_guard_held_across_a_turn_clears_only_what_it_saw() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    register(&runtime, &ours, Interest::READABLE);
    write_one(&theirs, 1);
    runtime.turn().unwrap();
    let mut guard = inside(&runtime, || report(&ours, Interest::READABLE));
    read_one(ours.get_ref()).unwrap();
    // It is drained, but before the guard can say so the next byte comes.
    write_one(&theirs, 2);
    runtime.turn().unwrap();
    inside(&runtime, || {
        guard.clear_ready();
        assert!(is_ready(&ours, Interest::READABLE), "byte 2 is stranded");
        report(&ours, Interest::READABLE).clear_ready();
        assert!(!is_ready(&ours, Interest::READABLE));
    });
}

/// Catches: a guard's `try_io` that does not clear, or that hides an operation's own error.
#[test]
fn a_guard_clears_on_would_block_and_passes_on_the_rest() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    register(&runtime, &ours, Interest::READABLE);
    write_one(&theirs, 9);
    runtime.turn().unwrap();
    inside(&runtime, || {
        let mut guard = report(&ours, Interest::READABLE);
        assert_eq!(guard.ready(), Ready::READABLE);
        assert!(std::ptr::eq(guard.get_ref(), &ours));
        assert!(std::ptr::eq(guard.get_inner(), ours.get_ref()));
        assert_eq!(
            guard.try_io(|fd| read_one(fd.get_ref())).unwrap().unwrap(),
            9
        );
        let other = guard.try_io(|_| io::Result::<()>::Err(io::Error::other("no")));
        assert!(other.unwrap().is_err());
        guard.retain_ready();
        assert!(is_ready(&ours, Interest::READABLE));
        let blocked = guard.try_io(|fd| read_one(fd.get_ref())).unwrap_err();
        assert_eq!(blocked.to_string(), "the operation would block");
        assert!(!is_ready(&ours, Interest::READABLE));
    });
}

/// Catches: a part that is cleared and takes the whole along.
#[test]
fn a_guard_can_clear_one_direction_of_two() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = pair();
    write_one(&theirs, 1);
    let ours = AsyncFd::new(ours).unwrap();
    let both = Interest::READABLE | Interest::WRITABLE;
    register(&runtime, &ours, both);
    inside(&runtime, || {
        let mut guard = report(&ours, both);
        assert_eq!(guard.ready(), Ready::READABLE | Ready::WRITABLE);
        guard.clear_ready_matching(Ready::READABLE);
        assert!(!is_ready(&ours, Interest::READABLE));
        assert!(is_ready(&ours, Interest::WRITABLE));
    });
}

/// Fault A29. Catches: a guard that goes on to report what was disproved through it, so that a loop
/// over `ready` never ends.
#[test]
fn a_guard_does_not_report_what_it_cleared() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = pair();
    write_one(&theirs, 1);
    let ours = AsyncFd::new(ours).unwrap();
    let both = Interest::READABLE | Interest::WRITABLE;
    register(&runtime, &ours, both);
    inside(&runtime, || {
        let mut guard = report(&ours, both);
        guard.clear_ready_matching(Ready::READABLE);
        assert_eq!(guard.ready(), Ready::WRITABLE);
        guard.clear_ready();
        assert_eq!(guard.ready(), Ready::EMPTY);
    });
}

/// R10. Catches: a short read that clears nothing, so that each message costs a second read.
#[test]
fn a_short_read_can_be_said_to_be_the_last() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let ours = everything(ours);
    register(&runtime, &ours, Interest::READABLE);
    io::Write::write_all(&mut theirs, b"abc").unwrap();
    hear(&runtime, &ours);
    inside(&runtime, || {
        assert_eq!(read_up_to(&ours, 16), 3);
        ours.clear_drained();
        assert!(!is_ready(&ours, Interest::READABLE));
    });
}

/// R10. Catches: an end of the stream behind the data, which has no edge of its own any more.
#[test]
fn a_short_read_proves_nothing_if_the_stream_was_reported_to_end() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, mut theirs) = tcp_pair();
    let ours = everything(ours);
    register(&runtime, &ours, Interest::READABLE);
    io::Write::write_all(&mut theirs, b"abc").unwrap();
    theirs.shutdown(Shutdown::Write).unwrap();
    hear(&runtime, &ours);
    inside(&runtime, || {
        assert_eq!(read_up_to(&ours, 16), 3);
        ours.clear_drained();
        assert!(is_ready(&ours, Interest::READABLE), "the end is stranded");
        assert_eq!(read_up_to(&ours, 16), 0);
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
        let ours = AsyncFd::with_interest(ours, interest).unwrap();
        assert!(!inside(&runtime, || is_ready(&ours, Interest::READABLE)));
        io::Write::write_all(&mut theirs, b"abc").unwrap();
        urgent(&theirs, b'!');
        io::Write::write_all(&mut theirs, b"def").unwrap();
        // All of it has arrived before the reactor looks.
        let mut buf = [0; 16];
        while ours.get_ref().peek(&mut buf).unwrap_or(0) < 3 {
            std::thread::yield_now();
        }
        hear(&runtime, &ours);
        inside(&runtime, || {
            assert_eq!(read_up_to(&ours, 16), 3, "the urgent byte ends the read");
            ours.clear_drained();
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
    let ours = everything(ours);
    register(&runtime, &ours, Interest::READABLE);
    for doubted in [true, false] {
        io::Write::write_all(&mut theirs, b"abc").unwrap();
        hear(&runtime, &ours);
        inside(&runtime, || {
            if doubted {
                ours.distrust_short_reads();
            }
            assert_eq!(ours.doubts_short_reads(), doubted);
            assert_eq!(read_up_to(&ours, 16), 3);
            ours.clear_drained();
            assert_eq!(is_ready(&ours, Interest::READABLE), doubted);
            let read = ours.try_io(Interest::READABLE, |mut stream| stream.read(&mut [0; 16]));
            assert_eq!(read.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        });
    }
}

/// R10. Catches: a short read before registration that is remembered for after it.
#[test]
fn a_short_read_before_registration_is_not_remembered() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    write_one(&theirs, 1);
    inside(&runtime, || {
        let read = |mut stream: &UnixStream| stream.read(&mut [0; 16]);
        assert_eq!(ours.try_io(Interest::READABLE, read).unwrap(), 1);
        ours.clear_drained();
        assert!(!is_ready(&ours, Interest::READABLE));
    });
    write_one(&theirs, 2);
    runtime.turn().unwrap();
    assert!(inside(&runtime, || is_ready(&ours, Interest::READABLE)));
}

fn everything(stream: TcpStream) -> AsyncFd<TcpStream> {
    let interest = Interest::READABLE | Interest::WRITABLE | Interest::PRIORITY;
    AsyncFd::with_interest(stream, interest).unwrap()
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nodelay(true).unwrap();
    (ours, theirs)
}

/// Turns until the stream is reported readable.
fn hear(runtime: &Runtime, stream: &AsyncFd<TcpStream>) {
    for _ in 0..100_000 {
        runtime.turn().unwrap();
        if inside(runtime, || is_ready(stream, Interest::READABLE)) {
            return;
        }
        std::thread::yield_now();
    }
    panic!("nothing arrives");
}

fn read_up_to(stream: &AsyncFd<TcpStream>, room: usize) -> usize {
    let mut buf = vec![0; room];
    stream
        .try_io(Interest::READABLE, |mut stream| stream.read(&mut buf))
        .unwrap()
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
