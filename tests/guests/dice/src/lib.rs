//! Reports everything that could differ between two runs: random numbers, both clocks, and the bits of a NaN.

use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmrun_guest::{Failure, Message, handler};

handler!(handle);

fn handle(_message: Message) -> Result<(), Failure> {
    let random = RandomState::new().hash_one(0);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(Failure::reject)?;
    let began = Instant::now();
    let elapsed = began.elapsed();
    let none = black_box(0.0_f32) / black_box(0.0_f32);
    Err(Failure::reject(format!(
        "random {random} at {} ms after {} ns bits {:08x}",
        since.as_millis(),
        elapsed.as_nanos(),
        none.to_bits()
    )))
}
