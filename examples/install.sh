#!/bin/sh
# Sourced by quickstart.sh and spec/run.sh, which say where logs go ($logs), how to tell (say) and how to give up
# (die).

# Runs a command quietly; shows what it said only when it fails.
quietly() { # LOG COMMAND...
    mkdir -p "${logs:?}"
    log=$logs/$1.log
    shift
    "$@" >"$log" 2>&1 || {
        tail -n 60 "$log" >&2
        die "failed (all of it in $log): $*"
    }
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# Installs those Debian packages that are not installed.
install_missing() { # PACKAGE...
    missing=
    for package in "$@"; do
        case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null) in
        *" installed") ;;
        *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "needs root or sudo to install:$missing"
    say "installing$missing"
    quietly apt as_root apt-get update -q
    # shellcheck disable=SC2086 # a list of words
    quietly apt as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing
}
