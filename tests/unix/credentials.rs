//! Who is at the other end, and what arrives with the bytes.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::thread;

use reveille::io::{AsyncFd, Interest};
use reveille::net::{UnixListener, UnixSocket, UnixStream};

use super::{Folder, child, running, within};
use crate::limit::limit;

/// Catches: numbers in the wrong places; the credentials of this end, or none.
#[test]
fn the_peer_of_a_pair_is_this_process() {
    let _limit = limit(30);
    // On a thread that may have a user and a group of its own: the system calls, unlike the C library's functions, change
    // the thread alone. Without the privilege both stay as they are.
    let thread = thread::spawn(|| {
        for (call, number) in [(libc::SYS_setresgid, 2), (libc::SYS_setresuid, 1)] {
            // SAFETY: both calls take three integers; -1 means "as it is".
            let _set = unsafe { libc::syscall(call, -1, number, -1) };
        }
        who_a_peer_is();
    });
    thread.join().unwrap();
}

fn who_a_peer_is() {
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let peer = ours.peer_cred().unwrap();
    // SAFETY: geteuid(2) takes nothing.
    assert_eq!(peer.uid(), unsafe { libc::geteuid() });
    // SAFETY: getegid(2) takes nothing.
    assert_eq!(peer.gid(), unsafe { libc::getegid() });
    let pid = peer.pid().map(i32::unsigned_abs);
    assert_eq!(pid, Some(process::id()));
    let unconnected = UnixListener::bind("").unwrap();
    let unconnected = UnixStream::from_std(OwnedFd::from(unconnected.into_std().unwrap()).into());
    // The listener's own, as those who connect see them.
    assert_eq!(unconnected.unwrap().peer_cred().unwrap(), peer);
}

/// Catches: pages that promise a peer, or an error, where the kernel says neither; an address that is gone with the peer.
#[test]
fn a_unix_stream_that_never_was_connected_has_no_peer_and_one_that_was_keeps_it() {
    let _limit = limit(30);
    let socket = UnixSocket::new_stream().unwrap();
    let socket = socket.as_fd().try_clone_to_owned().unwrap();
    let unconnected = UnixStream::from_std(socket.into()).unwrap();
    let peer = unconnected.peer_cred().unwrap();
    assert_eq!(
        (peer.uid(), peer.gid(), peer.pid()),
        (u32::MAX, u32::MAX, None)
    );
    let errno = unconnected.peer_pidfd().unwrap_err().raw_os_error();
    let refusals = [libc::ENODATA, libc::ESRCH, libc::ENOPROTOOPT].map(Some); // Of newer kernels, and of older ones.
    assert!(refusals.contains(&errno), "{errno:?}");
    let none = unconnected.peer_addr().unwrap_err();
    assert_eq!(none.raw_os_error(), Some(libc::ENOTCONN));
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(theirs);
    assert!(ours.peer_addr().unwrap().is_unnamed());
}

/// The process of which a pidfd says it is: proc_pid_fdinfo(5).
fn process_of(pidfd: BorrowedFd<'_>) -> i32 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    pid.unwrap().trim().parse().unwrap()
}

/// Catches: the pidfd of another process, or one that a started program inherits; a process that has ended and is not told.
#[test]
fn the_process_that_connected_is_known_and_its_end_is_seen() {
    let _limit = limit(170);
    let name = "credentials::the_process_that_connected_is_known_and_its_end_is_seen";
    let path =
        |parent: u32| -> PathBuf { std::env::temp_dir().join(format!("reveille-peer-{parent}")) };
    let at = path(process::id());
    let server = thread::spawn(move || {
        within::within(150, move || {
            reveille::block_on(async {
                let Ok(listener) = UnixListener::bind(&at) else {
                    panic!("a file of that name is there");
                };
                let (stream, _) = listener.accept().await.unwrap();
                fs::remove_file(&at).unwrap();
                let mut said = [0; 4];
                stream.read_exact(&mut said).await.unwrap();
                let pid = stream.peer_cred().unwrap().pid().unwrap();
                assert_eq!(pid, i32::from_ne_bytes(said));
                let pidfd = stream.peer_pidfd();
                stream.write_all(b"go").await.unwrap();
                let pidfd = match pidfd {
                    // Before Linux 6.5.
                    Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => return,
                    pidfd => pidfd.unwrap(),
                };
                // SAFETY: F_GETFD takes no argument and touches no memory.
                let flags = unsafe { libc::fcntl(pidfd.as_raw_fd(), libc::F_GETFD) };
                assert_eq!(flags, libc::FD_CLOEXEC);
                assert_eq!(process_of(pidfd.as_fd()), pid);
                let pidfd = AsyncFd::with_interest(pidfd, Interest::READABLE).unwrap();
                drop(pidfd.readable().await.unwrap());
            });
        });
    });
    child::in_child(name, || {
        let at = path(parent_id());
        let mut stream = loop {
            // The parent's thread may not be there yet.
            match std::os::unix::net::UnixStream::connect(&at) {
                Ok(stream) => break stream,
                Err(error) => {
                    let kinds = [ErrorKind::NotFound, ErrorKind::ConnectionRefused];
                    assert!(kinds.contains(&error.kind()), "{error}");
                    thread::yield_now();
                }
            }
        };
        stream.write_all(&process::id().to_ne_bytes()).unwrap();
        stream.read_exact(&mut [0; 2]).unwrap();
    });
    if std::env::var_os("REVEILLE_CHILD").is_none() {
        server.join().unwrap();
    }
}

/// R10. Fault A7: with SO_PASSCRED the bytes of two processes are not read together: unix(7).
/// Catches: an option that is not set, or is told wrong; a short read taken for the last.
#[test]
fn bytes_of_two_processes_are_read_apart_where_credentials_are_asked_for() {
    let _limit = limit(60);
    running(async || {
        let folder = Folder::new();
        let (client, server) = super::ours(&folder.path("server")).await;
        assert!(!server.passcred().unwrap());
        server.set_passcred(true).unwrap();
        assert!(server.passcred().unwrap());
        let reader = reveille::spawn(async move {
            let mut reads = Vec::new();
            loop {
                let mut buf = [0; 100];
                match server.read(&mut buf).await.unwrap() {
                    0 => return reads,
                    n => reads.push(String::from_utf8_lossy(&buf[..n]).into_owned()),
                }
            }
        });
        reveille::task::yield_now().await; // Now it waits.
        client.write_all(b"one").await.unwrap();
        let output = OwnedFd::from(client.try_clone().unwrap().into_std().unwrap());
        let wrote = Command::new("echo")
            .args(["-n", "two"])
            .stdout(Stdio::from(output))
            .status();
        assert!(wrote.unwrap().success());
        client.write_all(b"three").await.unwrap();
        drop(client);
        assert_eq!(reader.await.unwrap(), ["one", "two", "three"]);
    });
}
