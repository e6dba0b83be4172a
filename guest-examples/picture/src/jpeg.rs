//! Decodes a JPEG at the scale that is needed, so that a photograph of many megapixels is never in memory as
//! a whole.

use jpeg_decoder::{CodingProcess, Decoder, PixelFormat};

use crate::Bounds;
use crate::decode::Cost;
use crate::picture::{Layout, Orientation, Picture, Refusal, fit};

pub(crate) fn decode(content: &[u8], max_side: u32, bounds: &Bounds) -> Result<Picture, Refusal> {
    let mut decoder = Decoder::new(content);
    decoder.read_info().map_err(Refusal::broken)?;
    let info = decoder.info().ok_or_else(|| Refusal::broken("it has no header"))?;
    let (layout, channels) = match info.pixel_format {
        PixelFormat::L8 => (Layout::Gray, 1),
        PixelFormat::RGB24 => (Layout::Rgb, 3),
        PixelFormat::CMYK32 => (Layout::Rgb, 4),
        PixelFormat::L16 => return Err(Refusal::broken("a JPEG of more than eight bits")),
    };
    let (full_width, full_height) = (u32::from(info.width), u32::from(info.height));
    let (to_width, to_height) = fit(full_width, full_height, max_side);
    // The decoder accepts a scale at which one side is large enough. The shorter side, rounded up, could be so by
    // chance, so only the longer one counts.
    let (request_width, request_height) =
        if to_width >= to_height { (to_width as u16, u16::MAX) } else { (u16::MAX, to_height as u16) };
    let (width, height) = decoder.scale(request_width, request_height).map_err(Refusal::broken)?;
    let (width, height) = (u32::from(width), u32::from(height));

    // The pixels, and the planes that they are assembled from.
    let pixels = u64::from(width) * u64::from(height) * channels * 2;
    let coefficients = match info.coding_process {
        CodingProcess::DctSequential => 0,
        // Progressive data comes in passes over the whole picture, which are kept at full size whatever the scale.
        CodingProcess::DctProgressive => {
            2 * samples(content).unwrap_or(u64::from(full_width) * u64::from(full_height) * channels)
        }
        CodingProcess::Lossless => u64::from(full_width) * u64::from(full_height) * channels * 4,
    };
    Cost {
        width: full_width,
        height: full_height,
        decoded: (width, height),
        channels: channels as usize,
        decoding: pixels + coefficients,
    }
    .check(content, max_side, bounds)?;

    let mut pixels = decoder.decode().map_err(Refusal::broken)?;
    let is_cmyk = info.pixel_format == PixelFormat::CMYK32;
    if is_cmyk {
        cmyk_to_rgb(&mut pixels);
    }
    if pixels.len() != width as usize * height as usize * layout.channels() {
        return Err(Refusal::broken("it holds fewer pixels than its header says"));
    }
    let orientation = decoder.exif_data().map_or(Orientation::UPRIGHT, Orientation::from_exif);
    // A colour profile for ink doesn't apply to RGB.
    let icc_profile = decoder.icc_profile().filter(|_| !is_cmyk);
    Ok(Picture { full: (full_width, full_height), width, height, layout, pixels, orientation, icc_profile })
}

/// Converts CMYK pixels to RGB in place. The decoder returns amounts of ink. How these look on paper depends on the
/// profile, which is ignored.
fn cmyk_to_rgb(pixels: &mut Vec<u8>) {
    let count = pixels.len() / 4;
    for pixel in 0..count {
        let light = 255 - u32::from(pixels[pixel * 4 + 3]);
        for channel in 0..3 {
            let ink = u32::from(pixels[pixel * 4 + channel]);
            pixels[pixel * 3 + channel] = (((255 - ink) * light + 127) / 255) as u8;
        }
    }
    pixels.truncate(count * 3);
}

/// Counts the samples that the frame header announces, of all components together. Colour mostly has a lower resolution
/// than brightness, and the decoder doesn't report it. Source: ISO/IEC 10918-1, B.2.2.
fn samples(content: &[u8]) -> Option<u64> {
    let mut rest = content.get(2..)?;
    loop {
        // A marker, perhaps after fill bytes, and the length of its segment.
        let start = rest.iter().position(|&byte| byte == 0xff)?;
        rest = &rest[start..];
        let start = rest.iter().position(|&byte| byte != 0xff)?;
        let (marker, length) = match rest.get(start..start + 3)? {
            &[marker, high, low] => (marker, usize::from(u16::from_be_bytes([high, low]))),
            _ => return None,
        };
        let segment = rest.get(start + 1..start + 1 + length)?;
        // Markers of a start of frame. The three excluded ones mark tables or are reserved.
        if matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc) {
            return frame_samples(segment);
        }
        rest = &rest[start + 1 + length..];
    }
}

fn frame_samples(segment: &[u8]) -> Option<u64> {
    let &[_, _, _, high, low, wide_high, wide_low, count, ref components @ ..] = segment else {
        return None;
    };
    let height = u64::from(u16::from_be_bytes([high, low]));
    let width = u64::from(u16::from_be_bytes([wide_high, wide_low]));
    let factors: Vec<(u64, u64)> = components
        .chunks_exact(3)
        .take(usize::from(count))
        .map(|component| (u64::from(component[1] >> 4), u64::from(component[1] & 15)))
        .collect();
    let across = factors.iter().map(|factor| factor.0).max().filter(|&factor| factor > 0)?;
    let down = factors.iter().map(|factor| factor.1).max().filter(|&factor| factor > 0)?;
    // Counts whole groups of blocks, as the decoder stores them.
    let (columns, rows) = (width.div_ceil(8 * across), height.div_ceil(8 * down));
    Some(factors.iter().map(|(x, y)| columns * x * rows * y * 64).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cmyk_is_ink_on_white_paper() {
        let mut pixels = vec![0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0, 0, 0, 255, 255, 0];
        cmyk_to_rgb(&mut pixels);
        assert_eq!(pixels, [255, 255, 255, 0, 0, 0, 0, 255, 255, 255, 0, 0]);
    }

    #[test]
    fn samples_are_counted_in_whole_groups_of_blocks() {
        // 100 x 50, three components, colour at half the resolution both ways: 7 x 4 groups of six blocks.
        let header = [0xff, 0xd8, 0xff, 0xfe, 0, 3, 9, 0xff, 0xc2, 0, 17, 8, 0, 50, 0, 100, 3];
        let components = [1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
        let content = [header.as_slice(), components.as_slice()].concat();
        assert_eq!(samples(&content), Some(7 * 4 * 6 * 64));
        for length in 0..content.len() {
            assert_eq!(samples(&content[..length]), None, "cut at {length}");
        }
    }
}
