//! Options, each set and asked for, and some shown to work.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;

use reveille::block_on;
use reveille::net::UdpSocket;

use super::{get, now, set, socket};
use crate::limit::limit;

/// Catches: an option that is another one, or is not set.
#[test]
fn options_are_set_and_told() {
    let _limit = limit(30);
    block_on(async {
        let v4 = socket().await;
        let v6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
        for on in [true, false] {
            v4.set_broadcast(on).unwrap();
            v4.set_multicast_loop_v4(on).unwrap();
            v6.set_multicast_loop_v6(on).unwrap();
            assert_eq!(v4.broadcast().unwrap(), on);
            assert_eq!(v4.multicast_loop_v4().unwrap(), on);
            assert_eq!(v6.multicast_loop_v6().unwrap(), on);
        }
        for n in [7, 255] {
            v4.set_ttl(n).unwrap();
            v4.set_multicast_ttl_v4(n).unwrap();
            v6.set_multicast_hops_v6(n).unwrap();
            v4.set_tos_v4(n & !3).unwrap();
            v6.set_tclass_v6(n).unwrap();
            v6.set_unicast_hops_v6(n).unwrap();
            assert_eq!(v4.ttl().unwrap(), n);
            assert_eq!(v4.multicast_ttl_v4().unwrap(), n);
            assert_eq!(v6.multicast_hops_v6().unwrap(), n);
            assert_eq!(v4.tos_v4().unwrap(), n & !3);
            assert_eq!(v6.tclass_v6().unwrap(), n);
            assert_eq!(v6.unicast_hops_v6().unwrap(), n);
        }
        v4.set_multicast_if_v4(Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(v4.multicast_if_v4().unwrap(), Ipv4Addr::LOCALHOST);
        v6.set_multicast_if_v6(1).unwrap(); // The loopback's index, ever.
        assert_eq!(v6.multicast_if_v6().unwrap(), 1);
        assert_eq!(v4.device().unwrap(), None);
        v4.bind_device(Some(b"lo")).unwrap();
        assert_eq!(v4.device().unwrap().as_deref(), Some(&b"lo"[..]));
        v4.set_recv_buffer_size(10_000).unwrap();
        v4.set_send_buffer_size(20_000).unwrap();
        assert_eq!(v4.recv_buffer_size().unwrap(), 20_000);
        assert_eq!(v4.send_buffer_size().unwrap(), 40_000);
        assert!(v4.take_error().unwrap().is_none());
    });
}

/// Catches: a number cut to a byte; one that the kernel takes for "the default".
#[test]
fn what_is_no_byte_is_refused() {
    let _limit = limit(30);
    block_on(async {
        let v6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).await.unwrap();
        for n in [256, u32::MAX] {
            for set in [
                v6.set_ttl(n),
                v6.set_unicast_hops_v6(n),
                v6.set_tos_v4(n),
                v6.set_tclass_v6(n),
                v6.set_multicast_hops_v6(n),
                v6.set_multicast_ttl_v4(n),
            ] {
                let error = set.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput);
                assert!(error.to_string().contains("255"), "{error}");
            }
        }
        assert!(v6.set_multicast_if_v6(u32::MAX).is_err());
    });
}

/// Of a socket of both families, for both: ip(7), ipv6(7). Catches: a family that is forgotten; a mode that heeds what the
/// system knows of the way.
#[test]
fn datagrams_are_not_cut_on_their_way_if_that_is_set() {
    let _limit = limit(30);
    block_on(async {
        let v4 = socket().await;
        let both = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
        for (on, mode) in [
            (true, libc::IP_PMTUDISC_PROBE),
            (false, libc::IP_PMTUDISC_WANT),
        ] {
            for socket in [&v4, &both] {
                socket.set_dont_fragment(on).unwrap();
                assert_eq!(socket.dont_fragment().unwrap(), on);
                let told = get(socket.as_fd(), libc::IPPROTO_IP, libc::IP_MTU_DISCOVER);
                assert_eq!(told, mode);
            }
            let told = get(both.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER);
            assert_eq!(told, mode);
        }
    });
}

/// Multicast over loopback. Catches: a join of another group or interface; a leave that does not leave; multicast that does
/// not go out by the interface that was set.
#[test]
fn a_member_of_a_group_hears_what_is_sent_to_it() {
    let _limit = limit(30);
    block_on(async {
        let (group, local) = (Ipv4Addr::new(239, 255, 77, 77), Ipv4Addr::LOCALHOST);
        let ours = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
        let there = (group, ours.local_addr().unwrap().port());
        set(ours.as_fd(), libc::IPPROTO_IP, libc::IP_MULTICAST_ALL, 0);
        let theirs = socket().await;
        theirs.set_multicast_if_v4(local).unwrap();
        ours.join_multicast_v4(group, local).unwrap();
        theirs.send_to(b"hello", there).await.unwrap();
        assert_eq!(ours.recv(&mut [0; 9]).await.unwrap(), 5);
        ours.leave_multicast_v4(group, local).unwrap();
        theirs.send_to(b"hello", there).await.unwrap();
        assert!(now(ours.recv(&mut [0; 9])).is_pending());
        assert!(ours.leave_multicast_v4(group, local).is_err());

        // Over IPv6 the loopback carries none: the kernel knows of the membership.
        let group = Ipv6Addr::new(0xff01, 0, 0, 0, 0, 0, 0x77, 0x77);
        let ours = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
        ours.join_multicast_v6(&group, 1).unwrap();
        let twice = ours.join_multicast_v6(&group, 1).unwrap_err();
        assert_eq!(twice.raw_os_error(), Some(libc::EADDRINUSE));
        ours.leave_multicast_v6(&group, 1).unwrap();
        let left = ours.leave_multicast_v6(&group, 1).unwrap_err();
        assert_eq!(left.raw_os_error(), Some(libc::EADDRNOTAVAIL));
    });
}

/// Of a socket of both families, for both. Catches: an answer that is of one of them only.
#[test]
fn a_socket_that_cuts_for_one_family_cuts() {
    let _limit = limit(30);
    block_on(async {
        let both = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).await.unwrap();
        let (v4, v6) = (
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
        );
        for (one, other) in [(v4, v6), (v6, v4)] {
            set(both.as_fd(), one.0, one.1, libc::IP_PMTUDISC_PROBE);
            set(both.as_fd(), other.0, other.1, libc::IP_PMTUDISC_WANT);
            assert!(!both.dont_fragment().unwrap());
            set(both.as_fd(), other.0, other.1, libc::IP_PMTUDISC_PROBE);
            assert!(both.dont_fragment().unwrap());
        }
    });
}

/// The kernel says EOPNOTSUPP. Catches: an error that blames a sandbox.
#[test]
fn what_only_ipv6_has_is_told_of_no_ipv4_socket() {
    let _limit = limit(30);
    block_on(async {
        let v4 = socket().await;
        for told in [
            v4.multicast_hops_v6().map(drop),
            v4.multicast_if_v6().map(drop),
            v4.multicast_loop_v6().map(drop),
        ] {
            let error = told.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT), "{error}");
        }
    });
}
