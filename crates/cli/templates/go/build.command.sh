#!/bin/sh
# Builds guest.wasm: a program for WASI 0.1, and the adapter that makes it a component of WASI 0.2.
set -eu
PATH="$PWD/.venv/bin:$PATH"
GOOS=wasip1 GOARCH=wasm go build -ldflags='-s -w' -o core.wasm .
wasm-tools component new core.wasm --adapt adapter/wasi_snapshot_preview1.command.wasm -o guest.wasm
