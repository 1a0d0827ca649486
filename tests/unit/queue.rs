//! `runtime::task::queue` against a `VecDeque`.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::limit::limit;
use crate::runtime::task::queue::RunQueue;

#[derive(Clone, Debug)]
enum Op {
    Push(u32),
    Pop,
    /// The first and the one at this position, modulo the length.
    Swap(usize),
    /// The least room, or two or four times of that.
    Resize(u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => any::<u32>().prop_map(Op::Push),
        5 => Just(Op::Pop),
        1 => any::<usize>().prop_map(Op::Swap),
        1 => (0..3u32).prop_map(Op::Resize),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// R1. Catches: an index that is lost, doubled or passed by another where the ring begins anew, grows or
    /// shrinks.
    #[test]
    fn it_is_a_queue_whatever_its_room(ops in vec(op(), 1..200)) {
        let _limit = limit(30);
        let mut queue = RunQueue::new();
        let mut model = VecDeque::new();
        let mut room = 0;
        for op in ops {
            match op {
                Op::Push(index) => {
                    if model.len() == room {
                        room = (room + 1).next_power_of_two();
                        queue.resize(room);
                    }
                    queue.push(index);
                    model.push_back(index);
                }
                Op::Pop => prop_assert_eq!(queue.pop(), model.pop_front()),
                Op::Swap(nth) if !model.is_empty() => {
                    let nth = nth % model.len();
                    queue.swap_with_first(nth);
                    model.swap(0, nth);
                }
                Op::Swap(_) => {}
                Op::Resize(times) => {
                    room = model.len().next_power_of_two() << times;
                    queue.resize(room);
                }
            }
            prop_assert_eq!(queue.len(), model.len());
        }
        let left: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        prop_assert_eq!(left, Vec::from(model));
    }
}

/// R1. Catches: a task that is pushed over another, which is then never polled.
#[test]
#[should_panic(expected = "no room")]
fn a_push_without_room_is_refused() {
    let _limit = limit(30);
    let mut queue = RunQueue::new();
    queue.resize(2);
    for index in 0..3 {
        queue.push(index);
    }
}
