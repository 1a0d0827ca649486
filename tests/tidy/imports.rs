//! Which file of the library knows which: inside runtime/ imports run downwards, and net/ stands on what its
//! page says.
//!
//! An edge is a `use` or a path that begins with `crate` or `super`. (An `impl X` outside the file of `X` needs
//! `X` in scope, so it is an edge already. What calls a method that is written so has no edge to it.) A path
//! through a `mod.rs` leads to the file that the `mod.rs` has the name from; one that leads to no file of the
//! order, to a whole module, or out of runtime/, is complained of.

use std::collections::{BTreeMap, BTreeSet};

use super::Tree;
use super::source::code;

/// The files of runtime/, the topmost first: each may know those below it. What stands in `mod.rs` files
/// without code of their own is no file here.
pub(super) const ORDER: [&str; 54] = [
    "hyper",
    "builder",
    "signal",
    "task/join_set",
    "task/blocking",
    "run",
    "io/async_fd",
    "io/operation",
    "io/registration",
    "handle",
    "task/spawn",
    "task/join",
    "time/interval",
    "time/timeout",
    "coop",
    "time/sleep",
    "context",
    "core",
    "pool",
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
    "task/queue",
    "task/id",
    "io/sources",
    "io/waiters",
    "name/slab",
    "name/chunks",
    "io/decision",
    "io/alarm",
    "io/errors",
    "io/interest",
    "observe",
    "user_code",
    "options",
    "metrics",
    "budget",
    "sys/inherit",
    "sys/signal",
    "sys/fork",
    "sys/epoll",
    "sys/eventfd",
    "sys/timerfd",
    "sys/slack",
    "sys/mod",
    "chaos",
    "explained",
];

/// The edges that run upwards: from, to, why.
pub(super) const UPWARDS: [(&str, &str, &str); 1] = [(
    "name/waker",
    "context",
    "a wake has nothing but the bits of its waker, and must ask which runtime runs here",
)];

/// What net/ may know of the rest: the public doors, and two things that are not public, from one file each.
const DOORS: [&str; 6] = [
    "crate::io",
    "crate::time",
    "crate::task::coop",
    "crate::runtime::Handle",
    "crate::unit",
    "crate::net",
];
const INTERNAL: [(&str, &str); 2] = [
    ("net/stream.rs", "crate::runtime::io::operation"),
    ("net/lookup.rs", "crate::runtime::task::blocking"),
];

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
        let Some(above) = floors.get(from.as_str()) else {
            continue; // It has been complained of.
        };
        let Some(below) = floors.get(to.as_str()) else {
            complaints.push(format!(
                "runtime/{from}.rs imports {to}, which is no file below it"
            ));
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

/// The paths in `code` that begin with `crate` or `super`, groups taken apart, `as` and what follows cut off.
fn paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let (before, from) = rest.split_at(at);
        paths.extend(inline_paths(before));
        let joined = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let end = from.find(';').unwrap_or(from.len());
        if joined {
            rest = &from["use ".len()..];
        } else {
            expand("", &from["use ".len()..end], &mut paths);
            rest = &from[end..];
        }
    }
    paths.extend(inline_paths(rest));
    paths.retain(|path| ["crate", "super"].contains(&path.split("::").next().unwrap_or("")));
    paths
}

/// Takes a tree of imports apart: `a::{b, c::{d, self}}` into `a::b`, `a::c::d` and `a::c`.
fn expand(before: &str, tree: &str, paths: &mut Vec<String>) {
    let tree = tree.trim();
    let Some((path, group)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or("").trim();
        let joined = match (before, path) {
            ("", path) => path.to_owned(),
            (before, "self") => before.to_owned(),
            (before, path) => format!("{before}::{path}"),
        };
        return paths.push(joined);
    };
    let path = path.trim().trim_end_matches("::");
    let before = match before {
        "" => path.to_owned(),
        before => format!("{before}::{path}"),
    };
    let group = group.trim_end().strip_suffix('}').unwrap_or(group);
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices().chain([(group.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !group[start..at].trim().is_empty() {
                    expand(&before, &group[start..at], paths);
                }
                start = at + 1;
            }
            _ => {}
        }
    }
}

/// Paths that stand in other code than imports.
fn inline_paths(code: &str) -> Vec<String> {
    let joins = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut paths = Vec::new();
    for start in ["crate::", "super::"] {
        for (at, _) in code
            .match_indices(start)
            .filter(|(at, _)| !code[..*at].ends_with(joins))
        {
            // `pub(in crate::runtime)` is no import.
            if code[..at].ends_with("in ") {
                continue;
            }
            let rest = &code[at..];
            let end = rest.find(|c| !joins(c)).unwrap_or(rest.len());
            paths.push(rest[..end].trim_end_matches(':').to_owned());
        }
    }
    paths
}

/// The file of runtime/ to which a path in `from` leads, without its ending; the path itself if it leads out of
/// runtime/, to a page, or to everything in a module.
fn target(tree: &Tree, from: &str, path: &str) -> Option<String> {
    let mut words = path.split("::").peekable();
    let mut module: Vec<&str> = from.split('/').collect();
    if module.last() == Some(&"mod") {
        module.pop();
    }
    if words.next()? == "crate" {
        match words.next() {
            // The models of loom are unit tests.
            Some("unit") => return None,
            Some("runtime") => module.clear(),
            _ => return Some(path.to_owned()),
        }
    } else if module.pop().is_none() {
        return Some(path.to_owned());
    }
    while words.next_if_eq(&"super").is_some() {
        if module.pop().is_none() {
            return Some(path.to_owned());
        }
    }
    if path.ends_with("::*") {
        return Some(path.to_owned());
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
        for import in paths(&code(text)) {
            // As many `super` as there are folders lead to net/ itself, or one fewer from a mod.rs.
            let supers = import
                .split("::")
                .take_while(|word| *word == "super")
                .count();
            let folders = path.matches('/').count() - usize::from(path.ends_with("/mod.rs"));
            let own = (1..=folders).contains(&supers) && !import.ends_with("::*");
            let is_below = |door: &&str| {
                import
                    .strip_prefix(*door)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            };
            let door = DOORS.iter().any(is_below);
            let internal = INTERNAL
                .iter()
                .any(|(from, door)| path == *from && is_below(door));
            if !own && !door && !internal {
                complaints.push(format!(
                    "{path}: `{import}` is none of the doors net/ stands on"
                ));
            }
        }
    }
    complaints
}
