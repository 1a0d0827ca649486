#!/usr/bin/env bash
# curl, nghttp and h2load against hyper-util's server for HTTP/1 and HTTP/2 on reveille. A request that fails fails this.
#
#     tests/interop/h2.sh
#
# Needs bash, curl with HTTP/2, nghttp and h2load (Debian's nghttp2-client), cargo, coreutils.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
for tool in curl nghttp h2load; do
    command -v "$tool" > /dev/null || { echo "tests/interop/h2.sh needs $tool" >&2; exit 2; }
done
cargo build --locked --example auto --manifest-path hyper/Cargo.toml
program=${CARGO_TARGET_DIR:-hyper/target}/debug/examples/auto
work=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
    rm -rf "$work"
}
trap finish EXIT

: > "$work/said" # It is looked into before the program may have begun.
"$program" > "$work/said" &
server=$!
at=
for _ in $(seq 100); do
    at=$(sed -n 's/^listening on //p' "$work/said")
    [ -z "$at" ] || break
    sleep 0.1
done
[ -n "$at" ] || { echo "the server does not listen"; exit 1; }

head -c 10000000 /dev/urandom > "$work/body"
for version in http1.1 http2-prior-knowledge; do
    said=$(curl --silent --show-error --fail --max-time 120 --noproxy '*' "--$version" --output "$work/echo" \
        --data-binary @"$work/body" --write-out '%{http_version} %{http_code}' "http://$at/")
    cmp "$work/body" "$work/echo"
    echo "curl --$version: 10 MB there and back, HTTP/$said"
done

# The same path thirty times, as thirty streams at once.
nghttp --no-dep --multiply=30 --data="$work/body" --null-out --stat "http://$at/" > "$work/nghttp"
served=$(grep -c ' 200 .* /$' "$work/nghttp" || true)
echo "nghttp: $served of 30 streams with 10 MB each"
[ "$served" -eq 30 ] || { cat "$work/nghttp"; exit 1; }

head -c 1000 "$work/body" > "$work/small"
# load <requests> <options>...: all of them succeed.
load() {
    local requests=$1
    shift
    timeout 120 h2load --requests="$requests" --data="$work/small" "$@" "http://$at/" > "$work/h2load"
    echo "h2load $*: $(grep '^requests:' "$work/h2load")"
    grep -q "^requests: $requests total, $requests started, $requests done, $requests succeeded, 0 failed, 0 errored, 0 timeout" \
        "$work/h2load"
    grep -q "^status codes: $requests 2xx" "$work/h2load"
}
load 10000 --clients=10 --max-concurrent-streams=50
load 5000 --clients=500 --max-concurrent-streams=1
load 5000 --clients=50 --h1

# It ends by itself: no connection is left.
kill -s INT "$server"
wait "$server"
server=
grep -q '^finished$' "$work/said"
