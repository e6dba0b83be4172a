//! Allocates, fills and searches memory.

use std::hint::black_box;

use wasmrun_guest::{Failure, Message, info};

const MIB: usize = 1 << 20;

/// `alloc`: allocates until an allocation is refused, which aborts.
pub(crate) fn allocate_without_end() -> ! {
    let mut taken = Vec::new();
    loop {
        taken.push(black_box(vec![1_u8; MIB]));
    }
}

/// `alloc-catch MIB`: allocates MIB mebibytes and fills them. Completes if the allocation is refused.
pub(crate) fn allocate_and_catch(mib: usize) -> Result<(), Failure> {
    let mut memory = Vec::<u8>::new();
    if memory.try_reserve_exact(mib * MIB).is_err() {
        return Ok(());
    }
    memory.resize(mib * MIB, 1);
    black_box(memory);
    Err(Failure::reject(format!("got {mib} MiB")))
}

/// `grow`: adds single pages and writes to each, until a page is refused. Then completes.
pub(crate) fn grow_as_far_as_it_goes() -> Result<(), Failure> {
    #[cfg(target_arch = "wasm32")]
    {
        use core::arch::wasm32::{memory_grow, memory_size};

        const PAGE_BYTES: usize = 64 << 10;
        loop {
            let page = memory_grow::<0>(1);
            if page == usize::MAX {
                break;
            }
            // SAFETY: the page was just granted, and nothing else knows of it.
            unsafe { ((page * PAGE_BYTES) as *mut u8).write_volatile(1) };
        }
        info!("grew to {} pages", memory_size::<0>());
    }
    Ok(())
}

/// Returns `bytes` zero bytes in new pages of memory, which cost nothing until they are touched.
pub(crate) fn untouched(bytes: usize) -> Result<&'static [u8], Failure> {
    #[cfg(target_arch = "wasm32")]
    {
        const PAGE_BYTES: usize = 64 << 10;
        let page = core::arch::wasm32::memory_grow::<0>(bytes.div_ceil(PAGE_BYTES));
        if page != usize::MAX {
            // SAFETY: the pages were just granted, and nothing else knows of them.
            return Ok(unsafe { std::slice::from_raw_parts((page * PAGE_BYTES) as *const u8, bytes) });
        }
    }
    Err(Failure::reject(format!("{bytes} bytes were refused")))
}

/// Allocates at least half of the available memory.
fn half_of_all() -> Vec<u8> {
    let mut memory = Vec::<u8>::new();
    let mut size = 1024 * MIB;
    while size > MIB && memory.try_reserve_exact(size).is_err() {
        size /= 2;
    }
    memory.resize(memory.capacity(), 0);
    memory
}

/// `memory-fill`: fills at least half of the available memory without end. Each round is a single instruction.
pub(crate) fn fill() -> ! {
    let mut memory = half_of_all();
    let mut byte = 0;
    loop {
        memory.fill(byte);
        byte = black_box(byte.wrapping_add(1));
    }
}

/// `memory-copy`: copies that memory onto itself, one byte further, in the same way.
pub(crate) fn copy() -> ! {
    let mut memory = half_of_all();
    let end = memory.len() - 1;
    loop {
        memory.copy_within(..end, 1);
        black_box(&mut memory);
    }
}

/// `leak-bodies`: has the host copy the message into guest memory until none is left.
pub(crate) fn leak_bodies(message: &Message) -> ! {
    loop {
        std::mem::forget(black_box(message.body()));
    }
}

/// `stack-array`: uses a local variable that is larger than the stack.
pub(crate) fn stack_array() -> Result<(), Failure> {
    let array = black_box([1_u8; 8 * MIB]);
    Err(Failure::reject(array.iter().map(|&byte| u64::from(byte)).sum::<u64>()))
}

/// `out-of-bounds`: reads beyond the end of memory.
pub(crate) fn out_of_bounds() -> Result<(), Failure> {
    let end = black_box(usize::MAX - 15) as *const u8;
    // SAFETY: none. It must trap.
    let byte = unsafe { end.read_volatile() };
    Err(Failure::reject(byte))
}

/// Static memory for the canary, in addition to heap and stack: memory that comes with the module.
static mut BIG: [u8; MIB] = [0; MIB];

/// `canary-write BYTE`: leaves a pattern in static memory, on the stack, and in freed heap memory.
pub(crate) fn canary_write(byte: u8) -> Result<(), Failure> {
    // SAFETY: a component has one thread, and nothing else uses this.
    unsafe { (&raw mut BIG).write_bytes(byte, 1) };
    black_box([byte; 256 << 10]);
    black_box(vec![byte; 8 * MIB]);
    black_box((0..1000).map(|_| vec![byte; 8 << 10]).collect::<Vec<_>>());
    Ok(())
}

/// `canary-read BYTE`: completes unless 1 KiB of memory is full of BYTE. Also searches newly grown memory, as pages
/// that another task used would appear there.
pub(crate) fn canary_read(byte: u8) -> Result<(), Failure> {
    #[cfg(target_arch = "wasm32")]
    {
        use core::arch::wasm32::{memory_grow, memory_size};

        const PAGE_BYTES: usize = 64 << 10;
        const RUN: usize = 1024;
        // Keeps the static memory in the component, and with it the place that the other task wrote to.
        black_box(&raw const BIG);
        memory_grow::<0>(24 * MIB / PAGE_BYTES);
        let size = memory_size::<0>() * PAGE_BYTES;
        // Starts after 0, which would be a null pointer.
        for start in (RUN..size).step_by(RUN) {
            let is_full = (start..start + RUN).all(|at| {
                // SAFETY: the address is within the memory. The read is volatile, as the address belongs to no Rust
                // object.
                unsafe { (at as *const u8).read_volatile() == byte }
            });
            if is_full {
                return Err(Failure::reject(format!("seen at {start:#x}")));
            }
        }
    }
    let _ = byte;
    Ok(())
}
