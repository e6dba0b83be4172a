//! The limits of a task as flags, variables and keys of the file: validated, with the defaults of the runtime.

use crate::failure::Failure;
use crate::settings::{typed, written};
use bytesize::ByteSize;
use clap::Args;
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::time::Duration;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::MAX_MESSAGE_BYTES;

/// A page of Wasm: no memory is smaller.
const PAGE_BYTES: u64 = 64 << 10;
/// What a 32-bit memory can address: nothing that a task holds is larger.
const MAX_BYTES: u64 = 4 << 30;
/// The host holds some kilobytes for each.
const MAX_HANDLES: usize = 1_000_000;
/// WASI itself needs some.
const MIN_HANDLES: usize = 16;
/// The host holds sixteen bytes for each.
const MAX_TABLE_ELEMENTS: usize = 10_000_000;
/// The pool has slots for each, times the number of tasks.
const MAX_NUMBER: usize = 1_000;
/// A component of Rust starts with some kilobytes; a stack is reserved for each task.
const STACK_BYTES: RangeInclusive<u64> = 64 << 10..=64 << 20;
/// The names of WASI's own calls and their arguments are that large.
const MIN_CALL_BYTES: u64 = 4 << 10;

/// The limits of a task.
#[derive(Clone, Debug, Default, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct LimitSettings {
    /// Units of computing, about one for each Wasm instruction [default: 200000000000]
    #[arg(long, value_name = "N", env = "WASMRUN_FUEL", value_parser = typed::<u64>)]
    #[serde(deserialize_with = "written")]
    fuel: Option<u64>,
    /// All memories together [default: 256MiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_MEMORY", value_parser = typed::<ByteSize>)]
    #[serde(deserialize_with = "written")]
    memory: Option<ByteSize>,
    /// Wall-clock time, waiting included [default: 30s]
    #[arg(long, value_name = "DURATION", env = "WASMRUN_TIMEOUT", value_parser = typed::<Duration>)]
    #[serde(deserialize_with = "written")]
    timeout: Option<Duration>,
    /// Waiting for stores, queues and clocks, in all [default: as long as --timeout]
    #[arg(long, value_name = "DURATION", env = "WASMRUN_BLOCKED_TIME", value_parser = typed::<Duration>)]
    #[serde(deserialize_with = "written")]
    blocked_time: Option<Duration>,
    /// The stack of Wasm code [default: 512KiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_STACK", value_parser = typed::<ByteSize>)]
    #[serde(deserialize_with = "written")]
    stack: Option<ByteSize>,
    /// The elements of all tables together [default: 100000]
    #[arg(long, value_name = "N", env = "WASMRUN_TABLE_ELEMENTS", value_parser = typed::<usize>)]
    #[serde(deserialize_with = "written")]
    table_elements: Option<usize>,
    /// Core instances that the component consists of [default: 16]
    #[arg(long, value_name = "N", env = "WASMRUN_CORE_INSTANCES", value_parser = typed::<usize>)]
    #[serde(deserialize_with = "written")]
    core_instances: Option<usize>,
    /// Memories in number [default: 8]
    #[arg(long, value_name = "N", env = "WASMRUN_MEMORIES", value_parser = typed::<usize>)]
    #[serde(deserialize_with = "written")]
    memories: Option<usize>,
    /// Tables in number [default: 16]
    #[arg(long, value_name = "N", env = "WASMRUN_TABLES", value_parser = typed::<usize>)]
    #[serde(deserialize_with = "written")]
    tables: Option<usize>,
    /// Readers, writers and other handles open at once [default: 100]
    #[arg(long, value_name = "N", env = "WASMRUN_HANDLES", value_parser = typed::<usize>)]
    #[serde(deserialize_with = "written")]
    handles: Option<usize>,
    /// The arguments of one host call [default: as the largest object or message, and 64KiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_CALL_SIZE", value_parser = typed::<ByteSize>)]
    #[serde(deserialize_with = "written")]
    call_size: Option<ByteSize>,
    /// An object that is read or written as a whole; larger ones are streamed [default: 32MiB, and at most half of
    /// --memory]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_OBJECT_SIZE", value_parser = typed::<ByteSize>)]
    #[serde(deserialize_with = "written")]
    object_size: Option<ByteSize>,
    /// Bytes read from stores, in all [default: 4GiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_READ_SIZE", value_parser = typed::<ByteSize>)]
    #[serde(deserialize_with = "written")]
    read_size: Option<ByteSize>,
    /// Bytes written to stores and queues, in all [default: 4GiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_WRITE_SIZE", value_parser = typed::<ByteSize>)]
    #[serde(deserialize_with = "written")]
    write_size: Option<ByteSize>,
    /// Calls to stores [default: 100000]
    #[arg(long, value_name = "N", env = "WASMRUN_STORE_CALLS", value_parser = typed::<u64>)]
    #[serde(deserialize_with = "written")]
    store_calls: Option<u64>,
    /// Messages sent, each one of a batch [default: 1000]
    #[arg(long, value_name = "N", env = "WASMRUN_SENT_MESSAGES", value_parser = typed::<u64>)]
    #[serde(deserialize_with = "written")]
    sent_messages: Option<u64>,
    /// A message that is sent [default: 1MiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_MESSAGE_SIZE", value_parser = typed::<ByteSize>)]
    #[serde(deserialize_with = "written")]
    message_size: Option<ByteSize>,
    /// A body that is fetched from the --body-store [default: 16MiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_BODY_SIZE", value_parser = typed::<ByteSize>)]
    #[serde(deserialize_with = "written")]
    body_size: Option<ByteSize>,
    /// What a task may log; what follows is dropped, with a note [default: 64KiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_LOG_SIZE", value_parser = typed::<ByteSize>)]
    #[serde(deserialize_with = "written")]
    log_size: Option<ByteSize>,
    /// Random bytes, in all [default: 1MiB]
    #[arg(long, value_name = "SIZE", env = "WASMRUN_RANDOM_SIZE", value_parser = typed::<ByteSize>)]
    #[serde(deserialize_with = "written")]
    random_size: Option<ByteSize>,
}

impl LimitSettings {
    /// The limits that hold, where a flag or variable wins over the file. `fetches_bodies`: they may be larger than a
    /// message.
    pub(crate) fn resolve(self, file: Self, fetches_bodies: bool) -> Result<Limits, Failure> {
        let defaults = Limits::default();
        let body_bytes = if fetches_bodies { Limits::FETCHED_BODY_BYTES } else { defaults.body_bytes };
        let limits = Limits {
            fuel: self.fuel.or(file.fuel).unwrap_or(defaults.fuel),
            memory_bytes: size(self.memory.or(file.memory), "memory", PAGE_BYTES..=MAX_BYTES)?
                .unwrap_or(defaults.memory_bytes),
            timeout: self.timeout.or(file.timeout).unwrap_or(defaults.timeout),
            blocked_time: self.blocked_time.or(file.blocked_time),
            stack_bytes: size(self.stack.or(file.stack), "stack", STACK_BYTES)?
                .unwrap_or(defaults.stack_bytes),
            table_elements: number(
                self.table_elements.or(file.table_elements),
                "table-elements",
                0..=MAX_TABLE_ELEMENTS,
            )?
            .unwrap_or(defaults.table_elements),
            core_instances: number(
                self.core_instances.or(file.core_instances),
                "core-instances",
                1..=MAX_NUMBER,
            )?
            .unwrap_or(defaults.core_instances),
            memories: number(self.memories.or(file.memories), "memories", 1..=MAX_NUMBER)?
                .unwrap_or(defaults.memories),
            tables: number(self.tables.or(file.tables), "tables", 1..=MAX_NUMBER)?.unwrap_or(defaults.tables),
            streams_bytes: defaults.streams_bytes,
            files: defaults.files,
            handles: number(self.handles.or(file.handles), "handles", MIN_HANDLES..=MAX_HANDLES)?
                .unwrap_or(defaults.handles),
            call_bytes: size(
                self.call_size.or(file.call_size),
                "call-size",
                MIN_CALL_BYTES..=MAX_BYTES + Limits::CALL_OVERHEAD_BYTES as u64,
            )?,
            max_object_bytes: size(self.object_size.or(file.object_size), "object-size", 1..=MAX_BYTES)?
                .unwrap_or(defaults.max_object_bytes),
            read_bytes: self.read_size.or(file.read_size).map_or(defaults.read_bytes, |size| size.0),
            write_bytes: self.write_size.or(file.write_size).map_or(defaults.write_bytes, |size| size.0),
            store_calls: self.store_calls.or(file.store_calls).unwrap_or(defaults.store_calls),
            sent_messages: self.sent_messages.or(file.sent_messages).unwrap_or(defaults.sent_messages),
            message_bytes: size(
                self.message_size.or(file.message_size),
                "message-size",
                1..=MAX_MESSAGE_BYTES as u64,
            )?
            .unwrap_or(defaults.message_bytes),
            body_bytes: size(
                self.body_size.or(file.body_size),
                "body-size",
                MAX_MESSAGE_BYTES as u64..=MAX_BYTES,
            )?
            .unwrap_or(body_bytes),
            log_bytes: size(self.log_size.or(file.log_size), "log-size", 0..=MAX_BYTES)?
                .unwrap_or(defaults.log_bytes),
            random_bytes: size(self.random_size.or(file.random_size), "random-size", 0..=MAX_BYTES)?
                .map_or(defaults.random_bytes, |bytes| bytes as u64),
        };
        if limits.fuel == 0 {
            return Err(Failure::usage("--fuel 0 is too small: no task could run"));
        }
        for (time, flag) in [(limits.timeout, "timeout"), (limits.blocked_time(), "blocked-time")] {
            if time.is_zero() {
                return Err(Failure::usage(format!("--{flag} 0s is too short: no task could run")));
            }
        }
        Ok(limits)
    }
}

/// Checks a size that was given.
pub(crate) fn size(
    setting: Option<ByteSize>,
    flag: &str,
    allowed: RangeInclusive<u64>,
) -> Result<Option<usize>, Failure> {
    let Some(size) = setting else { return Ok(None) };
    let shown = exactly(size.0);
    if size.0 < *allowed.start() {
        return Err(Failure::usage(format!(
            "--{flag} {shown} is too small: at least {}",
            exactly(*allowed.start())
        )));
    }
    match usize::try_from(size.0) {
        Ok(bytes) if size.0 <= *allowed.end() => Ok(Some(bytes)),
        _ => {
            Err(Failure::usage(format!("--{flag} {shown} is too large: at most {}", exactly(*allowed.end()))))
        }
    }
}

/// A size without rounding, which would make 4 GiB of a byte more.
fn exactly(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit)) {
        Some((name, unit)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

/// Checks a number that was given.
fn number(
    setting: Option<usize>,
    flag: &str,
    allowed: RangeInclusive<usize>,
) -> Result<Option<usize>, Failure> {
    match setting {
        Some(number) if !allowed.contains(&number) => Err(Failure::usage(format!(
            "--{flag} is {} to {}, and not {number}",
            allowed.start(),
            allowed.end()
        ))),
        setting => Ok(setting),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> LimitSettings {
        LimitSettings::default()
    }

    #[test]
    fn what_is_not_set_is_as_the_runtime_has_it() {
        assert_eq!(none().resolve(none(), false).expect("valid"), Limits::default());
        let fetching = none().resolve(none(), true).expect("valid");
        assert_eq!(fetching.body_bytes, Limits::FETCHED_BODY_BYTES);
    }

    #[test]
    fn each_limit_can_be_set_in_the_file_by_the_name_of_its_flag() {
        let file: LimitSettings = toml::from_str(
            "fuel = 1\nmemory = '1MiB'\ntimeout = '2s'\nblocked-time = '1s'\nstack = '128KiB'\ntable-elements = 2\ncore-instances = 3\nmemories = 4\ntables = 5\nhandles = 16\ncall-size = '1MiB'\nobject-size = '5KiB'\nread-size = '6KiB'\nwrite-size = '7KiB'\nstore-calls = 8\nsent-messages = 9\nmessage-size = '10KiB'\nbody-size = '2MiB'\nlog-size = '11KiB'\nrandom-size = '12KiB'",
        )
        .expect("valid");
        let limits = none().resolve(file, false).expect("valid");
        let expected = Limits {
            fuel: 1,
            memory_bytes: 1 << 20,
            timeout: Duration::from_secs(2),
            blocked_time: Some(Duration::from_secs(1)),
            stack_bytes: 128 << 10,
            table_elements: 2,
            core_instances: 3,
            memories: 4,
            tables: 5,
            handles: 16,
            streams_bytes: 0,
            files: usize::MAX,
            call_bytes: Some(1 << 20),
            max_object_bytes: 5 << 10,
            read_bytes: 6 << 10,
            write_bytes: 7 << 10,
            store_calls: 8,
            sent_messages: 9,
            message_bytes: 10 << 10,
            body_bytes: 2 << 20,
            log_bytes: 11 << 10,
            random_bytes: 12 << 10,
        };
        assert_eq!(limits, expected);
    }

    #[test]
    fn flags_win_over_the_file() {
        let file = toml::from_str("fuel = 5\nmemory = '1MiB'").expect("valid");
        let limits = LimitSettings { fuel: Some(7), ..none() }.resolve(file, false).expect("valid");
        assert_eq!((limits.fuel, limits.memory_bytes), (7, 1 << 20));
    }

    #[test]
    fn absurd_limits_are_refused() {
        let huge = Some(ByteSize(u64::MAX));
        for absurd in [
            LimitSettings { fuel: Some(0), ..none() },
            LimitSettings { memory: Some(ByteSize(0)), ..none() },
            LimitSettings { memory: huge, ..none() },
            LimitSettings { object_size: huge, ..none() },
            LimitSettings { stack: huge, ..none() },
            LimitSettings { call_size: Some(ByteSize(1)), ..none() },
            LimitSettings { message_size: huge, ..none() },
            LimitSettings { body_size: Some(ByteSize(1)), ..none() },
            LimitSettings { handles: Some(usize::MAX), ..none() },
            LimitSettings { core_instances: Some(0), ..none() },
            LimitSettings { memories: Some(usize::MAX), ..none() },
            LimitSettings { table_elements: Some(usize::MAX), ..none() },
            LimitSettings { timeout: Some(Duration::ZERO), ..none() },
            LimitSettings { blocked_time: Some(Duration::ZERO), ..none() },
        ] {
            assert!(absurd.clone().resolve(none(), false).is_err(), "{absurd:?}");
        }
    }
}
