#!/usr/bin/env bash
# Damages the files of stopped nodes at many places, one at a time, and looks
# whether the node has everything or refuses to start.
#
#   scripts/damage.sh [--places N] [--seed N]
#
# 500 places unless told otherwise. Needs cargo; installs nothing. The last line
# says how often a node refused, and how often it had everything.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    echo 'usage: scripts/damage.sh [--places N] [--seed N]' >&2
    exit 2
}

places=500
seed=$RANDOM$RANDOM
while [[ $# -gt 0 ]]; do
    case $1 in
        --places | --seed)
            [[ ${2:-} =~ ^[0-9]+$ ]] || usage
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        *) usage ;;
    esac
    shift
done

out=$(mktemp)
trap 'rm -f "$out"' EXIT
NEMCON_E2E_PLACES=$places NEMCON_E2E_SEED=$seed \
    cargo test --package nemcon-e2e --test it disk::damage:: -- --nocapture 2>&1 | tee "$out"
grep -o '[0-9]* places: refused.*' "$out"
