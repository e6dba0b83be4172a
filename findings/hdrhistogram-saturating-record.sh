#!/usr/bin/env bash
# hdrhistogram 7.6.0 (Rust): a histogram of `Histogram::new` grows with the values that `record` gets, and doesn't grow with those
# that `saturating_record` gets: each of them becomes the largest value of the smallest histogram. No error tells so.
#
# `saturating_record` reads as the variant that never fails, so a program that takes it for all its values has percentiles that look
# valid and are the same for 10 ms and 10 minutes.
#
# Seen: record(1000000): max 1000447
#       saturating_record(1000000): max 2
#       after record(1000000), saturating_record(900000): max 1000447, values of 900000: 1
#
# Needs cargo.
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
hdrhistogram = { version = "=7.6.0", default-features = false }
TOML
cat > src/main.rs <<'RUST'
use hdrhistogram::Histogram;

fn main() {
    let mut recorded = Histogram::<u64>::new(3).unwrap();
    recorded.record(1_000_000).unwrap();
    println!("record(1000000): max {}", recorded.max());

    let mut saturated = Histogram::<u64>::new(3).unwrap();
    saturated.saturating_record(1_000_000);
    println!("saturating_record(1000000): max {}", saturated.max());

    recorded.saturating_record(900_000);
    let found = recorded.count_at(900_000);
    println!(
        "after record(1000000), saturating_record(900000): max {}, values of 900000: {found}",
        recorded.max()
    );
}
RUST
cargo run --quiet > seen
cat seen
diff - seen <<'EXPECTED'
record(1000000): max 1000447
saturating_record(1000000): max 2
after record(1000000), saturating_record(900000): max 1000447, values of 900000: 1
EXPECTED
