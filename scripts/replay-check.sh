#!/usr/bin/env bash
# Pays 6,471 real payment orders on a real cluster and compares the books with
# what the file itself says.
#
#   scripts/replay-check.sh [ORDERS.TSV]
#
# Three things are checked: that everything is paid and every bank's total is
# right to the cent; that a second replay pays nothing again; and that, with too
# little money, exactly those orders are refused that a plain reckoning refuses.
# Needs a built nemcon (target/release/nemcon, or $NEMCON) and python3. The last line
# is "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")/.."

orders=${1:-../shared/data/berka/orders.tsv}
nemcon=${NEMCON:-${CARGO_TARGET_DIR:-target}/release/nemcon}
banks=home,AB,CD,EF,GH,IJ,KL,MN,OP,QR,ST,UV,WX,YZ
passed=0
failed=0
cluster=

if [[ ! -f $orders ]]; then
    echo "SKIPPED: replay of real payments: there is no file $orders"
    echo '0 passed, 0 failed'
    exit 0
fi
[[ -x $nemcon ]] || {
    echo "there is no $nemcon; run cargo build --release first" >&2
    exit 1
}

dir=$(mktemp -d)

stop() {
    [[ -n $cluster ]] || return 0
    local pid=$cluster
    cluster=
    kill -TERM "$pid" 2>/dev/null || true
    # The node drains for 10 s at most; one that still runs after 20 has hung.
    (sleep 20 && kill -KILL "$pid") 2>/dev/null &
    local watch=$!
    wait "$pid" 2>/dev/null || true
    kill "$watch" 2>/dev/null || true
    wait "$watch" 2>/dev/null || true
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 130' INT TERM

# Starts a cluster with fresh data on free ports, and sets NEMCON_COORDINATOR.
start() {
    local out=$dir/$1.out
    touch "$out"
    "$nemcon" up --banks "$banks" --data-dir "$dir/$1" --port-base 0 >"$out" 2>"$dir/$1.err" &
    cluster=$!
    for ((waited = 0; waited < 300; waited++)); do
        if grep -q '^Stop with' "$out"; then
            NEMCON_COORDINATOR=$(grep -o 'http://127\.0\.0\.1:[0-9]*' "$out" | head -n 1)
            export NEMCON_COORDINATOR
            return 0
        fi
        kill -0 "$cluster" 2>/dev/null || break
        sleep 0.1
    done
    echo 'the cluster did not start:' >&2
    cat "$out" "$dir/$1.err" >&2
    exit 1
}

# replay NAME OPENING_BALANCE ARGUMENT...
replay() {
    local name=$1 balance=$2
    shift 2
    "$nemcon" bank replay "$orders" --home home --opening-balance "$balance" --json "$@" \
        >"$dir/$name.json"
}

# check WHAT COMMAND...: counts, and goes on.
check() {
    local what=$1
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok: $what"
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
    fi
}

# expect FILE KEY=VALUE...: integers at the top of a JSON object.
expect() {
    python3 - "$@" <<'PYTHON'
import json, sys

found = json.load(open(sys.argv[1]))
wrong = [(key, found.get(key), want)
         for key, want in (pair.split("=") for pair in sys.argv[2:])
         if found.get(key) != int(want)]
for key, have, want in wrong:
    print(f"  {key} is {have}, want {want}")
sys.exit(bool(wrong))
PYTHON
}

# reckon OPENING_BALANCE REPLAY.JSON AUDIT.JSON: pays the orders of the file one
# after the other in whole cents, and compares what is refused and every bank's
# books.
reckon() {
    python3 - "$orders" "$@" <<'PYTHON'
import csv, json, sys
from decimal import Decimal

path, opening, replay, audit = sys.argv[1:]
replay, audit = json.load(open(replay)), json.load(open(audit))
cents = lambda text: int(Decimal(text) * 100)

home, away, refused = {}, {}, []
with open(path, newline="") as file:
    for order in csv.DictReader(file, delimiter="\t"):
        payer = order["account_id"]
        payee = (order["bank_to"], order["account_to"])
        amount = cents(order["amount"])
        home.setdefault(payer, cents(opening))
        away.setdefault(payee, 0)
        if home[payer] < amount:
            refused.append(order["order_id"])
        else:
            home[payer] -= amount
            away[payee] += amount

books = {"home": (len(home), sum(home.values()))}
for (bank, _), balance in away.items():
    accounts, total = books.get(bank, (0, 0))
    books[bank] = (accounts + 1, total + balance)
found = {bank["bank"]: (bank["accounts"], bank["total_minor"]) for bank in audit["banks"]}

wrong = []
if sorted(replay["refused_orders"]) != sorted(refused):
    wrong.append(f"refused {len(replay['refused_orders'])} orders, want {len(refused)}")
    wrong.append(f"which differ: {sorted(set(replay['refused_orders']) ^ set(refused))[:10]}")
for bank in sorted(books.keys() | found.keys()):
    if books.get(bank) != found.get(bank):
        wrong.append(f"{bank}: (accounts, cents) {found.get(bank)}, want {books.get(bank)}")
if audit["total_minor"] != sum(total for _, total in books.values()):
    wrong.append(f"all banks together: {audit['total_minor']}")
doubt = [bank["bank"] for bank in audit["banks"] if bank["in_doubt"] != 0]
if doubt:
    wrong.append(f"in doubt: {doubt}")
for line in wrong:
    print("  " + line)
print(f"  reckoned: {len(refused)} refused, {sum(t for _, t in books.values())} cents in {len(books)} banks")
sys.exit(bool(wrong))
PYTHON
}

audit() {
    "$nemcon" bank audit --json >"$dir/$1.json"
}

echo '-- everyone has enough: opening balance 3000.00'
start rich
check 'the replay ends with every outcome known' replay paid 3000.00
check 'all 6471 orders are paid, 212289936 cents moved' \
    expect "$dir/paid.json" orders=6471 committed=6471 refused=0 unknown=0 already_paid=0 moved_minor=212289936
check 'the books balance' audit rich-audit
check "every bank's total is right to the cent" \
    reckon 3000.00 "$dir/paid.json" "$dir/rich-audit.json"
check 'a second replay ends with every outcome known' replay again 3000.00
check 'it pays nothing again' \
    expect "$dir/again.json" orders=6471 committed=0 already_paid=6471 refused=0 unknown=0 moved_minor=0
check 'the books balance still' audit rich-again
check 'and are the same' reckon 3000.00 "$dir/again.json" "$dir/rich-again.json"
stop

echo '-- not everyone has enough: opening balance 500.00, one at a time'
start poor
check 'the replay ends with every outcome known' replay poor 500.00 --in-flight 1
check 'no outcome is unknown' expect "$dir/poor.json" orders=6471 unknown=0 already_paid=0
check 'the books balance' audit poor-audit
check 'exactly those orders are refused that a sequential reckoning refuses' \
    reckon 500.00 "$dir/poor.json" "$dir/poor-audit.json"
stop

printf '== replay check: %d s\n' "$SECONDS"
echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
