//! The path of one echo: which files a connection enters from bind to close, counted and not guessed.
//!
//! `REVEILLE_PATH=write cargo test --test path` runs [`one_echo`] under valgrind, sees which lines of the
//! library ran, and writes the table into README.md; `REVEILLE_PATH=check` only compares. Without either, what
//! the table says is held against the files. A function counts as entered if one of its lines ran, and then
//! counts whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::{env, fs, thread};

use limit::limit;
use reveille::net::TcpListener;
use reveille::runtime::Handle;

/// In the order in which an echo comes to them, with what each is.
const FILES: [(&str, &str); 34] = [
    ("runtime/run.rs", "`block_on`, and the loop"),
    (
        "runtime/core.rs",
        "the parts of a runtime, and the steps between them",
    ),
    (
        "runtime/sys/fork.rs",
        "is this process the child of a fork? asked before all else",
    ),
    (
        "runtime/name/place.rs",
        "where other threads reach a runtime: its inbox",
    ),
    ("runtime/pool.rs", "threads for blocking work: none is made"),
    ("runtime/context.rs", "which runtime runs on this thread"),
    ("runtime/task/executor.rs", "which task is polled next"),
    ("runtime/task/queue.rs", "the run queue, a ring"),
    (
        "runtime/name/slab.rs",
        "names, and the slab that finds the thing or nothing",
    ),
    ("runtime/name/chunks.rs", "the slab's memory after a burst"),
    (
        "runtime/name/waker.rs",
        "a `Waker` is 64 bits and owns nothing",
    ),
    ("runtime/budget.rs", "how much of one poll a task may spend"),
    ("runtime/chaos.rs", "choices that a test may shuffle: off"),
    ("net/sys/socket.rs", "bind, listen, accept"),
    (
        "net/sys/mod.rs",
        "how a system call is made and its error named",
    ),
    ("net/sys/address.rs", "addresses as the kernel has them"),
    ("net/tcp/listener.rs", "bind; the rest is the engine's"),
    ("net/accept.rs", "accept, and its errors, for any listener"),
    (
        "runtime/io/async_fd.rs",
        "`AsyncFd`, what users see of the reactor",
    ),
    ("runtime/io/operation.rs", "an operation as a future"),
    (
        "runtime/io/registration.rs",
        "try, and wait only if it would block",
    ),
    ("runtime/io/decision.rs", "may it be tried?"),
    ("runtime/io/interest.rs", "what one may wait for"),
    (
        "runtime/io/sources.rs",
        "what is ready, and which task waits for it",
    ),
    (
        "runtime/io/waiters.rs",
        "the tasks that wait for one descriptor",
    ),
    ("runtime/io/reactor.rs", "epoll events into wakes"),
    ("runtime/sys/epoll.rs", "epoll's system calls"),
    ("runtime/time/timers.rs", "a heap of deadlines: empty"),
    ("runtime/observe.rs", "tracing, here without a subscriber"),
    (
        "runtime/task/cell.rs",
        "a future, then its output, in one allocation",
    ),
    (
        "net/stream.rs",
        "read and write, once for every kind of stream",
    ),
    (
        "runtime/task/outcome.rs",
        "from the end of a task to its handle",
    ),
    ("runtime/task/join.rs", "the handle"),
    ("runtime/task/shutdown.rs", "the end of the tasks"),
];

/// Files of fewer entered lines share a row.
const FEW: usize = 22;

const BEGIN: &str = "<!-- The path of one echo: written by tests/path.rs. -->";
const END: &str = "<!-- End of the path. -->";

/// Bind, accept, spawn, read 5 bytes, write them, read the end, close. The client does each thing when the
/// server sleeps, so that the path is the same each time: everything is waited for once.
#[test]
fn one_echo() {
    let _limit = limit(60);
    reveille::block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let runtime = Handle::current();
        let sleeps = move |times| {
            while runtime.metrics().parks < times {
                thread::yield_now();
            }
        };
        let client = thread::spawn(move || {
            sleeps(1);
            let mut client = std::net::TcpStream::connect(address).unwrap();
            sleeps(2);
            client.write_all(b"hello").unwrap();
            let mut echo = [0; 5];
            client.read_exact(&mut echo).unwrap();
            sleeps(3);
            echo
        });
        let (stream, _) = listener.accept().await.unwrap();
        let echo = reveille::spawn(async move {
            let mut buf = [0; 64];
            while let Ok(n @ 1..) = stream.read(&mut buf).await {
                stream.write_all(&buf[..n]).await.unwrap();
            }
        });
        echo.await.unwrap();
        assert_eq!(&client.join().unwrap(), b"hello");
    });
}

#[test]
fn the_table_in_the_readme_is_the_path_of_one_echo() {
    let _limit = limit(300);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = root.join("README.md");
    let text = fs::read_to_string(&readme).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the README has the table");
    let (table, after) = rest.split_once(END).expect("the table has an end");
    let Ok(how) = env::var("REVEILLE_PATH") else {
        return plausible(root, table);
    };
    let fresh = || Ok::<_, String>(format!("\n{}", render(root, &entered(root))?));
    match how.as_str() {
        "write" => {
            let fresh = fresh().unwrap();
            fs::write(&readme, format!("{before}{BEGIN}{fresh}{END}{after}")).unwrap();
        }
        "check" => {
            // A busy machine may let a step of the client come too late, and the path is another.
            let tries: Vec<_> = (0..3).map(|_| fresh()).collect();
            let is_it = tries.contains(&Ok(table.to_owned()));
            assert!(
                is_it,
                "stale: REVEILLE_PATH=write cargo test --test path: {tries:#?}"
            );
        }
        _ => panic!("REVEILLE_PATH is `write` or `check`"),
    }
}

/// What can be said of the table without valgrind: each row names a file, and no more than that has.
fn plausible(root: &Path, table: &str) {
    let mut rows = 0;
    for row in table.lines().filter(|row| row.starts_with("| [`")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let file = cells[1].split('`').nth(1).unwrap();
        let spans = functions(&fs::read_to_string(root.join(file)).unwrap());
        let (functions, lines) = (cells[3].parse::<usize>(), cells[4].parse::<usize>());
        let most: usize = spans.iter().map(|(first, last)| last - first + 1).sum();
        assert!((1..=spans.len()).contains(&functions.unwrap()), "{row}");
        assert!((FEW..=most).contains(&lines.unwrap()), "{row}");
        rows += 1;
    }
    assert_eq!(rows, FILES.len());
    // The last two rows: the short files, each of which is there, and the sums.
    let last: Vec<&str> = table.lines().rev().take(2).collect();
    let short: Vec<&str> = last[1].split('`').skip(1).step_by(2).collect();
    assert!(
        short.iter().all(|file| root.join(file).is_file()),
        "{short:?}"
    );
    let cell = |row: &str, n: usize| {
        let cell = row.split('|').nth(n).unwrap_or("").trim().trim_matches('*');
        cell.parse::<usize>().unwrap_or(0)
    };
    for column in [3, 4] {
        let sum: usize = table.lines().map(|row| cell(row, column)).sum();
        assert_eq!(sum, 2 * cell(last[0], column), "the sum of a column");
    }
    assert!(
        last[0].contains(&format!("{} files", rows + short.len())),
        "{}",
        last[0]
    );
}

/// By file: entered functions, and their lines.
type Entered = BTreeMap<String, (usize, usize)>;

fn entered(root: &Path) -> Entered {
    let out = env::temp_dir().join(format!("reveille-path-{}", std::process::id()));
    fs::create_dir_all(&out).unwrap();
    let ran = Command::new("valgrind")
        .args([
            "-q",
            "--tool=callgrind",
            "--dump-line=yes",
            "--compress-strings=no",
        ])
        .args(["--compress-pos=no", "--separate-threads=yes"])
        .arg(format!("--callgrind-out-file={}/out", out.display()))
        .arg(env::current_exe().unwrap())
        .args(["one_echo", "--exact", "--test-threads=1"])
        .output()
        .expect("valgrind is there");
    assert!(
        ran.status.success(),
        "{}",
        String::from_utf8_lossy(&ran.stderr)
    );
    // Of the thread that ran the runtime; what the client's called is no part of the path.
    let threads = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let profile = threads
        .map(|thread| fs::read_to_string(thread).unwrap())
        .find(|profile| profile.contains("run_until_main"))
        .expect("one thread ran the runtime");
    let _removed = fs::remove_dir_all(&out);
    let mut entered = Entered::new();
    for (file, lines) in lines_that_ran(root, &profile) {
        let spans = functions(&fs::read_to_string(root.join(&file)).unwrap());
        let ran = |(first, last): &&(usize, usize)| lines.range(first..=last).next().is_some();
        let spans: Vec<_> = spans.iter().filter(ran).collect();
        let sum = spans.iter().map(|(first, last)| last - first + 1).sum();
        if !spans.is_empty() {
            entered.insert(file, (spans.len(), sum));
        }
    }
    entered
}

/// Of a callgrind.out file: `fl=FILE` and its kin name the file of the lines below; a line that begins with a
/// number is a cost, but for the one after `calls=`, which belongs to what is called.
fn lines_that_ran(root: &Path, profile: &str) -> BTreeMap<String, BTreeSet<usize>> {
    let mut ran: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    let mut file = None;
    let mut call = false;
    for line in profile.lines() {
        if let Some((key, name)) = line.split_once('=') {
            match key {
                "fl" | "fi" | "fe" => file = in_the_library(root, name),
                "calls" => call = true,
                _ => {}
            }
        } else if let Some(number) = line.split(' ').next().and_then(|word| word.parse().ok()) {
            // The line of the call itself ran in the caller, which has other costs there. The caller may be none of ours.
            let is_call = std::mem::take(&mut call);
            if let Some(file) = file.clone().filter(|_| !is_call) {
                ran.entry(file).or_default().insert(number);
            }
        }
    }
    ran
}

/// The path from the root of a file of the library.
fn in_the_library(root: &Path, name: &str) -> Option<String> {
    let path = Path::new(name);
    let path = path.strip_prefix(root).unwrap_or(path).to_str()?;
    let ours = ["runtime/", "net/"]
        .iter()
        .any(|folder| path.starts_with(folder));
    (ours || path == "lib.rs").then(|| path.to_owned())
}

/// The first and the last line of each function, as rustfmt has them: the last closes the brace at the
/// indentation of the first. A function in another is a part of that.
fn functions(text: &str) -> Vec<(usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut spans: Vec<(usize, usize)> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let is_head = !code.starts_with("//")
            && code.split_once("fn ").is_some_and(|(before, _)| {
                let words = ["pub", "const", "async", "unsafe", "extern", "\"C\""];
                before.split_whitespace().all(|word| {
                    words.contains(&word) || word.starts_with("pub(") || word == "crate)"
                })
            });
        let inside = spans.last().is_some_and(|(_, last)| at < *last);
        if !is_head || inside {
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let close = format!("{indent}}}");
        let end = match line.ends_with("{}") {
            true => Some(0),
            false => lines[at..].iter().position(|line| *line == close),
        };
        let declared = lines[at..].iter().position(|line| line.ends_with(';'));
        // One of a trait, without a body.
        if declared.is_some_and(|semicolon| {
            !lines[at..=at + semicolon]
                .iter()
                .any(|line| line.contains('{'))
        }) {
            continue;
        }
        if let Some(end) = end {
            spans.push((at + 1, at + end + 1));
        }
    }
    spans
}

fn render(root: &Path, entered: &Entered) -> Result<String, String> {
    let mut text = String::from(
        "| file | lines | functions entered | their lines | what it is |\n|---|---:|---:|---:|---|\n",
    );
    let is_long = |file: &str| entered.get(file).is_some_and(|(_, lines)| *lines >= FEW);
    for (file, what) in FILES {
        if !is_long(file) {
            return Err(format!(
                "{file} has no row of its own: {:?}",
                entered.get(file)
            ));
        }
        let (functions, lines) = entered[file];
        let all = fs::read_to_string(root.join(file)).unwrap().lines().count();
        text += &format!("| [`{file}`]({file}) | {all} | {functions} | {lines} | {what} |\n");
    }
    let known = |file: &str| FILES.iter().any(|(known, _)| *known == file);
    let new: Vec<_> = entered
        .iter()
        .filter(|(file, _)| is_long(file) && !known(file))
        .collect();
    if !new.is_empty() {
        return Err(format!("not in FILES: {new:#?}"));
    }
    let rest: Vec<_> = entered.iter().filter(|(file, _)| !is_long(file)).collect();
    let functions: usize = rest.iter().map(|(_, (functions, _))| functions).sum();
    let lines: usize = rest.iter().map(|(_, (_, lines))| lines).sum();
    let names: Vec<_> = rest
        .iter()
        .map(|(file, _)| format!("[`{file}`]({file})"))
        .collect();
    text += &format!(
        "| and {} | | {functions} | {lines} | a few lines each |\n",
        names.join(", ")
    );
    let functions: usize = entered.values().map(|(functions, _)| functions).sum();
    let lines: usize = entered.values().map(|(_, lines)| lines).sum();
    text += &format!(
        "| **{} files** | | **{functions}** | **{lines}** | |\n",
        entered.len()
    );
    Ok(text)
}

#[path = "support/limit.rs"]
mod limit;
