//! Wakers that write down whom they woke.

use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};

/// The numbers of those that were woken, in that order.
#[derive(Clone, Default)]
pub(super) struct Roll(Arc<Mutex<Vec<usize>>>);

impl Roll {
    pub(super) fn new() -> Roll {
        Roll::default()
    }

    /// A waker of this number; another call makes another waker, whatever the number.
    pub(super) fn waker(&self, number: usize) -> Waker {
        let roll = self.clone();
        Waker::from(Arc::new(Entry { number, roll }))
    }

    /// Who was woken since the last call.
    pub(super) fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

struct Entry {
    number: usize,
    roll: Roll,
}

impl Wake for Entry {
    fn wake(self: Arc<Self>) {
        self.roll.0.lock().unwrap().push(self.number);
    }
}
