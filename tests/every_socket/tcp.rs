//! TCP, as the columns see it: the listener, the stream, its halves.

use std::any::Any;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{future, io};

use reveille::net::tcp::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use reveille::net::{TcpListener, TcpSocket, TcpStream};

use super::dialer::{Dialer, byte_of};
use super::halves::{Halves, OwnedHalves, Whole};
use super::subject::{
    Creation, Descriptor, End, Kind, Operation, Parts, Shape, Side, Subject, Wired,
};
use super::unconnected::{Connecting, To, Unconnected};

pub(crate) fn kinds() -> Vec<Kind> {
    let half = |name, sides, make| {
        let parts = Parts::Bytes;
        // The stream is what has a descriptor, and makes it.
        Kind {
            name,
            shape: Shape::End(End {
                sides,
                breaks: sides,
                parts,
                make,
            }),
            creations: Vec::new,
        }
    };
    vec![
        Kind {
            name: "tcp::TcpListener",
            shape: Shape::End(End {
                sides: &[Side::Input],
                breaks: &[Side::Input],
                parts: Parts::Connections,
                make: || {
                    let listener = bound();
                    let at = listener.local_addr().unwrap();
                    let dial = move || std::net::TcpStream::connect(at);
                    (
                        Box::new(Listener(listener)),
                        Dialer::boxed(dial, close_with_reset),
                    )
                },
            }),
            creations: || vec![Creation::new("bind", || TcpListener::bind(LOCAL))],
        },
        Kind {
            name: "tcp::TcpStream",
            shape: Shape::End(End {
                sides: &[Side::Input, Side::Output],
                breaks: &[Side::Input, Side::Output],
                parts: Parts::Bytes,
                make: || made_by(Stream),
            }),
            creations: stream_creations,
        },
        Kind {
            name: "tcp::TcpSocket",
            shape: Shape::Unconnected(|| Box::new(Socket(TcpSocket::new_v4().unwrap()))),
            creations: || {
                vec![
                    Creation::new("new_v4", || future::ready(TcpSocket::new_v4())),
                    Creation::new("new_v6", || future::ready(TcpSocket::new_v6())),
                ]
            },
        },
        half("tcp::ReadHalf", &[Side::Input], || made_by(Halves::of)),
        half("tcp::WriteHalf", &[Side::Output], || made_by(Halves::of)),
        half("tcp::OwnedReadHalf", &[Side::Input], || {
            made_by(OwnedHalves::of)
        }),
        half("tcp::OwnedWriteHalf", &[Side::Output], || {
            made_by(OwnedHalves::of)
        }),
    ]
}

const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// A listener at an address that needs no lookup: nothing waits, and no runtime is needed.
fn bound() -> TcpListener {
    futures_lite::future::block_on(TcpListener::bind(LOCAL)).unwrap()
}

/// A stream that was accepted, and so has not been waited on; and its peer.
fn accepted() -> (TcpStream, std::net::TcpStream) {
    let listener = bound();
    let peer = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener.try_accept().unwrap().0, peer)
}

fn made_by<S: Subject + 'static>(make: impl FnOnce(TcpStream) -> S) -> Wired {
    let (stream, peer) = accepted();
    (
        Box::new(make(stream)),
        Descriptor::boxed(peer, close_with_reset),
    )
}

fn close_with_reset(socket: OwnedFd) {
    let stream = TcpStream::from_std(socket.into()).unwrap();
    stream.set_zero_linger().unwrap();
}

fn stream_creations() -> Vec<Creation> {
    let server = std::net::TcpListener::bind(LOCAL).unwrap();
    let listener = Rc::new(bound());
    let waiting = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (stream, peer) = accepted();
    let stream = Rc::new(stream);
    vec![
        Creation::new("connect", move || {
            TcpStream::connect(server.local_addr().unwrap())
        }),
        Creation::new("try_accept", move || {
            let (listener, _waiting) = (Rc::clone(&listener), &waiting);
            future::ready(listener.try_accept())
        }),
        Creation::new("try_clone", move || {
            let (stream, _peer) = (Rc::clone(&stream), &peer);
            future::ready(stream.try_clone())
        }),
    ]
}

struct Listener(TcpListener);

impl Subject for Listener {
    fn input<'a>(&'a self, room: &'a mut [u8]) -> Operation<'a> {
        Box::pin(async {
            loop {
                let (stream, _) = self.0.accept().await?;
                if let Some(byte) = byte_of(stream.into_std()?, room) {
                    return byte;
                }
            }
        })
    }

    fn try_input(&self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let (stream, _) = self.0.try_accept()?;
            if let Some(byte) = byte_of(stream.into_std()?, room) {
                return byte;
            }
        }
    }

    fn poll_input(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let (stream, _) = ready!(self.0.poll_accept(cx))?;
            if let Some(byte) = byte_of(stream.into_std()?, room) {
                return Poll::Ready(byte);
            }
        }
    }

    fn share(&self) -> OwnedFd {
        self.0.as_fd().try_clone_to_owned().unwrap()
    }

    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>> {
        let listener = TcpListener::from_std(self.0.into_std()?)?;
        Ok(Box::new(Listener(listener)))
    }
}

struct Stream(TcpStream);

impl Subject for Stream {
    fn input<'a>(&'a self, room: &'a mut [u8]) -> Operation<'a> {
        Box::pin(self.0.read(room))
    }

    fn try_input(&self, room: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(room)
    }

    fn poll_input(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.poll_read(cx, room)
    }

    fn output<'a>(&'a self, bytes: &'a [u8]) -> Operation<'a> {
        Box::pin(self.0.write(bytes))
    }

    fn try_output(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn poll_output(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.poll_write(cx, bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.shutdown(std::net::Shutdown::Write)
    }

    fn share(&self) -> OwnedFd {
        self.0.as_fd().try_clone_to_owned().unwrap()
    }

    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>> {
        Ok(Box::new(Stream(TcpStream::from_std(self.0.into_std()?)?)))
    }
}

impl Whole for TcpStream {
    fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        self.split()
    }

    fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.into_split()
    }

    fn rewrapped(self) -> io::Result<TcpStream> {
        TcpStream::from_std(self.into_std()?)
    }
}

struct Socket(TcpSocket);

impl Unconnected for Socket {
    fn connect(self: Box<Self>, to: To) -> (Connecting, Box<dyn Any>) {
        let (at, place) = place(to);
        let connecting = async move {
            let stream = self.0.connect(at).await?;
            Ok(Box::new(stream) as Box<dyn Any>)
        };
        (Box::pin(connecting), place)
    }

    fn listen(self: Box<Self>) -> io::Result<Box<dyn Any>> {
        Ok(Box::new(self.0.listen(16)?))
    }

    fn changes(&self) -> Vec<(&'static str, io::Result<()>)> {
        vec![
            ("set_reuseaddr", self.0.set_reuseaddr(true)),
            ("set_nodelay", self.0.set_nodelay(true)),
            ("bind", self.0.bind(LOCAL.into())),
        ]
    }

    fn share(&self) -> OwnedFd {
        self.0.as_fd().try_clone_to_owned().unwrap()
    }
}

/// An address, and what is there as long as this lives.
fn place(to: To) -> (SocketAddr, Box<dyn Any>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(LOCAL.into()).unwrap();
    let at = socket.local_addr().unwrap();
    match to {
        // Bound, so that no other socket listens there.
        To::Nowhere => (at, Box::new(socket)),
        To::Listener => (at, Box::new(socket.listen(16).unwrap())),
        To::FullListener => {
            // Linux has room for one more than this; the SYN of a further one is dropped.
            let listener = socket.listen(0).unwrap();
            let waiting = std::net::TcpStream::connect(at).unwrap();
            (at, Box::new((listener, waiting)))
        }
    }
}
