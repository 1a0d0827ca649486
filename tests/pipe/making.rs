//! What is taken for the end of a pipe, and what is not; what is given back.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;

use futures_lite::future::poll_once;
use reveille::net::pipe::{OpenOptions, Receiver, Sender, pipe};

use super::{
    Fifo, clear_nonblocking, descriptors, fill, is_nonblocking, named_descriptors, number, running,
};
use crate::limit::limit;

/// Promise 13. Catches: an end that a started program inherits: the pipe never ends then; one that blocks.
#[test]
fn both_ends_are_born_close_on_exec_and_nonblocking() {
    let _limit = limit(30);
    let fifo = Fifo::new();
    let (sender, receiver) = pipe().unwrap();
    let reading = OpenOptions::new().open_receiver(fifo.path()).unwrap();
    let writing = OpenOptions::new().open_sender(fifo.path()).unwrap();
    for fd in [
        number(&sender),
        number(&receiver),
        number(&reading),
        number(&writing),
    ] {
        // SAFETY: F_GETFD takes no argument.
        assert_eq!(unsafe { libc::fcntl(fd, libc::F_GETFD) }, libc::FD_CLOEXEC);
        assert!(is_nonblocking(&fd));
    }
}

/// Catches: a socket, a file or a device that is taken for a pipe: its reads may block the thread.
#[test]
fn what_is_no_pipe_is_refused() {
    let _limit = limit(30);
    let socket = || OwnedFd::from(UnixStream::pair().unwrap().0);
    let null = || {
        let file = File::options().read(true).write(true).open("/dev/null");
        OwnedFd::from(file.unwrap())
    };
    for fd in [socket(), null()] {
        let error = Receiver::from_owned_fd(fd.try_clone().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(error.to_string(), "not a pipe");
        let error = Sender::from_file(File::from(fd)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let error = OpenOptions::new().open_receiver("/dev/null").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = OpenOptions::new().open_sender("/dev/null").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let error = OpenOptions::new().open_receiver("/nowhere").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// Catches: an end that is taken for the other one: each transfer would be EBADF.
#[test]
fn the_end_to_write_to_is_not_read_from_nor_the_other_way_round() {
    let _limit = limit(30);
    for [reading, writing] in [descriptors(), named_descriptors()] {
        let error = Receiver::from_owned_fd(writing.try_clone().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("reading"), "{error}");
        let error = Sender::try_from(reading.try_clone().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("writing"), "{error}");
        Receiver::try_from(reading).unwrap();
        Sender::from_owned_fd(writing).unwrap();
    }
    // Both ways is either.
    let fifo = Fifo::new();
    let both = File::options()
        .read(true)
        .write(true)
        .open(fifo.path())
        .unwrap();
    Receiver::from_file(both.try_clone().unwrap()).unwrap();
    Sender::from_file(both).unwrap();
}

/// Catches: an operation of the caller's own (`try_io`) that blocks the thread; a mode that is changed though nothing asked
/// for it.
#[test]
fn a_descriptor_that_is_taken_is_put_into_nonblocking_mode() {
    let _limit = limit(30);
    for [reading, writing] in [descriptors(), named_descriptors()] {
        let (reader, writer) = (reading.try_clone().unwrap(), writing.try_clone().unwrap());
        let unchecked = Receiver::from_owned_fd_unchecked(reader.try_clone().unwrap()).unwrap();
        assert!(!is_nonblocking(&reading) && !is_nonblocking(&writing));
        let _receiver = Receiver::from_owned_fd(reader).unwrap();
        let _sender = Sender::from_owned_fd(writer).unwrap();
        assert!(is_nonblocking(&reading) && is_nonblocking(&writing));
        drop(unchecked);
    }
}

/// Catches: a terminal whose end of file is taken for "nothing yet", as that of a pipe may be.
#[test]
fn what_is_taken_unchecked_is_read_as_it_is() {
    let _limit = limit(30);
    running(async || {
        let (mut master, slave) = terminal();
        let receiver = Receiver::from_owned_fd_unchecked(slave).unwrap();
        let reader = reveille::spawn(async move {
            let mut line = Vec::new();
            while receiver.read_vec(&mut line).await.unwrap() > 0 {}
            line
        });
        master.write_all(b"line\n").unwrap();
        reveille::task::yield_now().await;
        master.write_all(&[4]).unwrap(); // Control-D, on a line of its own.
        assert_eq!(reader.await.unwrap(), b"line\n");
        // And written to, though O_NONBLOCK was never set.
        let (mut master, slave) = terminal();
        let sender = Sender::from_owned_fd_unchecked(slave).unwrap();
        sender.write_all(b"out").await.unwrap();
        let mut out = [0; 3];
        master.read_exact(&mut out).unwrap();
        assert_eq!(&out, b"out");
    });
    let unchecked = OpenOptions::new().unchecked(true).open_sender("/dev/null");
    assert_eq!(unchecked.unwrap().try_write(b"gone").unwrap(), 4);
}

/// A terminal that says nothing back: the master, and the slave, which gives whole lines.
fn terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (0, 0);
    // SAFETY: all zeros is a value of termios, which consists of integers.
    let mut modes = unsafe { std::mem::zeroed::<libc::termios>() };
    modes.c_lflag = libc::ICANON;
    modes.c_cflag = libc::CS8 | libc::CREAD;
    modes.c_cc[libc::VEOF] = 4;
    // SAFETY: openpty(3) writes one int through each of the first two pointers and reads the modes; null is "none".
    let opened = unsafe {
        libc::openpty(
            &raw mut master,
            &raw mut slave,
            std::ptr::null_mut(),
            &raw const modes,
            std::ptr::null(),
        )
    };
    assert_eq!(opened, 0);
    // SAFETY: both are open and nothing else owns them, because openpty(3) has just made them.
    let [master, slave] = [master, slave].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    (master.into(), slave)
}

/// Catches: a descriptor that is given back registered, or in the other mode; a program whose output is refused because it
/// does not wait.
#[test]
fn into_blocking_fd_really_blocks() {
    let _limit = limit(30);
    running(async || {
        let (sender, receiver) = pipe().unwrap();
        fill(&sender);
        let sender = sender.into_blocking_fd().unwrap();
        assert!(!is_nonblocking(&sender));
        // `yes` would end at the first EAGAIN.
        let shell = "yes | head -c 300000";
        let mut program = Command::new("sh");
        let mut program = program.args(["-c", shell]).stdout(sender).spawn().unwrap();
        let mut got = Vec::<u8>::new();
        let mut buf = [0; 4096];
        while got.len() < 300_000 {
            let n = receiver.read(&mut buf).await.unwrap();
            got.extend(buf[..n].iter().filter(|&&byte| byte != 7));
        }
        assert!(program.wait().unwrap().success());

        let (sender, receiver) = pipe().unwrap();
        let fd = number(&receiver);
        let receiver = receiver.into_nonblocking_fd().unwrap();
        assert!(is_nonblocking(&receiver) && receiver.as_raw_fd() == fd);
        let receiver = Receiver::from_owned_fd(receiver).unwrap();
        let mut receiver = File::from(receiver.into_blocking_fd().unwrap());
        let reader = thread::spawn(move || {
            let mut byte = [0];
            receiver.read_exact(&mut byte).map(|()| byte[0])
        });
        sender.write_all(b"x").await.unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), b'x');
    });
}

/// Catches: a descriptor that blocks, although the page says that it does not: that of a pipe taken in blocking mode, which
/// no transfer had to change, or of one whose sharer has cleared the flag since.
#[test]
fn into_nonblocking_fd_never_blocks() {
    let _limit = limit(30);
    running(async || {
        for unused in [true, false] {
            let [reading, writing] = descriptors();
            let receiver = Receiver::from_owned_fd_unchecked(reading).unwrap();
            let sender = Sender::from_owned_fd_unchecked(writing).unwrap();
            if !unused {
                assert_eq!(sender.write(b"x").await.unwrap(), 1);
                assert_eq!(receiver.read(&mut [0; 8]).await.unwrap(), 1);
            }
            assert!(is_nonblocking(&receiver.into_nonblocking_fd().unwrap()));
            assert!(is_nonblocking(&sender.into_nonblocking_fd().unwrap()));
        }
        let (sender, receiver) = pipe().unwrap();
        clear_nonblocking(receiver.as_raw_fd());
        clear_nonblocking(sender.as_raw_fd());
        assert!(is_nonblocking(&receiver.into_nonblocking_fd().unwrap()));
        assert!(is_nonblocking(&sender.into_nonblocking_fd().unwrap()));
    });
}

/// Catches: a registration that is kept by the runtime when its descriptor was given back.
#[test]
fn a_descriptor_that_was_given_back_can_be_taken_again() {
    let _limit = limit(30);
    running(async || {
        let (sender, mut receiver) = pipe().unwrap();
        for _ in 0..3 {
            assert!(poll_once(receiver.read(&mut [0])).await.is_none());
            let fd = receiver.into_nonblocking_fd().unwrap();
            receiver = Receiver::from_owned_fd(fd).unwrap();
        }
        sender.write_all(b"x").await.unwrap();
        assert_eq!(receiver.read(&mut [0; 8]).await.unwrap(), 1);
    });
}
