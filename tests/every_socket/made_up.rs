//! The checks of the table on a tree and on tables made for them: each is content with a good one and sees its fault.

use std::collections::BTreeSet;

use super::exports::{Tree, lenders_among, public_types};
use super::limit::limit;
use super::table::{Column, Table, untested};

const PLAIN: [(&str, &str); 1] = [("wire::Speed", "a number")];

const NOTES: [(&str, &str); 1] = [("a", "accept(2) has none")];

fn tree() -> Tree {
    let files = [
        (
            "net/mod.rs",
            "pub(crate) mod hidden;\npub mod wire;\nmod lone;\npub use lone::{Lone, dial};\npub use wire::Wire;\n",
        ),
        ("net/hidden.rs", "pub struct Hidden;\n"),
        (
            "net/lone.rs",
            "/// pub use lone::Doc;\npub struct Lone;\nimpl AsFd for Lone {}\n",
        ),
        (
            "net/wire/mod.rs",
            "mod parts;\npub mod pipe;\npub use parts::{\n    LIMIT, Half as WireHalf,\n};\npub use parts::Wire;\n\
             pub struct Speed(u32);\n",
        ),
        ("net/wire/parts.rs", "halves!(Half);\n"),
        (
            "net/wire/pipe.rs",
            "pub type Sender = Pipe;\npub(crate) struct Pipe;\n",
        ),
    ];
    files
        .map(|(path, text)| (path.to_owned(), text.to_owned()))
        .into()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Catches: an alias, a type under a new name or one that a macro made not found; a private one taken for public.
#[test]
fn types_are_found_where_they_are_public() {
    let _limit = limit(30);
    let expected = [
        "Lone",
        "wire::Speed",
        "wire::Wire",
        "wire::WireHalf",
        "wire::pipe::Sender",
    ];
    assert_eq!(public_types(&tree()), names(&expected));
}

/// A table with these rows, of which each has so many cells, and a cell exchanged.
fn table(rows: &[(&str, &str, usize)], cell: (usize, &str)) -> Table {
    let titles = Column::ALL.map(Column::title).join("|");
    let mut text = format!("type|same as|{titles}\n");
    for (name, same_as, cells) in rows {
        let cells: Vec<_> = (0..*cells)
            .map(|nth| if nth == cell.0 { cell.1 } else { "test" })
            .collect();
        text.push_str(&format!("{name}|{same_as}|{}\n", cells.join("|")));
    }
    Table::parse(&text)
}

const WIRE: (&str, &str, usize) = ("wire::Wire", "", 14);

/// What is said against a table of these rows, of types that are `wire::Wire` and `wire::Speed`.
fn complaints(rows: &[(&str, &str, usize)], cell: (usize, &str)) -> Vec<String> {
    let types = names(&["wire::Speed", "wire::Wire"]);
    table(rows, cell).complaints(&types, &PLAIN, &NOTES)
}

#[test]
fn a_good_table_causes_no_complaint() {
    let _limit = limit(30);
    assert_eq!(complaints(&[WIRE], (3, "a")), [""; 0]);
    assert_eq!(table(&[WIRE], (3, "a")).unmade(&["wire::Wire"]), [""; 0]);
}

#[test]
fn a_type_without_a_row_is_seen() {
    let _limit = limit(30);
    let types = public_types(&tree());
    let seen = table(&[WIRE], (3, "a")).complaints(&types, &PLAIN, &NOTES);
    let missing = ["Lone", "wire::WireHalf", "wire::pipe::Sender"];
    assert_eq!(
        seen,
        missing.map(|name| format!("`{name}` has 0 rows, and is plain: false"))
    );
}

#[test]
fn a_row_or_a_plain_name_without_a_type_is_seen() {
    let _limit = limit(30);
    let seen = complaints(&[WIRE, ("Gone", "", 14)], (3, "a"));
    assert_eq!(seen, ["there is no type `Gone`"]);
    let seen = table(&[WIRE], (3, "a")).complaints(&names(&["wire::Wire"]), &PLAIN, &NOTES);
    assert_eq!(seen, ["there is no type `wire::Speed`"]);
}

#[test]
fn a_second_row_of_a_type_is_seen() {
    let _limit = limit(30);
    let seen = complaints(&[WIRE, WIRE], (3, "a"));
    assert_eq!(seen, ["`wire::Wire` has 2 rows, and is plain: false"]);
    let seen = complaints(&[WIRE, ("wire::Speed", "", 14)], (3, "a"));
    assert_eq!(seen, ["`wire::Speed` has 1 rows, and is plain: true"]);
}

#[test]
fn a_missing_cell_is_seen_and_one_too_many() {
    let _limit = limit(30);
    let chaos = "`wire::Wire`, chaos: no cell";
    assert_eq!(complaints(&[("wire::Wire", "", 13)], (3, "a")), [chaos]);
    let reset = "`wire::Wire`, reset: no cell";
    assert_eq!(
        complaints(&[WIRE], (2, "")),
        [reset, "no cell has the note a"]
    );
    assert_eq!(
        complaints(&[("wire::Wire", "", 15)], (3, "a")),
        ["`wire::Wire` has 15 cells"]
    );
}

#[test]
fn a_cell_that_refers_to_nothing_is_seen() {
    let _limit = limit(30);
    let types = names(&["wire::Speed", "wire::Wire", "wire::Half"]);
    let half = |owner| table(&[WIRE, ("wire::Half", owner, 14)], (3, "same"));
    let seen = half("wire::Wire").complaints(&types, &PLAIN, &[]);
    assert_eq!(
        seen,
        [
            "`wire::Wire`, half: the same as ``, which is not tested",
            "`wire::Half`, half: the same as `wire::Wire`, which is not tested",
        ]
    );
    assert_eq!(
        complaints(&[WIRE], (3, "b"))[0],
        "`wire::Wire`, half: no note b"
    );
}

#[test]
fn a_reason_without_a_man_page_is_seen() {
    let _limit = limit(30);
    let types = names(&["wire::Speed", "wire::Wire"]);
    for reason in ["as TCP's (as said)", "read() has none", "the same engine"] {
        let seen = table(&[WIRE], (3, "a")).complaints(&types, &PLAIN, &[("a", reason)]);
        assert_eq!(seen, ["the note a cites no man page"], "{reason}");
    }
}

#[test]
fn columns_of_other_names_are_seen() {
    let _limit = limit(30);
    let table = Table::parse("type|same as|zero\n");
    let seen = table.complaints(&names(&[]), &[], &[]);
    assert_eq!(
        seen,
        [r#"the columns are called ["type", "same as", "zero"]"#]
    );
}

#[test]
fn a_row_whose_type_is_not_made_is_seen() {
    let _limit = limit(30);
    let seen = table(&[WIRE], (3, "a")).unmade(&["Lone"]);
    assert_eq!(
        seen,
        [
            "nothing says how a `wire::Wire` is made",
            "`Lone` is made, and has no row"
        ]
    );
}

#[test]
fn a_plain_type_that_lends_a_descriptor_is_seen() {
    let _limit = limit(30);
    assert_eq!(lenders_among(&PLAIN, &tree()), [""; 0]);
    let seen = lenders_among(&[("Lone", "a number")], &tree());
    assert_eq!(
        seen,
        ["`Lone` lends a descriptor, and is said to be a number"]
    );
}

#[test]
fn a_column_without_a_test_or_with_two_is_seen() {
    let _limit = limit(30);
    let mut tests: Vec<_> = Column::ALL
        .map(|column| format!("#[test]\nfn f() {{ each(Column::{column:?}, f) }}"))
        .into();
    assert_eq!(untested(&tests), [""; 0]);
    let last = tests.pop().unwrap();
    assert_eq!(untested(&tests), ["Chaos has 0 tests"]);
    tests.extend([last.clone(), last]);
    assert_eq!(untested(&tests), ["Chaos has 2 tests"]);
}
