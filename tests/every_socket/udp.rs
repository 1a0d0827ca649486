//! UDP, as the columns see it: a connected socket.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};

use reveille::net::UdpSocket;

use super::subject::{
    Creation, Descriptor, End, Kind, Operation, Parts, Shape, Side, Subject, Wired,
};

pub(crate) fn kinds() -> Vec<Kind> {
    vec![Kind {
        name: "udp::UdpSocket",
        shape: Shape::End(End {
            sides: &[Side::Input, Side::OutputAtOnce],
            breaks: &[Side::Input, Side::OutputAtOnce],
            parts: Parts::Datagrams,
            make,
        }),
        creations: || vec![Creation::new("bind", || UdpSocket::bind(LOCAL))],
    }]
}

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

fn make() -> Wired {
    let peer = std::net::UdpSocket::bind(LOCAL).unwrap();
    // Nothing waits: the addresses need no lookup.
    let socket = futures_lite::future::block_on(async {
        let socket = UdpSocket::bind(LOCAL).await?;
        socket.connect(peer.local_addr()?).await?;
        io::Result::Ok(socket)
    });
    let socket = socket.unwrap();
    peer.connect(socket.local_addr().unwrap()).unwrap();
    // Closed, it has the kernel answer what comes by an ICMP message: udp(7).
    (Box::new(Socket(socket)), Descriptor::boxed(peer, drop))
}

struct Socket(UdpSocket);

impl Subject for Socket {
    fn input<'a>(&'a self, room: &'a mut [u8]) -> Operation<'a> {
        Box::pin(self.0.recv(room))
    }

    fn try_input(&self, room: &mut [u8]) -> io::Result<usize> {
        self.0.try_recv(room)
    }

    fn poll_input(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_recv(cx, room)
    }

    fn output<'a>(&'a self, bytes: &'a [u8]) -> Operation<'a> {
        Box::pin(self.0.send(bytes))
    }

    fn try_output(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_send(bytes)
    }

    fn poll_output(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_send(cx, bytes)
    }

    fn share(&self) -> OwnedFd {
        self.0.as_fd().try_clone_to_owned().unwrap()
    }

    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>> {
        Ok(Box::new(Socket(UdpSocket::from_std(self.0.into_std()?)?)))
    }
}
