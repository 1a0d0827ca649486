//! A registration: a descriptor and the name of its source, given when an operation first has to wait.
//!
//! Interface: [`Registration::poll_io`] tries an operation and waits only if it would block;
//! [`poll_ready`](Registration::poll_ready) waits for a report; [`reading`](Registration::reading) makes
//! the reads, and judges what each proves; dropping the registration deregisters.
//!
//! Invariant: a descriptor has one home, the runtime in which it first had to wait. A registration is
//! plain data, so it may be sent and shared. Elsewhere its operations are tried all the same, but one
//! that would have to wait there fails, with an error that says so. A registration does not migrate:
//! the two halves of a stream, on two runtimes, would take it from each other for ever.
//!
//! Room to write is reported late. The types of net ask for that by
//! [`set_reports_room_late`](Registration::set_reports_room_late) (`net/stream.rs`, `net/udp/socket.rs`,
//! `net/unix/datagram.rs`): the first registration leaves EPOLLOUT out, and each write is tried, for most find
//! room. The first task that has to wait for room adds EPOLLOUT with EPOLL_CTL_MOD, which reports the room there
//! is by then, too. So a stream that is only read gets no event about its room.
//!
//! Over 400 lines because whether an operation may be tried and what it proves belong together (R4, R10).
//!
//! Read before: `reactor`, `decision`, `budget`, `errors`. Read next: `operation`.

use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use super::decision::{Decision, Facts, Standing, decide};
use super::errors;
use super::interest::{Interest, Ready};
use super::sources::{Observed, Sources};
use crate::runtime::context;
use crate::runtime::core::Core;
use crate::runtime::name::place::{self, Command};
use crate::runtime::name::slab::{Name, WaiterKey};
use crate::runtime::sys;

/// What an operation may do now.
enum Answer {
    /// Be tried, in this runtime.
    Ready(Rc<Core>),
    /// Be tried in this runtime, because nothing is known yet. If it has to wait, register first.
    Unregistered(Rc<Core>),
    /// Nothing: chaos says that a signal has interrupted it. Ask again.
    Interrupted,
    /// Return `Pending`: its task will be woken.
    Wait,
    /// Be tried, but it cannot wait here.
    Elsewhere,
    /// Fail with this error, untried.
    Error(io::Error),
}

/// What an [`AsyncFd`](super::async_fd::AsyncFd) knows of its descriptor.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Asked of its owner once, when this is made. The owner keeps it open.
    fd: RawFd,
    /// What the first wait registers for; a wait for anything else is refused.
    interest: Interest,
    /// See [`set_short_reads_prove`](Registration::set_short_reads_prove).
    short_reads_prove: AtomicBool,
    /// See [`set_reports_room_late`](Registration::set_reports_room_late).
    reports_room_late: AtomicBool,
    /// The source's name, set once, by the first task that had to wait; never taken back.
    source: OnceLock<Name>,
}

impl Registration {
    /// A registration of `fd` that no runtime knows of yet.
    pub(super) fn new(fd: RawFd, interest: Interest) -> Registration {
        Registration {
            fd,
            interest,
            short_reads_prove: AtomicBool::new(false),
            reports_room_late: AtomicBool::new(false),
            source: OnceLock::new(),
        }
    }

    /// Tries `op`; while it would block, waits for `interest` and tries again. EINTR is retried.
    ///
    /// Why first, and not only once epoll has reported something? Readiness is a hint, so the operation is needed whatever
    /// epoll says, and is refused only if there is nothing. Of the 11 system calls of a connection (bench/README.md) two
    /// are epoll_ctl(2); a connection of which all operations succeed makes neither, and is never registered.
    /// The price is a refusal before each wait, and a short read that proves something spares that, too (R10).
    ///
    /// `op` is user code, and is called with no borrow held. Its argument is the runtime in which it could
    /// wait, `None` if there is none.
    #[inline]
    pub(super) fn poll_io<R>(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        key: &mut WaiterKey,
        op: &mut impl FnMut(&Registration, Option<&Core>) -> io::Result<R>,
    ) -> Poll<io::Result<R>> {
        loop {
            let core = match self.ask(cx, interest, key) {
                Answer::Ready(core) | Answer::Unregistered(core) => core,
                Answer::Interrupted => continue,
                Answer::Wait => return Poll::Pending,
                Answer::Elsewhere => return Poll::Ready(spend_on(self.try_elsewhere(op))),
                Answer::Error(error) => return Poll::Ready(spend_on(Err(error))),
            };
            match op(self, Some(&core)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = self.would_block(&core, interest) {
                        return Poll::Ready(spend_on(Err(error)));
                    }
                }
                // This spends, too: else an operation that is always interrupted would never give way.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    core.executor.budget.spend()
                }
                outcome => {
                    // Spend after `op`: if it polls a nested operation, an exhausted budget there would
                    // look like EAGAIN here.
                    core.executor.budget.spend();
                    return Poll::Ready(outcome);
                }
            }
        }
    }

    /// An operation saw EAGAIN and is to wait: clears what it disproved, or registers for what it waits for.
    fn would_block(&self, core: &Core, interest: Interest) -> io::Result<()> {
        match self.source.get() {
            // Nothing can have become ready since `op` was tried (R4). If `op` itself has registered the
            // descriptor with another runtime, the name finds nothing here (R6).
            Some(&name) => {
                if interest.is_writable() {
                    self.report_room(core)?;
                }
                core.reactor.sources.clear(name, interest);
            }
            None => {
                // What epoll is not to report counts as not ready: nothing could disprove it.
                let untried = self.interest.mask() & (Ready::READABLE | Ready::WRITABLE);
                let untried = untried - interest.mask();
                self.register(core, untried)?;
            }
        }
        Ok(())
    }

    /// Decides whether an operation may be tried. If it has to wait, its waker is stored or woken.
    #[inline(always)]
    fn ask(&self, cx: &Context<'_>, interest: Interest, key: &mut WaiterKey) -> Answer {
        let current = context::current();
        let decision = decide(&Asked {
            registration: self,
            current: current.as_deref(),
            interest,
        });
        let Some(core) = current else {
            return match decision {
                Decision::Forked => Answer::Error(sys::forked_child_error()),
                _ => Answer::Elsewhere,
            };
        };
        match decision {
            Decision::Try => {
                // The event that made the source ready has taken the waiter, if there was one (R4).
                *key = key.unset();
                Answer::Ready(core)
            }
            Decision::Wait => match self.source.get() {
                Some(&name) if core.wait(name, interest, cx, key) => Answer::Wait,
                _ => Answer::Error(errors::not_at_home()),
            },
            Decision::TryUnregistered => Answer::Unregistered(core),
            Decision::TryElsewhere => Answer::Elsewhere,
            Decision::AskAgain => Answer::Interrupted,
            Decision::GiveWay => {
                core.executor.budget.give_way(cx);
                Answer::Wait
            }
            Decision::Forked => Answer::Error(sys::forked_child_error()),
            Decision::NeverReported => {
                Answer::Error(errors::never_reported(interest, self.interest))
            }
            Decision::NotAtHome => Answer::Error(errors::not_at_home()),
        }
    }

    /// Before a task waits for room to write: has epoll report that from here on. False if it does so already.
    #[cold]
    fn report_room(&self, core: &Core) -> io::Result<bool> {
        match self.source.get() {
            Some(&name) if self.interest.is_writable() => core
                .reactor
                .report_room(name, self.fd, self.interest)
                .map_err(|error| sys::name_refusal("epoll_ctl", error)),
            _ => Ok(false),
        }
    }

    /// Waits until `interest` is reported. A descriptor that is not registered yet is registered, and
    /// this waits for the kernel's first report, which the next turn brings.
    pub(super) fn poll_ready(
        &self,
        cx: &Context<'_>,
        interest: Interest,
        key: &mut WaiterKey,
    ) -> Poll<io::Result<Observed>> {
        loop {
            match self.ask(cx, interest, key) {
                Answer::Ready(core) => {
                    if interest.is_writable() {
                        match self.report_room(&core) {
                            Ok(false) => {}
                            // Room was only assumed, and is to be reported now: ask again.
                            Ok(true) => continue,
                            Err(error) => return Poll::Ready(spend_on(Err(error))),
                        }
                    }
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

    /// Tries `op` once, without waiting. Returns `WouldBlock` without trying if the last report was
    /// disproved and no event has come since. (Never for room to write that epoll does not report: there would be
    /// no event to end that.)
    pub(super) fn try_io<R>(
        &self,
        interest: Interest,
        op: impl FnOnce(&Registration, Option<&Core>) -> io::Result<R>,
    ) -> io::Result<R> {
        sys::refuse_in_forked_child()?;
        if !self.is_awaitable(interest) {
            return Err(errors::never_reported(interest, self.interest));
        }
        let core = context::current();
        // If this is registered with another runtime, the name finds nothing here (R6).
        if let (Some(core), Some(&name)) = (&core, self.source.get()) {
            // Chaos: as if the event that made it ready were still to come. Readiness is kept, so
            // the wait that follows ends at once.
            let is_ready = core.reactor.sources.is_ready(name, interest);
            let unheard = is_ready.is_some() && core.chaos.says(8);
            if unheard || is_ready == Some(false) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let outcome = op(self, core.as_deref());
        if matches!(&outcome, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            self.with_sources(core.as_deref(), |sources, name| {
                sources.clear(name, interest);
            });
        }
        outcome
    }

    /// Clears what was observed and then disproved, unless an event came since.
    pub(super) fn clear_observed(&self, observed: Observed, ready: Ready) {
        self.at_home(|core, name| core.reactor.sources.clear_observed(name, observed, ready));
    }

    /// How many of `len` bytes an operation should offer to the kernel: all, but under chaos sometimes
    /// fewer, to make the operation short.
    #[inline]
    pub(crate) fn offer(&self, len: usize) -> usize {
        offer(context::current().as_deref(), len)
    }

    /// Sets whether from here on a short read proves that the descriptor is drained. After one that does,
    /// the next read waits without the system call that would return EAGAIN (R10).
    ///
    /// On a TCP stream that no other code reads, a short read is such a proof (epoll(7), Q&A 9), until an
    /// event reports an urgent byte, an end or an error. On datagram sockets, terminals, and Unix
    /// sockets, which may carry descriptors or credentials, it is none: a task could wait for ever for what is
    /// there already.
    pub(crate) fn set_short_reads_prove(&self, prove: bool) {
        self.short_reads_prove.store(prove, Ordering::Relaxed);
    }

    /// Has epoll report room to write only from the first wait for room on. Until then each write is tried: it
    /// finds out itself whether there is room. To be called before the first wait.
    pub(crate) fn set_reports_room_late(&self) {
        self.reports_room_late.store(true, Ordering::Relaxed);
    }

    /// Until the next EAGAIN no short read proves anything: data may remain that no event will announce.
    pub(crate) fn unprove_short_reads(&self) {
        self.at_home(|core, name| core.reactor.sources.unprove_short_reads(name));
    }

    /// What an operation tries that reads by `op` into room for `len` bytes; see
    /// [`read`](super::operation::read).
    #[inline]
    pub(super) fn reading(
        len: usize,
        mut op: impl FnMut(&mut usize) -> io::Result<usize>,
        holds_bytes: impl Fn() -> bool,
    ) -> impl FnMut(&Registration, Option<&Core>) -> io::Result<usize> {
        move |registration, core| {
            if len == 0 {
                return Ok(0);
            }
            registration.read_now(core, len, &mut op, &holds_bytes)
        }
    }

    /// Reads once, by `op`, into room for `len` bytes; see [`read`](super::operation::read).
    ///
    /// A short read counts as EAGAIN where it [proves](Registration::set_short_reads_prove) that nothing is
    /// left. Where it proves nothing, EAGAIN counts only if `holds_bytes` says that nothing is there: at an
    /// urgent byte a signal can make recv(2) return EAGAIN although bytes are there, and a wait would strand
    /// them (R10). A read of 0 bytes is the end, and clears nothing: the next read finds the end again.
    #[inline]
    fn read_now(
        &self,
        core: Option<&Core>,
        len: usize,
        op: &mut impl FnMut(&mut usize) -> io::Result<usize>,
        holds_bytes: &impl Fn() -> bool,
    ) -> io::Result<usize> {
        let mut asked = offer(core, len);
        loop {
            match op(&mut asked) {
                Ok(n) => {
                    if n > 0 && n < asked && self.short_reads_prove() {
                        self.clear_drained(core);
                    }
                    return Ok(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let certain = self.short_reads_prove() && !self.short_reads_are_unproved(core);
                    if certain || !holds_bytes() {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// True if a read that brings less than asked for means that the socket is drained.
    fn short_reads_prove(&self) -> bool {
        self.short_reads_prove.load(Ordering::Relaxed)
    }

    /// True if an event since the last EAGAIN forbids that conclusion; false where the source is not in `core`.
    fn short_reads_are_unproved(&self, core: Option<&Core>) -> bool {
        self.with_sources(core, Sources::short_reads_are_unproved)
            .unwrap_or(false)
    }

    /// Clears `READABLE`: a read was short where that proves something.
    #[inline]
    fn clear_drained(&self, core: Option<&Core>) {
        // An urgent byte may have ended the read, and without this interest epoll does not report it.
        if self.interest.is_priority() {
            self.with_sources(core, Sources::clear_drained);
        }
    }

    /// Asks the sources of `core`. If this is registered with another runtime, the name finds nothing (R6).
    #[inline]
    fn with_sources<R>(
        &self,
        core: Option<&Core>,
        ask: impl FnOnce(&Sources, Name) -> R,
    ) -> Option<R> {
        let (core, name) = (core?, *self.source.get()?);
        Some(ask(&core.reactor.sources, name))
    }

    /// True if some event could end a wait for `interest`. epoll reports errors whatever was registered for.
    #[inline]
    fn is_awaitable(&self, interest: Interest) -> bool {
        interest.is_error() || self.interest.intersects(interest)
    }

    /// Registers with `core`, because its task is about to wait.
    fn register(&self, core: &Core, ready: Ready) -> io::Result<()> {
        sys::refuse_in_forked_child()?;
        let interest = if ready.is_writable() && self.reports_room_late.load(Ordering::Relaxed) {
            self.interest.without_writable()
        } else {
            self.interest
        };
        let name = core
            .register(self.fd, interest, ready)
            .map_err(errors::explain_registration)?;
        if let Err(name) = self.source.set(name) {
            // Another thread has registered it with its runtime meanwhile, which is its home now. The caller asks again, and
            // hears that this is elsewhere.
            core.reactor.deregister(name, self.fd);
        }
        Ok(())
    }

    /// Removes the waiter with this `key`, if it is still there.
    pub(super) fn forget(&self, key: WaiterKey) {
        let Some(&name) = self.source.get() else {
            return;
        };
        context::order(name, Command::ForgetWaiter(name, key));
    }

    /// Asks the runtime with which this is registered, if that is the current one.
    #[inline]
    fn at_home<R>(&self, f: impl FnOnce(&Core, Name) -> R) -> Option<R> {
        let name = *self.source.get()?;
        context::with_home_of(name, |core| f(core, name))
    }

    /// Tries an operation where it cannot wait. If it would block, that is an error.
    fn try_elsewhere<R>(
        &self,
        op: &mut impl FnMut(&Registration, Option<&Core>) -> io::Result<R>,
    ) -> io::Result<R> {
        // EINTR is not retried for ever, because this cannot let other tasks run.
        const TRIES: usize = 128;
        let mut tries = 1;
        // Not its home, but the runtime that makes an operation short under chaos.
        let core = context::current();
        loop {
            match op(self, core.as_deref()) {
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

    /// The error of an operation that would block where it cannot wait.
    fn nowhere_to_wait(&self) -> io::Error {
        if self.source.get().is_some() {
            errors::not_at_home()
        } else {
            errors::outside()
        }
    }
}

/// The facts of one operation, for [`decide`].
struct Asked<'a> {
    /// The descriptor that is asked about.
    registration: &'a Registration,
    /// The runtime of this thread, if there is one.
    current: Option<&'a Core>,
    /// What the operation would wait for.
    interest: Interest,
}

impl Facts for Asked<'_> {
    #[inline]
    fn forked(&self) -> bool {
        sys::is_forked_child()
    }

    #[inline]
    fn outside(&self) -> bool {
        self.current.is_none()
    }

    #[inline]
    fn interrupted(&self) -> bool {
        self.current.is_some_and(|core| core.chaos.says(8))
    }

    #[inline]
    fn budget_left(&self) -> bool {
        self.current
            .is_some_and(|core| core.executor.budget.is_left())
    }

    #[inline]
    fn awaitable(&self) -> bool {
        self.registration.is_awaitable(self.interest)
    }

    #[inline]
    fn standing(&self) -> Standing {
        match (self.current, self.registration.source.get()) {
            (_, None) => Standing::Unregistered,
            (None, Some(_)) => Standing::Elsewhere,
            // A serial is used once, so a name that finds its source is at home (R6).
            (Some(core), Some(&name)) => match core.reactor.sources.is_ready(name, self.interest) {
                Some(true) => Standing::Ready,
                Some(false) => Standing::NotReady,
                None if core.is_home_of(name) => Standing::Gone,
                None => Standing::Elsewhere,
            },
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(&name) = self.source.get() else {
            return;
        };
        // The child shares the parent's epoll instance: a DEL here would deregister the parent's source.
        if sys::is_forked_child() {
            return;
        }
        match context::home_of(name) {
            Some(core) => core.reactor.deregister(name, self.fd),
            None => place::deregister(name, self.fd),
        }
    }
}

/// All of `len` bytes, but under chaos sometimes fewer.
#[inline]
pub(super) fn offer(core: Option<&Core>, len: usize) -> usize {
    core.map_or(len, |core| core.chaos.offer(len))
}

/// Spends budget where a descriptor cannot wait, too. Else a server that logs an error and goes on would
/// starve all other tasks, and so would reads of a busy socket that is registered with another runtime.
#[cold]
fn spend_on<R>(outcome: io::Result<R>) -> io::Result<R> {
    context::with_current(|core| core.executor.budget.spend());
    outcome
}
