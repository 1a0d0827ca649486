//! Sockets. They use what any other crate can use, [`AsyncFd`](crate::io::AsyncFd),
//! [`time`](crate::time), [`coop`](crate::task::coop) and [`Handle`](crate::runtime::Handle), and
//! one thing that is not public: `stream` makes its operations by
//! [`operation`](crate::runtime::io::operation).
//!
//! Every operation is tried at once. If it would block, the socket is registered, and the task
//! waits. Every method takes `&self`, and any number of tasks may wait on one socket.
//!
//! # Coming from tokio
//! The methods of the I/O traits are inherent here and take `&self`: `stream.read(&mut buf)`
//! needs no `AsyncReadExt` and no `mut`, so a stream can be shared by reference, without splitting.
//! Host names are not resolved yet; see [`ToSocketAddrs`].

pub(crate) mod addr;
mod stream;
pub(crate) mod sys;
pub mod tcp;

pub use addr::ToSocketAddrs;
pub use tcp::{TcpListener, TcpStream};
