//! Tests of what a file says about its picture, and of what its pixels show.

use super::shapes::picture;
use super::*;
use crate::thumbhash;

/// A field: tag, type, and its values as they are stored.
type Field = (u16, u16, Vec<u8>);

fn text(tag: u16, text: &str) -> Field {
    (tag, 2, [text.as_bytes(), &[0]].concat())
}

/// Degrees, minutes, and hundredths of seconds.
fn degrees(tag: u16, values: [u32; 3]) -> Field {
    let pairs = [(values[0], 1), (values[1], 1), (values[2], 100)];
    (tag, 5, pairs.into_iter().flat_map(|(over, under)| [over, under]).flat_map(u32::to_be_bytes).collect())
}

/// Builds a block with a main directory, and the directories for EXIF and GPS if they aren't empty.
fn block(main: &[Field], exif: &[Field], gps: &[Field]) -> Vec<u8> {
    let mut main = main.to_vec();
    let mut block = b"MM\0*\0\0\0\x08".to_vec();
    let size = |fields: &[Field]| {
        let values = fields.iter().map(|(_, _, value)| if value.len() > 4 { value.len() } else { 0 });
        2 + 12 * fields.len() + 4 + values.sum::<usize>()
    };
    let pointers = usize::from(!exif.is_empty()) + usize::from(!gps.is_empty());
    let mut at = 8 + size(&main) + 12 * pointers;
    for (tag, fields) in [(0x8769, exif), (0x8825, gps)] {
        if !fields.is_empty() {
            main.push((tag, 4, (at as u32).to_be_bytes().to_vec()));
            at += size(fields);
        }
    }
    for fields in [main.as_slice(), exif, gps] {
        if fields.is_empty() {
            continue;
        }
        let mut values: Vec<u8> = Vec::new();
        let values_at = block.len() + 2 + 12 * fields.len() + 4;
        block.extend((fields.len() as u16).to_be_bytes());
        for (tag, kind, value) in fields {
            let each = match kind {
                3 => 2,
                4 => 4,
                5 => 8,
                _ => 1,
            };
            block.extend([tag.to_be_bytes(), kind.to_be_bytes()].concat());
            block.extend(((value.len() / each) as u32).to_be_bytes());
            if value.len() > 4 {
                block.extend(((values_at + values.len()) as u32).to_be_bytes());
                values.extend(value);
            } else {
                block.extend([value.as_slice(), &[0; 4]].concat().split_at(4).0);
            }
        }
        block.extend([0; 4]);
        block.extend(values);
    }
    block
}

fn camera_block() -> Vec<u8> {
    block(
        &[text(0x010f, "Maker"), text(0x0110, "Model 5"), text(0x8298, "(c) Ann"), text(0x013b, "Ann")],
        &[text(0x9003, "2026:11:28 12:34:56"), text(0x9011, "+01:00")],
        &[text(1, "S"), degrees(2, [33, 51, 3550]), text(3, "E"), degrees(4, [151, 12, 4000])],
    )
}

fn jpeg_with(block: &[u8]) -> Vec<u8> {
    jpeg(64, 48, |encoder| encoder.add_exif_metadata(block).expect("it is small"))
}

fn png_with(block: &[u8]) -> Vec<u8> {
    let mut file = png(4, 3, ::png::ColorType::Grayscale, ::png::BitDepth::Eight, &[9; 12]);
    let chunk = [b"eXIf".as_slice(), block].concat();
    let whole =
        [&(block.len() as u32).to_be_bytes(), chunk.as_slice(), &crc32(&chunk).to_be_bytes()].concat();
    let end = file.len() - 12;
    file.splice(end..end, whole);
    file
}

fn webp_with(block: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut file);
    encoder.set_exif_metadata(block.to_vec());
    encoder.encode(&[9; 12], 4, 3, image_webp::ColorType::L8).expect("the picture is valid");
    file
}

/// Returns a file of JPEG XL that consists of boxes. Each is preceded by one that says nothing.
fn jxl_with(boxes: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut file = b"\0\0\0\x0cJXL \r\n\x87\n".to_vec();
    for (kind, data) in boxes {
        // A size of 64 bits.
        file.extend(b"\0\0\0\x01free\0\0\0\0\0\0\0\x12xx");
        file.extend((8 + data.len() as u32).to_be_bytes());
        file.extend(*kind);
        file.extend(*data);
    }
    file
}

/// Returns a BigTIFF of two pages, the first of which has a copyright.
fn wide_tiff() -> Vec<u8> {
    let mut file = b"MM\0+\0\x08\0\0".to_vec();
    let page = |fields: &[u8], next: u64| {
        let count = fields.len() as u64 / 20;
        [&count.to_be_bytes(), fields, &next.to_be_bytes()].concat()
    };
    let copyright = [b"\x82\x98\0\x02".as_slice(), &8_u64.to_be_bytes(), b"(c) Ann\0"].concat();
    file.extend(16_u64.to_be_bytes());
    file.extend(page(&copyright, 16 + 36));
    file.extend(page(&[], 0));
    file
}

#[test]
fn what_a_camera_says_is_read_from_each_format() {
    let block = camera_block();
    let files = [
        ("jpeg", jpeg_with(&block)),
        ("png", png_with(&block)),
        ("webp", webp_with(&block)),
        ("jxl", jxl_with(&[(b"Exif", &[[0; 4].as_slice(), &block].concat())])),
        // The block begins behind a prefix.
        ("jxl", jxl_with(&[(b"Exif", &[b"\0\0\0\x06Exif\0\0".as_slice(), &block].concat())])),
        // A TIFF without a picture.
        ("tiff", block),
    ];
    for (format, file) in files {
        let read = metadata(&file, true);
        assert_eq!(read.format, format);
        assert_eq!(read.taken.as_deref(), Some("2026-11-28T12:34:56+01:00"), "{format}");
        assert_eq!(read.camera, Some(("Maker".to_owned(), "Model 5".to_owned())), "{format}");
        let (latitude, longitude) = read.location.expect("it says where");
        assert!((latitude + (33.0 + 51.0 / 60.0 + 35.5 / 3600.0)).abs() < 1e-9, "{format}");
        assert!((longitude - (151.0 + 12.0 / 60.0 + 40.0 / 3600.0)).abs() < 1e-9, "{format}");
        let rights = Rights { copyright: Some("(c) Ann".to_owned()), creator: Some("Ann".to_owned()) };
        assert_eq!(read.rights, rights, "{format}");
        assert_eq!(metadata(&file, false).location, None, "it wasn't asked for");
    }
}

#[test]
fn rights_are_read_from_each_place_of_a_tiff_and_a_jpeg_xl() {
    let packet = b"<rdf:Description dc:rights='(c) Ann'/>";
    for file in [
        wide_tiff(),
        block(&[(0x02bc, 1, packet.to_vec())], &[], &[]),
        block(&[(0x02bc, 7, packet.to_vec())], &[], &[]),
        jxl_with(&[(b"brob", b"xml ???"), (b"xml ", packet)]),
    ] {
        assert_eq!(metadata(&file, false).rights.copyright.as_deref(), Some("(c) Ann"), "{file:?}");
    }
    let whole = jxl_with(&[(b"xml ", packet)]);
    for file in [&whole[..whole.len() - 1], &jxl_with(&[(b"Exif", b"\0\0\0\xff"), (b"Exif", b"\0")])] {
        assert_eq!(metadata(file, false).rights, Rights::default(), "{file:?}");
    }
}

#[test]
fn what_makes_no_sense_is_left_out() {
    for date in ["0000:00:00 00:00:00", "    :  :     :  :  ", "2026-11-28", "", "2026:11:28 12:34:5x"] {
        let block = block(&[], &[text(0x9003, date)], &[]);
        assert_eq!(metadata(&jpeg_with(&block), true).taken, None, "{date}");
    }
    let offset = block(&[], &[text(0x9003, "2026:11:28 12:34:56"), text(0x9011, "1 hour")], &[]);
    assert_eq!(metadata(&jpeg_with(&offset), true).taken.as_deref(), Some("2026-11-28T12:34:56"));
    let (latitude, longitude) = (degrees(2, [1, 2, 3]), degrees(4, [1, 2, 3]));
    let zero: Field = (2, 5, [[0, 0, 0, 1], [0; 4]].concat().repeat(3));
    for gps in [
        vec![text(1, "N"), latitude.clone()],
        vec![latitude.clone(), longitude.clone()],
        vec![text(1, "N"), degrees(2, [91, 0, 0]), text(3, "E"), longitude.clone()],
        vec![text(1, "N"), zero, text(3, "E"), longitude.clone()],
        vec![text(1, "N"), text(2, "here"), text(3, "E"), longitude],
    ] {
        let block = block(&[], &[], &gps);
        assert_eq!(metadata(&jpeg_with(&block), true).location, None, "{gps:?}");
    }
    let control = block(&[text(0x010f, " \u{1}\u{7f} "), text(0x0110, &"é".repeat(5000))], &[], &[]);
    let (make, model) = metadata(&control, false).camera.expect("it has a model");
    assert!(make.is_empty() && model.starts_with('é') && model.len() <= 256 && !model.contains('\u{fffd}'));
}

#[test]
fn no_damage_to_a_block_does_any_harm() {
    for whole in [camera_block(), wide_tiff(), jxl_with(&[(b"Exif", &[0; 9]), (b"xml ", b"<dc:rights>")])] {
        for length in 0..whole.len() {
            metadata(&whole[..length], true);
        }
        for at in 0..whole.len() {
            for value in [0, 1, 7, 0x7f, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                metadata(&damaged, true);
                metadata(&damaged.repeat(2), true);
            }
        }
    }
    // Directories that point to themselves, and to each other.
    let circle = b"II*\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0";
    assert_eq!(metadata(circle, true).frames, 65_535);
    for content in
        [b"".as_slice(), b"II*\0", b"\xff\xd8\xff\xe1", b"GIF89a", b"RIFF\0\0\0\0WEBPEXIF\xff\xff\xff\xff"]
    {
        assert_eq!(metadata(content, true).frames, 1, "{content:?}");
    }
}

#[test]
fn frames_and_pages_are_counted() {
    // A screen without a table of colours, an extension, and frames with a block of one byte each.
    let frame =
        [b"\x21\xf9\x04\0\0\0\0\0\x2c\0\0\0\0\x01\0\x01\0\0\x02".as_slice(), b"\x02\x44\x01\0"].concat();
    let gif = [b"GIF89a\x01\0\x01\0\0\0\0".as_slice(), &frame.repeat(3), b";"].concat();
    assert_eq!((metadata(&gif, false).format, metadata(&gif, false).frames), ("gif", 3));
    let many = [b"GIF89a\x01\0\x01\0\0\0\0".as_slice(), &frame.repeat(100_000)].concat();
    assert_eq!(metadata(&many, false).frames, 65_535);

    let mut file = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut file, 1, 1);
    encoder.set_animated(2, 0).expect("it has frames");
    let mut writer = encoder.write_header().expect("the header is valid");
    for _ in 0..2 {
        writer.write_image_data(&[0]).expect("the frame is valid");
    }
    writer.finish().expect("the picture is whole");
    assert_eq!(metadata(&file, false).frames, 2);

    let animation =
        [b"RIFF\0\0\0\0WEBP".as_slice(), b"VP8X\x01\0\0\0\0\0", &b"ANMF\x02\0\0\0xx".repeat(4)].concat();
    assert_eq!(metadata(&animation, false).frames, 4);
    let pages = b"II*\0\x08\0\0\0\0\0\x0e\0\0\0\0\0\0\0\0\0";
    assert_eq!(metadata(pages, false).frames, 2);
    assert_eq!(metadata(&wide_tiff(), false).frames, 2);
}

#[test]
fn a_picture_is_described_upright() {
    let mut pixels = photograph(60, 40);
    // Most of it is green.
    pixels.iter_mut().enumerate().take(60 * 30 * 3).for_each(|(at, value)| *value = [20, 200, 40][at % 3]);
    let stored = Picture { orientation: Orientation(6), ..picture(60, 40, Layout::Rgb, pixels) };
    let described = stored.described().expect("it is small");
    assert_eq!((described.width, described.height, described.orientation), (40, 60, 6));
    assert!(!described.has_alpha);
    assert_eq!(described.dominant, [20, 200, 40]);
    let hash = thumbhash::of(&stored.upright());
    assert_eq!(described.thumbhash, hash);
    let clear = picture(2, 2, Layout::Rgba, [[1, 2, 3, 0], [9, 99, 199, 255]].concat().repeat(2));
    let described = clear.described().expect("it is small");
    assert!(described.has_alpha && described.dominant == [9, 99, 199]);
    let nothing = picture(1, 1, Layout::Rgba, vec![0; 4]).described().expect("it is small");
    assert_eq!(nothing.dominant, [0; 3]);
}

#[test]
fn a_thumbhash_is_that_of_the_reference() {
    // Computed by the crate `thumbhash` 0.1.0 of the format's author.
    for (width, height, has_alpha, expected) in [
        (8, 6, false, "56f90d1d9880877790878878887888888a0a08f878"),
        (6, 8, false, "d4b80d251280879087477798888598688e1d00f8e8"),
        (9, 5, true, "5ba98a138a37c387c08778871f28fd8480877888787888"),
    ] {
        let pixel = |x: u32, y: u32| {
            let alpha = if has_alpha { x * 30 } else { 255 };
            [x * 29, y * 41, x * y * 7, alpha].map(|value| (value % 256) as u8)
        };
        let pixels: Vec<u8> = (0..height).flat_map(|y| (0..width).flat_map(move |x| pixel(x, y))).collect();
        let hash = thumbhash::of(&picture(width, height, Layout::Rgba, pixels));
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        // What is halfway between two values may be rounded either way.
        let digits = |hash: &str| hash.chars().filter_map(|digit| digit.to_digit(16)).collect::<Vec<_>>();
        let is_near = digits(&hash).iter().zip(digits(expected)).all(|(a, b)| a.abs_diff(b) <= 1);
        assert!(
            hash.len() == expected.len() && hash[..10] == expected[..10] && is_near,
            "{hash}, {expected}"
        );
    }
}
