//! Kernels and devices that refuse what makes datagrams cheap.

use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use reveille::block_on;

use super::alone::alone;
use super::both_ways;
use super::endpoints::{connected, connected_by, socket};
use super::limit::limit;
use super::seccomp::refuse;

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

/// Catches: a refusal to split that is taken for a loss: each train of datagrams would be lost anew.
#[test]
fn where_the_kernel_does_not_split_datagrams_go_one_by_one() {
    let _limit = limit(60);
    block_on(async {
        let (server, client) = (
            without_checksums("127.0.0.1:0"),
            without_checksums("127.0.0.1:0"),
        );
        let pair = connected_by(server, client, "127.0.0.1").await;
        both_ways(&pair.client, &pair.server, 1 << 20).await;
        let lost = pair.client.stats().path.lost_packets + pair.server.stats().path.lost_packets;
        assert!(lost < 20, "{lost} packets were lost");
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
