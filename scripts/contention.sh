#!/usr/bin/env bash
# Many want the same, in the long form, with optimised programs and nothing beside it:
# - 100 rings each of 2, 3 and 10 transactions over as many banks, with one and with
#   two coordinators: one victim each, and broken within 100 ms (median);
# - 64 customers and 10 accounts for 60 s: money is conserved, what they saw is
#   strictly serializable, no wait outlasts its limit, each has what it wants within
#   20 tries;
# - 1,000 clients that vanish in the middle leave no lock behind.
#
# Takes some minutes. The short form runs with all tests.
#
# Usage: scripts/contention.sh
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $# -eq 0 ]] || { echo "unknown argument: $1" >&2; exit 2; }
NEMCON_CONTENTION=long cargo test --release --locked -p nemcon-e2e --test it contention -- --nocapture
