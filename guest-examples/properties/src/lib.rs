//! What must hold for any file that is given to the crate `picture`, whoever made it.
//!
//! [`check`] panics where it doesn't hold. The fuzz target in `../fuzz` calls it with bytes that reach new code,
//! `examples/mutate.rs` calls it with damaged pictures, and the tests replay the corpus in `../fuzz/corpus/picture`.

#![forbid(unsafe_code)]

mod mutation;

use std::path::{Path, PathBuf};
use std::{fs, io};

use picture::{
    Bounds, Chroma, Encoding, Excess, Fit, Format, Gravity, Picture, Refusal, Rights, Shape, Target,
    Truncated, decode_with_jxl, encode, fit, metadata,
};

pub use mutation::{Random, mutated};

/// Measures memory, where a counting allocator is installed.
pub struct Meter {
    /// Starts a measurement, and returns the bytes that are allocated now.
    pub start: fn() -> usize,
    /// Returns the most bytes that were allocated at once since the start.
    pub peak: fn() -> usize,
}

/// The result of a file for which everything holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Made,
    NotSupported,
    CutShort,
    Damaged,
    TooLarge,
}

/// How a file is checked, and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Report {
    pub outcome: Outcome,
    /// Memory that the header claims, in bytes, if the file was accepted by its header.
    pub claimed: Option<u64>,
    /// Memory that was taken, in bytes. Zero without a meter.
    pub taken: u64,
}

/// Memory that no header tells: the decoders' tables and windows, and a colour profile of at most 4 MiB, compressed,
/// parsed and as tables. The guests leave an eighth of the task's memory for it.
pub const FIXED_BYTES: u64 = 2 << 20;
/// Memory for a part of a lossy picture in an extended WebP, by its size in 24 bits. The decoder takes it before it finds that
/// the file is shorter.
const PARTITION_BYTES: u64 = 1 << 24;

/// How a file is checked.
struct Settings {
    /// A thumbnail of this longest side, unless there is a shape.
    max_side: u32,
    shape: Option<Shape>,
    encoding: Encoding,
    bounds: Bounds,
}

/// The settings follow from a file's bytes, so that the same file always has the same result.
fn settings(file: &[u8]) -> Settings {
    let hash = file.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut random = Random::new(hash);
    let side = |random: &mut Random| random.one_of(&[None, Some(1), Some(7), Some(20), Some(64), Some(300)]);
    let shape = Shape {
        width: side(&mut random),
        height: side(&mut random),
        fit: random.one_of(&[Fit::Contain, Fit::Cover, Fit::Inside, Fit::Outside, Fit::Fill]),
        gravity: random.one_of(&[
            Gravity::Centre,
            Gravity::NorthWest,
            Gravity::SouthEast,
            Gravity::Attention,
        ]),
        enlarge: random.one_of(&[false, true]),
        linear: random.one_of(&[false, false, true]),
        background: [10, 20, 30, 128],
    };
    // Without a side, or growing outside of a long one, a result can be as large as no guest would allow.
    let is_bounded =
        shape.width.is_some() && shape.height.is_some() && !(shape.enlarge && shape.fit == Fit::Outside);
    Settings {
        max_side: random.one_of(&[1, 5, 10, 20, 64, 320]),
        shape: (is_bounded && random.below(2) == 0).then_some(shape),
        encoding: Encoding {
            format: random.one_of(&[Format::Jpeg, Format::Png, Format::WebP]),
            quality: 80,
            progressive: random.one_of(&[false, true]),
            chroma: random.one_of(&[Chroma::Half, Chroma::Full]),
            rights: random
                .one_of(&[false, true])
                .then(|| Rights { copyright: Some("A".to_owned()), creator: None }),
        },
        bounds: Bounds {
            pixels: random.one_of(&[100_000, 100_000, 100_000, 2_000_000]),
            side: 65_535,
            ratio: u32::MAX,
            memory: 0,
            truncated: random.one_of(&[Truncated::Reject, Truncated::Keep]),
        },
    }
}

/// Decodes and encodes a file as the settings say. Returns the result's file, and its size in pixels.
fn made(file: &[u8], settings: &Settings) -> Result<(Vec<u8>, (u32, u32)), Refusal> {
    let Settings { max_side, shape, encoding, bounds } = settings;
    let target =
        shape.as_ref().map_or(Target::Side(*max_side), |shape| Target::Shapes(std::slice::from_ref(shape)));
    let picture = decode_with_jxl(file.to_vec(), target, bounds)?;
    let full = picture.full;
    assert_filled(&picture);
    assert!(u64::from(full.0) * u64::from(full.1) <= bounds.pixels, "{full:?} exceeds the bound");
    let is_sideways = picture.orientation.number() >= 5;
    let turned = |(width, height)| if is_sideways { (height, width) } else { (width, height) };
    let (picture, expected) = match shape {
        Some(shape) => (picture.rendered(shape)?, shape.size(turned(full))),
        None => (picture.fitted(*max_side)?.upright(), turned(fit(full.0, full.1, *max_side))),
    };
    assert_filled(&picture);
    let described = picture.described()?;
    assert!(!described.thumbhash.is_empty() && described.thumbhash.len() < 64, "{:?}", described.thumbhash);
    assert_eq!((picture.width, picture.height), expected, "the size of the result of {full:?}");
    Ok((encode(picture, encoding)?, expected))
}

fn assert_filled(picture: &Picture) {
    let length = picture.width as usize * picture.height as usize * picture.layout.channels();
    assert_eq!(picture.pixels.len(), length, "the pixels don't fill the picture");
}

/// Makes a thumbnail of a file, or has it refused.
///
/// # Panics
///
/// When the code panics, takes more memory than it claims, makes a picture of the wrong size, or refuses in other words
/// than a sentence.
pub fn check(file: &[u8], meter: Option<&Meter>) -> Report {
    let mut settings = settings(file);
    // What a sidecar would say of a file, whatever it is.
    let said = metadata(file, true);
    assert!(
        said.camera.is_none_or(|(maker, model)| maker.len() + model.len() < 4096),
        "a long name of a camera"
    );
    let before = meter.map_or(0, |meter| (meter.start)());
    // Without any memory, a file that could be read is refused with the memory that it would need. That must suffice.
    let mut claimed = match made(file, &settings) {
        Err(Refusal::TooLarge(Excess::Memory { needed, .. })) => Some(needed),
        Err(refusal) => {
            assert_sentence(&refusal);
            None
        }
        Ok(_) => panic!("it was decoded without any memory"),
    };
    // A claim that no machine can meet proves nothing more.
    let bound = |claimed: Option<u64>| claimed.unwrap_or(1 << 20).min(256 << 20);
    settings.bounds.memory = bound(claimed);
    let mut result = made(file, &settings);
    // A JPEG XL whose first frame isn't shown claims more once there is memory to look at a frame. That must suffice.
    if let (Some(first), &Err(Refusal::TooLarge(Excess::Memory { needed, .. }))) = (claimed, &result)
        && needed > first
    {
        claimed = Some(needed);
        settings.bounds.memory = bound(claimed);
        result = made(file, &settings);
    }
    let taken = meter.map_or(0, |meter| (meter.peak)().saturating_sub(before)) as u64;
    let outcome = match result {
        Ok((made, size)) => {
            let all = Bounds { pixels: u64::MAX, memory: 1 << 30, ..settings.bounds };
            let again = decode_with_jxl(made, u32::MAX, &all).expect("what was made is a picture");
            assert_eq!((again.width, again.height), size, "the size of the result");
            Outcome::Made
        }
        Err(refusal) => {
            assert_sentence(&refusal);
            match refusal {
                Refusal::NotSupported(_) => Outcome::NotSupported,
                Refusal::CutShort(_) => Outcome::CutShort,
                Refusal::Damaged(..) => Outcome::Damaged,
                Refusal::TooLarge(Excess::Memory { needed, bound }) => {
                    assert!(
                        claimed.is_none_or(|claimed| claimed > bound),
                        "{needed} bytes, and not {claimed:?}"
                    );
                    Outcome::TooLarge
                }
                Refusal::TooLarge(_) => Outcome::TooLarge,
            }
        }
    };
    let allowed = allowed(file, claimed);
    assert!(taken <= allowed, "it took {taken} bytes, and {allowed} are allowed, {claimed:?} claimed");
    Report { outcome, claimed, taken }
}

/// Returns the memory that a file may take, in bytes. One that is refused by its header takes no more than its own size and the
/// tables.
fn allowed(file: &[u8], claimed: Option<u64>) -> u64 {
    // The general decoder of WebP decodes animations and transparency, which only files with an extended header have.
    let has_chunk = |kind: &[u8]| file.windows(4).any(|bytes| bytes == kind);
    let is_extended = file.starts_with(b"RIFF") && has_chunk(b"VP8X");
    let partition =
        if is_extended && (has_chunk(b"VP8 ") || has_chunk(b"ALPH")) { PARTITION_BYTES } else { 0 };
    claimed.unwrap_or(4 * file.len() as u64) + FIXED_BYTES + partition
}

/// An operator reads it in a log.
fn assert_sentence(refusal: &Refusal) {
    let text = refusal.to_string();
    let is_plain = text.starts_with("it ") && text.len() < 200 && !text.contains(['\n', '{', '(']);
    assert!(is_plain || text.contains("HDR"), "{text}");
}

/// Returns the pictures of the corpus, by name.
///
/// # Errors
///
/// When the folder can't be read.
pub fn corpus() -> io::Result<Vec<(String, Vec<u8>)>> {
    let folder: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/picture");
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        files.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    files.sort();
    Ok(files)
}
