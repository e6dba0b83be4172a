#!/bin/sh
# Builds guest.wasm: a program for WASI 0.1, and the adapter that makes it a component of WASI 0.2. Another clang with
# wasi-libc takes the same arguments after `cc`.
set -eu
.venv/bin/python-zig cc -target wasm32-wasi -O2 -s -Wl,--stack,65536 -o core.wasm shout.c
.venv/bin/wasm-tools component new core.wasm --adapt adapter/wasi_snapshot_preview1.command.wasm -o guest.wasm
