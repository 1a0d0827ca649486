//! The copy of the project in which every site has a switch.
//!
//! Interface: [`build`] makes the copy under target/deletions/, finds out which sites compile, and builds the tests.
//! Invariant: with no site chosen the copy behaves as the project does.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::sites::{Key, Site};

/// The environment variable that holds the number of the site to delete.
pub const VARIABLE: &str = "REVEILLE_DELETION";

/// What asks it. The first to ask is no signal handler and no forked child: a runtime was built before.
const SWITCH: &str = r#"
#[doc(hidden)]
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

/// The sources with switches, as they were written out.
struct Copied<'a> {
    switched: Vec<Switched<'a>>,
    /// By file: behind each inserted piece, the byte of the copy and that of the source.
    places: HashMap<String, Vec<(usize, usize)>>,
    /// Those with sites, of all files.
    functions: BTreeSet<(String, usize, usize)>,
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
    let mut doubtful = Doubtful::new();
    loop {
        let copied = switch_all(root, &tree, sites, &dropped)?;
        let errors = compile_errors(&tree)?;
        if errors.is_empty() {
            break;
        }
        let before = dropped.len();
        for error in &errors {
            blame(error, &copied, &mut dropped, &mut doubtful);
        }
        if dropped.len() == before {
            return Err(unexplained(&errors));
        }
    }
    println!("{} sites do not compile behind a switch", dropped.len());
    let switched = try_doubtful(root, &tree, sites, &mut dropped, doubtful)?;
    println!("{} of them for certain", dropped.len());
    let switches = switched
        .iter()
        .map(|at| (at.site.key.clone(), at.number))
        .collect();
    let binaries = build_tests(&tree)?;
    Ok(Built {
        tree,
        switches,
        binaries,
    })
}

/// A file and the bytes of a function in it.
type Function = (String, Range<usize>);

/// Sites of a function that has an error which another of its sites may explain.
type Doubtful = BTreeMap<(String, usize), Vec<Key>>;

/// Tries them again, one of each function at a time: what compiles with those that do is kept.
fn try_doubtful<'a>(
    root: &Path,
    tree: &Path,
    sites: &'a [Site],
    dropped: &mut HashSet<Key>,
    mut doubtful: Doubtful,
) -> Result<Vec<Switched<'a>>, String> {
    loop {
        let mut tried: HashMap<_, _> = doubtful
            .iter_mut()
            .filter_map(|(function, keys)| Some((function.clone(), keys.pop()?)))
            .collect();
        for key in tried.values() {
            dropped.remove(key);
        }
        let last = tried.is_empty();
        loop {
            let copied = switch_all(root, tree, sites, dropped)?;
            let errors = compile_errors(tree)?;
            if errors.is_empty() {
                if last {
                    return Ok(copied.switched);
                }
                break;
            }
            let functions = errors.iter().flat_map(|error| functions_of(error, &copied));
            let guilty: Vec<Key> = functions
                .filter_map(|(file, range)| tried.remove(&(file, range.start)))
                .collect();
            if guilty.is_empty() {
                return Err(unexplained(&errors));
            }
            dropped.extend(guilty);
        }
    }
}

fn unexplained(errors: &[Value]) -> String {
    let text = errors.first().and_then(|error| error["rendered"].as_str());
    format!("no site explains: {}", text.unwrap_or("?"))
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
) -> Result<Copied<'a>, String> {
    let mut by_file: BTreeMap<&str, Vec<(u32, &Site)>> = BTreeMap::new();
    for (number, site) in (1..).zip(sites) {
        let of_file = by_file.entry(&site.file).or_default();
        if !dropped.contains(&site.key) {
            of_file.push((number, site));
        }
    }
    let mut all = Vec::new();
    let mut places = HashMap::new();
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
        let mut behind = vec![(0, 0)];
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
            behind.push((copy.len(), place));
        }
        copy += &text[done..];
        write(&tree.join(file), &copy)?;
        places.insert(file.to_owned(), behind);
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
    let functions = sites
        .iter()
        .map(|site| (site.file.clone(), site.function.start, site.function.end));
    Ok(Copied {
        switched: all,
        places,
        functions: functions.collect(),
    })
}

/// Drops the innermost site around an error of types, which it explains. Of any other error, such as the use of what was
/// moved, all sites of the function are dropped, and doubtful.
fn blame(error: &Value, copied: &Copied<'_>, dropped: &mut HashSet<Key>, doubtful: &mut Doubtful) {
    let code = error["code"]["code"].as_str().unwrap_or_default();
    if ["E0308", "E0317"].contains(&code) {
        let mut found = false;
        for (file, start, end) in spans_of(error) {
            let around = copied
                .switched
                .iter()
                .filter(|at| at.site.file == file && at.start <= start && end <= at.end)
                .min_by_key(|at| at.end - at.start);
            if let Some(at) = around {
                found = true;
                dropped.insert(at.site.key.clone());
            }
        }
        if found {
            return;
        }
    }
    for (file, range) in functions_of(error, copied) {
        let same = |at: &&Switched<'_>| at.site.file == file && at.site.function == range;
        for at in copied.switched.iter().filter(same) {
            if dropped.insert(at.site.key.clone()) {
                let of_function = doubtful.entry((file.clone(), range.start)).or_default();
                of_function.push(at.site.key.clone());
            }
        }
    }
}

/// The functions that an error speaks of.
fn functions_of(error: &Value, copied: &Copied<'_>) -> Vec<Function> {
    let function = |(file, start, _): (String, usize, usize)| {
        let places = copied.places.get(&file)?;
        let next = places.partition_point(|(at, _)| *at <= start);
        let (in_copy, in_source) = places[next - 1];
        // Not beyond the next piece, in which it may lie.
        let most = places.get(next).map_or(usize::MAX, |(_, source)| *source);
        let source = (in_source + (start - in_copy)).min(most);
        let around = |(of, begins, ends): &&(String, usize, usize)| {
            *of == file && *begins <= source && source < *ends
        };
        let innermost = copied
            .functions
            .iter()
            .filter(around)
            .min_by_key(|(_, a, b)| b - a)?;
        Some((file, innermost.1..innermost.2))
    };
    spans_of(error).into_iter().filter_map(function).collect()
}

/// File, first byte and the byte behind the last, of each span of a message.
fn spans_of(message: &Value) -> Vec<(String, usize, usize)> {
    let spans = message["spans"].as_array().into_iter().flatten();
    let span = |span: &Value| {
        let number = |name: &str| span[name].as_u64().map(|n| n as usize);
        let file = span["file_name"].as_str()?.to_owned();
        Some((file, number("byte_start")?, number("byte_end")?))
    };
    spans.filter_map(span).collect()
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
