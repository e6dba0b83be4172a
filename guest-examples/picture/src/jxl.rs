//! Decodes JPEG XL, the first frame of an animation. Source: ISO/IEC 18181-1 and 18181-2.

use std::io::{self, IoSliceMut, Read};

use jxl::api::{
    AlphaMode, Event, ExtraChannel, JxlBitstreamInput, JxlColorEncoding, JxlColorProfile, JxlColorType,
    JxlDataFormat, JxlDecoder, JxlDecoderOptions, JxlOutputBuffer, JxlPixelFormat, JxlTransferFunction,
};
use jxl::error::Error;

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

/// Memory of the decoder for each sample of a frame that is kept whole, because the file asks for it or because other frames
/// refer to it. Most files take a tenth of it: 12 megapixels were decoded in 46 to 59 MiB with the file and the pixels.
const BYTES_PER_SAMPLE: u64 = 4;
/// A frame is narrow for the decoder below this width in pixels: it pads rows.
const LEAST_WIDTH: u64 = 16;
/// The bound of a frame's samples is also that of a palette's, which a small picture may exceed.
const LEAST_SAMPLES: u64 = 1 << 16;
/// The most frames that are in memory at once: four to refer to, four of low resolution, and the one that is decoded, which is
/// kept to be referred to as well.
const MOST_FRAMES: u64 = 10;

pub(crate) fn decode(content: &[u8], target: Target<'_>, bounds: &Bounds) -> Result<Picture, Refusal> {
    let header = Header::read(content)?;
    header.cost(content, 1).check(target, bounds)?;
    header.cost(content, frames_kept(content, &header)?).check(target, bounds)?;

    let Header { size: (width, height), layout, orientation, .. } = header;
    let mut rest = content;
    let mut decoder = begun(&mut rest, Some(header.frame_samples()))?;
    decoder.set_pixel_format(header.pixel_format()).map_err(|_| INVALID_HEADER)?;
    let channels = layout.channels();
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
            Err(Error::ImageSizeTooLarge(..)) => return larger_frame(),
            Err(_) => return Err(Refusal::Damaged(FORMAT, "its compressed pixels are invalid")),
        }
    }
    Ok(Picture { full: (width, height), width, height, layout, pixels, orientation, colour })
}

/// Makes a decoder that refuses frames of more samples than `most`.
fn decoder(most: Option<u64>) -> JxlDecoder {
    let mut options = JxlDecoderOptions::default();
    options.adjust_orientation = false;
    options.alpha_mode = AlphaMode::Unpremultiplied;
    // The decoder refuses a frame that reaches the limit.
    options.sample_limit = most.map(|most| usize::try_from(most.saturating_add(1)).unwrap_or(usize::MAX));
    JxlDecoder::new(options)
}

/// Makes a decoder that has read the file's header.
fn begun(rest: &mut &[u8], most: Option<u64>) -> Result<JxlDecoder, Refusal> {
    let mut decoder = decoder(most);
    match decoder.process(rest, None, None) {
        Ok(Event::BasicInfo) => Ok(decoder),
        Ok(Event::NeedMoreInput { .. }) => Err(CUT),
        _ => Err(INVALID_HEADER),
    }
}

/// What the file's header says.
struct Header {
    size: (u32, u32),
    layout: Layout,
    color_type: JxlColorType,
    /// Number of channels besides the colours.
    extra: usize,
    orientation: Orientation,
}

impl Header {
    fn read(mut content: &[u8]) -> Result<Self, Refusal> {
        let decoder = begun(&mut content, None)?;
        let (Some(info), Some(profile)) = (decoder.basic_info(), decoder.embedded_color_profile()) else {
            return Err(INVALID_HEADER);
        };
        match profile.transfer_function() {
            Some(JxlTransferFunction::PQ) => return not_supported("a JPEG XL with HDR colours (PQ)"),
            Some(JxlTransferFunction::HLG) => return not_supported("a JPEG XL with HDR colours (HLG)"),
            _ => {}
        }
        let has = |kind| info.extra_channels.iter().any(|channel| channel.ec_type == kind);
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
        let orientation = Orientation::of(info.orientation as u64).unwrap_or(Orientation::UPRIGHT);
        Ok(Header {
            size: (width, height),
            layout,
            color_type,
            extra: info.extra_channels.len(),
            orientation,
        })
    }

    /// Number of samples that a frame may have: those of the picture, of which the decoder keeps three colours even if it is
    /// gray.
    fn frame_samples(&self) -> u64 {
        let (width, height) = (u64::from(self.size.0), u64::from(self.size.1));
        let samples = width.max(LEAST_WIDTH).saturating_mul(height).saturating_mul(3 + self.extra as u64);
        samples.max(LEAST_SAMPLES)
    }

    /// The cost with a number of frames in memory, none of which is larger than the picture.
    fn cost(&self, content: &[u8], frames: u64) -> Cost {
        let channels = self.layout.channels() as u64;
        let mut cost = Cost::unscaled(FORMAT, self.size, self.layout, channels, content);
        let frames = self.frame_samples().saturating_mul(BYTES_PER_SAMPLE * frames);
        // The decoder copies the sections of a frame out of the file.
        cost.decoding = cost.decoding.saturating_add(frames).saturating_add(content.len() as u64);
        cost
    }

    fn pixel_format(&self) -> JxlPixelFormat {
        JxlPixelFormat {
            color_type: self.color_type,
            color_data_format: Some(JxlDataFormat::U8 { bit_depth: 8 }),
            extra_channel_format: vec![None; self.extra],
        }
    }
}

/// Returns how many frames can be in memory at once. Most files begin with the frame that is shown and refer to no other. The
/// decoder doesn't tell of the other frames before it has decoded them, so they are what asks for more than headers.
fn frames_kept(content: &[u8], header: &Header) -> Result<u64, Refusal> {
    let mut decoder = decoder(Some(header.frame_samples()));
    let mut rest = content;
    loop {
        let left = rest.len();
        match decoder.process(&mut ByteOfHeaders { rest: &mut rest, is_read: false }, None, None) {
            Ok(Event::BasicInfo) => {}
            Ok(Event::FrameHeader) => {
                let is_alone = decoder.scanned_frames().first().is_some_and(|frame| frame.is_last);
                return Ok(if is_alone { 1 } else { 2 });
            }
            Ok(Event::NeedMoreInput { .. }) if rest.is_empty() => return Err(CUT),
            Ok(Event::NeedMoreInput { .. }) if rest.len() < left => {}
            Err(Error::ImageSizeTooLarge(..)) => return larger_frame(),
            // A frame that isn't shown, or a damaged file, which the next decoder refuses.
            _ => return Ok(MOST_FRAMES),
        }
    }
}

/// Gives the decoder one byte, so that it reads headers and nothing behind them. It asks how many bytes there are only for
/// the sections of a frame, which are refused.
struct ByteOfHeaders<'a, 'file> {
    rest: &'a mut &'file [u8],
    is_read: bool,
}

impl JxlBitstreamInput for ByteOfHeaders<'_, '_> {
    fn available_bytes(&mut self) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let byte = self.rest.get(..usize::from(!self.is_read)).unwrap_or_default();
        let read = (&mut &*byte).read_vectored(buffers)?;
        *self.rest = &self.rest[read..];
        self.is_read |= read > 0;
        Ok(read)
    }

    fn skip(&mut self, bytes: usize) -> io::Result<usize> {
        JxlBitstreamInput::skip(self.rest, bytes)
    }
}

fn larger_frame<T>() -> Result<T, Refusal> {
    not_supported("a JPEG XL with a frame that is larger than the picture")
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
