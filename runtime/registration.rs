//! A registration: a descriptor and the name of its source, given when it first has to wait.
//!
//! Interface: [`Registration::poll_io`] tries an operation and waits only if it would block;
//! [`poll_ready`](Registration::poll_ready) waits for a report; [`Wait`] owns the waiter of an
//! async fn; dropping the registration deregisters.
//!
//! Invariant: a descriptor has one home, the runtime in which it first had to wait, and a
//! registration is plain data, so it may be sent and shared. Elsewhere its operations are tried
//! all the same; one that would have to wait there is an error that says so. It does not migrate:
//! two halves on two runtimes would chase each other for ever.
//!
//! Read before: `reactor`. Read next: `async_fd`, the public door.

use std::io;
use std::os::fd::RawFd;
use std::sync::OnceLock;
use std::task::{Context, Poll, ready};

use super::Shared;
use super::context;
use super::interest::{Interest, Ready};
use super::place::{self, Command};
use super::reactor::Observed;
use super::slab::Name;
use super::sys;
use super::waiters::WaiterKey;

#[derive(Debug)]
pub(crate) struct Registration {
    /// Read once, from the owner that keeps it open.
    fd: RawFd,
    interest: Interest,
    source: OnceLock<Name>,
}

impl Registration {
    pub(crate) fn new(fd: RawFd, interest: Interest) -> Registration {
        Registration {
            fd,
            interest,
            source: OnceLock::new(),
        }
    }

    /// Tries `op`; while it would block, waits for `interest` and tries again. EINTR is retried.
    ///
    /// `op` is foreign code, and is called with no borrow held.
    pub(crate) fn poll_io<R>(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        key: &mut WaiterKey,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        let Some(shared) = context::current() else {
            return Poll::Ready(self.try_elsewhere(op));
        };
        self.check_interest(interest)?;
        ready!(shared.budget.poll(cx));
        loop {
            let source = self.source.get().copied();
            if let Some(name) = source {
                if !shared.is_home_of(name) {
                    return Poll::Ready(self.try_elsewhere(op));
                }
                let observed = shared.reactor.poll_ready(&shared, name, interest, cx, key);
                ready!(observed).ok_or_else(not_at_home)?;
            }
            if shared.chaos.as_ref().is_some_and(|chaos| chaos.one_in(8)) {
                continue; // As if `op` had been interrupted: it is tried again.
            }
            match op() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match source {
                    // Nothing can have become ready since `op` looked (R4).
                    Some(name) => shared.reactor.clear(name, interest),
                    None => {
                        let untried = (Ready::READABLE | Ready::WRITABLE) - interest.mask();
                        self.register(&shared, untried)?;
                    }
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => {
                    self.forget(key);
                    shared.budget.spend();
                    return Poll::Ready(outcome);
                }
            }
        }
    }

    /// Waits until `interest` is reported. A source that was never registered is registered and
    /// waits for the kernel's first report, which the next turn brings.
    pub(crate) fn poll_ready(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        key: &mut WaiterKey,
    ) -> Poll<io::Result<Observed>> {
        let Some(shared) = context::current() else {
            return Poll::Ready(Err(self.nowhere_to_wait()));
        };
        self.check_interest(interest)?;
        ready!(shared.budget.poll(cx));
        let name = match self.source.get() {
            Some(name) => *name,
            None => self.register(&shared, Ready::EMPTY)?,
        };
        if !shared.is_home_of(name) {
            return Poll::Ready(Err(not_at_home()));
        }
        let observed = ready!(shared.reactor.poll_ready(&shared, name, interest, cx, key));
        self.forget(key);
        shared.budget.spend();
        Poll::Ready(observed.ok_or_else(not_at_home))
    }

    /// Tries `op` once, without waiting. `WouldBlock` without trying if the last report was
    /// disproved and nothing has come since.
    pub(crate) fn try_io<R>(
        &self,
        interest: Interest,
        op: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        self.check_interest(interest)?;
        let home = self.home();
        if let Some((shared, name)) = &home {
            // Chaos: as if the event that reported it were still to come. Readiness is kept, so
            // the wait that follows ends at once.
            let unheard = shared.chaos.as_ref().is_some_and(|chaos| chaos.one_in(8));
            if unheard || !shared.reactor.is_ready(*name, interest) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let outcome = op();
        if let (Some((shared, name)), Err(error)) = (&home, &outcome) {
            if error.kind() == io::ErrorKind::WouldBlock {
                shared.reactor.clear(*name, interest);
            }
        }
        outcome
    }

    /// Clears what was observed and then disproved, unless an event came since.
    pub(crate) fn clear_observed(&self, observed: Observed, ready: Ready) {
        if let Some((shared, name)) = self.home() {
            shared.reactor.clear_observed(name, observed, ready);
        }
    }

    /// A read was short on a socket that is ours alone, so it is drained (R10).
    pub(crate) fn clear_drained(&self) {
        // An urgent byte may have ended it, of which epoll speaks only if asked to.
        if !self.interest.is_priority() {
            return;
        }
        if let Some((shared, name)) = self.home() {
            shared.reactor.clear_drained(name);
        }
    }

    /// The next short read proves nothing (R10).
    pub(crate) fn distrust(&self) {
        if let Some((shared, name)) = self.home() {
            shared.reactor.distrust(name);
        }
    }

    /// True if a short read would prove nothing.
    pub(crate) fn is_suspect(&self) -> bool {
        self.home()
            .is_some_and(|(shared, name)| shared.reactor.is_suspect(name))
    }

    /// Refuses a wait that no event could end. Errors are reported whatever was asked for.
    fn check_interest(&self, interest: Interest) -> io::Result<()> {
        if interest.is_error() || self.interest.intersects(interest) {
            return Ok(());
        }
        let registered = self.interest;
        let text = format!("waiting for {interest:?} on what is registered for {registered:?}");
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    /// Registers with `shared`, whose task is about to wait.
    fn register(&self, shared: &Shared, ready: Ready) -> io::Result<Name> {
        if sys::is_forked_child() {
            return Err(sys::forked_child_error());
        }
        // An operation that waited itself, inside the one that is waiting now, may have done it.
        if let Some(&name) = self.source.get() {
            return Ok(name);
        }
        let name = shared
            .reactor
            .register(shared, self.fd, self.interest, ready)
            .map_err(explain_registration)?;
        if let Err(name) = self.source.set(name) {
            // Another thread's runtime was faster: it is at home there.
            shared.reactor.deregister(name, self.fd);
        }
        Ok(self.source.get().copied().unwrap_or(name))
    }

    /// Removes the waiter that `key` stands for, if it is still there.
    fn forget(&self, key: &mut WaiterKey) {
        if matches!(*key, WaiterKey::POLLED | WaiterKey::UNSET) {
            return;
        }
        let Some(&name) = self.source.get() else {
            return;
        };
        match context::home_of(name) {
            Some(shared) => shared.reactor.forget(name, *key),
            None => drop(place::post(name, Command::ForgetWaiter(name, *key))),
        }
        *key = WaiterKey::UNSET;
    }

    /// The runtime this is registered with, if that is current.
    fn home(&self) -> Option<(std::rc::Rc<Shared>, Name)> {
        let name = *self.source.get()?;
        Some((context::home_of(name)?, name))
    }

    /// Where it cannot wait, an operation is tried all the same.
    fn try_elsewhere<R>(&self, mut op: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        loop {
            match op() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(self.nowhere_to_wait());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }

    fn nowhere_to_wait(&self) -> io::Error {
        if sys::is_forked_child() {
            sys::forked_child_error()
        } else if self.source.get().is_some() {
            not_at_home()
        } else {
            io::Error::other(
                "cannot wait outside a runtime: poll this inside `reveille::block_on` or \
                 `Runtime::block_on`",
            )
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(&name) = self.source.get() else {
            return;
        };
        // The child shares the parent's epoll instance: a DEL here would deafen the parent.
        if sys::is_forked_child() {
            return;
        }
        match context::home_of(name) {
            Some(shared) => shared.reactor.deregister(name, self.fd),
            None => place::deregister(name, self.fd),
        }
    }
}

/// The waiter of an async fn: it is removed when the future is dropped, wherever that is.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    pub(crate) registration: &'a Registration,
    pub(crate) key: WaiterKey,
}

impl<'a> Wait<'a> {
    pub(crate) fn new(registration: &'a Registration) -> Wait<'a> {
        Wait {
            registration,
            key: WaiterKey::UNSET,
        }
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.registration.forget(&mut self.key);
    }
}

fn not_at_home() -> io::Error {
    io::Error::other(
        "this is registered with another runtime, and only there can it wait: make one of its own \
         for this runtime by `try_clone`, or by `into_std` and `from_std`",
    )
}

/// Adds what epoll_ctl(2) means by two of its errors.
fn explain_registration(error: io::Error) -> io::Error {
    let why = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "epoll cannot watch this file (a regular file or a directory is always ready): read it \
             on a thread"
        }
        Some(libc::EEXIST) => {
            "this descriptor is registered with this runtime already: use the first one, or a \
             duplicate (`try_clone`)"
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{why}: {error}"))
}
