//! WebP files that are cut short.

use super::*;

/// 48 x 80 pixels: red on the left, blue on the right, under a pattern. No encoder for lossy WebP is written in Rust, so this
/// one was made with libwebp at quality 60.
pub(super) const LOSSY: &[u8] = include_bytes!("lossy.webp");

fn keep() -> Bounds {
    Bounds { truncated: Truncated::Keep, ..settings().bounds }
}

/// Counts the rows that are as in the whole picture. The others must be missing.
fn rows_kept(kept: &Picture, whole: &Picture, what: &str) -> usize {
    assert_eq!((kept.width, kept.height, kept.layout), (whole.width, whole.height, whole.layout), "{what}");
    let row_bytes = whole.width as usize * whole.layout.channels();
    let rows = || kept.pixels.chunks(row_bytes).zip(whole.pixels.chunks(row_bytes));
    let alike = rows().take_while(|(kept, whole)| kept == whole).count();
    let missing = vec![whole.layout.missing(); row_bytes];
    assert!(rows().skip(alike).all(|(kept, _)| kept == missing), "{what}");
    alike
}

fn noise(count: usize) -> Vec<u8> {
    let mut seed = 7_u32;
    let next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn what_is_there_of_a_webp_that_is_cut_is_kept_if_asked_for() {
    let photo = photograph(64, 200);
    let grainy: Vec<u8> =
        photo.iter().zip(noise(photo.len())).map(|(&a, b)| a.saturating_add(b % 16)).collect();
    let transparent: Vec<u8> =
        grainy.chunks(3).flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 200]).collect();
    let files = [
        ("lossy", LOSSY.to_vec()),
        ("lossless", webp(64, 200, &grainy, image_webp::ColorType::Rgb8)),
        ("lossless with transparency", webp(64, 200, &transparent, image_webp::ColorType::Rgba8)),
    ];
    for (name, file) in files {
        let whole = decode(file.clone(), 320, &keep()).expect("it is whole");
        let mut most = 0;
        for eighths in 1..8 {
            let cut = file[..file.len() * eighths / 8].to_vec();
            assert_eq!(refused(&cut), Refusal::CutShort("WebP"));
            match decode(cut, 320, &keep()) {
                Ok(kept) => most = most.max(rows_kept(&kept, &whole, name)),
                Err(refusal) => assert_eq!(refusal, Refusal::CutShort("WebP"), "{name}"),
            }
        }
        assert!(most >= whole.height as usize / 3, "{name}: {most} rows");
    }
}

#[test]
fn keeping_what_is_there_of_a_webp_never_panics_and_never_shows_what_was_not_there() {
    let bounds = Bounds { pixels: 100_000, ..keep() };
    let whole = decode(LOSSY.to_vec(), 320, &bounds).expect("it is whole");
    for length in 0..LOSSY.len() {
        if let Ok(kept) = decode(LOSSY[..length].to_vec(), 320, &bounds) {
            rows_kept(&kept, &whole, "lossy");
        }
        let mut changed = LOSSY[..length].to_vec();
        if let Some(byte) = changed.get_mut(length / 2) {
            *byte ^= 0x55;
            let _ = decode(changed, 320, &bounds);
        }
    }
}

#[test]
fn a_lossy_webp_is_scaled_while_it_is_decoded() {
    let whole = decode(LOSSY.to_vec(), 320, &settings().bounds).expect("it is whole");
    for (side, divisor) in [(80, 1), (33, 1), (32, 2), (17, 2), (16, 4), (9, 4), (8, 8), (1, 8)] {
        let scaled = decode(LOSSY.to_vec(), side, &settings().bounds).expect("it is whole");
        assert_eq!((scaled.full, scaled.width, scaled.height), ((48, 80), 48 / divisor, 80 / divisor));
        let small = whole.clone().resized(3, 5).expect("it has a size");
        let scaled = scaled.resized(3, 5).expect("it has a size");
        let differences = small.pixels.iter().zip(&scaled.pixels).map(|(&a, &b)| u32::from(a.abs_diff(b)));
        let mean = f64::from(differences.sum::<u32>()) / small.pixels.len() as f64;
        assert!(mean < 3.0, "{mean} for a side of {side}");
    }
}

#[test]
fn what_is_there_of_a_lossy_webp_is_kept_at_each_scale() {
    for side in [40, 16, 8] {
        let whole = decode(LOSSY.to_vec(), side, &keep()).expect("it is whole");
        let cut = LOSSY[..LOSSY.len() * 7 / 8].to_vec();
        let kept = decode(cut, side, &keep()).expect("most of it is there");
        let rows = rows_kept(&kept, &whole, "scaled");
        assert!(rows >= whole.height as usize / 3, "{rows} of {} rows", whole.height);
    }
}
