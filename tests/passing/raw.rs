//! Messages with control data, by libc: what the kernel does, without the library.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use libc::{c_int, c_void};

/// linux/socket.h; not every release of libc has names for these.
pub(crate) const SO_PASSPIDFD: c_int = 76;
pub(crate) const SCM_PIDFD: c_int = 4;

/// CMSG_LEN and CMSG_SPACE of so many descriptors: a header of 16 bytes, and 4 for each, without and with padding.
pub(crate) const fn len(fds: usize) -> usize {
    16 + 4 * fds
}
pub(crate) const fn space(fds: usize) -> usize {
    len(fds).next_multiple_of(8)
}
/// CMSG_SPACE of struct ucred.
pub(crate) const CREDENTIALS: usize = space(3);

/// What came: the kind of each control message, and how many ints it has, which are closed if they are descriptors.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: usize,
    pub(crate) kinds: Vec<(c_int, usize)>,
    /// MSG_CTRUNC.
    pub(crate) cut: bool,
}

/// Receives up to 16 bytes, with so much room for control data.
pub(crate) fn recv(socket: RawFd, room: usize) -> io::Result<Received> {
    let mut control = [0_u64; 300];
    let mut bytes = [0_u8; 16];
    let mut iovec = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast::<c_void>(),
        iov_len: bytes.len(),
    };
    // SAFETY: msghdr consists of integers and pointers, for which all zeros is a value.
    let mut message = unsafe { mem::zeroed::<libc::msghdr>() };
    message.msg_iov = &raw mut iovec;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast::<c_void>();
    message.msg_controllen = room.min(mem::size_of_val(&control));
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: `message` points to one iovec, of `bytes`, and to `msg_controllen` bytes of `control`, and all outlive the call.
    let n = unsafe { libc::recvmsg(socket, &raw mut message, flags) };
    let bytes = usize::try_from(n).map_err(|_| io::Error::last_os_error())?;
    let mut control = &control.map(u64::to_ne_bytes).concat()[..message.msg_controllen];
    let mut kinds = Vec::new();
    while let Some(len) = control.first_chunk() {
        let len = usize::from_ne_bytes(*len);
        let kind = c_int::from_ne_bytes(*control[12..].first_chunk().unwrap());
        let data = &control[16..len];
        if matches!(kind, libc::SCM_RIGHTS | SCM_PIDFD) {
            for number in data.chunks_exact(4) {
                let number = c_int::from_ne_bytes(number.try_into().unwrap());
                // SAFETY: recvmsg(2) has just made it, and nothing else owns it.
                drop(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        kinds.push((kind, data.len() / 4));
        control = control.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    let cut = message.msg_flags & libc::MSG_CTRUNC != 0;
    Ok(Received { bytes, kinds, cut })
}

/// Sends bytes, and descriptors with them.
pub(crate) fn send(socket: RawFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut control = vec![0_u8; space(fds.len())];
    control[..8].copy_from_slice(&len(fds.len()).to_ne_bytes());
    control[8..12].copy_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    control[12..16].copy_from_slice(&libc::SCM_RIGHTS.to_ne_bytes());
    for (number, fd) in control[16..].chunks_exact_mut(4).zip(fds) {
        number.copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
    }
    let mut words: Vec<_> = control
        .chunks_exact(8)
        .map(|word| u64::from_ne_bytes(word.try_into().unwrap()))
        .collect();
    let mut iovec = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast::<c_void>(),
        iov_len: bytes.len(),
    };
    // SAFETY: msghdr consists of integers and pointers, for which all zeros is a value.
    let mut message = unsafe { mem::zeroed::<libc::msghdr>() };
    message.msg_iov = &raw mut iovec;
    message.msg_iovlen = 1;
    message.msg_control = words.as_mut_ptr().cast::<c_void>();
    message.msg_controllen = control.len();
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `message` points to one iovec, of `bytes`, and to `msg_controllen` bytes of `words`; sendmsg(2) only reads, and
    // all outlive the call.
    let n = unsafe { libc::sendmsg(socket, &raw const message, flags) };
    usize::try_from(n).map_err(|_| io::Error::last_os_error())
}

/// Sets an option of the socket level. False if the kernel does not know it.
#[must_use]
pub(crate) fn set(socket: RawFd, option: c_int, value: c_int) -> bool {
    let (value, len) = (&raw const value, size_of::<c_int>() as u32);
    // SAFETY: the value is an int that outlives the call.
    let outcome = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, value.cast(), len) };
    outcome == 0
}
