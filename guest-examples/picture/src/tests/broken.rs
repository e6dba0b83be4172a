//! Files that are cut, damaged, or of odd kinds.

use super::*;

/// A picture of 64 x 48 in each format, with its name.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let pixels = photograph(64, 48);
    vec![
        ("JPEG", jpeg(64, 48, |_| {})),
        ("JPEG", jpeg(64, 48, |encoder| encoder.set_progressive(true))),
        ("JPEG", jpeg(64, 48, |encoder| encoder.set_restart_interval(2))),
        ("PNG", png(64, 48, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &pixels)),
        ("WebP", webp(64, 48, &pixels, image_webp::ColorType::Rgb8)),
    ]
}

#[test]
fn a_truncated_file_is_cut_short_and_never_half_a_picture() {
    for (name, file) in files() {
        for length in 16..file.len() {
            match thumbnail(file[..length].to_vec(), &settings()) {
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::CutShort(name), "cut at {length} of {}", file.len())
                }
                // The end marker alone, checksums, and padding may be missing.
                Ok(_) => assert!(length + 24 > file.len(), "{name} cut at {length} of {}", file.len()),
            }
        }
    }
}

#[test]
fn a_file_that_lacks_only_its_end_is_made() {
    for (name, file) in files() {
        let end = match name {
            "JPEG" => 2,
            "PNG" => 12,
            _ => continue,
        };
        let whole = thumbnail(file.clone(), &settings());
        assert!(whole.is_ok());
        assert_eq!(thumbnail(file[..file.len() - end].to_vec(), &settings()), whole, "{name}");
        // A byte of the end is there.
        assert_eq!(thumbnail(file[..file.len() - end + 1].to_vec(), &settings()), whole, "{name}");
    }
}

#[test]
fn an_end_marker_does_not_make_a_cut_picture_whole() {
    for (name, file) in files().into_iter().filter(|(name, _)| *name == "JPEG") {
        let cut = [&file[..file.len() / 2 + 100], &[0xff, 0xd9]].concat();
        assert_eq!(refused(&cut), Refusal::CutShort(name));
    }
}

#[test]
fn a_changed_byte_never_panics() {
    // A small bound, so that a picture that claims to be large is refused and the test is quick.
    let settings = Settings { bounds: Bounds { pixels: 100_000, ..settings().bounds }, ..settings() };
    for (_, file) in files() {
        for at in 0..file.len() {
            for byte in [0, 1, 0x7f, 0xff, file[at] ^ 0x10] {
                let mut changed = file.clone();
                changed[at] = byte;
                let _ = thumbnail(changed, &settings);
            }
        }
    }
}

/// Takes out all segments with this marker.
fn without(file: &[u8], marker: u8) -> Vec<u8> {
    let mut kept = file[..2].to_vec();
    let mut at = 2;
    while file[at + 1] != 0xda {
        let end = at + 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
        if file[at + 1] != marker {
            kept.extend_from_slice(&file[at..end]);
        }
        at = end;
    }
    kept.extend_from_slice(&file[at..]);
    kept
}

#[test]
fn a_jpeg_without_huffman_tables_was_made_with_those_of_the_standard() {
    // The encoder uses them unless it is told otherwise.
    let file = jpeg(200, 100, |_| {});
    let bare = without(&file, 0xc4);
    assert!(bare.len() + 400 < file.len());
    assert_eq!(thumbnail(bare, &settings()), thumbnail(file, &settings()));
}

#[test]
fn wrong_numbers_of_restart_markers_do_not_matter() {
    let file = jpeg(200, 100, |encoder| encoder.set_restart_interval(3));
    let scan = file.windows(2).position(|bytes| bytes == [0xff, 0xda]).expect("it has a scan");
    let mut wrong = file.clone();
    let mut changed = 0;
    for at in scan..wrong.len() - 1 {
        if wrong[at] == 0xff && (0xd0..0xd8).contains(&wrong[at + 1]) {
            wrong[at + 1] = 0xd5;
            changed += 1;
        }
    }
    assert!(changed > 8);
    assert_eq!(thumbnail(wrong, &settings()), thumbnail(file, &settings()));
}

#[test]
fn a_large_progressive_jpeg_takes_little_memory() {
    let file = jpeg(2600, 1900, |encoder| encoder.set_progressive(true));
    let memory = file.len() as u64 + (3 << 20);
    let bounds = Bounds { memory, ..settings().bounds };
    let picture = decode(file.clone(), 320, &bounds).expect("it fits");
    assert_eq!((picture.width, picture.height), (325, 238));
    assert!(is_red(colour_at(&picture, 10, 100)) && is_blue(colour_at(&picture, 310, 100)));
    // At its own size it doesn't fit.
    assert!(matches!(decode(file, 2600, &bounds), Err(Refusal::TooLarge(Excess::Memory { .. }))));
}

#[test]
fn a_large_jpeg_that_is_not_in_order_is_still_made() {
    let file = jpeg(2600, 200, |encoder| encoder.set_restart_interval(3));
    let scan = file.windows(2).position(|bytes| bytes == [0xff, 0xda]).expect("it has a scan");
    let mut wrong = file.clone();
    for at in scan..wrong.len() - 1 {
        if wrong[at] == 0xff && (0xd0..0xd8).contains(&wrong[at + 1]) {
            wrong[at + 1] = 0xd5;
        }
    }
    let first_segment = 4 + usize::from(u16::from_be_bytes([file[4], file[5]]));
    let gap = [&file[..first_segment], &[0, 0], &file[first_segment..]].concat();
    for file in [wrong, file[..file.len() - 2].to_vec(), gap, file] {
        let picture = decode(file, 320, &settings().bounds).expect("it has all its pixels");
        assert_eq!((picture.width, picture.height), (325, 25));
        assert!(is_red(colour_at(&picture, 10, 10)) && is_blue(colour_at(&picture, 310, 10)));
    }
}

#[test]
fn a_large_jpeg_that_is_cut_is_cut_short() {
    for is_progressive in [false, true] {
        let file = jpeg(2600, 200, |encoder| encoder.set_progressive(is_progressive));
        let whole = thumbnail(file.clone(), &settings());
        assert!(whole.is_ok());
        for length in (1000..file.len() - 24).step_by(997) {
            assert_eq!(refused(&file[..length]), Refusal::CutShort("JPEG"), "cut at {length}");
            let ended = thumbnail([&file[..length], &[0xff, 0xd9]].concat(), &settings());
            // Or the cut is in a scan of a progressive file that the thumbnail doesn't need.
            assert!(
                ended.is_err() || (is_progressive && ended == whole),
                "ended at {length} of {}",
                file.len()
            );
        }
    }
}

#[test]
fn fill_bytes_before_a_marker_do_not_matter() {
    let file = jpeg(64, 48, |_| {});
    let end = file.len() - 2;
    let filled = [&file[..end], &[0xff, 0xff], &file[end..]].concat();
    assert_eq!(thumbnail(filled, &settings()), thumbnail(file, &settings()));
}

#[test]
fn odd_kinds_of_jpeg_are_refused_by_name() {
    let file = jpeg(64, 48, |_| {});
    let frame = file.windows(2).position(|bytes| bytes == [0xff, 0xc0]).expect("it has a frame header");
    let with = |at: usize, byte: u8| {
        let mut file = file.clone();
        file[frame + at] = byte;
        refused(&file).to_string()
    };
    let not_supported = |what: &str| format!("it is {what}, which is not supported");
    assert_eq!(with(1, 0xc3), not_supported("a lossless JPEG"));
    assert_eq!(with(1, 0xc5), not_supported("a hierarchical JPEG"));
    assert_eq!(with(1, 0xc9), not_supported("a JPEG with arithmetic coding"));
    assert_eq!(with(1, 0xca), not_supported("a JPEG with arithmetic coding"));
    assert_eq!(with(4, 12), not_supported("a 12-bit JPEG"));
    let hierarchical = [&file[..2], &[0xff, 0xde, 0, 2], &file[2..]].concat();
    assert_eq!(refused(&hierarchical).to_string(), not_supported("a hierarchical JPEG"));
}

#[test]
fn reasons_say_where_a_file_is_damaged() {
    let file = png(64, 48, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &photograph(64, 48));
    let mut changed = file.clone();
    changed[file.len() - 13] ^= 1;
    assert_eq!(refused(&changed).to_string(), "it is a damaged PNG: the checksum of a chunk is wrong");
    let file = without(&jpeg(64, 48, |_| {}), 0xdb);
    assert_eq!(refused(&file).to_string(), "it is a damaged JPEG: a quantization table is missing");
    let file = jpeg(64, 48, |_| {});
    assert_eq!(refused(&file[..file.len() / 2]).to_string(), "it is a JPEG that is cut short");
}

#[test]
fn what_is_there_of_a_png_that_is_cut_is_kept_if_asked_for() {
    let pixels = photograph(300, 200);
    let settings = Settings {
        format: Format::WebP,
        bounds: Bounds { truncated: Truncated::Keep, ..settings().bounds },
        ..settings()
    };
    let file = png(300, 200, ::png::ColorType::Rgb, ::png::BitDepth::Eight, &pixels);
    let picture = made(&file[..file.len() * 3 / 4], &settings);
    assert_eq!((picture.width, picture.height), (300, 200));
    assert!(is_red(colour_at(&picture, 10, 10)) && is_blue(colour_at(&picture, 290, 10)));
    assert_eq!(colour_at(&picture, 10, 199), [128; 3]);
    // Nothing is there of this one.
    assert_eq!(thumbnail(file[..50].to_vec(), &settings), Err(Refusal::CutShort("PNG")));
}

#[test]
fn a_side_that_is_too_long_is_refused() {
    let settings = Settings { bounds: Bounds { side: 1000, ..settings().bounds }, ..settings() };
    for file in [jpeg(1001, 20, |_| {}), png_header(20, 1001)] {
        let refusal = thumbnail(file, &settings).expect_err("it is refused");
        assert!(matches!(refusal, Refusal::TooLarge(Excess::Side { bound: 1000, .. })), "{refusal}");
    }
}

#[test]
fn what_is_there_of_a_jpeg_that_is_cut_is_kept_if_asked_for() {
    let keep = Settings {
        format: Format::WebP,
        bounds: Bounds { truncated: Truncated::Keep, ..settings().bounds },
        ..settings()
    };
    let sequential: [fn(&mut Encoder<&mut Vec<u8>>); 2] = [|_| {}, |encoder| encoder.set_restart_interval(5)];
    for (index, prepare) in sequential.into_iter().enumerate() {
        for (width, height) in [(300, 200), (1280, 853)] {
            let file = jpeg(width, height, prepare);
            for end in [&[][..], &[0xff, 0xd9]] {
                let picture = made(&[&file[..file.len() * 3 / 4], end].concat(), &keep);
                let (wide, high) = (picture.width, picture.height);
                assert_eq!((wide, high), fit(width.into(), height.into(), 320));
                let is_whole =
                    |y| is_red(colour_at(&picture, 10, y)) && is_blue(colour_at(&picture, wide - 10, y));
                assert!(is_whole(1) && is_whole(high / 2), "file {index}, {width}");
                assert_eq!(colour_at(&picture, 10, high - 1), [128; 3], "file {index}, {width}");
            }
            // A few bytes of pixels make no row of blocks.
            let scan = file.windows(2).position(|bytes| bytes == [0xff, 0xda]).expect("it has a scan");
            assert_eq!(thumbnail(file[..scan + 20].to_vec(), &keep), Err(Refusal::CutShort("JPEG")));
        }
    }
    let file = jpeg(300, 200, |encoder| encoder.set_progressive(true));
    let picture = made(&file[..file.len() - 100], &keep);
    for y in [1, 198] {
        assert!(is_red(colour_at(&picture, 10, y)) && is_blue(colour_at(&picture, 290, y)), "row {y}");
    }
}

#[test]
fn keeping_what_is_there_never_panics() {
    let keep = Settings { bounds: Bounds { truncated: Truncated::Keep, ..settings().bounds }, ..settings() };
    for (_, file) in files() {
        for length in (0..file.len()).step_by(3) {
            let mut cut = file[..length].to_vec();
            let _ = thumbnail(cut.clone(), &keep);
            if let Some(byte) = cut.get_mut(length / 2) {
                *byte ^= 0x55;
                let _ = thumbnail(cut, &keep);
            }
        }
    }
}
