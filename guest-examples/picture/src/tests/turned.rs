//! Where each format says how to turn a picture.

use super::*;

/// An EXIF block. Big endian, one entry: orientation (0x0112), a short, one of it.
pub(super) fn exif(orientation: u8) -> Vec<u8> {
    let entry = [0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0];
    [b"MM\0*\0\0\0\x08\0\x01".as_slice(), &entry, &[0; 4]].concat()
}

fn xmp(orientation: u8) -> Vec<u8> {
    format!("<x:xmpmeta><rdf:Description tiff:Orientation=\"{orientation}\"/></x:xmpmeta>").into_bytes()
}

/// Returns the size and the pixels of a picture as a camera stores it that is held as `orientation` says. `pixel` gives the
/// pixel at a place of the upright picture, which has the size `(width, height)`.
pub(super) fn stored<T>(
    (width, height): (u32, u32),
    orientation: u8,
    pixel: impl Fn(u32, u32) -> T,
) -> (u32, u32, Vec<T>) {
    let (across, down) = if orientation >= 5 { (height, width) } else { (width, height) };
    // Where a stored pixel is to be shown. Source: TIFF 6.0, section 8, Orientation.
    let shown = |x: u32, y: u32| match orientation {
        1 => (x, y),
        2 => (width - 1 - x, y),
        3 => (width - 1 - x, height - 1 - y),
        4 => (x, height - 1 - y),
        5 => (y, x),
        6 => (width - 1 - y, x),
        7 => (width - 1 - y, height - 1 - x),
        _ => (y, height - 1 - x),
    };
    let mut pixels = Vec::new();
    for y in 0..down {
        pixels.extend((0..across).map(|x| shown(x, y)).map(|(x, y)| pixel(x, y)));
    }
    (across, down, pixels)
}

/// The photograph as a camera stores it that is held as `orientation` says: reading it gives the photograph back.
fn photograph_stored(width: u32, height: u32, orientation: u8) -> (u32, u32, Vec<u8>) {
    let pixels = photograph(width as u16, height as u16);
    let (across, down, stored) = stored((width, height), orientation, |x, y| {
        let start = (y * width + x) as usize * 3;
        &pixels[start..start + 3]
    });
    (across, down, stored.concat())
}

fn shows_the_photograph(file: &[u8], what: &str) {
    let picture = made(file, &settings());
    assert_eq!((picture.width, picture.height), (320, 160), "{what}");
    let colours = [(10, 80), (310, 80), (150, 5), (150, 155)].map(|(x, y)| colour_at(&picture, x, y));
    assert!(is_red(colours[0]) && is_blue(colours[1]), "{what}: {colours:?}");
    // The shade grows downwards.
    assert!(colours[2][1] < colours[3][1], "{what}: {colours:?}");
}

pub(super) fn with_chunks(
    png: &[u8],
    before: &[(&[u8; 4], Vec<u8>)],
    after: &[(&[u8; 4], Vec<u8>)],
) -> Vec<u8> {
    let chunk = |(kind, data): &(&[u8; 4], Vec<u8>)| {
        let body = [kind.as_slice(), data].concat();
        [(data.len() as u32).to_be_bytes().as_slice(), &body, &crc32(&body).to_be_bytes()].concat()
    };
    let end = png.len() - 12;
    let before: Vec<u8> = before.iter().flat_map(chunk).collect();
    let after: Vec<u8> = after.iter().flat_map(chunk).collect();
    [&png[..33], &before, &png[33..end], &after, &png[end..]].concat()
}

pub(super) fn with_segments(jpeg: &[u8], segments: &[Vec<u8>]) -> Vec<u8> {
    let segments = segments
        .iter()
        .flat_map(|data| [&[0xff, 0xe1], ((data.len() + 2) as u16).to_be_bytes().as_slice(), data].concat());
    [&jpeg[..2], &segments.collect::<Vec<u8>>(), &jpeg[2..]].concat()
}

#[test]
fn all_eight_orientations_are_read_wherever_a_file_says_them() {
    for orientation in 1..=8 {
        let (width, height, pixels) = photograph_stored(640, 320, orientation);
        let jpeg = {
            let mut file = Vec::new();
            let encoder = Encoder::new(&mut file, 90);
            encoder
                .encode(&pixels, width as u16, height as u16, jpeg_encoder::ColorType::Rgb)
                .expect("the picture is valid");
            file
        };
        let in_jpeg = |data: &[u8], prefix: &[u8]| with_segments(&jpeg, &[[prefix, data].concat()]);
        shows_the_photograph(&in_jpeg(&exif(orientation), b"Exif\0\0"), "JPEG, EXIF");
        shows_the_photograph(&in_jpeg(&xmp(orientation), b"http://ns.adobe.com/xap/1.0/\0"), "JPEG, XMP");

        let png = png(width, height, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &pixels);
        shows_the_photograph(&with_chunks(&png, &[(b"eXIf", exif(orientation))], &[]), "PNG, before");
        shows_the_photograph(&with_chunks(&png, &[], &[(b"eXIf", exif(orientation))]), "PNG, after");
        let text = [b"XML:com.adobe.xmp\0\0\0\0\0".as_slice(), &xmp(orientation)].concat();
        shows_the_photograph(&with_chunks(&png, &[(b"iTXt", text)], &[]), "PNG, XMP");
        let block = [b"Exif\0\0".as_slice(), &exif(orientation)].concat();
        let digits: String = block.iter().map(|byte| format!("{byte:02x}")).collect();
        let raw = format!("Raw profile type exif\0\nexif\n{:8}\n{digits}\n", block.len());
        shows_the_photograph(&with_chunks(&png, &[(b"tEXt", raw.clone().into_bytes())], &[]), "PNG, text");
        let (keyword, text) = raw.split_at("Raw profile type exif\0".len());
        let compressed = zlib(text.as_bytes());
        let raw = [keyword.as_bytes(), &[0], &compressed].concat();
        shows_the_photograph(&with_chunks(&png, &[], &[(b"zTXt", raw)]), "PNG, compressed text");

        for (metadata, is_xmp) in [(exif(orientation), false), (xmp(orientation), true)] {
            let mut file = Vec::new();
            let mut encoder = image_webp::WebPEncoder::new(&mut file);
            if is_xmp {
                encoder.set_xmp_metadata(metadata);
            } else {
                encoder.set_exif_metadata(metadata);
            }
            encoder
                .encode(&pixels, width, height, image_webp::ColorType::Rgb8)
                .expect("the picture is valid");
            shows_the_photograph(&file, "WebP");
        }
    }
}

/// A zlib stream of one stored block.
fn zlib(data: &[u8]) -> Vec<u8> {
    let length = data.len() as u16;
    let (mut a, mut b) = (1_u32, 0_u32);
    for &byte in data {
        a = (a + u32::from(byte)) % 65_521;
        b = (b + a) % 65_521;
    }
    let sum = (b << 16 | a).to_be_bytes();
    [&[0x78, 1, 1], length.to_le_bytes().as_slice(), &(!length).to_le_bytes(), data, &sum].concat()
}

#[test]
fn of_several_places_exif_counts_and_of_two_segments_the_first() {
    let (width, height, pixels) = photograph_stored(640, 320, 6);
    let mut file = Vec::new();
    Encoder::new(&mut file, 90)
        .encode(&pixels, width as u16, height as u16, jpeg_encoder::ColorType::Rgb)
        .expect("the picture is valid");
    let segment = |orientation| [b"Exif\0\0".as_slice(), &exif(orientation)].concat();
    let packet = [b"http://ns.adobe.com/xap/1.0/\0".as_slice(), &xmp(3)].concat();
    shows_the_photograph(&with_segments(&file, &[segment(6), segment(1)]), "two segments");
    shows_the_photograph(&with_segments(&file, &[packet, segment(6)]), "XMP first");

    let png = png(width, height, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &pixels);
    let text = [b"XML:com.adobe.xmp\0\0\0\0\0".as_slice(), &xmp(3)].concat();
    shows_the_photograph(&with_chunks(&png, &[(b"iTXt", text)], &[(b"eXIf", exif(6))]), "PNG");
}
