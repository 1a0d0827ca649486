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

use std::future::Future;
use std::io;
use std::os::fd::RawFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use super::decision::{Decision, Facts, Standing, decide};
use super::errors;
use super::interest::{Interest, Ready};
use super::sources::Observed;
use super::wait::Wait;
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
pub(crate) struct Registration {
    /// Read once, from the owner that keeps it open.
    fd: RawFd,
    interest: Interest,
    /// See [`set_short_reads_prove`](Registration::set_short_reads_prove).
    short_reads_prove: AtomicBool,
    source: OnceLock<Name>,
}

impl Registration {
    pub(super) fn new(fd: RawFd, interest: Interest) -> Registration {
        Registration {
            fd,
            interest,
            short_reads_prove: AtomicBool::new(false),
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
        op: &mut impl FnMut() -> io::Result<R>,
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
            // Nothing can have become ready since the operation was tried (R4). If an operation inside
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
        let current = context::current();
        let decision = decide(self.facts(current.as_deref(), interest));
        match (decision, current) {
            (Decision::Forked, _) => Answer::Error(sys::forked_child_error()),
            (Decision::TryElsewhere, _) | (_, None) => Answer::Elsewhere,
            (Decision::AskAgain, _) => Answer::Interrupted,
            (Decision::Try, Some(core)) => {
                // The event that made it ready has taken the waiter, if there was one (R4).
                *key = key.unset();
                Answer::Ready(core)
            }
            (Decision::TryUnregistered, Some(core)) => Answer::Unregistered(core),
            (Decision::GiveWay, Some(core)) => {
                core.executor.budget.give_way(cx);
                Answer::Wait
            }
            (Decision::Wait, Some(core)) => match self.source.get() {
                Some(&name) if core.wait(name, interest, cx, key) => Answer::Wait,
                _ => Answer::Error(errors::not_at_home()),
            },
            (Decision::NeverReported, _) => {
                Answer::Error(errors::never_reported(interest, self.interest))
            }
            (Decision::NotAtHome, _) => Answer::Error(errors::not_at_home()),
        }
    }

    #[inline]
    fn facts(&self, current: Option<&Core>, interest: Interest) -> Facts {
        let standing = match (current, self.source.get()) {
            (None, _) => Standing::Outside,
            (Some(_), None) => Standing::Unregistered,
            (Some(core), Some(&name)) if core.is_home_of(name) => Standing::Home {
                ready: core.reactor.sources.is_ready(name, interest),
            },
            (Some(_), Some(_)) => Standing::Elsewhere,
        };
        Facts {
            forked: sys::is_forked_child(),
            standing,
            interrupted: current.is_some_and(|core| core.chaos.says(8)),
            budget_left: current.is_some_and(|core| core.executor.budget.is_left()),
            awaitable: self.is_awaitable(interest),
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

    /// How many of `len` bytes an operation should offer to the kernel: all, but under chaos sometimes
    /// fewer, to make it short.
    #[inline]
    pub(crate) fn offer(&self, len: usize) -> usize {
        context::with_current(|core| core.chaos.offer(len)).unwrap_or(len)
    }

    /// From here on a short read proves that the descriptor is drained, or does not any more: the next
    /// read then waits without the call that would return EAGAIN (R10).
    ///
    /// It proves so for a TCP stream that nobody else reads (epoll(7), Q&A 9), until an event speaks of an
    /// urgent byte, an end or an error. It does not for datagrams, terminals, or Unix sockets that carry
    /// descriptors or credentials: there a task could wait for ever for what is there already.
    pub(crate) fn set_short_reads_prove(&self, prove: bool) {
        self.short_reads_prove.store(prove, Ordering::Relaxed);
    }

    /// Until the next EAGAIN no short read proves anything: data may remain that no event will announce.
    pub(crate) fn unprove_short_reads(&self) {
        self.at_home(|core, name| core.reactor.sources.unprove_short_reads(name));
    }

    /// A read by `op` into room for `len` bytes; into no room 0 bytes are read at once, without a system
    /// call. `op` is called with the number of bytes that it should ask for, and may lower that number if it
    /// asks for less; `holds_bytes` tells whether there is something to read.
    #[inline]
    pub(crate) fn read(
        &self,
        len: usize,
        mut op: impl FnMut(&mut usize) -> io::Result<usize>,
        holds_bytes: impl Fn() -> bool,
    ) -> Operation<'_, impl FnMut() -> io::Result<usize>> {
        let interest = (len > 0).then_some(Interest::READABLE);
        Operation::new(self, interest, move || {
            if len == 0 {
                return Ok(0);
            }
            self.read_now(len, &mut op, &holds_bytes)
        })
    }

    /// A short read counts as EAGAIN where it [proves](Registration::set_short_reads_prove) that nothing is
    /// left. And where it proves nothing, EAGAIN is not believed but asked about: where an urgent byte may
    /// stand, a signal can make recv(2) say EAGAIN of bytes that are there, and believed it would strand them
    /// (R10). A read of 0 bytes is the end, and the next read says so again.
    #[inline]
    fn read_now(
        &self,
        len: usize,
        op: &mut impl FnMut(&mut usize) -> io::Result<usize>,
        holds_bytes: &impl Fn() -> bool,
    ) -> io::Result<usize> {
        let mut asked = self.offer(len);
        loop {
            match op(&mut asked) {
                Ok(n) => {
                    if n > 0 && n < asked && self.short_reads_prove() {
                        self.clear_drained();
                    }
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let certain = self.short_reads_prove() && !self.short_reads_are_unproved();
                    if certain || !holds_bytes() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A write by `op`, which is called with the number of bytes that it should offer.
    #[inline]
    pub(crate) fn write(
        &self,
        len: usize,
        mut op: impl FnMut(usize) -> io::Result<usize>,
    ) -> Operation<'_, impl FnMut() -> io::Result<usize>> {
        Operation::new(self, Some(Interest::WRITABLE), move || op(self.offer(len)))
    }

    /// Any operation.
    #[inline]
    pub(crate) fn operation<F>(&self, interest: Interest, op: F) -> Operation<'_, F> {
        Operation::new(self, Some(interest), op)
    }

    /// The waiter of a future of several steps.
    #[inline]
    pub(crate) fn wait(&self) -> Wait<'_> {
        Wait::new(self)
    }

    fn short_reads_prove(&self) -> bool {
        self.short_reads_prove.load(Ordering::Relaxed)
    }

    fn short_reads_are_unproved(&self) -> bool {
        self.at_home(|core, name| core.reactor.sources.short_reads_are_unproved(name))
            .unwrap_or(false)
    }

    /// A read was short where that proves something.
    #[inline]
    fn clear_drained(&self) {
        // An urgent byte may have ended it, of which epoll speaks only if asked to.
        if !self.interest.is_priority() {
            return;
        }
        self.at_home(|core, name| core.reactor.sources.clear_drained(name));
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
    pub(super) fn forget(&self, key: WaiterKey) {
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
    fn try_elsewhere<R>(&self, op: &mut impl FnMut() -> io::Result<R>) -> io::Result<R> {
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

/// An operation that is tried until it does not block: a future, a try or a poll, whichever is called.
pub(crate) struct Operation<'a, F> {
    wait: Wait<'a>,
    /// `None` of one that never waits.
    interest: Option<Interest>,
    op: F,
    done: bool,
}

impl<'a, F> Operation<'a, F> {
    #[inline]
    fn new(registration: &'a Registration, interest: Option<Interest>, op: F) -> Operation<'a, F> {
        Operation {
            wait: Wait::new(registration),
            interest,
            op,
            done: false,
        }
    }
}

impl<R, F: FnMut() -> io::Result<R>> Operation<'_, F> {
    /// Tries once, without waiting; see [`Registration::try_io`].
    #[inline]
    pub(crate) fn try_now(mut self) -> io::Result<R> {
        match self.interest {
            Some(interest) => self.wait.registration.try_io(interest, self.op),
            None => (self.op)(),
        }
    }

    /// Polls once. If it has to wait, the waker is kept for whichever future is polled later.
    #[inline]
    pub(crate) fn poll_once(mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        self.wait.key = WaiterKey::POLLED;
        Pin::new(&mut self).poll(cx)
    }
}

impl<R, F: FnMut() -> io::Result<R>> Future for Operation<'_, F> {
    type Output = io::Result<R>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let this = self.get_mut();
        assert!(!this.done, "{POLLED_AFTER_READY}");
        let Wait { registration, key } = &mut this.wait;
        let polled = match this.interest {
            Some(interest) => registration.poll_io(cx, interest, key, &mut this.op),
            None => spend_at_once(cx).map(|()| (this.op)()),
        };
        this.done = polled.is_ready();
        polled
    }
}

// Nothing in it is pinned: the operation is called, and never polled.
impl<F> Unpin for Operation<'_, F> {}

/// What a future of an operation panics with when it is polled again: what was read or written once is not
/// to be read or written again.
pub(super) const POLLED_AFTER_READY: &str = "a read or write was polled after it was ready";

/// What does nothing counts as an operation, too, or a loop over it would never give way.
fn spend_at_once(cx: &Context<'_>) -> Poll<()> {
    let Some(core) = context::current() else {
        return Poll::Ready(());
    };
    ready!(core.executor.budget.poll(cx));
    core.executor.budget.spend();
    Poll::Ready(())
}

/// What a task gets where its descriptor cannot wait spends budget, too: a server that logs an error
/// and goes on would starve all others, and so would reads of a busy socket that is at home elsewhere.
#[cold]
fn spend_on<R>(outcome: io::Result<R>) -> io::Result<R> {
    context::with_current(|core| core.executor.budget.spend());
    outcome
}
