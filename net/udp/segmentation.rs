//! Whether the kernel cuts what is sent, for one socket (GSO, UDP_SEGMENT), and glues what it receives (GRO, UDP_GRO).
//!
//! Interface: [`Segmentation`]; the limits [`MOST_SEGMENTS`], [`LONGEST_SENT`], [`LONGEST_GLUED`].
//! Invariant: GSO is switched off for good only when bytes that were refused with it have passed without it. An error
//! alone proves nothing: EINVAL may be about the address, and EMSGSIZE is about the size of these datagrams.
//! Read before: `net::sys::many`. Read next: `outgoing`, `udp::options`.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::super::sys::{self, Int};

/// What every kernel that segments takes for one call, in datagrams: UDP_MAX_SEGMENTS, which is 128 from Linux 6.9 on.
pub(super) const MOST_SEGMENTS: usize = 64;

/// And in bytes: those of an IPv4 packet, without its header and UDP's.
pub(super) const LONGEST_SENT: usize = 65_507;

/// The most that datagrams which were glued together can have, in bytes.
pub(super) const LONGEST_GLUED: usize = 65_535;

/// What is known of a socket; atomic, because threads may share the socket.
#[derive(Debug)]
pub(super) struct Segmentation {
    /// One of the states below.
    cutting: AtomicU8,
    /// True if UDP_GRO is on, or is just being set.
    gluing: AtomicBool,
}

/// The kernel has not been asked.
const UNKNOWN: u8 = 0;
/// The kernel cuts, as far as is known.
const ON: u8 = 1;
/// The kernel cannot cut, or has refused, other than by EMSGSIZE, bytes that passed when they were cut here. This state
/// is final.
const OFF: u8 = 2;

impl Segmentation {
    /// What is known of a socket at first: whether UDP_GRO is on (`gluing`), and nothing of GSO.
    pub(super) fn new(gluing: bool) -> Segmentation {
        Segmentation {
            cutting: AtomicU8::new(UNKNOWN),
            gluing: AtomicBool::new(gluing),
        }
    }

    /// True if the kernel cuts what the socket sends, as far as is known. A kernel that does not know the control message
    /// would send all as one datagram, so it is asked for the option first, once a socket.
    pub(super) fn cuts(&self, socket: BorrowedFd<'_>) -> bool {
        match self.cutting.load(Ordering::Relaxed) {
            UNKNOWN => {
                let cuts = sys::get(socket, Int::UDP_SEGMENT).is_ok();
                let state = if cuts { ON } else { OFF };
                self.cutting.store(state, Ordering::Relaxed);
                cuts
            }
            state => state == ON,
        }
    }

    /// True of an error with which the kernel, or a device, may have refused to cut: udp_send_skb in net/ipv4/udp.c.
    pub(super) fn may_be_why(error: &io::Error) -> bool {
        // An EINVAL has no number any more: its text says more.
        let errno = error.raw_os_error();
        error.kind() == io::ErrorKind::InvalidInput
            || matches!(errno, Some(libc::EINVAL | libc::EIO | libc::EMSGSIZE))
    }

    /// Bytes that were refused with this error have passed when they were cut here: the kernel is not asked again. But
    /// EMSGSIZE means that these datagrams are longer than the network carries in one piece (EINVAL, in old kernels), so
    /// they went in fragments. Shorter ones can still be cut by the kernel.
    pub(super) fn passed_without(&self, error: &io::Error) {
        if error.raw_os_error() != Some(libc::EMSGSIZE) {
            self.cutting.store(OFF, Ordering::Relaxed);
        }
    }

    /// True if the kernel may glue what the socket receives.
    pub(super) fn glues(&self) -> bool {
        self.gluing.load(Ordering::Relaxed)
    }

    /// Says whether the kernel may glue: to be called before UDP_GRO is switched on, and after it is switched off.
    pub(super) fn set_glues(&self, glues: bool) {
        self.gluing.store(glues, Ordering::Relaxed);
    }
}
