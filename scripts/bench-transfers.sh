#!/usr/bin/env bash
# Committed transfers per second, and how long one takes, at 1, 16 and 64 in
# flight. Every node is a process of its own with its own log on this disk, and
# every answer is durable before it is given. Each transfer has two participants.
#
# Usage: scripts/bench-transfers.sh [ORDERS] [ROUNDS]
#   ORDERS  transfers in each run; default 10000
#   ROUNDS  runs at each setting, interleaved; the median is shown; default 3
#
# Builds with the profile in PROFILE (default: dist).
set -euo pipefail
cd "$(dirname "$0")/.."

orders=${1:-10000}
rounds=${2:-3}
profile=${PROFILE:-dist}
banks=(home b1 b2 b3 b4)

cargo build --quiet --profile "$profile" --bin nemcon --bin nemcon-coordinator --bin nemcon-bank
bin=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$profile
work=$(mktemp -d)
pids=()
stop() {
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  [ ${#pids[@]} = 0 ] || wait "${pids[@]}" 2>/dev/null || true
  pids=()
}
trap 'stop; rm -rf "$work"' EXIT

# Orders from 2,000 paying accounts to as many at four other banks; a pair of
# accounts meets again only after 2,000 others.
awk -v n="$orders" 'BEGIN {
  OFS = "\t"
  print "order_id", "account_id", "bank_to", "account_to", "amount", "k_symbol"
  for (i = 0; i < n; i++)
    print i + 1, i % 2000, "b" (i % 4 + 1), i % 2000, "1." (10 + i % 90), ""
}' >"$work/orders.tsv"

wait_for() { # FILE
  for _ in $(seq 200); do
    [ -s "$1" ] && return
    sleep 0.05
  done
  echo "a node did not start:" >&2
  cat "$work"/*.log >&2
  exit 1
}

start() { # fresh nodes
  rm -rf "$work"/data "$work"/*.ready
  "$bin/nemcon-coordinator" --listen 127.0.0.1:0 --data-dir "$work/data/coordinator" \
    --ready-file "$work/coordinator.ready" >"$work/coordinator.log" 2>&1 &
  pids+=($!)
  wait_for "$work/coordinator.ready"
  coordinator=$(cat "$work/coordinator.ready")
  for bank in "${banks[@]}"; do
    "$bin/nemcon-bank" --name "$bank" --listen 127.0.0.1:0 --coordinator "$coordinator" \
      --data-dir "$work/data/$bank" --ready-file "$work/$bank.ready" >"$work/$bank.log" 2>&1 &
    pids+=($!)
  done
  for bank in "${banks[@]}"; do wait_for "$work/$bank.ready"; done
}

for round in $(seq "$rounds"); do
  for in_flight in 1 16 64; do
    start
    "$bin/nemcon" --coordinator "$coordinator" bank replay "$work/orders.tsv" --home home \
      --opening-balance 100000.00 --in-flight "$in_flight" --json >"$work/result.json"
    stop
    field() { sed -n "s/^ *\"$1\": \([0-9.]*\),*$/\1/p" "$work/result.json"; }
    [ "$(field committed)" = "$orders" ] || { cat "$work/result.json" >&2; exit 1; }
    echo "$in_flight $(field per_second) $(field p50_ms) $(field p99_ms)" >>"$work/figures"
    echo "round $round, $in_flight in flight: $(tail -n 1 "$work/figures" | cut -d' ' -f2-)" >&2
  done
done

median() { sort -g | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
printf '%-10s %12s %10s %10s\n' 'in flight' 'per second' 'p50 ms' 'p99 ms'
for in_flight in 1 16 64; do
  column() { awk -v n="$in_flight" -v c="$1" '$1 == n { print $c }' "$work/figures" | median; }
  printf '%-10s %12s %10s %10s\n' "$in_flight" "$(column 2)" "$(column 3)" "$(column 4)"
done
