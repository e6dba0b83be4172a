//! Scans of baseline and extended sequential files: each block is whole, so that it becomes samples at once. Source:
//! ITU-T T.81, F.2.

use std::rc::Rc;

use crate::bits::Bits;
use crate::huffman::{Coefficients, Differences, Step};
use crate::idct;
use crate::plane::{Canvas, last_kept};
use crate::scan::Coder;

/// A member of the scan.
pub(crate) struct Target<'a> {
    pub(crate) canvas: &'a mut Canvas,
    pub(crate) quantisers: [u16; 64],
    pub(crate) differences: Rc<Differences>,
    pub(crate) coefficients: Rc<Coefficients>,
    pub(crate) prediction: i32,
}

pub(crate) struct Sequential<'a> {
    pub(crate) targets: Vec<Target<'a>>,
}

impl Coder for Sequential<'_> {
    fn restart(&mut self) {
        for target in &mut self.targets {
            target.prediction = 0;
        }
    }

    #[inline(always)]
    fn block(&mut self, bits: &mut Bits, member: usize, column: usize, row: usize) -> Step<()> {
        let target = &mut self.targets[member];
        let (difference, length) = target.differences.read(bits.window())?;
        bits.skip(length);
        target.prediction = target.prediction.wrapping_add(difference);
        let first = saturated(target.prediction);
        let canvas = &mut *target.canvas;
        let at = (row * canvas.stride + column) * canvas.side;
        if canvas.side == 1 {
            target.coefficients.skip(bits, 1)?;
            canvas.samples[at] = idct::mean(first, target.quantisers[0]);
            return Ok(());
        }
        let mut block = [0; 64];
        let plain = target.coefficients.read(bits, last_kept(canvas.side), &mut block)?;
        block[0] = first;
        let to = &mut canvas.samples[at..];
        if plain {
            idct::fill(canvas.side, idct::mean(first, target.quantisers[0]), to, canvas.stride);
        } else {
            idct::write(canvas.side, &block, &target.quantisers, to, canvas.stride);
        }
        Ok(())
    }
}

/// Damage can add up to predictions that no coefficient has.
#[inline(always)]
pub(crate) fn saturated(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}
