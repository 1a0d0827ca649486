//! The copy of the project in which every site has a switch.
//!
//! Interface: [`build`] makes the copy under target/deletions/, finds out which sites compile, and builds the tests.
//! Invariant: with no site chosen the copy behaves as the project does.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::sites::{Key, Site};

/// The environment variable that holds the number of the site to delete.
pub const VARIABLE: &str = "REVEILLE_DELETION";

/// What asks it. The first to ask is no signal handler and no forked child: a runtime was built before.
const SWITCH: &str = r#"
#[doc(hidden)]
#[allow(missing_docs)]
pub mod deletion {
    pub fn kept(site: u32) -> bool {
        static CHOSEN: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
        let number = || std::env::var("REVEILLE_DELETION").ok()?.parse().ok();
        site != *CHOSEN.get_or_init(|| number().unwrap_or(0))
    }
}
"#;

/// A copy that is built.
pub struct Built {
    pub tree: PathBuf,
    /// The number of each site that compiles; 0 is none.
    pub switches: HashMap<Key, u32>,
    /// Test binaries by name; that of the library is "lib".
    pub binaries: BTreeMap<String, PathBuf>,
}

/// A site inside the text as it was written out.
struct Switched<'a> {
    site: &'a Site,
    number: u32,
    /// Bytes of the copy's file.
    start: usize,
    end: usize,
}

/// What is known not to compile gets no switch.
pub fn build(root: &Path, sites: &[Site], mut dropped: HashSet<Key>) -> Result<Built, String> {
    let tree = root.join("target/deletions/tree");
    copy(root, &tree)?;
    let mut lib = read(&root.join("lib.rs"))?;
    lib.push_str(SWITCH);
    write(&tree.join("lib.rs"), &lib)?;
    loop {
        let switched = switch_all(root, &tree, sites, &dropped)?;
        let errors = compile_errors(&tree)?;
        if errors.is_empty() {
            let switches = switched
                .iter()
                .map(|at| (at.site.key.clone(), at.number))
                .collect();
            let binaries = build_tests(&tree)?;
            return Ok(Built {
                tree,
                switches,
                binaries,
            });
        }
        let before = dropped.len();
        for error in &errors {
            blame(error, &switched, &mut dropped);
        }
        println!(
            "{} sites do not compile behind a switch so far",
            dropped.len()
        );
        if dropped.len() == before {
            return Err(format!(
                "no site explains: {}",
                errors[0]["rendered"].as_str().unwrap_or("?")
            ));
        }
    }
}

/// What git knows or could add, with new dates: cargo compares them.
fn copy(root: &Path, tree: &Path) -> Result<(), String> {
    let script = r#"
        set -euo pipefail
        rm -rf "$1"; mkdir -p "$1"
        git ls-files -z --cached --others --exclude-standard |
            while IFS= read -r -d '' path; do if [ -e "$path" ]; then printf '%s\0' "$path"; fi; done |
            tar --create --null --files-from - | tar --extract -m --directory "$1"
    "#;
    let mut command = Command::new("bash");
    command
        .current_dir(root)
        .args(["-c", script, "copy"])
        .arg(tree);
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("the project could not be copied: {other:?}")),
    }
}

/// Writes the files anew, with a switch around each site but the dropped.
fn switch_all<'a>(
    root: &Path,
    tree: &Path,
    sites: &'a [Site],
    dropped: &HashSet<Key>,
) -> Result<Vec<Switched<'a>>, String> {
    let mut by_file: BTreeMap<&str, Vec<(u32, &Site)>> = BTreeMap::new();
    for (number, site) in (1..).zip(sites) {
        let of_file = by_file.entry(&site.file).or_default();
        if !dropped.contains(&site.key) {
            of_file.push((number, site));
        }
    }
    let mut all = Vec::new();
    for (file, sites) in by_file {
        let text = read(&root.join(file))?;
        let mut pieces = Vec::new();
        for (at, (number, site)) in sites.iter().enumerate() {
            let (before, behind) = site.key.kind.switched(*number);
            let (start, end) = (site.range.start, site.range.end);
            // At one byte: what closes stands before what opens; outer opens first and closes last.
            pieces.push((start, 1, usize::MAX - end, at, before));
            pieces.push((end, 0, usize::MAX - start, usize::MAX - at, behind));
        }
        pieces.sort();
        let mut copy = String::new();
        let mut bounds = vec![(0, 0); sites.len()];
        let mut done = 0;
        for (place, opens, _, at, piece) in pieces {
            copy += &text[done..place];
            done = place;
            if opens == 1 {
                bounds[at].0 = copy.len();
            }
            copy += &piece;
            if opens == 0 {
                bounds[usize::MAX - at].1 = copy.len();
            }
        }
        copy += &text[done..];
        write(&tree.join(file), &copy)?;
        let switched = sites
            .iter()
            .zip(bounds)
            .map(|(&(number, site), (start, end))| Switched {
                site,
                number,
                start,
                end,
            });
        all.extend(switched);
    }
    Ok(all)
}

/// Drops the innermost site that an error lies in; failing that, all of the function.
fn blame(error: &Value, switched: &[Switched<'_>], dropped: &mut HashSet<Key>) {
    let before = dropped.len();
    let mut spans = Vec::new();
    spans_of(error, &mut spans);
    for (file, start, end) in &spans {
        let around = switched
            .iter()
            .filter(|at| at.site.file == *file && at.start <= *start && *end <= at.end)
            .min_by_key(|at| at.end - at.start);
        if let Some(at) = around {
            dropped.insert(at.site.key.clone());
        }
    }
    if dropped.len() > before {
        return;
    }
    for (file, start, _) in &spans {
        // The sites of a function lie together: the nearest before the error names it.
        let near = switched
            .iter()
            .filter(|at| at.site.file == *file)
            .min_by_key(|at| at.start.abs_diff(*start));
        if let Some(near) = near {
            let same = |at: &&Switched<'_>| {
                at.site.file == *file && at.site.function == near.site.function
            };
            dropped.extend(switched.iter().filter(same).map(|at| at.site.key.clone()));
        }
    }
}

/// File, first byte and the byte behind the last, of each span of a message.
fn spans_of(message: &Value, into: &mut Vec<(String, usize, usize)>) {
    for span in message["spans"].as_array().into_iter().flatten() {
        let number = |name: &str| span[name].as_u64().map(|n| n as usize);
        if let (Some(file), Some(start), Some(end)) = (
            span["file_name"].as_str(),
            number("byte_start"),
            number("byte_end"),
        ) {
            into.push((file.into(), start, end));
        }
    }
}

fn cargo(tree: &Path, arguments: &[&str]) -> Result<Vec<Value>, String> {
    let mut command = Command::new("cargo");
    command
        .current_dir(tree)
        .args(arguments)
        .args(["--locked", "--message-format=json"])
        .env("CARGO_TARGET_DIR", tree.with_file_name("target"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        // Many runs of one build.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
        .stdin(Stdio::null())
        .stderr(Stdio::null());
    let output = command
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(lines
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

fn compile_errors(tree: &Path) -> Result<Vec<Value>, String> {
    let messages = cargo(tree, &["check", "--lib"])?;
    let errors = messages.into_iter().filter_map(|line| {
        let message = line.get("message")?.clone();
        let spans = message["spans"]
            .as_array()
            .is_some_and(|spans| !spans.is_empty());
        (message["level"] == "error" && spans).then_some(message)
    });
    Ok(errors.collect())
}

/// The tests, and the examples that tests run.
fn build_tests(tree: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut binaries = BTreeMap::new();
    let mut complaints = String::new();
    for line in cargo(
        tree,
        &["test", "--no-run", "--lib", "--tests", "--examples"],
    )? {
        if line["message"]["level"] == "error" {
            let _written = writeln!(
                complaints,
                "{}",
                line["message"]["rendered"].as_str().unwrap_or("?")
            );
        }
        if line["profile"]["test"] != true {
            continue;
        }
        let (Some(path), Some(name)) =
            (line["executable"].as_str(), line["target"]["name"].as_str())
        else {
            continue;
        };
        let library = line["target"]["kind"][0] == "lib";
        let name = if library { "lib" } else { name };
        if line["target"]["kind"][0] != "example" {
            binaries.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    if complaints.is_empty() && !binaries.is_empty() {
        Ok(binaries)
    } else {
        Err(format!(
            "the tests do not build behind switches\n{complaints}"
        ))
    }
}

pub fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

pub fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
