//! ICO and CUR: bitmaps with masks and PNGs, of which the largest is taken.

use super::*;

/// A bitmap without its file header: bits, palette, rows from the top, and the mask's rows, set where it is transparent.
fn bitmap(size: (u32, u32), bits: u16, palette: &[[u8; 4]], rows: &[Vec<u8>], mask: &[Vec<u8>]) -> Vec<u8> {
    let mut data = 40_u32.to_le_bytes().to_vec();
    data.extend(size.0.to_le_bytes());
    data.extend((2 * size.1).to_le_bytes());
    data.extend(1_u16.to_le_bytes());
    data.extend(bits.to_le_bytes());
    data.extend([0; 24]);
    data.extend_from_slice(palette.as_flattened());
    for row in rows.iter().rev().chain(mask.iter().rev()) {
        data.extend_from_slice(row);
        data.resize((data.len() - 40 - palette.len() * 4).next_multiple_of(4) + 40 + palette.len() * 4, 0);
    }
    data
}

/// An icon (1) or a cursor (2) of pictures with the sides that its directory says.
fn ico(kind: u8, pictures: &[(u8, u8, u8, Vec<u8>)]) -> Vec<u8> {
    let mut file = vec![0, 0, kind, 0, pictures.len() as u8, 0];
    let mut at = 6 + 16 * pictures.len();
    for (width, height, bits, data) in pictures {
        file.extend([*width, *height, 0, 0, 1, 0, *bits, 0]);
        file.extend((data.len() as u32).to_le_bytes());
        file.extend((at as u32).to_le_bytes());
        at += data.len();
    }
    pictures.iter().for_each(|(.., data)| file.extend_from_slice(data));
    file
}

fn read(file: &[u8]) -> Picture {
    decode(file.to_vec(), 320, &settings().bounds).expect("it is a picture")
}

/// Red on the left and blue on the right, 10 x 4, with the left column transparent.
fn of_bits(bits: u16) -> Vec<u8> {
    let palette = [[5, 10, 250, 0], [250, 60, 5, 0]];
    let index = |x: usize| u8::from(x >= 5);
    let row: Vec<u8> = match bits {
        1 => vec![0b0000_0111, 0b1100_0000],
        4 => (0..5).map(|pair| index(2 * pair) << 4 | index(2 * pair + 1)).collect(),
        8 => (0..10).map(index).collect(),
        24 => (0..10).flat_map(|x| palette[usize::from(index(x))][..3].to_vec()).collect(),
        _ => (0..10)
            .flat_map(|x| {
                let [blue, green, red, _] = palette[usize::from(index(x))];
                [blue, green, red, if x == 0 { 0 } else { 200 }]
            })
            .collect(),
    };
    let mask = if bits == 32 { vec![0, 0] } else { vec![0x80, 0] };
    let mut colours = palette.to_vec();
    colours.resize(if bits <= 8 { 1 << bits } else { 0 }, [0; 4]);
    bitmap((10, 4), bits, &colours, &vec![row; 4], &vec![mask; 4])
}

#[test]
fn icons_of_each_number_of_bits_are_read_with_their_transparency() {
    for bits in [1, 4, 8, 24, 32] {
        for kind in [1, 2] {
            let picture = read(&ico(kind, &[(10, 4, bits as u8, of_bits(bits))]));
            assert_eq!((picture.width, picture.height, picture.layout), (10, 4, Layout::Rgba));
            let opaque = if bits == 32 { 200 } else { 255 };
            assert_eq!(picture.pixels[..8], [250, 10, 5, 0, 250, 10, 5, opaque], "{bits} bits");
            assert_eq!(picture.pixels[3 * 40 + 36..], [5, 60, 250, opaque], "{bits} bits");
        }
    }
    // Where no alpha is set, the mask counts.
    let row = [5, 10, 250, 0].repeat(10);
    let data = bitmap((10, 4), 32, &[], &vec![row; 4], &vec![vec![0, 0x40]; 4]);
    let picture = read(&ico(1, &[(10, 4, 32, data)]));
    assert_eq!((picture.pixels[3], picture.pixels[39]), (255, 0));
}

#[test]
fn the_largest_picture_of_an_icon_is_taken() {
    let pixels = photograph(256, 256);
    let large = png(256, 256, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &pixels);
    let small = || of_bits(24);
    for pictures in [
        [(10, 4, 24, small()), (0, 0, 32, large.clone()), (8, 4, 24, small())],
        [(0, 0, 32, large.clone()), (10, 4, 24, small()), (8, 4, 24, small())],
    ] {
        let picture = read(&ico(1, &pictures));
        assert_eq!((picture.width, picture.pixels.as_slice()), (256, pixels.as_slice()));
    }
    // Of the same size the one with the most bits.
    let picture = read(&ico(1, &[(10, 4, 1, of_bits(1)), (10, 4, 32, of_bits(32)), (10, 4, 8, of_bits(8))]));
    assert_eq!(picture.pixels[7], 200);
}

#[test]
fn a_damaged_icon_is_refused_and_never_panics() {
    let large = png(64, 64, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &photograph(64, 64));
    let bounds = Bounds { pixels: 100_000, ..settings().bounds };
    let settings = Settings { bounds, ..settings() };
    for file in [
        ico(1, &[(64, 64, 32, large)]),
        ico(1, &[(10, 4, 8, of_bits(8))]),
        ico(2, &[(10, 4, 32, of_bits(32))]),
    ] {
        assert!(thumbnail(file.clone(), &settings).is_ok());
        for length in 4..file.len() {
            match thumbnail(file[..length].to_vec(), &settings) {
                Err(refusal) => assert_eq!(refusal, Refusal::CutShort("ICO"), "cut at {length}"),
                // The mask of a picture with alpha, or the end of a PNG.
                Ok(_) => assert!(length + 24 > file.len(), "cut at {length} of {}", file.len()),
            }
        }
        for at in 0..file.len().min(120) {
            for byte in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] = byte;
                let _ = thumbnail(changed, &settings);
            }
        }
    }
    let mut huge = ico(1, &[(10, 4, 8, of_bits(8))]);
    huge[26..34].fill(0xff);
    assert!(matches!(refused(&huge), Refusal::TooLarge(Excess::Pixels { .. })));
    assert_eq!(refused(&ico(1, &[])), Refusal::Damaged("ICO", "its directory is invalid"));
    // A picture that is the icon itself, which is no bitmap.
    let mut own = ico(1, &[(10, 4, 8, of_bits(8))]);
    own[18..22].fill(0);
    assert_eq!(refused(&own), Refusal::Damaged("ICO", "the header of its bitmap is invalid"));
}
