//! Each error says what is wrong and leaves nothing behind.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::pin;
use std::task::Poll;

use reveille::Runtime;
use reveille::io::{AsyncFd, Interest};

use crate::child::in_child;
use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::{fill, pair, read_one, reader, registrations, sources, write_one};

/// What the first wait says.
fn first_wait<T: AsFd>(runtime: &Runtime, fd: &AsyncFd<T>, interest: Interest) -> io::Error {
    let (_, waker) = Wakes::new();
    inside(runtime, || {
        match poll(&mut pin!(fd.ready(interest)), &waker) {
            Poll::Ready(Err(error)) => error,
            Poll::Ready(Ok(_)) => panic!("ready"),
            Poll::Pending => panic!("pending"),
        }
    })
}

/// Fault A16. Catches: an EPERM without a word on what to do instead; a slot that stays.
#[test]
fn a_file_that_epoll_cannot_watch_is_an_error_with_a_hint_and_leaves_no_slot() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let null = OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
        .unwrap();
    let regular = File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).unwrap();
    let directory = File::open(env!("CARGO_MANIFEST_DIR")).unwrap();
    for file in [regular, directory, null] {
        let file = AsyncFd::new(file).unwrap();
        let error = first_wait(&runtime, &file, Interest::READABLE);
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("on a thread"), "{error}");
        assert_eq!((registrations(&runtime), sources(&runtime)), (0, 0));
    }
}

/// Fault A17. Catches: a registration that fails and takes the one before it along.
#[test]
fn a_second_registration_of_one_descriptor_is_an_error_and_the_first_one_works_on() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (first, peer) = reader();
    let (wakes, waker) = Wakes::new();
    let mut wait = Box::pin(first.readable());
    inside(&runtime, || assert!(poll(&mut wait, &waker).is_pending()));
    let second = AsyncFd::new(first.get_ref()).unwrap();
    let error = first_wait(&runtime, &second, Interest::READABLE);
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("try_clone"), "{error}");
    drop(second);
    write_one(&peer, 1);
    runtime.turn().unwrap();
    assert_eq!(wakes.count(), 1);
    assert_eq!((registrations(&runtime), sources(&runtime)), (1, 1));
}

/// Fault A18. Catches: a descriptor given back while it is still registered.
#[test]
fn a_descriptor_can_be_taken_back_and_wrapped_again_a_hundred_times() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (mut ours, peer) = pair();
    write_one(&peer, 1);
    for _ in 0..100 {
        let wrapped = AsyncFd::new(ours).unwrap();
        let (wakes, waker) = Wakes::new();
        let mut wait = Box::pin(wrapped.readable());
        inside(&runtime, || assert!(poll(&mut wait, &waker).is_pending()));
        runtime.turn().unwrap();
        assert_eq!(wakes.count(), 1);
        drop(wait);
        ours = inside(&runtime, || wrapped.into_inner());
        assert_eq!((registrations(&runtime), sources(&runtime)), (0, 0));
    }
    assert_eq!(read_one(&ours).unwrap(), 1);
}

/// Fault A19. Catches: an error of epoll_ctl that is a panic.
#[test]
fn a_wait_for_what_is_not_open_is_an_error() {
    in_child("errors::a_wait_for_what_is_not_open_is_an_error", || {
        let runtime = Runtime::new().unwrap();
        let number = pair().0.as_raw_fd();
        // SAFETY: none: nothing is open under this number, which is the fault.
        let lie = unsafe { BorrowedFd::borrow_raw(number) };
        let lying = AsyncFd::new(lie).unwrap();
        let error = first_wait(&runtime, &lying, Interest::READABLE);
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        assert_eq!(sources(&runtime), 0);
    });
}

/// R10. Catches: a wait for what was never registered for, which nothing would ever end, first or
/// later; PRIORITY taken for a part of READABLE, because the end of the stream ends both.
#[test]
fn a_wait_for_what_was_not_registered_for_is_an_error() {
    let _limit = limit(30);
    let cases = [
        (Interest::READABLE, Interest::WRITABLE),
        (Interest::READABLE, Interest::PRIORITY),
        (Interest::WRITABLE, Interest::READABLE),
        (Interest::ERROR, Interest::READABLE),
    ];
    for (registered, wanted) in cases {
        let runtime = Runtime::new().unwrap();
        let (ours, _theirs) = pair();
        fill(&ours);
        let fd = AsyncFd::with_interest(ours, registered).unwrap();
        let at_first = first_wait(&runtime, &fd, wanted);
        let (_, waker) = Wakes::new();
        inside(&runtime, || {
            assert!(poll(&mut pin!(fd.ready(registered)), &waker).is_pending());
        });
        let later = first_wait(&runtime, &fd, wanted);
        let would_block = |_: &_| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
        let tried = inside(&runtime, || {
            poll(&mut pin!(fd.async_io(wanted, would_block)), &waker)
        });
        let Poll::Ready(Err(tried)) = tried else {
            panic!("{registered:?}, {wanted:?}: {tried:?}")
        };
        for error in [at_first, later, tried] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
        }
    }
}

/// Catches: an error refused although epoll reports it whatever was asked for.
#[test]
fn an_error_can_be_waited_for_whatever_was_registered_for() {
    let _limit = limit(30);
    for registered in [Interest::READABLE, Interest::WRITABLE, Interest::ERROR] {
        let runtime = Runtime::new().unwrap();
        let (ours, _theirs) = pair();
        fill(&ours);
        let fd = AsyncFd::with_interest(ours, registered).unwrap();
        let (_, waker) = Wakes::new();
        inside(&runtime, || {
            assert!(poll(&mut pin!(fd.ready(Interest::ERROR)), &waker).is_pending());
        });
    }
}

/// Catches: a wait outside a runtime, or in another one, that is a panic or hangs.
#[test]
fn a_wait_where_there_is_nothing_to_wait_in_is_an_error_that_says_so() {
    let _limit = limit(30);
    let (first, second) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (ours, _theirs) = reader();
    let (_, waker) = Wakes::new();
    let Poll::Ready(Err(nowhere)) = poll(&mut pin!(ours.readable()), &waker) else {
        panic!("it waits outside a runtime")
    };
    assert!(
        nowhere.to_string().contains("outside a runtime"),
        "{nowhere}"
    );
    inside(&first, || {
        assert!(poll(&mut pin!(ours.readable()), &waker).is_pending());
    });
    let elsewhere = first_wait(&second, &ours, Interest::READABLE);
    assert!(
        elsewhere.to_string().contains("another runtime"),
        "{elsewhere}"
    );
    assert_eq!((registrations(&first), registrations(&second)), (1, 0));
}

/// Catches: `WouldBlock` for ever, without a try, from what no event will ever report.
#[test]
fn trying_what_was_not_registered_for_is_an_error() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (fd, _theirs) = reader();
    let (_, waker) = Wakes::new();
    for registered in [false, true] {
        if registered {
            inside(&runtime, || {
                assert!(poll(&mut pin!(fd.readable()), &waker).is_pending())
            });
        }
        let tried = inside(&runtime, || fd.try_io(Interest::WRITABLE, |_| Ok(())));
        assert_eq!(tried.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
