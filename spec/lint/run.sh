#!/bin/sh
# Every lint, one line each on standard output: "ok NAME" or "not ok NAME", problems on standard error.
# Needs luajit, clang-format, luacheck and shellcheck (spec/run.sh installs them).
set -u
cd "$(dirname "$0")/../.." || exit 1
failed=0

run() { # NAME COMMAND...
    name=$1
    shift
    if output=$("$@" 2>&1); then
        echo "ok lint: $name"
    else
        echo "not ok lint: $name"
        printf '%s\n' "$output" >&2
        failed=1
    fi
}

files() { # NAME...: all files of our own with such a name
    for name in "$@"; do
        find . \( -name .git -o -name node_modules -o -path ./build \) -prune -o -type f -name "$name" -print
    done
}

# shellcheck disable=SC2046 # no file of ours has a space in its name
{
    run "layers, sizes, house rules" luajit spec/lint/lint.lua
    run clang-format clang-format --dry-run -Werror $(files '*.c' '*.h')
    run luacheck luacheck -q --no-color $(files '*.lua' .busted .luacheckrc)
    run shellcheck shellcheck $(files '*.sh') .ci/run
}
exit $failed
