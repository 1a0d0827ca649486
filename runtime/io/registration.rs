//! A registration: a descriptor and the name of its source, given when it first has to wait.
//!
//! Interface: [`Registration::poll_io`] tries an operation and waits only if it would block;
//! [`poll_ready`](Registration::poll_ready) waits for a report; [`Wait`] owns the waiter of a
//! future; dropping the registration deregisters.
//!
//! Invariant: a descriptor has one home, the runtime in which it first had to wait, and a
//! registration is plain data, so it may be sent and shared. Elsewhere its operations are tried
//! all the same; one that would have to wait there is an error that says so. It does not migrate:
//! two halves on two runtimes would chase each other for ever.
//!
//! Read before: `reactor`. Read next: `async_fd`, the public door.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use super::errors;
use super::interest::{Interest, Ready};
use super::sources::Observed;
use crate::runtime::context;
use crate::runtime::core::Core;
use crate::runtime::name::place::{self, Command};
use crate::runtime::name::slab::{Name, WaiterKey};
use crate::runtime::sys;

/// What an operation may do now.
enum Answer {
    /// Be tried, in this runtime.
    Ready(Rc<Core>),
    /// Be tried in this runtime, for nothing is known yet. If it has to wait, register first.
    Unregistered(Rc<Core>),
    /// Nothing, as if it had been interrupted by a signal: chaos says so. Ask again.
    Interrupted,
    /// Come back when it is woken.
    Wait,
    /// Be tried, but it cannot wait here.
    Elsewhere,
    Error(io::Error),
}

#[derive(Debug)]
pub(super) struct Registration {
    /// Read once, from the owner that keeps it open.
    fd: RawFd,
    interest: Interest,
    source: OnceLock<Name>,
}

impl Registration {
    pub(super) fn new(fd: RawFd, interest: Interest) -> Registration {
        Registration {
            fd,
            interest,
            source: OnceLock::new(),
        }
    }

    /// Tries `op`; while it would block, waits for `interest` and tries again. EINTR is retried.
    ///
    /// `op` is foreign code, and is called with no borrow held.
    #[inline]
    pub(super) fn poll_io<R>(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        key: &mut WaiterKey,
        mut op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let core = match self.ask(cx, interest, key) {
                Answer::Ready(core) | Answer::Unregistered(core) => core,
                Answer::Interrupted => continue,
                Answer::Wait => return Poll::Pending,
                Answer::Elsewhere => return Poll::Ready(spend_on(self.try_elsewhere(op))),
                Answer::Error(error) => return Poll::Ready(spend_on(Err(error))),
            };
            match op() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = self.would_block(&core, interest) {
                        return Poll::Ready(spend_on(Err(error)));
                    }
                }
                // It spends, or an operation that is interrupted for ever would never give way.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    core.executor.budget.spend()
                }
                outcome => {
                    // Not before the try: an operation that polls another inside itself must find
                    // what that will find, or take its refusal for an EAGAIN.
                    core.executor.budget.spend();
                    return Poll::Ready(outcome);
                }
            }
        }
    }

    /// An operation saw EAGAIN: clears what it disproved, or registers for what it has to wait for.
    fn would_block(&self, core: &Core, interest: Interest) -> io::Result<()> {
        match self.source.get() {
            // Nothing can have become ready since the operation turned (R4). If an operation inside
            // this one has registered it in another runtime, the name finds nothing here (R6).
            Some(&name) => core.reactor.sources.clear(name, interest),
            None => {
                let untried = (Ready::READABLE | Ready::WRITABLE) - interest.mask();
                self.register(core, untried)?;
            }
        }
        Ok(())
    }

    /// Asks whether an operation may be tried. If not, its waker is stored or woken.
    fn ask(&self, cx: &Context<'_>, interest: Interest, key: &mut WaiterKey) -> Answer {
        // First of all: what the operation would read or write is the parent's.
        if let Err(error) = sys::refuse_in_forked_child() {
            return Answer::Error(error);
        }
        let Some(core) = context::current() else {
            return Answer::Elsewhere;
        };
        if core.chaos.says(8) {
            return Answer::Interrupted;
        }
        if core.executor.budget.poll(cx).is_pending() {
            return Answer::Wait;
        }
        if !self.is_awaitable(interest) {
            return Answer::Error(errors::never_reported(interest, self.interest));
        }
        let Some(&name) = self.source.get() else {
            return Answer::Unregistered(core);
        };
        if !core.is_home_of(name) {
            return Answer::Elsewhere;
        }
        match core.reactor.sources.is_ready(name, interest) {
            Some(true) => {
                // The event that made it ready has taken the waiter, if there was one (R4).
                *key = key.unset();
                Answer::Ready(core)
            }
            Some(false) if core.wait(name, interest, cx, key) => Answer::Wait,
            Some(false) | None => Answer::Error(errors::not_at_home()),
        }
    }

    /// Waits until `interest` is reported. A source that was never registered is registered and
    /// waits for the kernel's first report, which the next turn brings.
    pub(super) fn poll_ready(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        key: &mut WaiterKey,
    ) -> Poll<io::Result<Observed>> {
        loop {
            match self.ask(cx, interest, key) {
                Answer::Ready(core) => {
                    core.executor.budget.spend();
                    let name = self.source.get();
                    let observed =
                        name.and_then(|&name| core.reactor.sources.observe(name, interest));
                    return Poll::Ready(observed.ok_or_else(errors::not_at_home));
                }
                Answer::Unregistered(core) => {
                    if let Err(error) = self.register(&core, Ready::EMPTY) {
                        return Poll::Ready(spend_on(Err(error)));
                    }
                }
                Answer::Interrupted => {}
                Answer::Wait => return Poll::Pending,
                Answer::Elsewhere => return Poll::Ready(spend_on(Err(self.nowhere_to_wait()))),
                Answer::Error(error) => return Poll::Ready(spend_on(Err(error))),
            }
        }
    }

    /// Tries `op` once, without waiting. `WouldBlock` without trying if the last report was
    /// disproved and nothing has come since.
    pub(super) fn try_io<R>(
        &self,
        interest: Interest,
        op: impl FnOnce() -> io::Result<R>,
    ) -> io::Result<R> {
        sys::refuse_in_forked_child()?;
        if !self.is_awaitable(interest) {
            return Err(errors::never_reported(interest, self.interest));
        }
        let is_ready = self.at_home(|core, name| {
            // Chaos: as if the event that reported it were still to come. Readiness is kept, so
            // the wait that follows ends at once.
            let unheard = core.chaos.says(8);
            Some(!unheard && core.reactor.sources.is_ready(name, interest)?)
        });
        if is_ready.flatten() == Some(false) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let outcome = op();
        if matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.at_home(|core, name| core.reactor.sources.clear(name, interest));
        }
        outcome
    }

    /// Clears what was observed and then disproved, unless an event came since.
    pub(super) fn clear_observed(&self, observed: Observed, ready: Ready) {
        self.at_home(|core, name| core.reactor.sources.clear_observed(name, observed, ready));
    }

    /// A read was short on a socket that is ours alone, so it is drained (R10).
    #[inline]
    pub(super) fn clear_drained(&self) {
        // An urgent byte may have ended it, of which epoll speaks only if asked to.
        if !self.interest.is_priority() {
            return;
        }
        self.at_home(|core, name| core.reactor.sources.clear_drained(name));
    }

    /// The next short read proves nothing (R10).
    pub(super) fn distrust(&self) {
        self.at_home(|core, name| core.reactor.sources.distrust(name));
    }

    /// True if a short read would prove nothing.
    pub(super) fn is_suspect(&self) -> bool {
        self.at_home(|core, name| core.reactor.sources.is_suspect(name))
            .unwrap_or(false)
    }

    /// True if some event could end a wait for this. Errors are reported whatever was asked for.
    #[inline]
    fn is_awaitable(&self, interest: Interest) -> bool {
        interest.is_error() || self.interest.intersects(interest)
    }

    /// Registers with `core`, whose task is about to wait.
    fn register(&self, core: &Core, ready: Ready) -> io::Result<()> {
        sys::refuse_in_forked_child()?;
        let name = core
            .register(self.fd, self.interest, ready)
            .map_err(errors::explain_registration)?;
        if let Err(name) = self.source.set(name) {
            // Another thread's runtime was faster: it is at home there.
            core.reactor.deregister(name, self.fd);
        }
        Ok(())
    }

    /// Removes the waiter that owns `key`, if it is still there.
    fn forget(&self, key: WaiterKey) {
        let Some(&name) = self.source.get() else {
            return;
        };
        context::order(name, Command::ForgetWaiter(name, key));
    }

    /// Asks the runtime this is registered with, if it is current.
    #[inline]
    fn at_home<R>(&self, f: impl FnOnce(&Core, Name) -> R) -> Option<R> {
        let name = *self.source.get()?;
        context::with_home_of(name, |core| f(core, name))
    }

    /// Where it cannot wait, an operation is tried all the same.
    fn try_elsewhere<R>(&self, mut op: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        // Not for ever: it has no way to let others run.
        const TRIES: usize = 128;
        let mut tries = 1;
        loop {
            match op() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(self.nowhere_to_wait());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted && tries < TRIES => {
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    fn nowhere_to_wait(&self) -> io::Error {
        if self.source.get().is_some() {
            errors::not_at_home()
        } else {
            errors::outside()
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
            Some(core) => core.reactor.deregister(name, self.fd),
            None => place::deregister(name, self.fd),
        }
    }
}

/// The waiter of a future: it is removed when the future is dropped, wherever that is. It waits for
/// one interest in all its life.
#[derive(Debug)]
pub(crate) struct Wait<'a> {
    registration: &'a Registration,
    key: WaiterKey,
}

impl<'a> Wait<'a> {
    pub(super) fn new(registration: &'a Registration) -> Wait<'a> {
        Wait {
            registration,
            key: WaiterKey::UNSET,
        }
    }

    /// The future that polls `poll` until that is ready. An async fn would do the same, but it keeps
    /// each argument twice, once as it came and once in its body.
    ///
    /// # Panics
    /// When it is polled after it was ready, as an async fn does: what was read or written once is
    /// not to be read or written again.
    #[inline]
    pub(crate) fn until_ready<R>(
        mut self,
        mut poll: impl FnMut(&mut Wait<'a>, &mut Context<'_>) -> Poll<R>,
    ) -> impl Future<Output = R> {
        let mut done = false;
        poll_fn(move |cx| {
            assert!(!done, "a read or write was polled after it was ready");
            let polled = poll(&mut self, cx);
            done = polled.is_ready();
            polled
        })
    }

    /// See [`Registration::poll_io`].
    #[inline]
    pub(crate) fn poll_io<R>(
        &mut self,
        cx: &Context<'_>,
        interest: Interest,
        op: impl FnMut() -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        self.registration.poll_io(cx, interest, &mut self.key, op)
    }

    /// See [`Registration::poll_ready`].
    pub(super) fn poll_ready(
        &mut self,
        cx: &Context<'_>,
        interest: Interest,
    ) -> Poll<io::Result<Observed>> {
        self.registration.poll_ready(cx, interest, &mut self.key)
    }
}

impl Drop for Wait<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.key.is_owned() {
            self.registration.forget(self.key);
        }
    }
}

/// What a task gets where its descriptor cannot wait spends budget, too: a server that logs an error
/// and goes on would starve all others, and so would reads of a busy socket that is at home elsewhere.
#[cold]
fn spend_on<R>(outcome: io::Result<R>) -> io::Result<R> {
    context::with_current(|core| core.executor.budget.spend());
    outcome
}
