#!/usr/bin/env bash
# 10,000 sagas of three steps, and kill -9 of the coordinator in the middle, twice:
# all of them end, each step has happened once or was taken back, and nothing is
# left half. With optimised programs; takes some minutes. The short form, with 200
# sagas, runs with all tests.
#
# Usage: scripts/sagas.sh
set -euo pipefail
cd "$(dirname "$0")/.."

[[ $# -eq 0 ]] || { echo "unknown argument: $1" >&2; exit 2; }
NEMCON_SAGAS=long cargo test --release --locked -p nemcon-e2e --test it sagas::kill -- --nocapture
