# shellcheck shell=bash disable=SC2034,SC2317
# Functions for the other scripts: they start examples, end the processes that were started, and report checks.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
exec </dev/null

examples=${CARGO_TARGET_DIR:-target}/release/examples
tmp=$(mktemp -d)
pids=()
# Seconds that only a failure reaches, even on a slow and busy machine.
patience=120
# Of packages of Python: their versions, and attempts where the network fails.
export PIP_CONSTRAINT=$PWD/.ci/constraints.txt PIP_RETRIES=10 PIP_DISABLE_PIP_VERSION_CHECK=1

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

# python_with PACKAGE==VERSION: leaves in $python an interpreter that has the package, in a virtual environment
# that later runs use again.
python_with() {
    local venv=${XDG_CACHE_HOME:-$HOME/.cache}/peregrine-python/$1
    python=$venv/bin/python
    if ! "$venv/bin/pip" show --quiet "${1%%==*}" &>/dev/null; then
        rm -rf "$venv"
        python3 -m venv "$venv" && "$venv/bin/pip" install --quiet "$1" || fail "no Python package $1"
    fi
}

# has_target TARGET: installs the standard library of a target, with rustup. Says so if that is not possible.
has_target() {
    [[ -d $(rustc --print sysroot)/lib/rustlib/$1/lib ]] && return 0
    timeout "$patience" rustup target add "$1" &>"$tmp/rustup" && return 0
    tail -n 3 "$tmp/rustup" 2>/dev/null || true
    printf 'SKIPPED %s: rustup cannot install its standard library\n' "$1"
    return 1
}

# has_packages PACKAGE...: installs packages of Debian.
has_packages() {
    local package missing=() as_root=()
    for package; do
        dpkg -s "$package" 2>/dev/null | grep -q '^Status: install ok installed' || missing+=("$package")
    done
    [[ ${#missing[@]} != 0 ]] || return 0
    [[ $(id -u) == 0 ]] || as_root=(sudo -n)
    export DEBIAN_FRONTEND=noninteractive
    # Steps run beside each other, and apt-get refuses to.
    {
        flock 9
        "${as_root[@]}" apt-get update -qq -o Acquire::Retries=5 9<&- &&
            "${as_root[@]}" apt-get install -y -qq --no-install-recommends -o Acquire::Retries=5 -o DPkg::Lock::Timeout=600 \
                "${missing[@]}" 9<&-
    } 9<.ci &>"$tmp/apt" && return 0
    tail -n 3 "$tmp/apt"
    printf 'SKIPPED: apt-get cannot install %s\n' "${missing[*]}"
    return 1
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

# browse OPTIONS...: Chromium without a window, with a profile of its own. Prints what it prints, and leaves in $tmp/browse.log
# what it says. It may end while it starts, for example where memory is short: then it is started again, twice at most.
browse() {
    local left
    for left in 2 1 0; do
        timeout "$patience" chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
            --user-data-dir="$(mktemp -d "$tmp/profile.XXXXXX")" "$@" >"$tmp/browse.out" 2>"$tmp/browse.log" && cat "$tmp/browse.out" && return 0
        printf 'Chromium ended with %d, %d attempts left: %s\n' $? "$left" "$(tail -n 5 "$tmp/browse.log")" >&2
    done
    return 1
}

# free_port: prints a port for a server that is started again on it, see .ci/process.py.
free_port() { PYTHONPATH=.ci python3 -c 'from process import free_port; print(free_port())'; }

# browser_driver: starts chromedriver, which drives Chromium, and leaves its address in $driver.
browser_driver() {
    command -v chromedriver >/dev/null || fail 'no chromedriver: apt-get install chromium chromium-driver'
    chromedriver --port=0 >"$tmp/driver" 2>&1 &
    pids+=("$!")
    driver_listens() {
        local port
        port=$(sed -n 's/.*started successfully on port \([0-9]*\).*/\1/p' "$tmp/driver")
        driver=http://127.0.0.1:$port
        [[ -n $port ]]
    }
    within "$patience" driver_listens || { cat "$tmp/driver"; fail 'chromedriver'; }
}

# ended PID: true if the process has ended, waited for or not.
ended() {
    [[ $(ps -o stat= -p "$1") != [!Z]* ]]
}

# listening LOG PID: waits for the address that an example prints, and leaves it in $address.
listening() {
    address=
    printed() {
        kill -0 "$2" 2>/dev/null || { cat "$1"; fail "the example ended"; }
        address=$(sed -n 's|^listening on https*://||p' "$1")
        [[ -n $address ]]
    }
    within "$patience" printed "$1" "$2" || { cat "$1"; fail "the example printed no address"; }
}

# start COMMAND...: leaves its output in $tmp/log, the process in $server and the address in $address.
start() {
    # Emptied first, because the log of an earlier server has an address, too.
    : >"$tmp/log"
    "$@" >"$tmp/log" 2>&1 &
    server=$!
    pids+=("$server")
    listening "$tmp/log" "$server"
}
