//! UDP: one datagram a call, or many.
//!
//! [`UdpSocket`] has what std's and tokio's have, as futures, `try_` and `poll_`. What it has more moves up to 32
//! datagrams by one system call, and more where the kernel cuts or glues them: [`recv_many`](UdpSocket::recv_many) into
//! a [`Batch`], [`send_many`](UdpSocket::send_many) of [`Outgoing`]. These also say what plain calls do not: whether a
//! datagram was cut, which of our addresses it was sent to, and its mark of congestion ([`Ecn`]).
//!
//! ```
//! use reveille::net::UdpSocket;
//! use reveille::net::udp::{Batch, Outgoing};
//!
//! # reveille::block_on(async {
//! let server = UdpSocket::bind("127.0.0.1:0").await?;
//! let client = UdpSocket::bind("127.0.0.1:0").await?;
//! client.connect(server.local_addr()?).await?;
//! client.send(b"one").await?;
//! client.send(b"two").await?;
//!
//! // Echoes whatever is there, by two system calls.
//! let mut batch = Batch::new(32, 1500);
//! server.recv_many(&mut batch).await?;
//! let answers: Vec<_> = batch
//!     .iter()
//!     .filter(|datagram| !datagram.is_truncated())
//!     .map(|datagram| Outgoing::new(datagram.bytes(), datagram.from()))
//!     .collect();
//! let mut left = &answers[..];
//! while !left.is_empty() {
//!     let sent = server.send_many(left).await?;
//!     left = &left[sent.whole()..]; // These are not segmented, so none is sent in part.
//! }
//!
//! let mut buf = [0; 1500];
//! let n = client.recv(&mut buf).await?;
//! assert_eq!(&buf[..n], b"one");
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```
//!
//! # Datagrams
//! - An empty datagram is one: `Ok(0)` is not an end.
//! - A datagram that is longer than the room for it is cut, and the rest is lost. Only a [`Batch`], and [`RecvMeta`], say
//!   so. A buffer of no bytes is a room, too: the call waits for a datagram, takes it, and all of it is lost.
//! - A short datagram does not prove that no other waits. Each is received until the kernel says that there are no more.
//!
//! # Errors of the network
//! A socket that is not [connected](UdpSocket::connect) hears of none. What is answered by ICMP about datagrams of a connected
//! one is reported once, by whatever comes first: a receive, a send, or [`take_error`](UdpSocket::take_error). That nothing is
//! at the port is ECONNREFUSED; a router that takes no datagram so long is heard of by EMSGSIZE, one that may not pass it on
//! by EACCES or EHOSTUNREACH, a header that is not understood by EPROTO. What may be over soon (a network that is not reached)
//! is told to no socket. A send that reports it has sent nothing; what it reports is about an earlier
//! datagram, maybe to an earlier peer, so it is for the caller to send again. If it comes in the middle of a
//! [`send_many`](UdpSocket::send_many), the kernel stops there and forgets it: sendmmsg(2).
//!
//! # Coming from tokio
//! In place of `recv_buf<B: BufMut>` and `recv_buf_from` there are [`recv_vec`](UdpSocket::recv_vec) and
//! [`recv_vec_from`](UdpSocket::recv_vec_from), and the `poll_` methods take a slice and return a length.
//!
//! Read before: `methods`. Read next: `udp::socket`.

mod batch;
mod meta;
mod options;
mod outgoing;
mod segmentation;
mod socket;

pub use batch::{Batch, Received};
pub use meta::{Ecn, RecvMeta};
pub use outgoing::{Outgoing, Sent};
pub use socket::UdpSocket;
