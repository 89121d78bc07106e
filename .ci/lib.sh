# shellcheck shell=bash disable=SC2034,SC2317
# For the scripts beside it: starts examples, ends whatever was started, reports checks.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
exec </dev/null

examples=${CARGO_TARGET_DIR:-target}/release/examples
tmp=$(mktemp -d)
pids=()
# Seconds that nothing takes unless it fails, on a slow and busy machine, too.
patience=120

finish() {
    local pid
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    rm -rf "$tmp"
}
trap finish EXIT

fail() {
    printf 'FAILED %s\n' "$*"
    exit 1
}

# check NAME GOT WANT: WANT is a pattern of bash.
check() {
    # shellcheck disable=SC2053
    [[ $2 == $3 ]] || fail "$1: wanted $3, got: $2"
    printf 'ok %s\n' "$1"
}

# within SECONDS COMMAND...: tries until it succeeds.
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < until)) || return 1
        sleep 0.05
    done
}

# ended PID: true if it runs no more, waited for or not.
ended() {
    [[ $(ps -o stat= -p "$1") != [!Z]* ]]
}

# listening LOG PID: waits for the address that an example prints, and leaves it in $address.
listening() {
    address=
    printed() {
        kill -0 "$2" 2>/dev/null || { cat "$1"; fail "the example ended"; }
        address=$(sed -n 's|^listening on http://||p' "$1")
        [[ -n $address ]]
    }
    within "$patience" printed "$1" "$2" || { cat "$1"; fail "the example printed no address"; }
}

# start COMMAND...: leaves its output in $tmp/log, the process in $server and the address in $address.
start() {
    # Made anew first: the log of a server before this one has an address, too.
    : >"$tmp/log"
    "$@" >"$tmp/log" 2>&1 &
    server=$!
    pids+=("$server")
    listening "$tmp/log" "$server"
}
