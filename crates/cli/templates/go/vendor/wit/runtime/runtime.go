// Changed from go.bytecodealliance.org/pkg 0.2.1 for wasmrun: cabi_realloc takes memory that was set aside before, and
// doesn't call Go's allocator, which may read a clock or start a garbage collection. Both call the host, and a
// component that calls the host while it gives memory for a result traps ("cannot leave component instance"). See
// https://github.com/bytecodealliance/componentize-go/issues/77.

package runtime

import (
	"fmt"
	"runtime"
	"unsafe"
)

type Handle struct {
	value int32
}

func (h *Handle) Use() int32 {
	if h.value == 0 {
		panic("nil handle")
	}
	return h.value
}

func (h *Handle) Take() int32 {
	if h.value == 0 {
		panic("nil handle")
	}
	value := h.value
	h.value = 0
	return value
}

func (h *Handle) Set(value int32) {
	if value == 0 {
		panic("nil handle")
	}
	if h.value != 0 {
		panic("handle already set")
	}
	h.value = value
}

func (h *Handle) TakeOrNil() int32 {
	value := h.value
	h.value = 0
	return value
}

func MakeHandle(value int32) *Handle {
	if value == 0 {
		panic("nil handle")
	}
	return &Handle{value}
}

// Allocate is called by the bindings before each call to the host that returns more than a number.
func Allocate(pinner *runtime.Pinner, size, align uintptr) unsafe.Pointer {
	setAside(pinner)
	pointer := allocateRaw(size, align)
	pinner.Pin(pointer)
	return pointer
}

func allocateRaw(size, align uintptr) unsafe.Pointer {
	if size == 0 {
		return nil
	}

	if size%align != 0 {
		panic(fmt.Sprintf("size %v is not compatible with alignment %v", size, align))
	}

	switch align {
	case 1:
		return unsafe.Pointer(unsafe.SliceData(make([]uint8, size)))
	case 2:
		return unsafe.Pointer(unsafe.SliceData(make([]uint16, size/align)))
	case 4:
		return unsafe.Pointer(unsafe.SliceData(make([]uint32, size/align)))
	case 8:
		return unsafe.Pointer(unsafe.SliceData(make([]uint64, size/align)))
	default:
		panic(fmt.Sprintf("unsupported alignment: %v", align))
	}
}

//go:linkname sbrk runtime.sbrk
func sbrk(n uintptr) unsafe.Pointer

// blockSize is a page of linear memory, the least that sbrk takes.
const blockSize = 1 << 16

// block is memory for what the host returns.
type block struct {
	memory []uint64
	used   uintptr
}

func (b *block) left() uintptr {
	return uintptr(len(b.memory))*8 - b.used
}

// take returns nil if the block has too little left.
func (b *block) take(size, align uintptr) unsafe.Pointer {
	padding := -b.used & (align - 1)
	if size > b.left() || padding > b.left()-size {
		return nil
	}
	pointer := unsafe.Add(unsafe.Pointer(unsafe.SliceData(b.memory)), b.used+padding)
	b.used += padding + size
	return pointer
}

// collected is in Go's heap: it is freed when nothing in it is used any more. grown is memory that Go's heap never
// gets, for results that collected has no room for, and for the adapter, which asks for some before the heap is there.
// It's never freed.
var collected, grown block

// setAside leaves half a block for the next result at least. The bindings' pinner keeps the block until they have read
// the result.
func setAside(pinner *runtime.Pinner) {
	if collected.left() < blockSize/2 {
		collected = block{memory: make([]uint64, blockSize/8)}
	}
	pinner.Pin(unsafe.SliceData(collected.memory))
}

// Unpin is called by the bindings of exports that take lists or strings. Nothing is pinned for longer than a call here.
func Unpin() {}

//nolint:unused
//go:wasmexport cabi_realloc
func cabiRealloc(oldPointer unsafe.Pointer, oldSize, align, newSize uintptr) unsafe.Pointer {
	if oldPointer != nil || oldSize != 0 {
		panic("todo")
	}

	if pointer := collected.take(newSize, align); pointer != nil {
		return pointer
	}
	if pointer := grown.take(newSize, align); pointer != nil {
		return pointer
	}
	words := (max(newSize, blockSize) + 7) / 8
	memory := sbrk(words * 8)
	if memory == nil {
		panic("out of memory")
	}
	grown = block{memory: unsafe.Slice((*uint64)(memory), words)}
	return grown.take(newSize, align)
}
