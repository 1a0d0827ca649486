//! The statement-deletion pass: each statement and each condition of the library is taken out, one at a time, and a
//! test must notice.
//!
//! Interface: the command line is in [`USAGE`]. Verdicts stand in verdicts.txt, the reasons of survivors in the second
//! section of tests/mutants/survivors.txt.
//! How: a copy of the project is built once with every site behind a switch (`if kept(17) { statement }`), and the test
//! binaries run with an environment variable that names the site to delete. So a site costs a run and no build.
//! What does not compile behind its switch would not compile without it either: a value that is used later, an arm that
//! must not return. Such sites are counted apart.
//! Not seen: `const fn`, what stands in the arguments of a macro, `debug_assert!`, code of loom and of unit tests.
//!
//! Read next: `sites`, what is deleted; `tree`, the switches; `pass`, the runs; `verdicts`, what is kept.

mod pass;
mod sites;
mod tree;
mod verdicts;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use sites::Site;
use verdicts::{Verdict, Verdicts};

/// What `--help` prints.
const USAGE: &str = "\
deletions run [beginning of a file's path]...    runs the sites that have no verdict yet, and keeps the verdicts
    --again                                      those that survived, too
    --lanes N                                    so many at a time (default 4: most tests wait)
deletions check                                  every survivor is explained, and every explanation has its survivor;
                                                 prints what has no verdict yet
deletions sites [beginning of a file's path]...  lists the sites
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["run", ref rest @ ..] => run(rest),
        ["check"] => check(),
        ["sites", ref files @ ..] => {
            for site in chosen(&sites::all(&root()), files) {
                println!("{}: {}", site.file, site.key);
            }
            Ok(())
        }
        ["--help" | "-h"] => {
            print!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("what is asked?\n{USAGE}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// The project.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the package lies in the project")
}

fn chosen<'a>(sites: &'a [Site], files: &[&str]) -> Vec<&'a Site> {
    let fits =
        |site: &&Site| files.is_empty() || files.iter().any(|file| site.file.starts_with(file));
    sites.iter().filter(fits).collect()
}

fn run(words: &[&str]) -> Result<(), String> {
    let (mut files, mut again, mut lanes) = (Vec::new(), false, 4);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--again" => again = true,
            "--lanes" => {
                let number = words.next().and_then(|word| word.parse().ok());
                lanes = number.filter(|n| *n > 0).ok_or("--lanes takes a number")?;
            }
            option if option.starts_with('-') => return Err(format!("no option `{option}`")),
            file => files.push(file),
        }
    }
    let root = root();
    let sites = sites::all(&root);
    let mut verdicts = Verdicts::load(&root)?;
    let todo: Vec<&Site> = chosen(&sites, &files)
        .into_iter()
        .filter(|site| match verdicts.of(site) {
            None => true,
            Some(Verdict::Survived) => again,
            Some(_) => false,
        })
        .collect();
    if todo.is_empty() {
        println!("all {} sites have their verdicts", sites.len());
        return Ok(());
    }
    println!("{} of {} sites to run", todo.len(), sites.len());
    let uncompiled = sites
        .iter()
        .filter(|site| verdicts.of(site) == Some(&Verdict::Uncompiled))
        .map(|site| site.key.clone());
    let built = tree::build(&root, &sites, uncompiled.collect())?;
    for site in &todo {
        if !built.switches.contains_key(&site.key) {
            verdicts.set(site, Verdict::Uncompiled);
        }
    }
    verdicts.save(&root, &sites)?;
    let live = todo
        .into_iter()
        .filter_map(|site| Some((site, *built.switches.get(&site.key)?)));
    pass::run(&built, live.collect(), lanes, |site, verdict| {
        verdicts.set(site, verdict);
        verdicts.save(&root, &sites)
    })?;
    print!("{}", verdicts.summary(&sites));
    Ok(())
}

fn check() -> Result<(), String> {
    let root = root();
    let sites = sites::all(&root);
    let verdicts = Verdicts::load(&root)?;
    print!("{}", verdicts.summary(&sites));
    verdicts::explained(&root, &sites, &verdicts)
}
