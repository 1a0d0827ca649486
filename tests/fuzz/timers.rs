//! Timers against a sorted map, on a paused clock.
//!
//! The model keeps each armed timer under its deadline and the number of its arming. After every
//! step the runtime must have as many timers as the model, due ones are told of, and each
//! step of the clock must fire what the model says, in its order.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use reveille::time::{self, Sleep};
use reveille::{Builder, Runtime};

use crate::Input;

/// How many sleeps there are at most.
const SLOTS: usize = 100;

pub fn run(data: &[u8]) {
    let runtime = Builder::new().start_paused(true).build().unwrap();
    runtime.block_on(program(&Input::new(data), &runtime));
    // Whatever was still armed went with its `Sleep`.
    assert_eq!(runtime.next_deadline(), None);
}

/// A sleep and what the model knows of it.
struct Slot {
    sleep: Sleep,
    bell: Arc<Bell>,
    /// Its key in the model while it is armed.
    armed: Option<(Instant, u64)>,
}

/// A waker that writes its number down.
struct Bell {
    number: u64,
    fired: Arc<Mutex<Vec<u64>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.fired.lock().unwrap().push(self.number);
    }
}

struct World<'a> {
    runtime: &'a Runtime,
    slots: Vec<Option<Slot>>,
    model: BTreeMap<(Instant, u64), usize>,
    fired: Arc<Mutex<Vec<u64>>>,
    numbers: u64,
}

async fn program(input: &Input, runtime: &Runtime) {
    let mut world = World {
        runtime,
        slots: (0..SLOTS).map(|_| None).collect(),
        model: BTreeMap::new(),
        fired: Arc::default(),
        numbers: 0,
    };
    while let Some(step) = input.next() {
        let slot = input.below(SLOTS);
        match step % 9 {
            0 => world.arm(slot, deadline(input)),
            1 => world.arm_all(slot, input.byte()),
            8 => world.forget_every(slot),
            2 => world.poll(slot, false),
            3 => world.poll(slot, true),
            4 => {
                world.reset(slot, deadline(input));
                // A deadline of the past is due at the next look, which is made here and now.
                world.advance(Duration::ZERO).await;
            }
            5 => world.forget(slot),
            _ => world.advance(distance(input)).await,
        }
        world.check();
        // A fresh budget for each step.
        reveille::task::yield_now().await;
    }
}

/// Between nothing and thirty-five years, small ones more often, many of them equal.
fn distance(input: &Input) -> Duration {
    let (mantissa, exponent) = (u64::from(input.byte() % 8), input.byte() % 60);
    Duration::from_nanos(mantissa << exponent)
}

/// Ahead of now, or behind.
fn deadline(input: &Input) -> Instant {
    let distance = distance(input);
    match input.byte() % 8 {
        0 => time::now().checked_sub(distance).unwrap_or_else(time::now),
        _ => time::now() + distance,
    }
}

impl World<'_> {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn bell(&mut self) -> Arc<Bell> {
        let (number, fired) = (self.number(), Arc::clone(&self.fired));
        Arc::new(Bell { number, fired })
    }

    fn arm(&mut self, slot: usize, deadline: Instant) {
        self.forget(slot);
        let bell = self.bell();
        self.slots[slot] = Some(Slot {
            sleep: time::sleep_until(deadline),
            bell,
            armed: None,
        });
        self.poll(slot, false);
    }

    /// Arms as many as make a heap of several levels, in an order that a seed says.
    fn arm_all(&mut self, count: usize, seed: u8) {
        for slot in 0..count {
            let place = (slot + 1) * (2 * usize::from(seed) + 1) % 101;
            self.arm(slot, time::now() + Duration::from_nanos(1 + place as u64));
        }
    }

    fn forget_every(&mut self, step: usize) {
        (0..SLOTS)
            .step_by(step + 1)
            .for_each(|slot| self.forget(slot));
    }

    fn poll(&mut self, number: usize, with_another: bool) {
        let another = self.bell();
        let arming = self.number();
        let Some(slot) = &mut self.slots[number] else {
            return;
        };
        if with_another {
            slot.bell = another;
        }
        let waker = Waker::from(Arc::clone(&slot.bell));
        let polled = Pin::new(&mut slot.sleep).poll(&mut Context::from_waker(&waker));
        let deadline = slot.sleep.deadline();
        assert_eq!(polled.is_ready(), deadline <= time::now());
        if polled.is_ready() {
            if let Some(key) = slot.armed.take() {
                self.model.remove(&key);
            }
        } else if with_another || slot.armed.is_none() {
            if let Some(key) = slot.armed.replace((deadline, arming)) {
                self.model.remove(&key);
            }
            self.model.insert((deadline, arming), number);
        }
    }

    fn reset(&mut self, number: usize, deadline: Instant) {
        let arming = self.number();
        let Some(slot) = &mut self.slots[number] else {
            return;
        };
        slot.sleep.reset(deadline);
        if let Some(key) = slot.armed.take() {
            self.model.remove(&key);
            slot.armed = Some((deadline, arming));
            self.model.insert((deadline, arming), number);
        }
    }

    fn forget(&mut self, number: usize) {
        if let Some(Slot {
            armed: Some(key), ..
        }) = self.slots[number].take()
        {
            self.model.remove(&key);
        }
    }

    async fn advance(&mut self, by: Duration) {
        let later = time::now() + by;
        let mut due = Vec::new();
        while let Some(entry) = self.model.first_entry() {
            if entry.key().0 > later {
                break;
            }
            let slot = self.slots[entry.remove()].as_mut().unwrap();
            slot.armed = None;
            due.push(slot.bell.number);
        }
        time::advance(by).await;
        assert_eq!(time::now(), later);
        assert_eq!(std::mem::take(&mut *self.fired.lock().unwrap()), due);
    }

    fn check(&self) {
        // On a paused clock nothing fires by itself, unless it is due already.
        let first = self.model.first_key_value();
        let due = first.is_some_and(|((deadline, _), _)| *deadline <= time::now());
        assert_eq!(self.runtime.next_deadline().is_some(), due);
        let timers = format!("timers: {},", self.model.len());
        let runtime = format!("{:?}", self.runtime);
        assert!(runtime.contains(&timers), "{runtime}, but {timers}");
        assert_eq!(*self.fired.lock().unwrap(), []);
    }
}
