#!/usr/bin/env bash
# Draws docs/images/latency.svg: how long the phases of 1,000 real transfers took. A
# coordinator and three banks, each a process of its own with its own log on this
# disk; every transfer is between two banks, and every answer durable.
#
#   scripts/plots.sh [DIRECTORY]     where the picture goes; default docs/images
#
# Builds with the profile in PROFILE (default: release), or takes the programs in
# NEMCON_BIN_DIR. A few seconds of load: 3,000 transfers, 8 at a time.
set -euo pipefail
cd "$(dirname "$0")/.."

images=${1:-docs/images}
orders=3000
banks=(home north south)

if [[ -n ${NEMCON_BIN_DIR:-} ]]; then
    bin=$NEMCON_BIN_DIR
else
    profile=${PROFILE:-release}
    cargo build --quiet --locked --profile "$profile" --bin nemcon --bin nemcon-coordinator --bin nemcon-bank
    bin=${CARGO_TARGET_DIR:-target}/$profile
fi
work=$(mktemp -d)
pids=()
stop() {
    [[ ${#pids[@]} -eq 0 ]] || kill "${pids[@]}" 2>/dev/null || true
    wait || true
    rm -rf "$work"
}
trap stop EXIT

# start NAME PROGRAM [ARGUMENT...]: a node on a free port, which it writes down.
start() {
    local name=$1 program=$2
    shift 2
    "$bin/$program" --listen 127.0.0.1:0 --http-listen none --data-dir "$work/$name" \
        --ready-file "$work/$name.ready" "$@" >"$work/$name.log" 2>&1 &
    pids+=($!)
    for _ in $(seq 600); do
        [[ -s $work/$name.ready ]] && return
        kill -0 $! 2>/dev/null || break
        sleep 0.05
    done
    echo "$name did not start:" >&2
    cat "$work/$name.log" >&2
    exit 1
}

start coordinator nemcon-coordinator
coordinator=$(cat "$work/coordinator.ready")
for bank in "${banks[@]}"; do
    start "$bank" nemcon-bank --name "$bank" --coordinator "$coordinator"
done

# Orders of 500 accounts at home, by turns to both other banks.
awk -v n="$orders" 'BEGIN {
    OFS = "\t"
    print "order_id", "account_id", "bank_to", "account_to", "amount"
    for (i = 0; i < n; i++)
        print i + 1, i % 500, (i % 2 ? "north" : "south"), i % 500, "1.50"
}' >"$work/orders.tsv"
"$bin/nemcon" --coordinator "$coordinator" bank replay "$work/orders.tsv" --home home \
    --opening-balance 1000.00 --in-flight 8 >&2

mkdir -p "$images"
"$bin/nemcon" --coordinator "$coordinator" plot latency --out "$images/latency.svg"
