# What .ci/run and tests/prove share: both source it, define a function `step_<name>` for each step, and call `steps`.
# It goes to the project's root, and sees to it that the tests find the signals, the input and the colors they expect.
#
# Of its caller it wants: `me`, its name; `all`, its steps; `usual`, those that run if none is named; and two functions,
# `report <step> <verdict> <seconds>`, called after each step, with what it said in the file $log, and
# `summary <failed> <steps>`, called at the end.

# A shell that runs this in the background has it ignore SIGINT, and so would the tests of SIGINT.
if [ -z "${STEPS_SIGNALS:-}" ]; then
    export STEPS_SIGNALS=default
    exec perl -e '$SIG{$_} = "DEFAULT" for qw(INT QUIT); exec "bash", @ARGV' "${BASH_SOURCE[1]}" "$@"
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec < /dev/null
export CARGO_TERM_COLOR=never

# need <tool>: installs it if it is missing, this is root and apt-get is there.
need() {
    if command -v "$1" > /dev/null; then return; fi
    if [ "$(id -u)" -eq 0 ] && command -v apt-get > /dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$1"
    else
        echo "$1 is missing"
        return 1
    fi
}

# steps [--list | <name>...]: runs them in this order, those behind one that fails too. Not to be called in a condition:
# that would switch `set -e` off inside the steps.
steps() {
    if [ "${1:-}" = --list ]; then
        printf '%s\n' "${all[@]}"
        return
    fi
    [ $# -gt 0 ] || set -- "${usual[@]}"
    local name began status verdict failed=0
    for name in "$@"; do
        if ! declare -F "step_$name" > /dev/null; then
            echo "no step named $name; $me --list names them" >&2
            exit 2
        fi
    done
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    for name in "$@"; do
        echo
        echo "== $name"
        began=$SECONDS
        set +e
        ( set -e; "step_$name" ) 2>&1 | tee "$log"
        status=${PIPESTATUS[0]}
        set -e
        verdict=ok
        if [ "$status" -ne 0 ]; then
            verdict=FAILED
            failed=$((failed + 1))
        fi
        report "$name" "$verdict" $((SECONDS - began))
    done
    echo
    summary "$failed" $#
    [ "$failed" -eq 0 ]
}
