//! What the kernel holds, asked of the kernel: by numbers of descriptors, so that nothing is lent in
//! the library's sense, and in ways that leave no trace in epoll.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The value of every urgent byte, and of no other.
pub(crate) const URGENT: u8 = 0xff;

/// Which of `events`, POLLHUP and POLLERR hold.
pub(crate) fn poll(fd: RawFd, events: libc::c_short) -> libc::c_short {
    let mut entry = libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    // SAFETY: the pointer is good for one pollfd, because it points to `entry` and the count is 1.
    let outcome = unsafe { libc::poll(&raw mut entry, 1, 0) };
    assert!(outcome >= 0, "poll: {}", io::Error::last_os_error());
    entry.revents
}

/// True if a read of this socket would return anything but EAGAIN: a byte, the end, an error.
pub(crate) fn holds_bytes(socket: RawFd) -> bool {
    match peek(socket) {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// The next byte, which stays; `None` at the end.
pub(crate) fn peek(socket: RawFd) -> io::Result<Option<u8>> {
    receive(socket, libc::MSG_PEEK).map(|(n, byte)| (n > 0).then_some(byte))
}

/// Takes the urgent byte, if there is one.
pub(crate) fn take_urgent(socket: RawFd) -> io::Result<u8> {
    receive(socket, libc::MSG_OOB).map(|(_, byte)| byte)
}

fn receive(socket: RawFd, flags: libc::c_int) -> io::Result<(usize, u8)> {
    let mut byte = 0u8;
    let flags = flags | libc::MSG_DONTWAIT;
    // SAFETY: recv(2) writes one byte at most through the pointer, which is that of a live one.
    let n = unsafe { libc::recv(socket, (&raw mut byte).cast(), 1, flags) };
    match usize::try_from(n) {
        Ok(n) => Ok((n, byte)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Sends one urgent byte: tcp(7), MSG_OOB; unix(7).
pub(crate) fn send_urgent(socket: RawFd) -> io::Result<()> {
    let (byte, flags) = (URGENT, libc::MSG_OOB | libc::MSG_NOSIGNAL);
    // SAFETY: send(2) reads one byte through the pointer, which is that of a live byte.
    let sent = unsafe { libc::send(socket, (&raw const byte).cast(), 1, flags) };
    if sent == 1 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// How many bytes have come in since the connection was made, urgent ones and the end included.
pub(crate) fn tcp_bytes_received(socket: RawFd) -> u64 {
    /// Of `tcpi_bytes_received` in struct tcp_info, linux/tcp.h, which libc's does not reach.
    const OFFSET: usize = 128;
    let mut info = [0u8; 256];
    let mut len: libc::socklen_t = 256;
    let (value, size) = (info.as_mut_ptr().cast(), &raw mut len);
    // SAFETY: `value` is good for writes of `len` bytes, the length of `info`, and getsockopt(2)
    // writes no more than that, and `len` itself.
    let outcome =
        unsafe { libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, value, size) };
    assert_eq!(outcome, 0, "TCP_INFO: {}", io::Error::last_os_error());
    u64::from_ne_bytes(info[OFFSET..OFFSET + 8].try_into().unwrap())
}

/// Waits for what the kernel does by itself.
#[track_caller]
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}");
        thread::yield_now();
    }
}

/// Sends SIGUSR1, which does nothing, to the thread that calls this, without pause, until `f` is done.
pub(crate) fn under_signals(f: impl FnOnce()) {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler: extern "C" fn(libc::c_int) = nothing;
    // SAFETY: the handler does nothing, which may be done at any time.
    let before = unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
    assert_ne!(before, libc::SIG_ERR);
    // SAFETY: pthread_self(3) has no preconditions.
    let me = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // SAFETY: the thread lives, because it waits for this one at the end of the scope.
                let sent = unsafe { libc::pthread_kill(me, libc::SIGUSR1) };
                assert_eq!(sent, 0);
            }
        });
        let _done = Done(&done);
        f();
    });
}

/// Sets it when it is dropped, by a panic too.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sets an option of the socket level to a number.
pub(crate) fn set_option(socket: RawFd, option: libc::c_int, value: libc::c_int) {
    let len = libc::socklen_t::try_from(size_of::<libc::c_int>()).unwrap();
    let start = (&raw const value).cast();
    // SAFETY: `start` is good for reads of `len` bytes, for both are those of `value`.
    let outcome = unsafe { libc::setsockopt(socket, libc::SOL_SOCKET, option, start, len) };
    assert_eq!(outcome, 0, "setsockopt: {}", io::Error::last_os_error());
}

/// Lets the close of this socket reset its connection.
pub(crate) fn reset_when_closed(socket: &std::net::TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let len = libc::socklen_t::try_from(size_of::<libc::linger>()).unwrap();
    let (fd, start) = (socket.as_raw_fd(), (&raw const linger).cast());
    // SAFETY: `start` is good for reads of `len` bytes, for both are those of `linger`.
    let outcome = unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_LINGER, start, len) };
    assert_eq!(outcome, 0, "SO_LINGER: {}", io::Error::last_os_error());
}

/// A pipe, its reading end first; `flags` of pipe2(2) besides CLOEXEC and NONBLOCK.
pub(crate) fn pipe(flags: libc::c_int) -> [OwnedFd; 2] {
    let mut ends = [0; 2];
    let flags = flags | libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: pipe2(2) writes two ints through the pointer, which is that of an array of two.
    let outcome = unsafe { libc::pipe2(ends.as_mut_ptr(), flags) };
    assert_eq!(outcome, 0, "pipe2: {}", io::Error::last_os_error());
    // SAFETY: both are open and nobody else owns them, because pipe2(2) has just made them.
    ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A terminal, its master first, that passes on what it is given as it is; in whole lines only if
/// `lines` says so.
pub(crate) fn terminal(lines: bool) -> [OwnedFd; 2] {
    let (mut master, mut slave) = (0, 0);
    let mut modes = terminal_modes();
    // SAFETY: cfmakeraw(3) changes the struct it is given.
    unsafe { libc::cfmakeraw(&raw mut modes) };
    if lines {
        modes.c_lflag |= libc::ICANON;
    }
    let (name, size) = (std::ptr::null_mut(), std::ptr::null());
    // SAFETY: openpty(3) writes one int through each of the first two pointers and reads the modes;
    // null means "no name wanted" and "the size as it is".
    let outcome = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            name,
            &raw const modes,
            size,
        )
    };
    assert_eq!(outcome, 0, "openpty: {}", io::Error::last_os_error());
    [master, slave].map(|fd| {
        // SAFETY: `fd` is open and nobody else owns it, because openpty(3) has just made it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        set_nonblocking(&fd);
        fd
    })
}

/// All off: eight-bit characters and the rest as cfmakeraw(3) says.
fn terminal_modes() -> libc::termios {
    // SAFETY: termios is made of integers, for which all zeros is a value.
    unsafe { std::mem::zeroed() }
}

fn set_nonblocking(fd: &OwnedFd) {
    // SAFETY: F_SETFL takes an int and no pointer.
    let outcome = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    assert_eq!(outcome, 0, "fcntl: {}", io::Error::last_os_error());
}

/// Makes a pipe hold a page of 4096 bytes.
pub(crate) fn shrink_pipe(fd: RawFd) {
    // SAFETY: F_SETPIPE_SZ takes an int and no pointer.
    let outcome = unsafe { libc::fcntl(fd, libc::F_SETPIPE_SZ, 4096) };
    assert!(outcome > 0, "F_SETPIPE_SZ: {}", io::Error::last_os_error());
}

/// Sends `bytes` and, with the first of them, the descriptor `passed`: unix(7), SCM_RIGHTS.
pub(crate) fn send_with_descriptor(
    socket: RawFd,
    bytes: &[u8],
    passed: RawFd,
) -> io::Result<usize> {
    send_with(socket, bytes, libc::SCM_RIGHTS, &[passed])
}

/// Sends `bytes` as those of a user of this number, which takes a privilege: unix(7), SCM_CREDENTIALS.
pub(crate) fn send_as(socket: RawFd, bytes: &[u8], user: u16) -> io::Result<usize> {
    // A struct ucred: process, user, group.
    let process = i32::try_from(std::process::id()).unwrap();
    send_with(
        socket,
        bytes,
        libc::SCM_CREDENTIALS,
        &[process, user.into(), 0],
    )
}

/// Sends `bytes` and, with the first of them, a control message of up to four ints: cmsg(3).
fn send_with(socket: RawFd, bytes: &[u8], kind: libc::c_int, data: &[i32]) -> io::Result<usize> {
    // Header and payload as cmsg(3) lays them out: length, level, kind, the data, padding.
    let len = 16 + size_of_val(data);
    let mut control = Vec::new();
    control.extend_from_slice(&len.to_ne_bytes());
    control.extend_from_slice(&libc::SOL_SOCKET.to_ne_bytes());
    control.extend_from_slice(&kind.to_ne_bytes());
    for int in data {
        control.extend_from_slice(&int.to_ne_bytes());
    }
    // Aligned as a cmsghdr.
    let mut aligned = [0u64; 4];
    for (to, from) in aligned.iter_mut().zip(control.chunks(8)) {
        let mut word = [0; 8];
        word[..from.len()].copy_from_slice(from);
        *to = u64::from_ne_bytes(word);
    }
    let mut iovec = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: msghdr is made of integers and pointers, for which all zeros is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut iovec;
    message.msg_iovlen = 1;
    message.msg_control = aligned.as_mut_ptr().cast();
    message.msg_controllen = len.next_multiple_of(8);
    let flags = libc::MSG_NOSIGNAL;
    // SAFETY: `message` points to one iovec, of `bytes`, and to control data of the length it says;
    // sendmsg(2) only reads them, and all outlive the call.
    let sent = unsafe { libc::sendmsg(socket, &raw const message, flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
