#!/bin/sh
# Builds guest.wasm. The bindings refer to a function of Go's runtime, which the linker refuses without -checklinkname=0.
set -eu
PATH="$PWD/.venv/bin:$PATH"
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w -checklinkname=0' -o core.wasm .
wasm-tools component embed wit --world guest core.wasm -o core.wasm
wasm-tools component new core.wasm --adapt adapter/wasi_snapshot_preview1.reactor.wasm -o guest.wasm
