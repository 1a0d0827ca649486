#!/usr/bin/env bash
# Types the session of runtime/when_a_server_is_stuck.md, and sees that what the page says is printed, is.
#
#     tests/stuck.sh
#
# A line in a block that begins with `$ ` is a command; the lines up to the next are what it prints, in this order, perhaps
# with others between them. `…` stands for any text, one space for any number of them, and what follows ` ←` is not compared.
# Needs bash, cargo, coreutils, grep, perl, sed; gdb, ss (iproute2) and strace, which it installs if it is root and apt-get is
# there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# What hangs is a failure.
if [ -z "${STUCK_LIMIT:-}" ]; then
    STUCK_LIMIT=300 exec timeout --kill-after=5 300 "${BASH_SOURCE[0]}"
fi
page=$PWD/runtime/when_a_server_is_stuck.md

# need <tool> <package>
need() {
    if command -v "$1" > /dev/null; then return; fi
    if [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$2" > /dev/null
    else
        echo "tests/stuck.sh needs $1, of the package $2" >&2
        exit 2
    fi
}
need gdb gdb
need ss iproute2
need strace strace

cargo build --locked --quiet --example echo --example never_woken
CARGO_TARGET_DIR=$(realpath "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR TMPDIR
# gdb is not to ask a server for symbols, nor ss to shorten its lines.
export DEBUGINFOD_URLS="" COLUMNS=200
work=$(mktemp -d)
TMPDIR=$work
mkdir "$work/said"

server='' tracer='' gdb=''
finish() {
    local pid
    for pid in "$server" "$tracer" "$gdb"; do
        # Those that it waits for have gone, and their numbers are not theirs any more.
        if [ -n "$pid" ] && jobs -p | grep -qx "$pid"; then
            kill -CONT "$pid" 2> /dev/null || true
            kill -TERM "$pid" $(cat "/proc/$pid/task/$pid/children" 2> /dev/null) 2> /dev/null || true
        fi
    done
    rm -rf "$work"
}
trap finish EXIT

# The descriptors on the page are the lowest that are free: what this shell has inherited is closed.
for fd in {3..20}; do eval "exec $fd>&-"; done
# Another one for each of several that run at once.
port=$((7000 + $$ % 10000))
while [ -n "$(ss -Htan "sport = :$port")" ]; do port=$((port + 1)); done

# commands: one file for each command of the page, 01, 02 and so on, and what it is to print in 01.says.
perl -CSDA -Mutf8 -e '
    my ($page, $to, $port) = @ARGV;
    open my $in, "<", $page or die "$page: $!\n";
    my ($inside, $n, $out) = (0, 0);
    while (<$in>) {
        if (/^```/) { $inside = /^```text$/; next }
        next unless $inside;
        s/\b7000\b/$port/g;
        if (s/^\$ //) {
            $n = sprintf "%02d", $n + 1;
            open my $command, ">", "$to/$n" or die;
            print $command $_;
            close $command;
            open $out, ">", "$to/$n.says" or die;
        } else {
            s/\s+←.*//;
            chomp;
            print $out "$_\n" if $out;
        }
    }
    die "no session on the page\n" unless $n > 20;
' "$page" "$work/said" "$port"

failed=0
for command in "$work/said/"[0-9][0-9]; do
    # In this shell, which keeps its variables and its connections. A command that fails is judged by what it has printed.
    set +eu
    eval "$(cat "$command")" > "$command.printed" 2> "$command.errors"
    set -eu
    if ! perl -CSDA -Mutf8 -e '
        my ($says, $printed) = map { open my $in, "<", $_ or die; [<$in>] } @ARGV;
        my $squeeze = sub { my $line = shift; $line =~ s/\s+/ /g; $line =~ s/^ | $//g; $line };
        my @printed = map { $squeeze->($_) } @$printed;
        # A command that is to print nothing prints nothing.
        exit(1) if !@$says && @printed;
        for (map { $squeeze->($_) } @$says) {
            my $pattern = join ".*", map { quotemeta } split /\s*…/, $_, -1;
            shift @printed while @printed && $printed[0] !~ /^$pattern$/;
            print("not printed: $_\n"), exit(1) unless @printed;
            shift @printed;
        }
    ' "$command.says" "$command.printed"; then
        echo "FAILED \$ $(cat "$command")"
        sed 's/^/    /' "$command.printed" "$command.errors"
        failed=$((failed + 1))
        break
    fi
    echo "ok     \$ $(head -c 100 "$command" | head -n 1)"
done
exit $((failed > 0))
