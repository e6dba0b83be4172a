//! Traits that backends implement, and backends in memory for tests and benchmarks.

pub mod http;
pub mod keyvalue;
pub mod ledger;
pub mod memory;
pub mod object_store;
pub mod queue;
pub mod requests;
pub mod staging;
pub mod walk;
