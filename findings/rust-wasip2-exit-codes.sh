#!/usr/bin/env bash
# Rust 1.95.0: std::process::exit(75) of a program for wasm32-wasip2 is exit code 1, and of the same program for wasm32-wasip1 75.
#
# WASI 0.2's wasi:cli/exit had only `exit`, which says success or failure. `exit-with-code` is in its interface since 0.2.0 behind a
# gate and stable since 0.2.12; the standard library of this target imports 0.2.6 and calls `exit` alone, so each code but 0
# becomes 1, for whatever runtime. A program that reports by exit codes, as those of sysexits.h, can't when it moves from WASI 0.1 to 0.2.
#
# wasmrun runs such programs: their codes 65 and 75 need the crate `wasip2` or `--exit-code 1=…`; docs/src/guides/programs.md says so.
#
# Seen: for wasm32-wasip1 in Node 75; for wasm32-wasip2 in jco 1.35.0 1, and no exit-with-code in the component
#
# Needs rustc 1.95.0 with both targets, and Node 20 or later with npm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm install --silent --no-fund --no-audit @bytecodealliance/jco@1.35.0
cat > program.rs <<'RUST'
fn main() {
    std::process::exit(75)
}
RUST
for target in wasm32-wasip1 wasm32-wasip2; do
    rustc --edition 2024 --target "$target" program.rs -o "$target.wasm"
done
cat > run.mjs <<'NODE'
import { readFileSync } from "node:fs";
import { WASI } from "node:wasi";
const wasi = new WASI({ version: "preview1", returnOnExit: true });
const module = await WebAssembly.compile(readFileSync("wasm32-wasip1.wasm"));
console.log("wasip1", wasi.start(await WebAssembly.instantiate(module, wasi.getImportObject())));
NODE
rustc --version | cut -d' ' -f1-2 > seen
node --no-warnings run.mjs >> seen
code=0
node_modules/.bin/jco run wasm32-wasip2.wasm || code=$?
echo "wasip2 $code" >> seen
node_modules/.bin/jco print wasm32-wasip2.wasm > text
echo "exit-with-code $(grep -c exit-with-code text || true)" >> seen

cat seen
diff - seen <<'EXPECTED'
rustc 1.95.0
wasip1 75
wasip2 1
exit-with-code 0
EXPECTED
