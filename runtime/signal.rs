//! Signals: a count for each number, and an eventfd that says that some count has changed.
//!
//! Interface: [`signal`] makes a listener, [`ctrl_c`] waits for SIGINT, [`restore_default`] gives a
//! signal's former action back.
//! Invariant: the handler only adds to a static counter and writes one eventfd, both of which
//! signal-safety(7) allows. A listener keeps the count it last saw and has a duplicate of the
//! eventfd of its own, which it registers like any other descriptor: so any number of listeners in
//! any number of runtimes each see each signal, and none takes it from another.
//! Read before: `async_fd`, `sys`.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use libc::c_int;

use super::async_fd::AsyncFd;
use super::interest::Interest;
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
/// dropped, but see [`restore_default`]. Code that installs a handler of its own for the same signal
/// takes it away from all listeners.
///
/// # Errors
/// EINVAL for SIGKILL, SIGSTOP and what is no signal; `InvalidInput` for those that report a fault
/// of the program (SIGSEGV, SIGBUS, SIGFPE, SIGILL), after which there is nothing to go on with;
/// EMFILE, for each listener holds one descriptor.
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
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    if matches!(
        kind.0,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL
    ) {
        let text = "this signal reports a fault of the program and cannot be awaited";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // First, for without a descriptor the signal's action stays what it was.
    let bell = AsyncFd::with_interest(sys::signal_bell()?, Interest::READABLE)?;
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
    pub async fn recv(&mut self) -> Option<()> {
        let Signal { bell, kind, seen } = self;
        let arrived = bell.async_io(Interest::READABLE, |_| take_new(*kind, seen));
        expect_heard(arrived.await)
    }

    /// Polls for the next signal; see [`recv`](Signal::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Signal { bell, kind, seen } = self;
        let arrived = ready!(bell.poll_io(cx, Interest::READABLE, |_| take_new(*kind, seen)));
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

/// The actions that listeners replaced, to be given back.
static REPLACED: Mutex<BTreeMap<c_int, SignalAction>> = Mutex::new(BTreeMap::new());

/// Installs the handler, once a signal.
fn catch(kind: SignalKind) -> io::Result<()> {
    let mut replaced = REPLACED.lock().unwrap_or_else(PoisonError::into_inner);
    if let std::collections::btree_map::Entry::Vacant(vacant) = replaced.entry(kind.0) {
        vacant.insert(sys::catch_signal(kind.0)?);
    }
    Ok(())
}

/// Gives a signal the action back that it had before the first listener: for SIGINT and SIGTERM,
/// by default, the end of the process. Its listeners hear nothing more, unless another is made.
///
/// A program that ends gracefully on the first Ctrl-C calls this then, so that the second one ends
/// it at once.
///
/// # Errors
/// What sigaction(2) reports; in the child of a process that had a runtime before it forked, an
/// error that says so (exec restores all actions by itself).
pub fn restore_default(kind: SignalKind) -> io::Result<()> {
    // Before the lock, which a thread may hold that does not exist in the child.
    if sys::is_forked_child() {
        return Err(sys::forked_child_error());
    }
    let mut replaced = REPLACED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(action) = replaced.get(&kind.0) {
        let _ours = sys::set_signal_action(kind.0, *action)?;
        replaced.remove(&kind.0);
    }
    Ok(())
}
