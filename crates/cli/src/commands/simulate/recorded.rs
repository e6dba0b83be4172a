//! Reads when messages arrived, and how long their tasks took, from usage files.

use crate::output::failure::Failure;
use crate::settings::simulate::{MOST_RECORDED_KEYS, Recorded, RecordedTenant};
use crate::wiring::usage_records::{self, BadLines, no_record};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use wasmrun_runtime::model::key::Key;

/// Maximum number of records of usage files, each of at most 56 bytes in memory.
const MAX_RECORDS: usize = 5_000_000;

/// The records with one key.
#[derive(Default)]
struct Records {
    /// When the messages were sent, in nanoseconds since the epoch.
    sent: Vec<i128>,
    times: Vec<(u64, u64)>,
}

/// Reads the files. `with_keys`: messages with a key are kept apart from others.
pub(super) fn read(files: &[PathBuf], with_keys: bool) -> Result<Recorded, Failure> {
    let mut all_times = Vec::new();
    let mut by_key: BTreeMap<Key, Records> = BTreeMap::new();
    let (mut bad, mut records) = (BadLines::default(), 0usize);
    for path in files {
        usage_records::read(path, &mut bad, |record| {
            records = records.saturating_add(1);
            if records > MAX_RECORDS || by_key.len() > MOST_RECORDED_KEYS + 1 {
                return;
            }
            let times = (record.start_us + record.compute_us, record.blocked_us);
            all_times.push(times);
            let key = record.key.as_deref().filter(|_| with_keys).map_or_else(Key::none, Key::new);
            let of_key = by_key.entry(key).or_default();
            if with_keys {
                of_key.times.push(times);
            }
            // Later tries of a message don't say when it was sent.
            if record.receive_count <= 1 {
                let before = i128::from(record.wall_us + record.queued_us) * 1_000;
                of_key.sent.push(record.ended.as_nanosecond() - before);
            }
        })?;
    }
    if records > MAX_RECORDS {
        return Err(Failure::usage(format!(
            "the usage files have {records} records: at most {MAX_RECORDS} can be simulated; pass fewer files"
        )));
    }
    if by_key.len() > MOST_RECORDED_KEYS {
        return Err(Failure::usage(format!(
            "the usage files have more than {MOST_RECORDED_KEYS} keys: leave out --key, or pass fewer files"
        )));
    }
    let first = by_key.values().flat_map(|records| &records.sent).min().copied();
    let Some(first) = first else {
        return if files.is_empty() { Ok(Recorded::default()) } else { Err(no_record(files, &bad)) };
    };
    if bad.count > 0 {
        tracing::warn!(lines = bad.count, "skipped lines that are no records");
    }
    let arrivals = |mut sent: Vec<i128>| -> Arc<[u64]> {
        sent.sort_unstable();
        // A later time than can be simulated is refused with the plan.
        sent.iter().map(|sent| u64::try_from(sent - first).unwrap_or(u64::MAX / 2)).collect()
    };
    let without_key = by_key.remove(&Key::none()).unwrap_or_default();
    let tenants = by_key.into_iter().map(|(key, Records { sent, times })| {
        (key, RecordedTenant { arrivals: arrivals(sent), times: times.into() })
    });
    let tenants = tenants.collect();
    Ok(Recorded { arrivals: arrivals(without_key.sent), times: all_times.into(), tenants })
}
