//! The faults of epoll: descriptors that come, go, are duplicated, closed and used again.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use reveille::Runtime;
use reveille::io::{AsyncFd, Interest};
use reveille::time::sleep;

use crate::child::in_child;
use crate::foreign::{Act, foreign};
use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::within::within;
use crate::{fill, pair, read_one, reader, registrations, settle, sources, write_one};

/// Fault A1, R6. Catches: wakers run while the batch is being read, and events matched to whoever
/// lives in the slot now: together they hand a newcomer its predecessor's event.
#[test]
fn a_source_made_in_the_middle_of_a_batch_inherits_no_event() {
    in_child(
        "faults::a_source_made_in_the_middle_of_a_batch_inherits_no_event",
        || {
            for victim_first in [false, true] {
                replace_in_mid_batch(victim_first);
            }
        },
    );
}

/// The waker of A drops B, whose event is in the same batch, and a newcomer takes B's slot and the
/// number of its descriptor.
fn replace_in_mid_batch(victim_first: bool) {
    let runtime = Runtime::new().unwrap();
    let (a, a_peer) = reader();
    let (b, b_peer) = reader();
    let (_, ignored) = Wakes::new();
    inside(&runtime, || {
        assert!(poll(&mut pin!(b.readable()), &ignored).is_pending());
    });
    let number = b.get_ref().as_raw_fd();
    let (victim, newcomer) = (RefCell::new(Some(b)), Rc::new(RefCell::new(None)));
    let (wakes, waker) = Wakes::new();
    let (made, counted) = (Rc::clone(&newcomer), waker.clone());
    let replacing = foreign(move |act| {
        if act == Act::Wake {
            drop(victim.take());
            let (fresh, peer) = reader();
            assert_eq!(fresh.get_ref().as_raw_fd(), number);
            // A poll, so that the waiter stays when this is over.
            let mut cx = std::task::Context::from_waker(&counted);
            assert!(fresh.poll_read_ready(&mut cx).is_pending());
            *made.borrow_mut() = Some((fresh, peer));
        }
    });
    let mut wait = Box::pin(a.readable());
    inside(&runtime, || {
        assert!(poll(&mut wait, &replacing).is_pending())
    });
    let mut peers = [&a_peer, &b_peer];
    if victim_first {
        peers.reverse();
    }
    peers.into_iter().for_each(|peer| write_one(peer, 1));
    runtime.turn().unwrap();
    runtime.turn().unwrap();
    let newcomer = newcomer.take();
    let (fresh, fresh_peer) = newcomer.expect("A was woken");
    assert_eq!(wakes.count(), 0);
    inside(&runtime, || {
        assert!(poll(&mut pin!(fresh.readable()), &waker).is_pending());
    });
    write_one(&fresh_peer, 1);
    runtime.turn().unwrap();
    assert_eq!(wakes.count(), 1, "its own event it gets");
    assert_eq!((registrations(&runtime), sources(&runtime)), (2, 2));
}

/// Fault A2, R7. Catches: a descriptor closed without leaving the interest list first.
#[test]
fn a_duplicate_of_a_closed_descriptor_is_heard_no_more() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    let duplicate = ours.get_ref().try_clone().unwrap();
    let (wakes, waker) = Wakes::new();
    inside(&runtime, || {
        let mut cx = std::task::Context::from_waker(&waker);
        assert!(ours.poll_read_ready(&mut cx).is_pending());
        drop(ours);
    });
    assert_eq!((registrations(&runtime), sources(&runtime)), (0, 0));
    for _ in 0..1000 {
        write_one(&theirs, 1);
        runtime.turn().unwrap();
        read_one(&duplicate).unwrap();
    }
    let metrics = runtime.handle().metrics();
    assert_eq!((metrics.events, metrics.stale_events), (0, 0));
    assert_eq!(wakes.count(), 0);
}

/// Fault A19, R6. Catches: an event matched to its source by the index alone.
#[test]
fn an_event_of_what_was_closed_under_its_source_does_not_reach_the_next_in_the_slot() {
    in_child(
        "faults::an_event_of_what_was_closed_under_its_source_does_not_reach_the_next_in_the_slot",
        || {
            let runtime = Runtime::new().unwrap();
            let (owner, old_peer) = pair();
            let _duplicate = owner.try_clone().unwrap();
            // SAFETY: none: the descriptor is closed below while this borrows it, which is the
            // fault. Nothing else in this process opens or uses descriptors meanwhile.
            let lie = unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) };
            let lying = AsyncFd::with_interest(lie, Interest::READABLE).unwrap();
            let (_, waker) = Wakes::new();
            inside(&runtime, || {
                assert!(poll(&mut pin!(lying.readable()), &waker).is_pending());
                drop(owner);
                drop(lying);
            });
            // The slot is free although the kernel says EBADF; the duplicate keeps the entry alive.
            assert_eq!((registrations(&runtime), sources(&runtime)), (1, 0));
            let (next, next_peer) = reader();
            let (wakes, waker) = Wakes::new();
            let mut wait = Box::pin(next.readable());
            inside(&runtime, || assert!(poll(&mut wait, &waker).is_pending()));
            write_one(&old_peer, 1);
            runtime.turn().unwrap();
            assert_eq!(runtime.handle().metrics().stale_events, 1);
            assert_eq!(wakes.count(), 0);
            write_one(&next_peer, 1);
            runtime.turn().unwrap();
            assert_eq!(wakes.count(), 1);
        },
    );
}

/// Hands out another descriptor every time but the first.
struct Fickle {
    first: OwnedFd,
    then: OwnedFd,
    asked: Cell<u32>,
}

impl std::os::fd::AsFd for Fickle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        let nth = self.asked.replace(self.asked.get() + 1);
        if nth == 0 { &self.first } else { &self.then }.as_fd()
    }
}

/// Fault A19. Catches: the number asked for again to deregister.
#[test]
fn a_value_that_hands_out_another_descriptor_is_registered_and_deregistered_by_the_first() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let ((first, first_peer), (then, _then_peer)) = (pair(), pair());
    let (first, then, asked) = (first.into(), then.into(), Cell::new(0));
    let fickle = Fickle { first, then, asked };
    let fickle = AsyncFd::with_interest(fickle, Interest::READABLE).unwrap();
    let (wakes, waker) = Wakes::new();
    let mut wait = Box::pin(fickle.readable());
    inside(&runtime, || assert!(poll(&mut wait, &waker).is_pending()));
    write_one(&first_peer, 1);
    runtime.turn().unwrap();
    assert_eq!(wakes.count(), 1);
    let waited = inside(&runtime, || poll(&mut wait, &waker).is_ready());
    assert!(waited);
    drop(wait);
    inside(&runtime, || drop(fickle));
    assert_eq!((registrations(&runtime), sources(&runtime)), (0, 0));
}

/// A pipe in non-blocking mode: what is read from, what is written to.
pub(crate) fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: pipe2(2) writes two integers, and `ends` has room for them.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) };
    assert_eq!(made, 0);
    // SAFETY: the call succeeded, so this is open and nobody else's.
    let reader = unsafe { File::from_raw_fd(ends[0]) };
    // SAFETY: as above.
    let writer = unsafe { File::from_raw_fd(ends[1]) };
    (reader, writer)
}

/// Fault A5. Catches: HUP that ends no wait for reading.
#[test]
fn the_end_of_a_pipe_reaches_its_reader() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (reader, writer) = pipe();
    let reader = AsyncFd::with_interest(reader, Interest::READABLE).unwrap();
    let (wakes, waker) = Wakes::new();
    let mut buf = [0; 8];
    let mut read = pin!(reader.async_io(Interest::READABLE, |mut pipe| pipe.read(&mut buf)));
    inside(&runtime, || assert!(poll(&mut read, &waker).is_pending()));
    drop(writer);
    runtime.turn().unwrap();
    assert_eq!(wakes.count(), 1);
    let end = inside(&runtime, || poll(&mut read, &waker));
    assert!(matches!(end, Poll::Ready(Ok(0))), "{end:?}");
}

/// Fault A5. Catches: ERR that ends no wait for writing.
#[test]
fn a_pipe_that_nobody_reads_any_more_tells_its_writer() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (reader, writer) = pipe();
    while (&writer).write(&[0; 4096]).is_ok() {}
    let writer = AsyncFd::with_interest(writer, Interest::WRITABLE).unwrap();
    let (wakes, waker) = Wakes::new();
    let mut write = pin!(writer.async_io(Interest::WRITABLE, |mut pipe| pipe.write(b"x")));
    inside(&runtime, || assert!(poll(&mut write, &waker).is_pending()));
    drop(reader);
    runtime.turn().unwrap();
    assert_eq!(wakes.count(), 1);
    let broken = inside(&runtime, || poll(&mut write, &waker));
    let Poll::Ready(Err(error)) = broken else {
        panic!("{broken:?}")
    };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

/// Fault A6. Catches: "closed" that stays when an operation would block.
#[test]
fn an_unconnected_socket_does_not_spin_and_connects_later() {
    within(10, || {
        let runtime = Runtime::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = unconnected();
        let socket = Rc::new(AsyncFd::new(socket).unwrap());
        let tries = Rc::new(Cell::new(0));
        let (waiting, counted) = (Rc::clone(&socket), Rc::clone(&tries));
        let connected = runtime.spawn(async move {
            let op = |socket: &TcpStream| {
                counted.set(counted.get() + 1);
                assert!(counted.get() < 10, "it spins");
                match socket.peer_addr() {
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    outcome => outcome,
                }
            };
            waiting.async_io(Interest::WRITABLE, op).await
        });
        settle(&runtime);
        assert!(tries.get() <= 3, "{} tries", tries.get());
        connect(socket.get_ref(), &listener);
        let peer = runtime.block_on(connected).unwrap().unwrap();
        assert_eq!(peer, listener.local_addr().unwrap());
    });
}

/// A TCP socket in non-blocking mode, fresh from socket(2).
fn unconnected() -> TcpStream {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: socket(2) takes three integers and no pointer.
    let fd = unsafe { libc::socket(libc::AF_INET, kind, 0) };
    assert!(fd >= 0);
    // SAFETY: the call succeeded, so this is open and nobody else's.
    unsafe { TcpStream::from_raw_fd(fd) }
}

/// Begins to connect to a listener on 127.0.0.1.
fn connect(socket: &TcpStream, listener: &TcpListener) {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: listener.local_addr().unwrap().port().to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from_ne_bytes([127, 0, 0, 1]),
        },
        sin_zero: [0; 8],
    };
    let length = size_of_val(&address) as libc::socklen_t;
    let address = (&raw const address).cast::<libc::sockaddr>();
    // SAFETY: the kernel reads `length` bytes of `address`, which outlives the call.
    let result = unsafe { libc::connect(socket.as_raw_fd(), address, length) };
    let error = io::Error::last_os_error().raw_os_error();
    assert!(result == 0 || error == Some(libc::EINPROGRESS));
}

/// Fault A9. Catches: EAGAIN in one direction that clears the other.
#[test]
fn a_reader_that_drains_leaves_the_writer_what_it_was_told() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, mut theirs) = pair();
    fill(&ours);
    let ours = AsyncFd::new(ours).unwrap();
    let (_, reading) = Wakes::new();
    let (writes, writing) = Wakes::new();
    let mut write = pin!(ours.async_io(Interest::WRITABLE, |mut stream| stream.write(b"x")));
    inside(&runtime, || {
        let mut read = pin!(ours.async_io(Interest::READABLE, read_one));
        assert!(poll(&mut read, &reading).is_pending());
        assert!(poll(&mut write, &writing).is_pending());
    });
    settle(&runtime);
    assert_eq!(writes.count(), 0);
    write_one(&theirs, 1);
    while theirs.read(&mut [0; 65536]).is_ok() {}
    runtime.turn().unwrap();
    assert_eq!(writes.count(), 1);
    inside(&runtime, || {
        let mut first = pin!(ours.async_io(Interest::READABLE, read_one));
        assert!(poll(&mut first, &reading).is_ready());
        let mut drained = pin!(ours.async_io(Interest::READABLE, read_one));
        assert!(poll(&mut drained, &reading).is_pending());
        // No further edge will come for the room that is there.
        assert!(poll(&mut write, &writing).is_ready());
    });
}

/// Fault A15. Catches: EINTR taken for a failure of epoll_wait, or for the end of a sleep.
#[test]
fn a_storm_of_signals_ends_no_sleep_early_and_breaks_no_wait() {
    in_child(
        "faults::a_storm_of_signals_ends_no_sleep_early_and_breaks_no_wait",
        || {
            let storm = Storm::begin();
            let runtime = Runtime::new().unwrap();
            let (ours, theirs) = reader();
            let echo = runtime.spawn(async move {
                for _ in 0..100 {
                    ours.async_io(Interest::READABLE, read_one).await.unwrap();
                }
            });
            runtime.block_on(async {
                for _ in 0..100 {
                    let start = Instant::now();
                    sleep(Duration::from_millis(3)).await;
                    assert!(start.elapsed() >= Duration::from_millis(3));
                    write_one(&theirs, 1);
                }
                echo.await.unwrap();
            });
            storm.end();
        },
    );
}

/// Fault A24. Catches: waits that are rounded up to milliseconds where epoll_pwait2(2) is to be had, or
/// as soon as one was interrupted.
#[test]
fn after_a_storm_of_signals_a_sleep_need_not_take_a_millisecond() {
    in_child(
        "faults::after_a_storm_of_signals_a_sleep_need_not_take_a_millisecond",
        || {
            let runtime = Runtime::new().unwrap();
            let storm = Storm::begin();
            (0..20).for_each(|_| runtime.block_on(sleep(Duration::from_millis(3))));
            storm.end();
            // So long that no alarm ends it; rounded up it would be 12 ms.
            let sleeps = (0..50).map(|_| {
                let start = Instant::now();
                runtime.block_on(sleep(Duration::from_micros(11_100)));
                start.elapsed()
            });
            let shortest = sleeps.min().unwrap();
            assert!(shortest < Duration::from_micros(11_900), "{shortest:?}");
        },
    );
}

/// SIGALRM, again and again. By a thread and not setitimer(2), which may choose any thread: this
/// must interrupt the one that waits.
struct Storm {
    over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Storm {
    /// From here on this thread is interrupted about once a millisecond.
    fn begin() -> Storm {
        extern "C" fn ignore(_: libc::c_int) {}
        // SAFETY: all zeroes is a valid `sigaction`: SIG_DFL, no flags (so no SA_RESTART), no mask.
        let mut action = unsafe { std::mem::zeroed::<libc::sigaction>() };
        action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
        let action = &raw const action;
        // SAFETY: the kernel reads `action`, which outlives the call; the handler does nothing.
        let set = unsafe { libc::sigaction(libc::SIGALRM, action, std::ptr::null_mut()) };
        assert_eq!(set, 0);
        // SAFETY: pthread_self(3) takes nothing and cannot fail.
        let target = unsafe { libc::pthread_self() };
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        let thread = thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // SAFETY: the target lives, for it joins this thread in `end`.
                let sent = unsafe { libc::pthread_kill(target, libc::SIGALRM) };
                assert_eq!(sent, 0);
                thread::sleep(Duration::from_millis(1));
            }
        });
        Storm { over, thread }
    }

    fn end(self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// An eventfd with this count.
fn eventfd(count: u32) -> File {
    let flags = libc::EFD_CLOEXEC | libc::EFD_NONBLOCK;
    // SAFETY: eventfd(2) takes two integers and no pointer.
    let fd = unsafe { libc::eventfd(count, flags) };
    assert!(fd >= 0);
    // SAFETY: the call succeeded, so this is open and nobody else's.
    unsafe { File::from_raw_fd(fd) }
}

/// More than two batches of 256.
const MANY: usize = 600;

/// Fault A25. Catches: a turn that leaves behind what did not fit into one batch: whoever watches
/// the runtime's descriptor for edges hears nothing of the rest.
#[test]
fn one_turn_serves_more_descriptors_than_fit_into_a_batch() {
    in_child(
        "faults::one_turn_serves_more_descriptors_than_fit_into_a_batch",
        || {
            let runtime = Runtime::new().unwrap();
            let fds: Vec<_> = (0..MANY)
                .map(|_| AsyncFd::with_interest(eventfd(0), Interest::READABLE).unwrap())
                .collect();
            let (wakes, waker) = Wakes::new();
            let mut waits: Vec<_> = fds.iter().map(|fd| Box::pin(fd.readable())).collect();
            inside(&runtime, || {
                for wait in &mut waits {
                    assert!(poll(wait, &waker).is_pending());
                }
            });
            runtime.turn().unwrap();
            let before = runtime.handle().metrics();
            for fd in &fds {
                fd.get_ref().write_all(&1u64.to_ne_bytes()).unwrap();
            }
            runtime.turn().unwrap();
            let after = runtime.handle().metrics();
            assert_eq!(wakes.count(), MANY);
            assert_eq!(after.events - before.events, MANY as u64);
            assert_eq!(after.turns - before.turns, 3, "two full batches and a rest");
        },
    );
}

/// Fault A25. Catches: an order in which descriptors that are ready again overtake others.
#[test]
fn no_descriptor_is_served_twice_before_every_other_was_once() {
    in_child(
        "faults::no_descriptor_is_served_twice_before_every_other_was_once",
        || {
            let runtime = Runtime::new().unwrap();
            let served = Rc::new(RefCell::new(Vec::new()));
            for nth in 0..MANY {
                let served = Rc::clone(&served);
                let fd = AsyncFd::with_interest(eventfd(1), Interest::READABLE).unwrap();
                drop(runtime.spawn(async move {
                    let take = |mut fd: &File| fd.read(&mut [0; 8]);
                    for _ in 0..3 {
                        // Waits for each report; the eventfd is ready again at once.
                        let mut report = fd.readable().await.unwrap();
                        served.borrow_mut().push(nth);
                        assert!(take(fd.get_ref()).is_ok());
                        report.clear_ready();
                        fd.get_ref().write_all(&1u64.to_ne_bytes()).unwrap();
                    }
                }));
            }
            settle(&runtime);
            let served = served.borrow();
            assert_eq!(served.len(), 3 * MANY);
            for round in served.chunks(MANY) {
                let mut round = round.to_vec();
                round.sort_unstable();
                assert!(round.iter().copied().eq(0..MANY));
            }
        },
    );
}

/// Fault A33. Pins what the page of `AsyncFd` says: while a peer's queue is full, a send to it is tried
/// again and again, others run, and it is sent once there is room.
#[test]
fn a_datagram_to_a_full_queue_keeps_trying_lets_others_run_and_is_sent() {
    within(30, || {
        let name = format!("reveille-full-{}", std::process::id());
        let at = SocketAddr::from_abstract_name(name).unwrap();
        let peer = UnixDatagram::bind_addr(&at).unwrap();
        peer.set_nonblocking(true).unwrap();
        let [ours, other] = [(); 2].map(|()| UnixDatagram::unbound().unwrap());
        ours.set_nonblocking(true).unwrap();
        other.set_nonblocking(true).unwrap();
        // By another, so that no send of ours leaves an event behind.
        while other.send_to_addr(b"x", &at).is_ok() {}
        reveille::block_on(async {
            let ours = AsyncFd::with_interest(ours, Interest::WRITABLE).unwrap();
            let tries = Rc::new(Cell::new(0));
            let counted = Rc::clone(&tries);
            let send = reveille::spawn(async move {
                let send = |socket: &UnixDatagram| {
                    counted.set(counted.get() + 1);
                    socket.send_to_addr(b"hi", &at)
                };
                ours.async_io(Interest::WRITABLE, send).await
            });
            // It goes round, and others tick beside it.
            while tries.get() < 100 {
                sleep(Duration::from_millis(1)).await;
            }
            assert!(!send.is_finished());
            while peer.recv(&mut [0; 2]).is_ok() {}
            assert_eq!(send.await.unwrap().unwrap(), 2);
            assert_eq!(peer.recv(&mut [0; 4]).unwrap(), 2);
        });
    });
}
