//! The current runtime of this thread: what "home" means.
//!
//! Interface: [`Running::enter`] makes a runtime current until the guard is dropped; [`current`] and
//! [`with_current`] return it; [`order`] has any runtime carry out a command.
//! Invariant: the innermost runtime that runs on this thread is the current one. What runs outside
//! its `block_on`, `turn` and shutdown is *elsewhere*, on this thread too.
//! Read before: `core`, `slack`. Read next: `run`.

use std::cell::RefCell;
use std::mem::{self, ManuallyDrop};
use std::rc::Rc;

use libc::c_ulong;

use super::core::Core;
use super::name::place::{self, Command};
use super::name::slab::Name;
use super::sys;

thread_local! {
    // `ManuallyDrop`, so that the value needs no destructor: then the standard library registers
    // none, and a wake from the destructor of any other thread-local still finds the value, in
    // whatever order they run. Nothing leaks: every guard puts back what it replaced.
    static CURRENT: RefCell<ManuallyDrop<Option<Rc<Core>>>> =
        const { RefCell::new(ManuallyDrop::new(None)) };
}

/// The current runtime, if there is one.
#[inline]
pub(super) fn current() -> Option<Rc<Core>> {
    CURRENT.with(|current| Option::clone(&current.borrow()))
}

/// The current runtime, or a panic at the caller's line that says what to do.
#[inline]
#[track_caller]
pub(super) fn expect_current(what: &str) -> Rc<Core> {
    match current() {
        Some(core) => core,
        None => panic!(
            "{what} outside a runtime: call it inside `reveille::block_on` or `Runtime::block_on`"
        ),
    }
}

/// The current runtime, if it is the one in which `name` was given.
#[inline]
pub(super) fn home_of(name: Name) -> Option<Rc<Core>> {
    current().filter(|core| core.is_home_of(name))
}

/// Runs `f` on the current runtime.
#[inline]
pub(super) fn with_current<R>(f: impl FnOnce(&Core) -> R) -> Option<R> {
    current().as_deref().map(f)
}

/// Runs `f` on the current runtime, if it is the one in which `name` was given.
#[inline]
pub(super) fn with_home_of<R>(name: Name, f: impl FnOnce(&Core) -> R) -> Option<R> {
    home_of(name).as_deref().map(f)
}

/// Has the runtime in which `name` was given carry out `command`: now if it is the current one, else
/// through its inbox. A command for a runtime that has ended is dropped: nothing is left to do.
#[inline]
pub(super) fn order(name: Name, command: Command) {
    match home_of(name) {
        Some(core) => core.execute(command),
        None => drop(place::post(name, command)),
    }
}

/// While this exists, a runtime runs on this thread and is the current one. These guards are dropped
/// in the reverse order of their making, also when the thread unwinds.
pub(super) struct Running {
    /// The runtime that runs while the guard exists.
    core: Rc<Core>,
    /// What was current before, to be put back by the drop.
    outer: Option<Rc<Core>>,
    /// The thread's timer slack before, in nanoseconds, if the options changed it.
    slack: Option<c_ulong>,
}

impl Running {
    /// Makes `core` current on this thread, awake, and sets the timer slack that its options ask for.
    pub(super) fn enter(core: &Rc<Core>) -> Running {
        core.running.set(true);
        core.inbox.awake();
        let slack = core.options.timer_slack.and_then(|slack| {
            // Zero would mean "the default" to the kernel.
            let nanos = u32::try_from(slack.as_nanos()).unwrap_or(u32::MAX).max(1);
            // If this fails the runtime works all the same, with timers a little later.
            sys::set_timer_slack(nanos.into()).ok()
        });
        Running {
            core: Rc::clone(core),
            outer: replace(Some(Rc::clone(core))),
            slack,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _inner = replace(self.outer.take());
        if let Some(slack) = self.slack {
            let _restored = sys::set_timer_slack(slack);
        }
        self.core.trim();
        // At rest a runtime is asleep (R8): a message writes the eventfd, which an outer loop sees.
        self.core.inbox.rest();
        self.core.running.set(false);
    }
}

/// Sets the current runtime, and returns the one before. The caller drops that outside the borrow (R5).
fn replace(with: Option<Rc<Core>>) -> Option<Rc<Core>> {
    CURRENT.with(|current| mem::replace(&mut **current.borrow_mut(), with))
}
