#!/bin/sh
# Installs what tests need, builds, and runs every test. Progress goes to standard error; the last line of
# standard output is "N passed, N failed". Safe to run again. See --help.
set -u
cd "$(dirname "$0")/.." || exit 1

packages="luajit lua-busted lua-luv lua-cjson lua-check libyajl-dev clang-format shellcheck
    util-linux strace e2fsprogs eatmydata faketime
    logrotate python3-yaml python3-decorator tzdata"
# Installed, these would start services of their own: they are unpacked beside the build instead.
tools="prometheus prometheus-alertmanager python3-prometheus-client"
only=
fast=no
soak=no
coverage=no
build_jaeger=no
passed=0
failed=0
logs=build/spec

usage() {
    cat <<'END'
usage: sh spec/run.sh [--only PATTERN] [--fast | --soak | --coverage] [--jaeger]
  --only PATTERN  only spec files whose path, and steps whose name, match the extended regular expression
  --fast          lints, unit, integration and fault specs only: no sanitizers, corpus or conformance
  --soak          kills, power cuts and other faults only, many more of them (some 45 minutes), the ledger among them:
                  prints cycles, acked, lost, phantom, order violations, duplicates, at last their sums.
                  EVRT_KILLS=1000 and the like say how many
  --coverage      unit and integration specs only, on a build that counts; prints which part of the lines ran, by folder
  --jaeger        builds a Jaeger to query traces from, where Go and its module proxy can be had (ten minutes and more)
  EVRT_SEED=N     repeats the random moments of a run, which prints it
  EVRT_SPEC_PATIENCE=SECONDS   how long a spec waits for something at most (20)
END
}

say() { echo "spec: $*" >&2; }
die() {
    say "$*"
    echo "$passed passed, $((failed + 1)) failed"
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --only)
        [ $# -ge 2 ] || die "--only needs a pattern"
        only=$2
        shift
        ;;
    --fast) fast=yes ;;
    --soak) soak=yes ;;
    --coverage) coverage=yes ;;
    --jaeger) build_jaeger=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 64
        ;;
    esac
    shift
done

# ---- Preparing ----

. examples/install.sh

build() { # PRESET
    say "building $1"
    quietly "build-$1" cmake --preset "$1"
    quietly "build-$1" cmake --build --preset "$1"
}

# ---- Running ----

wanted() { # NAME
    [ -z "$only" ] || printf '%s\n' "$1" | grep -qE -- "$only"
}

count() { # NAME PASSED FAILED LOG
    passed=$((passed + $2))
    failed=$((failed + $3))
    if [ "$3" = 0 ]; then
        say "$1: $2 passed"
    else
        say "$1: $2 passed, $3 FAILED"
        cat "$4" >&2
    fi
}

step() { # NAME COMMAND...
    name=$1
    shift
    wanted "$name" || return 0
    log=$logs/$(printf '%s' "$name" | tr -c 'a-zA-Z0-9' '-').log
    if "$@" >"$log" 2>&1; then count "$name" 1 0 "$log"; else count "$name" 0 1 "$log"; fi
}

spec_files() { # PATH
    [ -e "$1" ] || return 0
    find "$1" -name '*_spec.lua' | sort | while read -r file; do
        if wanted "$file"; then echo "$file"; fi
    done
}

# Busted over the specs of each path, one process a path: a crash takes no others along. Busted's summary
# gives the numbers; a run that ends without one (a crash, the time limit) is one failure.
environment= # VARIABLE=VALUE words
options=     # for busted
patience=900 # seconds for one path
specs() {    # NAME BUILD PATH...
    name=$1 build=$2 total_good=0 total_bad=0
    shift 2
    all=$logs/$(printf '%s' "$name" | tr -c 'a-zA-Z0-9' '-').log
    : >"$all"
    for path in "$@"; do
        files=$(spec_files "$path")
        [ -n "$files" ] || continue
        log=$logs/busted.log
        # shellcheck disable=SC2086 # words without spaces
        timeout -k 10 $patience env EVRT_BUILD="$build" $environment \
            busted --lua=luajit -o plainTerminal $options $files >"$log" 2>&1
        status=$?
        sed -nE 's/^[-+*]*((fault|crash): )/  \1/p' "$log" | tee -a $logs/faults.out >&2 # done, and NOT RUN
        summary=$(grep -aE '^[0-9]+ success' "$log" | tail -n 1)
        if [ -n "$summary" ]; then
            good=${summary%% *}
            # Pending specs count as failed: nothing is skipped here.
            bad=$(($(echo "$summary" |
                sed -E 's,.* ([0-9]+) failures? / ([0-9]+) errors? / ([0-9]+) pending.*,\1 + \2 + \3,')))
        else
            good=0 bad=1
            echo "$path: no summary, exit code $status" >>"$log"
        fi
        total_good=$((total_good + good))
        if [ $bad != 0 ]; then
            total_bad=$((total_bad + bad))
            cat "$log" >>"$all"
        fi
    done
    [ $((total_good + total_bad)) = 0 ] || count "$name" $total_good $total_bad "$all"
}

# The sums of what fault specs said, of stores that were to keep all.
fault_sums() {
    awk '/ cycles/ && / acked/ {
        for (i = 2; i <= NF; i++) {
            if ($i ~ /^(cycles|acked|lost|phantom|duplicates),?$/) { word = $i; sub(",", "", word); sum[word] += $(i - 1) }
            if ($i == "order") sum["order"] += $(i - 1)
        }
    } END {
        printf "%d cycles, %d acked, %d lost, %d phantom, %d order violations, %d duplicates\n", sum["cycles"],
            sum["acked"], sum["lost"], sum["phantom"], sum["order"], sum["duplicates"]
    }' $logs/faults.out
}

lints() {
    wanted lint || return 0
    sh spec/lint/run.sh >"$logs/lint.out" 2>"$logs/lint.log"
    count lint "$(grep -c '^ok' "$logs/lint.out")" "$(grep -c '^not ok' "$logs/lint.out")" "$logs/lint.log"
}

fuzz_corpus() {
    for target in build/asan/fuzz/*; do
        if [ ! -f "$target" ] || [ ! -x "$target" ]; then continue; fi
        corpus=spec/fuzz/corpus/$(basename "$target")
        step "fuzz corpus: $(basename "$target")" "$target" "$corpus"
    done
}

# Clients and payloads that nobody here wrote, from npm. The one part that needs the network each time it
# is installed: where node or the registry cannot be had it says so and is left out of the count.
conformance() { # BUILD
    [ -f spec/conformance/package.json ] || return 0
    wanted conformance || return 0
    if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
        install_missing nodejs npm
    fi
    log=$logs/conformance.log
    lock=spec/conformance/package-lock.json
    if ! cmp -s $lock $logs/conformance.lock || [ ! -d spec/conformance/node_modules ]; then
        say "installing npm packages"
        if ! (cd spec/conformance && npm ci --no-audit --no-fund) >"$log" 2>&1; then
            tail -n 5 "$log" >&2
            say "conformance: NOT RUN, npm cannot install its packages (see $log)"
            return 0
        fi
        cp $lock $logs/conformance.lock
    fi
    EVRT_BUILD=$1 timeout -k 10 600 node --test --test-reporter=tap spec/conformance/*.js >"$log" 2>&1
    good=$(sed -n 's/^# pass \([0-9]*\)$/\1/p' "$log" | tail -n 1)
    bad=$(sed -n 's/^# fail \([0-9]*\)$/\1/p' "$log" | tail -n 1)
    count conformance "${good:-0}" "${bad:-1}" "$log"
}

fetch_tool() { # PACKAGE
    (cd $logs/tools && rm -f "$1"_*.deb && apt-get download -q "$1" && dpkg -x "$1"_*.deb .)
}

unpack_tools() {
    mkdir -p $logs/tools
    for tool in $tools; do
        [ -e "$logs/tools/$tool.unpacked" ] && continue
        say "unpacking $tool"
        fetch_tool "$tool" >$logs/tools.log 2>&1 || {
            quietly apt as_root apt-get update -q
            fetch_tool "$tool" >$logs/tools.log 2>&1 || die "cannot fetch $tool (see $logs/tools.log)"
        }
        touch "$logs/tools/$tool.unpacked"
    done
    PATH=$PWD/$logs/tools/usr/bin:$PATH
}

# A real Jaeger: the one that EVRT_JAEGER names, or that was built before, or with --jaeger one built now, where Go and
# its module proxy can be had. That takes ten minutes and more, and is kept.
jaeger() { # BUILD
    wanted jaeger || return 0
    if [ -z "${EVRT_JAEGER:-}" ] && [ ! -x build/jaeger/all-in-one ]; then
        if [ $build_jaeger = no ]; then
            say "jaeger: NOT RUN, there is none (--jaeger builds one; EVRT_JAEGER names one)"
            return 0
        fi
        say "building Jaeger"
        if ! sh spec/conformance/jaeger/build.sh >"$logs/jaeger-build.log" 2>&1; then
            say "jaeger: NOT RUN, it cannot be built here (see $logs/jaeger-build.log)"
            return 0
        fi
    fi
    command -v node >/dev/null || install_missing nodejs
    step jaeger env EVRT_BUILD="$1" timeout -k 10 300 node --test --test-reporter=tap spec/conformance/jaeger/query.js
}

mkdir -p $logs
: >$logs/faults.out
if command -v dpkg-query >/dev/null; then
    # shellcheck disable=SC2086 # a list of words
    install_missing $packages
    unpack_tools
fi
if [ $coverage = yes ]; then
    command -v gcov >/dev/null || die "--coverage needs gcov, which comes with gcc"
    build coverage
    find build/coverage -name '*.gcda' -delete
    specs "unit, counted" build/coverage spec/unit/*
    options="--exclude-tags=plain"
    environment="EVRT_SPEC_PATIENCE=${EVRT_SPEC_PATIENCE:-60}"
    specs "integration, counted" build/coverage spec/integration/*
    luajit spec/support/coverage.lua build/coverage || failed=$((failed + 1))
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
    exit
fi
sh examples/quickstart.sh --no-run || die "cannot build release"
if [ $soak = yes ]; then
    patience=7200
    environment="EVRT_SOAK=1 EVRT_KILLS=${EVRT_KILLS:-1000}"
    specs "soak" build/release spec/integration/crash_spec.lua spec/integration/ledger_spec.lua spec/fault/*
    if wanted spec/unit/journal/open_spec.lua; then
        build dev
        specs "soak, damage" build/dev spec/unit/journal/open_spec.lua
    fi
    fault_sums
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
    exit
fi
build dev
lints
specs "unit" build/dev spec/unit/*
if [ $fast = no ]; then
    build asan
    # GCC's sanitizer runtimes must come first in a process that is not built with them.
    environment="LD_PRELOAD=$(cc -print-file-name=libasan.so):$(cc -print-file-name=libubsan.so)"
    environment="$environment ASAN_OPTIONS=detect_leaks=0"
    specs "unit, address sanitizer" build/asan spec/unit/*
    environment=
    fuzz_corpus
fi
specs "integration" build/release spec/integration/*
specs "faults" build/release spec/fault/*
if [ $fast = no ]; then
    build tsan
    # All but what a sanitizer itself changes: exit codes of a crash, memory used.
    options="--exclude-tags=plain"
    environment="EVRT_SPEC_PATIENCE=${EVRT_SPEC_PATIENCE:-60} EVRT_KILLS=${EVRT_KILLS:-50}"
    specs "integration, address sanitizer" build/asan spec/integration/*
    specs "integration, thread sanitizer" build/tsan spec/integration/*
    conformance build/release
    jaeger build/release
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
