//! Tests of the whole path from file to file, with hostile files as well. The tests make the pictures themselves.

use jpeg_encoder::Encoder;

use super::*;
#[cfg(feature = "jxl")]
use crate::decode_with_jxl as decode;

#[cfg(feature = "avif")]
mod avif;
mod broken;
mod colours;
mod description;
mod effects;
mod encoding;
mod formats;
mod frames;
mod icons;
#[cfg(feature = "jxl")]
mod jxl;
mod matrix;
mod shapes;
mod tiff_fax;
mod tiff_kinds;
mod tiffs;
mod turned;
mod webp_codes;
mod webp_cut;

/// Draws red on the left and blue on the right, with a gradient so that the picture isn't trivially compressible.
fn photograph(width: u16, height: u16) -> Vec<u8> {
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let shade = (u32::from(y) * 60 / u32::from(height)) as u8;
            pixels.extend(if x < width / 2 { [250, shade, 5] } else { [5, shade, 250] });
        }
    }
    pixels
}

fn jpeg(width: u16, height: u16, prepare: impl FnOnce(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 90);
    prepare(&mut encoder);
    encoder
        .encode(&photograph(width, height), width, height, jpeg_encoder::ColorType::Rgb)
        .expect("the picture is valid");
    file
}

fn png(width: u32, height: u32, color: ::png::ColorType, depth: ::png::BitDepth, data: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut file, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let mut writer = encoder.write_header().expect("the header is valid");
    writer.write_image_data(data).expect("the picture is valid");
    writer.finish().expect("the picture is whole");
    file
}

fn webp(width: u32, height: u32, data: &[u8], color: image_webp::ColorType) -> Vec<u8> {
    let mut file = Vec::new();
    image_webp::WebPEncoder::new(&mut file).encode(data, width, height, color).expect("the picture is valid");
    file
}

/// What a thumbnail is made with.
#[derive(Clone)]
struct Settings {
    max_side: u32,
    format: Format,
    bounds: Bounds,
}

fn settings() -> Settings {
    let bounds = Bounds {
        pixels: 100_000_000,
        side: 65_535,
        ratio: u32::MAX,
        memory: 224 << 20,
        truncated: Truncated::Reject,
    };
    Settings { max_side: 320, format: Format::Jpeg, bounds }
}

fn encoding(format: Format) -> Encoding {
    Encoding { format, quality: 80, progressive: false, chroma: Chroma::Half, rights: None }
}

fn thumbnail(content: Vec<u8>, settings: &Settings) -> Result<Vec<u8>, Refusal> {
    let picture = decode(content, settings.max_side, &settings.bounds)?;
    encode(picture.fitted(settings.max_side)?.upright(), &encoding(settings.format))
}

/// Makes a thumbnail of a file and decodes it again.
fn made(content: &[u8], settings: &Settings) -> Picture {
    let file = thumbnail(content.to_vec(), settings).expect("there is a thumbnail");
    decode(file, settings.max_side, &settings.bounds).expect("it is a picture")
}

fn refused(content: &[u8]) -> Refusal {
    thumbnail(content.to_vec(), &settings()).expect_err("there is no thumbnail")
}

/// Returns the first three channels of a pixel.
fn colour_at(picture: &Picture, x: u32, y: u32) -> [u8; 3] {
    let channels = picture.layout.channels();
    let start = (y * picture.width + x) as usize * channels;
    picture.pixels[start..start + 3].try_into().expect("it is a colour picture")
}

fn is_red([red, _, blue]: [u8; 3]) -> bool {
    red > 200 && blue < 80
}

fn is_blue([red, _, blue]: [u8; 3]) -> bool {
    blue > 200 && red < 80
}

#[test]
fn each_format_becomes_a_thumbnail_of_the_right_size_and_colours() {
    let pixels = photograph(1000, 600);
    let files = [
        jpeg(1000, 600, |_| {}),
        jpeg(1000, 600, |encoder| encoder.set_progressive(true)),
        png(1000, 600, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &pixels),
        webp(1000, 600, &pixels, image_webp::ColorType::Rgb8),
    ];
    for file in files {
        for format in [Format::Jpeg, Format::WebP] {
            let picture = made(&file, &Settings { format, ..settings() });
            assert_eq!((picture.width, picture.height), (320, 192));
            assert!(is_red(colour_at(&picture, 10, 100)) && is_blue(colour_at(&picture, 310, 100)));
        }
    }
}

#[test]
fn the_size_follows_from_the_header_in_each_format() {
    let sizes = [(800, 533, 213), (1280, 853, 213), (2560, 65, 8), (2559, 71, 9), (5000, 3, 1)];
    for (width, height, expected) in sizes {
        let pixels = photograph(width, height);
        let (wide, high) = (u32::from(width), u32::from(height));
        let files = [
            jpeg(width, height, |_| {}),
            jpeg(width, height, |encoder| encoder.set_progressive(true)),
            png(wide, high, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &pixels),
            webp(wide, high, &pixels, image_webp::ColorType::Rgb8),
        ];
        for (index, file) in files.iter().enumerate() {
            let picture = made(file, &settings());
            assert_eq!((picture.width, picture.height), (320, expected), "{width} x {height}, file {index}");
        }
    }
}

#[test]
fn what_the_scale_adds_at_the_edge_is_cropped() {
    // Black, and white from row 848 on, of 853: at an eighth that is row 106, of which five eighths are covered.
    let (width, height) = (1280_u16, 853_u16);
    let line = |y: u16| if y < 848 { 0 } else { 255 };
    let gray: Vec<u8> = (0..height).flat_map(|y| vec![line(y); usize::from(width)]).collect();
    let mut file = Vec::new();
    Encoder::new(&mut file, 100)
        .encode(&gray, width, height, jpeg_encoder::ColorType::Luma)
        .expect("the picture is valid");
    let scaled = decode(file.clone(), 160, &settings().bounds).expect("it is a picture");
    assert_eq!((scaled.full, scaled.width, scaled.height), ((1280, 853), 160, 107));
    let whole = decode(file, 2000, &settings().bounds).expect("it is a picture");
    assert_eq!((whole.width, whole.height), (1280, 853));
    let [scaled, whole] = [scaled, whole].map(|picture| picture.resized(160, 53).expect("it has a size"));
    for (y, (a, b)) in scaled.pixels.chunks(160).zip(whole.pixels.chunks(160)).enumerate() {
        assert!(a[80].abs_diff(b[80]) <= 25, "row {y}: {} and {}", a[80], b[80]);
    }
}

#[test]
fn a_small_picture_keeps_its_size() {
    let picture = made(&jpeg(33, 17, |_| {}), &settings());
    assert_eq!((picture.width, picture.height), (33, 17));
    // At an eighth, a side of one pixel would still be one pixel.
    let picture = made(&jpeg(40, 1, |_| {}), &settings());
    assert_eq!((picture.width, picture.height), (40, 1));
}

#[test]
fn the_same_file_gives_the_same_bytes() {
    let file = jpeg(700, 500, |_| {});
    assert_eq!(thumbnail(file.clone(), &settings()), thumbnail(file, &settings()));
}

#[test]
fn ink_and_gray_come_out_right() {
    for color_type in [jpeg_encoder::ColorType::Cmyk, jpeg_encoder::ColorType::CmykAsYcck] {
        // Cyan and magenta alone absorb red and green, which leaves blue.
        let mut file = Vec::new();
        let ink = [255, 255, 0, 0].repeat(64 * 64);
        Encoder::new(&mut file, 95).encode(&ink, 64, 64, color_type).expect("the picture is valid");
        let picture = made(&file, &settings());
        assert!(is_blue(colour_at(&picture, 30, 30)), "{:?}", colour_at(&picture, 30, 30));
    }
    let mut file = Vec::new();
    Encoder::new(&mut file, 90)
        .encode(&[128; 64 * 64], 64, 64, jpeg_encoder::ColorType::Luma)
        .expect("the picture is valid");
    let picture = made(&file, &settings());
    assert_eq!(picture.layout, Layout::Gray);
    assert!(picture.pixels.iter().all(|&pixel| pixel.abs_diff(128) < 3));
}

#[test]
fn png_of_every_kind_is_read() {
    use ::png::{BitDepth, ColorType};
    let sixteen: Vec<u8> = [0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff].repeat(400 * 400);
    let picture = made(&png(400, 400, ColorType::Rgba, BitDepth::Sixteen, &sixteen), &settings());
    assert!(is_red(colour_at(&picture, 100, 100)));
    let picture = made(&png(400, 400, ColorType::Grayscale, BitDepth::One, &[0xaa; 50 * 400]), &settings());
    assert_eq!(picture.layout, Layout::Gray);
    let picture =
        made(&png(400, 400, ColorType::GrayscaleAlpha, BitDepth::Eight, &[0; 2 * 400 * 400]), &settings());
    assert!(picture.pixels.iter().all(|&pixel| pixel > 250), "what is transparent lies on white");
}

#[test]
fn webp_keeps_transparency_in_webp_and_lies_on_white_in_jpeg() {
    let file = webp(400, 400, &[9, 9, 9, 0].repeat(400 * 400), image_webp::ColorType::Rgba8);
    let kept = made(&file, &Settings { format: Format::WebP, ..settings() });
    assert_eq!(kept.layout, Layout::Rgba);
    assert!(kept.pixels.chunks_exact(4).all(|pixel| pixel[3] == 0));
    let flat = made(&file, &settings());
    assert!(colour_at(&flat, 5, 5).iter().all(|&colour| colour > 250));
}

#[test]
fn what_is_no_picture_is_refused_whatever_it_is_called() {
    for content in [b"".as_slice(), b"<svg/>", b"\x89PN", b"RIFF\0\0\0\0WAVE", &[0; 4096]] {
        assert!(matches!(refused(content), Refusal::NotSupported(_)), "{content:?}");
    }
}

/// Returns a PNG whose header claims the given size.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut file = png(1, 1, ::png::ColorType::Rgba, ::png::BitDepth::Eight, &[0; 4]);
    file[16..20].copy_from_slice(&width.to_be_bytes());
    file[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&file[12..29]);
    file[29..33].copy_from_slice(&crc.to_be_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[test]
fn a_decompression_bomb_is_refused_by_its_header() {
    assert_eq!(
        refused(&png_header(60_000, 60_000)),
        Refusal::TooLarge(Excess::Pixels { width: 60_000, height: 60_000, bound: 100_000_000 })
    );
    let Refusal::TooLarge(Excess::Memory { needed, .. }) = refused(&png_header(9000, 9000)) else {
        panic!("it doesn't fit");
    };
    assert!(needed > 9000 * 9000 * 4);
    assert!(matches!(refused(&png_header(0, 100)), Refusal::Damaged(..)));

    // A JPEG claims its size in the frame header, five bytes after the marker.
    let claim = |mut file: Vec<u8>, marker: u8, size: u16| {
        let frame = file.windows(2).position(|bytes| bytes == [0xff, marker]).expect("it has a frame header");
        file[frame + 5..frame + 7].copy_from_slice(&size.to_be_bytes());
        file[frame + 7..frame + 9].copy_from_slice(&size.to_be_bytes());
        file
    };
    let baseline = || jpeg(64, 64, |_| {});
    let progressive = || jpeg(64, 64, |encoder| encoder.set_progressive(true));
    assert!(matches!(refused(&claim(baseline(), 0xc0, 65_535)), Refusal::TooLarge(Excess::Pixels { .. })));
    assert!(matches!(refused(&claim(baseline(), 0xc0, 0)), Refusal::Damaged(..)));
    // Decoded at an eighth, a large baseline picture takes little memory, but this one lacks most of its pixels.
    assert_eq!(refused(&claim(baseline(), 0xc0, 9_000)), Refusal::CutShort("JPEG"));
    // A progressive picture would be in memory as a whole.
    assert!(matches!(refused(&claim(progressive(), 0xc2, 9_000)), Refusal::TooLarge(Excess::Memory { .. })));

    // Each side, less one, takes fourteen bits right after the signature of a lossless WebP.
    let mut file = webp(4, 4, &[0; 48], image_webp::ColorType::Rgb8);
    file[21..25].copy_from_slice(&(16_382_u32 << 14 | 16_382).to_le_bytes());
    assert_eq!(
        refused(&file),
        Refusal::TooLarge(Excess::Pixels { width: 16_383, height: 16_383, bound: 100_000_000 })
    );
}
