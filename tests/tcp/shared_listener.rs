//! A listener, or a stream, that others hold as well: what they set on it stops nobody here.

use std::future::poll_fn;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use reveille::net::{TcpListener, TcpStream};
use reveille::time::{advance, sleep, timeout};
use reveille::{Builder, spawn};

use crate::child::in_child;
use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::{LOCAL, pair, reset, running, stepping};

/// A listener that is shared, by how it came to be, and the descriptor of whoever shares it.
fn shared() -> [(&'static str, TcpListener, OwnedFd); 2] {
    let theirs = StdListener::bind(LOCAL).unwrap();
    let inherited = theirs.try_clone().unwrap();
    let from_std = TcpListener::from_std(inherited).unwrap();
    let lent = reveille::block_on(TcpListener::bind(LOCAL)).unwrap();
    let other = lent.as_fd().try_clone_to_owned().unwrap();
    [("of std's", from_std, theirs.into()), ("lent", lent, other)]
}

fn is_nonblocking(fd: &OwnedFd) -> bool {
    // SAFETY: F_GETFL takes no argument and touches no memory of ours.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    assert_ne!(flags, -1);
    flags & libc::O_NONBLOCK != 0
}

fn set_blocking(fd: &OwnedFd) {
    StdListener::from(fd.try_clone().unwrap())
        .set_nonblocking(false)
        .unwrap();
}

/// Fault A30. Catches: an accept that blocks the thread, and with it the whole loop, because whoever
/// shares the listener has cleared O_NONBLOCK, by each of the ways to accept.
#[test]
fn a_sharer_that_makes_a_listener_block_does_not_stop_the_loop() {
    let _limit = limit(30);
    stepping(|runtime| {
        for (name, listener, other) in shared() {
            let at = listener.local_addr().unwrap();
            // The first accept leaves it ready: the next one tries.
            let _client = StdStream::connect(at).unwrap();
            drop(runtime.block_on(listener.accept()).unwrap());
            set_blocking(&other);
            let error = listener.try_accept().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{name}");
            assert!(is_nonblocking(&other), "{name}");
            set_blocking(&other);
            inside(runtime, || {
                let cx = &mut Context::from_waker(Waker::noop());
                assert!(listener.poll_accept(cx).is_pending(), "{name}");
                set_blocking(&other);
                assert!(poll(&mut pin!(listener.accept()), Waker::noop()).is_pending());
            });
            // What comes is accepted all the same.
            set_blocking(&other);
            let _client = StdStream::connect(at).unwrap();
            drop(runtime.block_on(listener.accept()).unwrap());
        }
    });
}

/// Fault A30. Catches: as above, with another process that makes it block and accepts as well.
#[test]
fn a_process_that_accepts_on_the_same_listener_stops_nobody_else() {
    let name = "shared_listener::a_process_that_accepts_on_the_same_listener_stops_nobody_else";
    // The other one would keep the sockets of all tests open that run beside this.
    in_child(name, || {
        running(async || {
            let theirs = StdListener::bind(LOCAL).unwrap();
            let other = accept_in_a_child(theirs.as_raw_fd());
            let listener = TcpListener::from_std(theirs).unwrap();
            let at = listener.local_addr().unwrap();
            let accepts = spawn(async move { while listener.accept().await.is_ok() {} });
            // Each is accepted and closed, by whichever process gets it.
            for _ in 0..300 {
                let client = TcpStream::connect(at).await.unwrap();
                let closed = timeout(Duration::from_secs(10), client.read(&mut [0])).await;
                assert!(matches!(closed.unwrap(), Ok(0) | Err(_)));
            }
            accepts.abort();
            assert!(accepts.await.unwrap_err().is_cancelled());
            // SAFETY: kill(2) takes two integers, and the child has not been waited for.
            unsafe { libc::kill(other, libc::SIGKILL) };
            // SAFETY: for a null status nothing is written.
            unsafe { libc::waitpid(other, std::ptr::null_mut(), 0) };
        })
    });
}

/// Forks a process that makes the listener block, then accepts and closes for ever. It makes system
/// calls and nothing else, as a child of a process with several threads must.
fn accept_in_a_child(listener: RawFd) -> libc::pid_t {
    // SAFETY: fork(2) takes nothing, and the child does as is said above.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1);
    if child == 0 {
        // SAFETY: alarm(2) takes an integer: it does not outlive a test that hangs.
        unsafe { libc::alarm(60) };
        // SAFETY: F_SETFL takes an integer; O_NONBLOCK is not among these flags.
        unsafe { libc::fcntl(listener, libc::F_SETFL, libc::O_RDWR) };
        let null = std::ptr::null_mut::<libc::c_void>();
        loop {
            let mut entry = libc::pollfd {
                fd: listener,
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: the kernel reads and writes one `pollfd`, which outlives the call.
            unsafe { libc::poll(&raw mut entry, 1, -1) };
            // SAFETY: with null pointers the peer's address is not written.
            let accepted = unsafe { libc::accept4(listener, null.cast(), null.cast(), 0) };
            // SAFETY: what was just accepted is nobody else's; -1 is an error.
            unsafe { libc::close(accepted) };
        }
    }
    child
}

fn set_peek_off(fd: RawFd) {
    let offset = 0_i32;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_PEEK_OFF);
    let value = (&raw const offset).cast();
    // SAFETY: the pointer is good for a read of four bytes, which is all that setsockopt(2) reads.
    let set = unsafe { libc::setsockopt(fd, level, name, value, 4) };
    assert_eq!(
        set,
        0,
        "Linux 6.9 or later: {}",
        std::io::Error::last_os_error()
    );
}

/// A stream whose peeks begin behind what was peeked, with five bytes that were, and its other end. The
/// option is its listener's or its own.
async fn peeked(inherited: bool) -> (TcpStream, StdStream) {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    if inherited {
        set_peek_off(listener.as_raw_fd());
    }
    let mut theirs = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    if !inherited {
        set_peek_off(ours.as_raw_fd());
    }
    theirs.write_all(b"hello").unwrap();
    assert_eq!(ours.peek(&mut [0; 16]).await.unwrap(), 5);
    (ours, theirs)
}

/// Fault A31. Catches: a peek that spins inside one poll where SO_PEEK_OFF lets it begin behind what is
/// there, or keeps its task busy.
#[test]
fn a_peek_behind_what_is_there_waits() {
    let _limit = limit(30);
    running(async || {
        for inherited in [true, false] {
            let (ours, _theirs) = peeked(inherited).await;
            let before = reveille::Handle::current().metrics().polls;
            let again = timeout(Duration::from_millis(50), async {
                ours.peek(&mut [0; 16]).await
            });
            assert!(again.await.is_err(), "inherited: {inherited}");
            // 1, 2, 4, ... ms.
            let polls = reveille::Handle::current().metrics().polls - before;
            assert!(polls < 15, "{polls}");
            let by_poll = poll_fn(|cx| ours.poll_peek(cx, &mut [0; 16]));
            assert!(timeout(Duration::from_millis(30), by_poll).await.is_err());
        }
    });
}

/// Fault A31; R10. Catches: a peek whose EAGAIN strands whoever reads.
#[test]
fn what_a_peek_does_not_see_can_be_read() {
    let _limit = limit(30);
    running(async || {
        for inherited in [true, false] {
            let (ours, _theirs) = peeked(inherited).await;
            // Registered and told of them: no other event will come.
            ours.readable().await.unwrap();
            let cx = &mut Context::from_waker(Waker::noop());
            assert!(ours.poll_peek(cx, &mut [0; 16]).is_pending());
            let buf = &mut [0; 16];
            let read = timeout(Duration::from_secs(10), ours.read(buf))
                .await
                .unwrap();
            assert_eq!(&buf[..read.unwrap()], b"hello");
        }
    });
}

/// Fault A31. Catches: bytes that come while a peek waits, and that it does not see.
#[test]
fn a_peek_that_waits_sees_what_comes_later() {
    let _limit = limit(30);
    running(async || {
        for by_poll in [true, false] {
            let (ours, mut theirs) = peeked(true).await;
            let peek = spawn(async move {
                let buf = &mut [0; 16];
                let peeked = if by_poll {
                    poll_fn(|cx| ours.poll_peek(cx, buf)).await
                } else {
                    ours.peek(buf).await
                };
                (peeked.unwrap(), buf[0])
            });
            sleep(Duration::from_millis(5)).await;
            theirs.write_all(b"abc").unwrap();
            let seen = timeout(Duration::from_secs(10), peek).await.unwrap();
            assert_eq!(seen.unwrap(), (3, b'a'), "by poll: {by_poll}");
        }
    });
}

/// Fault A31. Catches: a peek that asks again and again for what an event will tell; an error taken for
/// bytes that it does not see.
#[test]
fn a_peek_of_a_stream_without_bytes_waits_for_its_event_and_tells_its_error() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (theirs, ours) = runtime.block_on(pair());
        let mut buf = [0; 16];
        let mut peek = Box::pin(ours.peek(&mut buf));
        for _ in 0..2 {
            inside(runtime, || {
                assert!(poll(&mut peek, Waker::noop()).is_pending())
            });
            runtime.turn().unwrap();
            assert_eq!(runtime.handle().metrics().timers, 0);
        }
        drop(peek);
        reset(theirs);
        let peeked = runtime.block_on(ours.peek(&mut [0; 16]));
        assert_eq!(peeked.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

/// Fault A31. Catches: a peek that waits where nothing can end its pause.
#[test]
fn a_peek_behind_what_is_there_outside_a_runtime_is_an_error() {
    let _limit = limit(30);
    let listener = StdListener::bind(LOCAL).unwrap();
    let mut theirs = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    let ours = TcpStream::from_std(listener.accept().unwrap().0).unwrap();
    set_peek_off(ours.as_raw_fd());
    theirs.write_all(b"hello").unwrap();
    let cx = &mut Context::from_waker(Waker::noop());
    // Until it has arrived.
    while !matches!(ours.poll_peek(cx, &mut [0; 16]), Poll::Ready(Ok(5))) {}
    // What is there to be seen is seen outside, too.
    let (other, mut far) = (StdListener::bind(LOCAL).unwrap(), [0; 16]);
    let mut sender = StdStream::connect(other.local_addr().unwrap()).unwrap();
    let plain = TcpStream::from_std(other.accept().unwrap().0).unwrap();
    sender.write_all(b"x").unwrap();
    while !matches!(plain.poll_peek(cx, &mut far), Poll::Ready(Ok(1))) {}
    let seen = poll(&mut pin!(plain.peek(&mut far)), Waker::noop());
    assert!(matches!(seen, Poll::Ready(Ok(1))));
    let Poll::Ready(Err(error)) = ours.poll_peek(cx, &mut [0; 16]) else {
        panic!("it waits, or sees the same twice");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    let buf = &mut [0; 16];
    let Poll::Ready(Err(error)) = poll(&mut pin!(ours.peek(buf)), Waker::noop()) else {
        panic!("it waits, or sees the same twice");
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    // Not where its pause began, either: begun inside, it goes on outside.
    let runtime = reveille::Runtime::new().unwrap();
    let buf = &mut [0; 16];
    let mut peek = pin!(ours.peek(buf));
    inside(&runtime, || {
        assert!(poll(&mut peek, Waker::noop()).is_pending())
    });
    let outside = poll(&mut peek, Waker::noop());
    assert!(matches!(outside, Poll::Ready(Err(error)) if error.kind() == ErrorKind::WouldBlock));
}

/// Fault A31. Catches: a polled peek that wakes its task at once, again and again, so that a peer burns the processor.
#[test]
fn a_polled_peek_that_sees_nothing_new_rests() {
    let _limit = limit(30);
    let runtime = Builder::new().start_paused(true).build().unwrap();
    let (ours, _theirs) = runtime.block_on(peeked(true));
    let (wakes, waker) = Wakes::new();
    let cx = &mut Context::from_waker(&waker);
    let polled = inside(&runtime, || ours.poll_peek(cx, &mut [0; 16]));
    // Or the first poll registers.
    let polled = match polled {
        Poll::Pending if wakes.count() > 0 => inside(&runtime, || ours.poll_peek(cx, &mut [0; 16])),
        polled => polled,
    };
    assert!(polled.is_pending());
    let before = wakes.count();
    for _ in 0..10 {
        runtime.turn().unwrap();
    }
    assert_eq!(wakes.count(), before);
    runtime.block_on(advance(Duration::from_millis(5)));
    runtime.turn().unwrap();
    assert_eq!(wakes.count(), before + 1);
}
