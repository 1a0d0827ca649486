//! Tests that change what belongs to the whole process run alone in a process of their own.

use std::env;
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Names the test that a child was started for.
const MARK: &str = "REVEILLE_CHILD";

/// A child may take this long: 50 times what the slowest one needs, so that a hang is a failure.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs `body` in a child that runs the test `name` and no other, and expects it to succeed.
#[track_caller]
pub(crate) fn in_child(name: &str, body: impl FnOnce()) {
    if let Some(status) = child(name, body) {
        assert!(status.success(), "the child of `{name}` failed: {status}");
    }
}

/// As [`in_child`]; how the child ended is for the caller to judge. `None` in the child.
#[track_caller]
pub(crate) fn child(name: &str, body: impl FnOnce()) -> Option<ExitStatus> {
    if env::var_os(MARK).is_some_and(|mark| mark == name) {
        body();
        return None;
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the child of `{name}` hung");
        }
        thread::sleep(Duration::from_millis(2));
    }
}
