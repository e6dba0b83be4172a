//! The frame header, and what follows from it: how components, blocks and MCUs (minimum coded units) lie. Source: ITU-T
//! T.81, A.1, A.2 and B.2.2.

use crate::error::{Error, Result, Unsupported};
use crate::markers::{Segment, u16_at};
use crate::{Chroma, Process, Scale};

/// Memory for tables and buffers, whatever the picture's size.
const FIXED_BYTES: u64 = 640 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Component {
    pub(crate) id: u8,
    /// Horizontal and vertical sampling factor.
    pub(crate) h: u32,
    pub(crate) v: u32,
    /// Destination of the quantisation table.
    pub(crate) quantisation: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) process: Process,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) components: Vec<Component>,
    /// The largest sampling factors.
    h: u32,
    v: u32,
}

impl Frame {
    /// Reads the parameters of SOFn, or says why that SOFn isn't supported.
    pub(crate) fn read(segment: &Segment) -> Result<Self> {
        let unsupported = |feature| Err(Error::Unsupported(feature));
        let process = match segment.marker {
            0xc0 => Process::Baseline,
            0xc1 => Process::Extended,
            0xc2 => Process::Progressive,
            0xc3 => return unsupported(Unsupported::Lossless),
            0xc5..=0xc7 => return unsupported(Unsupported::Hierarchical),
            0xc9..=0xcf => return unsupported(Unsupported::Arithmetic),
            _ => return Err(segment.damaged("a reserved marker")),
        };
        let header = segment.bytes(0, 6, "a frame header that is too short")?;
        let (precision, count) = (header[0], header[5]);
        let height = u32::from(u16_at(header, 1).unwrap_or_default());
        let width = u32::from(u16_at(header, 3).unwrap_or_default());
        if precision != 8 {
            return unsupported(Unsupported::Precision(precision));
        }
        if !matches!(count, 1 | 3) {
            return unsupported(Unsupported::Components(count));
        }
        if height == 0 {
            return unsupported(Unsupported::HeightAfterScan);
        }
        if width == 0 {
            return Err(segment.damaged("a width of zero"));
        }
        let specs = segment.bytes(6, 3 * usize::from(count), "a frame header that is too short")?;
        let mut components: Vec<Component> = Vec::new();
        for spec in specs.chunks_exact(3) {
            let (h, v) = (u32::from(spec[1] >> 4), u32::from(spec[1] & 15));
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return Err(segment.damaged("a sampling factor that is not 1 to 4"));
            }
            if components.iter().any(|other| other.id == spec[0]) {
                return Err(segment.damaged("two components of one identifier"));
            }
            if spec[2] > 3 {
                return Err(segment.damaged("a quantisation table's number that is not 0 to 3"));
            }
            components.push(Component { id: spec[0], h, v, quantisation: usize::from(spec[2]) });
        }
        // The sampling of a single component has no meaning, and its blocks are never grouped (A.2.2).
        if let [single] = components.as_mut_slice() {
            (single.h, single.v) = (1, 1);
        }
        let h = components.iter().map(|component| component.h).max().unwrap_or(1);
        let v = components.iter().map(|component| component.v).max().unwrap_or(1);
        Ok(Frame { process, width, height, components, h, v })
    }

    /// MCUs of an interleaved scan, across and down.
    pub(crate) fn mcus(&self) -> (u32, u32) {
        (self.width.div_ceil(8 * self.h), self.height.div_ceil(8 * self.v))
    }

    /// Width and height of a component in samples (A.1.1).
    fn samples(&self, component: &Component) -> (u32, u32) {
        ((self.width * component.h).div_ceil(self.h), (self.height * component.v).div_ceil(self.v))
    }

    /// Blocks of a component that hold samples, across and down: those of a scan that isn't interleaved (A.2.2).
    pub(crate) fn blocks(&self, component: &Component) -> (u32, u32) {
        let (width, height) = self.samples(component);
        (width.div_ceil(8), height.div_ceil(8))
    }

    /// Blocks of a component in whole MCUs, across and down: those of an interleaved scan (A.2.4).
    pub(crate) fn padded_blocks(&self, component: &Component) -> (u32, u32) {
        let (across, down) = self.mcus();
        (across * component.h, down * component.v)
    }

    /// Size of a component's plane where each block becomes `side` x `side` samples.
    pub(crate) fn plane(&self, component: &Component, side: u32) -> (u32, u32) {
        let (width, height) = self.samples(component);
        ((width * side).div_ceil(8), (height * side).div_ceil(8))
    }

    /// Number of blocks that hold samples, of all components. Each takes one bit at least.
    pub(crate) fn all_blocks(&self) -> u64 {
        let count = |component| {
            let (across, down) = self.blocks(component);
            u64::from(across) * u64::from(down)
        };
        self.components.iter().map(count).sum()
    }

    /// The side of what a component's block becomes: 1, 2, 4 or 8 samples.
    pub(crate) fn side(&self, component: &Component, scale: Scale, chroma: Chroma) -> u32 {
        let base = scale.side();
        let mut side = base;
        if chroma == Chroma::Full {
            // As libjpeg-turbo chooses it, in jpeg_calc_output_dimensions.
            while side < 8
                && (self.h * base).is_multiple_of(component.h * side * 2)
                && (self.v * base).is_multiple_of(component.v * side * 2)
            {
                side *= 2;
            }
        }
        side
    }

    /// Memory that decoding takes at most, in bytes, with its result but without the file.
    pub(crate) fn memory_bytes(&self, scale: Scale, chroma: Chroma) -> u64 {
        let bytes = |component| {
            let (across, down) = self.padded_blocks(component);
            let side = u64::from(self.side(component, scale, chroma));
            let block = match (self.process, side) {
                (Process::Progressive, 1) => 3,
                // Coefficients, samples, and which coefficients aren't zero.
                (Process::Progressive, side) => 3 * side * side + 8,
                (_, side) => side * side,
            };
            u64::from(across) * u64::from(down) * block
        };
        FIXED_BYTES + self.components.iter().map(bytes).sum::<u64>()
    }
}
