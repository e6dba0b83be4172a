//! Decodes BMP: palettes, bit fields and run lengths. Source: Microsoft, "Bitmap Storage" and "Bitmap Compression" (wingdi.h).

use crate::colour::Colour;
use crate::decode::{Cost, packed};
use crate::orientation::Orientation;
use crate::picture::{Layout, Picture, drop_alpha};
use crate::refusal::Refusal;
use crate::target::Target;
use crate::{Bounds, Truncated};

const FORMAT: &str = "BMP";
const CUT: Refusal = Refusal::CutShort(FORMAT);
const INVALID: Refusal = Refusal::Damaged(FORMAT, "its header is invalid");

struct Header<'a> {
    width: u32,
    height: u32,
    /// The first row in the file is the topmost.
    is_top_down: bool,
    bits: u16,
    run_lengths: bool,
    /// Which bits of a pixel are red, green, blue and alpha.
    masks: [u32; 4],
    palette: Vec<[u8; 3]>,
    profile: Option<&'a [u8]>,
    /// Where the pixels start.
    start: usize,
}

pub(crate) fn short(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

pub(crate) fn long(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes)
}

/// Returns which bits of a pixel are which colour, or nothing for pixels with a palette.
fn masks(info: &[u8], size: usize, compression: u32, bits: u16) -> Result<[u32; 4], Refusal> {
    Ok(match (compression, bits) {
        (0, 16) => [0x7c00, 0x03e0, 0x001f, 0],
        (0, 24 | 32) => [0x00ff_0000, 0x0000_ff00, 0x0000_00ff, 0],
        (3 | 6, 16 | 32) => {
            // They are part of the larger headers, and follow the others.
            let has_alpha = size >= 56 || compression == 6;
            let mask = |at| long(info, at);
            let alpha = if has_alpha { mask(52).ok_or(CUT)? } else { 0 };
            [mask(40).ok_or(CUT)?, mask(44).ok_or(CUT)?, mask(48).ok_or(CUT)?, alpha]
        }
        (0, 1 | 2 | 4 | 8) | (1, 8) | (2, 4) => [0; 4],
        (4, _) => return Err(Refusal::NotSupported("a BMP that contains a JPEG".to_owned())),
        (5, _) => return Err(Refusal::NotSupported("a BMP that contains a PNG".to_owned())),
        _ => return Err(INVALID),
    })
}

impl<'a> Header<'a> {
    fn read(content: &'a [u8]) -> Result<Self, Refusal> {
        let start = long(content, 10).ok_or(CUT)? as usize;
        let info = content.get(14..).ok_or(CUT)?;
        let size = long(info, 0).ok_or(CUT)? as usize;
        let (width, height, bits, compression, colours) = match size {
            12 => {
                let [width, height, bits] = [4, 6, 10].map(|at| short(info, at));
                let sides = (width.ok_or(CUT)?.into(), i32::from(height.ok_or(CUT)?));
                (sides.0, sides.1, bits.ok_or(CUT)?, 0, 0)
            }
            40..=1024 => {
                let [width, height, compression, colours] = [4, 8, 16, 32].map(|at| long(info, at));
                let bits = short(info, 14).ok_or(CUT)?;
                let height = height.ok_or(CUT)?.cast_signed();
                (width.ok_or(CUT)?, height, bits, compression.ok_or(CUT)?, colours.ok_or(CUT)? as usize)
            }
            _ => return Err(INVALID),
        };
        let masks = masks(info, size, compression, bits)?;
        let mut palette = Vec::new();
        let mut start = start;
        if bits <= 8 {
            let entry = if size == 12 { 3 } else { 4 };
            let count = if colours == 0 { 1 << bits } else { colours.min(1 << bits) };
            if (1..=1 << bits).contains(&colours) {
                // Some programs leave the place of the pixels at that of the palette.
                start = start.max(14 + size + entry * count);
            }
            let bytes = info.get(size..).unwrap_or_default();
            palette =
                bytes.chunks_exact(entry).take(count).map(|entry| [entry[2], entry[1], entry[0]]).collect();
        }
        // A profile is in the file if the colour space says so ("MBED").
        let profile = (size >= 124 && long(info, 56) == Some(0x4d42_4544)).then(|| {
            let start = long(info, 112)? as usize;
            info.get(start..start.checked_add(long(info, 116)? as usize)?)
        });
        Ok(Header {
            width,
            height: height.unsigned_abs(),
            is_top_down: height < 0,
            bits,
            run_lengths: matches!(compression, 1 | 2),
            masks,
            palette,
            profile: profile.flatten(),
            start,
        })
    }

    fn layout(&self) -> Layout {
        if self.masks[3] != 0 { Layout::Rgba } else { Layout::Rgb }
    }

    fn row_bytes(&self) -> usize {
        let bytes = (u64::from(self.width) * u64::from(self.bits)).div_ceil(32) * 4;
        bytes.try_into().unwrap_or(usize::MAX)
    }
}

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let header = Header::read(content)?;
    let (width, height) = (header.width, header.height);
    let mut layout = header.layout();
    let channels = layout.channels();
    // Run lengths become indices first.
    let bytes_per_pixel = channels as u64 + u64::from(header.run_lengths);
    Cost::unscaled(FORMAT, (width, height), layout, bytes_per_pixel, content).check(target, bounds)?;
    let colour = Colour::of_profile(header.profile)?;

    let (wide, high) = (width as usize, height as usize);
    let data = content.get(header.start..).ok_or(Refusal::CutShort(FORMAT))?;
    let missing = layout.missing();
    let mut pixels = vec![missing; wide * high * channels];
    let is_whole = if header.run_lengths {
        let (indices, is_whole) = expand(data, header.bits.into(), wide, high);
        for (row, indices) in indices.chunks_exact(wide).enumerate() {
            for (index, to) in indices.iter().zip(row_at(&mut pixels, &header, row).chunks_exact_mut(3)) {
                to.copy_from_slice(&of_palette(&header, usize::from(*index)));
            }
        }
        is_whole
    } else {
        let mut rows = 0;
        for (row, from) in data.chunks_exact(header.row_bytes()).take(high).enumerate() {
            convert(from, row_at(&mut pixels, &header, row), &header);
            rows += 1;
        }
        // Padding may be missing behind the last row.
        let rest = &data[(rows * header.row_bytes()).min(data.len())..];
        let needed = (u64::from(width) * u64::from(header.bits)).div_ceil(8);
        if rows + 1 == high && rest.len() as u64 >= needed {
            convert(rest, row_at(&mut pixels, &header, rows), &header);
            rows += 1;
        }
        rows == high
    };
    let is_empty = || pixels.iter().all(|&byte| byte == missing);
    if !is_whole && (bounds.truncated == Truncated::Reject || is_empty()) {
        return Err(Refusal::CutShort(FORMAT));
    }
    // Many programs write zeros where they have no transparency.
    if layout.has_alpha() && pixels.chunks_exact(4).all(|pixel| pixel[3] == 0) {
        drop_alpha(&mut pixels);
        layout = Layout::Rgb;
    }
    let orientation = Orientation::UPRIGHT;
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, colour })
}

/// Returns the place of the file's nth row.
fn row_at<'a>(pixels: &'a mut [u8], header: &Header<'_>, row: usize) -> &'a mut [u8] {
    let high = header.height as usize;
    let bytes = pixels.len() / high;
    let row = if header.is_top_down { row } else { high - 1 - row };
    &mut pixels[row * bytes..(row + 1) * bytes]
}

/// A colour that the palette lacks is black.
fn of_palette(header: &Header<'_>, index: usize) -> [u8; 3] {
    header.palette.get(index).copied().unwrap_or_default()
}

fn convert(from: &[u8], to: &mut [u8], header: &Header<'_>) {
    match header.bits {
        bits @ 1..=8 => {
            for (x, to) in to.chunks_exact_mut(3).enumerate() {
                let index = packed(from, bits.into(), x);
                to.copy_from_slice(&of_palette(header, index.into()));
            }
        }
        24 => {
            for (from, to) in from.chunks_exact(3).zip(to.chunks_exact_mut(3)) {
                to.copy_from_slice(&[from[2], from[1], from[0]]);
            }
        }
        bits => {
            let channels = header.layout().channels();
            let bytes = from.chunks_exact(usize::from(bits / 8));
            for (from, to) in bytes.zip(to.chunks_exact_mut(channels)) {
                let pixel = from.iter().rev().fold(0, |value, &byte| value << 8 | u32::from(byte));
                for (to, mask) in to.iter_mut().zip(header.masks) {
                    let largest = u64::from(mask >> mask.trailing_zeros().min(31));
                    let value = u64::from((pixel & mask) >> mask.trailing_zeros().min(31));
                    *to = (value * 255 + largest / 2).checked_div(largest).unwrap_or(0).min(255) as u8;
                }
            }
        }
    }
}

/// Expands run lengths to one index a pixel, in the file's order of rows. Says whether the end was found.
fn expand(data: &[u8], bits: usize, wide: usize, high: usize) -> (Vec<u8>, bool) {
    let mut indices = vec![0; wide * high];
    let (mut x, mut y) = (0, 0);
    let mut put = |x: usize, y: usize, index: u8| {
        if x < wide && y < high {
            indices[y * wide + x] = index;
        }
    };
    // How many indices are in a byte.
    let each = 8 / bits;
    let mut rest = data;
    let is_whole = loop {
        let [count, value, after @ ..] = rest else {
            // The end may be missing behind the last row.
            break y + 1 >= high && x >= wide || y >= high;
        };
        rest = after;
        match (*count, *value) {
            (0, 0) => (x, y) = (0, y + 1),
            (0, 1) => break true,
            (0, 2) => {
                let [right, up, after @ ..] = rest else { break false };
                (x, y) = (x + usize::from(*right), y + usize::from(*up));
                rest = after;
            }
            (0, count) => {
                let count = usize::from(count);
                let bytes = count.div_ceil(each);
                let Some(literal) = rest.get(..bytes) else { break false };
                for at in 0..count {
                    put(x + at, y, packed(literal, bits, at));
                }
                x += count;
                rest = rest.get(bytes.next_multiple_of(2)..).unwrap_or_default();
            }
            (count, value) => {
                for at in 0..usize::from(count) {
                    put(x + at, y, packed(&[value], bits, at % each));
                }
                x += usize::from(count);
            }
        }
    };
    (indices, is_whole)
}
