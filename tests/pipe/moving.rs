//! Bytes through a pipe, in all forms.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::rc::Rc;

use futures_lite::future::poll_once;
use reveille::io::Interest;
use reveille::net::pipe::{Receiver, pipe};
use reveille::{Builder, spawn};

use super::seeds::under_seeds;
use super::within::within;
use super::{descriptors, fill, running};
use crate::limit::limit;
use crate::seccomp::refuse;

fn counted(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

/// Catches: a byte that is lost, mixed up or taken twice in any of the forms, or under any choice of chaos.
#[test]
fn bytes_arrive_in_order_in_every_form() {
    under_seeds("REVEILLE_CHAOS", 20, |seed| {
        let _limit = limit(30);
        let mut builder = Builder::new();
        if seed > 0 {
            builder.chaos(seed);
        }
        builder.block_on(async {
            let (sender, receiver) = pipe().unwrap();
            let writer = spawn(async move {
                let bytes = counted(400_000);
                let (whole, parts) = bytes.split_at(200_000);
                sender.write_all(whole).await.unwrap();
                let mut at = 0;
                while at < parts.len() {
                    let bufs: Vec<_> = parts[at..].chunks(700).map(IoSlice::new).collect();
                    at += sender.write_vectored(&bufs).await.unwrap();
                }
            });
            let mut got = vec![0; 100_000];
            receiver.read_exact(&mut got).await.unwrap();
            let mut buf = [0; 3000];
            loop {
                got.reserve(900);
                let n = receiver.read_vec(&mut got).await.unwrap();
                let m = receiver.read(&mut buf).await.unwrap();
                got.extend_from_slice(&buf[..m]);
                let (one, other) = buf.split_at_mut(1000);
                let bufs = &mut [IoSliceMut::new(one), IoSliceMut::new(other)];
                let l = receiver.read_vectored(bufs).await.unwrap();
                got.extend_from_slice(&buf[..l]);
                if n + m + l == 0 {
                    break;
                }
            }
            writer.await.unwrap();
            assert!(got == counted(400_000), "{} bytes", got.len());
        });
    });
}

/// Fault C7. Catches: a read into no room that waits, or passes for the end.
#[test]
fn a_read_into_no_room_of_a_pipe_is_zero_at_once() {
    let _limit = limit(30);
    running(async || {
        let (sender, receiver) = pipe().unwrap();
        let no_room = async |receiver: &Receiver| {
            assert_eq!(receiver.read(&mut []).await.unwrap(), 0);
            assert_eq!(receiver.try_read(&mut []).unwrap(), 0);
            assert_eq!(receiver.read_vectored(&mut []).await.unwrap(), 0);
        };
        no_room(&receiver).await;
        assert!(poll_once(receiver.read(&mut [0])).await.is_none());
        no_room(&receiver).await;
        sender.write_all(b"x").await.unwrap();
        no_room(&receiver).await;
        assert_eq!(receiver.read(&mut [0]).await.unwrap(), 1);
        // Empty buffers in front are no end either.
        sender.write_all(b"y").await.unwrap();
        let mut byte = [0];
        let mut bufs: Vec<_> = (0..2000).map(|_| IoSliceMut::new(&mut [])).collect();
        bufs.push(IoSliceMut::new(&mut byte));
        assert_eq!(receiver.read_vectored(&mut bufs).await.unwrap(), 1);
        drop(sender);
        no_room(&receiver).await;
    });
}

/// Fault C10. Catches: more buffers than the kernel takes in one call, which is EINVAL, and would pass for a refusal.
#[test]
fn five_thousand_buffers_go_through_a_pipe() {
    let _limit = limit(30);
    running(async || {
        let (sender, receiver) = pipe().unwrap();
        let bytes = counted(5000);
        let bufs: Vec<_> = bytes.chunks(1).map(IoSlice::new).collect();
        let mut at = 0;
        while at < bufs.len() {
            let n = sender.write_vectored(&bufs[at..]).await.unwrap();
            assert_eq!(n, 1024.min(bufs.len() - at));
            at += n;
        }
        let mut got = vec![0; 5000];
        let mut at = 0;
        while at < 5000 {
            let mut bufs: Vec<_> = got[at..].chunks_mut(1).map(IoSliceMut::new).collect();
            let n = receiver.read_vectored(&mut bufs).await.unwrap();
            assert_eq!(n, 1024.min(5000 - at));
            at += n;
        }
        assert!(got == bytes);
    });
}

/// pipe(7), PIPE_BUF. Catches: a small write that chaos cuts, which the kernel never does: the messages of two writers
/// would mix.
#[test]
fn a_write_of_at_most_4096_bytes_is_whole_also_under_chaos() {
    under_seeds("REVEILLE_CHAOS", 40, |seed| {
        let _limit = limit(30);
        Builder::new().chaos(seed).block_on(async {
            let (sender, receiver) = pipe().unwrap();
            let sender = Rc::new(sender);
            let writers = [1_u8, 2].map(|mark| {
                let sender = Rc::clone(&sender);
                spawn(async move {
                    for nth in 0..20 {
                        let message = vec![mark; 4096];
                        let n = match nth % 2 {
                            0 => sender.write(&message).await,
                            _ => {
                                let (one, other) = message.split_at(96);
                                let bufs = [IoSlice::new(one), IoSlice::new(other)];
                                sender.write_vectored(&bufs).await
                            }
                        };
                        assert_eq!(n.unwrap(), 4096);
                    }
                })
            });
            drop(sender);
            let mut got = Vec::new();
            while receiver.read_vec(&mut got).await.unwrap() > 0 {}
            for writer in writers {
                writer.await.unwrap();
            }
            assert_eq!(got.len(), 40 * 4096);
            for message in got.chunks(4096) {
                assert!(message.iter().all(|byte| *byte == message[0]));
            }
        });
    });
}

/// Catches: chaos that leaves long writes alone: a program that takes a short one for all would never be found out.
#[test]
fn a_longer_write_may_be_short_under_chaos() {
    let _limit = limit(60);
    let short = (0..60).any(|seed| {
        Builder::new().chaos(seed).block_on(async {
            let (sender, _receiver) = pipe().unwrap();
            sender.write(&[7; 4097]).await.unwrap() < 4097
        })
    });
    assert!(short);
}

/// Fault A27. Catches: a pipe that is never empty, whose reader lets no other task run.
#[test]
fn a_busy_pipe_lets_other_tasks_run() {
    let _limit = limit(30);
    running(async || {
        let (sender, receiver) = pipe().unwrap();
        fill(&sender);
        let other = Rc::new(Cell::new(false));
        let seen = Rc::clone(&other);
        let reader = spawn(async move {
            let mut reads = 0;
            while !seen.get() {
                receiver.read(&mut [0]).await.unwrap();
                reads += 1;
            }
            reads
        });
        let other = spawn(async move { other.set(true) });
        other.await.unwrap();
        assert!(reader.await.unwrap() < 1000);
    });
}

/// Catches: a number that is not the kernel's; a capacity that is changed for nothing, or wraps.
#[test]
fn a_pipe_says_and_sets_what_it_holds() {
    let _limit = limit(30);
    running(async || {
        let (sender, receiver) = pipe().unwrap();
        let page = sender.set_capacity(1).unwrap();
        assert_eq!(
            (page.is_power_of_two(), receiver.capacity().unwrap()),
            (true, page)
        );
        assert_eq!(receiver.set_capacity(page + 1).unwrap(), 2 * page);
        assert_eq!(sender.capacity().unwrap(), 2 * page);
        assert_eq!(
            (
                sender.unread_bytes().unwrap(),
                receiver.unread_bytes().unwrap()
            ),
            (0, 0)
        );
        assert_eq!(fill(&sender), 2 * page);
        assert_eq!(
            (
                sender.unread_bytes().unwrap(),
                receiver.unread_bytes().unwrap()
            ),
            (2 * page, 2 * page)
        );
        let busy = sender.set_capacity(page).unwrap_err();
        assert_eq!(busy.raw_os_error(), Some(libc::EBUSY));
        for senseless in [usize::MAX, 1 << 31, 1 << 32] {
            let error = sender.set_capacity(senseless).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains("2147483647"), "{error}");
        }
        assert_eq!(sender.capacity().unwrap(), 2 * page);
    });
}

/// Catches: an end that waits for what it never hears of.
#[test]
fn an_end_waits_for_its_own_direction_only() {
    let _limit = limit(30);
    running(async || {
        let (sender, receiver) = pipe().unwrap();
        let error = receiver.ready(Interest::WRITABLE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let error = sender.ready(Interest::READABLE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        sender.writable().await.unwrap();
        assert!(poll_once(receiver.readable()).await.is_none());
        sender.write_all(b"x").await.unwrap();
        receiver.readable().await.unwrap();
        // An operation of one's own: the descriptor is handed out for it.
        let peeked = receiver.try_io(Interest::READABLE, || Ok(receiver.unread_bytes()));
        assert_eq!(peeked.unwrap().unwrap(), 1);
        drop(receiver);
        assert!(sender.ready(Interest::ERROR).await.unwrap().is_error());
    });
}

/// Catches: descriptors of other code's whose bytes before are lost.
#[test]
fn what_was_written_before_an_end_was_taken_is_read() {
    let _limit = limit(30);
    running(async || {
        let [reading, writing] = descriptors();
        // SAFETY: write(2) reads three bytes, through the pointer of a static text.
        let n = unsafe {
            libc::write(
                std::os::fd::AsRawFd::as_raw_fd(&writing),
                b"old".as_ptr().cast(),
                3,
            )
        };
        assert_eq!(n, 3);
        let receiver = Receiver::from_owned_fd(reading).unwrap();
        assert_eq!(receiver.read(&mut [0; 8]).await.unwrap(), 3);
    });
}

/// Fault C14. Catches: a number that is not the system call's; bytes behind it that are written; where a sandbox refuses
/// preadv2(2), a read by another call that does either.
#[test]
fn a_read_of_a_pipe_into_memory_without_values_writes_what_came_and_no_more() {
    let _limit = limit(60);
    for refused in [false, true] {
        within(30, move || {
            if refused {
                refuse(libc::SYS_preadv2, None, libc::EPERM);
            }
            reveille::block_on(async {
                let (sender, receiver) = pipe().unwrap();
                sender.write_all(b"abc").await.unwrap();
                let mut room = [MaybeUninit::new(0xee); 8];
                let n = poll_fn(|cx| receiver.poll_read_uninit(cx, &mut room)).await;
                // SAFETY: all bytes were written when the array was made.
                let room = room.map(|byte| unsafe { byte.assume_init() });
                assert_eq!((n.unwrap(), &room), (3, b"abc\xee\xee\xee\xee\xee"));
                sender.write_all(b"defgh").await.unwrap();
                let mut vec = Vec::with_capacity(6);
                vec.push(b'c');
                assert_eq!(receiver.read_vec(&mut vec).await.unwrap(), 5);
                assert_eq!(vec, b"cdefgh");
                sender.write_all(b"ij").await.unwrap();
                // Without room it gets some.
                assert_eq!(receiver.read_vec(&mut vec).await.unwrap(), 2);
                assert_eq!(vec, b"cdefghij");
            });
        });
    }
}
