//! JPEG XL. The frames are those of an encoder, behind headers that are written here.

use zune_core::bit_depth::BitDepth;
use zune_core::colorspace::ColorSpace;
use zune_core::options::EncoderOptions;
use zune_jpegxl::JxlSimpleEncoder;

use super::*;

pub(super) fn encoded(size: (usize, usize), space: ColorSpace, pixels: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    let options = EncoderOptions::new(size.0, size.1, space, BitDepth::Eight);
    JxlSimpleEncoder::new(pixels, options).encode(&mut file).expect("the picture is valid");
    file
}

/// Bits, the lowest of each number first.
#[derive(Default)]
struct Bits(Vec<bool>);

impl Bits {
    fn put(&mut self, count: u32, value: u32) {
        self.0.extend((0..count).map(|at| value >> at & 1 == 1));
    }

    fn bytes(&self) -> Vec<u8> {
        self.0
            .chunks(8)
            .map(|bits| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit)))
            .collect()
    }
}

/// Writes the header of an RGB picture of at most 512 pixels a side, with another orientation, and with another curve if one
/// is given. Source: ISO/IEC 18181-1, annex D.
pub(super) fn with_header(file: &[u8], size: (u32, u32), orientation: u32, curve: Option<u32>) -> Vec<u8> {
    let mut bits = Bits::default();
    bits.put(16, 0x0aff);
    bits.put(1, 0);
    bits.put(2, 0);
    bits.put(9, size.1 - 1);
    bits.put(3, 0);
    bits.put(2, 0);
    bits.put(9, size.0 - 1);
    // Not all defaults, with an orientation, and without size, preview or animation.
    bits.put(2, 0b10);
    bits.put(3, orientation - 1);
    bits.put(3, 0);
    // Whole numbers of eight bits in buffers of sixteen, no extra channels, not XYB.
    bits.put(1, 0);
    bits.put(2, 0);
    bits.put(1, 1);
    bits.put(2, 0);
    bits.put(1, 0);
    match curve {
        None => bits.put(1, 1),
        Some(curve) => {
            // No defaults, no profile, RGB, D65, primaries of sRGB, no gamma, the curve, relative.
            bits.put(2, 0);
            bits.put(2, 0);
            bits.put(2, 1);
            bits.put(2, 1);
            bits.put(1, 0);
            if curve >= 18 {
                bits.put(2, 3);
                bits.put(6, curve - 18);
            } else {
                bits.put(2, 2);
                bits.put(4, curve - 2);
            }
            bits.put(2, 1);
        }
    }
    // Tone mapping by default, no extensions, transforms by default.
    bits.put(1, 1);
    bits.put(2, 0);
    bits.put(1, 1);
    // The encoder's header for such a picture has seven bytes.
    [bits.bytes().as_slice(), &file[7..]].concat()
}

/// The bytes of a picture's header, and of its frame's header, as the encoder writes them for a small RGB picture.
const HEADERS: (usize, usize) = (7, 4);

/// Returns the header of a modular RGB frame that isn't shown, but which others can refer to. Without a size of at least 2,304
/// a side, it is as large as the picture. Source: ISO/IEC 18181-1, annex F.
fn hidden_frame(side: Option<u32>) -> Vec<u8> {
    let mut bits = Bits::default();
    // Not all defaults, for reference only, modular, no flags, not YCbCr, not enlarged.
    bits.put(1, 0);
    bits.put(2, 2);
    bits.put(1, 1);
    bits.put(2, 0);
    bits.put(1, 0);
    bits.put(2, 0);
    // Groups of 256 pixels a side, or of 1,024.
    bits.put(2, if side.is_some() { 3 } else { 1 });
    bits.put(1, side.is_some().into());
    for side in side.into_iter().flat_map(|side| [side; 2]) {
        bits.put(2, 2);
        bits.put(14, side - 2304);
    }
    // Kept in the second place, before the colours are transformed, and no name.
    bits.put(2, 1);
    bits.put(1, 1);
    bits.put(2, 0);
    // No filters, no extensions, and the sizes of the sections are in order.
    bits.put(1, 0);
    bits.put(1, 0);
    bits.put(2, 0);
    bits.put(2, 0);
    bits.put(2, 0);
    bits.put(1, 0);
    bits.bytes()
}

/// Returns a file whose frame is there twice, the first time not to be shown.
fn with_hidden_frame(file: &[u8]) -> Vec<u8> {
    let (picture, frame) = HEADERS;
    [&file[..picture], &hidden_frame(None), &file[picture + frame..], &file[picture..]].concat()
}

/// Returns a file that begins with a frame of 10,000 x 10,000 pixels that isn't shown.
fn with_large_frame(file: &[u8]) -> Vec<u8> {
    // Empty sections, so that the decoder comes to where it takes memory.
    [&file[..HEADERS.0], &hidden_frame(Some(10_000)), &[0; 400], &file[HEADERS.0..]].concat()
}

fn container(file: &[u8], boxes: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let boxed =
        |kind: &[u8; 4], data: &[u8]| [&(8 + data.len() as u32).to_be_bytes(), &kind[..], data].concat();
    let mut parts = vec![boxed(b"JXL ", b"\r\n\x87\n"), boxed(b"ftyp", b"jxl \0\0\0\0jxl ")];
    parts.extend(boxes.iter().map(|(kind, data)| boxed(kind, data)));
    parts.push(boxed(b"jxlc", file));
    parts.concat()
}

fn read(file: &[u8]) -> Picture {
    decode(file.to_vec(), 1000, &settings().bounds).expect("it is a picture")
}

#[test]
fn jpeg_xl_of_each_layout_is_read_to_the_pixel() {
    let (width, height) = (300, 40);
    for (space, layout) in [
        (ColorSpace::Luma, Layout::Gray),
        (ColorSpace::LumaA, Layout::GrayAlpha),
        (ColorSpace::RGB, Layout::Rgb),
        (ColorSpace::RGBA, Layout::Rgba),
    ] {
        let channels = layout.channels();
        let pixels: Vec<u8> = (0..width * height * channels).map(|at| (at * 7 % 251) as u8).collect();
        let picture = read(&encoded((width, height), space, &pixels));
        assert_eq!((picture.width, picture.height, picture.layout), (300, 40, layout));
        assert_eq!(picture.pixels, pixels, "{layout:?}");
    }
    let pixels = photograph(300, 40);
    let file = encoded((300, 40), ColorSpace::RGB, &pixels);
    assert_eq!(read(&container(&file, &[(b"Exif", &[0; 9])])).pixels, pixels);
}

#[test]
fn all_eight_orientations_of_a_jpeg_xl_are_read() {
    let corners = [(0, 0), (39, 0), (39, 19), (0, 19), (0, 0), (19, 0), (19, 39), (0, 39)];
    for (orientation, (x, y)) in (1..=8).zip(corners) {
        let mut pixels = vec![0; 40 * 20 * 3];
        pixels[0] = 255;
        let file = with_header(&encoded((40, 20), ColorSpace::RGB, &pixels), (40, 20), orientation, None);
        let picture = read(&file).upright();
        assert_eq!((picture.width, picture.height), if orientation < 5 { (40, 20) } else { (20, 40) });
        assert_eq!(colour_at(&picture, x, y), [255, 0, 0], "orientation {orientation}");
    }
}

#[test]
fn hdr_in_a_jpeg_xl_is_refused_by_name_and_linear_light_converted() {
    let file = encoded((40, 20), ColorSpace::RGB, &[128; 2400]);
    let of = |curve| with_header(&file, (40, 20), 1, Some(curve));
    let refusal = |curve| refused(&of(curve)).to_string();
    assert_eq!(refusal(16), "it is a JPEG XL with HDR colours (PQ), which is not supported");
    assert_eq!(refusal(18), "it is a JPEG XL with HDR colours (HLG), which is not supported");
    // Half of the light is 188 in sRGB.
    let shown = read(&of(8)).in_srgb().pixels[0];
    assert!(shown.abs_diff(188) <= 1, "{shown}");
    assert_eq!(read(&of(13)).in_srgb().pixels[0], 128);
}

#[test]
fn the_memory_of_frames_that_are_not_shown_counts() {
    let pixels = photograph(300, 200);
    let file = encoded((300, 200), ColorSpace::RGB, &pixels);
    let decoded = |file: &[u8], memory| {
        decode(file.to_vec(), 1000, &Bounds { memory, ..settings().bounds }).map(|picture| picture.pixels)
    };
    let needed = |file: &[u8], memory| match decoded(file, memory) {
        Err(Refusal::TooLarge(Excess::Memory { needed, .. })) => needed,
        other => panic!("{:?}", other.map(|pixels| pixels.len())),
    };
    let alone = needed(&file, 0);
    assert_eq!(decoded(&file, alone).as_ref(), Ok(&pixels));
    for file in [with_hidden_frame(&file), container(&with_hidden_frame(&file), &[])] {
        let needed = needed(&file, alone + 100_000);
        assert!(needed > 9 * 4 * 3 * 300 * 200, "{needed}");
        assert_eq!(decoded(&file, needed).as_ref(), Ok(&pixels));
    }
}

#[test]
fn a_frame_that_is_larger_than_the_picture_is_refused() {
    let file = encoded((40, 20), ColorSpace::RGB, &photograph(40, 20));
    for file in [with_large_frame(&file), container(&with_large_frame(&file), &[])] {
        let refusal = refused(&file).to_string();
        assert_eq!(
            refusal,
            "it is a JPEG XL with a frame that is larger than the picture, which is not supported"
        );
    }
}

#[test]
#[ignore = "it writes the files that it names into the fuzzer's corpus, as fuzz/make-corpus.py does for other formats"]
fn the_corpus_of_jpeg_xl_is_written() {
    let pixels = photograph(40, 24);
    let file = encoded((40, 24), ColorSpace::RGB, &pixels);
    let clear: Vec<u8> =
        pixels.chunks(3).zip(0..).flat_map(|(rgb, at)| [rgb, &[at as u8]].concat()).collect();
    let gray: Vec<u8> = pixels.iter().step_by(3).copied().collect();
    let xmp: &[u8] = b"<x:xmpmeta><rdf:Description dc:rights=\"A\"/></x:xmpmeta>";
    for (name, file) in [
        ("jxl-rgb", file.clone()),
        ("jxl-rgba", encoded((40, 24), ColorSpace::RGBA, &clear)),
        ("jxl-gray", encoded((40, 24), ColorSpace::Luma, &gray)),
        ("jxl-groups", encoded((300, 8), ColorSpace::RGB, &photograph(300, 8))),
        ("jxl-sideways-linear", with_header(&file, (40, 24), 6, Some(8))),
        ("jxl-boxes", container(&file, &[(b"Exif", b"\0\0\0\0MM\0*\0\0\0\x08\0\0"), (b"xml ", xmp)])),
        ("jxl-hidden-frame", with_hidden_frame(&file)),
        ("jxl-large-frame", with_large_frame(&file)),
    ] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/picture");
        std::fs::write(folder.join(name), file).expect("there is the corpus");
    }
}

#[test]
fn a_cut_or_changed_jpeg_xl_never_panics() {
    let bounds = Bounds { pixels: 100_000, ..settings().bounds };
    let keep = Bounds { truncated: Truncated::Keep, ..bounds.clone() };
    let file = encoded((64, 48), ColorSpace::RGB, &photograph(64, 48));
    for length in 2..file.len() {
        let refusal = decode(file[..length].to_vec(), 320, &bounds).err();
        assert!(
            refusal == Some(Refusal::CutShort("JPEG XL")) || length + 4 > file.len(),
            "{length}: {refusal:?}"
        );
        let _ = decode(file[..length].to_vec(), 320, &keep);
    }
    for at in 2..file.len() {
        for byte in [0, 0xff, file[at] ^ 0x10, file[at] ^ 1] {
            let mut changed = file.clone();
            changed[at] = byte;
            let _ = decode(changed, 320, &bounds);
        }
    }
    // The largest side that the short form of the header has.
    let mut huge = Bits::default();
    huge.put(16, 0x0aff);
    for _ in 0..2 {
        huge.put(3, 0b110);
        huge.put(30, (1 << 30) - 1);
    }
    let refusal = refused(&[huge.bytes(), vec![0; 64]].concat());
    assert!(!matches!(refusal, Refusal::CutShort(_)), "{refusal}");
}
