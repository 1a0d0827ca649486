//! Several messages a call.
//!
//! Interface: [`send_many`], [`recv_many`], of at most [`MOST_MESSAGES`] messages. Where a sandbox refuses the call, the
//! messages go one by one.
//! Invariants:
//! - An error means that nothing was sent or received. It is about the first message, or what the network has reported
//!   about an earlier one. sendmmsg(2) and recvmmsg(2) return how far they came, and no error, once they have done anything.
//! - No error is taken for a refusal that may be one of the socket's: such an error is pending only once, and what is done
//!   in place of the call would not meet it.
//!
//! Read before: `message`. Read next: `udp::batch`, `udp::outgoing`.

use std::io::{self, IoSliceMut};
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use super::message::{EMPTY_IOVEC, sending_to};
use super::{Inbound, Outbound, is_refusal, recv_message, retry, send_message};

/// As many go with one call: their headers are on the stack, and the price of a call is a small part of theirs.
pub(crate) const MOST_MESSAGES: usize = 32;

/// Sends messages, in order, and returns how many, which may be fewer than all: the next one has to wait, or failed, and
/// a further call, with that one first, says which. Of more than [`MOST_MESSAGES`] the first are sent.
pub(crate) fn send_many<'a>(
    fd: BorrowedFd<'_>,
    messages: impl Iterator<Item = Outbound<'a>>,
) -> io::Result<usize> {
    // Each is made in its place: to fill places with empty messages first took a quarter of the time of a call.
    let mut places = [const { None::<Outbound<'a>> }; MOST_MESSAGES];
    let mut iovecs = [EMPTY_IOVEC; MOST_MESSAGES];
    let mut headers = empty_headers();
    let mut count = 0;
    let rooms = headers.iter_mut().zip(&mut iovecs);
    for ((place, message), (header, iovec)) in places.iter_mut().zip(messages).zip(rooms) {
        header.msg_hdr = place.insert(message).header(iovec);
        count += 1;
    }
    let to = places[0].as_ref().and_then(|first| first.to.as_ref());
    let sent = sending_to(to, "sendmmsg", || {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: the pointer is good for reads and writes of `count` mmsghdrs, because so many of `headers` have been
        // filled in; each is good for a call that sends (see `Outbound::header`), because `places` and `iovecs` live
        // for the whole call; sendmmsg(2) writes `msg_len` only and keeps no pointer.
        let sent = unsafe { libc::sendmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, flags) };
        sent as isize
    });
    match sent {
        Err(error) if is_refusal(&error) && is_sendmmsg_refused() => {
            send_one_by_one(fd, places.iter().flatten())
        }
        sent => sent,
    }
}

/// Asks by a call that is about no socket, and so is EBADF (-1 is none) unless it is refused. Each time anew: a filter of
/// seccomp(2) belongs to a thread, and may come later.
fn is_sendmmsg_refused() -> bool {
    let asked = retry("sendmmsg", || {
        // SAFETY: the pointer is good for reads and writes of no mmsghdr, because any is.
        unsafe { libc::sendmmsg(-1, ptr::null_mut(), 0, 0) }
    });
    asked.is_err_and(|error| is_refusal(&error))
}

/// As [`is_sendmmsg_refused`].
fn is_recvmmsg_refused() -> bool {
    let asked = retry("recvmmsg", || {
        // SAFETY: the pointer is good for reads and writes of no mmsghdr, because any is; a null pointer is no timeout.
        unsafe { libc::recvmmsg(-1, ptr::null_mut(), 0, 0, ptr::null_mut()) }
    });
    asked.is_err_and(|error| is_refusal(&error))
}

/// What [`send_many`] does without sendmmsg(2), with the same outcome.
fn send_one_by_one<'a>(
    fd: BorrowedFd<'_>,
    messages: impl Iterator<Item = &'a Outbound<'a>>,
) -> io::Result<usize> {
    let mut sent = 0;
    for message in messages {
        match send_message(fd, message) {
            Err(error) if sent == 0 => return Err(error),
            Err(_) => break, // As sendmmsg(2) does it.
            Ok(_) => sent += 1,
        }
    }
    Ok(sent)
}

/// Receives messages, one into each buffer, and returns how many. What is told of each is in the [`Inbound`] of the same
/// position; those behind are untouched, or empty.
pub(crate) fn recv_many(
    fd: BorrowedFd<'_>,
    bufs: &mut [IoSliceMut<'_>],
    inbounds: &mut [Inbound],
) -> io::Result<usize> {
    let mut iovecs = [EMPTY_IOVEC; MOST_MESSAGES];
    let mut headers = empty_headers();
    let mut count = 0;
    let rooms = bufs.iter_mut().zip(&mut *inbounds);
    for ((header, iovec), (buf, inbound)) in headers.iter_mut().zip(&mut iovecs).zip(rooms) {
        header.msg_hdr = inbound.header(buf, iovec);
        count += 1;
    }
    let received = retry("recvmmsg", || {
        // No timeout: recvmmsg(2), BUGS.
        let (flags, timeout) = (libc::MSG_DONTWAIT, ptr::null_mut());
        // SAFETY: the pointer is good for reads and writes of `count` mmsghdrs, because so many of `headers` have been
        // filled in; each is good for a call that receives (see `Inbound::header`), because `bufs` and `inbounds` are
        // borrowed mutably and `iovecs` lives for the whole call; recvmmsg(2) takes no timeout for a null pointer, and
        // keeps none.
        unsafe { libc::recvmmsg(fd.as_raw_fd(), headers.as_mut_ptr(), count, flags, timeout) }
    });
    let received = match (received, bufs.first_mut(), inbounds.first_mut()) {
        (Err(error), Some(buf), Some(inbound)) if is_refusal(&error) && is_recvmmsg_refused() => {
            return recv_message(fd, buf, inbound).map(|()| 1);
        }
        (received, ..) => received?.unsigned_abs() as usize,
    };
    for (header, inbound) in headers.iter().take(received).zip(inbounds) {
        inbound.came(&header.msg_hdr, header.msg_len as usize);
    }
    Ok(received)
}

/// Headers without address, buffers and control data, to be filled in.
fn empty_headers() -> [libc::mmsghdr; MOST_MESSAGES] {
    // SAFETY: all bytes zero are a value of each mmsghdr, because it consists of integers and raw pointers only
    // (recvmmsg(2)).
    unsafe { mem::zeroed::<[libc::mmsghdr; MOST_MESSAGES]>() }
}
