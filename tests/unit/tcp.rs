//! `net::tcp` where the kernel says what a test cannot make it say: faults injected into single calls.

use std::net::{Ipv4Addr, TcpStream as StdStream};
use std::time::Duration;

use super::limit::limit;
use crate::Runtime;
use crate::net::sys::faults;
use crate::net::{TcpListener, TcpStream};
use crate::time::timeout;

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Far beyond what anything here takes.
const WATCHDOG: Duration = Duration::from_secs(20);

/// A listener, and a connection that waits in its backlog.
async fn backlog_of_one() -> (TcpListener, StdStream) {
    let listener = TcpListener::bind(LOCAL).await.unwrap();
    let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener, client)
}

/// Fault A14. Catches: an errno of accept(2) that concerns one connection and is returned, which ends
/// most servers' loops.
#[test]
fn accept_absorbs_what_concerns_one_connection() {
    let _limit = limit(30);
    let transient = [
        libc::ECONNABORTED,
        libc::ENETDOWN,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::EHOSTUNREACH,
        libc::EOPNOTSUPP,
        libc::ENETUNREACH,
        libc::EPERM,
        libc::EINTR,
    ];
    crate::block_on(async {
        for errno in transient {
            let (listener, client) = backlog_of_one().await;
            faults::inject("accept4", errno);
            let (_, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap(), "errno {errno}");

            let client = StdStream::connect(listener.local_addr().unwrap()).unwrap();
            faults::inject("accept4", errno);
            let (_, peer) = listener.try_accept().unwrap();
            assert_eq!(peer, client.local_addr().unwrap(), "errno {errno}");
        }
    });
}

/// R10. Fault A13. Catches: a limit of the system or of memory taken for a failure, or for "nobody
/// waits"; a second try at once.
#[test]
fn accept_comes_back_on_a_timer_at_every_limit() {
    let _limit = limit(30);
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            let (listener, client) = backlog_of_one().await;
            faults::inject("accept4", errno);
            faults::inject("accept4", errno);
            let accepted = timeout(WATCHDOG, listener.accept()).await.unwrap();
            assert_eq!(accepted.unwrap().1, client.local_addr().unwrap());
        });
        assert_eq!(runtime.handle().metrics().timers_fired, 2, "errno {errno}");
    }
}

/// Catches: what is wrong for good absorbed or waited for.
#[test]
fn accept_returns_what_is_wrong_for_good() {
    let _limit = limit(30);
    crate::block_on(async {
        let (listener, _client) = backlog_of_one().await;
        for errno in [libc::EBADF, libc::ENOTSOCK, libc::EFAULT] {
            faults::inject("accept4", errno);
            let error = listener.accept().await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(errno));
        }
    });
}

/// Fault C1: the connect is never made, so the socket reports "writable" without a connection and
/// without an error. Catches: success concluded from a report, or from the absence of an error.
#[test]
fn a_report_without_a_connection_is_no_success() {
    let _limit = limit(30);
    crate::block_on(async {
        let (listener, _client) = backlog_of_one().await;
        faults::inject("connect", libc::EINTR);
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let error = timeout(WATCHDOG, connecting).await.unwrap().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
    });
}

/// Fault A20. Catches: a step of a constructor whose failure is ignored.
#[test]
fn a_constructor_reports_the_step_that_fails() {
    let _limit = limit(30);
    crate::block_on(async {
        for step in ["socket", "setsockopt", "bind", "listen"] {
            faults::inject(step, libc::ENOMEM);
            let error = TcpListener::bind(LOCAL).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{step}");
        }
        let (listener, _client) = backlog_of_one().await;
        for step in ["socket", "connect"] {
            faults::inject(step, libc::ENOBUFS);
            let connecting = TcpStream::connect(listener.local_addr().unwrap());
            let error = connecting.await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS), "{step}");
        }
    });
}

/// R10. Fault A15: an interruption or a refusal in between is not the end of a connection.
/// Catches: EINTR or EAGAIN returned; a wait for an edge that was there before.
#[test]
fn a_transfer_that_is_interrupted_or_refused_goes_on() {
    let _limit = limit(30);
    crate::block_on(async {
        let (listener, mut client) = backlog_of_one().await;
        let (server, _) = listener.accept().await.unwrap();
        for errno in [libc::EINTR, libc::EAGAIN] {
            std::io::Write::write_all(&mut client, b"abc").unwrap();
            faults::inject("recv", errno);
            let mut buf = [0; 3];
            let read = timeout(WATCHDOG, server.read_exact(&mut buf));
            assert_eq!(read.await.unwrap().unwrap(), 3);
            faults::inject("send", libc::EINTR);
            let written = timeout(WATCHDOG, server.write(&buf));
            assert_eq!(written.await.unwrap().unwrap(), 3);
        }
    });
}
