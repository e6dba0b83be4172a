//! Decodes a frame, row by row of macroblocks.

use crate::error::{Error, Result};
use crate::filter::{Filtering, Strength};
use crate::header::{Factors, Frame, Tag};
use crate::modes::{Luma, Macroblock, SubblockMode};
use crate::plane::{Canvases, Planes};
use crate::predict::{self, ABOVE, Area, CHROMA, LEFT, LUMA, Neighbours, STRIDE};
use crate::tokens::{self, Block};
use crate::{Options, Scale, transform};

/// Side of a macroblock in samples of luma.
const SIDE: u32 = 16;

/// What a frame says about its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    width: u32,
    height: u32,
}

impl Header {
    /// Reads the header of a frame: the content of a chunk `VP8 ` of a WebP file.
    ///
    /// # Errors
    ///
    /// The data isn't a VP8 key frame, or has no pixels.
    pub fn read(data: &[u8]) -> Result<Self> {
        let Tag { width, height, .. } = Tag::read(data)?;
        Ok(Header { width, height })
    }

    /// Width at full size in pixels, from 1 to 16,383.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height at full size in pixels, from 1 to 16,383.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Width and height at a scale: full size over 8, 4, 2 or 1, rounded up.
    #[must_use]
    pub fn size(&self, scale: Scale) -> (u32, u32) {
        (self.width.div_ceil(scale.divisor()), self.height.div_ceil(scale.divisor()))
    }

    /// Memory that [`decode`] takes at most, in bytes: its result counts, the data doesn't.
    #[must_use]
    pub fn memory_bytes(&self, scale: Scale) -> u64 {
        let (width, height) = self.size(scale);
        let luma = u64::from(width) * u64::from(height);
        let columns = u64::from(self.width.div_ceil(SIDE));
        // Three planes, or color at half the resolution; two rows of macroblocks, and what is known of one; the
        // tables. Smoothing color at a half takes three bytes for each of its columns.
        let planes = if scale == Scale::Full {
            luma + 2 * u64::from(width.div_ceil(2)) * u64::from(height.div_ceil(2))
        } else {
            3 * luma
        };
        let rows = columns * (2 * 384 + size_of::<Column>() + size_of::<Strength>()) as u64;
        planes + rows + 3 * u64::from(width) + TABLES_BYTES
    }
}

/// Memory for tables of probabilities and for the partitions.
const TABLES_BYTES: u64 = 4096;

/// What is known of a column of macroblocks: the last one of it.
#[derive(Clone)]
struct Column {
    /// The modes of its lowest subblocks.
    modes: [SubblockMode; 4],
    coded: Coded,
    /// Its lowest samples.
    luma: [u8; 16],
    chroma: [[u8; 8]; 2],
}

/// Which blocks at an edge of a macroblock have coefficients: 0 or 1 for each.
#[derive(Clone, Copy, Default)]
struct Coded {
    luma: [u8; 4],
    chroma: [[u8; 2]; 2],
    means: u8,
}

/// The coefficients of a macroblock: 16 blocks of luma, and four each of U and V.
struct Residue {
    blocks: [Block; 24],
    /// Where the coefficients of a block end.
    ends: [u8; 24],
}

/// Decodes a frame: the content of a chunk `VP8 ` of a WebP file.
///
/// # Errors
///
/// The data isn't a VP8 key frame, is cut short or damaged, or exceeds a limit.
pub fn decode(data: &[u8], options: &Options) -> Result<Planes> {
    let tag = Tag::read(data)?;
    let header = Header { width: tag.width, height: tag.height };
    let pixels = u64::from(tag.width) * u64::from(tag.height);
    if pixels > options.limits.pixels {
        return Err(Error::TooManyPixels { pixels, limit: options.limits.pixels });
    }
    let needed = header.memory_bytes(options.scale);
    if needed > options.limits.memory_bytes {
        return Err(Error::TooMuchMemory { needed, limit: options.limits.memory_bytes });
    }
    let frame = Frame::read(data, &tag)?;
    let canvases = Canvases::new((tag.width, tag.height), options.scale);
    let columns = tag.width.div_ceil(SIDE) as usize;
    let rows = tag.height.div_ceil(SIDE) as usize;
    let is_filtered =
        options.scale.is_filtered() && frame.levels.iter().any(|levels| levels.whole > 0 || levels.split > 0);
    let filtering = is_filtered.then(|| Filtering::new(columns, &frame));
    Decoder::new(frame, canvases, columns, filtering).decode(rows)
}

struct Decoder<'a> {
    frame: Frame<'a>,
    canvases: Canvases,
    filtering: Option<Filtering>,
    columns: Vec<Column>,
    /// The modes of the subblocks to the left, and which blocks have coefficients.
    left: ([SubblockMode; 4], Coded),
    area: Area,
    residue: Residue,
}

impl<'a> Decoder<'a> {
    fn new(frame: Frame<'a>, canvases: Canvases, columns: usize, filtering: Option<Filtering>) -> Self {
        let (modes, coded) = ([SubblockMode::Mean; 4], Coded::default());
        let column = Column { modes, coded, luma: [ABOVE; 16], chroma: [[ABOVE; 8]; 2] };
        Decoder {
            frame,
            canvases,
            filtering,
            columns: vec![column; columns],
            left: (modes, coded),
            area: [0; 26 * STRIDE],
            residue: Residue { blocks: [[0; 16]; 24], ends: [0; 24] },
        }
    }

    fn decode(mut self, rows: usize) -> Result<Planes> {
        for y in 0..rows {
            self.left = ([SubblockMode::Mean; 4], Coded::default());
            let partition = y % self.frame.partitions.len();
            for x in 0..self.columns.len() {
                self.macroblock((x, y), partition);
            }
            if self.frame.modes.is_past_end() || self.frame.partitions[partition].is_past_end() {
                return Err(Error::Damaged("a partition that ends before its last macroblock"));
            }
            if let Some(filtering) = &mut self.filtering {
                filtering.filter(y, &mut self.canvases);
                if y + 1 < rows {
                    filtering.advance();
                } else {
                    filtering.put(y, &mut self.canvases, true);
                }
            }
        }
        Ok(self.canvases.into_planes())
    }

    fn macroblock(&mut self, (x, y): (usize, usize), partition: usize) {
        self.surround((x, y));
        let column = &mut self.columns[x];
        let macroblock = Macroblock::read(&mut self.frame, &mut column.modes, &mut self.left.0);
        let is_split = matches!(macroblock.luma, Luma::Split(_));
        let mut is_coded = false;
        if macroblock.has_coefficients {
            let factors = self.frame.factors[macroblock.segment];
            is_coded = self.residue.read(
                &mut self.frame,
                partition,
                &factors,
                is_split,
                (&mut column.coded, &mut self.left.1),
            );
        } else {
            for coded in [&mut column.coded, &mut self.left.1] {
                // What has no means says nothing about those of its neighbours.
                *coded = Coded { means: if is_split { coded.means } else { 0 }, ..Coded::default() };
            }
        }
        let area = &mut self.area;
        let neighbours = Neighbours { above: y > 0, left: x > 0 };
        reconstruct(area, &macroblock, neighbours, is_coded.then_some(&mut self.residue));
        column.luma.copy_from_slice(&area[LUMA + 15 * STRIDE..][..16]);
        for (chroma, at) in column.chroma.iter_mut().zip(CHROMA) {
            chroma.copy_from_slice(&area[at + 7 * STRIDE..][..8]);
        }
        match &mut self.filtering {
            Some(filtering) => {
                let levels = self.frame.levels[macroblock.segment];
                let level = if is_split { levels.split } else { levels.whole };
                filtering.store(x, area, Strength { level, is_inner: is_split || is_coded });
            }
            None => {
                self.canvases.luma.put((x, y), &area[LUMA..], STRIDE);
                for (canvas, at) in self.canvases.chroma.iter_mut().zip(CHROMA) {
                    canvas.put((x, y), &area[at..], STRIDE);
                }
            }
        }
    }

    /// Puts into the area what is above and to the left of a macroblock. The area still holds the one to the left.
    fn surround(&mut self, (x, y): (usize, usize)) {
        let area = &mut self.area;
        let planes = [(LUMA, 16), (CHROMA[0], 8), (CHROMA[1], 8)];
        if x > 0 {
            for (at, side) in planes {
                for line in 0..=side {
                    let start = at + line * STRIDE - STRIDE;
                    area[start - 1] = area[start + side - 1];
                }
            }
        } else {
            for (at, side) in planes {
                area[at - STRIDE - 1] = if y == 0 { ABOVE } else { LEFT };
                (0..side).for_each(|line| area[at + line * STRIDE - 1] = LEFT);
            }
        }
        let column = &self.columns[x];
        area[LUMA - STRIDE..][..16].copy_from_slice(&column.luma);
        for (chroma, at) in column.chroma.iter().zip(CHROMA) {
            area[at - STRIDE..][..8].copy_from_slice(chroma);
        }
        // All subblocks on the right have the same samples above and to the right of them: those above the macroblock.
        let right = match self.columns.get(x + 1) {
            Some(next) => [next.luma[0], next.luma[1], next.luma[2], next.luma[3]],
            None => [column.luma[15]; 4],
        };
        for line in [0, 4, 8, 12] {
            area[LUMA + 16 + line * STRIDE - STRIDE..][..4].copy_from_slice(&right);
        }
    }
}

/// Predicts a macroblock in the area, and adds what its coefficients mean, if it has any.
fn reconstruct(
    area: &mut Area,
    macroblock: &Macroblock,
    neighbours: Neighbours,
    mut residue: Option<&mut Residue>,
) {
    match macroblock.luma {
        Luma::Whole(mode) => {
            predict::whole::<16>(area, LUMA, mode, neighbours);
            if let Some(residue) = &mut residue {
                (0..16).for_each(|index| residue.add(area, index, luma_at(index)));
            }
        }
        Luma::Split(modes) => {
            for (index, mode) in modes.into_iter().enumerate() {
                let at = luma_at(index);
                predict::subblock(area, at, mode);
                if let Some(residue) = &mut residue {
                    residue.add(area, index, at);
                }
            }
        }
    }
    for (plane, at) in CHROMA.into_iter().enumerate() {
        predict::whole::<8>(area, at, macroblock.chroma, neighbours);
        if let Some(residue) = &mut residue {
            for index in 0..4 {
                let at = at + index / 2 * 4 * STRIDE + index % 2 * 4;
                residue.add(area, 16 + 4 * plane + index, at);
            }
        }
    }
}

/// Where a subblock of luma begins.
#[inline(always)]
fn luma_at(index: usize) -> usize {
    LUMA + index / 4 * 4 * STRIDE + index % 4 * 4
}

impl Residue {
    /// Reads the coefficients of a macroblock. Returns whether there are any.
    fn read(
        &mut self,
        frame: &mut Frame<'_>,
        partition: usize,
        factors: &Factors,
        is_split: bool,
        (above, left): (&mut Coded, &mut Coded),
    ) -> bool {
        let (bools, kinds) = (&mut frame.partitions[partition], &frame.tokens);
        let mut is_coded = false;
        let mut first = 0;
        if !is_split {
            let mut block = [0; 16];
            let context = usize::from(above.means + left.means);
            let end = tokens::read(bools, &kinds[1], context, 0, factors.means, &mut block);
            (above.means, left.means) = (u8::from(end > 0), u8::from(end > 0));
            if end > 0 {
                for (block, mean) in self.blocks.iter_mut().zip(transform::means(&block)) {
                    block[0] = mean;
                    is_coded |= mean != 0;
                }
            }
            first = 1;
        }
        let tokens = if is_split { &kinds[3] } else { &kinds[0] };
        for (row, left) in left.luma.iter_mut().enumerate() {
            for (column, above) in above.luma.iter_mut().enumerate() {
                let index = 4 * row + column;
                let context = usize::from(*above + *left);
                let end = tokens::read(bools, tokens, context, first, factors.luma, &mut self.blocks[index]);
                self.ends[index] = end as u8;
                (*above, *left) = (u8::from(end > first), u8::from(end > first));
                is_coded |= end > first;
            }
        }
        for (plane, (above, left)) in above.chroma.iter_mut().zip(&mut left.chroma).enumerate() {
            for (row, left) in left.iter_mut().enumerate() {
                for (column, above) in above.iter_mut().enumerate() {
                    let index = 16 + 4 * plane + 2 * row + column;
                    let context = usize::from(*above + *left);
                    let block = &mut self.blocks[index];
                    let end = tokens::read(bools, &kinds[2], context, 0, factors.chroma, block);
                    self.ends[index] = end as u8;
                    (*above, *left) = (u8::from(end > 0), u8::from(end > 0));
                    is_coded |= end > 0;
                }
            }
        }
        is_coded
    }

    /// Adds what a block's coefficients mean to the predicted samples, and clears them.
    #[inline(always)]
    fn add(&mut self, area: &mut Area, index: usize, at: usize) {
        let block = &mut self.blocks[index];
        if self.ends[index] > 1 {
            transform::add::<STRIDE>(block, area, at);
            *block = [0; 16];
        } else if block[0] != 0 {
            transform::add_first::<STRIDE>(block[0], area, at);
            block[0] = 0;
        }
    }
}
