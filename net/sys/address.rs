//! Addresses: from std's to a sockaddr of the kernel's, and back.
//!
//! Interface: [`SockAddr::encode`] for calls that read an address; [`SockAddr::EMPTY`] and
//! [`SockAddr::as_out_parameters`] for those that write one, [`decode`] for what they wrote.
//! Invariant: both conversions are safe code, byte by byte. The kernel is told the true length of the
//! buffer that it writes into, and bytes that it did not write are not read.
//! Read before: `net::sys`. Read next: `socket`: its calls take them.

use std::io;
use std::mem::offset_of;
use std::net::{SocketAddr, SocketAddrV6};
use std::ptr;

use libc::{c_int, sa_family_t, sockaddr, sockaddr_in, sockaddr_in6, socklen_t};

/// A sockaddr_in (ip(7)) or sockaddr_in6 (ipv6(7)), byte for byte as the kernel has it.
///
/// It is kept as bytes, so that both conversions are safe code. With a C struct that the kernel may have
/// filled only in part, each read of a field would need a proof.
#[repr(C)]
#[derive(Clone, Debug)]
pub(crate) struct SockAddr {
    bytes: [u8; ROOM],
    /// At most `ROOM`, unless the kernel had to cut an address: then the whole length of that address
    /// (accept(2)).
    len: socklen_t,
}

/// The size of sockaddr_in6, the longer of the two.
pub(super) const ROOM: usize = size_of::<sockaddr_in6>();

impl SockAddr {
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; ROOM],
        len: ROOM as socklen_t,
    };

    pub(crate) fn encode(address: &SocketAddr) -> Self {
        let (domain, len) = match address {
            SocketAddr::V4(_) => (libc::AF_INET, size_of::<sockaddr_in>()),
            SocketAddr::V6(_) => (libc::AF_INET6, size_of::<sockaddr_in6>()),
        };
        let mut name = Self {
            bytes: [0; ROOM],
            len: len as socklen_t,
        };
        // ip(7), ipv6(7): port and address in network order, the rest in the host's. Both structs
        // start alike, with the family and the port. flowinfo goes through as std passes it, so
        // that both show the same number.
        let family = domain as sa_family_t; // 2 or 10.
        name.put(offset_of!(sockaddr_in, sin_family), family.to_ne_bytes());
        name.put(
            offset_of!(sockaddr_in, sin_port),
            address.port().to_be_bytes(),
        );
        match address {
            SocketAddr::V4(v4) => {
                name.put(offset_of!(sockaddr_in, sin_addr), v4.ip().octets());
            }
            SocketAddr::V6(v6) => {
                let (flow, scope) = (v6.flowinfo().to_ne_bytes(), v6.scope_id().to_ne_bytes());
                name.put(offset_of!(sockaddr_in6, sin6_flowinfo), flow);
                name.put(offset_of!(sockaddr_in6, sin6_addr), v6.ip().octets());
                name.put(offset_of!(sockaddr_in6, sin6_scope_id), scope);
            }
        }
        name
    }

    /// The bytes that are the address.
    pub(crate) fn written(&self) -> &[u8] {
        &self.bytes[..ROOM.min(self.len as usize)]
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&value);
    }

    /// The pointer is good for reads of `len()` bytes of an encoded address: `encode` sets `len` to the
    /// size of a struct that fits into `bytes`.
    pub(super) fn as_ptr(&self) -> *const sockaddr {
        ptr::from_ref(&self.bytes).cast::<sockaddr>()
    }

    /// Says how long the address is that a call has just written, in bytes; more than there is room for is not read.
    pub(super) fn set_len(&mut self, len: socklen_t) {
        self.len = len;
    }

    /// How long the address is, in bytes.
    pub(super) fn len(&self) -> socklen_t {
        self.len
    }

    /// The arguments of accept4(2), getpeername(2) and recvfrom(2): where to write, and the room there, which they
    /// overwrite with the length of the address.
    pub(super) fn as_out_parameters(&mut self) -> (*mut sockaddr, *mut socklen_t) {
        self.len = ROOM as socklen_t;
        (
            ptr::from_mut(&mut self.bytes).cast::<sockaddr>(),
            &raw mut self.len,
        )
    }
}

/// Reads the address that the kernel wrote.
///
/// # Errors
/// `InvalidData` if it is neither an IPv4 nor an IPv6 address, or is cut short.
pub(crate) fn decode(written: &[u8]) -> io::Result<SocketAddr> {
    parse(written).ok_or_else(|| {
        let text = "the peer's address is neither IPv4 nor IPv6: this is not an internet socket";
        io::Error::new(io::ErrorKind::InvalidData, text)
    })
}

fn parse(written: &[u8]) -> Option<SocketAddr> {
    let family = field(written, offset_of!(sockaddr_in, sin_family))?;
    let port = field(written, offset_of!(sockaddr_in, sin_port))?;
    let port = u16::from_be_bytes(port);
    match c_int::from(sa_family_t::from_ne_bytes(family)) {
        libc::AF_INET => {
            let ip: [u8; 4] = field(written, offset_of!(sockaddr_in, sin_addr))?;
            Some((ip, port).into())
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = field(written, offset_of!(sockaddr_in6, sin6_addr))?;
            let flow = field(written, offset_of!(sockaddr_in6, sin6_flowinfo))?;
            let scope = field(written, offset_of!(sockaddr_in6, sin6_scope_id))?;
            let (flow, scope) = (u32::from_ne_bytes(flow), u32::from_ne_bytes(scope));
            Some(SocketAddrV6::new(ip.into(), port, flow, scope).into())
        }
        _ => None,
    }
}

/// `None` if the kernel wrote less.
fn field<const N: usize>(written: &[u8], at: usize) -> Option<[u8; N]> {
    written.get(at..)?.first_chunk().copied()
}
