//! Calls that take the address of a Unix socket, or descriptors.

use std::io::Result;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::limit::limit;
use crate::net::sys::{self, UnixAddr, faults};

/// Fault A15: an EINTR is injected into each call, and then an error that shows there was a second try. Catches: a call that
/// goes to `checked` instead of `retry`.
#[test]
fn a_call_with_an_address_or_with_descriptors_is_made_again_after_a_signal() {
    let _limit = limit(30);
    type Call = (
        &'static str,
        fn(BorrowedFd<'_>, &mut UnixAddr) -> Result<usize>,
    );
    let calls: [Call; 6] = [
        ("sendto", |fd, at| sys::send_to(fd, b"x", at)),
        ("recvfrom", |fd, at| sys::recv_from(fd, &mut [0], 0, at)),
        ("recvfrom", |fd, at| {
            sys::recv_vec_from(fd, &mut vec![0], at)
        }),
        ("sendmsg", |fd, at| sys::send_fds(fd, &[], &[], Some(at))),
        ("sendmsg", |fd, _| sys::send_fds(fd, &[], &[], None)),
        ("recvmsg", |fd, at| {
            Ok(sys::recv_fds(fd, &mut [], 1, at)?.len)
        }),
    ];
    let (socket, _peer) = UnixDatagram::pair().unwrap();
    let datagram = crate::net::UnixDatagram::from_std(socket.try_clone().unwrap()).unwrap();
    faults::inject("connect", libc::EINTR);
    faults::inject("connect", libc::EXFULL);
    let error = datagram.connect("/nowhere").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EXFULL), "connect");
    for (name, call) in calls {
        faults::inject(name, libc::EINTR);
        faults::inject(name, libc::EINTR);
        faults::inject(name, libc::EXFULL); // no system call here ever gives this one
        let at = &mut UnixAddr::encode(&SocketAddr::from_pathname("/nowhere").unwrap());
        let error = call(socket.as_fd(), at).expect_err(name);
        assert_eq!(error.raw_os_error(), Some(libc::EXFULL), "{name}");
    }
}
