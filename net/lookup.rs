//! Host names, resolved where it may block.
//!
//! Idea: getaddrinfo(3) is a job of the pool's, so that a name server which is silent stops no task.
//!
//! Interface: [`lookup_host`]; [`addresses`] for [`bind`](super::TcpListener::bind), [`resolve`] for
//! [`connect`](super::TcpStream::connect).
//! Invariant: what is an address makes no thread.
//! Read before: `addr`, `task::blocking`. Read next: `tried`.

use std::io;
use std::iter;
use std::net::{SocketAddr, ToSocketAddrs as _};

use super::addr::{Name, Target, ToSocketAddrs};
use crate::io::explained;
use crate::runtime::task::blocking;
use crate::task::coop::consume_budget;

/// Resolves a host's name to addresses, in the order of the system's resolver (getaddrinfo(3), which sorts them by
/// RFC 6724). What is an address already yields just that.
///
/// A thread does it, of those that [`spawn_blocking`](crate::task::spawn_blocking) uses. At most half of them, and at
/// least one, resolve names, so that other work goes on while a name server is silent. (If there may be only one
/// thread, work waits for it.) There is no time limit but the resolver's, of some 10 to 30 s (resolv.conf(5)): wrap
/// the future in a [`timeout`](crate::time::timeout).
///
/// # Errors
/// The resolver's: the text names the host, `raw_os_error` is `None`, and the resolver's error is the source (see
/// [`ExplainedError`](crate::io::ExplainedError)). `NotFound` if the resolver finds no address. `InvalidInput` for what is
/// neither an address nor a name; of a name, an error outside a runtime and in the child of a fork. If no thread can be made
/// (pthread_create(3)), EAGAIN is the source, and the kind is that of EAGAIN, `WouldBlock`.
///
/// # Cancel safety
/// Safe. Dropped early, it returns at once; a lookup that has not begun does not begin, and one that has goes on,
/// unheard. (A paused clock that advances by itself stands still until it has ended.)
///
/// # Examples
/// ```
/// use reveille::net::lookup_host;
///
/// # fn main() -> std::io::Result<()> {
/// reveille::block_on(async {
///     for address in lookup_host("127.0.0.1:80").await? {
///         println!("{address}");
///     }
///     Ok(())
/// })
/// # }
/// ```
pub async fn lookup_host(host: impl ToSocketAddrs) -> io::Result<impl Iterator<Item = SocketAddr>> {
    let target = host.target()?;
    // What is an address is there at once.
    consume_budget().await;
    Ok(addresses(target).await?.into_iter())
}

/// All addresses of the target, at least one.
pub(super) async fn addresses(target: Target) -> io::Result<Vec<SocketAddr>> {
    match target {
        Target::One(address) => Ok(vec![address]),
        Target::Several(addresses) => Ok(addresses),
        Target::Name(name) => resolve(name).await,
    }
}

/// The addresses of a name, at least one, in the resolver's order.
pub(super) async fn resolve(Name { host, port }: Name) -> io::Result<Vec<SocketAddr>> {
    let asked = host.clone();
    match blocking::resolve(move || ask(&asked, port))?.await {
        Ok(addresses) if addresses.is_empty() => {
            let text = format!("`{host}` has no address");
            Err(io::Error::new(io::ErrorKind::NotFound, text))
        }
        Ok(addresses) => Ok(addresses),
        Err(error) => {
            let text = format!("`{host}` cannot be resolved: {error}");
            Err(explained(error, text))
        }
    }
}

/// Asks the system's resolver; blocks. Unit tests give answers of their own.
fn ask(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(test)]
    if let Some(answer) = crate::unit::answers::take(host) {
        return answer(port);
    }
    (host, port).to_socket_addrs().map(Iterator::collect)
}

/// Puts the families in turn, the first one's first; each keeps its order: RFC 8305, section 4.
pub(crate) fn alternate(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (ours, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    iter::from_fn(|| {
        let pair = [ours.next(), others.next()];
        pair.iter().any(Option::is_some).then_some(pair)
    })
    .flatten()
    .flatten()
    .collect()
}
