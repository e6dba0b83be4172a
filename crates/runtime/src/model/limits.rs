//! What one task may use, at most. Every bound that can end a task has a name here, which the outcome, the log
//! line, the usage and the flag share.

use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// A key is at most 1,024 bytes of UTF-8, as in S3.
pub const MAX_KEY_BYTES: usize = 1024;
/// A page of a listing holds at most 1,000 objects, as in S3.
pub const MAX_PAGE: usize = 1000;
/// Names and values of an object's metadata are together at most 2 KiB, as in S3.
pub const MAX_METADATA_BYTES: usize = 2048;

/// Of the memories of an instance, what stays with the pool between tasks: what each keeps is part of it, as a task may use
/// one of them and the next task another.
pub(crate) const MEMORY_KEPT_BYTES: usize = 1 << 20;
/// Of its tables, likewise.
pub(crate) const TABLE_KEPT_BYTES: usize = 64 << 10;

/// Memory and file descriptors that the host holds for an open reader or writer, in addition to those of any handle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Memory.
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
    /// Units of computing: about one for each Wasm instruction. The same component and message use the same amount
    /// on every machine.
    // Some twenty seconds of computing on a current core: a 12-megapixel thumbnail takes a five-hundredth of it.
    fuel: u64 = 200_000_000_000, Fuel is "fuel";
    /// All linear memories of the task together.
    // A decoded 50-megapixel picture.
    memory_bytes: usize = 256 << 20, Memory is "memory";
    /// The elements of all tables of the task together.
    // Ten times what large Rust and Go programs have.
    table_elements: usize = 100_000, TableElements is "table-elements";
    /// Core instances in number: a component consists of several.
    // A component of Rust has about four, of other languages five; two or three of them may be composed.
    core_instances: usize = 16, CoreInstances is "core-instances";
    /// Linear memories in number.
    // One for each component that is composed, and address space is reserved for each.
    memories: usize = 8, Memories is "memories";
    /// Tables in number.
    tables: usize = 16, Tables is "tables";
    /// The stack that Wasm code may use.
    // The engine's own default; recursion in Rust takes some hundred bytes a level.
    stack_bytes: usize = 512 << 10, Stack is "stack";
    /// From the moment when the task first computes, waiting for the host included.
    timeout: Duration = Duration::from_secs(30);
    /// Waiting for the host, all waits together; `None`: as long as the timeout.
    blocked_time: Option<Duration> = None, BlockedTime is "blocked-time";
    /// The arguments of one host call; `None`: as much as the largest object or message takes.
    call_bytes: Option<usize> = None, CallSize is "call-size";
    /// An object that is read or written as a whole; larger ones are streamed. See [`Limits::object_bytes`].
    // The host holds what a call carries, and reckons with more than twice of it: a task still fits into 512 MiB.
    max_object_bytes: usize = 32 << 20;
    /// A message that is sent, attributes included.
    // SQS's own.
    message_bytes: usize = 1 << 20;
    /// The body of the message that is delivered: the queue's own bound, or what is fetched for it at most; see
    /// [`Limits::FETCHED_BODY_BYTES`].
    body_bytes: usize = 1 << 20;
    /// From object stores, in all.
    // A DVD: no photograph or document is larger, and a task that fills disks is stopped at some point.
    read_bytes: u64 = 4 << 30, ReadSize is "read-size";
    /// To object stores and queues, in all.
    write_bytes: u64 = 4 << 30, WriteSize is "write-size";
    /// Calls to object stores, of any kind.
    // So many pieces of 64 KiB are more than the bytes that may be read.
    store_calls: u64 = 100_000, StoreCalls is "store-calls";
    /// Messages sent to queues, each one of a batch.
    // A task that fans out further should send to a task that fans out.
    sent_messages: u64 = 1_000, SentMessages is "sent-messages";
    /// Readers, writers, stores and other handles that are open at once.
    // A writer of a directory holds three file descriptors, and tasks share those of the process.
    handles: usize = 100, Handles is "handles";
    /// What all readers and writers that are open may hold of their objects until it's read or sent; one too many is one
    /// handle too many. 0: no granted store is behind a network.
    streams_bytes: usize = 0;
    /// File descriptors that open readers and writers may hold, and the call that is under way: its share of those that the
    /// process may have. One too many is one handle too many.
    files: usize = usize::MAX;
    /// What the task may write to its log; what follows is dropped, and a note says so.
    // Five hundred lines of a usual length.
    log_bytes: usize = 64 << 10;
    /// Random bytes, in all.
    // Keys and seeds are 32 bytes; a million of bytes takes the host a millisecond.
    random_bytes: u64 = 1 << 20, RandomSize is "random-size";
}

impl Limits {
    /// After so much fuel a task looks whether its time slice is over: about a tenth of a millisecond of computing. Code that
    /// waits for memory with each instruction, or calls the engine's helpers, takes up to a thousand times longer.
    pub const FUEL_SLICE: u64 = 1_000_000;
    /// A time slice while others wait for the thread. Time and not fuel, which some burn faster than others.
    pub const SHARED_TIME_SLICE: Duration = Duration::from_micros(400);
    /// A time slice while nobody does: timeouts and cancellations are heard at its end.
    pub const TIME_SLICE: Duration = Duration::from_millis(2);
    /// The most that one `reader.read` returns.
    pub const READ_BYTES: usize = 1 << 20;
    /// [`Limits::streams_bytes`] where a store is behind a network: four writers of S3, or eight readers.
    pub const STREAMS_BYTES: usize = 32 << 20;
    /// The call that is under way may read and write in the same way: a copy has a reader and a writer of its own.
    const CALL_STREAMS_BYTES: usize = 12 << 20;
    /// Likewise in file descriptors.
    const CALL_FILES: usize = 4;
    /// What one byte of a call's arguments makes the host hold, at most, in quarters: text in Latin-1 becomes twice as long,
    /// and a list of the shortest texts takes 56 bytes for each that counts as 25.
    const CALL_QUARTERS: usize = 9;
    /// [`Limits::body_bytes`] where bodies are fetched, unless the user says otherwise: many times what a message holds.
    pub const FETCHED_BODY_BYTES: usize = 16 << 20;
    /// What the arguments of one host call may hold beyond a whole object: key, metadata, attributes.
    pub const CALL_OVERHEAD_BYTES: usize = 64 << 10;
    /// Of a task's stack, what is left to host calls: the engine's own default.
    pub const HOST_STACK_BYTES: usize = 3 << 19;
    /// What the engine keeps of one core instance beside memories and tables: 32 bytes for each function that a
    /// table holds, so that this is enough for ten thousand of them. The pool refuses what is larger.
    pub const INSTANCE_BYTES: usize = 512 << 10;
    /// What the host holds for one handle: name, content type and metadata of an object, a file descriptor.
    const HANDLE_BYTES: usize = 8 << 10;
    /// A message is held as it was delivered, with the objects that it announces, and as the copy that is on its way to
    /// the guest.
    const BODY_COPIES: usize = 3;
    /// A page of a listing: keys of up to 1 KiB, and what is known of each.
    const PAGE_BYTES: usize = MAX_PAGE * 2560;
    /// The rest: the store, WASI's context, futures, a thread that blocks for it.
    const REST_BYTES: usize = 256 << 10;
    /// An element of a table.
    const ELEMENT_BYTES: usize = 16;

    /// An object that is read or written as a whole: never more than half of the memory that it must fit into, beside
    /// what is done with it.
    pub fn object_bytes(&self) -> usize {
        self.max_object_bytes.min(self.memory_bytes / 2)
    }

    /// What the arguments of one host call may hold: a whole object or message, unless it's set.
    pub fn call_bytes(&self) -> usize {
        self.call_bytes
            .unwrap_or_else(|| self.object_bytes().max(self.message_bytes) + Self::CALL_OVERHEAD_BYTES)
    }

    /// What the readers and writers that are open may hold together.
    pub(crate) fn held(&self) -> Held {
        Held { bytes: self.streams_bytes, files: self.files.saturating_sub(Self::CALL_FILES) }
    }

    /// How long a task may wait for the host in all.
    pub fn blocked_time(&self) -> Duration {
        self.blocked_time.unwrap_or(self.timeout).min(self.timeout)
    }

    /// Everything that one task can make the process hold at once, whatever it does within its limits.
    ///
    /// A guest makes one host call at a time: either its arguments are large or its answer.
    pub fn task_bytes(&self) -> u64 {
        let answer = (self.object_bytes() + Self::READ_BYTES).max(Self::PAGE_BYTES);
        [
            self.memory_bytes,
            self.table_elements.saturating_mul(Self::ELEMENT_BYTES),
            self.stack_bytes.saturating_add(Self::HOST_STACK_BYTES),
            self.core_instances.saturating_mul(Self::INSTANCE_BYTES),
            (self.call_bytes() / 4).saturating_mul(Self::CALL_QUARTERS).max(answer),
            self.body_bytes.saturating_mul(Self::BODY_COPIES),
            self.handles.saturating_mul(Self::HANDLE_BYTES),
            self.streams_bytes.saturating_add(self.streams_bytes.min(Self::CALL_STREAMS_BYTES)),
            self.log_bytes,
            usize::try_from(self.random_bytes).unwrap_or(usize::MAX),
            MEMORY_KEPT_BYTES + TABLE_KEPT_BYTES,
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
