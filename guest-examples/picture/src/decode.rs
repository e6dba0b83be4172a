//! Decodes a file to a picture. The file's first bytes, not its name, decide its format. The header shows how much
//! memory decoding takes, before anything is allocated.

use std::io::Cursor;

use image_webp::WebPDecoder;
use png::{BitDepth, ColorType, Transformations};

use crate::Bounds;
use crate::jpeg;
use crate::picture::{Layout, Orientation, Picture, Refusal, fit};

/// Maximum size of a colour profile that is kept. Profiles are a few kilobytes. Only those of printers are larger, and
/// not worth their size in a thumbnail.
const MAX_ICC_PROFILE_BYTES: usize = 64 << 10;

/// Memory for a pixel of the thumbnail: resized, turned, and in the encoder's own copies.
const THUMBNAIL_BYTES_PER_PIXEL: u64 = 12;

/// Decodes a file to a picture, scaled down while decoding to not less than `max_side` pixels where the format allows.
///
/// # Errors
///
/// When the file is no picture that can be read, or exceeds the bounds.
pub fn decode(content: &[u8], max_side: u32, bounds: &Bounds) -> Result<Picture, Refusal> {
    let mut picture = match content {
        [0xff, 0xd8, 0xff, ..] => jpeg::decode(content, max_side, bounds),
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => decode_png(content, max_side, bounds),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => {
            decode_webp(content, max_side, bounds)
        }
        _ => Err(Refusal::NotAPicture),
    }?;
    picture.icc_profile = picture.icc_profile.filter(|profile| profile.len() <= MAX_ICC_PROFILE_BYTES);
    Ok(picture)
}

/// The size of a picture, and the memory for decoding it.
pub(crate) struct Cost {
    /// The picture's width and height before any scaling.
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Width and height of the decoder's result.
    pub(crate) decoded: (u32, u32),
    pub(crate) channels: usize,
    /// Memory for decoding, with its result, in bytes.
    pub(crate) decoding: u64,
}

impl Cost {
    /// Refuses a picture that exceeds the bounds. `content` is the file, which stays in memory.
    pub(crate) fn check(&self, content: &[u8], max_side: u32, bounds: &Bounds) -> Result<(), Refusal> {
        let &Cost { width, height, decoded: (_, decoded_height), channels, decoding } = self;
        if width == 0 || height == 0 {
            return Err(Refusal::broken("it has no pixels"));
        }
        if u64::from(width) * u64::from(height) > bounds.pixels {
            return Err(Refusal::TooManyPixels { width, height, max_pixels: bounds.pixels });
        }
        let (to_width, to_height) = fit(width, height, max_side);
        // The resizer works on the rows first, then on the columns.
        let resizing = u64::from(to_width) * u64::from(decoded_height) * channels as u64;
        let thumbnail = u64::from(to_width) * u64::from(to_height) * THUMBNAIL_BYTES_PER_PIXEL;
        let needed = decoding.saturating_add(content.len() as u64 + resizing + thumbnail);
        if needed > bounds.memory {
            return Err(Refusal::TooMuchMemory { needed, available: bounds.memory });
        }
        Ok(())
    }
}

fn decode_png(content: &[u8], max_side: u32, bounds: &Bounds) -> Result<Picture, Refusal> {
    let mut decoder = png::Decoder::new(Cursor::new(content));
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    let mut reader = decoder.read_info().map_err(Refusal::broken)?;
    let (width, height) = reader.info().size();
    let layout = match reader.output_color_type() {
        (ColorType::Grayscale, BitDepth::Eight) => Layout::Gray,
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => Layout::GrayAlpha,
        (ColorType::Rgb, BitDepth::Eight) => Layout::Rgb,
        (ColorType::Rgba, BitDepth::Eight) => Layout::Rgba,
        (color_type, depth) => {
            return Err(Refusal::Broken(format!("{color_type:?} at {depth:?} bits")));
        }
    };
    let size = reader.output_buffer_size().unwrap_or(usize::MAX);
    let channels = layout.channels();
    Cost { width, height, decoded: (width, height), channels, decoding: size as u64 }
        .check(content, max_side, bounds)?;

    let mut pixels = vec![0; size];
    let frame = reader.next_frame(&mut pixels).map_err(Refusal::broken)?;
    pixels.truncate(frame.buffer_size());
    if pixels.len() != width as usize * height as usize * channels {
        return Err(Refusal::broken("its first frame is not of its own size"));
    }
    let info = reader.info();
    let orientation = info.exif_metadata.as_deref().map_or(Orientation::UPRIGHT, Orientation::from_exif);
    let icc_profile = info.icc_profile.as_deref().map(<[u8]>::to_vec);
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, icc_profile })
}

fn decode_webp(content: &[u8], max_side: u32, bounds: &Bounds) -> Result<Picture, Refusal> {
    let mut decoder = WebPDecoder::new(Cursor::new(content)).map_err(Refusal::broken)?;
    let (width, height) = decoder.dimensions();
    let layout = if decoder.has_alpha() { Layout::Rgba } else { Layout::Rgb };
    // The result, and next to it: the planes of lossy frames before they are RGB (three bytes for two pixels), the RGBA
    // pixels that lossless frames pass through, the two planes of a lossy picture's alpha, the canvas of an animation.
    let bytes_per_pixel = match (decoder.is_animated(), decoder.is_lossy(), decoder.has_alpha()) {
        (true, _, _) => 16,
        (false, true, true) => 11,
        (false, true, false) => 5,
        (false, false, true) => 4,
        (false, false, false) => 7,
    };
    let decoding = u64::from(width) * u64::from(height) * bytes_per_pixel;
    let channels = layout.channels();
    Cost { width, height, decoded: (width, height), channels, decoding }.check(content, max_side, bounds)?;

    let mut pixels = vec![0; width as usize * height as usize * channels];
    decoder.read_image(&mut pixels).map_err(Refusal::broken)?;
    // Orientation and profile are optional, so an error in them is ignored.
    let exif = decoder.exif_metadata().ok().flatten();
    let orientation = exif.as_deref().map_or(Orientation::UPRIGHT, Orientation::from_exif);
    let icc_profile = decoder.icc_profile().ok().flatten();
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, icc_profile })
}
