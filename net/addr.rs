//! What a socket can be bound or connected to: an address, several, or the text of one.
//!
//! Idea: [`ToSocketAddrs`] is a list of types and nothing more. The work is done in a private
//! supertrait, which may change (to resolve names, say) without breaking any user.
//!
//! Interface: `address.addresses()?` is an iterator of `SocketAddr`; one address allocates nothing.
//! Invariant: the iterator yields at least one address. Hence "all were tried, and none failed"
//! cannot happen.
//! Read next: `net::tcp`, which tries one address after the other.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use sealed::{Addresses, Sealed};

/// What `bind` and `connect` take: an address, several, or the text of one.
///
/// The types are those listed below and references to them. Several addresses are tried in turn,
/// each until it fails, and the first that works is used. A text is written as in a URL, address
/// and port: `127.0.0.1:80` or `[::1]:80`. In a pair the address has no brackets: `("::1", 80)`.
///
/// Host names are **not resolved yet**: they are an error of kind
/// [`InvalidInput`](io::ErrorKind::InvalidInput), as are a text that is no address, and an empty
/// slice. [`std::net::ToSocketAddrs`] resolves host names, but blocks its thread meanwhile: call it
/// before the runtime starts, or on a thread of its own.
///
/// The trait has no methods of its own, and no other crate can implement it.
///
/// # Examples
/// ```
/// use reveille::net::ToSocketAddrs;
/// use std::net::{Ipv4Addr, SocketAddr};
///
/// fn serve(_at: impl ToSocketAddrs) {}
///
/// serve("127.0.0.1:8080");
/// serve((Ipv4Addr::LOCALHOST, 8080));
/// let either = [8080, 8081].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
/// serve(&either[..]);
/// ```
pub trait ToSocketAddrs: Sealed {}

impl ToSocketAddrs for SocketAddr {}
impl ToSocketAddrs for SocketAddrV4 {}
impl ToSocketAddrs for SocketAddrV6 {}
impl ToSocketAddrs for (IpAddr, u16) {}
impl ToSocketAddrs for (Ipv4Addr, u16) {}
impl ToSocketAddrs for (Ipv6Addr, u16) {}
impl ToSocketAddrs for [SocketAddr] {}
impl ToSocketAddrs for str {}
impl ToSocketAddrs for String {}
impl ToSocketAddrs for (&str, u16) {}
impl ToSocketAddrs for (String, u16) {}
impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}

mod sealed {
    use std::io;
    use std::net::SocketAddr;
    use std::vec;

    /// Public, but in a private module: no other crate can name it, and so none can implement it.
    pub trait Sealed {
        /// The addresses, at least one, in the order in which to try them.
        ///
        /// # Errors
        /// `InvalidInput` if there are none, or the text is not an address and a port.
        fn addresses(&self) -> io::Result<Addresses>;
    }

    /// An iterator of addresses, with at least one when it is new.
    #[derive(Debug)]
    pub enum Addresses {
        One(Option<SocketAddr>),
        Several(vec::IntoIter<SocketAddr>),
    }
}

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match self {
            Self::One(address) => address.take(),
            Self::Several(addresses) => addresses.next(),
        }
    }
}

impl Sealed for SocketAddr {
    fn addresses(&self) -> io::Result<Addresses> {
        one(*self)
    }
}

impl Sealed for SocketAddrV4 {
    fn addresses(&self) -> io::Result<Addresses> {
        one(*self)
    }
}

impl Sealed for SocketAddrV6 {
    fn addresses(&self) -> io::Result<Addresses> {
        one(*self)
    }
}

impl Sealed for (IpAddr, u16) {
    fn addresses(&self) -> io::Result<Addresses> {
        one(*self)
    }
}

impl Sealed for (Ipv4Addr, u16) {
    fn addresses(&self) -> io::Result<Addresses> {
        one(*self)
    }
}

impl Sealed for (Ipv6Addr, u16) {
    fn addresses(&self) -> io::Result<Addresses> {
        one(*self)
    }
}

impl Sealed for [SocketAddr] {
    fn addresses(&self) -> io::Result<Addresses> {
        if self.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the slice has no address",
            ));
        }
        Ok(Addresses::Several(Vec::from(self).into_iter()))
    }
}

impl Sealed for str {
    fn addresses(&self) -> io::Result<Addresses> {
        match self.parse::<SocketAddr>() {
            Ok(address) => one(address),
            Err(_) => Err(not_literal(
                self,
                "an address and a port like `127.0.0.1:80` or `[::1]:80`",
            )),
        }
    }
}

impl Sealed for String {
    fn addresses(&self) -> io::Result<Addresses> {
        self.as_str().addresses()
    }
}

impl Sealed for (&str, u16) {
    fn addresses(&self) -> io::Result<Addresses> {
        let (host, port) = *self;
        if let Ok(ip) = host.parse::<IpAddr>() {
            return one((ip, port));
        }
        // `fe80::1%2` is no `IpAddr`, since only a socket's address has a scope (RFC 4007, 11).
        match format!("[{host}]:{port}").parse::<SocketAddrV6>() {
            Ok(address) => one(address),
            Err(_) => Err(not_literal(host, "an IP address like `127.0.0.1` or `::1`")),
        }
    }
}

impl Sealed for (String, u16) {
    fn addresses(&self) -> io::Result<Addresses> {
        (self.0.as_str(), self.1).addresses()
    }
}

impl<T: Sealed + ?Sized> Sealed for &T {
    fn addresses(&self) -> io::Result<Addresses> {
        (**self).addresses()
    }
}

fn one(address: impl Into<SocketAddr>) -> io::Result<Addresses> {
    Ok(Addresses::One(Some(address.into())))
}

fn not_literal(text: &str, wanted: &str) -> io::Error {
    let text = format!(
        "`{text}` is not {wanted}; host names are not resolved yet: resolve them with \
         `std::net::ToSocketAddrs` first"
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
