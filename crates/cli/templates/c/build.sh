#!/bin/sh
# Builds guest.wasm. Another clang with wasi-libc takes the same arguments after `cc`.
set -eu
.venv/bin/python-zig cc -target wasm32-wasi -mexec-model=reactor -O2 -s -Wl,--stack,65536 -o core.wasm \
    shout.c bindings/guest.c bindings/guest_component_type.o -I bindings
.venv/bin/wasm-tools component new core.wasm -o guest.wasm
