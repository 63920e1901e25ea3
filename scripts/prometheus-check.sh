#!/usr/bin/env bash
# Checks deploy/prometheus and deploy/grafana: the rules with promtool against series
# that are written down, then a real Prometheus that scrapes a real cluster. Every query
# of the dashboard is run, and what the alerts are about is brought about and ended.
#
#   scripts/prometheus-check.sh
#
# Takes the programs in NEMCON_BIN_DIR, or builds them. Needs python3; installs Debian's
# `prometheus` where that is missing and may be installed, and says so aloud where it
# cannot run. The last line is "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v prometheus >/dev/null || ! command -v promtool >/dev/null; then
    if command -v apt-get >/dev/null && [[ $(id -u) -eq 0 ]]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus >/dev/null
    else
        echo '== SKIPPED: Prometheus (it is not installed, and nobody here may install it)'
        exit 0
    fi
fi

if [[ -z ${NEMCON_BIN_DIR:-} ]]; then
    cargo build --quiet --locked --bin nemcon --bin nemcon-coordinator --bin nemcon-bank
    export NEMCON_BIN_DIR=${CARGO_TARGET_DIR:-target}/debug
fi
exec python3 scripts/prometheus_check.py
