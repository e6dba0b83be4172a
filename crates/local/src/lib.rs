//! The embedded default: a queue in a SQLite file and an object store in a directory.
//!
//! | module     | owns                                                                              |
//! |------------|-----------------------------------------------------------------------------------|
//! | [`sqlite`] | `sqlite:PATH[#NAME]`: queues with the semantics of SQS in one file                |
//! | [`dir`]    | `dir:PATH`: the files below a directory as objects                                |
//!
//! Both are safe with several processes at once, survive the death of any of them at any moment, and can be looked
//! into with ordinary tools: the `sqlite3` shell, `ls` and `cp`.

pub mod dir;
pub mod sqlite;

pub use dir::DirStore;
pub use sqlite::{DeadLetter, PlannedQueue, QueueSettings, SqliteQueue};

/// Begins a call and drops its future before it's over, as that of a task that was ended.
#[cfg(test)]
fn give_up<T>(call: impl Future<Output = T>) {
    use std::task::{Context, Waker};
    assert!(std::pin::pin!(call).poll(&mut Context::from_waker(Waker::noop())).is_pending());
}
