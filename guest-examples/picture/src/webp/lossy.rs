//! Decodes a lossy picture without transparency, at the scale that is needed. At a quarter and below, this takes two fifths
//! of the general decoder's time or less, and the picture isn't in memory as a whole.

use vp8_scaled::{Error, Header, Limits, Options, Scale};

use super::{FORMAT, chunks, is_short, orientation, sizes};
use crate::Bounds;
use crate::colour::Colour;
use crate::decode::Cost;
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;
use crate::target::Target;

/// Decodes the first chunk with a lossy picture. `full` is the size that the file's header states.
pub(super) fn decode(
    content: &[u8],
    full: (u32, u32),
    profile: impl FnOnce() -> Option<Vec<u8>>,
    target: Target<'_>,
    bounds: &Bounds,
) -> Result<Picture, Refusal> {
    let refusal = |error: &Error| match error {
        Error::CutShort => Refusal::CutShort(FORMAT),
        _ if is_short(content) => Refusal::CutShort(FORMAT),
        Error::Damaged(_) => Refusal::Damaged(FORMAT, "its compressed pixels are invalid"),
        _ => Refusal::Damaged(FORMAT, "its header is invalid"),
    };
    let chunk = chunks(content).find(|chunk| chunk.kind == b"VP8 ");
    let data = chunk.map(|chunk| chunk.data).ok_or(Refusal::CutShort(FORMAT))?;
    let header = Header::read(data).map_err(|error| refusal(&error))?;
    let orientation = orientation(content);
    let scale = scale(&header, target.side(full, orientation));
    let (width, height) = header.size(scale);
    let layout = Layout::Rgb;
    let memory = header.memory_bytes(scale);
    Cost {
        format: FORMAT,
        width: full.0,
        height: full.1,
        decoded_rows: height,
        channels: layout.channels(),
        decoding: memory + layout.bytes((width, height))? as u64 + content.len() as u64,
    }
    .check(target, bounds)?;
    if !sizes::fit(content, full) {
        return Err(sizes::UNFIT);
    }
    // What says how to show the pixels is read first: it may refuse the picture.
    let colour = Colour::of_profile(profile())?;
    let limits = Limits { pixels: bounds.pixels, memory_bytes: memory };
    let planes = vp8_scaled::decode(data, &Options { scale, limits }).map_err(|error| refusal(&error))?;
    Ok(Picture { full, width, height, layout, pixels: planes.to_rgb(), orientation, colour })
}

/// Returns the smallest scale at which the longer side has a quarter more pixels than are needed. Means of whole pixels
/// are not sharp enough to be the result: with less, structural similarity to LANCZOS was down to 0.964 for an eighth. With
/// a quarter more it was 0.986 or better, also for the lowest qualities, the loop filter of which is left out.
fn scale(header: &Header, side: u32) -> Scale {
    let is_enough = |scale: &Scale| {
        let (width, height) = header.size(*scale);
        4 * u64::from(width.max(height)) >= 5 * u64::from(side)
    };
    Scale::ALL.into_iter().find(is_enough).unwrap_or(Scale::Full)
}
