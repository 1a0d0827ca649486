//! Tables in Markdown, and README.md, which keeps them between markers.
//!
//! Interface: [`Table`], [`write_section`], [`time`] and [`ratio`] for the cells.
//! Invariant: prose is written by hand; a tool touches what is between `<!-- NAME -->` and `<!-- end -->`.

use std::fmt;
use std::io;
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
    format!("<br>×{median:.2} ({low:.2}–{high:.2})")
}

/// Puts `text` between the markers of `name` in the file at `path`.
pub fn write_section(path: &Path, name: &str, text: &str) -> io::Result<()> {
    let file = std::fs::read_to_string(path)?;
    let (begin, end) = (format!("<!-- {name} -->\n"), "<!-- end -->");
    let missing = || io::Error::other(format!("{} has no `{}`", path.display(), begin.trim()));
    let from = file.find(&begin).ok_or_else(missing)? + begin.len();
    let to = from + file[from..].find(end).ok_or_else(missing)?;
    std::fs::write(path, format!("{}\n{text}\n{}", &file[..from], &file[to..]))
}
