//! What the project says of itself is true: checks of the tree, not of the behavior.
//!
//! Each check is a function from a [`Tree`] to a list of complaints. The tests at the top run them on
//! the real tree, those in `made_up_trees` on small made-up ones, so that a check is known to complain.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use limit::limit;
use source::{code, has_word};

/// The only files of the library with `unsafe` in them; what ends in `/` stands for all files of that folder.
const UNSAFE_FILES: [&str; 4] = [
    "net/sys/",
    "runtime/sys/",
    "runtime/task/cell.rs",
    "runtime/name/waker.rs",
];

/// R1 to this one.
const INVARIANTS: usize = 10;

const README_LINES: usize = 200;

/// Beyond this a file's header gives a reason. Some slack over the 400 which that reason speaks of, so
/// that a fix of one line does not ask for an essay.
const FILE_LINES: usize = 420;

/// What ends a test that hangs: `limit`, what runs a body elsewhere and waits for so long only, and what
/// hands a body to one of those.
const LIMITS: [&str; 10] = [
    "alone",
    "alone_with",
    "child",
    "in_child",
    "limit",
    "readers_of",
    "schedules",
    "under_chaos",
    "under_seeds",
    "within",
];

/// Files whose tests need no limit, and why.
const UNLIMITED: [(&str, &str); 4] = [
    ("tests/inventory.rs", "reads files"),
    ("tests/tidy/made_up_trees.rs", "compares texts"),
    ("tests/traits.rs", "is a matter of compiling"),
    (
        "tests/unit/loom_place.rs",
        "loom takes its time, and tells of a deadlock itself",
    ),
];

/// What a test in one of those files has no business with.
const MAY_HANG: [&str; 4] = ["block_on", "turn", "Command::new", "std::thread"];

#[test]
fn a_user_compiles_seven_crates() {
    let _limit = limit(300);
    assert_eq!(cargo_tree(&["--no-dedupe"]), seven_crates());
}

fn seven_crates() -> BTreeSet<String> {
    words("futures-task libc once_cell pin-project-lite reveille tracing tracing-core")
}

/// With all features only, because without them cargo need not have fetched the crates.
#[cfg(all(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
#[test]
fn a_feature_is_few_crates_more() {
    let _limit = limit(300);
    for (features, more) in [
        ("futures-io", "futures-io"),
        ("tokio-io", "tokio"),
        ("hyper", "bytes http http-body hyper itoa tokio"),
        (
            "futures-io,hyper,tokio-io",
            "bytes futures-io http http-body hyper itoa tokio",
        ),
    ] {
        let expected = seven_crates().union(&words(more)).cloned().collect();
        let compiled = cargo_tree(&["--no-dedupe", "--features", features]);
        assert_eq!(compiled, expected, "{features}");
    }
}

/// Catches: a locked crate, of any feature, that the declared version of Rust cannot compile.
#[cfg(all(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
#[test]
fn no_crate_that_a_user_compiles_wants_a_newer_rust() {
    let _limit = limit(300);
    let text = cargo(&[
        "metadata",
        "--offline",
        "--format-version=1",
        "--all-features",
        "--filter-platform=x86_64-unknown-linux-gnu",
    ]);
    let users = cargo_tree(&["--no-dedupe", "--all-features"]);
    let ours = minor(include_str!("../Cargo.toml"), "rust-version = \"");
    let mut seen = 0;
    // Each package begins so; a dependency in it has other keys.
    for package in text
        .split("{\"name\":\"")
        .filter(|text| text.contains("\"rust_version\":"))
    {
        let name = package.split('"').next().unwrap_or("");
        if users.contains(name) && package.contains("\"rust_version\":\"") {
            let wanted = minor(package, "\"rust_version\":\"");
            assert!(wanted <= ours, "{name} wants Rust 1.{wanted}");
            seen += 1;
        }
    }
    assert!(seen > 5, "only {seen} crates say what they want");
}

/// The second number of a version of Rust that stands behind `key`.
#[cfg(all(feature = "futures-io", feature = "hyper", feature = "tokio-io"))]
fn minor(text: &str, key: &str) -> u32 {
    let version = text.split(key).nth(1).expect("the key is there");
    let number = version.split(['.', '"']).nth(1).expect("1.number");
    number.parse().expect("a number")
}

#[test]
fn four_crates_are_direct_dependencies() {
    let _limit = limit(300);
    assert_eq!(
        cargo_tree(&["--depth", "1"]),
        words("futures-task libc pin-project-lite reveille tracing"),
    );
}

#[test]
fn the_readme_is_short_and_its_line_counts_are_true() {
    let _limit = limit(300);
    complain(&Tree::load(), readme);
}

#[test]
fn every_invariant_is_cited_in_code_and_has_a_test_and_a_mutant() {
    let _limit = limit(300);
    complain(&Tree::load(), invariants);
}

#[test]
fn every_fault_names_a_test_and_a_mutant_that_exist() {
    let _limit = limit(300);
    complain(&Tree::load(), faults);
}

#[test]
fn the_contents_of_the_faults_are_complete() {
    let _limit = limit(300);
    complain(&Tree::load(), contents);
}

#[test]
fn the_long_proof_edits_every_file_of_the_runtime() {
    let _limit = limit(300);
    complain(&Tree::load(), proof);
}

#[test]
fn every_mutant_names_a_file_and_a_test_that_exist() {
    let _limit = limit(300);
    complain(&Tree::load(), mutants);
}

#[test]
fn unsafe_lives_in_two_folders_and_two_files_and_no_trait_is_implemented_by_it() {
    let _limit = limit(300);
    complain(&Tree::load(), unsafe_code);
}

#[test]
fn no_lint_is_silenced_and_nothing_is_left_unfinished_or_printed() {
    let _limit = limit(300);
    complain(&Tree::load(), leftovers);
}

#[test]
fn the_syntax_is_that_of_the_declared_rust_version() {
    let _limit = limit(300);
    complain(&Tree::load(), let_chains);
}

#[test]
fn every_file_has_a_header_and_a_long_one_gives_its_reason() {
    let _limit = limit(300);
    complain(&Tree::load(), headers);
}

#[test]
fn headers_lead_a_reader_to_every_file() {
    let _limit = limit(300);
    complain(&Tree::load(), reading_order);
}

#[test]
fn every_test_that_could_hang_has_a_limit() {
    let _limit = limit(300);
    complain(&Tree::load(), limits);
}

#[test]
fn imports_run_downwards_and_net_stands_on_its_doors() {
    let _limit = limit(300);
    complain(&Tree::load(), imports::imports);
}

/// Catches: a crate that is said to work, by a test that is not there.
#[test]
fn each_test_on_the_page_of_what_runs_exists() {
    let _limit = limit(300);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("runtime/what_runs_on_it.md")).unwrap();
    let mut tests = String::new();
    for folder in ["tests/interop", "tests/compat", "examples/web/tests"] {
        collect(&root.join(folder), &mut tests);
    }
    let named = tests_named(&page);
    assert!(named.len() > 15, "{named:?}");
    for name in named {
        assert!(tests.contains(&format!("fn {name}(")), "no test `{name}`");
    }
}

/// What stands in backticks, and is too long for the name of anything but a test.
fn tests_named(text: &str) -> Vec<&str> {
    let is_test = |name: &&str| name.matches('_').count() > 2 && !name.contains([' ', ':', '/']);
    text.split('`').skip(1).step_by(2).filter(is_test).collect()
}

/// Catches: a statement or a fault of the tutorials without its row, or a row by a test that is not there.
#[test]
fn each_row_on_the_page_of_the_tutorials_names_a_test_that_exists() {
    let _limit = limit(300);
    let tree = Tree::load();
    let page = tree.get("runtime/two_tutorials.md");
    let mut numbers = Vec::new();
    for row in page.lines().filter_map(|line| line.strip_prefix("| ")) {
        let Ok(number) = row.split(' ').next().unwrap_or("").parse::<usize>() else {
            continue;
        };
        numbers.push(number);
        let cells: Vec<_> = row.trim_end_matches(" |").split(" | ").collect();
        let tests = cells[cells.len() - 1];
        // A script, or the reason why there is none, is good enough; but not a word that is no test.
        let named = tests_named(tests);
        let script = tests.split('`').find(|word| word.ends_with(".sh"));
        let shown = script.is_some_and(|path| tree.has(path)) || tests.starts_with("no test: ");
        assert!(shown || !named.is_empty(), "row {number}: {tests}");
    }
    assert_eq!(numbers, (1..=38).chain(1..=16).collect::<Vec<_>>());
    for name in tests_named(page) {
        assert!(tree.has_test(name), "no test `{name}`");
    }
}

/// Catches: glue on the page that is no longer what the tests compile, or not all of it.
#[test]
fn the_glue_on_the_page_of_what_runs_is_that_of_the_sources() {
    let _limit = limit(300);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let page = read("runtime/what_runs_on_it.md");
    // However far they are indented.
    let lines = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let blocks: Vec<_> = page
        .split("```")
        .skip(1)
        .step_by(2)
        .map(|block| lines(block.strip_prefix("ignore\n").unwrap().trim_end()))
        .collect();
    // Of these files the page shows everything but the header.
    let whole = ["quic", "dns"].map(|package| {
        let text = read(&format!("tests/interop/{package}/src/lib.rs"));
        lines(text.split_once("\n\n").unwrap().1.trim_end())
    });
    for code in &whole {
        assert!(
            blocks.contains(code),
            "not on the page, or not whole:\n{code}"
        );
    }
    let mut sources = String::new();
    collect(&root.join("examples/web/examples"), &mut sources);
    collect(&root.join("tests/interop/grpc/tests"), &mut sources);
    let sources = lines(&sources);
    let parts: Vec<_> = blocks.iter().filter(|code| !whole.contains(code)).collect();
    assert_eq!(parts.len(), 2);
    for code in parts {
        assert!(sources.contains(code), "{code}");
    }
}

/// The text of all sources below the folder, but for what was built there.
fn collect(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, text);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            text.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// The pages that rustdoc does not read; it checks the links of those that it does.
///
/// Catches: a file that was moved, or a heading that has other words now.
#[test]
fn every_link_of_a_page_that_is_read_as_a_file_leads_somewhere() {
    let _limit = limit(300);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join("bench").exists() {
        return; // The published package has not all of what the links lead to.
    }
    let read = |path: &str| match root.join(path).is_dir() {
        true => Some(String::new()),
        false => fs::read_to_string(root.join(path)).ok(),
    };
    let mut complaints = Vec::new();
    for page in [
        "README.md",
        "CHANGELOG.md",
        ".github/CONTRIBUTING.md",
        ".github/SECURITY.md",
        "bench/README.md",
        "examples/web/README.md",
        "tests/FAULTS.md",
        "tests/INVENTORY.md",
        "tests/README.md",
    ] {
        let text = read(page).unwrap_or_else(|| panic!("no page {page}"));
        complaints.extend(study::links(page, &text, read));
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_changelog_knows_the_current_version() {
    let _limit = limit(300);
    complain(&Tree::load(), |tree| {
        changelog(tree, env!("CARGO_PKG_VERSION"))
    });
}

#[track_caller]
fn complain(tree: &Tree, check: impl Fn(&Tree) -> Vec<String>) {
    let complaints = check(tree);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The text files of the project by their path from its root.
#[derive(Default)]
struct Tree(BTreeMap<String, String>);

impl Tree {
    fn load() -> Tree {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut tree = Tree::default();
        for name in [
            "lib.rs",
            "README.md",
            "CHANGELOG.md",
            "runtime",
            "net",
            "examples",
            "tests",
        ] {
            tree.add(root, name);
        }
        tree
    }

    fn add(&mut self, root: &Path, name: &str) {
        let path = root.join(name);
        if let Ok(entries) = fs::read_dir(&path) {
            for entry in entries {
                let entry = entry.expect("a directory can be listed").file_name();
                let entry = entry.into_string().expect("file names are UTF-8");
                // What the packages among these were built to is not theirs.
                if entry != "target" {
                    self.add(root, &format!("{name}/{entry}"));
                }
            }
        } else if let Ok(text) = fs::read_to_string(&path) {
            self.0.insert(name.to_owned(), text);
        } // Otherwise it is missing, and the check that needs it says so; or it is not text.
    }

    fn get(&self, path: &str) -> &str {
        self.0.get(path).map_or("", String::as_str)
    }

    fn has(&self, path: &str) -> bool {
        self.0.contains_key(path)
    }

    /// The sources of the library.
    fn library(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rust_files().filter(|(path, _)| {
            *path == "lib.rs" || path.starts_with("runtime/") || path.starts_with("net/")
        })
    }

    /// The sources of the tests, but not this one, which names all and tests none.
    fn tests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.rust_files()
            .filter(|(path, _)| path.starts_with("tests/") && !path.starts_with("tests/tidy"))
    }

    fn rust_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(path, text)| (path.as_str(), text.as_str()))
            .filter(|(path, _)| path.ends_with(".rs"))
    }

    /// The folder below tests/mutants/, the name and the text of each.
    fn mutants(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.0.iter().filter_map(|(path, text)| {
            let path = path
                .strip_prefix("tests/mutants/")?
                .strip_suffix(".mutant")?;
            let (folder, id) = path.rsplit_once('/').unwrap_or(("", path));
            Some((folder, id, text.as_str()))
        })
    }

    /// Whether one of the tests has a function of this name.
    fn has_test(&self, name: &str) -> bool {
        let function = format!("fn {name}(");
        let is_test = |path: &str| path.starts_with("tests/") || path.contains("/tests/");
        let mut tests = self.0.iter().filter(|(path, _)| is_test(path));
        tests.any(|(_, text)| text.contains(&function))
    }
}

/// A reading order is a table whose rows begin so: ``| [`runtime/name/slab.rs`](runtime/name/slab.rs) | 123 |``.
fn readme(tree: &Tree) -> Vec<String> {
    let text = tree.get("README.md");
    let mut complaints = Vec::new();
    let lines = text.lines().count();
    if lines > README_LINES {
        complaints.push(format!(
            "README.md has {lines} lines, more than {README_LINES}"
        ));
    }
    let mut rows = 0;
    for (index, line) in text.lines().enumerate() {
        let Some((path, rest)) = line
            .strip_prefix("| [`")
            .and_then(|rest| rest.split_once("`]("))
        else {
            continue;
        };
        rows += 1;
        let at = format!("README.md:{}", index + 1);
        let mut cells = rest.split('|').map(str::trim);
        if cells.next() != Some(&format!("{path})")) {
            complaints.push(format!("{at}: `{path}` links to another file"));
        }
        let claimed = cells.next().unwrap_or("");
        if !tree.has(path) {
            complaints.push(format!("{at}: no file `{path}`"));
        } else {
            let counted = tree.get(path).matches('\n').count().to_string(); // As wc -l.
            if claimed != counted {
                complaints.push(format!(
                    "{at}: `{path}` has {counted} lines, not `{claimed}`"
                ));
            }
        }
    }
    if rows == 0 {
        complaints.push("README.md has no reading order: no row that begins with \"| [`\"".into());
    }
    complaints
}

/// An invariant is defined by a line of the header of runtime/mod.rs that begins with its name (after
/// a list's dash and asterisks). Another source cites it, a test does, and a mutant `R1-...` breaks it.
fn invariants(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut defined = BTreeSet::new();
    for line in header(tree.get("runtime/mod.rs")) {
        let line = line.trim_start_matches([' ', '-', '*']);
        let digits = line.strip_prefix('R').unwrap_or("");
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(digits.len());
        if let Ok(number) = digits[..end].parse::<usize>() {
            if !defined.insert(number) {
                complaints.push(format!("R{number} is defined twice in runtime/mod.rs"));
            }
        }
    }
    if !defined.iter().copied().eq(1..=INVARIANTS) {
        complaints.push(format!(
            "runtime/mod.rs defines {defined:?}, not 1 to {INVARIANTS}"
        ));
    }
    for number in 1..=INVARIANTS {
        let name = format!("R{number}");
        let mut sources = tree.library().filter(|(path, _)| *path != "runtime/mod.rs");
        if !sources.any(|(_, text)| has_word(text, &name)) {
            complaints.push(format!("{name} is cited in no source but runtime/mod.rs"));
        }
        if !tree.tests().any(|(_, text)| has_word(text, &name)) {
            complaints.push(format!("{name} is cited in no test"));
        }
        if !tree
            .mutants()
            .any(|(_, id, _)| id.starts_with(&format!("{name}-")))
        {
            complaints.push(format!("{name} has no mutant"));
        }
    }
    complaints
}

/// The form of the entries is described at the top of tests/FAULTS.md.
fn faults(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut ids = BTreeSet::new();
    let mut sections = tree.get("tests/FAULTS.md").split("\n## ");
    sections.next(); // The description.
    for section in sections {
        let (title, body) = section.split_once('\n').unwrap_or((section, ""));
        let (id, _) = title.split_once(": ").unwrap_or(("", title));
        if !is_fault_id(id) {
            complaints.push(format!(
                "FAULTS.md: \"{title}\" does not begin like \"A1: \""
            ));
        }
        if !ids.insert(id) {
            complaints.push(format!("FAULTS.md: {id} is there twice"));
        }
        let items = items(body);
        let keys: Vec<&str> = items.iter().map(|(key, _)| key.as_str()).collect();
        match keys[..] {
            ["Mechanism", "Does not apply"] => {
                if items[1].1.contains('\n') {
                    complaints.push(format!(
                        "FAULTS.md: {id}: why it does not apply is one line"
                    ));
                }
            }
            ["Mechanism", "Defense", "Test", "Mutant"] => {
                for test in quoted(&items[2].1) {
                    if !tree.has_test(test) {
                        complaints.push(format!("FAULTS.md: {id}: no test `{test}`"));
                    }
                }
                let excused = items[3].1.starts_with("none, because ");
                for mutant in quoted(&items[3].1).filter(|_| !excused) {
                    if !tree.mutants().any(|(_, known, _)| known == mutant) {
                        complaints.push(format!("FAULTS.md: {id}: no mutant `{mutant}`"));
                    }
                }
                if quoted(&items[2].1).next().is_none() {
                    complaints.push(format!("FAULTS.md: {id} names no test"));
                }
                if !excused && quoted(&items[3].1).next().is_none() {
                    complaints.push(format!("FAULTS.md: {id} names no mutant"));
                }
            }
            _ => complaints.push(format!("FAULTS.md: {id} has the items {keys:?}")),
        }
        if let Some((key, _)) = items.iter().find(|(_, text)| text.is_empty()) {
            complaints.push(format!("FAULTS.md: {id}: nothing after \"{key}:\""));
        }
    }
    if ids.is_empty() {
        complaints.push("tests/FAULTS.md has no entry".into());
    }
    complaints
}

/// The contents of FAULTS.md name each entry, in its place.
fn contents(tree: &Tree) -> Vec<String> {
    let text = tree.get("tests/FAULTS.md");
    let mut listed = text.lines().filter(|line| line.starts_with("- ["));
    let titles = text.lines().filter_map(|line| line.strip_prefix("## "));
    let mut complaints = Vec::new();
    for line in titles.filter_map(entry_of_contents) {
        let listed = listed.next().unwrap_or("nothing");
        if listed != line {
            complaints.push(format!(
                "FAULTS.md: the contents have `{listed}` in place of `{line}`"
            ));
        }
    }
    complaints.extend(listed.map(|line| format!("FAULTS.md: no entry for `{line}`")));
    complaints
}

/// How the contents of FAULTS.md name an entry of this title, with the anchor that GitHub makes of it.
fn entry_of_contents(title: &str) -> Option<String> {
    let (id, what) = title.split_once(": ")?;
    let of_anchor = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
    let anchor: String = title.to_lowercase().chars().filter(of_anchor).collect();
    Some(format!("- [{id}](#{}): {what}", anchor.replace(' ', "-")))
}

/// The form of a mutant is described at the top of tests/mutants/run, which also applies them.
fn mutants(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut ids = BTreeSet::new();
    for (folder, id, text) in tree.mutants() {
        if !ids.insert(id) {
            complaints.push(format!("{id}.mutant: there are two"));
        }
        let header = |name: &str| {
            let mut lines = text.lines().take_while(|line| *line != "--- old ---");
            lines
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .unwrap_or("")
                .trim()
        };
        if !tree.has(header("file")) {
            complaints.push(format!("{id}.mutant: no file `{}`", header("file")));
        }
        if header("file").trim_end_matches(".rs") != folder {
            complaints.push(format!(
                "{id}.mutant: it edits `{}`, and lies in `{folder}`",
                header("file")
            ));
        }
        if header("why").is_empty() {
            complaints.push(format!("{id}.mutant: no reason"));
        }
        // `--test scheduling name`, `--lib unit::slab::name -- --exact`
        let arguments = header("test").split(" -- ").next().unwrap_or("");
        let name = arguments.rsplit([' ', ':']).next().unwrap_or("");
        if !tree.has_test(name) && !arguments.starts_with("--doc ") {
            complaints.push(format!("{id}.mutant: no test `{name}`"));
        }
    }
    complaints
}

fn unsafe_code(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.library() {
        let code = code(text);
        let allowed = UNSAFE_FILES
            .iter()
            .any(|entry| *entry == path || entry.ends_with('/') && path.starts_with(entry));
        if has_word(&code, "unsafe") && !allowed {
            complaints.push(format!(
                "{path}: `unsafe` belongs in {}",
                UNSAFE_FILES.join(", ")
            ));
        }
        let mut words = code.split_whitespace().peekable();
        while let Some(word) = words.next() {
            let next = words.peek().copied().unwrap_or("");
            if word == "unsafe" && (next == "impl" || next.starts_with("impl<")) {
                complaints.push(format!("{path}: `unsafe impl`"));
            }
        }
    }
    complaints
}

fn leftovers(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.library() {
        let code = code(text);
        for (number, line) in (1..).zip(code.lines()) {
            // The documentation links to private items on purpose.
            let line = line.replace("allow(rustdoc::private_intra_doc_links", "");
            if has_word(&line, "allow(") {
                complaints.push(format!(
                    "{path}:{number}: `allow`: use `expect`, with a reason"
                ));
            }
            for name in [
                "dbg!",
                "eprint!",
                "eprintln!",
                "print!",
                "println!",
                "todo!",
                "unimplemented!",
            ] {
                if has_word(&line, name) {
                    complaints.push(format!("{path}:{number}: `{name}`"));
                }
            }
        }
    }
    complaints
}

/// Syntax that the declared rust-version does not have: clippy's `incompatible_msrv` looks at the standard
/// library only. A let chain is an `if` or `while` with a `let` that stands beside an `&&`.
fn let_chains(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.rust_files() {
        let code = code(text);
        for start in ["if ", "while "] {
            for (at, _) in code.match_indices(start) {
                let joined = code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
                let condition = condition(&code[at + start.len()..]);
                let chained = condition.starts_with("let ") && condition.contains("&&");
                if !joined && (chained || condition.contains("&& let ")) {
                    let number = 1 + code[..at].matches('\n').count();
                    complaints.push(format!(
                        "{path}:{number}: a let chain, which Rust 1.85 has not"
                    ));
                }
            }
        }
    }
    complaints
}

/// Up to the brace that opens the block: one that no parenthesis, bracket or brace encloses.
fn condition(text: &str) -> String {
    let (mut depth, mut in_pattern) = (0, text.trim_start().starts_with("let "));
    let is_inside = |c: &char| {
        match c {
            '=' if depth == 0 => in_pattern = false,
            // A pattern may have braces; the first behind its `=` opens the block.
            '{' if in_pattern => depth += 1,
            '}' if in_pattern => depth -= 1,
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' | ';' if depth == 0 => return false,
            _ => {}
        }
        true
    };
    let text: String = text.chars().take_while(is_inside).collect();
    // What is in parentheses is a value, and no part of the chain.
    let mut depth = 0;
    let outside = |c: &char| {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            _ => return depth == 0,
        }
        false
    };
    let outside: String = text.chars().filter(outside).collect();
    outside.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn headers(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.library() {
        let header: Vec<&str> = header(text).collect();
        if header.is_empty() {
            complaints.push(format!("{path} does not begin with `//!`"));
        }
        let lines = text.lines().count();
        if lines > FILE_LINES && !header.join(" ").contains("Over 400 lines because ") {
            complaints.push(format!(
                "{path} has {lines} lines and its header does not say \"Over 400 lines because ...\""
            ));
        }
    }
    if !tree.has("lib.rs") {
        complaints.push("no lib.rs".into());
    }
    complaints
}

/// The lines of tests/prove that hand files of runtime/ to cargo-mutants name each that is in the order of imports.
fn proof(tree: &Tree) -> Vec<String> {
    let lines = tree.get("tests/prove").lines();
    let edits = lines.filter_map(|line| line.strip_prefix("    edit ")?.split('"').nth(1));
    let edited: Vec<&str> = edits.flat_map(str::split_whitespace).collect();
    let ours = imports::ORDER.iter().filter(|file| !edited.contains(file));
    let mut complaints: Vec<_> = ours
        .map(|file| format!("tests/prove edits no runtime/{file}.rs"))
        .collect();
    for file in edited.iter().filter(|file| !imports::ORDER.contains(file)) {
        complaints.push(format!(
            "tests/prove edits runtime/{file}.rs, which is not there"
        ));
    }
    complaints
}

/// A header ends with what to read before and next: every name there is that of a file, and every file of
/// runtime/ and net/ is named by another, so that a reader comes to it.
fn reading_order(tree: &Tree) -> Vec<String> {
    let is_page = |text: &str| !code(text).contains("fn ");
    let files: Vec<(&str, &str)> = tree
        .library()
        .filter(|(path, text)| path.contains('/') && !(path.ends_with("/mod.rs") && is_page(text)))
        .collect();
    // `name::slab` and `slab` are both the file runtime/name/slab.rs.
    let is_named = |path: &str, name: &str| {
        let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = module.replace('/', "::");
        module == name || module.ends_with(&format!("::{name}"))
    };
    let mut complaints = Vec::new();
    let mut named = BTreeSet::new();
    for (path, text) in tree.library() {
        let header = header(text).collect::<Vec<_>>().join(" ");
        let order = header.find("Read before").or(header.find("Read next"));
        let order = order.map_or("", |at| &header[at..]);
        if order.is_empty() && files.iter().any(|(file, _)| *file == path) {
            complaints.push(format!("{path}: no \"Read before\" and no \"Read next\""));
        }
        for name in quoted(order) {
            let mut found = files
                .iter()
                .filter(|(file, _)| is_named(file, name))
                .peekable();
            if found.peek().is_none() {
                complaints.push(format!("{path}: no file `{name}` to read"));
            }
            named.extend(found.map(|(file, _)| *file).filter(|file| *file != path));
        }
    }
    for (file, _) in files.iter().filter(|(file, _)| !named.contains(file)) {
        complaints.push(format!("{file}: no header sends a reader there"));
    }
    complaints
}

/// The first thing a test calls is one of [`LIMITS`], and `let _limit = ` keeps the first of them: what
/// stands before the first parenthesis of its body may be a constant or a name.
fn limits(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (path, text) in tree.rust_files() {
        let code = code(text);
        let unlimited = UNLIMITED.iter().any(|(file, _)| *file == path);
        if unlimited {
            for word in MAY_HANG.iter().filter(|word| has_word(&code, word)) {
                complaints.push(format!("{path}: `{word}`, and no limit"));
            }
        }
        for test in code.split("#[test]").skip(1).filter(|_| !unlimited) {
            let (_, function) = test.split_once("fn ").unwrap_or(("", test));
            let (name, rest) = function.split_once('(').unwrap_or((function, ""));
            // As rustfmt has it, a body begins on a line of its own.
            let (_, body) = rest.split_once("{\n").unwrap_or(("", ""));
            let (start, _) = body.split_once('(').unwrap_or((body, ""));
            let joins = |c: char| c.is_alphanumeric() || c == '_';
            let first = start.rsplit(|c| !joins(c)).next().unwrap_or("");
            let kept = first != "limit" || start.trim() == "let _limit = limit";
            if !LIMITS.contains(&first) || !kept {
                complaints.push(format!(
                    "{path}: `{name}` does not begin with a limit: `let _limit = limit(30);`"
                ));
            }
        }
    }
    for (path, _) in UNLIMITED.iter().filter(|(path, _)| !tree.has(path)) {
        complaints.push(format!("no file `{path}`, which needs no limit"));
    }
    complaints
}

fn changelog(tree: &Tree, version: &str) -> Vec<String> {
    let heading = format!("## [{version}]");
    if tree
        .get("CHANGELOG.md")
        .lines()
        .any(|line| line.starts_with(&heading))
    {
        return Vec::new();
    }
    vec![format!(
        "CHANGELOG.md has no line that begins with \"{heading}\""
    )]
}

/// The names in what `cargo tree` prints for this package as its users build it.
fn cargo_tree(arguments: &[&str]) -> BTreeSet<String> {
    let tree = [
        "tree",
        "--offline",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let text = cargo(&[&tree, arguments].concat());
    text.lines()
        .filter_map(|line| line.split(' ').next())
        .map(str::to_owned)
        .collect()
}

/// What cargo prints of this package.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(arguments)
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .output()
        .expect("cargo starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "cargo {arguments:?} failed: {errors}"
    );
    String::from_utf8(output.stdout).expect("names are UTF-8")
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(' ').map(str::to_owned).collect()
}

/// The `//!` lines a file begins with, without their marks.
fn header(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
}

/// The items of a list, `- Key: text`; lines that go on with one are joined to it by line feeds.
fn items(body: &str) -> Vec<(String, String)> {
    let mut items: Vec<(String, String)> = Vec::new();
    for line in body.lines().filter(|line| !line.trim().is_empty()) {
        if let Some(item) = line.strip_prefix("- ") {
            let (key, text) = item.split_once(':').unwrap_or((item, ""));
            items.push((key.trim().to_owned(), text.trim().to_owned()));
        } else if let Some((_, text)) = items.last_mut() {
            text.push('\n');
            text.push_str(line.trim());
        } else {
            items.push((line.trim().to_owned(), String::new()));
        }
    }
    items
}

fn is_fault_id(id: &str) -> bool {
    let mut chars = id.chars();
    chars.next().is_some_and(|c| c.is_ascii_uppercase())
        && !chars.as_str().is_empty()
        && chars.all(|c| c.is_ascii_digit())
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[path = "support/limit.rs"]
mod limit;

#[path = "tidy/imports.rs"]
mod imports;

#[path = "tidy/made_up_trees.rs"]
mod made_up_trees;

#[path = "tidy/source.rs"]
mod source;

#[path = "tidy/study.rs"]
mod study;
