//! Which file of the library knows which: inside runtime/ imports run downwards, and net/ stands on what its
//! page says.
//!
//! An edge is a `use` or a path that begins with `crate` or `super`. (An `impl X` outside the file of `X` needs
//! `X` in scope, so it is an edge already.) A path through a `mod.rs` leads to the file that the `mod.rs` has
//! the name from.

use std::collections::{BTreeMap, BTreeSet};

use super::Tree;
use super::source::code;

/// The files of runtime/, the topmost first: each may know those below it. What stands in `mod.rs` files
/// without code of their own is no file here.
pub(super) const ORDER: [&str; 46] = [
    "builder",
    "signal",
    "coop",
    "task/join_set",
    "run",
    "io/async_fd",
    "io/operation",
    "io/registration",
    "handle",
    "task/spawn",
    "task/join",
    "time/interval",
    "time/timeout",
    "time/sleep",
    "context",
    "core",
    "io/reactor",
    "task/shutdown",
    "task/outcome",
    "task/executor",
    "name/waker",
    "name/place",
    "time/timers",
    "time/clock",
    "task/yield_now",
    "task/cell",
    "task/id",
    "io/sources",
    "io/waiters",
    "name/slab",
    "name/chunks",
    "io/decision",
    "io/errors",
    "io/interest",
    "observe",
    "user_code",
    "options",
    "metrics",
    "budget",
    "sys/signal",
    "sys/fork",
    "sys/epoll",
    "sys/eventfd",
    "sys/slack",
    "sys/mod",
    "chaos",
];

/// The edges that run upwards: from, to, why.
pub(super) const UPWARDS: [(&str, &str, &str); 1] = [(
    "name/waker",
    "context",
    "a wake has nothing but the bits of its waker, and must ask which runtime runs here",
)];

/// What net/ may know of the rest: the public doors, and one thing that is not public, from one file.
const DOORS: [&str; 6] = [
    "crate::io::",
    "crate::time::",
    "crate::task::coop::",
    "crate::runtime::Handle",
    "crate::unit::",
    "crate::net::",
];
const INTERNAL: (&str, &str) = ("net/stream.rs", "crate::runtime::io::operation");

pub(super) fn imports(tree: &Tree) -> Vec<String> {
    upwards(tree, &ORDER, &UPWARDS)
        .into_iter()
        .chain(doors(tree))
        .collect()
}

/// Edges that run upwards and are not in the table, and rows of the table that are no such edge.
pub(super) fn upwards(tree: &Tree, order: &[&str], table: &[(&str, &str, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let floors: BTreeMap<&str, usize> = order.iter().zip(0..).map(|(file, n)| (*file, n)).collect();
    let mut found = BTreeSet::new();
    let files: BTreeSet<String> = files(tree).map(|(file, _)| file.to_owned()).collect();
    for file in &files {
        if !floors.contains_key(file.as_str()) {
            complaints.push(format!(
                "runtime/{file}.rs has no place in the order of imports"
            ));
        }
    }
    for file in order.iter().filter(|file| !files.contains(**file)) {
        complaints.push(format!(
            "runtime/{file}.rs is in the order of imports, and not there"
        ));
    }
    for (from, to) in edges(tree) {
        let (Some(above), Some(below)) = (floors.get(from.as_str()), floors.get(to.as_str()))
        else {
            continue;
        };
        if above > below {
            found.insert((from, to));
        }
    }
    let listed: BTreeSet<(String, String)> = table
        .iter()
        .map(|(from, to, _)| ((*from).to_owned(), (*to).to_owned()))
        .collect();
    for (from, to) in found.difference(&listed) {
        complaints.push(format!("runtime/{from}.rs imports upwards, from {to}"));
    }
    for (from, to) in listed.difference(&found) {
        complaints.push(format!(
            "no import of {from} from {to} runs upwards: strike it out"
        ));
    }
    if table.len() > 5 {
        complaints.push("more than five imports run upwards".to_owned());
    }
    complaints
}

/// The files of runtime/ with code of their own, by their path there without the ending.
fn files(tree: &Tree) -> impl Iterator<Item = (&str, String)> {
    tree.library().filter_map(|(path, text)| {
        let file = path.strip_prefix("runtime/")?.strip_suffix(".rs")?;
        let code = without_tests(&code(text));
        let is_page = file.ends_with("mod") && !code.contains("fn ");
        (!is_page).then_some((file, code))
    })
}

/// What only unit tests see is no edge.
fn without_tests(code: &str) -> String {
    let mut lines = Vec::new();
    let mut skip = false;
    for line in code.lines() {
        if !std::mem::take(&mut skip) {
            lines.push(line);
        }
        skip = line.trim() == "#[cfg(test)]";
    }
    lines.join("\n")
}

fn edges(tree: &Tree) -> BTreeSet<(String, String)> {
    let mut edges = BTreeSet::new();
    for (from, code) in files(tree) {
        for path in paths(&code) {
            let to = target(tree, from, &path);
            edges.extend(to.filter(|to| to != from).map(|to| (from.to_owned(), to)));
        }
    }
    edges
}

/// The paths in `code` that begin with `crate` or `super`, groups taken apart. A `pub use` is none: it only
/// names what lies below.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code.match_indices(start) {
            let joins = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            if code[..at].ends_with(joins) {
                continue;
            }
            let line = code[..at].rsplit(['\n', ';']).next().unwrap_or("");
            if line.trim_start().starts_with("pub") && line.contains("use ") {
                continue;
            }
            let rest = &code[at..];
            let end = rest.find(|c| !joins(c)).unwrap_or(rest.len());
            let path = rest[..end].trim_end_matches(':');
            match rest[end..].strip_prefix('{') {
                Some(group) => {
                    let (group, _) = group.split_once('}').unwrap_or((group, ""));
                    let names = group
                        .split(',')
                        .map(str::trim)
                        .filter(|name| !name.is_empty());
                    paths.extend(names.map(|name| format!("{path}::{name}")));
                }
                None => paths.push(path.to_owned()),
            }
        }
    }
    paths
}

/// The file of runtime/ to which a path in `from` leads, without its ending.
fn target(tree: &Tree, from: &str, path: &str) -> Option<String> {
    let mut words = path.split("::").peekable();
    let mut module: Vec<&str> = from.split('/').collect();
    if module.last() == Some(&"mod") {
        module.pop();
    }
    match words.next()? {
        "crate" => {
            if words.next()? != "runtime" {
                return None;
            }
            module.clear();
        }
        _ => {
            module.pop()?;
        }
    }
    while words.next_if_eq(&"super").is_some() {
        module.pop()?;
    }
    for word in words {
        module.push(word);
        let joined = module.join("/");
        if tree.has(&format!("runtime/{joined}.rs")) {
            return Some(joined);
        }
        if !tree.has(&format!("runtime/{joined}/mod.rs")) {
            module.pop();
            return Some(through_mod(tree, &module.join("/"), word));
        }
    }
    Some(through_mod(tree, &module.join("/"), ""))
}

/// The file that the `mod.rs` of this folder has `name` from, or the `mod.rs` itself.
fn through_mod(tree: &Tree, folder: &str, name: &str) -> String {
    let inside = |file: &str| {
        let path = if folder.is_empty() {
            file.to_owned()
        } else {
            format!("{folder}/{file}")
        };
        path.trim_start_matches('/').to_owned()
    };
    let page = inside("mod");
    let code = code(tree.get(&format!("runtime/{page}.rs")));
    for statement in code
        .split(';')
        .filter(|statement| statement.contains("use "))
    {
        let (_, used) = statement.split_once("use ").unwrap_or(("", ""));
        let words: Vec<&str> = used
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .filter(|word| !word.is_empty())
            .collect();
        if words.len() > 1 && words[1..].contains(&name) {
            return inside(words[0]);
        }
    }
    page
}

/// What net/ imports that is neither its own nor a door.
pub(super) fn doors(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.library().filter(|(path, _)| path.starts_with("net/")) {
        for import in paths(&code(text)).iter().chain(&reexports(&code(text))) {
            let own = import.starts_with("super::");
            let door = DOORS.iter().any(|door| import.starts_with(door));
            let internal = path == INTERNAL.0 && import.starts_with(INTERNAL.1);
            if !own && !door && !internal {
                complaints.push(format!(
                    "{path}: `{import}` is none of the doors net/ stands on"
                ));
            }
        }
    }
    complaints
}

/// The paths of `pub use` statements, which [`paths`] leaves out.
fn reexports(code: &str) -> Vec<String> {
    let public = code
        .lines()
        .filter(|line| line.trim_start().starts_with("pub"));
    let paths = public.filter_map(|line| line.split_once("use ")?.1.strip_prefix("crate::"));
    paths
        .map(|path| format!("crate::{}", path.trim_end_matches(';')))
        .collect()
}
