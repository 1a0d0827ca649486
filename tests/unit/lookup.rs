//! `net::lookup`, with answers of the test's own in place of the resolver's.

use std::error::Error;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;
use std::{array, fs, ptr};

use futures_lite::future::poll_once;

use super::answers;
use super::limit::limit;
use crate::net::lookup::alternate;
use crate::net::{AddressesError, TcpListener, TcpSocket, TcpStream, lookup_host};
use crate::runtime::{Builder, Runtime};
use crate::task::{JoinSet, spawn_blocking};

fn v4(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn v6(port: u16) -> SocketAddr {
    (Ipv6Addr::LOCALHOST, port).into()
}

/// Lookups that stand still until they are let go.
#[derive(Default)]
struct Gate {
    /// How many stand there, and whether they may go.
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    /// A name that is answered with its port on loopback once it is let through.
    fn before(host: &str) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        let of_answer = Arc::clone(&gate);
        answers::put(host, move |port| {
            of_answer.pass();
            Ok(vec![v4(port)])
        });
        gate
    }

    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.0 += 1;
        self.changed.notify_all();
        while !state.1 {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn wait_for(&self, count: usize) {
        let mut state = self.state.lock().unwrap();
        while state.0 < count {
            state = self.changed.wait(state).unwrap();
        }
    }

    fn open(&self) {
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

/// How many threads of this process have the name: proc_pid_comm(5).
fn threads(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|comm| comm.trim_end() == name).count()
}

/// Fault C16. Catches: an address that goes to the resolver, and so costs a thread, and a wait.
#[test]
fn what_is_an_address_makes_no_thread() {
    let _limit = limit(30);
    let mut options = Builder::new();
    options.thread_name("literal").block_on(async {
        for text in ["127.0.0.1:1", "[::1]:1", "[fe80::1%2]:1"] {
            let found: Vec<_> = lookup_host(text).await.unwrap().collect();
            assert_eq!(found, [text.parse().unwrap()]);
        }
        for host in ["127.0.0.1", "::1", "fe80::1%2"] {
            assert_eq!(lookup_host((host, 1)).await.unwrap().count(), 1);
        }
        let several = [v4(1), v6(2), v4(3)];
        let found: Vec<_> = lookup_host(&several[..]).await.unwrap().collect();
        assert_eq!(found, several);
        assert_eq!(threads("literal"), 0);

        answers::put("literal.test", |port| Ok(vec![v4(port)]));
        assert_eq!(lookup_host("literal.test:1").await.unwrap().count(), 1);
        assert_eq!(threads("literal"), 1);
    });
}

/// Catches: addresses that are sorted, made unique or cut.
#[test]
fn a_name_has_its_addresses_in_the_order_of_the_resolver() {
    let _limit = limit(30);
    let order = |port| vec![v6(port), v4(port), v6(port), v6(1), v4(2)];
    answers::put("order.test", move |port| Ok(order(port)));
    crate::block_on(async {
        let found: Vec<_> = lookup_host("order.test:7").await.unwrap().collect();
        assert_eq!(found, order(7));
        let found: Vec<_> = lookup_host(("order.test", 8)).await.unwrap().collect();
        assert_eq!(found, order(8));
        let pair = (String::from("order.test"), 9);
        assert_eq!(lookup_host(&pair).await.unwrap().count(), 5);
    });
}

/// RFC 8305, section 4. Catches: families that do not alternate; IPv6 always first; an order within a family that is
/// lost; an address that is lost.
#[test]
fn families_alternate_from_that_of_the_first_address() {
    let _limit = limit(30);
    let list = |text: &str| -> Vec<SocketAddr> {
        let address = |(nth, c)| if c == '4' { v4(nth) } else { v6(nth) };
        (0..).zip(text.chars()).map(address).collect()
    };
    let ports = |addresses: Vec<SocketAddr>| -> Vec<u16> {
        addresses.iter().map(SocketAddr::port).collect()
    };
    assert_eq!(ports(alternate(list("666444"))), [0, 3, 1, 4, 2, 5]);
    assert_eq!(ports(alternate(list("444466"))), [0, 4, 1, 5, 2, 3]);
    assert_eq!(ports(alternate(list("4666"))), [0, 1, 2, 3]);
    assert_eq!(ports(alternate(list("66"))), [0, 1]);
    assert_eq!(ports(alternate(list("6"))), [0]);
}

/// Catches: an error that does not say which host; one without its cause; another kind.
#[test]
fn an_error_of_the_resolver_names_the_host() {
    let _limit = limit(30);
    answers::put("fails.test", |_| {
        Err(io::Error::from_raw_os_error(libc::EMFILE))
    });
    answers::put("empty.test", |_| Ok(Vec::new()));
    crate::block_on(async {
        let errors = [
            lookup_host("fails.test:1").await.map(drop).unwrap_err(),
            TcpStream::connect("fails.test:1").await.unwrap_err(),
            TcpListener::bind("fails.test:1").await.unwrap_err(),
        ];
        for error in errors {
            let cause = io::Error::from_raw_os_error(libc::EMFILE);
            let text = format!("`fails.test` cannot be resolved: {cause}");
            assert_eq!((error.to_string(), error.kind()), (text, cause.kind()));
            assert_eq!(error.raw_os_error(), None);
            let source = error.source().unwrap().downcast_ref::<io::Error>();
            assert_eq!(source.unwrap().raw_os_error(), Some(libc::EMFILE));
        }
        let error = TcpStream::connect("empty.test:1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("empty.test"), "{error}");
    });
}

/// Fault C16. Catches: a lookup that its caller has to wait for although it has lost interest.
#[test]
fn a_lookup_that_is_dropped_frees_its_caller_at_once() {
    let _limit = limit(30);
    let gate = Gate::before("dropped.test");
    crate::block_on(async {
        let mut lookup = Box::pin(lookup_host("dropped.test:1"));
        assert!(poll_once(&mut lookup).await.is_none());
        gate.wait_for(1);
        drop(lookup);
        let mut connect = Box::pin(TcpStream::connect("dropped.test:1"));
        assert!(poll_once(&mut connect).await.is_none());
        drop(connect);
    });
    gate.open();
}

/// Fault C16. Catches: lookups that take all threads, so that a silent name server stops all other work.
#[test]
fn work_goes_on_while_many_lookups_stand_still() {
    let _limit = limit(30);
    let gate = Gate::before("silent.test");
    let mut options = Builder::new();
    options.max_blocking_threads(4).block_on(async {
        let mut lookups = JoinSet::new();
        for port in 1..=64 {
            lookups.spawn(async move {
                lookup_host(("silent.test", port))
                    .await
                    .map(Iterator::count)
            });
        }
        crate::task::yield_now().await;
        gate.wait_for(2);
        for _ in 0..8 {
            let read = spawn_blocking(|| fs::read("/proc/self/comm"));
            assert!(!read.await.unwrap().unwrap().is_empty());
        }
        assert_eq!(gate.state.lock().unwrap().0, 2, "at most half of four");
        gate.open();
        while let Some(found) = lookups.join_next().await {
            assert_eq!(found.unwrap().unwrap(), 1);
        }
    });
}

/// Catches: half of one thread, which is none.
#[test]
fn one_thread_resolves_names_too() {
    let _limit = limit(30);
    answers::put("one.test", |port| Ok(vec![v4(port)]));
    let mut options = Builder::new();
    options.max_blocking_threads(1).block_on(async {
        assert_eq!(lookup_host("one.test:1").await.unwrap().count(), 1);
        spawn_blocking(|| ()).await.unwrap();
        assert_eq!(lookup_host("one.test:1").await.unwrap().count(), 1);
    });
}

/// Catches: a panic, or a lookup on the caller's thread, where no runtime has a pool.
#[test]
fn a_name_outside_a_runtime_is_an_error() {
    let _limit = limit(30);
    answers::put("outside.test", |_| panic!("asked"));
    let mut cx = Context::from_waker(Waker::noop());
    let lookup = async { lookup_host("outside.test:1").await.map(drop) };
    let connect = async { TcpStream::connect("outside.test:1").await.map(drop) };
    let bind = async { TcpListener::bind("outside.test:1").await.map(drop) };
    let futures: [std::pin::Pin<Box<dyn Future<Output = io::Result<()>>>>; 3] =
        [Box::pin(lookup), Box::pin(connect), Box::pin(bind)];
    for mut future in futures {
        let Poll::Ready(outcome) = future.as_mut().poll(&mut cx) else {
            panic!("it waits");
        };
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains("outside a runtime"), "{error}");
    }
    // An address needs no runtime to be bound to.
    let mut bind = pin!(TcpListener::bind("127.0.0.1:0"));
    assert!(bind.as_mut().poll(&mut cx).is_ready());
}

/// Fault C16. Catches: a lookup that waits for ever when its runtime ends before it has begun.
#[test]
fn a_lookup_that_goes_to_another_runtime_ends_there() {
    let _limit = limit(30);
    let gate = Gate::before("moved.test");
    let runtime = Builder::new().max_blocking_threads(1).build().unwrap();
    let mut lookups: [_; 2] = array::from_fn(|_| Box::pin(lookup_host("moved.test:1")));
    runtime.block_on(async {
        for lookup in &mut lookups {
            assert!(poll_once(lookup).await.is_none());
        }
    });
    gate.wait_for(1);
    drop(runtime);
    gate.open();
    crate::block_on(async {
        for lookup in lookups {
            assert_eq!(lookup.await.unwrap().count(), 1);
        }
    });
}

/// R5. Catches: a waker that is dropped under the lock that the thread of the lookup needs.
#[test]
fn a_waker_is_dropped_without_the_lock() {
    let _limit = limit(30);
    struct WaitsInDrop {
        gate: Arc<Gate>,
        ended: Mutex<mpsc::Receiver<()>>,
    }
    impl Wake for WaitsInDrop {
        fn wake(self: Arc<Self>) {}
    }
    impl Drop for WaitsInDrop {
        fn drop(&mut self) {
            self.gate.open();
            self.ended.lock().unwrap().recv().unwrap();
        }
    }
    struct Tells(Sender<()>);
    impl Wake for Tells {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
        }
    }
    let gate = Gate::before("waker.test");
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let (ends, ended) = mpsc::channel();
        let mut lookup = pin!(lookup_host("waker.test:1"));
        let waits = WaitsInDrop {
            gate: Arc::clone(&gate),
            ended: Mutex::new(ended),
        };
        let waits = Waker::from(Arc::new(waits));
        let mut polled = lookup.as_mut().poll(&mut Context::from_waker(&waits));
        assert!(polled.is_pending());
        drop(waits);
        gate.wait_for(1);
        // The first waker is dropped in this poll: it waits until the lookup has ended and woken the second.
        let tells = Waker::from(Arc::new(Tells(ends)));
        polled = lookup.as_mut().poll(&mut Context::from_waker(&tells));
        assert!(polled.is_pending());
        assert_eq!(lookup.await.unwrap().count(), 1);
    });
}

/// R5. Catches: a waker that is cloned under the lock.
#[test]
fn a_waker_is_cloned_without_the_lock() {
    let _limit = limit(30);
    static ENDED: Mutex<Option<mpsc::Receiver<()>>> = Mutex::new(None);
    static GATE: Mutex<Option<Arc<Gate>>> = Mutex::new(None);
    static CLONES: AtomicUsize = AtomicUsize::new(0);
    // Its clone waits until the lookup has ended, in the second poll.
    static VTABLE: RawWakerVTable = RawWakerVTable::new(
        |_| {
            if CLONES.fetch_add(1, SeqCst) == 1 {
                GATE.lock().unwrap().take().unwrap().open();
                ENDED.lock().unwrap().take().unwrap().recv().unwrap();
            }
            RawWaker::new(ptr::null(), &VTABLE)
        },
        |_| {},
        |_| {},
        |_| {},
    );
    // SAFETY: the functions touch no data, and may be called on any thread.
    let waker = unsafe { Waker::from_raw(RawWaker::new(ptr::null(), &VTABLE)) };
    let gate = Arc::new(Gate::default());
    let passed = Arc::new(AtomicBool::new(false));
    let (of_answer, has_passed) = (Arc::clone(&gate), Arc::clone(&passed));
    answers::put("clone.test", move |port| {
        of_answer.pass();
        has_passed.store(true, SeqCst);
        Ok(vec![v4(port)])
    });
    *GATE.lock().unwrap() = Some(Arc::clone(&gate));
    let runtime = Builder::new().thread_name("cloned").build().unwrap();
    runtime.block_on(async {
        let mut cx = Context::from_waker(&waker);
        let mut lookup = pin!(lookup_host("clone.test:1"));
        assert!(lookup.as_mut().poll(&mut cx).is_pending());
        gate.wait_for(1);
        let (ends, ended) = mpsc::channel();
        *ENDED.lock().unwrap() = Some(ended);
        // It is the only thread, and idle, once the lookup has ended and let go of the lock.
        let watch = thread::spawn(move || {
            while !passed.load(SeqCst) || !is_idle("cloned") {
                thread::yield_now();
            }
            ends.send(()).unwrap();
        });
        let polled = lookup.as_mut().poll(&mut cx);
        watch.join().unwrap();
        let Poll::Ready(Ok(found)) = polled else {
            panic!("the lookup has ended");
        };
        assert_eq!(found.count(), 1);
    });
}

/// True if the thread of this name sleeps: proc_pid_stat(5).
fn is_idle(name: &str) -> bool {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let mut stats =
        tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("stat")).ok());
    stats.any(|stat| stat.contains(&format!("({name}) S")))
}

/// Catches: only the first of a name's addresses, or their errors without the addresses.
#[test]
fn a_name_is_bound_and_connected_to_by_each_of_its_addresses() {
    let _limit = limit(30);
    crate::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        // A port that nobody listens on: its socket is bound only.
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let closed = SocketAddr::from((
            Ipv4Addr::new(127, 1, 2, 3),
            closed.local_addr().unwrap().port(),
        ));
        answers::put("second.test", move |_| Ok(vec![closed, at]));
        let stream = TcpStream::connect("second.test:1").await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), at);

        answers::put("closed.test", move |_| Ok(vec![closed]));
        let error = TcpStream::connect("closed.test:1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(
            error.to_string().starts_with(&format!("{closed}: ")),
            "{error}"
        );
        assert!(error.get_ref().unwrap().is::<AddressesError>());

        // In order: the first cannot be bound to, and the second is taken.
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        answers::put("bind.test", move |port| Ok(vec![elsewhere, v4(port)]));
        let listener = TcpListener::bind("bind.test:0").await.unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
        answers::put("nowhere.test", move |_| Ok(vec![elsewhere, at]));
        let error = TcpListener::bind("nowhere.test:0").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let tried = error
            .get_ref()
            .unwrap()
            .downcast_ref::<AddressesError>()
            .unwrap();
        let addresses: Vec<_> = tried.failures().iter().map(|(at, _)| *at).collect();
        assert_eq!(addresses, [elsewhere, at]);
    });
}

/// Catches: a waker that is kept until a silent name server has answered.
#[test]
fn a_lookup_that_is_dropped_lets_go_of_its_waker() {
    let _limit = limit(30);
    struct Nothing;
    impl Wake for Nothing {
        fn wake(self: Arc<Self>) {}
    }
    let gate = Gate::before("let-go.test");
    crate::block_on(async {
        let counted = Arc::new(Nothing);
        let waker = Waker::from(Arc::clone(&counted));
        let mut lookup = Box::pin(lookup_host("let-go.test:1"));
        let polled = lookup.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
        gate.wait_for(1);
        drop((lookup, waker));
        assert_eq!(Arc::strong_count(&counted), 1);
    });
    gate.open();
}

/// Catches: a shutdown that waits for a name server, though nothing waits for the name any more.
#[test]
fn a_shutdown_waits_for_no_lookup() {
    let _limit = limit(30);
    let gate = Gate::before("shutdown.test");
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut lookup = Box::pin(lookup_host("shutdown.test:1"));
        assert!(poll_once(&mut lookup).await.is_none());
        gate.wait_for(1);
    });
    runtime.shutdown_timeout(std::time::Duration::MAX);
    gate.open();
}

/// Fault B41. Catches: names, and attempts that fail at once, in a loop that lets no other task run.
#[test]
fn what_is_over_at_once_lets_others_run() {
    let _limit = limit(60);
    crate::block_on(async {
        // No address of this machine: bind fails. A broadcast: connect fails.
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 1));
        let broadcast = SocketAddr::from(([255, 255, 255, 255], 1));
        let many = |at: SocketAddr| vec![at; 100_000].into_boxed_slice();
        let (binds, connects) = (many(elsewhere), many(broadcast));
        let endless: [std::pin::Pin<Box<dyn Future<Output = ()>>>; 4] = [
            Box::pin(async move { drop(TcpListener::bind(&binds[..]).await) }),
            Box::pin(async move { drop(TcpStream::connect(&connects[..]).await) }),
            Box::pin(async move {
                loop {
                    drop(TcpSocket::new_v4().unwrap().connect(broadcast).await);
                }
            }),
            Box::pin(async {
                loop {
                    drop(lookup_host("127.0.0.1:1").await);
                }
            }),
        ];
        for operation in endless {
            let task = crate::spawn(operation);
            for _ in 0..10 {
                crate::task::yield_now().await;
            }
            assert!(!task.is_finished());
            task.abort();
        }
    });
}

/// RFC 8305, section 4. Catches: a name whose addresses are tried as they come, though many of one family may be out of
/// reach; a slice that is put into another order than its caller's.
#[test]
fn connect_puts_the_families_of_a_name_in_turn_and_keeps_a_slice() {
    let _limit = limit(30);
    crate::block_on(async {
        let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = closed.local_addr().unwrap().port();
        let at = |last| SocketAddr::from((Ipv4Addr::new(127, 1, 2, last), port));
        let (a, b, c) = (at(1), at(2), v6(port));
        answers::put("families.test", move |_| Ok(vec![a, b, c]));
        let tried = |error: io::Error| -> Vec<SocketAddr> {
            let tried = error.get_ref().unwrap().downcast_ref::<AddressesError>();
            let failures = tried.unwrap().failures().iter();
            failures.map(|(at, _)| *at).collect()
        };
        let error = TcpStream::connect("families.test:1").await.unwrap_err();
        assert_eq!(tried(error), [a, c, b]);
        let error = TcpStream::connect(&[a, b, c][..]).await.unwrap_err();
        assert_eq!(tried(error), [a, b, c]);
    });
}

/// Fault C16. Catches: a runtime that is dropped and waits for a lookup.
#[test]
fn a_runtime_that_ends_waits_for_no_lookup() {
    let _limit = limit(30);
    let gate = Gate::before("end.test");
    let runtime = Runtime::new().unwrap();
    let task = runtime.spawn(async { lookup_host("end.test:1").await.map(drop) });
    runtime.block_on(crate::task::yield_now());
    gate.wait_for(1);
    drop(runtime);
    drop(task);
    gate.open();
}

/// Catches: a future that holds a reference to its argument, or something of its runtime's.
#[test]
fn a_future_of_a_name_is_send_if_its_argument_is() {
    let _limit = limit(30);
    fn send<T: Send>(_: &T) {}
    send(&lookup_host("send.test:1"));
    send(&TcpStream::connect(String::from("send.test:1")));
    send(&TcpListener::bind(("send.test", 1)));
}
