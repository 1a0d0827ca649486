#!/usr/bin/env bash
# The real clients of four servers of examples/: redis-cli and redis-benchmark of resp, curl of files, socat of udp_echo and
# unix_chat.
#
#     tests/clients.sh
#
# Needs bash, cargo, coreutils; curl, redis-tools and socat, which it installs if it is root and apt-get is there.
set -euo pipefail
# Whatever proxy there is, loopback is near.
export no_proxy="*" NO_PROXY="*"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
work=$(mktemp -d)
server=
finish() {
    [ -z "$server" ] || kill "$server" 2> /dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# need <tool> <package>
need() {
    if command -v "$1" > /dev/null; then return; fi
    if [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" > /dev/null
    else
        echo "tests/clients.sh needs $1, of the package $2" >&2
        exit 2
    fi
}
need curl curl
need redis-cli redis-tools
need redis-benchmark redis-tools
need socat socat
cargo build --locked --release --example resp --example files --example udp_echo --example unix_chat
programs=${CARGO_TARGET_DIR:-target}/release/examples

# serve <example> <argument>...: starts a server, and sets $server and $port.
serve() {
    : > "$work/said" # It is looked into before the program may have begun.
    "$programs/$1" 127.0.0.1:0 "${@:2}" > "$work/said" &
    server=$!
    for _ in $(seq 100); do
        port=$(sed -n 's/^listening on .*://p' "$work/said")
        [ -z "$port" ] || return 0
        sleep 0.1
    done
    echo "$1 does not listen"
    return 1
}

# expect <what> <text>: fails unless the two are the same.
expect() {
    if [ "$1" != "$2" ]; then
        echo "expected: $2"
        echo "got:      $1"
        return 1
    fi
}

redis() { timeout 20 redis-cli -p "$port" "$@"; }

serve resp
expect "$(redis ping)" PONG
expect "$(redis set greeting 'good morning')" OK
expect "$(redis get greeting)" 'good morning'
expect "$(redis get nothing)" ''
expect "$(redis incr visits)$(redis incr visits)" 12
expect "$(redis exists greeting nothing visits)" 2
expect "$(redis del greeting nothing)" 1
expect "$(redis nonsense | head -n 1)" 'ERR unknown command `NONSENSE`'
head -c 375000 /dev/urandom | base64 -w 0 > "$work/value" # 500 KB.
expect "$(redis -x set large < "$work/value")" OK
redis get large | cmp -n 500000 - "$work/value"
# `--pipe` sends all it has, and counts the answers.
for n in $(seq 20000); do printf 'SET key:%d %d\r\n' "$n" "$n"; done > "$work/commands"
expect "$(redis --pipe < "$work/commands" | tail -n 1)" 'errors: 0, replies: 20000'
expect "$(redis get key:20000)" 20000
# 50 clients; then 16 commands at a time; then values of 100 KB. It says so, and ends, if an answer is an error.
for options in '-n 20000' '-n 100000 -P 16' '-n 1000 -P 10 -d 100000'; do
    # shellcheck disable=SC2086
    timeout 120 redis-benchmark -p "$port" -t ping,set,get,incr --csv $options 2> "$work/errors" | tail -n +2 \
        | cut -d , -f 1,2 > "$work/rates"
    expect "$(cat "$work/errors")" ''
    expect "$(wc -l < "$work/rates")" 5
    echo "redis-benchmark $options: $(tr '\n' ' ' < "$work/rates")"
done
kill "$server"
wait "$server" 2> /dev/null || true

mkdir "$work/root"
head -c 20000000 /dev/urandom > "$work/root/a large file"
mkfifo "$work/root/fifo"
serve files "$work/root"
url=http://127.0.0.1:$port
fetch() { curl --silent --show-error --max-time 30 "$@"; }
status() { fetch --output /dev/null --write-out '%{http_code}' "$@"; }
fetch "$url/a%20large%20file" | cmp - "$work/root/a large file"
expect "$(status "$url/none")" 404
expect "$(status --path-as-is "$url/../value")" 400
expect "$(status "$url/%2e%2e%2fvalue")" 400
# curl reads the answer although the server has not read what it sends.
head -c 5000000 /dev/zero > "$work/upload"
expect "$(status --data-binary @"$work/upload" --header Expect: "$url/none")" 405
fetch "$url/fifo" > "$work/from the fifo" &
hangs=$!
fetch "$url/a%20large%20file" | cmp - "$work/root/a large file"
echo 'through the fifo' > "$work/root/fifo"
wait "$hangs"
expect "$(cat "$work/from the fifo")" 'through the fifo'
fetch "$url/fifo" > /dev/null 2>&1 &
kill "$server"
status=0
wait "$server" || status=$?
expect "$status" 0
server=
echo "curl: a file of 20 MB, refusals, a FIFO"

serve udp_echo
talk() { timeout 20 socat -b 65507 -t 2 - "UDP:127.0.0.1:$port"; }
expect "$(printf 'good morning' | talk)" 'good morning'
# The longest datagram, and many short ones: each client is answered, whatever the others do.
head -c 65507 /dev/urandom > "$work/datagram"
talk < "$work/datagram" | cmp - "$work/datagram"
clients=()
for n in $(seq 50); do
    seq "$n" "$((n + 100))" > "$work/to $n"
    talk < "$work/to $n" > "$work/from $n" &
    clients+=("$!")
done
wait "${clients[@]}"
for n in $(seq 50); do cmp "$work/to $n" "$work/from $n"; done
kill "$server"
status=0
wait "$server" || status=$?
expect "$status" 0
server=
echo "socat: the longest datagram, 50 clients at once"

: > "$work/said" # It is looked into before the program may have begun.
"$programs/unix_chat" "$work/chat" > "$work/said" &
server=$!
# said <text>: waits until the server has printed it.
said() {
    for _ in $(seq 100); do
        if grep -qF "$1" "$work/said"; then return; fi
        sleep 0.1
    done
    echo "unix_chat does not say: $1"
    return 1
}
said 'listening on'
mkfifo "$work/ann says" "$work/bob says"
for name in ann bob; do
    timeout 60 socat -t 5 - "UNIX-CONNECT:$work/chat" < "$work/$name says" > "$work/$name hears" &
done
exec 3> "$work/ann says" 4> "$work/bob says"
echo ann >&3
said '"ann" is a process'
echo bob >&4
said '"bob" is a process'
# hears <name> <text>: waits for it.
hears() {
    for _ in $(seq 100); do
        if [ "$(cat "$work/$1 hears")" = "$2" ]; then return; fi
        sleep 0.1
    done
    expect "$(cat "$work/$1 hears")" "$2"
}
echo hello >&3
hears bob 'ann: hello'
echo 'hello, ann' >&4
hears ann 'bob: hello, ann'
exec 3>&- 4>&-
kill "$server"
status=0
wait "$server" || status=$?
expect "$status" 0
server=
[ ! -e "$work/chat" ]
echo "socat: two clients of a chat"
