//! Connecting: refusals are told, addresses are tried in turn, and nobody connects to itself.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use reveille::net::{TcpListener, TcpStream};
use reveille::runtime::Builder;
use reveille::task::yield_now;
use reveille::time::advance;

use super::step::{Wakes, inside, poll};
use super::{LOCAL, WATCHDOG, closed_port, registrations, running, stepping};
use crate::limit::limit;
use crate::within::within;

/// Fault C1. Catches: a refusal that passes for success, or that is never reported.
#[test]
fn a_closed_port_refuses() {
    let _limit = limit(30);
    running(async || {
        let (_kept, at) = closed_port();
        let error = TcpStream::connect(at).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
    });
}

/// Fault C15. Catches: only the first address tried.
#[test]
fn the_next_address_is_tried_when_one_refuses() {
    let _limit = limit(30);
    running(async || {
        let (_kept, closed) = closed_port();
        let listener = TcpListener::bind(&[closed, LOCAL.into()][..])
            .await
            .unwrap();
        let open = listener.local_addr().unwrap();
        let stream = TcpStream::connect(&[closed, open][..]).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), open);
    });
}

/// Fault C15. Catches: only the last failure told.
#[test]
fn when_all_addresses_fail_the_error_lists_all() {
    let _limit = limit(30);
    running(async || {
        let ((_first, a), (_second, b)) = (closed_port(), closed_port());
        let error = TcpStream::connect(&[a, b][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        let refused = "Connection refused (os error 111)";
        assert_eq!(error.to_string(), format!("{a}: {refused}; {b}: {refused}"));
    });
}

/// A listener whose queue is full, so that the kernel drops each SYN that comes; with it the connection in its queue.
pub(super) fn full_listener() -> ((std::net::TcpListener, std::net::TcpStream), SocketAddr) {
    // A backlog of 0 has room for one (listen(2) counts loosely); the next SYN is dropped.
    let listener = std::net::TcpListener::bind(LOCAL).unwrap();
    // SAFETY: listen(2) takes two integers.
    let listens = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(listens, 0);
    let at = listener.local_addr().unwrap();
    let first = std::net::TcpStream::connect(at).unwrap();
    ((listener, first), at)
}

/// How many sockets of this machine wait for an answer of that address: proc_net_tcp(5), state SYN_SENT.
pub(super) fn attempts_at(at: SocketAddr) -> usize {
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let peer = format!(":{:04X} 02 ", at.port());
    table.lines().filter(|line| line.contains(&peer)).count()
}

/// Fault C15. Catches: an address that swallows SYNs and costs two minutes; an attempt that goes on once another has
/// connected; one that begins early.
#[test]
fn an_address_that_never_answers_costs_a_quarter_of_a_second() {
    let _limit = limit(30);
    within(WATCHDOG, || {
        let runtime = Builder::new().start_paused(true).build().unwrap();
        let ((_full, silent), (_fuller, silent_too)) = (full_listener(), full_listener());
        let listener = runtime.block_on(TcpListener::bind(LOCAL)).unwrap();
        let open = listener.local_addr().unwrap();
        let (_kept, closed) = closed_port();
        let addresses = [silent, closed, silent_too, open];
        let stream = runtime.block_on(async {
            let connect = reveille::spawn(async move { TcpStream::connect(&addresses[..]).await });
            yield_now().await;
            assert_eq!((attempts_at(silent), attempts_at(silent_too)), (1, 0));
            advance(Duration::from_millis(249)).await;
            yield_now().await;
            assert_eq!((attempts_at(silent), attempts_at(silent_too)), (1, 0));
            // The closed port is tried, and refuses at once: the next begins.
            advance(Duration::from_millis(1)).await;
            while attempts_at(silent_too) == 0 {
                yield_now().await;
            }
            assert_eq!(attempts_at(silent), 1);
            assert!(!connect.is_finished());
            advance(Duration::from_millis(250)).await;
            let stream = connect.await.unwrap().unwrap();
            assert_eq!((attempts_at(silent), attempts_at(silent_too)), (0, 0));
            stream
        });
        assert_eq!(stream.peer_addr().unwrap(), open);
        drop(stream);
        assert_eq!(registrations(&runtime), 0);
    });
}

/// Fault C13. Catches: an attempt, its registration or its timer that outlives the future.
#[test]
fn a_race_canceled_at_any_poll_leaves_nothing_behind() {
    let _limit = limit(60);
    within(WATCHDOG, || {
        let runtime = Builder::new().start_paused(true).build().unwrap();
        let ((_full, silent), (_fuller, silent_too)) = (full_listener(), full_listener());
        let addresses = [silent, silent_too];
        let (_wakes, waker) = Wakes::new();
        for polls in 0..6 {
            let mut connect = Box::pin(TcpStream::connect(&addresses[..]));
            for _ in 0..polls {
                assert!(inside(&runtime, || poll(&mut connect, &waker)).is_pending());
                runtime.block_on(advance(Duration::from_millis(125)));
                runtime.turn().unwrap();
            }
            let begun = usize::from(polls > 0) + usize::from(polls > 2);
            assert_eq!(registrations(&runtime), begun, "{polls} polls");
            assert_eq!(attempts_at(silent) + attempts_at(silent_too), begun);
            drop(connect);
            assert_eq!(registrations(&runtime), 0, "{polls} polls");
            assert_eq!(attempts_at(silent) + attempts_at(silent_too), 0);
            runtime.turn().unwrap();
            assert_eq!(runtime.next_deadline(), None, "{polls} polls");
        }
    });
}

/// Fault C1. Catches: a connection reported before it is made; a waiter or a descriptor that stays
/// behind when the attempt is given up.
#[test]
fn an_attempt_nobody_answers_waits_and_leaves_nothing_behind() {
    let _limit = limit(30);
    stepping(|runtime| {
        let (_full, at) = full_listener();
        let (wakes, waker) = Wakes::new();
        let mut second = Box::pin(TcpStream::connect(at));
        for _ in 0..3 {
            assert!(inside(runtime, || poll(&mut second, &waker)).is_pending());
            runtime.turn().unwrap();
        }
        assert_eq!((wakes.count(), registrations(runtime)), (0, 1));
        drop(second);
        assert_eq!(registrations(runtime), 0);
    });
}

/// Fault C3: where every port but one is taken, TCP connects the socket with itself.
/// Catches: such a connection reported as one, to the address itself or to "any".
#[test]
fn a_connection_with_oneself_is_refused() {
    let _limit = limit(30);
    const MARK: &str = "REVEILLE_SELF_CONNECT";
    const NAME: &str = "connecting::a_connection_with_oneself_is_refused";
    if std::env::var_os(MARK).is_some() {
        return connect_to_oneself();
    }
    // A network of its own, where the kernel has one port to choose.
    let isolated = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net"]);
        command
    };
    if !isolated()
        .arg("true")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        eprintln!("not tested: unshare(1) cannot make a network here");
        return;
    }
    let output = isolated()
        .arg(std::env::current_exe().unwrap())
        .args([NAME, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", output.status);
}

fn connect_to_oneself() {
    set_loopback_up();
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "4500 4500").unwrap();
    // No TIME_WAIT, which would keep the one port for a minute.
    fs::write("/proc/sys/net/ipv4/tcp_max_tw_buckets", "0").unwrap();
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 4500));
    let oneself = std::net::TcpStream::connect(at).unwrap();
    assert_eq!(oneself.local_addr().unwrap(), at, "std's does it");
    drop(oneself);
    reveille::block_on(async {
        for ip in [Ipv4Addr::LOCALHOST, Ipv4Addr::UNSPECIFIED] {
            let error = TcpStream::connect((ip, 4500)).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED), "{ip}");
        }
    });
}

/// netdevice(7): a new network has its loopback device down.
fn set_loopback_up() {
    let socket = std::net::UdpSocket::bind(("0.0.0.0", 0)).unwrap();
    // SAFETY: all zeroes is a valid ifreq: integers, and a name of length 0.
    let mut request = unsafe { std::mem::zeroed::<libc::ifreq>() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq through the pointer, which is that of a live one.
    let set = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// Catches: an empty slice after which there is neither socket nor error.
#[test]
fn no_address_is_an_error() {
    let _limit = limit(30);
    running(async || {
        let error = TcpListener::bind(&[][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = TcpStream::connect(&[][..]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

/// Fault A34. Catches: an error that is the address's and passes for the word of a sandbox, without its
/// number.
#[test]
fn an_address_of_a_link_without_the_link_is_the_same_error_as_of_std() {
    let _limit = limit(30);
    running(async || {
        for address in ["[fe80::1]:80", "[ff02::1]:80"] {
            let theirs = std::net::TcpStream::connect(address).unwrap_err();
            let ours = TcpStream::connect(address).await.unwrap_err();
            assert_eq!(
                ours.raw_os_error(),
                theirs.raw_os_error(),
                "{address}: {ours}"
            );
            let theirs = std::net::TcpListener::bind(address).unwrap_err();
            let ours = TcpListener::bind(address).await.unwrap_err();
            assert_eq!(
                ours.raw_os_error(),
                theirs.raw_os_error(),
                "{address}: {ours}"
            );
        }
    });
}
