//! The options of a TCP stream.
//!
//! Interface: getters and setters of [`TcpStream`].
//! Invariant: nothing here hands the socket out, as `as_fd` does: after that each read that drains it would cost a
//! recv(2) and a poll(2) more. So options have methods of their own, and need no other crate.
//! Read before: `tcp::stream`. Read next: `keepalive`.

use std::io;
use std::time::Duration;

use super::super::methods::{buffer_sizes, refuse_in_child, set_buffer_size};
use super::super::sys::{self, Int};
use super::keepalive::TcpKeepalive;
use super::stream::TcpStream;

impl TcpStream {
    /// True if small writes are sent at once, and not gathered first (TCP_NODELAY).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn nodelay(&self) -> io::Result<bool> {
        self.std().nodelay()
    }

    /// Sets whether small writes are sent at once.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().set_nodelay(nodelay)
    }

    /// The time to live of the stream's packets, in hops (IP_TTL).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn ttl(&self) -> io::Result<u32> {
        self.std().ttl()
    }

    /// Sets the time to live of the stream's packets, in hops.
    ///
    /// # Errors
    /// EINVAL for 0 and above 255: setsockopt(2).
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        self.std().set_ttl(ttl)
    }

    /// How long the close waits for what has not been sent; `None` if it does not wait (SO_LINGER). There is
    /// no setter but [`set_zero_linger`](TcpStream::set_zero_linger): with a linger of 2 s, the close of a
    /// non-blocking socket blocked its thread for 2.02 s.
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        let seconds = sys::linger(self.socket())?;
        Ok(seconds.map(|seconds| Duration::from_secs(seconds.into())))
    }

    /// True if acknowledgments are sent at once, and not with the next data (TCP_QUICKACK).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn quickack(&self) -> io::Result<bool> {
        sys::quickack(self.socket())
    }

    /// Sets whether acknowledgments are sent at once. The setting does not last: the kernel turns it on and
    /// off by itself (tcp(7)).
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_quickack(&self, quickack: bool) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        sys::set_quickack(self.socket(), quickack)
    }

    /// When the kernel asks a silent peer if it is still there (SO_KEEPALIVE and its kin); `None` if it does not.
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn keepalive(&self) -> io::Result<Option<TcpKeepalive>> {
        TcpKeepalive::of(self.socket())
    }

    /// Has the kernel ask a silent peer if it is still there, or no longer. Without this, a connection whose peer has
    /// vanished lives for ever, unless something is sent.
    ///
    /// # Errors
    /// `InvalidInput` for what is beyond the limits of [`TcpKeepalive`], and nothing is set; else as setsockopt(2).
    pub fn set_keepalive(&self, keepalive: Option<&TcpKeepalive>) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        match keepalive {
            Some(keepalive) => keepalive.give_to(self.socket()),
            None => sys::set(self.socket(), Int::KEEPALIVE, 0),
        }
    }

    /// How long what was sent may stay unacknowledged before the connection is broken; `None` if that is the system's
    /// limit, of some 15 minutes (TCP_USER_TIMEOUT, tcp(7)).
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        let millis = sys::get(self.socket(), Int::USER_TIMEOUT)?.unsigned_abs();
        Ok((millis > 0).then(|| Duration::from_millis(millis.into())))
    }

    /// Sets how long what was sent may stay unacknowledged, in milliseconds, of which parts count as one: from 1 ms to
    /// 24 days. `None` is the system's limit. It also takes the place of the retries of a
    /// [keepalive](TcpStream::set_keepalive): a silent peer is given up at the first question after this time.
    ///
    /// # Errors
    /// `InvalidInput` for another duration; else as setsockopt(2).
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        let millis = |timeout: Duration| {
            let millis = timeout.as_nanos().div_ceil(1_000_000);
            let millis = libc::c_int::try_from(millis)
                .ok()
                .filter(|&millis| millis > 0);
            let text = "a user timeout is from 1 ms to 2,147,483,647 ms";
            millis.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, text))
        };
        let millis = timeout.map_or(Ok(0), millis)?;
        sys::set(self.socket(), Int::USER_TIMEOUT, millis)
    }

    buffer_sizes!();

    /// Makes the close reset the connection (SO_LINGER of zero): the peer sees ECONNRESET, bytes
    /// not yet sent are thrown away, and no TIME_WAIT remains. A linger of more than zero is not
    /// offered: it would block the thread in close(2), non-blocking or not.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn set_zero_linger(&self) -> io::Result<()> {
        refuse_in_child(self.socket())?;
        sys::set_zero_linger(self.socket())
    }

    /// Takes the error that is pending on the socket, if there is one (SO_ERROR). The socket has it no
    /// longer.
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        // A child would take the error from its parent.
        refuse_in_child(self.socket())?;
        self.std().take_error()
    }
}
