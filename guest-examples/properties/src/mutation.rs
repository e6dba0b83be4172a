//! Damages files, as storage, networks and attackers do. The same seed gives the same file on each machine.

/// Random numbers by SplitMix64. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators".
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Returns a number below `end`, or zero if `end` is zero.
    pub fn below(&mut self, end: usize) -> usize {
        (self.number() % (end.max(1) as u64)) as usize
    }

    /// Returns one of the values.
    ///
    /// # Panics
    ///
    /// When there are none.
    pub fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }
}

/// Bytes where headers end, and where most formats keep sizes.
const HEADER_BYTES: usize = 64;
/// Numbers at the edges of types and formats.
const EDGES: [u32; 14] =
    [0, 1, 2, 7, 8, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0xffff, 0x10000, 0x7fff_ffff, 0xffff_ffff];

/// Returns a damaged copy of one of the files.
///
/// # Panics
///
/// When there are no files.
pub fn mutated(files: &[(String, Vec<u8>)], seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut file = files[random.below(files.len())].1.clone();
    for _ in 0..=random.below(4) {
        damage(&mut file, files, &mut random);
    }
    // A wrong checksum would hide all other damage to a PNG.
    if random.below(4) > 0 {
        mend_checksums(&mut file);
    }
    file
}

fn damage(file: &mut Vec<u8>, files: &[(String, Vec<u8>)], random: &mut Random) {
    let length = file.len();
    let part = |random: &mut Random| {
        let start = random.below(length);
        start..(start + 1 + random.below(32)).min(length)
    };
    match random.below(10) {
        0 => file.truncate(random.below(length)),
        1 | 2 => {
            for _ in 0..=random.below(8) {
                if let Some(byte) = file.get_mut(random.below(length)) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
        3 | 4 => put_edge(file, random.below(length.min(HEADER_BYTES)), random),
        5 => put_edge(file, random.below(length), random),
        6 => {
            file.drain(part(random));
        }
        7 => {
            let copy: Vec<u8> = file[part(random)].repeat(1 + random.below(4));
            let at = random.below(length);
            file.splice(at..at, copy);
        }
        8 => {
            // The end of another file behind the start of this one.
            let other = &files[random.below(files.len())].1;
            file.truncate(random.below(length));
            file.extend_from_slice(&other[random.below(other.len())..]);
        }
        _ => {
            let from = file[part(random)].to_vec();
            let at = random.below(length);
            let end = (at + from.len()).min(length);
            file[at..end].copy_from_slice(&from[..end - at]);
        }
    }
}

/// Overwrites a field of one, two or four bytes, in either order.
fn put_edge(file: &mut [u8], at: usize, random: &mut Random) {
    let value = random.one_of(&EDGES);
    let value = if random.below(2) == 0 { value } else { random.number() as u32 };
    let bytes = if random.below(2) == 0 { value.to_le_bytes() } else { value.to_be_bytes() };
    let width = random.one_of(&[1, 2, 4]);
    let bytes = if random.below(2) == 0 { &bytes[..width] } else { &bytes[4 - width..] };
    for (to, from) in file.iter_mut().skip(at).zip(bytes) {
        *to = *from;
    }
}

/// Sets the checksums of a PNG's chunks right, as far as there are chunks.
fn mend_checksums(file: &mut [u8]) {
    if !file.starts_with(b"\x89PNG") {
        return;
    }
    let mut at = 8;
    while let Some(length) = file.get(at..).and_then(|rest| rest.first_chunk()) {
        let end = at + 8 + u32::from_be_bytes(*length) as usize;
        let Some(sum) = file.get(at + 4..end).map(crc32) else { return };
        let Some(place) = file.get_mut(end..end + 4) else { return };
        place.copy_from_slice(&sum.to_be_bytes());
        at = end + 4;
    }
}

/// Source: PNG, third edition, annex D.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_file_and_most_differ() {
        let files = [("a".to_owned(), (0..200).collect::<Vec<u8>>())];
        let made: Vec<_> = (0..100).map(|seed| mutated(&files, seed)).collect();
        assert!((0..100).all(|seed| mutated(&files, seed) == made[seed as usize]));
        assert!(made.iter().filter(|file| **file != files[0].1).count() > 90);
    }

    #[test]
    fn an_empty_file_can_be_damaged() {
        let files = [("a".to_owned(), Vec::new()), ("b".to_owned(), vec![1])];
        for seed in 0..10_000 {
            mutated(&files, seed);
        }
    }
}
