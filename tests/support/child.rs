//! Tests that change what belongs to the whole process run alone in a process of their own.

use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::process::{self, Command, ExitStatus, Stdio};
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
///
/// What the child says is said again here, where libtest shows it if this test fails.
#[track_caller]
pub(crate) fn child(name: &str, body: impl FnOnce()) -> Option<ExitStatus> {
    if env::var_os(MARK).is_some_and(|mark| mark == name) {
        body();
        return None;
    }
    let mut said = nameless(name);
    let mut child = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .stdin(Stdio::null())
        .stdout(said.try_clone().unwrap())
        .stderr(said.try_clone().unwrap())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break Some(status);
        }
        if start.elapsed() > LIMIT {
            child.kill().unwrap();
            child.wait().unwrap();
            break None;
        }
        thread::sleep(Duration::from_millis(2));
    };
    let mut text = Vec::new();
    said.rewind().unwrap();
    said.read_to_end(&mut text).unwrap();
    let text = String::from_utf8_lossy(&text);
    print!("{text}");
    let Some(status) = status else {
        panic!("the child of `{name}` hung");
    };
    let ran = !status.success() || text.contains("1 passed");
    assert!(ran, "no test has the name `{name}`");
    Some(status)
}

/// A file for what a child says. It takes all of it, read or not, and ends with the child, though a grandchild
/// may hold it open; a pipe would not.
fn nameless(test: &str) -> File {
    let path = env::temp_dir().join(format!("reveille-{}-{test}", process::id()));
    let mut options = File::options();
    let file = options.read(true).append(true).create_new(true).open(&path);
    let file = file.unwrap();
    fs::remove_file(path).unwrap();
    file
}
