//! What the frame header of a JPEG says. Source: ISO/IEC 10918-1, B.2.2 and table B.1.

use super::FORMAT;
use crate::picture::Layout;
use crate::refusal::Refusal;

pub(super) struct Frame {
    /// The second byte of the marker, which tells the kind of coding.
    pub(super) marker: u8,
    pub(super) precision: u8,
    pub(super) height: u16,
    pub(super) width: u16,
    pub(super) components: Vec<Component>,
}

pub(super) struct Component {
    pub(super) id: u8,
    across: u8,
    down: u8,
}

impl Frame {
    /// Reads the segment after the marker, with its length. Returns nothing if it is too short.
    pub(super) fn read(marker: u8, segment: &[u8]) -> Option<Self> {
        let &[_, _, precision, high, low, wide_high, wide_low, count, ref components @ ..] = segment else {
            return None;
        };
        let components: Vec<Component> = components
            .chunks_exact(3)
            .take(usize::from(count))
            .map(|entry| Component { id: entry[0], across: entry[1] >> 4, down: entry[1] & 15 })
            .collect();
        (components.len() == usize::from(count)).then_some(Frame {
            marker,
            precision,
            height: u16::from_be_bytes([high, low]),
            width: u16::from_be_bytes([wide_high, wide_low]),
            components,
        })
    }

    pub(super) fn is_progressive(&self) -> bool {
        self.marker == 0xc2
    }

    /// # Errors
    ///
    /// When it is of a kind that isn't read, or makes no sense.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        let kind = match self.marker {
            0xc0..=0xc2 => None,
            0xc3 => Some("a lossless JPEG".to_owned()),
            0xc5..=0xc7 | 0xcd..=0xcf => Some("a hierarchical JPEG".to_owned()),
            0xcb => Some("a lossless JPEG with arithmetic coding".to_owned()),
            _ => Some("a JPEG with arithmetic coding".to_owned()),
        };
        let kind = kind.or_else(|| (self.precision != 8).then(|| format!("a {}-bit JPEG", self.precision)));
        if let Some(kind) = kind {
            return Err(Refusal::NotSupported(kind));
        }
        if self.width == 0 {
            return Err(Refusal::Damaged(FORMAT, "its header says that it has no pixels"));
        }
        if self.height == 0 {
            return Err(Refusal::NotSupported("a JPEG whose height follows its pixels".to_owned()));
        }
        if self.components.iter().any(|component| component.across == 0 || component.down == 0) {
            return Err(Refusal::Damaged(FORMAT, "its frame header is invalid"));
        }
        Ok(())
    }

    pub(super) fn layout(&self) -> Result<Layout, Refusal> {
        match self.components.len() {
            1 => Ok(Layout::Gray),
            3 => Ok(Layout::Rgb),
            4 => Ok(Layout::Cmyk),
            count => Err(Refusal::NotSupported(format!("a JPEG of {count} components"))),
        }
    }

    /// Returns the height of a row of blocks of all components.
    pub(super) fn block_rows(&self) -> u32 {
        8 * self.components.iter().map(|component| u32::from(component.down)).max().unwrap_or(1).max(1)
    }

    /// Counts the samples of all components together, in whole groups of blocks, as the decoder stores them. Colour
    /// mostly has a lower resolution than brightness.
    pub(super) fn samples(&self) -> u64 {
        let factors = || {
            self.components.iter().map(|component| (u64::from(component.across), u64::from(component.down)))
        };
        let across = factors().map(|factor| factor.0).max().unwrap_or(1).max(1);
        let down = factors().map(|factor| factor.1).max().unwrap_or(1).max(1);
        let columns = u64::from(self.width).div_ceil(8 * across);
        let rows = u64::from(self.height).div_ceil(8 * down);
        factors().map(|(x, y)| columns * x * rows * y * 64).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_in_whole_groups_of_blocks() {
        // 100 x 50, three components, colour at half the resolution both ways: 7 x 4 groups of six blocks.
        let segment = [0, 17, 8, 0, 50, 0, 100, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
        let frame = Frame::read(0xc2, &segment).expect("it is whole");
        assert_eq!(frame.samples(), 7 * 4 * 6 * 64);
        for length in 0..segment.len() {
            assert!(Frame::read(0xc2, &segment[..length]).is_none(), "cut at {length}");
        }
    }
}
