//! Wakers that run code of the test's own, in the middle of the reactor.

use std::cell::RefCell;
use std::ptr;
use std::rc::Rc;
use std::task::{RawWaker, RawWakerVTable, Waker};

/// What is being done with a foreign waker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Clone,
    Wake,
    Drop,
}

type Hook = Rc<dyn Fn(Act)>;

thread_local! {
    static HOOKS: RefCell<Vec<Hook>> = const { RefCell::new(Vec::new()) };
}

/// A waker that calls `hook` at once, on the thread that made it; on others it does nothing.
pub(crate) fn foreign(hook: impl Fn(Act) + 'static) -> Waker {
    let nth = HOOKS.with(|hooks| {
        hooks.borrow_mut().push(Rc::new(hook));
        hooks.borrow().len() - 1
    });
    // SAFETY: the contract of `RawWakerVTable` holds because every function of `VTABLE` reads the
    // data pointer as a number only, which is looked up in the hooks of whatever thread it is on.
    unsafe { Waker::from_raw(RawWaker::new(ptr::without_provenance(nth), &VTABLE)) }
}

static VTABLE: RawWakerVTable = RawWakerVTable::new(
    |data| {
        act(data, Act::Clone);
        RawWaker::new(data, &VTABLE)
    },
    |data| {
        act(data, Act::Wake);
        act(data, Act::Drop);
    },
    |data| act(data, Act::Wake),
    |data| act(data, Act::Drop),
);

fn act(data: *const (), what: Act) {
    // While the thread ends there are no hooks any more.
    let hook = HOOKS.try_with(|hooks| hooks.borrow().get(data.addr()).cloned());
    if let Ok(Some(hook)) = hook {
        hook(what);
    }
}
