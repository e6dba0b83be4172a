//! Measures the steps of a thumbnail on this machine's own target: `steps FILE…` prints a line of JSON for each file, with the
//! milliseconds of each step, medians of 15 runs. `cargo xtask bench images` calls it.

use std::time::Instant;

use jpeg_scaled::{Header, Options, Scale};
use picture::{Bounds, Chroma, Encoding, Format, Truncated, decode, encode_jpeg};

const MAX_SIDE: u32 = 320;
const RUNS: usize = 15;

fn main() {
    let bounds = Bounds {
        pixels: 100_000_000,
        side: 65_535,
        ratio: u32::MAX,
        memory: 224 << 20,
        truncated: Truncated::Reject,
    };
    let encoding = Encoding {
        format: Format::Jpeg,
        quality: 80,
        progressive: false,
        chroma: Chroma::Half,
        rights: None,
    };
    for path in std::env::args().skip(1) {
        let file = std::fs::read(&path).expect("a readable file");
        // Steps of a JPEG, and all of decoding, resizing and encoding.
        let (mut planes, mut pixels) = (Vec::new(), Vec::new());
        let [mut decoding, mut resizing, mut encoding_times] = [const { Vec::new() }; 3];
        for _ in 0..RUNS {
            if let Some(options) = scaled(&file) {
                let decoded = time(&mut planes, || jpeg_scaled::decode(&file, &options).expect("a JPEG"));
                time(&mut pixels, || decoded.to_pixels());
            }
            let content = file.clone();
            let picture = time(&mut decoding, || decode(content, MAX_SIDE, &bounds).expect("a picture"));
            let fitted = time(&mut resizing, || picture.fitted(MAX_SIDE).expect("a thumbnail").upright());
            time(&mut encoding_times, || encode_jpeg(fitted, &encoding).expect("a file"));
        }
        println!(
            "{{\"planes_ms\": {}, \"pixels_ms\": {}, \"decode_ms\": {}, \"resize_ms\": {}, \"encode_ms\": {}}}",
            median(planes),
            median(pixels),
            median(decoding),
            median(resizing),
            median(encoding_times)
        );
    }
}

/// How `picture` decodes a JPEG. Returns nothing for other files.
fn scaled(file: &[u8]) -> Option<Options> {
    let header = Header::read(file).ok()?;
    let is_enough = |scale: &Scale| {
        let (width, height) = header.size(*scale);
        width.max(height) >= MAX_SIDE
    };
    Some(Options { scale: Scale::ALL.into_iter().find(is_enough)?, ..Options::default() })
}

fn time<T>(times: &mut Vec<f64>, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let made = std::hint::black_box(work());
    times.push(began.elapsed().as_secs_f64() * 1e3);
    made
}

fn median(mut times: Vec<f64>) -> String {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).map_or_else(|| "null".to_owned(), |time| format!("{time:.3}"))
}
