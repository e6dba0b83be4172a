//! The work of a task, the same natively and in a guest.

use std::hint::black_box;
use std::time::Duration;

use sha2::{Digest, Sha256};

const HASHED_BYTES: usize = 1_000_000;
const DIGEST: [u8; 32] = [
    0x2c, 0x03, 0x0d, 0x49, 0xec, 0x13, 0x1b, 0xfb, 0xbb, 0x44, 0x6a, 0xd2, 0x1e, 0x7a, 0x2f, 0x12, 0xcd,
    0xb4, 0xf2, 0xf4, 0xf3, 0xfd, 0xa3, 0xac, 0x70, 0x9d, 0xd2, 0xe6, 0x8a, 0x46, 0x46, 0xc7,
];

/// Hashes a megabyte, and returns what it hashed.
pub fn hash() -> Vec<u8> {
    let mut content = vec![0; HASHED_BYTES];
    for (index, byte) in content.iter_mut().enumerate() {
        *byte = (index % 251) as u8;
    }
    let digest = Sha256::digest(black_box(&content));
    assert_eq!(digest[..], DIGEST, "SHA-256 of the megabyte");
    content
}

/// Stays there, with what it holds.
pub fn hold<T>(held: T) -> ! {
    black_box(&held);
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// Computes without end.
pub fn spin() -> ! {
    let mut count = 0_u64;
    loop {
        count = black_box(count.wrapping_add(1));
    }
}
