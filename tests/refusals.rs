//! A kernel that refuses: at the descriptor limit, in a sandbox, in the middle of a constructor. What
//! fails says why, and leaves no descriptor and no slot behind.
//!
//! Each test runs in a process of its own, and each filter on a thread of its own, for neither a
//! limit nor a filter can be taken back.

use std::collections::BTreeSet;
use std::env;
use std::ffi::CString;
use std::fs;
use std::future::pending;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use reveille::Runtime;
use reveille::io::AsyncFd;
use reveille::net::pipe::{self, OpenOptions};
use reveille::net::{TcpListener, TcpStream, UdpSocket};
use reveille::signal::unix::{SignalKind, signal};
use reveille::task::yield_now;
use rlimit::Resource;

#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/seccomp.rs"]
mod seccomp;

#[path = "refusals/pipes.rs"]
mod pipes;
#[path = "refusals/table.rs"]
mod table;

use child::in_child;
use seccomp::refuse;

/// What is there before the kernel begins to refuse.
struct World {
    runtime: Runtime,
    /// Nobody accepts there, and connections are made all the same.
    backlog: StdListener,
    /// With connections that wait.
    listener: TcpListener,
    /// A named pipe.
    fifo: PathBuf,
}

impl Drop for World {
    fn drop(&mut self) {
        fs::remove_file(&self.fifo).unwrap();
    }
}

impl World {
    fn new() -> World {
        let listener = StdListener::bind("127.0.0.1:0").unwrap();
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let nth = MADE.fetch_add(1, Ordering::Relaxed);
        let fifo = env::temp_dir().join(format!("reveille-world-{}-{nth}", process::id()));
        let name = CString::new(fifo.as_os_str().as_bytes()).unwrap();
        // SAFETY: mkfifo(3) reads the string, which ends with a zero byte and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        World {
            fifo,
            runtime: Runtime::new().unwrap(),
            backlog: StdListener::bind("127.0.0.1:0").unwrap(),
            listener: TcpListener::from_std(listener).unwrap(),
        }
    }

    fn address(&self) -> SocketAddr {
        self.backlog.local_addr().unwrap()
    }

    /// One more connection that waits to be accepted; without its end.
    fn knock(&self) {
        drop(StdStream::connect(self.listener.local_addr().unwrap()).unwrap());
    }

    /// Registered sources.
    fn sources(&self) -> usize {
        // What was dropped outside the runtime is freed by its next look.
        self.runtime.turn().unwrap();
        let text = format!("{:?}", self.runtime);
        let (_, rest) = text.split_once("sources: ").unwrap();
        rest.split(',').next().unwrap().parse().unwrap()
    }
}

/// A constructor; what it made is dropped at once.
type Constructor = fn(&World) -> io::Result<()>;

const CONSTRUCTORS: [(&str, Constructor); 9] = [
    ("a runtime", |_| Runtime::new().map(drop)),
    ("a listener", |world| {
        let bound = TcpListener::bind("127.0.0.1:0");
        world.runtime.block_on(bound).map(drop)
    }),
    ("a stream", |world| {
        let connected = TcpStream::connect(world.address());
        world.runtime.block_on(connected).map(drop)
    }),
    ("an accepted stream", |world| {
        world.listener.try_accept().map(drop)
    }),
    ("a socket for datagrams", |world| {
        let bound = UdpSocket::bind("127.0.0.1:0");
        world.runtime.block_on(bound).map(drop)
    }),
    ("a listener for a signal", |_| {
        signal(SignalKind::user_defined1()).map(drop)
    }),
    ("a pipe", |_| pipe::pipe().map(drop)),
    ("a named pipe", |world| {
        let receiver = OpenOptions::new().open_receiver(&world.fifo)?;
        let sender = OpenOptions::new().open_sender(&world.fifo)?;
        drop((sender, receiver));
        Ok(())
    }),
    ("a source", |world| {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        drop(theirs);
        let fd = AsyncFd::new(ours)?;
        let readable = async { fd.readable().await.map(drop) };
        world.runtime.block_on(readable)
    }),
];

/// Fault A20, promise 13. Catches: a constructor that needs several descriptors and, when it gets
/// only some, keeps them; an error that does not say that descriptors ran out.
#[test]
fn at_the_descriptor_limit_every_constructor_fails_clearly_and_leaks_nothing() {
    in_child(
        "at_the_descriptor_limit_every_constructor_fails_clearly_and_leaks_nothing",
        || {
            let world = World::new();
            // The first listener makes the eventfd that all share, for as long as the process lives.
            drop(signal(SignalKind::user_defined1()).unwrap());
            for (what, constructor) in CONSTRUCTORS {
                let mut refused = 0;
                for room in 0.. {
                    world.knock();
                    let (before, sources) = (open_descriptors(), world.sources());
                    let made = with_room_for(room, &before, || constructor(&world));
                    assert_eq!(open_descriptors(), before, "{what}, room for {room}");
                    assert_eq!(world.sources(), sources, "{what}, room for {room}");
                    match made {
                        Ok(()) => break,
                        Err(error) => {
                            assert_eq!(error.raw_os_error(), Some(libc::EMFILE), "{what}: {error}");
                            refused += 1;
                        }
                    }
                    assert!(room < 10, "{what} never succeeds");
                }
                assert!(refused > 0, "{what} needs no descriptor");
            }
        },
    );
}

/// Fault A34. Catches: a writer that waits for ever because epoll may not be asked for room; one whose stream
/// is never tried again after that.
#[test]
fn a_write_that_cannot_wait_says_so_and_is_tried_again() {
    in_child(
        "a_write_that_cannot_wait_says_so_and_is_tried_again",
        || {
            let runtime = Runtime::new().unwrap();
            let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
            let mut theirs = StdStream::connect(listener.local_addr().unwrap()).unwrap();
            let (ours, _) = runtime.block_on(listener.accept()).unwrap();
            // The read would block, and registers.
            let mut byte = [0];
            let read = runtime.block_on(futures_lite::future::poll_once(ours.read(&mut byte)));
            assert!(read.is_none());
            refuse(
                libc::SYS_epoll_ctl,
                Some((1, libc::EPOLL_CTL_MOD as u32)),
                libc::EPERM,
            );
            let mut sent = 0;
            for _ in 0..3 {
                let error = runtime.block_on(async {
                    loop {
                        match ours.write(&[7; 65_536]).await {
                            Ok(n) => sent += n,
                            Err(error) => break error,
                        }
                    }
                });
                assert!(error.to_string().contains("epoll_ctl"), "{error}");
                // Not assumed either.
                let error = runtime.block_on(ours.writable()).unwrap_err();
                assert!(error.to_string().contains("epoll_ctl"), "{error}");
                let mut room = vec![0; sent];
                theirs.read_exact(&mut room).unwrap();
                sent = 0;
                // It has room again, and is tried.
                sent += runtime.block_on(ours.write(b"again")).unwrap();
            }
        },
    );
}

/// The numbers of the open descriptors.
fn open_descriptors() -> BTreeSet<u64> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    let numbers = entries.map(|entry| {
        entry
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .parse()
            .unwrap()
    });
    // Without the one that lists them: it is closed by now.
    let numbers: Vec<u64> = numbers.collect();
    let open = |number: &u64| fs::read_link(format!("/proc/self/fd/{number}")).is_ok();
    numbers.into_iter().filter(open).collect()
}

/// Calls `f` while exactly `room` more descriptors can be made.
fn with_room_for<R>(room: usize, open: &BTreeSet<u64>, f: impl FnOnce() -> R) -> R {
    let limit = (0..)
        .filter(|number| !open.contains(number))
        .nth(room)
        .unwrap();
    let (soft, hard) = rlimit::getrlimit(Resource::NOFILE).unwrap();
    rlimit::setrlimit(Resource::NOFILE, limit, hard).unwrap();
    let result = f();
    rlimit::setrlimit(Resource::NOFILE, soft, hard).unwrap();
    result
}

/// What a sandbox may refuse, and who then has to say so.
const REFUSALS: [(libc::c_long, &str); 12] = [
    (libc::SYS_epoll_create1, "a runtime"),
    (libc::SYS_eventfd2, "a runtime"),
    (libc::SYS_epoll_ctl, "a runtime"),
    (libc::SYS_epoll_ctl, "a source"),
    (libc::SYS_socket, "a listener"),
    (libc::SYS_bind, "a listener"),
    (libc::SYS_listen, "a listener"),
    (libc::SYS_socket, "a stream"),
    (libc::SYS_connect, "a stream"),
    (libc::SYS_accept4, "an accepted stream"),
    (libc::SYS_pipe2, "a pipe"),
    (libc::SYS_rt_sigaction, "a listener for a signal"),
];

/// Fault A20, promise 13. Catches: an error that is swallowed, retried for ever, or returned over
/// the body of a descriptor that was made before it.
#[test]
fn what_a_sandbox_refuses_is_a_clear_error_and_leaks_nothing() {
    in_child(
        "what_a_sandbox_refuses_is_a_clear_error_and_leaks_nothing",
        || {
            // As in the test above; not for this signal, whose handler is still to be installed.
            drop(signal(SignalKind::user_defined2()).unwrap());
            for errno in [libc::EPERM, libc::ENOSYS] {
                for (call, what) in REFUSALS {
                    let refused = thread::spawn(move || {
                        let world = World::new();
                        world.knock();
                        let (_, constructor) = CONSTRUCTORS
                            .into_iter()
                            .find(|(name, _)| *name == what)
                            .unwrap();
                        let (before, sources) = (open_descriptors(), world.sources());
                        refuse(call, None, errno);
                        let made = constructor(&world);
                        assert_eq!(open_descriptors(), before, "{what} without call {call}");
                        assert_eq!(world.sources(), sources, "{what} without call {call}");
                        let error = made.expect_err("the call is refused");
                        let said = io::Error::from_raw_os_error(errno).to_string();
                        // Its text may say more, but says this.
                        assert!(error.to_string().contains(&said), "{what}: {error}");
                    });
                    refused
                        .join()
                        .unwrap_or_else(|_| panic!("{what}, call {call}, {errno}"));
                }
            }
        },
    );
}

/// Promise 13. Catches: a wait that fails and is taken for one that brought nothing: the loop spins.
#[test]
fn a_runtime_that_cannot_wait_says_so() {
    in_child("a_runtime_that_cannot_wait_says_so", || {
        // The panic is no news.
        std::panic::set_hook(Box::new(|_| ()));
        let refused = thread::spawn(|| {
            let runtime = Runtime::new().unwrap();
            refuse(libc::SYS_epoll_wait, None, libc::EPERM);
            let error = runtime.turn().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EPERM));
            let payload = catch_unwind(AssertUnwindSafe(|| runtime.block_on(pending::<()>())));
            let payload = payload.expect_err("no wait can be made");
            let text = payload.downcast_ref::<String>().unwrap();
            assert!(text.contains("cannot wait for events"), "{text}");
        });
        refused.join().unwrap();
    });
}

/// Fault A16. Catches: a connection that cannot be registered and takes others along.
#[test]
fn a_connection_that_epoll_has_no_room_for_is_an_error_and_the_others_go_on() {
    in_child(
        "a_connection_that_epoll_has_no_room_for_is_an_error_and_the_others_go_on",
        || {
            let listener = StdListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let [one, other] = [(); 2].map(|()| StdStream::connect(address).unwrap());
            let [_one, theirs] = [(); 2].map(|()| listener.accept().unwrap().0);
            // Its third argument is the descriptor: epoll_ctl(2).
            let number = u32::try_from(one.as_raw_fd()).unwrap();
            refuse(libc::SYS_epoll_ctl, Some((2, number)), libc::ENOSPC);
            reveille::block_on(async {
                let one = TcpStream::from_std(one).unwrap();
                let other = TcpStream::from_std(other).unwrap();
                let waits = reveille::spawn(async move { other.read(&mut [0; 8]).await });
                let error = one.read(&mut [0; 8]).await.unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
                yield_now().await;
                (&theirs).write_all(b"hello").unwrap();
                assert_eq!(waits.await.unwrap().unwrap(), 5);
            });
        },
    );
}
