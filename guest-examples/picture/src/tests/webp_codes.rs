//! Lossless WebP with many Huffman codes, which take far more memory than the pixels.

use super::*;

/// Writes bits, the lowest one of a byte first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, value: u64, bits: usize) -> &mut Self {
        for bit in 0..bits {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            self.bytes[self.count / 8] |= ((value >> bit & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
        self
    }

    /// A code of one symbol.
    fn one(&mut self, symbol: u64) {
        self.put(1, 1).put(0, 1).put(1, 1).put(symbol, 8);
    }

    /// A code of 2,048 symbols with eleven bits each, of which each takes a node. It takes 65 bits here.
    fn large(&mut self) {
        // The lengths are a code of one symbol, which is the length eleven, the fifteenth in their order.
        self.put(0, 1).put(11, 4).put(0, 42).put(1, 3);
        // 2,048 of them follow, in no bits.
        self.put(1, 1).put(5, 3).put(2046, 12);
    }

    /// A picture's transforms, codes, and pixels. The codes are `groups` times five.
    fn picture(&mut self, groups: u64) {
        // Predictors in blocks of 4 x 4, all zero, and green that is subtracted.
        self.put(1, 1).put(0, 2).put(0, 3).put(0, 1);
        for _ in 0..5 {
            self.one(0);
        }
        self.put(1, 1).put(2, 2).put(0, 1);
        // A cache of 2,048 colours, and numbers of groups in blocks of 4 x 4.
        self.put(1, 1).put(11, 4).put(1, 1).put(0, 3);
        self.put(0, 1);
        self.one((groups - 1) & 0xff);
        self.one((groups - 1) >> 8);
        for _ in 0..3 {
            self.one(0);
        }
        for _ in 0..groups {
            self.large();
            for _ in 0..4 {
                self.put(1, 1).put(0, 3);
            }
        }
        self.bytes.resize(self.bytes.len() + 48 * 80 * 2, 0);
    }
}

fn chunk(kind: &[u8], data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u32).to_le_bytes();
    [kind, &length, data, &[0][..data.len() % 2]].concat()
}

fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = [b"WEBP".to_vec(), chunks.concat()].concat();
    chunk(b"RIFF", &body)
}

/// A picture of 48 x 80 pixels.
fn lossless(groups: u64) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(0x2f, 8).put(47, 14).put(79, 14).put(0, 4);
    bits.picture(groups);
    bits.bytes
}

fn extended(flags: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
    let head = chunk(b"VP8X", &[flags, 0, 0, 0, 47, 0, 0, 79, 0, 0]);
    file(&[vec![head], chunks.to_vec()].concat())
}

fn kinds(groups: u64) -> [(&'static str, Vec<u8>); 3] {
    let vp8l = chunk(b"VP8L", &lossless(groups));
    let mut alpha = Bits::default();
    alpha.put(1, 8);
    alpha.picture(groups);
    let lossy = super::webp_cut::LOSSY[12..].to_vec();
    let head = [[0; 6], [47, 0, 0, 79, 0, 0]].concat();
    let frame = [head, vec![0; 4], vp8l.clone()].concat();
    [
        ("still", file(&[vp8l])),
        ("opacity", extended(0x10, &[chunk(b"ALPH", &alpha.bytes), lossy])),
        ("animation", extended(2, &[chunk(b"ANIM", &[0; 6]), chunk(b"ANMF", &frame)])),
    ]
}

#[test]
fn a_webp_whose_codes_need_too_much_memory_is_refused_by_it() {
    const GROUPS: u64 = 1800;
    // A table of 1,024 entries, and a tree of 4,096 nodes.
    let least = GROUPS * (4096 + 4096 * 2 * size_of::<usize>() as u64);
    let bound = 32 << 20;
    let bounds = Bounds { memory: bound, ..settings().bounds };
    for (name, file) in kinds(GROUPS) {
        assert!(file.len() < 32 << 10, "{name}: {} bytes", file.len());
        let refused = decode(file.clone(), 320, &bounds).map(|picture| picture.full);
        let Err(Refusal::TooLarge(Excess::Memory { needed, .. })) = refused else {
            panic!("{name}: {refused:?}");
        };
        assert!((least..least * 9 / 8).contains(&needed), "{name}: {needed} bytes, and at least {least}");
        let picture = decode(file, 320, &Bounds { memory: needed, ..bounds.clone() });
        assert_eq!(picture.map(|picture| picture.pixels.len() % (48 * 80)), Ok(0), "{name}");
    }
    for (name, file) in kinds(20) {
        assert!(decode(file, 320, &bounds).is_ok(), "{name}");
    }
}

#[test]
fn codes_that_are_none_are_refused_before_they_are_decoded() {
    for (name, file) in kinds(20) {
        // One bit of the codes after another: whatever follows is damaged, or another picture.
        let start = file.windows(4).position(|kind| kind == b"VP8L" || kind == b"ALPH").expect("a chunk") + 8;
        for bit in (0..8 * 250).step_by(11) {
            let mut file = file.clone();
            file[start + bit / 8] ^= 1 << (bit % 8);
            match decode(file, 320, &settings().bounds) {
                Ok(_) | Err(Refusal::Damaged(..) | Refusal::TooLarge(_)) => {}
                Err(refusal) => panic!("{name}, bit {bit}: {refusal}"),
            }
        }
    }
}
