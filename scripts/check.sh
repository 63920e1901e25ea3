#!/usr/bin/env bash
# What CI checks and whoever changes something runs before. It writes nothing but
# build output. Every step is timed; the first that fails ends it.
set -euo pipefail
cd "$(dirname "$0")/.."

step() {
    local name=$1 began=$SECONDS
    shift
    printf '== %s\n' "$name"
    "$@" || {
        printf '== %s: FAILED after %d s\n' "$name" $((SECONDS - began)) >&2
        exit 1
    }
    printf '== %s: %d s\n' "$name" $((SECONDS - began))
}

step 'formatted' cargo fmt --all --check
step 'clippy' cargo clippy --workspace --all-targets --locked -- -D warnings
step 'rustdoc' env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
if cargo deny --version >/dev/null 2>&1; then
    step 'licences, advisories, sources' cargo deny check
else
    echo '== SKIPPED: licences, advisories, sources (cargo-deny is not installed)'
fi
step 'tests' cargo test --workspace
printf '== all checks passed in %d s\n' "$SECONDS"
