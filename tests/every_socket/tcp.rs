//! TCP, as the columns see it: the listener, the stream, its halves.

use std::cell::RefCell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::{future, io};

use reveille::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use reveille::net::{TcpListener, TcpStream};

use super::subject::{
    Creation, Descriptor, End, Kind, Operation, Parts, Peer, Shape, Side, Subject,
};

pub(crate) fn kinds() -> Vec<Kind> {
    let half = |name, sides, make| {
        let parts = Parts::Bytes;
        // The stream is what has a descriptor, and makes it.
        Kind {
            name,
            shape: Shape::End(End { sides, parts, make }),
            creations: Vec::new,
        }
    };
    vec![
        Kind {
            name: "tcp::TcpListener",
            shape: Shape::End(End {
                sides: &[Side::Input],
                parts: Parts::Connections,
                make: || {
                    let listener = bound();
                    let at = listener.local_addr().unwrap();
                    (
                        Box::new(Listener(listener)),
                        Box::new(Dialer {
                            at,
                            open: Vec::new(),
                        }),
                    )
                },
            }),
            creations: || vec![Creation::new("bind", || TcpListener::bind(LOCAL))],
        },
        Kind {
            name: "tcp::TcpStream",
            shape: Shape::End(End {
                sides: &[Side::Input, Side::Output],
                parts: Parts::Bytes,
                make: || made_by(Stream),
            }),
            creations: stream_creations,
        },
        half("tcp::ReadHalf", &[Side::Input], || {
            made_by(|s| Halves(RefCell::new(s)))
        }),
        half("tcp::WriteHalf", &[Side::Output], || {
            made_by(|s| Halves(RefCell::new(s)))
        }),
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

fn made_by<S: Subject + 'static>(
    make: impl FnOnce(TcpStream) -> S,
) -> (Box<dyn Subject>, Box<dyn Peer>) {
    let (stream, peer) = accepted();
    (
        Box::new(make(stream)),
        Descriptor::new(peer, close_with_reset),
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

/// The byte that came by a connection, or none if it was broken off: its sender wrote it before it was accepted.
fn byte_of(stream: TcpStream, room: &mut [u8]) -> io::Result<usize> {
    let mut stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.read(&mut room[..1])
}

fn is_reset(outcome: &io::Result<usize>) -> bool {
    outcome
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

impl Subject for Listener {
    fn input<'a>(&'a self, room: &'a mut [u8]) -> Operation<'a> {
        Box::pin(async {
            loop {
                let byte = byte_of(self.0.accept().await?.0, room);
                if !is_reset(&byte) {
                    return byte;
                }
            }
        })
    }

    fn try_input(&self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let byte = byte_of(self.0.try_accept()?.0, room);
            if !is_reset(&byte) {
                return byte;
            }
        }
    }

    fn poll_input(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            let byte = byte_of(ready!(self.0.poll_accept(cx))?.0, room);
            if !is_reset(&byte) {
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

/// Connects, and keeps what it connected.
struct Dialer {
    at: SocketAddr,
    open: Vec<std::net::TcpStream>,
}

impl Peer for Dialer {
    fn give(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for byte in bytes {
            let mut stream = std::net::TcpStream::connect(self.at)?;
            stream.write_all(&[*byte])?;
            self.open.push(stream);
        }
        Ok(bytes.len())
    }

    fn reset(&mut self) {
        let stream = std::net::TcpStream::connect(self.at).unwrap();
        close_with_reset(stream.into());
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

/// A stream that each operation splits anew, because the halves borrow it.
struct Halves(RefCell<TcpStream>);

impl Subject for Halves {
    fn input<'a>(&'a self, room: &'a mut [u8]) -> Operation<'a> {
        Box::pin(async {
            let mut stream = self.0.borrow_mut();
            let (reader, _) = stream.split();
            reader.read(room).await
        })
    }

    fn try_input(&self, room: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().split().0.try_read(room)
    }

    fn poll_input(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().split().0.poll_read(cx, room)
    }

    fn output<'a>(&'a self, bytes: &'a [u8]) -> Operation<'a> {
        Box::pin(async {
            let mut stream = self.0.borrow_mut();
            let (_, writer) = stream.split();
            writer.write(bytes).await
        })
    }

    fn try_output(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().split().1.try_write(bytes)
    }

    fn poll_output(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().split().1.poll_write(cx, bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.0.get_mut().split().1.shutdown()
    }

    fn share(&self) -> OwnedFd {
        let stream = self.0.borrow();
        stream.as_fd().try_clone_to_owned().unwrap()
    }

    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>> {
        let stream = TcpStream::from_std(self.0.into_inner().into_std()?)?;
        Ok(Box::new(Halves(RefCell::new(stream))))
    }
}

/// Both halves; the one that writes is dropped to end writing.
struct OwnedHalves {
    reader: OwnedReadHalf,
    writer: Option<OwnedWriteHalf>,
}

impl OwnedHalves {
    fn of(stream: TcpStream) -> OwnedHalves {
        let (reader, writer) = stream.into_split();
        OwnedHalves {
            reader,
            writer: Some(writer),
        }
    }

    fn writer(&self) -> &OwnedWriteHalf {
        self.writer.as_ref().expect("writing was not ended")
    }
}

impl Subject for OwnedHalves {
    fn input<'a>(&'a self, room: &'a mut [u8]) -> Operation<'a> {
        Box::pin(self.reader.read(room))
    }

    fn try_input(&self, room: &mut [u8]) -> io::Result<usize> {
        self.reader.try_read(room)
    }

    fn poll_input(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        self.reader.poll_read(cx, room)
    }

    fn output<'a>(&'a self, bytes: &'a [u8]) -> Operation<'a> {
        Box::pin(self.writer().write(bytes))
    }

    fn try_output(&self, bytes: &[u8]) -> io::Result<usize> {
        self.writer().try_write(bytes)
    }

    fn poll_output(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writer().poll_write(cx, bytes)
    }

    fn finish(&mut self) -> io::Result<()> {
        self.writer = None;
        Ok(())
    }

    fn share(&self) -> OwnedFd {
        self.reader.as_ref().as_fd().try_clone_to_owned().unwrap()
    }

    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>> {
        let writer = self.writer.expect("writing was not ended");
        let stream = self.reader.reunite(writer).expect("they are of one stream");
        let stream = TcpStream::from_std(stream.into_std()?)?;
        Ok(Box::new(OwnedHalves::of(stream)))
    }
}
