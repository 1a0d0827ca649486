//! What the network reports: to a connected socket, once; to another, never (fault C8).

use std::io::{self, ErrorKind};

use reveille::net::UdpSocket;
use reveille::net::udp::{Batch, Outgoing};
use reveille::{Runtime, block_on};

use super::arrived::arrived;
use super::{closed, lengths, now, pair, socket};
use crate::limit::limit;

/// A connected socket about which something has been reported.
async fn reported() -> UdpSocket {
    let ours = socket().await;
    ours.connect(closed().await).await.unwrap();
    ours.send(b"?").await.unwrap();
    arrived();
    ours
}

/// What may tell it first.
type Teller = fn(&UdpSocket) -> io::Result<usize>;

const TELLERS: [(&str, Teller); 9] = [
    ("try_recv", |s| s.try_recv(&mut [0; 9])),
    ("try_recv_from", |s| {
        s.try_recv_from(&mut [0; 9]).map(|(n, _)| n)
    }),
    ("try_recv_vec", |s| s.try_recv_vec(&mut Vec::new())),
    ("try_peek", |s| s.try_peek(&mut [0; 9])),
    ("try_recv_batch", |s| {
        s.try_recv_batch(&mut Batch::new(4, 9))
    }),
    ("take_error", |s| match s.take_error()? {
        Some(error) => Err(error),
        None => Err(ErrorKind::WouldBlock.into()),
    }),
    ("try_send", |s| s.try_send(b"lost")),
    ("try_send_many", |s| {
        let two = [Outgoing::to_peer(b"lost"), Outgoing::to_peer(b"too")];
        s.try_send_many(&two).map(|sent| sent.whole())
    }),
    ("try_send_many of one", |s| {
        s.try_send_many(&[Outgoing::to_peer(b"lost")])
            .map(|sent| sent.whole())
    }),
];

/// Fault C8. Catches: a report that is swallowed, or told twice; a send that tells it and has sent all the same, so that who
/// sends again sends twice; a receive that then waits though a datagram is there.
#[test]
fn a_connected_socket_reports_once_and_a_send_that_reports_has_not_sent() {
    let _limit = limit(30);
    block_on(async {
        for (name, tell) in TELLERS {
            let ours = reported().await;
            let theirs = socket().await;
            // The report is about the former peer, and stays.
            ours.connect(theirs.local_addr().unwrap()).await.unwrap();
            let error = tell(&ours).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{name}");
            assert_eq!(lengths(&theirs), [0; 0], "{name} has sent");
            assert!(ours.take_error().unwrap().is_none(), "{name}");
            assert!(now(ours.recv(&mut [0; 9])).is_pending(), "{name}");
            ours.send(b"sent").await.unwrap();
            assert_eq!(lengths(&theirs), [4], "{name}");
            theirs
                .send_to(b"answer", ours.local_addr().unwrap())
                .await
                .unwrap();
            assert_eq!(ours.recv(&mut [0; 9]).await.unwrap(), 6, "{name}");
        }
    });
}

/// Fault C8. Catches: a wait that does not end with the report.
#[test]
fn a_receive_that_waits_is_told() {
    let _limit = limit(30);
    block_on(async {
        let ours = socket().await;
        ours.connect(closed().await).await.unwrap();
        let mut buf = [0; 9];
        let mut recv = Box::pin(ours.recv(&mut buf));
        assert!(now(&mut recv).is_pending());
        ours.send(b"?").await.unwrap();
        let error = recv.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    });
}

/// Fault C8. Catches: IP_RECVERR set, with which a stranger's host that is down ends a server's loop.
#[test]
fn a_socket_without_a_peer_hears_of_nothing() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        for at in ["127.0.0.1:0", "[::1]:0", "[::]:0"] {
            let ours = UdpSocket::bind(at).await.unwrap();
            let mut nowhere = closed().await;
            if at.starts_with("[::1]") {
                let socket = UdpSocket::bind(at).await.unwrap();
                nowhere = socket.local_addr().unwrap();
            } else if at.starts_with("[::]") {
                let mapped = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped();
                nowhere = (mapped, nowhere.port()).into();
            }
            for _ in 0..3 {
                ours.send_to(b"?", nowhere).await.unwrap();
                let both = [Outgoing::new(b"?", nowhere); 2];
                assert_eq!(ours.send_many(&both).await.unwrap().whole(), 2, "{at}");
                assert!(now(ours.recv(&mut [0; 9])).is_pending(), "{at}");
                assert!(ours.take_error().unwrap().is_none(), "{at}");
            }
        }
    });
}

/// Fault C8. What the kernel does in the middle of a call: it stops, and nothing is sent twice.
/// Catches: the datagram that met the report counted as sent.
#[test]
fn a_report_in_the_middle_of_a_call_loses_no_datagram() {
    let _limit = limit(30);
    block_on(async {
        let ours = socket().await;
        ours.connect(closed().await).await.unwrap();
        let three = [b"1", b"2", b"3"].map(|bytes| Outgoing::to_peer(bytes));
        // The first is sent and, unless the kernel is busy, refused before the second is.
        let whole = ours.send_many(&three).await.unwrap().whole();
        assert!(whole >= 1);
        arrived();
        let _reported = ours.take_error().unwrap();
        let (_, theirs, at) = pair().await;
        ours.connect(at[1]).await.unwrap();
        let left = &three[whole..];
        assert_eq!(ours.send_many(left).await.unwrap().whole(), left.len());
        assert_eq!(lengths(&theirs), vec![1; left.len()]);
    });
}
