//! An example of examples/, built as the test that asks for it was.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// The file of an example, built as this test was, once a process: of its own accord,
/// `cargo test --test echo` builds no example.
pub(crate) fn built(example: &str) -> PathBuf {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    let mut built = BUILT.lock().expect("no build has failed");
    let file = built.entry(example.to_owned());
    file.or_insert_with(|| build(example)).clone()
}

fn build(example: &str) -> PathBuf {
    let test = env::current_exe().expect("a process knows its own file");
    // TARGET/[TRIPLE/]PROFILE/deps/TEST
    let profile = test.ancestors().nth(2).expect("cargo runs tests in deps/");
    let above = profile.parent().expect("the profile is in target/");
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--quiet", "--offline", "--example", example]);
    cargo.args([
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    match name(profile).as_str() {
        "debug" => cargo.args(["--profile", "dev"]),
        other => cargo.args(["--profile", other]),
    };
    if name(above).starts_with(&format!("{}-", env::consts::ARCH)) {
        cargo.args(["--target", &name(above), "--target-dir"]);
        cargo.arg(above.parent().unwrap());
    } else {
        cargo.arg("--target-dir").arg(above);
    }
    assert!(cargo.status().expect("cargo starts").success());
    profile.join("examples").join(example)
}
