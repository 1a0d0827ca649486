//! A test that needs a process of its own.

use std::env;
use std::process::Command;

/// Seconds until SIGALRM ends a process that hangs.
pub(crate) const LIMIT: u32 = 180;

/// Runs `body` in a process that runs this one test only: descriptors, places, signals and forks
/// of other tests do not disturb it, nor it them.
#[track_caller]
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    alone_with(&[], test, body);
}

/// As [`alone`], with these variables in the environment.
#[track_caller]
pub(crate) fn alone_with(environment: &[(&str, &str)], test: &str, body: impl FnOnce()) {
    const ALONE: &str = "REVEILLE_TEST_ALONE";
    if env::var_os(ALONE).is_some_and(|name| name == test) {
        set_alarm(LIMIT);
        return body();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(ALONE, test)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    assert!(out.contains("1 passed"), "no test of that name ran: {out}");
}

/// Ends this process by SIGALRM, unless it ends before.
pub(crate) fn set_alarm(seconds: u32) {
    // SAFETY: alarm(2) takes an integer and touches no memory; no handler is installed, so that no
    // code runs in signal context.
    let _before = unsafe { libc::alarm(seconds) };
}
