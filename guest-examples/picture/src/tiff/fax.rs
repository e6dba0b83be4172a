//! Expands bilevel rows in the codes of fax machines. The tables of codes are those of the crate `fax`.
//! Source: ITU-T T.4, 4.1 and 4.2; ITU-T T.6, 2.2; TIFF 6.0, sections 10 and 11.

use std::convert::Infallible;

use fax::maps::{Mode, black, mode, white};
use fax::{BitReader, ByteReader};

/// The variants of the codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fax {
    /// Runs of one row. Each row begins a byte.
    Rle,
    /// Group 3: runs of one row, or of changes from the row before, each after an end-of-line code.
    Group3 { two_dimensional: bool },
    /// Group 4: changes from the row before.
    Group4,
}

/// Writes rows of `width` pixels, one bit each and black set. Returns the number of bytes that are filled.
pub(super) fn expand(data: &[u8], width: u32, fax: Fax, out: &mut [u8]) -> usize {
    let row_bytes = (width as usize).div_ceil(8);
    // The tables look ahead.
    let padded = data.iter().copied().chain([0; 4]).map(Ok::<u8, Infallible>);
    let Ok(reader) = ByteReader::new(padded);
    let mut rows = Rows { reader, width, before: Vec::new(), changes: Vec::new(), is_ended: false };
    let mut filled = 0;
    for row in out.chunks_exact_mut(row_bytes) {
        if rows.next(fax).is_none() {
            break;
        }
        row.fill(0);
        for black in rows.changes.chunks(2).filter(|pair| !pair.is_empty()) {
            let end = black.get(1).copied().unwrap_or(width).min(width);
            set_bits(row, black[0].min(end) as usize, end as usize);
        }
        filled += row_bytes;
    }
    if rows.is_ended {
        // Some programs leave out white rows at the end.
        out[filled..].fill(0);
        filled = out.len();
    }
    filled
}

/// Sets the bits from `start` to before `end`, the first one highest.
fn set_bits(row: &mut [u8], start: usize, end: usize) {
    let mut at = start;
    while at < end {
        if at.is_multiple_of(8) && end - at >= 8 {
            row[at / 8] = 0xff;
            at += 8;
        } else {
            row[at / 8] |= 0x80 >> (at % 8);
            at += 1;
        }
    }
}

struct Rows<R> {
    reader: ByteReader<R>,
    width: u32,
    /// Where the colour changes in the row before. The first change is to black.
    before: Vec<u32>,
    changes: Vec<u32>,
    /// The code for the end of all rows was read.
    is_ended: bool,
}

impl<R: Iterator<Item = Result<u8, Infallible>>> Rows<R> {
    /// Reads the changes of the next row. Returns nothing at the end, and where the codes are invalid.
    fn next(&mut self, fax: Fax) -> Option<()> {
        std::mem::swap(&mut self.before, &mut self.changes);
        self.changes.clear();
        match fax {
            Fax::Rle => {
                self.one_dimensional()?;
                let skipped = self.reader.bits_to_byte_boundary();
                self.take(skipped);
                Some(())
            }
            Fax::Group3 { two_dimensional } => {
                let is_end_of_line = self.skip_end_of_line();
                // Where rows may be of two kinds, a bit behind the end-of-line code says of which the next one is.
                let mut is_coded_alone = true;
                if two_dimensional && is_end_of_line {
                    is_coded_alone = self.reader.peek(1)? == 1;
                    self.take(1);
                }
                if is_coded_alone { self.one_dimensional() } else { self.two_dimensional() }
            }
            Fax::Group4 => self.two_dimensional(),
        }
    }

    fn take(&mut self, bits: u8) {
        let Ok(()) = self.reader.consume(bits);
    }

    /// Skips an end-of-line code: at least eleven zeros and a one. No other code begins so.
    fn skip_end_of_line(&mut self) -> bool {
        if self.reader.peek(11) != Some(0) {
            return false;
        }
        while self.reader.peek(1) == Some(0) {
            self.take(1);
        }
        self.take(1);
        true
    }

    fn run(&mut self, is_black: bool) -> Option<u32> {
        let mut run = 0_u32;
        loop {
            let part =
                if is_black { black::decode(&mut self.reader) } else { white::decode(&mut self.reader) };
            let part = u32::from(part?);
            run = run.saturating_add(part).min(self.width);
            if part < 64 {
                return Some(run);
            }
        }
    }

    fn change(&mut self, at: u32) -> Option<u32> {
        let at = at.min(self.width);
        self.changes.push(at);
        // Runs without length may be many, but not more than pixels.
        (self.changes.len() as u64 <= 2 * u64::from(self.width) + 4).then_some(at)
    }

    fn one_dimensional(&mut self) -> Option<()> {
        let (mut at, mut is_black) = (0, false);
        while at < self.width {
            let run = self.run(is_black)?;
            at = self.change(at.saturating_add(run))?;
            is_black = !is_black;
        }
        Some(())
    }

    fn two_dimensional(&mut self) -> Option<()> {
        // Before the first pixel there is an imaginary white one.
        let mut at = None;
        let mut is_black = false;
        let mut index = 0_usize;
        while at.unwrap_or(0) < self.width {
            // b1: the first change of the row before, right of here, to the other colour. Each second change is.
            index = index.saturating_sub(2) & !1 | usize::from(is_black);
            while self.before.get(index).is_some_and(|&change| at.is_some_and(|at| change <= at)) {
                index += 2;
            }
            let change_before = |index: usize| self.before.get(index).copied().unwrap_or(self.width);
            let (b1, b2) = (change_before(index), change_before(index + 1));
            let here = at.unwrap_or(0);
            // Half of the code for the end. The table takes more for it than it is.
            if self.reader.peek(12) == Some(1) {
                self.is_ended = true;
                return None;
            }
            at = Some(match mode::decode(&mut self.reader)? {
                Mode::Pass => b2.max(here),
                Mode::Horizontal => {
                    let runs = [self.run(is_black)?, self.run(!is_black)?];
                    let middle = self.change(here.saturating_add(runs[0]))?;
                    self.change(middle.saturating_add(runs[1]))?
                }
                Mode::Vertical(offset) => {
                    is_black = !is_black;
                    let change = b1.checked_add_signed(offset.into()).filter(|&change| change >= here)?;
                    self.change(change)?
                }
                // An extension is pixels without compression, which no program writes.
                Mode::Extension | Mode::EOF => return None,
            });
        }
        Some(())
    }
}
