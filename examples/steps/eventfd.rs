//! eventfd(2): a descriptor that becomes readable when it is written. The library has it in `runtime/sys/eventfd.rs`.

use std::fs::File;
use std::io::Error;
use std::os::fd::FromRawFd;

pub(super) fn eventfd() -> File {
    // SAFETY: eventfd(2) takes two integers and touches no memory of ours.
    let eventfd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    assert!(eventfd >= 0, "eventfd: {}", Error::last_os_error());
    // SAFETY: `eventfd` is open and has no other owner, because the call above has just returned it.
    unsafe { File::from_raw_fd(eventfd) }
}
