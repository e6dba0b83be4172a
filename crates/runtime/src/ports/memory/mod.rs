//! A queue, an object store and a key-value bucket in memory, for tests, benchmarks and embedders: what they hold is gone with the process.

mod keyvalue;
mod queue;
mod staging;
mod store;

pub use self::keyvalue::MemoryBucket;
pub use self::queue::MemoryQueue;
pub use self::store::MemoryStore;
