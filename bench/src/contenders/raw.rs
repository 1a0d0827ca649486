//! The floor: an epoll loop by hand, which does for an echo what the kernel asks for and nothing else.
//!
//! Interface: [`Raw`]; it serves, and has no tasks to operate on.
//! Invariant: edge-triggered. A connection is added once, and read until a recv is short or EAGAIN. No
//! connection holds a buffer; what a slow reader leaves over is copied, and nothing is read until it is sent. Datagrams
//! are received until EAGAIN, or until a call has brought fewer than it could.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream, UdpSocket};

use crate::operations::{Operation, Sample};
use crate::sys::datagrams::{Datagrams, ROOM};
use crate::sys::{Epoll, accept};

use super::{Bench, Buffer, OWN, SHARED};

pub(super) struct Raw;

/// The token of the listener; a connection's is its place in the table.
const LISTENER: u64 = u64::MAX;

impl Bench for Raw {
    fn operate(&self, _: Operation, _: u64) -> io::Result<Sample> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn serve(&self, buffer: Buffer, ready: &dyn Fn(u16)) -> io::Result<()> {
        let listener = TcpListener::bind("0.0.0.0:0")?;
        listener.set_nonblocking(true)?;
        let mut epoll = Epoll::new()?;
        epoll.add(&listener, LISTENER)?;
        ready(listener.local_addr()?.port());
        let size = match buffer {
            Buffer::Own | Buffer::Boxed => OWN,
            Buffer::Shared => SHARED,
        };
        let mut buf = vec![0; size];
        let mut connections: Vec<Option<Connection>> = Vec::new();
        let mut free = Vec::new();
        loop {
            for nth in 0..epoll.wait(-1)? {
                let token = epoll.token(nth);
                if token == LISTENER {
                    while let Some(stream) = unless_blocked(accept(&listener))? {
                        let mut connection = Connection {
                            stream,
                            left_over: Vec::new(),
                            added: false,
                        };
                        // What is there already needs no epoll. A failed connection is forgotten.
                        if let Ok(Open::Yes) = connection.echo(&mut buf) {
                            let index = free.pop().unwrap_or(connections.len());
                            epoll.add(&connection.stream, index as u64)?;
                            connection.added = true;
                            connections.resize_with(connections.len().max(index + 1), || None);
                            connections[index] = Some(connection);
                        }
                    }
                    continue;
                }
                let index = token as usize;
                let connection = connections[index].as_mut();
                let connection = connection.expect("a closed descriptor reports nothing");
                if !matches!(connection.echo(&mut buf), Ok(Open::Yes)) {
                    // Closing takes it out of epoll: nobody has duplicated the descriptor.
                    connections[index] = None;
                    free.push(index);
                }
            }
        }
    }

    fn serve_datagrams(&self, at_once: usize, ready: &dyn Fn(u16)) -> io::Result<()> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.set_nonblocking(true)?;
        let mut epoll = Epoll::new()?;
        epoll.add_readable(&socket, 0)?;
        ready(socket.local_addr()?.port());
        let mut datagrams = Datagrams::new(at_once, false);
        loop {
            epoll.wait(-1)?;
            match at_once {
                1 => echo_each(&socket)?,
                _ => echo_many(&socket, &mut datagrams)?,
            }
        }
    }
}

/// Until there is nothing to receive. Over loopback there is always room to send: a datagram belongs to the receiver at once.
fn echo_each(socket: &UdpSocket) -> io::Result<()> {
    let mut buf = [0; ROOM];
    while let Some((n, peer)) = unless_blocked(socket.recv_from(&mut buf))? {
        socket.send_to(&buf[..n], peer)?;
    }
    Ok(())
}

/// The same, many a call. A call that brings fewer than it could has emptied the socket: what comes later is a new edge.
fn echo_many(socket: &UdpSocket, datagrams: &mut Datagrams) -> io::Result<()> {
    while let Some(received) = unless_blocked(datagrams.receive(socket))? {
        let mut sent = 0;
        while sent < received {
            sent += datagrams.send(socket, sent..received)?;
        }
        if received < datagrams.places() {
            break;
        }
    }
    Ok(())
}

struct Connection {
    stream: TcpStream,
    left_over: Vec<u8>,
    /// To epoll.
    added: bool,
}

enum Open {
    Yes,
    No,
}

impl Connection {
    /// Until there is nothing to read, or no room to write.
    fn echo(&mut self, buf: &mut [u8]) -> io::Result<Open> {
        loop {
            while !self.left_over.is_empty() {
                match unless_blocked(self.stream.write(&self.left_over))? {
                    Some(sent) => drop(self.left_over.drain(..sent)),
                    None => return Ok(Open::Yes),
                }
            }
            let n = match unless_blocked(self.stream.read(buf))? {
                Some(0) => return Ok(Open::No),
                Some(n) => n,
                None => return Ok(Open::Yes),
            };
            let sent = unless_blocked(self.stream.write(&buf[..n]))?.unwrap_or(0);
            self.left_over.extend_from_slice(&buf[sent..n]);
            // A short read has emptied the socket; what comes later, its end too, is a new edge. Before it
            // is added a try costs less than an ADD, and may find the end.
            if n < buf.len() && self.added && self.left_over.is_empty() {
                return Ok(Open::Yes);
            }
        }
    }
}

fn unless_blocked<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
