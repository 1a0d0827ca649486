//! The checks of tidy on trees made for them: each is content with a good tree and sees its fault.

use super::*;

const MUTANT: &str = "file: runtime/slab.rs
test: --test slab a_stale_name_finds_nothing -- --exact
why: R6: an old name finds whoever lives in the slot now.
--- old ---
a
--- new ---
b
--- end ---
";

const FAULTS: &str = "# Faults

An entry looks like this:

    ## A1: indented, so it is none

## A1: first
- Mechanism: goes on
  in a second line.
- Defense: R6.
- Test: `a_stale_name_finds_nothing`,
  `another`
- Mutant: `R6-serial-ignored`

## A2: second
- Mechanism: a bus.
- Does not apply: there is no bus.

## B12: third
- Mechanism: m
- Defense: d
- Test: `another`
- Mutant: none, because `edits` cannot show it.
";

fn tree(files: &[(&str, &str)]) -> Tree {
    Tree(
        files
            .iter()
            .map(|(path, text)| (path.to_string(), text.to_string()))
            .collect(),
    )
}

/// A tree with which every check but `invariants` is content, and then some files changed.
fn good_but(files: &[(&str, &str)]) -> Tree {
    let mut good = tree(&[
        (
            "README.md",
            "# x\n\n| [`runtime/slab.rs`](runtime/slab.rs) | 2 | names |\n",
        ),
        ("CHANGELOG.md", "## [0.1.0] - unreleased\n"),
        (
            "lib.rs",
            "//! A library.\n#![allow(rustdoc::private_intra_doc_links)]\n",
        ),
        ("runtime/slab.rs", "//! Names.\nstruct Slab;\n"),
        (
            "runtime/sys/epoll.rs",
            "//! System calls.\nfn f() { unsafe {} }\n",
        ),
        (
            "tests/slab.rs",
            "fn a_stale_name_finds_nothing() {}\nfn another() {}\n",
        ),
        (
            "tests/mutants/runtime/slab/R6-serial-ignored.mutant",
            MUTANT,
        ),
        ("tests/FAULTS.md", FAULTS),
    ]);
    good.0.append(&mut tree(files).0);
    good
}

#[test]
fn good_trees_cause_no_complaint() {
    let good = good_but(&[]);
    for check in [readme, faults, mutants, unsafe_code, leftovers, headers] {
        complain(&good, check);
    }
    complain(&good, |tree| changelog(tree, "0.1.0"));
    complain(&with_invariants(), invariants);
}

#[test]
fn an_empty_tree_causes_complaints() {
    for check in [readme, invariants, faults, headers] {
        assert!(!check(&Tree::default()).is_empty());
    }
    assert!(!changelog(&Tree::default(), "0.1.0").is_empty());
}

#[test]
fn a_wrong_line_count_is_seen() {
    let tree = good_but(&[(
        "runtime/slab.rs",
        "//! Names.\nstruct Slab;\nstruct Name;\n",
    )]);
    assert_eq!(
        readme(&tree),
        ["README.md:3: `runtime/slab.rs` has 3 lines, not `2`"]
    );
}

#[test]
fn a_row_for_a_missing_file_or_another_one_is_seen() {
    let tree = good_but(&[(
        "README.md",
        "| [`a.rs`](a.rs) | 2 |\n| [`lib.rs`](a.rs) | 2 |\n",
    )]);
    assert_eq!(
        readme(&tree),
        [
            "README.md:1: no file `a.rs`",
            "README.md:2: `lib.rs` links to another file"
        ],
    );
}

#[test]
fn a_long_readme_is_seen() {
    let row = "| [`runtime/slab.rs`](runtime/slab.rs) | 2 |\n";
    let tree = good_but(&[("README.md", &row.repeat(201))]);
    assert_eq!(readme(&tree), ["README.md has 201 lines, more than 200"]);
}

/// R1 to R10, all defined, cited, tested and broken.
fn with_invariants() -> Tree {
    let all = || 1..=INVARIANTS;
    let define = |n| format!("//! - **R{n}** An index is queued once, see R1.\n//!   and R2.\n");
    let header: String = all().map(define).collect();
    let cited: String = all().map(|n| format!("// R{n}: why.\n")).collect();
    let mutants: Vec<_> = all()
        .map(|n| format!("tests/mutants/runtime/slab/R{n}-x.mutant"))
        .collect();
    let mut tree = tree(&[
        ("runtime/mod.rs", &header),
        ("runtime/slab.rs", &cited),
        ("tests/unit/slab.rs", &cited),
    ]);
    tree.0
        .extend(mutants.into_iter().map(|path| (path, MUTANT.to_owned())));
    tree
}

#[test]
fn an_invariant_without_citation_test_or_mutant_is_seen() {
    let mut tree = with_invariants();
    for path in ["runtime/slab.rs", "tests/unit/slab.rs"] {
        tree.0
            .insert(path.into(), tree.get(path).replace("R1:", "r1:")); // R10 is not R1.
    }
    tree.0.remove("tests/mutants/runtime/slab/R1-x.mutant");
    assert_eq!(
        invariants(&tree),
        [
            "R1 is cited in no source but runtime/mod.rs",
            "R1 is cited in no test",
            "R1 has no mutant",
        ],
    );
}

#[test]
fn an_invariant_that_is_missing_or_defined_twice_is_seen() {
    let mut tree = with_invariants();
    tree.0.insert(
        "runtime/mod.rs".into(),
        tree.get("runtime/mod.rs").replace("*R3", "*R2"),
    );
    assert_eq!(
        invariants(&tree),
        [
            "R2 is defined twice in runtime/mod.rs",
            "runtime/mod.rs defines {1, 2, 4, 5, 6, 7, 8, 9, 10}, not 1 to 10",
        ],
    );
}

#[track_caller]
fn faults_with(old: &str, new: &str, complaints: &[&str]) {
    assert_eq!(FAULTS.matches(old).count(), 1, "`{old}` is there once");
    let tree = good_but(&[("tests/FAULTS.md", &FAULTS.replace(old, new))]);
    assert_eq!(faults(&tree), complaints);
}

#[test]
fn an_entry_that_names_what_does_not_exist_is_seen() {
    faults_with(
        "  `another`",
        "  `other`",
        &["FAULTS.md: A1: no test `other`"],
    );
    faults_with(
        "`R6-s",
        "`R6-t",
        &["FAULTS.md: A1: no mutant `R6-terial-ignored`"],
    );
}

#[test]
fn contents_that_lack_an_entry_or_name_another_are_seen() {
    let text = "- [A1](#a1-its-end): it's end\n- [A3](#a3-x): x\n\n## A1: it's end\n\n## A2: y\n";
    assert_eq!(
        contents(&tree(&[("tests/FAULTS.md", text)])),
        ["FAULTS.md: the contents have `- [A3](#a3-x): x` in place of `- [A2](#a2-y): y`"],
    );
    let text = "- [A1](#a1-x): x\n- [A3](#a3-x): x\n\n## A1: x\n";
    assert_eq!(
        contents(&tree(&[("tests/FAULTS.md", text)])),
        ["FAULTS.md: no entry for `- [A3](#a3-x): x`"],
    );
}

#[test]
fn an_entry_of_another_form_is_seen() {
    faults_with(
        "## A2: second",
        "## second",
        &["FAULTS.md: \"second\" does not begin like \"A1: \""],
    );
    faults_with(
        "## A2: second",
        "## A1: second",
        &["FAULTS.md: A1 is there twice"],
    );
    faults_with(
        "- Defense: R6.\n",
        "",
        &["FAULTS.md: A1 has the items [\"Mechanism\", \"Test\", \"Mutant\"]"],
    );
    faults_with("R6.", "", &["FAULTS.md: A1: nothing after \"Defense:\""]);
    faults_with(
        "no bus.",
        "\n  bus.",
        &["FAULTS.md: A2: why it does not apply is one line"],
    );
    faults_with("none, because ", "", &["FAULTS.md: B12: no mutant `edits`"]);
    faults_with(
        "none, because `edits`",
        "nothing",
        &["FAULTS.md: B12 names no mutant"],
    );
}

#[test]
fn a_mutant_of_a_missing_file_or_test_is_seen() {
    let old_names = MUTANT
        .replace("slab.rs", "plate.rs")
        .replace("stale_name", "stale_key");
    let tree = good_but(&[("tests/mutants/runtime/slab/R6-x.mutant", &old_names)]);
    assert_eq!(
        mutants(&tree),
        [
            "R6-x.mutant: no file `runtime/plate.rs`",
            "R6-x.mutant: it edits `runtime/plate.rs`, and lies in `runtime/slab`",
            "R6-x.mutant: no test `a_stale_key_finds_nothing`",
        ],
    );
}

#[test]
fn a_mutant_in_another_folder_or_twice_is_seen() {
    let tree = good_but(&[(
        "tests/mutants/runtime/plate/R6-serial-ignored.mutant",
        MUTANT,
    )]);
    assert_eq!(
        mutants(&tree),
        [
            "R6-serial-ignored.mutant: it edits `runtime/slab.rs`, and lies in `runtime/plate`",
            "R6-serial-ignored.mutant: there are two",
        ],
    );
}

#[test]
fn a_mutant_may_name_its_test_with_its_module() {
    let by_module = MUTANT.replace("--test slab a_", "--lib unit::slab::a_");
    complain(
        &good_but(&[("tests/mutants/runtime/slab/R6-x.mutant", &by_module)]),
        mutants,
    );
}

#[test]
fn unsafe_elsewhere_is_seen() {
    let tree = good_but(&[("net/mod.rs", "//! Net.\nfn f() { unsafe {} }\n")]);
    assert_eq!(
        unsafe_code(&tree),
        ["net/mod.rs: `unsafe` belongs in \
          net/sys/, runtime/sys/, runtime/task/cell.rs, runtime/name/waker.rs"],
    );
}

#[test]
fn unsafe_in_any_file_of_a_folder_for_it_is_fine_and_beside_the_folder_is_seen() {
    let source = "//! Calls.\nfn f() { unsafe {} }\n";
    for path in ["net/sys/mod.rs", "runtime/sys/deep/er.rs"] {
        complain(&good_but(&[(path, source)]), unsafe_code);
    }
    for path in [
        "net/sys.rs",
        "net/sys_calls.rs",
        "net/tcp/sys/a.rs",
        "runtime/task/cell.rs/a.rs",
    ] {
        assert_eq!(unsafe_code(&good_but(&[(path, source)])).len(), 1, "{path}");
    }
}

#[test]
fn an_unsafe_impl_is_seen_even_where_unsafe_is_allowed() {
    let plain = good_but(&[(
        "runtime/task/cell.rs",
        "//! T.\nunsafe  impl Send for T {}\n",
    )]);
    assert_eq!(unsafe_code(&plain), ["runtime/task/cell.rs: `unsafe impl`"]);
    let generic = good_but(&[(
        "runtime/task/cell.rs",
        "//! T.\nunsafe impl<T> Send for A<T> {}\n",
    )]);
    assert_eq!(
        unsafe_code(&generic),
        ["runtime/task/cell.rs: `unsafe impl`"]
    );
}

#[test]
fn the_word_unsafe_in_comments_strings_and_names_is_no_code() {
    let source = r##"//! unsafe
/* unsafe /* unsafe */ unsafe */
#![warn(unsafe_op_in_unsafe_fn)]
const A: &str = "unsafe \" unsafe";
const B: &[u8] = br#"unsafe " unsafe"#;
const C: char = '"'; // unsafe
const D: char = '\''; // unsafe
fn f<'a>(x: &'a str) -> &'a str { x } // unsafe
"##;
    complain(&good_but(&[("net/mod.rs", source)]), unsafe_code);
    let after = format!("{source}unsafe fn g() {{}}\n");
    assert_eq!(unsafe_code(&good_but(&[("net/mod.rs", &after)])).len(), 1);
}

#[test]
fn a_silenced_lint_is_seen() {
    let source = "//! Net.\n#[allow(dead_code)]\nfn f() {}\n#[expect(dead_code, reason = \"\")]\n";
    assert_eq!(
        leftovers(&good_but(&[("net/mod.rs", source)])),
        ["net/mod.rs:2: `allow`: use `expect`, with a reason"],
    );
}

#[test]
fn what_is_unfinished_or_printed_is_seen_with_its_line() {
    let source = "//! Net.\n/* a\n b */ fn f() { todo!() }\nfn g() { dbg!(1); }\n\
                  // println!\nfn h() { println!(\"\n\"); eprint!() }\n";
    assert_eq!(
        leftovers(&good_but(&[("net/mod.rs", source)])),
        [
            "net/mod.rs:3: `todo!`",
            "net/mod.rs:4: `dbg!`",
            "net/mod.rs:6: `println!`",
            "net/mod.rs:7: `eprint!`",
        ],
    );
}

#[test]
fn a_long_file_gives_its_reason() {
    let long = "fn f() {}\n".repeat(420);
    let without = format!("//! Net.\n{long}");
    assert_eq!(headers(&good_but(&[("net/mod.rs", &without)])).len(), 1);
    let with = format!("//! Net.\n//!\n//! Over 400 lines because it is.\n{long}");
    complain(&good_but(&[("net/mod.rs", &with)]), headers);
}

#[test]
fn a_file_without_a_header_is_seen() {
    let tree = good_but(&[("net/mod.rs", "use std::io;\n//! Net.\n")]);
    assert_eq!(headers(&tree), ["net/mod.rs does not begin with `//!`"]);
}

#[test]
fn a_version_without_an_entry_is_seen() {
    assert_eq!(changelog(&good_but(&[]), "0.1.1").len(), 1);
}

#[test]
fn a_let_chain_is_found_and_what_looks_like_one_is_none() {
    for chain in [
        "if let Some(x) = y && z {}",
        "if z && let Some(x) = y {}",
        "if let P { a, b: Q { .. } } = y && z {}",
        "while let Some(x) = y\n    && x > 1\n{}",
        "} else if a && let Ok(b) = c {",
    ] {
        let tree = good_but(&[("runtime/slab.rs", chain)]);
        assert_eq!(let_chains(&tree).len(), 1, "{chain}");
    }
    for none in [
        "if let Some(x) = (y && z) {}",
        "if let Some(x) = y { if a && b {} }",
        "if a && b {}",
        "if let P { a, .. } = y { if b && c {} }",
        "while let Some(x) = f(|| a && b) {}",
        "match x { y if a && b => {} _ => {} }",
        "// if let Some(x) = y && z {}",
    ] {
        let tree = good_but(&[("runtime/slab.rs", none)]);
        assert_eq!(let_chains(&tree), [""; 0], "{none}");
    }
}

/// A tree with the files that need no limit, and one more.
fn with_tests(path: &str, text: &str) -> Tree {
    let mut tree = tree(&UNLIMITED.map(|(path, _)| (path, "#[test]\nfn a() {\n    b();\n}\n")));
    tree.0.insert(path.to_owned(), text.to_owned());
    tree
}

#[test]
fn a_test_without_a_limit_is_seen() {
    for body in [
        "f();",
        "f(limit(30));",
        "// within(\n    f();",
        "f(\"within(\");",
        "limit(30);",
        "let _ = limit(30);",
        "unlimited(30);",
        "const N: usize = 1; f(N); within(10, f);",
    ] {
        for head in ["#[test]\nfn a() {", "#[test]\n#[should_panic]\nfn a() {"] {
            let tree = with_tests("tests/slab.rs", &format!("{head}\n    {body}\n}}\n"));
            assert_eq!(
                limits(&tree),
                ["tests/slab.rs: `a` does not begin with a limit: `let _limit = limit(30);`"],
                "{body}"
            );
        }
    }
}

#[test]
fn a_test_with_a_limit_causes_no_complaint() {
    for body in [
        "let _limit = limit(30);\n    f();",
        "/// How many.\n    const N: usize = 1;\n    let status = child::child(\"a(b\", f);",
        "let name = \"a\";\n    in_child(name, f);",
    ] {
        let text = format!("fn f() {{\n    g();\n}}\n\n#[test]\nfn a() {{\n    {body}\n}}\n");
        complain(&with_tests("tests/slab.rs", &text), limits);
    }
}

#[test]
fn a_file_without_limits_that_waits_or_is_gone_is_seen() {
    let (path, _) = UNLIMITED[0];
    let mut tree = with_tests(path, "fn f() {\n    reveille::block_on(g());\n}\n");
    assert_eq!(limits(&tree), [format!("{path}: `block_on`, and no limit")]);
    tree.0.remove(path);
    assert_eq!(
        limits(&tree),
        [format!("no file `{path}`, which needs no limit")]
    );
}

const TWO_FLOORS: [&str; 3] = ["run", "task/cell", "sys/epoll"];

fn three_files(files: &[(&str, &str)]) -> Tree {
    let mut all = vec![
        (
            "runtime/mod.rs",
            "//! Page.\nmod run;\nmod task;\nmod sys;\npub use run::Runtime;\n",
        ),
        ("runtime/task/mod.rs", "//! Page.\npub(crate) mod cell;\n"),
        (
            "runtime/sys/mod.rs",
            "//! Page.\nmod epoll;\npub(crate) use epoll::{Epoll, Events};\n",
        ),
        (
            "runtime/run.rs",
            "use super::task::cell::Cell;\nfn run() {}\n",
        ),
        (
            "runtime/task/cell.rs",
            "use crate::runtime::sys::{Epoll, Events};\nfn cell() {}\n",
        ),
        ("runtime/sys/epoll.rs", "fn wait() {}\n"),
    ];
    for (path, text) in files {
        all.retain(|(old, _)| old != path);
        all.push((path, text));
    }
    tree(&all)
}

#[test]
fn imports_that_run_downwards_cause_no_complaint() {
    let _limit = limit(30);
    assert_eq!(
        imports::upwards(&three_files(&[]), &TWO_FLOORS, &[]),
        [""; 0]
    );
}

#[test]
fn an_import_that_runs_upwards_is_seen_in_whatever_form() {
    let _limit = limit(30);
    for import in [
        "use super::super::task::cell::Cell;\nfn f() {}\n",
        "use crate::runtime::task::cell;\nfn f() {}\n",
        "use crate::runtime::task::cell::{self, Cell};\nfn f() {}\n",
        "fn f() { crate::runtime::task::cell::cell() }\n",
        "impl crate::runtime::task::cell::Cell { fn f() {} }\n",
        "use crate::runtime::{task::cell, sys::epoll};\nfn f() {}\n",
        "use crate::runtime::{\n    sys::epoll,\n    task::{cell::{self, Cell}},\n};\nfn f() {}\n",
        "pub(crate) use crate::runtime::task::cell::Cell;\nfn f() {}\n",
        "use crate::runtime::task::cell::Cell as C;\nfn f() {}\n",
    ] {
        let tree = three_files(&[("runtime/sys/epoll.rs", import)]);
        assert_eq!(
            imports::upwards(&tree, &TWO_FLOORS, &[]),
            ["runtime/sys/epoll.rs imports upwards, from task/cell"],
            "{import}"
        );
        let table = [("sys/epoll", "task/cell", "made up")];
        assert_eq!(imports::upwards(&tree, &TWO_FLOORS, &table), [""; 0]);
    }
}

#[test]
fn an_import_that_leads_to_no_file_is_seen() {
    let _limit = limit(30);
    for (import, to) in [
        ("use crate::Runtime;", "crate::Runtime"),
        ("use crate::task::JoinHandle;", "crate::task::JoinHandle"),
        ("use crate::runtime::*;", "crate::runtime::*"),
        ("use crate::runtime as rt;", "mod"),
        ("use crate::runtime::task;", "task/mod"),
        ("use crate::runtime::task::{self};", "task/mod"),
        ("use crate as c;", "crate"),
    ] {
        let text = format!("{import}\nfn f() {{}}\n");
        let tree = three_files(&[("runtime/sys/epoll.rs", &text)]);
        assert_eq!(
            imports::upwards(&tree, &TWO_FLOORS, &[]),
            [format!(
                "runtime/sys/epoll.rs imports {to}, which is no file below it"
            )],
            "{import}"
        );
    }
}

#[test]
fn an_import_through_a_page_leads_to_the_file_that_the_page_has_it_from() {
    let _limit = limit(30);
    let import = "use crate::runtime::Runtime;\nfn f() {}\n";
    let tree = three_files(&[("runtime/sys/epoll.rs", import)]);
    assert_eq!(
        imports::upwards(&tree, &TWO_FLOORS, &[]),
        ["runtime/sys/epoll.rs imports upwards, from run"]
    );
}

#[test]
fn comments_and_what_only_unit_tests_see_are_no_imports() {
    let _limit = limit(30);
    let import = "// use crate::runtime::run::Runtime;\n#[cfg(test)]\nuse crate::runtime::run::Runtime;\nfn f() {}\n";
    let tree = three_files(&[("runtime/sys/epoll.rs", import)]);
    assert_eq!(imports::upwards(&tree, &TWO_FLOORS, &[]), [""; 0]);
}

#[test]
fn an_order_or_a_table_that_is_not_of_the_tree_is_seen() {
    let _limit = limit(30);
    let tree = three_files(&[("runtime/task/id.rs", "fn id() {}\n")]);
    let table = [("sys/epoll", "run", "made up")];
    assert_eq!(
        imports::upwards(&tree, &["run", "task/cell", "sys/epoll", "gone"], &table),
        [
            "runtime/task/id.rs has no place in the order of imports",
            "runtime/gone.rs is in the order of imports, and not there",
            "no import of sys/epoll from run runs upwards: strike it out",
        ]
    );
}

#[test]
fn what_net_knows_beside_its_doors_is_seen() {
    let _limit = limit(30);
    let good = "use super::sys;\nuse crate::io::AsyncFd;\nuse crate::runtime::Handle;\n";
    let inside = "use crate::runtime::io::operation::Attempt;\n";
    let tree = tree(&[
        ("net/tcp/stream.rs", good),
        ("net/stream.rs", inside),
        ("net/addr.rs", inside),
        (
            "net/split.rs",
            "use super::super::runtime;\nuse crate::runtime::HandleInside;\n",
        ),
        (
            "net/tcp/mod.rs",
            "pub(super) use crate::runtime::core::Core;\n",
        ),
    ]);
    assert_eq!(
        imports::doors(&tree),
        [
            "net/addr.rs: `crate::runtime::io::operation::Attempt` is none of the doors net/ stands on",
            "net/split.rs: `super::super::runtime` is none of the doors net/ stands on",
            "net/split.rs: `crate::runtime::HandleInside` is none of the doors net/ stands on",
            "net/tcp/mod.rs: `crate::runtime::core::Core` is none of the doors net/ stands on",
        ]
    );
}

#[test]
fn headers_that_lead_nowhere_or_leave_a_file_out_are_seen() {
    let _limit = limit(30);
    let files = [
        ("lib.rs", "//! Begin with `slab`.\n"),
        (
            "runtime/mod.rs",
            "//! Page.\n//! Read next: `name::slab`.\nmod name;\n",
        ),
        (
            "runtime/name/slab.rs",
            "//! Slab.\n//! Read before: `wall`. Read next:\n//! `waker`, `slab`.\nfn f() {}\n",
        ),
        ("runtime/name/waker.rs", "//! Waker.\nfn f() {}\n"),
        (
            "net/stream.rs",
            "//! Stream.\n//! Read before: `waker`.\nfn f() {}\n",
        ),
    ];
    assert_eq!(
        reading_order(&tree(&files)),
        [
            "runtime/name/slab.rs: no file `wall` to read",
            "runtime/name/waker.rs: no \"Read before\" and no \"Read next\"",
            "net/stream.rs: no header sends a reader there",
        ]
    );
}

const QUESTIONS: &str = "Questions.

| | question | file | test |
|---:|---|---|---|
| 1 | why names | `runtime/slab.rs` | `another` |

# 1: Why names?

Because.

Code: [`slab`](crate::slab).
Proof: `another`. Mutant: `R6-serial-ignored`. Lab: 1.
";

const LAB: &str = "title: A title
file: runtime/slab.rs
run: cargo run --example lab -- scene
question: 1
shows: R6
why: A reason.
--- old ---
struct Slab;
--- new ---
--- end ---
--- before ---
1
--- after ---
2
--- end ---
";

#[test]
fn what_is_wrong_with_a_question_is_seen() {
    let complaints = |from: &str, to: &str| {
        assert!(QUESTIONS.contains(from));
        let page = QUESTIONS.replacen(from, to, 1);
        study::questions(
            &good_but(&[
                ("runtime/questions.md", &page),
                ("tests/labs/01-x.lab", LAB),
            ]),
            1,
        )
    };
    assert!(complaints("Because", "For").is_empty());
    for (from, to, complaint) in [
        ("# 1:", "# 2:", "1: it is called `2: Why names?`"),
        ("[`slab`](crate::slab)", "`slab`", "1: no link to code"),
        ("Proof: `another`", "Proof: none", "1: no proof"),
        (
            "Proof: `another`",
            "Proof: `another`, `gone`",
            "1: no test `gone`",
        ),
        ("`R6-serial-ignored`", "none", "1: no mutant"),
        ("`R6-serial-ignored`", "`gone`", "1: no mutant `gone`"),
        ("Lab: 1", "Lab: 2", "1: no lab 2"),
        ("| 1 |", "| 2 |", "1: its row is numbered 2"),
        ("runtime/slab.rs", "gone.rs", "1: no file `gone.rs`"),
        (
            "| `another`",
            "| `other`",
            "1: the table names another test",
        ),
    ] {
        let complaint = format!("runtime/questions.md: {complaint}");
        assert!(
            complaints(from, to).contains(&complaint),
            "{from}: {:?}",
            complaints(from, to)
        );
    }
    let none = study::questions(&good_but(&[]), 1);
    assert_eq!(none, ["0 questions and 0 rows, not 1"]);
}

#[test]
fn what_is_wrong_with_a_lab_is_seen() {
    let complaints = |from: &str, to: &str| {
        assert!(LAB.contains(from));
        let lab = LAB.replacen(from, to, 1);
        let tree = good_but(&[
            ("runtime/questions.md", QUESTIONS),
            ("tests/labs/01-x.lab", &lab),
        ]);
        study::labs(&tree)
    };
    assert_eq!(
        complaints("A title", "Another"),
        ["fewer than a dozen labs"]
    );
    for (from, to, complaint) in [
        ("title: A title", "title:", "no title, or no reason"),
        ("cargo run", "rm", "it runs no example"),
        (
            "struct Slab",
            "struct Gone",
            "the old lines occur 0 times in runtime/slab.rs",
        ),
        ("\n2\n", "\n1\n", "it changes nothing"),
        ("question: 1", "question: 2", "question 2 does not name it"),
        (
            "shows: R6",
            "shows: B3",
            "it shows no invariant and no fault",
        ),
    ] {
        let complaint = format!("01-x.lab: {complaint}");
        assert!(
            complaints(from, to).contains(&complaint),
            "{from}: {:?}",
            complaints(from, to)
        );
    }
}

#[test]
fn a_link_that_leads_nowhere_is_a_complaint() {
    let _limit = limit(300);
    let read = |path: &str| match path {
        "tests/README.md" => Some("# One thing\n```text\n# Not this\n```\n".to_owned()),
        "net" => Some(String::new()),
        _ => None,
    };
    let page = "[a](../net) [b](https://example.org/no) [c](#one-thing) [d](README.md#one-thing) [e](crate::net)\n\
                ```text\n[f](nowhere)\n```\n[g](nowhere) [h](#not-this) [i](../tests/README.md#two)";
    assert_eq!(
        study::links("tests/README.md", page, read),
        [
            "tests/README.md: `nowhere` leads to no file",
            "tests/README.md: `#not-this` leads to no heading",
            "tests/README.md: `../tests/README.md#two` leads to no heading",
        ]
    );
}
