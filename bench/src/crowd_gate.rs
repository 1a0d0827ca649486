//! The gate of crowds: what one of many costs does not rise with how many there are.
//!
//! Interface: [`crowd_gate`] counts, prints and judges.
//! Invariant: a count is the difference of a crowd and of a crowd of one, each in a process of its own: starting and
//! ending cancel, and what grows as the crowd comes for the first time is in. Counts are compared with each other only,
//! so this judges on any machine.

use std::io;

use crate::child::Child;
use crate::crowds::{CROWDS, Crowd};
use crate::tools::Tool;

/// One of the largest crowd may cost so many times one of the first.
///
/// A heap, a tree and memory that grows cost a little more the more there are; a list that is walked costs a hundred
/// times as much.
const LIMIT: f64 = 3.0;

/// The contenders that are counted; only the first one is judged.
const NAMES: &[&str] = if cfg!(feature = "peers") {
    &["reveille", "tokio"]
} else {
    &["reveille"]
};

/// How many there are, and what each costs then.
#[derive(Clone, Copy)]
struct Count {
    size: usize,
    each: f64,
}

/// Counts the instructions of user space that one of each crowd takes, and fails where reveille's rise too much.
pub fn crowd_gate() -> io::Result<()> {
    Tool::Valgrind.version()?;
    let mut risen = Vec::new();
    for (nth, name) in NAMES.iter().enumerate() {
        println!(
            "{name:<45} {:>8} {:>8} {:>8} {:>8} {:>6}",
            "of", "each", "of", "each", "ratio"
        );
        for crowd in CROWDS {
            let title = crowd.title();
            let [first, last] = match count(name, *crowd) {
                Err(error) if nth > 0 => {
                    println!("{title:<45} {error}");
                    continue;
                }
                counts => counts?,
            };
            let ratio = last.each / first.each;
            print!("{title:<45} {:>8} {:>8.0}", first.size, first.each);
            println!(" {:>8} {:>8.0} {ratio:>6.2}", last.size, last.each);
            if nth == 0 && ratio > LIMIT {
                risen.push(title);
            }
        }
    }
    if risen.is_empty() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "over {LIMIT} times the instructions for each where there are most: {}",
        risen.join(", ")
    )))
}

/// Of the first crowd and of the largest, or of one on the way there that costs too much already: what is walked for
/// each would take minutes there.
fn count(name: &str, crowd: Crowd) -> io::Result<[Count; 2]> {
    let name = match (name, crowd) {
        ("reveille", Crowd::Deadline) => "reveille paused",
        _ => name,
    };
    let total = |size: usize| {
        let operation = format!("{}:{size}", crowd.name());
        let total = Tool::Valgrind.total(
            |tool| Child::operator(tool, name),
            |operator| operator.operate(&operation, size as u64).map(drop),
        );
        total.map_err(|error| io::Error::other(format!("{operation}: {error}")))
    };
    let alone = total(1)?;
    let count = |size: usize| {
        let each = (total(size)? - alone) / (size - 1) as f64;
        io::Result::Ok(Count { size, each })
    };
    let sizes = crowd.sizes()?;
    let first = count(sizes[0])?;
    let mut last = first;
    for size in &sizes[1..] {
        last = count(*size)?;
        if last.each > LIMIT * first.each {
            break;
        }
    }
    Ok([first, last])
}
