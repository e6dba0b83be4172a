//! A queue, an object store and a key-value bucket in memory, for tests, benchmarks and embedders: what they hold is
//! gone with the process.

#[cfg(test)]
mod faulty;
mod keyvalue;
mod queue;
mod staging;
mod store;

#[cfg(test)]
pub(crate) use self::faulty::FaultyStore;
pub use self::keyvalue::MemoryBucket;
pub use self::queue::MemoryQueue;
pub use self::store::MemoryStore;
