#!/usr/bin/env bash
# Years of use: passes transactions through a bank with 100,000 accounts and
# through a coordinator that remembers 1,000,000 outcomes, as fast as they take
# them, each over a log of its own on this disk and without a network. Fails if
# one of them ever takes
# - more than 150 MB of the disk or of memory, or
# - more than a second until it serves again (half a second for the coordinator
#   with its million outcomes), the files being in the page cache.
#
# Usage: scripts/soak.sh [--records N] [--dir DIRECTORY]
#   --records  transactions for each of the two; default 5,000,000, some minutes
#   --dir      where the data directories are made; default a temporary one
set -euo pipefail
cd "$(dirname "$0")/.."

options=("$@")
cargo build --quiet --release -p nemcon-bank --example soak
soak=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/examples/soak

failed=0
for side in coordinator bank; do
  "$soak" "$side" "${options[@]}" || failed=1
done
[ "$failed" = 0 ] || { echo "soak failed" >&2; exit 1; }
echo "soak passed"
