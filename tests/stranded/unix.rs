//! The cases in which a short read on a Unix stream leaves something behind, one by one; a runtime
//! that takes "short" for "drained" hangs in each.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use reveille::io::{AsyncFd, Interest};

use super::kernel;
use super::within::within;

/// Reads into plenty of room until the end, on a runtime, from a stream that nobody writes to any
/// more; returns each read apart.
fn reads(ours: UnixStream) -> Vec<String> {
    within(60, move || {
        ours.set_nonblocking(true).unwrap();
        let ours = AsyncFd::new(ours).unwrap();
        reveille::block_on(async {
            let mut reads = Vec::new();
            loop {
                let mut buf = [0; 100];
                let read = |mut stream: &UnixStream| stream.read(&mut buf);
                let n = ours.async_io(Interest::READABLE, read).await.unwrap();
                if n == 0 {
                    return reads;
                }
                reads.push(String::from_utf8_lossy(&buf[..n]).into_owned());
            }
        })
    })
}

/// R10. Fault A7: a message with a descriptor is not read together with the next.
/// Catches: a short read taken for the last.
#[test]
fn bytes_behind_a_passed_descriptor_are_read() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"one").unwrap();
    let fd = theirs.as_raw_fd();
    assert_eq!(kernel::send_with_descriptor(fd, b"two", fd).unwrap(), 3);
    theirs.write_all(b"three").unwrap();
    drop(theirs);
    // The descriptor goes with the read that ends behind its message.
    assert_eq!(reads(ours), ["onetwo", "three"]);
}

/// R10. Fault A7: with SO_PASSCRED the bytes of two processes are not read together: unix(7).
/// Catches: a short read taken for the last.
#[test]
fn bytes_of_another_process_are_read_where_credentials_are_passed() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    kernel::set_option(ours.as_raw_fd(), libc::SO_PASSCRED, 1);
    theirs.write_all(b"one").unwrap();
    let output = OwnedFd::from(theirs.try_clone().unwrap());
    let wrote = Command::new("echo")
        .args(["-n", "two"])
        .stdout(Stdio::from(output))
        .status();
    assert!(wrote.unwrap().success());
    theirs.write_all(b"three").unwrap();
    drop(theirs);
    assert_eq!(reads(ours), ["one", "two", "three"]);
}
