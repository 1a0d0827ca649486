#!/usr/bin/env bash
# Counts the system calls of the echo server: what one connection and 1,000 messages cost.
#
#     tests/strace.sh               builds examples/echo.rs and counts
#     tests/strace.sh PROGRAM       counts those of a program that behaves like it
#
# A connection that waits for a message is added to epoll once. No writer waits here, so it is never modified.
# It leaves epoll before its fd is closed (R7). A message costs one recv, one send and one wait. Between messages there is silence.
# Needs bash, strace, perl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

messages=1000
idle_seconds=5

program=${1:-}
if [ -z "$program" ]; then
    cargo build --locked --release --example echo
    program=${CARGO_TARGET_DIR:-target}/release/examples/echo
fi

work=$(mktemp -d)
tracer=
cleanup() {
    # The server is ended, and strace ends with it. Not if it has gone already: its pid may be another's.
    if [ -n "$tracer" ]; then
        local pid
        pid=$(server || true)
        if [ -n "$pid" ] && [ "$(cut -d ' ' -f 4 "/proc/$pid/stat" 2> /dev/null)" = "$tracer" ]; then
            kill -KILL "$pid"
        else
            # It has not begun yet, or has gone; or strace is about to end.
            kill -TERM "$tracer" 2> /dev/null || true
        fi
        wait "$tracer" 2> /dev/null || true
    fi
    rm -rf "$work"
}
# The server's pid is the first word of the trace: strace -f writes it in front of each line.
server() { head -n 1 "$work/trace" 2> /dev/null | cut -d ' ' -f 1; }
trap cleanup EXIT

# Here and not by the process in the background, which may come to it after the first look at them.
touch "$work/stdout" "$work/stderr" "$work/trace"

# A process without threads of its own: `write` and `read` are traced because one on a socket would be a surprise.
strace -f -o "$work/trace" -e signal=none \
    -e trace=execve,accept4,recvfrom,recvmsg,sendto,sendmsg,read,write,readv,writev,close,epoll_ctl,epoll_wait,epoll_pwait,epoll_pwait2 \
    "$program" 127.0.0.1:0 > "$work/stdout" 2> "$work/stderr" &
tracer=$!

port=
for _ in $(seq 200); do
    port=$(sed -n '1s/^listening on 127\.0\.0\.1:\([0-9]*\)$/\1/p' "$work/stdout")
    [ -z "$port" ] || break
    kill -0 "$tracer" 2> /dev/null || break
    sleep 0.05
done
if [ -z "$port" ]; then
    echo "the server did not say \`listening on 127.0.0.1:PORT\`" >&2
    cat "$work/stderr" >&2
    exit 1
fi

# Two connections; the second one is there all the time and says one word at the end.
exec 8<> "/dev/tcp/127.0.0.1/$port" 9<> "/dev/tcp/127.0.0.1/$port"
for i in $(seq "$messages"); do
    printf 'message %d\n' "$i" >&8
    read -r -t 10 line <&8 || line="nothing in 10 s"
    [ "$line" = "message $i" ] || { echo "sent \`message $i\`, received \`$line\`" >&2; exit 1; }
done

sleep 0.3
before=$(wc -l < "$work/trace")
sleep "$idle_seconds"
while_idle=$(($(wc -l < "$work/trace") - before))

printf 'the last word\n' >&9
read -r -t 10 line <&9 || line="nothing in 10 s"
[ "$line" = "the last word" ] || { echo "sent \`the last word\`, received \`$line\`" >&2; exit 1; }
exec 8>&- 9>&-
sleep 0.3

kill -TERM "$(server)"
status=0
wait "$tracer" || status=$?
tracer=
[ $status -eq 0 ] || { echo "the server ended with status $status after SIGTERM" >&2; cat "$work/stderr" >&2; exit 1; }

perl -e '
    my ($messages, $idle, $idle_seconds) = splice @ARGV, 0, 3;
    my (%pids, %open, @connections, %waits, $failed, %total);
    sub check { my ($true, $text) = @_; print $true ? "ok     " : "FAILED ", "$text\n"; $failed++ unless $true }
    while (<>) {
        my ($pid, $call, $arguments, $result) = /^(\d+)\s+(\w+)\((.*)\)\s+= (-?\d+)/ or next;
        $pids{$pid} = 1;
        $total{$call}++ unless $call eq "execve";
        if ($call eq "accept4" and $result >= 0) {
            my $connection = { fd => $result, add => 0, mod => 0, del => 0 };
            push @connections, $open{$result} = $connection;
        } elsif ($call eq "epoll_ctl") {
            my ($operation, $fd) = $arguments =~ /^\d+, EPOLL_CTL_(\w+), (\d+)/ or next;
            $total{"epoll_ctl $operation"}++;
            $open{$fd}{lc $operation}++ if $open{$fd};
            $open{$fd}{room}++ if $open{$fd} and $arguments =~ /EPOLLOUT/;
        } elsif ($call =~ /^epoll_p?wait/) {
            $waits{lc $call}++;
        } elsif ($arguments =~ /^(\d+)/ and my $connection = $open{$1}) {
            if ($call eq "close") {
                $connection->{closed} = 1;
                $connection->{left_first} = $connection->{add} == $connection->{del};
                delete $open{$1};
            } elsif ($call eq "recvfrom") {
                $connection->{recv}++;
                $connection->{received}++ if $result > 0;
                $connection->{early}++ if $result > 0 and !$connection->{add};
            } elsif ($call eq "sendto") {
                $connection->{send}++;
            } else {
                $connection->{other}++;
                $connection->{others} .= " $call";
            }
        }
    }
    printf "%-18s %6d\n", $_, $total{$_} for sort keys %total;
    my $waits = 0;
    $waits += $_ for values %waits;
    my ($busy, $quiet) = sort { $b->{recv} <=> $a->{recv} } @connections;
    check(@connections == 2, "two connections were accepted");
    check(keys %pids == 1, "one thread");
    check(!$total{"epoll_ctl MOD"}, "no epoll_ctl(MOD) at all");
    for my $connection (@connections) {
        my $name = "connection " . $connection->{fd};
        check($connection->{add} == 1, "$name: one epoll_ctl(ADD), and it was $connection->{add}");
        check(!$connection->{room}, "$name: not registered for room to write");
        check($connection->{closed} && $connection->{left_first}, "$name: left epoll before close");
        check(!$connection->{other}, "$name: recv and send only" . ($connection->{others} // ""));
    }
    # Beside the messages: EAGAIN before the ADD, and the end of the stream.
    check($busy->{received} == $messages, "$messages messages, each received whole: $busy->{received}");
    check($busy->{recv} <= $messages + 2, "$messages messages, at most 2 more recv: $busy->{recv}");
    check($busy->{send} == $messages, "$messages messages, as many send: $busy->{send}");
    # Beside the messages: the connections, what they wait for at first, their ends, the other word, the signal. What a
    # quick client sends before the first read that would block is received without a wait.
    my $early = $busy->{early} // 0;
    check($waits >= $messages - $early && $waits <= $messages + 20,
        "$messages messages, $early of them at once, at most 20 more waits: $waits");
    check($idle == 0, "$idle_seconds s of silence with two connections open: $idle system calls");
    exit($failed ? 1 : 0);
' "$messages" "$while_idle" "$idle_seconds" "$work/trace"
