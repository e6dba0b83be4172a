//! Adds up all records, in memory that doesn't grow with their number.

use super::cost::Bill;
use super::split::Split;
use super::timeline::Timeline;
use crate::wiring::usage_records::cut;
use crate::wiring::usage_records::record::{HttpTraffic, Record, Traffic};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;
use wasmrun_runtime::model::distribution::{Distributions, Quantity};
use wasmrun_runtime::model::outcome::OutcomeKind;

/// Number of tasks for each outcome that this version knows, and for all others together.
pub(super) type Outcomes = [u64; OutcomeKind::ALL.len() + 1];

/// Maximum number of names of limits, of stores, of queues and of buckets, as a hostile file may hold any number. There are some
/// twenty limits, and usually few stores and queues.
const MAX_NAMES: usize = 64;
/// Name under which all other names are counted.
const OTHER: &str = "other";

/// Returns the names of [`Outcomes`], in their order.
pub(super) fn outcome_names() -> impl Iterator<Item = &'static str> {
    OutcomeKind::ALL.into_iter().map(OutcomeKind::as_str).chain([OTHER])
}

/// Totals of all records: a field for each part of the report.
pub(super) struct Totals {
    pub(super) tasks: u64,
    /// Times at which the first and the last task ended.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    pub(super) outcomes: Outcomes,
    pub(super) limits: BTreeMap<String, u64>,
    pub(super) stores: BTreeMap<String, Traffic>,
    pub(super) queues: BTreeMap<String, Traffic>,
    pub(super) buckets: BTreeMap<String, Traffic>,
    pub(super) http: HttpTraffic,
    pub(super) sums: Sums,
    pub(super) distributions: Distributions,
    pub(super) timeline: Timeline,
    pub(super) heaviest: [Heaviest; 3],
    pub(super) bill: Bill,
    /// Set if the report is split by a field.
    pub(super) split: Option<Split>,
}

/// Sums of the usage of tasks.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Sums {
    pub(super) fuel: u64,
    pub(super) cpu_us: u64,
    pub(super) wall_us: u64,
    pub(super) queued_us: u64,
    pub(super) start_us: u64,
    pub(super) compute_us: u64,
    pub(super) blocked_us: u64,
    pub(super) ready_us: u64,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
    pub(super) calls: u64,
    pub(super) refusals: u64,
}

/// The tasks with the highest values of a quantity, the heaviest first.
#[derive(Debug)]
pub(super) struct Heaviest {
    pub(super) quantity: Quantity,
    pub(super) tasks: Vec<HeavyTask>,
    top: usize,
}

/// Description of a heavy task, by which people can find it. Its texts may be hostile.
#[derive(Debug, Serialize)]
pub(super) struct HeavyTask {
    pub(super) time: String,
    pub(super) message_id: String,
    pub(super) receive_count: u32,
    pub(super) component: String,
    pub(super) outcome: String,
    pub(super) limit: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) cpu_us: u64,
    pub(super) wall_us: u64,
    pub(super) peak_memory_bytes: u64,
    pub(super) bytes: u64,
    #[serde(skip)]
    weight: u64,
}

impl Totals {
    /// Creates totals of no tasks, which keep the `top` heaviest.
    pub(super) fn new(top: usize, bill: Bill) -> Self {
        let heaviest = |quantity| Heaviest { quantity, tasks: Vec::new(), top };
        Self {
            tasks: 0,
            span: None,
            outcomes: Outcomes::default(),
            limits: BTreeMap::new(),
            stores: BTreeMap::new(),
            queues: BTreeMap::new(),
            buckets: BTreeMap::new(),
            http: HttpTraffic::default(),
            sums: Sums::default(),
            distributions: Distributions::default(),
            timeline: Timeline::default(),
            heaviest: [Quantity::Cpu, Quantity::PeakMemory, Quantity::Bytes].map(heaviest),
            bill,
            split: None,
        }
    }

    /// Counts a task.
    pub(super) fn count(&mut self, record: &Record<'_>) {
        self.tasks += 1;
        let outcome = record.outcome().map_or(OutcomeKind::ALL.len(), |kind| kind as usize);
        self.outcomes[outcome] += 1;
        let (first, last) = self.span.unwrap_or((record.ended, record.ended));
        self.span = Some((first.min(record.ended), last.max(record.ended)));
        self.timeline.count(record.ended.as_second(), outcome);
        if let Some(limit) = &record.limit {
            *by_name(&mut self.limits, limit) += 1;
        }
        for (sums, traffic) in [
            (&mut self.stores, &record.stores),
            (&mut self.queues, &record.queues),
            (&mut self.buckets, &record.buckets),
        ] {
            traffic.iter().for_each(|(alias, traffic)| by_name(sums, alias).add(traffic));
        }
        self.http.add(record.http);
        let sums = Sums::of(record);
        self.sums.add(&sums);
        self.distributions.record(|quantity| record.of(quantity));
        self.heaviest.iter_mut().for_each(|heaviest| heaviest.consider(record));
        self.bill.add(record);
        if let Some(split) = &mut self.split {
            split.count(record, outcome, &sums, &self.bill);
        }
    }
}

/// Returns the entry of a name. Uses the entry [`OTHER`] for a malformed name, or a new name after [`MAX_NAMES`].
fn by_name<'a, T: Default>(all: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    let well_formed = (1..=64).contains(&name.len())
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    let known = all.contains_key(name) || all.len() < MAX_NAMES;
    let name = if well_formed && known { name } else { OTHER };
    all.entry(name.to_owned()).or_default()
}

impl Traffic {
    fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.messages = self.messages.saturating_add(other.messages);
        self.bytes_read = self.bytes_read.saturating_add(other.bytes_read);
        self.bytes_written = self.bytes_written.saturating_add(other.bytes_written);
    }
}

impl HttpTraffic {
    fn add(&mut self, other: Self) {
        self.requests = self.requests.saturating_add(other.requests);
        self.bytes_sent = self.bytes_sent.saturating_add(other.bytes_sent);
        self.bytes_received = self.bytes_received.saturating_add(other.bytes_received);
    }
}

impl Sums {
    /// Returns the usage of one task.
    fn of(record: &Record<'_>) -> Self {
        Self {
            fuel: record.fuel,
            cpu_us: record.cpu_us,
            wall_us: record.wall_us,
            queued_us: record.queued_us,
            start_us: record.start_us,
            compute_us: record.compute_us,
            blocked_us: record.blocked_us,
            ready_us: record.ready_us,
            bytes_read: record.bytes_read,
            bytes_written: record.bytes_written,
            calls: record.calls,
            refusals: record.refusals,
        }
    }

    /// Adds the usage of other tasks. The sums saturate at 18 exabytes or half a million years.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, value) in [
            (&mut self.fuel, other.fuel),
            (&mut self.cpu_us, other.cpu_us),
            (&mut self.wall_us, other.wall_us),
            (&mut self.queued_us, other.queued_us),
            (&mut self.start_us, other.start_us),
            (&mut self.compute_us, other.compute_us),
            (&mut self.blocked_us, other.blocked_us),
            (&mut self.ready_us, other.ready_us),
            (&mut self.bytes_read, other.bytes_read),
            (&mut self.bytes_written, other.bytes_written),
            (&mut self.calls, other.calls),
            (&mut self.refusals, other.refusals),
        ] {
            *sum = sum.saturating_add(value);
        }
    }
}

impl Heaviest {
    /// Keeps the task if it is one of the heaviest. Of tasks with the same weight, the first in the file is kept.
    fn consider(&mut self, record: &Record<'_>) {
        let weight = record.of(self.quantity);
        let place = self.tasks.partition_point(|task| task.weight >= weight);
        if weight == 0 || place >= self.top {
            return;
        }
        self.tasks.truncate(self.top - 1);
        self.tasks.insert(place, HeavyTask::new(record, weight));
    }
}

impl HeavyTask {
    fn new(record: &Record<'_>, weight: u64) -> Self {
        Self {
            time: record.ended.to_string(),
            message_id: cut(&record.message_id),
            receive_count: record.receive_count,
            component: cut(&record.component),
            outcome: cut(&record.outcome),
            limit: record.limit.as_deref().map(cut),
            reason: record.reason.as_deref().map(cut),
            cpu_us: record.cpu_us,
            wall_us: record.wall_us,
            peak_memory_bytes: record.peak_memory_bytes,
            bytes: record.of(Quantity::Bytes),
            weight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::cost::tests::bill;
    use super::*;
    use crate::wiring::usage_records::record::tests::record;
    use proptest::prelude::*;

    fn totals(top: usize, records: impl IntoIterator<Item = serde_json::Value>) -> Totals {
        let mut totals = Totals::new(top, bill());
        for record in records {
            let line = record.to_string();
            totals.count(&Record::read(line.as_bytes()).expect("a record"));
        }
        totals
    }

    #[test]
    fn names_without_end_are_counted_together() {
        let with = |name: &str, value: String| {
            let mut record = record();
            record[name] = value.into();
            record
        };
        let letters =
            |number: u8| format!("{}{}", (b'a' + number / 26) as char, (b'a' + number % 26) as char);
        let limits = totals(1, (0..200).map(|number| with("limit", letters(number)))).limits;
        assert_eq!(limits.len(), MAX_NAMES + 1);
        assert_eq!(limits.values().sum::<u64>(), 200);
        assert_eq!(totals(1, [with("limit", "\u{1b}[2J".into())]).limits[OTHER], 1);
        let mut aliases = record();
        aliases["stores"] =
            (0..200).map(|number| (letters(number), serde_json::json!({"calls": 2}))).collect();
        let stores = totals(1, [aliases]).stores;
        assert_eq!((stores.len(), stores[OTHER].calls), (MAX_NAMES + 1, 2 * (200 - MAX_NAMES as u64)));
        assert_eq!(
            totals(1, [with("outcome", "vanished".into())]).outcomes,
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        );
    }

    #[test]
    fn sums_end_at_what_a_number_holds() {
        let mut heavy = record();
        heavy["fuel"] = (1u64 << 53).into();
        let totals = totals(1, std::iter::repeat_n(heavy, 3000));
        assert_eq!((totals.tasks, totals.sums.fuel), (3000, u64::MAX));
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = cut(&"ü".repeat(1000));
        assert_eq!(long, format!("{}…", "ü".repeat(100)));
    }

    proptest! {
        #[test]
        fn the_heaviest_are_those_that_sorting_all_would_find(weights in prop::collection::vec(0u64..20, 0..50), top in 1usize..8) {
            let records = weights.iter().enumerate().map(|(number, weight)| {
                let mut record = record();
                record["cpu_us"] = (*weight).into();
                record["message_id"] = number.to_string().into();
                record
            });
            let totals = totals(top, records);
            let found: Vec<(u64, String)> =
                totals.heaviest[0].tasks.iter().map(|task| (task.cpu_us, task.message_id.clone())).collect();
            let mut all: Vec<(u64, usize)> = weights.into_iter().zip(0..).filter(|(weight, _)| *weight > 0).collect();
            all.sort_by_key(|(weight, number)| (std::cmp::Reverse(*weight), *number));
            all.truncate(top);
            let expected: Vec<(u64, String)> =
                all.into_iter().map(|(weight, number)| (weight, number.to_string())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
