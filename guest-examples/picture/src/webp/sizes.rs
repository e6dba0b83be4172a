//! The sizes of lossy frames, which stand in two places. The decoder panics where they differ.
//! Source: WebP Container Specification, "Extended File Format"; RFC 6386, 9.1.

use super::{Chunk, FORMAT, HEADER_BYTES, chunks_in};
use crate::refusal::Refusal;

/// What is said of a file whose sizes differ.
pub(super) const UNFIT: Refusal = Refusal::Damaged(FORMAT, "a frame is not as large as its header says");

/// Length of an animated frame's header.
const FRAME_BYTES: usize = 16;

/// Whether the lossy pictures that are decoded are as large as the picture, or as the animation's frame that they are in.
pub(super) fn fit(content: &[u8], size: (u32, u32)) -> bool {
    chunks_fit(content.get(HEADER_BYTES..).unwrap_or_default(), size)
}

/// Stops after the first frame of an animation, as the others aren't decoded.
fn chunks_fit(bytes: &[u8], size: (u32, u32)) -> bool {
    for Chunk { kind, data, .. } in chunks_in(bytes) {
        match kind {
            b"VP8 " => return lossy_fits(data, size),
            b"ANMF" => return frame(data).is_none_or(|(chunks, size)| frame_fits(chunks, size)),
            _ => {}
        }
    }
    true
}

/// Whether the lossy picture of a frame fits. After transparency, the decoder takes the next chunk for it, whatever its name.
fn frame_fits(bytes: &[u8], size: (u32, u32)) -> bool {
    let mut chunks = chunks_in(bytes);
    let lossy = match chunks.next() {
        Some(chunk) if chunk.kind == b"VP8 " => Some(chunk),
        Some(chunk) if chunk.kind == b"ALPH" => chunks.next(),
        _ => None,
    };
    lossy.is_none_or(|chunk| lossy_fits(chunk.data, size))
}

fn lossy_fits(data: &[u8], size: (u32, u32)) -> bool {
    lossy_size(data).is_none_or(|found| found == size)
}

/// Returns the chunks of an animation's frame, and its size.
pub(super) fn frame(data: &[u8]) -> Option<(&[u8], (u32, u32))> {
    let (head, chunks) = data.split_first_chunk::<FRAME_BYTES>()?;
    let side = |at: usize| 1 + u32::from_le_bytes([head[at], head[at + 1], head[at + 2], 0]);
    Some((chunks, (side(6), side(9))))
}

/// Returns nothing if the data end within the header. Then the decoder refuses them.
fn lossy_size(data: &[u8]) -> Option<(u32, u32)> {
    // Three bytes of a tag, and three that are always the same. Of each side, two bits scale it for display.
    let side = |at: usize| Some(u32::from(u16::from_le_bytes([*data.get(at)?, *data.get(at + 1)?]) & 0x3fff));
    Some((side(6)?, side(8)?))
}
