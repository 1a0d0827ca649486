//! `runtime::timers`: the heap does what a sorted map does, at any distance in time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::limit::limit;
use crate::runtime::time::timers::Timers;

/// What happens to the timers, one after the other.
#[derive(Clone, Debug)]
enum Step {
    /// Arms one, this many nanoseconds from now.
    Insert(u64),
    /// Disarms the nth of those that were ever armed, in a circle.
    Remove(usize),
    /// Time passes, in nanoseconds.
    Fire(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Near and far: where wheels cascade, and beyond.
    let nanos = prop_oneof![0..10u64, 0..1u64 << 40, 0..1u64 << 60];
    let step = prop_oneof![
        4 => nanos.clone().prop_map(Step::Insert),
        2 => any::<usize>().prop_map(Step::Remove),
        1 => nanos.prop_map(Step::Fire),
    ];
    vec(step, 1..400)
}

/// Says by its number which timer was woken.
struct Nth(u64, Arc<AtomicU64>);

impl Wake for Nth {
    fn wake(self: Arc<Self>) {
        self.1.store(self.0, Ordering::Relaxed);
    }
}

proptest! {
    /// Fault D2. Catches: an entry sifted into one direction only after a removal; a position that
    /// is not told to its timer; a deadline that fires early, late, twice or out of order.
    #[test]
    fn the_heap_agrees_with_a_sorted_map(steps in steps(), start in 0..1u64 << 61) {
        let _limit = limit(30);
        let start = Instant::now() + Duration::from_nanos(start);
        let (mut timers, mut model) = (Timers::new(), BTreeMap::new());
        let (mut now, mut serial) = (0u64, 0u64);
        let (mut armed, last) = (Vec::new(), Arc::new(AtomicU64::new(0)));
        for step in steps {
            match step {
                Step::Insert(after) => {
                    serial += 1;
                    let deadline = now + after;
                    let waker = Waker::from(Arc::new(Nth(serial, Arc::clone(&last))));
                    let at = start + Duration::from_nanos(deadline);
                    let index = timers.insert(serial, at, waker);
                    model.insert((deadline, serial), index);
                    armed.push((deadline, serial, index));
                }
                Step::Remove(nth) if !armed.is_empty() => {
                    let (deadline, serial, index) = armed[nth % armed.len()];
                    let was_armed = model.remove(&(deadline, serial)).is_some();
                    prop_assert_eq!(timers.remove(index, serial).is_some(), was_armed);
                }
                Step::Remove(_) => {}
                Step::Fire(after) => {
                    now = now.saturating_add(after).min(1 << 62);
                    let mut due = Vec::new();
                    timers.fire(start + Duration::from_nanos(now), |waker| due.push(waker));
                    let mut fired = Vec::new();
                    for waker in due {
                        waker.wake();
                        fired.push(last.load(Ordering::Relaxed));
                    }
                    let later = model.split_off(&(now + 1, 0));
                    let expected: Vec<u64> = model.into_keys().map(|(_, serial)| serial).collect();
                    model = later;
                    prop_assert_eq!(fired, expected);
                }
            }
            prop_assert_eq!(timers.len(), model.len());
            let next = model.keys().next().map(|(deadline, _)| start + Duration::from_nanos(*deadline));
            prop_assert_eq!(timers.next_deadline(), next);
        }
    }
}

/// Catches: two timers that count as many; many that are not noticed; timers that are far apart and count as near.
#[test]
fn timers_are_dense_if_the_first_five_are_near() {
    let _limit = limit(30);
    let micros = Duration::from_micros;
    let start = Instant::now();
    let mut timers = Timers::new();
    assert!(!timers.are_dense(micros(50)));
    for nth in 0..5 {
        let deadline = start + micros(12 * nth);
        let _index = timers.insert(nth + 1, deadline, Waker::noop().clone());
        assert_eq!(timers.are_dense(micros(50)), nth == 4, "{nth}");
    }
    assert!(!timers.are_dense(micros(47)));
    assert!(timers.are_dense(micros(48)));
}
