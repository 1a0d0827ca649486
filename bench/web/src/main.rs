//! hyper, and a server of the redis protocol, on reveille beside tokio's current_thread, in one binary.
//!
//!     cargo run --release --manifest-path bench/web/Cargo.toml              # all tables, in some five minutes
//!     cargo run --release --manifest-path bench/web/Cargo.toml -- gate      # the counts only, and whether they hold
//!
//! The counts need valgrind and strace. Each server is a process of its own, which this one starts, loads through one
//! connection after the other, and takes the difference of two loads of: so what starts and ends a server counts for nothing.

mod load;
mod resp;
mod servers;
mod tools;

use std::io;
use std::process::ExitCode;

use load::Work;
use servers::Kind;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args[..] {
        [] => counts().and_then(|held| times().map(|()| held)),
        ["gate"] => counts(),
        ["serve", kind, work] => serve(kind, work).map(|()| true),
        _ => Err(io::Error::other("usage: bench-web [gate]")),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-web: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(kind: &str, work: &str) -> io::Result<()> {
    match (Kind::named(kind), Work::named(work)) {
        (Some(kind), Some(work)) => servers::serve(kind, work),
        _ => Err(io::Error::other("no such server")),
    }
}

/// A request of each kind of work, in instructions of user space and in system calls; false if what must hold does not.
fn counts() -> io::Result<bool> {
    println!("| a request | {} |", Kind::ALL.map(Kind::name).join(" | "));
    println!("|---|---:|---:|---:|");
    let mut held = true;
    for work in Work::ALL {
        let mut instructions = [0.0; 3];
        let mut calls = [0.0; 3];
        for (at, kind) in Kind::ALL.into_iter().enumerate() {
            if kind == Kind::Zeroing && work == Work::Resp {
                continue;
            }
            instructions[at] = tools::instructions(kind, work)?;
            calls[at] = tools::calls(kind, work)?;
        }
        let row = |what: &str, numbers: [f64; 3]| {
            let told = |number: f64| {
                if number == 0.0 {
                    "–".to_owned()
                } else {
                    format!("{number:.1}")
                }
            };
            let numbers = numbers.map(told).join(" | ");
            println!("| {}: {what} | {numbers} |", work.name());
        };
        row("instructions", instructions);
        row("system calls", calls);
        let [ours, tokio, zeroing] = instructions;
        held &= match work {
            // How many reads it takes is a matter of how the bytes arrive, so this is no judge of tokio.
            Work::Upload => ours <= zeroing / 2.0,
            _ => ours <= tokio && calls[0] <= calls[1] + 0.1,
        };
    }
    println!("{}", if held { "held" } else { "not held" });
    Ok(held)
}

/// The CPU time of a server, of pairs in turn, and of a pair of the same server.
fn times() -> io::Result<()> {
    println!(
        "\n| server CPU, median of {} pairs (quartiles) | of reveille's |",
        tools::PAIRS
    );
    println!("|---|---:|");
    for work in Work::ALL {
        for (one, other) in [
            (Kind::Reveille, Kind::Reveille),
            (Kind::Tokio, Kind::Reveille),
        ] {
            let [low, middle, high] = tools::ratios(one, other, work)?;
            println!(
                "| {}, {} | {middle:.3} ({low:.3}, {high:.3}) |",
                work.name(),
                one.name()
            );
        }
    }
    let [ours, tokio] = servers::round_trips();
    println!("\nspawn_blocking and back: {ours:.1} µs, tokio {tokio:.1} µs");
    Ok(())
}
