#!/bin/sh
# Builds Jaeger's all-in-one from Go's module proxy into build/jaeger, once. Takes minutes the first time. Exits with
# 1 where there is no Go, no proxy, or not enough time.
set -eu
cd "$(dirname "$0")/../../.."
version=v1.62.0
package=github.com/jaegertracing/jaeger/cmd/all-in-one
dir=build/jaeger

[ ! -x "$dir/all-in-one" ] || exit 0
command -v go >/dev/null || exit 1
mkdir -p "$dir"
cd "$dir"
rm -f go.mod go.sum
export GOFLAGS=-mod=mod
go mod init evrt.spec/jaeger
timeout 300 go get "$package@$version"
timeout "${EVRT_JAEGER_PATIENCE:-900}" nice go build -o all-in-one.new "$package"
mv all-in-one.new all-in-one
