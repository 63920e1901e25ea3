#!/usr/bin/env bash
# Transfers by nemcon, over its stream and as calls of their own, and by hand over two
# PostgreSQL servers: how many a second, how long one takes, and the ratio. At 1, 16,
# 64 and 256 in flight, the three in turn, round after round; then at 64 with each
# flush slowed to 1 ms and 5 ms more.
#
# Usage: scripts/bench-peers.sh [--rounds N] [--seconds N] [--quick] [--json FILE]
#   --rounds N   how often each is measured; medians are shown; default 5
#   --seconds N  how long each time, after 2 s of warm-up; default 5
#   --quick      without the slowed flushes
#   --json FILE  also writes every row of every round
#
# Needs PostgreSQL 15 (Debian: apt-get install postgresql-15), python3 and a C
# compiler, and builds with the profile in PROFILE (default: dist). PostgreSQL does
# not run as root: then its servers run as the user postgres, who comes with it.
#
# What is the same: one machine and one disk; a coordinator and two who hold the
# data; 10,000 accounts at each; an update of one account at each in a transaction;
# everything is synced before it is promised; load, clock and histogram.
# What is not: there an update in SQL on a table, with MVCC, vacuum and an index, on
# pages that are written later; here an account in memory with a durable log. There
# the coordinator is in the client, and what a crash leaves prepared is not cleaned
# up; here it is a process of its own with recovery, retries and deadlock detection.
# There a connection and a process for each transaction in flight; here one
# connection, and one thread to each node.
#
# Ratios are commits of nemcon to one of PostgreSQL in its best row under the same
# flushes. The last line is "ratio at 64: N.N x, at 256: N.N x", over the stream.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=5
seconds=5
slowed=(1000 5000)
json=
while (($#)); do
  case $1 in
    --rounds) rounds=${2:?--rounds wants a number} && shift 2 ;;
    --seconds) seconds=${2:?--seconds wants a number} && shift 2 ;;
    --json) json=$(realpath "${2:?--json wants a file}") && shift 2 ;;
    --quick) slowed=() && shift ;;
    *) echo "unknown argument: $1" >&2 && exit 2 ;;
  esac
done
for number in "$rounds" "$seconds"; do
  [[ $number =~ ^[1-9][0-9]{0,2}$ ]] || { echo "$number is no number from 1 to 999" >&2; exit 2; }
done

postgres=${POSTGRES_BIN_DIR:-/usr/lib/postgresql/15/bin}
[[ -x $postgres/pg_ctl ]] || {
  echo "there is no $postgres/pg_ctl: install postgresql-15, or set POSTGRES_BIN_DIR" >&2
  exit 1
}
profile=${PROFILE:-dist}
# Both get the same optimisation; the example is built with what only it needs.
cargo build --quiet --profile "$profile" --bin nemcon --bin nemcon-coordinator --bin nemcon-bank
cargo build --quiet --profile "$profile" -p nemcon-bench --example postgres
bin=$(cargo metadata --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$profile

work=$(mktemp -d)
chmod 755 "$work"
# As root, PostgreSQL's programs run as its own user.
as_owner() ( cd / && if [[ $(id -u) == 0 ]]; then exec setpriv --reuid postgres --regid postgres --clear-groups "$@"; else exec "$@"; fi )
stop_servers() {
  for server in a b; do
    [[ ! -f $work/pg/$server/postmaster.pid ]] || as_owner "$postgres/pg_ctl" -D "$work/pg/$server" -m immediate stop >/dev/null || true
  done
}
trap 'stop_servers; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

cc -shared -fPIC -O2 -o "$work/slow-flush.so" scripts/slow-flush.c -ldl

mkdir "$work/pg"
[[ $(id -u) != 0 ]] || chown postgres "$work/pg"
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
declare -A port

# start_servers MICROSECONDS: new ones, with the default durability.
start_servers() {
  stop_servers
  rm -rf "$work/pg/a" "$work/pg/b"
  for server in a b; do
    as_owner "$postgres/initdb" -D "$work/pg/$server" -U bench -A trust >"$work/initdb.log"
    port[$server]=$(free_port)
    (($1 == 0)) || export LD_PRELOAD=$work/slow-flush.so SLOW_FLUSH_US=$1
    as_owner "$postgres/pg_ctl" -D "$work/pg/$server" -l "$work/pg/$server.log" -w -t 60 \
      -o "-h 127.0.0.1 -p ${port[$server]} -k '' -c max_connections=300 -c max_prepared_transactions=300" \
      start >/dev/null
    unset LD_PRELOAD SLOW_FLUSH_US
  done
}

# measure WHO MICROSECONDS IN_FLIGHT: one round, as one line of JSON.
measure() {
  local row
  local slow=()
  (($2 == 0)) || slow=(env "LD_PRELOAD=$work/slow-flush.so" "SLOW_FLUSH_US=$2")
  if [[ $1 != postgresql ]]; then
    row=$("${slow[@]}" "$bin/nemcon" bench transfer --spawn=2 --data-dir "$work" --bin-dir "$bin" \
      --transport "$1" --in-flight "$3" --rounds 1 --warm-up 2 --seconds "$seconds" --json)
  else
    row=$("${slow[@]}" "$bin/examples/postgres" --in-flight "$3" --warm-up 2 --seconds "$seconds" \
      --decisions "$work/decisions" \
      --server "host=127.0.0.1 port=${port[a]} user=bench dbname=postgres" \
      --server "host=127.0.0.1 port=${port[b]} user=bench dbname=postgres")
  fi
  python3 - "$1" "$2" "$3" "$row" >>"$work/rows" <<'PYTHON'
import json, sys
who, slow_us, in_flight, text = sys.argv[1:]
found = json.loads(text)
row = found if who == "postgresql" else found["rows"][0]
print(json.dumps({"who": who, "slow_us": int(slow_us), "in_flight": int(in_flight), "row": row}))
median = row["median"]
print(f'{who:10} {in_flight:>4} in flight, {int(slow_us) // 1000} ms slower: '
      f'{median["per_second"]:.0f} a second, p50 {median["p50_ms"]} ms, p99 {median["p99_ms"]} ms',
      file=sys.stderr)
PYTHON
}

start_servers 0
for ((round = 1; round <= rounds; round++)); do
  for in_flight in 1 16 64 256; do
    measure stream 0 "$in_flight"
    measure unary 0 "$in_flight"
    measure postgresql 0 "$in_flight"
  done
done
for delay in "${slowed[@]}"; do
  start_servers "$delay"
  for ((round = 1; round <= rounds; round++)); do
    measure stream "$delay" 64
    measure unary "$delay" 64
    measure postgresql "$delay" 64
  done
done

[[ -z $json ]] || python3 -c 'import json, sys; print(json.dumps([json.loads(line) for line in open(sys.argv[1])]))' "$work/rows" >"$json"
python3 - "$work/rows" <<'PYTHON'
import collections, json, os, platform, statistics, sys

rows = collections.defaultdict(list)
for line in open(sys.argv[1]):
    found = json.loads(line)
    rows[found["who"], found["slow_us"], found["in_flight"]].append(found["row"])

print(f"{os.cpu_count()} cores, {platform.system()} {platform.release()}; medians of "
      f"{len(rows['stream', 0, 1])} rounds, (lowest-highest)")
print("PostgreSQL: SQL on a table, coordinated by its client. nemcon, by stream or unary calls:")
print("accounts in memory with a durable log, a coordinator of its own. Both sync every promise")
print("before it is given. Ratios are to PostgreSQL's best row under the same flushes.")
print(f"{'flush':>8} {'in flight':>9} {'':10} {'per second':>24} {'p50 ms':>8} {'p99 ms':>8}  ratio")


def median(who, slow_us, in_flight, figure):
    return statistics.median(row["median"][figure] or 0 for row in rows[who, slow_us, in_flight])


settings = sorted({key[1:] for key in rows})
best = collections.defaultdict(float)
for slow_us, in_flight in settings:
    rate = median("postgresql", slow_us, in_flight, "per_second")
    best[slow_us] = max(best[slow_us], rate)
for slow_us, in_flight in settings:
    for who in ("stream", "unary", "postgresql"):
        rates = [row["median"]["per_second"] for row in rows[who, slow_us, in_flight]]
        rate = statistics.median(rates)
        if not rate:
            sys.exit(f"{who} committed nothing at {in_flight} in flight: is the machine busy?")
        shown = f"{rate:.0f} ({min(rates):.0f}-{max(rates):.0f})"
        p50, p99 = (median(who, slow_us, in_flight, figure) for figure in ("p50_ms", "p99_ms"))
        print(f"{'+%d ms' % (slow_us // 1000):>8} {in_flight:>9} {who:10} {shown:>24} "
              f"{p50:8.2f} {p99:8.2f}  {rate / best[slow_us]:.1f} x")
at = {n: median("stream", 0, n, "per_second") / best[0] for n in (64, 256)}
print(f"ratio at 64: {at[64]:.1f} x, at 256: {at[256]:.1f} x")
PYTHON
