//! The formats that are read beside JPEG, PNG and WebP. Each picture is red on the left and blue on the right, 40 x 20.

use super::*;

const SIZE: (u32, u32) = (40, 20);
const RED: [u8; 3] = [250, 10, 5];
const BLUE: [u8; 3] = [5, 60, 250];

fn is_left(x: u32) -> bool {
    x < SIZE.0 / 2
}

/// For each row from the top, what `of_pixel` makes of each pixel.
fn rows(of_pixel: impl Fn(bool) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..SIZE.1).map(|_| (0..SIZE.0).flat_map(|x| of_pixel(is_left(x))).collect()).collect()
}

fn assert_shown(file: &[u8], tolerance: u8, what: &str) {
    let picture = made(file, &Settings { format: Format::WebP, ..settings() });
    assert_eq!((picture.width, picture.height), SIZE, "{what}");
    for (x, expected) in [(0, RED), (19, RED), (20, BLUE), (39, BLUE)] {
        for y in [0, 19] {
            let shown = colour_at(&picture, x, y);
            let is_near = shown.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= tolerance);
            assert!(is_near, "{what}: {shown:?} at {x}, {y}, and not {expected:?}");
        }
    }
}

/// A BMP: its information header less the first four bytes, palette or masks, and rows from the top.
fn bmp(bits: u16, compression: u32, extra: &[u8], rows: &[Vec<u8>], is_top_down: bool) -> Vec<u8> {
    let height = if is_top_down { -(SIZE.1 as i32) } else { SIZE.1 as i32 };
    let mut data = Vec::new();
    for index in 0..rows.len() {
        let row = &rows[if is_top_down { index } else { rows.len() - 1 - index }];
        data.extend_from_slice(row);
        if compression != 1 && compression != 2 {
            data.resize(data.len().next_multiple_of(4), 0);
        }
    }
    let mut file = b"BM\0\0\0\0\0\0\0\0".to_vec();
    file.extend((54 + extra.len() as u32).to_le_bytes());
    file.extend(40_u32.to_le_bytes());
    file.extend(SIZE.0.to_le_bytes());
    file.extend(height.to_le_bytes());
    file.extend(1_u16.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(compression.to_le_bytes());
    file.extend([0; 20]);
    file.extend_from_slice(extra);
    file.extend_from_slice(&data);
    file
}

fn bmps() -> Vec<(&'static str, Vec<u8>)> {
    let bgr = |is_left: bool| {
        let [red, green, blue] = if is_left { RED } else { BLUE };
        vec![blue, green, red]
    };
    let palette: Vec<u8> =
        [false, true].iter().flat_map(|&is_left| [bgr(is_left), vec![0]].concat()).collect();
    let packed = |bits: usize| -> Vec<Vec<u8>> {
        let row: Vec<u8> = (0..SIZE.0).map(|x| u8::from(is_left(x))).collect();
        let bytes =
            row.chunks(8 / bits).map(|group| group.iter().fold(0, |byte, index| byte << (bits % 8) | index));
        // The last byte is full: 40 pixels.
        vec![bytes.collect(); SIZE.1 as usize]
    };
    let half = |is_left: bool| {
        let [red, green, blue] = if is_left { RED } else { BLUE }.map(|channel| u16::from(channel >> 3));
        (red << 10 | green << 5 | blue).to_le_bytes().to_vec()
    };
    let wide: Vec<u8> =
        [0xff_u32 << 24, 0xff << 16, 0xff << 8].iter().flat_map(|mask| mask.to_le_bytes()).collect();
    let abgr = |is_left: bool| [vec![0], bgr(is_left)].concat();
    let runs = |bits: u32| -> Vec<Vec<u8>> {
        let (left, right) = if bits == 8 { (1, 0) } else { (0x11, 0) };
        // A run, and eighteen pixels as they are with two more as a run.
        let literal = if bits == 8 { vec![0; 18] } else { vec![0; 10] };
        let row = [&[20, left, 0, 18], literal.as_slice(), &[2, right, 0, 0]].concat();
        vec![row; SIZE.1 as usize]
    };
    vec![
        ("24 bits", bmp(24, 0, &[], &rows(bgr), false)),
        ("24 bits from the top", bmp(24, 0, &[], &rows(bgr), true)),
        ("32 bits", bmp(32, 0, &[], &rows(|is_left| [bgr(is_left), vec![0]].concat()), false)),
        ("32 bits with masks", bmp(32, 3, &wide, &rows(abgr), false)),
        ("16 bits", bmp(16, 0, &[], &rows(half), false)),
        ("8 bits", bmp(8, 0, &[palette.as_slice(), &[0; 1016]].concat(), &packed(8), false)),
        ("4 bits", bmp(4, 0, &[palette.as_slice(), &[0; 56]].concat(), &packed(4), false)),
        ("1 bit", bmp(1, 0, &palette, &packed(1), false)),
        ("8 bits, runs", bmp(8, 1, &[palette.as_slice(), &[0; 1016]].concat(), &runs(8), false)),
        ("4 bits, runs", bmp(4, 2, &[palette.as_slice(), &[0; 56]].concat(), &runs(4), false)),
    ]
}

fn pnms() -> Vec<(&'static str, Vec<u8>)> {
    let colour = |is_left: bool| if is_left { RED } else { BLUE };
    let bytes = rows(|is_left| colour(is_left).to_vec()).concat();
    let text: String = bytes.iter().map(|byte| format!("{byte}\n")).collect();
    let pairs: Vec<u8> = bytes.iter().flat_map(|&byte| (u16::from(byte) * 257).to_be_bytes()).collect();
    let alpha = rows(|is_left| [colour(is_left).as_slice(), &[255]].concat()).concat();
    let with = |header: &str, data: &[u8]| [header.as_bytes(), data].concat();
    vec![
        ("P3", with("P3\n# a comment\n40 20 # another\n255\n", text.as_bytes())),
        ("P6", with("P6 40\t20\n255\n", &bytes)),
        ("P6, 16 bits", with("P6\n40 20\n65535\n", &pairs)),
        ("P7", with("P7\nWIDTH 40\nHEIGHT 20\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n", &alpha)),
    ]
}

/// A QOI with every kind of operation that two colours can have.
fn qoi() -> Vec<u8> {
    let mut file = [b"qoif".as_slice(), &SIZE.0.to_be_bytes(), &SIZE.1.to_be_bytes(), &[3, 0]].concat();
    let place = |[red, green, blue]: [u8; 3]| {
        ((usize::from(red) * 3 + usize::from(green) * 5 + usize::from(blue) * 7 + 255 * 11) % 64) as u8
    };
    for y in 0..SIZE.1 {
        for colour in [RED, BLUE] {
            if y == 0 {
                file.push(0xfe);
                file.extend(colour);
            } else {
                file.push(place(colour));
            }
            file.push(0xc0 | 18);
        }
    }
    file.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    file
}

fn gif(left: u16, top: u16, width: u16, height: u16, frames: usize) -> Vec<u8> {
    let mut file = Vec::new();
    let palette = [RED, BLUE, [9, 9, 9]].concat();
    let mut encoder = ::gif::Encoder::new(&mut file, 40, 20, &palette).expect("the header is valid");
    for index in 0..frames {
        let pixel = |at: u16| if index > 0 { 2 } else { u8::from(!is_left(u32::from(left + at % width))) };
        let frame = ::gif::Frame {
            left,
            top,
            width,
            height,
            buffer: (0..width * height).map(pixel).collect(),
            ..Default::default()
        };
        encoder.write_frame(&frame).expect("the frame is valid");
    }
    drop(encoder);
    file
}

#[test]
fn bmp_of_every_kind_is_read() {
    for (name, file) in bmps() {
        assert_shown(&file, if name == "16 bits" { 8 } else { 0 }, name);
    }
}

#[test]
fn a_bmp_with_transparency_keeps_it() {
    let mut file = bmp(32, 3, &[], &rows(|is_left| vec![5, 10, 250, if is_left { 0 } else { 255 }]), false);
    // The larger header of 56 bytes has four masks.
    file[14] = 56;
    file[10] = 70;
    let masks = [0xff_u32 << 16, 0xff << 8, 0xff, 0xff << 24];
    file.splice(54..54, masks.iter().flat_map(|mask| mask.to_le_bytes()));
    let picture = made(&file, &Settings { format: Format::WebP, ..settings() });
    assert_eq!(picture.layout, Layout::Rgba);
    assert_eq!((picture.pixels[3], picture.pixels[39 * 4 + 3]), (0, 255));
    assert_eq!(colour_at(&picture, 39, 0), RED_ALONE);
}

#[test]
fn pixels_of_a_bmp_do_not_start_within_its_palette() {
    let (_, mut file) = bmps().into_iter().find(|(name, _)| *name == "8 bits").expect("there is one");
    // The header names the number of colours, and the palette's place as that of the pixels.
    file[46..50].copy_from_slice(&256_u32.to_le_bytes());
    assert_eq!(file[10..14], (54_u32 + 1024).to_le_bytes());
    file[10..14].copy_from_slice(&54_u32.to_le_bytes());
    assert_shown(&file, 0, "a place within the palette");
}

const RED_ALONE: [u8; 3] = [250, 10, 5];

#[test]
fn pnm_and_qoi_are_read() {
    for (name, file) in pnms() {
        assert_shown(&file, 0, name);
    }
    assert_shown(&qoi(), 0, "QOI");
    for file in [b"P1\n2 1\n10".as_slice(), b"P4\n2 1\n\x80", b"P2 2 1 3 0 3", b"P5 2 1 255\n\0\xff"] {
        let picture = decode(file.to_vec(), 320, &settings().bounds).expect("it is a picture");
        assert_eq!((picture.layout, picture.pixels.as_slice()), (Layout::Gray, [0, 255].as_slice()));
    }
}

#[test]
fn the_first_frame_of_a_gif_is_read() {
    assert_shown(&gif(0, 0, 40, 20, 1), 0, "one frame");
    assert_shown(&gif(0, 0, 40, 20, 5), 0, "five frames");
    let picture = made(&gif(10, 5, 20, 10, 2), &Settings { format: Format::WebP, ..settings() });
    let alpha = |x: usize, y: usize| picture.pixels[(y * 40 + x) * 4 + 3];
    assert_eq!([alpha(9, 5), alpha(10, 5), alpha(29, 14), alpha(30, 14), alpha(10, 4)], [0, 255, 255, 0, 0]);
    assert_eq!((colour_at(&picture, 10, 5), colour_at(&picture, 29, 14)), (RED, BLUE));
}

#[test]
fn an_extension_of_a_gif_that_is_not_known_is_skipped() {
    let file = gif(0, 0, 40, 20, 1);
    // Behind the palette of 4 colours. Label 0x42, one block of two bytes, and the end.
    let unknown = [b'!', 0x42, 2, 1, 2, 0];
    let (start, rest) = file.split_at(13 + 3 * 4);
    assert_shown(&[start, &unknown, rest].concat(), 0, "an unknown extension");
}

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let bmps = bmps().into_iter().map(|(_, file)| ("BMP", file));
    let pnms = pnms().into_iter().map(|(_, file)| ("PNM", file));
    bmps.chain(pnms).chain([("QOI", qoi()), ("GIF", gif(0, 0, 40, 20, 1))]).collect()
}

#[test]
fn a_file_that_is_cut_is_refused_or_kept_as_asked() {
    let keep = Settings { bounds: Bounds { truncated: Truncated::Keep, ..settings().bounds }, ..settings() };
    for (name, file) in files() {
        let cut = &file[..file.len() * 7 / 8];
        assert_eq!(refused(cut), Refusal::CutShort(name));
        let picture = made(cut, &keep);
        assert_eq!((picture.width, picture.height), SIZE, "{name}");
    }
}

#[test]
fn a_cut_or_changed_file_never_panics() {
    let settings = Settings { bounds: Bounds { pixels: 100_000, ..settings().bounds }, ..settings() };
    for (_, file) in files() {
        for length in 0..file.len() {
            let _ = thumbnail(file[..length].to_vec(), &settings);
        }
        for at in 0..file.len().min(200) {
            for byte in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] = byte;
                let _ = thumbnail(changed, &settings);
            }
        }
    }
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_memory_is_taken() {
    let huge = u32::MAX;
    let mut bmp = bmp(24, 0, &[], &[], false);
    bmp[18..22].copy_from_slice(&huge.to_le_bytes());
    bmp[22..26].copy_from_slice(&i32::MIN.to_le_bytes());
    let qoi = [b"qoif".as_slice(), &huge.to_be_bytes(), &huge.to_be_bytes(), &[4, 0]].concat();
    let mut gif = gif(0, 0, 40, 20, 1);
    gif[6..10].copy_from_slice(&[0xff; 4]);
    let pnm = b"P6 4294967295 4294967295 255\n".to_vec();
    for file in [bmp, qoi, gif, pnm] {
        assert!(matches!(refused(&file), Refusal::TooLarge(Excess::Pixels { .. })));
    }
}
