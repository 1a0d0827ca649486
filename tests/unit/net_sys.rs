//! `net::sys`: each system call against the kernel, over the loopback only.
//!
//! A fault named here is injected instead of one call of this thread; everything else is real.

use std::env;
use std::fs;
use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Result, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV6, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::limit::limit;
use crate::net::sys::{self, Connecting, Medium, PipeFd, SockAddr, faults};

/// Far beyond what anything here takes: a test that waits this long has failed.
const WATCHDOG: Duration = Duration::from_secs(20);

/// Repeats until it is no longer WouldBlock: the kernel may deliver a packet a moment later.
fn eventually<T>(mut operation: impl FnMut() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    loop {
        match operation() {
            Err(error) if error.kind() == ErrorKind::WouldBlock && start.elapsed() < WATCHDOG => {
                thread::yield_now();
            }
            outcome => return outcome,
        }
    }
}

/// Waits until the connection is made or has failed.
fn finished(fd: BorrowedFd<'_>) -> Result<Connecting> {
    eventually(|| match sys::finish_connect(fd)? {
        Connecting::InProgress => Err(ErrorKind::WouldBlock.into()),
        Connecting::Connected => Ok(Connecting::Connected),
    })
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A listener of ours, and where it listens.
fn listener(at: SocketAddr, backlog: u32) -> (TcpListener, SocketAddr) {
    let fd = sys::stream_socket(&at).unwrap();
    sys::bind(fd.as_fd(), &SockAddr::encode(&at)).unwrap();
    sys::listen(fd.as_fd(), backlog).unwrap();
    let listener = TcpListener::from(fd);
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// Two connected sockets: std's, which blocks until the watchdog, and ours.
fn pair() -> (TcpStream, OwnedFd) {
    let (listener, at) = listener(loopback(0), 1);
    let theirs = TcpStream::connect(at).unwrap();
    theirs.set_read_timeout(Some(WATCHDOG)).unwrap();
    let (ours, _) = eventually(|| sys::accept(listener.as_fd())).unwrap();
    (theirs, ours)
}

/// The flags of an open fd, as /proc shows them: proc_pid_fdinfo(5).
fn flags(fd: BorrowedFd<'_>) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let flags = info
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .unwrap();
    i32::from_str_radix(flags.trim(), 8).unwrap()
}

fn assert_born_right(fd: BorrowedFd<'_>) {
    let flags = flags(fd);
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
}

/// Fault C17. Catches: a field at the wrong place or in the wrong byte order, a scope id dropped.
#[test]
fn an_address_survives_encoding_and_decoding() {
    let _limit = limit(30);
    let link_local = "fe80::1:2:3".parse().unwrap();
    let addresses: [SocketAddr; 7] = [
        (Ipv4Addr::LOCALHOST, 0x1234).into(), // a port whose bytes differ
        (Ipv4Addr::BROADCAST, u16::MAX).into(),
        (Ipv4Addr::new(1, 2, 3, 4), 0).into(),
        (Ipv6Addr::LOCALHOST, 0x1234).into(),
        SocketAddrV6::new(link_local, 1, 0, 2).into(),
        SocketAddrV6::new(link_local, 1, 0x000f_1234, u32::MAX).into(),
        (Ipv4Addr::LOCALHOST.to_ipv6_mapped(), 80).into(), // stays IPv6
    ];
    for address in addresses {
        let encoded = SockAddr::encode(&address);
        assert_eq!(sys::decode(encoded.written()).unwrap(), address);
    }
}

/// Catches: an unknown family taken for a known one; a read beyond what the kernel wrote, which
/// would panic or show stale bytes.
#[test]
fn an_address_that_is_cut_or_unknown_is_refused() {
    let _limit = limit(30);
    let v4 = SockAddr::encode(&(Ipv4Addr::LOCALHOST, 80).into());
    let v6 = SockAddr::encode(&(Ipv6Addr::LOCALHOST, 80).into());
    // ip(7): the last eight bytes of a sockaddr_in are padding.
    for (whole, needed) in [(&v4, 8), (&v6, 28)] {
        for len in 0..needed {
            let error = sys::decode(&whole.written()[..len]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{len} bytes");
        }
    }

    let mut unknown = v6.written().to_vec();
    unknown[..2].copy_from_slice(&(libc::AF_VSOCK as libc::sa_family_t).to_ne_bytes());
    assert_eq!(
        sys::decode(&unknown).unwrap_err().kind(),
        ErrorKind::InvalidData
    );
}

/// The roundtrip alone would not see two errors that cancel out. Catches: host byte order both
/// ways; a length that the kernel refuses.
#[test]
fn the_kernel_and_std_agree_with_the_encoding() {
    let _limit = limit(30);
    for ip in [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()] {
        if TcpListener::bind((ip, 0)).is_err() {
            continue; // A machine without IPv6.
        }
        let (listener, at) = listener(SocketAddr::new(ip, 0), 1);
        assert_eq!(at.ip(), ip);
        assert_ne!(at.port(), 0);

        let client = sys::stream_socket(&at).unwrap();
        let _ = sys::connect(client.as_fd(), &SockAddr::encode(&at)).unwrap();
        assert_eq!(finished(client.as_fd()).unwrap(), Connecting::Connected);
        let (_server, peer) = eventually(|| sys::accept(listener.as_fd())).unwrap();

        let client = TcpStream::from(client);
        assert_eq!(client.peer_addr().unwrap(), at);
        assert_eq!(client.local_addr().unwrap(), peer);
    }
}

/// Catches: a connection that leaks when its address is refused.
#[test]
fn a_peer_without_an_ip_address_is_refused_and_closed() {
    let _limit = limit(30);
    let name = format!("reveille-unit-{}", std::process::id());
    let at = UnixAddr::from_abstract_name(name).unwrap();
    let listener = UnixListener::bind_addr(&at).unwrap();
    let mut client = UnixStream::connect_addr(&at).unwrap();

    let error = sys::accept(listener.as_fd()).unwrap_err();

    assert_eq!(error.kind(), ErrorKind::InvalidData);
    client.set_read_timeout(Some(WATCHDOG)).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0); // closed, so the end of the stream
}

/// Fault A21. Catches: SOCK_CLOEXEC or SOCK_NONBLOCK missing in socket(2) or accept4(2).
#[test]
fn sockets_are_born_close_on_exec_and_nonblocking() {
    let _limit = limit(30);
    let made = sys::stream_socket(&loopback(0)).unwrap();
    assert_born_right(made.as_fd());

    let (_theirs, accepted) = pair();
    assert_born_right(accepted.as_fd());

    for socket in sys::unix_pair(libc::SOCK_STREAM).unwrap() {
        assert_born_right(socket.as_fd());
    }
}

/// Catches: a backlog that turns negative by a cast, or is refused.
#[test]
fn every_backlog_is_accepted() {
    let _limit = limit(30);
    for backlog in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let (_listener, at) = listener(loopback(0), backlog);
        TcpStream::connect(at).unwrap();
    }
}

/// Catches: SO_REUSEADDR on the wrong level or not set, so that a server cannot be restarted while
/// old connections linger.
#[test]
fn a_port_in_time_wait_can_be_reused() {
    let _limit = limit(30);
    let listening = sys::stream_socket(&loopback(0)).unwrap();
    sys::set_reuse_address(listening.as_fd(), true).unwrap(); // Linux wants it of both.
    sys::bind(listening.as_fd(), &SockAddr::encode(&loopback(0))).unwrap();
    sys::listen(listening.as_fd(), 1).unwrap();
    let listening = TcpListener::from(listening);
    let at = listening.local_addr().unwrap();
    let mut client = TcpStream::connect(at).unwrap();
    let (server, _) = eventually(|| sys::accept(listening.as_fd())).unwrap();
    drop(server); // It closes first, so it is the port of `at` that waits.
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    drop((client, listening));

    let again = sys::stream_socket(&at).unwrap();
    let refused = sys::bind(again.as_fd(), &SockAddr::encode(&at)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::AddrInUse);

    sys::set_reuse_address(again.as_fd(), true).unwrap();
    sys::bind(again.as_fd(), &SockAddr::encode(&at)).unwrap();
}

/// Fault C1. Catches: a refusal that is not read from SO_ERROR, and is reported as success.
#[test]
fn connecting_to_a_closed_port_is_refused() {
    let _limit = limit(30);
    // Bound and not listening: refused, and nobody else can take the port meanwhile.
    let closed = sys::stream_socket(&loopback(0)).unwrap();
    sys::bind(closed.as_fd(), &SockAddr::encode(&loopback(0))).unwrap();
    let closed = TcpListener::from(closed); // std's type, to learn the port; it does not listen.
    let at = closed.local_addr().unwrap();

    let client = sys::stream_socket(&at).unwrap();
    let refused =
        sys::connect(client.as_fd(), &SockAddr::encode(&at)).and_then(|_| finished(client.as_fd()));
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);

    // R10: with the reason taken, here or by a duplicate, it must still end, and not in success.
    let again = sys::finish_connect(client.as_fd()).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotConnected);
}

/// Fault C1. Catches: SO_ERROR = 0 taken for success on a spurious report; a missing peer taken for
/// failure.
#[test]
fn a_connection_that_is_not_answered_stays_in_progress() {
    let _limit = limit(30);
    // A backlog of 0 has room for one (listen(2) counts loosely); the next SYN is dropped.
    let (_listener, at) = listener(loopback(0), 0);
    let _first = TcpStream::connect(at).unwrap();
    let second = sys::stream_socket(&at).unwrap();

    assert_eq!(
        sys::connect(second.as_fd(), &SockAddr::encode(&at)).unwrap(),
        Connecting::InProgress
    );
    assert_eq!(
        sys::finish_connect(second.as_fd()).unwrap(),
        Connecting::InProgress
    );
    assert!(sys::take_error(second.as_fd()).unwrap().is_none());
}

/// Fault A15. Catches: connect(2) repeated after EINTR, which fails with EALREADY or EISCONN.
#[test]
fn an_interrupted_connect_goes_on() {
    let _limit = limit(30);
    let (_listener, at) = listener(loopback(0), 1);
    let client = sys::stream_socket(&at).unwrap();
    faults::inject("connect", libc::EINTR);
    faults::inject("connect", libc::EALREADY); // what a second call would get

    assert_eq!(
        sys::connect(client.as_fd(), &SockAddr::encode(&at)).unwrap(),
        Connecting::InProgress
    );
}

/// Catches: an errno of connect(2) that is taken for EINPROGRESS; EAGAIN above all, after which
/// nobody would ever be woken.
#[test]
fn connect_reports_what_it_cannot_wait_for() {
    let _limit = limit(30);
    let client = sys::stream_socket(&loopback(0)).unwrap();
    for errno in [
        libc::EAGAIN,
        libc::EADDRNOTAVAIL,
        libc::ENETUNREACH,
        libc::EACCES,
    ] {
        faults::inject("connect", errno);
        let error = sys::connect(client.as_fd(), &SockAddr::encode(&loopback(9))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno));
    }
}

/// Fault A15: an EINTR is injected into each call, and then an error that shows there was a second
/// try. Catches: a call that goes to `checked` instead of `retry`.
#[test]
fn every_call_but_connect_is_retried_on_eintr() {
    let _limit = limit(30);
    type Call = (&'static str, fn(BorrowedFd<'_>) -> Result<()>);
    let calls: [Call; 17] = [
        ("socket", |_| sys::stream_socket(&loopback(0)).map(drop)),
        ("bind", |fd| sys::bind(fd, &SockAddr::encode(&loopback(0)))),
        ("listen", |fd| sys::listen(fd, 1)),
        ("accept4", |fd| sys::accept(fd).map(drop)),
        ("recv", |fd| sys::recv(fd, &mut [0], 0).map(drop)),
        ("send", |fd| sys::send(fd, &[0]).map(drop)),
        ("recvmsg", |fd| {
            sys::recv_vectored(fd, &mut [IoSliceMut::new(&mut [0])]).map(drop)
        }),
        ("sendmsg", |fd| {
            sys::send_vectored(fd, &[IoSlice::new(&[0])]).map(drop)
        }),
        ("getsockopt", |fd| sys::take_error(fd).map(drop)),
        ("shutdown", |fd| sys::shutdown(fd, Shutdown::Both)),
        ("setsockopt", |fd| sys::set_reuse_address(fd, true)),
        ("poll", |fd| sys::finish_connect(fd).map(drop)),
        ("getpeername", |fd| sys::finish_connect(fd).map(drop)),
        ("setsockopt", sys::set_zero_linger),
        ("getsockopt", |fd| {
            sys::get_bytes(fd, sys::Bytes::DEVICE, &mut [0; 16]).map(drop)
        }),
        ("setsockopt", |fd| {
            sys::set_bytes(fd, sys::Bytes::DEVICE, b"lo")
        }),
        ("ioctl", |fd| sys::count(fd, sys::Count::UNREAD).map(drop)),
    ];
    let fd = sys::stream_socket(&loopback(0)).unwrap();
    for (name, call) in calls {
        faults::inject(name, libc::EINTR);
        faults::inject(name, libc::EINTR);
        faults::inject(name, libc::EXFULL); // no system call here ever gives this one
        let error = call(fd.as_fd()).expect_err(name);
        assert_eq!(error.raw_os_error(), Some(libc::EXFULL), "{name}");
    }
}

/// Fault A15, of pipes. Catches: a transfer that an interrupted call ends.
#[test]
fn a_transfer_of_a_pipe_is_retried_on_eintr() {
    let _limit = limit(30);
    let (reading, writing) = sys::pipe().unwrap();
    let [reading, writing] = [reading, writing].map(|fd| PipeFd::new(fd, true, false));
    type Call = (&'static str, fn(Medium<'_>) -> Result<usize>);
    let write: Call = ("pwritev2", |pipe| pipe.send(b"x", 1));
    let read: Call = ("preadv2", |pipe| pipe.recv(&mut [0]));
    for ((name, call), pipe) in [(write, &writing), (read, &reading)] {
        faults::inject(name, libc::EINTR);
        faults::inject(name, libc::EXFULL);
        let error = call(pipe.into()).expect_err(name);
        assert_eq!(error.raw_os_error(), Some(libc::EXFULL), "{name}");
    }
}

/// Fault C50. Catches: a reader that waits for ever for what poll(2) may not tell.
#[test]
fn where_poll_fails_a_zero_is_the_end_of_a_pipe() {
    let _limit = limit(30);
    let (reading, writing) = sys::pipe().unwrap();
    let reading = PipeFd::new(reading, true, false);
    drop(writing);
    for errno in [libc::EPERM, libc::ENOMEM] {
        faults::inject("poll", errno);
        assert_eq!(Medium::from(&reading).recv(&mut [0]).unwrap(), 0);
    }
}

/// Fault R10, of terminals. Catches: an EAGAIN of a terminal that is believed although its bytes are there (n_tty_read, while
/// another reader holds the lock), which no event announces again; a reader that asks for ever while the other one stays;
/// one of a pipe, which is asked although its EAGAIN is true.
#[test]
fn an_eagain_of_a_terminal_is_doubted_for_a_while() {
    let _limit = limit(30);
    let (reading, writing) = sys::pipe().unwrap();
    let (reading, writing) = (reading, std::fs::File::from(writing));
    (&writing).write_all(b"x").unwrap();
    let terminal = PipeFd::new(reading.try_clone().unwrap(), false, true);
    for _ in 0..3 {
        // As often as it is asked in a row.
        let asked = (0..10_000).take_while(|_| Medium::from(&terminal).holds_bytes());
        let asked = asked.count();
        assert!((10..1000).contains(&asked), "{asked}");
    }
    assert_eq!(Medium::from(&terminal).recv(&mut [0]).unwrap(), 1);
    assert!(!Medium::from(&terminal).holds_bytes());
    (&writing).write_all(b"x").unwrap();
    assert!(Medium::from(&terminal).holds_bytes());
    let pipe = PipeFd::new(reading, true, true);
    assert!(!Medium::from(&pipe).holds_bytes());
}

/// Fault A14, the half below `accept`'s loop: each transient errno of accept(2) comes out as it is,
/// and takes no connection with it. Catches: an errno swallowed or changed here.
#[test]
fn a_failed_accept_leaves_the_connection_in_the_queue() {
    let _limit = limit(30);
    let (listener, at) = listener(loopback(0), 1);
    let client = TcpStream::connect(at).unwrap();
    let transient = [
        libc::ENETDOWN,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
        libc::ECONNABORTED,
        libc::EPERM,
        libc::EMFILE,
    ];
    for errno in transient {
        faults::inject("accept4", errno);
        let error = sys::accept(listener.as_fd()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(errno));
    }

    let (_server, peer) = eventually(|| sys::accept(listener.as_fd())).unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
}

/// Fault A14. Catches: the peer's address asked of getpeername(2), which has none any more.
#[test]
fn a_connection_reset_in_the_queue_is_accepted_with_its_address() {
    let _limit = limit(30);
    let (listener, at) = listener(loopback(0), 1);
    let client = TcpStream::connect(at).unwrap();
    let from = client.local_addr().unwrap();
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the pointer is good for reads of the length given, because it points to `linger`, of
    // which it is the size; setsockopt(2) only reads.
    let outcome = unsafe {
        libc::setsockopt(
            client.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast::<libc::c_void>(),
            size_of::<libc::linger>() as libc::socklen_t,
        )
    };
    assert_eq!(outcome, 0);
    drop(client); // socket(7): with a linger time of 0, close sends a reset.

    let (server, peer) = eventually(|| sys::accept(listener.as_fd())).unwrap();
    assert_eq!(peer, from);
    let error = eventually(|| sys::recv(server.as_fd(), &mut [0], 0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// Fault A13. Catches: POLLIN not asked for; an answer "no" where poll(2) gave none, which would
/// strand the caller.
#[test]
fn a_listener_is_readable_while_a_connection_waits() {
    let _limit = limit(30);
    let (listener, at) = listener(loopback(0), 1);
    assert!(!sys::is_readable(listener.as_fd()));

    let _client = TcpStream::connect(at).unwrap();
    let _server = eventually(|| match sys::is_readable(listener.as_fd()) {
        true => sys::accept(listener.as_fd()),
        false => Err(ErrorKind::WouldBlock.into()),
    })
    .unwrap();

    assert!(!sys::is_readable(listener.as_fd()));
    faults::inject("poll", libc::ENOMEM);
    assert!(sys::is_readable(listener.as_fd()));
}

/// Catches: MSG_PEEK missing, or set for `recv` too.
#[test]
fn peeked_bytes_stay_in_the_socket() {
    let _limit = limit(30);
    let (mut theirs, ours) = pair();
    theirs.write_all(b"abc").unwrap();
    let mut buf = [0; 8];

    assert_eq!(
        eventually(|| sys::recv(ours.as_fd(), &mut buf, libc::MSG_PEEK)).unwrap(),
        3
    );
    assert_eq!(sys::recv(ours.as_fd(), &mut buf, 0).unwrap(), 3);
    assert_eq!(&buf[..3], b"abc");
    let empty = sys::recv(ours.as_fd(), &mut buf, 0).unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::WouldBlock);
}

/// Catches: MSG_DONTWAIT missing. A duplicate shares O_NONBLOCK (fcntl(2), F_SETFL): whoever clears
/// it there would otherwise stop the whole runtime.
#[test]
fn nothing_waits_even_if_a_duplicate_clears_nonblock() {
    let _limit = limit(30);
    let (theirs, ours) = pair();
    let (done, outcome) = mpsc::channel();
    // On a thread of its own, which is left behind if it does hang.
    thread::spawn(move || {
        TcpStream::from(ours.try_clone().unwrap())
            .set_nonblocking(false)
            .unwrap();
        let fd = ours.as_fd();
        let bytes = [0; 4096];
        let mut buf = [0];
        let kinds = [
            sys::recv(fd, &mut buf, 0).unwrap_err().kind(),
            sys::recv(fd, &mut buf, libc::MSG_PEEK).unwrap_err().kind(),
            sys::recv_vectored(fd, &mut [IoSliceMut::new(&mut buf)])
                .unwrap_err()
                .kind(),
            loop {
                if let Err(full) = sys::send(fd, &bytes) {
                    break full.kind();
                }
            },
            loop {
                if let Err(full) = sys::send_vectored(fd, &[IoSlice::new(&bytes)]) {
                    break full.kind();
                }
            },
        ];
        done.send(kinds).unwrap();
    });
    assert_eq!(
        outcome.recv_timeout(WATCHDOG).unwrap(),
        [ErrorKind::WouldBlock; 5]
    );
    drop(theirs); // Until here, so that it is never the end of the stream that answers.
}

/// Fault C10. Catches: more than 1024 iovecs passed on, which is EINVAL; a read of 1024 buffers
/// compared with all 5000, which would pass for short and strand the rest (R10).
#[test]
fn vectored_calls_take_a_thousand_buffers_of_five_thousand() {
    let _limit = limit(30);
    let (mut theirs, ours) = pair();
    let bytes: Vec<u8> = (0..5000).map(|i| (i % 251) as u8).collect();
    let slices: Vec<IoSlice<'_>> = bytes.chunks(1).map(IoSlice::new).collect();

    assert_eq!(sys::send_vectored(ours.as_fd(), &slices).unwrap(), 1024);
    let mut sent = [0; 1024];
    theirs.read_exact(&mut sent).unwrap();
    assert_eq!(sent, bytes[..1024]);

    theirs.write_all(&bytes).unwrap();
    let mut room = [0; 5000];
    eventually(
        || match sys::recv(ours.as_fd(), &mut room, libc::MSG_PEEK)? {
            5000 => Ok(()),
            _ => Err(ErrorKind::WouldBlock.into()),
        },
    )
    .unwrap();
    room.fill(255);
    let mut slices: Vec<IoSliceMut<'_>> = room.chunks_mut(1).map(IoSliceMut::new).collect();
    assert_eq!(sys::offered(&slices), 1024);
    assert_eq!(sys::recv_vectored(ours.as_fd(), &mut slices).unwrap(), 1024);
    assert_eq!(room[..1024], bytes[..1024]);
    assert_eq!(room[1024..], [255; 5000 - 1024]);
}

/// Faults C7, C10. Catches: the first 1024 taken although they are empty: a read of 0 bytes, which
/// passes for the end of the stream, and a write of 0, which `write_all` takes for failure.
#[test]
fn empty_buffers_in_front_are_no_end_of_stream() {
    let _limit = limit(30);
    let (mut theirs, ours) = pair();
    let mut slices = vec![IoSlice::new(&[]); 2000];
    slices.push(IoSlice::new(b"abc"));
    assert_eq!(sys::send_vectored(ours.as_fd(), &slices).unwrap(), 3);
    assert_eq!(
        sys::send_vectored(ours.as_fd(), &slices[..2000]).unwrap(),
        0
    );

    theirs.write_all(b"abc").unwrap();
    let mut room = [0; 8];
    let mut slices: Vec<IoSliceMut<'_>> = (0..2000).map(|_| IoSliceMut::new(&mut [])).collect();
    slices.push(IoSliceMut::new(&mut room));
    assert_eq!(sys::offered(&slices), 8);
    assert_eq!(
        eventually(|| sys::recv_vectored(ours.as_fd(), &mut slices)).unwrap(),
        3
    );
    assert_eq!(&room[..3], b"abc");
}

/// Fault C4: in a process where SIGPIPE kills, which is what a Rust library in a C program gets.
/// Catches: MSG_NOSIGNAL missing in `send` or `send_vectored`.
#[test]
fn writing_to_a_closed_peer_is_an_error_and_not_a_signal() {
    let _limit = limit(30);
    const CHILD: &str = "REVEILLE_UNIT_SIGPIPE_CHILD";
    if env::var_os(CHILD).is_none() {
        // Run this very test once more, alone in a process, so that the signal is local.
        let (_, module) = module_path!().split_once("::").unwrap();
        let name = format!("{module}::writing_to_a_closed_peer_is_an_error_and_not_a_signal");
        let mut child = Command::new(env::current_exe().unwrap());
        let output = child
            .args(["--exact", &name])
            .env(CHILD, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}: {printed}", output.status);
        assert!(
            printed.contains("1 passed"),
            "the child ran no test: {printed}"
        );
        return;
    }
    // SAFETY: SIG_DFL installs no handler of ours, so no code runs in signal context; and nobody
    // in this process relies on SIGPIPE being ignored, because it runs this one test only.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);

    let (theirs, ours) = pair();
    drop(theirs);
    let _ = sys::send(ours.as_fd(), &[0]); // The peer answers it with a reset.
    let closed = |outcome: Result<usize>| match outcome {
        Ok(_) => Err(ErrorKind::WouldBlock.into()), // The reset is on its way.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {
            Err(ErrorKind::WouldBlock.into())
        }
        Err(error) => Ok(error.kind()),
    };
    let kind = eventually(|| closed(sys::send(ours.as_fd(), &[0]))).unwrap();
    assert_eq!(kind, ErrorKind::BrokenPipe);
    let slices = [IoSlice::new(&[0])];
    let kind = eventually(|| closed(sys::send_vectored(ours.as_fd(), &slices))).unwrap();
    assert_eq!(kind, ErrorKind::BrokenPipe);
}

/// Fault C5. Catches: ENOTCONN reported after a reset by the peer, or for a socket never connected.
#[test]
fn shutdown_of_a_lost_connection_is_done_already() {
    let _limit = limit(30);
    let (theirs, ours) = pair();
    assert_eq!(sys::send(ours.as_fd(), b"unread").unwrap(), 6);
    assert_eq!(theirs.peek(&mut [0; 6]).unwrap(), 6);
    drop(theirs); // With bytes unread, close sends a reset (RFC 2525, 2.17).
    let reset = eventually(|| sys::recv(ours.as_fd(), &mut [0], 0)).unwrap_err();
    assert_eq!(reset.kind(), ErrorKind::ConnectionReset);

    sys::shutdown(ours.as_fd(), Shutdown::Write).unwrap();
    sys::shutdown(ours.as_fd(), Shutdown::Both).unwrap();
    let unconnected = sys::stream_socket(&loopback(0)).unwrap();
    sys::shutdown(unconnected.as_fd(), Shutdown::Both).unwrap();
}

/// Catches: directions mixed up; every error of shutdown(2) ignored instead of ENOTCONN alone.
#[test]
fn shutdown_ends_the_direction_it_names() {
    let _limit = limit(30);
    let (mut theirs, ours) = pair();
    sys::shutdown(ours.as_fd(), Shutdown::Write).unwrap();
    assert_eq!(theirs.read(&mut [0]).unwrap(), 0);

    theirs.write_all(b"a").unwrap(); // The other direction is still open.
    assert_eq!(
        eventually(|| sys::recv(ours.as_fd(), &mut [0], 0)).unwrap(),
        1
    );
    sys::shutdown(ours.as_fd(), Shutdown::Read).unwrap();
    assert_eq!(sys::recv(ours.as_fd(), &mut [0], 0).unwrap(), 0);

    let no_socket = fs::File::open("/dev/null").unwrap();
    let error = sys::shutdown(no_socket.as_fd(), Shutdown::Both).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOTSOCK));
}

/// Fault C6. Catches: an error that is dropped, or is still there after it was taken.
#[test]
fn a_pending_error_is_taken_once() {
    let _limit = limit(30);
    let (mut theirs, ours) = pair();
    assert!(sys::take_error(ours.as_fd()).unwrap().is_none());
    assert_eq!(sys::send(ours.as_fd(), b"unread").unwrap(), 6);
    theirs.read_exact(&mut [0]).unwrap();
    drop(theirs); // With bytes unread, close sends a reset (RFC 2525, 2.17).

    let error = eventually(|| match sys::take_error(ours.as_fd())? {
        Some(error) => Ok(error),
        None => Err(ErrorKind::WouldBlock.into()),
    })
    .unwrap();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(sys::take_error(ours.as_fd()).unwrap().is_none());
}
