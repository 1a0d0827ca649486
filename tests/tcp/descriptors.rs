//! Descriptors: none leaks, none is inherited, and each leaves epoll before it is closed.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::process::Command;

use reveille::Runtime;
use reveille::net::{TcpListener, TcpStream};
use reveille::signal::unix::{SignalKind, signal};

use super::step::inside;
use super::{
    LOCAL, Reader, child, closed_port, delivered, ours, pair, registrations, running, stepping,
};
use crate::limit::limit;

/// Open descriptors of this process, without the one that counts them.
fn open() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// R7. Fault A2: a duplicate keeps what epoll watches alive after the close.
/// Catches: a socket closed before it has left the interest list.
#[test]
fn a_socket_with_a_duplicate_leaves_epoll_when_it_is_dropped() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, ours) = runtime.block_on(pair());
        let mut reader = Reader::new(runtime, &ours);
        reader.wait();
        let duplicate = ours.try_clone().unwrap();
        inside(runtime, || drop(ours));
        assert_eq!(registrations(runtime), 0);
        for _ in 0..10 {
            theirs.write_all(b"to the duplicate").unwrap();
            runtime.turn().unwrap();
        }
        assert_eq!(runtime.handle().metrics().stale_events, 0);
        let mut buf = [0; 16];
        assert_eq!(runtime.block_on(duplicate.read(&mut buf)).unwrap(), 16);
    });
}

/// R7. Catches: a stream that stays registered after `into_std`, or cannot be used again.
#[test]
fn a_stream_goes_to_std_and_back_a_hundred_times() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, mut ours) = runtime.block_on(pair());
        for round in 0..100 {
            Reader::new(runtime, &ours).wait();
            assert_eq!(registrations(runtime), 1);
            let std = ours.into_std().unwrap();
            assert_eq!(registrations(runtime), 0);
            ours = TcpStream::from_std(std).unwrap();
            theirs.write_all(&[round]).unwrap();
            let mut byte = [0];
            runtime.block_on(ours.read_exact(&mut byte)).unwrap();
            assert_eq!(byte, [round]);
        }
    });
}

/// The parts of a registration that a waiting connection costs: one, until it is dropped; and none
/// for one that never waited. Catches: a registration by direction, by half, or at birth.
#[test]
fn a_waiting_connection_is_registered_once_and_one_that_never_waited_not_at_all() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (mut theirs, stream) = runtime.block_on(pair());
        theirs.write_all(b"there already").unwrap();
        delivered(&theirs);
        let mut buf = [0; 13];
        runtime.block_on(async {
            stream.read(&mut buf).await.unwrap();
            stream.write_all(&buf).await.unwrap();
        });
        assert_eq!(registrations(runtime), 0, "it never had to wait");
        Reader::new(runtime, &stream).wait();
        assert_eq!(registrations(runtime), 1);
        runtime.block_on(stream.writable()).unwrap();
        let (reader, writer) = stream.into_split();
        runtime.block_on(writer.writable()).unwrap();
        assert_eq!(registrations(runtime), 1);
        drop(reader);
        assert_eq!(registrations(runtime), 1);
        drop(writer);
        assert_eq!(registrations(runtime), 0);
    });
}

/// Seed rows of one connection after another. Catches: a slot, a registration or a descriptor that a
/// connection leaves behind.
#[test]
fn two_thousand_connections_leave_nothing_behind() {
    let name = "descriptors::two_thousand_connections_leave_nothing_behind";
    child::in_child(name, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind(LOCAL).await.unwrap();
            let at = listener.local_addr().unwrap();
            let before = open();
            for _ in 0..2000 {
                let client = TcpStream::connect(at).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                client.set_zero_linger().unwrap();
                let waiting = reveille::spawn(async move { server.read(&mut [0]).await });
                reveille::task::yield_now().await;
                drop(client);
                assert!(waiting.await.unwrap().is_err());
            }
            assert_eq!(open(), before);
        });
        assert_eq!(registrations(&runtime), 0);
    });
}

/// Fault A20. Catches: a descriptor that leaks when a constructor fails halfway, at whichever step.
#[test]
fn constructors_that_fail_at_the_descriptor_limit_leak_nothing() {
    let name = "descriptors::constructors_that_fail_at_the_descriptor_limit_leak_nothing";
    child::in_child(name, || {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (client, _server) = ours().await;
            let listener = TcpListener::bind(LOCAL).await.unwrap();
            let at = listener.local_addr().unwrap();
            let (_kept, closed) = closed_port();
            // They fill the gaps between the numbers, so that a limit on numbers is one on counts.
            let _fillers: Vec<_> = (0..20).map(|_| fs::File::open("/dev/null")).collect();
            let lowest = fs::File::open("/dev/null").unwrap().as_raw_fd();
            let lowest = u64::try_from(lowest).unwrap();
            let (_, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
            let limit = |n| rlimit::setrlimit(rlimit::Resource::NOFILE, n, hard).unwrap();
            let before = open();
            for room in 0..3 {
                limit(lowest + room);
                let made = [
                    ("bind", TcpListener::bind(LOCAL).await.map(drop)),
                    ("connect", TcpStream::connect(at).await.map(drop)),
                    ("try_clone", client.try_clone().map(drop)),
                ];
                let runtimes = Runtime::new().map(drop);
                let taken = TcpListener::bind(at).await.map(drop);
                let refused = TcpStream::connect(closed).await.map(drop);
                limit(hard);
                for (name, made) in made {
                    assert_eq!(
                        made.is_ok(),
                        room > 0,
                        "{name} with room for {room}: {made:?}"
                    );
                }
                assert_eq!(runtimes.is_ok(), room > 1, "{runtimes:?}");
                assert!(taken.is_err() && refused.is_err());
                assert_eq!(open(), before, "with room for {room}");
            }
        });
        // The listener was never waited for after those connections.
        assert_eq!(registrations(&runtime), 0);
    });
}

/// Fault A21. Catches: CLOEXEC missing anywhere, so that a program started from here holds
/// connections open which were closed here.
#[test]
fn a_started_program_inherits_no_descriptor() {
    let name = "descriptors::a_started_program_inherits_no_descriptor";
    child::in_child(name, || {
        let before = inherited();
        reveille::block_on(async {
            let listener = TcpListener::bind(LOCAL).await.unwrap();
            let connecting = TcpStream::connect(listener.local_addr().unwrap());
            let client = connecting.await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            let _clone = client.try_clone().unwrap();
            let _halves = server.into_split();
            let _signals = signal(SignalKind::hangup()).unwrap();
            assert_eq!(inherited(), before);
        });
    });
}

/// What a program started from here finds open: whatever this process was born with, and the
/// directory that is listed.
fn inherited() -> String {
    let listed = Command::new("ls").arg("/proc/self/fd").output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}

/// Fault C15, A20. Catches: the sockets of addresses that failed kept open while others are tried.
#[test]
fn addresses_that_fail_leave_no_socket() {
    let name = "descriptors::addresses_that_fail_leave_no_socket";
    child::in_child(name, || {
        super::within::within(super::WATCHDOG, || {
            reveille::block_on(async {
                let closed: Vec<_> = (0..50).map(|_| closed_port()).collect();
                let addresses: Vec<SocketAddr> = closed.iter().map(|(_, at)| *at).collect();
                let before = open();
                TcpStream::connect(&addresses[..]).await.unwrap_err();
                assert_eq!(open(), before);
            });
        });
    });
}

/// R7. Catches: a source that outlives its runtime's interest in it: a stream dropped after its
/// runtime has ended closes, and nothing more.
#[test]
fn a_stream_may_outlive_its_runtime() {
    let _limit = limit(30);
    running(async || {
        let (mut theirs, ours) = std::thread::spawn(|| {
            let runtime = Runtime::new().unwrap();
            let (theirs, ours) = runtime.block_on(pair());
            Reader::new(&runtime, &ours).wait();
            (theirs, ours)
        })
        .join()
        .unwrap();
        theirs.write_all(b"abc").unwrap();
        delivered(&theirs);
        let mut buf = [0; 9];
        assert_eq!(ours.try_read(&mut buf).unwrap(), 3);
        assert_eq!(ours.read(&mut []).await.unwrap(), 0);
        let error = ours.read(&mut buf).await.unwrap_err();
        assert!(error.to_string().contains("`try_clone`"), "{error}");
        drop(ours);
        assert_eq!(std::io::Read::read(&mut theirs, &mut buf).unwrap(), 0);
    });
}
