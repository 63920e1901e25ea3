#!/usr/bin/env bash
# Makes a virtual environment with what a requirements file pins, or takes the one
# that is there, and prints the path of its python.
#
#   python=$(scripts/python-env.sh NAME REQUIREMENTS.TXT)
#
# Environments live below the build directory. One whose requirements have changed
# is made anew.
set -euo pipefail
[[ $# -eq 2 ]] || {
    echo 'usage: scripts/python-env.sh NAME REQUIREMENTS.TXT' >&2
    exit 2
}
requirements=$(realpath "$2")
cd "$(dirname "$0")/.."

env=$(realpath -m "${CARGO_TARGET_DIR:-target}/python/$1")
if ! cmp -s "$requirements" "$env/requirements.txt"; then
    rm -rf "$env"
    python3 -m venv "$env"
    "$env/bin/python" -m pip install --quiet --disable-pip-version-check \
        --requirement "$requirements" >&2
    # Written last: an environment that has it is whole.
    cp "$requirements" "$env/requirements.txt"
fi
echo "$env/bin/python"
