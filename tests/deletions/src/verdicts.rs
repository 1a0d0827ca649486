//! Verdicts, and the reasons of survivors.
//!
//! Interface: [`Verdicts::load`] and [`Verdicts::save`] keep verdicts.txt; [`explained`] compares the survivors with the
//! second section of tests/mutants/survivors.txt.
//! Invariant: a verdict stands under the name of its site ([`Key`]), so it survives what moves. renames.txt maps the old
//! name of a function to its new one, a line each: `old -> new`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::{self, Write as _};
use std::path::Path;

use crate::sites::{Key, Kind, Site};
use crate::tree::{read, write};

const FILE: &str = "tests/deletions/verdicts.txt";
const RENAMES: &str = "tests/deletions/renames.txt";
const SURVIVORS: &str = "tests/mutants/survivors.txt";
/// What a line of the second section begins with.
const DELETED: &str = "deleted: ";

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// By a binary: one of its tests, or what became of it.
    Red(String),
    /// All tests are green.
    Survived,
    /// Its value is used, or the compiler asks for it.
    Uncompiled,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Red(by) => write!(f, "red by {by}"),
            Verdict::Survived => f.write_str("survived"),
            Verdict::Uncompiled => f.write_str("does not compile"),
        }
    }
}

#[derive(Debug)]
pub struct Verdicts(HashMap<Key, Verdict>);

impl Verdicts {
    pub fn load(root: &Path) -> Result<Self, String> {
        let mut renames = HashMap::new();
        if let Ok(text) = read(&root.join(RENAMES)) {
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                if let Some((old, new)) = line.split_once(" -> ") {
                    renames.insert(old.trim().to_owned(), new.trim().to_owned());
                }
            }
        }
        let mut verdicts = HashMap::new();
        let text = read(&root.join(FILE)).unwrap_or_default();
        for (number, line) in (1..).zip(text.lines()) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (mut key, verdict) = parse(line)
                .ok_or_else(|| format!("{FILE}:{number}: not `key => verdict`: {line}"))?;
            if let Some(new) = renames.get(&key.function) {
                key.function.clone_from(new);
            }
            verdicts.insert(key, verdict);
        }
        Ok(Self(verdicts))
    }

    pub fn of(&self, site: &Site) -> Option<&Verdict> {
        self.0.get(&site.key)
    }

    pub fn set(&mut self, site: &Site, verdict: Verdict) {
        self.0.insert(site.key.clone(), verdict);
    }

    /// Writes the verdicts of the sites that there are, file by file.
    pub fn save(&self, root: &Path, sites: &[Site]) -> Result<(), String> {
        let mut text = String::from(
            "# What became of each deletion: written by the pass, `tests/prove deletions`.\n",
        );
        let mut file = "";
        for site in sites {
            let Some(verdict) = self.of(site) else {
                continue;
            };
            if file != site.file {
                file = &site.file;
                let _written = writeln!(text, "\n# {file}");
            }
            let _written = writeln!(text, "{} => {verdict}", site.key);
        }
        write(&root.join(FILE), &text)
    }

    /// A row for each file, and their sum.
    pub fn summary(&self, sites: &[Site]) -> String {
        let mut rows: BTreeMap<&str, [usize; 4]> = BTreeMap::new();
        let mut sum = [0; 4];
        for site in sites {
            let column = match self.of(site) {
                Some(Verdict::Red(_)) => 0,
                Some(Verdict::Survived) => 1,
                Some(Verdict::Uncompiled) => 2,
                None => 3,
            };
            rows.entry(&site.file).or_default()[column] += 1;
            sum[column] += 1;
        }
        let mut text = format!(
            "{:<28} {:>6} {:>9} {:>10} {:>8}\n",
            "", "red", "survived", "uncompiled", "not run"
        );
        for (name, [red, survived, uncompiled, missing]) in rows.into_iter().chain([("all", sum)]) {
            let _written = writeln!(
                text,
                "{name:<28} {red:>6} {survived:>9} {uncompiled:>10} {missing:>8}"
            );
        }
        text
    }
}

/// `Type::function: kind ordinal: text => verdict`
fn parse(line: &str) -> Option<(Key, Verdict)> {
    let (key, verdict) = line.rsplit_once(" => ")?;
    let verdict = match verdict {
        "survived" => Verdict::Survived,
        "does not compile" => Verdict::Uncompiled,
        red => Verdict::Red(red.strip_prefix("red by ")?.to_owned()),
    };
    Some((parse_key(key)?, verdict))
}

fn parse_key(line: &str) -> Option<Key> {
    // A function's name holds `::` and no `: `.
    let (function, rest) = line.split_once(": ")?;
    let (kind, name) = Kind::ALL.iter().find(|(_, name)| rest.starts_with(name))?;
    let (ordinal, text) = rest[name.len()..].trim_start().split_once(": ")?;
    Some(Key {
        function: function.to_owned(),
        kind: *kind,
        text: text.to_owned(),
        ordinal: ordinal.parse().ok()?,
    })
}

/// Every survivor has a reason, and every reason a survivor.
pub fn explained(root: &Path, sites: &[Site], verdicts: &Verdicts) -> Result<(), String> {
    let text = read(&root.join(SURVIVORS))?;
    let reasons: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix(DELETED))
        .collect();
    let survivors: BTreeSet<String> = sites
        .iter()
        .filter(|site| verdicts.of(site) == Some(&Verdict::Survived))
        .map(|site| site.key.to_string())
        .collect();
    let mut complaints = String::new();
    for key in survivors
        .iter()
        .filter(|key| !reasons.contains(key.as_str()))
    {
        let _written = writeln!(
            complaints,
            "survived, and {SURVIVORS} does not say why: {key}"
        );
    }
    for key in reasons.iter().filter(|key| !survivors.contains(**key)) {
        let _written = writeln!(
            complaints,
            "{SURVIVORS} explains what did not survive: {key}"
        );
    }
    if complaints.is_empty() {
        Ok(())
    } else {
        Err(complaints)
    }
}
