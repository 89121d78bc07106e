# shellcheck shell=bash
# Hosts of their own on one machine: network namespaces. For scripts that need root, or sudo, and are skipped without.
if [[ $(id -u) != 0 ]]; then
    if ! sudo -n true 2>/dev/null; then
        echo 'SKIPPED: network namespaces need root'
        exit 0
    fi
    exec sudo -n env "PATH=$PATH" "CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}" AGAIN=yes "$0"
fi
# shellcheck source=.ci/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

hosts=()
end() {
    local name
    finish
    for name in "${hosts[@]}"; do
        ip netns del "$name" 2>/dev/null || true
    done
}
trap end EXIT

# hosts NAME...: names that no other run has.
hosts() {
    local name
    for name in "$@"; do
        if ! ip netns add "$name" 2>"$tmp/netns"; then
            echo "SKIPPED: no network namespaces: $(cat "$tmp/netns")"
            exit 0
        fi
        hosts+=("$name")
        ip -n "$name" link set lo up
    done
}

# wire ONE ADDRESS OTHER [ADDRESS]: a cable between two hosts.
wire() {
    ip -n "$1" link add "to-${3%%-[0-9]*}" type veth peer name "to-${1%%-[0-9]*}" netns "$3"
    ip -n "$1" addr add "$2" dev "to-${3%%-[0-9]*}"
    [[ -z ${4-} ]] || ip -n "$3" addr add "$4" dev "to-${1%%-[0-9]*}"
    ip -n "$1" link set "to-${3%%-[0-9]*}" up
    ip -n "$3" link set "to-${1%%-[0-9]*}" up
}

# bridge HOST ADDRESS: a switch in a host, which has this address there.
bridge() {
    # An address of its own: without one it takes that of a port, and loses it with the port.
    if ! ip -n "$1" link add name bridge address 02:00:00:00:00:01 type bridge 2>"$tmp/bridge"; then
        echo "SKIPPED: no bridges: $(cat "$tmp/bridge")"
        exit 0
    fi
    ip -n "$1" addr add "$2" dev bridge
    ip -n "$1" link set bridge up
}

# plug HOST ADDRESS SWITCH: a cable from a host to the bridge of another one. `ip -n SWITCH link set to-HOST nomaster` takes it out:
# all packets are lost, and no end says so.
plug() {
    wire "$1" "$2" "$3"
    ip -n "$3" link set "to-${1%%-[0-9]*}" master bridge
}
