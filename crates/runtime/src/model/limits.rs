//! Limits of one task. Every limit that can end a task has one name, which the outcome, the log line, the usage and the
//! flag share.

use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Longest key in bytes of UTF-8: 1,024, as in S3.
pub const MAX_KEY_BYTES: usize = 1024;
/// Maximum number of objects on a page of a listing: 1,000, as in S3.
pub const MAX_PAGE: usize = 1000;
/// Maximum number of bytes of names and values of an object's metadata together: 2 KiB, as in S3.
pub const MAX_METADATA_BYTES: usize = 2048;

/// Bytes of an instance's tables that stay resident in the pool between tasks. Divided among all tables, as a task may
/// use one of them and the next task another.
pub(crate) const TABLE_KEPT_BYTES: usize = 64 << 10;

/// Resources of the host that an open reader or writer holds, in addition to those of any handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of memory.
    pub bytes: usize,
    /// File descriptors.
    pub files: usize,
}

/// Defines the limits of a task from a table: each row is a field of [`Limits`] with its default. A limit that can end a task
/// has a variant of [`Limit`] as well, with the name of its flag.
macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $default:expr $(, $variant:ident is $name:literal)?;)*) => {
        /// The bounds of one task. Sizes are in bytes.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$doc])* pub $field: $kind,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        /// A limit that ended a task.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Limit {
            $($(#[doc = concat!("[`Limits::", stringify!($field), "`]")] $variant,)?)*
        }

        impl Limit {
            /// All limits that can end a task.
            pub const ALL: [Self; [$($($name,)?)*].len()] = [$($(Self::$variant,)?)*];

            /// The name in outcome, log, usage and metrics, which is that of the flag.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($(Self::$variant => $name,)?)*
                }
            }
        }
    };
}

limits! {
    /// Fuel: about one unit for each Wasm instruction. The same component and message use the same amount on every
    /// machine.
    // Ten to fifteen seconds of computing on a current core. The thumbnail of a 12-megapixel JPEG takes a nine-hundredth.
    fuel: u64 = 200_000_000_000, Fuel is "fuel";
    /// Bytes of all linear memories of the task together.
    // Enough for a decoded 50-megapixel picture.
    memory_bytes: usize = 256 << 20, Memory is "memory";
    /// Elements of all tables of the task together.
    // Ten times the number in large Rust and Go programs.
    table_elements: usize = 100_000, TableElements is "table-elements";
    /// Number of core instances: a component consists of several.
    // A component in Rust has four, in Python up to 38, and components may be composed. Only those that a component has cost
    // anything.
    core_instances: usize = 64, CoreInstances is "core-instances";
    /// Number of linear memories.
    // One for each composed component; each reserves address space.
    memories: usize = 8, Memories is "memories";
    /// Number of tables.
    tables: usize = 16, Tables is "tables";
    /// Stack of the Wasm code.
    // The engine's own default; recursion in Rust takes a few hundred bytes a level.
    stack_bytes: usize = 512 << 10, Stack is "stack";
    /// Wall-clock time from the task's first time slice on, including waits for the host.
    timeout: Duration = Duration::from_secs(30);
    /// Time spent waiting for the host, all waits together; `None`: as long as the timeout.
    blocked_time: Option<Duration> = None, BlockedTime is "blocked-time";
    /// Arguments of one host call; `None`: enough for the largest object or message.
    call_bytes: Option<usize> = None, CallSize is "call-size";
    /// Size of an object that is read or written as a whole; larger ones are streamed. See [`Limits::object_bytes`].
    // The host holds a call's data and reserves more than twice its size: a task still fits into 512 MiB.
    max_object_bytes: usize = 32 << 20;
    /// Size of a message to send, with its attributes.
    // SQS's own limit.
    message_bytes: usize = 1 << 20;
    /// Body of the delivered message: the queue's own bound, or the bound on a fetched body; see
    /// [`Limits::FETCHED_BODY_BYTES`].
    body_bytes: usize = 1 << 20;
    /// Bytes read from object stores and key-value buckets, in all.
    // The size of a DVD: photographs and documents are smaller, and a task that fills disks is stopped eventually.
    read_bytes: u64 = 4 << 30, ReadSize is "read-size";
    /// Bytes written to object stores, key-value buckets and queues, in all.
    write_bytes: u64 = 4 << 30, WriteSize is "write-size";
    /// Calls to object stores and key-value buckets, of any kind; each key of a batch counts.
    // 100,000 pieces of 64 KiB are more than `read_bytes`.
    store_calls: u64 = 100_000, StoreCalls is "store-calls";
    /// Messages sent to queues; each message of a batch counts.
    // A task that fans out further should send to a task that fans out.
    sent_messages: u64 = 1_000, SentMessages is "sent-messages";
    /// HTTP requests, in all.
    // A task that crawls a site should send to tasks that fetch its pages.
    http_requests: u64 = 1_000, HttpRequests is "http-requests";
    /// Bytes sent over HTTP, in all: heads and bodies of requests, and of a service's response.
    // A task that uploads more should write an object, which is cheaper.
    http_sent_bytes: u64 = 256 << 20, HttpSentSize is "http-sent-size";
    /// Bytes received over HTTP, in all: heads and bodies of responses, and of the request to a service.
    http_received_bytes: u64 = 1 << 30, HttpReceivedSize is "http-received-size";
    /// Headers of one HTTP request: names and values, with some 70 bytes for each header. WASI has no error for more.
    // Servers take 8 KiB, of which a token may be half.
    http_header_bytes: usize = 16 << 10, HttpHeaderSize is "http-header-size";
    /// HTTP connections that are open at once. Further requests wait for one.
    // A browser opens six to one server.
    http_connections: usize = 8;
    /// Longest time to connect, until the head of a response, and between its bytes, each. The guest receives the error.
    // A third of the default timeout, so that a task can handle the error of a silent server.
    http_timeout: Duration = Duration::from_secs(10);
    /// Whether the component can build HTTP requests, granted or not: then handles and connections may hold more.
    has_http: bool = false;
    /// Readers, writers, stores and other handles that are open at once.
    // A writer to a directory holds three file descriptors, and the tasks share those of the process.
    handles: usize = 100, Handles is "handles";
    /// Bytes that all open readers and writers may hold until they are read or sent. Exceeding it ends the task with
    /// the limit `handles`. 0 if no granted store is behind a network.
    streams_bytes: usize = 0;
    /// Bytes that the host holds for the list of what the task has staged; 0 without `--once`.
    outputs_bytes: usize = 0;
    /// Bytes that the host holds for the standard streams and the variables of a command, or for the request and the
    /// response of a service; 0 for other components.
    command_bytes: usize = 0;
    /// Bytes that the host holds for the messages and the streams that a guest makes through `wasi:messaging` and
    /// `wasi:blobstore`, and for its files; 0 for components that have none of these. Exceeding it ends the task with the limit `handles`.
    values_bytes: usize = 0;
    /// File descriptors of open readers and writers and of the call in progress: the task's share of those of the
    /// process. Exceeding it ends the task with the limit `handles`.
    files: usize = usize::MAX;
    /// Bytes that the task may write to its log; the rest is dropped, and a note in the log says so.
    // About five hundred lines of usual length.
    log_bytes: usize = 64 << 10;
    /// Random bytes, in all.
    // Keys and seeds have 32 bytes; a million bytes take the host a millisecond.
    random_bytes: u64 = 1 << 20, RandomSize is "random-size";
}

impl Limits {
    /// Fuel after which a task checks whether its time slice is over: 25 µs of computing in ordinary code, and 250 µs in an
    /// empty loop. Code that waits for memory with each instruction, or calls the engine's helpers, takes up to a
    /// thousand times longer.
    pub const FUEL_SLICE: u64 = 250_000;
    /// Length of a time slice while other tasks wait for the thread. It's measured in time because code burns fuel at
    /// different rates.
    pub const SHARED_TIME_SLICE: Duration = Duration::from_micros(200);
    /// Length of a time slice while no task waits. Timeouts and cancellations take effect at its end.
    pub const TIME_SLICE: Duration = Duration::from_millis(2);
    /// Maximum number of bytes that one `reader.read` returns.
    pub const READ_BYTES: usize = 1 << 20;
    /// [`Limits::streams_bytes`] where a store is behind a network: enough for four writers or eight readers of S3.
    pub const STREAMS_BYTES: usize = 32 << 20;
    /// [`Limits::outputs_bytes`] with `--once`: the list as the task makes it, and twice as the ledger keeps it.
    pub const OUTPUTS_BYTES: usize = 4 << 20;
    /// [`Limits::values_bytes`] of a component that imports the interfaces: some messages of the largest size, 16
    /// streams, or 64 files.
    pub const VALUES_BYTES: usize = 8 << 20;
    /// Bytes for the reader and writer of the call in progress, such as a copy, in addition to those that the task
    /// opened.
    const CALL_STREAMS_BYTES: usize = 12 << 20;
    /// File descriptors of the call in progress.
    const CALL_FILES: usize = 4;
    /// Maximum number of bytes that the host holds for one byte of a call's arguments, in quarters. Text in Latin-1 can
    /// double in size, and a list of the shortest strings takes 56 bytes for each that counts as 25.
    const CALL_QUARTERS: usize = 9;
    /// Default of [`Limits::body_bytes`] where bodies are fetched: many times the size of a message.
    pub const FETCHED_BODY_BYTES: usize = 16 << 20;
    /// Bytes of a host call's arguments in addition to a whole object: key, metadata, attributes.
    pub const CALL_OVERHEAD_BYTES: usize = 64 << 10;
    /// Part of a task's stack that is left to host calls: the engine's own default.
    pub const HOST_STACK_BYTES: usize = 3 << 19;
    /// Bytes that the engine keeps of one core instance, without memories and tables. Each function in a table takes 32
    /// bytes, so this is enough for ten thousand of them. The pool refuses larger instances.
    pub const INSTANCE_BYTES: usize = 512 << 10;
    /// Bytes that the host holds for one handle: name, content type and metadata of an object, and a file descriptor.
    const HANDLE_BYTES: usize = 8 << 10;
    /// Maximum number of bytes that the host holds for one byte of an HTTP request's headers, as Wasmtime counts them.
    const HEADER_COPIES: usize = 4;
    /// Longest method, host and path of an HTTP request, each.
    pub(crate) const HTTP_TEXT_BYTES: usize = 8 << 10;
    /// Size of the part of an HTTP request's body that is held until it's sent.
    pub(crate) const HTTP_CHUNK_BYTES: usize = 16 << 10;
    /// Bytes that the host holds for one handle of HTTP besides headers of a request: its texts, or a part of its body, or
    /// headers of a response.
    const HTTP_HANDLE_BYTES: usize = 48 << 10;
    /// Bytes that one HTTP connection holds: buffers of TLS and of HTTP for both directions.
    const HTTP_CONNECTION_BYTES: usize = 384 << 10;
    /// Copies of a message's body: as delivered, with the objects that it announces, and on its way to the guest.
    const BODY_COPIES: usize = 3;
    /// Bytes of a page of a listing: keys of up to 1 KiB, with each object's summary.
    const PAGE_BYTES: usize = MAX_PAGE * 2560;
    /// Bytes for the rest: the store, WASI's context, futures, a blocking thread, the calls of
    /// a trace.
    const REST_BYTES: usize = 256 << 10;
    /// Bytes of a table's element.
    const ELEMENT_BYTES: usize = 16;

    /// Returns the largest object that is read or written as a whole: at most half of the guest's memory, as the guest
    /// also needs memory to process it.
    pub fn object_bytes(&self) -> usize {
        self.max_object_bytes.min(self.memory_bytes / 2)
    }

    /// Returns the maximum number of bytes of one host call's arguments: enough for a whole object or message, unless
    /// it's set.
    pub fn call_bytes(&self) -> usize {
        self.call_bytes
            .unwrap_or_else(|| self.object_bytes().max(self.message_bytes) + Self::CALL_OVERHEAD_BYTES)
    }

    /// Returns what the open handles may hold together.
    pub(crate) fn held(&self) -> Footprint {
        let connections = if self.has_http { self.http_connections() } else { 0 };
        let files = self.files.saturating_sub(Self::CALL_FILES).saturating_sub(connections);
        Footprint { bytes: self.streams_bytes.saturating_add(self.values_bytes), files }
    }

    /// Returns how many HTTP connections may be open at once: at most half of the task's file descriptors.
    pub(crate) fn http_connections(&self) -> usize {
        self.http_connections.min(self.files.saturating_sub(Self::CALL_FILES) / 2).max(1)
    }

    /// Returns the bytes for the HTTP connections of a task, and for what its handles hold of HTTP.
    fn http_bytes(&self) -> usize {
        if !self.has_http {
            return 0;
        }
        let connections = self.http_connections.saturating_mul(Self::HTTP_CONNECTION_BYTES);
        let headers = self.http_header_bytes.saturating_mul(Self::HEADER_COPIES);
        let handle = headers.saturating_add(Self::HTTP_HANDLE_BYTES);
        self.handles.saturating_mul(handle).saturating_add(connections)
    }

    /// Returns how long a task may wait for the host in all.
    pub fn blocked_time(&self) -> Duration {
        self.blocked_time.unwrap_or(self.timeout).min(self.timeout)
    }

    /// Returns the limit of blocked time, or `None` if the timeout ends a task first.
    pub(crate) fn blocked_bound(&self) -> Option<Duration> {
        self.blocked_time.filter(|&time| time < self.timeout)
    }

    /// Returns the maximum number of bytes that one task within its limits can make the process hold at once.
    ///
    /// A guest makes one host call at a time: either the call's arguments are large or its answer is.
    pub fn task_bytes(&self) -> u64 {
        // The metadata of a message that a guest has built is copied for it as a whole.
        let metadata =
            if self.values_bytes > 0 { self.values_bytes.saturating_add(self.streams_bytes) } else { 0 };
        let answer = (self.object_bytes() + Self::READ_BYTES).max(Self::PAGE_BYTES).max(metadata);
        [
            self.memory_bytes,
            self.table_elements.saturating_mul(Self::ELEMENT_BYTES),
            self.stack_bytes.saturating_add(Self::HOST_STACK_BYTES),
            self.core_instances.saturating_mul(Self::INSTANCE_BYTES),
            (self.call_bytes() / 4).saturating_mul(Self::CALL_QUARTERS).max(answer),
            self.body_bytes.saturating_mul(Self::BODY_COPIES),
            self.handles.saturating_mul(Self::HANDLE_BYTES),
            self.streams_bytes.saturating_add(self.streams_bytes.min(Self::CALL_STREAMS_BYTES)),
            self.outputs_bytes,
            self.command_bytes,
            self.values_bytes,
            self.http_bytes(),
            self.log_bytes,
            usize::try_from(self.random_bytes).unwrap_or(usize::MAX),
            TABLE_KEPT_BYTES,
            Self::REST_BYTES,
        ]
        .into_iter()
        .fold(0, |sum, bytes| sum.saturating_add(bytes as u64))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn a_limit_has_one_name() {
        for limit in Limit::ALL {
            assert_eq!(serde_json::to_value(limit).expect("JSON"), limit.as_str());
        }
    }

    #[test]
    fn an_object_is_never_larger_than_half_of_the_memory_it_must_fit_into() {
        let limits = |memory_bytes| Limits { memory_bytes, ..Limits::default() };
        assert_eq!(limits(256 * MIB).object_bytes(), 32 * MIB);
        assert_eq!(limits(4 * MIB).object_bytes(), 2 * MIB);
        assert_eq!(limits(4 * MIB).call_bytes(), 2 * MIB + Limits::CALL_OVERHEAD_BYTES);
    }

    #[test]
    fn a_message_always_fits_into_a_call_unless_the_user_says_otherwise() {
        let small = Limits { memory_bytes: MIB, ..Limits::default() };
        assert_eq!(small.call_bytes(), MIB + Limits::CALL_OVERHEAD_BYTES);
        assert_eq!(Limits { call_bytes: Some(100), ..small }.call_bytes(), 100);
    }

    #[test]
    fn a_tasks_budget_holds_its_memory_and_the_largest_call_and_never_overflows() {
        let limits = Limits::default();
        let least = limits.memory_bytes + 2 * limits.object_bytes() + limits.stack_bytes;
        assert!(limits.task_bytes() > least as u64);
        assert!(limits.task_bytes() < 2 * least as u64);
        let absurd =
            Limits { memory_bytes: usize::MAX, table_elements: usize::MAX, random_bytes: u64::MAX, ..limits };
        assert_eq!(absurd.task_bytes(), u64::MAX);
    }
}
