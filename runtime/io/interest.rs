//! What a task may wait for, and what was reported: two small sets of bits.
//!
//! Interface: [`Interest`] goes in (into epoll_ctl(2), and into a wait), [`Ready`] comes out.
//! Invariant: the bits of an event become readiness here, in [`Ready::from_events`], and nowhere else.
//! Read next: `sources`, which keeps the sets.

use std::fmt;
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};

use libc::{EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP};

/// What to wait for.
///
/// # Examples
/// ```
/// use reveille::io::Interest;
///
/// let both = Interest::READABLE | Interest::WRITABLE;
/// assert!(both.is_readable() && both.is_writable() && !both.is_priority());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interest(u8);

impl Interest {
    /// Something to read, the end of the stream, or an error.
    pub const READABLE: Interest = Interest(1);
    /// Room to write, or an error.
    pub const WRITABLE: Interest = Interest(2);
    /// Priority data: an urgent byte on TCP, a change of a watched file in sysfs or cgroups.
    pub const PRIORITY: Interest = Interest(4);
    /// An error. epoll reports errors whether asked to or not; this waits for nothing else.
    pub const ERROR: Interest = Interest(8);

    /// Both sets together.
    ///
    /// # Examples
    /// ```
    /// use reveille::io::Interest;
    ///
    /// // In a constant, where `|` cannot be.
    /// const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
    /// assert_eq!(BOTH, Interest::READABLE | Interest::WRITABLE);
    /// ```
    #[must_use]
    pub const fn add(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }

    /// True if the set has [`READABLE`](Interest::READABLE).
    pub const fn is_readable(self) -> bool {
        self.0 & Interest::READABLE.0 != 0
    }

    /// True if the set has [`WRITABLE`](Interest::WRITABLE).
    pub const fn is_writable(self) -> bool {
        self.0 & Interest::WRITABLE.0 != 0
    }

    /// True if the set has [`PRIORITY`](Interest::PRIORITY).
    pub const fn is_priority(self) -> bool {
        self.0 & Interest::PRIORITY.0 != 0
    }

    /// True if the set has [`ERROR`](Interest::ERROR).
    pub const fn is_error(self) -> bool {
        self.0 & Interest::ERROR.0 != 0
    }

    /// True if the two sets have something in common.
    #[inline]
    pub(super) const fn intersects(self, other: Interest) -> bool {
        self.0 & other.0 != 0
    }

    /// The set as a number.
    pub(super) const fn bits(self) -> u8 {
        self.0
    }

    /// The set without [`WRITABLE`](Interest::WRITABLE).
    pub(super) const fn without_writable(self) -> Interest {
        Interest(self.0 & !Interest::WRITABLE.0)
    }

    /// The events to register for, edge-triggered.
    pub(super) fn events(self) -> u32 {
        let mut events = libc::EPOLLET;
        if self.is_readable() {
            events |= EPOLLIN | EPOLLRDHUP;
        }
        if self.is_writable() {
            events |= EPOLLOUT;
        }
        if self.is_priority() {
            // RDHUP, too: after the end of the stream no priority data will come.
            events |= EPOLLPRI | EPOLLRDHUP;
        }
        events as u32
    }

    /// The readiness that ends a wait for this.
    #[inline]
    pub(super) const fn mask(self) -> Ready {
        // A table, because this is called several times for each message.
        const MASKS: [Ready; 16] = {
            let mut masks = [Ready::EMPTY; 16];
            let mut bits = 0;
            while bits < 16 {
                let interest = Interest(bits as u8);
                let mut mask = 0;
                if interest.is_readable() {
                    mask |= Ready::READABLE.0 | Ready::READ_CLOSED.0;
                }
                if interest.is_writable() {
                    mask |= Ready::WRITABLE.0 | Ready::WRITE_CLOSED.0;
                }
                if interest.is_priority() {
                    mask |= Ready::PRIORITY.0 | Ready::READ_CLOSED.0;
                }
                if interest.is_error() {
                    mask |= Ready::ERROR.0;
                }
                masks[bits] = Ready(mask);
                bits += 1;
            }
            masks
        };
        MASKS[self.0 as usize % 16]
    }
}

impl BitOr for Interest {
    type Output = Interest;

    #[inline]
    fn bitor(self, other: Interest) -> Interest {
        self.add(other)
    }
}

impl fmt::Debug for Interest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_flags(f, self.0, &["READABLE", "WRITABLE", "PRIORITY", "ERROR"])
    }
}

/// What a source was reported to be ready for.
///
/// Readiness is a hint; see the [contract](crate::io::AsyncFd#contract). None of it lasts for
/// ever: an operation that would block clears its direction, "closed" included (room to write only once epoll reports
/// it, which on the sockets of net is from the first wait for room on).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Ready(u8);

impl Ready {
    /// Nothing.
    pub const EMPTY: Ready = Ready(0);
    /// A read may succeed.
    pub const READABLE: Ready = Ready(1);
    /// A write may succeed.
    pub const WRITABLE: Ready = Ready(2);
    /// The peer will send no more (EPOLLRDHUP), or both directions are down (EPOLLHUP).
    pub const READ_CLOSED: Ready = Ready(4);
    /// Both directions are down (EPOLLHUP), or the read end of a pipe was closed (EPOLLERR). On a datagram
    /// socket it only means that an error was reported, say that the peer's port is closed (ICMP): sends
    /// to other peers work, and sends to the same peer work once a socket is bound there.
    pub const WRITE_CLOSED: Ready = Ready(8);
    /// There is priority data (EPOLLPRI).
    pub const PRIORITY: Ready = Ready(16);
    /// There is an error (EPOLLERR).
    pub const ERROR: Ready = Ready(32);
    /// Everything.
    pub const ALL: Ready = Ready(63);

    /// True if nothing is ready.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if a read may succeed: there is data, or the end of it.
    pub const fn is_readable(self) -> bool {
        self.0 & (Ready::READABLE.0 | Ready::READ_CLOSED.0) != 0
    }

    /// True if a write may succeed, or fail at once.
    pub const fn is_writable(self) -> bool {
        self.0 & (Ready::WRITABLE.0 | Ready::WRITE_CLOSED.0) != 0
    }

    /// True if the peer was reported to have ended its writing.
    pub const fn is_read_closed(self) -> bool {
        self.0 & Ready::READ_CLOSED.0 != 0
    }

    /// True if writing was reported to be over.
    pub const fn is_write_closed(self) -> bool {
        self.0 & Ready::WRITE_CLOSED.0 != 0
    }

    /// True if priority data was reported.
    pub const fn is_priority(self) -> bool {
        self.0 & Ready::PRIORITY.0 != 0
    }

    /// True if an error was reported.
    pub const fn is_error(self) -> bool {
        self.0 & Ready::ERROR.0 != 0
    }

    /// True if the two sets have something in common.
    #[inline]
    pub(super) const fn intersects(self, other: Ready) -> bool {
        self.0 & other.0 != 0
    }

    /// Translates the bits of one event.
    ///
    /// RDHUP ends reading and only that: a peer that shut down writing may still read. HUP and ERR end the
    /// wait of either direction, because the kernel reports them whatever was asked for. The operation that
    /// follows returns the cause: recv(2), send(2), or SO_ERROR.
    #[inline]
    pub(super) fn from_events(events: u32) -> Ready {
        if events == EPOLLIN as u32 {
            // The usual event: bytes have come, and nothing else has happened.
            return Ready::READABLE;
        }
        let has = |bits: i32| events & bits as u32 != 0;
        let mut ready = Ready::EMPTY;
        if has(EPOLLIN) {
            ready |= Ready::READABLE;
        }
        if has(EPOLLOUT) {
            ready |= Ready::WRITABLE;
        }
        if has(EPOLLPRI) {
            ready |= Ready::PRIORITY;
        }
        if has(EPOLLRDHUP) {
            ready |= Ready::READABLE | Ready::READ_CLOSED;
        }
        if has(EPOLLHUP) {
            ready |= Ready::READABLE | Ready::READ_CLOSED;
            ready |= Ready::WRITABLE | Ready::WRITE_CLOSED;
        }
        if has(EPOLLERR) {
            ready |= Ready::READABLE | Ready::WRITABLE | Ready::ERROR;
            // A pipe with no reader left reports ERR and no HUP.
            if !has(EPOLLIN) {
                ready |= Ready::WRITE_CLOSED;
            }
        }
        ready
    }
}

impl BitOr for Ready {
    type Output = Ready;

    #[inline]
    fn bitor(self, other: Ready) -> Ready {
        Ready(self.0 | other.0)
    }
}

impl BitOrAssign for Ready {
    #[inline]
    fn bitor_assign(&mut self, other: Ready) {
        self.0 |= other.0;
    }
}

impl BitAnd for Ready {
    type Output = Ready;

    #[inline]
    fn bitand(self, other: Ready) -> Ready {
        Ready(self.0 & other.0)
    }
}

impl Sub for Ready {
    type Output = Ready;

    /// What is in the first set and not in the second.
    #[inline]
    fn sub(self, other: Ready) -> Ready {
        Ready(self.0 & !other.0)
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = [
            "READABLE",
            "WRITABLE",
            "READ_CLOSED",
            "WRITE_CLOSED",
            "PRIORITY",
            "ERROR",
        ];
        write_flags(f, self.0, &names)
    }
}

/// Writes the names of the bits that are set, lowest first: `READABLE | WRITABLE`.
fn write_flags(f: &mut fmt::Formatter<'_>, bits: u8, names: &[&str]) -> fmt::Result {
    let mut set = (0..)
        .zip(names)
        .filter(|(bit, _)| bits & (1 << bit) != 0)
        .map(|(_, name)| *name);
    f.write_str(set.next().unwrap_or("EMPTY"))?;
    set.try_for_each(|name| write!(f, " | {name}"))
}
