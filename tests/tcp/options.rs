//! Options: each is told and set, where the kernel has it and nowhere else; and none of their methods hands the socket out.

use std::io::{self, ErrorKind, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::task::{Context, Waker};
use std::time::Duration;

use reveille::Runtime;
use reveille::net::{TcpKeepalive, TcpListener, TcpSocket, TcpStream};

use super::step::inside;
use super::{LOCAL, Reader, pair, running, stepping};
use crate::limit::limit;

/// An option that a type has, as a number.
struct Row<T> {
    name: &'static str,
    /// Where the kernel has it.
    at: (libc::c_int, libc::c_int),
    /// Only a socket of IPv6 has it.
    of_v6: bool,
    get: fn(&T) -> io::Result<u32>,
    set: fn(&T, u32) -> io::Result<()>,
    /// What is set, and what is then told, and that a fresh socket does not have the first.
    kept: &'static [(u32, u32)],
    /// What is refused, because the kernel would refuse or cut it.
    refused: &'static [u32],
}

/// One row of a table: a flag or a number.
macro_rules! option {
    ($at:expr, flag $get:ident $set:ident) => {
        Row {
            name: stringify!($get),
            at: $at,
            of_v6: $at.0 == libc::IPPROTO_IPV6,
            get: |it| it.$get().map(u32::from),
            set: |it, value| it.$set(value != 0),
            kept: &[(1, 1), (0, 0), (1, 1)],
            refused: &[],
        }
    };
    ($at:expr, number $get:ident $set:ident, $kept:expr, $refused:expr) => {
        Row {
            name: stringify!($get),
            at: $at,
            of_v6: $at.0 == libc::IPPROTO_IPV6,
            get: |it| it.$get(),
            set: |it, value| it.$set(value),
            kept: $kept,
            refused: $refused,
        }
    };
}

/// A byte that is not 0, as the kernel has it for packets.
const HOPS: (&[(u32, u32)], &[u32]) = (&[(1, 1), (255, 255), (7, 7)], &[0, 256, u32::MAX]);
/// Any byte; TCP keeps the lowest two bits for itself: __ip_sock_set_tos, net/ipv4/ip_sockglue.c.
const CLASS: (&[(u32, u32)], &[u32]) =
    (&[(255, 252), (0, 0), (0xb8, 0xb8)], &[256, 0x1b8, u32::MAX]);

/// What all three types have.
macro_rules! common {
    () => {
        vec![
            option!((libc::IPPROTO_TCP, libc::TCP_NODELAY), flag nodelay set_nodelay),
            option!((libc::SOL_SOCKET, libc::SO_KEEPALIVE), flag keepalive set_keepalive),
            option!((libc::IPPROTO_IP, libc::IP_TTL), number ttl set_ttl, HOPS.0, HOPS.1),
            option!((libc::IPPROTO_IP, libc::IP_TOS), number tos_v4 set_tos_v4, CLASS.0, CLASS.1),
            option!(
                (libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS),
                number unicast_hops_v6 set_unicast_hops_v6, HOPS.0, HOPS.1
            ),
            option!(
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
                number tclass_v6 set_tclass_v6, CLASS.0, CLASS.1
            ),
            // The kernel doubles it, and cuts what is more than it allows: socket(7).
            option!(
                (libc::SOL_SOCKET, libc::SO_SNDBUF),
                number send_buffer_size set_send_buffer_size, &[(20_000, 40_000)], &[]
            ),
            option!(
                (libc::SOL_SOCKET, libc::SO_RCVBUF),
                number recv_buffer_size set_recv_buffer_size, &[(30_000, 60_000)], &[]
            ),
            Row {
                name: "user_timeout",
                at: (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
                of_v6: false,
                get: |it| Ok(it.user_timeout()?.map_or(0, |limit| limit.as_millis() as u32)),
                set: |it, millis| {
                    let limit = Duration::from_millis(millis.into());
                    it.set_user_timeout((millis > 0).then_some(limit))
                },
                kept: &[(1, 1), (0, 0), (2_147_483_647, 2_147_483_647), (5, 5)],
                refused: &[2_147_483_648],
            },
            Row {
                name: "the time of tcp_keepalive",
                at: (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
                of_v6: false,
                get: |it| Ok(it.tcp_keepalive()?.time().unwrap().as_secs() as u32),
                set: |it, seconds| {
                    let time = Duration::from_secs(seconds.into());
                    let on = it.keepalive()?;
                    it.set_tcp_keepalive(&TcpKeepalive::new().with_time(time))?;
                    it.set_keepalive(on)
                },
                kept: &[(1, 1), (32_767, 32_767), (77, 77)],
                refused: &[0, 32_768],
            },
            Row {
                name: "the interval of tcp_keepalive",
                at: (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
                of_v6: false,
                get: |it| Ok(it.tcp_keepalive()?.interval().unwrap().as_secs() as u32),
                set: |it, seconds| {
                    let interval = Duration::from_secs(seconds.into());
                    let on = it.keepalive()?;
                    it.set_tcp_keepalive(&TcpKeepalive::new().with_interval(interval))?;
                    it.set_keepalive(on)
                },
                kept: &[(1, 1), (32_767, 32_767), (78, 78)],
                refused: &[0, 32_768],
            },
            Row {
                name: "the retries of tcp_keepalive",
                at: (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
                of_v6: false,
                get: |it| Ok(it.tcp_keepalive()?.retries().unwrap()),
                set: |it, retries| {
                    let on = it.keepalive()?;
                    it.set_tcp_keepalive(&TcpKeepalive::new().with_retries(retries))?;
                    it.set_keepalive(on)
                },
                kept: &[(1, 1), (127, 127), (3, 3)],
                refused: &[0, 128],
            },
        ]
    };
}

/// What a socket and a stream have.
macro_rules! of_one_connection {
    () => {
        // It is on at the beginning, and turned on again by what arrives.
        option!((libc::IPPROTO_TCP, libc::TCP_QUICKACK), flag quickack set_quickack)
    };
}

fn of_sockets() -> Vec<Row<TcpSocket>> {
    let mut options: Vec<Row<TcpSocket>> = common!();
    let own: [Row<TcpSocket>; 5] = [
        of_one_connection!(),
        option!((libc::SOL_SOCKET, libc::SO_REUSEADDR), flag reuseaddr set_reuseaddr),
        option!((libc::SOL_SOCKET, libc::SO_REUSEPORT), flag reuseport set_reuseport),
        option!((libc::IPPROTO_IPV6, libc::IPV6_V6ONLY), flag only_v6 set_only_v6),
        option!(
            (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT),
            flag bind_address_no_port set_bind_address_no_port
        ),
    ];
    options.extend(own);
    options
}

fn of_streams() -> Vec<Row<TcpStream>> {
    let mut options: Vec<Row<TcpStream>> = common!();
    options.push(of_one_connection!());
    options
}

fn of_listeners() -> Vec<Row<TcpListener>> {
    let mut options: Vec<Row<TcpListener>> = common!();
    options.push(option!(
        (libc::IPPROTO_TCP, libc::TCP_FASTOPEN),
        number fastopen set_fastopen, &[(1, 1), (0, 0), (5, 5)], &[]
    ));
    options
}

/// An option as the kernel has it.
fn in_the_kernel(socket: &impl AsRawFd, (level, option): (libc::c_int, libc::c_int)) -> u32 {
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>() as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: getsockopt(2) writes at most `len` bytes to the value, which is a live int, and to `len`.
    let outcome =
        unsafe { libc::getsockopt(fd, level, option, (&raw mut value).cast(), &raw mut len) };
    assert_eq!(outcome, 0);
    value as u32
}

/// The address of this machine in IPv6; `None` if it has none.
fn local_v6() -> Option<SocketAddr> {
    let at = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    std::net::TcpListener::bind(at).is_ok().then_some(at)
}

/// Sets every option to each of its values, and looks whether the others stay.
fn judge<T: AsRawFd>(socket: &T, options: &[Row<T>], is_v6: bool) {
    let what = std::any::type_name::<T>();
    let options: Vec<_> = options.iter().filter(|it| is_v6 || !it.of_v6).collect();
    let told = || -> Vec<u32> {
        let told = options.iter().map(|option| (option.get)(socket).unwrap());
        told.collect()
    };
    for (i, option) in options.iter().enumerate() {
        let name = option.name;
        let before = told();
        for &(set, kept) in option.kept {
            (option.set)(socket, set).unwrap();
            let now = told();
            assert_eq!(now[i], kept, "{what}: {name} after {set}");
            let value = in_the_kernel(socket, option.at);
            assert_eq!(value, kept, "{what}: {name} in the kernel");
            for (j, other) in options.iter().enumerate().filter(|(j, _)| *j != i) {
                assert_eq!(now[j], before[j], "{what}: {name} sets {}", other.name);
            }
        }
        for &wrong in option.refused {
            let now = told();
            let error = (option.set)(socket, wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name} {wrong}");
            let text = error.to_string();
            assert!(!text.contains("sandbox"), "{what}: {name} {wrong}: {text}");
            assert_eq!(told(), now, "{what}: {name} {wrong}");
        }
    }
}

/// Catches: an option that is read from, or set on, another place; a limit that the kernel has and this has not, whose
/// error would blame a sandbox; a value that the kernel cuts.
#[test]
fn each_option_is_told_and_set_and_no_other_with_it() {
    let _limit = limit(30);
    running(async || {
        for (at, is_v6) in [(Some(LOCAL.into()), false), (local_v6(), true)] {
            let Some(at): Option<SocketAddr> = at else {
                continue;
            };
            let new = if is_v6 {
                TcpSocket::new_v6
            } else {
                TcpSocket::new_v4
            };
            judge(&new().unwrap(), &of_sockets(), is_v6);
            let listener = TcpListener::bind(at).await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            judge(&client, &of_streams(), is_v6);
            judge(&listener, &of_listeners(), is_v6);
        }
    });
}

/// Catches: a page that promises an option to connections which were made before it was set.
#[test]
fn a_connection_inherits_what_the_listener_had_at_the_end_of_the_handshake() {
    let _limit = limit(30);
    running(async || {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        // It is in the queue when `connect` returns.
        let _before = std::net::TcpStream::connect(at).unwrap();
        listener.set_nodelay(true).unwrap();
        let _after = std::net::TcpStream::connect(at).unwrap();
        for inherits in [false, true] {
            let (stream, _) = listener.accept().await.unwrap();
            assert_eq!(stream.nodelay().unwrap(), inherits);
        }
    });
}

/// Catches: what is set on a listener, or on a socket before it is one, lost on the way to its connections, which then
/// would need a call each.
#[test]
fn what_a_listener_accepts_inherits_its_options() {
    let _limit = limit(30);
    running(async || {
        let of_sockets: Vec<Row<TcpSocket>> = common!();
        let of_listeners: Vec<Row<TcpListener>> = common!();
        let of_streams: Vec<Row<TcpStream>> = common!();
        for (at, is_v6) in [(Some(LOCAL.into()), false), (local_v6(), true)] {
            let Some(at): Option<SocketAddr> = at else {
                continue;
            };
            let rows = (0..of_streams.len()).filter(|&i| is_v6 || !of_streams[i].of_v6);
            for on_the_socket in [true, false] {
                let socket = if is_v6 {
                    TcpSocket::new_v6()
                } else {
                    TcpSocket::new_v4()
                }
                .unwrap();
                socket.bind(at).unwrap();
                let value = |i: usize| *of_streams[i].kept.last().unwrap();
                for i in rows.clone().filter(|_| on_the_socket) {
                    (of_sockets[i].set)(&socket, value(i).0).unwrap();
                }
                let listener = socket.listen(9).unwrap();
                for i in rows.clone().filter(|_| !on_the_socket) {
                    (of_listeners[i].set)(&listener, value(i).0).unwrap();
                }
                let at = listener.local_addr().unwrap();
                let _client = std::net::TcpStream::connect(at).unwrap();
                let (stream, _) = listener.accept().await.unwrap();
                for i in rows.clone() {
                    let Row { name, get, .. } = of_streams[i];
                    assert_eq!(get(&stream).unwrap(), value(i).1, "{name}");
                }
            }
        }
    });
}

/// What a socket of IPv4 says of the options of IPv6: the kernel's error, with its number.
#[test]
fn options_of_ipv6_are_an_error_on_a_socket_of_ipv4() {
    let _limit = limit(30);
    let socket = TcpSocket::new_v4().unwrap();
    let options = of_sockets();
    for option in options.iter().filter(|option| option.of_v6) {
        for outcome in [
            (option.get)(&socket).map(drop),
            (option.set)(&socket, option.kept[0].0),
        ] {
            let errno = outcome.unwrap_err().raw_os_error();
            assert_eq!(errno, Some(libc::ENOPROTOOPT), "{}", option.name);
        }
    }
}

/// Uses every method of a stream that is about options.
fn use_all_options(stream: &TcpStream) {
    for option in of_streams().iter().filter(|option| !option.of_v6) {
        (option.get)(stream).unwrap();
        // Not the buffers, whose size might make a read short.
        if !option.name.contains("buffer") {
            (option.set)(stream, option.kept[0].0).unwrap();
        }
    }
    stream.linger().unwrap();
    stream.set_zero_linger().unwrap();
    stream.take_error().unwrap();
    stream.tcp_info().unwrap();
    stream.unread_bytes().unwrap();
    stream.unacked_bytes().unwrap();
    stream.unsent_bytes().unwrap();
}

/// True if a short read of the stream says that nothing is left: then nothing is tried again.
fn short_reads_prove(
    runtime: &Runtime,
    theirs: &mut std::net::TcpStream,
    ours: &TcpStream,
) -> bool {
    // It is registered once it has waited.
    Reader::new(runtime, ours).wait();
    theirs.write_all(b"abc").unwrap();
    assert_eq!(runtime.block_on(ours.read(&mut [0; 64])).unwrap(), 3);
    inside(runtime, || {
        let cx = &mut Context::from_waker(Waker::noop());
        ours.poll_read_ready(cx).is_pending()
    })
}

/// R10. Catches: a getter or a setter that hands the socket out, after which each message costs two calls more; and a
/// socket that was handed out, and whose streams are trusted.
#[test]
fn options_lend_nothing_and_what_was_lent_stays_so() {
    let _limit = limit(30);
    for lent in [false, true] {
        stepping(move |runtime| {
            let listener = runtime.block_on(TcpListener::bind(LOCAL)).unwrap();
            for option in of_listeners().iter().filter(|option| !option.of_v6) {
                (option.get)(&listener).unwrap();
                if !option.name.contains("buffer") {
                    (option.set)(&listener, option.kept[0].0).unwrap();
                }
            }
            let theirs = std::net::TcpListener::bind(LOCAL).unwrap();
            let socket = || {
                let socket = TcpSocket::new_v4().unwrap();
                for option in of_sockets().iter().filter(|option| !option.of_v6) {
                    (option.get)(&socket).unwrap();
                    if !option.name.contains("buffer") {
                        (option.set)(&socket, option.kept[0].0).unwrap();
                    }
                }
                socket.device().unwrap();
                socket.bind_device(None).unwrap();
                socket.linger().unwrap();
                socket.bind(LOCAL.into()).unwrap();
                socket.local_addr().unwrap();
                assert!(format!("{socket:?}").contains("127.0.0.1:"));
                if lent {
                    socket.as_raw_fd();
                }
                socket
            };
            // Connected by a socket.
            let at = theirs.local_addr().unwrap();
            let ours = runtime.block_on(socket().connect(at)).unwrap();
            let (mut peer, _) = theirs.accept().unwrap();
            use_all_options(&ours);
            assert_eq!(short_reads_prove(runtime, &mut peer, &ours), !lent);
            // Accepted by a listener that was a socket, or was not.
            let socket = socket();
            // The options above, but for this one, are not about listeners.
            let at = socket.local_addr().unwrap();
            let listens = socket.listen(9).unwrap();
            for (listener, at, lent) in [
                (listens, at, lent),
                (listener, SocketAddr::from(LOCAL), false),
            ] {
                let at = if at.port() == 0 {
                    listener.local_addr().unwrap()
                } else {
                    at
                };
                let mut peer = std::net::TcpStream::connect(at).unwrap();
                let (ours, _) = runtime.block_on(listener.accept()).unwrap();
                use_all_options(&ours);
                assert_eq!(short_reads_prove(runtime, &mut peer, &ours), !lent);
            }
        });
    }
}

/// Catches: an option that is read from, or set on, another place; a part of a second that is cut off; limits that the
/// kernel has and this has not, whose errors would blame a sandbox.
#[test]
fn a_keepalive_is_told_and_set() {
    let _limit = limit(30);
    running(async || {
        let (_theirs, ours) = pair().await;
        assert!(!ours.keepalive().unwrap());
        ours.set_tcp_keepalive(&TcpKeepalive::new()).unwrap();
        assert!(ours.keepalive().unwrap());
        let system = ours.tcp_keepalive().unwrap();
        assert!(system.time() > Some(Duration::from_secs(600)));

        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_millis(59_001))
            .with_retries(127);
        ours.set_tcp_keepalive(&keepalive).unwrap();
        let set = ours.tcp_keepalive().unwrap();
        assert_eq!(set.time(), Some(Duration::from_secs(60)));
        assert_eq!(set.interval(), system.interval());
        assert_eq!(set.retries(), Some(127));

        let (zero, ages) = (
            Duration::ZERO,
            Duration::from_secs(32_767) + Duration::from_nanos(1),
        );
        for wrong in [
            set.with_time(zero),
            set.with_time(ages),
            set.with_time(Duration::MAX),
            set.with_interval(zero),
            set.with_interval(ages),
            set.with_retries(0),
            set.with_retries(128),
            set.with_retries(u32::MAX),
        ] {
            let error = ours.set_tcp_keepalive(&wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong:?}");
            assert!(!error.to_string().contains("sandbox"), "{error}");
            assert_eq!(ours.tcp_keepalive().unwrap(), set, "nothing is set");
        }
        let most = Duration::from_secs(32_767);
        let most = TcpKeepalive::new().with_time(most).with_interval(most);
        ours.set_tcp_keepalive(&most).unwrap();
        ours.set_keepalive(false).unwrap();
        assert!(!ours.keepalive().unwrap());
        let kept = ours.tcp_keepalive().unwrap();
        assert_eq!(kept.time(), most.time(), "what it says is kept");
    });
}

/// Catches: an option that is read from, or set on, another place; a limit that overflows.
#[test]
fn a_user_timeout_and_the_sizes_of_buffers_are_told_and_set() {
    let _limit = limit(30);
    running(async || {
        let (_theirs, ours) = pair().await;
        assert_eq!(ours.user_timeout().unwrap(), None);
        let (half, most) = (
            Duration::from_micros(500),
            Duration::from_millis(i32::MAX as u64),
        );
        for (timeout, told) in [(half, Duration::from_millis(1)), (most, most)] {
            ours.set_user_timeout(Some(timeout)).unwrap();
            assert_eq!(ours.user_timeout().unwrap(), Some(told));
        }
        for wrong in [Duration::ZERO, most + half, Duration::MAX] {
            let error = ours.set_user_timeout(Some(wrong)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong:?}");
            assert_eq!(ours.user_timeout().unwrap(), Some(most));
        }
        ours.set_user_timeout(None).unwrap();
        assert_eq!(ours.user_timeout().unwrap(), None);

        ours.set_send_buffer_size(20_000).unwrap();
        assert_eq!(ours.send_buffer_size().unwrap(), 40_000, "it is doubled");
        ours.set_send_buffer_size(u32::MAX).unwrap();
        assert!(ours.send_buffer_size().unwrap() > 40_000);
        ours.set_send_buffer_size(0).unwrap();
        assert!(ours.send_buffer_size().unwrap() > 0);
    });
}

/// Catches: a name with or without its NUL; one that the kernel cuts, or takes for none; a device that is not used.
#[test]
fn a_socket_is_bound_to_a_device_and_told_which() {
    let _limit = limit(30);
    running(async || {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        assert_eq!(socket.device().unwrap(), None);
        for wrong in [&b""[..], b"lo\0", b"\0lo", b"0123456789abcdef"] {
            let error = socket.bind_device(Some(wrong)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{wrong:?}");
            assert!(!error.to_string().contains("sandbox"), "{error}");
            assert_eq!(socket.device().unwrap(), None);
        }
        let error = socket.bind_device(Some(b"no-such-device0")).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{error}");
        socket.bind_device(Some(b"lo")).unwrap();
        assert_eq!(socket.device().unwrap().as_deref(), Some(&b"lo"[..]));
        // To leave it takes a privilege, which the super-user of a container may lack.
        if socket.bind_device(None).is_ok() {
            assert_eq!(socket.device().unwrap(), None);
            socket.bind_device(Some(b"lo")).unwrap();
        }
        let at = listener.local_addr().unwrap();
        socket.connect(at).await.unwrap();
    });
}

/// Catches: a queue that wraps to a negative number, or is not the kernel's.
#[test]
fn the_queue_of_fast_open_ends_at_the_systems_limit() {
    let _limit = limit(30);
    running(async || {
        let listener = TcpSocket::new_v4().unwrap().listen(9).unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        listener.set_fastopen(u32::MAX).unwrap();
        assert_eq!(listener.fastopen().unwrap(), most.trim().parse().unwrap());
    });
}

/// Catches: an IPv6 socket that serves IPv4 though it was told not to; an EINVAL that blames a sandbox.
#[test]
fn a_socket_of_ipv6_leaves_ipv4_alone_if_told_so() {
    let _limit = limit(30);
    if local_v6().is_none() {
        return;
    }
    running(async || {
        for only in [true, false] {
            let socket = TcpSocket::new_v6().unwrap();
            socket.set_only_v6(only).unwrap();
            socket.bind((Ipv6Addr::UNSPECIFIED, 0).into()).unwrap();
            let error = socket.set_only_v6(only).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("bound already"), "{error}");
            let listener = socket.listen(9).unwrap();
            assert_eq!(listener.only_v6().unwrap(), only);
            let port = listener.local_addr().unwrap().port();
            let by_v4 = std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port));
            assert_eq!(by_v4.is_err(), only);
        }
    });
}
