//! The life of a task: handles, aborts, panics, drops, the runtime's end; and destructors that do
//! whatever they like.

mod support;

#[path = "support/bomb.rs"]
mod bomb;
#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;

#[path = "tasks/aborting.rs"]
mod aborting;
#[path = "tasks/cells.rs"]
mod cells;
#[path = "tasks/ending.rs"]
mod ending;
#[path = "tasks/handles.rs"]
mod handles;
#[path = "tasks/main_future.rs"]
mod main_future;
#[path = "tasks/misuse.rs"]
mod misuse;
#[path = "tasks/owning.rs"]
mod owning;
#[path = "tasks/panics.rs"]
mod panics;
#[path = "tasks/reentrancy.rs"]
mod reentrancy;
#[path = "tasks/sets.rs"]
mod sets;
#[path = "tasks/shutdown.rs"]
mod shutdown;
#[path = "tasks/stack.rs"]
mod stack;

use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};

use reveille::runtime::Runtime;

/// Runs `f` when it is dropped.
struct OnDrop<F: FnOnce()>(Option<F>);

fn on_drop<F: FnOnce()>(f: F) -> OnDrop<F> {
    OnDrop(Some(f))
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(f) = self.0.take() {
            f();
        }
    }
}

/// Counts its drops, and remembers on which threads they were.
#[derive(Clone, Default)]
struct Drops(Arc<Mutex<Vec<ThreadId>>>);

impl Drops {
    fn guard(&self) -> OnDrop<impl FnOnce() + use<>> {
        let drops = self.clone();
        on_drop(move || drops.0.lock().unwrap().push(thread::current().id()))
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    #[track_caller]
    fn assert_here(&self, count: usize) {
        let drops = self.0.lock().unwrap();
        assert_eq!(*drops, vec![thread::current().id(); count]);
    }
}

fn turn(runtime: &Runtime) {
    runtime.turn().unwrap();
}

fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(f).join().unwrap())
}

async fn own_waker() -> Waker {
    poll_fn(|cx| Poll::Ready(cx.waker().clone())).await
}

fn panic_text(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it did not panic");
    text_of(&*payload)
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    match payload.downcast_ref::<&str>() {
        Some(text) => (*text).to_owned(),
        None => payload
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_default(),
    }
}

/// A payload, or whatever else, whose drop panics.
fn bad_drop() -> OnDrop<impl FnOnce() + Send> {
    on_drop(|| panic!("in a drop, on purpose"))
}

// Wakers of our own making, which do something when they are cloned, woken or dropped.

/// What a foreign waker does.
#[derive(Clone, Copy, Default)]
struct Foreign {
    on_clone: Option<fn()>,
    on_wake: Option<fn()>,
    on_drop: Option<fn()>,
}

static FOREIGN: std::task::RawWakerVTable = std::task::RawWakerVTable::new(
    |data| {
        call(data, |foreign| foreign.on_clone);
        std::task::RawWaker::new(data, &FOREIGN)
    },
    |data| call(data, |foreign| foreign.on_wake),
    |data| call(data, |foreign| foreign.on_wake),
    |data| call(data, |foreign| foreign.on_drop),
);

/// A waker that does this. Its description is leaked, so its clones own nothing; the sanitizers know
/// the leak by the name of this function.
#[inline(never)]
fn foreign(what: Foreign) -> Waker {
    let data: &'static Foreign = Box::leak(Box::new(what));
    // SAFETY: the contract of `RawWakerVTable` holds because the data pointer is of a leaked,
    // immutable `Foreign`, which is `Sync` and never freed, and `clone` returns the same pair.
    unsafe { Waker::new(std::ptr::from_ref(data).cast(), &FOREIGN) }
}

fn call(data: *const (), which: fn(&Foreign) -> Option<fn()>) {
    // SAFETY: `foreign` alone makes wakers of this table, from a `Foreign` that is never freed.
    let foreign = unsafe { &*data.cast::<Foreign>() };
    if let Some(f) = which(foreign) {
        f();
    }
}
