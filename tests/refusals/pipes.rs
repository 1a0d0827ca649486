//! The rows of pipes, as `table` has those of sockets.

use std::env;
use std::ffi::CString;
use std::fs;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::ffi::OsStrExt;
use std::process;
use std::task::Poll;

use reveille::net::pipe::{self, OpenOptions, Sender};

use crate::child::in_child;
use crate::table::Outcome::{Error, Works};
use crate::table::{Row, judge, limited};

/// A number of bytes that nothing around asks for.
const BYTES: u32 = 777;

pub(super) const PIPES: [Row; 14] = [
    (libc::SYS_pipe2, "pipe2", None, Error("pipe2")),
    (libc::SYS_preadv2, "preadv2", None, Works),
    (libc::SYS_pwritev2, "pwritev2", None, Works),
    // As Linux before 6.18 does, and before 6.4.
    (
        libc::SYS_pwritev2,
        "pwritev2",
        Some((5, 0x100 | libc::RWF_NOWAIT as u32)),
        Works,
    ),
    (
        libc::SYS_preadv2,
        "preadv2",
        Some((5, libc::RWF_NOWAIT as u32)),
        Works,
    ),
    // Not called where the others are not refused.
    (libc::SYS_readv, "readv", None, Works),
    (libc::SYS_writev, "writev", None, Works),
    (libc::SYS_read, "read", Some((2, BYTES)), Works),
    (libc::SYS_write, "write", Some((2, BYTES)), Works),
    (libc::SYS_poll, "poll", None, Works),
    // A descriptor of other code's is asked what it is.
    (
        libc::SYS_fcntl,
        "fcntl",
        Some((1, libc::F_GETFL as u32)),
        Error("fcntl"),
    ),
    (
        libc::SYS_fcntl,
        "fcntl",
        Some((1, libc::F_SETFL as u32)),
        Error("fcntl"),
    ),
    (
        libc::SYS_fcntl,
        "fcntl",
        Some((1, libc::F_SETPIPE_SZ as u32)),
        Error("fcntl"),
    ),
    (
        libc::SYS_ioctl,
        "ioctl",
        Some((1, libc::FIONREAD as u32)),
        Error("ioctl"),
    ),
];

/// Fault A34. Catches: a pipe that does not work where the kernel is older than what is asked of it first, or a sandbox
/// refuses that.
#[test]
fn what_a_sandbox_refuses_of_pipes_is_done_without_or_named() {
    in_child(
        "pipes::what_a_sandbox_refuses_of_pipes_is_done_without_or_named",
        || {
            judge(&PIPES, use_pipes);
        },
    );
}

/// Everything that pipes do for a program.
fn use_pipes() -> io::Result<()> {
    reveille::block_on(limited(async {
        let fifo = env::temp_dir().join(format!("reveille-refused-{}", process::id()));
        let name = CString::new(fifo.as_os_str().as_bytes())?;
        // SAFETY: mkfifo(3) reads the string, which ends with a zero byte and outlives the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let named = OpenOptions::new().open_receiver(&fifo);
        let named = named.and_then(|named| Ok((OpenOptions::new().open_sender(&fifo)?, named)));
        fs::remove_file(&fifo)?;
        let (theirs, ours) = pipe::pipe()?;
        for (sender, receiver) in [pipe::pipe()?, named?, (theirs, ours)] {
            let mut buf = [0; BYTES as usize];
            // The reader waits, then the writer does.
            let mut sending = Some(&sender);
            let read = poll_fn(|cx| {
                let polled = receiver.poll_read(cx, &mut buf);
                if let Some(sender) = sending.take() {
                    assert!(polled.is_pending());
                    assert_eq!(sender.try_write(&[7; BYTES as usize]).unwrap(), 777);
                    return Poll::Pending;
                }
                polled
            });
            assert_eq!(read.await?, 777);
            let writer = reveille::spawn(async move {
                sender.write_all(&vec![7; 500_000]).await?;
                let bufs = [IoSlice::new(b"he"), IoSlice::new(b"llo")];
                let n = sender.write_vectored(&bufs).await?;
                sender.write_all(&b"hello"[n..]).await
            });
            let mut got = Vec::with_capacity(BYTES as usize);
            let (one, other) = buf.split_at_mut(2);
            let bufs = &mut [IoSliceMut::new(one), IoSliceMut::new(other)];
            let mut n = receiver.read_vectored(bufs).await?;
            while receiver.read_vec(&mut got).await? > 0 {
                n += got.len();
                got.clear();
            }
            assert_eq!(n, 500_005);
            writer.await.expect("no panic")?;
        }
        let (sender, receiver) = pipe::pipe()?;
        let sender = Sender::from_owned_fd(sender.into_blocking_fd()?)?;
        sender.set_capacity(receiver.capacity()?)?;
        sender.unread_bytes().map(drop)
    }))
}
