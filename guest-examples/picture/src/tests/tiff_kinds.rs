//! TIFF: palettes, few and many bits, fax, JPEG, tiles and planes, and directories that claim too much.

use super::*;

/// A tag, the type of its values, and these.
type Tag = (u16, u16, Vec<u64>);

/// A file of one page. `parts` are its strips, or its tiles if there is a tag for their size. BigTIFF if `is_wide`.
pub(super) fn tiff(tags: &[Tag], parts: &[Vec<u8>], is_big: bool, is_wide: bool) -> Vec<u8> {
    let bytes = |value: u64, count: usize| -> Vec<u8> {
        if is_big { value.to_be_bytes()[8 - count..].to_vec() } else { value.to_le_bytes()[..count].to_vec() }
    };
    let word = if is_wide { 8 } else { 4 };
    let mut file = if is_big { b"MM".to_vec() } else { b"II".to_vec() };
    file.extend(bytes(if is_wide { 43 } else { 42 }, 2));
    if is_wide {
        file.extend(bytes(8, 2));
        file.extend(bytes(0, 2));
    }
    let link = file.len();
    file.extend(bytes(0, word));
    let is_tiled = tags.iter().any(|(tag, ..)| *tag == 322);
    let (mut offsets, mut counts) = (Vec::new(), Vec::new());
    for part in parts {
        offsets.push(file.len() as u64);
        counts.push(part.len() as u64);
        file.extend_from_slice(part);
    }
    let mut tags = tags.to_vec();
    tags.push((if is_tiled { 324 } else { 273 }, 4, offsets));
    tags.push((if is_tiled { 325 } else { 279 }, 4, counts));
    tags.sort_by_key(|(tag, ..)| *tag);
    let mut entries = Vec::new();
    for (tag, kind, values) in &tags {
        let size = match kind {
            1 | 2 | 7 => 1,
            3 => 2,
            _ => 4,
        };
        let mut data: Vec<u8> = values.iter().flat_map(|&value| bytes(value, size)).collect();
        entries.extend([bytes((*tag).into(), 2), bytes((*kind).into(), 2)].concat());
        // A fraction is two values.
        entries.extend(bytes(values.len() as u64 / if *kind == 5 { 2 } else { 1 }, word));
        if data.len() > word {
            let at = file.len() as u64;
            file.extend(data);
            data = bytes(at, word);
        }
        data.resize(word, 0);
        entries.extend(data);
    }
    let at = file.len() as u64;
    file[link..link + word].copy_from_slice(&bytes(at, word));
    file.extend(bytes(tags.len() as u64, if is_wide { 8 } else { 2 }));
    file.extend(entries);
    // The next page is this one, without end.
    file.extend(bytes(at, word));
    file
}

/// Size, bits, compression, meaning, samples; each tag with one short or long.
pub(super) fn tags(size: (u32, u32), values: &[(u16, u64)]) -> Vec<Tag> {
    let sides = [(256, 4, vec![size.0.into()]), (257, 4, vec![size.1.into()])];
    sides.into_iter().chain(values.iter().map(|&(tag, value)| (tag, 3, vec![value]))).collect()
}

pub(super) fn read(file: &[u8]) -> Picture {
    decode(file.to_vec(), 320, &settings().bounds).expect("it is a picture")
}

fn lzw(data: &[u8]) -> Vec<u8> {
    weezl::encode::Encoder::with_tiff_size_switch(weezl::BitOrder::Msb, 8)
        .encode(data)
        .expect("it is encoded")
}

#[test]
fn palettes_of_each_number_of_bits_are_read() {
    for bits in [1_usize, 2, 4, 8] {
        let count = 1_usize << bits;
        // The colour of an index, and a picture of all indices in each of two rows.
        let colour =
            |index: usize| [index * 37 % 256, (255 - index) % 256, index * index % 256].map(|c| c as u8);
        let (width, height) = (count.max(8) as u32, 2);
        let mut row = Vec::new();
        for x in 0..width as usize {
            if x * bits % 8 == 0 {
                row.push(0);
            }
            let last = row.len() - 1;
            row[last] |= ((x % count) << (8 - bits - x * bits % 8)) as u8;
        }
        let map: Vec<u64> = (0..3)
            .flat_map(|channel| (0..count).map(move |at| u64::from(colour(at)[channel]) * 257))
            .collect();
        let mut tags = tags((width, height), &[(258, bits as u64), (259, 1), (262, 3), (277, 1)]);
        tags.push((320, 3, map));
        for is_big in [false, true] {
            let picture = read(&tiff(&tags, &[row.repeat(2)], is_big, false));
            for x in 0..width {
                assert_eq!(colour_at(&picture, x, 1), colour(x as usize % count), "{bits} bits, {x}");
            }
        }
        tags.retain(|(tag, ..)| *tag != 320);
        assert!(matches!(refused(&tiff(&tags, &[row.repeat(2)], false, false)), Refusal::Damaged("TIFF", _)));
    }
}

#[test]
fn sixteen_and_twelve_bits_are_read_with_each_compression() {
    // A ramp of gray, differenced or not.
    let (width, height) = (40_u32, 3_u32);
    let value = |x: u32| (x * 1600) as u16;
    for (is_big, predictor) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
        let row: Vec<u8> = (0..width)
            .flat_map(|x| {
                let before = if x == 0 || predictor == 1 { 0 } else { value(x - 1) };
                let value = value(x).wrapping_sub(before);
                if is_big { value.to_be_bytes() } else { value.to_le_bytes() }
            })
            .collect();
        let row = row.repeat(height as usize);
        let deflated = fdeflate::compress_to_vec(&row);
        for (compression, data) in
            [(1, row.clone()), (5, lzw(&row)), (8, deflated.clone()), (32_946, deflated)]
        {
            let values = [(258, 16), (259, compression), (262, 1), (277, 1), (317, predictor)];
            let picture = read(&tiff(&tags((width, height), &values), &[data], is_big, false));
            assert_eq!(picture.layout, Layout::Gray);
            for x in 0..width {
                let expected = (u32::from(value(x)) * 255 + 32_767) / 65_535;
                let shown = picture.pixels[(2 * width + x) as usize];
                assert_eq!(u32::from(shown), expected, "compression {compression}, {is_big}, {x}");
            }
        }
    }
    // White, black, white and a quarter, of twelve bits.
    let values = [(258, 12), (259, 1), (262, 1), (277, 1)];
    let file = tiff(&tags((4, 1), &values), &[vec![0xff, 0xf0, 0x00, 0xff, 0xf4, 0x00]], false, false);
    assert_eq!(read(&file).pixels, [255, 0, 255, 64]);
}

/// Colours that differ from place to place.
fn pattern(width: u32, height: u32) -> Vec<u8> {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    places.flat_map(|(x, y)| [x * 6, y * 12, x * y % 256].map(|value| value as u8)).collect()
}

#[test]
fn strips_tiles_and_planes_of_either_byte_order_are_put_together() {
    let (width, height) = (40_u32, 20_u32);
    let pixels = pattern(width, height);
    let at = |x: u32, y: u32, channel: usize| {
        if x < width && y < height { pixels[(y * width + x) as usize * 3 + channel] } else { 99 }
    };
    let rgb = [(258, 8), (259, 1), (262, 2), (277, 3)];
    for (is_big, is_wide) in [(false, false), (true, false), (false, true), (true, true)] {
        let strips: Vec<Vec<u8>> = pixels.chunks(width as usize * 3 * 7).map(<[u8]>::to_vec).collect();
        let strip_tags = tags((width, height), &[&rgb[..], &[(278, 7)]].concat());
        assert_eq!(read(&tiff(&strip_tags, &strips, is_big, is_wide)).pixels, pixels, "strips");
        // Tiles of 16 x 16 go beyond the right and the lower edge.
        let corners = || [(0, 0), (16, 0), (32, 0), (0, 16), (16, 16), (32, 16)].into_iter();
        let tile = |left: u32, top: u32, channels: std::ops::Range<usize>| -> Vec<u8> {
            let places = (0..256).map(|index| (left + index % 16, top + index / 16));
            places.flat_map(|(x, y)| channels.clone().map(move |channel| at(x, y, channel))).collect()
        };
        let tile_tags = tags((width, height), &[&rgb[..], &[(322, 16), (323, 16)]].concat());
        let tiles: Vec<Vec<u8>> = corners().map(|(x, y)| tile(x, y, 0..3)).collect();
        assert_eq!(read(&tiff(&tile_tags, &tiles, is_big, is_wide)).pixels, pixels, "tiles");
        let planes: Vec<Vec<u8>> = (0..3)
            .flat_map(|channel| corners().map(move |corner| (corner, channel)))
            .map(|((x, y), channel)| tile(x, y, channel..channel + 1))
            .collect();
        let plane_tags = [tile_tags, tags((0, 0), &[(284, 2)])[2..].to_vec()].concat();
        assert_eq!(read(&tiff(&plane_tags, &planes, is_big, is_wide)).pixels, pixels, "planes");
    }
}

#[test]
fn jpeg_in_strips_and_tiles_is_read_with_its_tables_elsewhere() {
    let (width, height) = (48_u32, 32_u32);
    let encoded = |rows: std::ops::Range<u32>, color_type| {
        let whole = photograph(48, 32);
        let mut file = Vec::new();
        let encoder = Encoder::new(&mut file, 95);
        let part = &whole[(rows.start * width * 3) as usize..(rows.end * width * 3) as usize];
        encoder.encode(part, 48, (rows.end - rows.start) as u16, color_type).expect("the picture is valid");
        file
    };
    // Splits a JPEG into its tables, with a start and an end of their own, and the rest.
    let split = |file: &[u8]| {
        let (mut tables, mut rest) = (vec![0xff, 0xd8], vec![0xff, 0xd8]);
        let mut at = 2;
        while file[at + 1] != 0xda {
            let end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
            let to = if matches!(file[at + 1], 0xdb | 0xc4) { &mut tables } else { &mut rest };
            to.extend_from_slice(&file[at..end]);
            at = end;
        }
        rest.extend_from_slice(&file[at..]);
        tables.extend([0xff, 0xd9]);
        (tables, rest)
    };
    let shows = |file: &[u8], what: &str| {
        let picture = read(file);
        assert_eq!((picture.width, picture.height), (width, height), "{what}");
        for y in [0, 15, 16, 31] {
            let colours = [2, 45].map(|x| colour_at(&picture, x, y));
            assert!(is_red(colours[0]) && is_blue(colours[1]), "{what}: {colours:?}");
        }
    };
    let files = [encoded(0..16, jpeg_encoder::ColorType::Rgb), encoded(16..32, jpeg_encoder::ColorType::Rgb)];
    let values = [(258, 8), (259, 7), (262, 6), (277, 3), (278, 16)];
    let plain = tags((width, height), &values);
    shows(&tiff(&plain, &files, false, false), "whole files");
    let [(tables, first), (_, second)] = files.each_ref().map(|file| split(file));
    let mut with_tables = plain.clone();
    with_tables.push((347, 7, tables.iter().map(|&byte| byte.into()).collect()));
    let file = tiff(&with_tables, &[first.clone(), second.clone()], true, false);
    shows(&file, "tables elsewhere");
    // A progressive one would take memory that isn't counted.
    let progressive = jpeg(48, 32, |encoder| encoder.set_progressive(true));
    let values = [(258, 8), (259, 7), (262, 6), (277, 3)];
    let refusal = refused(&tiff(&tags((width, height), &values), &[progressive], false, false));
    assert_eq!(refusal.to_string(), "it is a TIFF that contains a progressive JPEG, which is not supported");
    // One that is larger than its strip.
    let refusal = refused(&tiff(&tags((16, 16), &values), &[jpeg(480, 320, |_| {})], false, false));
    assert!(matches!(refusal, Refusal::Damaged("TIFF", _)), "{refusal}");
    for length in 0..file.len() {
        assert!(thumbnail(file[..length].to_vec(), &settings()).is_err() || length + 5 > file.len());
    }
}

#[test]
fn colours_at_half_the_resolution_are_read() {
    // Two units of 2 x 2 pixels: red, and blue. Source of the numbers: the equations of BT.601.
    let of = |[red, green, blue]: [f32; 3]| {
        let y = 0.299 * red + 0.587 * green + 0.114 * blue;
        [y, 128.0 + (blue - y) / 1.772, 128.0 + (red - y) / 1.402].map(|value| value.round() as u8)
    };
    let unit = |colour| {
        let [y, blue, red] = of(colour);
        vec![y, y, y, y, blue, red]
    };
    let data = [unit([250.0, 10.0, 5.0]), unit([5.0, 60.0, 250.0])].concat();
    let mut tags = tags((3, 2), &[(258, 8), (259, 1), (262, 6), (277, 3)]);
    tags.push((530, 3, vec![2, 2]));
    // The defaults, as many programs write them, and others.
    tags.push((529, 5, vec![299, 1000, 587, 1000, 114, 1000]));
    let mut range = vec![0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1];
    tags.push((532, 5, range.clone()));
    let picture = read(&tiff(&tags, std::slice::from_ref(&data), true, false));
    range[0] = 16;
    tags.pop();
    tags.push((532, 5, range));
    let reason = "it is a TIFF in YCbCr with coefficients of its own, which is not supported";
    assert_eq!(refused(&tiff(&tags, &[data], true, false)).to_string(), reason);
    for (x, expected) in [(0, [250, 10, 5]), (1, [250, 10, 5]), (2, [5, 60, 250])] {
        let shown = colour_at(&picture, x, 1);
        assert!(shown.iter().zip(expected).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 2), "{shown:?}");
    }
}

#[test]
fn kinds_that_are_not_read_are_named() {
    let of = |changes: &[(u16, u64)]| {
        let mut values = vec![(258, 8), (259, 1), (262, 2), (277, 3)];
        values.retain(|(tag, _)| changes.iter().all(|(changed, _)| changed != tag));
        values.extend_from_slice(changes);
        refused(&tiff(&tags((4, 4), &values), &[vec![0; 256]], false, false)).to_string()
    };
    let cases: [(&[(u16, u64)], &str); 11] = [
        (&[(259, 6)], "a TIFF with old-style JPEG compression"),
        (&[(259, 50_000)], "a TIFF with Zstandard compression"),
        (&[(259, 34_712)], "a TIFF with JPEG 2000 compression"),
        (&[(262, 8)], "a TIFF in Lab"),
        (&[(262, 32_803)], "a raw photograph"),
        (&[(50_706, 1)], "a DNG raw photograph"),
        (&[(254, 1)], "a TIFF whose first page is a preview, as raw photographs have"),
        (&[(339, 3), (258, 32)], "a TIFF with signed samples or fractions"),
        (&[(258, 32)], "a TIFF with an unusual number of bits or channels"),
        (&[(262, 4)], "a TIFF that is a mask"),
        (&[(317, 3)], "a TIFF of an unusual kind"),
    ];
    for (changes, what) in cases {
        assert_eq!(of(changes), format!("it is {what}, which is not supported"));
    }
}

#[test]
fn a_directory_that_claims_too_much_is_refused() {
    let rgb = [(258, 8), (259, 1), (262, 2), (277, 3)];
    // One tile of four gigapixels for four pixels.
    let values = [&rgb[..], &[(322, 65_535), (323, 65_535)]].concat();
    let refusal = refused(&tiff(&tags((2, 2), &values), &[vec![0; 100]], false, false));
    assert!(matches!(refusal, Refusal::TooLarge(Excess::Memory { .. })), "{refusal}");
    // A strip for each of 2,000 rows, but only one is there.
    let values = [&rgb[..], &[(278, 1)]].concat();
    let refusal = refused(&tiff(&tags((2, 2000), &values), &[vec![0; 6]], false, false));
    assert_eq!(refusal, Refusal::Damaged("TIFF", "strips or tiles are missing"));
    // Each of 2,000 strips is the same one, of mostly nothing.
    let mut file_tags = tags((8, 2000), &[(258, 8), (259, 32_773), (262, 1), (277, 1), (278, 1)]);
    file_tags.push((273, 4, vec![8; 2000]));
    file_tags.push((279, 4, vec![6000; 2000]));
    let mut file = tiff(&file_tags, &[[vec![0x80; 5998], vec![0xf9, 7]].concat()], false, false);
    // The first entry of a kind counts, and both are next to each other.
    assert_eq!(refused(&file), Refusal::Damaged("TIFF", "its strips or tiles overlap"));
    file.truncate(100);
    assert_eq!(refused(&file), Refusal::CutShort("TIFF"));
    assert!(matches!(refused(&tiff(&tags((0, 9), &rgb), &[vec![]], false, false)), Refusal::Damaged(..)));
}

#[test]
fn what_is_there_of_a_tiff_that_is_cut_is_kept_if_asked_for() {
    // The directory comes first: it is the one of a file with its strips in front, and its offsets point behind it.
    let (width, height) = (40_u32, 20_u32);
    let pixels = photograph(40, 20);
    let mut file_tags = tags((width, height), &[(258, 8), (259, 1), (262, 2), (277, 3), (278, 5)]);
    let directory = tiff(&file_tags, &[], false, false).len() + 2 * 12 + 2 * 16;
    file_tags.push((273, 4, (0..4).map(|strip| directory as u64 + strip * 600).collect()));
    file_tags.push((279, 4, vec![600; 4]));
    let mut file = tiff(&file_tags, &[], false, false);
    file.resize(directory, 0);
    file.extend_from_slice(&pixels);
    assert_eq!(read(&file).pixels, pixels);
    let cut = &file[..directory + 1300];
    assert_eq!(refused(cut), Refusal::CutShort("TIFF"));
    let keep = Bounds { truncated: Truncated::Keep, ..settings().bounds };
    let kept = decode(cut.to_vec(), 320, &keep).expect("ten rows are there");
    assert_eq!(kept.pixels[..1200], pixels[..1200]);
    assert_eq!(colour_at(&kept, 5, 19), [128; 3]);
    assert_eq!(decode(file[..directory].to_vec(), 320, &keep).err(), Some(Refusal::CutShort("TIFF")));
}
