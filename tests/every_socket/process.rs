//! Columns of what belongs to the whole process: the limit of descriptors, a fork, a flag that others share.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Poll, Waker};

use reveille::Runtime;
use reveille::io::is_forked_child;

use super::limit::limit;
use super::step::{inside, poll};
use super::steps::{chunk, make_wait, peer_takes, takes, works};
use super::subject::{End, FORMS, Form, Shape, Side, set_nonblocking};
use super::table::Column;
use super::{alone, child, each_kind, each_within, unconnected};

/// Catches: an error that is not the kernel's; a descriptor that a creation makes before the one it fails at, and
/// leaks.
#[test]
fn at_the_descriptor_limit_no_creation_succeeds_or_leaks() {
    let name = "process::at_the_descriptor_limit_no_creation_succeeds_or_leaks";
    child::in_child(name, || {
        let runtime = Runtime::new().unwrap();
        each_kind(Column::Emfile, |kind| {
            let creations = (kind.creations)();
            assert!(!creations.is_empty());
            for creation in creations {
                let before = open_descriptors();
                let mut room = 0;
                let made = loop {
                    let created = with_room_for(room, || runtime.block_on((creation.create)()));
                    match created {
                        Ok(made) => break made,
                        Err(error) => {
                            let errno = error.raw_os_error();
                            assert_eq!(errno, Some(libc::EMFILE), "{}: {error}", creation.how);
                        }
                    }
                    assert_eq!(open_descriptors(), before, "{} leaks", creation.how);
                    room += 1;
                };
                let open = open_descriptors() - before;
                assert!((1..=room).contains(&open), "{} made {open}", creation.how);
                drop(made);
                runtime.turn().unwrap();
                assert_eq!(
                    open_descriptors(),
                    before,
                    "{} leaks when dropped",
                    creation.how
                );
            }
        });
    });
}

/// Runs `f` while the process can open so many descriptors more.
fn with_room_for<R>(n: usize, f: impl FnOnce() -> R) -> R {
    let (soft, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
    let free: Vec<_> = (0..=n).map(|_| File::open("/dev/null").unwrap()).collect();
    // The kernel takes the lowest number that is free, and none from the limit on.
    let limit = u64::try_from(free[n].as_raw_fd()).unwrap();
    drop(free);
    rlimit::setrlimit(rlimit::Resource::NOFILE, limit, hard).unwrap();
    let outcome = f();
    rlimit::setrlimit(rlimit::Resource::NOFILE, soft, hard).unwrap();
    outcome
}

fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Faults A3, E5; promise 12. Catches: an operation of a child that takes its parent's input, gives output in its name,
/// or ends its connection, be it by a drop; one that hangs there; a value that the parent can no longer wait on.
#[test]
fn a_forked_child_is_refused_and_its_parent_undisturbed() {
    let name = "process::a_forked_child_is_refused_and_its_parent_undisturbed";
    alone::alone(name, || {
        each_kind(Column::ForkedChild, |kind| match kind.shape {
            Shape::Unconnected(make) => unconnected::forked(make),
            Shape::End(end) => {
                let _first = Runtime::new().unwrap();
                let creations = (kind.creations)();
                in_a_child(|| {
                    for creation in &creations {
                        let created = poll(&mut (creation.create)(), Waker::noop());
                        assert_refused(created, creation.how);
                    }
                });
                forked(&end);
            }
        });
    });
}

fn forked(end: &End) {
    let runtime = Runtime::new().unwrap();
    let (subject, mut peer) = (end.make)();
    works(&runtime, end, &*subject, &mut *peer);
    let (takes_input, gives_output) =
        (end.sides.contains(&Side::Input), end.sides != [Side::Input]);
    if takes_input {
        // The child would take it from the parent.
        assert_eq!(peer.give(b"parent's").unwrap(), 8);
    }
    let mut subject = Some(subject);
    in_a_child(|| {
        let value = subject.as_ref().unwrap();
        for (side, form) in end.forms() {
            let mut buf = chunk(end.parts, side);
            let polled = side.once(&**value, form, Waker::noop(), &mut buf);
            assert_refused(polled, &format!("{side:?}, {form:?}"));
        }
        let mut value = subject.take().unwrap();
        // A half that is dropped returns no error, and yet must not end anything.
        if let Err(error) = value.finish() {
            let has_none = error.kind() == io::ErrorKind::Unsupported;
            assert!(has_none || is_forked_child(&error), "{error}");
        }
        drop(value);
    });
    let subject = subject.take().unwrap();
    if takes_input {
        takes(&runtime, &*subject, Form::Future, b"parent's");
    }
    if gives_output {
        assert_eq!(runtime.block_on(subject.output(b"goes on")).unwrap(), 7);
        peer_takes(&mut *peer, b"goes on");
    }
    works(&runtime, end, &*subject, &mut *peer);
    let subject = Some(subject);
    in_a_child(|| {
        // It cannot take the descriptor along either: it is the parent's.
        let mut subject = subject;
        let rewrapped = subject.take().unwrap().rewrapped();
        assert!(rewrapped.is_err_and(|error| is_forked_child(&error)));
    });
}

#[track_caller]
fn assert_refused<T>(polled: Poll<io::Result<T>>, what: &str) {
    match polled {
        Poll::Ready(Err(error)) => assert!(is_forked_child(&error), "{what}: {error}"),
        Poll::Ready(Ok(_)) => panic!("{what} succeeds"),
        Poll::Pending => panic!("{what} waits"),
    }
}

/// Forks, and runs `f` in the child, which must come to its end without a panic.
#[track_caller]
pub(crate) fn in_a_child(f: impl FnOnce()) {
    // SAFETY: fork(2) takes nothing. The child is a copy of this thread alone; what it then uses of the C library (the
    // allocator) glibc keeps usable after a fork of a threaded process.
    let child = unsafe { libc::fork() };
    assert_ne!(child, -1);
    if child == 0 {
        alone::set_alarm(20);
        let failed = catch_unwind(AssertUnwindSafe(f)).is_err();
        // SAFETY: _exit(2) takes an integer and does not return.
        unsafe { libc::_exit(i32::from(failed)) };
    }
    let mut status = 0;
    // SAFETY: waitpid(2) writes one integer to the pointer, which is that of a local.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    assert_eq!(status, 0, "the child failed, or hung until SIGALRM (14)");
}

/// Fault A30. Catches: a read, a write or an accept that relies on O_NONBLOCK, and so stops the whole loop when
/// a sharer has cleared it.
#[test]
fn a_sharer_that_clears_the_flag_stops_nothing() {
    let _limit = limit(60);
    let column = (Column::MadeBlocking, unconnected::made_blocking);
    each_within(20, column, |end| {
        for &side in end.sides {
            let runtime = Runtime::new().unwrap();
            let (subject, mut peer) = (end.make)();
            let sharer = subject.share();
            if !make_wait(&runtime, end, &*subject, side) {
                set_nonblocking(&sharer, false);
                works(&runtime, end, &*subject, &mut *peer);
                continue;
            }
            // What has waited is not tried before an event, and a value made anew is.
            let subject = subject.rewrapped().unwrap();
            for form in FORMS {
                set_nonblocking(&sharer, false);
                let mut buf = chunk(end.parts, side);
                let polled = inside(&runtime, || {
                    side.once(&*subject, form, Waker::noop(), &mut buf)
                });
                assert!(polled.is_pending(), "{form:?}: {polled:?}");
            }
            set_nonblocking(&sharer, false);
            works(&runtime, end, &*subject, &mut *peer);
        }
    });
}
