//! UDP from the outside: no datagram is stranded, sent twice or taken for another, and what the network reports is heard
//! once.
//!
//! What is relied on of the kernel is in tests/kernel.rs.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use arrived::arrived;
use reveille::net::UdpSocket;

#[path = "support/arrived.rs"]
mod arrived;
#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/seccomp.rs"]
mod seccomp;
#[path = "support/step.rs"]
mod step;

#[path = "udp/canceling.rs"]
mod canceling;
#[path = "udp/many.rs"]
mod many;
#[path = "udp/one.rs"]
mod one;
#[path = "udp/options.rs"]
mod options;
#[path = "udp/reports.rs"]
mod reports;
#[path = "udp/sending.rs"]
mod sending;

/// A port of the kernel's choice.
const LOCAL: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

async fn socket() -> UdpSocket {
    UdpSocket::bind(LOCAL).await.unwrap()
}

/// Two sockets, the first connected to the second, and the addresses of both.
async fn pair() -> (UdpSocket, UdpSocket, [SocketAddr; 2]) {
    let (ours, theirs) = (socket().await, socket().await);
    let at = [&ours, &theirs].map(|socket| socket.local_addr().unwrap());
    ours.connect(at[1]).await.unwrap();
    (ours, theirs, at)
}

/// An address at which nothing is.
async fn closed() -> SocketAddr {
    socket().await.local_addr().unwrap()
}

/// Polls once, when what was sent before has arrived.
fn now<F: Future>(future: F) -> Poll<F::Output> {
    arrived();
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// What a socket holds, as the kernel has it and without telling the library.
fn waiting(socket: &UdpSocket) -> Vec<Vec<u8>> {
    let socket = socket.as_fd().try_clone_to_owned().unwrap();
    let socket = std::net::UdpSocket::from(socket);
    arrived();
    let mut buf = vec![0; 65_535];
    std::iter::from_fn(|| socket.recv(&mut buf).ok().map(|n| buf[..n].to_vec())).collect()
}

fn lengths(socket: &UdpSocket) -> Vec<usize> {
    waiting(socket).iter().map(Vec::len).collect()
}

#[track_caller]
/// The value of an option, as the kernel has it.
fn get(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> libc::c_int {
    let (mut value, mut len) = (0, size_of::<libc::c_int>() as u32);
    let place = (&raw mut value).cast();
    // SAFETY: the value is an int, and `len` says so.
    let got = unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, place, &raw mut len) };
    assert_eq!(got, 0, "{}", io::Error::last_os_error());
    value
}

fn set(socket: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    let (value, len) = (&raw const value, size_of::<libc::c_int>() as u32);
    // SAFETY: the value is an int that outlives the call.
    let set = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value.cast(), len) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// True if poll(2) says that something can be received.
fn polls_readable(socket: BorrowedFd<'_>) -> bool {
    let mut entry = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: the pointer is to one pollfd, which outlives the call.
    unsafe { libc::poll(&raw mut entry, 1, 0) == 1 }
}
