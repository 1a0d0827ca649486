//! Signals: a count for each number, and an eventfd that says that some count has changed.
//!
//! Interface: [`signal`] makes a listener, [`signal_keep_mask`] one that leaves the thread's mask alone,
//! [`ctrl_c`] waits for SIGINT, [`restore_default`] puts a signal's former action back.
//! Invariant: the handler only adds to a static counter and writes one eventfd, both of which
//! signal-safety(7) allows. A listener keeps the count that it last saw, and has a duplicate of the
//! eventfd, which it registers like any other descriptor, edge-triggered: each write is an event for each duplicate,
//! and nothing reads it. So any number of listeners, in any number of
//! runtimes, each learn of a signal, and none takes it from another.
//!
//! Over 400 lines because each function has its contract and an example.
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
///
/// # Examples
/// ```
/// use reveille::signal::unix::SignalKind as Kind;
///
/// assert_eq!(Kind::from_raw(libc::SIGTERM), Kind::terminate());
/// let kinds = [Kind::alarm(), Kind::child(), Kind::hangup(), Kind::interrupt(), Kind::io(), Kind::pipe()];
/// let numbers = [libc::SIGALRM, libc::SIGCHLD, libc::SIGHUP, libc::SIGINT, libc::SIGIO, libc::SIGPIPE];
/// assert_eq!(kinds.map(Kind::as_raw_value), numbers);
/// let kinds = [Kind::quit(), Kind::user_defined1(), Kind::user_defined2(), Kind::window_change()];
/// let numbers = [libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2, libc::SIGWINCH];
/// assert_eq!(kinds.map(Kind::as_raw_value), numbers);
/// ```
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

    /// SIGALRM: a timer of alarm(2) has expired.
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

    /// SIGPIPE: a write to a pipe or socket that has no reader.
    pub const fn pipe() -> SignalKind {
        SignalKind(libc::SIGPIPE)
    }

    /// SIGQUIT: Ctrl-\.
    pub const fn quit() -> SignalKind {
        SignalKind(libc::SIGQUIT)
    }

    /// SIGTERM: a request to end.
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

/// Receives one kind of signal, from when it was made.
///
/// Several listeners of one kind each learn of a signal: none takes it from another. Signals that arrive
/// faster than a listener receives them count as one, as the kernel counts pending ones too.
///
/// # Examples
/// ```
/// use std::process::Command;
/// use reveille::signal::unix::{SignalKind, signal};
///
/// # reveille::block_on(async {
/// let mut listener = signal(SignalKind::user_defined1())?;
/// Command::new("sh").args(["-c", "kill -USR1 $PPID"]).status()?;
/// assert_eq!(listener.recv().await, Some(()));
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
#[derive(Debug)]
pub struct Signal {
    /// A duplicate of the eventfd that the handler writes, whatever the signal. Nothing reads it: each write is an
    /// event.
    eventfd: AsyncFd<OwnedFd>,
    /// What is listened for.
    kind: SignalKind,
    /// How many signals of the kind had come when the listener last received one.
    seen: u64,
}

/// Makes a listener. The first one for a signal replaces the signal's former action, by default most often
/// the end of the process, by counting. Dropping the listener does not bring that action back;
/// [`restore_default`] does.
///
/// # What was there before
/// - *Blocked*: the program that started this process may have blocked the signal, and then it would never
///   arrive. So this unblocks it in the calling thread, and only there; threads and programs that are
///   started from there inherit that (pthread_sigmask(3)). [`signal_keep_mask`] unblocks nothing.
/// - *Ignored*: a signal that was ignored is caught from here on. For example, nohup(1) ignores SIGHUP, and
///   a shell ignores SIGINT in what it runs in the background. The second example asks before it listens.
/// - *A handler of other code*, installed before the listener or since an earlier one, is replaced and not
///   called, and a tracing event of level WARN says so. Code that installs its own after this takes the
///   signal away from all listeners, until the next one is made. If two copies of this library (two
///   versions, say) are in one process, the copy that made the last listener receives the signal.
///
/// No other signal interrupts the handler, so pending signals of many kinds cannot overflow the alternate
/// stack. But a handler of other code that runs there (SA_ONSTACK) with a small `sa_mask` may be
/// interrupted by other handlers, this one included; only that code can enlarge its `sa_mask`.
///
/// # Errors
/// EINVAL for SIGKILL, SIGSTOP and numbers that are no signal; `InvalidInput` for signals that report a
/// fault of the program (SIGSEGV, SIGBUS, SIGFPE, SIGILL), after which it cannot go on; EMFILE, because
/// each listener holds a descriptor; an error in the child of a process that had a runtime before it
/// forked.
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
/// A program that outlives its terminal if nohup(1) started it, and only then:
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
    // After the handler is installed, because a pending signal is delivered at once. If a sandbox refuses
    // this, the mask stays as it is, and the signal arrives unless it was blocked.
    if let Err(error) = sys::unblock_signal(kind.0) {
        observe::signal_stays_blocked(kind.0, &error);
    }
    Ok(listener)
}

/// As [`signal`], but a signal that is blocked in the calling thread stays blocked: for a program that
/// chooses by masks which of its threads is interrupted. The signal must be unblocked in some thread, or
/// the listener receives nothing.
///
/// # Errors
/// As [`signal`].
///
/// # Examples
/// ```
/// use reveille::signal::unix::{SignalKind, signal_keep_mask};
///
/// # reveille::block_on(async {
/// let mut listener = signal_keep_mask(SignalKind::user_defined1())?;
/// # std::process::Command::new("sh").args(["-c", "kill -USR1 $PPID"]).status()?;
/// listener.recv().await;
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
pub fn signal_keep_mask(kind: SignalKind) -> io::Result<Signal> {
    if matches!(
        kind.0,
        libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL
    ) {
        let text = "this signal reports a fault of the program and cannot be awaited";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // First, because without a descriptor the signal must keep its action.
    let eventfd = sys::signal_eventfd().map_err(|error| sys::name_refusal("fcntl", error))?;
    let eventfd = AsyncFd::with_interest(eventfd, Interest::READABLE)?;
    // Before the handler is installed: a signal that came between the two would neither end the process nor
    // be received.
    let seen = sys::signal_count(kind.0);
    catch(kind)?;
    Ok(Signal {
        eventfd,
        kind,
        seen,
    })
}

impl Signal {
    /// Waits for the next signal; never returns `None`.
    ///
    /// # Panics
    /// If the listener waited in another runtime before, or must wait outside any, or in a forked child.
    ///
    /// # Cancel safety
    /// Safe: a signal is consumed when this returns, and not before.
    pub fn recv(&mut self) -> impl Future<Output = Option<()>> {
        let Signal {
            eventfd,
            kind,
            seen,
        } = self;
        let arrived = eventfd.async_io(Interest::READABLE, |_| take_new(*kind, seen));
        Recv { arrived }
    }

    /// Polls for the next signal; see [`recv`](Signal::recv).
    ///
    /// # Panics
    /// As [`recv`](Signal::recv).
    ///
    /// # Examples
    /// ```
    /// use std::future::poll_fn;
    /// use reveille::signal::unix::{SignalKind, signal};
    ///
    /// # reveille::block_on(async {
    /// let mut listener = signal(SignalKind::user_defined1())?;
    /// # std::process::Command::new("sh").args(["-c", "kill -USR1 $PPID"]).status()?;
    /// assert_eq!(poll_fn(|cx| listener.poll_recv(cx)).await, Some(()));
    /// # std::io::Result::Ok(())
    /// # })?;
    /// # std::io::Result::Ok(())
    /// ```
    #[track_caller]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        let Signal {
            eventfd,
            kind,
            seen,
        } = self;
        let arrived = ready!(eventfd.poll_io(cx, Interest::READABLE, |_| take_new(*kind, seen)));
        Poll::Ready(expect_received(arrived))
    }
}

pin_project! {
    /// The future of [`Signal::recv`]; written by hand, so that its panic shows the line of the `.await`.
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
        Poll::Ready(expect_received(arrived))
    }
}

/// Returns `WouldBlock` until the count differs from `seen`: an operation like any other.
fn take_new(kind: SignalKind, seen: &mut u64) -> io::Result<()> {
    let count = sys::signal_count(kind.0);
    if count == *seen {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    *seen = count;
    Ok(())
}

/// The outcome of a wait that only misuse can make fail.
#[track_caller]
fn expect_received(arrived: io::Result<()>) -> Option<()> {
    match arrived {
        Ok(()) => Some(()),
        Err(error) => panic!("a signal listener cannot wait here: {error}"),
    }
}

/// Waits for Ctrl-C: SIGINT. Each call receives signals from its first poll on.
///
/// After the first call, Ctrl-C no longer ends the process by itself; see [`restore_default`].
///
/// # Errors
/// As [`signal`].
///
/// # Cancel safety
/// Safe, but a signal between one call and the next is received by neither: to miss none, keep a
/// [`Signal`].
///
/// # Examples
/// ```
/// reveille::block_on(async {
/// #   // What the user does:
/// #   reveille::spawn(async { std::process::Command::new("sh").args(["-c", "kill -INT $PPID"]).status() });
///     reveille::signal::ctrl_c().await.unwrap();
///     println!("bye");
/// });
/// ```
pub async fn ctrl_c() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    poll_fn(|cx| interrupt.poll_recv(cx)).await;
    Ok(())
}

/// The action of each signal before its first listener, for [`restore_default`].
static REPLACED: Mutex<BTreeMap<c_int, SignalAction>> = Mutex::new(BTreeMap::new());

/// Installs the handler, for each listener anew, because other code may have installed its own meanwhile.
/// That one is never called from ours: two copies of this library would call each other without end.
fn catch(kind: SignalKind) -> io::Result<()> {
    let mut replaced = REPLACED.lock().unwrap_or_else(PoisonError::into_inner);
    let before = sys::catch_signal(kind.0).map_err(|error| name_refusal(kind, error))?;
    if before.is_ours() {
        return Ok(());
    }
    // The first action is kept, not the last. Otherwise two copies of this library that listen in turn
    // would keep each other's handlers, and the default action would be lost.
    replaced.entry(kind.0).or_insert(before);
    // A subscriber is user code: the lock is not held while it runs (R5).
    drop(replaced);
    if before.is_handler() {
        observe::signal_handler_replaced(kind.0);
    }
    Ok(())
}

/// Names the call if the signal can be caught, because then a sandbox refused it.
fn name_refusal(kind: SignalKind, error: io::Error) -> io::Error {
    // The numbers from 32 to SIGRTMIN - 1 are the C library's own.
    let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
    let exists = (1..32).contains(&kind.0) || real_time.contains(&kind.0);
    if exists && !matches!(kind.0, libc::SIGKILL | libc::SIGSTOP) {
        sys::name_refusal("rt_sigaction", error)
    } else {
        error
    }
}

/// Puts back the action that a signal had before its first listener: for SIGINT and SIGTERM, by default,
/// the end of the process. The signal's listeners receive nothing more until another is made. If other code
/// has installed a handler since, this changes nothing: that handler stays, and the action is kept for a
/// later call.
///
/// A program that ends gracefully on the first Ctrl-C calls this then, so that the second one ends
/// it at once. If the signal was ignored before, as SIGINT is in what a shell without job control runs in the background,
/// it is ignored again, and a second one ends nothing.
///
/// # Errors
/// What sigaction(2) reports; in the child of a process that had a runtime before it forked, an
/// error that says so (exec restores all actions by itself).
///
/// # Examples
/// ```
/// use reveille::signal::ctrl_c;
/// use reveille::signal::unix::{SignalKind, restore_default};
///
/// # reveille::block_on(async {
/// # // What the user does:
/// # reveille::spawn(async { std::process::Command::new("sh").args(["-c", "kill -INT $PPID"]).status() });
/// ctrl_c().await?;
/// restore_default(SignalKind::interrupt())?; // From here on, Ctrl-C ends the process at once.
/// println!("closing the connections");
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
pub fn restore_default(kind: SignalKind) -> io::Result<()> {
    // Before the lock, which may be held by a thread that does not exist in the child.
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
            // Other code has installed it since the check above.
            sys::set_signal_action(kind.0, displaced)?;
        }
    }
    Ok(())
}
