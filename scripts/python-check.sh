#!/usr/bin/env bash
# Tests the Python example against real nodes: its participant and its client, with
# a coordinator and two banks, through crashes.
#
#   scripts/python-check.sh [PYTEST ARGUMENT...]
#
# Needs built programs (cargo build; they are looked for in target/debug, or
# $NEMCON_BIN_DIR) and python3, 3.9 or newer. The last line is pytest's own count.
set -euo pipefail
cd "$(dirname "$0")/.."

NEMCON_BIN_DIR=$(realpath -m "${NEMCON_BIN_DIR:-${CARGO_TARGET_DIR:-target}/debug}")
export NEMCON_BIN_DIR
for program in nemcon-coordinator nemcon-bank; do
    [[ -x $NEMCON_BIN_DIR/$program ]] || {
        echo "there is no $NEMCON_BIN_DIR/$program; run cargo build first" >&2
        exit 1
    }
done

python=$(scripts/python-env.sh example examples/python/requirements.txt)
examples/python/generate.sh "$python"
# Leaves nothing in the work tree, and of a test's files only those of one that failed.
export PYTHONDONTWRITEBYTECODE=1
exec "$python" -m pytest -p no:cacheprovider -o tmp_path_retention_policy=failed \
    "$@" examples/python/tests
