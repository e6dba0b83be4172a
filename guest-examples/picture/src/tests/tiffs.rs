//! TIFF: layouts, compressions, orientations, and hostile directories.

use super::*;

/// A TIFF of one strip. Tags of one short each; little or big endian.
fn tiff(size: (u32, u32), tags: &[(u16, u16)], data: &[u8], is_big: bool) -> Vec<u8> {
    let short = |value: u16| if is_big { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: u32| if is_big { value.to_be_bytes() } else { value.to_le_bytes() };
    let mut entries: Vec<(u16, u32, bool)> =
        vec![(256, size.0, true), (257, size.1, true), (278, size.1, true), (279, data.len() as u32, true)];
    entries.extend(tags.iter().map(|&(tag, value)| (tag, u32::from(value), false)));
    entries.push((273, 8, true));
    entries.sort_unstable();
    let mut file = if is_big { b"MM\0*".to_vec() } else { b"II*\0".to_vec() };
    file.extend(long(8 + data.len() as u32));
    file.extend_from_slice(data);
    file.extend(short(entries.len() as u16));
    for (tag, value, is_long) in entries {
        file.extend(short(tag));
        file.extend(short(if is_long { 4 } else { 3 }));
        file.extend(long(1));
        if is_long {
            file.extend(long(value));
        } else {
            file.extend(short(value as u16));
            file.extend([0, 0]);
        }
    }
    file.extend([0; 4]);
    file
}

/// Tags for eight-bit RGB: bits, no compression, RGB, three samples.
const RGB: [(u16, u16); 4] = [(258, 8), (259, 1), (262, 2), (277, 3)];

fn with(tags: &[(u16, u16)], tag: u16, value: u16) -> Vec<(u16, u16)> {
    tags.iter().copied().filter(|(found, _)| *found != tag).chain([(tag, value)]).collect()
}

fn shows_the_photograph(file: &[u8], size: (u32, u32), what: &str) {
    let picture = made(file, &Settings { format: Format::WebP, ..settings() });
    assert_eq!((picture.width, picture.height), size, "{what}");
    let colours = [(1, 1), (size.0 - 2, size.1 - 2)].map(|(x, y)| colour_at(&picture, x, y));
    assert!(is_red(colours[0]) && is_blue(colours[1]), "{what}: {colours:?}");
}

/// PackBits, with literal runs alone. Source: TIFF 6.0, section 9.
fn pack(data: &[u8]) -> Vec<u8> {
    data.chunks(128).flat_map(|run| [&[(run.len() - 1) as u8], run].concat()).collect()
}

#[test]
fn colours_of_each_layout_are_read() {
    let (size, pixels) = ((40, 20), photograph(40, 20));
    for is_big in [false, true] {
        shows_the_photograph(&tiff(size, &RGB, &pixels, is_big), size, "RGB");
        shows_the_photograph(&tiff(size, &with(&RGB, 259, 32773), &pack(&pixels), is_big), size, "PackBits");
        let wide: Vec<u8> = pixels.iter().flat_map(|&byte| [byte, byte]).collect();
        shows_the_photograph(&tiff(size, &with(&RGB, 258, 16), &wide, is_big), size, "16 bits");
        let planes: Vec<u8> =
            (0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3).copied()).collect();
        let refusal = thumbnail(tiff(size, &with(&RGB, 284, 2), &planes, is_big), &settings());
        assert!(
            matches!(refusal, Err(Refusal::Damaged("TIFF", _))),
            "one strip for three planes: {refusal:?}"
        );
        let ink: Vec<u8> =
            pixels.chunks(3).flat_map(|pixel| [255 - pixel[0], 255 - pixel[1], 255 - pixel[2], 0]).collect();
        let tags = [(258, 8), (259, 1), (262, 5), (277, 4)];
        shows_the_photograph(&tiff(size, &tags, &ink, is_big), size, "CMYK");
    }
    // White is zero, and one bit each: left white, right black.
    let row = [0, 0, 0xff, 0xff];
    for (meaning, left) in [(0, 255), (1, 0)] {
        let tags = [(258, 1), (259, 1), (262, meaning), (277, 1)];
        let file = tiff((32, 4), &tags, &row.repeat(4), false);
        let picture = decode(file, 320, &settings().bounds).expect("it is a picture");
        assert_eq!((picture.layout, picture.pixels[0], picture.pixels[31]), (Layout::Gray, left, 255 - left));
    }
}

#[test]
fn transparency_is_kept_whether_it_is_multiplied_or_not() {
    for (kind, red) in [(1, 100), (2, 200)] {
        let file = tiff(
            (4, 4),
            &[(258, 8), (259, 1), (262, 2), (277, 4), (338, kind)],
            &[red, 0, 0, 128].repeat(16),
            false,
        );
        let picture = decode(file, 320, &settings().bounds).expect("it is a picture");
        assert_eq!((picture.layout, picture.pixels[3]), (Layout::Rgba, 128));
        assert!(picture.pixels[0].abs_diff(200) < 2, "{}", picture.pixels[0]);
    }
}

#[test]
fn all_eight_orientations_are_read() {
    // One red pixel in a corner, by where it is to be shown: top left, top right, bottom right, bottom left.
    let corners = [(0, 0), (39, 0), (39, 19), (0, 19), (0, 0), (19, 0), (19, 39), (0, 39)];
    for (orientation, (x, y)) in (1..=8).zip(corners) {
        let mut pixels = vec![0; 40 * 20 * 3];
        pixels[0] = 255;
        let picture =
            decode(tiff((40, 20), &with(&RGB, 274, orientation), &pixels, false), 320, &settings().bounds);
        let picture = picture.expect("it is a picture").upright();
        assert_eq!((picture.width, picture.height), if orientation < 5 { (40, 20) } else { (20, 40) });
        assert_eq!(colour_at(&picture, x, y), [255, 0, 0], "orientation {orientation}");
    }
}

#[test]
fn a_cut_or_changed_file_never_panics_and_claims_are_bounded() {
    let pixels = photograph(40, 20);
    let file = tiff((40, 20), &RGB, &pixels, false);
    let settings = Settings { bounds: Bounds { pixels: 100_000, ..settings().bounds }, ..settings() };
    for length in 0..file.len() {
        assert!(thumbnail(file[..length].to_vec(), &settings).is_err() || length + 5 > file.len());
    }
    for at in (0..8).chain(file.len() - 150..file.len()) {
        for byte in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
            let mut changed = file.clone();
            changed[at] = byte;
            let _ = thumbnail(changed, &settings);
        }
    }
    let huge = tiff((65_535, 65_535), &RGB, &pixels, false);
    assert!(matches!(refused(&huge), Refusal::TooLarge(Excess::Pixels { .. })));
}
