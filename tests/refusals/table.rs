//! Each system call that the sys files make, refused in each way that a sandbox may refuse it.
//!
//! A row is tried in a child of a fork, before the first runtime of the process: what is learned about
//! the kernel is learned once a process. The child reports by its exit status, and has a limit.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::task::Poll;
use std::time::Duration;
use std::{env, fs, thread};

use reveille::io::{AsyncFd, Interest};
use reveille::net::udp::{Batch, Ecn, Outgoing};
use reveille::net::{
    self, TcpListener, TcpSocket, TcpStream, UdpSocket, UnixDatagram, UnixListener,
};
use reveille::runtime::Builder;
use reveille::signal::unix::{SignalKind, signal};
use reveille::time::{sleep, timeout};

use crate::child::in_child;
use crate::limit::limit;
use crate::pipes::PIPES;
use crate::seccomp::refuse;

/// What becomes of a program whose call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Everything works.
    Works,
    /// `Builder::build` gives an error with this name and the cure in its text.
    NoRuntime(&'static str),
    /// The runtime works, and the first function that needs the call gives such an error.
    Error(&'static str),
    /// As [`Error`], or the errno as it is, where that has a meaning of its own.
    ErrorOrErrno(&'static str),
}
use Outcome::{Error, ErrorOrErrno, NoRuntime, Works};

/// A system call by its number; the name under which the sys files make it; the argument and its value
/// by which it is told from those of the process around it.
pub(super) type Row = (libc::c_long, &'static str, Option<(u32, u32)>, Outcome);

/// Setting the mask of signals, which AddressSanitizer does for each new thread, and ends the process if it cannot.
const MASK: Option<(u32, u32)> = Some((0, libc::SIG_SETMASK as u32));

const RUNTIME: [Row; 18] = [
    (
        libc::SYS_epoll_create1,
        "epoll_create1",
        None,
        NoRuntime("epoll_create1"),
    ),
    (libc::SYS_eventfd2, "eventfd", None, NoRuntime("eventfd2")),
    (
        libc::SYS_epoll_ctl,
        "epoll_ctl",
        Some((1, libc::EPOLL_CTL_ADD as u32)),
        NoRuntime("epoll_ctl"),
    ),
    (
        libc::SYS_epoll_ctl,
        "epoll_ctl",
        Some((1, libc::EPOLL_CTL_DEL as u32)),
        NoRuntime("epoll_ctl"),
    ),
    (
        libc::SYS_epoll_wait,
        "epoll_wait",
        None,
        NoRuntime("epoll_wait"),
    ),
    // Eight bytes, as into an eventfd.
    (libc::SYS_write, "write", Some((2, 8)), NoRuntime("write")),
    (libc::SYS_epoll_pwait2, "SYS_epoll_pwait2", None, Works),
    (libc::SYS_timerfd_create, "timerfd_create", None, Works),
    (libc::SYS_timerfd_settime, "timerfd_settime", None, Works),
    // A page, as nothing around it asks for.
    (libc::SYS_mmap, "mmap", Some((1, 4096)), Works),
    (libc::SYS_munmap, "munmap", Some((1, 4096)), Works),
    (
        libc::SYS_madvise,
        "madvise",
        Some((2, libc::MADV_WIPEONFORK as u32)),
        Works,
    ),
    (
        libc::SYS_prctl,
        "SYS_prctl",
        Some((0, libc::PR_GET_TIMERSLACK as u32)),
        Works,
    ),
    (
        libc::SYS_prctl,
        "prctl",
        Some((0, libc::PR_SET_TIMERSLACK as u32)),
        Works,
    ),
    (
        libc::SYS_rt_sigaction,
        "sigaction",
        Some((0, libc::SIGUSR1 as u32)),
        Error("rt_sigaction"),
    ),
    (
        libc::SYS_rt_sigprocmask,
        "pthread_sigmask",
        Some((0, libc::SIG_UNBLOCK as u32)),
        Works,
    ),
    // The pool asks for the mask of its maker, and a thread of it sets that; so does the C library for each new thread.
    (libc::SYS_rt_sigprocmask, "pthread_sigmask", MASK, Works),
    (
        libc::SYS_fcntl,
        "try_clone_to_owned",
        Some((1, libc::F_DUPFD_CLOEXEC as u32)),
        Error("fcntl"),
    ),
];

const NET: [Row; 26] = [
    (libc::SYS_socket, "socket", None, Error("socket")),
    (libc::SYS_bind, "bind", None, Error("bind")),
    (libc::SYS_listen, "listen", None, Error("listen")),
    (libc::SYS_connect, "connect", None, Error("connect")),
    (libc::SYS_accept4, "accept4", None, Error("accept4")),
    (libc::SYS_recvfrom, "recv", None, Error("recv")),
    (libc::SYS_sendto, "send", None, Error("send")),
    // Asked for when a writer has to wait on a stream that is registered already.
    (
        libc::SYS_epoll_ctl,
        "local_addr",
        Some((1, libc::EPOLL_CTL_MOD as u32)),
        Error("epoll_ctl"),
    ),
    (
        libc::SYS_socketpair,
        "socketpair",
        None,
        Error("socketpair"),
    ),
    // Asked for by `set_passcred` only.
    (
        libc::SYS_setsockopt,
        "setsockopt",
        Some((2, libc::SO_PASSCRED as u32)),
        Error("setsockopt"),
    ),
    (libc::SYS_recvmsg, "recvmsg", None, Works),
    (libc::SYS_sendmsg, "sendmsg", None, Works),
    (
        libc::SYS_setsockopt,
        "setsockopt",
        Some((2, libc::SO_REUSEADDR as u32)),
        Works,
    ),
    (
        libc::SYS_setsockopt,
        "setsockopt",
        Some((2, libc::SO_LINGER as u32)),
        Error("setsockopt"),
    ),
    (
        libc::SYS_setsockopt,
        "setsockopt",
        Some((2, libc::SO_REUSEPORT as u32)),
        Error("setsockopt"),
    ),
    (
        libc::SYS_getsockopt,
        "getsockopt",
        Some((2, libc::SO_ERROR as u32)),
        Works,
    ),
    (
        libc::SYS_getsockopt,
        "getsockopt",
        Some((2, libc::SO_ACCEPTCONN as u32)),
        Works,
    ),
    (
        libc::SYS_getsockopt,
        "getsockopt",
        Some((2, libc::TCP_INFO as u32)),
        Error("getsockopt"),
    ),
    // A socket of std's is put into non-blocking mode by another.
    (
        libc::SYS_ioctl,
        "ioctl",
        Some((1, libc::FIONREAD as u32)),
        Error("ioctl"),
    ),
    (
        libc::SYS_ioctl,
        "ioctl",
        Some((1, libc::TIOCOUTQ as u32)),
        Error("ioctl"),
    ),
    (libc::SYS_shutdown, "shutdown", None, Error("shutdown")),
    (libc::SYS_poll, "poll", None, Works),
    (libc::SYS_getpeername, "getpeername", None, Works),
    (libc::SYS_getsockname, "local_addr", None, Works),
    (
        libc::SYS_fcntl,
        "fcntl",
        Some((1, libc::F_GETFL as u32)),
        Works,
    ),
    (
        libc::SYS_fcntl,
        "fcntl",
        Some((1, libc::F_SETFL as u32)),
        Works,
    ),
];

/// Of datagrams: the same calls by number, some of them, by other functions of the C library.
const DATAGRAMS: [Row; 9] = [
    (libc::SYS_socket, "socket", None, Error("socket")),
    (libc::SYS_bind, "bind", None, Error("bind")),
    (libc::SYS_connect, "connect", None, Error("connect")),
    (libc::SYS_sendto, "sendto", None, Error("sendto")),
    (libc::SYS_recvfrom, "recvfrom", None, Error("recvfrom")),
    (libc::SYS_sendmmsg, "sendmmsg", None, Works),
    (libc::SYS_recvmmsg, "recvmmsg", None, Works),
    (libc::SYS_sendmsg, "sendmsg", None, Error("sendmsg")),
    // Asked if the kernel can segment.
    (libc::SYS_getsockopt, "getsockopt", None, Works),
];

/// With addresses, and with descriptors, nothing else takes the place of these.
const UNIX_DATAGRAMS: [Row; 4] = [
    // EPERM, EACCES and EINVAL may be about the address.
    (libc::SYS_sendto, "sendto", None, ErrorOrErrno("sendto")),
    (libc::SYS_recvfrom, "recvfrom", None, Error("recvfrom")),
    // EPERM may be about the peer.
    (libc::SYS_sendmsg, "sendmsg", None, ErrorOrErrno("sendmsg")),
    (libc::SYS_recvmsg, "recvmsg", None, Error("recvmsg")),
];

/// What is called in the sys files and is no row, with the reason.
const NO_ROW: [(&str, &str); 6] = [
    ("syscall", "by number: the rows that begin with SYS_"),
    ("pthread_atfork", "the C library's own list, no system call"),
    ("__errno_location", "no system call"),
    ("sigfillset", "no system call"),
    ("sigemptyset", "no system call"),
    ("sigaddset", "no system call"),
];

const ERRNOS: [i32; 5] = [
    libc::ENOSYS,
    libc::EPERM,
    libc::EACCES,
    libc::EINVAL,
    libc::EOPNOTSUPP,
];

/// All files of a folder, one after another, without their docs, whose examples make calls of their own.
fn text_of(folder: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(folder).expect("the folder is there");
    let mut text = String::new();
    for file in files {
        let source = fs::read_to_string(file.unwrap().path()).expect("they are sources");
        let code = source
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        text.extend(code.flat_map(|line| [line, "\n"]));
    }
    text
}

/// Fault A34. Catches: a call that the sys files make and that the tables below do not know.
#[test]
fn every_call_of_the_sys_files_has_its_row() {
    let _limit = limit(30);
    for (source, rows) in [
        (text_of("runtime/sys"), RUNTIME.to_vec()),
        (
            text_of("net/sys"),
            [&NET[..], &DATAGRAMS, &UNIX_DATAGRAMS, &PIPES].concat(),
        ),
    ] {
        // What stands behind `libc::` and before a parenthesis, or is a number of a call.
        let calls: BTreeSet<&str> = source
            .split("libc::")
            .skip(1)
            .filter_map(|rest| {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
                let (name, rest) = rest.split_at(end);
                (rest.starts_with('(') || name.starts_with("SYS_")).then_some(name)
            })
            .collect();
        let known = |name: &str| {
            rows.iter().any(|row| row.1 == name) || NO_ROW.iter().any(|(other, _)| *other == name)
        };
        let unknown: Vec<_> = calls.iter().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "no row for {unknown:?}");
        // Or it has one, and is called no more.
        for row in &rows {
            let called = calls.contains(row.1) || source.contains(row.1);
            assert!(called || row.1 == "local_addr", "{} is not called", row.1);
        }
    }
}

/// Fault A34. Catches: a call that is not indispensable and whose refusal is fatal; one that is, and
/// panics at the first sleep; an error that does not say which call to allow.
#[test]
fn what_a_sandbox_refuses_of_the_runtime_is_done_without_or_named() {
    in_child(
        "table::what_a_sandbox_refuses_of_the_runtime_is_done_without_or_named",
        || {
            judge(&RUNTIME, use_a_runtime);
        },
    );
}

/// Fault A34. Catches: the same, of sockets.
#[test]
fn what_a_sandbox_refuses_of_sockets_is_done_without_or_named() {
    in_child(
        "table::what_a_sandbox_refuses_of_sockets_is_done_without_or_named",
        || {
            judge(&NET, use_sockets);
        },
    );
}

/// Fault A34. Catches: the same, of datagrams; one that is lost or sent twice where the calls for many are refused.
#[test]
fn what_a_sandbox_refuses_of_datagrams_is_done_without_or_named() {
    in_child(
        "table::what_a_sandbox_refuses_of_datagrams_is_done_without_or_named",
        || {
            judge(&DATAGRAMS, use_datagrams);
        },
    );
}

/// Fault A34. Catches: the same, of Unix datagrams and of descriptors that are passed.
#[test]
fn what_a_sandbox_refuses_of_unix_datagrams_is_named() {
    in_child(
        "table::what_a_sandbox_refuses_of_unix_datagrams_is_named",
        || {
            judge(&UNIX_DATAGRAMS, use_unix_datagrams);
        },
    );
}

/// Tries every row with every errno, and compares.
pub(super) fn judge(rows: &[Row], program: fn() -> io::Result<()>) {
    assert_eq!(
        in_a_fork(|| report(program, Works)),
        0,
        "with nothing refused"
    );
    let mut wrong = Vec::new();
    let sanitized = env::var_os("ASAN_OPTIONS").is_some();
    for &(call, name, argument, outcome) in rows {
        if sanitized && call == libc::SYS_rt_sigprocmask && argument == MASK {
            continue;
        }
        for errno in ERRNOS {
            let status = in_a_fork(|| {
                refuse(call, argument, errno);
                report(program, outcome)
            });
            if status != 0 {
                let errno = io::Error::from_raw_os_error(errno);
                wrong.push(format!("{name} {argument:?}, {errno}: {status}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Runs the program, and says by a number how its end differs from what was expected.
fn report(program: fn() -> io::Result<()>, expected: Outcome) -> i32 {
    // Its own bytes are eight, and the message of a panic is nobody's business here.
    std::panic::set_hook(Box::new(|_| ()));
    let built = catch_unwind(|| Builder::new().build().map(drop));
    let built = match built {
        Ok(built) => built,
        Err(_) => return 2,
    };
    if let Err(error) = built {
        return match expected {
            NoRuntime(name) => says(&error, name),
            _ => 3,
        };
    }
    let Ok(done) = catch_unwind(program) else {
        return 4;
    };
    match (done, expected) {
        (Ok(()), Works) => 0,
        (Err(error), ErrorOrErrno(_)) if error.raw_os_error().is_some() => 0,
        (Err(error), Error(name) | ErrorOrErrno(name)) => says(&error, name),
        (Ok(()), _) => 5,
        (Err(_), _) => 6,
    }
}

fn says(error: &io::Error, name: &str) -> i32 {
    let text = error.to_string();
    let source = error
        .source()
        .and_then(|source| source.downcast_ref::<io::Error>());
    let has_errno = source.is_some_and(|source| source.raw_os_error().is_some());
    if text.contains(name) && text.contains("sandbox") && has_errno {
        0
    } else {
        7
    }
}

/// Runs `f` in a child, and returns its exit status, or that of a wait for one that was killed.
fn in_a_fork(f: impl FnOnce() -> i32) -> i32 {
    // SAFETY: fork(2) takes nothing; glibc keeps the allocator usable in the child.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1);
    if child == 0 {
        // SAFETY: alarm(2) takes an integer: what hangs is ended by SIGALRM.
        unsafe { libc::alarm(20) };
        let status = catch_unwind(AssertUnwindSafe(f)).unwrap_or(8);
        // SAFETY: _exit(2) takes an integer and does not return.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: waitpid(2) writes one integer to the pointer, which is that of a local.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    if libc::WIFEXITED(status) {
        libc::WEXITSTATUS(status)
    } else {
        1000 + libc::WTERMSIG(status)
    }
}

/// Everything that a runtime does for a program.
fn use_a_runtime() -> io::Result<()> {
    let runtime = Builder::new()
        .timer_slack(Duration::from_nanos(1))
        .build()?;
    runtime.block_on(limited(async {
        sleep(Duration::from_millis(1)).await;
        sleep(Duration::from_micros(1)).await;
        // A wake from another thread.
        let mut thread = None;
        let mut woken = false;
        poll_fn(|cx| {
            let waker = cx.waker().clone();
            thread.get_or_insert_with(|| thread::spawn(move || waker.wake()));
            if std::mem::replace(&mut woken, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        let _woke = thread.map(thread::JoinHandle::join);
        // A source that comes and goes.
        let (ours, mut theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = AsyncFd::new(ours)?;
        drop(reveille::spawn(async move {
            sleep(Duration::from_micros(100)).await;
            theirs.write_all(b"x")
        }));
        ours.async_io(Interest::READABLE, |mut socket| socket.read(&mut [0]))
            .await?;
        drop(ours);
        // A thread of the pool.
        reveille::task::spawn_blocking(|| ()).await?;
        // A signal.
        let mut listener = signal(SignalKind::user_defined1())?;
        // SAFETY: raise(3) takes an integer; the handler is the library's.
        unsafe { libc::raise(libc::SIGUSR1) };
        listener.recv().await;
        Ok(())
    }))
}

/// Everything that sockets do for a program.
fn use_sockets() -> io::Result<()> {
    reveille::block_on(limited(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let at = address(listener.as_fd().as_raw_fd());
        let client = TcpStream::connect(at).await?;
        let (server, _) = listener.accept().await?;
        client.write_all(b"hello").await?;
        let mut buf = [0; 8];
        server.read_exact(&mut buf[..5]).await?;
        assert_eq!(&buf[..5], b"hello");
        // Of several buffers at least one is served.
        let mut n = server
            .write_vectored(&[IoSlice::new(b"he"), IoSlice::new(b"llo")])
            .await?;
        assert!(n >= 2);
        server.write_all(&b"hello"[n..]).await?;
        let (one, other) = buf.split_at_mut(2);
        n = client
            .read_vectored(&mut [IoSliceMut::new(one), IoSliceMut::new(other)])
            .await?;
        assert!(n >= 2);
        client.read_exact(&mut buf[n..5]).await?;
        assert_eq!(&buf[..5], b"hello");
        // Writers that have to wait: on a stream that was never registered, and on one that is.
        for registered in [false, true] {
            let reader = TcpStream::connect(at).await?;
            let (writer, _) = listener.accept().await?;
            if registered {
                poll_fn(|cx| {
                    assert!(writer.poll_read(cx, &mut [0]).is_pending());
                    Poll::Ready(())
                })
                .await;
            }
            let reader = reveille::spawn(async move {
                let mut room = vec![0; 1 << 20];
                while reader.read(&mut room).await? > 0 {}
                io::Result::Ok(())
            });
            writer.write_all(&vec![0; 8 << 20]).await?;
            drop(writer);
            reader.await.expect("no panic")?;
        }
        // A listener of std's, which may be shared.
        let shared = TcpListener::bind("127.0.0.1:0").await?.into_std()?;
        let shared = TcpListener::from_std(shared)?;
        let at = address(shared.as_fd().as_raw_fd());
        let other = StdStream::connect(at);
        if let Ok(_other) = other {
            shared.accept().await?;
        }
        // A socket that is asked and told things before it is connected.
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseport(true)?;
        socket.bind(([127, 0, 0, 1], 0).into())?;
        let stream = socket.connect(at).await?;
        stream.tcp_info()?;
        assert_eq!(stream.unread_bytes()?, 0);
        assert_eq!(stream.unacked_bytes()?, 0);
        // Unix sockets.
        use_unix_sockets().await?;
        // A connection that is refused says so.
        drop((listener, shared));
        TcpStream::connect(at).await.expect_err("nobody listens");
        server.set_zero_linger()?;
        client.shutdown(Shutdown::Write)
    }))
}

/// Everything that datagrams do for a program.
fn use_datagrams() -> io::Result<()> {
    reveille::block_on(limited(async {
        let (ours, theirs) = (
            UdpSocket::bind("127.0.0.1:0").await?,
            UdpSocket::bind("127.0.0.1:0").await?,
        );
        let there = theirs.local_addr()?;
        ours.connect(there).await?;
        ours.send_to(b"hello", there).await?;
        let mut buf = [0; 8];
        assert_eq!(theirs.recv_from(&mut buf).await?.0, 5);
        theirs.set_recv_ecn(true)?;
        theirs.set_recv_pktinfo(true)?;
        // Many a call, one of them segmented; and one a call.
        let many = [
            Outgoing::new(b"one", there),
            Outgoing::new(b"twoend", there).with_segment(3),
            Outgoing::to_peer(b"more"),
        ];
        let mut left = many.to_vec();
        while !left.is_empty() {
            let sent = ours.send_many(&left).await?;
            left.drain(..sent.whole());
            if let Some(next) = left.first_mut() {
                *next = next.skip(sent.bytes_of_next());
            }
        }
        assert_eq!(
            ours.send_many(&[many[0].with_ecn(Ecn::Ect0)])
                .await?
                .whole(),
            1
        );
        let mut batch = Batch::new(8, 8);
        let mut received = Vec::new();
        while received.len() < 5 {
            theirs.recv_many(&mut batch).await?;
            received.extend(batch.iter().map(|datagram| datagram.bytes().to_vec()));
        }
        assert_eq!(received, [&b"one"[..], b"two", b"end", b"more", b"one"]);
        Ok(())
    }))
}

/// What is made, bound and set in ways of its own.
async fn use_unix_sockets() -> io::Result<()> {
    let name = format!("\0reveille-refusals-{}", std::process::id());
    let listener = UnixListener::bind(&name)?;
    let client = net::UnixStream::connect(&name).await?;
    let (server, _) = listener.accept().await?;
    let (one, other) = net::UnixStream::pair()?;
    for (writer, reader) in [(&client, &server), (&one, &other)] {
        writer.write_all(b"hello").await?;
        let mut buf = [0; 5];
        reader.read_exact(&mut buf).await?;
        assert_eq!(&buf, b"hello");
    }
    one.set_passcred(true)
}

/// What goes to the address of a Unix socket, and what goes with bytes.
fn use_unix_datagrams() -> io::Result<()> {
    reveille::block_on(limited(async {
        let server = UnixDatagram::bind("")?;
        let there = server.local_addr()?;
        let client = UnixDatagram::unbound()?;
        client.send_to_addr(b"hello", &there).await?;
        let mut buf = [0; 8];
        let (n, from) = server.recv_from(&mut buf).await?;
        assert_eq!((&buf[..n], from.is_unnamed()), (&b"hello"[..], true));
        client.connect_addr(&there)?;
        let fds = &[client.as_fd()];
        client.send_fds(&[IoSlice::new(b"hello")], fds).await?;
        let bufs = &mut [IoSliceMut::new(&mut buf)];
        let received = server.recv_fds(bufs, 1).await?;
        assert_eq!((received.len(), received.fds().len()), (5, 1));
        Ok(())
    }))
}

/// As getsockname(2) says, which may be refused: /proc/net/tcp knows, too, by the number of the inode.
fn address(fd: i32) -> std::net::SocketAddr {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    let inode = link
        .to_str()
        .unwrap()
        .trim_start_matches("socket:[")
        .trim_end_matches(']')
        .to_owned();
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table
        .lines()
        .find(|line| line.split_whitespace().nth(9) == Some(&inode));
    let local = line.unwrap().split_whitespace().nth(1).unwrap();
    let port = u16::from_str_radix(local.split(':').nth(1).unwrap(), 16).unwrap();
    ([127, 0, 0, 1], port).into()
}

pub(super) async fn limited<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(Duration::from_secs(10), future).await?
}
