//! The runs: for each site the test binaries that concern its file, then all others, until one is red.
//!
//! Interface: [`run`] tells each verdict as it comes.
//! Invariant: a site is red only if a test fails with it and passes without it: the binaries are green without any site,
//! with as many runs at a time; and a failure is seen twice, the second time by that test alone or by the whole binary.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Instant;

use crate::sites::Site;
use crate::tree::{Built, VARIABLE};
use crate::verdicts::Verdict;

/// Seconds for a binary without a deletion.
const GREEN_LIMIT: u64 = 300;
/// Seconds for a binary with one, if it takes less than a quarter of that without.
const LEAST_LIMIT: u64 = 15;

/// Random cases and schedules: fewer than usual, because all of them run for each survivor.
const FEWER: [(&str, &str); 3] = [
    ("PROPTEST_CASES", "32"),
    ("REVEILLE_SCHEDULES", "100"),
    ("REVEILLE_CHAOS", "5"),
];

/// The beginning of a path, and what is run first for its sites.
const CONCERNED: &[(&str, &[&str])] = &[
    ("runtime/io/async_fd", &["async_fd", "fork"]),
    ("runtime/chaos", &["chaos", "lib"]),
    ("runtime/name/chunks", &["allocations", "lib"]),
    ("runtime/io/interest", &["async_fd"]),
    ("runtime/task/join", &["tasks", "tracing"]),
    (
        "runtime/io/reactor",
        &["async_fd", "scheduling", "time", "tasks"],
    ),
    ("runtime/io/registration", &["async_fd", "tcp", "fork"]),
    ("runtime/signal", &["signals"]),
    ("runtime/name/slab", &["tasks", "allocations", "lib"]),
    ("runtime/task/spawn", &["tasks", "tracing"]),
    ("runtime/sys", &["time", "fork", "signals"]),
    ("runtime/time/interval", &["time"]),
    ("runtime/time/clock", &["time"]),
    ("runtime/time/", &["time", "scheduling"]),
    ("runtime/io/waiters", &["async_fd", "lib"]),
    ("runtime/io/", &["async_fd", "tcp", "lib"]),
    ("runtime/name/waker", &["tasks", "cross_thread", "tracing"]),
    ("runtime/name/place", &["cross_thread", "tasks"]),
    ("runtime/", &["scheduling", "tasks", "time", "driving"]),
    ("net/", &["tcp", "fork"]),
];

/// Then these, the short ones first.
const OTHERS: &[&str] = &[
    "traits",
    "driving",
    "tracing",
    "scheduling",
    "time",
    "async_fd",
    "cross_thread",
    "chaos",
    "fork",
    "signals",
    "tasks",
    "allocations",
    "lib",
    "tcp",
];

/// Then these, for the sites of these files: they take long, and are about bytes and system calls.
const LONG: &[&str] = &["servers", "echo", "stranded", "refusals"];
const ABOUT_BYTES: &[&str] = &["net/", "runtime/io/", "runtime/sys"];

fn binaries(file: &str) -> Vec<&'static str> {
    let concerned = CONCERNED
        .iter()
        .find(|(beginning, _)| file.starts_with(beginning));
    let mut names: Vec<&str> = concerned.map_or(Vec::new(), |(_, names)| names.to_vec());
    let about_bytes = ABOUT_BYTES
        .iter()
        .any(|beginning| file.starts_with(beginning));
    let long: &[&str] = if about_bytes { LONG } else { &[] };
    for name in OTHERS.iter().chain(long) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names
}

/// Seconds for each binary: what takes longer hangs.
type Limits = HashMap<&'static str, u64>;

/// Runs the sites, so many at a time, and tells their verdicts in the order they come.
pub fn run(
    built: &Built,
    sites: Vec<(&Site, u32)>,
    lanes: usize,
    mut tell: impl FnMut(&Site, Verdict) -> Result<(), String>,
) -> Result<(), String> {
    let limits = &green(built, lanes)?;
    let total = sites.len();
    let each = |(site, switch)| (site, judge(built, limits, site, switch));
    let mut done = 0;
    in_lanes(lanes, sites, each, |(site, verdict)| {
        done += 1;
        println!("{done}/{total} {}: {}: {verdict}", site.file, site.key);
        tell(site, verdict)
    })
}

/// Without a site, as many at a time as will be: what is red now would make every site red.
fn green(built: &Built, lanes: usize) -> Result<Limits, String> {
    let mut limits = HashMap::new();
    let each = |name| {
        let start = Instant::now();
        (name, one(built, name, 0, GREEN_LIMIT, &[]), start.elapsed())
    };
    in_lanes(lanes, [OTHERS, LONG].concat(), each, |(name, red, took)| {
        limits.insert(name, LEAST_LIMIT.max(4 * took.as_secs()));
        red.map_or(Ok(()), |how| {
            Err(format!("red without a deletion: {name}: {how}"))
        })
    })?;
    Ok(limits)
}

/// Does all `work` on so many threads, and gives the results to `tell` on this one; stops at its first error.
fn in_lanes<W: Send, R: Send>(
    lanes: usize,
    work: Vec<W>,
    each: impl Fn(W) -> R + Sync,
    mut tell: impl FnMut(R) -> Result<(), String>,
) -> Result<(), String> {
    let queue = Mutex::new(VecDeque::from(work));
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..lanes {
            let (sender, queue, each) = (sender.clone(), &queue, &each);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().expect("no lane panics with it").pop_front();
                    let Some(next) = next else { return };
                    if sender.send(each(next)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        receiver.into_iter().try_for_each(&mut tell)
    })
}

fn judge(built: &Built, limits: &Limits, site: &Site, switch: u32) -> Verdict {
    for name in binaries(&site.file) {
        let limit = limits[name];
        let Some(how) = one(built, name, switch, limit, &[]) else {
            continue;
        };
        // A test alone, if it is known which; and with more patience, for the machine may be busy.
        let named = !how.contains(' ');
        let confirmed = named && one(built, name, switch, 3 * limit, &[&how, "--exact"]).is_some();
        if confirmed || one(built, name, switch, 3 * limit, &[]).is_some() {
            return Verdict::Red(format!("{name}: {how}"));
        }
    }
    Verdict::Survived
}

/// Runs one binary until a test fails; which, or what became of the binary: "it hung", "it died of 6".
fn one(built: &Built, name: &str, switch: u32, limit: u64, arguments: &[&str]) -> Option<String> {
    // Its own process group, which it kills as one.
    let mut child = Command::new("timeout")
        .args(["--signal=KILL", &limit.to_string()])
        .arg(built.binaries.get(name)?)
        .args(arguments)
        .current_dir(&built.tree)
        .env("CARGO_MANIFEST_DIR", &built.tree)
        .env(VARIABLE, switch.to_string())
        .env("RUST_BACKTRACE", "0")
        .envs(FEWER)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("coreutils have a timeout");
    let output = BufReader::new(child.stdout.take().expect("it is piped"));
    let failed = output.lines().map_while(Result::ok).find_map(|line| {
        let test = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(test.trim_end_matches(" - should panic").to_owned())
    });
    if failed.is_some() {
        let group = format!("-{}", child.id());
        let _over = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
    }
    let status = child.wait().expect("nobody else waits for it");
    let how = match (status.code(), status.signal()) {
        (Some(0), _) => return failed,
        (Some(137), _) | (_, Some(9)) => "it hung".to_owned(),
        (Some(code), _) => format!("it ended with {code}"),
        (None, signal) => format!("it died of {}", signal.unwrap_or(0)),
    };
    Some(failed.unwrap_or(how))
}
