//! Room for descriptors: whatever else comes with them, none is lost that there is room for, none leaks, and the receiver
//! gets no more than it asked for.

use std::fs;

use super::raw::{SO_PASSPIDFD, set};
use super::{Pair, Tracer, assert_not_inherited, child, open};

/// Sets the limit of descriptors so that just `count` more can be made: that many numbers below it are free.
pub(crate) fn leave_room_for(count: usize) {
    let is_free = |number: &u64| !fs::exists(format!("/proc/self/fd/{number}")).unwrap();
    let limit = (0..).filter(is_free).nth(count).unwrap();
    let (_, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
    rlimit::setrlimit(rlimit::Resource::NOFILE, limit, hard).unwrap();
}

pub(crate) fn lift_the_limit() {
    let (_, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE).unwrap();
    rlimit::setrlimit(rlimit::Resource::NOFILE, hard, hard).unwrap();
}

/// What else the receiver is set to receive.
const SETTINGS: [&[libc::c_int]; 8] = [
    &[],
    &[libc::SO_PASSCRED],
    &[SO_PASSPIDFD],
    &[libc::SO_PASSCRED, SO_PASSPIDFD],
    &[libc::SO_PASSSEC],
    &[libc::SO_TIMESTAMP],
    &[libc::SO_TIMESTAMPNS, libc::SO_PASSCRED],
    &[
        libc::SO_TIMESTAMP,
        libc::SO_PASSCRED,
        libc::SO_PASSSEC,
        SO_PASSPIDFD,
    ],
];

/// Catches: credentials, a time or a pidfd that eat the room of the descriptors; a pidfd that leaks; one descriptor too many,
/// at an odd number, or in place of the pidfd; one that is inherited; truncation that is not told, or told without reason.
#[test]
fn rooms_of_no_to_six_descriptors_are_exact_and_leak_none() {
    let name = "rooms::rooms_of_no_to_six_descriptors_are_exact_and_leak_none";
    child::in_child(name, || {
        reveille::block_on(async {
            for pair in Pair::both() {
                for settings in SETTINGS {
                    for &option in settings {
                        // An older kernel does not know all of them.
                        let _known = set(pair.receiver(), option, 1);
                    }
                    every_room(&pair, &format!("{settings:?}")).await;
                    for &option in settings {
                        let _known = set(pair.receiver(), option, 0);
                    }
                }
            }
        });
    });
}

async fn every_room(pair: &Pair, settings: &str) {
    let tracer = Tracer::new();
    // The first wait registers, in a runtime that has its descriptors already.
    let before = open();
    for room in 0..=6 {
        for sent in [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 200, 253] {
            let what = format!("{settings}, room for {room}, {sent} sent");
            pair.send(b"x", &tracer.ends(sent)).await.unwrap();
            let received = pair.recv(&mut [0; 4], room).await.unwrap();
            assert_eq!(received.fds().len(), room.min(sent), "{what}");
            assert_eq!(received.are_fds_truncated(), sent > room, "{what}");
            assert_not_inherited(received.fds());
            assert_eq!(open(), before + room.min(sent), "{what}: something leaks");
            drop(received);
            assert_eq!(open(), before, "{what}: something leaks");
        }
    }
    assert_eq!(tracer.written(), "");
}

/// Catches: an error in place of the bytes; descriptors that are lost in silence, or leak; a pidfd that could not be made,
/// taken for one.
#[test]
fn at_the_limit_the_descriptors_that_do_not_fit_are_closed_and_it_is_told() {
    let name = "rooms::at_the_limit_the_descriptors_that_do_not_fit_are_closed_and_it_is_told";
    child::in_child(name, || {
        let runtime = reveille::Runtime::new().unwrap();
        for pair in Pair::both() {
            let _known = set(pair.receiver(), SO_PASSPIDFD, 1);
            for free in 0..4 {
                let tracer = Tracer::new();
                runtime
                    .block_on(pair.send(b"hello", &tracer.ends(4)))
                    .unwrap();
                let before = open();
                leave_room_for(free);
                let mut buf = [0; 8];
                let received = runtime.block_on(pair.recv(&mut buf, 4)).unwrap();
                assert_eq!((received.len(), received.fds().len()), (5, free));
                assert!(received.are_fds_truncated());
                drop(received);
                lift_the_limit();
                assert_eq!(open(), before);
                assert_eq!(tracer.written(), "");
            }
        }
    });
}
