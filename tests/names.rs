//! Host names by the system's resolver, of which this loads one of its own.
//!
//! `tests/unit/lookup.rs` has what is asked of the lookup besides, with answers in place of a resolver.

use std::env;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reveille::block_on;
use reveille::net::{TcpListener, TcpStream, lookup_host};
use reveille::time::timeout;

#[path = "support/limit.rs"]
mod limit;

use limit::limit;

/// Set where the resolver is loaded.
const MARK: &str = "REVEILLE_RESOLVER";

/// Compiles the resolver, and returns its path.
fn resolver() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/names/resolver.rs");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("libresolver.so");
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut rustc = Command::new(rustc);
    rustc.args([
        "--edition=2024",
        "--crate-type=cdylib",
        "-Cpanic=abort",
        "-o",
    ]);
    let made = rustc.arg(&library).arg(source).output().unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    library
}

/// Fault C16. Catches: a lookup that does not ask the system, changes its order, or keeps other tasks from running
/// while it blocks; an error that hides what the resolver said; a process that cannot end while a lookup hangs.
#[test]
fn the_resolver_of_the_system_is_asked() {
    let _limit = limit(120);
    if env::var_os(MARK).is_some() {
        return with_resolver();
    }
    let output = Command::new(env::current_exe().unwrap())
        .args([
            "the_resolver_of_the_system_is_asked",
            "--exact",
            "--nocapture",
        ])
        .env("LD_PRELOAD", resolver())
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}", output.status);
}

fn with_resolver() {
    block_on(async {
        let found: Vec<_> = lookup_host("two.test:7").await.unwrap().collect();
        let expected = ["[::1]:7", "127.0.0.1:7"].map(|at| at.parse::<SocketAddr>().unwrap());
        assert_eq!(found, expected);

        let error = lookup_host("none.test:7").await.map(drop).unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with("`none.test` cannot be resolved: "),
            "{text}"
        );
        assert!(text.ends_with("Name or service not known"), "{text}");
        let source = error.source().unwrap();
        assert!(source.is::<io::Error>());

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let stream = TcpStream::connect(("two.test", at.port())).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), at);

        let silent = timeout(Duration::from_millis(20), lookup_host("silent.test:7"));
        assert!(silent.await.is_err());
        let silent = timeout(
            Duration::from_millis(20),
            TcpStream::connect("silent.test:7"),
        );
        assert!(silent.await.is_err());
    });
}
