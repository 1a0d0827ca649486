//! Guards, and the rules by which a read that was short counts as the last.

use std::io::{self};
use std::pin::pin;

use reveille::Runtime;
use reveille::io::{AsyncFd, AsyncFdReadyGuard, Interest, Ready};

use crate::limit::limit;
use crate::step::{Wakes, inside, poll};
use crate::{pair, read_one, reader, write_one};

/// True if a wait for `interest` would end at once.
fn is_ready<T: std::os::fd::AsFd>(fd: &AsyncFd<T>, interest: Interest) -> bool {
    let (_, waker) = Wakes::new();
    poll(&mut pin!(fd.ready(interest)), &waker).is_ready()
}

/// Waits for what is there already.
fn report<T: std::os::fd::AsFd>(fd: &AsyncFd<T>, interest: Interest) -> AsyncFdReadyGuard<'_, T> {
    let (_, waker) = Wakes::new();
    match poll(&mut pin!(fd.ready(interest)), &waker) {
        std::task::Poll::Ready(guard) => guard.unwrap(),
        std::task::Poll::Pending => panic!("not ready"),
    }
}

/// Registers `fd` and hears what there is to be heard.
fn register<T: std::os::fd::AsFd>(runtime: &Runtime, fd: &AsyncFd<T>, interest: Interest) {
    let registered = inside(runtime, || is_ready(fd, interest));
    assert!(!registered);
    runtime.turn().unwrap();
}

/// R4. Catches: a guard that clears an event which came after it was made.
#[test]
fn a_guard_held_across_a_turn_clears_only_what_it_saw() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    register(&runtime, &ours, Interest::READABLE);
    write_one(&theirs, 1);
    runtime.turn().unwrap();
    let mut guard = inside(&runtime, || report(&ours, Interest::READABLE));
    read_one(ours.get_ref()).unwrap();
    // It is drained, but before the guard can say so the next byte comes.
    write_one(&theirs, 2);
    runtime.turn().unwrap();
    inside(&runtime, || {
        guard.clear_ready();
        assert!(is_ready(&ours, Interest::READABLE), "byte 2 is stranded");
        report(&ours, Interest::READABLE).clear_ready();
        assert!(!is_ready(&ours, Interest::READABLE));
    });
}

/// Catches: a guard's `try_io` that does not clear, or that hides an operation's own error.
#[test]
fn a_guard_clears_on_would_block_and_passes_on_the_rest() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = reader();
    register(&runtime, &ours, Interest::READABLE);
    write_one(&theirs, 9);
    runtime.turn().unwrap();
    inside(&runtime, || {
        let mut guard = report(&ours, Interest::READABLE);
        assert_eq!(guard.ready(), Ready::READABLE);
        assert!(std::ptr::eq(guard.get_ref(), &ours));
        assert!(std::ptr::eq(guard.get_inner(), ours.get_ref()));
        assert_eq!(
            guard.try_io(|fd| read_one(fd.get_ref())).unwrap().unwrap(),
            9
        );
        let other = guard.try_io(|_| io::Result::<()>::Err(io::Error::other("no")));
        assert!(other.unwrap().is_err());
        guard.retain_ready();
        assert!(is_ready(&ours, Interest::READABLE));
        let blocked = guard.try_io(|fd| read_one(fd.get_ref())).unwrap_err();
        assert_eq!(blocked.to_string(), "the operation would block");
        assert!(!is_ready(&ours, Interest::READABLE));
    });
}

/// Catches: a part that is cleared and takes the whole along.
#[test]
fn a_guard_can_clear_one_direction_of_two() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = pair();
    write_one(&theirs, 1);
    let ours = AsyncFd::new(ours).unwrap();
    let both = Interest::READABLE | Interest::WRITABLE;
    register(&runtime, &ours, both);
    inside(&runtime, || {
        let mut guard = report(&ours, both);
        assert_eq!(guard.ready(), Ready::READABLE | Ready::WRITABLE);
        guard.clear_ready_matching(Ready::READABLE);
        assert!(!is_ready(&ours, Interest::READABLE));
        assert!(is_ready(&ours, Interest::WRITABLE));
    });
}

/// Fault A29. Catches: a guard that goes on to report what was disproved through it, so that a loop
/// over `ready` never ends.
#[test]
fn a_guard_does_not_report_what_it_cleared() {
    let _limit = limit(30);
    let runtime = Runtime::new().unwrap();
    let (ours, theirs) = pair();
    write_one(&theirs, 1);
    let ours = AsyncFd::new(ours).unwrap();
    let both = Interest::READABLE | Interest::WRITABLE;
    register(&runtime, &ours, both);
    inside(&runtime, || {
        let mut guard = report(&ours, both);
        guard.clear_ready_matching(Ready::READABLE);
        assert_eq!(guard.ready(), Ready::WRITABLE);
        guard.clear_ready();
        assert_eq!(guard.ready(), Ready::EMPTY);
    });
}
