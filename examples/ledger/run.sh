#!/bin/sh
# Moves money between 1000 accounts under load, while workers and the node are killed (SIGKILL) a hundred times,
# and shows that the sum of all balances never changes, that each transfer is applied once, and that each receipt
# exists once.
#
#     sh examples/ledger/run.sh
#
# Prints the sum before, during and after; exits 0 when all of it holds. LEDGER_KILLS: how many kills (100), every
# other one the node's; takes half a second for each. Needs curl. Uses $EVRT_BUILD/evrt, or build/release/evrt,
# which is built first when it is not there.
set -eu
cd "$(dirname "$0")/../.."
name=ledger
. examples/node.sh

kills=${LEDGER_KILLS:-100}
accounts=1000
balance=1000

say() { echo "ledger: $*"; }

publisher=
# shellcheck disable=SC2317,SC2329 # called at the end
end_more() {
    touch "$tmp/stop"
    [ -z "$publisher" ] || wait "$publisher" || true
}

# ---- The node ----

ask() { curl -fsS --max-time 20 "http://$(cat "$tmp/admin")/api/v1/$1"; }

# What the node that was started last has logged.
logged() { tail -c "+$((from + 1))" "$tmp/log"; }

start() {
    touch "$tmp/log"
    from=$(wc -c <"$tmp/log")
    "$evrt" run examples/ledger/evrt.yaml --set "store.path=$tmp/data" --set http.listen=127.0.0.1:0 \
        --set admin.listen=127.0.0.1:0 --set logging.level=info --set "logging.outputs=[$tmp/log]" \
        2>>"$tmp/errors" &
    node=$!
    tries=3000
    until logged | grep -q '"msg":"evrt ready"'; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || ! kill -0 "$node" 2>/dev/null; then
            cat "$tmp/errors" >&2
            die "the node did not start"
        fi
        sleep 0.02
    done
    for listener in ingest admin; do
        logged | sed -n "s/.*\"msg\":\"Listening\".*\"$listener\":\"\\([^\"]*\\)\".*/\\1/p" >"$tmp/$listener.new"
        mv "$tmp/$listener.new" "$tmp/$listener"
    done
}

kill_node() {
    kill -KILL "$node"
    wait "$node" 2>/dev/null || true
    start
}

kill_worker() {
    worker=$(pgrep -P "$node" evrt-worker | awk -v n="$1" '{ w[NR] = $1 } END { if (NR) print w[n % NR + 1] }')
    [ -z "$worker" ] || kill -KILL "$worker" 2>/dev/null || true
}

# ---- The load: transfers in batches, each sent until it is answered ----

post() { # FILE
    curl -sS -o /dev/null -w '%{http_code}' --max-time 20 -H 'Content-Type: application/cloudevents-batch+json' \
        --data-binary "@$1" "http://$(cat "$tmp/ingest")/events" 2>/dev/null || true
}

publish() {
    n=0
    while [ ! -f "$tmp/stop" ]; do
        n=$((n + 1))
        awk -v n=$n -v accounts=$accounts 'BEGIN {
            srand(n)
            for (i = 1; i <= 200; i++)
                printf "%s{\"specversion\":\"1.0\",\"type\":\"transfer.requested\",\"source\":\"/ledger\",\"id\":\"%d-%d\"," \
                    "\"data\":{\"id\":\"%d-%d\",\"from\":%d,\"to\":%d,\"amount\":%d}}", i == 1 ? "[" : ",", n, i, n, i,
                    1 + int(rand() * accounts), 1 + int(rand() * accounts), 1 + int(rand() * 100)
            print "]"
        }' >"$tmp/batch"
        until [ "$(post "$tmp/batch")" = 202 ]; do
            sleep 0.02
        done
        echo $((n * 200)) >"$tmp/published"
    done
}

# ---- The books ----

# Of one moment: a page is one reading.
sum() {
    ask "kv?namespace=Ledger&prefix=account:&limit=1000" | grep -o '"value":[-0-9]*' |
        awk -F: '{ sum += $2; n++ } END { print sum " in " n " accounts" }'
}

# How many keys of a namespace begin so, and how many of them are not 1.
count() { # NAMESPACE PREFIX
    after=
    while :; do
        page=$(ask "kv?namespace=$1&prefix=$2&limit=1000$after")
        echo "$page" | grep -o '"value":[-0-9]*' || true
        next=$(echo "$page" | sed -n 's/.*"next":"\([^"]*\)".*/\1/p')
        [ -n "$next" ] || break
        after="&after=$next"
    done | awk -F: '$2 != 1 { wrong++ } END { print NR, wrong + 0 }'
}

expected="$((accounts * balance)) in $accounts accounts"
check_sum() { # WHEN
    now=$(sum)
    say "sum $1: $now"
    [ "$now" = "$expected" ] || die "the sum changed: it was $expected"
}

start
"$evrt" publish accounts.opened --url "http://$(cat "$tmp/ingest")" --wait \
    --data "{\"count\":$accounts,\"balance\":$balance}" >/dev/null
check_sum "before"

publish &
publisher=$!
kill=0
while [ $kill -lt "$kills" ]; do
    kill=$((kill + 1))
    sleep 0.1
    if [ $((kill % 2)) = 0 ]; then kill_node; else kill_worker $kill; fi
    if [ $((kill % 10)) = 0 ] || [ $kill = "$kills" ]; then check_sum "after $kill kills"; fi
done
touch "$tmp/stop"
wait "$publisher"
publisher=

tries=1200
until [ "$(ask stats | grep -o '"pending":0,"running":0,"retrying":0' || true)" != "" ]; do
    tries=$((tries - 1))
    [ $tries != 0 ] || die "the transfers did not come to an end"
    sleep 0.1
done
check_sum "at the end"
published=$(cat "$tmp/published")
transfers=$(count Ledger transfer:)
receipts=$(count Receipts receipt:)
say "$published transfers published; applied: ${transfers% *}, more than once: ${transfers#* };" \
    "receipts: ${receipts% *}, more than once: ${receipts#* }"
[ "$transfers" = "$published 0" ] || die "not every transfer was applied once"
[ "$receipts" = "$published 0" ] || die "not every receipt exists once"
dead=$(ask stats | sed -n 's/.*"dead":\([0-9]*\).*/\1/p' | head -n 1)
[ "$dead" = 0 ] || die "$dead dead letters"
say "$kills kills, the sum never changed, each transfer and each receipt is there once"
