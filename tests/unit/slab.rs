//! The slab against a `HashMap`, and what becomes of its memory.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Mutex;

use proptest::collection::vec;
use proptest::prelude::*;

use super::limit::limit;
use crate::runtime::name::slab::{Serials, Slab};

#[derive(Clone, Debug)]
enum Op {
    /// As many: more than a slab keeps room for when they have gone, now and then.
    Insert(usize),
    /// Of the living, the one at this position modulo their number.
    Remove(usize),
    /// Of all names ever given.
    Get(usize),
    /// Removes the living but a few, as the end of a burst does.
    Drain(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::Insert(1)),
        1 => (900..1300usize).prop_map(Op::Insert),
        3 => any::<usize>().prop_map(Op::Remove),
        3 => any::<usize>().prop_map(Op::Get),
        1 => (0..4usize).prop_map(Op::Drain),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// R6. Catches: a look-up that ignores the serial; a vacant slot that is
    /// listed although it is occupied, or was given back; a length that is wrong.
    #[test]
    fn a_slab_is_a_map_from_names(ops in vec(op(), 1..100)) {
        let _limit = limit(30);
        let mut slab = Slab::new();
        let mut map: HashMap<(u32, u64), u64> = HashMap::new();
        let mut given: Vec<(u32, u64)> = Vec::new();
        let mut living: Vec<(u32, u64)> = Vec::new();
        let mut occupied = HashSet::new();
        let mut serial = 0;
        for op in ops {
            match op {
                Op::Insert(times) => for _ in 0..times {
                    serial += 1;
                    let index = slab.insert(serial, serial * 7);
                    prop_assert!((index as usize) < slab.slots());
                    prop_assert!(occupied.insert(index), "given twice");
                    map.insert((index, serial), serial * 7);
                    given.push((index, serial));
                    living.push((index, serial));
                },
                Op::Remove(nth) if !living.is_empty() => {
                    let name = living.swap_remove(nth % living.len());
                    occupied.remove(&name.0);
                    prop_assert_eq!(slab.remove(name.0, name.1), map.remove(&name));
                    prop_assert_eq!(slab.remove(name.0, name.1), None);
                }
                Op::Get(nth) if !given.is_empty() => {
                    let name = given[nth % given.len()];
                    prop_assert_eq!(slab.get(name.0, name.1), map.get(&name));
                    prop_assert_eq!(slab.get_mut(name.0, name.1).copied(), map.get(&name).copied());
                }
                Op::Drain(but) => {
                    let gone = living.len().saturating_sub(but);
                    for name in living.drain(..gone) {
                        occupied.remove(&name.0);
                        prop_assert_eq!(slab.remove(name.0, name.1), map.remove(&name));
                    }
                }
                Op::Remove(_) | Op::Get(_) => {}
            }
            slab.trim();
            prop_assert_eq!(slab.len(), map.len());
        }
        for ((index, serial), value) in &map {
            prop_assert_eq!(slab.get(*index, *serial), Some(value));
            prop_assert_eq!(slab.occupant(*index).map(|(s, v)| (s, *v)), Some((*serial, *value)));
        }
        let mut listed: Vec<u64> = slab.iter().map(|(_, serial, _)| serial).collect();
        listed.sort_unstable();
        let mut expected: Vec<u64> = map.keys().map(|(_, serial)| *serial).collect();
        expected.sort_unstable();
        prop_assert_eq!(listed, expected);
        prop_assert_eq!(slab.into_values().count(), map.len());
    }
}

/// Inserts `keep` values that stay, then `burst` more, and removes those in the order given.
fn after_a_burst(keep: u64, burst: u64, order: impl FnOnce(&mut Vec<(u32, u64)>)) -> Slab<u64> {
    let mut slab = Slab::new();
    for serial in 1..=keep {
        slab.insert(serial, serial);
    }
    let mut names: Vec<_> = (keep + 1..=keep + burst)
        .map(|serial| (slab.insert(serial, serial), serial))
        .collect();
    order(&mut names);
    for (index, serial) in names {
        assert_eq!(slab.remove(index, serial), Some(serial));
    }
    slab.trim();
    slab
}

/// Fault B33. Catches: a slab that shrinks only when all of it is vacant.
#[test]
fn memory_returns_after_a_burst_whatever_its_length_and_order() {
    let _limit = limit(300);
    for burst in (5_000..5_100).chain([20_000]) {
        for keep in [0, 1, 3] {
            let first_in_first_out = after_a_burst(keep, burst, |_| {});
            let last_in_first_out = after_a_burst(keep, burst, |names| names.reverse());
            let last_two_swapped = after_a_burst(keep, burst, |names| {
                let last = names.len() - 1;
                names.swap(last - 1, last);
            });
            for slab in [first_in_first_out, last_in_first_out, last_two_swapped] {
                let room = slab.room();
                assert!(room <= 2_048, "{room} slots for {keep} after {burst}");
            }
        }
    }
}

/// Fault B33. Catches: newcomers that take a chunk each and do not fill those that are there: whoever comes
/// and goes holds all the memory of the burst, or more, for ever.
#[test]
fn those_that_come_after_a_burst_gather() {
    let _limit = limit(30);
    let (burst, stay) = (100_000, 4_000);
    for reversed in [false, true] {
        let mut slab = Slab::new();
        let names: Vec<_> = (1..=burst)
            .map(|serial| (slab.insert(serial, ()), serial))
            .collect();
        let (stayed, mut gone): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|(_, serial)| serial % (burst / stay) == 0);
        if reversed {
            gone.reverse();
        }
        for (index, serial) in gone {
            assert_eq!(slab.remove(index, serial), Some(()));
        }
        let mut living = VecDeque::from(stayed);
        for serial in burst + 1..2 * burst {
            living.push_back((slab.insert(serial, ()), serial));
            let (index, serial) = living.pop_front().unwrap();
            assert_eq!(slab.remove(index, serial), Some(()));
            slab.trim();
        }
        assert_eq!(slab.len(), stay as usize);
        let room = slab.room();
        assert!(
            room <= 3 * stay as usize,
            "{room} slots for {stay} after {burst}"
        );
    }
}

/// Fault B33. Catches: chunks that are kept at the end of a directory which is empty but for them, and so
/// keep all of it, and the inbox that is as long.
#[test]
fn the_directory_shrinks_when_nobody_is_left() {
    let _limit = limit(30);
    for reversed in [false, true] {
        let mut slab = Slab::new();
        let mut names: Vec<_> = (1..=200_000)
            .map(|serial| (slab.insert(serial, ()), serial))
            .collect();
        if reversed {
            names.reverse();
        }
        for (index, serial) in names {
            assert_eq!(slab.remove(index, serial), Some(()));
            slab.trim();
        }
        assert!(slab.slots() <= 4_096 + 1_024, "{} slots", slab.slots());
    }
}

/// Catches: vacant slots that are forgotten when the slab shrinks, and so stay vacant for ever.
#[test]
fn a_slab_that_shrank_uses_its_vacant_slots_before_it_grows() {
    let _limit = limit(30);
    for keep in [0, 3, 100, 2_000] {
        let mut slab = after_a_burst(keep, 20_000, |_| {});
        let room = slab.room();
        for serial in 30_000..30_000 + room - slab.len() {
            slab.insert(serial as u64, 0);
        }
        assert_eq!((slab.len(), slab.room()), (room, room));
    }
}

/// Catches: a shrink that walks the whole slab each time: 5 * 10^10 steps here, which is a
/// hang.
#[test]
fn emptying_a_sparse_slab_from_its_top_takes_no_walk_each() {
    let _limit = limit(300);
    let slots = 500_000;
    let mut slab = Slab::new();
    let names: Vec<_> = (1..=slots)
        .map(|serial| (slab.insert(serial, ()), serial))
        .collect();
    let (stay, go): (Vec<_>, Vec<_>) = names.into_iter().partition(|(index, _)| index % 5 == 0);
    for (index, serial) in go.into_iter().chain(stay.into_iter().rev()) {
        assert_eq!(slab.remove(index, serial), Some(()));
        slab.trim();
    }
    assert_eq!(slab.len(), 0);
}

/// R6. Catches: blocks that overlap, serials that fall within a runtime, serial 0.
#[test]
fn serials_are_unique_in_the_process_and_rise_within_a_runtime() {
    let _limit = limit(30);
    const TAKEN: usize = 10_000; // More than two blocks.
    let all = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let serials = Serials::new();
                let taken: Vec<u64> = (0..TAKEN).map(|_| serials.next()).collect();
                assert!(taken.is_sorted_by(|a, b| a < b));
                assert_ne!(taken[0], 0);
                all.lock().unwrap().extend(taken);
            });
        }
    });
    let mut all = all.into_inner().unwrap();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 4 * TAKEN);
}

/// R6. Catches: a fresh block for each serial. All serials would then agree in their lowest twelve
/// bits, and a hint, which keeps twenty, would tell apart 256 of them.
#[test]
fn a_runtimes_serials_differ_in_their_lowest_bits() {
    let _limit = limit(30);
    let serials = Serials::new();
    let taken: Vec<u64> = (0..4_096).map(|_| serials.next()).collect();
    let low_bits: HashSet<u64> = taken.iter().map(|serial| serial % 4_096).collect();
    assert_eq!(low_bits.len(), 4_096);
}

/// Fault B33. Catches: a position that the directory no longer has, and is taken for a hole in it.
#[test]
fn after_the_directory_has_shrunk_a_slab_grows_at_its_end() {
    let _limit = limit(30);
    const NEAR: u64 = 1024;
    const CHUNK: u64 = 32;
    let mut slab = Slab::new();
    let insert = |slab: &mut Slab<u64>, serials: Range<u64>| -> Vec<(u32, u64)> {
        let pairs = serials.map(|serial| (slab.insert(serial, serial), serial));
        pairs.collect()
    };
    // 60 chunks, of which the last 35 go. The directory is not so short then that its holes are forgotten.
    let end = NEAR + 60 * CHUNK;
    let all = insert(&mut slab, 1..end + 1);
    for &(index, serial) in all.iter().rev().take(35 * CHUNK as usize) {
        assert_eq!(slab.remove(index, serial), Some(serial));
    }
    slab.trim();
    assert_eq!(slab.slots() as u64, NEAR + 25 * CHUNK);
    let more = insert(&mut slab, end + 1..end + 1 + 40 * CHUNK);
    assert_eq!(more[0].0 as u64, NEAR + 25 * CHUNK);
    assert_eq!(slab.len() as u64, NEAR + 65 * CHUNK);
}
