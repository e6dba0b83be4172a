//! The header of a frame. Source: RFC 6386, 9.

use crate::bools::Bools;
use crate::error::{Error, Result};
use crate::tables::{
    BAND, CONTEXTS, DEFAULT_TOKENS, FIRST_FACTORS, KINDS, OTHER_FACTORS, TOKEN_UPDATES, Token, row,
};

/// Length of what precedes the first partition: a tag, the start code, and the size (9.1).
const TAG_BYTES: usize = 10;

/// Probabilities for the tokens of one kind of blocks, by a coefficient's place and context.
pub(crate) type Tokens = [[Token; CONTEXTS]; 17];

/// The factors of a segment's coefficients, each for the first of a block and for the others (9.6, 14.1).
#[derive(Clone, Copy, Default)]
pub(crate) struct Factors {
    pub(crate) luma: [i32; 2],
    pub(crate) means: [i32; 2],
    pub(crate) chroma: [i32; 2],
}

/// The strength of the loop filter in a segment (9.3, 9.4).
#[derive(Clone, Copy, Default)]
pub(crate) struct Levels {
    /// Of macroblocks that are predicted as a whole.
    pub(crate) whole: u8,
    /// Of macroblocks whose subblocks are predicted one by one.
    pub(crate) split: u8,
}

/// What holds for a whole frame.
pub(crate) struct Frame<'a> {
    /// The rest of the first partition: how macroblocks are predicted.
    pub(crate) modes: Bools<'a>,
    /// The partitions with coefficients, which rows of macroblocks take in turns (9.5).
    pub(crate) partitions: Vec<Bools<'a>>,
    /// Probabilities for the segment of a macroblock, if it is coded (10).
    pub(crate) segments: Option<[u8; 3]>,
    pub(crate) factors: [Factors; 4],
    pub(crate) levels: [Levels; 4],
    pub(crate) is_filter_simple: bool,
    pub(crate) sharpness: u8,
    pub(crate) tokens: Box<[Tokens; KINDS]>,
    /// The probability that a macroblock has coefficients, if that is coded (9.11).
    pub(crate) coded: Option<u8>,
}

/// The size of a frame, and the length of its first partition.
pub(crate) struct Tag {
    pub(crate) width: u32,
    pub(crate) height: u32,
    first_partition: usize,
}

impl Tag {
    pub(crate) fn read(data: &[u8]) -> Result<Self> {
        let tag = data.first_chunk::<TAG_BYTES>().ok_or(Error::CutShort)?;
        let is_key_frame = tag[0] & 1 == 0;
        if !is_key_frame || tag[3..6] != [0x9d, 0x01, 0x2a] {
            return Err(Error::NotKeyFrame);
        }
        // The two highest bits say how a player should enlarge it.
        let side = |at: usize| u32::from(u16::from_le_bytes([tag[at], tag[at + 1]]) & 0x3fff);
        let first_partition = u32::from_le_bytes([tag[0], tag[1], tag[2], 0]) >> 5;
        let tag = Tag { width: side(6), height: side(8), first_partition: first_partition as usize };
        if tag.width == 0 || tag.height == 0 {
            return Err(Error::Damaged("a picture without pixels"));
        }
        Ok(tag)
    }
}

/// Adjustments of the quantiser and the loop filter for each segment (9.3).
#[derive(Default)]
struct Segments {
    /// Whether they are added to the frame's, instead of replacing them.
    is_relative: bool,
    quantisers: [i32; 4],
    levels: [i32; 4],
}

impl<'a> Frame<'a> {
    pub(crate) fn read(data: &'a [u8], tag: &Tag) -> Result<Self> {
        let rest = data.get(TAG_BYTES..).unwrap_or_default();
        let (first, rest) = rest.split_at_checked(tag.first_partition).ok_or(Error::CutShort)?;
        let mut bools = Bools::new(first);
        if bools.flag() {
            return Err(Error::Unsupported("a reserved color space"));
        }
        // Whether pixels need clamping (9.2). It does no harm if they don't.
        bools.flag();
        let mut map = None;
        let segments = bools.flag().then(|| read_segments(&mut bools, &mut map));
        let is_filter_simple = bools.flag();
        let level = i32::from(bools.number(6));
        let sharpness = bools.number(3);
        // For the reference frame and for the mode. Of each four, only the first applies to key frames.
        let mut adjustments = [0; 8];
        if bools.flag() && bools.flag() {
            adjustments.iter_mut().for_each(|value| *value = bools.optional(6).unwrap_or(0));
        }
        let count = 1 << bools.number(2);
        let partitions = partitions(rest, count)?;
        let quantiser = i32::from(bools.number(7));
        let deltas = [(); 5].map(|()| bools.optional(4).unwrap_or(0));
        // Whether probabilities hold for later frames (9.7).
        bools.flag();
        let tokens = read_tokens(&mut bools);
        let coded = bools.flag().then(|| bools.number(8));
        if bools.is_past_end() {
            return Err(Error::Damaged("a header that is longer than its partition"));
        }

        let of_segment = |frame: i32, of_segments: fn(&Segments) -> [i32; 4]| {
            [0, 1, 2, 3].map(|index: usize| match &segments {
                None => frame,
                Some(segments) if segments.is_relative => frame + of_segments(segments)[index],
                Some(segments) => of_segments(segments)[index],
            })
        };
        let quantisers = of_segment(quantiser, |segments| segments.quantisers);
        let levels = of_segment(level, |segments| segments.levels);
        Ok(Frame {
            modes: bools,
            partitions,
            segments: map,
            factors: quantisers.map(|quantiser| factors(quantiser, deltas)),
            levels: levels.map(|of_segment| {
                if level == 0 {
                    return Levels::default();
                }
                let whole = of_segment.clamp(0, 63) + adjustments[0];
                let split = whole + adjustments[4];
                Levels { whole: whole.clamp(0, 63) as u8, split: split.clamp(0, 63) as u8 }
            }),
            is_filter_simple,
            sharpness,
            tokens,
            coded,
        })
    }
}

fn read_segments(bools: &mut Bools, map: &mut Option<[u8; 3]>) -> Segments {
    let mut segments = Segments::default();
    let (has_map, has_values) = (bools.flag(), bools.flag());
    if has_values {
        segments.is_relative = !bools.flag();
        segments.quantisers = [(); 4].map(|()| bools.optional(7).unwrap_or(0));
        segments.levels = [(); 4].map(|()| bools.optional(6).unwrap_or(0));
    }
    if has_map {
        *map = Some([(); 3].map(|()| if bools.flag() { bools.number(8) } else { 255 }));
    }
    segments
}

/// Splits off the partitions with coefficients. The last one takes what is left.
fn partitions(data: &[u8], count: usize) -> Result<Vec<Bools<'_>>> {
    let (sizes, mut rest) = data.split_at_checked(3 * (count - 1)).ok_or(Error::CutShort)?;
    let mut partitions = Vec::with_capacity(count);
    for size in sizes.chunks_exact(3) {
        let size = u32::from_le_bytes([size[0], size[1], size[2], 0]) as usize;
        let (partition, after) = rest.split_at_checked(size).ok_or(Error::CutShort)?;
        partitions.push(Bools::new(partition));
        rest = after;
    }
    partitions.push(Bools::new(rest));
    Ok(partitions)
}

/// Source of the factors' bounds: RFC 6386, 20.4 (`dixie.c`).
fn factors(quantiser: i32, [luma, means, other_means, chroma, other_chroma]: [i32; 5]) -> Factors {
    let of = |table: &[i32; 128], delta: i32| table[(quantiser + delta).clamp(0, 127) as usize];
    Factors {
        luma: [of(&FIRST_FACTORS, luma), of(&OTHER_FACTORS, 0)],
        means: [2 * of(&FIRST_FACTORS, means), (of(&OTHER_FACTORS, other_means) * 155 / 100).max(8)],
        chroma: [of(&FIRST_FACTORS, chroma).min(132), of(&OTHER_FACTORS, other_chroma)],
    }
}

fn read_tokens(bools: &mut Bools) -> Box<[Tokens; KINDS]> {
    let mut table = DEFAULT_TOKENS;
    for (tokens, updates) in table.iter_mut().zip(&TOKEN_UPDATES) {
        for (token, &update) in tokens.iter_mut().zip(updates) {
            if bools.read(update) {
                *token = bools.number(8);
            }
        }
    }
    let of_place =
        |kind: usize, place: usize| [0, 1, 2].map(|context| table[row(kind, BAND[place], context)]);
    Box::new(std::array::from_fn(|kind| std::array::from_fn(|place| of_place(kind, place))))
}
