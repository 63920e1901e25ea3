#!/usr/bin/env bash
# Whether the working tree is slower than another revision: builds the nodes of both,
# puts the same load on each in turn, and reports the ratio of commits a second and of
# the nodes' processor time for a commit, with its spread.
#
# Usage: scripts/bench-guard.sh BASE [--rounds N] [--seconds N] [--in-flight N]
#   BASE           any revision that git knows
#   --rounds N     pairs of measurements; default 7
#   --seconds N    how long each, after 2 s of warm-up; default 5
#   --in-flight N  default 64
#
# The load is made by the working tree's `nemcon bench` for both, so a change of the
# client or of the bench does not show, and BASE may be older than the bench. Which of
# a pair is first changes from pair to pair. Builds with the profile in PROFILE
# (default: dist), BASE in a git worktree in a directory that is thrown away.
#
# On a shared machine the processor's time is the steadier of the two ratios. The
# last line is "rate N.NN (N.NN-N.NN), CPU N.NN (N.NN-N.NN)": the working tree to
# BASE, medians of pairs and their quartiles.
set -euo pipefail
cd "$(dirname "$0")/.."

base=${1:?usage: scripts/bench-guard.sh BASE [--rounds N] [--seconds N] [--in-flight N]}
shift
rounds=7
seconds=5
in_flight=64
while (($#)); do
  case $1 in
    --rounds) rounds=${2:?--rounds wants a number} && shift 2 ;;
    --seconds) seconds=${2:?--seconds wants a number} && shift 2 ;;
    --in-flight) in_flight=${2:?--in-flight wants a number} && shift 2 ;;
    *) echo "unknown argument: $1" >&2 && exit 2 ;;
  esac
done
[[ $rounds =~ ^[1-9][0-9]{0,2}$ ]] || { echo "$rounds is no number from 1 to 999" >&2; exit 2; }
base=$(git rev-parse --verify --quiet "$base^{commit}") || { echo 'git knows no such revision' >&2; exit 2; }

profile=${PROFILE:-dist}
work=$(mktemp -d)
trap 'git worktree remove --force "$work/base" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

nodes=(--bin nemcon-coordinator --bin nemcon-bank)
cargo build --quiet --locked --profile "$profile" --bin nemcon "${nodes[@]}"
bin=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$profile
git worktree add --quiet --detach "$work/base" "$base"
(cd "$work/base" && CARGO_TARGET_DIR=$work/target cargo build --quiet --locked --profile "$profile" "${nodes[@]}")

# measure WHO DIR: one round with the nodes of that directory.
measure() {
  "$bin/nemcon" bench transfer --spawn=2 --bin-dir "$2" --in-flight "$in_flight" --rounds 1 \
    --warm-up 2 --seconds "$seconds" --json >"$work/report.json"
  python3 - "$1" "$work/report.json" >>"$work/rows" <<'PYTHON'
import json, sys
median = json.load(open(sys.argv[2]))["rows"][0]["median"]
print(sys.argv[1], median["per_second"], median["nodes_cpu_us"])
PYTHON
  tail -n 1 "$work/rows" >&2
}

for ((round = 1; round <= rounds; round++)); do
  if ((round % 2)); then
    measure tree "$bin" && measure base "$work/target/$profile"
  else
    measure base "$work/target/$profile" && measure tree "$bin"
  fi
done

python3 - "$work/rows" <<'PYTHON'
import statistics, sys

found = {"tree": [], "base": []}
for line in open(sys.argv[1]):
    who, rate, cpu = line.split()
    found[who].append((float(rate), float(cpu)))
ratios = [(tree[0] / base[0], tree[1] / base[1]) for tree, base in zip(found["tree"], found["base"])]

def shown(figures):
    lower, middle, upper = (statistics.quantiles(figures, n=4, method="inclusive")
                            if len(figures) > 1 else figures * 3)
    return f"{middle:.2f} ({lower:.2f}-{upper:.2f})"

for who in found:
    rate = statistics.median(rate for rate, _ in found[who])
    cpu = statistics.median(cpu for _, cpu in found[who])
    print(f"{who}: {rate:.0f} a second, {cpu:.0f} µs of the nodes' processor time for a commit")
print(f"rate {shown([rate for rate, _ in ratios])}, CPU {shown([cpu for _, cpu in ratios])}")
PYTHON
