//! Tests of the files that are written.

use super::shapes::picture;
use super::*;

fn with_rights(format: Format, rights: Option<Rights>) -> Encoding {
    Encoding { rights, ..encoding(format) }
}

/// Returns the data of the first segment with this marker.
fn segment(file: &[u8], marker: u8) -> Option<&[u8]> {
    let at = file.windows(2).position(|bytes| bytes == [0xff, marker])?;
    file.get(at + 4..)
}

#[test]
fn a_jpeg_is_written_as_asked() {
    let source = || picture(64, 48, Layout::Rgb, photograph(64, 48));
    for (progressive, chroma, marker, factors) in [
        (false, Chroma::Half, 0xc0, [0x22, 0x11, 0x11]),
        (false, Chroma::Full, 0xc0, [0x11, 0x11, 0x11]),
        (true, Chroma::Half, 0xc2, [0x22, 0x11, 0x11]),
        (true, Chroma::Full, 0xc2, [0x11, 0x11, 0x11]),
    ] {
        let encoding = Encoding { progressive, chroma, quality: 95, ..encoding(Format::Jpeg) };
        let file = encode(source(), &encoding).expect("it is small");
        let frame = segment(&file, marker).expect("it has a frame header of that kind");
        assert_eq!([frame[7], frame[10], frame[13]], factors, "{encoding:?}");
        let read = decode(file.clone(), 64, &settings().bounds).expect("it is a picture");
        assert!(is_red(colour_at(&read, 10, 20)) && is_blue(colour_at(&read, 50, 20)), "{encoding:?}");
        assert_eq!(encode(source(), &encoding), Ok(file), "the same bytes each time");
    }
    let size = |quality| {
        encode(source(), &Encoding { quality, ..encoding(Format::Jpeg) }).expect("it is small").len()
    };
    assert!(size(0) <= size(20) && size(20) < size(60) && size(60) < size(95) && size(95) < size(255));
}

#[test]
fn half_of_the_colours_is_their_average() {
    // Columns of red and blue, of the same brightness: half of the colours is purple.
    let pixels = [[200, 0, 0, 0, 77, 200].repeat(16), Vec::new()].concat().repeat(32);
    let file =
        encode(picture(32, 32, Layout::Rgb, pixels), &Encoding { quality: 95, ..encoding(Format::Jpeg) });
    let read = decode(file.expect("it is small"), 32, &settings().bounds).expect("it is a picture");
    let [red, _, blue] = colour_at(&read, 16, 16);
    assert!((70..=130).contains(&red) && (70..=130).contains(&blue), "{red} {blue}");
}

#[test]
fn lossless_formats_keep_each_pixel_of_each_layout() {
    for layout in [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Rgba] {
        let pixels: Vec<u8> = (0..17 * 9 * layout.channels()).map(|at| (at * 37 % 256) as u8).collect();
        for format in [Format::Png, Format::WebP] {
            let file =
                encode(picture(17, 9, layout, pixels.clone()), &encoding(format)).expect("it is small");
            let read = decode(file.clone(), 17, &settings().bounds).expect("it is a picture");
            let (channels, spread) = (layout.channels(), read.layout.channels());
            for (written, read) in pixels.chunks_exact(channels).zip(read.pixels.chunks_exact(spread)) {
                let rgba = |layout, pixel: &[u8]| crate::background::rgba(layout, pixel);
                let read = rgba(
                    if spread == 4 {
                        Layout::Rgba
                    } else if spread == 3 {
                        Layout::Rgb
                    } else {
                        layout
                    },
                    read,
                );
                let written = rgba(layout, written);
                assert!(written == read || (written[3] == 0 && read[3] == 0), "{format:?} {layout:?}");
            }
            let again = encode(picture(17, 9, layout, pixels.clone()), &encoding(format));
            assert_eq!(again, Ok(file), "the same bytes each time");
        }
    }
}

#[test]
fn a_png_is_compressed() {
    let file = encode(picture(200, 200, Layout::Rgb, photograph(200, 200)), &encoding(Format::Png));
    assert!(file.expect("it is small").len() < 200 * 200 * 3 / 50);
}

#[test]
fn transparency_becomes_white_in_a_jpeg_only() {
    let clear = || picture(16, 16, Layout::Rgba, [0; 4].repeat(256));
    for (format, expected) in [(Format::Jpeg, 255), (Format::Png, 0), (Format::WebP, 0)] {
        let file = encode(clear(), &encoding(format)).expect("it is small");
        let read = decode(file, 16, &settings().bounds).expect("it is a picture");
        assert_eq!(read.layout.has_alpha(), format != Format::Jpeg);
        assert_eq!(read.pixels[0], expected, "{format:?}");
    }
}

#[test]
fn rights_are_written_if_asked_for_and_nothing_else() {
    let source = || picture(16, 16, Layout::Rgb, photograph(16, 16));
    let texts =
        [(Some("(c) Ann & Bob"), Some("Ann <ann@example.com>")), (Some("© Ünal"), None), (None, Some("Al"))];
    for format in [Format::Jpeg, Format::Png, Format::WebP] {
        for (copyright, creator) in texts {
            let rights =
                Rights { copyright: copyright.map(str::to_owned), creator: creator.map(str::to_owned) };
            let file = encode(source(), &with_rights(format, Some(rights.clone()))).expect("it is small");
            let read = metadata(&file, true);
            assert_eq!(read.rights, rights, "{format:?}");
            assert_eq!((read.taken, read.camera, read.location), (None, None, None));
            decode(file, 16, &settings().bounds).expect("it is a picture");
        }
        let none = Some(Rights { copyright: Some(" \n".to_owned()), creator: None });
        let [without, blank] =
            [None, none].map(|rights| encode(source(), &with_rights(format, rights)).expect("it is small"));
        assert_eq!(without, blank);
        for word in [b"Exif".as_slice(), b"EXIF", b"eXIf", b"xmp", b"XMP"] {
            assert!(!without.windows(word.len()).any(|window| window == word), "{format:?}");
        }
    }
}

#[test]
fn rights_of_any_length_fit() {
    let long =
        Rights { copyright: Some("ß&".repeat(100_000)), creator: Some("\u{0}a\u{7}<".repeat(100_000)) };
    for format in [Format::Jpeg, Format::Png, Format::WebP] {
        let picture = picture(16, 16, Layout::Rgb, photograph(16, 16));
        let file = encode(picture, &with_rights(format, Some(long.clone()))).expect("it is small");
        let read = metadata(&file, false).rights;
        assert!(read.copyright.is_some_and(|text| text.starts_with("ß&ß&") && text.len() <= 256));
        assert!(read.creator.is_some_and(|text| text.starts_with("a<a<") && text.len() <= 256));
    }
}

#[test]
fn a_picture_that_a_format_cannot_hold_is_refused() {
    for (format, width) in [(Format::Jpeg, 65_536), (Format::WebP, 16_385)] {
        assert!(width > format.max_side());
        let wide = picture(width, 1, Layout::Gray, vec![0; width as usize]);
        assert!(matches!(encode(wide, &encoding(format)), Err(Refusal::Damaged(..))), "{format:?}");
    }
    for format in [Format::Jpeg, Format::Png, Format::WebP] {
        let empty = picture(0, 0, Layout::Rgb, Vec::new());
        assert!(matches!(encode(empty, &encoding(format)), Err(Refusal::Damaged(..))), "{format:?}");
    }
}

#[cfg(feature = "avif")]
#[test]
fn an_avif_of_any_size_and_layout_is_written() {
    for layout in [Layout::Gray, Layout::GrayAlpha, Layout::Rgb, Layout::Rgba] {
        for (width, height) in [(1, 1), (1, 40), (17, 9), (70, 65)] {
            let pixels = vec![120; (width * height) as usize * layout.channels()];
            let rights = Some(Rights { copyright: Some("(c) Ann".to_owned()), creator: None });
            let encoding = with_rights(Format::Avif, rights);
            let made = || encode(picture(width, height, layout, pixels.clone()), &encoding);
            let file = made().expect("it is small");
            assert_eq!(&file[4..12], b"ftypavif");
            let find = |name: &[u8]| file.windows(name.len()).position(|window| window == name);
            // Four bytes of version and flags, then the size.
            let size = find(b"ispe").expect("it has a size") + 8;
            let expected = [width.to_be_bytes(), height.to_be_bytes()].concat();
            assert_eq!(file[size..size + 8], expected, "{layout:?} {width} x {height}");
            assert!(find(b"(c) Ann").is_some());
            assert_eq!(made(), Ok(file), "the same bytes each time");
        }
    }
    let empty = picture(0, 0, Layout::Rgb, Vec::new());
    assert!(matches!(encode(empty, &encoding(Format::Avif)), Err(Refusal::Damaged(..))));
}

#[cfg(feature = "avif")]
#[test]
fn the_memory_of_an_encoder_counts() {
    let file = jpeg(64, 48, |_| {});
    let shape = super::shapes::shape(2000, 1500, Fit::Fill);
    let bounds = Bounds { memory: 100 << 20, ..settings().bounds };
    let is_made = |format| decode(file.clone(), Target::Files(&[(shape.clone(), format)]), &bounds).is_ok();
    assert!(is_made(Format::Png) && !is_made(Format::Avif));
}
