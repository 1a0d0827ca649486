//! Many datagrams a system call: recvmmsg(2) and sendmmsg(2), for the load, for the raw loop, and for a runtime that has
//! neither.
//!
//! Interface: [`Datagrams`].
//! Invariant: the pointers that a call reads are written by that call, so none outlives what it points to. IPv4 only.

use std::io;
use std::mem;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr;

use super::check;

/// Bytes of a datagram that there is room for: what fits into an Ethernet frame, and more.
pub const ROOM: usize = 2048;

/// Places for datagrams, each with the address of its peer.
pub struct Datagrams {
    buffers: Vec<[u8; ROOM]>,
    lengths: Vec<usize>,
    peers: Vec<libc::sockaddr_in>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// Whether the socket is connected, so that no address is given or taken.
    connected: bool,
}

impl Datagrams {
    pub fn new(places: usize, connected: bool) -> Datagrams {
        let nowhere = libc::sockaddr_in {
            sin_family: 0,
            sin_port: 0,
            sin_addr: libc::in_addr { s_addr: 0 },
            sin_zero: [0; 8],
        };
        Datagrams {
            buffers: vec![[0; ROOM]; places],
            lengths: vec![0; places],
            peers: vec![nowhere; places],
            parts: Vec::with_capacity(places),
            headers: Vec::with_capacity(places),
            connected,
        }
    }

    /// Receives what is there into the first places, and returns how many those are; WouldBlock if nothing is there.
    pub fn receive(&mut self, socket: &impl AsRawFd) -> io::Result<usize> {
        self.lengths.fill(ROOM);
        self.point(0..self.buffers.len());
        let (headers, count) = (
            self.headers.as_mut_ptr(),
            self.headers.len() as libc::c_uint,
        );
        let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
        // SAFETY: recvmmsg(2) writes at most `count` headers, and through each as many bytes as `point` says that its
        // buffer and its address have; all of them are in `self`, which is borrowed.
        let count = unsafe { libc::recvmmsg(fd, headers, count, flags, ptr::null_mut()) };
        let count = check(count)? as usize;
        for (length, header) in self.lengths.iter_mut().zip(&self.headers[..count]) {
            *length = header.msg_len as usize;
        }
        Ok(count)
    }

    /// Sends these, each to its peer, and returns how many the kernel has taken, from the first.
    pub fn send(&mut self, socket: &impl AsRawFd, which: Range<usize>) -> io::Result<usize> {
        self.point(which);
        let (headers, count) = (
            self.headers.as_mut_ptr(),
            self.headers.len() as libc::c_uint,
        );
        let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
        // SAFETY: sendmmsg(2) reads `count` headers and what they point to, and writes the length sent into each; all
        // of them are in `self`, which is borrowed.
        Ok(check(unsafe { libc::sendmmsg(fd, headers, count, flags) })? as usize)
    }

    pub fn places(&self) -> usize {
        self.buffers.len()
    }

    /// What was received.
    pub fn bytes(&self, nth: usize) -> &[u8] {
        &self.buffers[nth][..self.lengths[nth]]
    }

    /// What is to be sent.
    pub fn set(&mut self, nth: usize, bytes: &[u8]) {
        self.buffers[nth][..bytes.len()].copy_from_slice(bytes);
        self.lengths[nth] = bytes.len();
    }

    /// Has the headers point to these places.
    fn point(&mut self, which: Range<usize>) {
        self.parts.clear();
        self.headers.clear();
        let buffers = self.buffers[which.clone()].iter_mut();
        let lengths = &self.lengths[which.clone()];
        self.parts
            .extend(buffers.zip(lengths).map(|(buffer, length)| libc::iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: *length,
            }));
        let (connected, peers) = (self.connected, self.peers[which].iter_mut());
        self.headers
            .extend(self.parts.iter_mut().zip(peers).map(|(part, peer)| {
                let (name, length) = match connected {
                    true => (ptr::null_mut(), 0),
                    false => (ptr::from_mut(peer), mem::size_of::<libc::sockaddr_in>()),
                };
                libc::mmsghdr {
                    msg_hdr: libc::msghdr {
                        msg_name: name.cast(),
                        msg_namelen: length as libc::socklen_t,
                        msg_iov: part,
                        msg_iovlen: 1,
                        msg_control: ptr::null_mut(),
                        msg_controllen: 0,
                        msg_flags: 0,
                    },
                    msg_len: 0,
                }
            }));
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn three_come_at_once_and_go_back_where_they_came_from() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        let (mut there, mut back) = (Datagrams::new(4, false), Datagrams::new(4, true));
        let nothing = there.receive(&server).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
        for (nth, text) in ["one", "", "three"].into_iter().enumerate() {
            back.set(nth, text.as_bytes());
        }
        assert_eq!(back.send(&client, 0..3).unwrap(), 3);
        assert_eq!(there.receive(&server).unwrap(), 3);
        assert_eq!(there.send(&server, 1..3).unwrap(), 2);
        assert_eq!(back.receive(&client).unwrap(), 2);
        assert_eq!((back.bytes(0), back.bytes(1)), (&b""[..], &b"three"[..]));
    }
}
