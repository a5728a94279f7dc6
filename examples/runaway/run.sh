#!/bin/sh
# Five handlers that do their worst, beside one that behaves: what evrt makes of each.
#
#     sh examples/runaway/run.sh
#
# Starts a node on free ports, with a store in a temporary folder; publishes one event to each bad handler,
# and a hundred more for the good one; waits until all of them have ended; prints what the node says of each:
# outcome, how often it was tried, error_type and message. Exits 0 when the five are dead letters with their
# own error_type after three attempts, and the good one has handled everything.
# Takes about 10 seconds: two of the five have to be waited for (workers.stall_timeout, 2s) three times.
# Uses $EVRT_BUILD/evrt, or build/release/evrt, which is built first when it is not there.
set -eu
cd "$(dirname "$0")/../.."
name=runaway
. examples/node.sh

say() { echo "runaway: $*" >&2; }

"$evrt" run examples/runaway/evrt.yaml --set "store.path=$tmp/data" --set http.listen=127.0.0.1:0 \
    --set admin.listen=127.0.0.1:0 >"$tmp/log" 2>&1 &
node=$!

# Runs a command until it succeeds, for a minute.
until_true() { # WHAT COMMAND...
    what=$1
    shift
    tries=600
    until "$@"; do
        tries=$((tries - 1))
        if [ $tries = 0 ] || ! kill -0 "$node" 2>/dev/null; then die "$what: it did not come to that"; fi
        sleep 0.1
    done
}
is_ready() { grep -q '"msg":"evrt ready"' "$tmp/log"; }
until_true "ready" is_ready
address() { sed -n "s/.*\"msg\":\"Listening\".*\"$1\":\"\\([^\"]*\\)\".*/http:\\/\\/\\1/p" "$tmp/log"; }
ingest=$(address ingest)
admin=$(address admin)

publish() { "$evrt" publish "$1" --data "{\"n\":$2}" --url "$ingest" --json | sed -n 's/.*"seq":"*\([0-9]*\).*/\1/p'; }

say "publishing to a node at $ingest"
n=0
cases=
for type in bad.loop bad.pattern bad.exit bad.segfault bad.memory; do
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        n=$((n + 1))
        publish good.one $n >/dev/null
    done
    n=$((n + 1))
    cases="$cases $type=$(publish $type $n)"
done

say "waiting until all of them have ended"
has_ended() {
    # The dashboard has counts of its own, by handler.
    "$evrt" stats --url "$admin" --json | sed 's/,"dashboard":.*//' >"$tmp/stats" && grep -q '"pending":0,"running":0,"retrying":0,' "$tmp/stats"
}
until_true "ended" has_ended

failed=0
expect() { # TYPE ERROR_TYPE HANDLER
    seq=${cases#* "$1="}
    "$evrt" events "${seq%% *}" --url "$admin" --json >"$tmp/event"
    dead="\"handler\":\"$3\",\"outcome\":\"dead\",\"error\":{\"type\":\"$2\",[^}]*},\"attempt\":3"
    good='"handler":"Good","outcome":"done"'
    grep -q "$dead" "$tmp/event" && grep -q "$good" "$tmp/event" || failed=1
    printf '\n%s\n' "$1"
    "$evrt" events "${seq%% *}" --url "$admin" | sed -n '/^HANDLER/,/^$/p' | sed '/^$/d; s/^/  /'
}
expect bad.loop stalled EndlessLoop
expect bad.pattern stalled Backtracking
expect bad.exit crashed Exits
expect bad.segfault crashed Segfault
expect bad.memory memory MemoryHog

grep -q "\"done\":$n,\"dead\":5," "$tmp/stats" || failed=1
printf '\nworkers replaced: %s; deliveries charged: %s\n' "$(sed 's/.*"worker_restarts":\([0-9]*\).*/\1/' "$tmp/stats")" \
    "$(sed 's/.*"charged":{\([^}]*\)}.*/\1/; s/"//g; s/,/, /g; s/:/ /g' "$tmp/stats")"
printf 'the good handler: %s of %s events handled\n' "$(sed 's/.*"done":\([0-9]*\),.*/\1/' "$tmp/stats")" "$n"
[ $failed = 0 ] || die "that is not what was expected"
