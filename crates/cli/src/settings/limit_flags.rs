//! The limits of a task as flags, variables and keys of the file: validated, with the defaults of the runtime.

use super::range::{Unit, check};
use super::text::{typed, written};
use crate::output::failure::Failure;
use bytesize::ByteSize;
use clap::Args;
use serde::Deserialize;
use std::time::Duration;
use wasmrun_runtime::model::limits::Limits;
use wasmrun_runtime::model::message::MAX_MESSAGE_BYTES;

/// Size of a Wasm page, which is the smallest memory.
const PAGE: ByteSize = ByteSize(64 << 10);
/// Address space of a 32-bit memory: nothing that a task holds is larger.
const MAX_SIZE: ByteSize = ByteSize(4 << 30);
/// Maximum size of an SQS message.
const MESSAGE: ByteSize = ByteSize(MAX_MESSAGE_BYTES as u64);
/// Minimum of a time limit: no task could run in no time.
const MIN_TIME: Duration = Duration::from_nanos(1);
/// Maximum number of handles. The host holds some kilobytes for each.
const MAX_HANDLES: usize = 1_000_000;
/// Minimum size of an HTTP request's headers: a dozen short ones.
const MIN_HEADERS: ByteSize = ByteSize(1 << 10);
/// Maximum size of an HTTP request's headers. The host holds a multiple of it for each handle.
const MAX_HEADERS: ByteSize = ByteSize(1 << 20);
/// Maximum number of HTTP connections of a task. The host holds some hundred kilobytes and a file descriptor for each.
const MAX_CONNECTIONS: usize = 1_000;
/// Minimum number of handles: WASI itself needs some.
const MIN_HANDLES: usize = 16;
/// Maximum number of table elements. The host holds 16 bytes for each.
const MAX_TABLE_ELEMENTS: usize = 10_000_000;
/// Maximum number of core instances, of memories and of tables. For each, the pool reserves one slot per task.
const MAX_NUMBER: usize = 1_000;
/// Minimum size of the stack. A Rust component needs some kilobytes to start.
const MIN_STACK: ByteSize = ByteSize(64 << 10);
/// Maximum size of the stack, which is reserved for each task.
const MAX_STACK: ByteSize = ByteSize(64 << 20);
/// Minimum size of a host call's arguments: WASI's own calls, with their names, need this much.
const MIN_CALL_SIZE: ByteSize = ByteSize(4 << 10);
/// Maximum size of a host call's arguments: the largest object, with key, metadata and attributes.
const MAX_CALL_SIZE: ByteSize = ByteSize(MAX_SIZE.0 + Limits::CALL_OVERHEAD_BYTES as u64);

/// Defines [`LimitSettings`] from a table. A row holds the flag with its help, its unit, the allowed values, its
/// variable, and the field of [`Limits`] that it sets. The key in the file has the name of the flag.
macro_rules! limits {
    ($($(#[$help:meta])+ $flag:ident: $unit:ident $(in $allowed:expr)?, $variable:literal => $field:ident;)*) => {
        settings! {
            /// The limits of a task: a field for each key of the table `limits`.
            pub(crate) struct LimitSettings {
                $($(#[$help])+
                #[arg(long, value_name = <$unit as Unit>::VALUE_NAME, env = $variable, value_parser = typed::<$unit>)]
                #[serde(deserialize_with = "written")]
                $flag: Option<$unit>,)*
            }
        }

        impl LimitSettings {
            /// Names of the flags, with underscores.
            pub(crate) const FLAGS: &[&str] = &[$(stringify!($flag)),*];

            /// Overwrites the limits that are set here.
            fn apply(self, limits: &mut Limits) -> Result<(), Failure> {
                $(if let Some(value) = self.$flag {
                    $(check(value, &stringify!($flag).replace('_', "-"), $allowed)?;)?
                    limits.$field = value.into_field();
                })*
                Ok(())
            }
        }
    };
}

limits! {
    /// Fuel: units of computing, about one for each Wasm instruction [default: 200000000000]
    fuel: u64 in 1..=u64::MAX, "WASMRUN_FUEL" => fuel;
    /// Size of all memories together [default: 256MiB]
    memory: ByteSize in PAGE..=MAX_SIZE, "WASMRUN_MEMORY" => memory_bytes;
    /// Wall-clock time, including waiting [default: 30s]
    timeout: Duration in MIN_TIME..=Duration::MAX, "WASMRUN_TIMEOUT" => timeout;
    /// Time spent waiting for stores, queues, HTTP and clocks, in all [default: as long as --timeout]
    blocked_time: Duration in MIN_TIME..=Duration::MAX, "WASMRUN_BLOCKED_TIME" => blocked_time;
    /// Size of the Wasm code's stack [default: 512KiB]
    stack: ByteSize in MIN_STACK..=MAX_STACK, "WASMRUN_STACK" => stack_bytes;
    /// Number of elements of all tables together [default: 100000]
    table_elements: usize in 0..=MAX_TABLE_ELEMENTS, "WASMRUN_TABLE_ELEMENTS" => table_elements;
    /// Number of core instances in the component [default: 64]
    core_instances: usize in 1..=MAX_NUMBER, "WASMRUN_CORE_INSTANCES" => core_instances;
    /// Number of memories [default: 8]
    memories: usize in 1..=MAX_NUMBER, "WASMRUN_MEMORIES" => memories;
    /// Number of tables [default: 16]
    tables: usize in 1..=MAX_NUMBER, "WASMRUN_TABLES" => tables;
    /// Number of readers, writers and other handles that are open at once [default: 100]
    handles: usize in MIN_HANDLES..=MAX_HANDLES, "WASMRUN_HANDLES" => handles;
    /// Size of the arguments of a host call [default: the largest object or message, and 64KiB]
    call_size: ByteSize in MIN_CALL_SIZE..=MAX_CALL_SIZE, "WASMRUN_CALL_SIZE" => call_bytes;
    /// Size of an object that is read or written as a whole; larger ones are streamed [default: 32MiB, and at most half of
    /// --memory]
    object_size: ByteSize in ByteSize(1)..=MAX_SIZE, "WASMRUN_OBJECT_SIZE" => max_object_bytes;
    /// Bytes read from stores and key-value buckets, in all [default: 4GiB]
    read_size: ByteSize, "WASMRUN_READ_SIZE" => read_bytes;
    /// Bytes written to stores, key-value buckets and queues, in all [default: 4GiB]
    write_size: ByteSize, "WASMRUN_WRITE_SIZE" => write_bytes;
    /// Number of calls to stores and key-value buckets; each key of a batch counts [default: 100000]
    store_calls: u64, "WASMRUN_STORE_CALLS" => store_calls;
    /// Number of sent messages; each message of a batch counts [default: 1000]
    sent_messages: u64, "WASMRUN_SENT_MESSAGES" => sent_messages;
    /// Number of HTTP requests [default: 1000]
    http_requests: u64, "WASMRUN_HTTP_REQUESTS" => http_requests;
    /// Bytes sent in HTTP requests, in all [default: 256MiB]
    http_sent_size: ByteSize, "WASMRUN_HTTP_SENT_SIZE" => http_sent_bytes;
    /// Bytes received in HTTP responses, in all [default: 1GiB]
    http_received_size: ByteSize, "WASMRUN_HTTP_RECEIVED_SIZE" => http_received_bytes;
    /// Size of the headers of an HTTP request, with some 70 bytes for each header [default: 16KiB]
    http_header_size: ByteSize in MIN_HEADERS..=MAX_HEADERS, "WASMRUN_HTTP_HEADER_SIZE" => http_header_bytes;
    /// Number of HTTP connections that are open at once; further requests wait [default: 8]
    http_connections: usize in 1..=MAX_CONNECTIONS, "WASMRUN_HTTP_CONNECTIONS" => http_connections;
    /// Timeout of an HTTP request: to connect, until the head of the response, and between its bytes, each [default: 10s]
    http_timeout: Duration in MIN_TIME..=Duration::MAX, "WASMRUN_HTTP_TIMEOUT" => http_timeout;
    /// Size of a sent message [default: 1MiB]
    message_size: ByteSize in ByteSize(1)..=MESSAGE, "WASMRUN_MESSAGE_SIZE" => message_bytes;
    /// Size of a body that is fetched from the --body-store [default: 16MiB]
    body_size: ByteSize in MESSAGE..=MAX_SIZE, "WASMRUN_BODY_SIZE" => body_bytes;
    /// Bytes that a task may log; the rest is dropped, with a note [default: 64KiB]
    log_size: ByteSize in ByteSize(0)..=MAX_SIZE, "WASMRUN_LOG_SIZE" => log_bytes;
    /// Random bytes, in all [default: 1MiB]
    random_size: ByteSize in ByteSize(0)..=MAX_SIZE, "WASMRUN_RANDOM_SIZE" => random_bytes;
}

impl LimitSettings {
    /// Returns the limits that apply. A flag or variable takes precedence over the file. If `fetches_bodies`, the
    /// default limit of a body is larger than a message.
    pub(crate) fn resolve(self, file: Self, fetches_bodies: bool) -> Result<Limits, Failure> {
        let mut limits = Limits::default();
        if fetches_bodies {
            limits.body_bytes = Limits::FETCHED_BODY_BYTES;
        }
        self.or(file).apply(&mut limits)?;
        Ok(limits)
    }
}

/// Converts a setting to the type of its field in [`Limits`].
trait IntoField<F> {
    fn into_field(self) -> F;
}

impl<T> IntoField<T> for T {
    fn into_field(self) -> T {
        self
    }
}

impl<T> IntoField<Option<T>> for T {
    fn into_field(self) -> Option<T> {
        Some(self)
    }
}

impl IntoField<u64> for ByteSize {
    fn into_field(self) -> u64 {
        self.0
    }
}

impl IntoField<usize> for ByteSize {
    fn into_field(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl IntoField<Option<usize>> for ByteSize {
    fn into_field(self) -> Option<usize> {
        Some(self.into_field())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Command;
    use wasmrun_runtime::model::limits::Limit;

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
    fn the_help_shows_the_default_of_the_runtime() {
        let command = LimitSettings::augment_args(Command::new("run"));
        let mut file = String::new();
        for flag in command.get_arguments() {
            let (name, help) = (flag.get_long().expect("a flag"), flag.get_help().expect("help").to_string());
            let (_, default) = help.split_once("[default: ").expect("a default");
            let value = default.split([',', ']']).next().expect("a value");
            // The other defaults depend on another limit.
            if value.starts_with(|c: char| c.is_ascii_digit()) {
                file += &format!("{name} = '{value}'\n");
            }
        }
        assert_eq!(file.lines().count(), LimitSettings::FLAGS.len() - 2, "{file}");
        let limits = none().resolve(toml::from_str(&file).expect("valid"), true).expect("valid");
        assert_eq!(limits, Limits { body_bytes: Limits::FETCHED_BODY_BYTES, ..Limits::default() });
    }

    #[test]
    fn each_limit_that_ends_a_task_has_the_name_of_its_flag() {
        for limit in Limit::ALL {
            assert!(LimitSettings::FLAGS.contains(&&*limit.as_str().replace('-', "_")), "{limit}");
        }
    }

    #[test]
    fn each_limit_can_be_set_in_the_file_by_the_name_of_its_flag() {
        let file: LimitSettings = toml::from_str(
            "fuel = 1\nmemory = '1MiB'\ntimeout = '2s'\nblocked-time = '1s'\nstack = '128KiB'\ntable-elements = 2\ncore-instances = 3\nmemories = 4\ntables = 5\nhandles = 16\ncall-size = '1MiB'\nobject-size = '5KiB'\nread-size = '6KiB'\nwrite-size = '7KiB'\nstore-calls = 8\nsent-messages = 9\nhttp-requests = 13\nhttp-sent-size = '14KiB'\nhttp-received-size = '15KiB'\nhttp-header-size = '18KiB'\nhttp-connections = 16\nhttp-timeout = '17s'\nmessage-size = '10KiB'\nbody-size = '2MiB'\nlog-size = '11KiB'\nrandom-size = '12KiB'",
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
            http_requests: 13,
            http_sent_bytes: 14 << 10,
            http_received_bytes: 15 << 10,
            http_header_bytes: 18 << 10,
            http_connections: 16,
            http_timeout: Duration::from_secs(17),
            has_http: false,
            streams_bytes: 0,
            outputs_bytes: 0,
            command_bytes: 0,
            values_bytes: 0,
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
