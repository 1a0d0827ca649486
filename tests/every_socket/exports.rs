//! Which types `net` has, read from its sources: what its public modules define or re-export.
//!
//! Re-exports tell more than definitions: they name what a macro made, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::source::{code, has_word};

/// Sources by their paths from the project's root.
pub(crate) type Tree = BTreeMap<String, String>;

/// All sources in a folder of the project.
pub(crate) fn sources(folder: &str) -> Tree {
    let mut tree = Tree::new();
    read(Path::new(env!("CARGO_MANIFEST_DIR")), folder, &mut tree);
    tree
}

fn read(root: &Path, folder: &str, tree: &mut Tree) {
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if root.join(&path).is_dir() {
            read(root, &path, tree);
        } else if path.ends_with(".rs") {
            tree.insert(path.clone(), fs::read_to_string(root.join(&path)).unwrap());
        }
    }
}

/// The public types and traits, by the path from `net` on to the public module that defines or re-exports them: `net`
/// itself does not count where a module within it has the type.
pub(crate) fn public_types(tree: &Tree) -> BTreeSet<String> {
    let mut types = BTreeSet::new();
    visit(tree, "net", "", &mut types);
    types
}

fn visit(tree: &Tree, module: &str, prefix: &str, types: &mut BTreeSet<String>) {
    let file = |path: String| tree.get(&path);
    let text = file(format!("{module}/mod.rs")).or_else(|| file(format!("{module}.rs")));
    let text = code(text.unwrap_or_else(|| panic!("no source of {module}")));
    let mut inner = Vec::new();
    for name in after(&text, "pub mod ") {
        visit(
            tree,
            &format!("{module}/{name}"),
            &format!("{prefix}{name}::"),
            types,
        );
        inner.push(name);
    }
    for keyword in ["struct ", "enum ", "union ", "type ", "trait "] {
        for name in after(&text, &format!("pub {keyword}")) {
            types.insert(format!("{prefix}{name}"));
        }
    }
    for uses in text.split("pub use ").skip(1) {
        let uses = uses.split(';').next().unwrap_or("");
        assert!(
            !uses.contains('*'),
            "{module}: `pub use {uses}` names nothing"
        );
        let uses = uses.trim_start_matches("self::");
        let from = uses.split("::").next().unwrap_or("");
        let parts = uses.split(['{', '}', ',']).map(str::trim);
        for part in parts.filter(|part| !part.is_empty() && !part.ends_with("::")) {
            let (path, renamed) = part.split_once(" as ").unwrap_or((part, part));
            let (original, name) = (last(path), last(renamed));
            let known =
                inner.contains(&from) && types.contains(&format!("{prefix}{from}::{original}"));
            if is_type(name) && !known {
                types.insert(format!("{prefix}{name}"));
            }
        }
    }
}

/// The names that follow `words`, which begin a line.
fn after<'a>(code: &'a str, words: &str) -> Vec<&'a str> {
    let lines = code.lines().filter_map(|line| line.strip_prefix(words));
    let ends = |c: char| !(c.is_alphanumeric() || c == '_');
    lines.filter_map(|rest| rest.split(ends).next()).collect()
}

fn last(path: &str) -> &str {
    path.rsplit("::").next().unwrap_or(path).trim()
}

/// No function, no module and no constant.
fn is_type(name: &str) -> bool {
    name.starts_with(char::is_uppercase) && name.contains(char::is_lowercase)
}

/// Those of which it is said that they have no descriptor, and which lend one.
pub(crate) fn lenders_among(plain: &[(&str, &str)], tree: &Tree) -> Vec<String> {
    let lends = |name: &str| {
        let lends = |lender: &str| {
            let words = format!("{lender} for {name}");
            tree.values().any(|text| has_word(&code(text), &words))
        };
        lends("AsFd") || lends("AsRawFd")
    };
    let lenders = plain.iter().filter(|(name, _)| lends(last(name)));
    lenders
        .map(|(name, why)| format!("`{name}` lends a descriptor, and is said to be {why}"))
        .collect()
}
