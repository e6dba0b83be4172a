//! A queue and an object store in memory, for tests, benchmarks and embedders: what they hold is gone with the process.

mod queue;
mod store;

pub use self::queue::MemoryQueue;
pub use self::store::MemoryStore;
