//! What a decoded picture is for. It decides at which scale to decode, and how much memory the results take.

use crate::orientation::Orientation;
use crate::picture::fit;
use crate::shape::{Shape, needed_side};

/// Memory for a pixel of a result: resized, turned, converted, and in the encoder's own copies.
const RESULT_BYTES_PER_PIXEL: u64 = 16;

/// What a decoded picture is for.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// A picture with no side longer than this many pixels, made by [`Picture::fitted`](crate::Picture::fitted).
    Side(u32),
    /// One picture of each of these shapes, made by [`Picture::rendered`](crate::Picture::rendered).
    Shapes(&'a [Shape]),
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
        }
    }

    /// Returns the memory, in bytes, that the largest result takes while it is made of decoded pixels of this size.
    pub(crate) fn memory(self, full: (u32, u32), decoded: (u32, u32), channels: usize) -> u64 {
        // The resizer works on the rows first, then on the columns.
        let of = |(width, height): (u32, u32), rows: u32, bytes: u64| {
            (u64::from(width) * u64::from(rows))
                .saturating_mul(bytes)
                .saturating_add((u64::from(width) * u64::from(height)).saturating_mul(RESULT_BYTES_PER_PIXEL))
        };
        match self {
            Target::Side(side) => of(fit(full.0, full.1, side), decoded.1, channels as u64),
            Target::Shapes(shapes) => {
                let pixels = u64::from(decoded.0) * u64::from(decoded.1);
                // Whether the picture is stored upright isn't known yet.
                let turned =
                    |shape| [(full, decoded), (swapped(full), swapped(decoded))].map(|size| (shape, size));
                let results = shapes.iter().flat_map(turned).map(|(shape, (full, decoded))| {
                    let copies = pixels.saturating_mul(shape.copied_bytes(channels));
                    let bytes = if shape.linear { 2 * channels } else { channels };
                    let result = of(shape.largest(full), decoded.1.max(decoded.0), bytes as u64);
                    result.saturating_add(copies)
                });
                results.max().unwrap_or(0)
            }
        }
    }
}

fn swapped((width, height): (u32, u32)) -> (u32, u32) {
    (height, width)
}
