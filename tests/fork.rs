//! The child of a fork: it shares the parent's epoll instances, and must not touch them.
//!
//! Each test runs in processes of its own: in one whose children are known by a page that the kernel
//! wipes, and in one where that is refused (`alone`). Its children end by `_exit`, so that no
//! destructor of the test harness runs in them.

use std::cell::Cell;
use std::env;
use std::ffi::CString;
use std::fs;
use std::future::{Future, pending, poll_fn};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::future::poll_once;
use reveille::io::{AsyncFd, Interest, is_forked_child};
use reveille::net::udp::{Batch, Outgoing};
use reveille::net::{
    self, TcpKeepalive, TcpListener, TcpSocket, TcpStream, UdpSocket, UnixDatagram, UnixListener,
    UnixSocket, lookup_host, pipe,
};
use reveille::signal::unix::{SignalKind, signal};
use reveille::task::yield_now;
use reveille::time::sleep;
use reveille::{Builder, Runtime, block_on};

use seccomp::refuse;
use support::{alone_with, set_alarm};

#[path = "support/seccomp.rs"]
mod seccomp;
#[path = "support/alone.rs"]
mod support;

/// Seconds after which a child that hangs is ended by SIGALRM.
const CHILD_LIMIT: u32 = 20;

/// Runs `body` in a process of its own, and in another one whose kernel wipes no page in a child.
#[track_caller]
fn alone(test: &str, body: impl FnOnce()) {
    const REFUSED: &str = "REVEILLE_TEST_REFUSED";
    let body = || {
        if env::var_os(REFUSED).is_some() {
            let advice = libc::MADV_WIPEONFORK as u32;
            refuse(libc::SYS_madvise, Some((2, advice)), libc::EINVAL);
        }
        body();
    };
    let mut body = Some(body);
    // In the process of its own, which comes by here too, the first takes it.
    let mut run = || body.take().into_iter().for_each(|body| body());
    support::alone(test, &mut run);
    alone_with(&[(REFUSED, "yes")], test, &mut run);
}

/// True if the kernel is to wipe some page of this process in a child: proc(5), smaps.
fn has_a_wiped_page() -> bool {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    maps.lines()
        .any(|line| line.starts_with("VmFlags:") && line.contains(" wf"))
}

/// Faults A3, E5. Catches: a runtime that cannot be made where madvise(2) refuses; a guard that
/// stays the page though it was refused, or is never the page.
#[test]
fn where_no_page_can_be_wiped_a_child_is_known_all_the_same() {
    alone(
        "where_no_page_can_be_wiped_a_child_is_known_all_the_same",
        || {
            // SAFETY: all three arguments are good for a range of no length.
            let advised = unsafe { libc::madvise(std::ptr::null_mut(), 0, libc::MADV_WIPEONFORK) };
            let runtime = Runtime::new().unwrap();
            assert_eq!(has_a_wiped_page(), advised == 0);
            in_a_child(|| {
                assert_says_exec_first(&runtime.turn().unwrap_err().to_string());
                in_a_child(|| assert!(Runtime::new().is_err(), "nor a grandchild"));
            });
            runtime.turn().unwrap();
        },
    );
}

/// Fault E5; promise 12. Catches: a child that goes on with the loop of its parent and polls what
/// is queued there; a `block_on` that polls its future before it is refused.
#[test]
fn a_child_polls_nothing_of_its_parents_runtime() {
    alone("a_child_polls_nothing_of_its_parents_runtime", || {
        let polls = Arc::new(AtomicUsize::new(0));
        let count = |polls: &Arc<AtomicUsize>| {
            let polls = Arc::clone(polls);
            async move {
                polls.fetch_add(1, SeqCst);
            }
        };
        let runtime = Runtime::new().unwrap();
        let refused = |panic: thread::Result<()>| {
            assert_says_exec_first(panic.unwrap_err().downcast_ref::<String>().unwrap());
        };
        // From outside, with a task queued.
        let task = runtime.spawn(count(&polls));
        in_a_child(|| {
            let main = AssertUnwindSafe(|| runtime.block_on(count(&polls)));
            refused(catch_unwind(main));
            assert!(runtime.turn().is_err());
            assert_eq!(polls.load(SeqCst), 0);
        });
        runtime.block_on(task).unwrap();
        assert_eq!(polls.load(SeqCst), 1);
        // By a task, in the middle of a turn, and of `block_on`: the next in the queue is not polled.
        for by_turns in [true, false] {
            polls.store(0, SeqCst);
            let is_child = Arc::new(AtomicBool::new(false));
            let forks = Arc::clone(&is_child);
            drop(runtime.spawn(async move { forks.store(fork_off(), SeqCst) }));
            drop(runtime.spawn(count(&polls)));
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                if by_turns {
                    let turned = runtime.turn();
                    if is_child.load(SeqCst) {
                        assert_says_exec_first(&turned.unwrap_err().to_string());
                    }
                } else {
                    runtime.block_on(yield_now());
                }
            }));
            if is_child.load(SeqCst) {
                end_child(|| {
                    if !by_turns {
                        refused(outcome);
                    }
                    assert_eq!(polls.load(SeqCst), 0);
                });
            }
            join_child();
            outcome.unwrap();
            assert_eq!(polls.load(SeqCst), 1);
        }
    });
}

/// Fault E5; promise 12. Catches: an operation of a child that takes the bytes of its parent's pipe, writes among them, or
/// changes it.
#[test]
fn no_operation_of_a_child_touches_its_parents_pipe() {
    alone("no_operation_of_a_child_touches_its_parents_pipe", || {
        let runtime = Runtime::new().unwrap();
        let (sender, receiver) = pipe::pipe().unwrap();
        runtime
            .block_on(sender.write_all(b"for the parent"))
            .unwrap();
        let capacity = sender.capacity().unwrap();
        // What other code made blocks, and goes on to do so.
        let blocking = || pipe::pipe().unwrap().1.into_blocking_fd().unwrap();
        let (plain, shared) = (blocking(), pipe::pipe().unwrap().1);
        let mut taken = Some((plain.try_clone().unwrap(), shared));
        let (fd, is_nonblocking) = (plain.as_raw_fd(), taken.as_ref().unwrap().1.as_raw_fd());
        let kept = taken.as_ref().unwrap().1.as_fd().try_clone_to_owned();
        runtime.block_on(async {
            in_a_child(|| {
                let in_child = |what: &str, outcome: io::Result<()>| {
                    let error = outcome.expect_err(what);
                    assert_says_exec_first(&error.to_string());
                };
                in_child("pipe", pipe::pipe().map(drop));
                in_child("try_read", receiver.try_read(&mut [0; 64]).map(drop));
                let vec = &mut Vec::new();
                in_child("try_read_vec", receiver.try_read_vec(vec).map(drop));
                in_child("try_write", sender.try_write(b"x").map(drop));
                in_child("set_capacity", sender.set_capacity(1).map(drop));
                in_child("set_capacity", receiver.set_capacity(1).map(drop));
                let (plain, shared) = taken.take().unwrap();
                let duplicate = plain.try_clone().unwrap();
                in_child(
                    "from_owned_fd",
                    pipe::Receiver::from_owned_fd(plain).map(drop),
                );
                let unchecked = pipe::Receiver::from_owned_fd_unchecked(duplicate);
                in_child("from_owned_fd_unchecked", unchecked.map(drop));
                in_child("into_blocking_fd", shared.into_blocking_fd().map(drop));
            });
        });
        let flags = |fd| {
            // SAFETY: F_GETFL takes no argument and touches no memory of ours.
            let flags = unsafe { libc::fcntl(fd, libc::F_GETFL) };
            flags & libc::O_NONBLOCK
        };
        assert_eq!(flags(fd), 0, "the child made it non-blocking");
        assert_ne!(flags(is_nonblocking), 0, "the child made it block");
        drop(kept);
        assert_eq!(sender.capacity().unwrap(), capacity);
        let mut buf = [0; 64];
        assert_eq!(runtime.block_on(receiver.read(&mut buf)).unwrap(), 14);
    });
}

/// Fault E5; promise 12. Catches: a child that opens a named pipe before it is refused: it closes the pipe again, and for
/// a reader that waits for the first writer the pipe has then ended.
#[test]
fn a_child_does_not_open_a_named_pipe() {
    alone("a_child_does_not_open_a_named_pipe", || {
        let path = env::temp_dir().join(format!("reveille-fork-f-{}", std::process::id()));
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: mkfifo(3) reads the string, which ends with a zero byte and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        block_on(async {
            let receiver = pipe::OpenOptions::new().open_receiver(&path).unwrap();
            in_a_child(|| {
                let options = pipe::OpenOptions::new();
                let sender = options.open_sender(&path).expect_err("open_sender");
                assert_says_exec_first(&sender.to_string());
                let receiver = options.open_receiver(&path).expect_err("open_receiver");
                assert_says_exec_first(&receiver.to_string());
            });
            let mut buf = [0; 8];
            let ended = poll_once(receiver.read(&mut buf)).await;
            assert!(ended.is_none(), "the child has ended the pipe: {ended:?}");
        });
        fs::remove_file(&path).unwrap();
    });
}

/// Fault E5; promise 12. Catches: a child that connects, and is refused only then: a server sees a connection that ends.
#[test]
fn a_child_connects_to_nothing() {
    alone("a_child_connects_to_nothing", || {
        block_on(async {
            let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let there = tcp.local_addr().unwrap();
            let unix = UnixListener::bind("").unwrap();
            let at = unix.local_addr().unwrap();
            in_a_child(|| {
                fn refused(what: &str, connect: impl Future<Output = io::Result<()>>) {
                    let cx = &mut Context::from_waker(Waker::noop());
                    let Poll::Ready(outcome) = pin!(connect).poll(cx) else {
                        panic!("{what} waits in a child");
                    };
                    assert_says_exec_first(&outcome.expect_err(what).to_string());
                }
                refused("TcpStream::connect", async {
                    TcpStream::connect(there).await.map(drop)
                });
                refused("one of two addresses", async {
                    TcpStream::connect(&[there, there][..]).await.map(drop)
                });
                refused("TcpSocket::connect", async {
                    TcpSocket::new_v4()?.connect(there).await.map(drop)
                });
                refused("UnixStream::connect", async {
                    net::UnixStream::connect_addr(&at).await.map(drop)
                });
                refused("UnixSocket::connect", async {
                    let socket = UnixSocket::new_stream()?;
                    socket.connect_addr(&at).await.map(drop)
                });
            });
            tcp.set_nonblocking(true).unwrap();
            let nothing = tcp.accept().map(drop).expect_err("a child has connected");
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
            let nothing = unix.try_accept().expect_err("a child has connected");
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        });
    });
}

/// Fault E5; promise 12. Catches: a child that binds and listens, and is refused only then: who connects meanwhile is reset.
#[test]
fn a_child_binds_nothing() {
    alone("a_child_binds_nothing", || {
        block_on(async {
            in_a_child(|| {
                // It would be the first error.
                refuse(libc::SYS_bind, None, libc::ENOSYS);
                let cx = &mut Context::from_waker(Waker::noop());
                let Poll::Ready(tcp) = pin!(TcpListener::bind("127.0.0.1:0")).poll(cx) else {
                    panic!("bind waits in a child");
                };
                assert_says_exec_first(&tcp.expect_err("TcpListener::bind").to_string());
                let Poll::Ready(udp) = pin!(UdpSocket::bind("127.0.0.1:0")).poll(cx) else {
                    panic!("bind waits in a child");
                };
                assert_says_exec_first(&udp.expect_err("UdpSocket::bind").to_string());
            });
        });
    });
}

/// Promise 12. Catches: a child that waits for a lock which a thread of the parent holds, or for work that no thread
/// does.
#[test]
fn a_child_has_no_threads_for_blocking_work() {
    alone("a_child_has_no_threads_for_blocking_work", || {
        let runtime = Runtime::new().unwrap();
        let ((begin, begun), (end, ended)) = (mpsc::channel(), mpsc::channel::<()>());
        let task = runtime.spawn_blocking(move || {
            begin.send(()).unwrap();
            ended.recv()
        });
        begun.recv().unwrap();
        let (task, runtime) = (Cell::new(Some(task)), Cell::new(Some(runtime)));
        in_a_child(|| {
            let runtime = runtime.take().unwrap();
            let refused = catch_unwind(AssertUnwindSafe(|| drop(runtime.spawn_blocking(|| ()))));
            assert_says_exec_first(refused.unwrap_err().downcast_ref::<String>().unwrap());
            let _either = runtime.next_deadline();
            let mut lookup = pin!(lookup_host("localhost:80"));
            let polled = lookup
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Err(refused)) = polled else {
                panic!("a name is resolved in a child");
            };
            assert!(is_forked_child(&refused));
            task.take().unwrap().abort();
            runtime.shutdown_timeout(Duration::from_secs(3600));
        });
        drop(end);
        let (runtime, task) = (runtime.take().unwrap(), task.take().unwrap());
        assert!(runtime.block_on(task).unwrap().is_err());
    });
}

/// Promise 12. Catches: a child of a job that goes on with the jobs of its parent, or waits for a lock of it.
#[test]
fn a_child_that_a_job_forks_does_no_job_of_its_parents() {
    alone(
        "a_child_that_a_job_forks_does_no_job_of_its_parents",
        || {
            let mut options = Builder::new();
            let runtime = options.max_blocking_threads(1).build().unwrap();
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            let mut work = Vec::new();
            for nth in 0..4 {
                let mut theirs = theirs.try_clone().unwrap();
                work.push(runtime.spawn_blocking(move || {
                    theirs.write_all(&[nth]).unwrap();
                    if nth > 0 {
                        return 0;
                    }
                    // SAFETY: fork(2) takes nothing; glibc keeps the allocator usable in the child.
                    let child = unsafe { libc::fork() };
                    if child == 0 {
                        set_alarm(CHILD_LIMIT);
                    }
                    child
                }));
            }
            drop(theirs);
            let child = runtime.block_on(async {
                let mut child = 0;
                for work in work {
                    child = child.max(work.await.unwrap());
                }
                child
            });
            let mut status = 0;
            // SAFETY: waitpid(2) writes one integer to the pointer, which is that of a local.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!((waited, libc::WIFSIGNALED(status)), (child, false));
            let mut done = Vec::new();
            ours.read_to_end(&mut done).unwrap();
            assert_eq!(done, [0, 1, 2, 3]);
        },
    );
}

/// Fault E5; promise 12. Catches: an operation of a child that takes its parent's bytes, writes among
/// them, ends its connection or changes it.
#[test]
fn no_operation_of_a_child_touches_its_parents_connection() {
    alone(
        "no_operation_of_a_child_touches_its_parents_connection",
        || {
            let runtime = Runtime::new().unwrap();
            let (client, server, fd, mut peer) = runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let at = listener.local_addr().unwrap();
                let client = TcpStream::connect(at).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                let (fd, peer) = pair();
                (client, server, fd, peer)
            });
            runtime
                .block_on(client.write_all(b"for the parent"))
                .unwrap();
            peer.write_all(b"p").unwrap();
            let guard = runtime.block_on(fd.readable()).unwrap();
            let in_child = |what: &str, outcome: io::Result<()>| {
                let error = outcome.expect_err(what);
                assert_says_exec_first(&error.to_string());
            };
            let mut guard = Some(guard);
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let plain = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            runtime.block_on(async {
                in_a_child(|| {
                    let buf = &mut [0; 64];
                    let mut part = [0; 8];
                    let parts = &mut [IoSliceMut::new(&mut part)];
                    in_child("try_read", server.try_read(buf).map(drop));
                    in_child("try_write", server.try_write(b"x").map(drop));
                    in_child(
                        "try_read_vectored",
                        server.try_read_vectored(parts).map(drop),
                    );
                    let vec = &mut Vec::new();
                    in_child("try_read_vec", server.try_read_vec(vec).map(drop));
                    let room = &mut [MaybeUninit::uninit(); 8];
                    let cx = &mut Context::from_waker(Waker::noop());
                    for (what, polled) in [
                        (
                            "poll_read_uninit",
                            server.poll_read_uninit(cx, room).map_ok(drop),
                        ),
                        ("poll_read_vec", server.poll_read_vec(cx, vec).map_ok(drop)),
                        ("poll_io", server.poll_io(cx, Interest::READABLE, || Ok(()))),
                        ("poll_read", server.poll_read(cx, buf).map_ok(drop)),
                        ("poll_peek", server.poll_peek(cx, buf).map_ok(drop)),
                        ("poll_write", server.poll_write(cx, b"x").map_ok(drop)),
                        ("poll_read_ready", server.poll_read_ready(cx)),
                        ("poll_write_ready", server.poll_write_ready(cx)),
                    ] {
                        let Poll::Ready(outcome) = polled else {
                            panic!("{what} waits");
                        };
                        in_child(what, outcome);
                    }
                    in_child("shutdown", server.shutdown(Shutdown::Both));
                    in_child("try_clone", server.try_clone().map(drop));
                    let theirs = server.as_fd().try_clone_to_owned().unwrap();
                    in_child("from_std", TcpStream::from_std(theirs.into()).map(drop));
                    let theirs = plain.try_clone().unwrap();
                    in_child("from_std", TcpStream::from_std(theirs).map(drop));
                    let read = |fd: &AsyncFd<UnixStream>| fd.get_ref().read(&mut [0]).map(drop);
                    in_child(
                        "AsyncFd::try_io",
                        fd.try_io(Interest::READABLE, |mut socket| {
                            socket.read(&mut [0]).map(drop)
                        }),
                    );
                    let mut guard = guard.take().unwrap();
                    in_child("a guard's try_io", guard.try_io(read).unwrap());
                });
            });
            // SAFETY: F_GETFL takes no argument and touches no memory of ours.
            let flags = unsafe { libc::fcntl(plain.as_raw_fd(), libc::F_GETFL) };
            assert_eq!(
                flags & libc::O_NONBLOCK,
                0,
                "the child made it non-blocking"
            );
            let mut buf = [0; 64];
            assert_eq!(runtime.block_on(server.read(&mut buf)).unwrap(), 14);
            runtime.block_on(server.write_all(b"x")).unwrap();
            assert_eq!(runtime.block_on(client.read(&mut buf)).unwrap(), 1);
            assert_eq!(runtime.block_on(read(&fd)).unwrap(), b'p');
        },
    );
}

/// Fault E5; promise 12. Catches: a child that takes a datagram from its parent, sends one in its name, or changes its socket.
#[test]
fn no_operation_of_a_child_touches_its_parents_datagrams() {
    alone(
        "no_operation_of_a_child_touches_its_parents_datagrams",
        || {
            let runtime = Runtime::new().unwrap();
            let [ours, theirs] =
                [(); 2].map(|()| runtime.block_on(UdpSocket::bind("127.0.0.1:0")).unwrap());
            let there = theirs.local_addr().unwrap();
            runtime.block_on(ours.connect(there)).unwrap();
            runtime.block_on(ours.send(b"for the parent")).unwrap();
            let in_child = |what: &str, outcome: io::Result<()>| {
                let error = outcome.expect_err(what);
                assert_says_exec_first(&error.to_string());
            };
            runtime.block_on(async {
                in_a_child(|| {
                    let buf = &mut [0; 64];
                    let batch = &mut Batch::new(1, 64);
                    let one = [Outgoing::new(b"x", there)];
                    let group = Ipv4Addr::new(239, 255, 7, 7);
                    let any = Ipv4Addr::UNSPECIFIED;
                    let v6 = Ipv6Addr::LOCALHOST;
                    in_child("try_recv", theirs.try_recv(buf).map(drop));
                    in_child("try_recv_from", theirs.try_recv_from(buf).map(drop));
                    in_child("try_recv_batch", theirs.try_recv_batch(batch).map(drop));
                    in_child("try_peek", theirs.try_peek(buf).map(drop));
                    in_child("try_send", ours.try_send(b"x").map(drop));
                    in_child("try_send_to", ours.try_send_to(b"x", there).map(drop));
                    in_child("try_send_many", ours.try_send_many(&one).map(drop));
                    let cx = &mut Context::from_waker(Waker::noop());
                    let Poll::Ready(connected) = pin!(ours.connect(there)).poll(cx) else {
                        panic!("connect waits");
                    };
                    in_child("connect", connected);
                    in_child("set_gro", ours.set_gro(true));
                    in_child("set_recv_ecn", ours.set_recv_ecn(true));
                    in_child("set_recv_pktinfo", ours.set_recv_pktinfo(true));
                    in_child("set_broadcast", ours.set_broadcast(true));
                    in_child("join_multicast_v4", ours.join_multicast_v4(group, any));
                    in_child("join_multicast_v6", ours.join_multicast_v6(&v6, 0));
                    in_child("leave_multicast_v4", ours.leave_multicast_v4(group, any));
                    in_child("leave_multicast_v6", ours.leave_multicast_v6(&v6, 0));
                    in_child("set_multicast_loop_v4", ours.set_multicast_loop_v4(true));
                    in_child("set_multicast_loop_v6", ours.set_multicast_loop_v6(true));
                    in_child("set_multicast_ttl_v4", ours.set_multicast_ttl_v4(3));
                    in_child("set_multicast_hops_v6", ours.set_multicast_hops_v6(3));
                    in_child("set_multicast_if_v4", ours.set_multicast_if_v4(any));
                    in_child("set_multicast_if_v6", ours.set_multicast_if_v6(1));
                    in_child("set_ttl", ours.set_ttl(3));
                    in_child("set_tos_v4", ours.set_tos_v4(4));
                    in_child("set_tclass_v6", ours.set_tclass_v6(4));
                    in_child("set_unicast_hops_v6", ours.set_unicast_hops_v6(4));
                    in_child("bind_device", ours.bind_device(Some(b"lo")));
                    in_child("set_send_buffer_size", ours.set_send_buffer_size(9));
                    in_child("set_recv_buffer_size", ours.set_recv_buffer_size(9));
                    in_child("take_error", ours.take_error().map(drop));
                    let copy = ours.as_fd().try_clone_to_owned().unwrap();
                    in_child("from_std", UdpSocket::from_std(copy.into()).map(drop));
                });
            });
            assert!(!ours.gro());
            assert_ne!(ours.ttl().unwrap(), 3);
            let buf = &mut [0; 64];
            assert_eq!(runtime.block_on(theirs.recv(buf)).unwrap(), 14);
            let nothing = runtime.block_on(poll_once(theirs.recv(buf)));
            assert!(nothing.is_none(), "the child has sent");
        },
    );
}

/// Fault E5; promise 12. Catches: a child that changes its parent's Unix sockets, takes what is for the parent, or ends
/// its writing.
#[test]
fn no_operation_of_a_child_touches_its_parents_unix_sockets() {
    alone(
        "no_operation_of_a_child_touches_its_parents_unix_sockets",
        || {
            block_on(async {
                let listener = UnixListener::bind("").unwrap();
                let at = listener.local_addr().unwrap();
                let client = net::UnixStream::connect_addr(&at).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                let _waits = net::UnixStream::connect_addr(&at).await.unwrap();
                client.write_all(b"for the parent").await.unwrap();
                let [made, to_listen, to_connect] =
                    [(); 3].map(|()| Some(UnixSocket::new_stream().unwrap()));
                to_listen.as_ref().unwrap().bind("").unwrap();
                let mut sockets = (to_listen, to_connect);
                let (split, far) = net::UnixStream::pair().unwrap();
                let mut halves = Some(split.into_split());
                let (plain, _other) = UnixStream::pair().unwrap();
                let plain_listener = OwnedFd::from(plain.try_clone().unwrap());
                let path = env::temp_dir().join(format!("reveille-fork-l-{}", std::process::id()));
                in_a_child(|| {
                    let refused = |what: &str, outcome: io::Result<()>| {
                        let Err(error) = outcome else {
                            panic!("{what} works in a child");
                        };
                        assert_says_exec_first(&error.to_string());
                    };
                    refused("try_read", server.try_read(&mut [0; 8]).map(drop));
                    refused("try_write", server.try_write(b"x").map(drop));
                    refused("shutdown", server.shutdown(Shutdown::Both));
                    refused("set_passcred", server.set_passcred(true));
                    refused("set_send_buffer_size", server.set_send_buffer_size(9));
                    refused("set_recv_buffer_size", server.set_recv_buffer_size(9));
                    refused("take_error", server.take_error().map(drop));
                    refused("try_clone", server.try_clone().map(drop));
                    refused("pair", net::UnixStream::pair().map(drop));
                    let theirs = plain.try_clone().unwrap();
                    refused("from_std", net::UnixStream::from_std(theirs).map(drop));
                    refused("try_accept", listener.try_accept().map(drop));
                    refused("take_error", listener.take_error().map(drop));
                    let theirs = plain_listener.try_clone().unwrap().into();
                    refused("from_std", UnixListener::from_std(theirs).map(drop));
                    refused("bind", UnixListener::bind("").map(drop));
                    refused("bind", UnixListener::bind(&path).map(drop));
                    let made = made.as_ref().unwrap();
                    refused("bind", made.bind(""));
                    refused("set_passcred", made.set_passcred(true));
                    refused("set_send_buffer_size", made.set_send_buffer_size(9));
                    let socket = sockets.0.take().unwrap();
                    refused("listen", socket.listen(1).map(drop));
                    let mut connect = pin!(sockets.1.take().unwrap().connect_addr(&at));
                    let cx = &mut Context::from_waker(Waker::noop());
                    let Poll::Ready(connected) = connect.as_mut().poll(cx) else {
                        panic!("connect waits in a child");
                    };
                    refused("connect", connected.map(drop));
                    drop(halves.take());
                });
                assert!(!path.exists(), "the child made a file");
                // SAFETY: F_GETFL takes no argument and touches no memory of ours.
                let flags = unsafe { libc::fcntl(plain.as_raw_fd(), libc::F_GETFL) };
                assert_eq!(
                    flags & libc::O_NONBLOCK,
                    0,
                    "the child made it non-blocking"
                );
                let mut buf = [0; 64];
                assert_eq!(server.read(&mut buf).await.unwrap(), 14);
                server.write_all(b"x").await.unwrap();
                assert_eq!(client.read(&mut buf).await.unwrap(), 1);
                assert!(!server.passcred().unwrap());
                listener.try_accept().unwrap();
                // Neither bound, nor listening, nor connected.
                made.unwrap().bind("").unwrap();
                let probe = sockets.0.unwrap().as_fd().try_clone_to_owned().unwrap();
                let probe = std::os::unix::net::UnixListener::from(probe)
                    .local_addr()
                    .unwrap();
                let nobody = net::UnixStream::connect_addr(&probe).await.unwrap_err();
                assert_eq!(nobody.kind(), io::ErrorKind::ConnectionRefused);
                sockets.1.unwrap().connect_addr(&at).await.unwrap();
                let (_reader, writer) = halves.unwrap();
                writer.write_all(b"x").await.unwrap();
                assert_eq!(far.read(&mut buf).await.unwrap(), 1);
            });
        },
    );
}

/// Fault E5; promise 12. Catches: a child that sends or receives in the place of its parent, takes its descriptors,
/// changes its socket, or makes a file that stays.
#[test]
fn no_operation_of_a_child_touches_its_parents_unix_datagrams() {
    alone(
        "no_operation_of_a_child_touches_its_parents_unix_datagrams",
        || {
            block_on(async {
                let ours = UnixDatagram::bind("").unwrap();
                let at = ours.local_addr().unwrap();
                let (near, far) = UnixDatagram::pair().unwrap();
                let (stream, other) = net::UnixStream::pair().unwrap();
                let fds = &[stream.as_fd()];
                let bytes = &[IoSlice::new(b"for the parent")];
                far.send_fds(bytes, fds).await.unwrap();
                other.send_fds(bytes, fds).await.unwrap();
                let path = env::temp_dir().join(format!("reveille-fork-{}", std::process::id()));
                let (plain, _other) = std::os::unix::net::UnixDatagram::pair().unwrap();
                let made = Cell::new(Some(UnixSocket::new_datagram().unwrap()));
                in_a_child(|| {
                    let refused = |what: &str, outcome: io::Result<()>| {
                        let Err(error) = outcome else {
                            panic!("{what} works in a child");
                        };
                        assert_says_exec_first(&error.to_string());
                    };
                    let (buf, vec) = (&mut [0; 8], &mut Vec::new());
                    refused("try_recv", near.try_recv(buf).map(drop));
                    refused("try_recv_from", near.try_recv_from(buf).map(drop));
                    refused("try_recv_vec", near.try_recv_vec(vec).map(drop));
                    refused("try_recv_vec_from", near.try_recv_vec_from(vec).map(drop));
                    let bufs = &mut [IoSliceMut::new(buf)];
                    refused("try_recv_fds", near.try_recv_fds(bufs, 1).map(drop));
                    refused("try_recv_fds", stream.try_recv_fds(bufs, 1).map(drop));
                    refused("try_send_fds", stream.try_send_fds(bytes, fds).map(drop));
                    refused("try_send", near.try_send(b"x").map(drop));
                    refused("try_send_fds", near.try_send_fds(bytes, fds).map(drop));
                    refused("try_send_to", near.try_send_to_addr(b"x", &at).map(drop));
                    let sent = near.try_send_fds_to_addr(bytes, fds, &at);
                    refused("try_send_fds_to", sent.map(drop));
                    let cx = &mut Context::from_waker(Waker::noop());
                    let Poll::Ready(sent) = near.poll_send_to_addr(cx, b"x", &at) else {
                        panic!("poll_send_to waits in a child");
                    };
                    refused("poll_send_to", sent.map(drop));
                    refused("connect", near.connect_addr(&at));
                    refused("shutdown", near.shutdown(Shutdown::Both));
                    refused("set_passcred", near.set_passcred(true));
                    refused("set_send_buffer_size", near.set_send_buffer_size(9));
                    refused("set_recv_buffer_size", near.set_recv_buffer_size(9));
                    refused("take_error", near.take_error().map(drop));
                    refused("bind", UnixDatagram::bind(&path).map(drop));
                    refused("unbound", UnixDatagram::unbound().map(drop));
                    refused("pair", UnixDatagram::pair().map(drop));
                    refused("datagram", made.take().unwrap().datagram().map(drop));
                    let theirs = plain.try_clone().unwrap();
                    refused("from_std", UnixDatagram::from_std(theirs).map(drop));
                });
                assert!(!path.exists());
                // SAFETY: F_GETFL takes no argument and touches no memory of ours.
                let flags = unsafe { libc::fcntl(plain.as_raw_fd(), libc::F_GETFL) };
                assert_eq!(flags & libc::O_NONBLOCK, 0);
                let mut buf = [0; 64];
                let bufs = &mut [IoSliceMut::new(&mut buf)];
                let received = near.try_recv_fds(bufs, 1).unwrap();
                assert_eq!((received.len(), received.fds().len()), (14, 1));
                let received = stream.try_recv_fds(bufs, 1).unwrap();
                assert_eq!((received.len(), received.fds().len()), (14, 1));
                for socket in [&ours, &far] {
                    let nothing = socket.try_recv(&mut buf).unwrap_err();
                    assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
                }
                assert!(near.peer_addr().unwrap().is_unnamed());
                assert!(!near.passcred().unwrap());
                near.send(b"x").await.unwrap();
                assert_eq!(far.recv(&mut buf).await.unwrap(), 1);
            });
        },
    );
}

/// Forks in the middle of something; true in the child.
fn fork_off() -> bool {
    // SAFETY: as in `in_a_child`.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1);
    if child == 0 {
        set_alarm(CHILD_LIMIT);
    }
    child == 0
}

/// What a child made by [`fork_off`] does last.
fn end_child(f: impl FnOnce()) -> ! {
    let failed = catch_unwind(AssertUnwindSafe(f)).is_err();
    // SAFETY: _exit(2) takes an integer and does not return.
    unsafe { libc::_exit(i32::from(failed)) }
}

/// Waits for the only child, which must have succeeded.
#[track_caller]
fn join_child() {
    let mut status = 0;
    // SAFETY: wait(2) writes one integer to the pointer, which is that of a local.
    let waited = unsafe { libc::wait(&raw mut status) };
    assert_ne!(waited, -1);
    assert_eq!(status, 0, "the child failed, or hung until SIGALRM (14)");
}

/// Forks, and runs `f` in the child, which must come to its end without a panic.
#[track_caller]
fn in_a_child(f: impl FnOnce()) {
    // SAFETY: fork(2) takes nothing. The child is a copy of this thread alone; what it then uses
    // of the C library (the allocator) glibc keeps usable after a fork of a threaded process.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1);
    if child == 0 {
        set_alarm(CHILD_LIMIT);
        let failed = catch_unwind(AssertUnwindSafe(f)).is_err();
        // SAFETY: _exit(2) takes an integer and does not return.
        unsafe { libc::_exit(i32::from(failed)) };
    }
    let mut status = 0;
    // SAFETY: waitpid(2) writes one integer to the pointer, which is that of a local.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    assert_eq!(status, 0, "the child failed, or hung until SIGALRM (14)");
}

/// Fault A3. Catches: a write half that a child drops and that ends its parent's connection.
#[test]
fn a_child_that_drops_a_write_half_does_not_end_its_parents_writing() {
    alone(
        "a_child_that_drops_a_write_half_does_not_end_its_parents_writing",
        || {
            block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let at = listener.local_addr().unwrap();
                let client = TcpStream::connect(at).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                let mut halves = Some(server.into_split());
                in_a_child(|| drop(halves.take()));
                let (_reader, writer) = halves.as_ref().unwrap();
                writer.write_all(b"x").await.unwrap();
                assert_eq!(client.read(&mut [0; 2]).await.unwrap(), 1);
            });
        },
    );
}

/// Fault A3. Catches: a child that takes a connection from its parent's backlog, only to find that
/// it cannot serve it.
#[test]
fn a_child_that_accepts_does_not_take_its_parents_connection() {
    alone(
        "a_child_that_accepts_does_not_take_its_parents_connection",
        || {
            block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let at = listener.local_addr().unwrap();
                let _client = TcpStream::connect(at).await.unwrap();
                in_a_child(|| {
                    let error = listener.try_accept().unwrap_err();
                    assert_says_exec_first(&error.to_string());
                });
                listener.try_accept().unwrap();
            });
        },
    );
}

/// The registrations of a runtime's epoll instance, its bell's among them.
fn registrations(runtime: &Runtime) -> Vec<i32> {
    let path = format!("/proc/self/fdinfo/{}", runtime.as_fd().as_raw_fd());
    let info = fs::read_to_string(path).unwrap();
    let lines = info.lines().filter_map(|line| line.strip_prefix("tfd:"));
    lines
        .map(|rest| rest.split_whitespace().next().unwrap().parse().unwrap())
        .filter(|fd| !is_timer(*fd))
        .collect()
}

/// True if this is the runtime's timerfd.
fn is_timer(fd: i32) -> bool {
    let link = fs::read_link(format!("/proc/self/fd/{fd}"));
    link.is_ok_and(|link| link.to_string_lossy().contains("timerfd"))
}

/// How often a runtime that has no source was rung.
fn rings(runtime: &Runtime) -> u64 {
    let bell = registrations(runtime)[0];
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{bell}")).unwrap();
    let count = info
        .lines()
        .find_map(|line| line.strip_prefix("eventfd-count:"));
    u64::from_str_radix(count.unwrap().trim(), 16).unwrap()
}

fn pair() -> (AsyncFd<UnixStream>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (AsyncFd::new(ours).unwrap(), theirs)
}

async fn read(fd: &AsyncFd<UnixStream>) -> io::Result<u8> {
    let mut byte = [0];
    fd.async_io(Interest::READABLE, |mut socket| socket.read(&mut byte))
        .await?;
    Ok(byte[0])
}

/// A waker of a task in `runtime`, which goes on waiting.
fn a_waker_of(runtime: &Runtime) -> Waker {
    let (sender, receiver) = std::sync::mpsc::channel();
    drop(runtime.spawn(poll_fn(move |cx| {
        sender.send(cx.waker().clone()).ok();
        Poll::<()>::Pending
    })));
    runtime.turn().unwrap();
    receiver.recv().unwrap()
}

/// A setter by its name, and a call of it.
type Setter<T> = (&'static str, fn(&T) -> io::Result<()>);

/// The setters that a socket, a stream and a listener have.
macro_rules! setters {
    () => {
        [
            ("set_nodelay", |it| it.set_nodelay(true)),
            ("set_keepalive", |it| it.set_keepalive(true)),
            ("set_tcp_keepalive", |it| {
                it.set_tcp_keepalive(&TcpKeepalive::new().with_retries(3))
            }),
            ("set_user_timeout", |it| {
                it.set_user_timeout(Some(Duration::from_secs(3)))
            }),
            ("set_send_buffer_size", |it| it.set_send_buffer_size(9999)),
            ("set_recv_buffer_size", |it| it.set_recv_buffer_size(9999)),
            ("set_ttl", |it| it.set_ttl(3)),
            ("set_unicast_hops_v6", |it| it.set_unicast_hops_v6(3)),
            ("set_tos_v4", |it| it.set_tos_v4(8)),
            ("set_tclass_v6", |it| it.set_tclass_v6(8)),
        ]
    };
}

/// Fault E5. Catches: an option that a child sets on a socket of its parent's; a socket that a child binds, connects or
/// listens with.
#[test]
fn no_option_of_a_child_changes_its_parents_sockets() {
    alone("no_option_of_a_child_changes_its_parents_sockets", || {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let at = listener.local_addr().unwrap();
        let stream = runtime.block_on(TcpStream::connect(at)).unwrap();
        let sockets = [(); 3].map(|()| TcpSocket::new_v4().unwrap());
        let on_all_sockets: [Setter<TcpSocket>; 10] = setters!();
        let on_all_streams: [Setter<TcpStream>; 10] = setters!();
        let on_all_listeners: [Setter<TcpListener>; 10] = setters!();
        let on_sockets: [Setter<TcpSocket>; 9] = [
            ("set_reuseaddr", |it| it.set_reuseaddr(true)),
            ("set_reuseport", |it| it.set_reuseport(true)),
            ("set_only_v6", |it| it.set_only_v6(true)),
            ("set_bind_address_no_port", |it| {
                it.set_bind_address_no_port(true)
            }),
            ("bind_device", |it| it.bind_device(Some(b"lo"))),
            ("set_zero_linger", TcpSocket::set_zero_linger),
            ("set_quickack", |it| it.set_quickack(false)),
            ("take_error", |it| it.take_error().map(drop)),
            ("bind", |it| it.bind(([127, 0, 0, 1], 0).into())),
        ];
        let on_streams: [Setter<TcpStream>; 3] = [
            ("set_zero_linger", TcpStream::set_zero_linger),
            ("set_quickack", |it| it.set_quickack(false)),
            ("take_error", |it| it.take_error().map(drop)),
        ];
        let on_listeners: [Setter<TcpListener>; 1] = [("set_fastopen", |it| it.set_fastopen(3))];
        let all_of = |socket: &TcpSocket| {
            let told = (
                socket.nodelay(),
                socket.keepalive(),
                socket.ttl(),
                socket.tos_v4(),
            );
            let more = (socket.reuseaddr(), socket.reuseport(), socket.device());
            let last = (
                socket.user_timeout(),
                socket.tcp_keepalive(),
                socket.linger(),
            );
            format!("{told:?} {more:?} {last:?} {:?}", socket.local_addr())
        };
        let before = all_of(&sockets[0]);
        in_a_child(|| {
            let refused = |what: &str, outcome: io::Result<()>| {
                let error = outcome.expect_err(what);
                assert_says_exec_first(&error.to_string());
            };
            for (what, set) in on_all_sockets.into_iter().chain(on_sockets) {
                refused(what, set(&sockets[0]));
            }
            for (what, set) in on_all_streams.into_iter().chain(on_streams) {
                refused(what, set(&stream));
            }
            for (what, set) in on_all_listeners.into_iter().chain(on_listeners) {
                refused(what, set(&listener));
            }
            // What is asked for changes nothing.
            stream.tcp_info().unwrap();
            stream.unread_bytes().unwrap();
            // Both consume the socket.
            let copy = |socket: &TcpSocket| {
                let theirs = socket.as_fd().try_clone_to_owned().unwrap();
                TcpSocket::from_std_stream(theirs.into())
            };
            refused("listen", copy(&sockets[1]).listen(1).map(drop));
            let connect = pin!(copy(&sockets[2]).connect(at));
            let mut cx = Context::from_waker(Waker::noop());
            let Poll::Ready(connected) = connect.poll(&mut cx) else {
                panic!("it waits");
            };
            refused("connect", connected.map(drop));
        });
        assert_eq!(all_of(&sockets[0]), before);
        for socket in &sockets {
            assert_eq!(socket.local_addr().unwrap().port(), 0, "bound by the child");
        }
        assert!(!stream.nodelay().unwrap() && !listener.nodelay().unwrap());
        assert_eq!(listener.fastopen().unwrap(), 0);
    });
}

#[track_caller]
fn assert_says_exec_first(text: &str) {
    assert!(text.contains("exec first"), "{text}");
}

/// Catches: an error that has to be told from others by its text.
#[test]
fn what_is_refused_in_a_child_can_be_asked_for() {
    alone("what_is_refused_in_a_child_can_be_asked_for", || {
        let runtime = Runtime::new().unwrap();
        in_a_child(|| {
            for error in [runtime.turn().unwrap_err(), Runtime::new().unwrap_err()] {
                assert!(reveille::io::is_forked_child(&error));
                assert!(!reveille::io::is_not_at_home(&error));
            }
        });
        assert!(!reveille::io::is_forked_child(&io::Error::other(
            "exec first"
        )));
    });
}

/// Fault A3; promise 12. Catches: a destructor in the child that takes a descriptor out of the
/// parent's interest list.
#[test]
fn a_child_that_drops_everything_does_not_deafen_its_parent() {
    alone(
        "a_child_that_drops_everything_does_not_deafen_its_parent",
        || {
            let mut runtime = Some(Runtime::new().unwrap());
            let (mut fds, mut peers): (Vec<_>, Vec<_>) = (0..10).map(|_| pair()).unzip();
            let mut timer = Some(sleep(Duration::from_secs(3600)));
            runtime.as_ref().unwrap().block_on(async {
                for fd in &fds {
                    assert!(poll_once(read(fd)).await.is_none());
                }
                let mut cx = Context::from_waker(Waker::noop());
                let timer = Pin::new(timer.as_mut().unwrap());
                assert!(timer.poll(&mut cx).is_pending());
            });
            // Its socket is dropped by the end of the runtime, inside it.
            let (inside, mut its_peer) = pair();
            let mut task = Some(
                runtime
                    .as_ref()
                    .unwrap()
                    .spawn(async move { read(&inside).await.unwrap() }),
            );
            runtime.as_ref().unwrap().turn().unwrap();
            in_a_child(|| {
                let half = fds.split_off(5);
                drop(
                    half.into_iter()
                        .map(AsyncFd::into_inner)
                        .collect::<Vec<_>>(),
                );
                drop((timer.take(), task.take()));
                drop(runtime.take()); // before the sockets, and
                fds.clear(); // after it
            });
            let runtime = runtime.unwrap();
            assert_eq!(
                registrations(&runtime).len(),
                12,
                "the bell and the sockets"
            );
            assert!(format!("{runtime:?}").contains("tasks: 1, sources: 11, timers: 1"));
            its_peer.write_all(b"t").unwrap();
            assert_eq!(runtime.block_on(task.unwrap()).unwrap(), b't');
            for (fd, peer) in fds.iter().zip(&mut peers) {
                peer.write_all(b"p").unwrap();
                assert_eq!(runtime.block_on(read(fd)).unwrap(), b'p');
            }
        },
    );
}

/// Fault A3. Catches: a wake, a spawn or an abort in the child that rings in the parent.
#[test]
fn wakes_in_a_child_do_not_ring_in_the_parent() {
    alone("wakes_in_a_child_do_not_ring_in_the_parent", || {
        let runtime = Runtime::new().unwrap();
        let (waker, handle) = (a_waker_of(&runtime), runtime.handle());
        let task = runtime.spawn(pending::<()>());
        runtime.turn().unwrap();
        let rung = rings(&runtime);
        in_a_child(|| {
            waker.wake_by_ref();
            thread::spawn({
                let (waker, handle) = (waker.clone(), handle);
                move || {
                    waker.wake();
                    handle.spawn(async { unreachable!() });
                }
            })
            .join()
            .unwrap();
            task.abort();
            assert_eq!(handle.metrics(), Default::default());
        });
        assert_eq!(rings(&runtime), rung);
        waker.wake();
        assert_eq!(rings(&runtime), rung + 1, "here it still rings");
    });
}

/// Fault A3; promise 12. Catches: anything that waits or registers in the child, on the parent's
/// epoll instance.
#[test]
fn in_a_child_everything_that_reaches_epoll_says_exec_first() {
    alone(
        "in_a_child_everything_that_reaches_epoll_says_exec_first",
        || {
            let runtime = Runtime::new().unwrap();
            let (fresh, _peer) = pair();
            in_a_child(|| {
                assert_says_exec_first(&Runtime::new().unwrap_err().to_string());
                assert_says_exec_first(&runtime.turn().unwrap_err().to_string());
                let socket = UnixStream::pair().unwrap().0;
                assert_says_exec_first(&AsyncFd::new(socket).unwrap_err().to_string());
                let listener = signal(SignalKind::user_defined1());
                assert_says_exec_first(&listener.unwrap_err().to_string());
                let waited = catch_unwind(AssertUnwindSafe(|| runtime.block_on(pending::<()>())));
                let panic = waited.unwrap_err();
                assert_says_exec_first(panic.downcast_ref::<String>().unwrap());
                let free = catch_unwind(|| block_on(async {})).unwrap_err();
                assert_says_exec_first(free.downcast_ref::<String>().unwrap());
            });
            runtime.block_on(async {
                in_a_child(|| {
                    let mut cx = Context::from_waker(Waker::noop());
                    let mut waiting = Box::pin(fresh.readable());
                    let Poll::Ready(Err(error)) = waiting.as_mut().poll(&mut cx) else {
                        panic!("it waits in a child");
                    };
                    assert_says_exec_first(&error.to_string());
                    let mut reading = Box::pin(read(&fresh));
                    let Poll::Ready(Err(error)) = reading.as_mut().poll(&mut cx) else {
                        panic!("it waits in a child");
                    };
                    assert_says_exec_first(&error.to_string());
                });
            });
            assert_eq!(registrations(&runtime).len(), 1, "the bell alone");
        },
    );
}

/// Promise 12. Catches: a mark that is made too early, or inherited.
#[test]
fn a_child_forked_before_the_first_runtime_is_free() {
    alone("a_child_forked_before_the_first_runtime_is_free", || {
        let echo = || {
            let (fd, mut theirs) = pair();
            let thread = thread::spawn(move || theirs.write_all(b"e").unwrap());
            assert_eq!(block_on(read(&fd)).unwrap(), b'e');
            thread.join().unwrap();
        };
        in_a_child(echo);
        echo();
        in_a_child(|| assert!(Runtime::new().is_err(), "from here on children are not"));
    });
}

/// Fault A3. Catches: a lock taken in the child before it is known to be one; a thread that does
/// not exist there may hold it.
#[test]
fn a_child_forked_while_other_threads_hold_the_locks_does_not_hang() {
    alone(
        "a_child_forked_while_other_threads_hold_the_locks_does_not_hang",
        || {
            let runtime = Runtime::new().unwrap();
            let (waker, handle) = (a_waker_of(&runtime), runtime.handle());
            let stop = AtomicBool::new(false);
            thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while !stop.load(SeqCst) {
                            waker.wake_by_ref();
                        }
                    });
                }
                scope.spawn(|| {
                    while !stop.load(SeqCst) {
                        drop(Runtime::new().unwrap());
                    }
                });
                let forked = catch_unwind(AssertUnwindSafe(|| {
                    for _ in 0..150 {
                        let mut fated = Some(Runtime::new().unwrap());
                        in_a_child(|| {
                            waker.wake_by_ref();
                            handle.spawn(async {});
                            drop(fated.take());
                            drop(Runtime::new());
                        });
                    }
                }));
                stop.store(true, SeqCst);
                forked.unwrap();
            });
        },
    );
}

/// Fault E4. Catches: a handler that rings in the child, where the bell is the parent's.
#[test]
fn a_signal_to_a_child_does_not_reach_its_parent() {
    alone("a_signal_to_a_child_does_not_reach_its_parent", || {
        let runtime = Runtime::new().unwrap();
        let mut listener = signal(SignalKind::user_defined1()).unwrap();
        let hears = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&hears);
        drop(runtime.spawn(async move {
            while listener.recv().await.is_some() {
                heard.store(true, SeqCst);
            }
        }));
        let raise = || {
            // SAFETY: raise(3) takes an integer; the handler is the library's, which is
            // async-signal-safe.
            assert_eq!(unsafe { libc::raise(libc::SIGUSR1) }, 0);
        };
        let settle = || (0..3).for_each(|_| runtime.turn().unwrap());
        settle();
        let events = runtime.handle().metrics().events;
        in_a_child(raise);
        settle();
        assert_eq!(runtime.handle().metrics().events, events, "nothing came");
        assert!(!hears.load(SeqCst));
        raise();
        settle();
        assert!(hears.load(SeqCst), "its own it hears");
    });
}
