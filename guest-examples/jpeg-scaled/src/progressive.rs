//! Scans of progressive files: each adds to coefficients that stay in memory, of a block's corner only. Source: ITU-T
//! T.81, G.1.2 and G.2.

use std::rc::Rc;

use crate::bits::Bits;
use crate::huffman::{Coefficients, Differences, Found, Step, ZIGZAG, is_end};
use crate::idct;
use crate::plane::{Canvas, last_kept};
use crate::scan::Coder;
use crate::sequential::saturated;

/// The coefficients of a component.
pub(crate) struct Layer {
    /// Of each block, the corner of `side` x `side` coefficients is kept.
    side: usize,
    /// Number of blocks in a row.
    across: usize,
    /// Block by block, of each the corner row by row.
    coefficients: Vec<i16>,
    /// For each block, which coefficients aren't zero, those that aren't kept among them; the first one is the lowest
    /// bit. Empty where no scan asks.
    nonzero: Vec<u64>,
}

impl Layer {
    pub(crate) fn new(side: u32, (across, down): (u32, u32), history: bool) -> Self {
        let (side, across, down) = (side as usize, across as usize, down as usize);
        Layer {
            side,
            across,
            coefficients: vec![0; across * down * side * side],
            nonzero: if history { vec![0; across * down] } else { Vec::new() },
        }
    }

    /// Makes samples of the coefficients.
    pub(crate) fn into_canvas(self, quantisers: &[u16; 64]) -> Canvas {
        let Layer { side, across, coefficients, .. } = self;
        let down = coefficients.len() / (across * side * side);
        let mut canvas = Canvas::new(side as u32, (across as u32, down as u32));
        if side == 1 {
            for (sample, &coefficient) in canvas.samples.iter_mut().zip(&coefficients) {
                *sample = idct::mean(coefficient, quantisers[0]);
            }
            return canvas;
        }
        let mut block = [0; 64];
        for (index, corner) in coefficients.chunks_exact(side * side).enumerate() {
            for (to, from) in block.chunks_exact_mut(8).zip(corner.chunks_exact(side)) {
                to[..side].copy_from_slice(from);
            }
            let at = (index / across * canvas.stride + index % across) * side;
            idct::write(side, &block, quantisers, &mut canvas.samples[at..], canvas.stride);
        }
        canvas
    }

    /// The block at a column and row.
    #[inline(always)]
    fn block(&mut self, column: usize, row: usize) -> Block<'_> {
        let index = row * self.across + column;
        let size = self.side * self.side;
        Block {
            side: self.side,
            corner: &mut self.coefficients[index * size..(index + 1) * size],
            nonzero: self.nonzero.get_mut(index),
        }
    }
}

struct Block<'a> {
    side: usize,
    corner: &'a mut [i16],
    nonzero: Option<&'a mut u64>,
}

impl Block<'_> {
    /// The coefficient at `k` in zigzag order, if it is kept.
    #[inline(always)]
    fn kept(&mut self, k: u32) -> Option<&mut i16> {
        let place = usize::from(*ZIGZAG.get(k as usize)?);
        let (row, column) = (place >> 3, place & 7);
        if row < self.side && column < self.side {
            self.corner.get_mut(row * self.side + column)
        } else {
            None
        }
    }

    #[inline(always)]
    fn set(&mut self, k: u32, value: i32) {
        if let Some(kept) = self.kept(k) {
            *kept = saturated(value);
        }
        if let Some(nonzero) = &mut self.nonzero {
            **nonzero |= 1 << k;
        }
    }

    /// Reads a bit for each coefficient of a band that isn't zero, and where it is set, moves the coefficient away from
    /// zero by one at this position (G.1.2.3).
    fn correct(&mut self, bits: &mut Bits, band: u64, low: u32) {
        let mut rest = self.nonzero.as_ref().map_or(0, |nonzero| **nonzero) & band;
        while rest != 0 {
            let k = rest.trailing_zeros();
            if k > last_kept(self.side) {
                bits.skip(rest.count_ones());
                return;
            }
            let bit = bits.read(1);
            if let Some(kept) = self.kept(k).filter(|_| bit == 1) {
                let step = if *kept < 0 { -1 } else { 1 };
                *kept = saturated(i32::from(*kept) + (step << low));
            }
            rest &= rest - 1;
        }
    }
}

/// The first scan of a first coefficient (G.1.2.1).
pub(crate) struct FirstOfMeans<'a> {
    pub(crate) members: Vec<(&'a mut Layer, Rc<Differences>, i32)>,
    pub(crate) low: u32,
}

impl Coder for FirstOfMeans<'_> {
    fn restart(&mut self) {
        for (_, _, prediction) in &mut self.members {
            *prediction = 0;
        }
    }

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits, member: usize, column: usize, row: usize) -> Step<()> {
        let (layer, differences, prediction) = &mut self.members[member];
        let (difference, length) = differences.read(bits.window())?;
        bits.skip(length);
        *prediction = prediction.wrapping_add(difference);
        layer.block(column, row).corner[0] = saturated(i32::from(saturated(*prediction)) << self.low);
        Ok(())
    }
}

/// A later scan of a first coefficient: one bit each (G.1.2.1).
pub(crate) struct RefineMeans<'a> {
    pub(crate) members: Vec<&'a mut Layer>,
    pub(crate) low: u32,
}

impl Coder for RefineMeans<'_> {
    fn restart(&mut self) {}

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits, member: usize, column: usize, row: usize) -> Step<()> {
        let bit = bits.read(1);
        self.members[member].block(column, row).corner[0] |= (bit << self.low) as i16;
        Ok(())
    }
}

/// What scans of a band of other coefficients have in common.
pub(crate) struct Band<'a> {
    pub(crate) layer: &'a mut Layer,
    pub(crate) coefficients: Rc<Coefficients>,
    /// First and last coefficient in zigzag order.
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) low: u32,
    /// Number of blocks that follow without new coefficients in the band.
    pub(crate) empty_blocks: u32,
}

impl Band<'_> {
    /// The coefficients from `k` to the band's last one.
    fn from(&self, k: u32) -> u64 {
        if k > self.last { 0 } else { (u64::MAX << k) & (u64::MAX >> (63 - self.last)) }
    }
}

/// Reads how many blocks end here, this one counted (table G.1).
fn read_end(bits: &mut Bits, category: u32) -> u32 {
    (1 << category) + bits.read(category)
}

const BEYOND_BAND: &str = "coefficients beyond the end of a band";

/// The first scan of a band (G.1.2.2).
pub(crate) struct FirstOfBand<'a>(pub(crate) Band<'a>);

impl Coder for FirstOfBand<'_> {
    fn restart(&mut self) {
        self.0.empty_blocks = 0;
    }

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits, _: usize, column: usize, row: usize) -> Step<()> {
        let band = &mut self.0;
        if band.empty_blocks > 0 {
            band.empty_blocks -= 1;
            return Ok(());
        }
        let last = band.last;
        let mut block = band.layer.block(column, row);
        // What lies beyond is skipped.
        let asked = if block.nonzero.is_some() { last } else { last.min(last_kept(block.side)) };
        let mut k = band.first;
        while k <= last {
            if k > asked {
                k = band.coefficients.skip_several(bits, k, last + 1);
                if k > last {
                    return Ok(());
                }
            }
            let (zeros, value) = match band.coefficients.short(bits.window()) {
                Some((zeros, value, length)) => {
                    bits.skip(length);
                    (zeros, value)
                }
                None => match band.coefficients.one(bits)? {
                    Found::Coefficient(zeros, value) => (zeros, value),
                    Found::End(category) => {
                        band.empty_blocks = read_end(bits, category) - 1;
                        return Ok(());
                    }
                },
            };
            k += zeros;
            if k > last {
                return if is_end(zeros) { Ok(()) } else { Err(BEYOND_BAND) };
            }
            if value != 0 {
                block.set(k, value << band.low);
            }
            k += 1;
        }
        Ok(())
    }
}

/// A later scan of a band (G.1.2.3, figures G.7 to G.9).
pub(crate) struct RefineBand<'a>(pub(crate) Band<'a>);

impl Coder for RefineBand<'_> {
    fn restart(&mut self) {
        self.0.empty_blocks = 0;
    }

    fn block(&mut self, bits: &mut Bits, _: usize, column: usize, row: usize) -> Step<()> {
        let band = &mut self.0;
        let mut k = band.first;
        while band.empty_blocks == 0 && k <= band.last {
            let (mut zeros, new) = match band.coefficients.one(bits)? {
                Found::Coefficient(zeros, sign @ -1..=1) => (zeros, sign),
                Found::Coefficient(..) => {
                    return Err("a new coefficient of more than one bit in a scan that refines");
                }
                Found::End(category) => {
                    band.empty_blocks = read_end(bits, category);
                    break;
                }
            };
            let all = band.from(k);
            let (low, last) = (band.low, band.last);
            let mut block = band.layer.block(column, row);
            // Find the place after so many that are zero, and correct the others on the way.
            let mut free = all & !block.nonzero.as_ref().map_or(0, |nonzero| **nonzero);
            while zeros > 0 {
                free &= free.wrapping_sub(1);
                zeros -= 1;
            }
            let place = free.trailing_zeros();
            if place > last {
                return Err(BEYOND_BAND);
            }
            block.correct(bits, all & !(u64::MAX << place), low);
            if new != 0 {
                block.set(place, new << low);
            }
            k = place + 1;
        }
        if band.empty_blocks > 0 {
            let rest = band.from(k);
            let low = band.low;
            band.layer.block(column, row).correct(bits, rest, low);
            band.empty_blocks -= 1;
        }
        Ok(())
    }
}
