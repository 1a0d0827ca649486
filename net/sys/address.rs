//! Addresses: from std's to a sockaddr of the kernel's, and back.
//!
//! Interface: [`SockAddr::encode`] and [`UnixAddr::encode`] for calls that read an address; [`Address::EMPTY`] and
//! [`Address::as_out_parameters`] for those that write one, [`decode`] and [`decode_unix`] for what they wrote.
//! Invariant: both conversions are safe code, byte by byte. The kernel is told the true length of the
//! buffer that it writes into, and bytes that it did not write are not read.
//! Read before: `net::sys`. Read next: `socket`: its calls take them.

use std::ffi::OsStr;
use std::io;
use std::mem::offset_of;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr as StdUnixAddr;
use std::ptr;

use libc::{c_int, sa_family_t, sockaddr, sockaddr_in, sockaddr_in6, sockaddr_un, socklen_t};

/// An address of the internet: a sockaddr_in (ip(7)) or sockaddr_in6 (ipv6(7)), which is the longer of the two.
pub(crate) type SockAddr = Address<{ size_of::<sockaddr_in6>() }>;

/// An address of a Unix socket: a sockaddr_un (unix(7)).
pub(crate) type UnixAddr = Address<{ size_of::<sockaddr_un>() }>;

/// An address in `ROOM` bytes, byte for byte as the kernel has it.
///
/// It is kept as bytes, so that both conversions are safe code. With a C struct that the kernel may have
/// filled only in part, each read of a field would need a proof.
#[repr(C)]
#[derive(Clone, Debug)]
pub(crate) struct Address<const ROOM: usize> {
    /// Those beyond `len` mean nothing.
    bytes: [u8; ROOM],
    /// At most `ROOM`, unless the kernel had to cut an address: then the whole length of that address
    /// (accept(2)).
    len: socklen_t,
}

impl SockAddr {
    /// A sockaddr_in or sockaddr_in6, of its full length.
    pub(crate) fn encode(address: &SocketAddr) -> Self {
        let (domain, len) = match address {
            SocketAddr::V4(_) => (libc::AF_INET, size_of::<sockaddr_in>()),
            SocketAddr::V6(_) => (libc::AF_INET6, size_of::<sockaddr_in6>()),
        };
        let mut name = Self::EMPTY;
        name.len = len as socklen_t;
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
}

/// Where the path or the name begins in a sockaddr_un.
const PATH: usize = offset_of!(sockaddr_un, sun_path);

/// The most bytes of the path of a Unix socket, or of its abstract name: with the NUL that ends the one and begins the
/// other, they fill `sun_path`.
pub(crate) const LONGEST_PATH: usize = size_of::<sockaddr_un>() - PATH - 1;

impl UnixAddr {
    /// Of the peer that the socket is connected to, for calls that send: an address without a byte is none, so the kernel
    /// takes the peer, but an error may be [about it](Address::explains) all the same.
    pub(crate) const PEER: Self = Self {
        len: 0,
        ..Self::EMPTY
    };

    /// A sockaddr_un, of as many bytes as its path or name needs.
    pub(crate) fn encode(address: &StdUnixAddr) -> Self {
        let mut name = Self::EMPTY;
        let family = libc::AF_UNIX as sa_family_t; // 1.
        name.put(offset_of!(sockaddr_un, sun_family), family.to_ne_bytes());
        // unix(7): a path ends with a NUL, an abstract name begins with one, and has whatever bytes the length says;
        // without a name there is the family only.
        let (at, bytes, end) = match (address.as_pathname(), address.as_abstract_name()) {
            (Some(path), _) => (PATH, path.as_os_str().as_bytes(), 1),
            (None, Some(name)) => (PATH + 1, name, 0),
            (None, None) => (PATH, [].as_slice(), 0),
        };
        // std's type has no longer ones, but for a path of 108 bytes that came from the kernel: it has no room for its
        // NUL, and unix(7) lets it go without.
        let len = bytes.len().min(name.bytes.len() - at);
        name.bytes[at..at + len].copy_from_slice(&bytes[..len]);
        name.len = name.bytes.len().min(at + len + end) as socklen_t;
        name
    }
}

impl<const ROOM: usize> Address<ROOM> {
    /// Room for a call that writes an address, all of it zeroes.
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; ROOM],
        len: ROOM as socklen_t,
    };

    /// The bytes that are the address.
    pub(crate) fn written(&self) -> &[u8] {
        &self.bytes[..ROOM.min(self.len as usize)]
    }

    /// Writes a field, which has to be within the room.
    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&value);
    }

    /// True of an error of bind(2), connect(2), or a call that sends, that may be about this address, and so is not taken for a refusal.
    pub(super) fn explains(&self, call: &str, errno: c_int) -> bool {
        match (parse(self.written()), errno) {
            // unix(7), path_resolution(7): no permission to enter a directory of the path, or to write to it or to the
            // socket's file; a name where there is one already, and none where one is needed.
            (None, libc::EACCES | libc::EINVAL) => self.len != 0, // Not of `PEER`.
            // unix(7): the socket at this address is connected, and receives from its peer only.
            (None, libc::EPERM) => matches!(call, "sendto" | "sendmsg"),
            // ip(7): these ports need a privilege.
            (Some(address), libc::EACCES) => call == "bind" && (1..1024).contains(&address.port()),
            // ipv6(7): a link-local or multicast address that does not say which link.
            (Some(SocketAddr::V6(v6)), libc::EINVAL) => {
                let needs_scope = v6.ip().is_unicast_link_local() || v6.ip().is_multicast();
                needs_scope && v6.scope_id() == 0
            }
            _ => false,
        }
    }

    /// The pointer is good for reads of `len()` bytes of an encoded address: either `encode` sets `len` to the
    /// length of a struct, or of a part of one, that fits into `bytes`.
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

/// `None` for an address of another family, and for one that is cut short.
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

/// Reads the address of a Unix socket that the kernel wrote.
///
/// std's type does not take a path of 108 bytes, which a program may bind without a NUL behind it: its socket has no
/// name here. A name that is cut would be that of another socket.
///
/// # Errors
/// `InvalidData` if it is the address of another kind of socket.
pub(crate) fn decode_unix(written: &[u8]) -> io::Result<StdUnixAddr> {
    // recvfrom(2): 0 bytes for a peer without a name. accept(2): the family only.
    let family = field(written, offset_of!(sockaddr_un, sun_family));
    let family = family.map_or(libc::AF_UNIX, |family| {
        sa_family_t::from_ne_bytes(family).into()
    });
    if family != libc::AF_UNIX {
        let text = "the peer's address is no path and no abstract name: this is not a Unix socket";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let address = match written.get(PATH..).unwrap_or_default() {
        [0, name @ ..] => StdUnixAddr::from_abstract_name(name),
        path => {
            let path = path.split(|&byte| byte == 0).next().unwrap_or_default();
            StdUnixAddr::from_pathname(OsStr::from_bytes(path))
        }
    };
    address.or_else(|_| StdUnixAddr::from_pathname(""))
}

/// `None` if the kernel wrote less.
fn field<const N: usize>(written: &[u8], at: usize) -> Option<[u8; N]> {
    written.get(at..)?.first_chunk().copied()
}
