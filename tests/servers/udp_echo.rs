//! The echo server of datagrams.

use std::net::UdpSocket;
use std::os::fd::FromRawFd;
use std::time::Duration;

use super::server::Server;
use super::terminate;
use crate::limit::limit;

fn client(server: &Server) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(server.address).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    socket
}

/// Catches: an answer to somebody else, cut, or sent twice; an empty datagram without an answer.
#[test]
fn each_datagram_comes_back_whole_to_its_sender() {
    let _limit = limit(300);
    let server = Server::start("udp_echo", &["127.0.0.1:0"]);
    let clients = [(); 40].map(|()| client(&server));
    for round in 0..3 {
        for (nth, client) in clients.iter().enumerate() {
            client.send(&vec![nth as u8; nth * round]).unwrap();
        }
        for (nth, client) in clients.iter().enumerate() {
            let mut answer = [0; 100];
            let n = client.recv(&mut answer).unwrap();
            assert_eq!(answer[..n], vec![nth as u8; nth * round]);
        }
    }
    let longest = vec![7; 65_507];
    clients[0].send(&longest).unwrap();
    let mut answer = vec![0; 70_000];
    assert_eq!(clients[0].recv(&mut answer).unwrap(), longest.len());
    for client in &clients {
        client.set_nonblocking(true).unwrap();
        assert!(client.recv(&mut answer).is_err(), "there is one more");
    }
}

/// Whoever vanishes, or lies about where it is, ends nothing.
/// Catches: an error of one answer that ends the server, or the answers behind it.
#[test]
fn one_who_cannot_be_answered_harms_nobody_else() {
    let _limit = limit(300);
    let mut server = Server::start("udp_echo", &["127.0.0.1:0"]);
    let other = client(&server);
    for _ in 0..100 {
        // Gone before the answer comes.
        client(&server).send(b"?").unwrap();
        from_port_0(&server);
        other.send(b"!").unwrap();
        assert_eq!(other.recv(&mut [0; 9]).unwrap(), 1);
    }
    terminate(&server);
    assert!(server.child.wait().unwrap().success());
}

/// Sends a datagram that says it is from port 0, if this process may: raw(7).
fn from_port_0(server: &Server) {
    // SAFETY: socket(2) takes integers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP) };
    if socket < 0 {
        return;
    }
    // SAFETY: the descriptor is open, and nothing else owns it.
    let socket = unsafe { UdpSocket::from_raw_fd(socket) };
    let mut datagram = vec![0; 2];
    datagram.extend(server.address.port().to_be_bytes());
    datagram.extend(9_u16.to_be_bytes()); // The length, with this header; and no checksum.
    datagram.extend([0, 0, b'?']);
    assert_eq!(socket.send_to(&datagram, server.address).unwrap(), 9);
}
