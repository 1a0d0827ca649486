//! Whether this process is the child of one that had a runtime before it forked.
//!
//! Idea: a byte that the kernel, or else the C library, clears in every child. No other code need announce a
//! fork, and to ask takes two loads.
//!
//! Interface: [`watch_for_fork`] once, before the first runtime; [`is_forked_child`] and
//! [`refuse_in_forked_child`] wherever code reaches beyond its thread; [`is_forked_child_error`] for users.
//! Invariant: in the process that made the first runtime the answer is always "no". In its children it is
//! "yes": in all of them if the kernel can wipe a page, otherwise in those that fork(3) made.
//! What a child leaves undone when it drops its copy of a runtime: `registration` takes nothing out of the epoll instance,
//! `place` locks no inbox and rings no eventfd, `pool` closes nothing, and `core` wakes nothing of other executors.
//! Read next: `core`, which begins to watch; `registration`, `place` and `pool`, which ask.

use std::fmt;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, Ordering};

use libc::c_void;

use super::check;

/// Points to the byte that is 1 in the process that made it and 0 in every child; see [`watch_for_fork`].
static FORK_GUARD: AtomicPtr<AtomicU8> = AtomicPtr::new(ptr::from_ref(&CLEARED_BY_FORK).cast_mut());

/// The byte before the first runtime is made, and also after that where no page can be wiped.
static CLEARED_BY_FORK: AtomicU8 = AtomicU8::new(1);

/// True in the child of a process that had a runtime before it forked.
///
/// A child shares the parent's open file descriptions, its epoll instance among them: what the child
/// adds or removes there changes for the parent, too, and the parent misses the events that the child
/// receives (fork(2), epoll(7) Q&A). So every entry point that reaches beyond the thread asks here
/// first, before it takes any lock, which a thread that the child lacks may hold. Two loads; getpid(2)
/// would take 120 ns.
#[inline]
pub(crate) fn is_forked_child() -> bool {
    let byte = FORK_GUARD.load(Ordering::Acquire);
    // SAFETY: the pointer is that of a static, or of a page that `watch_for_fork` stored for good,
    // which is aligned, initialised and never unmapped. Either is only ever accessed as this atomic.
    unsafe { &*byte }.load(Ordering::Relaxed) == 0
}

/// Makes [`is_forked_child`] work from here on.
///
/// The byte lies in a page that the kernel wipes in every child, however that was made: Linux 4.14
/// and MADV_WIPEONFORK, madvise(2). Where the kernel has no such thing or a sandbox refuses it, the
/// C library's fork(3) clears a byte in the child instead, and a child made without it (by a raw
/// clone(2), or by `_Fork`) is not recognised.
///
/// # Errors
/// ENOMEM: pthread_atfork(3).
pub(crate) fn watch_for_fork() -> io::Result<()> {
    // Not a `OnceLock`: a child forked while another thread initialises it would wait for a thread that it does not have.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    if WATCHED.load(Ordering::Acquire) {
        return Ok(());
    }
    match wiped_page() {
        Some(page) => {
            let unwatched = ptr::from_ref(&CLEARED_BY_FORK).cast_mut();
            let (byte, order) = (page.cast::<AtomicU8>().as_ptr(), Ordering::AcqRel);
            let stored = FORK_GUARD.compare_exchange(unwatched, byte, order, Ordering::Acquire);
            if stored.is_err() {
                // Another thread has stored its page first, and no other code has this one's address.
                unmap(page);
            }
        }
        None => clear_by_fork()?,
    }
    WATCHED.store(true, Ordering::Release);
    Ok(())
}

/// Bytes to map and to have wiped: a page on x86-64. Where pages are larger, mmap(2) and madvise(2) round up.
const PAGE: usize = 4096;

/// A page with a first byte that is 1 here and 0 in every child; `None` if the kernel refuses.
fn wiped_page() -> Option<NonNull<c_void>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: mmap(2) of fresh anonymous memory at an address of the kernel's choice touches no
    // existing mapping.
    let page = unsafe { libc::mmap(ptr::null_mut(), PAGE, access, kind, -1, 0) };
    if page == libc::MAP_FAILED {
        return None;
    }
    let page = NonNull::new(page)?;
    // SAFETY: the range is the mapping made above, whole.
    let wiped = check(unsafe { libc::madvise(page.as_ptr(), PAGE, libc::MADV_WIPEONFORK) });
    if wiped.is_err() {
        unmap(page);
        return None;
    }
    // SAFETY: the page is ours, mapped readable and writable, zeroed (a valid AtomicU8) and
    // aligned; no other code has its address yet.
    unsafe { page.cast::<AtomicU8>().as_ref() }.store(1, Ordering::Relaxed);
    Some(page)
}

/// Gives a page back that could not be made to be wiped.
fn unmap(page: NonNull<c_void>) {
    // SAFETY: the page was mapped by `wiped_page` with this size, and no reference to it is left.
    let _unmapped = unsafe { libc::munmap(page.as_ptr(), PAGE) };
}

/// Has fork(3) clear [`CLEARED_BY_FORK`] in every child: pthread_atfork(3).
fn clear_by_fork() -> io::Result<()> {
    extern "C" fn clear() {
        CLEARED_BY_FORK.store(0, Ordering::Relaxed);
    }
    // SAFETY: the handler lives as long as the program and does nothing but one atomic store, which
    // a child may do in any state. Registered twice, by two threads at once, it does so twice.
    match unsafe { libc::pthread_atfork(None, None, Some(clear)) } {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// An error in a forked child, for code that would reach the parent's runtime or descriptors.
#[inline]
pub(crate) fn refuse_in_forked_child() -> io::Result<()> {
    if is_forked_child() {
        Err(forked_child_error())
    } else {
        Ok(())
    }
}

/// What everything says in a forked child that would reach the parent's runtime.
#[cold]
pub(crate) fn forked_child_error() -> io::Error {
    io::Error::other(ForkedChild)
}

/// See [`is_forked_child_error`].
#[derive(Debug)]
struct ForkedChild;

impl fmt::Display for ForkedChild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "this process was forked from one that has a runtime and shares its epoll instance: \
             exec first, or fork before the first runtime is made",
        )
    }
}

impl std::error::Error for ForkedChild {}

/// True if the error says that this is the child of a process that had a runtime before it forked, where
/// sockets and runtimes of the parent are refused.
///
/// # Examples
/// ```
/// let _runtime = reveille::Runtime::new()?;
/// // SAFETY: no other thread runs here, so the child may do whatever the parent may.
/// let child = unsafe { libc::fork() };
/// if child == 0 {
///     let error = reveille::Runtime::new().map(drop).unwrap_err();
///     assert!(reveille::io::is_forked_child(&error));
///     std::process::exit(7);
/// }
/// let mut status = 0;
/// // SAFETY: waitpid(2) writes the status of a child of ours into a local.
/// unsafe { libc::waitpid(child, &mut status, 0) };
/// assert_eq!(libc::WEXITSTATUS(status), 7);
/// # std::io::Result::Ok(())
/// ```
pub fn is_forked_child_error(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<ForkedChild>())
}
