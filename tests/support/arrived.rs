//! When what was sent over the loopback is there.

use std::net::UdpSocket;
use std::time::Duration;

thread_local! {
    /// Sends to itself.
    static MARKER: UdpSocket = {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(socket.local_addr().unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket
    };
}

/// Returns once all datagrams that this thread has sent over the loopback have arrived, and what they are answered with. As
/// a rule they have when send(2) returns, but a busy kernel delivers them later, by a thread: in order, for each CPU, so that
/// what arrives last was sent last.
pub(crate) fn arrived() {
    MARKER.with(|marker| {
        assert_eq!(marker.send(b"").unwrap(), 0);
        assert_eq!(marker.recv(&mut [0]).unwrap(), 0);
    });
}
