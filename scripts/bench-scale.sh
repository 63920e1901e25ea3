#!/usr/bin/env bash
# What a transaction costs by how large things are, a picture each:
# - 2, 4, 8 and 16 participants, of as many banks and of 16 (both phases, no data);
# - 1, 2 and 4 coordinators of the same two banks (transfers);
# - 1,000, 100,000 and 1,000,000 accounts at each bank (transfers);
# - a thousand to a million transactions that are remembered (both phases, no data),
#   processor and memory;
# - 64 to 4,096 transactions in flight, memory.
#
# Usage: scripts/bench-scale.sh --out DIR [--rounds N] [--seconds N]
#   --out DIR    where reports (JSON) and pictures (SVG) go
#   --rounds N   how often each row is measured; figures are medians; default 5
#   --seconds N  how long each time; default 3
#
# Builds with the profile in PROFILE (default: dist). The last lines are the figures.
set -euo pipefail
cd "$(dirname "$0")/.."

out=
rounds=5
seconds=3
while (($#)); do
  case $1 in
    --out) out=${2:?--out wants a directory} && shift 2 ;;
    --rounds) rounds=${2:?--rounds wants a number} && shift 2 ;;
    --seconds) seconds=${2:?--seconds wants a number} && shift 2 ;;
    *) echo "unknown argument: $1" >&2 && exit 2 ;;
  esac
done
[[ -n $out ]] || { echo "--out DIR is missing" >&2; exit 2; }
for number in "$rounds" "$seconds"; do
  [[ $number =~ ^[1-9][0-9]{0,2}$ ]] || { echo "$number is no number from 1 to 999" >&2; exit 2; }
done
mkdir -p "$out"

profile=${PROFILE:-dist}
cargo build --quiet --profile "$profile" --bin nemcon --bin nemcon-coordinator --bin nemcon-bank
bin=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$profile

# bench NAME ARGUMENTS...: a report NAME.json.
bench() {
  local name=$1
  shift
  echo "measuring: $*" >&2
  "$bin/nemcon" bench "$@" --bin-dir "$bin" --seconds "$seconds" --json >"$out/$name.json"
}
# plot OF BY NAME FILES...
plot() {
  local of=$1 by=$2 name=$3
  shift 3
  "$bin/nemcon" plot cost --of "$of" --by "$by" --out "$out/$name.svg" "$@" >&2
}

for count in 2 4 8 16; do
  bench "participants-$count" empty --spawn="$count" --participants "$count" --in-flight 64 --rounds "$rounds"
done
plot cpu participants cost-participants "$out"/participants-{2,4,8,16}.json
bench participants-of-16 empty --spawn=16 --participants 2,4,8,16 --in-flight 64 --rounds "$rounds"
plot cpu participants cost-participants-of-16 "$out/participants-of-16.json"

for count in 1 2 4; do
  bench "coordinators-$count" transfer --spawn=2 --coordinators "$count" --in-flight 64 --rounds "$rounds"
done
plot cpu coordinators cost-coordinators "$out"/coordinators-{1,2,4}.json

for count in 1000 100000 1000000; do
  # Longer before it counts: what was just opened has to be written back first.
  bench "accounts-$count" transfer --spawn=2 --accounts "$count" --in-flight 64 --warm-up 15 --rounds 3
done
plot cpu accounts cost-accounts "$out"/accounts-{1000,100000,1000000}.json

# As many rounds as it takes to fill a memory of a million.
bench remembered empty --spawn --participants 2 --in-flight 256 --rounds 30
plot cpu committed cost-remembered "$out/remembered.json"
plot memory committed memory-remembered "$out/remembered.json"

bench in-flight empty --spawn --participants 2 --in-flight 64,256,1024,4096 --rounds 1
plot memory in-flight memory-in-flight "$out/in-flight.json"

python3 - "$out" <<'PYTHON'
import json, sys

out = sys.argv[1]


def report(name):
    with open(f"{out}/{name}.json") as file:
        return json.load(file)


def line(what, median):
    print(f"{what:32} {median['per_second']:8.0f} a second  {median['nodes_cpu_us']:8.1f} µs  "
          f"{median['nodes_memory_mb']:6.0f} MB")


print(f"{'':32} {'commits':>17}  {'CPU of nodes':>11}  {'memory':>9}")
each = {}
for name in (*(f"participants-{count}" for count in (2, 4, 8, 16)), "participants-of-16"):
    found = report(name)
    for row in found["rows"]:
        count, banks = row["participants"], found["banks"]
        each[count, banks] = row["median"]["nodes_cpu_us"] / count
        line(f"{count} participants of {banks} banks", row["median"])
for count in (1, 2, 4):
    line(f"{count} coordinators", report(f"coordinators-{count}")["rows"][0]["median"])
for count in (1_000, 100_000, 1_000_000):
    line(f"{count:,} accounts at each bank", report(f"accounts-{count}")["rows"][0]["median"])
rounds = report("remembered")["rows"][0]["rounds"]
for round in rounds[::4]:
    line(f"{round['committed_before']:,.0f} remembered", round)
for row in report("in-flight")["rows"]:
    line(f"{row['in_flight']:,} in flight", row["median"])

first, last = rounds[1], rounds[-1]
kept = min(last["committed_before"], 1_000_000) - first["committed_before"]
grown = (last["nodes_memory_mb"] - first["nodes_memory_mb"]) * 1e6
remembered = grown / kept
print(f"memory for each that is remembered: {remembered:.0f} bytes")
few, *_, many = report("in-flight")["rows"]
grown = (many["median"]["nodes_memory_mb"] - few["median"]["nodes_memory_mb"]) * 1e6
grown -= (many["median"]["committed_before"] - few["median"]["committed_before"]) * remembered
print(f"memory for each in flight: {grown / (many['in_flight'] - few['in_flight']) / 1e3:.1f} kB")
print(f"CPU for each participant, 16 of 16 banks against 2 of 2: {each[16, 16] / each[2, 2]:.2f}, "
      f"against 2 of 16: {each[16, 16] / each[2, 16]:.2f}")
PYTHON
