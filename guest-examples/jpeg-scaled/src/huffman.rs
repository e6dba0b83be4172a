//! Huffman codes, with tables to look up in one step what mostly fits in twelve bits: a whole coefficient, or several
//! coefficients to skip. Source: ITU-T T.81, B.2.4.2, annex C, F.1.2 and F.2.2.

use crate::bits::Bits;

/// Bits that are looked up at once. Eleven are 5 to 8 % slower on photographs, thirteen no faster.
const LOOK: u32 = 12;

/// What a decoding step returns: the rule that is broken.
pub(crate) type Step<T> = Result<T, &'static str>;

/// Index in a block, row by row, of a coefficient's place in zigzag order (figure A.6).
pub(crate) const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// Codes and symbols as DHT lists them.
#[derive(Clone)]
pub(crate) struct Listing {
    /// Number of codes of each length from 1 to 16.
    counts: [u8; 16],
    symbols: Vec<u8>,
}

impl Listing {
    pub(crate) fn new(counts: [u8; 16], symbols: &[u8]) -> Self {
        Listing { counts, symbols: symbols.to_vec() }
    }
}

/// Decodes symbols.
pub(crate) struct Codes {
    /// For the next bits: the symbol times 256, and the length of its code. Zero where the code is longer.
    short: Box<[u16; 1 << LOOK]>,
    /// For each length: the first code that is too large for it, as 16 bits.
    ends: [u32; 17],
    /// For each length: what to add to a code for the index of its symbol.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Codes {
    pub(crate) fn new(listing: &Listing) -> Step<Self> {
        let mut short = table();
        let (mut ends, mut offsets) = ([0; 17], [0; 17]);
        let (mut code, mut index) = (0u32, 0usize);
        for length in 1..=16u32 {
            let count = listing.counts[length as usize - 1];
            offsets[length as usize] = index as i32 - code as i32;
            for _ in 0..count {
                let symbol = *listing.symbols.get(index).ok_or("a Huffman table that lacks symbols")?;
                if code >= 1 << length {
                    return Err("a Huffman table with more codes than their lengths allow");
                }
                if length <= LOOK {
                    let start = (code << (LOOK - length)) as usize;
                    let entry = u16::from(symbol) << 8 | length as u16;
                    short[start..start + (1 << (LOOK - length))].fill(entry);
                }
                code += 1;
                index += 1;
            }
            ends[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Ok(Codes { short, ends, offsets, symbols: listing.symbols.clone() })
    }

    /// Returns the symbol at the beginning of a window, and the length of its code.
    #[inline(always)]
    pub(crate) fn symbol(&self, window: u64) -> Step<(u32, u32)> {
        let entry = u32::from(self.short[look(window)]);
        if entry != 0 { Ok((entry >> 8, entry & 255)) } else { self.long(window) }
    }

    #[cold]
    fn long(&self, window: u64) -> Step<(u32, u32)> {
        let bits = (window >> 48) as u32;
        (LOOK + 1..=16)
            .find(|&length| bits < self.ends[length as usize])
            .and_then(|length| {
                let index = (bits >> (16 - length)) as i32 + self.offsets[length as usize];
                Some((u32::from(*self.symbols.get(index as usize)?), length))
            })
            .ok_or("a Huffman code that its table doesn't have")
    }
}

/// Decodes differences between means (F.2.2.1).
pub(crate) struct Differences {
    codes: Codes,
    /// For the next bits: the difference times 65,536, and the bits of code and difference. Zero where these are more.
    short: Box<[i32; 1 << LOOK]>,
}

impl Differences {
    pub(crate) fn new(listing: &Listing) -> Step<Self> {
        let codes = Codes::new(listing)?;
        // F.1.2.1.1 has categories to 11; general decoders take up to 15.
        if codes.symbols.iter().any(|&symbol| symbol > 15) {
            return Err("a Huffman table for DC with a category above 15");
        }
        let mut short = table();
        for (entry, window) in short.iter_mut().zip(windows()) {
            let (size, length) = split(codes.short[look(window)]);
            if length > 0 && length + size <= LOOK {
                *entry = value(window << length, size) << 16 | (length + size) as i32;
            }
        }
        Ok(Differences { codes, short })
    }

    /// Returns the difference at the beginning of a window, and its length in bits, at most 31.
    #[inline(always)]
    pub(crate) fn read(&self, window: u64) -> Step<(i32, u32)> {
        let entry = self.short[look(window)];
        if entry != 0 {
            return Ok((entry >> 16, (entry & 255) as u32));
        }
        let (size, length) = self.codes.symbol(window)?;
        Ok((value(window << length, size), length + size))
    }
}

/// Decodes or skips the other coefficients of a block (F.2.2.2).
pub(crate) struct Coefficients {
    codes: Codes,
    /// For the next bits: how many coefficients are passed times 256, and how many bits these take. Whole codes are
    /// counted; the value after the last one may go on beyond the bits that are looked up. `END` more at an end of
    /// block. `UNKNOWN` where the first code is longer, or ends more than one block.
    skips: Box<[u16; 1 << LOOK]>,
    /// For the next bits: a coefficient times 65,536, the zeros before it times 256, and the bits of all. Zero where
    /// these are more, or end more than one block. An end of block has `END` zeros.
    values: Box<[i32; 1 << LOOK]>,
}

/// What is read at one place.
pub(crate) enum Found {
    /// So many zeros, and a coefficient. It may be zero as well.
    Coefficient(u32, i32),
    /// The end of a block, and perhaps of more (G.1.2.2).
    End(u32),
}

const END: u32 = 128;
const UNKNOWN: u16 = 65 << 8;

/// Looks into one window. Each takes 22 bits at most, as longer ones are not in the table, so that the last one has 20.
const SKIPS_IN_WINDOW: usize = 3;
/// Looks into one window, of 12 bits each.
const VALUES_IN_WINDOW: usize = 5;

impl Coefficients {
    pub(crate) fn new(listing: &Listing) -> Step<Self> {
        let codes = Codes::new(listing)?;
        let mut skips = table();
        let mut values = table();
        for ((skip, entry), window) in skips.iter_mut().zip(values.iter_mut()).zip(windows()) {
            *skip = skip_entry(&codes, window);
            let (symbol, length) = split(codes.short[look(window)]);
            let (zeros, size) = (symbol >> 4, symbol & 15);
            let ends_several = size == 0 && (1..15).contains(&zeros);
            if length > 0 && length + size <= LOOK && !ends_several {
                let zeros = if symbol == 0 { END } else { zeros };
                *entry = value(window << length, size) << 16 | (zeros << 8 | (length + size)) as i32;
            }
        }
        Ok(Coefficients { codes, skips, values })
    }

    /// Skips the coefficients of a block from `k` to its end.
    #[inline(always)]
    pub(crate) fn skip(&self, bits: &mut Bits, mut k: u32) -> Step<()> {
        while k < 64 {
            k = self.skip_several(bits, k, 64);
            if k < 64 {
                k = self.next_place(bits, k)?;
            }
        }
        Ok(())
    }

    /// Skips coefficients from `k` on, of a band whose last coefficient is the one before `end`. Returns `end`, or the
    /// place of what must be looked at by itself.
    #[inline(always)]
    pub(crate) fn skip_several(&self, bits: &mut Bits, mut k: u32, end: u32) -> u32 {
        loop {
            let mut window = bits.window();
            for _ in 0..SKIPS_IN_WINDOW {
                let entry = u32::from(self.skips[look(window)]);
                let (next, length) = (k + (entry >> 8), entry & 255);
                if next >= end {
                    // Otherwise the band ends within what was looked up, or the entry is unknown.
                    if next == end || (END + 1..END + end).contains(&next) {
                        bits.skip(length);
                        return end;
                    }
                    return k;
                }
                window <<= length;
                bits.skip(length);
                k = next;
            }
        }
    }

    /// Reads what is next, whatever its length.
    pub(crate) fn one(&self, bits: &mut Bits) -> Step<Found> {
        let window = bits.window();
        let (symbol, length) = self.codes.symbol(window)?;
        let (zeros, size) = (symbol >> 4, symbol & 15);
        bits.skip(length + size);
        if size == 0 && zeros < 15 {
            return Ok(Found::End(zeros));
        }
        Ok(Found::Coefficient(zeros, value(window << length, size)))
    }

    /// Skips one coefficient with the zeros before it. Returns the place after it, 64 at an end of block.
    fn next_place(&self, bits: &mut Bits, k: u32) -> Step<u32> {
        match self.one(bits)? {
            Found::Coefficient(zeros, _) if k + zeros < 64 => Ok(k + zeros + 1),
            Found::Coefficient(..) => Err(BEYOND_BLOCK),
            Found::End(_) => Ok(64),
        }
    }

    /// Reads what is next, if its bits are few and it doesn't end more than one block. An end of block has `END`
    /// zeros or more.
    #[inline(always)]
    pub(crate) fn short(&self, window: u64) -> Option<(u32, i32, u32)> {
        let entry = self.values[look(window)];
        (entry != 0).then_some(((entry >> 8 & 255) as u32, entry >> 16, (entry & 255) as u32))
    }

    /// Reads the coefficients of a block from the second one to `last`, and skips the rest. Those that are read are
    /// stored row by row; a few of those skipped may be too. Returns whether all up to `last` are zero.
    #[inline(always)]
    pub(crate) fn read(&self, bits: &mut Bits, last: u32, block: &mut [i16; 64]) -> Step<bool> {
        let mut k = 1;
        let mut plain = true;
        while k <= last {
            let mut window = bits.window();
            for _ in 0..VALUES_IN_WINDOW {
                let (zeros, value) = match self.short(window) {
                    Some((zeros, value, length)) => {
                        bits.skip(length);
                        window <<= length;
                        (zeros, value)
                    }
                    None => match self.one(bits)? {
                        Found::Coefficient(zeros, value) => {
                            window = bits.window();
                            (zeros, value)
                        }
                        Found::End(_) => return Ok(plain),
                    },
                };
                k += zeros;
                if k >= 64 {
                    return if is_end(zeros) { Ok(plain) } else { Err(BEYOND_BLOCK) };
                }
                plain &= k > last;
                block[usize::from(ZIGZAG[k as usize])] = value as i16;
                k += 1;
                if k > last {
                    break;
                }
            }
        }
        self.skip(bits, k)?;
        Ok(plain)
    }
}

pub(crate) fn is_end(zeros: u32) -> bool {
    zeros >= END
}

const BEYOND_BLOCK: &str = "coefficients beyond the end of a block";

/// What the table of skips holds for a window of which only the first bits count.
fn skip_entry(codes: &Codes, window: u64) -> u16 {
    let (mut bits, mut coefficients, mut end) = (0, 0, 0);
    while bits < LOOK && end == 0 {
        let (symbol, length) = split(codes.short[look(window << bits)]);
        let (zeros, size) = (symbol >> 4, symbol & 15);
        // F.1.2.2.1 has categories to 10; longer values don't fit the looks into a window.
        if length == 0 || length > LOOK - bits || size > 10 {
            break;
        }
        if symbol == 0 {
            end = END;
        } else if size == 0 && zeros < 15 {
            break;
        } else if coefficients + zeros < 63 {
            coefficients += zeros + 1;
        } else {
            break;
        }
        bits += length + size;
    }
    if bits > 0 { ((coefficients + end) << 8 | bits) as u16 } else { UNKNOWN }
}

/// Extends `size` bits at the beginning of a window to the number that they stand for (figure F.12).
#[inline(always)]
pub(crate) fn value(window: u64, size: u32) -> i32 {
    let bits = (window >> 1 >> (63 - size)) as i32;
    // A first bit of zero marks negative numbers.
    if window >> 63 == 0 { bits - (1 << size) + 1 } else { bits }
}

#[inline(always)]
fn look(window: u64) -> usize {
    (window >> (64 - LOOK)) as usize
}

fn split(entry: u16) -> (u32, u32) {
    (u32::from(entry >> 8), u32::from(entry & 255))
}

/// The windows whose first bits are all that can be looked up.
fn windows() -> impl Iterator<Item = u64> {
    (0..1u64 << LOOK).map(|bits| bits << (64 - LOOK))
}

/// Returns an empty table, made on the heap.
fn table<T: Copy + Default>() -> Box<[T; 1 << LOOK]> {
    let table: Box<[T]> = vec![T::default(); 1 << LOOK].into_boxed_slice();
    table.try_into().unwrap_or_else(|_| Box::new([T::default(); 1 << LOOK]))
}
