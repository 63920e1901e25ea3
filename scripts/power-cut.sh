#!/usr/bin/env bash
# Cuts the power of a whole cluster again and again while customers pay, and looks
# whether everything they were told is there afterwards.
#
#   scripts/power-cut.sh [--cuts N] [--seed N]
#
# 100 cuts unless told otherwise. The disks are image files, mounted over loop
# devices: needs root, mount, mkfs.ext4 and cargo; installs nothing. The last line
# is "N of N cuts kept all".
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    echo 'usage: scripts/power-cut.sh [--cuts N] [--seed N]' >&2
    exit 2
}

cuts=100
seed=$RANDOM$RANDOM
while [[ $# -gt 0 ]]; do
    case $1 in
        --cuts | --seed)
            [[ ${2:-} =~ ^[0-9]+$ ]] || usage
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        *) usage ;;
    esac
    shift
done

[[ $(id -u) -eq 0 ]] || {
    echo 'there is no right to mount file systems: run this as root' >&2
    exit 1
}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
NEMCON_E2E_CUTS=$cuts NEMCON_E2E_SEED=$seed \
    cargo test --package nemcon-e2e --test it disk::power:: -- --nocapture 2>&1 | tee "$out"
if grep -q '^SKIPPED' "$out"; then
    echo 'no power was cut: see above' >&2
    exit 1
fi
grep -o '[0-9]* of [0-9]* cuts kept all' "$out"
