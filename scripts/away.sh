#!/usr/bin/env bash
# A participant dies with unfinished business and stays away while the others work;
# then it comes back. Fails if a node that works takes more than 150 MB of memory or
# disk meanwhile, if anything stays in doubt afterwards, or if the books do not
# balance. With optimised programs.
#
# Usage: scripts/away.sh [--seconds N]
#   --seconds N  how long it is away; default 3600, an hour
#
# The short form, of five seconds, runs with all tests.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=3600
while (($#)); do
  case $1 in
    --seconds) seconds=${2:?--seconds wants a number} && shift 2 ;;
    *) echo "unknown argument: $1" >&2 && exit 2 ;;
  esac
done
[[ $seconds =~ ^[1-9][0-9]{0,4}$ ]] || { echo "$seconds is no number from 1 to 99999" >&2; exit 2; }

out=$(mktemp)
trap 'rm -f "$out"' EXIT
NEMCON_AWAY_SECONDS=$seconds \
  cargo test --release --locked -p nemcon-e2e --test it away:: -- --nocapture 2>&1 | tee "$out"
grep -o 'away for .*' "$out"
