//! Unix sockets: connections and datagrams within one machine, by a path or by a name.
//!
//! # Paths and names
//! A path is a file: whoever may write to it may connect. `bind` gives it the permissions that the umask leaves, and the
//! sure way to keep others out is a directory that they may not enter. A path that begins with a NUL, `"\0chat"`, is an
//! *abstract* name (unix(7)): there is no file, anyone in the same network namespace may connect, and the name is free as
//! soon as its socket is closed. Either has at most 107 bytes.
//!
//! # After a crash
//! The file of a socket stays when its listener is gone, and the next `bind` of that path is an error, EADDRINUSE. This
//! library never removes a file. A program removes the file at its end; after a crash the next start finds it. Whether
//! anyone listens there, a connect says: ECONNREFUSED means no, and so does ENOENT, for then the file is gone; nothing else
//! does. A listener that is busy does not refuse, it lets connects wait. (A file that is no socket refuses, too: look before
//! you remove it. So does a socket that is bound and does not listen yet, which is a moment in the life of a listener.)
//! ```
//! use std::io::{ErrorKind, Result};
//! use std::os::unix::fs::FileTypeExt;
//! use std::path::Path;
//! use std::time::Duration;
//! use reveille::net::{UnixListener, UnixStream};
//! use reveille::time::timeout;
//!
//! /// Listens at a path, where a socket may be left of a predecessor that crashed.
//! async fn bind(path: &Path) -> Result<UnixListener> {
//!     match UnixListener::bind(path) {
//!         Err(error) if error.kind() == ErrorKind::AddrInUse => {
//!             let is_socket = std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
//!             // Whatever else it says, or nothing for a while: a listener lives.
//!             let probe = timeout(Duration::from_secs(1), UnixStream::connect(path));
//!             match probe.await {
//!                 Ok(Err(refused))
//!                     if is_socket && refused.kind() == ErrorKind::ConnectionRefused =>
//!                 {
//!                     std::fs::remove_file(path)?;
//!                     UnixListener::bind(path)
//!                 }
//!                 // The predecessor has ended since, and has removed it.
//!                 Ok(Err(gone)) if gone.kind() == ErrorKind::NotFound => UnixListener::bind(path),
//!                 _ => Err(error),
//!             }
//!         }
//!         bound => bound,
//!     }
//! }
//! # let path = std::env::temp_dir().join(format!("reveille-doc-{}", std::process::id()));
//! # reveille::block_on(async {
//! # drop(UnixListener::bind(&path)?);
//! # let listener = bind(&path).await?;
//! # assert_eq!(bind(&path).await.unwrap_err().kind(), ErrorKind::AddrInUse);
//! # drop(listener);
//! # std::fs::remove_file(&path)?;
//! # std::fs::write(&path, "a file")?;
//! # assert_eq!(bind(&path).await.unwrap_err().kind(), ErrorKind::AddrInUse);
//! # assert_eq!(std::fs::read(&path)?, b"a file");
//! # std::fs::remove_file(&path)
//! # }).unwrap();
//! ```
//! Two programs that start at once may both find the file stale, and the one removes the socket of the other, which may just
//! have been bound. Where that
//! can be, hold a lock (flock(2) on another file) while this runs, or use an abstract name.
//!
//! # Descriptors
//! Streams and datagrams can carry descriptors to another process, an open file, a socket, a pipe: by
//! [`send_fds`](UnixStream::send_fds), to be received by [`recv_fds`](UnixStream::recv_fds). A plain read closes them.
//!
//! # Coming from tokio
//! - Addresses are the standard library's [`SocketAddr`], to be had here as well.
//! - [`UnixStream::connect`] waits while the queue of the listener is full; tokio's is an error, `WouldBlock`.
//! - `uid_t`, `gid_t` and `pid_t` are `u32`, `u32` and `i32`; [`UCred::pid`] is `None` where tokio's is 0.
//!
//! Read before: `accept`. Read next: `unix::addr`, `unix::listener`.

pub(crate) mod addr;
mod datagram;
mod descriptors;
mod listener;
mod socket;
mod stream;
mod ucred;

use std::sync::Arc;

pub use std::os::unix::net::SocketAddr;

pub use super::pipe;
pub use super::split::{Reader, ShutdownOnDrop, SplitStream, Writer};
pub use datagram::UnixDatagram;
pub use descriptors::ReceivedFds;
pub use listener::UnixListener;
pub use socket::UnixSocket;
pub use stream::UnixStream;
pub use ucred::UCred;

/// The read half of a borrowed stream; see [`UnixStream::split`].
pub type ReadHalf<'a> = Reader<&'a UnixStream>;
/// The write half of a borrowed stream; see [`UnixStream::split`].
pub type WriteHalf<'a> = Writer<&'a UnixStream>;
/// The read half of a shared stream; see [`UnixStream::into_split`].
pub type OwnedReadHalf = Reader<Arc<UnixStream>>;
/// The write half of a shared stream; see [`UnixStream::into_split`].
pub type OwnedWriteHalf = Writer<ShutdownOnDrop<UnixStream>>;
/// The error of halves that belong to different streams; see [`reunite`](OwnedReadHalf::reunite).
pub type ReuniteError = super::split::ReuniteError<UnixStream>;
