#!/usr/bin/env bash
# Of a JPEG with two EXIF segments, jpeg-decoder 0.3.2 and zune-jpeg 0.5.15 (Rust) give the last, kamadak-exif 0.6.1 (Rust) and
# Pillow 12.0.0 the first.
#
# Editors that add their own EXIF in front of the camera's write such files. A program that takes the pixels and the EXIF from
# jpeg-decoder, as many do, turns the picture otherwise than one that asks kamadak-exif, and otherwise than Pillow: here by 180
# instead of 90 degrees. Neither crate says that there were two. wasmrun's `picture` takes the first.
#
# Seen: the orientation of a file whose first segment says 6 and whose second says 3:
#       Pillow 6, jpeg-decoder 3, zune-jpeg 3, kamadak-exif 6
#
# Needs cargo and python3 with venv.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet pillow==12.0.0
venv/bin/python - > seen <<'PYTHON'
import io
from PIL import Image

def segment(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    body = exif.tobytes()
    return b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body

plain = io.BytesIO()
Image.new("RGB", (16, 8), (10, 120, 200)).save(plain, "JPEG")
plain = plain.getvalue()
with open("two.jpg", "wb") as file:
    file.write(plain[:2] + segment(6) + segment(3) + plain[2:])
print("Pillow", Image.open("two.jpg").getexif()[0x0112])
PYTHON

cargo init --quiet --name finding --vcs none
cat > Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"
[dependencies]
jpeg-decoder = { version = "=0.3.2", default-features = false }
kamadak-exif = "=0.6.1"
zune-jpeg = "=0.5.15"
TOML
cat > src/main.rs <<'RUST'
use exif::{Exif, In, Reader, Tag};
use std::io::Cursor;
use zune_jpeg::zune_core::bytestream::ZCursor;

fn orientation(exif: &Exif) -> u32 {
    let field = exif.get_field(Tag::Orientation, In::PRIMARY).expect("an orientation");
    field.value.get_uint(0).expect("a number")
}

fn of_segment(segment: &[u8]) -> u32 {
    orientation(&Reader::new().read_raw(segment.to_vec()).expect("EXIF"))
}

fn main() {
    let file = std::fs::read("two.jpg").expect("the file");
    let mut decoder = jpeg_decoder::Decoder::new(Cursor::new(&file));
    decoder.decode().expect("a picture");
    println!("jpeg-decoder {}", of_segment(decoder.exif_data().expect("EXIF")));
    let mut decoder = zune_jpeg::JpegDecoder::new(ZCursor::new(&file));
    decoder.decode_headers().expect("a header");
    println!("zune-jpeg {}", of_segment(decoder.exif().expect("EXIF")));
    let container = Reader::new().read_from_container(&mut Cursor::new(&file)).expect("EXIF");
    println!("kamadak-exif {}", orientation(&container));
}
RUST
cargo run --quiet >> seen

cat seen
diff - seen <<'EXPECTED'
Pillow 6
jpeg-decoder 3
zune-jpeg 3
kamadak-exif 6
EXPECTED
