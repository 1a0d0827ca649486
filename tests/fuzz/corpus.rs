//! Turns a corpus into a directory for libFuzzer, and back.
//!
//! `corpus unpack FILE DIR`: one file an input. `corpus pack DIR FILE`: one line an input, sorted.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["unpack", file, dir] => {
            let inputs = reveille_fuzz::inputs(&fs::read_to_string(file)?);
            for (number, input) in inputs.iter().enumerate() {
                fs::write(Path::new(dir).join(format!("{number:04}")), input)?;
            }
        }
        ["pack", dir, file] => {
            let mut lines = Vec::new();
            for entry in fs::read_dir(dir)? {
                let input = fs::read(entry?.path())?;
                lines.push(input.iter().map(|byte| format!("{byte:02x}")).collect());
            }
            lines.retain(|line: &String| !line.is_empty());
            lines.sort_unstable_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
            lines.dedup();
            fs::write(file, lines.join("\n") + "\n")?;
        }
        _ => {
            return Err(io::Error::other(
                "corpus unpack FILE DIR | corpus pack DIR FILE",
            ));
        }
    }
    Ok(())
}
