//! Decodes WebP. Of an animation the first frame is taken.

mod cut;
mod lossless;
mod lossy;
mod sizes;

use std::io::Cursor;

use image_webp::{DecodingError, WebPDecoder};

use crate::colour::Colour;
use crate::decode::Cost;
use crate::orientation::Orientation;
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;
use crate::target::Target;
use crate::{Bounds, Truncated};

const FORMAT: &str = "WebP";

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let result = whole(content, target, bounds);
    match result {
        Err(Refusal::CutShort(_)) if bounds.truncated == Truncated::Keep => {
            cut::kept(content, |file, bounds| whole(file, target, bounds), bounds)
                .ok_or(Refusal::CutShort(FORMAT))
        }
        result => result,
    }
}

fn whole(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let refusal = |error: &_| refusal(content, error);
    let mut decoder = WebPDecoder::new(Cursor::new(content)).map_err(|error| refusal(&error))?;
    decoder.set_memory_limit(usize::try_from(bounds.memory).unwrap_or(usize::MAX));
    let (width, height) = decoder.dimensions();
    let is_still = !decoder.is_animated() && !decoder.has_alpha();
    if is_still && decoder.is_lossy() && chunks(content).all(|chunk| chunk.kind != b"VP8L") {
        let profile = || decoder.icc_profile().ok().flatten();
        return lossy::decode(content, (width, height), profile, target, bounds);
    }
    let layout = if decoder.has_alpha() { Layout::Rgba } else { Layout::Rgb };
    // The result, and next to it: the planes of lossy frames before they are RGB (three bytes for two pixels), the RGBA
    // pixels that lossless frames pass through, the two planes of a lossy picture's alpha, the canvas of an animation.
    let bytes_per_pixel = match (decoder.is_animated(), decoder.is_lossy(), decoder.has_alpha()) {
        (true, _, _) => 16,
        (false, true, _) => 11,
        (false, false, true) => 4,
        (false, false, false) => 7,
    };
    let mut cost = Cost::unscaled(FORMAT, (width, height), layout, bytes_per_pixel, content);
    cost.check_size(bounds)?;
    let (is_animated, has_alpha) = (decoder.is_animated(), decoder.has_alpha());
    let tables = lossless::tables(content, (width, height), is_animated, has_alpha);
    cost.decoding = cost.decoding.saturating_add(tables.unwrap_or(0));
    cost.check(target, bounds)?;
    if tables.is_none() {
        return Err(refusal(&DecodingError::BitStreamError));
    }
    if !sizes::fit(content, (width, height)) {
        return Err(sizes::UNFIT);
    }

    // What says how to show the pixels is read first: it may refuse the picture.
    let colour = Colour::of_profile(decoder.icc_profile().ok().flatten())?;
    let orientation = orientation(content);
    let mut pixels = vec![0; width as usize * height as usize * layout.channels()];
    decoder.read_image(&mut pixels).map_err(|error| refusal(&error))?;
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, colour })
}

/// Length of the file's header: "RIFF", a size, and "WEBP".
const HEADER_BYTES: usize = 12;

struct Chunk<'a> {
    kind: &'a [u8],
    /// The length that it states.
    length: usize,
    /// As far as it is there.
    data: &'a [u8],
}

impl Chunk<'_> {
    fn is_whole(&self) -> bool {
        self.data.len() == self.length
    }
}

/// Returns the chunks of a file. The last one may be cut short. Source: RFC 9649, 2.3 and 2.4.
fn chunks(content: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    chunks_in(content.get(HEADER_BYTES..).unwrap_or_default())
}

/// Returns chunks that follow each other.
fn chunks_in(mut rest: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (head, after) = rest.split_first_chunk::<8>()?;
        let (kind, length) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let (data, after) = after.split_at(length.min(after.len()));
        // Chunks begin at even places.
        rest = after.get(length % 2..).unwrap_or_default();
        Some(Chunk { kind, length, data })
    })
}

/// Returns the chunks that are whole.
fn whole_chunks(content: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    chunks(content).take_while(Chunk::is_whole)
}

/// Returns the data of the first chunk of a kind that is whole.
fn named<'a>(content: &'a [u8], kind: &[u8]) -> Option<&'a [u8]> {
    whole_chunks(content).find(|chunk| chunk.kind == kind).map(|chunk| chunk.data)
}

fn orientation(content: &[u8]) -> Orientation {
    Orientation::choose(named(content, b"EXIF"), named(content, b"XMP "), None)
}

/// Returns the file's EXIF block and XMP packet.
pub(crate) fn blocks(content: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let copied = |kind: &[u8]| named(content, kind).map(<[u8]>::to_vec);
    (copied(b"EXIF"), copied(b"XMP "))
}

/// Counts the frames of an animation.
pub(crate) fn frames(content: &[u8]) -> u32 {
    whole_chunks(content).filter(|chunk| chunk.kind == b"ANMF").count().try_into().unwrap_or(u32::MAX)
}

/// Whether the file is shorter than its header says: its size, less the first eight bytes, stands in bytes 4 to 8.
fn is_short(content: &[u8]) -> bool {
    let said = content.get(4..8).and_then(|size| size.try_into().ok()).map_or(0, u32::from_le_bytes);
    (content.len() as u64) < u64::from(said) + 8
}

fn refusal(content: &[u8], error: &DecodingError) -> Refusal {
    match error {
        DecodingError::IoError(_) => Refusal::CutShort(FORMAT),
        _ if is_short(content) => Refusal::CutShort(FORMAT),
        DecodingError::ChunkMissing | DecodingError::ChunkHeaderInvalid(_) => {
            Refusal::Damaged(FORMAT, "a chunk is missing or invalid")
        }
        DecodingError::FrameOutsideImage => Refusal::Damaged(FORMAT, "a frame is larger than the picture"),
        DecodingError::HuffmanError | DecodingError::BitStreamError | DecodingError::TransformError => {
            Refusal::Damaged(FORMAT, "its compressed pixels are invalid")
        }
        _ => Refusal::Damaged(FORMAT, "its header is invalid"),
    }
}
