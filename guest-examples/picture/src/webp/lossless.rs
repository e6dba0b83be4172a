//! The memory that lossless WebP takes besides its pixels. No header tells it: up to 65,536 groups of five Huffman codes, of
//! which each takes up to 37 KiB, may follow from a few bytes. So the stream is read up to its last code, without pixels.
//! Source: RFC 9649, 3; the sizes are those of `image-webp` 0.2.4.

use super::chunks_in;
use super::sizes::frame;

const WORD: u64 = size_of::<usize>() as u64;
/// Five codes in a vector that may grow while its old place is still there.
const GROUP_BYTES: u64 = 5 * 7 * WORD * 3;
/// A node of a code's tree.
const NODE_BYTES: u64 = 2 * WORD;
/// Both tables of a code, and what the allocator adds to them.
const CODE_BYTES: u64 = 3 * NODE_BYTES + 64;
/// Longer codes are in a tree, all others in a table.
const TABLE_BITS: usize = 10;

/// The order in which the lengths of the codes for lengths are stored.
const LENGTHS: [usize; 19] = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
/// The symbols of the codes for green with lengths, red, blue, alpha and distances.
const SYMBOLS: [usize; 5] = [280, 256, 256, 256, 40];

/// Returns the bytes that decoding a file of this size takes besides its pixels. Returns nothing if its codes can't be read.
pub(super) fn tables(content: &[u8], canvas: (u32, u32), is_animated: bool, has_alpha: bool) -> Option<u64> {
    let find = |kind: &[u8]| super::chunks(content).find(|chunk| chunk.kind == kind);
    let in_frame = find(b"ANMF").and_then(|chunk| frame(chunk.data));
    let (chunk, size) = if is_animated {
        let Some((data, size)) = in_frame else { return Some(0) };
        (chunks_in(data).next(), size)
    } else {
        let alpha =
            || find(b"ALPH").or_else(|| chunks_in(in_frame?.0).take(2).find(|chunk| chunk.kind == b"ALPH"));
        let alpha = || if has_alpha { alpha() } else { None };
        (find(b"VP8L").or_else(alpha), canvas)
    };
    match chunk {
        Some(chunk) if chunk.kind == b"VP8L" => {
            let mut stream = Stream::new(chunk.data);
            stream.header(size)?;
            stream.picture(size)
        }
        // The lowest bits of the first byte say whether what follows is compressed.
        Some(chunk) if chunk.kind == b"ALPH" && chunk.data.first()? & 3 == 1 => {
            Stream::new(&chunk.data[1..]).picture(size)
        }
        _ => Some(0),
    }
}

struct Stream<'a> {
    data: &'a [u8],
    /// The next bit, the lowest one of a byte first.
    at: usize,
    /// What decoding takes so far.
    bytes: u64,
}

impl<'a> Stream<'a> {
    fn new(data: &'a [u8]) -> Self {
        Stream { data, at: 0, bytes: 0 }
    }

    /// Reads at most 24 bits.
    fn bits(&mut self, count: u32) -> Option<u32> {
        let end = self.at + count as usize;
        if end > self.data.len() * 8 {
            return None;
        }
        let mut word = [0; 4];
        let there = &self.data[self.at / 8..];
        let there = &there[..there.len().min(4)];
        word[..there.len()].copy_from_slice(there);
        let value = u32::from_le_bytes(word) >> (self.at % 8) & ((1 << count) - 1);
        self.at = end;
        Some(value)
    }

    /// Reads a signature, the size, whether there is alpha, and a version.
    fn header(&mut self, size: (u32, u32)) -> Option<()> {
        let signature = self.bits(8)?;
        let found = (self.bits(14)? + 1, self.bits(14)? + 1);
        self.bits(1)?;
        (signature == 0x2f && found == size && self.bits(3)? == 0).then_some(())
    }

    /// Reads the transforms and the codes of a picture, and returns the bytes that they take.
    fn picture(mut self, (mut width, height): (u32, u32)) -> Option<u64> {
        let mut seen = [false; 4];
        while self.bits(1)? == 1 {
            let kind = self.bits(2)? as usize;
            if std::mem::replace(&mut seen[kind], true) {
                return None;
            }
            match kind {
                // Predictors and colours, for each block of pixels.
                0 | 1 => {
                    let blocks = self.blocks(width, height)?;
                    self.bytes += 4 * blocks;
                    self.image(blocks)?;
                }
                // Green is subtracted.
                2 => {}
                // A palette, with which several pixels can be in one.
                _ => {
                    let colours = self.bits(8)? + 1;
                    self.bytes += 4 * u64::from(colours);
                    self.image(colours.into())?;
                    let packed = match colours {
                        0..=2 => 8,
                        3..=4 => 4,
                        5..=16 => 2,
                        _ => 1,
                    };
                    width = width.div_ceil(packed);
                }
            }
        }
        let cache = self.cache()?;
        let mut groups = 1;
        if self.bits(1)? == 1 {
            let blocks = self.blocks(width, height)?;
            // The pixels with the groups' numbers, and the numbers.
            self.bytes += (4 + 2) * blocks;
            groups += self.image(blocks)?;
        }
        self.bytes += u64::from(groups) * GROUP_BYTES;
        for _ in 0..groups {
            self.group(cache)?;
        }
        Some(self.bytes)
    }

    /// Reads the size of blocks, and returns their number.
    fn blocks(&mut self, width: u32, height: u32) -> Option<u64> {
        let side = 1 << (self.bits(3)? + 2);
        Some(u64::from(width.div_ceil(side)) * u64::from(height.div_ceil(side)))
    }

    /// Returns the number of colours in the cache.
    fn cache(&mut self) -> Option<usize> {
        if self.bits(1)? == 0 {
            return Some(0);
        }
        let colours = match self.bits(4)? {
            bits @ 1..=11 => 1 << bits,
            _ => return None,
        };
        self.bytes += 4 * colours as u64;
        Some(colours)
    }

    /// Reads an image that has one group of codes. Returns the largest number in red and green, which is that of a pixel
    /// that isn't copied.
    fn image(&mut self, pixels: u64) -> Option<u32> {
        let cache = self.cache()?;
        let [green, red, blue, alpha, distance] = self.group(cache)?;
        if let (Code::One(green @ ..256), Code::One(red), Code::One(_), Code::One(_)) =
            (&green, &red, &blue, &alpha)
        {
            return Some(u32::from(*red) << 8 | u32::from(*green));
        }
        let (mut at, mut largest) = (0, 0);
        while at < pixels {
            match green.read(self)? {
                green @ ..256 => {
                    largest = largest.max(u32::from(red.read(self)?) << 8 | u32::from(green));
                    blue.read(self)?;
                    alpha.read(self)?;
                    at += 1;
                }
                length @ 256..280 => {
                    at += u64::from(self.amount(length - 256)?);
                    let distance = distance.read(self)?;
                    self.amount(distance)?;
                }
                _ if cache == 0 => return None,
                _ => at += 1,
            }
        }
        (at == pixels).then_some(largest)
    }

    /// Reads the rest of a length or distance.
    fn amount(&mut self, prefix: u16) -> Option<u32> {
        let prefix = u32::from(prefix);
        if prefix < 4 {
            return Some(prefix + 1);
        }
        let bits = (prefix - 2) >> 1;
        Some(((2 + (prefix & 1)) << bits) + self.bits(bits)? + 1)
    }

    fn group(&mut self, cache: usize) -> Option<[Code; 5]> {
        let [green, red, blue, alpha, distance] = SYMBOLS;
        Some([
            self.code(green + cache)?,
            self.code(red)?,
            self.code(blue)?,
            self.code(alpha)?,
            self.code(distance)?,
        ])
    }

    fn code(&mut self, symbols: usize) -> Option<Code> {
        let code = if self.bits(1)? == 1 {
            let is_two = self.bits(1)? == 1;
            let bits = 1 + 7 * self.bits(1)?;
            let first = self.bits(bits)? as u16;
            let second = if is_two { Some(self.bits(8)? as u16) } else { None };
            if first.max(second.unwrap_or(0)) as usize >= symbols {
                return None;
            }
            match second {
                None => Code::One(first),
                Some(second) => Code::two(first, second),
            }
        } else {
            let lengths = self.lengths(symbols)?;
            Code::of(&lengths)?
        };
        self.bytes += code.bytes();
        Some(code)
    }

    fn lengths(&mut self, symbols: usize) -> Option<Vec<u8>> {
        let mut of_lengths = [0; 19];
        let count = 4 + self.bits(4)? as usize;
        for &at in &LENGTHS[..count] {
            of_lengths[at] = self.bits(3)? as u8;
        }
        let code = Code::of(&of_lengths)?;
        let mut left = symbols;
        if self.bits(1)? == 1 {
            let bits = 2 + 2 * self.bits(3)?;
            left = 2 + self.bits(bits)? as usize;
            if left > symbols {
                return None;
            }
        }
        let mut lengths = Vec::with_capacity(symbols);
        let mut last = 8;
        while lengths.len() < symbols && left > 0 {
            left -= 1;
            let (length, times) = match code.read(self)? as u8 {
                16 => (last, 3 + self.bits(2)?),
                17 => (0, 3 + self.bits(3)?),
                18 => (0, 11 + self.bits(7)?),
                length => (length, 1),
            };
            if length != 0 {
                last = length;
            }
            if lengths.len() + times as usize > symbols {
                return None;
            }
            lengths.resize(lengths.len() + times as usize, length);
        }
        Some(lengths)
    }
}

/// A Huffman code.
enum Code {
    /// Of a single symbol, which takes no bits.
    One(u16),
    /// The number of symbols of each length, and all symbols in the order of their codes.
    Many([u16; 16], Vec<u16>),
}

impl Code {
    fn two(first: u16, second: u16) -> Self {
        let mut counts = [0; 16];
        counts[1] = 2;
        Code::Many(counts, vec![first, second])
    }

    /// Returns nothing for lengths that no code has: each sequence of bits must begin with exactly one symbol.
    fn of(lengths: &[u8]) -> Option<Self> {
        let mut counts = [0_u16; 16];
        for &length in lengths.iter().filter(|&&length| length != 0) {
            counts[usize::from(length)] += 1;
        }
        let used: u16 = counts.iter().sum();
        if used == 1 {
            return Some(Code::One(lengths.iter().position(|&length| length != 0)? as u16));
        }
        let sequences: u32 = (1..16).map(|length| u32::from(counts[length]) << (15 - length)).sum();
        if sequences != 1 << 15 {
            return None;
        }
        let mut next = [0; 16];
        for length in 1..16 {
            next[length] = next[length - 1] + usize::from(counts[length - 1]);
        }
        let mut symbols = vec![0; used.into()];
        for (symbol, &length) in lengths.iter().enumerate().filter(|&(_, &length)| length != 0) {
            let place = &mut next[usize::from(length)];
            symbols[*place] = symbol as u16;
            *place += 1;
        }
        Some(Code::Many(counts, symbols))
    }

    fn bytes(&self) -> u64 {
        let Code::Many(counts, _) = self else { return 0 };
        let longest = counts.iter().rposition(|&count| count != 0).unwrap_or(0);
        let in_tree: u16 = counts[TABLE_BITS + 1..].iter().sum();
        (4 << longest.min(TABLE_BITS)) + 2 * u64::from(in_tree) * NODE_BYTES + CODE_BYTES
    }

    fn read(&self, stream: &mut Stream<'_>) -> Option<u16> {
        let (counts, symbols) = match self {
            Code::One(symbol) => return Some(*symbol),
            Code::Many(counts, symbols) => (counts, symbols),
        };
        // The codes of one length follow each other, and those of the next length follow them with a bit more.
        let (mut code, mut first, mut place) = (0, 0, 0);
        for &count in &counts[1..] {
            code |= stream.bits(1)?;
            let count = u32::from(count);
            if code < first + count {
                return symbols.get((place + code - first) as usize).copied();
            }
            place += count;
            first = (first + count) << 1;
            code <<= 1;
        }
        None
    }
}
