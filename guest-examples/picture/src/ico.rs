//! Decodes the largest picture of an ICO or CUR, which is a PNG, or a BMP with a mask.
//! Source: Microsoft, "Icons" (ICONDIR, ICONDIRENTRY); BITMAPINFOHEADER of wingdi.h.

use crate::bmp::{self, long, short};
use crate::decode::Cost;
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;
use crate::target::Target;
use crate::{Bounds, Truncated, png};

const FORMAT: &str = "ICO";
const CUT: Refusal = Refusal::CutShort(FORMAT);
const INVALID: Refusal = Refusal::Damaged(FORMAT, "its directory is invalid");

/// The length of the header that a BMP in a file of its own begins with.
const FILE_HEADER_BYTES: usize = 14;

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let count = usize::from(short(content, 4).ok_or(CUT)?);
    let entries = content.get(6..6 + 16 * count).ok_or(CUT)?;
    // The largest, and of these the one with the most bits. 256 is written as zero.
    let side = |byte: u8| if byte == 0 { 256_u32 } else { byte.into() };
    let rank = |entry: &&[u8]| {
        // A cursor has the place of its tip instead of the number of bits.
        let bits = if content[2] == 1 { entry[6] } else { 0 };
        (side(entry[0]) * side(entry[1]), bits)
    };
    // Of several that are alike, the first.
    let entry = entries.chunks_exact(16).rev().max_by_key(rank).ok_or(INVALID)?;
    let (length, start) = (long(entry, 8).ok_or(INVALID)?, long(entry, 12).ok_or(INVALID)?);
    let data = content.get(start as usize..).ok_or(CUT)?;
    let is_cut = data.len() < length as usize;
    let data = &data[..data.len().min(length as usize)];
    let result = if data.starts_with(b"\x89PNG") {
        png::decode(data.to_vec(), target, bounds)
    } else {
        bitmap(data, target, bounds)
    };
    match result {
        Err(Refusal::CutShort(_)) => Err(CUT),
        Err(Refusal::Damaged(..)) if is_cut => Err(CUT),
        Err(Refusal::Damaged(_, what)) => Err(Refusal::Damaged(FORMAT, what)),
        result => result,
    }
}

/// Decodes a BMP without its file header. Its height counts the rows of the mask too.
fn bitmap(data: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let header_bytes = long(data, 0).ok_or(CUT)?;
    if header_bytes != 40 {
        return Err(Refusal::Damaged(FORMAT, "the header of its bitmap is invalid"));
    }
    let [width, height, compression, colours] = [4, 8, 16, 32].map(|at| long(data, at).unwrap_or(0));
    let bits = short(data, 14).ok_or(CUT)?;
    // With masks or run lengths, the mask would not be where it is looked for.
    if compression != 0 {
        return Err(Refusal::NotSupported("an ICO with a compressed bitmap".to_owned()));
    }
    let height = height / 2;
    let size = u64::from(width) * u64::from(height);
    // Pixels without and with transparency, next to the bitmap with its file header.
    let decoding = size.saturating_mul(8).saturating_add(2 * data.len() as u64);
    Cost { format: FORMAT, width, height, decoded_rows: height, channels: 4, decoding }
        .check(target, bounds)?;

    let palette = match (bits, colours) {
        (1..=8, 0) => 1 << bits,
        (1..=8, colours) => colours.min(1 << bits),
        _ => 0,
    };
    let start = 40 + 4 * palette as usize;
    let mut file = b"BM\0\0\0\0\0\0\0\0".to_vec();
    file.extend(((FILE_HEADER_BYTES + start) as u32).to_le_bytes());
    file.extend_from_slice(data);
    file[FILE_HEADER_BYTES + 8..][..4].copy_from_slice(&height.to_le_bytes());
    let picture = bmp::decode(&file, target, bounds)?;
    drop(file);

    let (wide, high) = (width as usize, height as usize);
    let row_bytes = |bits: usize| (wide * bits).div_ceil(32) * 4;
    let rows = data.get(start..).unwrap_or_default();
    let colour_bytes = row_bytes(bits.into());
    let mask = rows.get(colour_bytes * high..).unwrap_or_default();
    // Rows begin at the bottom.
    let mut alpha = vec![255; wide * high];
    let mut put = |of: &dyn Fn(usize, usize) -> u8| {
        for (y, row) in alpha.chunks_exact_mut(wide).rev().enumerate() {
            row.iter_mut().enumerate().for_each(|(x, alpha)| *alpha = of(x, y));
        }
    };
    let stored = |x: usize, y: usize| rows.get(y * colour_bytes + x * 4 + 3).copied().unwrap_or(0);
    let has_alpha = bits == 32 && (0..high).any(|y| (0..wide).any(|x| stored(x, y) != 0));
    if has_alpha {
        put(&stored);
    } else if mask.len() >= row_bytes(1) * high {
        put(&|x, y| if mask[y * row_bytes(1) + x / 8] & 0x80 >> (x % 8) == 0 { 255 } else { 0 });
    } else if bits != 32 && bounds.truncated == Truncated::Reject {
        return Err(CUT);
    }
    let colours = picture.pixels.chunks_exact(picture.layout.channels());
    let pixels =
        colours.zip(alpha).flat_map(|(colour, alpha)| [colour[0], colour[1], colour[2], alpha]).collect();
    Ok(Picture { layout: Layout::Rgba, pixels, ..picture })
}
