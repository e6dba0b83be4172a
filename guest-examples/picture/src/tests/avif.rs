//! AVIF, which no reader that guests could use decodes. The boxes are read here, and the size by the crate `imagesize`.
//! Source: ISO/IEC 14496-12, 4.2 and 8.11; ISO/IEC 23008-12, 6 and 7; AV1 Image File Format 1.1.0.

use super::shapes::picture;
use super::*;

/// Returns kind and content of each box. Each must end where the next begins, and the last where the bytes end.
fn boxes(mut bytes: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (size, kind) = (number(&bytes[..4]) as usize, &bytes[4..8]);
        found.push((kind.try_into().expect("four bytes"), &bytes[8..size]));
        bytes = &bytes[size..];
    }
    found
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

fn all<'a>(boxes: &[([u8; 4], &'a [u8])], kind: &[u8; 4]) -> Vec<&'a [u8]> {
    boxes.iter().filter(|(found, _)| found == kind).map(|(_, content)| *content).collect()
}

fn only<'a>(boxes: &[([u8; 4], &'a [u8])], kind: &[u8; 4]) -> &'a [u8] {
    let found = all(boxes, kind);
    assert_eq!(found.len(), 1, "boxes {}", String::from_utf8_lossy(kind));
    found[0]
}

/// Returns the content of the items, which must lie in the box `mdat`.
fn items<'a>(file: &'a [u8], locations: &[u8]) -> Vec<(u64, &'a [u8])> {
    // Version 0, and four bytes for each offset and length.
    assert_eq!(locations[..6], [0, 0, 0, 0, 0x44, 0]);
    let mdat = file.windows(4).position(|kind| kind == b"mdat").expect("it is there") + 4;
    let count = number(&locations[6..8]);
    assert_eq!(locations.len() as u64, 8 + 14 * count, "one part for each item");
    let read = |item: &[u8]| {
        let (offset, length) = (number(&item[6..10]) as usize, number(&item[10..14]) as usize);
        assert!(offset >= mdat && length > 0 && offset + length <= file.len());
        (number(&item[..2]), &file[offset..offset + length])
    };
    locations[8..].chunks(14).map(read).collect()
}

#[test]
fn an_avif_has_the_structure_size_and_colours_that_readers_expect() {
    for (layout, has_alpha) in [(Layout::Rgb, false), (Layout::Rgba, true), (Layout::Gray, false)] {
        for (width, height) in [(1, 1), (17, 9), (70, 65), (300, 2)] {
            let what = format!("{layout:?} {width} x {height}");
            let pixels = (0..width * height * layout.channels() as u32).map(|at| (at * 7) as u8).collect();
            let file = encode(picture(width, height, layout, pixels), &encoding(Format::Avif)).expect(&what);

            let size = imagesize::blob_size(&file).expect(&what);
            assert_eq!((size.width, size.height), (width as usize, height as usize), "{what}");
            let found = imagesize::image_type(&file).expect(&what);
            assert_eq!(found, imagesize::ImageType::Heif(imagesize::Compression::Av1), "{what}");

            let top = boxes(&file);
            let kinds: Vec<_> = top.iter().map(|(kind, _)| kind).collect();
            assert_eq!(kinds, [b"ftyp", b"meta", b"mdat"], "{what}");
            let brands: Vec<&[u8]> = top[0].1[8..].chunks(4).collect();
            assert!(brands.contains(&b"mif1".as_slice()) && brands.contains(&b"miaf".as_slice()), "{what}");

            let meta = boxes(&top[1].1[4..]);
            assert_eq!(only(&meta, b"hdlr")[8..12], *b"pict", "{what}");
            let primary = number(&only(&meta, b"pitm")[4..]);
            let found = items(&file, only(&meta, b"iloc"));
            assert_eq!(found.len(), 1 + usize::from(has_alpha), "{what}");
            let (_, coded) = found.iter().find(|(id, _)| *id == primary).expect("the primary item");

            let properties = boxes(only(&boxes(only(&meta, b"iprp")), b"ipco"));
            for ispe in all(&properties, b"ispe") {
                assert_eq!(
                    (number(&ispe[4..8]), number(&ispe[8..])),
                    (width.into(), height.into()),
                    "{what}"
                );
            }
            let auxiliary = all(&properties, b"auxC");
            assert_eq!(auxiliary.len(), usize::from(has_alpha), "{what}");
            assert!(
                auxiliary
                    .iter()
                    .all(|kind| kind[4..].starts_with(b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0"))
            );
            // Eight bits in each of three channels, which the configuration repeats: neither flag for more, nor monochrome,
            // nor less colour than brightness.
            assert!(all(&properties, b"pixi").contains(&[0, 0, 0, 0, 3, 8, 8, 8].as_slice()), "{what}");
            let configuration = all(&properties, b"av1C")[0];
            assert_eq!((configuration[0], configuration[2] & 0b0111_1100), (0x81, 0), "{what}");
            assert_eq!(colours(coded), [1, 13, 6, 1], "{what}");
        }
    }
}

/// Returns primaries, transfer, matrix and whether the range is full, from the sequence header of a still picture.
/// Source: AV1 bitstream specification, 5.3 to 5.5.
fn colours(coded: &[u8]) -> [u64; 4] {
    // Units of a header, and here of a size in at most two bytes.
    let mut units = coded;
    while units[0] >> 3 & 15 != 1 {
        let (length, used) = unit_size(units);
        units = &units[1 + used + length..];
    }
    let (_, used) = unit_size(units);
    let mut bits =
        units[1 + used..].iter().flat_map(|byte| (0..8).rev().map(move |bit| u64::from(byte >> bit & 1)));
    let mut read = |count: u64| (0..count).fold(0, |number, _| number << 1 | bits.next().expect("a bit"));
    // The profile, a still picture, its reduced header, and the level.
    assert_eq!([read(3), read(1), read(1)], [1, 1, 1]);
    read(5);
    let (width_bits, height_bits) = (read(4) + 1, read(4) + 1);
    read(width_bits);
    read(height_bits);
    // Superblocks, two kinds of intra prediction, superresolution, CDEF and restoration.
    read(6);
    // Not more than eight bits, and a description of colours.
    assert_eq!([read(1), read(1)], [0, 1]);
    [read(8), read(8), read(8), read(1)]
}

fn unit_size(unit: &[u8]) -> (usize, usize) {
    assert_eq!(unit[0] & 0b0000_0110, 0b10, "a size, and no extension");
    match unit[1] {
        low @ ..128 => (low.into(), 1),
        low => (usize::from(low & 127) | usize::from(unit[2]) << 7, 2),
    }
}
