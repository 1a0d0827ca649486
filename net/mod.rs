//! Sockets and pipes. They use what any other crate can use, [`AsyncFd`](crate::io::AsyncFd),
//! [`time`](crate::time), [`coop`](crate::task::coop) and [`Handle`](crate::runtime::Handle), and
//! some things that are not public: `stream` makes its operations by
//! [`operation`](crate::runtime::io::operation), and it, `udp` and `unix::datagram` tell the
//! [`registration`](crate::runtime::io::registration) of a socket what is reported when; `lookup` asks the resolver on the
//! pool, by [`blocking`](crate::runtime::task::blocking), and errors get their texts by
//! [`explained`](crate::runtime::explained).
//!
//! Every operation is tried at once. If it would block, the socket is registered, and the task
//! waits. Every method takes `&self`, and any number of tasks may wait on one socket.
//!
//! [`TcpStream`] and [`TcpListener`] are for the internet; [`UnixStream`] and [`UnixListener`] connect processes of one
//! machine, by a path or a name, and know who is at the other end: see [`unix`].
//!
//! Other crates' traits of reading and writing are implemented by the [features](crate#features).
//!
//! # Coming from tokio
//! The methods of the I/O traits are inherent here and take `&self`: `stream.read(&mut buf)`
//! needs no `AsyncReadExt` and no `mut`, so a stream can be shared by reference, without splitting.
//! [`TcpStream::connect`] tries several addresses in a race, and not one after the other.
//! [`UnixStream::connect`] waits while the listener's queue is full.

mod accept;
pub(crate) mod addr;
#[cfg(any(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
mod compat;
pub(crate) mod lookup;
mod methods;
mod options;
mod pause;
pub mod pipe;
pub(crate) mod race;
mod split;
mod stream;
pub(crate) mod sys;
pub mod tcp;
mod tried;
pub mod udp;
pub mod unix;

pub use addr::ToSocketAddrs;
pub use lookup::lookup_host;
pub use tcp::{TcpInfo, TcpKeepalive, TcpListener, TcpSocket, TcpStream};
pub use tried::AddressesError;
pub use udp::UdpSocket;
pub use unix::{UnixDatagram, UnixListener, UnixSocket, UnixStream};
