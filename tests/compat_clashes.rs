//! What the compiler says where the traits of two crates, or a trait and a method of ours, have one name; the page
//! "Coming from tokio" tells of it: `cargo test --features futures-io,tokio-io --test compat_clashes`.
//!
//! A program that compiles stands beside one that differs in a word and does not. So nothing else in it is the reason.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "support/limit.rs"]
mod limit;

use limit::limit;

/// A file in tests/compat/clashes, a word in it, what to put in its place, and the error that the compiler then gives.
type Clash = (&'static str, &'static str, &'static str, &'static str);

const CLASHES: [Clash; 7] = [
    ("by_mut", "&TcpStream", "&mut TcpStream", "E0034"),
    (
        "read_to_end",
        "stream.read(",
        "stream.read_to_end(",
        "E0034",
    ),
    ("flush", "stream.writable(", "stream.flush(", "E0034"),
    ("shutdown", "shutdown(Write)", "shutdown()", "E0061"),
    // Fault F9.
    ("send", "shared = Arc::new", "shared = Rc::new", "E0277"),
    ("output", "|| Arc::new", "|| Rc::new", "E0277"),
    ("rc", "Box<TcpStream>", "Rc<TcpStream>", "E0507"),
];

/// Catches: an inherent method that no longer wins; a clash that is gone, or that is another one than the page says.
#[test]
fn what_clashes_is_what_the_page_says() {
    let _limit = limit(300);
    let libraries = libraries();
    for (name, word, other, error) in CLASHES {
        let file = format!("tests/compat/clashes/{name}.rs");
        let twin = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = fs::read_to_string(&twin).unwrap();
        assert_eq!(text.matches(word).count(), 1, "{name}: `{word}`");
        let clash = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.rs"));
        fs::write(&clash, text.replace(word, other)).unwrap();

        let (compiles, said) = compile(&twin, &libraries);
        assert!(compiles, "{name} as it is:\n{said}");
        let (compiles, said) = compile(&clash, &libraries);
        assert!(!compiles, "{name} with `{other}` compiles");
        assert!(said.contains(&format!("error[{error}]")), "{name}:\n{said}");
        assert_eq!(said.matches("error[").count(), 1, "{name}:\n{said}");
    }
}

/// The compiled libraries: ours with both features, and the two crates with the traits.
fn libraries() -> Vec<(&'static str, PathBuf)> {
    let this = env::current_exe().unwrap();
    // target/debug/deps/this
    let target = this.ancestors().nth(3).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args([
        "test",
        "--no-run",
        "--offline",
        "--features=futures-io,tokio-io",
    ]);
    cargo.args([
        "--test=compat_clashes",
        "--message-format=json",
        "--target-dir",
    ]);
    cargo.arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    let built = cargo.output().unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "{said}");
    let artifacts = String::from_utf8(built.stdout).unwrap();
    ["reveille", "tokio", "futures_lite"]
        .map(|name| {
            let begin = format!("/lib{name}-");
            let is_library = |text: &&str| text.contains(&begin) && text.ends_with(".rlib");
            let library = artifacts.split('"').find(is_library);
            (
                name,
                library
                    .unwrap_or_else(|| panic!("{name} is not there"))
                    .into(),
            )
        })
        .into()
}

/// Whether the file compiles, and what the compiler said.
fn compile(file: &Path, libraries: &[(&str, PathBuf)]) -> (bool, String) {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(rustc);
    rustc.args([
        "--edition=2024",
        // What one of the two does not use is beside the point.
        "--cap-lints=allow",
        "--crate-type=lib",
        "--emit=metadata",
        "--out-dir",
    ]);
    rustc.arg(env!("CARGO_TARGET_TMPDIR")).arg(file);
    for (name, library) in libraries {
        rustc
            .arg("--extern")
            .arg(format!("{name}={}", library.display()));
        let mut folder = std::ffi::OsString::from("dependency=");
        folder.push(library.parent().unwrap());
        rustc.arg("-L").arg(folder);
    }
    let done = rustc.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    (done.status.success(), said)
}
