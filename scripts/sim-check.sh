#!/usr/bin/env bash
# Proof by simulation, as long as there is time: seeds that are always the same,
# seeds that nobody has run before, and the planted mistakes, each of which must be
# caught. Fails if an invariant does not hold or a mistake escapes.
#
# Usage: scripts/sim-check.sh [--seconds N] [--skip-planted]
#   --seconds       for each of the two campaigns; default 60
#   --skip-planted  leaves the planted mistakes out
#
# Builds with the profile in PROFILE (default: release).
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=60
planted=yes
while [[ $# -gt 0 ]]; do
    case $1 in
        --seconds) seconds=${2:?--seconds wants a number}; shift 2 ;;
        --skip-planted) planted=no; shift ;;
        *) echo "unknown argument: $1" >&2; exit 2 ;;
    esac
done

profile=${PROFILE:-release}
bin=${CARGO_TARGET_DIR:-target}/${profile/#dev/debug}
cargo build --quiet --locked --profile "$profile" -p nemcon-sim
echo '== seeds from 0'
"$bin/nemcon-sim" run --seeds 0..100000000 --seconds "$seconds" | tail -n 12
fresh=$(($(date +%s) * 1000))
echo "== seeds from $fresh"
"$bin/nemcon-sim" run --seeds "$fresh..$((fresh + 100000000))" --seconds "$seconds" | tail -n 12
if [[ $planted = yes ]]; then
    echo '== planted mistakes'
    cargo build --quiet --locked --profile "$profile" -p nemcon-sim --features planted-bugs
    "$bin/nemcon-sim" planted --known crates/nemcon-sim/planted.json
fi
