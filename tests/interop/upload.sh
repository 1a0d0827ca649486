#!/usr/bin/env bash
# An upload of 300 MB by curl, and the system calls of small requests, of hyper's HTTP/1 on reveille.
#
#     tests/interop/upload.sh
#
# Needs bash, curl, cargo, coreutils, pgrep; strace, for the calls.
set -euo pipefail
# Whatever proxy there is, loopback is near.
export no_proxy="*" NO_PROXY="*"
cd "$(dirname "${BASH_SOURCE[0]}")"
for tool in curl strace sha256sum; do
    command -v "$tool" > /dev/null || { echo "tests/interop/upload.sh needs $tool" >&2; exit 2; }
done
cargo build --locked --release --manifest-path hyper/Cargo.toml
program=${CARGO_TARGET_DIR:-hyper/target}/release/interop-hyper
work=$(mktemp -d)
server=
# The server, or strace and then the server that it traces, which does not end with it.
finish() {
    [ -z "$server" ] || kill $server $(pgrep -P $server) 2> /dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# serve <command>...: starts the server by the command, and sets $at and $server.
serve() {
    : > "$work/said" # It is looked into before the program may have begun.
    "$@" "$program" > "$work/said" &
    server=$!
    for _ in $(seq 100); do
        at=$(sed -n 's/^listening on //p' "$work/said")
        [ -z "$at" ] || return 0
        sleep 0.1
    done
    echo "the server does not listen"
    return 1
}

head -c 300000000 /dev/urandom > "$work/body"
expected=$(sha256sum < "$work/body" | cut -d ' ' -f 1)
serve env
got=$(curl --silent --show-error --max-time 120 --data-binary @"$work/body" "http://$at/")
kill "$server"
wait "$server" 2> /dev/null || true
echo "300 MB: $got"
[ "$got" = "$expected" ] || { echo "expected $expected"; exit 1; }

serve strace -f -qq -e trace=sendto,sendmsg,write,writev -o "$work/calls"
requests=20
for nth in $(seq $requests); do
    curl --silent --show-error --max-time 20 --data "$nth" "http://$at/" > /dev/null
done
# strace passes SIGTERM on to nobody: its child is ended by its own number.
kill "$(awk 'NR == 1 { print $1 }' "$work/calls")"
wait "$server" 2> /dev/null || true
server=
responses=$(grep -c 'sendmsg(.*HTTP/1.1 200' "$work/calls" || true)
others=$(grep -c 'sendto(\|writev(\|sendmsg(' "$work/calls" || true)
echo "$requests requests: $responses responses of one sendmsg each, $others calls that send"
[ "$responses" -eq $requests ] && [ "$others" -eq $requests ]
