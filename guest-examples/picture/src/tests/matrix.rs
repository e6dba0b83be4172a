//! Each format with each orientation, with and without transparency and a profile. The expected pixels are computed from
//! the source's.

use super::colours::{PRIMARIES, matrix, srgb};
use super::turned::{self, exif, with_chunks, with_segments};
use super::*;

/// The source is made of cells of one colour each, so that lossy formats keep them.
const CELL: u32 = 16;
const CELLS: (u32, u32) = (4, 3);
const SIZE: (u32, u32) = (CELLS.0 * CELL, CELLS.1 * CELL);

/// What a file carries.
#[derive(Clone, Copy, Debug)]
struct Kind {
    orientation: u8,
    has_alpha: bool,
    has_profile: bool,
}

impl Kind {
    /// The profile, whose red primary is blue and whose blue one is red.
    fn profile(self) -> Option<Vec<u8>> {
        let [red, green, blue] = PRIMARIES;
        self.has_profile.then(|| matrix([blue, green, red], 2.2, 600))
    }
}

/// The colour of the source at a place, and its opacity.
fn source(x: u32, y: u32, has_alpha: bool) -> [u8; 4] {
    let (column, row) = ((x / CELL) as u8, (y / CELL) as u8);
    let alpha = if has_alpha && (column + row) % 2 == 1 { 0 } else { 255 };
    [40 + 50 * column, 220 - 60 * row, 30 + 20 * (column + 4 * row), alpha]
}

/// How the source shows.
fn shown_colour([red, green, blue, alpha]: [u8; 4], kind: Kind) -> [u8; 4] {
    if !kind.has_profile {
        return [red, green, blue, alpha];
    }
    let of = |value: u8| srgb((f64::from(value) / 255.0).powf(2.2));
    [of(blue), of(green), of(red), alpha]
}

/// Size and RGBA of the source as it is stored.
fn stored(kind: Kind) -> (u32, u32, Vec<[u8; 4]>) {
    turned::stored(SIZE, kind.orientation, |x, y| source(x, y, kind.has_alpha))
}

/// The samples of the pixels, without alpha if the file has none.
fn samples(pixels: &[[u8; 4]], kind: Kind) -> Vec<u8> {
    let channels = if kind.has_alpha { 4 } else { 3 };
    pixels.iter().flat_map(|pixel| pixel[..channels].to_vec()).collect()
}

fn in_jpeg(kind: Kind, is_progressive: bool) -> Vec<u8> {
    let (width, height, pixels) = stored(kind);
    let mut file = Vec::new();
    let mut encoder = Encoder::new(&mut file, 100);
    encoder.set_progressive(is_progressive);
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
    if let Some(profile) = kind.profile() {
        encoder.add_icc_profile(&profile).expect("it fits");
    }
    let samples = samples(&pixels, kind);
    encoder
        .encode(&samples, width as u16, height as u16, jpeg_encoder::ColorType::Rgb)
        .expect("the picture is valid");
    with_segments(&file, &[[b"Exif\0\0".as_slice(), &exif(kind.orientation)].concat()])
}

fn in_png(kind: Kind, is_wide: bool) -> Vec<u8> {
    let (width, height, pixels) = stored(kind);
    let mut info = ::png::Info::with_size(width, height);
    info.color_type = if kind.has_alpha { ::png::ColorType::Rgba } else { ::png::ColorType::Rgb };
    info.bit_depth = if is_wide { ::png::BitDepth::Sixteen } else { ::png::BitDepth::Eight };
    info.icc_profile = kind.profile().map(Into::into);
    let samples = samples(&pixels, kind);
    let wide: Vec<u8> = samples.iter().flat_map(|&sample| [sample, sample]).collect();
    let mut file = Vec::new();
    let encoder = ::png::Encoder::with_info(&mut file, info).expect("the header is valid");
    let mut writer = encoder.write_header().expect("the header is valid");
    writer.write_image_data(if is_wide { &wide } else { &samples }).expect("the picture is valid");
    writer.finish().expect("the picture is whole");
    with_chunks(&file, &[(b"eXIf", exif(kind.orientation))], &[])
}

fn in_webp(kind: Kind) -> Vec<u8> {
    let (width, height, pixels) = stored(kind);
    let mut file = Vec::new();
    let mut encoder = image_webp::WebPEncoder::new(&mut file);
    encoder.set_exif_metadata(exif(kind.orientation));
    if let Some(profile) = kind.profile() {
        encoder.set_icc_profile(profile);
    }
    let color = if kind.has_alpha { image_webp::ColorType::Rgba8 } else { image_webp::ColorType::Rgb8 };
    encoder.encode(&samples(&pixels, kind), width, height, color).expect("the picture is valid");
    file
}

/// A TIFF of one strip, big endian. Source: TIFF 6.0; the profile's tag: ICC.1:2022, B.4.
fn in_tiff(kind: Kind) -> Vec<u8> {
    let (width, height, pixels) = stored(kind);
    let data = samples(&pixels, kind);
    let profile = kind.profile().unwrap_or_default();
    let (short, long, undefined) = (3, 4, 7);
    let channels = if kind.has_alpha { 4 } else { 3 };
    let mut entries = vec![
        (256_u16, long, 1, width),
        (257, long, 1, height),
        (258, short, 1, 8),
        (259, short, 1, 1),
        (262, short, 1, 2),
        (273, long, 1, 8),
        (274, short, 1, kind.orientation.into()),
        (277, short, 1, channels),
        (278, long, 1, height),
        (279, long, 1, data.len() as u32),
    ];
    if kind.has_alpha {
        entries.push((338, short, 1, 2));
    }
    if kind.has_profile {
        entries.push((34_675, undefined, profile.len() as u32, 8 + data.len() as u32));
    }
    let directory = 8 + data.len() + profile.len();
    let mut file = [b"MM\0*".as_slice(), &(directory as u32).to_be_bytes(), &data, &profile].concat();
    file.extend((entries.len() as u16).to_be_bytes());
    for (tag, kind, count, value) in entries {
        file.extend(tag.to_be_bytes());
        file.extend((kind as u16).to_be_bytes());
        file.extend(u32::to_be_bytes(count));
        // A short stands in the first two of four bytes.
        file.extend((if kind == short { value << 16 } else { value }).to_be_bytes());
    }
    file.extend([0; 4]);
    file
}

/// A BMP with the header of 124 bytes. Source: Microsoft, BITMAPV5HEADER.
fn in_bmp(kind: Kind) -> Vec<u8> {
    let (width, height, pixels) = stored(kind);
    let data: Vec<u8> =
        pixels.iter().flat_map(|&[red, green, blue, alpha]| [blue, green, red, alpha]).collect();
    let profile = kind.profile().unwrap_or_default();
    let mut header = vec![0; 124];
    let mut put = |at: usize, value: u32| header[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(0, 124);
    put(4, width);
    put(8, (height as i32).wrapping_neg() as u32);
    put(12, 1 | 32 << 16);
    put(16, 3);
    for (at, mask) in [(40, 0xff << 16), (44, 0xff << 8), (48, 0xff)] {
        put(at, mask);
    }
    put(52, if kind.has_alpha { 0xff << 24 } else { 0 });
    put(56, if kind.has_profile { 0x4d42_4544 } else { 0x7352_4742 });
    put(112, 124 + data.len() as u32);
    put(116, profile.len() as u32);
    [b"BM\0\0\0\0\0\0\0\0".as_slice(), &138_u32.to_le_bytes(), &header, &data, &profile].concat()
}

fn in_gif(kind: Kind) -> Vec<u8> {
    let (width, height, pixels) = stored(kind);
    let mut colours: Vec<[u8; 4]> = pixels.clone();
    colours.sort_unstable();
    colours.dedup();
    let place = |pixel: &[u8; 4]| match pixel[3] {
        0 => 255,
        _ => colours.iter().position(|colour| colour == pixel).expect("it is in the palette") as u8,
    };
    let palette: Vec<u8> = colours.iter().flat_map(|colour| colour[..3].to_vec()).collect();
    let frame = ::gif::Frame {
        width: width as u16,
        height: height as u16,
        transparent: kind.has_alpha.then_some(255),
        buffer: pixels.iter().map(place).collect(),
        ..Default::default()
    };
    let mut file = Vec::new();
    let palette = [palette.as_slice(), &[0; 768][palette.len()..]].concat();
    let mut encoder =
        ::gif::Encoder::new(&mut file, width as u16, height as u16, &palette).expect("it is valid");
    encoder.write_frame(&frame).expect("the frame is valid");
    drop(encoder);
    file
}

fn in_pnm(kind: Kind) -> Vec<u8> {
    let (width, height, pixels) = stored(kind);
    let depth = if kind.has_alpha { 4 } else { 3 };
    let header = format!("P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL 255\nENDHDR\n");
    [header.as_bytes(), &samples(&pixels, kind)].concat()
}

fn in_qoi(kind: Kind) -> Vec<u8> {
    let (width, height, pixels) = stored(kind);
    let channels = if kind.has_alpha { 4 } else { 3 };
    let mut file = [b"qoif".as_slice(), &width.to_be_bytes(), &height.to_be_bytes(), &[channels, 0]].concat();
    for [red, green, blue, alpha] in pixels {
        file.extend([0xff, red, green, blue, alpha]);
    }
    file.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    file
}

#[cfg(feature = "jxl")]
fn in_jxl(kind: Kind) -> Vec<u8> {
    let (width, height, pixels) = stored(kind);
    let space = zune_core::colorspace::ColorSpace::RGB;
    let file = jxl::encoded((width as usize, height as usize), space, &samples(&pixels, kind));
    jxl::with_header(&file, (width, height), kind.orientation.into(), None)
}

/// An icon of one PNG. Source: Microsoft, ICONDIR.
fn in_ico(kind: Kind) -> Vec<u8> {
    let png = in_png(kind, false);
    let sides = [SIZE.0 as u8, SIZE.1 as u8];
    let length = (png.len() as u32).to_le_bytes();
    [&[0, 0, 1, 0, 1, 0], sides.as_slice(), &[0, 0, 1, 0, 32, 0], &length, &22_u32.to_le_bytes(), &png]
        .concat()
}

/// A format, what it can carry, how far its colours may be off, and how a file of it is made.
struct Row {
    name: &'static str,
    turns: bool,
    has_alpha: bool,
    has_profile: bool,
    tolerance: u8,
    file: fn(Kind) -> Vec<u8>,
}

const fn row(name: &'static str, can: [bool; 3], tolerance: u8, file: fn(Kind) -> Vec<u8>) -> Row {
    let [turns, has_alpha, has_profile] = can;
    Row { name, turns, has_alpha, has_profile, tolerance, file }
}

const FORMATS: &[Row] = &[
    //                        orientation, alpha, profile
    row("JPEG", [true, false, true], 3, |kind| in_jpeg(kind, false)),
    row("progressive JPEG", [true, false, true], 3, |kind| in_jpeg(kind, true)),
    row("PNG", [true, true, true], 0, |kind| in_png(kind, false)),
    row("PNG of 16 bits", [true, true, true], 0, |kind| in_png(kind, true)),
    row("WebP", [true, true, true], 0, in_webp),
    row("TIFF", [true, true, true], 0, in_tiff),
    row("BMP", [false, true, true], 0, in_bmp),
    row("GIF", [false, true, false], 0, in_gif),
    row("ICO", [false, true, false], 0, in_ico),
    row("PNM", [false, true, false], 0, in_pnm),
    row("QOI", [false, true, false], 0, in_qoi),
    // The encoder writes neither orientation nor profile, and a header that is written here has no alpha.
    #[cfg(feature = "jxl")]
    row("JPEG XL", [true, false, false], 0, in_jxl),
];

fn assert_shown(picture: &Picture, kind: Kind, tolerance: u8, cell: u32, what: &str) {
    assert_eq!((picture.width, picture.height), (CELLS.0 * cell, CELLS.1 * cell), "{what}");
    assert_eq!(picture.layout, if kind.has_alpha { Layout::Rgba } else { Layout::Rgb }, "{what}");
    let channels = picture.layout.channels();
    for y in 0..picture.height {
        for x in 0..picture.width {
            // At the border of a cell, colours of two cells are mixed where the picture was compressed or resized.
            let is_inside = |at: u32| (2..cell - 2).contains(&(at % cell));
            if (tolerance > 0 || cell != CELL) && !(is_inside(x) && is_inside(y)) {
                continue;
            }
            let expected = shown_colour(source(x * CELL / cell, y * CELL / cell, kind.has_alpha), kind);
            let start = (y * picture.width + x) as usize * channels;
            let found = &picture.pixels[start..start + channels];
            if kind.has_alpha && expected[3] == 0 {
                assert!(found[3] <= tolerance, "{what}: {found:?} at {x}, {y}, and not transparent");
                continue;
            }
            let is_near = found.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= tolerance);
            assert!(is_near, "{what}: {found:?} at {x}, {y}, and not {expected:?}");
        }
    }
}

#[test]
fn each_format_shows_its_source_however_it_is_stored() {
    let mut files = 0;
    for &Row { name, turns, has_alpha, has_profile, tolerance, file } in FORMATS {
        let options = |can: bool| if can { [false, true].as_slice() } else { &[false] };
        for orientation in 1..=if turns { 8 } else { 1 } {
            for &has_alpha in options(has_alpha) {
                for &has_profile in options(has_profile) {
                    let kind = Kind { orientation, has_alpha, has_profile };
                    let what = format!("{name}, {kind:?}");
                    let content = file(kind);
                    // The profile's curve is rounded once more.
                    let tolerance = tolerance + 2 * u8::from(has_profile);
                    let picture = decode(content.clone(), 320, &settings().bounds).expect(&what);
                    let picture = picture.upright().in_srgb();
                    assert_shown(&picture, kind, tolerance, CELL, &what);
                    // Half as large, as scaled decoding and the resizer make it.
                    let side = SIZE.0 / 2;
                    let half = decode(content, side, &settings().bounds).expect(&what);
                    let half = half.fitted(side).expect(&what).upright().in_srgb();
                    assert_shown(&half, kind, tolerance + 3, CELL / 2, &format!("half of {what}"));
                    files += 1;
                }
            }
        }
    }
    // Eight orientations: two of JPEG with two kinds, four formats with four. One: four kinds of BMP, two of four others.
    // JPEG XL, where it is read: eight orientations.
    assert_eq!(files, 8 * (2 * 2 + 4 * 4) + 4 + 4 * 2 + 8 * usize::from(cfg!(feature = "jxl")));
}
