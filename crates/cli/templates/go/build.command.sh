#!/bin/sh
# Builds guest.wasm: a library for WASI 0.1 that exports the program, and the adapter that makes it a component of
# WASI 0.2. An executable would call `cabi_realloc` in component.go before Go's runtime has started.
set -eu
PATH="$PWD/.venv/bin:$PATH"
GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -ldflags='-s -w' -o core.wasm .
wasm-tools component embed wit --world guest core.wasm -o core.wasm
wasm-tools component new core.wasm --adapt adapter/wasi_snapshot_preview1.reactor.wasm -o guest.wasm
