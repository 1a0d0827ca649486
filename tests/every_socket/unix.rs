//! Unix sockets, as the columns see them: the listener, the stream, its halves, datagrams, what they are made of.

use std::any::Any;
use std::future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use reveille::net::unix::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use reveille::net::{UnixDatagram, UnixListener, UnixSocket, UnixStream};

use super::dialer::{Dialer, byte_of};
use super::halves::{Halves, OwnedHalves, Whole};
use super::subject::{
    Creation, Descriptor, End, Kind, Operation, Parts, Shape, Side, Subject, Wired,
};
use super::unconnected::{Connecting, To, Unconnected};

pub(crate) fn kinds() -> Vec<Kind> {
    let end = |name, parts, sides, make| {
        let shape = Shape::End(End {
            sides,
            breaks: sides,
            parts,
            make,
        });
        Kind {
            name,
            shape,
            creations: Vec::new,
        }
    };
    let input: &[_] = &[Side::Input];
    let output: &[_] = &[Side::Output];
    let mut kinds = vec![
        end("unix::UnixListener", Parts::Connections, input, || {
            let at = name();
            let listener = UnixListener::bind_addr(&at).unwrap();
            let dial = move || std::os::unix::net::UnixStream::connect_addr(&at);
            (Box::new(Listener(listener)), Dialer::boxed(dial, drop))
        }),
        end(
            "unix::UnixStream",
            Parts::Bytes,
            &[Side::Input, Side::Output],
            || made_by(Stream),
        ),
        end("unix::ReadHalf", Parts::Bytes, input, || {
            made_by(Halves::of)
        }),
        end("unix::WriteHalf", Parts::Bytes, output, || {
            made_by(Halves::of)
        }),
        end("unix::OwnedReadHalf", Parts::Bytes, input, || {
            made_by(OwnedHalves::of)
        }),
        end("unix::OwnedWriteHalf", Parts::Bytes, output, || {
            made_by(OwnedHalves::of)
        }),
    ];
    kinds[0].creations = || {
        vec![Creation::new("bind", || {
            future::ready(UnixListener::bind_addr(&name()))
        })]
    };
    kinds[1].creations = stream_creations;
    kinds.push(Kind {
        name: "unix::UnixDatagram",
        shape: Shape::End(End {
            sides: &[Side::Input, Side::Output],
            // What receives hears nothing of that: it is a send that fails.
            breaks: output,
            parts: Parts::Datagrams,
            make: || {
                let (socket, peer) = UnixDatagram::pair().unwrap();
                (
                    Box::new(Datagram(socket)),
                    Descriptor::boxed(peer.into_std().unwrap(), drop),
                )
            },
        }),
        creations: || {
            vec![
                Creation::new("bind", || future::ready(UnixDatagram::bind_addr(&name()))),
                Creation::new("unbound", || future::ready(UnixDatagram::unbound())),
                Creation::new("pair", || future::ready(UnixDatagram::pair())),
            ]
        },
    });
    kinds.push(Kind {
        name: "unix::UnixSocket",
        shape: Shape::Unconnected(|| Box::new(Socket(UnixSocket::new_stream().unwrap()))),
        creations: || {
            vec![
                Creation::new("new_stream", || future::ready(UnixSocket::new_stream())),
                Creation::new("new_datagram", || future::ready(UnixSocket::new_datagram())),
            ]
        },
    });
    kinds
}

/// A name in the abstract namespace that nothing else has: unix(7).
fn name() -> SocketAddr {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let (process, nth) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    SocketAddr::from_abstract_name(format!("reveille-every-socket-{process}-{nth}")).unwrap()
}

fn made_by<S: Subject + 'static>(make: impl FnOnce(UnixStream) -> S) -> Wired {
    let (stream, peer) = UnixStream::pair().unwrap();
    // What it leaves unread makes its close a reset.
    (
        Box::new(make(stream)),
        Descriptor::boxed(peer.into_std().unwrap(), drop),
    )
}

fn stream_creations() -> Vec<Creation> {
    let (at, elsewhere) = (name(), name());
    let listener = Rc::new(UnixListener::bind_addr(&at).unwrap());
    let waiting = std::os::unix::net::UnixStream::connect_addr(&at).unwrap();
    let server = std::os::unix::net::UnixListener::bind_addr(&elsewhere).unwrap();
    let (stream, peer) = UnixStream::pair().unwrap();
    let stream = Rc::new(stream);
    vec![
        Creation::new("connect", move || {
            let (at, _server) = (elsewhere.clone(), &server);
            async move { UnixStream::connect_addr(&at).await }
        }),
        Creation::new("try_accept", move || {
            let (listener, _waiting) = (Rc::clone(&listener), &waiting);
            future::ready(listener.try_accept())
        }),
        Creation::new("pair", || future::ready(UnixStream::pair())),
        Creation::new("try_clone", move || {
            let (stream, _peer) = (Rc::clone(&stream), &peer);
            future::ready(stream.try_clone())
        }),
    ]
}

struct Listener(UnixListener);

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
        let listener = UnixListener::from_std(self.0.into_std()?)?;
        Ok(Box::new(Listener(listener)))
    }
}

struct Stream(UnixStream);

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
        Ok(Box::new(Stream(UnixStream::from_std(self.0.into_std()?)?)))
    }
}

impl Whole for UnixStream {
    fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        self.split()
    }

    fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        self.into_split()
    }

    fn rewrapped(self) -> io::Result<UnixStream> {
        UnixStream::from_std(self.into_std()?)
    }
}

struct Datagram(UnixDatagram);

impl Subject for Datagram {
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

    fn finish(&mut self) -> io::Result<()> {
        self.0.shutdown(std::net::Shutdown::Write)
    }

    fn share(&self) -> OwnedFd {
        self.0.as_fd().try_clone_to_owned().unwrap()
    }

    fn rewrapped(self: Box<Self>) -> io::Result<Box<dyn Subject>> {
        Ok(Box::new(Datagram(UnixDatagram::from_std(
            self.0.into_std()?,
        )?)))
    }
}

struct Socket(UnixSocket);

impl Unconnected for Socket {
    fn connect(self: Box<Self>, to: To) -> (Connecting, Box<dyn Any>) {
        let (at, place) = place(to);
        let connecting = async move {
            let stream = self.0.connect_addr(&at).await?;
            Ok(Box::new(stream) as Box<dyn Any>)
        };
        (Box::pin(connecting), place)
    }

    fn listen(self: Box<Self>) -> io::Result<Box<dyn Any>> {
        self.0.bind_addr(&name())?;
        Ok(Box::new(self.0.listen(16)?))
    }

    fn changes(&self) -> Vec<(&'static str, io::Result<()>)> {
        vec![
            ("set_passcred", self.0.set_passcred(true)),
            ("bind", self.0.bind_addr(&name())),
        ]
    }

    fn share(&self) -> OwnedFd {
        self.0.as_fd().try_clone_to_owned().unwrap()
    }
}

/// An address, and what is there as long as this lives.
fn place(to: To) -> (SocketAddr, Box<dyn Any>) {
    let (at, socket) = (name(), UnixSocket::new_stream().unwrap());
    socket.bind_addr(&at).unwrap();
    match to {
        To::Nowhere => (at, Box::new(socket)),
        To::Listener => (at, Box::new(socket.listen(16).unwrap())),
        To::FullListener => {
            // Linux has room for one more than this.
            let listener = socket.listen(0).unwrap();
            let waiting = std::os::unix::net::UnixStream::connect_addr(&at).unwrap();
            (at, Box::new((listener, waiting)))
        }
    }
}
