//! TCP: a listener, a stream, and the stream's halves; a socket that is neither yet.
//!
//! # Options
//! Each option is read and set by methods of the socket itself. Code that sets options by
//! [`as_fd`](std::os::fd::AsFd::as_fd), as the crate socket2 does, may do anything with the socket, and from then on
//! each read that drains it costs a recv(2) and a poll(2) more; the methods here cost their own call only.
//!
//! What is set on a listener, its connections inherit, but for TCP_FASTOPEN: so they need no call each. They inherit it at
//! the end of their handshake, so those that wait for `accept` already do not. Values have units and limits: what the kernel
//! would refuse is `InvalidInput`, with the limits. It cuts silently, as their methods say, the sizes of buffers, the
//! [backlog](TcpSocket::listen), the number for TCP_FASTOPEN, and the lowest two bits of IP_TOS and IPV6_TCLASS.
//!
//! | option | read, and set by `set_…` | [`TcpSocket`] | [`TcpStream`] | [`TcpListener`] |
//! |---|---|:-:|:-:|:-:|
//! | TCP_NODELAY | [`nodelay`](TcpStream::nodelay) | yes | yes | yes |
//! | SO_KEEPALIVE | [`keepalive`](TcpStream::keepalive) | yes | yes | yes |
//! | TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT | [`tcp_keepalive`](TcpStream::tcp_keepalive) | yes | yes | yes |
//! | TCP_USER_TIMEOUT | [`user_timeout`](TcpStream::user_timeout) | yes | yes | yes |
//! | SO_SNDBUF | [`send_buffer_size`](TcpStream::send_buffer_size) | yes | yes | yes |
//! | SO_RCVBUF | [`recv_buffer_size`](TcpStream::recv_buffer_size) | yes | yes | yes |
//! | IP_TTL | [`ttl`](TcpStream::ttl) | yes | yes | yes |
//! | IPV6_UNICAST_HOPS | [`unicast_hops_v6`](TcpStream::unicast_hops_v6) | yes | yes | yes |
//! | IP_TOS | [`tos_v4`](TcpStream::tos_v4) | yes | yes | yes |
//! | IPV6_TCLASS | [`tclass_v6`](TcpStream::tclass_v6) | yes | yes | yes |
//! | SO_LINGER | [`linger`](TcpStream::linger), [`set_zero_linger`](TcpStream::set_zero_linger) | yes | yes | |
//! | TCP_QUICKACK, which does not last | [`quickack`](TcpStream::quickack) | yes | yes | |
//! | SO_ERROR | [`take_error`](TcpStream::take_error) | yes | yes | |
//! | SO_REUSEADDR | [`reuseaddr`](TcpSocket::reuseaddr) | yes | | |
//! | SO_REUSEPORT | [`reuseport`](TcpSocket::reuseport) | yes | | |
//! | IPV6_V6ONLY | [`only_v6`](TcpSocket::only_v6) | yes | | to read |
//! | IP_BIND_ADDRESS_NO_PORT | [`bind_address_no_port`](TcpSocket::bind_address_no_port) | yes | | |
//! | SO_BINDTODEVICE | [`device`](TcpSocket::device), [`bind_device`](TcpSocket::bind_device) | yes | | |
//! | TCP_FASTOPEN | [`fastopen`](TcpListener::fastopen) | | | yes |
//! | TCP_INFO | [`tcp_info`](TcpStream::tcp_info) | | yes | |
//!
//! Read before: `addr`. Read next: `listener`, `tcp::stream`.

mod info;
mod keepalive;
mod listener;
mod options;
mod socket;
mod stream;

use std::sync::Arc;

pub use super::split::{Reader, ShutdownOnDrop, SplitStream, Writer};
pub use info::TcpInfo;
pub use keepalive::TcpKeepalive;
pub use listener::TcpListener;
pub use socket::TcpSocket;
pub use stream::TcpStream;

/// The read half of a borrowed stream; see [`TcpStream::split`].
pub type ReadHalf<'a> = Reader<&'a TcpStream>;
/// The write half of a borrowed stream; see [`TcpStream::split`].
pub type WriteHalf<'a> = Writer<&'a TcpStream>;
/// The read half of a shared stream; see [`TcpStream::into_split`].
pub type OwnedReadHalf = Reader<Arc<TcpStream>>;
/// The write half of a shared stream; see [`TcpStream::into_split`].
pub type OwnedWriteHalf = Writer<ShutdownOnDrop<TcpStream>>;
/// The error of halves that belong to different streams; see [`reunite`](OwnedReadHalf::reunite).
pub type ReuniteError = super::split::ReuniteError<TcpStream>;
