//! One table for every socket: its rows are the public types of `net` that hold or lend a descriptor, its columns
//! what can happen to any of them.
//!
//! [`table`] has the rows and their cells; [`exports`] reads from the sources which types there must be rows for. Each
//! column is one test, written once: it runs for every type whose cell says `test`, by what [`subject`] asks of a type.
//! `tcp` and its like show how the types do that. A new type is one such implementation and a row.
//!
//! A failure names the type: `--nocapture` prints each before it is tested.

#[path = "support/alone.rs"]
mod alone;
#[path = "support/child.rs"]
mod child;
#[path = "support/limit.rs"]
mod limit;
#[path = "support/seeds.rs"]
mod seeds;
#[path = "tidy/source.rs"]
mod source;
#[path = "support/step.rs"]
mod step;
#[path = "support/within.rs"]
mod within;

#[path = "every_socket/bytes.rs"]
mod bytes;
#[path = "every_socket/canceled.rs"]
mod canceled;
#[path = "every_socket/dialer.rs"]
mod dialer;
#[path = "every_socket/exports.rs"]
mod exports;
#[path = "every_socket/halves.rs"]
mod halves;
#[path = "every_socket/made_up.rs"]
mod made_up;
#[path = "every_socket/pipe.rs"]
mod pipe;
#[path = "every_socket/places.rs"]
mod places;
#[path = "every_socket/process.rs"]
mod process;
#[path = "every_socket/steps.rs"]
mod steps;
#[path = "every_socket/subject.rs"]
mod subject;
#[path = "every_socket/table.rs"]
mod table;
#[path = "every_socket/tcp.rs"]
mod tcp;
#[path = "every_socket/udp.rs"]
mod udp;
#[path = "every_socket/unconnected.rs"]
mod unconnected;
#[path = "every_socket/unix.rs"]
mod unix;

use limit::limit;
use subject::{End, Kind, Shape};
use table::{Cell, Column, Table};
use unconnected::Make;
use within::within;

/// How each type is made and used, in any order.
fn kinds() -> Vec<Kind> {
    [pipe::kinds(), tcp::kinds(), udp::kinds(), unix::kinds()]
        .into_iter()
        .flatten()
        .collect()
}

/// Runs a column for each type whose cell says so.
#[track_caller]
fn each_kind(column: Column, test: impl Fn(&Kind)) {
    let (table, kinds) = (Table::of_net(), kinds());
    let mut ran = 0;
    for row in table
        .rows
        .iter()
        .filter(|row| row.cell(column) == Some(&Cell::Test))
    {
        let before = ran;
        for kind in kinds.iter().filter(|kind| kind.row() == row.name) {
            println!("{}: {}", column.title(), kind.name);
            test(kind);
            ran += 1;
        }
        assert_ne!(ran, before, "nothing says how a {} is made", row.name);
    }
    assert!(ran > 0, "no type is tested");
}

/// As [`each_kind`], by one test for sockets that are yet to be connected, and one for all others.
#[track_caller]
fn each((column, of_unconnected): (Column, impl Fn(Make)), test: impl Fn(&End)) {
    each_kind(column, |kind| match kind.shape {
        Shape::End(end) => test(&end),
        Shape::Unconnected(make) => of_unconnected(make),
    });
}

/// As [`each`], on a thread for each type: what hangs is named.
#[track_caller]
fn each_within(
    seconds: u64,
    (column, of_unconnected): (Column, impl Fn(Make) + Copy + Send + 'static),
    test: fn(&End),
) {
    each_kind(column, |kind| {
        let shape = kind.shape;
        within(seconds, move || match shape {
            Shape::End(end) => test(&end),
            Shape::Unconnected(make) => of_unconnected(make),
        });
    });
}

/// Catches: a public type without a row, the alias of a half among them; a row whose type is gone, or of which nothing
/// says how it is made; a cell that is missing, or says that it is the same as one which is not tested, or is without a
/// reason that cites a man page; a type of which it is said that it has no descriptor, and which lends one; a column
/// without a test.
#[test]
fn every_type_has_a_row_and_every_row_a_type_and_all_its_cells() {
    let _limit = limit(30);
    let tree = exports::sources("net");
    let (table, types) = (Table::of_net(), exports::public_types(&tree));
    let mut complaints = table.complaints(&types, &table::PLAIN, &table::NOTES);
    complaints.extend(exports::lenders_among(&table::PLAIN, &tree));
    let made: Vec<_> = kinds().iter().map(Kind::row).collect();
    complaints.extend(table.unmade(&made));
    let mut columns = exports::sources("tests/every_socket");
    columns.remove("tests/every_socket/made_up.rs");
    let columns: Vec<_> = columns.into_values().collect();
    complaints.extend(table::untested(&columns));
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
