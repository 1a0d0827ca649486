#!/usr/bin/env bash
# Counts the instructions a message costs the echo server, alone and beside many connections that wait.
#
#     tests/instructions.sh                builds examples/echo.rs and counts: 10,000 that wait
#     tests/instructions.sh 1000           as many that wait
#
# Four runs under valgrind: with few and with many messages, without and with connections that wait. The
# difference between few and many is what the messages cost, whatever starting, accepting and ending take.
# Fails if a message costs over a fifth more beside those that wait: what waits must cost nothing.
# Needs bash, valgrind (its cachegrind counts the instructions of user space), perl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

active=50  # connections that speak, in turn
few=1000   # messages in all
many=51000 # so many that what a connection costs, which depends on what comes together, does not show

cargo build --locked --release --example echo
program=${CARGO_TARGET_DIR:-target}/release/examples/echo

# A descriptor each, here and there; a few are for the programs themselves.
ulimit -S -n "$(ulimit -H -n)"
most=$(($(ulimit -n) - 200))
waiting=${1:-10000}
[ "$waiting" -le "$most" ] || waiting=$most

work=$(mktemp -d)
server=
cleanup() {
    if [ -n "$server" ]; then kill -KILL "$server" 2> /dev/null || true; fi
    rm -rf "$work"
}
trap cleanup EXIT

# instructions <connections that wait> <messages>: prints how many the server took.
instructions() {
    valgrind --tool=cachegrind --cache-sim=no --cachegrind-out-file=/dev/null --log-file="$work/log" \
        "$program" 0.0.0.0:0 > "$work/stdout" 2> "$work/stderr" &
    server=$!
    local port= status=0
    for _ in $(seq 600); do
        port=$(sed -n '1s/^listening on .*:\([0-9]*\)$/\1/p' "$work/stdout")
        [ -z "$port" ] || break
        kill -0 "$server" 2> /dev/null || break
        sleep 0.05
    done
    if [ -z "$port" ]; then cat "$work/log" "$work/stderr" >&2; return 1; fi
    perl -MIO::Socket::INET -e '
        my ($port, $waiting, $active, $messages) = @ARGV;
        $SIG{ALRM} = sub { die "the server does not answer\n" };
        sub exchange {
            my ($socket, $message) = @_;
            alarm 60;
            syswrite($socket, $message) == length $message or die "write: $!\n";
            my $echoed = "";
            while (length $echoed < length $message) {
                sysread($socket, $echoed, 64, length $echoed) or die "read: $!\n";
            }
            $echoed eq $message or die "other bytes came back\n";
        }
        # Each echoes once, so that it is registered. A loopback address has 28,000 client ports.
        my @sockets;
        for my $nth (1 .. $waiting + $active) {
            my $host = "127.0.0." . (1 + $nth % 8);
            my $socket = IO::Socket::INET->new(PeerAddr => $host, PeerPort => $port) or die "connect: $@\n";
            exchange($socket, sprintf "message %8d", $nth);
            push @sockets, $socket;
        }
        # One at a time, so that each message is one wait, whatever the machine does meanwhile.
        exchange($sockets[$waiting + $_ % $active], sprintf "message %8d", $_) for 1 .. $messages;
        # One end at a time, for the same reason.
        for my $socket (@sockets) {
            shutdown($socket, 1);
            sysread($socket, my $end, 1) == 0 or die "more came back\n";
        }
    ' "$port" "$1" "$active" "$2" >&2
    kill -TERM "$server"
    wait "$server" || status=$?
    server=
    [ $status -eq 0 ] || { echo "the server ended with status $status" >&2; cat "$work/log" >&2; return 1; }
    perl -ne 'if (/I\s+refs:\s+([\d,]+)/) { ($n = $1) =~ tr/,//d; print $n }' "$work/log"
}

# per_message <connections that wait>
per_message() {
    local less more
    less=$(instructions "$1" "$few")
    more=$(instructions "$1" "$many")
    echo $(((more - less) / (many - few)))
}

alone=$(per_message 0)
echo "$alone instructions of user space a message, on $active connections in turn"
beside=$(per_message "$waiting")
echo "$beside beside $waiting connections that wait"
if [ $((beside * 10)) -gt $((alone * 12)) ]; then
    echo "FAILED: over a fifth more" >&2
    exit 1
fi
