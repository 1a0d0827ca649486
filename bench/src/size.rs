//! What a runtime costs before it runs: crates, build time, the size of a program.
//!
//! Interface: [`size`] builds the echo of each folder of size/, and returns the table.
//! Invariant: a build begins without any artifact of the one before; what is downloaded is downloaded first.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::Effort;
use crate::stats::median;
use crate::sys::children_cpu_time;
use crate::table::Table;

const NAMES: &[&str] = &["reveille", "tokio", "smol", "monoio", "compio"];

pub fn size(effort: Effort) -> io::Result<Vec<(String, Table)>> {
    let mut table = Table::new(["", "crates", "clean build", "of which CPU", "stripped echo"]);
    let mut builds = vec![(Vec::new(), Vec::new()); NAMES.len()];
    for round in 0..effort.rounds.div_ceil(5) {
        for place in 0..NAMES.len() {
            let which = (round + place) % NAMES.len();
            eprintln!("size: {}", NAMES[which]);
            let (wall, cpu) = build(NAMES[which])?;
            builds[which].0.push(wall);
            builds[which].1.push(cpu);
        }
    }
    for (name, (wall, cpu)) in NAMES.iter().zip(&builds) {
        let program = package(name).join("target/release/echo");
        let bytes = std::fs::metadata(program)?.len();
        table.row([
            (*name).to_owned(),
            crates(name)?.to_string(),
            format!("{:.1} s", median(wall)),
            format!("{:.1} s", median(cpu)),
            format!("{} KiB", bytes / 1024),
        ]);
    }
    let title = "A clean release build of the README's echo; tokio with net, rt, time, monoio with both drivers, compio with \
                 io_uring's";
    Ok(vec![(title.to_owned(), table)])
}

/// Seconds of a clean build: by the clock, and of all CPUs.
fn build(name: &str) -> io::Result<(f64, f64)> {
    let package = package(name);
    run(cargo(&package).arg("fetch"))?;
    run(cargo(&package).arg("clean"))?;
    let cpu = children_cpu_time()?;
    let began = Instant::now();
    run(cargo(&package).args(["build", "--release", "--offline"]))?;
    let (wall, cpu) = (began.elapsed(), children_cpu_time()? - cpu);
    Ok((wall.as_secs_f64(), cpu.as_secs_f64()))
}

/// How many packages are compiled, the library itself among them but not the echo.
fn crates(name: &str) -> io::Result<usize> {
    let mut command = cargo(&package(name));
    let output = command
        .args([
            "tree",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--no-dedupe",
            "--format",
            "{p}",
        ])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter_map(|line| line.split(' ').next());
    Ok(names
        .filter(|name| *name != "echo")
        .collect::<BTreeSet<_>>()
        .len())
}

fn package(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("size")
        .join(name)
}

/// In the package's own target directory, whatever the environment says.
fn cargo(package: &Path) -> Command {
    let mut command = Command::new("cargo");
    command
        .current_dir(package)
        .env("CARGO_TARGET_DIR", package.join("target"));
    command
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&output.stderr).into_owned(),
    ))
}
