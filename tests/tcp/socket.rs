//! A socket before it is connected or listens: what was said before holds afterwards.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};

use reveille::Runtime;
use reveille::net::{TcpListener, TcpSocket, TcpStream};

use super::connecting::{attempts_at, full_listener};
use super::step::{Wakes, inside, poll};
use super::{LOCAL, WATCHDOG, child, closed_port, ours, registrations, running, stepping};
use crate::limit::limit;
use crate::within::within;

/// A socket bound to a port of the kernel's choice.
fn bound() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(LOCAL.into()).unwrap();
    socket
}

/// The flags of an open fd, as /proc shows them: proc_pid_fdinfo(5).
fn flags(fd: i32) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    i32::from_str_radix(flags.unwrap().trim(), 8).unwrap()
}

/// Clears O_NONBLOCK, as a sharer may.
fn make_blocking(fd: i32) {
    // SAFETY: F_SETFL takes an integer and touches no memory of ours.
    assert_eq!(unsafe { libc::fcntl(fd, libc::F_SETFL, 0) }, 0);
}

/// Catches: an address that is forgotten before the connect.
#[test]
fn a_connection_comes_from_where_its_socket_is_bound() {
    let _limit = limit(30);
    running(async || {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let at = listener.local_addr().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        assert_eq!(socket.local_addr().unwrap().port(), 0);
        socket
            .bind((Ipv4Addr::new(127, 0, 0, 2), 0).into())
            .unwrap();
        let from = socket.local_addr().unwrap();
        assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 2));
        assert_ne!(from.port(), 0);
        let client = socket.connect(at).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!((client.local_addr().unwrap(), peer), (from, from));
        client.write_all(b"ping").await.unwrap();
        server.read_exact(&mut [0; 4]).await.unwrap();
        // Without a bind, it is from anywhere.
        TcpSocket::new_v4().unwrap().connect(at).await.unwrap();
    });
}

/// Catches: a port chosen at the bind, of which there are some 28,000 for all peers together.
#[test]
fn a_bind_may_leave_the_port_to_the_connect() {
    let _limit = limit(30);
    running(async || {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_bind_address_no_port(true).unwrap();
        socket
            .bind((Ipv4Addr::new(127, 0, 0, 2), 0).into())
            .unwrap();
        assert_eq!(socket.local_addr().unwrap().port(), 0);
        let client = socket
            .connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let from = client.local_addr().unwrap();
        assert_eq!(from.ip(), Ipv4Addr::new(127, 0, 0, 2));
        assert_ne!(from.port(), 0);
    });
}

/// Fault A34. Catches: an EINVAL of the kernel's that blames a sandbox for what the caller did.
#[test]
fn what_cannot_be_meant_is_refused_with_the_reason() {
    let _limit = limit(30);
    running(async || {
        let v4 = SocketAddr::from(LOCAL);
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 1));
        let (connected, _server) = ours().await;
        let connected = connected.into_std().unwrap();
        let mut errors = vec![
            (
                TcpSocket::new_v4().unwrap().bind(v6).unwrap_err(),
                "`TcpSocket::new_v6`",
            ),
            (
                TcpSocket::new_v4().unwrap().connect(v6).await.unwrap_err(),
                "`TcpSocket::new_v6`",
            ),
            (
                bound().bind(v4).unwrap_err(),
                "bound already, to `127.0.0.1:",
            ),
            (
                TcpSocket::from_std_stream(connected).listen(1).unwrap_err(),
                "is connected",
            ),
        ];
        // A machine without IPv6 has nothing to show here.
        if let (Ok(socket), Ok(other)) = (TcpSocket::new_v6(), TcpSocket::new_v6()) {
            errors.push((socket.bind(v4).unwrap_err(), "`TcpSocket::new_v4`"));
            errors.push((other.connect(v4).await.unwrap_err(), "`TcpSocket::new_v4`"));
        }
        for (error, reason) in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            let text = error.to_string();
            assert!(text.contains(reason) && !text.contains("sandbox"), "{text}");
        }
    });
}

/// What the kernel refuses has its number. Catches: an error that is changed on the way.
#[test]
fn what_the_kernel_refuses_is_told_as_it_is() {
    let _limit = limit(30);
    running(async || {
        let (_kept, closed) = closed_port();
        let error = bound().connect(closed).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        let taken = TcpListener::bind(LOCAL).await.unwrap().into_std().unwrap();
        let taken = taken.local_addr().map(|at| (taken, at)).unwrap();
        let error = TcpSocket::new_v4().unwrap().bind(taken.1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let nowhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 0));
        let error = TcpSocket::new_v4().unwrap().bind(nowhere).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        // Two may be bound to one port by SO_REUSEADDR; not both may listen.
        let (first, second) = (TcpSocket::new_v4().unwrap(), TcpSocket::new_v4().unwrap());
        first.set_reuseaddr(true).unwrap();
        second.set_reuseaddr(true).unwrap();
        first.bind(LOCAL.into()).unwrap();
        second.bind(first.local_addr().unwrap()).unwrap();
        let _listener = first.listen(1).unwrap();
        assert_eq!(second.listen(1).unwrap_err().kind(), ErrorKind::AddrInUse);
        let socket = TcpSocket::new_v4().unwrap();
        assert!(socket.take_error().unwrap().is_none());
    });
}

/// Fault C3. Catches: a socket that is connected with itself, because it is bound to where it connects.
#[test]
fn a_socket_bound_to_where_it_connects_is_refused() {
    let _limit = limit(30);
    running(async || {
        let socket = bound();
        let at = socket.local_addr().unwrap();
        let error = socket.connect(at).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    });
}

/// Catches: a second listener refused, or one that gets no connections.
#[test]
fn two_listeners_at_one_port_both_accept() {
    let _limit = limit(30);
    running(async || {
        let socket = || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuseport(true).unwrap();
            socket
        };
        let first = socket();
        first.bind(LOCAL.into()).unwrap();
        let at = first.local_addr().unwrap();
        let alone = TcpSocket::new_v4().unwrap();
        assert_eq!(alone.bind(at).unwrap_err().kind(), ErrorKind::AddrInUse);
        let second = socket();
        second.bind(at).unwrap();
        let listeners = [first.listen(64).unwrap(), second.listen(64).unwrap()];
        // Each goes to one of the two by a hash of its addresses.
        let clients: Vec<_> = (0..64)
            .map(|_| std::net::TcpStream::connect(at).unwrap())
            .collect();
        let mut peers = BTreeSet::new();
        for listener in &listeners {
            let before = peers.len();
            while let Ok((_, peer)) = listener.try_accept() {
                peers.insert(peer);
            }
            assert!(peers.len() > before);
        }
        let all: BTreeSet<_> = clients.iter().map(|it| it.local_addr().unwrap()).collect();
        assert_eq!(peers, all);
    });
}

/// Catches: a backlog that is not the one asked for; a great one that wraps to a negative number.
#[test]
fn the_backlog_is_the_one_asked_for() {
    let _limit = limit(30);
    running(async || {
        let most = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let most: u32 = most.trim().parse().unwrap();
        for backlog in [0, 1, 7, 300, u32::MAX] {
            let listener = TcpSocket::new_v4().unwrap().listen(backlog).unwrap();
            let at = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()));
            let room = backlog.min(most);
            assert_eq!(super::accepting::backlog_of(&listener), room);
            if backlog <= 1 {
                // listen(2) counts loosely: there is room for one more, and the next SYN is dropped.
                let within: Vec<_> = (0..=backlog)
                    .map(|_| std::net::TcpStream::connect(at).unwrap())
                    .collect();
                let mut beyond = Box::pin(TcpStream::connect(at));
                assert!(futures_lite::future::poll_once(&mut beyond).await.is_none());
                drop(within);
            }
        }
    });
}

/// Fault A21. Catches: a descriptor that a started program inherits, or that blocks the thread.
#[test]
fn each_socket_is_closed_on_exec_and_never_blocks() {
    let _limit = limit(30);
    running(async || {
        let assert_right = |fd: &dyn AsRawFd| {
            let flags = flags(fd.as_raw_fd());
            assert_ne!(
                flags & libc::O_CLOEXEC,
                0,
                "close-on-exec; flags {flags:#o}"
            );
            assert_ne!(
                flags & libc::O_NONBLOCK,
                0,
                "non-blocking; flags {flags:#o}"
            );
        };
        assert_right(&TcpSocket::new_v4().unwrap());
        TcpSocket::new_v6()
            .iter()
            .for_each(|socket| assert_right(socket));
        let socket = bound();
        let at = socket.local_addr().unwrap();
        let listener = socket.listen(9).unwrap();
        // Of std's making, which blocks.
        let theirs: std::net::TcpStream = bound().as_fd().try_clone_to_owned().unwrap().into();
        make_blocking(theirs.as_raw_fd());
        let socket = TcpSocket::from_std_stream(theirs);
        let from = socket.local_addr().unwrap();
        let client = socket.connect(at).await.unwrap();
        let (server, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, from);
        for fd in [&listener as &dyn AsRawFd, &client, &server] {
            assert_right(fd);
        }
        let theirs: std::net::TcpStream = bound().as_fd().try_clone_to_owned().unwrap().into();
        make_blocking(theirs.as_raw_fd());
        assert_right(&TcpSocket::from_std_stream(theirs).listen(9).unwrap());
    });
}

/// Catches: a connect that blocks the thread for two minutes, because other code made the socket, or has changed it.
#[test]
fn a_connect_of_a_socket_that_was_lent_does_not_block() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (_full, at) = full_listener();
        let lent = TcpSocket::new_v4().unwrap();
        make_blocking(lent.as_raw_fd());
        let theirs: std::net::TcpStream = bound().as_fd().try_clone_to_owned().unwrap().into();
        make_blocking(theirs.as_raw_fd());
        for socket in [lent, TcpSocket::from_std_stream(theirs)] {
            let (_wakes, waker) = Wakes::new();
            let mut connect = Box::pin(socket.connect(at));
            assert!(inside(runtime, || poll(&mut connect, &waker)).is_pending());
        }
    });
}

/// Faults A20, C13. Catches: a socket that outlives the future that was to connect it.
#[test]
fn a_connect_that_is_dropped_closes_the_socket() {
    let name = "socket::a_connect_that_is_dropped_closes_the_socket";
    child::in_child(name, || {
        within(WATCHDOG, || {
            let runtime = Runtime::new().unwrap();
            let (_full, at) = full_listener();
            let open = || fs::read_dir("/proc/self/fd").unwrap().count();
            let before = open();
            for polls in 0..3 {
                let (_wakes, waker) = Wakes::new();
                let mut connect = Box::pin(bound().connect(at));
                for _ in 0..polls {
                    assert!(inside(&runtime, || poll(&mut connect, &waker)).is_pending());
                    runtime.turn().unwrap();
                }
                let begun = usize::from(polls > 0);
                assert_eq!((registrations(&runtime), attempts_at(at)), (begun, begun));
                drop(connect);
                assert_eq!((registrations(&runtime), attempts_at(at)), (0, 0));
                assert_eq!(open(), before, "{polls} polls");
            }
            // One that fails leaves nothing, either.
            let (_kept, closed) = closed_port();
            let before = open();
            runtime.block_on(bound().connect(closed)).unwrap_err();
            bound().bind(LOCAL.into()).unwrap_err();
            assert_eq!(open(), before);
        });
    });
}
