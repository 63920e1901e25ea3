#!/usr/bin/env bash
# Runs every command of docs/grpcurl.md on a real cluster and compares each answer
# with the one on the page.
#
#   scripts/grpcurl-check.sh [--write] [COORDINATOR BANK-A BANK-B BANK-C]
#
# Without addresses it starts a cluster of its own; with four of them (HOST:PORT) it
# uses the one that runs there, which must be fresh: the page opens its accounts. With
# --write the answers are put on the page instead of only being compared with it.
# Programs come from $NEMCON_BIN_DIR (default: target/debug). The last line is
# "N passed, N failed", where N counts the commands of the page, and what the check
# finds wrong with its words or with itself.
set -euo pipefail
cd "$(dirname "$0")/.."

nemcon=${NEMCON_BIN_DIR:-${CARGO_TARGET_DIR:-target}/debug}/nemcon
write=()
if [[ ${1:-} == --write ]]; then
    write=(--write)
    shift
fi
addresses=("$@")
# The page shows the usual ports, so what is written comes from there.
port_base=$((${#write[@]} ? 7100 : 0))
[[ $# -eq 0 || $# -eq 4 ]] || {
    echo 'usage: scripts/grpcurl-check.sh [--write] [COORDINATOR BANK-A BANK-B BANK-C]' >&2
    exit 2
}
cluster=
dir=$(mktemp -d)

stop() {
    [[ -n $cluster ]] || return 0
    local pid=$cluster
    cluster=
    kill -TERM "$pid" 2>/dev/null || true
    # The node drains for 10 s at most; one that still runs after 20 has hung.
    (sleep 20 && kill -KILL "$pid") 2>/dev/null &
    local watch=$!
    wait "$pid" 2>/dev/null || true
    kill "$watch" 2>/dev/null || true
    wait "$watch" 2>/dev/null || true
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

# Starts a cluster with fresh data, and sets addresses.
start() {
    local out=$dir/up.out
    [[ -x $nemcon ]] || {
        echo "there is no $nemcon; run cargo build first, or set NEMCON_BIN_DIR" >&2
        exit 1
    }
    touch "$out"
    "$nemcon" up --data-dir "$dir/data" --port-base "$port_base" >"$out" 2>"$dir/up.err" &
    cluster=$!
    for ((waited = 0; waited < 300; waited++)); do
        if grep -q '^Stop with' "$out"; then
            # The table of nodes: the coordinator, then the banks.
            mapfile -t addresses < <(grep -o '127\.0\.0\.1:[0-9]*' "$out" | head -n 4)
            return 0
        fi
        kill -0 "$cluster" 2>/dev/null || break
        sleep 0.1
    done
    echo 'the cluster did not start:' >&2
    cat "$out" "$dir/up.err" >&2
    exit 1
}

python=$(scripts/python-env.sh grpcurl scripts/grpcurl-requirements.txt)
[[ ${#addresses[@]} -gt 0 ]] || start
# No byte code is left beside the sources.
"$python" -B scripts/grpcurl_check.py "${write[@]}" docs/grpcurl.md "${addresses[@]}"
