#!/usr/bin/env bash
# curl against tokio-rustls and hyper on reveille: HTTP/1 and 2, chosen by ALPN, and a certificate that is not trusted.
#
#     tests/interop/tls/tls.sh
#
# Needs bash, curl with HTTP/2, cargo, coreutils.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
cargo build --locked
program=${CARGO_TARGET_DIR:-target}/debug/interop-tls
work=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
    rm -rf "$work"
}
trap finish EXIT

: > "$work/said" # It is looked into before the program may have begun.
"$program" "$work/certificate.pem" > "$work/said" &
server=$!
port=
for _ in $(seq 100); do
    port=$(sed -n 's/^listening on 127.0.0.1://p' "$work/said")
    [ -z "$port" ] || break
    sleep 0.1
done
[ -n "$port" ] || { echo "the server does not listen"; exit 1; }

head -c 10000000 /dev/urandom > "$work/body"
ask() {
    curl --silent --show-error --fail --max-time 120 --noproxy '*' --cacert "$work/certificate.pem" \
        --resolve "localhost:$port:127.0.0.1" "$@" "https://localhost:$port/"
}
for version in 1.1 2; do
    said=$(ask "--http$version" --data-binary @"$work/body" --output "$work/echo" --write-out '%{http_version}')
    cmp "$work/body" "$work/echo"
    echo "10 MB by HTTP/$said and back"
    [ "$said" = "$version" ]
done
# Twenty at once, on one connection of HTTP/2 if curl has its way.
parallel=()
for nth in $(seq 20); do
    parallel+=(--output "$work/echo.$nth" "https://localhost:$port/")
done
curl --silent --show-error --fail --max-time 120 --noproxy '*' --cacert "$work/certificate.pem" --parallel \
    --resolve "localhost:$port:127.0.0.1" --data-binary "twenty" "${parallel[@]}"
for nth in $(seq 20); do
    [ "$(cat "$work/echo.$nth")" = twenty ]
done
echo "20 requests at once"

rc=0
curl --silent --max-time 20 --noproxy '*' --resolve "localhost:$port:127.0.0.1" "https://localhost:$port/" \
    > /dev/null || rc=$?
echo "without --cacert curl refuses: $rc"
[ "$rc" -eq 60 ]
# And the server goes on.
[ "$(ask --data again)" = again ]
