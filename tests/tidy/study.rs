//! The pages a learner works through: runtime/questions.md, and runtime/labs.md with the labs in tests/labs/.

use std::fmt::Write as _;

use super::*;

const QUESTIONS: &str = "runtime/questions.md";
const LABS: &str = "runtime/labs.md";
/// What stands behind this line of the page is written by [`labs_of_page`].
const WRITTEN: &str =
    "<!-- From here on written by tests/tidy/study.rs, from tests/labs/*.lab. -->\n";

/// Catches: a question whose proof or mutant is gone, or which has none; a table that says something else.
#[test]
fn every_question_has_code_a_proof_and_a_mutant_that_exist() {
    let _limit = limit(300);
    complain(&Tree::load(), |tree| questions(tree, 30));
}

/// Catches: a lab whose edit cannot be made any more, or that no question names.
#[test]
fn every_lab_can_be_made_and_belongs_to_a_question() {
    let _limit = limit(300);
    complain(&Tree::load(), labs);
}

/// Catches: a page that promises something else than tests/labs/run compares. `REVEILLE_LABS=write` writes it.
#[test]
fn the_page_of_the_labs_says_what_the_runner_compares() {
    let _limit = limit(300);
    let tree = Tree::load();
    let (by_hand, written) = tree.get(LABS).split_once(WRITTEN).unwrap();
    let expected = labs_of_page(&tree);
    if env::var_os("REVEILLE_LABS").is_some_and(|what| what == "write") {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(LABS);
        fs::write(path, format!("{by_hand}{WRITTEN}{expected}")).unwrap();
    } else {
        assert!(
            written == expected,
            "REVEILLE_LABS=write cargo test --test tidy labs"
        );
    }
}

/// An entry is a heading `# 7: Why ...?`, an answer, and a paragraph that begins with `Code: ` and goes on with
/// `Proof: `, `Mutant: ` and perhaps `Lab: `. The table has a row for each, with a file and the first proof.
pub(super) fn questions(tree: &Tree, count: usize) -> Vec<String> {
    let text = tree.get(QUESTIONS);
    let mut complaints = Vec::new();
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| |"))
        .map(|line| line.trim_matches(['|', ' ']).split(" | ").collect())
        .collect();
    let entries: Vec<&str> = text.split("\n# ").skip(1).collect();
    if entries.len() != count || rows.len() != count {
        complaints.push(format!(
            "{} questions and {} rows, not {count}",
            entries.len(),
            rows.len()
        ));
    }
    let doc_test = |name: &str| {
        let test = format!("\ntest: --doc {name}\n");
        tree.mutants().any(|(_, _, text)| text.contains(&test))
    };
    for (number, entry) in (1..).zip(&entries) {
        let mut complain = |what: String| complaints.push(format!("{QUESTIONS}: {number}: {what}"));
        if !entry.starts_with(&format!("{number}: ")) {
            complain(format!(
                "it is called `{}`",
                entry.lines().next().unwrap_or("")
            ));
        }
        let paragraph = entry.split("\n\n").find(|text| text.starts_with("Code: "));
        let paragraph = paragraph.unwrap_or("").replace('\n', " ");
        let (code, rest) = paragraph.split_once(" Proof: ").unwrap_or((&paragraph, ""));
        let (proof, rest) = rest.split_once(" Mutant: ").unwrap_or((rest, ""));
        let (mutant, lab) = rest.split_once(" Lab: ").unwrap_or((rest, ""));
        if !code.contains("](") {
            complain("no link to code".into());
        }
        if quoted(proof).next().is_none() {
            complain("no proof".into());
        }
        for name in quoted(proof).filter(|name| !tree.has_test(name) && !doc_test(name)) {
            complain(format!("no test `{name}`"));
        }
        if quoted(mutant).next().is_none() && !mutant.starts_with("none, because ") {
            complain("no mutant".into());
        }
        for name in quoted(mutant).filter(|name| !tree.mutants().any(|(_, id, _)| id == *name)) {
            complain(format!("no mutant `{name}`"));
        }
        for lab in numbers(lab) {
            let start = format!("{lab:02}-");
            if !all_labs(tree).any(|(name, _)| name.starts_with(&start)) {
                complain(format!("no lab {lab}"));
            }
        }
        if let Some(row) = rows.get(number - 1) {
            let cell = |nth: usize| row.get(nth).copied().unwrap_or("");
            let file = quoted(cell(2)).next().unwrap_or("");
            if cell(0) != number.to_string() {
                complain(format!("its row is numbered {}", cell(0)));
            }
            if !tree.has(file) {
                complain(format!("no file `{file}`"));
            }
            if quoted(cell(3)).next() != quoted(proof).next() {
                complain("the table names another test".into());
            }
        }
    }
    complaints
}

/// The form of a lab is described at the top of tests/labs/run, which also sees what it shows.
pub(super) fn labs(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    let entries: Vec<&str> = tree.get(QUESTIONS).split("\n# ").skip(1).collect();
    for (number, (name, text)) in (1..).zip(all_labs(tree)) {
        let lab = Lab(text);
        let mut complain = |what: &str| complaints.push(format!("{name}.lab: {what}"));
        if !name.starts_with(&format!("{number:02}-")) {
            complain(&format!("it is the lab {number}"));
        }
        if lab.header("title").is_empty() || lab.header("why").is_empty() {
            complain("no title, or no reason");
        }
        if !lab.header("run").starts_with("cargo run --example ") {
            complain("it runs no example");
        }
        let shows = lab.header("shows");
        let is_fault = tree
            .get("tests/FAULTS.md")
            .contains(&format!("\n## {shows}: "));
        // The first two need no knowledge.
        let begins = number <= 2 && shows == "nothing";
        if !is_fault && !shows.starts_with('R') && !begins {
            complain("it shows no invariant and no fault");
        }
        let source = format!("\n{}", tree.get(lab.header("file")));
        for (old, _) in lab.edits() {
            let count = source.matches(&format!("\n{old}")).count();
            if count != 1 {
                complain(&format!(
                    "the old lines occur {count} times in {}",
                    lab.header("file")
                ));
            }
        }
        if lab.edits().next().is_none() || lab.part("before") == lab.part("after") {
            complain("it changes nothing");
        }
        let question = lab.header("question").parse::<usize>().unwrap_or(0);
        if begins && question == 0 {
            continue;
        }
        let entry = entries.get(question.wrapping_sub(1)).unwrap_or(&"");
        let entry = entry.replace('\n', " ");
        let (_, named) = entry.split_once(" Lab: ").unwrap_or(("", ""));
        if !numbers(named).any(|named| named == number) {
            complain(&format!("question {question} does not name it"));
        }
    }
    if all_labs(tree).count() < 12 {
        complaints.push("fewer than a dozen labs".into());
    }
    complaints
}

/// The numbers in `5, 6.`
fn numbers(text: &str) -> impl Iterator<Item = usize> {
    let numbers = text.split(|c: char| !c.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok())
}

/// The name and the text of each lab, in their order.
fn all_labs(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.0.iter().filter_map(|(path, text)| {
        let name = path.strip_prefix("tests/labs/")?.strip_suffix(".lab")?;
        Some((name, text.as_str()))
    })
}

struct Lab<'a>(&'a str);

impl<'a> Lab<'a> {
    fn header(&self, name: &str) -> &'a str {
        let mut lines = self.0.lines().take_while(|line| !line.starts_with("---"));
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value.unwrap_or("").trim()
    }

    /// The old and the new lines of each edit.
    fn edits(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.split("--- old ---\n").skip(1).filter_map(|edit| {
            let (edit, _) = edit.split_once("--- end ---\n")?;
            edit.split_once("--- new ---\n")
        })
    }

    /// What is printed before, or after.
    fn part(&self, name: &str) -> &'a str {
        let (_, part) = self
            .0
            .split_once(&format!("--- {name} ---\n"))
            .unwrap_or(("", ""));
        part.split("---").next().unwrap_or("")
    }
}

/// What the page says of all labs.
fn labs_of_page(tree: &Tree) -> String {
    let mut page = String::new();
    let questions: Vec<&str> = tree.get(QUESTIONS).split("\n# ").skip(1).collect();
    for (number, (_, text)) in (1..).zip(all_labs(tree)) {
        let lab = Lab(text);
        let file = lab.header("file");
        let place = match lab.header("link") {
            "" => format!("`{file}`"),
            link => format!("[`{file}`]({link})"),
        };
        let question = lab.header("question").parse::<usize>().unwrap_or(0);
        let heading = questions.get(question.wrapping_sub(1)).unwrap_or(&"");
        let anchor = anchor(heading.lines().next().unwrap_or(""));
        let answer = format!("[question {question}](crate::questions#{anchor})");
        let edits: String = lab
            .edits()
            .map(|(old, new)| {
                let within = match function_of(tree.get(file), old) {
                    Some(name) => format!("`{name}` of "),
                    None => String::new(),
                };
                format!("In {within}{place}:\n```diff\n{}```\n", diff(old, new))
            })
            .collect();
        let _infallible = write!(
            page,
            "\n# {number}: {title}\n\n{edits}\
             Before the edit `{run}` prints\n```text\n{before}```\n\
             <details><summary>And after it?</summary>\n\n```text\n{after}```\n{why}\n\n</details>\n\n{go_on}",
            title = lab.header("title"),
            run = lab.header("run"),
            before = lab.part("before"),
            after = lab.part("after"),
            why = wrapped(lab.header("why")),
            go_on = match (lab.header("shows"), question) {
                ("nothing", 0) => String::new(),
                ("nothing", _) => format!("Go on with {answer}.\n"),
                (shows, _) => format!("This is {shows}, and {answer}.\n"),
            },
        );
    }
    page
}

/// The lines of an edit: taken out, `-`; put in, `+`; and those around, which stay.
fn diff(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let same = |(a, b): &(&&str, &&str)| a == b;
    let head = old.iter().zip(&new).take_while(same).count();
    let rest = old[head..].iter().rev().zip(new[head..].iter().rev());
    let tail = rest.take_while(same).count();
    let parts = [
        (" ", &old[..head]),
        ("-", &old[head..old.len() - tail]),
        ("+", &new[head..new.len() - tail]),
        (" ", &old[old.len() - tail..]),
    ];
    let lines = parts
        .iter()
        .flat_map(|(mark, lines)| lines.iter().map(move |line| format!("{mark}{line}\n")));
    lines.collect()
}

/// The name of the function in whose body the lines `old` stand, if they stand in one.
fn function_of<'a>(source: &'a str, old: &str) -> Option<&'a str> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let before = &source[..source.find(&format!("\n{old}"))? + 1];
    let depth = indent(old);
    let mut outer = before.lines().rev().filter(|line| indent(line) < depth);
    let is_function = |line: &&str| line.contains("fn ") && !line.trim_start().starts_with("//");
    let (_, name) = outer.find(is_function)?.split_once("fn ")?;
    name.split(['(', '<']).next()
}

fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut width = 0;
    for word in text.split(' ') {
        let end = match width {
            0 => "",
            width if width + word.len() > 120 => "\n",
            _ => " ",
        };
        width = if end == " " { width } else { 0 } + 1 + word.len();
        lines.push_str(end);
        lines.push_str(word);
    }
    lines
}

/// The relative links of a page that lead to no file, or to no heading. `read` gives the text of a file, and nothing
/// where there is none; of a folder it gives the empty text.
pub(super) fn links(page: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    // Code is between fences, and has no links.
    let prose = |text: &str| text.split("```").step_by(2).collect::<String>();
    let mut complaints = Vec::new();
    for link in prose(text).split("](").skip(1) {
        let link = link.split(')').next().unwrap_or("");
        if link.contains("://") || link.contains("::") {
            continue;
        }
        let (path, heading) = link.split_once('#').unwrap_or((link, ""));
        let target = match path {
            "" => page.to_owned(),
            path => beside(page, path),
        };
        let Some(text) = read(&target) else {
            complaints.push(format!("{page}: `{link}` leads to no file"));
            continue;
        };
        let text = prose(&text);
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        let is_meant = |line: &str| anchor(line.trim_start_matches('#').trim()) == heading;
        if target.ends_with(".md") && !heading.is_empty() && !headings.any(is_meant) {
            complaints.push(format!("{page}: `{link}` leads to no heading"));
        }
    }
    complaints
}

/// The path of what `page` calls `path`.
fn beside(page: &str, path: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

/// The anchor that rustdoc, and a forge, makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || ['-', '_', ' '].contains(c);
    let anchor: String = heading.to_lowercase().chars().filter(kept).collect();
    anchor.replace(' ', "-")
}
