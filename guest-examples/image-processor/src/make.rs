//! Makes the renditions of one decoded picture.

use picture::{Encoding, Format, Layout, Picture, Refusal, Rights, encode};
use serde::Serialize;

use crate::rendition::{self, Choice, Rendition};

/// An output of a rendition, as the sidecar lists it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Output {
    pub(crate) name: String,
    pub(crate) key: String,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) bytes: u64,
    pub(crate) format: &'static str,
}

/// A file of a rendition.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) file: Vec<u8>,
    pub(crate) format: Format,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Made {
    pub(crate) fn output(&self, rendition: &Rendition, key: &str) -> Output {
        Output {
            name: rendition.name.clone(),
            key: key.to_owned(),
            width: self.width,
            height: self.height,
            bytes: self.file.len() as u64,
            format: rendition::name(self.format),
        }
    }
}

/// Checks that the rendition's format can hold its size. `full` is the upright picture's size.
///
/// # Errors
///
/// Why it can't.
pub(crate) fn check_size(rendition: &Rendition, full: (u32, u32)) -> Result<(), String> {
    let (width, height) = rendition.shape.size(full);
    let max_side = match rendition.format {
        Choice::Is(format) => format.max_side(),
        Choice::Auto => Format::Jpeg.max_side().min(Format::WebP.max_side()),
    };
    if width.max(height) <= max_side {
        return Ok(());
    }
    let name = &rendition.name;
    Err(format!(
        "its rendition {name:?} would have {width} x {height} pixels, and a side of {max_side} is the format's longest"
    ))
}

/// Makes a rendition.
///
/// # Errors
///
/// When it can't be in memory.
pub(crate) fn make(
    picture: &Picture,
    rendition: &Rendition,
    rights: Option<&Rights>,
) -> Result<Made, Refusal> {
    let result = changed(picture.rendered(&rendition.shape)?, rendition);
    let (width, height) = (result.width, result.height);
    let encoded = |picture: Picture, format: Format| {
        let encoding = Encoding {
            format,
            quality: rendition.quality,
            progressive: rendition.progressive,
            chroma: rendition.chroma,
            rights: rights.cloned(),
        };
        encode(picture, &encoding)
    };
    let (format, file) = match rendition.format {
        Choice::Is(format) => (format, encoded(result, format)?),
        Choice::Auto if is_transparent(&result) => (Format::WebP, encoded(result, Format::WebP)?),
        Choice::Auto => {
            let jpeg = encoded(result.clone(), Format::Jpeg)?;
            let webp = encoded(result, Format::WebP)?;
            if webp.len() < jpeg.len() { (Format::WebP, webp) } else { (Format::Jpeg, jpeg) }
        }
    };
    Ok(Made { file, format, width, height })
}

/// Applies what changes the pixels but not the size, and the turns.
fn changed(picture: Picture, rendition: &Rendition) -> Picture {
    let mut picture = picture.rotated(rendition.quarters);
    if rendition.flip {
        picture = picture.flipped();
    }
    if rendition.flop {
        picture = picture.flopped();
    }
    if rendition.grayscale {
        picture = picture.grayscale();
    }
    if let Some(sigma) = rendition.blur {
        picture = picture.blurred(sigma);
    }
    if let Some(sigma) = rendition.sharpen {
        picture = picture.sharpened(sigma);
    }
    match rendition.background {
        Some(background) => picture.on(background),
        None => picture,
    }
}

/// Whether a pixel isn't opaque.
fn is_transparent(picture: &Picture) -> bool {
    let alphas = |channels: usize| picture.pixels.iter().skip(channels - 1).step_by(channels);
    match picture.layout {
        Layout::GrayAlpha => alphas(2).any(|&alpha| alpha < 255),
        Layout::Rgba => alphas(4).any(|&alpha| alpha < 255),
        Layout::Gray | Layout::Rgb | Layout::Cmyk => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::renditions::Renditions;
    use picture::{Bounds, Target, Truncated, decode};

    fn bounds() -> Bounds {
        Bounds {
            pixels: 100_000_000,
            side: 65_535,
            ratio: u32::MAX,
            memory: 224 << 20,
            truncated: Truncated::Reject,
        }
    }

    /// Returns a PAM file of pixels with alpha. Source: netpbm, pam(5).
    fn pam(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 4]) -> Vec<u8> {
        let header =
            format!("P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n");
        let mut file = header.into_bytes();
        for y in 0..height {
            file.extend((0..width).flat_map(|x| pixel(x, y)));
        }
        file
    }

    /// A quarter is red on the left, and the rest is blue.
    fn two_colours(x: u32, _: u32) -> [u8; 4] {
        if x < 10 { [255, 0, 0, 255] } else { [0, 0, 255, 255] }
    }

    /// Returns what the renditions make of a file, in the order of their names.
    fn made(file: &[u8], renditions: &str) -> Vec<Made> {
        let renditions = Renditions::read("RENDITIONS", renditions, None).expect("they are valid");
        let files = renditions.files();
        let picture = decode(file.to_vec(), Target::Files(&files), &bounds()).expect("a picture");
        renditions.all.iter().map(|rendition| make(&picture, rendition, None).expect("it is made")).collect()
    }

    #[test]
    fn one_picture_becomes_several_files() {
        let file = pam(40, 20, two_colours);
        let renditions = "[a]\nwidth = 20\n[b]\nformat = 'png'\nrotate = 90\n[c]\nformat = 'webp'\nwidth = 10\n\
                          height = 10\nfit = 'cover'\ngravity = 'east'\n[d]\nformat = 'png'\nflop = true";
        let files = made(&file, renditions);
        let sizes: Vec<_> = files.iter().map(|made| (made.format, made.width, made.height)).collect();
        let expected =
            [(Format::Jpeg, 20, 10), (Format::Png, 20, 40), (Format::WebP, 10, 10), (Format::Png, 40, 20)];
        assert_eq!(sizes, expected);
        let starts: [&[u8]; 4] = [b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"\x89PNG"];
        for (made, start) in files.iter().zip(starts) {
            assert!(made.file.starts_with(start), "{:?}", made.format);
            let decoded = decode(made.file.clone(), u32::MAX, &bounds()).expect("a picture");
            assert_eq!((decoded.width, decoded.height), (made.width, made.height));
        }
        let first = |made: &Made| {
            let decoded = decode(made.file.clone(), u32::MAX, &bounds()).expect("a picture");
            decoded.pixels[..3].to_vec()
        };
        // Turned clockwise, the left side is at the top. The east is blue, and so is the left side once mirrored.
        assert_eq!(first(&files[1]), [255, 0, 0]);
        assert_eq!(first(&files[2]), [0, 0, 255]);
        assert_eq!(first(&files[3]), [0, 0, 255]);
        let avif = &made(&file, "[a]\nformat = 'avif'\nwidth = 20")[0];
        assert!(avif.format == Format::Avif && avif.file[4..].starts_with(b"ftypavif"));
        let again: Vec<_> = made(&file, renditions).into_iter().map(|made| made.file).collect();
        assert!(files.into_iter().map(|made| made.file).eq(again));
    }

    #[test]
    fn the_automatic_format_depends_on_transparency_and_size() {
        let auto = "[a]\nformat = 'auto'";
        let format = |file: &[u8]| made(file, auto)[0].format;
        assert_eq!(format(&pam(64, 64, two_colours)), Format::WebP);
        // Noise is smaller with losses.
        let noise = |x: u32, y: u32| {
            let bits = (x * 64 + y).wrapping_mul(2_654_435_761).rotate_left(7).wrapping_mul(2_246_822_519);
            let [red, green, blue, _] = bits.to_be_bytes();
            [red, green, blue, 255]
        };
        assert_eq!(format(&pam(64, 64, noise)), Format::Jpeg);
        assert_eq!(format(&pam(64, 64, |x, y| if x == 9 { [0; 4] } else { noise(x, y) })), Format::WebP);
        let opaque = made(&pam(8, 8, |_, _| [0; 4]), "[a]\nformat = 'png'\nbackground = '#0a141e'");
        let decoded = decode(opaque[0].file.clone(), u32::MAX, &bounds()).expect("a picture");
        assert_eq!((decoded.layout, &decoded.pixels[..3]), (Layout::Rgb, [10, 20, 30].as_slice()));
    }

    #[test]
    fn a_background_is_the_same_around_a_picture_and_behind_it() {
        // Clear on the left, and opaque on the right.
        let file = pam(8, 4, |x, _| if x < 4 { [0; 4] } else { [200, 100, 50, 255] });
        let contain = "[a]\nformat = 'png'\nwidth = 8\nheight = 8\nfit = 'contain'\n";
        for (keys, background) in [
            ("background = '#ff000080'", vec![255, 0, 0, 128]),
            ("background = '#ff000080'\ngrayscale = true", vec![255, 0, 0, 128]),
            ("background = '#0a141e'", vec![10, 20, 30]),
            ("background = '#0a141e'\ngrayscale = true", vec![10, 20, 30]),
        ] {
            let decoded =
                decode(made(&file, &format!("{contain}{keys}"))[0].file.clone(), u32::MAX, &bounds());
            let decoded = decoded.expect("a picture");
            let channels = decoded.layout.channels();
            let at = |x: usize, y: usize| &decoded.pixels[(y * 8 + x) * channels..][..channels];
            assert_eq!((at(0, 0), at(0, 4)), (&background[..], &background[..]), "{keys}");
            assert_eq!(at(7, 4).get(3).unwrap_or(&255), &255, "{keys}");
        }
    }

    #[test]
    fn a_size_that_the_format_can_not_hold_is_refused_before() {
        let renditions = Renditions::read("RENDITIONS", "[a]\nformat = 'webp'\n[b]", None).expect("valid");
        let [webp, jpeg] = &renditions.all[..] else { panic!("two renditions") };
        assert_eq!(check_size(webp, (16_000, 9)), Ok(()));
        assert_eq!(check_size(jpeg, (20_000, 9)), Ok(()));
        let reason = check_size(webp, (20_000, 9)).expect_err("it is too large");
        assert!(reason.contains("20000 x 9 pixels"), "{reason}");
        assert!(check_size(jpeg, (65_536, 9)).is_err());
    }
}
