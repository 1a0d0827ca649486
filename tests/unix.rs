//! Unix sockets from the outside: who connects, waits or comes late, nothing the kernel holds is stranded, and no file
//! is ever removed.
//!
//! What reading and writing promise is the engine's, which `tcp.rs` tests; here is what is otherwise on these sockets.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use reveille::Runtime;
use reveille::net::{UnixListener, UnixStream};

#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/step.rs"]
mod step;
#[path = "support/within.rs"]
mod within;

#[path = "unix/accepting.rs"]
mod accepting;
#[path = "unix/addresses.rs"]
mod addresses;
#[path = "unix/connecting.rs"]
mod connecting;
#[path = "unix/credentials.rs"]
mod credentials;
#[path = "unix/ending.rs"]
mod ending;
#[path = "unix/sharing.rs"]
mod sharing;

/// Far beyond what any test takes, in seconds: a hang is a failure.
const WATCHDOG: u64 = 30;

/// Runs `test` with a runtime, after which nothing may be registered with it.
#[track_caller]
fn stepping(test: impl FnOnce(&Runtime) + Send + 'static) {
    within::within(WATCHDOG, move || {
        let runtime = Runtime::new().unwrap();
        test(&runtime);
        assert_eq!(registrations(&runtime), 0, "left in the interest list");
    });
}

/// As [`stepping`], for a test that awaits.
#[track_caller]
fn running(test: impl AsyncFnOnce() + Send + 'static) {
    stepping(|runtime| runtime.block_on(test()));
}

/// Sockets in the runtime's interest list: proc_pid_fdinfo(5) has a line for each.
fn registrations(runtime: &Runtime) -> usize {
    let epoll = runtime.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{epoll}")).unwrap();
    let lines = info.lines().filter(|line| line.starts_with("tfd:"));
    lines.count() - 2 // Two are the runtime's own: an eventfd and a timerfd.
}

/// A folder for the sockets of one test, which goes when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let nth = MADE.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("reveille-unix-{}-{nth}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A connection through a listener: the end that connected, and the one accepted.
async fn ours(at: &Path) -> (UnixStream, UnixStream) {
    let listener = UnixListener::bind(at).unwrap();
    let client = UnixStream::connect(at).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (client, server)
}
