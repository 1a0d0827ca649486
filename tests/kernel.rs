//! What the kernel at hand does with datagrams, on which `net::udp` relies: asked here of the kernel itself,
//! without the library. A test that is red says that a kernel differs, and in what.

use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use libc::c_int;

#[path = "support/arrived.rs"]
mod arrived;
#[path = "support/limit.rs"]
mod limit;
#[path = "kernel/message.rs"]
mod message;

use arrived::arrived;
use limit::limit;
use message::{Control, Outbound, receive_many, send_many};

/// Two sockets of IPv4, and the address of the second.
fn sockets() -> (UdpSocket, UdpSocket, SocketAddr) {
    let [ours, theirs] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    theirs.set_nonblocking(true).unwrap();
    let there = theirs.local_addr().unwrap();
    (ours, theirs, there)
}

/// An address of which nothing answers but ICMP.
fn closed() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.local_addr().unwrap()
}

fn plain(len: usize, to: SocketAddr) -> Outbound {
    let (bytes, control) = (vec![7; len], Vec::new());
    Outbound { bytes, to, control }
}

/// To be cut into datagrams of `segment` bytes.
fn segmented(len: usize, segment: u16, to: SocketAddr) -> Outbound {
    let cut = (
        libc::SOL_UDP,
        libc::UDP_SEGMENT,
        segment.to_ne_bytes().to_vec(),
    );
    let (bytes, control) = (vec![7; len], vec![cut]);
    Outbound { bytes, to, control }
}

#[track_caller]
fn set(socket: &UdpSocket, level: c_int, option: c_int, value: c_int) {
    let (value, len) = (&raw const value, size_of::<c_int>() as u32);
    // SAFETY: the value is an int that outlives the call.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.cast(), len) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// The lengths of what waits in the socket.
fn lengths(socket: &UdpSocket) -> Vec<usize> {
    arrived();
    let mut room = [0; 70_000];
    std::iter::from_fn(|| socket.recv(&mut room).ok()).collect()
}

fn errno<T: std::fmt::Debug>(outcome: io::Result<T>) -> c_int {
    outcome.unwrap_err().raw_os_error().unwrap()
}

/// `send_many` returns no error but of the first, and the next call tries that one first.
#[test]
fn sendmmsg_stops_in_the_middle_and_loses_the_error() {
    let _limit = limit(30);
    let (ours, theirs, there) = sockets();
    let messages = [1, 2, 65_508, 3].map(|len| plain(len, there));
    assert_eq!(send_many(&ours, &messages).unwrap(), 2);
    assert_eq!(ours.take_error().unwrap().map(|error| error.kind()), None);
    assert_eq!(errno(send_many(&ours, &messages[2..])), libc::EMSGSIZE);
    assert_eq!(send_many(&ours, &messages[3..]).unwrap(), 1);
    assert_eq!(lengths(&theirs), [1, 2, 3]);
}

/// A call that receives fewer than there was room for proves nothing, but it does not wait.
#[test]
fn recvmmsg_returns_what_is_there() {
    let _limit = limit(30);
    let (ours, theirs, there) = sockets();
    assert_eq!(errno(receive_many(&theirs, 4, 10)), libc::EAGAIN);
    for len in [3, 0, 20] {
        ours.send_to(&vec![7; len], there).unwrap();
    }
    arrived();
    let came = receive_many(&theirs, 8, 10).unwrap();
    let told = came
        .iter()
        .map(|came| (came.bytes.len(), came.flags & libc::MSG_TRUNC != 0));
    // An empty datagram is one, and one that is longer than the room is cut, and said to be.
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(3, false), (0, false), (10, true)]
    );
}

/// Limits that `Outgoing` checks before the call.
#[test]
fn segmentation_has_its_limits() {
    let _limit = limit(30);
    let (ours, theirs, there) = sockets();
    let send = |len, segment| send_many(&ours, &[segmented(len, segment, there)]);
    send(6400, 100).unwrap();
    assert_eq!(lengths(&theirs), [100; 64]);
    // The least that every kernel takes is 64 datagrams; newer ones take 128.
    assert_eq!(errno(send(12_900, 100)), libc::EINVAL);
    send(65_507, 1200).unwrap();
    let came = lengths(&theirs);
    assert_eq!((came.len(), came.iter().sum::<usize>()), (55, 65_507));
    assert_eq!(errno(send(65_508, 1200)), libc::EMSGSIZE);
    // A segment of all the bytes, or more, makes one datagram.
    send(50, 100).unwrap();
    send(0, 100).unwrap();
    assert_eq!(lengths(&theirs), [50, 0]);
}

/// EINVAL and EMSGSIZE may be about segmentation alone, and the same bytes pass without it: or about the
/// address, and they do not.
#[test]
fn segmentation_is_refused_by_several_errors() {
    let _limit = limit(30);
    let (ours, theirs, there) = sockets();
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let cut = segmented(300, 100, nowhere);
    assert_eq!(errno(send_many(&ours, &[cut])), libc::EINVAL);
    assert_eq!(
        errno(send_many(&ours, &[plain(100, nowhere)])),
        libc::EINVAL
    );
    // Without checksums no device can segment.
    set(&ours, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1);
    let cut = segmented(300, 100, there);
    assert_eq!(errno(send_many(&ours, &[cut])), libc::EINVAL);
    send_many(&ours, &[plain(100, there)]).unwrap();
    assert_eq!(lengths(&theirs), [100]);
}

/// A plain receive gets datagrams that are glued together, and does not learn how long each was.
#[test]
fn gro_glues_what_was_segmented_for_a_plain_receive_too() {
    let _limit = limit(30);
    let (ours, theirs, there) = sockets();
    set(&theirs, libc::SOL_UDP, libc::UDP_GRO, 1);
    let cut = || [segmented(250, 100, there)];
    send_many(&ours, &cut()).unwrap();
    assert_eq!(lengths(&theirs), [250]);
    send_many(&ours, &cut()).unwrap();
    arrived();
    let came = receive_many(&theirs, 4, 65_535).unwrap();
    let segment = 100_i32.to_ne_bytes().to_vec();
    assert_eq!(
        came[0].control,
        [(libc::SOL_UDP, libc::UDP_GRO, segment.clone())]
    );
    // Less room cuts the datagrams that did not fit.
    send_many(&ours, &cut()).unwrap();
    arrived();
    let came = receive_many(&theirs, 4, 150).unwrap();
    assert_eq!(
        (came.len(), came[0].flags & libc::MSG_TRUNC),
        (1, libc::MSG_TRUNC)
    );
    // One that came alone has no such message.
    ours.send_to(&[7; 100], there).unwrap();
    arrived();
    assert_eq!(
        receive_many(&theirs, 4, 65_535).unwrap()[0].control.len(),
        0
    );
}

/// The kinds of the control messages that come with a datagram.
fn kinds(socket: &UdpSocket) -> Vec<(c_int, c_int)> {
    arrived();
    let came = receive_many(socket, 1, 10).unwrap();
    let kinds = came[0]
        .control
        .iter()
        .map(|(level, kind, _): &Control| (*level, *kind));
    kinds.collect()
}

/// On a socket of both families IPv4 has its address in a message of IPv6, but its ECN in one of its own.
#[test]
fn which_control_messages_come_on_a_socket_of_both_families() {
    let _limit = limit(30);
    let both = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
    let port = both.local_addr().unwrap().port();
    set(&both, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1);
    set(&both, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1);
    let (v4, _, _) = sockets();
    let address = (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO);
    v4.send_to(b"4", ("127.0.0.1", port)).unwrap();
    assert_eq!(kinds(&both), [address]);
    set(&both, libc::IPPROTO_IP, libc::IP_RECVTOS, 1);
    v4.send_to(b"4", ("127.0.0.1", port)).unwrap();
    assert_eq!(kinds(&both), [address, (libc::IPPROTO_IP, libc::IP_TOS)]);
    let v6 = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).unwrap();
    v6.send_to(b"6", (Ipv6Addr::LOCALHOST, port)).unwrap();
    assert_eq!(
        kinds(&both),
        [address, (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)]
    );
}

/// What one stranger's host says does not concern a socket that talks to many.
#[test]
fn a_socket_that_is_not_connected_hears_of_no_icmp() {
    let _limit = limit(30);
    let (ours, _, _) = sockets();
    ours.set_nonblocking(true).unwrap();
    for _ in 0..3 {
        ours.send_to(b"?", closed()).unwrap();
        arrived();
        assert_eq!(errno(ours.recv(&mut [0; 9])), libc::EAGAIN);
    }
}

/// Once, by whatever comes first; a send that tells it has not sent. It outlives a connect to another.
#[test]
fn a_connected_socket_hears_of_icmp_once_and_a_send_that_tells_it_sends_nothing() {
    let _limit = limit(30);
    let (ours, theirs, there) = sockets();
    ours.set_nonblocking(true).unwrap();
    ours.connect(closed()).unwrap();
    ours.send(b"?").unwrap();
    arrived();
    let refused = ours.recv(&mut [0; 9]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(errno(ours.recv(&mut [0; 9])), libc::EAGAIN);
    ours.send(b"?").unwrap();
    arrived();
    ours.connect(there).unwrap();
    let refused = ours.send(b"lost").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    ours.send(b"sent").unwrap();
    assert_eq!(lengths(&theirs), [4]);
    // In the middle of a sendmmsg(2) the error is lost, but nothing else. (A busy kernel reports it later.)
    ours.connect(closed()).unwrap();
    let to_peer = |bytes: &[u8]| plain(bytes.len(), ours.peer_addr().unwrap());
    if send_many(&ours, &[to_peer(b"1"), to_peer(b"2")]).unwrap() == 1 {
        assert_eq!(ours.take_error().unwrap().map(|error| error.kind()), None);
    }
}
