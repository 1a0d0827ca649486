#!/usr/bin/env bash
# Builds each feature with the oldest release of its crate that Cargo.toml admits, in a package made for it, so that no
# other dependency asks for a newer one.
#
#     tests/oldest.sh
#
# Needs bash, perl, cargo, and a registry within reach.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=$root/target/oldest
rm -rf "$work"
mkdir -p "$work"
while read -r feature crate; do
    version=$(perl -ne "print \$1 if /^$crate = .*version = \"([0-9.]+)\".*optional = true/" "$root/Cargo.toml")
    [ -n "$version" ] || { echo "$crate is no optional dependency with a version"; exit 1; }
    mkdir -p "$work/$feature/src"
    echo '//! Nothing: what counts is that its dependency is built.' > "$work/$feature/src/lib.rs"
    cat > "$work/$feature/Cargo.toml" << MANIFEST
[package]
name = "oldest"
version = "0.0.0"
edition = "2024"

[dependencies]
reveille = { path = "$root", features = ["$feature"] }
$crate = { version = "=$version", default-features = false }

[workspace]
MANIFEST
    echo "== $feature with $crate $version"
    cargo build --manifest-path "$work/$feature/Cargo.toml" --target-dir "$work/target"
    cargo tree --manifest-path "$work/$feature/Cargo.toml" --invert "$crate" --depth 1
done << 'FEATURES'
futures-io futures-io
tokio-io tokio
hyper hyper
FEATURES
