//! Each example prints what its header says.
//!
//! A header has a block that begins with the command and goes on with what that prints, up to an
//! empty line or the end. An example that prints `listening on ...` is a server: it is given a free
//! port, or a path, and ended by SIGTERM once it has said so.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};

#[path = "support/limit.rs"]
mod limit;
#[path = "support/within.rs"]
mod within;

use limit::limit;
use within::within;

/// Catches: an example that does not compile, hangs, fails, or whose header tells a tale.
#[test]
fn every_example_prints_what_its_header_says() {
    let _limit = limit(300);
    let directory = build();
    let examples = examples();
    assert!(examples.len() >= 2, "{examples:?}");
    for (name, (command, expected)) in examples {
        if command.contains("--features") && !FEATURES {
            continue;
        }
        let program = directory.join(&name);
        let printed = within(60, move || {
            let server = expected.first().filter(|line| line.starts_with(LISTENING));
            let printed = match server {
                Some(line) => vec![first_line_of_server(&program, line)],
                None => output(&program),
            };
            (printed, expected)
        });
        let (printed, expected) = printed;
        assert_eq!(printed, expected, "examples/{name}.rs");
    }
}

const LISTENING: &str = "listening on ";

/// True if this was built with the features that examples need: with all, say.
const FEATURES: bool = cfg!(feature = "tokio-io");

/// The command of each example, and what it says that it prints.
fn examples() -> BTreeMap<String, (String, Vec<String>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let expected = expected(&name, &fs::read_to_string(&path).unwrap());
            (name, expected)
        })
        .collect()
}

/// The command, and the lines after it.
fn expected(name: &str, text: &str) -> (String, Vec<String>) {
    let mut lines = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line));
    let command = lines.find(|line| line.starts_with("cargo run "));
    let command = command.unwrap_or_else(|| panic!("examples/{name}.rs: no command in its header"));
    let ours = format!("--example {name}");
    assert!(command.contains(&ours), "examples/{name}.rs: {command}");
    let command = command.to_owned();
    let expected: Vec<_> = lines
        .take_while(|line| !line.is_empty() && !line.starts_with("```"))
        .map(str::to_owned)
        .collect();
    assert!(
        !expected.is_empty(),
        "examples/{name}.rs: what does it print?"
    );
    (command, expected)
}

/// Builds the examples where this test was built, and returns the directory they are in. `cargo
/// test` has done so before, but not `cargo test --test examples`.
fn build() -> PathBuf {
    let this = env::current_exe().unwrap();
    // target/debug/deps/this
    let profile = this.ancestors().nth(2).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "build",
        "--quiet",
        "--offline",
        "--examples",
        "--target-dir",
    ]);
    cargo.arg(profile.parent().unwrap());
    if FEATURES {
        cargo.args(["--features", "tokio-io"]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    assert!(
        cargo.status().unwrap().success(),
        "the examples do not compile"
    );
    profile.join("examples")
}

fn start(program: &Path, argument: Option<&str>) -> Child {
    let mut command = Command::new(program);
    command
        .args(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for the end. What it says on stderr is said again here, where libtest shows it if this test fails.
fn end(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn output(program: &Path) -> Vec<String> {
    let output = end(start(program, None));
    assert!(output.status.success(), "{program:?} failed");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// What a server says first, with what `told`, the line of its header, has in place of the real port or path.
fn first_line_of_server(program: &Path, told: &str) -> String {
    let path = env::temp_dir().join(format!("reveille-example-{}", process::id()));
    let path = path.to_str().unwrap();
    let is_path = told[LISTENING.len()..].starts_with('/');
    let mut child = start(program, Some(if is_path { path } else { "127.0.0.1:0" }));
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: kill(2) takes two integers; the child was not waited for, so the number is its own.
    let killed = unsafe { libc::kill(pid, libc::SIGTERM) };
    assert_eq!(killed, 0);
    // A server that does nothing about the signal is ended by it.
    let status = end(child).status;
    let ended = status.success() || status.signal() == Some(libc::SIGTERM);
    assert!(ended, "{program:?} did not end well: {status}");
    let line = line.trim_end();
    if is_path {
        assert!(!Path::new(path).exists(), "{program:?} leaves its file");
        return line.replace(path, &told[LISTENING.len()..]);
    }
    let real = port(line);
    assert_ne!(real.parse::<u16>().unwrap(), 0);
    line.replace(&format!(":{real}"), &format!(":{}", port(told)))
}

/// What follows the last colon.
fn port(line: &str) -> &str {
    line.rsplit_once(':').map_or("", |(_, port)| port)
}
