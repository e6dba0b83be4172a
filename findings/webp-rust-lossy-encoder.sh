#!/usr/bin/env bash
# webp-rust 0.3.2 (Rust) can't encode a slightly noisy picture as lossy WebP with its default settings: the encoder decodes its own
# candidates to choose a loop filter, and fails on what it wrote. Methods 0, 5 and 6 work on this picture; which ones fail changes
# with the picture, and with a few photographs a method that works writes one of 10 to 16 dB. libwebp encodes it with each method.
#
# wasmrun's guests therefore write lossless WebP.
#
# Seen: each method with "ok" or the error, at quality 75:
#       default method 4; 0 ok, 1 to 4 Bitstream("internal filter evaluation decode failed"), 5 ok, 6 ok
#       libwebp (by Pillow 12.0.0): 0 to 6 ok
#
# Needs cargo and python3 with venv.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cargo init --quiet --name finding --vcs none
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
webp-rust = "=0.3.2"
TOML
cat > src/main.rs <<'RUST'
use webp_rust::{ImageBuffer, LossyEncodingConfig, encode_lossy_with_config};

/// A gradient with noise of three bits.
fn picture() -> ImageBuffer {
    let (width, height) = (320, 240);
    let mut state = 1_u32;
    let mut rgba = Vec::new();
    for y in 0..height {
        for x in 0..width {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345) & 0x7fff_ffff;
            let noise = (state >> 16) % 8;
            let shades = [x * 200 / width, y * 200 / height, (x + y) * 200 / (width + height)];
            rgba.extend(shades.map(|shade| (shade + noise) as u8));
            rgba.push(255);
        }
    }
    ImageBuffer { width: width as usize, height: height as usize, rgba }
}

fn main() {
    let picture = picture();
    std::fs::write("rgba", &picture.rgba).expect("written");
    println!("default method {}", LossyEncodingConfig::default().method);
    for method in 0..=6 {
        let config = LossyEncodingConfig { quality: 75.0, method, ..Default::default() };
        match encode_lossy_with_config(&picture, &config, None) {
            Ok(_) => println!("{method} ok"),
            Err(error) => println!("{method} {error:?}"),
        }
    }
}
RUST
cargo run --quiet --release > seen

python3 -m venv venv
venv/bin/pip install --quiet pillow==12.0.0
venv/bin/python - >> seen <<'PYTHON'
import io
from PIL import Image, ImageChops, ImageStat

with open("rgba", "rb") as file:
    picture = Image.frombytes("RGBA", (320, 240), file.read()).convert("RGB")
for method in range(7):
    output = io.BytesIO()
    picture.save(output, "WEBP", quality=75, method=method)
    difference = max(ImageStat.Stat(ImageChops.difference(Image.open(output).convert("RGB"), picture)).rms)
    print("libwebp", method, "ok" if difference < 10 else difference)
PYTHON

cat seen
diff - seen <<'EXPECTED'
default method 4
0 ok
1 Bitstream("internal filter evaluation decode failed")
2 Bitstream("internal filter evaluation decode failed")
3 Bitstream("internal filter evaluation decode failed")
4 Bitstream("internal filter evaluation decode failed")
5 ok
6 ok
libwebp 0 ok
libwebp 1 ok
libwebp 2 ok
libwebp 3 ok
libwebp 4 ok
libwebp 5 ok
libwebp 6 ok
EXPECTED
