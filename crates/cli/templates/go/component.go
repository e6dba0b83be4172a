package main

// What a component needs of this program: an export that runs it, and memory for the adapter.

import "unsafe"

//go:wasmexport wasi:cli/run@0.2.0#run
func run() int32 {
	main()
	return 0
}

// adapterMemory has room for the stack and the state of the adapter, 64 KiB each.
var adapterMemory [1 << 14]uint64
var adapterUsed uintptr

// allocate gives the adapter its memory. Without this export it would grow the memory by itself, and Go's heap, when it
// grows in turn, would lie over it: https://github.com/bytecodealliance/wasm-tools/issues/2289.
//
//go:wasmexport cabi_realloc
func allocate(_ unsafe.Pointer, _, _, size uintptr) unsafe.Pointer {
	memory := adapterMemory[adapterUsed:][:size/8]
	adapterUsed += size / 8
	return unsafe.Pointer(unsafe.SliceData(memory))
}
