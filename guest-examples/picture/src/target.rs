//! What a decoded picture is for. It decides at which scale to decode, and how much memory the results take.

use crate::encode::Format;
use crate::orientation::Orientation;
use crate::picture::fit;
use crate::shape::{Shape, needed_side};

/// Memory for a column or row of a picture that is resized: the filter reads each of them for six results, or makes six of
/// them, and has a weight for each, first of eight bytes, then of two, and the ends of its windows.
const WEIGHTS_BYTES_PER_LINE: u64 = 72;

/// What a decoded picture is for.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A picture with no side longer than this many pixels, made by [`Picture::fitted`](crate::Picture::fitted).
    Side(u32),
    /// One picture of each of these shapes, made by [`Picture::rendered`](crate::Picture::rendered).
    Shapes(&'a [Shape]),
    /// One file of each of these shapes and formats. Some encoders take more memory than others.
    Files(&'a [(Shape, Format)]),
}

impl From<u32> for Target<'_> {
    fn from(side: u32) -> Self {
        Target::Side(side)
    }
}

impl<'a> From<&'a [Shape]> for Target<'a> {
    fn from(shapes: &'a [Shape]) -> Self {
        Target::Shapes(shapes)
    }
}

impl Target<'_> {
    /// Returns the length of the longer side that decoding must deliver, at most that of the file. `full` is the size that
    /// the header states, in the file's order.
    pub(crate) fn side(self, full: (u32, u32), orientation: Orientation) -> u32 {
        match self {
            Target::Side(side) => side,
            Target::Shapes(shapes) => needed_side(orientation.turned(full), shapes),
            Target::Files(files) => {
                needed_side(orientation.turned(full), files.iter().map(|(shape, _)| shape))
            }
        }
    }

    /// Returns the memory, in bytes, that the largest result takes while it is made of decoded pixels of this size.
    pub(crate) fn memory(self, full: (u32, u32), decoded: (u32, u32), channels: usize) -> u64 {
        let of_shape = |(shape, format): (&Shape, Format)| {
            let copies =
                (u64::from(decoded.0) * u64::from(decoded.1)).saturating_mul(shape.copied_bytes(channels));
            let bytes = if shape.linear { 2 * channels } else { channels };
            let rows = decoded.0.max(decoded.1);
            // Whether the picture is stored upright isn't known yet.
            let results =
                [full, (full.1, full.0)].map(|full| result(shape.largest(full), rows, bytes, format));
            results[0].max(results[1]).saturating_add(copies)
        };
        let weights = (u64::from(decoded.0) + u64::from(decoded.1)) * WEIGHTS_BYTES_PER_LINE;
        let largest = match self {
            Target::Side(side) => result(fit(full.0, full.1, side), decoded.1, channels, Format::Jpeg),
            Target::Shapes(shapes) => {
                shapes.iter().map(|shape| of_shape((shape, Format::Jpeg))).max().unwrap_or(0)
            }
            Target::Files(files) => {
                files.iter().map(|(shape, format)| of_shape((shape, *format))).max().unwrap_or(0)
            }
        };
        largest.saturating_add(weights)
    }
}

/// Returns the memory for a result. Between its two passes, the resizer holds a picture that is as wide as the one and as
/// high as the other. Which of them is resized first depends on the sizes.
fn result((width, height): (u32, u32), rows: u32, bytes_per_pixel: usize, format: Format) -> u64 {
    let (width, height, rows) = (u64::from(width), u64::from(height), u64::from(rows));
    let resizing = (width.max(height) * rows).saturating_mul(bytes_per_pixel as u64);
    let weights = (width + height) * WEIGHTS_BYTES_PER_LINE;
    resizing.saturating_add((width * height).saturating_mul(format.bytes_per_pixel())).saturating_add(weights)
}
