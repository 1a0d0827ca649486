#!/usr/bin/env bash
# The real clients of this server: curl, Python's http.client, ab and slowhttptest.
#
#     examples/web/check.sh
#
# Needs bash, cargo, coreutils; curl, openssl, python3, ab (apache2-utils) and slowhttptest, which it installs if it is
# root and apt-get is there. It goes on without slowhttptest where apt-get has none.
set -euo pipefail
# Whatever proxy there is, loopback is near.
export no_proxy="*" NO_PROXY="*"
cd "$(dirname "${BASH_SOURCE[0]}")"
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
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" > /dev/null && return
    fi
    echo "examples/web/check.sh needs $1, of the package $2" >&2
    return 2
}
need curl curl
need openssl openssl
need python3 python3
need ab apache2-utils
cargo build --locked --release
program=${CARGO_TARGET_DIR:-target}/release/web

# serve <argument>...: starts the server, and sets $server and $at.
serve() {
    : > "$work/said" # It is looked into before the program may have begun.
    "$program" 127.0.0.1:0 "$@" > "$work/said" &
    server=$!
    for _ in $(seq 100); do
        at=$(sed -n 's/^listening on //p' "$work/said")
        [ -z "$at" ] || return 0
        sleep 0.1
    done
    echo "the server does not listen"
    return 1
}

# stop: ends the server, which must end well.
stop() {
    kill "$server"
    local status=0
    wait "$server" || status=$?
    server=
    expect "$status" 0
}

# expect <what> <text>: fails unless the two are the same.
expect() {
    if [ "$1" != "$2" ]; then
        echo "expected: $2"
        echo "got:      $1"
        return 1
    fi
}

fetch() { curl --silent --show-error --max-time 30 "$@"; }
upload() { fetch --output /dev/null --write-out '%{http_code}\n' --data-binary @"$work/upload" "$@"; }

head -c 20000000 /dev/zero > "$work/upload"
serve
expect "$(fetch "http://$at/")" hello
expect "$(fetch --data-binary 'there and back' "http://$at/echo")" 'there and back'
# Without `Expect: 100-continue` curl sends at once what it has; with it, it waits for the server.
for options in '--header Expect:' '--header Expect:100-continue' '--header Expect: --header Transfer-Encoding:chunked'; do
    # shellcheck disable=SC2086
    expect "$(for _ in $(seq 30); do upload $options "http://$at/length"; done | sort | uniq -c | xargs)" '30 413'
done
echo "curl: uploads of 20 MB are refused, and the answer comes"
python3 - "$at" << 'END'
import http.client, sys
body = bytes(20_000_000)
chunks = [body[at:at + 65_536] for at in range(0, len(body), 65_536)]
for what in ['with a length', 'in chunks'] * 30:
    client = http.client.HTTPConnection(sys.argv[1], timeout=20)
    client.request('POST', '/length', body if what == 'with a length' else iter(chunks))
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (413, b'too large\n'), what
    client.close()
print('http.client: so it is for 30 with a length, and 30 in chunks')
END
timeout 60 ab -q -k -c 50 -n 20000 "http://$at/" > "$work/ab"
expect "$(grep -c '^Failed requests: *0$\|^Complete requests: *20000$' "$work/ab")" 2
echo "ab: $(grep '^Requests per second' "$work/ab")"
stop

if need slowhttptest slowhttptest; then
    # 200 clients that send a head piece by piece, for ever. All are closed: the limit is 1 s.
    serve --head-timeout 1
    timeout 60 slowhttptest -H -c 200 -r 200 -i 1 -l 20 -u "http://$at/" > "$work/slow" 2>&1 || true
    # Otherwise it says that it has hit its time limit.
    expect "$(grep -c 'No open connections left' "$work/slow")" 1
    expect "$(fetch "http://$at/")" hello
    stop
    echo "slowhttptest: 200 slow heads are closed"
fi

openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
    -keyout "$work/key.pem" -out "$work/certificate.pem" 2> /dev/null
serve --tls "$work/certificate.pem" "$work/key.pem"
secure=(--cacert "$work/certificate.pem" --resolve "localhost:${at##*:}:127.0.0.1")
url=https://localhost:${at##*:}
for version in 1.1 2; do
    expect "$(fetch "${secure[@]}" --http$version --write-out '%{http_version}' "$url/" | xargs)" "hello $version"
    expect "$(upload "${secure[@]}" --http$version "$url/length")" 413
done
# A request of HTTP/2 that is under way when SIGTERM comes is answered.
fetch "${secure[@]}" --http2 --verbose "$url/wait/3000" > "$work/waited" 2> "$work/log" &
waits=$!
for _ in $(seq 100); do
    if grep -q '^> GET' "$work/log"; then break; fi
    sleep 0.1
done
stop
wait "$waits"
expect "$(cat "$work/waited")" waited
echo "curl: TLS, HTTP/1.1 and 2"
