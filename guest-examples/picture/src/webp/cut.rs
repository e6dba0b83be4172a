//! What can be kept of a WebP that is cut short. Its decoder gives whole pictures only, so the file is padded and decoded
//! twice, with different bytes in the place of those that are missing. Rows that come out alike were there.

use super::chunks;
use crate::Bounds;
use crate::picture::Picture;
use crate::refusal::Refusal;
use crate::resize::scale;

/// What may stand for the missing bytes. With some of them a lossless picture refers to pixels before its first.
const PADS: [u8; 6] = [0, 0xff, 0x55, 0xaa, 0x33, 0xcc];

/// More than the missing bytes, as others may be codes for more pixels or for fewer.
const EXTRA_BYTES: usize = 4096;

/// Returns the rows that are there, and the others as missing. Returns nothing if none is there, and for animations.
pub(super) fn kept(
    content: &[u8],
    decode: impl Fn(&[u8], &Bounds) -> Result<Picture, Refusal>,
    bounds: &Bounds,
) -> Option<Picture> {
    // The chunk in which the file ends.
    let chunk = chunks(content).find(|chunk| !chunk.is_whole())?;
    let is_lossy = match chunk.kind {
        b"VP8 " => true,
        b"VP8L" => false,
        _ => return None,
    };
    let start = content.len() - chunk.data.len() - 8;
    let missing = chunk.length - chunk.data.len();
    // Enough for what is missing, and bounded by what is there.
    let room = missing.min(content.len().saturating_mul(8)).saturating_mul(2).saturating_add(EXTRA_BYTES);
    let mut file = content.to_vec();
    file.resize((content.len() + room).next_multiple_of(2), 0);
    let riff = u32::try_from(file.len() - 8).ok()?;
    let chunk = u32::try_from(file.len() - start - 8).ok()?;
    file[4..8].copy_from_slice(&riff.to_le_bytes());
    file[start + 4..start + 8].copy_from_slice(&chunk.to_le_bytes());

    let padded = (content.len() + file.len()) as u64;
    let mut bounds = Bounds { memory: bounds.memory.checked_sub(padded)?, ..bounds.clone() };
    let mut pads = PADS.into_iter();
    let mut next = |bounds: &Bounds| {
        pads.find_map(|pad| {
            file[content.len()..].fill(pad);
            decode(&file, bounds).ok()
        })
    };
    let mut first = next(&bounds)?;
    bounds.memory = bounds.memory.checked_sub(first.pixels.len() as u64)?;
    let second = next(&bounds)?;
    let row_bytes = first.width as usize * first.layout.channels();
    let rows = first.pixels.chunks(row_bytes).zip(second.pixels.chunks(row_bytes));
    let alike = rows.take_while(|(first, second)| first == second).count();
    // The last of these may be alike by chance. A lossy picture consists of blocks of sixteen rows at full size.
    let block = if is_lossy { 16 / scale(first.full.1, first.height).min(16) as usize } else { 1 };
    let there = (alike / block * block).saturating_sub(block);
    if there == 0 {
        return None;
    }
    let missing = first.layout.missing();
    first.pixels[there * row_bytes..].fill(missing);
    Some(first)
}
