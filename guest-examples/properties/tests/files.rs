//! Replays the corpus, and some thousand damaged files. `examples/mutate.rs` checks any number of them.
//!
//! All is one test, as another thread's memory would be counted too.

use std::panic::{AssertUnwindSafe, catch_unwind};

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

const DAMAGED_FILES: u64 = 4_000;

#[test]
fn any_file_is_made_or_refused_within_the_memory_that_it_claims() {
    let corpus = corpus().expect("there is a corpus");
    let mut made = 0;
    for (name, file) in &corpus {
        let report = catch_unwind(AssertUnwindSafe(|| check(file, Some(&METER))));
        let report = report.unwrap_or_else(|_| panic!("broken by {name}"));
        made += usize::from(report.outcome == Outcome::Made);
    }
    assert!(made >= 40, "{made} of the corpus were made");
    for seed in 0..DAMAGED_FILES {
        let file = mutated(&corpus, seed);
        let report = catch_unwind(AssertUnwindSafe(|| check(&file, Some(&METER))));
        assert!(
            report.is_ok(),
            "broken by the file of seed {seed}: mutate --seed {seed} --count 1 --keep FOLDER"
        );
    }
}
