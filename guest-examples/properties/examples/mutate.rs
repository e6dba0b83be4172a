//! Checks any number of damaged pictures of all formats.
//!
//!     cargo run --profile mutate -p picture-properties --example mutate -- --count 200000
//!
//! `--seed N` starts with another file than the first. `--keep FOLDER` writes the files that break a property there; with
//! `--count 1` it writes the file whether it does or not.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;
use picture_properties::{Meter, Outcome, check, corpus, mutated};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const METER: Meter = Meter {
    start: || {
        ALLOCATOR.reset_peak_usage();
        ALLOCATOR.current_usage()
    },
    peak: || ALLOCATOR.peak_usage(),
};

/// Why the last file broke a property.
static REASON: Mutex<String> = Mutex::new(String::new());

struct Options {
    count: u64,
    seed: u64,
    keep: Option<PathBuf>,
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut options = Options { count: 10_000, seed: 0, keep: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} lacks its value"))?;
        match name.as_str() {
            "--count" => options.count = value.parse()?,
            "--seed" => options.seed = value.parse()?,
            "--keep" => options.keep = Some(value.into()),
            _ => return Err(format!("{name} is not an option: --count, --seed and --keep are").into()),
        }
    }
    Ok(options)
}

/// The first bytes of a damaged file name the format that it is read as.
fn format(file: &[u8]) -> &'static str {
    match file {
        [0xff, 0xd8, ..] => "JPEG",
        [0x89, b'P', ..] => "PNG",
        [b'R', b'I', b'F', b'F', ..] => "WebP",
        [b'G', b'I', b'F', ..] => "GIF",
        [b'B', b'M', ..] => "BMP",
        [b'I', b'I', ..] | [b'M', b'M', ..] => "TIFF",
        [b'q', b'o', b'i', b'f', ..] => "QOI",
        [b'P', b'1'..=b'7', ..] => "PNM",
        [0, 0, 1, 0, ..] => "ICO",
        [0xff, 0x0a, ..] | [0, 0, 0, 0x0c, b'J', b'X', b'L', b' ', ..] => "JPEG XL",
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => "AVIF",
        _ => "other",
    }
}

#[derive(Default)]
struct Row {
    outcomes: BTreeMap<Outcome, u64>,
    broken: u64,
    largest: u64,
    beyond_claim: i64,
    slowest: Duration,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let Options { count, seed, keep } = options()?;
    if let Some(folder) = &keep {
        fs::create_dir_all(folder)?;
    }
    let corpus = corpus()?;
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    panic::set_hook(Box::new(|info| {
        if let Ok(mut reason) = REASON.lock() {
            *reason = info.to_string();
        }
    }));
    let mut broken = 0;
    for seed in seed..seed + count {
        let file = mutated(&corpus, seed);
        let row = rows.entry(format(&file)).or_default();
        let start = Instant::now();
        let report = catch_unwind(AssertUnwindSafe(|| check(&file, Some(&METER))));
        row.slowest = row.slowest.max(start.elapsed());
        if let (Some(folder), true) = (&keep, report.is_err() || count == 1) {
            fs::write(folder.join(seed.to_string()), &file)?;
        }
        match report {
            Ok(report) => {
                *row.outcomes.entry(report.outcome).or_default() += 1;
                row.largest = row.largest.max(report.taken);
                if let Some(claimed) = report.claimed {
                    row.beyond_claim = row.beyond_claim.max(report.taken as i64 - claimed as i64);
                }
            }
            Err(_) => {
                row.broken += 1;
                broken += 1;
                let reason = REASON.lock().map(|reason| reason.clone()).unwrap_or_default();
                println!("seed {seed}, {}: {reason}", format(&file));
            }
        }
    }
    println!("{count} files, {broken} break a property");
    println!(
        "format       made  not supp.  cut short  damaged  too large  broken   peak MiB  above claim KiB  slowest ms"
    );
    for (format, row) in rows {
        let of = |outcome| row.outcomes.get(&outcome).copied().unwrap_or_default();
        println!(
            "{format:7} {:9} {:10} {:10} {:8} {:10} {:7} {:10.1} {:16} {:11.1}",
            of(Outcome::Made),
            of(Outcome::NotSupported),
            of(Outcome::CutShort),
            of(Outcome::Damaged),
            of(Outcome::TooLarge),
            row.broken,
            row.largest as f64 / f64::from(1 << 20),
            row.beyond_claim / 1024,
            row.slowest.as_secs_f64() * 1000.0,
        );
    }
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
