//! Decodes a JPEG at the scale that is needed, so that a photograph of many megapixels is never in memory as a whole.

mod file;
mod frame;
mod kept;
pub(crate) mod part;
mod scaled;

use jpeg_decoder::{ColorTransform, Decoder, Error, UnsupportedFeature};

use crate::colour::Colour;
use crate::decode::Cost;
use crate::orientation::Orientation;
use crate::picture::{Picture, fit};
use crate::refusal::Refusal;
use crate::target::Target;
use crate::{Bounds, Truncated};
use file::File;
use kept::Cut;

const FORMAT: &str = "JPEG";

pub(crate) fn decode(content: Vec<u8>, target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let file = File::of(&content)?;
    let frame = file.checked_frame()?;
    let layout = frame.layout()?;
    let full = (u32::from(frame.width), u32::from(frame.height));
    // What says how to show the pixels is read first: it may refuse the picture.
    let colour = Colour::of_profile(file.profile(&content))?;
    let (exif, xmp) = file.blocks(&content);
    let orientation = Orientation::choose(exif, xmp, None);
    let side = target.side(full, orientation);
    let (is_rgb, is_complete) = (file.is_rgb(), file.is_complete());
    if !file.is_cut
        && is_complete
        && let Some((width, height, pixels)) = scaled::decode(&content, is_rgb, side, target, bounds)
    {
        return Ok(Picture { full, width, height, layout, pixels, orientation, colour });
    }
    let size = content.len() as u64;
    let (mended, pads) = file.mend(&content);
    drop(content);
    let mut rest = mended.as_slice();
    let mut decoder = Decoder::new(&mut rest);
    let (width, height) = scaled(&mut decoder, full, side)?;
    let channels = layout.channels();
    let pixels = u64::from(width) * u64::from(height) * channels as u64;
    // What is kept of a file that is cut is there while more is tried.
    let is_kept = bounds.truncated == Truncated::Keep;
    let kept = if is_kept { pixels } else { 0 };
    let memory = frame.memory(pixels, eighths(full, (width, height)).unwrap_or(8));
    Cost {
        format: FORMAT,
        width: full.0,
        height: full.1,
        decoded_rows: height,
        channels,
        // The file is there twice while its end is looked after.
        decoding: kept + memory + 2 * size,
    }
    .check(target, bounds)?;
    if is_rgb {
        decoder.set_color_transform(ColorTransform::RGB);
    }
    let decoded = decoder.decode();
    drop(decoder);
    let at = mended.len() - rest.len();
    let is_short = file.is_cut || pads.iter().any(|pad| pad.contains(&at));
    let pixels = match decoded {
        Ok(pixels) if !file.is_cut || is_complete || is_kept => pixels,
        Err(error) if !is_short => return Err(refusal(&error)),
        Err(_) if is_kept => {
            let cut = Cut { file: &file, frame, content: mended, pads, full, size: (width, height) };
            cut.filled(at, layout).ok_or(Refusal::CutShort(FORMAT))?
        }
        _ => return Err(Refusal::CutShort(FORMAT)),
    };
    if pixels.len() != width as usize * height as usize * channels {
        return Err(Refusal::Damaged(FORMAT, "it holds fewer pixels than its header says"));
    }
    Ok(Picture { full, width, height, layout, pixels, orientation, colour })
}

/// Returns the file's EXIF block and XMP packet.
pub(crate) fn blocks(content: &[u8]) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let Ok(file) = File::of(content) else {
        return (None, None);
    };
    let (exif, xmp) = file.blocks(content);
    (exif.map(<[u8]>::to_vec), xmp.map(<[u8]>::to_vec))
}

/// Sets the smallest scale that gives at least the pixels which are needed. Returns the size at that scale.
fn scaled<R: std::io::Read>(
    decoder: &mut Decoder<R>,
    (full_width, full_height): (u32, u32),
    max_side: u32,
) -> Result<(u32, u32), Refusal> {
    let (to_width, to_height) = fit(full_width, full_height, max_side);
    // The decoder accepts a scale at which one side is large enough. The shorter side, rounded up, could be so by
    // chance, so only the longer one counts.
    let (request_width, request_height) =
        if to_width >= to_height { (to_width as u16, u16::MAX) } else { (u16::MAX, to_height as u16) };
    let (width, height) = decoder.scale(request_width, request_height).map_err(|error| refusal(&error))?;
    Ok((u32::from(width), u32::from(height)))
}

/// Returns how many eighths of the full size give this size.
fn eighths(full: (u32, u32), size: (u32, u32)) -> Option<u32> {
    [1, 2, 4, 8].into_iter().find(|eighths| {
        let scaled = |side: u32| (side * eighths).div_ceil(8);
        (scaled(full.0), scaled(full.1)) == size
    })
}

fn refusal(error: &Error) -> Refusal {
    let what = match error {
        Error::Io(_) => return Refusal::CutShort(FORMAT),
        Error::Unsupported(feature) => {
            return Refusal::NotSupported(
                match feature {
                    UnsupportedFeature::SubsamplingRatio | UnsupportedFeature::NonIntegerSubsamplingRatio => {
                        "a JPEG with an unusual resolution of colours"
                    }
                    UnsupportedFeature::Hierarchical => "a hierarchical JPEG",
                    UnsupportedFeature::ArithmeticEntropyCoding => "a JPEG with arithmetic coding",
                    UnsupportedFeature::DNL => "a JPEG whose height follows its pixels",
                    _ => "a JPEG of an unusual kind",
                }
                .to_owned(),
            );
        }
        Error::Format(text) if text.contains("unset quantization") => "a quantization table is missing",
        Error::Format(text) if text.contains("unset") => "a Huffman table is missing",
        Error::Format(text) if text.contains("RST") => "a restart marker is missing in its compressed pixels",
        Error::Format(text)
            if text.contains("huffman") || text.contains("coefficient") || text.contains("magnitude") =>
        {
            "its compressed pixels are invalid"
        }
        Error::Format(_) | Error::Internal(_) => "a segment before its compressed pixels is invalid",
    };
    Refusal::Damaged(FORMAT, what)
}
