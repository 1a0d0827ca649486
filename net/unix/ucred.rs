//! Who is at the other end, as the kernel vouches for it.
//!
//! Interface: [`UCred`], which [`UnixStream::peer_cred`](super::UnixStream::peer_cred) returns.
//! Read before: `unix::stream`.

use std::io;
use std::mem::offset_of;
use std::os::fd::BorrowedFd;

use super::super::sys::{self, Bytes};

/// The user, the group and the process at the other end of a socket, as they were when it connected, or, of a listener's side,
/// when it began to listen: no process can
/// make them up, but one that holds both can pass its end on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UCred {
    /// The effective user.
    uid: u32,
    /// The effective group.
    gid: u32,
    /// The process; `None` if it has no number in our namespace. Never 0.
    pid: Option<i32>,
}

impl UCred {
    /// The effective user.
    pub const fn uid(&self) -> u32 {
        self.uid
    }

    /// The effective group.
    pub const fn gid(&self) -> u32 {
        self.gid
    }

    /// The process; `None` if it has no number here, because it is in another namespace of processes. When the process has
    /// ended, another may get its number: [`peer_pidfd`](super::UnixStream::peer_pidfd) is not fooled by that.
    pub const fn pid(&self) -> Option<i32> {
        self.pid
    }

    /// Of the peer of a socket.
    pub(super) fn of_peer(socket: BorrowedFd<'_>) -> io::Result<UCred> {
        let mut told = [0; size_of::<libc::ucred>()];
        sys::get_bytes(socket, Bytes::PEER_CREDENTIALS, &mut told)?;
        // Three numbers, side by side: unix(7).
        let [pid, uid, gid] = [
            offset_of!(libc::ucred, pid),
            offset_of!(libc::ucred, uid),
            offset_of!(libc::ucred, gid),
        ]
        .map(|at| told[at..].first_chunk().copied().unwrap_or_default());
        let pid = i32::from_ne_bytes(pid);
        Ok(UCred {
            uid: u32::from_ne_bytes(uid),
            gid: u32::from_ne_bytes(gid),
            pid: (pid > 0).then_some(pid),
        })
    }
}
