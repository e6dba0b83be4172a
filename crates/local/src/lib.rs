//! The embedded default: a queue in a SQLite file and an object store in a directory.
//!
//! | module     | owns                                                                              |
//! |------------|-----------------------------------------------------------------------------------|
//! | [`sqlite`] | `sqlite:PATH[#NAME]`: queues with the semantics of SQS in one file, key-values, counts, a ledger, or accounts |
//! | [`dir`]    | `dir:PATH`: the files below a directory as objects                                |
//! | `paths`    | paths of files that may not exist yet, and of files with several names            |
//!
//! Several processes may use either at once, and any of them may die at any moment. Both can be inspected with ordinary
//! tools: the `sqlite3` shell, `ls` and `cp`.

pub mod dir;
mod paths;
pub mod sqlite;

pub use dir::DirStore;
pub use paths::{is_same_file, resolve};
pub use sqlite::{
    DeadLetter, PlannedQueue, QueueSettings, SqliteBucket, SqliteBudgets, SqliteGroups, SqliteLedger,
    SqliteQueue,
};

/// Begins a call and drops its future before the call is over, as happens when a task ends.
#[cfg(test)]
fn give_up<T>(call: impl Future<Output = T>) {
    use std::task::{Context, Waker};
    assert!(std::pin::pin!(call).poll(&mut Context::from_waker(Waker::noop())).is_pending());
}
