//! Accepting: nobody waits in the backlog for ever, at the descriptor limit neither.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use reveille::Runtime;
use reveille::net::{TcpListener, TcpStream};
use reveille::time::sleep;

use super::step::{Wakes, inside};
use super::{LOCAL, child, registrations, reset, running, stepping};
use crate::limit::limit;

/// Descriptors that are given back one at a time, in a process that can have no others.
struct Spares(Vec<File>);

impl Spares {
    /// Takes `n` descriptors, and lowers the limit to what is open then.
    fn hoard(n: usize) -> Spares {
        let spares = (0..n).map(|_| open().unwrap()).collect();
        let lowest_free = open().unwrap().as_raw_fd();
        let (_, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
        let soft = u64::try_from(lowest_free).unwrap();
        rlimit::setrlimit(rlimit::Resource::NOFILE, soft, hard).unwrap();
        assert_eq!(open().unwrap_err().raw_os_error(), Some(libc::EMFILE));
        Spares(spares)
    }

    fn free_one(&mut self) {
        drop(self.0.pop().expect("one is left"));
    }
}

fn open() -> io::Result<File> {
    File::open("/dev/null")
}

/// What was logged so far.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A runtime, a listener, and what is logged meanwhile.
fn logging(test: impl FnOnce(&Runtime, &TcpListener, &dyn Fn() -> String)) {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer({
            let log = log.clone();
            move || log.clone()
        })
        .with_max_level(tracing::Level::WARN)
        .finish();
    let logged = move || String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind(LOCAL)).unwrap();
    tracing::subscriber::with_default(subscriber, || test(&runtime, &listener, &logged));
}

/// R10. Fault A13: a descriptor that comes free brings no edge, and a listener that tries again at
/// once takes the whole processor. Catches: no back-off; the error returned; waiting for an edge.
#[test]
fn at_the_descriptor_limit_accept_idles_and_serves_all_when_it_can() {
    let name = "accepting::at_the_descriptor_limit_accept_idles_and_serves_all_when_it_can";
    child::in_child(name, || {
        logging(|runtime, listener, logged| {
            let at = listener.local_addr().unwrap();
            let _clients = [(); 3].map(|()| std::net::TcpStream::connect(at).unwrap());
            let mut spares = Spares::hoard(3);
            let served = Rc::new(Cell::new(0));
            runtime.block_on(async {
                let accept = async {
                    let mut streams = Vec::new();
                    while streams.len() < 3 {
                        streams.push(listener.accept().await.unwrap());
                        served.set(streams.len());
                    }
                };
                let watch = async {
                    let before = runtime.handle().metrics();
                    sleep(Duration::from_millis(300)).await;
                    let after = runtime.handle().metrics();
                    let parks = after.parks - before.parks;
                    // 10, 20, 40, 80, 160 ms, and the end of the sleep.
                    assert!((3..=8).contains(&parks), "{parks} parks in 300 ms");
                    assert!(after.turns - before.turns <= 20);
                    assert_eq!(logged().lines().count(), 1, "{}", logged());
                    assert!(logged().contains("cannot accept"), "{}", logged());
                    for n in 1..=3 {
                        assert_eq!(served.get(), n - 1);
                        spares.free_one();
                        while served.get() < n {
                            sleep(Duration::from_millis(1)).await;
                        }
                    }
                };
                futures_lite::future::zip(accept, watch).await;
            });
        });
    });
}

/// Fault A13: at the limit accept4(2) fails although nobody waits. Catches: a back-off for nobody,
/// which logs and wakes an idle process; a readiness kept or lost, so that the next one is stranded.
#[test]
fn at_the_descriptor_limit_an_empty_backlog_is_no_trouble() {
    let name = "accepting::at_the_descriptor_limit_an_empty_backlog_is_no_trouble";
    child::in_child(name, || {
        logging(|runtime, listener, logged| {
            let at = listener.local_addr().unwrap();
            let mut spares = Spares::hoard(2);
            runtime.block_on(async {
                let accept = async { listener.accept().await.unwrap() };
                let watch = async {
                    let before = runtime.handle().metrics();
                    sleep(Duration::from_millis(100)).await;
                    let parks = runtime.handle().metrics().parks - before.parks;
                    assert!(parks <= 2, "{parks} parks, and nobody came");
                    assert_eq!(logged(), "");
                    spares.free_one();
                    let client = std::net::TcpStream::connect(at).unwrap();
                    sleep(Duration::from_millis(50)).await;
                    assert_eq!(logged().lines().count(), 1, "{}", logged());
                    spares.free_one();
                    client
                };
                let ((_, peer), client) = futures_lite::future::zip(accept, watch).await;
                assert_eq!(peer, client.local_addr().unwrap());
            });
        });
    });
}

/// Fault A13. Catches: the limit hidden from who asked not to wait; a connection lost by it.
#[test]
fn at_the_descriptor_limit_try_accept_tells_and_the_connection_stays() {
    let name = "accepting::at_the_descriptor_limit_try_accept_tells_and_the_connection_stays";
    child::in_child(name, || {
        logging(|runtime, listener, _| {
            let at = listener.local_addr().unwrap();
            let client = std::net::TcpStream::connect(at).unwrap();
            let mut spares = Spares::hoard(1);
            runtime.block_on(async {
                for _ in 0..2 {
                    let error = listener.try_accept().unwrap_err();
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                }
                let polled = std::future::poll_fn(|cx| listener.poll_accept(cx)).await;
                assert_eq!(polled.unwrap_err().raw_os_error(), Some(libc::EMFILE));
                spares.free_one();
                let (_, peer) = listener.try_accept().unwrap();
                assert_eq!(peer, client.local_addr().unwrap());
            });
        });
    });
}

/// There is no clock to come back by. Catches: a pause that panics where there is no runtime.
#[test]
fn at_the_descriptor_limit_accept_outside_a_runtime_is_an_error() {
    let name = "accepting::at_the_descriptor_limit_accept_outside_a_runtime_is_an_error";
    child::in_child(name, || {
        logging(|_, listener, _| {
            let at = listener.local_addr().unwrap();
            let _client = std::net::TcpStream::connect(at).unwrap();
            let _spares = Spares::hoard(1);
            let mut accept = Box::pin(listener.accept());
            match super::step::poll(&mut accept, std::task::Waker::noop()) {
                Poll::Ready(Err(error)) => assert_eq!(error.raw_os_error(), Some(libc::EMFILE)),
                other => panic!("{other:?}"),
            }
        });
    });
}

/// R10: many connections, one edge. Catches: readiness cleared by an accept that succeeded.
#[test]
fn connections_of_one_edge_are_all_accepted() {
    let _limit = limit(30);
    stepping(|runtime| {
        let listener = runtime.block_on(TcpListener::bind(LOCAL)).unwrap();
        let at = listener.local_addr().unwrap();
        let (_wakes, waker) = Wakes::new();
        let accept = || {
            inside(runtime, || {
                listener.poll_accept(&mut Context::from_waker(&waker))
            })
        };
        assert!(accept().is_pending());
        runtime.turn().unwrap();
        let _clients = [(); 3].map(|()| std::net::TcpStream::connect(at).unwrap());
        runtime.turn().unwrap();
        for nth in 1..=3 {
            assert!(matches!(accept(), Poll::Ready(Ok(_))), "connection {nth}");
        }
        assert!(accept().is_pending());
    });
}

/// R10. Catches: one waiter of a listener that replaces another.
#[test]
fn several_tasks_accept_at_one_listener() {
    let _limit = limit(30);
    running(async || {
        let listener = Rc::new(TcpListener::bind(LOCAL).await.unwrap());
        let at = listener.local_addr().unwrap();
        let tasks = [(); 4].map(|()| {
            let listener = Rc::clone(&listener);
            reveille::spawn(async move { listener.accept().await.unwrap().1 })
        });
        reveille::task::yield_now().await;
        let clients = [(); 4].map(|()| std::net::TcpStream::connect(at).unwrap());
        let mut peers = Vec::new();
        for task in tasks {
            peers.push(task.await.unwrap());
        }
        peers.sort();
        let mut expected = clients.map(|client| client.local_addr().unwrap());
        expected.sort();
        assert_eq!(peers, expected);
    });
}

/// Fault A14: Linux hands out a connection that was reset in the backlog. Catches: that taken for a
/// failure of the listener; the address asked of getpeername(2), which has none any more.
#[test]
fn a_connection_reset_in_the_backlog_is_accepted_and_then_fails() {
    let _limit = limit(30);
    running(async || {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let at = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(at).unwrap();
        let from = client.local_addr().unwrap();
        reset(client);
        let (stream, peer) = listener.accept().await.unwrap();
        assert_eq!(peer, from);
        let error = stream.read(&mut [0]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// Faults A13, B40. Catches: a subscriber whose panic at the word of the limit ends whoever accepts.
#[test]
fn a_subscriber_that_panics_at_the_limit_ends_no_accept() {
    child::in_child(
        "accepting::a_subscriber_that_panics_at_the_limit_ends_no_accept",
        || {
            // Its panics are no news.
            std::panic::set_hook(Box::new(|_| ()));
            let subscriber =
                tracing_subscriber::fmt().with_writer(|| -> io::Sink { panic!("of the writer") });
            tracing::subscriber::with_default(subscriber.finish(), || {
                let runtime = Runtime::new().unwrap();
                let listener = runtime.block_on(TcpListener::bind(LOCAL)).unwrap();
                let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
                let mut spares = Spares::hoard(1);
                let accepts = runtime.spawn(async move { listener.accept().await.map(drop) });
                runtime.turn().unwrap();
                spares.free_one();
                runtime.block_on(accepts).unwrap().unwrap();
            });
        },
    );
}

/// Fault A14: what concerns one connection is absorbed, but what no connection is to blame for comes
/// back for ever. Catches: an accept that spins, and with it the whole thread.
#[test]
fn what_cannot_accept_at_all_is_an_error() {
    let _limit = limit(30);
    running(async || {
        let datagrams = OwnedFd::from(UdpSocket::bind(LOCAL).unwrap());
        let listener = TcpListener::from_std(datagrams.into()).unwrap();
        let error = listener.accept().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP));
        assert!(listener.try_accept().is_err());

        let (not_listening, _) = super::closed_port();
        let listener = TcpListener::from_std(not_listening).unwrap();
        let error = listener.accept().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    });
}

/// Catches: SO_REUSEADDR missing, for want of which a server cannot be started again for a minute.
#[test]
fn a_listener_restarts_while_its_connections_are_in_time_wait() {
    let _limit = limit(30);
    running(async || {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let at = listener.local_addr().unwrap();
        let client = TcpStream::connect(at).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        drop(server); // It closes first, so its end is the one that waits.
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        drop((client, listener));
        let again = TcpListener::bind(at).await.unwrap();
        assert_eq!(again.local_addr().unwrap(), at);
    });
}

/// Two listeners at one address are not meant. Catches: SO_REUSEPORT instead of SO_REUSEADDR.
#[test]
fn a_second_listener_at_the_same_address_is_refused() {
    let _limit = limit(30);
    running(async || {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let error = TcpListener::bind(listener.local_addr().unwrap())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    });
}

/// How many connections the kernel keeps for a listener.
pub(super) fn backlog_of(listener: &TcpListener) -> u32 {
    // SAFETY: all zeroes is a valid tcp_info, because it consists of integers.
    let mut info = unsafe { std::mem::zeroed::<libc::tcp_info>() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: getsockopt(2) writes at most `len` bytes to the tcp_info, which has that size,
    // and to `len`; both are live.
    let outcome = unsafe {
        libc::getsockopt(
            listener.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    assert_eq!(outcome, 0);
    // Of a listener, tcpi_sacked is the backlog: net/ipv4/tcp.c, tcp_get_info.
    info.tcpi_sacked
}

/// Catches: a backlog too small for a burst.
#[test]
fn the_backlog_has_room_for_a_thousand() {
    let _limit = limit(30);
    running(async || {
        let listener = TcpListener::bind(LOCAL).await.unwrap();
        let most = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let most: u32 = most.trim().parse().unwrap();
        assert_eq!(backlog_of(&listener), most.min(1024));
    });
}

/// Catches: an IPv6 socket that is told to leave IPv4 alone.
#[test]
fn the_unspecified_ipv6_address_serves_ipv4_too() {
    let _limit = limit(30);
    running(async || {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        // A machine without IPv6 has nothing to show here.
        let Ok(listener) = TcpListener::bind(any).await else {
            return;
        };
        let port = listener.local_addr().unwrap().port();
        let client = std::net::TcpStream::connect((LOCAL.0, port)).unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip(), LOCAL.0.to_ipv6_mapped());
        assert_eq!(peer.port(), client.local_addr().unwrap().port());
        if let Ok(client) = std::net::TcpStream::connect((Ipv6Addr::LOCALHOST, port)) {
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
        }
    });
}

/// Catches: a listener that stays registered after `into_std`, or is not usable again.
#[test]
fn a_listener_goes_to_std_and_back() {
    let _limit = limit(30);
    stepping(|runtime| {
        let listener = runtime.block_on(TcpListener::bind(LOCAL)).unwrap();
        let (_wakes, waker) = Wakes::new();
        let polled = inside(runtime, || {
            listener.poll_accept(&mut Context::from_waker(&waker))
        });
        assert!(polled.is_pending());
        assert_eq!(registrations(runtime), 1);
        let listener = listener.into_std().unwrap();
        assert_eq!(registrations(runtime), 0);
        let listener = TcpListener::from_std(listener).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        runtime.block_on(listener.accept()).unwrap();
    });
}
