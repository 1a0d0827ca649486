//! Kernels and devices that refuse what makes datagrams cheap.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use quinn::udp::Transmit;
use reveille::block_on;

use super::alone::alone;
use super::endpoints::{connected, connected_by, socket};
use super::glue::{receive, wrap};
use super::limit::limit;
use super::seccomp::refuse;
use super::{both_ways, pattern};

/// A socket that sends no checksums, so that the kernel refuses to split what it sends (udp(7), UDP_SEGMENT).
fn without_checksums(address: &str) -> UdpSocket {
    let socket = socket(address);
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    let fd = socket.as_raw_fd();
    // SAFETY: SO_NO_CHECK is read from an int, which outlives the call.
    let set = unsafe {
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            (&raw const on).cast(),
            length,
        )
    };
    assert_eq!(set, 0);
    socket
}

/// Catches: a train that is lost where it cannot go as one, and with it each later one.
#[test]
fn where_the_kernel_does_not_split_datagrams_go_one_by_one() {
    let _limit = limit(60);
    block_on(async {
        let (sender, _) = wrap(without_checksums("127.0.0.1:0"));
        let (receiver, to) = wrap(socket("127.0.0.1:0"));
        assert!(sender.max_transmit_segments() > 1);
        // More than one call sends.
        let sent = pattern(39_500, 1);
        let transmit = Transmit {
            destination: to,
            ecn: None,
            contents: &sent,
            segment_size: Some(1000),
            src_ip: None,
        };
        sender.try_send(&transmit).unwrap();
        let (bytes, _) = receive(&*receiver, 40).await;
        assert!(bytes == sent);
        // So that quinn makes no more trains.
        assert_eq!(sender.max_transmit_segments(), 1);

        let server = without_checksums("127.0.0.1:0");
        let client = without_checksums("127.0.0.1:0");
        let pair = connected_by(server, client, "127.0.0.1").await;
        both_ways(&pair.client, &pair.server, 1 << 20).await;
    });
}

/// Catches: a socket that cannot be had where trains are not received whole.
#[test]
fn where_the_kernel_does_not_join_datagrams_come_one_by_one() {
    let _limit = limit(60);
    alone(
        "refused::where_the_kernel_does_not_join_datagrams_come_one_by_one",
        || {
            refuse(
                libc::SYS_setsockopt,
                Some((2, libc::UDP_GRO as u32)),
                libc::ENOPROTOOPT,
            );
            both_ways_over_loopback();
        },
    );
}

/// Catches: a sandbox that lets nothing through.
#[test]
fn where_a_sandbox_refuses_many_a_call_messages_go_one_a_call() {
    let _limit = limit(60);
    alone(
        "refused::where_a_sandbox_refuses_many_a_call_messages_go_one_a_call",
        || {
            refuse(libc::SYS_sendmmsg, None, libc::ENOSYS);
            refuse(libc::SYS_recvmmsg, None, libc::ENOSYS);
            both_ways_over_loopback();
        },
    );
}

fn both_ways_over_loopback() {
    block_on(async {
        let pair = connected("[::]:0", "[::]:0", "127.0.0.1").await;
        both_ways(&pair.client, &pair.server, 1 << 20).await;
    });
}
