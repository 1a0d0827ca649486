//! Hints: names truncated to what a waker's pointer holds.

use std::task::Waker;

use proptest::prelude::*;

use super::limit::limit;
use crate::runtime::name::slab::Name;
use crate::runtime::name::waker::{Hint, waker};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Catches: fields of a hint that overlap; a hint that does not match its own task.
    #[test]
    fn a_hint_gives_back_what_it_was_made_of(
        place in any::<u16>(),
        index in 0..Hint::INDEX_LIMIT,
        serial in any::<u64>(),
    ) {
        let _limit = limit(30);
        let hint = Hint::new(place, index, serial);
        prop_assert_eq!((hint.place(), hint.index()), (place, index));
        prop_assert!(hint.matches(serial));
    }

    /// R6. Catches: more bits of the serial compared than there are, or fewer.
    #[test]
    fn a_hint_matches_the_serials_that_agree_in_twenty_bits(
        serial in any::<u64>(),
        apart in 1..1u64 << 40,
    ) {
        let _limit = limit(30);
        let hint = Hint::new(7, 9, serial);
        let other = serial.wrapping_add(apart);
        prop_assert_eq!(hint.matches(other), apart % (1 << 20) == 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// R6. Catches: a note that reaches into the place, is not given back whole, or adds to the one before;
    /// a name that its note changes.
    #[test]
    fn a_name_carries_a_note_and_stays_the_same_name(
        place in any::<u16>(),
        index in any::<u32>(),
        serial in any::<u64>(),
        notes in any::<[u8; 2]>(),
    ) {
        let _limit = limit(30);
        let name = Name::new(place, index, serial);
        prop_assert_eq!(name.note(), 0);
        let noted = name.with_note(notes[0]).with_note(notes[1]);
        prop_assert_eq!(noted.note(), notes[1]);
        prop_assert_eq!((noted.place(), noted.index(), noted.serial), (place, index, serial));
        prop_assert_eq!(noted.with_note(0), name);
    }
}

/// Fault B8. Catches: a table of functions that is not the same for all wakers.
#[test]
fn wakers_will_wake_each_other_exactly_when_their_hints_are_equal() {
    let _limit = limit(30);
    let one = waker(Hint::new(1, 2, 3));
    let clone = Waker::clone(&one);
    assert!(one.will_wake(&clone) && one.will_wake(&waker(Hint::new(1, 2, 3))));
    for other in [
        Hint::new(2, 2, 3), // another runtime
        Hint::new(1, 3, 3), // another task
        Hint::new(1, 2, 4), // a later task in the same slot
    ] {
        assert!(!one.will_wake(&waker(other)), "{other:?}");
    }
}

/// Promise: a waker owns nothing. Catches: a waker that holds a reference count, or room.
#[test]
fn a_waker_is_two_words_and_needs_no_drop() {
    let _limit = limit(30);
    assert_eq!(size_of::<Waker>(), 16);
    for _ in 0..1_000 {
        std::mem::forget(waker(Hint::new(u16::MAX, 0, 1))); // no place, no leak
    }
    waker(Hint::new(u16::MAX, 0, 1)).wake(); // nobody there: nothing happens
}
