//! Tables in Markdown, and README.md, which keeps them between markers.
//!
//! Interface: [`Table`], [`write_section`], [`time`] and [`ratio`] for the cells.
//! Invariant: prose is written by hand; a tool touches what is between `<!-- NAME -->` and `<!-- end -->`.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;

use crate::stats::Quartiles;

/// A cell is empty where a contender cannot do a thing: shown as a dash.
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Table {
        Table {
            head: head.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// One that grows by columns: so far it has nothing but what stands in front of its rows.
    pub fn of_rows(labels: impl IntoIterator<Item = String>) -> Table {
        let mut table = Table::new([""]);
        labels.into_iter().for_each(|label| table.row([label]));
        table
    }

    pub fn column(&mut self, title: impl Into<String>, cells: impl IntoIterator<Item = String>) {
        self.head.push(title.into());
        for (row, cell) in self.rows.iter_mut().zip(cells) {
            row.push(cell);
        }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| {} |", self.head.join(" | "))?;
        writeln!(f, "|---{}|", "|---:".repeat(self.head.len() - 1))?;
        for row in &self.rows {
            let cells = row
                .iter()
                .map(|cell| if cell.is_empty() { "–" } else { cell });
            writeln!(f, "| {} |", cells.collect::<Vec<_>>().join(" | "))?;
        }
        Ok(())
    }
}

/// Nanoseconds, in a unit that leaves three digits or so.
pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns.is_infinite() => "starved".to_owned(),
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e4 => format!("{:.2} µs", ns / 1e3),
        ns if ns < 1e6 => format!("{:.1} µs", ns / 1e3),
        ns => format!("{:.2} ms", ns / 1e6),
    }
}

/// How many times the base, and the quartiles of that; nothing if one of them never ended.
pub fn ratio(quartiles: Quartiles) -> String {
    let Quartiles { low, median, high } = quartiles;
    if !median.is_finite() {
        return String::new();
    }
    let digits = if median < 0.1 { 4 } else { 2 };
    format!("<br>×{median:.digits$} ({low:.digits$}–{high:.digits$})")
}

/// Puts `text` between the markers of `name` in the file at `path`.
pub fn write_section(path: &Path, name: &str, text: &str) -> io::Result<()> {
    let (file, Range { start, end }) = find_section(path, name)?;
    std::fs::write(
        path,
        format!("{}\n{text}\n{}", &file[..start], &file[end..]),
    )
}

/// The file at `path`, and what is between the markers of `name`; an error if they are missing.
pub fn find_section(path: &Path, name: &str) -> io::Result<(String, Range<usize>)> {
    let file = std::fs::read_to_string(path)?;
    let (begin, end) = (format!("<!-- {name} -->\n"), "<!-- end -->");
    let missing = || io::Error::other(format!("{} has no `{}`", path.display(), begin.trim()));
    let from = file.find(&begin).ok_or_else(missing)? + begin.len();
    let to = from + file[from..].find(end).ok_or_else(missing)?;
    Ok((file, from..to))
}
