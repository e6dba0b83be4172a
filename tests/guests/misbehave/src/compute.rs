//! Computes, waits or traps.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use wasmrun_guest::{Failure, Message, Store};

/// `loop`: never returns, and never calls the host.
pub(crate) fn spin() -> ! {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}

/// `busy MS`: spins for MS milliseconds of wall-clock time.
pub(crate) fn busy(time: Duration) -> Result<(), Failure> {
    let start = Instant::now();
    while start.elapsed() < time {
        for count in 0..10_000 {
            black_box(count);
        }
    }
    Ok(())
}

/// `sleep MS`: sleeps for MS milliseconds.
pub(crate) fn sleep(time: Duration) -> Result<(), Failure> {
    thread::sleep(time);
    Ok(())
}

/// `sleep-forever`: never returns, and uses no CPU time.
pub(crate) fn sleep_forever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(3600));
    }
}

/// `recurse`: recurses until the stack is exhausted.
pub(crate) fn recurse() -> Result<(), Failure> {
    #[inline(never)]
    fn descend(depth: u64) -> u64 {
        // The compiler can't see through this pointer. Otherwise it would turn the recursion into a loop.
        let next: fn(u64) -> u64 = black_box(descend);
        next(depth + 1).rotate_left(3) ^ depth
    }
    Err(Failure::reject(descend(0)))
}

/// `recurse-host`: recurses in the same way, with a host call at each level.
pub(crate) fn recurse_through_the_host(message: &Message) -> Result<(), Failure> {
    #[inline(never)]
    fn descend(message: &Message, depth: u64) -> u64 {
        let next: fn(&Message, u64) -> u64 = black_box(descend);
        let count = u64::from(message.receive_count());
        next(message, depth + count).rotate_left(3) ^ depth
    }
    Err(Failure::reject(descend(message, 0)))
}

/// `call-after MS`: computes for MS milliseconds, and then calls a store without end. So a call is in progress when the
/// task times out.
pub(crate) fn call_after(time: Duration) -> Result<(), Failure> {
    let output = Store::open("output")?;
    busy(time)?;
    loop {
        output.put("at-the-end", &[b'x'; 4096])?;
    }
}

/// `unreachable`: executes the `unreachable` instruction, without a panic message.
pub(crate) fn unreachable() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    std::process::abort();
}

/// `divide-by-zero`: executes a division that traps, instead of Rust's panic.
pub(crate) fn divide_by_zero() -> Result<(), Failure> {
    let (dividend, divisor) = (black_box(1_i32), black_box(0_i32));
    if black_box(true) {
        // SAFETY: none. The false assertion removes Rust's own check, so that the instruction itself must trap.
        unsafe { std::hint::assert_unchecked(divisor != 0 && divisor != -1) };
    }
    Err(Failure::reject(black_box(dividend / divisor)))
}
