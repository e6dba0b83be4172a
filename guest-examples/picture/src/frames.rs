//! Counts the frames of an animation or the pages of a document, without decoding them.

use crate::format::Format;
use crate::ifd::Block;
use crate::{png, webp};

/// How many are counted at most.
const MOST: u32 = 65_535;

pub(crate) fn count(content: &[u8], format: Format) -> u32 {
    let count = match format {
        Format::Gif => of_gif(content).unwrap_or(0),
        Format::Png => png::frames(content),
        Format::WebP => webp::frames(content),
        Format::Tiff => Block::of(content).map_or(0, |block| block.count(MOST)),
        _ => 1,
    };
    count.clamp(1, MOST)
}

/// Counts the image descriptors of a GIF. Source: GIF89a, 18 to 26.
fn of_gif(content: &[u8]) -> Option<u32> {
    let table = |flags: u8| if flags & 0x80 != 0 { 3 << ((flags & 7) + 1) } else { 0 };
    let mut at = 13 + table(*content.get(10)?);
    let mut count = 0;
    while count < MOST {
        match content.get(at) {
            Some(0x2c) => {
                // After the descriptor, perhaps a table of colours, and the size of the codes.
                let Some(&flags) = content.get(at + 9) else {
                    break;
                };
                count += 1;
                at += 10 + table(flags) + 1;
            }
            Some(0x21) => at += 2,
            _ => break,
        }
        // Blocks with their lengths, up to an empty one.
        while let Some(&length @ 1..) = content.get(at) {
            at += 1 + usize::from(length);
        }
        at += 1;
    }
    Some(count)
}
