//! Decodes JPEG XL, the first frame of an animation. Source: ISO/IEC 18181-1 and 18181-2.

use jxl::api::{
    AlphaMode, Event, ExtraChannel, JxlColorEncoding, JxlColorProfile, JxlColorType, JxlDataFormat,
    JxlDecoder, JxlDecoderOptions, JxlOutputBuffer, JxlPixelFormat, JxlTransferFunction,
};

use crate::colour::{Colour, MAX_PROFILE_BYTES};
use crate::decode::Cost;
use crate::orientation::Orientation;
use crate::picture::{Layout, Picture};
use crate::refusal::Refusal;
use crate::target::Target;
use crate::{Bounds, Truncated};

const FORMAT: &str = "JPEG XL";
const CUT: Refusal = Refusal::CutShort(FORMAT);
const INVALID_HEADER: Refusal = Refusal::Damaged(FORMAT, "its header is invalid");

/// Memory of the decoder for each sample of a frame, which is kept whole where the file asks for it. Most files take a tenth
/// of it: 12 megapixels were decoded in 46 to 59 MiB with the file and the pixels.
const BYTES_PER_SAMPLE: u64 = 4;

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let mut options = JxlDecoderOptions::default();
    options.adjust_orientation = false;
    options.alpha_mode = AlphaMode::Unpremultiplied;
    // No frame may be much larger than the pictures that are allowed.
    options.sample_limit = Some(usize::try_from(bounds.pixels.saturating_mul(4)).unwrap_or(usize::MAX));
    let mut decoder = JxlDecoder::new(options);
    let mut rest = content;
    match decoder.process(&mut rest, None, None) {
        Ok(Event::BasicInfo) => {}
        Ok(Event::NeedMoreInput { .. }) => return Err(CUT),
        _ => return Err(INVALID_HEADER),
    }
    let (Some(info), Some(profile)) = (decoder.basic_info(), decoder.embedded_color_profile()) else {
        return Err(INVALID_HEADER);
    };
    match profile.transfer_function() {
        Some(JxlTransferFunction::PQ) => return not_supported("a JPEG XL with HDR colours (PQ)"),
        Some(JxlTransferFunction::HLG) => return not_supported("a JPEG XL with HDR colours (HLG)"),
        _ => {}
    }
    let extra = &info.extra_channels;
    let has = |kind| extra.iter().any(|channel| channel.ec_type == kind);
    if has(ExtraChannel::Black) || profile.is_cmyk() {
        return not_supported("a JPEG XL in CMYK");
    }
    let (layout, color_type) = match (profile.channels(), has(ExtraChannel::Alpha)) {
        (1, false) => (Layout::Gray, JxlColorType::Grayscale),
        (1, true) => (Layout::GrayAlpha, JxlColorType::GrayscaleAlpha),
        (_, false) => (Layout::Rgb, JxlColorType::Rgb),
        (_, true) => (Layout::Rgba, JxlColorType::Rgba),
    };
    let (Ok(width), Ok(height)) = (u32::try_from(info.size.0), u32::try_from(info.size.1)) else {
        return Err(INVALID_HEADER);
    };
    let channels = layout.channels();
    let samples = (3 + extra.len()) as u64;
    let per_pixel = channels as u64 + samples * BYTES_PER_SAMPLE;
    Cost::unscaled(FORMAT, (width, height), layout, per_pixel, content).check(target, bounds)?;
    let orientation = Orientation::of(info.orientation as u64).unwrap_or(Orientation::UPRIGHT);
    let format = JxlPixelFormat {
        color_type,
        color_data_format: Some(JxlDataFormat::U8 { bit_depth: 8 }),
        extra_channel_format: vec![None; extra.len()],
    };
    decoder.set_pixel_format(format).map_err(|_| INVALID_HEADER)?;
    let colour = colour(decoder.output_color_profile(), channels < 3)?;

    let (wide, high) = (width as usize, height as usize);
    let mut pixels = vec![layout.missing(); wide * high * channels];
    let mut outputs = [JxlOutputBuffer::new(&mut pixels, high, wide * channels)];
    loop {
        match decoder.process(&mut rest, Some(&mut outputs), None) {
            Ok(Event::FrameHeader | Event::BasicInfo) => {}
            Ok(Event::FrameComplete { .. }) => break,
            Ok(Event::NeedMoreInput { .. }) => {
                // What is there of the frame may be less sharp than the whole.
                let is_kept = bounds.truncated == Truncated::Keep;
                if !is_kept || !matches!(decoder.flush_pixels(&mut outputs, None), Ok(true)) {
                    return Err(CUT);
                }
                break;
            }
            Ok(Event::Complete) => return Err(Refusal::Damaged(FORMAT, "it has no frame")),
            Err(_) => return Err(Refusal::Damaged(FORMAT, "its compressed pixels are invalid")),
        }
    }
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, colour })
}

fn not_supported<T>(what: &str) -> Result<T, Refusal> {
    Err(Refusal::NotSupported(what.to_owned()))
}

/// Returns what the decoder's pixels mean.
fn colour(profile: Option<&JxlColorProfile>, is_gray: bool) -> Result<Colour, Refusal> {
    let standard = JxlColorProfile::Simple(JxlColorEncoding::srgb(is_gray));
    match profile {
        Some(profile) if !profile.same_color_encoding(&standard) => match profile.try_as_icc() {
            Some(icc) if icc.len() > MAX_PROFILE_BYTES => Err(Refusal::large_profile()),
            icc => Colour::of_profile(icc.map(std::borrow::Cow::into_owned)),
        },
        _ => Ok(Colour::Standard),
    }
}
