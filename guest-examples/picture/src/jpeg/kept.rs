//! What can be kept of a JPEG that is cut short: of a sequential one the rows of blocks that are whole, found by claiming
//! fewer rows in its header, of a progressive one its whole scans, which show all of it less sharply.

use std::ops::Range;

use jpeg_decoder::{ColorTransform, Decoder, Error};

use super::file::{File, PAD};
use super::frame::Frame;
use crate::picture::Layout;

/// A mended file, and how to decode it.
pub(super) struct Cut<'a> {
    pub(super) file: &'a File,
    pub(super) frame: &'a Frame,
    pub(super) content: Vec<u8>,
    /// Where the pads are.
    pub(super) pads: Vec<Range<usize>>,
    /// Width and height that the header states.
    pub(super) full: (u32, u32),
    /// Width and height at the scale.
    pub(super) size: (u32, u32),
}

/// Width and height, and the samples.
type Decoded = ((u32, u32), Vec<u8>);

/// Length of a pad, less the byte that its range leaves out.
const PAD_BYTES: usize = PAD.len() - 1;

impl Cut<'_> {
    /// Returns the samples of the rows from the top that are there and gray ones below, or none if there are no rows. `at` is
    /// where the decoder came to in the file.
    pub(super) fn filled(self, at: usize, layout: Layout) -> Option<Vec<u8>> {
        let pixels = self.size.0 as usize * self.size.1 as usize;
        let mut kept = self.kept(at)?;
        // What is missing is gray, also as ink.
        let gray: &[u8] =
            if layout == Layout::Cmyk { &[0, 0, 0, 127] } else { &[128; 3][..layout.channels()] };
        let missing = pixels - kept.len() / gray.len();
        kept.extend_from_slice(&gray.repeat(missing));
        Some(kept)
    }

    fn kept(mut self, at: usize) -> Option<Vec<u8>> {
        if self.frame.is_progressive() {
            let scan = self.pads.iter().position(|pad| pad.contains(&at))?;
            let end = self.pads.get(scan.checked_sub(1)?)?.start + PAD_BYTES;
            self.content.truncate(end);
            self.content.extend([0xff, 0xd9]);
            return self.attempt(self.size.1);
        }
        if self.pads.len() != 1 {
            return None;
        }
        let eighths = super::eighths(self.full, self.size)?;
        let (frame_at, block_rows) = (self.file.frame_at, self.frame.block_rows());
        let (mut whole, mut cut) = (0, self.full.1.div_ceil(block_rows));
        let mut kept = None;
        while cut - whole > 1 {
            let rows = whole.midpoint(cut);
            let height = (rows * block_rows) as u16;
            self.content.get_mut(frame_at + 3..frame_at + 5)?.copy_from_slice(&height.to_be_bytes());
            match self.attempt(rows * block_rows / 8 * eighths) {
                Some(pixels) => (whole, kept) = (rows, Some(pixels)),
                None => cut = rows,
            }
        }
        kept
    }

    /// Decodes the file, if it is whole and has this many rows at the scale.
    fn attempt(&self, rows: u32) -> Option<Vec<u8>> {
        let (decoded, at) = self.decode(&self.content);
        match decoded {
            Ok((size, pixels)) => (size == (self.size.0, rows)).then_some(pixels),
            // More restart intervals follow than there are rows left for.
            Err(Error::Format(text)) if text.contains("outside of entropy-coded data") => {
                let content = [self.content.get(..at.checked_sub(2)?)?, &[0xff, 0xd9]].concat();
                let (size, pixels) = self.decode(&content).0.ok()?;
                (size == (self.size.0, rows)).then_some(pixels)
            }
            Err(_) => None,
        }
    }

    /// Returns size and samples, and where the decoder came to.
    fn decode(&self, content: &[u8]) -> (Result<Decoded, Error>, usize) {
        let mut rest = content;
        let mut decoder = Decoder::new(&mut rest);
        let mut decode = || {
            // Of the height, more is asked for than there is, so that the width alone decides.
            let (width, height) = decoder.scale(self.size.0 as u16, u16::MAX)?;
            if self.file.is_rgb() {
                decoder.set_color_transform(ColorTransform::RGB);
            }
            Ok(((u32::from(width), u32::from(height)), decoder.decode()?))
        };
        let decoded = decode();
        drop(decoder);
        (decoded, content.len() - rest.len())
    }
}
