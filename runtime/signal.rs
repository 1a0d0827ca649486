//! Signals: a count for each number, and an eventfd that says that some count has changed.
//!
//! Interface: [`signal`] makes a listener, [`signal_keep_mask`] one that leaves the thread's mask alone,
//! [`ctrl_c`] waits for SIGINT, [`restore_default`] gives a signal's former action back.
//! Invariant: the handler only adds to a static counter and writes one eventfd, both of which
//! signal-safety(7) allows. A listener keeps the count it last saw and has a duplicate of the
//! eventfd of its own, which it registers like any other descriptor: so any number of listeners in
//! any number of runtimes each see each signal, and none takes it from another.
//! Read before: `async_fd`, `sys::signal`.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use libc::c_int;
use pin_project_lite::pin_project;

use super::io::async_fd::AsyncFd;
use super::io::interest::Interest;
use super::observe;
use super::sys::{self, SignalAction};

/// Which signal; see signal(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignalKind(c_int);

impl SignalKind {
    /// The signal of this number.
    pub const fn from_raw(signal: c_int) -> SignalKind {
        SignalKind(signal)
    }

    /// Its number.
    pub const fn as_raw_value(self) -> c_int {
        self.0
    }

    /// SIGALRM: a timer of alarm(2) is over.
    pub const fn alarm() -> SignalKind {
        SignalKind(libc::SIGALRM)
    }

    /// SIGCHLD: a child has stopped or ended.
    pub const fn child() -> SignalKind {
        SignalKind(libc::SIGCHLD)
    }

    /// SIGHUP: the terminal was closed; to a daemon, often "read your configuration again".
    pub const fn hangup() -> SignalKind {
        SignalKind(libc::SIGHUP)
    }

    /// SIGINT: Ctrl-C.
    pub const fn interrupt() -> SignalKind {
        SignalKind(libc::SIGINT)
    }

    /// SIGIO: a descriptor in O_ASYNC mode is ready.
    pub const fn io() -> SignalKind {
        SignalKind(libc::SIGIO)
    }

    /// SIGPIPE: something was written that nobody reads.
    pub const fn pipe() -> SignalKind {
        SignalKind(libc::SIGPIPE)
    }

    /// SIGQUIT: Ctrl-\.
    pub const fn quit() -> SignalKind {
        SignalKind(libc::SIGQUIT)
    }

    /// SIGTERM: please end.
    pub const fn terminate() -> SignalKind {
        SignalKind(libc::SIGTERM)
    }

    /// SIGUSR1.
    pub const fn user_defined1() -> SignalKind {
        SignalKind(libc::SIGUSR1)
    }

    /// SIGUSR2.
    pub const fn user_defined2() -> SignalKind {
        SignalKind(libc::SIGUSR2)
    }

    /// SIGWINCH: the terminal changed its size.
    pub const fn window_change() -> SignalKind {
        SignalKind(libc::SIGWINCH)
    }
}

impl From<c_int> for SignalKind {
    fn from(signal: c_int) -> SignalKind {
        SignalKind(signal)
    }
}

/// Hears one kind of signal from when it was made.
///
/// Several listeners of one kind each hear each signal. Signals that arrive faster than they are
/// received count as one, as the kernel counts them too.
#[derive(Debug)]
pub struct Signal {
    bell: AsyncFd<OwnedFd>,
    kind: SignalKind,
    seen: u64,
}

/// Makes a listener. From the first one on, the signal's former action, by default most often the
/// end of the process, is replaced by counting; it does not come back when the listener is
/// dropped, but see [`restore_default`].
///
/// # What was there before
/// - *Blocked*: whoever started the process may have blocked the signal, and then it would never
///   arrive. So this unblocks it in the calling thread, and only there; threads and programs that
///   are started from there inherit that (pthread_sigmask(3)). [`signal_keep_mask`] does not.
/// - *Ignored*: a signal that was ignored, as nohup(1) ignores SIGHUP and a shell SIGINT of what it
///   runs in the background, is caught from here on. The example shows how to ask first.
/// - *Another's handler*, installed before the listener or since an earlier one, is replaced and not
///   called, and a tracing event of level WARN says so. Code that installs its own after this takes
///   the signal away from all listeners, until the next one is made. Of two copies of this library
///   in one process (two versions, say) the last to make a listener hears.
///
/// No other signal interrupts the handler, so any number of kinds may be pending at once. Handlers
/// of other code that run on the alternate stack (SA_ONSTACK) may still be stacked there by the
/// kernel, with each other and this one: a small `sa_mask` of theirs is for them to mend.
///
/// # Errors
/// EINVAL for SIGKILL, SIGSTOP and what is no signal; `InvalidInput` for those that report a fault
/// of the program (SIGSEGV, SIGBUS, SIGFPE, SIGILL), after which there is nothing to go on with;
/// EMFILE, for each listener holds one descriptor; an error in the child of a process that had a
/// runtime before it forked.
///
/// # Examples
/// ```no_run
/// use reveille::signal::unix::{SignalKind, signal};
///
/// # fn main() -> std::io::Result<()> {
/// reveille::block_on(async {
///     let mut hangup = signal(SignalKind::hangup())?;
///     while hangup.recv().await.is_some() {
///         println!("reading the configuration again");
///     }
///     Ok(())
/// })
/// # }
/// ```
/// A program that is to survive its terminal if it was started by nohup(1), and only then:
/// ```
/// use reveille::signal::unix::{SignalKind, signal};
///
/// fn is_ignored(kind: SignalKind) -> bool {
///     // SAFETY: all zeroes is a valid `sigaction`.
///     let mut action = unsafe { std::mem::zeroed::<libc::sigaction>() };
///     // SAFETY: nothing is read for a null action, and `action` outlives the call.
///     unsafe { libc::sigaction(kind.as_raw_value(), std::ptr::null(), &mut action) };
///     action.sa_sigaction == libc::SIG_IGN
/// }
///
/// # fn main() -> std::io::Result<()> {
/// let hangup = match is_ignored(SignalKind::hangup()) {
///     true => None,
///     false => Some(signal(SignalKind::hangup())?),
/// };
/// # drop(hangup);
/// # Ok(())
/// # }
/// ```
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    let listener = signal_keep_mask(kind)?;
    // After the handler is there: what was pending is delivered at once. A sandbox that refuses this
    // leaves the mask as it is, and the signal is heard unless it was blocked.
    if let Err(error) = sys::unblock_signal(kind.0) {
        observe::signal_stays_blocked(kind.0, &error);
    }
    Ok(listener)
}

/// As [`signal`], but a signal that is blocked in the calling thread stays so: for a program that
/// chooses by masks which of its threads is interrupted. It must be unblocked in some thread, or
/// nothing is heard.
///
/// # Errors
/// As [`signal`].
pub fn signal_keep_mask(kind: SignalKind) -> io::Result<Signal> {
    if matches!(
        kind.0,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL
    ) {
        let text = "this signal reports a fault of the program and cannot be awaited";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // First, for without a descriptor the signal's action stays what it was.
    let bell = sys::signal_bell().map_err(|error| sys::name_refusal("fcntl", error))?;
    let bell = AsyncFd::with_interest(bell, Interest::READABLE)?;
    // Before the handler: a signal that came between the two would neither end the process nor be
    // heard by anybody.
    let seen = sys::signal_count(kind.0);
    catch(kind)?;
    Ok(Signal { bell, kind, seen })
}

impl Signal {
    /// Waits for the next signal; `None` is never returned.
    ///
    /// # Panics
    /// If the listener waited in another runtime before, or outside any, or in a forked child.
    ///
    /// # Cancel safety
    /// Safe: a signal is consumed when this returns, and not before.
    pub fn recv(&mut self) -> impl Future<Output = Option<()>> {
        let Signal { bell, kind, seen } = self;
        let arrived = bell.async_io(Interest::READABLE, |_| take_new(*kind, seen));
        Recv { arrived }
    }

    /// Polls for the next signal; see [`recv`](Signal::recv).
    ///
    /// # Panics
    /// As [`recv`](Signal::recv).
    #[track_caller]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Signal { bell, kind, seen } = self;
        let arrived = ready!(bell.poll_io(cx, Interest::READABLE, |_| take_new(*kind, seen)));
        Poll::Ready(expect_heard(arrived))
    }
}

pin_project! {
    /// The future of [`Signal::recv`]; by hand, so that its panic tells the line of the `.await`.
    struct Recv<F> {
        #[pin]
        arrived: F,
    }
}

impl<F: Future<Output = io::Result<()>>> Future for Recv<F> {
    type Output = Option<()>;

    #[track_caller]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let arrived = ready!(self.project().arrived.poll(cx));
        Poll::Ready(expect_heard(arrived))
    }
}

/// `WouldBlock` until the count is another than the one `seen`: an operation like any other.
fn take_new(kind: SignalKind, seen: &mut u64) -> io::Result<()> {
    let count = sys::signal_count(kind.0);
    if count == *seen {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    *seen = count;
    Ok(())
}

#[track_caller]
fn expect_heard(arrived: io::Result<()>) -> Option<()> {
    match arrived {
        Ok(()) => Some(()),
        Err(error) => panic!("a signal listener cannot wait here: {error}"),
    }
}

/// Waits for Ctrl-C: SIGINT. Each call hears signals from when it was first polled.
///
/// After the first call, Ctrl-C no longer ends the process by itself; see [`restore_default`].
///
/// # Errors
/// As [`signal`].
///
/// # Cancel safety
/// Safe, but a signal between one call and the next is heard by neither: to miss none, keep a
/// [`Signal`].
///
/// # Examples
/// ```no_run
/// reveille::block_on(async {
///     reveille::signal::ctrl_c().await.unwrap();
///     println!("bye");
/// });
/// ```
pub async fn ctrl_c() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    poll_fn(|cx| interrupt.poll_recv(cx)).await;
    Ok(())
}

/// What was done on each signal before its first listener, to be given back.
static REPLACED: Mutex<BTreeMap<c_int, SignalAction>> = Mutex::new(BTreeMap::new());

/// Installs the handler, for each listener anew: another may have come in between. The other is
/// never called from ours, because two copies of this library would call each other without end.
fn catch(kind: SignalKind) -> io::Result<()> {
    let mut replaced = REPLACED.lock().unwrap_or_else(PoisonError::into_inner);
    let before = sys::catch_signal(kind.0).map_err(|error| name_refusal(kind, error))?;
    if before.is_ours() {
        return Ok(());
    }
    // What was there first is what is given back. Were it what was there last, two copies that
    // listen in turn would keep each other's handlers, and the default action would be gone.
    replaced.entry(kind.0).or_insert(before);
    // A subscriber is foreign code, and the lock is not held while it runs (R5).
    drop(replaced);
    if before.is_handler() {
        observe::signal_handler_replaced(kind.0);
    }
    Ok(())
}

/// EINVAL says that the signal cannot be caught, of those that can be it is the word of a sandbox.
fn name_refusal(kind: SignalKind, error: io::Error) -> io::Error {
    // Those between are the C library's own.
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    let exists = (1..32).contains(&kind.0) || real_time.contains(&kind.0);
    if exists && !matches!(kind.0, libc::SIGKILL | libc::SIGSTOP) {
        sys::name_refusal("rt_sigaction", error)
    } else {
        error
    }
}

/// Gives a signal the action back that it had before the first listener: for SIGINT and SIGTERM,
/// by default, the end of the process. Its listeners hear nothing more, unless another is made. If
/// other code has installed a handler since, that one is left where it is, and the action is kept for
/// when ours is back.
///
/// A program that ends gracefully on the first Ctrl-C calls this then, so that the second one ends
/// it at once.
///
/// # Errors
/// What sigaction(2) reports; in the child of a process that had a runtime before it forked, an
/// error that says so (exec restores all actions by itself).
pub fn restore_default(kind: SignalKind) -> io::Result<()> {
    // Before the lock, which a thread may hold that does not exist in the child.
    sys::refuse_in_forked_child()?;
    let mut replaced = REPLACED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(action) = replaced.get(&kind.0) {
        if !sys::signal_action(kind.0)?.is_ours() {
            return Ok(());
        }
        let displaced = sys::set_signal_action(kind.0, *action)?;
        if displaced.is_ours() {
            replaced.remove(&kind.0);
        } else {
            // It was installed since the look.
            sys::set_signal_action(kind.0, displaced)?;
        }
    }
    Ok(())
}
