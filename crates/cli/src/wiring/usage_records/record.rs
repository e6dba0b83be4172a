//! Parses a line of a usage file, which may be hostile.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use wasmrun_runtime::model::distribution::Quantity;
use wasmrun_runtime::model::outcome::OutcomeKind;

/// Maximum of a duration: a year.
const LONGEST_US: u64 = 366 * 24 * 3600 * 1_000_000;
/// Maximum of other numbers: larger integers lose digits in many JSON parsers.
const LARGEST: u64 = 1 << 53;

/// Record of a task: a field for each thing that the report needs. Other fields are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Record<'a> {
    time: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) message_id: Cow<'a, str>,
    #[serde(default)]
    pub(crate) receive_count: u32,
    #[serde(borrow, default)]
    pub(crate) component: Cow<'a, str>,
    /// Key of the message; `None` in records of workers without `--key`.
    #[serde(default)]
    pub(crate) key: Option<String>,
    /// Route of the message; `None` in records of workers without routes and of messages that match none.
    #[serde(default)]
    pub(crate) route: Option<String>,
    #[serde(borrow)]
    pub(crate) outcome: Cow<'a, str>,
    #[serde(default)]
    pub(crate) limit: Option<String>,
    #[serde(default)]
    pub(crate) reason: Option<String>,
    pub(crate) fuel: u64,
    pub(crate) cpu_us: u64,
    pub(crate) wall_us: u64,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    #[serde(default)]
    pub(crate) queued_us: u64,
    #[serde(default)]
    pub(crate) start_us: u64,
    #[serde(default)]
    pub(crate) compute_us: u64,
    pub(crate) blocked_us: u64,
    #[serde(default)]
    pub(crate) ready_us: u64,
    #[serde(default)]
    pub(crate) calls: u64,
    #[serde(default)]
    pub(crate) refusals: u64,
    #[serde(default)]
    pub(crate) stores: BTreeMap<String, Traffic>,
    #[serde(default)]
    pub(crate) queues: BTreeMap<String, Traffic>,
    #[serde(default)]
    pub(crate) buckets: BTreeMap<String, Traffic>,
    #[serde(default)]
    pub(crate) http: HttpTraffic,
    /// Time at which the task ended.
    #[serde(skip)]
    pub(crate) ended: Timestamp,
}

/// Calls to a store, a queue or a key-value bucket, and their messages and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Traffic {
    pub(crate) calls: u64,
    pub(crate) messages: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
}

/// HTTP requests, and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct HttpTraffic {
    pub(crate) requests: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

impl<'a> Record<'a> {
    /// Parses a line.
    ///
    /// # Errors
    ///
    /// Says what is wrong with the line, and may quote it.
    pub(crate) fn read(line: &'a [u8]) -> Result<Self, String> {
        let mut record: Self = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        record.ended = record.time.parse().map_err(|_| format!("{:?} is no time", record.time))?;
        let durations = [
            ("cpu_us", record.cpu_us),
            ("wall_us", record.wall_us),
            ("start_us", record.start_us),
            ("compute_us", record.compute_us),
            ("blocked_us", record.blocked_us),
            ("ready_us", record.ready_us),
        ];
        let numbers = [
            // A message may wait in the file of a queue for years.
            ("queued_us", record.queued_us),
            ("fuel", record.fuel),
            ("peak_memory_bytes", record.peak_memory_bytes),
            ("bytes_read", record.bytes_read),
            ("bytes_written", record.bytes_written),
            ("calls", record.calls),
            ("refusals", record.refusals),
            ("http", record.http.requests),
            ("http", record.http.bytes_sent),
            ("http", record.http.bytes_received),
        ];
        let traffic = [&record.stores, &record.queues, &record.buckets];
        let traffic = traffic.into_iter().flat_map(BTreeMap::values).flat_map(|traffic| {
            [traffic.calls, traffic.messages, traffic.bytes_read, traffic.bytes_written]
                .map(|number| ("a store, a queue or a bucket", number))
        });
        let absurd = durations
            .into_iter()
            .find(|(_, value)| *value > LONGEST_US)
            .or_else(|| numbers.into_iter().chain(traffic).find(|(_, value)| *value > LARGEST));
        match absurd {
            Some((name, value)) => Err(format!("{name} is {value}, which cannot be")),
            None => Ok(record),
        }
    }

    /// Returns the task's value of a quantity.
    pub(crate) fn of(&self, quantity: Quantity) -> u64 {
        match quantity {
            Quantity::Wall => self.wall_us,
            Quantity::Queued => self.queued_us,
            Quantity::Cpu => self.cpu_us,
            Quantity::Fuel => self.fuel,
            Quantity::PeakMemory => self.peak_memory_bytes,
            Quantity::Bytes => self.bytes_read.saturating_add(self.bytes_written),
        }
    }

    /// Returns the outcome, or `None` if this version doesn't know it.
    pub(crate) fn outcome(&self) -> Option<OutcomeKind> {
        OutcomeKind::ALL.into_iter().find(|kind| kind.as_str() == self.outcome)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::time::Duration;
    use wasmrun_runtime::model::message::Message;
    use wasmrun_runtime::model::outcome::Outcome;
    use wasmrun_runtime::model::usage::{StoreUsage, TaskRecord, Usage};

    /// A record as the worker writes it.
    pub(crate) fn record() -> Value {
        json!({
            "time": "2026-11-24T15:00:00.123456Z", "message_id": "m", "receive_count": 1, "component": "c.wasm",
            "outcome": "completed", "limit": null, "reason": null, "fuel": 1, "cpu_us": 2, "queued_us": 3,
            "start_us": 4, "compute_us": 5, "blocked_us": 6, "ready_us": 7, "wall_us": 22,
            "peak_memory_bytes": 8, "log_bytes": 9, "random_bytes": 10, "bytes_read": 11, "bytes_written": 12,
            "calls": 13, "refusals": 14, "stores": {"input": {"calls": 12, "bytes_read": 11, "bytes_written": 0}},
            "queues": {"next": {"calls": 1, "bytes_written": 12, "messages": 2}},
            "http": {"requests": 15, "bytes_sent": 16, "bytes_received": 17},
        })
    }

    fn read_with(name: &str, value: Value) -> Result<(), String> {
        let mut record = record();
        record[name] = value;
        Record::read(record.to_string().as_bytes()).map(|_| ())
    }

    #[test]
    fn a_record_is_read() {
        let line = record().to_string();
        let record = Record::read(line.as_bytes()).expect("a record");
        assert_eq!(Quantity::ALL.map(|quantity| record.of(quantity)), [22, 3, 2, 1, 8, 23]);
        assert_eq!((record.message_id.as_ref(), record.component.as_ref()), ("m", "c.wasm"));
        assert_eq!(record.outcome(), Some(OutcomeKind::Completed));
        assert_eq!(record.ended.to_string(), "2026-11-24T15:00:00.123456Z");
    }

    #[test]
    fn fields_and_outcomes_of_the_future_are_no_fault() {
        assert_eq!(read_with("new", json!({"deep": [1, {"x": null}]})), Ok(()));
        assert_eq!(read_with("outcome", json!("vanished")), Ok(()));
    }

    #[test]
    fn what_can_not_be_is_named() {
        for (name, value) in [
            ("cpu_us", json!(-1)),
            ("wall_us", json!(u64::MAX)),
            ("wall_us", json!(1.5)),
            ("fuel", json!(1e300)),
            ("fuel", json!("many")),
            ("bytes_read", json!((1u64 << 53) + 1)),
            ("message_id", json!(null)),
            ("stores", json!({"input": {"calls": u64::MAX}})),
            ("queues", json!([1])),
            ("http", json!({"bytes_received": u64::MAX})),
            ("time", json!("yesterday")),
            ("time", json!(5)),
        ] {
            assert!(read_with(name, value.clone()).is_err(), "{name} {value}");
        }
        for line in ["", "{", "null", "[]", "{}", "\u{0}", "\"text\"", "{\"time\":\"2026-11-24T15:00:00Z\"}"]
        {
            assert!(Record::read(line.as_bytes()).is_err(), "{line:?}");
        }
        let deep = "[".repeat(10_000);
        assert!(Record::read(deep.as_bytes()).is_err());
        assert!(Record::read(b"\xff\xfe").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_record_or_an_error(line in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Record::read(&line);
        }

        /// A record that the worker writes is read with the same values, whatever the task consumed.
        #[test]
        fn what_a_worker_writes_is_read(
            numbers in prop::collection::vec(0..=LARGEST, 5),
            micros in prop::collection::vec(0..=LONGEST_US, 2),
            (id, reason) in (any::<String>(), any::<String>()),
        ) {
            let usage = Usage {
                fuel: numbers[0],
                peak_memory_bytes: numbers[1],
                bytes_read: numbers[2],
                bytes_written: numbers[3],
                wall: Duration::from_micros(micros[0]),
                cpu: Duration::from_micros(micros[1]),
                queued: Duration::from_micros(numbers[4]),
                stores: [("input".to_owned(), StoreUsage { calls: 3, ..StoreUsage::default() })].into(),
                ..Usage::default()
            };
            let outcome = Outcome::Trapped { what: reason.clone() };
            let message = Message { receive_count: 2, ..Message::new(&id, "") };
            let line = serde_json::to_vec(&TaskRecord::new(&message, "c.wasm", &outcome, &usage)).expect("JSON");
            let record = Record::read(&line).expect("a record");
            prop_assert_eq!(Quantity::ALL.map(|quantity| record.of(quantity)), Quantity::ALL.map(|q| q.of(&usage)));
            prop_assert_eq!(record.outcome(), Some(OutcomeKind::Trapped));
            prop_assert_eq!((record.message_id.as_ref(), record.reason.as_deref()), (id.as_str(), Some(reason.as_str())));
            prop_assert_eq!((record.receive_count, record.stores["input"].calls), (2, 3));
        }

        /// A record whose end a crash has cut off is never taken for a whole record.
        #[test]
        fn a_torn_record_is_an_error(length in 0usize..1000) {
            let line = record().to_string();
            let torn = &line.as_bytes()[..length % line.len()];
            prop_assert!(Record::read(torn).is_err());
        }
    }
}
