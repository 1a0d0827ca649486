//! What a sharer of the descriptor does: it clears O_NONBLOCK, and whoever reads or writes then might block.

use std::fs::File;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::task::{Context, Poll, Waker};
use std::thread;

use reveille::net::pipe::{OpenOptions, Receiver, Sender, pipe};

use super::kernel::takes_flag_to_write;
use super::within::within;
use super::{Fifo, clear_nonblocking, descriptors, fill, named_descriptors, number, running};
use crate::limit::limit;
use crate::seccomp::refuse;

/// Reads from an empty pipe, in all ways, each after the flag was cleared. One that blocks is ended by the limit.
fn nothing_is_there(receiver: &Receiver, clear: &dyn Fn()) {
    let would_block = |outcome: std::io::Result<usize>| {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::WouldBlock);
        clear();
    };
    let mut buf = [0; 8];
    clear();
    would_block(receiver.try_read(&mut buf));
    would_block(receiver.try_read_vec(&mut Vec::new()));
    let (one, other) = buf.split_at_mut(4);
    let bufs = &mut [IoSliceMut::new(one), IoSliceMut::new(other)];
    would_block(receiver.try_read_vectored(bufs));
    let cx = &mut Context::from_waker(Waker::noop());
    let room = &mut [MaybeUninit::uninit(); 8];
    match receiver.poll_read_uninit(cx, room) {
        Poll::Pending => {}
        Poll::Ready(outcome) => panic!("{outcome:?}"),
    }
}

/// Writes to a full pipe, likewise.
fn no_room_is_there(sender: &Sender, clear: &dyn Fn()) {
    let would_block = |outcome: std::io::Result<usize>| {
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::WouldBlock);
        clear();
    };
    clear();
    would_block(sender.try_write(b"x"));
    would_block(sender.try_write(&[7; 100_000]));
    would_block(sender.try_write_vectored(&[IoSlice::new(b"x"), IoSlice::new(b"y")]));
}

/// Each way in which a pipe gets here and is shared.
async fn both_ends_withstand(sender: Sender, receiver: Receiver, clear: impl Fn(i32)) {
    let (writing, reading) = (number(&sender), number(&receiver));
    nothing_is_there(&receiver, &|| clear(reading));
    fill(&sender);
    no_room_is_there(&sender, &|| clear(writing));
    while receiver.unread_bytes().unwrap() > 0 {
        receiver.read(&mut [0; 4096]).await.unwrap();
    }
    assert_eq!(sender.write(b"on").await.unwrap(), 2);
    assert_eq!(receiver.read(&mut [0; 8]).await.unwrap(), 2);
}

/// Catches: RWF_NOWAIT left out, for reading or for writing. The descriptor was never handed out here, so that nothing
/// sets the flag again.
#[test]
fn on_an_anonymous_pipe_o_nonblock_does_not_matter() {
    let _limit = limit(30);
    if !takes_flag_to_write(&descriptors()[1], libc::RWF_NOWAIT) {
        return; // Before Linux 6.4.
    }
    running(async || {
        let (sender, receiver) = pipe().unwrap();
        both_ends_withstand(sender, receiver, clear_nonblocking).await;
    });
}

/// Catches: a flag that a sharer clears, and that is not set again where the kernel has nothing better.
#[test]
fn on_a_named_pipe_the_flag_is_set_again() {
    let _limit = limit(120);
    // Taken from other code.
    running(async || {
        let [reading, writing] = named_descriptors();
        let sender = Sender::from_owned_fd(writing).unwrap();
        let receiver = Receiver::from_owned_fd(reading).unwrap();
        both_ends_withstand(sender, receiver, clear_nonblocking).await;
    });
    // Opened here, and handed out.
    running(async || {
        let fifo = Fifo::new();
        let receiver = OpenOptions::new().open_receiver(fifo.path()).unwrap();
        let sender = OpenOptions::new().open_sender(fifo.path()).unwrap();
        let _ = (sender.as_fd(), receiver.as_fd());
        both_ends_withstand(sender, receiver, clear_nonblocking).await;
    });
    // Taken unchecked, in blocking mode.
    running(async || {
        let [reading, writing] = named_descriptors();
        let sender = Sender::from_owned_fd_unchecked(writing).unwrap();
        let receiver = Receiver::from_file_unchecked(File::from(reading)).unwrap();
        both_ends_withstand(sender, receiver, clear_nonblocking).await;
    });
}

/// Catches: the same where a sandbox refuses preadv2(2) and pwritev2(2), or the kernel is older than they.
#[test]
fn without_the_calls_that_take_flags_the_flag_is_set_again() {
    let _limit = limit(120);
    for errno in [libc::ENOSYS, libc::EPERM, libc::EOPNOTSUPP] {
        within(30, move || {
            // A filter cannot be taken back: on a thread of its own.
            let refused = thread::spawn(move || {
                refuse(libc::SYS_preadv2, None, errno);
                refuse(libc::SYS_pwritev2, None, errno);
                reveille::block_on(async {
                    for [reading, writing] in [descriptors(), named_descriptors()] {
                        let sender = Sender::from_owned_fd(writing).unwrap();
                        let receiver = Receiver::from_owned_fd(reading).unwrap();
                        both_ends_withstand(sender, receiver, clear_nonblocking).await;
                    }
                });
            });
            refused.join().unwrap();
        });
    }
}

/// Catches: a write of several buffers that ends behind the first one where a sandbox refuses pwritev2(2), although there
/// is room for all, so that another writer's bytes come in between; and that the same is an error where writev(2) is
/// refused, too.
#[test]
fn without_the_calls_that_take_flags_several_buffers_go_at_once_all_the_same() {
    let _limit = limit(60);
    for (plain, whole) in [(None, (5, 5)), (Some(libc::EPERM), (2, 3))] {
        within(30, move || {
            let refused = thread::spawn(move || {
                refuse(libc::SYS_preadv2, None, libc::EPERM);
                refuse(libc::SYS_pwritev2, None, libc::EPERM);
                if let Some(errno) = plain {
                    refuse(libc::SYS_readv, None, errno);
                    refuse(libc::SYS_writev, None, errno);
                }
                reveille::block_on(async {
                    let (sender, receiver) = pipe().unwrap();
                    let wrote = sender
                        .write_vectored(&[IoSlice::new(b"he"), IoSlice::new(b"llo")])
                        .await
                        .unwrap();
                    sender.write_all(&b"hello"[wrote..]).await.unwrap();
                    let (mut one, mut other) = ([0; 3], [0; 3]);
                    let bufs = &mut [IoSliceMut::new(&mut one), IoSliceMut::new(&mut other)];
                    let read = receiver.read_vectored(bufs).await.unwrap();
                    assert_eq!((wrote, read), whole);
                    let both = [one, other].concat();
                    assert_eq!(&both[..read], &b"hello"[..read]);
                });
            });
            refused.join().unwrap();
        });
    }
}

/// Catches: an error that names one of the limits only, where the other may be the reason.
#[test]
fn the_error_of_a_capacity_names_both_limits() {
    let _limit = limit(30);
    let refused = thread::spawn(|| {
        let (sender, _receiver) = pipe().unwrap();
        let set = Some((1, libc::F_SETPIPE_SZ as u32));
        refuse(libc::SYS_fcntl, set, libc::EPERM);
        sender.set_capacity(4096).unwrap_err()
    });
    let error = refused.join().unwrap();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    for limit in [
        "pipe-max-size",
        "pipe-user-pages-soft",
        "pipe-user-pages-hard",
    ] {
        assert!(error.to_string().contains(limit), "{error}");
    }
}

/// Catches: a wait that comes back from a sharer's flag as an error, or not at all.
#[test]
fn who_waits_gets_bytes_though_a_sharer_has_cleared_the_flag() {
    let _limit = limit(60);
    running(async || {
        for [reading, writing] in [descriptors(), named_descriptors()] {
            let shared: OwnedFd = reading.try_clone().unwrap();
            let receiver = Receiver::from_owned_fd(reading).unwrap();
            let sender = Sender::from_owned_fd(writing).unwrap();
            let reader = reveille::spawn(async move {
                let mut got = Vec::new();
                while receiver.read_vec(&mut got).await.unwrap() > 0 {}
                got.len()
            });
            for _ in 0..50 {
                clear_nonblocking(shared.as_raw_fd());
                reveille::task::yield_now().await;
                sender.write_all(&[7; 10_000]).await.unwrap();
            }
            drop(sender);
            assert_eq!(reader.await.unwrap(), 500_000);
        }
    });
}
