#!/usr/bin/env bash
# Cuts the containers of docker-compose.yml off from each other while money moves
# between them, and looks whether all is clear five seconds after each healing.
#
#   scripts/containers-check.sh [--build] [--cuts N] [--seed N]
#
# Five cuts, one of each kind, unless told otherwise; 100 take about 10 minutes. The
# seed is shown, and repeats the same plan of cuts. --build makes the images first.
# Needs root (one-way cuts are rules in the packet filter of a container), Docker,
# docker-compose, nsenter, iptables, cargo and the images; installs nothing. The last
# line is "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    echo 'usage: scripts/containers-check.sh [--build] [--cuts N] [--seed N]' >&2
    exit 2
}

build=
cuts=5
seed=$RANDOM$RANDOM
while [[ $# -gt 0 ]]; do
    case $1 in
        --build) build=yes ;;
        --cuts | --seed)
            [[ ${2:-} =~ ^[0-9]+$ ]] || usage
            printf -v "${1#--}" %s "$2"
            shift
            ;;
        *) usage ;;
    esac
    shift
done

# missing WHAT WHENCE: everything that is missing is told, not only the first.
complete=yes
missing() {
    echo "there is no $1: $2" >&2
    complete=
}

[[ $(id -u) -eq 0 ]] || missing 'right to enter a network namespace' 'run this as root'
command -v docker >/dev/null || missing docker 'install Docker'
command -v nsenter >/dev/null || missing nsenter 'install util-linux'
command -v iptables >/dev/null || missing iptables 'install iptables'
if command -v docker-compose >/dev/null; then
    compose=docker-compose
elif docker compose version >/dev/null 2>&1; then
    compose='docker compose'
else
    missing docker-compose 'install docker-compose 1.29, or the compose plugin of docker'
fi
[[ -n $complete ]] || exit 1
docker info >/dev/null 2>&1 || {
    echo 'the Docker daemon does not answer: is it running?' >&2
    exit 1
}

if [[ -n $build ]]; then
    began=$SECONDS
    # In words: "docker compose" is two.
    # shellcheck disable=SC2086
    $compose --profile cli --profile trip build
    printf '== images: %d s\n' $((SECONDS - began))
fi
for image in $(sed -n 's/^ *image: //p' docker-compose.yml | sort -u); do
    docker image inspect "$image" >/dev/null 2>&1 ||
        missing "image $image" 'run this with --build'
done
[[ -n $complete ]] || exit 1

began=$SECONDS
out=$(mktemp)
trap 'rm -f "$out"' EXIT
status=0
NEMCON_E2E_CUTS=$cuts NEMCON_E2E_SEED=$seed NEMCON_COMPOSE=$compose \
    cargo test --package nemcon-e2e --test it containers:: -- \
    --ignored --nocapture --test-threads=1 2>&1 | tee "$out" || status=$?
printf '== containers check: %d s\n' $((SECONDS - began))

# No tests at all would be no failure for cargo.
result=$(sed -n 's/^test result: .* \([0-9]* passed\); \([0-9]* failed\);.*/\1, \2/p' "$out")
echo "${result:-0 passed, 1 failed}"
[[ $status -eq 0 && $result =~ ^[1-9] ]]
