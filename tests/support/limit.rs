//! A limit for a test that may hang: it becomes a failure, and is named.
//!
//! `let _limit = limit(30);` is the first line of a test, which runs on its own thread as ever. Nobody
//! can stop a thread from outside, so one more thread, the watchdog, ends the process when a limit has
//! passed, as a failure. The tests that did not come to their turn are not reported then.

use std::env;
use std::io::{self, Write};
use std::panic::Location;
use std::process;
use std::ptr;
use std::sync::{Mutex, Once};
use std::thread::{self, Thread, ThreadId};
use std::time::Duration;

/// Ends the process unless what it returns is dropped within so many seconds: ten times as many where
/// AddressSanitizer or valgrind runs the test. They are for a machine with much else to do.
#[track_caller]
pub(crate) fn limit(seconds: u64) -> Limit {
    static WATCHDOG: Once = Once::new();
    WATCHDOG.call_once(start);
    let thread = thread::current();
    let id = thread.id();
    TESTS.lock().unwrap().push(Test {
        thread,
        begins_at: Location::caller(),
        left: patience(seconds).as_secs(),
    });
    Limit(id)
}

#[must_use = "the limit holds until this is dropped"]
pub(crate) struct Limit(ThreadId);

impl Drop for Limit {
    fn drop(&mut self) {
        let mut tests = TESTS.lock().unwrap();
        tests.retain(|test| test.thread.id() != self.0);
    }
}

/// Those that run, one a thread.
static TESTS: Mutex<Vec<Test>> = Mutex::new(Vec::new());

struct Test {
    /// Its name is the test's.
    thread: Thread,
    begins_at: &'static Location<'static>,
    /// Seconds that the watchdog was awake to count, so that a process which was stopped for a while
    /// is not blamed for it.
    left: u64,
}

/// So many seconds; ten times as many where AddressSanitizer or valgrind runs the test.
pub(crate) fn patience(seconds: u64) -> Duration {
    // Valgrind has its own libraries preloaded.
    let preloaded = env::var_os("LD_PRELOAD").unwrap_or_default();
    let slowed_down =
        env::var_os("ASAN_OPTIONS").is_some() || preloaded.to_string_lossy().contains("valgrind");
    Duration::from_secs(if slowed_down { 10 * seconds } else { seconds })
}

/// Starts the watchdog with all signals blocked: those that tests send to the process are for others.
fn start() {
    // SAFETY: all zeroes is a valid `sigset_t`.
    let mut all = unsafe { std::mem::zeroed::<libc::sigset_t>() };
    let mut before = all;
    // SAFETY: sigfillset(3) writes the set it is given, a local.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: one set is read and the other written, and both outlive the call.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    // A thread starts with the mask of the one that starts it: pthread_sigmask(3).
    let started = thread::Builder::new().name("watchdog".into()).spawn(watch);
    // SAFETY: the set is read and outlives the call; the former one is not asked for.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    started.expect("a thread can be started");
}

fn watch() {
    loop {
        thread::sleep(Duration::from_secs(1));
        let mut tests = TESTS.lock().unwrap();
        let mut hangs = false;
        for test in tests.iter_mut() {
            test.left = test.left.saturating_sub(1);
            if test.left == 0 {
                hangs = true;
                let name = test.thread.name().unwrap_or("?");
                // Not by `eprintln`, which would be captured with what the test prints.
                let _told = writeln!(
                    io::stderr(),
                    "test {name} hangs: its limit at {} has passed",
                    test.begins_at
                );
            }
        }
        if hangs {
            process::exit(101); // As cargo has it for tests that fail.
        }
    }
}
