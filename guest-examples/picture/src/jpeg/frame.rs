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
    fn samples(&self) -> u64 {
        let rows = u64::from(self.height).div_ceil(u64::from(self.block_rows()));
        rows * self.row_samples().sum::<u64>()
    }

    /// Counts the samples of each component in a row of groups of blocks.
    fn row_samples(&self) -> impl Iterator<Item = u64> {
        let across = self.components.iter().map(|component| component.across).max().unwrap_or(1).max(1);
        let columns = u64::from(self.width).div_ceil(8 * u64::from(across));
        let blocks = |component: &Component| u64::from(component.across) * u64::from(component.down);
        self.components.iter().map(move |component| columns * blocks(component) * 64)
    }

    /// Returns the memory, in bytes, that the decoder takes for a result of `pixels` bytes, which counts, at a scale.
    pub(super) fn memory(&self, pixels: u64, eighths: u32) -> u64 {
        let eighths = u64::from(eighths);
        let planes = pixels.max(self.samples() * eighths * eighths / 64);
        // Of two bytes each, at full size whatever the scale. A component's row is copied while it becomes samples.
        let copied = 2 * self.row_samples().max().unwrap_or(0);
        if self.is_progressive() {
            // Passes over the whole picture. Their coefficients are kept until the end.
            planes + 2 * self.samples() + pixels.max(copied)
        } else {
            // A row of groups of blocks, before the pixels are assembled.
            planes + pixels.max(2 * self.row_samples().sum::<u64>() + copied)
        }
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
        // The planes, all coefficients and those of a row of brightness at a quarter; else those of a row of all.
        let (planes, row) = (7 * 4 * 6 * 4, 2 * 7 * 64);
        assert_eq!(frame.memory(25 * 13 * 3, 2), 25 * 13 * 3 + 2 * 7 * 4 * 6 * 64 + row * 4);
        assert_eq!(frame.memory(10, 2), planes + 2 * 7 * 4 * 6 * 64 + row * 4);
        let sequential = Frame { marker: 0xc0, ..frame };
        assert_eq!(sequential.memory(10, 2), planes + row * 10);
        assert_eq!(sequential.memory(100_000, 8), 200_000);
        for length in 0..segment.len() {
            assert!(Frame::read(0xc2, &segment[..length]).is_none(), "cut at {length}");
        }
    }
}
