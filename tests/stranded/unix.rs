//! The cases in which a short read on a Unix stream leaves something behind, one by one; a runtime
//! that takes "short" for "drained" hangs in each.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use reveille::io::{AsyncFd, Interest};
use reveille::task::yield_now;

use super::kernel;
use super::within::within;
use crate::limit::limit;

/// Lets a task wait for bytes, then `write` write, and close; returns what each read gave, into
/// plenty of room.
fn reads(write: impl FnOnce(UnixStream) + Send + 'static, pass_credentials: bool) -> Vec<String> {
    within(60, move || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        kernel::set_option(ours.as_raw_fd(), libc::SO_PASSCRED, pass_credentials.into());
        let ours = AsyncFd::new(ours).unwrap();
        reveille::block_on(async {
            let reader = reveille::spawn(async move {
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
            });
            yield_now().await; // Now it waits.
            write(theirs);
            reader.await.unwrap()
        })
    })
}

/// R10. Fault A7: a message with a descriptor is not read together with the next.
/// Catches: a short read taken for the last.
#[test]
fn bytes_behind_a_passed_descriptor_are_read() {
    let _limit = limit(120);
    let write = |mut stream: UnixStream| {
        stream.write_all(b"one").unwrap();
        let fd = stream.as_raw_fd();
        assert_eq!(kernel::send_with_descriptor(fd, b"two", fd).unwrap(), 3);
        stream.write_all(b"three").unwrap();
    };
    // The descriptor goes with the read that ends behind its message.
    assert_eq!(reads(write, false), ["onetwo", "three"]);
}

/// R10. Fault A7: with SO_PASSCRED the bytes of two processes are not read together: unix(7).
/// Catches: a short read taken for the last.
#[test]
fn bytes_of_another_process_are_read_where_credentials_are_passed() {
    let _limit = limit(120);
    let write = |mut stream: UnixStream| {
        stream.write_all(b"one").unwrap();
        let output = OwnedFd::from(stream.try_clone().unwrap());
        let wrote = Command::new("echo")
            .args(["-n", "two"])
            .stdout(Stdio::from(output))
            .status();
        assert!(wrote.unwrap().success());
        stream.write_all(b"three").unwrap();
    };
    assert_eq!(reads(write, true), ["one", "two", "three"]);
}
