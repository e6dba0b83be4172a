//! Writes VP8 key frames of random content, with every feature that a key frame can have. Source: RFC 6386, 7, 9 to 11, 13
//! and 19.2.

use super::Random;
use super::tables::{DEFAULT_TOKENS, SUBBLOCK_MODES, TOKEN_UPDATES, TOKENS, Token, row};

/// The arithmetic coder (7.3).
pub struct Coder {
    bytes: Vec<u8>,
    range: u32,
    bottom: u32,
    bits: i32,
}

impl Coder {
    pub fn new() -> Self {
        Coder { bytes: Vec::new(), range: 255, bottom: 0, bits: 24 }
    }

    pub fn write(&mut self, probability: u8, is_set: bool) {
        let split = 1 + (((self.range - 1) * u32::from(probability)) >> 8);
        if is_set {
            self.bottom += split;
            self.range -= split;
        } else {
            self.range = split;
        }
        while self.range < 128 {
            self.range <<= 1;
            self.shift();
        }
    }

    fn carry(&mut self) {
        for byte in self.bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                break;
            }
        }
    }

    fn shift(&mut self) {
        if self.bottom & 1 << 31 != 0 {
            self.carry();
        }
        self.bottom <<= 1;
        self.bits -= 1;
        if self.bits == 0 {
            self.bytes.push((self.bottom >> 24) as u8);
            self.bottom &= 0xff_ffff;
            self.bits = 8;
        }
    }

    pub fn flag(&mut self, is_set: bool) {
        self.write(128, is_set);
    }

    pub fn number(&mut self, bits: u32, number: u32) {
        (0..bits).rev().for_each(|bit| self.flag(number >> bit & 1 == 1));
    }

    /// A number and its sign, or nothing.
    pub fn optional(&mut self, bits: u32, number: Option<i32>) {
        self.flag(number.is_some());
        if let Some(number) = number {
            self.number(bits, number.unsigned_abs());
            self.flag(number < 0);
        }
    }

    /// Writes a leaf of a tree, which is given by the decisions that lead to it: a probability and a direction each.
    fn path(&mut self, path: &[(u8, bool)]) {
        path.iter().for_each(|&(probability, is_set)| self.write(probability, is_set));
    }

    pub fn finish(mut self) -> Vec<u8> {
        (0..32).for_each(|_| self.shift());
        self.bytes
    }
}

/// What a frame is made of: a field for each choice of the format. All else is random.
#[derive(Clone, Debug)]
pub struct Settings {
    pub width: u32,
    pub height: u32,
    pub is_simple: bool,
    pub level: u32,
    pub sharpness: u32,
    pub has_segments: bool,
    pub has_adjustments: bool,
    /// The logarithm of the number of partitions.
    pub partitions: u32,
    pub quantiser: u32,
    pub can_skip: bool,
    pub has_updates: bool,
    /// How many of a hundred macroblocks have predicted subblocks.
    pub split: u32,
    /// The largest magnitude of a coefficient before it is multiplied.
    pub magnitude: u32,
    /// How many of a hundred blocks have coefficients.
    pub coded: u32,
    pub seed: u64,
}

impl Settings {
    pub fn random(random: &mut Random) -> Self {
        let quantiser = if random.chance(30) { random.below(20) } else { random.below(128) };
        // Decoders may differ where products don't fit into 16 bits.
        let largest_factor = (1.55 * (4.0 + 2.21 * f64::from(quantiser + 15))) as u32 + 8;
        let most = (6_000 / largest_factor).min(2_048);
        let magnitude = [1, 2, 4, most][random.below(4) as usize].min(most);
        Settings {
            width: 1 + random.below(70),
            height: 1 + random.below(70),
            is_simple: random.chance(30),
            level: if random.chance(15) { 0 } else { random.below(64) },
            sharpness: random.below(8),
            has_segments: random.chance(50),
            has_adjustments: random.chance(40),
            partitions: random.below(4),
            quantiser,
            can_skip: random.chance(60),
            has_updates: random.chance(50),
            split: [0, 30, 60, 100][random.below(4) as usize],
            magnitude,
            coded: [5, 30, 70][random.below(3) as usize],
            seed: random.next() | 1,
        }
    }
}

/// Probabilities for tokens.
type Tokens = [Token; TOKENS];

const BANDS: [usize; 16] = [0, 1, 2, 3, 6, 4, 5, 6, 6, 6, 6, 6, 6, 6, 6, 7];

/// Which blocks of a macroblock's edge have coefficients: luma, U, V, and the means of luma.
type Coded = [u8; 9];

/// Writes a frame. It is a long function because it follows the format's own order, part by part.
pub fn frame(settings: &Settings) -> Vec<u8> {
    let mut random = Random(settings.seed);
    let mut coder = Coder::new();
    // Color space and clamping.
    coder.flag(false);
    coder.flag(random.chance(50));
    coder.flag(settings.has_segments);
    let mut map = None;
    if settings.has_segments {
        map = random.chance(80).then(|| [(); 3].map(|()| random.below(256) as u8));
        let has_values = random.chance(80);
        coder.flag(map.is_some());
        coder.flag(has_values);
        if has_values {
            let is_absolute = random.chance(50);
            coder.flag(is_absolute);
            for _ in 0..4 {
                // None is larger than the frame's, so that coefficients stay in their range.
                let value = random.below(settings.quantiser + 1) as i32;
                coder.optional(7, random.chance(80).then_some(if is_absolute { value } else { -value }));
            }
            for _ in 0..4 {
                let value = random.around(63);
                coder.optional(6, random.chance(80).then_some(value));
            }
        }
        for probability in map.iter().flatten() {
            coder.flag(true);
            coder.number(8, u32::from(*probability));
        }
    }
    coder.flag(settings.is_simple);
    coder.number(6, settings.level);
    coder.number(3, settings.sharpness);
    coder.flag(settings.has_adjustments);
    if settings.has_adjustments {
        let is_updated = random.chance(80);
        coder.flag(is_updated);
        if is_updated {
            for _ in 0..8 {
                let value = random.around(40);
                coder.optional(6, random.chance(60).then_some(value));
            }
        }
    }
    coder.number(2, settings.partitions);
    coder.number(7, settings.quantiser);
    for _ in 0..5 {
        let value = random.around(15);
        coder.optional(4, random.chance(30).then_some(value));
    }
    coder.flag(random.chance(50));
    let mut tokens = DEFAULT_TOKENS;
    for (token, &update) in tokens.as_flattened_mut().iter_mut().zip(TOKEN_UPDATES.as_flattened()) {
        let is_updated = settings.has_updates && random.chance(5);
        coder.write(update, is_updated);
        if is_updated {
            *token = random.below(256) as u8;
            coder.number(8, u32::from(*token));
        }
    }
    let skip = settings.can_skip.then(|| 1 + random.below(255) as u8);
    coder.flag(skip.is_some());
    if let Some(probability) = skip {
        coder.number(8, u32::from(probability));
    }

    let (columns, rows) = (settings.width.div_ceil(16) as usize, settings.height.div_ceil(16) as usize);
    let mut partitions: Vec<Coder> = (0..1 << settings.partitions).map(|_| Coder::new()).collect();
    let mut above_modes = vec![[0; 4]; columns];
    let mut above_coded = vec![[0; 9]; columns];
    for y in 0..rows {
        let partition = &mut partitions[y % (1 << settings.partitions)];
        let (mut left_modes, mut left_coded) = ([0; 4], [0; 9]);
        for x in 0..columns {
            if let Some([root, low, high]) = map {
                let segment = random.below(4);
                coder.write(root, segment >= 2);
                coder.write(if segment >= 2 { high } else { low }, segment & 1 == 1);
            }
            let is_skipped = skip.is_some() && random.chance(30);
            if let Some(probability) = skip {
                coder.write(probability, is_skipped);
            }
            let is_split = random.chance(settings.split);
            let (above, left) = (&mut above_modes[x], &mut left_modes);
            write_modes(&mut coder, &mut random, is_split, (above, left));
            let coded = (&mut above_coded[x], &mut left_coded);
            if is_skipped {
                for coded in [coded.0, coded.1] {
                    let means = coded[8];
                    *coded = [0; 9];
                    coded[8] = if is_split { means } else { 0 };
                }
            } else {
                write_coefficients(partition, &mut random, settings, &tokens, is_split, coded);
            }
        }
    }

    let first = coder.finish();
    let partitions: Vec<Vec<u8>> = partitions.into_iter().map(Coder::finish).collect();
    let tag = (first.len() as u32) << 5 | 1 << 4;
    let mut file = tag.to_le_bytes()[..3].to_vec();
    file.extend([0x9d, 0x01, 0x2a]);
    // The two highest bits are for players.
    file.extend((settings.width as u16 | (random.below(4) as u16) << 14).to_le_bytes());
    file.extend((settings.height as u16 | (random.below(4) as u16) << 14).to_le_bytes());
    file.extend(first);
    for partition in &partitions[..partitions.len() - 1] {
        file.extend(&(partition.len() as u32).to_le_bytes()[..3]);
    }
    file.extend(partitions.concat());
    file
}

fn write_modes(
    coder: &mut Coder,
    random: &mut Random,
    is_split: bool,
    (above, left): (&mut [usize; 4], &mut [usize; 4]),
) {
    coder.write(145, !is_split);
    if is_split {
        for left in left {
            for above in above.iter_mut() {
                let mode = random.below(10) as usize;
                let p = SUBBLOCK_MODES[*above * 10 + *left];
                let path: &[usize] = SUBBLOCK_PATHS[mode];
                // A node, and twice as much and one more where the path goes to the right.
                path.iter().for_each(|&step| coder.write(p[step / 2], step % 2 == 1));
                (*above, *left) = (mode, mode);
            }
        }
    } else {
        let mode = random.below(4) as usize;
        coder.write(156, mode >= 2);
        coder.write(if mode >= 2 { 128 } else { 163 }, mode & 1 == 1);
        // Mean, vertical, horizontal and motion, as the modes of subblocks are numbered.
        let mode = [0, 2, 3, 1][mode];
        (*above, *left) = ([mode; 4], [mode; 4]);
    }
    match random.below(4) {
        0 => coder.path(&[(142, false)]),
        1 => coder.path(&[(142, true), (114, false)]),
        2 => coder.path(&[(142, true), (114, true), (183, false)]),
        _ => coder.path(&[(142, true), (114, true), (183, true)]),
    }
}

/// The paths through the tree of subblock modes (11.2): twice the number of a node, and one more for a step to the right.
const SUBBLOCK_PATHS: [&[usize]; 10] = [
    &[0],
    &[1, 2],
    &[1, 3, 4],
    &[1, 3, 5, 6, 8],
    &[1, 3, 5, 7, 12],
    &[1, 3, 5, 6, 9, 10],
    &[1, 3, 5, 6, 9, 11],
    &[1, 3, 5, 7, 13, 14],
    &[1, 3, 5, 7, 13, 15, 16],
    &[1, 3, 5, 7, 13, 15, 17],
];

fn write_coefficients(
    coder: &mut Coder,
    random: &mut Random,
    settings: &Settings,
    tokens: &Tokens,
    is_split: bool,
    (above, left): (&mut Coded, &mut Coded),
) {
    let mut block = |kind: usize, first: usize, above: &mut u8, left: &mut u8| {
        let is_coded = write_block(coder, random, settings, tokens, kind, first, usize::from(*above + *left));
        (*above, *left) = (u8::from(is_coded), u8::from(is_coded));
    };
    if !is_split {
        block(1, 0, &mut above[8], &mut left[8]);
    }
    let (kind, first) = if is_split { (3, 0) } else { (0, 1) };
    for (kind, first, range) in [(kind, first, 0..4), (2, 0, 4..6), (2, 0, 6..8)] {
        for left in &mut left[range.clone()] {
            above[range.clone()].iter_mut().for_each(|above| block(kind, first, above, left));
        }
    }
}

/// Returns whether the block has tokens other than the end.
fn write_block(
    coder: &mut Coder,
    random: &mut Random,
    settings: &Settings,
    tokens: &Tokens,
    kind: usize,
    first: usize,
    mut context: usize,
) -> bool {
    let end =
        if random.chance(settings.coded) { first + random.below(17 - first as u32) as usize } else { first };
    let mut after_zero = false;
    for place in first..16 {
        let p = tokens[row(kind, BANDS[place], context)];
        if place >= end && !after_zero {
            coder.write(p[0], false);
            return place > first;
        }
        if !after_zero {
            coder.write(p[0], true);
        }
        // Zeros may even end a block, although no encoder would write them.
        let is_zero = random.chance(40);
        coder.write(p[1], !is_zero);
        after_zero = is_zero;
        if is_zero {
            context = 0;
            continue;
        }
        let value = 1 + random.below(settings.magnitude);
        write_value(coder, &p, value);
        coder.flag(random.chance(50));
        context = if value == 1 { 1 } else { 2 };
    }
    true
}

/// Ranges of values: the least, the path to it, and the probabilities of what is added.
fn write_value(coder: &mut Coder, p: &[u8; 11], value: u32) {
    let mut range = |least: u32, path: &[(usize, bool)], rest: &[u8]| {
        path.iter().for_each(|&(node, is_set)| coder.write(p[node], is_set));
        for (bit, &probability) in (0..rest.len()).rev().zip(rest) {
            coder.write(probability, (value - least) >> bit & 1 == 1);
        }
    };
    match value {
        1 => range(1, &[(2, false)], &[]),
        2 => range(2, &[(2, true), (3, false), (4, false)], &[]),
        3 => range(3, &[(2, true), (3, false), (4, true), (5, false)], &[]),
        4 => range(4, &[(2, true), (3, false), (4, true), (5, true)], &[]),
        5..7 => range(5, &[(2, true), (3, true), (6, false), (7, false)], &[159]),
        7..11 => range(7, &[(2, true), (3, true), (6, false), (7, true)], &[165, 145]),
        11..19 => range(11, &[(2, true), (3, true), (6, true), (8, false), (9, false)], &[173, 148, 140]),
        19..35 => range(19, &[(2, true), (3, true), (6, true), (8, false), (9, true)], &[176, 155, 140, 135]),
        35..67 => {
            range(35, &[(2, true), (3, true), (6, true), (8, true), (10, false)], &[180, 157, 141, 134, 130])
        }
        _ => range(
            67,
            &[(2, true), (3, true), (6, true), (8, true), (10, true)],
            &[254, 254, 243, 230, 196, 177, 153, 140, 133, 130, 129],
        ),
    }
}
