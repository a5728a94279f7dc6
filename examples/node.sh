#!/bin/sh
# Sourced by the run.sh of examples that have a node of their own, in the top folder; they say their $name. Gives them
# $evrt, a folder $tmp that goes when they end, as $node does, and die.

case ${1:-} in
"") ;;
-h | --help)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "examples/${name:?}/run.sh"
    exit 0
    ;;
*)
    echo "usage: sh examples/${name:?}/run.sh (--help says what it does)" >&2
    exit 64
    ;;
esac

die() {
    echo "$name: $*" >&2
    [ ! -f "$tmp/log" ] || tail -n 20 "$tmp/log" >&2
    exit 1
}

# shellcheck disable=SC2034 # for who sources this
evrt=${EVRT_BUILD:-build/release}/evrt
[ -x "$evrt" ] || [ -n "${EVRT_BUILD:-}" ] || sh examples/quickstart.sh --no-run

tmp=$(mktemp -d)
node=

# To be defined anew by who has more to end.
end_more() { :; }

# shellcheck disable=SC2317,SC2329 # called by trap
finish() {
    status=$?
    end_more
    [ -z "$node" ] || kill "$node" 2>/dev/null || true
    [ -z "$node" ] || wait "$node" || true
    rm -rf "$tmp"
    exit $status
}
trap finish EXIT
trap 'exit 1' INT TERM
