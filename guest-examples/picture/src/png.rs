//! Decodes PNG. Of an animation the default image is taken.

mod chunks;

use std::io::Cursor;

use moxcms::{
    Chromaticity, CicpColorPrimaries, CicpProfile, ColorPrimaries, MatrixCoefficients,
    TransferCharacteristics, XyY,
};
use png::{BitDepth, ColorType, DecodingError, Info, Transformations};

use crate::colour::{Colour, Described};
use crate::decode::Cost;
use crate::orientation::Orientation;
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;
use crate::target::Target;
use crate::{Bounds, Truncated};
use chunks::Chunks;

const FORMAT: &str = "PNG";

pub(crate) fn decode(mut content: Vec<u8>, target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let is_cut = chunks::mend(&mut content);
    let refusal = |error: DecodingError| if is_cut { Refusal::CutShort(FORMAT) } else { refusal(&error) };
    let mut decoder = png::Decoder::new(Cursor::new(content.as_slice()));
    decoder.set_transformations(Transformations::normalize_to_color8());
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    // The checksum of the chunk in which a file ends is lost.
    decoder.ignore_checksums(is_cut);
    let mut reader = decoder.read_info().map_err(refusal)?;
    let (width, height) = reader.info().size();
    let layout = match reader.output_color_type() {
        (ColorType::Grayscale, BitDepth::Eight) => Layout::Gray,
        (ColorType::GrayscaleAlpha, BitDepth::Eight) => Layout::GrayAlpha,
        (ColorType::Rgb, BitDepth::Eight) => Layout::Rgb,
        (ColorType::Rgba, BitDepth::Eight) => Layout::Rgba,
        _ => return Err(Refusal::Damaged(FORMAT, "its header is invalid")),
    };
    let size = reader.output_buffer_size().unwrap_or(usize::MAX);
    let channels = layout.channels();
    let decoding = (size as u64).saturating_add(content.len() as u64);
    Cost { format: FORMAT, width, height, decoded_rows: height, channels, decoding }.check(target, bounds)?;

    let chunks = Chunks::of(&content)?;
    let colour = colour(reader.info(), chunks.profile)?;
    let orientation = Orientation::choose(chunks.exif, chunks.xmp.as_deref(), chunks.raw_profile.as_deref());
    let missing = layout.missing();
    let mut pixels = vec![missing; size];
    match reader.next_frame(&mut pixels) {
        Ok(frame) if (frame.width, frame.height) == (width, height) => {}
        Ok(_) => return Err(Refusal::Damaged(FORMAT, "its first frame is smaller than the picture")),
        Err(_)
            if is_cut
                && bounds.truncated == Truncated::Keep
                && pixels.iter().any(|&byte| byte != missing) => {}
        Err(error) => return Err(refusal(error)),
    }
    pixels.truncate(width as usize * height as usize * channels);
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, colour })
}

/// Returns the file's EXIF block and XMP packet.
pub(crate) fn blocks(content: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    Chunks::of(content)
        .map_or((None, None), |chunks| (chunks.exif.map(<[u8]>::to_vec).or(chunks.raw_profile), chunks.xmp))
}

/// Returns the number of frames that the file states.
pub(crate) fn frames(content: &[u8]) -> u32 {
    chunks::frames(content).unwrap_or(1)
}

/// Chooses between the chunks that say what colours mean. Source: PNG, third edition, 4.3.
fn colour(info: &Info<'_>, profile: Option<Vec<u8>>) -> Result<Colour, Refusal> {
    if let Some(points) = &info.coding_independent_code_points {
        let curve = match points.transfer_function {
            16 => return Err(Refusal::NotSupported("a PNG with HDR colours (PQ)".to_owned())),
            18 => return Err(Refusal::NotSupported("a PNG with HDR colours (HLG)".to_owned())),
            curve => TransferCharacteristics::try_from(curve),
        };
        if let (Ok(color_primaries), Ok(transfer_characteristics)) =
            (CicpColorPrimaries::try_from(points.color_primaries), curve)
        {
            let matrix_coefficients = MatrixCoefficients::Identity;
            return Ok(Colour::Points(CicpProfile {
                color_primaries,
                transfer_characteristics,
                matrix_coefficients,
                full_range: true,
            }));
        }
    }
    if profile.is_some() {
        return Colour::of_profile(profile);
    }
    if info.srgb.is_some() {
        return Ok(Colour::Standard);
    }
    let gamma = info.gama_chunk.map(|gamma| gamma.into_value()).filter(|gamma| (0.05..=20.0).contains(gamma));
    let primaries = info.chrm_chunk.as_ref().and_then(|chunk| {
        let [white, red, green, blue] = [chunk.white, chunk.red, chunk.green, chunk.blue]
            .map(|(x, y)| Chromaticity { x: x.into_value(), y: y.into_value() });
        // A triangle that isn't flat, and a white that isn't dark.
        let area = (green.x - red.x) * (blue.y - red.y) - (blue.x - red.x) * (green.y - red.y);
        let is_valid = area.abs() > 0.001 && [white, red, green, blue].iter().all(|point| point.y > 0.001);
        let white = XyY { x: f64::from(white.x), y: f64::from(white.y), yb: 1.0 };
        is_valid.then_some((white, ColorPrimaries { red, green, blue }))
    });
    Ok(Described::new(gamma, primaries).map_or(Colour::Standard, Colour::Described))
}

fn refusal(error: &DecodingError) -> Refusal {
    let what = match error {
        DecodingError::IoError(_) => return Refusal::CutShort(FORMAT),
        DecodingError::LimitsExceeded => "a chunk is larger than any of its kind",
        DecodingError::Parameter(_) => "its header is invalid",
        DecodingError::Format(error) => {
            // The library has no public kinds of error, but its texts begin differently.
            let text = error.to_string();
            if text.starts_with("CRC error") {
                "the checksum of a chunk is wrong"
            } else if text.contains("deflate") || text.contains("compressed") || text.contains("image data") {
                "its compressed pixels are invalid"
            } else {
                "a chunk is missing or invalid"
            }
        }
    };
    Refusal::Damaged(FORMAT, what)
}
