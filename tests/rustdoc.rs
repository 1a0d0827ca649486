//! Every public function but getters has an example that runs, and every function that returns a future says what
//! errors there are, and what becomes of it if it is dropped.
//!
//! A `pub fn` is public in fact: rustc's `unreachable_pub` warns of others. Rules:
//! - A *getter* takes `&self` (or, its name beginning with `is_` or `as_`, a copy) and nothing else, waits for nothing, and
//!   is one expression.
//! - An *example* stands in the function's docs, or in those of its type or of another method of the type, or in those of
//!   its file or of lib.rs, and calls the function. It is compiled and run: `no_run` counts if [`NO_RUN`] gives a reason.
//! - The methods that a macro makes are judged once, with all examples of `net`.
//! - A function returns a *future* if it is async, or its type is `impl Future` or implements `Future`.
//!
//! That a function says when it panics, tests/inventory.rs sees to.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use limit::limit;
use source::{code, has_word};

#[path = "support/limit.rs"]
mod limit;

#[path = "tidy/source.rs"]
mod source;

/// Examples that are compiled only, by the function they stand at, and why.
const NO_RUN: [(&str, &str); 0] = [];

/// Functions that lib.rs publishes under another name.
const PUBLISHED_AS: [(&str, &str); 1] = [(
    "runtime/sys/fork.rs is_forked_child_error",
    "is_forked_child",
)];

#[test]
fn every_public_function_has_an_example_and_every_future_its_sections() {
    let _limit = limit(60);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = vec![(
        "lib.rs".to_owned(),
        fs::read_to_string(root.join("lib.rs")).unwrap(),
    )];
    read(root, "net", &mut files);
    read(root, "runtime", &mut files);
    let complaints = complaints(&files);
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Catches: a check that overlooks a form, or takes what does not run, or calls something else, for an example.
#[test]
fn the_check_finds_what_is_missing() {
    let _limit = limit(60);
    let files = [("net/thing.rs".to_owned(), MADE_UP.to_owned())];
    assert_eq!(
        complaints(&files),
        [
            "net/thing.rs Thing::ignored: example",
            "net/thing.rs Thing::compiled: example",
            "net/thing.rs Thing::wait: example",
            "net/thing.rs Thing::wait: # Errors",
            "net/thing.rs Thing::wait: # Cancel safety",
            "net/thing.rs Thing::hand_made: # Errors",
            "net/thing.rs Thing::named: # Cancel safety",
            "net/thing.rs Thing::not_one_expression: example",
            "net/thing.rs free: example",
            "net/thing.rs making!::made: example",
        ]
    );
}

const MADE_UP: &str = r#"
/// A thing.
///
/// ```
/// let thing = Thing::new();
/// thing.shown(1);
/// thing.hand_made().await; // And not thing.ignored(1).
/// thing.named().await;
/// thing.from_macro();
/// # free_standing(1);
/// ```
pub struct Thing(u8);

impl Thing {
    /// Shown at the type.
    pub fn new() -> Thing {
        Thing(0)
    }

    /// Shown at the type.
    pub fn shown<F>(&self, future: F, f: impl Fn() -> u8) -> bool
    where
        F: Future<Output = u8>,
    {
        drop(future);
        true
    }

    /// A getter.
    pub fn get(&self) -> u8 {
        self.0
    }

    /// A getter.
    pub const fn is_small(self) -> bool {
        self.0 < 8
    }

    /// ```ignore
    /// thing.ignored(1);
    /// ```
    pub fn ignored(&self, n: u8) {}

    /// ```no_run
    /// thing.compiled(1);
    /// ```
    pub fn compiled(&self, n: u8) {}

    /// ```
    /// thing.waited();
    /// ```
    pub async fn wait(&self) -> io::Result<()> {
        Ok(())
    }

    /// # Cancel safety
    /// Safe.
    pub fn hand_made(
        &self,
    ) -> impl Future<Output = io::Result<()>> {
        async { Ok(()) }
    }

    /// # Errors
    /// None.
    pub fn named(&self) -> Named {
        Named
    }

    pub fn not_one_expression(&self) -> u8 {
        let n = self.0;
        n
    }

    pub(crate) fn private(&self, n: u8) {}
}

impl Future for Named {
    type Output = io::Result<()>;
}

/// ```
/// thing.free(1);
/// ```
pub fn free(n: u8) {}

macro_rules! making {
    () => {
        pub fn from_macro(&self, n: u8) {}

        pub fn made(&self, n: u8) {}
    };
}
"#;

/// A public function.
struct Function {
    path: String,
    /// The type of its `impl`, or its macro, as `making!`; empty if it stands free.
    owner: String,
    name: String,
    /// From `pub` to the brace.
    head: String,
    body: String,
    docs: String,
}

/// What examples are looked for in.
#[derive(Default)]
struct Docs {
    /// By file: those of the file itself and of its modules, and of functions that stand free.
    files: BTreeMap<String, String>,
    /// By type: its own, and those of its methods.
    types: BTreeMap<String, String>,
    /// Types that implement `Future`, and whether the output is a `Result`.
    futures: BTreeMap<String, bool>,
}

fn complaints(files: &[(String, String)]) -> Vec<String> {
    let (mut functions, mut docs) = (Vec::new(), Docs::default());
    for (path, text) in files {
        scan(path, text, &mut functions, &mut docs);
    }
    let mut complaints = Vec::new();
    for function in &functions {
        let name = function.full_name();
        let mut missing = |what: &str| complaints.push(format!("{name}: {what}"));
        if !function.is_getter() && !function.has_example(&docs) {
            missing("example");
        }
        if let Some(fails) = function.future(&docs) {
            if fails && !has_section(&function.docs, "# Errors") {
                missing("# Errors");
            }
            if !has_section(&function.docs, "# Cancel safety") {
                missing("# Cancel safety");
            }
        }
    }
    complaints
}

impl Function {
    fn full_name(&self) -> String {
        let separator = if self.owner.is_empty() { "" } else { "::" };
        format!("{} {}{separator}{}", self.path, self.owner, self.name)
    }

    fn is_method(&self) -> bool {
        has_word(&self.head, "self")
    }

    /// What is between the parentheses, and what is returned, without the bounds.
    fn arguments_and_output(&self) -> (&str, &str) {
        let head = self.head.split(" where ").next().unwrap_or("");
        // The last one: closures among the arguments have theirs.
        let (arguments, output) = head.rsplit_once("->").unwrap_or((head, ""));
        let arguments = arguments.split_once('(').map_or("", |(_, rest)| rest);
        (arguments.trim().trim_end_matches(')').trim(), output.trim())
    }

    fn is_getter(&self) -> bool {
        let (arguments, output) = self.arguments_and_output();
        let copies = self.name.starts_with("is_") || self.name.starts_with("as_");
        let waits = has_word(&self.head, "async") || output.contains("Future<");
        let tries = self.name.starts_with("try_") || self.name.starts_with("poll_");
        let looks = arguments == "&self" || arguments == "self" && copies;
        looks && !output.is_empty() && !waits && !tries && !self.body.contains(';')
    }

    /// Whether the future that the function returns, if it does, may give an error.
    fn future(&self, docs: &Docs) -> Option<bool> {
        let (_, output) = self.arguments_and_output();
        if has_word(&self.head, "async") || output.contains("Future<") {
            return Some(output.contains("Result<"));
        }
        let named: String = output.chars().take_while(is_joined).collect();
        // What changes a future and returns it has its docs at the type.
        let fails = docs.futures.get(&named).copied();
        fails.filter(|_| named != self.owner)
    }

    fn has_example(&self, docs: &Docs) -> bool {
        let no_run = NO_RUN.iter().any(|(name, _)| *name == self.full_name());
        let shown = |text: &str, must: &str| {
            let examples = examples(text, no_run);
            examples
                .iter()
                .any(|example| has_word(example, must) && self.is_called(example))
        };
        if shown(&self.docs, "") {
            return true;
        }
        if self.owner.ends_with('!') {
            return docs.types.values().any(|text| shown(text, ""));
        }
        let nearby = [&self.path, "lib.rs"].map(|path| docs.files.get(path));
        let mut nearby = nearby.into_iter().flatten();
        let of_type = docs.types.get(&self.owner);
        of_type.is_some_and(|text| shown(text, "")) || nearby.any(|text| shown(text, &self.owner))
    }

    fn is_called(&self, example: &str) -> bool {
        let name = self.full_name();
        let published = PUBLISHED_AS.iter().find(|(inside, _)| *inside == name);
        let name = published.map_or(self.name.as_str(), |(_, outside)| *outside);
        example.match_indices(name).any(|(at, name)| {
            let (before, after) = (&example[..at], &example[at + name.len()..]);
            let is_call = after.starts_with(['(', '!']) || after.starts_with("::<");
            let is_path = before.ends_with("::");
            let fits = match (self.is_method(), self.owner.is_empty()) {
                (true, _) => is_path || before.ends_with('.'),
                (false, false) => is_path,
                (false, true) => {
                    is_path
                        || !before.ends_with(|c| c == '.' || is_joined(&c))
                            && !before.ends_with("fn ")
                }
            };
            is_call && fits
        })
    }
}

/// Reads a file line by line; `rustfmt` sees to it that indentation tells what is inside of what.
fn scan(path: &str, text: &str, functions: &mut Vec<Function>, docs: &mut Docs) {
    let raw: Vec<&str> = text.lines().collect();
    let code = code(text);
    let code: Vec<&str> = code.lines().collect();
    let (mut owner, mut above) = (String::new(), String::new());
    for (number, line) in code.iter().enumerate() {
        let trimmed = raw[number].trim_start();
        if let Some(doc) = trimmed.strip_prefix("//!") {
            push(docs.files.entry(path.to_owned()).or_default(), doc);
        } else if let Some(doc) = trimmed.strip_prefix("///") {
            push(&mut above, doc);
        }
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with("#[") {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if indent == 0
            && !["}", "where", "{", ")"]
                .iter()
                .any(|end| trimmed.starts_with(end))
        {
            owner = owner_of(line);
        }
        if trimmed.starts_with("impl") && trimmed.contains("Future for ") {
            let output = code[number..]
                .iter()
                .find(|line| line.contains("type Output"));
            let fails = output.is_some_and(|line| line.contains("Result<"));
            docs.futures.insert(owner_of(line), fails);
        }
        let of = [&owner, &item(trimmed, "struct "), &item(trimmed, "enum ")]
            .into_iter()
            .find(|name| !name.is_empty() && !above.is_empty())
            .cloned();
        match of {
            Some(of) => push(docs.types.entry(of).or_default(), &above),
            None => push(docs.files.entry(path.to_owned()).or_default(), &above),
        }
        let name = item(trimmed, "fn ");
        if ["pub fn", "pub async fn", "pub const fn"]
            .iter()
            .any(|start| trimmed.starts_with(start))
        {
            let is_end = |line: &&str| line.contains('{');
            let length = code[number..].iter().position(is_end).unwrap_or(0);
            let head: Vec<&str> = code[number..=number + length]
                .iter()
                .map(|line| line.trim())
                .collect();
            let head = head.join(" ").replace(", )", ")").replace("( ", "(");
            let (head, rest) = head.split_once('{').unwrap_or((&head, "}"));
            let closing = format!("{}}}", " ".repeat(indent));
            let mut body = code[number + length + 1..]
                .iter()
                .take_while(|line| **line != closing);
            let body: String = if rest.contains('}') {
                String::new()
            } else {
                body.by_ref().copied().collect()
            };
            functions.push(Function {
                path: path.to_owned(),
                owner: owner.clone(),
                name,
                head: head.trim().to_owned(),
                body,
                docs: above.clone(),
            });
        }
        above.clear();
    }
}

/// The type of an `impl`, the name of a macro; empty for all else.
fn owner_of(line: &str) -> String {
    if let Some(name) = line.strip_prefix("macro_rules! ") {
        return format!("{}!", name.trim_end_matches([' ', '{']));
    }
    let Some(of) = line.trim().strip_prefix("impl") else {
        return String::new();
    };
    let of = of.rsplit(" for ").next().unwrap_or(of).trim_start();
    let of = match of.strip_prefix('<') {
        Some(rest) => rest.split_once("> ").map_or(rest, |(_, of)| of),
        None => of,
    };
    of.chars().take_while(is_joined).collect()
}

/// The name after `keyword`, if the line is the head of such an item.
fn item(line: &str, keyword: &str) -> String {
    let Some((before, after)) = line.split_once(keyword) else {
        return String::new();
    };
    let modifiers = ["pub", "async", "const"];
    if !before
        .split_whitespace()
        .all(|word| modifiers.contains(&word) || word.starts_with("pub("))
    {
        return String::new();
    }
    after.chars().take_while(is_joined).collect()
}

/// The code blocks of a text that are run, without their comments; with those that are only compiled, if these count.
fn examples(text: &str, no_run: bool) -> Vec<String> {
    let mut found = Vec::new();
    // Whether the block that is open counts.
    let mut open: Option<bool> = None;
    for line in text.lines().map(str::trim) {
        match (line.strip_prefix("```"), open) {
            (Some(kind), None) => {
                let runs =
                    ["", "rust", "should_panic"].contains(&kind) || no_run && kind == "no_run";
                open = Some(runs);
                if runs {
                    found.push(String::new());
                }
            }
            (Some(_), Some(_)) => open = None,
            (None, Some(true)) => push(found.last_mut().unwrap(), line),
            (None, _) => {}
        }
    }
    found.iter().map(|example| code(example)).collect()
}

fn has_section(docs: &str, section: &str) -> bool {
    docs.lines().any(|line| line.trim() == section)
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn is_joined(c: &char) -> bool {
    c.is_alphanumeric() || *c == '_'
}

/// The Rust files in a directory and below, by their path from the root, in order.
fn read(root: &Path, directory: &str, files: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> = fs::read_dir(root.join(directory))
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read(root, &path, files);
        } else if path.ends_with(".rs") {
            files.push((path, fs::read_to_string(entry.path()).unwrap()));
        }
    }
}
