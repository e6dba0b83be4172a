//! The size of a ledger's file.

use super::*;
use tokio::task::JoinSet;

/// Completes entries with a number from this range.
async fn complete(ledger: &Arc<SqliteLedger>, numbers: std::ops::Range<u32>) {
    let id = ledger.id().await.unwrap();
    let numbers: Vec<u32> = numbers.collect();
    for numbers in numbers.chunks(512) {
        let one = |number: u32| {
            let ledger = Arc::clone(ledger);
            async move {
                let entry = entry(&number.to_string());
                let run = RunToken::new(id, entry);
                let claimed = ledger.claim(entry, MessageDigest::of(&number.to_string()), run, LASTS).await;
                assert_eq!(claimed, Ok(Claim::Ours));
                assert_eq!(ledger.complete(entry, run, WINDOW).await, Ok(true));
            }
        };
        numbers.iter().map(|&number| one(number)).collect::<JoinSet<_>>().join_all().await;
    }
}

/// Sweeps until nothing is left to remove.
async fn sweep(ledger: &SqliteLedger) {
    while ledger.sweep(500, LASTS).await.unwrap().removed == 500 {}
}

/// Completes a number of entries in each of some windows. Returns the size after each window in bytes.
async fn sizes(of_each: u32, windows: u32) -> Vec<u64> {
    let world = World::new();
    let mut sizes = Vec::new();
    for window in 0..windows {
        let ledger = Arc::new(world.sqlite());
        complete(&ledger, window * of_each..(window + 1) * of_each).await;
        world.pass(WINDOW);
        sweep(&ledger).await;
        drop(ledger);
        sizes.push(world.size());
    }
    sizes
}

#[tokio::test]
async fn the_ledger_does_not_grow_beyond_what_a_window_needs() {
    let sizes = sizes(5_000, 4).await;
    assert!(sizes[3] <= sizes[0] * 11 / 10, "{sizes:?}");
    assert!(sizes[0] <= 5_000 * 150, "{sizes:?}");
}

#[tokio::test]
#[ignore = "takes minutes: run it for the figure in docs/src/guides/once.md"]
async fn a_million_ids_take_less_than_150_mb_and_the_next_million_no_more() {
    let sizes = sizes(1_000_000, 2).await;
    assert!(sizes[0] < 150 << 20 && sizes[1] <= sizes[0] * 11 / 10, "{sizes:?}");
}
