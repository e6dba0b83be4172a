#!/usr/bin/env bash
# crc-fast 1.10.0: a program that computes one CRC-32, with the algorithm as a constant and fat LTO, has the look-up tables of all
# 50 algorithms: 680 KB. One function takes the algorithm as a value and refers to each table, and the optimizer doesn't
# follow the constant through it. The tables are for processors without the instructions that the crate prefers.
#
# Amazon's S3 client for Rust computes checksums with this crate, so each program with that client carries them, though S3 knows
# five algorithms. No option of the crate leaves tables out. It matters where the size of a container image is bounded.
#
# Seen: checksum of 123456789: cbf43926
#       tables in the program: 50
#       bytes of tables: 679936
#
# Needs Rust 1.89 or newer with cargo, and nm.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

mkdir src
cat > Cargo.toml <<'TOML'
[package]
name = "one-crc"
version = "0.0.0"
edition = "2021"
[dependencies]
crc-fast = "=1.10.0"
[profile.release]
lto = "fat"
codegen-units = 1
TOML
cat > src/main.rs <<'RUST'
fn main() {
    let input = std::env::args().nth(1).unwrap_or_default();
    println!("{:08x}", crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32IsoHdlc, input.as_bytes()));
}
RUST
export CARGO_TARGET_DIR="$folder/target"
cargo build --quiet --release

seen=$(
    echo "checksum of 123456789: $(target/release/one-crc 123456789)"
    bytes=0 tables=0
    while read -r _ size _ name; do
        [[ $name == *crc_fast*tables* ]] || continue
        tables=$((tables + 1)) bytes=$((bytes + 16#$size))
    done < <(nm --print-size target/release/one-crc)
    echo "tables in the program: $tables"
    echo "bytes of tables: $bytes"
)
expected="checksum of 123456789: cbf43926
tables in the program: 50
bytes of tables: 679936"
echo "$seen"
if [ "$seen" != "$expected" ]; then
    printf 'changed; seen before:\n%s\n' "$expected" >&2
    exit 1
fi
