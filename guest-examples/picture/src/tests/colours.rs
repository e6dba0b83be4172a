//! What the numbers of the pixels mean.

use super::*;

/// The curve of sRGB for a light of 0 to 1. Source: IEC 61966-2-1.
pub(super) fn srgb(light: f64) -> u8 {
    let value = if light <= 0.003_130_8 { light * 12.92 } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
    (value * 255.0).round() as u8
}

fn fixed(value: f64) -> [u8; 4] {
    ((value * 65_536.0).round() as i32).to_be_bytes()
}

/// A profile of the given tags. Source: ICC.1:2022, 7.
fn profile(space: &[u8; 4], class: &[u8; 4], pcs: &[u8; 4], tags: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut header = vec![0; 128];
    header[8..12].copy_from_slice(&[4, 0x30, 0, 0]);
    header[12..16].copy_from_slice(class);
    header[16..20].copy_from_slice(space);
    header[20..24].copy_from_slice(pcs);
    header[36..40].copy_from_slice(b"acsp");
    header[68..80].copy_from_slice(&[fixed(0.9642), fixed(1.0), fixed(0.8249)].concat());
    let mut table = (tags.len() as u32).to_be_bytes().to_vec();
    let mut data = Vec::new();
    for (name, tag) in tags {
        let start = 128 + 4 + 12 * tags.len() + data.len();
        table.extend_from_slice(*name);
        table.extend((start as u32).to_be_bytes());
        table.extend((tag.len() as u32).to_be_bytes());
        data.extend_from_slice(tag);
        data.resize(data.len().next_multiple_of(4), 0);
    }
    let mut profile = [header, table, data].concat();
    let size = profile.len() as u32;
    profile[..4].copy_from_slice(&size.to_be_bytes());
    profile
}

fn xyz([x, y, z]: [f64; 3]) -> Vec<u8> {
    [b"XYZ \0\0\0\0".as_slice(), &fixed(x), &fixed(y), &fixed(z)].concat()
}

/// A curve of one exponent.
fn curve(gamma: f64) -> Vec<u8> {
    let gamma = ((gamma * 256.0).round() as u16).to_be_bytes();
    [b"curv\0\0\0\0\0\0\0\x01".as_slice(), &gamma, &[0, 0]].concat()
}

/// The primaries of sRGB as profiles hold them, for a white of D50.
pub(super) const PRIMARIES: [[f64; 3]; 3] =
    [[0.436_07, 0.222_49, 0.013_92], [0.385_15, 0.716_87, 0.097_08], [0.143_07, 0.060_61, 0.714_10]];

/// A profile of three primaries, padded to `size` bytes by a private tag.
pub(super) fn matrix([red, green, blue]: [[f64; 3]; 3], gamma: f64, size: usize) -> Vec<u8> {
    profile(
        b"RGB ",
        b"mntr",
        b"XYZ ",
        &[
            (b"wtpt", xyz([0.9642, 1.0, 0.8249])),
            (b"rXYZ", xyz(red)),
            (b"gXYZ", xyz(green)),
            (b"bXYZ", xyz(blue)),
            (b"rTRC", curve(gamma)),
            (b"gTRC", curve(gamma)),
            (b"bTRC", curve(gamma)),
            (b"priv", [b"data\0\0\0\0".as_slice(), &b"SECRET".repeat(size / 6)].concat()),
        ],
    )
}

fn gray(gamma: f64) -> Vec<u8> {
    profile(b"GRAY", b"mntr", b"XYZ ", &[(b"wtpt", xyz([0.9642, 1.0, 0.8249])), (b"kTRC", curve(gamma))])
}

fn jpeg_of(pixel: &[u8], color: jpeg_encoder::ColorType, profile: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 100);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_1_1);
    encoder.add_icc_profile(profile).expect("it fits");
    encoder.encode(&pixel.repeat(40 * 40), 40, 40, color).expect("the picture is valid");
    file
}

fn webp_of(pixel: &[u8], color: image_webp::ColorType, profile: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut file);
    encoder.set_icc_profile(profile.to_vec());
    encoder.encode(&pixel.repeat(40 * 40), 40, 40, color).expect("the picture is valid");
    file
}

fn png_of(pixel: &[u8], color: ::png::ColorType, prepare: impl FnOnce(&mut ::png::Info)) -> Vec<u8> {
    let mut info = ::png::Info::with_size(40, 40);
    info.color_type = color;
    info.bit_depth = ::png::BitDepth::Eight;
    prepare(&mut info);
    let mut file = Vec::new();
    let encoder = ::png::Encoder::with_info(&mut file, info).expect("the header is valid");
    let mut writer = encoder.write_header().expect("the header is valid");
    writer.write_image_data(&pixel.repeat(40 * 40)).expect("the picture is valid");
    writer.finish().expect("the picture is whole");
    file
}

/// The pixel in the middle of what becomes of a file. Nothing of its metadata is left.
fn shown(file: &[u8], format: Format) -> Vec<u8> {
    let made = thumbnail(file.to_vec(), &Settings { format, ..settings() }).expect("there is a thumbnail");
    for trace in [b"SECRET".as_slice(), b"ICC", b"acsp", b"priv"] {
        assert!(!made.windows(trace.len()).any(|window| window == trace), "{trace:?} is in the output");
    }
    let picture = decode(made, 320, &settings().bounds).expect("it is a picture");
    let channels = picture.layout.channels();
    let start = (20 * picture.width + 20) as usize * channels;
    picture.pixels[start..start + channels].to_vec()
}

fn assert_shown(file: &[u8], expected: &[u8], tolerance: u8, what: &str) {
    for format in [Format::Jpeg, Format::WebP] {
        let shown = shown(file, format);
        let pixel = if shown.len() < expected.len() { vec![shown[0]; 3] } else { shown };
        let is_near = pixel.iter().zip(expected).all(|(a, b)| a.abs_diff(*b) <= tolerance);
        assert!(is_near, "{what}, {format:?}: {pixel:?} and not {expected:?}");
    }
}

#[test]
fn a_profile_of_any_size_is_applied_and_dropped() {
    let [red, green, blue] = PRIMARIES;
    for size in [600, 70_000, 1 << 20] {
        let swapped = matrix([blue, green, red], 2.2, size);
        let [low, high] = [30.0, 200.0].map(|value: f64| srgb((value / 255.0).powf(2.2)));
        let expected = [low, low, high];
        let pixel = [200, 30, 30];
        let files = [
            jpeg_of(&pixel, jpeg_encoder::ColorType::Rgb, &swapped),
            webp_of(&pixel, image_webp::ColorType::Rgb8, &swapped),
            png_of(&pixel, ::png::ColorType::Rgb, |info| info.icc_profile = Some(swapped.clone().into())),
        ];
        for (index, file) in files.iter().enumerate() {
            assert_shown(file, &expected, 5, &format!("{size} bytes, file {index}"));
        }
    }
}

#[test]
fn a_profile_that_is_too_large_is_refused() {
    let large = matrix(PRIMARIES, 2.2, 5 << 20);
    let files = [
        webp_of(&[200, 30, 30], image_webp::ColorType::Rgb8, &large),
        png_of(&[200, 30, 30], ::png::ColorType::Rgb, |info| info.icc_profile = Some(large.clone().into())),
    ];
    for file in files {
        assert_eq!(
            refused(&file).to_string(),
            "it is a picture with a colour profile of more than 4 MiB, which is not supported"
        );
    }
}

#[test]
fn what_is_no_profile_is_ignored_and_dropped() {
    for bytes in [b"SECRET".repeat(100), vec![7; 500], matrix(PRIMARIES, 2.2, 600)[..200].to_vec()] {
        let file = webp_of(&[200, 30, 30], image_webp::ColorType::Rgb8, &bytes);
        assert_shown(&file, &[200, 30, 30], 5, "no profile");
    }
}

#[test]
fn a_profile_for_gray_applies_to_gray_and_colour() {
    let linear = gray(1.0);
    let light = srgb(128.0 / 255.0);
    assert_eq!(light, 188);
    let files = [
        webp_of(&[128; 3], image_webp::ColorType::Rgb8, &linear),
        webp_of(&[128, 128, 128, 255], image_webp::ColorType::Rgba8, &linear),
        jpeg_of(&[128], jpeg_encoder::ColorType::Luma, &linear),
        png_of(&[128], ::png::ColorType::Grayscale, |info| info.icc_profile = Some(linear.clone().into())),
        png_of(&[128, 255], ::png::ColorType::GrayscaleAlpha, |info| {
            info.icc_profile = Some(linear.clone().into());
        }),
    ];
    for (index, file) in files.iter().enumerate() {
        assert_shown(file, &[188; 3], 3, &format!("file {index}"));
    }
}

#[test]
fn a_profile_for_colour_applies_to_gray() {
    let linear = matrix(PRIMARIES, 1.0, 600);
    let file = jpeg_of(&[128], jpeg_encoder::ColorType::Luma, &linear);
    assert_shown(&file, &[188; 3], 3, "RGB profile on gray");
}

#[test]
fn a_profile_for_ink_applies_to_ink_alone() {
    // A table of two points on each of four axes, from ink to Lab: any black is black, paper is white, and the rest is a
    // blue that no formula gives. Source: ICC.1:2022, 10.10.
    let mut table = [b"mft1\0\0\0\0".as_slice(), &[4, 3, 2, 0]].concat();
    for row in 0..3 {
        for column in 0..3 {
            table.extend(fixed(if row == column { 1.0 } else { 0.0 }));
        }
    }
    for _ in 0..4 {
        table.extend(0..=255);
    }
    for corner in 0..16 {
        table.extend(match corner {
            0 => [255, 128, 128],
            corner if corner & 1 == 1 => [0, 128, 128],
            _ => [75, 196, 16],
        });
    }
    for _ in 0..3 {
        table.extend(0..=255);
    }
    let ink = profile(b"CMYK", b"prtr", b"Lab ", &[(b"wtpt", xyz([0.9642, 1.0, 0.8249])), (b"A2B0", table)]);
    let cyan = jpeg_of(&[255, 0, 0, 0], jpeg_encoder::ColorType::Cmyk, &ink);
    // L* 29.6, a* 68.3, b* -112 is the blue of sRGB, (0, 0, 255), under D50.
    assert_shown(&cyan, &[0, 0, 255], 30, "cyan");
    assert_shown(&jpeg_of(&[0; 4], jpeg_encoder::ColorType::Cmyk, &ink), &[255; 3], 5, "paper");
    let without = jpeg_of(&[255, 0, 0, 0], jpeg_encoder::ColorType::Cmyk, &matrix(PRIMARIES, 1.0, 600));
    assert_shown(&without, &[0, 255, 255], 5, "a profile for light on ink");
    let light = webp_of(&[128; 3], image_webp::ColorType::Rgb8, &ink);
    assert_shown(&light, &[128; 3], 3, "a profile for ink on light");
}

#[test]
fn gamma_and_primaries_of_a_png_count_where_there_is_no_profile() {
    use ::png::{ColorType, ScaledFloat, SourceChromaticities};
    let gamma = |info: &mut ::png::Info, value| info.source_gamma = Some(ScaledFloat::new(value));
    for (pixel, color) in [
        (&[128][..], ColorType::Grayscale),
        (&[128, 255], ColorType::GrayscaleAlpha),
        (&[128, 128, 128], ColorType::Rgb),
        (&[128, 128, 128, 255], ColorType::Rgba),
    ] {
        let file = png_of(pixel, color, |info| gamma(info, 1.0));
        assert_shown(&file, &[188; 3], 3, &format!("{color:?}"));
    }
    // The usual gamma is nearly that of sRGB.
    let file = png_of(&[128; 3], ColorType::Rgb, |info| gamma(info, 0.45455));
    assert_shown(&file, &[128; 3], 1, "the usual gamma");
    // sRGB and a profile count more.
    let file = png_of(&[128; 3], ColorType::Rgb, |info| {
        gamma(info, 1.0);
        info.srgb = Some(::png::SrgbRenderingIntent::Perceptual);
    });
    assert_shown(&file, &[128; 3], 1, "sRGB");
    let file = png_of(&[128; 3], ColorType::Rgb, |info| {
        gamma(info, 1.0);
        info.icc_profile = Some(matrix(PRIMARIES, 2.2, 600).into());
    });
    assert_shown(&file, &[128; 3], 3, "a profile");
    // Red and blue in each other's place.
    let swapped = SourceChromaticities::new((0.3127, 0.329), (0.15, 0.06), (0.3, 0.6), (0.64, 0.33));
    let file = png_of(&[200, 30, 30], ColorType::Rgb, |info| info.source_chromaticities = Some(swapped));
    assert_shown(&file, &[30, 30, 200], 5, "primaries");
}

/// Inserts a chunk `cICP` after the header.
fn with_points(file: &[u8], points: [u8; 4]) -> Vec<u8> {
    let body = [b"cICP".as_slice(), &points].concat();
    [&file[..33], &[0, 0, 0, 4], &body, &crc32(&body).to_be_bytes(), &file[33..]].concat()
}

#[test]
fn code_points_of_a_png_count_first_and_hdr_is_refused_by_name() {
    use ::png::ColorType;
    let file = png_of(&[128; 3], ColorType::Rgb, |info| {
        info.source_gamma = Some(::png::ScaledFloat::new(1.0));
    });
    assert_shown(&with_points(&file, [1, 13, 0, 1]), &[128; 3], 2, "sRGB");
    assert_shown(&with_points(&file, [1, 8, 0, 1]), &[188; 3], 3, "linear");
    // In Display P3 (12), a full red is out of sRGB, and a middle one is more red than it says.
    let red = png_of(&[150, 100, 100], ColorType::Rgb, |_| {});
    let shown = shown(&with_points(&red, [12, 13, 0, 1]), Format::WebP);
    assert!(shown[0] > 152 && shown[1] < 100, "{shown:?}");
    for (curve, name) in [(16, "PQ"), (18, "HLG")] {
        assert_eq!(
            refused(&with_points(&file, [9, curve, 0, 1])).to_string(),
            format!("it is a PNG with HDR colours ({name}), which is not supported")
        );
    }
}

#[test]
fn three_components_are_rgb_where_adobe_says_so() {
    // The encoder writes components 1 to 3 without a transform only for CMYK, so the segment is put in by hand: what was
    // red as YCbCr is another colour as RGB.
    let mut file = Vec::new();
    Encoder::new(&mut file, 100)
        .encode(&[254, 0, 0].repeat(40 * 40), 40, 40, jpeg_encoder::ColorType::Rgb)
        .expect("the picture is valid");
    // Y 76, Cb 85, Cr 255.
    let start = 4 + usize::from(u16::from_be_bytes([file[4], file[5]]));
    assert_eq!(&file[6..11], b"JFIF\0");
    let adobe = [0xff, 0xee, 0, 14, b'A', b'd', b'o', b'b', b'e', 0, 100, 0, 0, 0, 0, 0];
    let file = [&file[..2], &adobe, &file[start..]].concat();
    assert_shown(&file, &[76, 85, 255], 6, "RGB");
}
