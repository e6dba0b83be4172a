//! Traits that backends implement, and backends in memory for tests and benchmarks.

pub mod groups;
pub mod http;
pub mod keyvalue;
pub mod ledger;
pub mod memory;
pub mod object_groups;
pub mod object_ledger;
pub mod object_store;
pub mod queue;
pub mod recipient;
pub mod requests;
mod shared_objects;
pub mod staging;
pub mod staging_area;
pub mod walk;
