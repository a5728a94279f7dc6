#!/bin/sh
# From a fresh clone on Debian 12 to a running evrt: installs what is needed to build, builds release and
# runs examples/quickstart in the foreground. Safe to run again. See --help.
set -eu
cd "$(dirname "$0")/.."

packages="build-essential cmake ninja-build pkg-config libluajit-5.1-dev libuv1-dev
    libmicrohttpd-dev libsqlite3-dev libyaml-dev libxxhash-dev libcurl4-openssl-dev curl lua-cjson-dev
    zlib1g-dev"
logs=build/quickstart
run=yes
port=8080
admin=9090

say() { echo "quickstart: $*" >&2; }
die() {
    say "$*"
    exit 1
}
usage() {
    cat <<'END'
usage: sh examples/quickstart.sh [--no-run] [--port PORT]
  --no-run      only install and build
  --port PORT   take events on PORT and serve the admin API on PORT + 1 (default 8080 and 9090)
END
}

while [ $# -gt 0 ]; do
    case $1 in
    --no-run) run=no ;;
    --port)
        [ $# -ge 2 ] || die "--port needs a number"
        shift
        case $1 in *[!0-9]* | "") die "--port needs a number, not '$1'" ;; esac
        port=$1
        admin=$((port + 1))
        ;;
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

. examples/install.sh

if command -v dpkg-query >/dev/null; then
    # shellcheck disable=SC2086 # a list of words
    install_missing $packages
else
    say "not a Debian system: assuming the equivalents of: $(echo "$packages" | tr -s " \n" " ")"
fi

say "building build/release/evrt"
quietly build cmake --preset release
quietly build cmake --build --preset release
[ $run = yes ] || exit 0

cat >&2 <<END

When evrt is ready, post a webhook from another terminal and watch it being handled here:

  curl -i http://127.0.0.1:$port/events -H 'ce-specversion: 1.0' -H 'ce-type: com.github.issues' -H 'ce-source: /evrt/quickstart' -H 'Content-Type: application/json' -d @$PWD/examples/quickstart/issue.json

Handlers are in examples/quickstart/handlers. Ctrl-C stops it; what it has acknowledged is kept.

END
exec build/release/evrt run examples/quickstart/evrt.yaml \
    --set "http.listen=127.0.0.1:$port" --set "admin.listen=127.0.0.1:$admin"
