//! Options that sockets of several types have: each is written, and documented, once.
//!
//! Interface: [`ip_options!`] and [`device!`], for the body of an `impl` whose type has a method `socket`; [`is_on`],
//! [`get_of_v6`], [`set_option`] and [`number`], for options of single types.
//! Invariants:
//! - Nothing here hands the socket out, as `as_fd` does: after that each read that drains it would cost a recv(2) and a
//!   poll(2) more. So options have methods of their own, and need no other crate.
//! - A value that the kernel would refuse is refused here, with the limits: the kernel says EINVAL only, which looks as if
//!   a sandbox had refused the call. So is one that it would cut to another meaning, as a number above 255 or the name of
//!   a device; it still cuts what it must, as the lowest two bits of a type of service.
//! - In the child of a fork nothing is set ([`refuse_in_child`]).
//!
//! Read before: `methods`. Read next: `tcp::options`.

use std::io;
use std::os::fd::BorrowedFd;

use libc::c_int;

use super::methods::refuse_in_child;
use super::sys::{self, Bytes, Int};

/// What the packets of a socket say to the routers between.
macro_rules! ip_options {
    () => {
        /// How many routers a packet of the socket may pass (IP_TTL), if it is one of IPv4; for IPv6 there is
        /// [`unicast_hops_v6`](Self::unicast_hops_v6).
        ///
        /// # Errors
        /// As getsockopt(2).
        pub fn ttl(&self) -> io::Result<u32> {
            Ok(sys::get(self.socket(), Int::TTL)?.unsigned_abs())
        }

        /// Sets how many routers an IPv4 packet of the socket may pass, from 1 to 255 (ip(7)). What a TCP listener accepts
        /// inherits it, unless it waits already.
        ///
        /// # Errors
        /// `InvalidInput` for another number; else as setsockopt(2).
        pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
            set_option(self.socket(), Int::TTL, number("a time to live", ttl, 1)?)
        }

        /// How many routers an IPv6 packet of the socket may pass (IPV6_UNICAST_HOPS).
        ///
        /// # Errors
        /// ENOPROTOOPT on a socket of IPv4; else as getsockopt(2).
        pub fn unicast_hops_v6(&self) -> io::Result<u32> {
            Ok(get_of_v6(self.socket(), Int::HOPS)?.unsigned_abs())
        }

        /// Sets how many routers an IPv6 packet of the socket may pass, from 1 to 255 (ipv6(7)). What a TCP listener
        /// accepts inherits it, unless it waits already.
        ///
        /// # Errors
        /// `InvalidInput` for another number; ENOPROTOOPT on a socket of IPv4; else as setsockopt(2).
        pub fn set_unicast_hops_v6(&self, hops: u32) -> io::Result<()> {
            set_option(self.socket(), Int::HOPS, number("a hop limit", hops, 1)?)
        }

        /// The type of service of the socket's IPv4 packets, a byte (IP_TOS).
        ///
        /// # Errors
        /// As getsockopt(2).
        pub fn tos_v4(&self) -> io::Result<u32> {
            Ok(sys::get(self.socket(), Int::TOS)?.unsigned_abs())
        }

        /// Sets the type of service of the socket's IPv4 packets, from 0 to 255, which a router may look at (ip(7)): the
        /// upper six bits are the DSCP of RFC 2474, the lowest two a mark of congestion, which a TCP socket leaves as it
        /// is. What a TCP listener accepts inherits it, unless it waits already.
        ///
        /// # Errors
        /// `InvalidInput` for another number, of which the kernel would drop the upper bits; else as setsockopt(2).
        pub fn set_tos_v4(&self, tos: u32) -> io::Result<()> {
            set_option(
                self.socket(),
                Int::TOS,
                number("a type of service", tos, 0)?,
            )
        }

        /// The traffic class of the socket's IPv6 packets, a byte (IPV6_TCLASS).
        ///
        /// # Errors
        /// ENOPROTOOPT on a socket of IPv4; else as getsockopt(2).
        pub fn tclass_v6(&self) -> io::Result<u32> {
            Ok(get_of_v6(self.socket(), Int::TRAFFIC_CLASS)?.unsigned_abs())
        }

        /// Sets the traffic class of the socket's IPv6 packets, from 0 to 255; see [`set_tos_v4`](Self::set_tos_v4).
        ///
        /// # Errors
        /// `InvalidInput` for another number; ENOPROTOOPT on a socket of IPv4; else as setsockopt(2).
        pub fn set_tclass_v6(&self, class: u32) -> io::Result<()> {
            let class = number("a traffic class", class, 0)?;
            set_option(self.socket(), Int::TRAFFIC_CLASS, class)
        }
    };
}
pub(in crate::net) use ip_options;

/// The network device that a socket uses.
macro_rules! device {
    () => {
        /// The network device to which the socket is bound, by its name (SO_BINDTODEVICE); `None` if to none.
        ///
        /// # Errors
        /// As getsockopt(2).
        pub fn device(&self) -> io::Result<Option<Vec<u8>>> {
            device_of(self.socket())
        }

        /// Binds the socket to a network device by its name, `b"eth0"` for example, so that it sends and receives by
        /// that one only; `None` ends that (socket(7)).
        ///
        /// # Errors
        /// `InvalidInput` for a name without a byte, with more than 15, or with one that is NUL; ENODEV if there is no
        /// such device; `PermissionDenied` without the capability CAP_NET_RAW, if the socket has a device, or before
        /// Linux 5.7; else as setsockopt(2).
        pub fn bind_device(&self, interface: Option<&[u8]>) -> io::Result<()> {
            bind_to_device(self.socket(), interface)
        }
    };
}
pub(in crate::net) use device;

/// True if an option is not 0.
pub(in crate::net) fn is_on(socket: BorrowedFd<'_>, option: Int) -> io::Result<bool> {
    Ok(sys::get(socket, option)? != 0)
}

/// The value of an option that only a socket of IPv6 has.
pub(in crate::net) fn get_of_v6(socket: BorrowedFd<'_>, option: Int) -> io::Result<c_int> {
    sys::get(socket, option).map_err(|error| match sys::get(socket, Int::DOMAIN) {
        // Linux says EOPNOTSUPP here, which looks as if a sandbox had refused the call, and ENOPROTOOPT to one that sets.
        Ok(libc::AF_INET) => io::Error::from_raw_os_error(libc::ENOPROTOOPT),
        _ => error,
    })
}

/// Sets an option, but not in the child of a fork, because the socket is the parent's, too.
pub(in crate::net) fn set_option(
    socket: BorrowedFd<'_>,
    option: Int,
    value: c_int,
) -> io::Result<()> {
    refuse_in_child(socket)?;
    sys::set(socket, option, value)
}

/// A number from `least` to 255.
pub(in crate::net) fn number(what: &str, number: u32, least: u32) -> io::Result<c_int> {
    match c_int::try_from(number) {
        Ok(value @ ..=255) if number >= least => Ok(value),
        _ => Err(invalid(format!(
            "{what} is from {least} to 255, not {number}"
        ))),
    }
}

/// The name of the device to which a socket is bound, without its NUL.
pub(in crate::net) fn device_of(socket: BorrowedFd<'_>) -> io::Result<Option<Vec<u8>>> {
    let mut name = [0; libc::IFNAMSIZ];
    let len = sys::get_bytes(socket, Bytes::DEVICE, &mut name)?;
    // The kernel writes a NUL behind the name, and nothing if there is none.
    let name = name[..len].split(|&byte| byte == 0).next();
    Ok(name.filter(|name| !name.is_empty()).map(<[u8]>::to_vec))
}

/// Binds a socket to a device, or to none; refuses a name that the kernel would take for another.
pub(in crate::net) fn bind_to_device(
    socket: BorrowedFd<'_>,
    interface: Option<&[u8]>,
) -> io::Result<()> {
    refuse_in_child(socket)?;
    // The kernel would cut a name that is longer, and take an empty one for none.
    const MOST: usize = libc::IFNAMSIZ - 1;
    if interface.is_some_and(|name| !(1..=MOST).contains(&name.len()) || name.contains(&0)) {
        let text = format!(
            "the name of a network device has from 1 to {MOST} bytes, none of which is NUL"
        );
        return Err(invalid(text));
    }
    sys::set_bytes(socket, Bytes::DEVICE, interface.unwrap_or_default())
}

/// The error of an argument that cannot be meant.
pub(in crate::net) fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
