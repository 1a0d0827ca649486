//! What a socket can be bound or connected to: an address, several, or a host's name.
//!
//! Idea: [`ToSocketAddrs`] is a list of types and nothing more. The work is done in a private supertrait, which may
//! change without breaking any user.
//!
//! Interface: `address.target()?` is a [`Target`]; one address allocates nothing.
//! Invariant: what is an address is recognized here, and never taken for a name.
//! Read next: `lookup`, which resolves the names.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use sealed::Sealed;
pub(crate) use sealed::{Name, Target};

/// What `bind` and `connect` take: an address, several, or the name of a host.
///
/// The types are those listed below and references to them. A text is written as in a URL, host and port:
/// `127.0.0.1:80`, `[::1]:80` or `localhost:80`. In a pair the address has no brackets: `("::1", 80)`,
/// `("localhost", 80)`.
///
/// A text that is an address is used as it is. Anything else is a host's name, which
/// [`lookup_host`](super::lookup_host) resolves: inside a runtime only, on a thread where that may block.
/// What has no port, or no host, is an error of kind [`InvalidInput`](io::ErrorKind::InvalidInput), as are an empty
/// slice, and a host that has a colon in a text without brackets: `::1:80` may be an address without its port.
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
/// serve("localhost:8080");
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

/// Seals [`ToSocketAddrs`]: what is in here no other crate can name.
mod sealed {
    use std::io;
    use std::net::SocketAddr;

    /// Public, but in a private module: no other crate can name it, and so none can implement it.
    pub trait Sealed {
        /// What is to be bound or connected to.
        ///
        /// # Errors
        /// `InvalidInput` if that is nothing.
        fn target(&self) -> io::Result<Target>;
    }

    /// What is to be bound or connected to.
    #[derive(Debug, PartialEq, Eq)]
    pub enum Target {
        /// One address: nothing is to be looked up.
        One(SocketAddr),
        /// Two or more, in the caller's order.
        Several(Vec<SocketAddr>),
        /// A name, of which the addresses are not known yet.
        Name(Name),
    }

    /// A host's name, to be resolved, and the port.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Name {
        /// As getaddrinfo(3) takes it: not empty, and without brackets.
        pub host: String,
        /// It is joined to each address that the name has.
        pub port: u16,
    }
}

impl Sealed for SocketAddr {
    fn target(&self) -> io::Result<Target> {
        one(*self)
    }
}

impl Sealed for SocketAddrV4 {
    fn target(&self) -> io::Result<Target> {
        one(*self)
    }
}

impl Sealed for SocketAddrV6 {
    fn target(&self) -> io::Result<Target> {
        one(*self)
    }
}

impl Sealed for (IpAddr, u16) {
    fn target(&self) -> io::Result<Target> {
        one(*self)
    }
}

impl Sealed for (Ipv4Addr, u16) {
    fn target(&self) -> io::Result<Target> {
        one(*self)
    }
}

impl Sealed for (Ipv6Addr, u16) {
    fn target(&self) -> io::Result<Target> {
        one(*self)
    }
}

impl Sealed for [SocketAddr] {
    fn target(&self) -> io::Result<Target> {
        match self {
            [] => Err(invalid("the slice has no address".to_owned())),
            [address] => one(*address),
            addresses => Ok(Target::Several(addresses.to_owned())),
        }
    }
}

impl Sealed for str {
    fn target(&self) -> io::Result<Target> {
        match self.parse::<SocketAddr>() {
            Ok(address) => one(address),
            Err(_) => host_and_port(self),
        }
    }
}

impl Sealed for String {
    fn target(&self) -> io::Result<Target> {
        self.as_str().target()
    }
}

impl Sealed for (&str, u16) {
    fn target(&self) -> io::Result<Target> {
        let (host, port) = *self;
        if let Ok(ip) = host.parse::<IpAddr>() {
            return one((ip, port));
        }
        // `fe80::1%2` is no `IpAddr`, since only a socket's address has a scope (RFC 4007, 11).
        match format!("[{host}]:{port}").parse::<SocketAddrV6>() {
            Ok(address) => one(address),
            Err(_) => name(host, port),
        }
    }
}

impl Sealed for (String, u16) {
    fn target(&self) -> io::Result<Target> {
        (self.0.as_str(), self.1).target()
    }
}

impl<T: Sealed + ?Sized> Sealed for &T {
    fn target(&self) -> io::Result<Target> {
        (**self).target()
    }
}

/// A target of one address.
fn one(address: impl Into<SocketAddr>) -> io::Result<Target> {
    Ok(Target::One(address.into()))
}

/// A text that is no address.
fn host_and_port(text: &str) -> io::Result<Target> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| {
        // Without the sign that Rust's numbers may have.
        let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
        Some((host, port.parse().ok().filter(|_| is_number)?))
    });
    match parts {
        // An address of IPv6 whose interface has a name, which only the resolver knows.
        Some((host, port))
            if host.starts_with('[') && host.ends_with(']') && host.contains('%') =>
        {
            name(&host[1..host.len() - 1], port)
        }
        Some((host, port)) if !host.contains(':') => name(host, port),
        _ => Err(invalid(format!(
            "`{text}` is not a host and a port, like `localhost:80`, `127.0.0.1:80` or `[::1]:80`"
        ))),
    }
}

/// What getaddrinfo(3) cannot be asked for is an error at once: nothing, and a NUL, at which C's text would end. So is
/// what no name has: white space, brackets, which belong to a text with a port, and colons, but in an address of IPv6
/// with the name of an interface (`fe80::1%eth0`), which the resolver knows.
fn name(host: &str, port: u16) -> io::Result<Target> {
    let is_odd = |c: char| c == '\0' || c == '[' || c == ']' || c.is_whitespace();
    let is_cut = host.contains(':') && !host.contains('%');
    if host.is_empty() || host.contains(is_odd) || is_cut {
        return Err(invalid(format!(
            "`{}` is not a host, like `localhost`, `127.0.0.1` or `::1`",
            host.escape_debug()
        )));
    }
    let host = host.to_owned();
    Ok(Target::Name(Name { host, port }))
}

/// The error of what cannot be a target.
fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
