//! What the kernel offers, asked of the kernel: on which pipes it takes the flags that stand in for O_NONBLOCK and for
//! MSG_NOSIGNAL. The pages of `net::pipe` and `net::sys::pipe` say so.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::{descriptors, named_descriptors};
use crate::limit::limit;

/// include/uapi/linux/fs.h; the crate libc does not have it yet.
pub(crate) const RWF_NOSIGNAL: libc::c_int = 0x100;

/// True if pwritev2(2) takes this flag, with a byte, of which there has to be room. (With none it looks at no flag.)
pub(crate) fn takes_flag_to_write(writing: &OwnedFd, flag: libc::c_int) -> bool {
    let byte = libc::iovec {
        iov_base: b"x".as_ptr().cast_mut().cast(),
        iov_len: 1,
    };
    // SAFETY: the pointer is good for one iovec, which is that of a static byte; pwritev2(2) only reads.
    let n = unsafe { libc::pwritev2(writing.as_raw_fd(), &raw const byte, 1, -1, flag) };
    took(n)
}

/// True if preadv2(2) takes this flag; of a pipe that holds something.
pub(crate) fn takes_flag_to_read(reading: &OwnedFd, flag: libc::c_int) -> bool {
    let mut byte = 0_u8;
    let room = libc::iovec {
        iov_base: (&raw mut byte).cast(),
        iov_len: 1,
    };
    // SAFETY: the pointer is good for one iovec, which is that of a byte.
    let n = unsafe { libc::preadv2(reading.as_raw_fd(), &raw const room, 1, -1, flag) };
    took(n)
}

#[track_caller]
fn took(n: isize) -> bool {
    if n >= 0 {
        return true;
    }
    let error = io::Error::last_os_error();
    assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "{error}");
    false
}

fn release() -> (u32, u32) {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = text
        .split(['.', '-'])
        .map(|number| number.trim().parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// The table on the page of `net::sys::pipe`. Catches: a kernel of which it is not true.
#[test]
fn the_kernel_takes_the_flags_that_the_page_says() {
    let _limit = limit(30);
    for ([reading, writing], anonymous) in [(descriptors(), true), (named_descriptors(), false)] {
        let nowait = anonymous && release() >= (6, 4);
        assert!(takes_flag_to_write(&writing, 0));
        assert_eq!(takes_flag_to_read(&reading, libc::RWF_NOWAIT), nowait);
        assert_eq!(takes_flag_to_write(&writing, libc::RWF_NOWAIT), nowait);
        let nosignal = takes_flag_to_write(&writing, RWF_NOSIGNAL);
        assert_eq!(nosignal, release() >= (6, 18));
    }
}
