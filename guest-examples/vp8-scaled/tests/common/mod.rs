//! What the tests share.

#![allow(dead_code, reason = "each test uses a part of it")]

#[path = "../../src/tables.rs"]
mod tables;
pub mod writer;

/// Pseudo-random numbers, the same each time (xorshift64*).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.next() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// True in `percent` of a hundred cases.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.below(100) < percent
    }

    /// A number from `-bound` to `bound`.
    pub fn around(&mut self, bound: i32) -> i32 {
        self.below(2 * bound as u32 + 1) as i32 - bound
    }
}

/// Returns a file that contains a frame.
pub fn file(frame: &[u8]) -> Vec<u8> {
    let length = frame.len() as u32;
    let mut file = b"RIFF".to_vec();
    file.extend((4 + 8 + length.next_multiple_of(2)).to_le_bytes());
    file.extend(b"WEBPVP8 ");
    file.extend(length.to_le_bytes());
    file.extend(frame);
    file.resize(file.len().next_multiple_of(2), 0);
    file
}
